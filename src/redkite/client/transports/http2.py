"""One unary gRPC call after another over an HTTP/2 connection (RFC 9113), without I/O.

`Exchange` takes the bytes that arrive and gives the bytes to send; who holds the socket moves them. It does no more of
HTTP/2 than one call at a time needs: no priorities, no pushes, no concurrent streams. Concurrent calls take several
connections.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote

from redkite.client.transports import headers as blocks
from redkite.errors import WireError

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PUSH_PROMISE, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = (
    0, 1, 3, 4, 5, 6, 7, 8, 9,
)  # fmt: skip
_END_STREAM, _END_HEADERS, _PADDED, _PRIORITY, _ACK = 0x1, 0x4, 0x8, 0x20, 0x1
_HEADER_TABLE_SIZE, _ENABLE_PUSH, _INITIAL_WINDOW_SIZE, _MAX_FRAME_SIZE = 1, 2, 4, 5
_REFUSED_STREAM = 7

_WINDOW: Final = 65_535
_MAX_WINDOW: Final = 2**31 - 1
_OWN_FRAME: Final = 1 << 16
"""The longest frame the peer may send."""
_MAX_BLOCK: Final = 1 << 18
"""Bytes of headers in one reply, at most."""
_LAST_STREAM: Final = 2**30
_REFILL: Final = 2**29

Buffer = bytes | memoryview


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return _head(len(payload), kind, flags, stream) + payload


def _head(length: int, kind: int, flags: int, stream: int) -> bytes:
    return struct.pack(">BHBBI", length >> 16, length & 0xFFFF, kind, flags, stream)


def opening() -> bytes:
    """What a client sends first: no dynamic header table, no pushes, and windows that never close."""
    chosen = (
        (_HEADER_TABLE_SIZE, 0),
        (_ENABLE_PUSH, 0),
        (_INITIAL_WINDOW_SIZE, _MAX_WINDOW),
        (_MAX_FRAME_SIZE, _OWN_FRAME),
    )
    settings = b"".join(struct.pack(">HI", name, value) for name, value in chosen)
    window = struct.pack(">I", _MAX_WINDOW - _WINDOW)
    return PREFACE + frame(_SETTINGS, 0, 0, settings) + frame(_WINDOW_UPDATE, 0, 0, window)


class Refused(Exception):
    """The peer has not looked at the call and never will; it may be made again on another connection."""


class Aborted(Exception):
    """The peer broke the call off."""


class Exchange:
    """The state of one connection.

    `begin` starts a call and `feed` takes what arrives, until `finished`; then `headers`, `trailers` and `message` are
    the answer. After each of them `output` is to be sent, in order. When `usable` turns false, the connection is not to
    carry another call.
    """

    def __init__(self) -> None:
        self.usable = True
        self.finished = True
        self.headers: blocks.Headers = {}
        self.trailers: blocks.Headers = {}
        self.output: list[Buffer] = [opening()]
        self._next = 1
        self._stream = 0
        self._rest = b""
        self._body: list[bytes] = []
        self._block = b""
        self._block_ends_stream = False
        self._unsent: deque[Buffer] = deque()
        self._left = 0
        self._window = _WINDOW
        self._stream_window = _WINDOW
        self._initial_window = _WINDOW
        self._max_frame = 16_384
        self._consumed = 0
        self._greeted = False

    # -- a call -------------------------------------------------------------------------------
    def begin(self, block: bytes, message: Sequence[Buffer]) -> None:
        """Start a call with a header block and one message, in pieces that must not change until they are sent."""
        assert self.finished
        assert self.usable
        self.finished = False
        self.headers, self.trailers = {}, {}
        self._body.clear()
        self._stream, self._next = self._next, self._next + 2
        if self._next > _LAST_STREAM:
            self.usable = False
        self._stream_window = self._initial_window
        self.output.append(frame(_HEADERS, _END_HEADERS, self._stream, block))
        length = sum(map(len, message))
        prefix = struct.pack(">BI", 0, length)
        size = length + len(prefix)
        if size <= min(self._max_frame, self._window, self._stream_window):
            self._window -= size
            self.output += (_head(size, _DATA, _END_STREAM, self._stream), prefix, *message)
        else:
            self._unsent.extend((prefix, *message))
            self._left = size
            self._send_more()

    @property
    def message(self) -> bytes | None:
        """The message of the answer; None when it has none, as a failure has."""
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        if not body:
            return None
        if len(body) < 5 or len(body) != 5 + int.from_bytes(body[1:5], "big"):
            raise WireError("the reply is not one whole message")
        if body[0]:
            raise WireError("the reply is compressed, which was not offered")
        return body[5:]

    @property
    def status(self) -> tuple[int, str]:
        """gRPC's own status of the finished call and its text."""
        answer = self.trailers or self.headers
        code = answer.get("grpc-status", "")
        if not code.isdigit():
            return 2, f"the server answered HTTP status {self.headers.get(':status', 'nothing')} and no gRPC status"
        return int(code), unquote(answer.get("grpc-message", ""))

    def _send_more(self) -> None:
        """As much of the message as the peer has room for."""
        while self._left:
            size = min(self._left, self._max_frame, self._window, self._stream_window)
            if size <= 0:
                return
            self._left -= size
            self._window -= size
            self._stream_window -= size
            self.output.append(_head(size, _DATA, 0 if self._left else _END_STREAM, self._stream))
            while size:  # an empty piece at the end is left there, and does no harm
                piece = self._unsent.popleft()
                if len(piece) > size:
                    view = memoryview(piece)
                    self._unsent.appendleft(view[size:])
                    piece = view[:size]
                self.output.append(piece)
                size -= len(piece)

    # -- what arrives -------------------------------------------------------------------------
    def feed(self, data: bytes) -> None:
        """Take bytes from the peer.

        Raises Refused or Aborted when they end the call, WireError when they are not HTTP/2.
        """
        if not self._greeted:
            if data.startswith(b"HTTP/1"):
                raise WireError("the server does not speak HTTP/2, and so not gRPC, on this port")
            self._greeted = True
        data = self._rest + data if self._rest else data
        at, end = 0, len(data)
        while end - at >= 9:
            length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            if length > _OWN_FRAME:
                raise WireError(f"a frame of {length} bytes is longer than was allowed")
            stop = at + 9 + length
            if stop > end:
                break
            stream = int.from_bytes(data[at + 5 : at + 9], "big") & _MAX_WINDOW
            try:
                self._frame(data[at + 3], data[at + 4], stream, data[at + 9 : stop])
            except (struct.error, IndexError) as error:
                raise WireError("a frame of the reply is too short for its kind") from error
            at = stop
        self._rest = data[at:]

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._data(flags, stream, payload)
        elif kind == _HEADERS:
            self._block = _unpadded(flags, payload, 5 if flags & _PRIORITY else 0)
            self._block_ends_stream = bool(flags & _END_STREAM)
            if flags & _END_HEADERS:
                self._headers(stream)
        elif kind == _CONTINUATION:
            self._block += payload
            if len(self._block) > _MAX_BLOCK:
                raise WireError("the headers of the reply are too long")
            if flags & _END_HEADERS:
                self._headers(stream)
        elif kind == _SETTINGS:
            if not flags & _ACK:
                self._settings(payload)
        elif kind == _WINDOW_UPDATE:
            self._room(stream, int.from_bytes(payload, "big") & _MAX_WINDOW)
        elif kind == _PING:
            if not flags & _ACK:
                self.output.append(frame(_PING, _ACK, 0, payload))
        elif kind == _RST_STREAM:
            self._reset(stream, int.from_bytes(payload, "big"))
        elif kind == _GOAWAY:
            self._go_away(payload)
        elif kind == _PUSH_PROMISE:
            raise WireError("the server pushes, which was not allowed")

    def _data(self, flags: int, stream: int, payload: bytes) -> None:
        self._consumed += len(payload)
        if self._consumed > _REFILL:
            self.output.append(frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", self._consumed)))
            self._consumed = 0
        if stream == self._stream and not self.finished:
            self._body.append(_unpadded(flags, payload, 0))
            self.finished = bool(flags & _END_STREAM)

    def _headers(self, stream: int) -> None:
        headers = blocks.decode(self._block)
        if stream != self._stream or self.finished:
            return
        if self.headers:
            self.trailers = headers
        else:
            self.headers = headers
        if self._block_ends_stream:
            self.finished = True
            self._abandon_rest()

    def _abandon_rest(self) -> None:
        """Answered before everything was sent: the peer does not want the rest, nor this connection's frames for it."""
        if self._left:
            self._unsent.clear()
            self._left = 0
            self.usable = False

    def _settings(self, payload: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", payload):
            if name == _INITIAL_WINDOW_SIZE:
                self._stream_window += value - self._initial_window
                self._initial_window = value
            elif name == _MAX_FRAME_SIZE:
                self._max_frame = value
        self.output.append(frame(_SETTINGS, _ACK, 0, b""))
        self._send_more()

    def _room(self, stream: int, more: int) -> None:
        if stream == 0:
            self._window += more
        elif stream == self._stream:
            self._stream_window += more
        self._send_more()

    def _reset(self, stream: int, code: int) -> None:
        if stream != self._stream or self.finished:
            return
        self.finished = True
        self._abandon_rest()
        if code == _REFUSED_STREAM:
            raise Refused("the server refused the call")
        raise Aborted(f"the server broke the call off (HTTP/2 error {code})")

    def _go_away(self, payload: bytes) -> None:
        self.usable = False
        last = int.from_bytes(payload[:4], "big") & _MAX_WINDOW
        if not self.finished and last < self._stream:
            self.finished = True
            raise Refused("the server is closing")


def _unpadded(flags: int, payload: bytes, skip: int) -> bytes:
    if flags & _PADDED:
        return payload[1 + skip : len(payload) - payload[0]]
    return payload[skip:] if skip else payload
