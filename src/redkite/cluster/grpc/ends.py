"""What both ends of a connection between nodes have in common: HTTP/2 (RFC 9113) without I/O.

An end is fed the bytes that arrive, and collects in `output` those that are to be sent. Bodies are taken apart as they
come, so that a message of hundreds of megabytes is copied once.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from typing import Final, Generic, TypeVar

from redkite.env import Buffer
from redkite.wire.headers import MAX_LIST_SIZE, Header, HeaderError, HeaderReader
from redkite.wire.http2 import (
    ACK,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    DEFAULT_FRAME,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SETTING,
    MAX_FRAME_SETTING,
    MAX_LIST_SETTING,
    MAX_WINDOW,
    NO_ERROR,
    PADDED,
    PAIR,
    PING,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTING,
    SETTINGS,
    SETTINGS_ACK,
    TABLE_SIZE_SETTING,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    ConnectionBroken,
    unpadded,
)

OWN_FRAME: Final = 1 << 22
"""Bytes of one frame that the peer may send."""
PREFIX: Final = struct.Struct(">BI")
"""Before a message: whether it is compressed, and its bytes."""
OK, UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = 0, 2, 4, 8, 12, 13
"""Statuses of gRPC."""
_REFILL: Final = 1 << 28
_COPIED: Final = 1 << 20
"""Up to so many bytes a message that is sent in parts is put behind its prefix."""
_MOST_UNASKED: Final = 1 << 20
"""Bytes that answer what the peer says of the connection, waiting to be sent."""
_LARGEST_OTHER: Final = 1 << 16
"""Bytes of a frame that is no data: it is kept until it is whole, and put together anew with every piece."""

OPENING: Final = b"".join((
    FRAME.pack(24 << 8 | SETTINGS, 0, 0),
    SETTING.pack(TABLE_SIZE_SETTING, 4096), SETTING.pack(INITIAL_WINDOW_SETTING, MAX_WINDOW),
    SETTING.pack(MAX_FRAME_SETTING, OWN_FRAME), SETTING.pack(MAX_LIST_SETTING, MAX_LIST_SIZE),
    FRAME.pack(4 << 8 | WINDOW_UPDATE, 0, 0), (MAX_WINDOW - DEFAULT_WINDOW).to_bytes(4, "big"),
))  # fmt: skip
"""What each end says first: windows that never close, and long frames."""


class Body:
    """A message that comes in, in one piece or several."""

    __slots__ = ("chunks", "size")

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.size = 0

    def message(self) -> bytes | None:
        """None where it is not one whole plain message, as gRPC frames it."""
        chunks = self.chunks
        if not chunks:
            return None
        if len(chunks) > 1 and len(chunks[0]) < PREFIX.size:
            chunks = [b"".join(chunks)]
        first = chunks[0]
        if len(first) < PREFIX.size:
            return None
        compressed, length = PREFIX.unpack_from(first)
        if compressed or length != self.size - PREFIX.size:
            return None
        if len(chunks) == 1:
            return first[PREFIX.size :]
        chunks[0] = first[PREFIX.size :]
        return b"".join(chunks)


S = TypeVar("S", bound=Body)


class _Unsent:
    """The part of a message that waits for the peer's window, and the frame that ends its stream."""

    __slots__ = ("left", "tail", "window")

    def __init__(self, left: memoryview, window: int, tail: bytes) -> None:
        self.left = left
        self.window = window
        self.tail = tail


