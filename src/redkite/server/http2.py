"""The server's side of one HTTP/2 connection (RFC 9113), as an asyncio protocol without tasks.

A subclass answers requests: `request_started` when the headers of a stream are there, `request_grew` while its body
comes, `request_complete` at its end. It answers with `respond` or `refuse`, at once or later, from the loop's thread.
Bytes of the peer's that break the protocol end the connection with a GOAWAY that says why.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from functools import lru_cache
from struct import Struct, unpack_from

from redkite.wire.headers import MAX_LIST_SIZE, Header, HeaderError, HeaderReader

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_STREAMS = 256
"""Requests a client may have open on one connection; it queues the others itself."""
MAX_FRAME = 65_536
MAX_BUFFERED = 1 << 30
"""Bytes of unfinished requests on one connection."""
_DEFAULT_WINDOW = 65_535
_DEFAULT_FRAME = 16_384
_MAX_WINDOW = (1 << 31) - 1
_RENEW_WINDOW = 1 << 28
_WRITE_CHUNK = 1 << 18
_WRITE_HIGH = 1 << 20
_MAX_UNREAD = 1 << 24
"""Bytes for a client that asks and does not read, beyond which it is sent away."""
_SMALL_CHUNK = 512
_MAX_REFUSED = 1_000
"""Refused requests that are remembered, because more of them may still arrive."""
_MAX_RESETS = 1_000
"""Unanswered requests a client may take back before it is sent away."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, WITH_PRIORITY, ACK = 0x1, 0x4, 0x8, 0x20, 0x1

NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR = 0x0, 0x1, 0x3, 0x5, 0x6
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 0x7, 0x8, 0x9, 0xB

_PUSH_SETTING, _INITIAL_WINDOW_SETTING, _MAX_FRAME_SETTING = 0x2, 0x4, 0x5
_FRAME = Struct(">IBI")  # length << 8 | type, flags, stream id
_SETTING = Struct(">HI")
_PAIR = Struct(">II")
_HELLO = b"".join((
    _FRAME.pack(24 << 8 | SETTINGS, 0, 0),
    _SETTING.pack(0x3, MAX_STREAMS), _SETTING.pack(_INITIAL_WINDOW_SETTING, _MAX_WINDOW),
    _SETTING.pack(_MAX_FRAME_SETTING, MAX_FRAME), _SETTING.pack(0x6, MAX_LIST_SIZE),
    _FRAME.pack(4 << 8 | WINDOW_UPDATE, 0, 0), (_MAX_WINDOW - _DEFAULT_WINDOW).to_bytes(4, "big"),
))  # fmt: skip
_SETTINGS_ACK = _FRAME.pack(SETTINGS, ACK, 0)


class ConnectionBroken(Exception):
    """The peer broke the protocol; `code` goes into the GOAWAY."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Stream:
    """One request and its answer. `body` holds the chunks as they came, `size` their sum; `target` is free for use."""

    __slots__ = ("answered", "body", "complete", "headers", "id", "size", "target", "unsent", "window")

    def __init__(self, stream_id: int, headers: list[Header], window: int) -> None:
        self.id = stream_id
        self.headers = headers
        self.body: list[bytes | bytearray] = []
        self.size = 0
        self.target = ""
        self.complete = False
        self.answered = False
        self.window = window
        self.unsent: Unsent | None = None


class Unsent:
    """The part of an answer that waits for the peer's window."""

    __slots__ = ("body", "position", "trailers")

    def __init__(self, body: memoryview, trailers: bytes) -> None:
        self.body = body
        self.position = 0
        self.trailers = trailers


class Http2Connection(asyncio.Protocol, ABC):
    """One client. All methods run in the event loop's thread."""

    def __init__(self) -> None:
        self.streams: dict[int, Stream] = {}
        self.buffered = 0
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._greeted = False
        self._header_reader = HeaderReader()
        self._last_id = 0
        self._header_block: tuple[int, int, bytearray] | None = None
        self._received = 0
        self._window = _DEFAULT_WINDOW
        self._stream_window = _DEFAULT_WINDOW
        self._peer_frame = _DEFAULT_FRAME
        self._waiting: dict[int, Stream] = {}
        self._refused: dict[int, None] = {}
        self._out: list[bytes | memoryview] = []
        self._reading = False
        self._paused = False
        self._resets = 0
        self._leaving = False

    # -- what a subclass answers ----------------------------------------------------------------
    def request_started(self, stream: Stream) -> None:
        """The headers are there; the body is not."""

    def request_grew(self, stream: Stream) -> None:
        """Another chunk of the body came, and more will."""

    @abstractmethod
    def request_complete(self, stream: Stream) -> None:
        """The whole request is there."""

    # -- what a subclass calls ------------------------------------------------------------------
    def respond(self, stream: Stream, head: bytes, body: tuple[bytes, bytes], trailers: bytes) -> None:
        """Send an answer: header block, body in two parts, trailer block. Nothing is sent when the client left."""
        if stream.answered or self._transport is None or stream.id not in self.streams:
            return
        stream.answered = True
        size = len(body[0]) + len(body[1])
        number = stream.id
        if size <= self._peer_frame and size <= stream.window and size <= self._window and not self._paused:
            self._window -= size
            self._out += (
                _FRAME.pack(len(head) << 8 | HEADERS, END_HEADERS, number),
                head,
                _FRAME.pack(size << 8, 0, number),
                *body,
                _FRAME.pack(len(trailers) << 8 | HEADERS, END_HEADERS | END_STREAM, number),
                trailers,
            )
            self._close(stream)
        else:
            self._out += (_FRAME.pack(len(head) << 8 | HEADERS, END_HEADERS, number), head)
            stream.unsent = Unsent(memoryview(b"".join(body)), trailers)
            self._waiting[number] = stream
            self._send_waiting()
        if not self._reading:
            self._flush()

    def refuse(self, stream: Stream, block: bytes) -> None:
        """Answer with headers alone; what else the client sends of this request is thrown away."""
        if stream.answered or self._transport is None or stream.id not in self.streams:
            return
        stream.answered = True
        self._out += (_FRAME.pack(len(block) << 8 | HEADERS, END_HEADERS | END_STREAM, stream.id), block)
        self._close(stream)
        if not self._reading:
            self._flush()

    def leave(self) -> None:
        """Take no new requests; the connection ends when the last running one is answered."""
        if self._transport is None or self._leaving:
            return
        self._leaving = True
        self._out += (_FRAME.pack(8 << 8 | GOAWAY, 0, 0), _PAIR.pack(self._last_id, NO_ERROR))
        self._flush()
        if not self.streams:
            self._transport.close()

    def abort(self) -> None:
        """End the connection now."""
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio's side -------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(_WRITE_HIGH)
        transport.write(_HELLO)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        self.streams.clear()
        self._waiting.clear()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._send_waiting()
        self._flush()

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
            self._rest = b""
        self._reading = True
        try:
            self._read(data)
        except ConnectionBroken as error:
            self._break(error.code, str(error))
        except HeaderError as error:
            self._break(COMPRESSION_ERROR, str(error))
        finally:
            self._reading = False
        self._flush()
        if self._paused and self._transport is not None and self._transport.get_write_buffer_size() > _MAX_UNREAD:
            self._transport.abort()

    # -- reading --------------------------------------------------------------------------------
    def _read(self, data: bytes) -> None:
        position, end = 0, len(data)
        if not self._greeted:
            if end < len(PREFACE) and PREFACE.startswith(data):
                self._rest = data
                return
            if not data.startswith(PREFACE):
                raise ConnectionBroken(PROTOCOL_ERROR, "not an HTTP/2 connection preface")
            self._greeted, position = True, len(PREFACE)
        unpack = _FRAME.unpack_from
        while end - position >= 9:
            word, flags, number = unpack(data, position)
            number &= _MAX_WINDOW
            length = word >> 8
            if length > MAX_FRAME:
                raise ConnectionBroken(FRAME_SIZE_ERROR, f"a frame of {length} bytes is over the limit of {MAX_FRAME}")
            start = position + 9
            if start + length > end:
                break
            position = start + length
            kind = word & 0xFF
            if self._header_block is not None and kind != CONTINUATION:
                raise ConnectionBroken(PROTOCOL_ERROR, "a header block was interrupted")
            if kind == DATA:
                self._data(number, flags, data[start:position])
            elif kind == HEADERS:
                self._headers(number, flags, data[start:position])
            else:
                self._control(kind, flags, number, data[start:position])
            if self._transport is None:
                return
        self._rest = data[position:]

    def _data(self, number: int, flags: int, chunk: bytes) -> None:
        self._received += len(chunk)
        if self._received > _RENEW_WINDOW:
            self._out += (_FRAME.pack(4 << 8 | WINDOW_UPDATE, 0, 0), self._received.to_bytes(4, "big"))
            self._received = 0
        stream = self.streams.get(number)
        if stream is None:
            self._late(number, flags)
            return
        if stream.complete:
            raise ConnectionBroken(STREAM_CLOSED, f"data after the end of stream {number}")
        if flags & PADDED:
            chunk = _unpadded(chunk)
        if chunk:
            self._keep(stream, chunk)
        if flags & END_STREAM:
            stream.complete = True
            self.buffered -= stream.size
            self.request_complete(stream)
        elif self.buffered > MAX_BUFFERED:
            raise ConnectionBroken(ENHANCE_YOUR_CALM, f"unfinished requests hold more than {MAX_BUFFERED} bytes")
        else:
            self.request_grew(stream)

    def _late(self, number: int, flags: int) -> None:
        """Data or headers for a stream that is not open: allowed while the client cannot know that it was refused."""
        if number == 0 or number > self._last_id:
            raise ConnectionBroken(PROTOCOL_ERROR, f"data for stream {number}, which is not open")
        if number not in self._refused:
            raise ConnectionBroken(STREAM_CLOSED, f"a frame for stream {number}, which is closed")
        if flags & END_STREAM:
            del self._refused[number]

    def _keep(self, stream: Stream, chunk: bytes) -> None:
        body = stream.body
        if len(chunk) >= _SMALL_CHUNK or not body:
            body.append(chunk)
        elif isinstance(body[-1], bytearray):
            body[-1] += chunk
        else:
            body.append(bytearray(chunk))  # a body in crumbs must not become a million objects
        stream.size += len(chunk)
        self.buffered += len(chunk)

    def _headers(self, number: int, flags: int, block: bytes) -> None:
        if number == 0:
            raise ConnectionBroken(PROTOCOL_ERROR, "headers of no stream")
        if flags & PADDED:
            block = _unpadded(block)
        if flags & WITH_PRIORITY:
            if len(block) < 5:
                raise ConnectionBroken(FRAME_SIZE_ERROR, "a header frame is too short")
            block = block[5:]
        if flags & END_HEADERS:
            self._header_block_complete(number, flags, block)
        else:
            self._header_block = (number, flags, bytearray(block))

    def _continuation(self, flags: int, number: int, block: bytes) -> None:
        if self._header_block is None or self._header_block[0] != number:
            raise ConnectionBroken(PROTOCOL_ERROR, "a continuation of no header block")
        first_flags, whole = self._header_block[1], self._header_block[2]
        whole += block
        if len(whole) > MAX_LIST_SIZE:
            raise ConnectionBroken(ENHANCE_YOUR_CALM, f"a header block is over {MAX_LIST_SIZE} bytes")
        if flags & END_HEADERS:
            self._header_block = None
            self._header_block_complete(number, first_flags, bytes(whole))

    def _header_block_complete(self, number: int, flags: int, block: bytes) -> None:
        headers = self._header_reader.read(block)
        if number <= self._last_id:
            self._trailers(number, flags, headers)
            return
        if not number & 1:
            raise ConnectionBroken(PROTOCOL_ERROR, f"stream id {number} is not a client's")
        self._last_id = number
        if self._leaving or len(self.streams) >= MAX_STREAMS:
            self._reset(number, REFUSED_STREAM, ended=bool(flags & END_STREAM))
            return
        if not is_request(headers):
            self._reset(number, PROTOCOL_ERROR, ended=bool(flags & END_STREAM))
            return
        stream = self.streams[number] = Stream(number, headers, self._stream_window)
        self.request_started(stream)
        if flags & END_STREAM and not stream.answered:
            stream.complete = True
            self.request_complete(stream)

    def _trailers(self, number: int, flags: int, headers: list[Header]) -> None:
        stream = self.streams.get(number)
        if stream is None:
            self._late(number, flags)
            return
        if stream.complete:
            raise ConnectionBroken(STREAM_CLOSED, f"headers after the end of stream {number}")
        if not flags & END_STREAM or any(name.startswith(b":") for name, _ in headers):
            raise ConnectionBroken(PROTOCOL_ERROR, f"a second header block in stream {number} that is no trailers")
        stream.complete = True
        self.buffered -= stream.size
        self.request_complete(stream)

    def _control(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            self._window_update(number, payload)
        elif kind == PING:
            if len(payload) != 8 or number:
                raise ConnectionBroken(FRAME_SIZE_ERROR, "a ping has 8 bytes and no stream")
            if not flags & ACK:
                self._out += (_FRAME.pack(8 << 8 | PING, ACK, 0), payload)
        elif kind == SETTINGS:
            self._settings(number, flags, payload)
        elif kind == RST_STREAM:
            self._reset_by_peer(number, payload)
        elif kind == CONTINUATION:
            self._continuation(flags, number, payload)
        elif kind == PUSH_PROMISE:
            raise ConnectionBroken(PROTOCOL_ERROR, "a client cannot push")
        elif kind == PRIORITY:
            if len(payload) != 5:
                raise ConnectionBroken(FRAME_SIZE_ERROR, "a priority has 5 bytes")
            if not number:
                raise ConnectionBroken(PROTOCOL_ERROR, "a priority of no stream")
        elif kind == GOAWAY and number:
            raise ConnectionBroken(PROTOCOL_ERROR, "only a whole connection goes away")
        # Priorities have no meaning here; a client that goes away closes when it has its replies; frames of unknown
        # type must be skipped.

    def _settings(self, number: int, flags: int, payload: bytes) -> None:
        if number:
            raise ConnectionBroken(PROTOCOL_ERROR, "settings of a stream")
        if len(payload) % 6 or (flags & ACK and payload):
            raise ConnectionBroken(FRAME_SIZE_ERROR, "settings have 6 bytes each, their acknowledgement has none")
        if flags & ACK:
            return
        for key, value in _SETTING.iter_unpack(payload):
            if key == _INITIAL_WINDOW_SETTING:
                if value > _MAX_WINDOW:
                    raise ConnectionBroken(FLOW_CONTROL_ERROR, f"a window of {value} bytes is too large")
                for stream in self.streams.values():
                    stream.window += value - self._stream_window
                self._stream_window = value
            elif key == _PUSH_SETTING and value > 1:
                raise ConnectionBroken(PROTOCOL_ERROR, "push is either on or off")
            elif key == _MAX_FRAME_SETTING:
                if not _DEFAULT_FRAME <= value < 1 << 24:
                    raise ConnectionBroken(PROTOCOL_ERROR, f"a frame size of {value} bytes is not allowed")
                self._peer_frame = value
        self._out.append(_SETTINGS_ACK)
        self._send_waiting()

    def _window_update(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionBroken(FRAME_SIZE_ERROR, "a window update has 4 bytes")
        increment = unpack_from(">I", payload)[0] & _MAX_WINDOW
        if number == 0:
            if not increment or self._window + increment > _MAX_WINDOW:
                raise ConnectionBroken(FLOW_CONTROL_ERROR, "the connection's window grew past its limit, or by nothing")
            self._window += increment
        else:
            stream = self.streams.get(number)
            if stream is None:
                if number > self._last_id:
                    raise ConnectionBroken(PROTOCOL_ERROR, f"a window of stream {number}, which is not open")
                return
            stream.window += increment
            if not increment or stream.window > _MAX_WINDOW:
                self._close(stream)
                self._reset(number, FLOW_CONTROL_ERROR if increment else PROTOCOL_ERROR, ended=stream.complete)
        if self._waiting:
            self._send_waiting()

    def _reset_by_peer(self, number: int, payload: bytes) -> None:
        if len(payload) != 4 or number == 0 or number > self._last_id:
            raise ConnectionBroken(PROTOCOL_ERROR, "a reset of no stream")
        self._refused.pop(number, None)
        stream = self.streams.get(number)
        if stream is None:
            return
        self._resets += 1
        self._close(stream)
        if self._resets > _MAX_RESETS:
            raise ConnectionBroken(ENHANCE_YOUR_CALM, "too many requests were taken back")

    def _reset(self, number: int, code: int, *, ended: bool) -> None:
        """Take a stream back. `ended`: the client has sent all of it."""
        if not ended:
            self._refused[number] = None
            if len(self._refused) > _MAX_REFUSED:
                del self._refused[next(iter(self._refused))]
        self._out += (_FRAME.pack(4 << 8 | RST_STREAM, 0, number), code.to_bytes(4, "big"))

    # -- writing --------------------------------------------------------------------------------
    def _close(self, stream: Stream) -> None:
        self.streams.pop(stream.id, None)
        self._waiting.pop(stream.id, None)
        if stream.answered and stream.unsent is None and self._resets:
            self._resets -= 1
        if not stream.complete:
            self.buffered -= stream.size
            if stream.answered:
                self._reset(stream.id, NO_ERROR, ended=False)

    def _send_waiting(self) -> None:
        """Send of the waiting answers what the windows and the socket allow, in turns."""
        for stream in list(self._waiting.values()):
            if self._paused:
                return
            self._send_some(stream)

    def _send_some(self, stream: Stream) -> None:
        unsent = stream.unsent
        assert unsent is not None
        total = len(unsent.body)
        while unsent.position < total:
            allowed = min(stream.window, self._window)
            if allowed <= 0:
                return
            size = min(allowed, self._peer_frame, total - unsent.position)
            stream.window -= size
            self._window -= size
            self._out.append(_FRAME.pack(size << 8, 0, stream.id))
            self._out.append(unsent.body[unsent.position : unsent.position + size])
            unsent.position += size
            if len(self._out) * self._peer_frame > _WRITE_CHUNK:
                self._flush()
                if self._paused:
                    return
        self._out += (
            _FRAME.pack(len(unsent.trailers) << 8 | HEADERS, END_HEADERS | END_STREAM, stream.id),
            unsent.trailers,
        )
        stream.unsent = None
        self._close(stream)

    def _flush(self) -> None:
        out = self._out
        if not out or self._transport is None:
            return
        self._out = []
        self._transport.write(b"".join(out))
        if self._leaving and not self.streams:
            self._transport.close()

    def _break(self, code: int, message: str) -> None:
        if self._transport is None:
            return
        text = message.encode()
        self._out += (_FRAME.pack((8 + len(text)) << 8 | GOAWAY, 0, 0), _PAIR.pack(self._last_id, code), text)
        self._flush()
        self._transport.close()
        self._rest = b""


def _unpadded(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise ConnectionBroken(PROTOCOL_ERROR, "the padding of a frame is longer than the frame")
    return payload[1 : len(payload) - payload[0]]


_PSEUDO = frozenset({b":method", b":scheme", b":path", b":authority"})
_REQUIRED = frozenset({b":method", b":scheme", b":path"})
_OF_CONNECTIONS = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})


@lru_cache(maxsize=1024)
def _is_plain_name(name: bytes) -> bool:
    """A header of the request's own, in lower case."""
    return bool(name) and name == name.lower() and name not in _OF_CONNECTIONS


def is_request(headers: list[Header]) -> bool:
    """Whether these may be the headers of a request: its four own ones first, once each, then others."""
    own: dict[bytes, bytes] = {}
    begun = False
    for name, value in headers:
        if name in _PSEUDO:
            if begun or name in own:
                return False
            own[name] = value
        else:
            begun = True
            if name[:1] == b":" or not _is_plain_name(name) or (name == b"te" and value != b"trailers"):
                return False
    return own.keys() >= _REQUIRED and bool(own[b":path"])