class End(ABC, Generic[S]):
    """One end. Used by one thread at a time."""

    def __init__(self) -> None:
        self.output: list[Buffer] = [OPENING]
        self.greeted = False
        """Whether the peer has said its settings."""
        self.streams: dict[int, S] = {}
        """Of what has not come whole."""
        self.last = 0
        """The newest stream of the peer that was looked at."""
        self._unasked = 0
        self._rest = b""
        self._filling = 0
        """Bytes that are to come of a frame of data, …"""
        self._filled = 0
        """… its stream, …"""
        self._fills_up = False
        """… and whether the stream ends with it."""
        self._consumed = 0
        self._window = DEFAULT_WINDOW
        self._initial_window = DEFAULT_WINDOW
        self._peer_frame = DEFAULT_FRAME
        self._unsent: dict[int, _Unsent] = {}
        self._block: tuple[int, int, bytearray] | None = None
        self._headers = HeaderReader()

    # -- what arrives -----------------------------------------------------------------------------
    @property
    def expects_much(self) -> bool:
        """Whether a large piece of a message is on its way."""
        return self._filling > DEFAULT_WINDOW

    def feed(self, data: bytes) -> None:
        """Take bytes of the peer. Raises ConnectionBroken for what is not HTTP/2."""
        try:
            if not self._rest and not self._filling and self._block is None:
                at = self._whole(data)
                if at == len(data):
                    return
                data = data[at:] if at else data
            self._feed(data)
        except HeaderError as error:
            raise ConnectionBroken(COMPRESSION_ERROR, str(error)) from None
        except struct.error:
            raise ConnectionBroken(FRAME_SIZE_ERROR, "a frame has too few bytes for its kind") from None

    def _feed(self, data: bytes) -> None:
        if self._rest:
            data, self._rest = self._rest + data, b""
        at, end = 0, len(data)
        if self._filling:
            at = self._fill(data, 0)
        while end - at >= FRAME.size:
            word, flags, number = FRAME.unpack_from(data, at)
            length, kind, number = word >> 8, word & 0xFF, number & MAX_WINDOW
            if length > OWN_FRAME:
                raise ConnectionBroken(FRAME_SIZE_ERROR, f"a frame of {length} bytes is over the limit of {OWN_FRAME}")
            if self._block is not None and kind != CONTINUATION:
                raise ConnectionBroken(PROTOCOL_ERROR, "a header block was interrupted")
            if kind == DATA and not flags & PADDED:
                self._filling, self._filled, self._fills_up = length, number, bool(flags & END_STREAM)
                at = self._fill(data, at + FRAME.size)
                continue
            if kind != DATA and length > _LARGEST_OTHER:
                raise ConnectionBroken(ENHANCE_YOUR_CALM, f"a frame of {length} bytes that is no data")
            stop = at + FRAME.size + length
            if stop > end:
                break
            payload = data[at + FRAME.size : stop]
            at = stop
            if kind == HEADERS:
                self._header_frame(number, flags, payload)
            elif kind == DATA:
                self._came(number, unpadded(payload), bool(flags & END_STREAM), length)
            else:
                self._control(kind, flags, number, payload)
        self._rest = data[at:]

    def _fill(self, data: bytes, at: int) -> int:
        """Take of a frame of data what is there; where it ends."""
        piece = data[at : at + self._filling]
        self._filling -= len(piece)
        self._came(self._filled, piece, self._fills_up and not self._filling, len(piece))
        return at + len(piece)

    def _came(self, number: int, piece: bytes, is_last: bool, length: int) -> None:
        self._count(length)
        stream = self.streams.get(number)
        if stream is None:
            if not number:
                raise ConnectionBroken(PROTOCOL_ERROR, "data of no stream")
            return  # given up meanwhile
        if piece:
            stream.chunks.append(piece)
            stream.size += len(piece)
            self._grew(number, stream)
        if is_last and number in self.streams:  # else it was too much
            self._ended(number, stream)

    def _count(self, length: int) -> None:
        """Bytes of data have come: now and then the peer is told that it may send as many again."""
        self._consumed += length
        if self._consumed > _REFILL:
            self.output += (FRAME.pack(4 << 8 | WINDOW_UPDATE, 0, 0), self._consumed.to_bytes(4, "big"))
            self._consumed = 0

    def _header_frame(self, number: int, flags: int, block: bytes) -> None:
        if not number:
            raise ConnectionBroken(PROTOCOL_ERROR, "headers of no stream")
        if flags & PADDED:
            block = unpadded(block)
        if flags & WITH_PRIORITY:
            block = block[5:]
        if flags & END_HEADERS:
            self._begun(number, block, bool(flags & END_STREAM))
        else:
            self._block = number, flags, bytearray(block)

    def _continued(self, number: int, flags: int, block: bytes) -> None:
        if self._block is None or self._block[0] != number:
            raise ConnectionBroken(PROTOCOL_ERROR, "a continuation of no header block")
        whole = self._block[2]
        whole += block
        if len(whole) > MAX_LIST_SIZE or not block:
            raise ConnectionBroken(ENHANCE_YOUR_CALM, f"a header block is over {MAX_LIST_SIZE} bytes, or in crumbs")
        if flags & END_HEADERS:
            is_last = bool(self._block[1] & END_STREAM)
            self._block = None
            self._begun(number, bytes(whole), is_last)

    def read_block(self, block: bytes) -> list[Header]:
        """Blocks share a table, so that each has to be read, in order, but for those that leave it alone."""
        return self._headers.read(block)

    @abstractmethod
    def _whole(self, data: bytes) -> int:
        """Take what begins with frames as they nearly always come, if it does: a short way for short messages. Where
        it ends."""

    @staticmethod
    def _short_message(data: bytes, at: int, number: int, ending: int) -> bytes | None:
        """The one message of a frame of data that is there as a whole, and has these flags."""
        if len(data) - at < FRAME.size + PREFIX.size:
            return None
        word, flags, same = FRAME.unpack_from(data, at)
        start, length = at + FRAME.size + PREFIX.size, (word >> 8) - PREFIX.size
        if word & 0xFF != DATA or flags != ending or same != number or length < 0 or start + length > len(data):
            return None
        if PREFIX.unpack_from(data, at + FRAME.size) != (0, length):
            return None
        return data[start : start + length]

    @abstractmethod
    def _begun(self, number: int, block: bytes, is_last: bool) -> None:
        """A header block is there."""

    @abstractmethod
    def _grew(self, number: int, stream: S) -> None:
        """More of a body is there."""

    @abstractmethod
    def _ended(self, number: int, stream: S) -> None:
        """All of a stream is there."""

    @abstractmethod
    def _reset(self, number: int, code: int) -> None:
        """The peer has given up a stream."""

    @abstractmethod
    def _leaves(self, last: int) -> None:
        """The peer takes no new streams: the last that it has looked at."""

    # -- what the peer says of the connection -----------------------------------------------------
    def _control(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            self._window_update(number, int.from_bytes(payload, "big") & MAX_WINDOW)
        elif kind == PING:
            if not flags & ACK:
                self._say(FRAME.pack(len(payload) << 8 | PING, ACK, 0) + payload)
        elif kind == SETTINGS:
            if not flags & ACK:
                self._settings(payload)
        elif kind == RST_STREAM:
            self._unsent.pop(number, None)
            self._reset(number, int.from_bytes(payload, "big"))
        elif kind == CONTINUATION:
            self._continued(number, flags, payload)
        elif kind == GOAWAY:
            self._leaves(PAIR.unpack_from(payload)[0] & MAX_WINDOW)
        elif kind == PUSH_PROMISE:
            raise ConnectionBroken(PROTOCOL_ERROR, "nodes push nothing")
        # Priorities mean nothing here, and frames of unknown kinds are to be skipped.

    def _say(self, frame: bytes) -> None:
        """Answer what the peer says of the connection, unless it never reads what it is answered."""
        self._unasked = len(frame) + (self._unasked if self.output else 0)
        if self._unasked > _MOST_UNASKED:
            raise ConnectionBroken(ENHANCE_YOUR_CALM, "more is said of the connection than is listened to")
        self.output.append(frame)

    def _settings(self, payload: bytes) -> None:
        if len(payload) % SETTING.size:
            raise ConnectionBroken(FRAME_SIZE_ERROR, "settings have 6 bytes each")
        for key, value in SETTING.iter_unpack(payload):
            if key == INITIAL_WINDOW_SETTING:
                if value > MAX_WINDOW:
                    raise ConnectionBroken(FLOW_CONTROL_ERROR, f"a window of {value} bytes is too large")
                for unsent in self._unsent.values():
                    unsent.window += value - self._initial_window
                self._initial_window = value
            elif key == MAX_FRAME_SETTING:
                if not DEFAULT_FRAME <= value < 1 << 24:
                    raise ConnectionBroken(PROTOCOL_ERROR, f"a frame size of {value} bytes is not allowed")
                self._peer_frame = value
        self.greeted = True
        self._say(SETTINGS_ACK)
        self._send_waiting()

    def _window_update(self, number: int, more: int) -> None:
        if not number:
            self._window += more
            if self._window > MAX_WINDOW:
                raise ConnectionBroken(FLOW_CONTROL_ERROR, "the connection's window grew past its limit")
            self._send_waiting()
        elif number in self._unsent:
            self._unsent[number].window += more
            self._send_some(number)

    # -- what is sent -----------------------------------------------------------------------------
    def _send(self, number: int, head: bytes, message: Buffer, tail: bytes) -> None:
        """A header block, one message, and at the end a frame without its head: another block, or nothing."""
        size = len(message) + PREFIX.size
        prefix = PREFIX.pack(0, size - PREFIX.size)
        self.output += (FRAME.pack(len(head) << 8 | HEADERS, END_HEADERS, number), head)
        if size <= self._peer_frame and size <= self._initial_window and size <= self._window and not self._unsent:
            self._window -= size
            self.output += (FRAME.pack(size << 8, 0 if tail else END_STREAM, number), prefix, message)
            if tail:
                self.output += (FRAME.pack(len(tail) << 8 | HEADERS, END_HEADERS | END_STREAM, number), tail)
            return
        if size <= _COPIED or min(self._window, self._initial_window) < PREFIX.size:
            whole = memoryview(prefix + message)
        else:
            self.output += (FRAME.pack(PREFIX.size << 8, 0, number), prefix)
            self._window -= PREFIX.size
            whole = memoryview(message)
        self._unsent[number] = _Unsent(whole, self._initial_window - size + len(whole), tail)
        self._send_some(number)

    def _send_waiting(self) -> None:
        for number in [*self._unsent]:
            if self._window <= 0:
                return
            self._send_some(number)

    def _send_some(self, number: int) -> None:
        """As much of a message as the peer has room for."""
        unsent = self._unsent[number]
        while unsent.left:
            size = min(len(unsent.left), unsent.window, self._window, self._peer_frame)
            if size <= 0:
                return
            piece, unsent.left = unsent.left[:size], unsent.left[size:]
            unsent.window -= size
            self._window -= size
            flags = 0 if unsent.left or unsent.tail else END_STREAM
            self.output += (FRAME.pack(size << 8, flags, number), piece)
        if unsent.tail:
            tail = unsent.tail
            self.output += (FRAME.pack(len(tail) << 8 | HEADERS, END_HEADERS | END_STREAM, number), tail)
        del self._unsent[number]

    def reset(self, number: int, code: int) -> None:
        """Give up a stream."""
        self.streams.pop(number, None)
        self._unsent.pop(number, None)
        self.output += (FRAME.pack(4 << 8 | RST_STREAM, 0, number), code.to_bytes(4, "big"))

    def go_away(self, last: int, code: int = NO_ERROR, text: str = "") -> None:
        """Say that no new streams are taken."""
        said = text.encode()
        self.output += (FRAME.pack((8 + len(said)) << 8 | GOAWAY, 0, 0), PAIR.pack(last, code), said)

    def ping(self) -> None:
        """Ask for a sign of life."""
        self.output.append(FRAME.pack(8 << 8 | PING, 0, 0) + bytes(8))
