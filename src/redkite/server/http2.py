"""The server's side of one HTTP/2 connection (RFC 9113), as an asyncio protocol without tasks.

A subclass answers requests: `request_started` when the headers of a stream are there, `request_grew` while its body
comes, `request_complete` at its end. It answers with `respond` or `refuse`, at once or later, from the loop's thread.
Bytes of the peer's that break the protocol end the connection with a GOAWAY that says why.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from struct import unpack_from

from redkite.server.buffered import Buffered
from redkite.server.frames import HELLO, MAX_FRAME, MAX_STREAMS, is_large, is_request, piece
from redkite.server.streams import Stream, Unsent
from redkite.wire.headers import MAX_LIST_SIZE, Header, HeaderError, HeaderReader
from redkite.wire.http2 import (
    ACK,
    CANCEL,
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
    MAX_WINDOW,
    NO_ERROR,
    PADDED,
    PAIR,
    PING,
    PREFACE,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    PUSH_SETTING,
    REFUSED_STREAM,
    RST_STREAM,
    SETTING,
    SETTINGS,
    SETTINGS_ACK,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    ConnectionBroken,
    unpadded,
)

MAX_BUFFERED = 1 << 30
"""Bytes of unfinished requests, over all connections that share the count."""
MAX_UNSENT = 1 << 29
"""Bytes of answers that one client does not take."""
HEADER_SECONDS = 30.0
"""How long a frame, or the headers of a request, may take to come."""
BODY_SECONDS = 60.0
"""How long the body of a request may take, …"""
BODY_RATE = 1 << 16
"""… and a second more for so many bytes of it, shared by all that come on its connection."""
STALL_SECONDS = 60.0
"""How long a client may take nothing of an answer."""
_LOOK_SECONDS = 10.0
_MOST_CONTINUATIONS = 32
_RENEW_WINDOW = 1 << 28
_WRITE_CHUNK = 1 << 18
_WRITE_HIGH = 1 << 20
_MAX_UNREAD = 1 << 24
"""Bytes for a client that asks and does not read, beyond which it is sent away."""
_MAX_REFUSED = 1_000
"""Refused requests that are remembered, because more of them may still arrive."""
_MAX_RESETS = 1_000
"""Unanswered requests a client may take back before it is sent away."""


class Http2Connection(asyncio.Protocol, ABC):
    """One client. All methods run in the event loop's thread."""

    def __init__(self, shared: Buffered | None = None, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """`shared` counts the bytes of unfinished requests of all connections. `loop` has the timers by which clients
        that take too long are sent away; without it they are not."""
        self.streams: dict[int, Stream] = {}
        self.buffered = 0
        self._shared = shared or Buffered(MAX_BUFFERED)
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._frames_at = 0.0
        self._sent_at = 0.0
        self._left = 0
        self._coming = 0
        self._unsent = 0
        self._held = False
        self._continuations = 0
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._greeted = self._closing = False
        self._header_reader = HeaderReader()
        self._last_id = 0
        self._header_block: tuple[int, int, bytearray] | None = None
        self._received = 0
        self._window = DEFAULT_WINDOW
        self._stream_window = DEFAULT_WINDOW
        self._peer_frame = DEFAULT_FRAME
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

    def request_overflowed(self, stream: Stream) -> None:
        """There is no room for the rest of it."""
        self._drop(stream)

    def request_abandoned(self, stream: Stream) -> None:
        """The client has taken the request back, or is gone."""

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
                FRAME.pack(len(head) << 8 | HEADERS, END_HEADERS, number),
                head,
                FRAME.pack(size << 8, 0, number),
                *body,
                FRAME.pack(len(trailers) << 8 | HEADERS, END_HEADERS | END_STREAM, number),
                trailers,
            )
            self._close(stream)
        else:
            self._out += (FRAME.pack(len(head) << 8 | HEADERS, END_HEADERS, number), head)
            stream.unsent = Unsent(memoryview(b"".join(body)), trailers)
            self._unsent += size
            self._sent_at = self._time()
            self._waiting[number] = stream
            self._send_waiting()
            self._watch()
        if not self._reading:
            self._flush()

    def refuse(self, stream: Stream, block: bytes) -> None:
        """Answer with headers alone; what else the client sends of this request is thrown away."""
        if stream.answered or self._transport is None or stream.id not in self.streams:
            return
        stream.answered = True
        self._out += (FRAME.pack(len(block) << 8 | HEADERS, END_HEADERS | END_STREAM, stream.id), block)
        self._close(stream)
        if not self._reading:
            self._flush()

    def hold(self) -> None:
        """Read nothing more for now."""
        if self._transport is not None and not self._held:
            self._held = True
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Read again after `hold`."""
        if self._transport is not None and self._held:
            self._held = False
            self._frames_at = self._time()
            self._transport.resume_reading()

    def leave(self) -> None:
        """Take no new requests; the connection ends when the last running one is answered."""
        if self._transport is None or self._leaving:
            return
        self._leaving = True
        self._out += (FRAME.pack(8 << 8 | GOAWAY, 0, 0), PAIR.pack(self._last_id, NO_ERROR))
        self._flush()

    def abort(self) -> None:
        """End the connection now."""
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio's side -------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(_WRITE_HIGH)
        transport.write(HELLO)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        for stream in self.streams.values():
            self.request_abandoned(stream)
        self._shared.give_back(self.buffered)
        self.buffered = self._coming = self._unsent = 0
        self.streams.clear()
        self._waiting.clear()

    def pause_writing(self) -> None:
        self._paused = True
        self._watch()

    def resume_writing(self) -> None:
        self._paused = False
        self._send_waiting()
        self._flush()

    def data_received(self, data: bytes) -> None:
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
        self._watch()
        if self._paused and self._transport is not None and self._transport.get_write_buffer_size() > _MAX_UNREAD:
            self._transport.abort()

    # -- reading --------------------------------------------------------------------------------
    def _read(self, data: bytes) -> None:
        rest, self._rest = self._rest, b""
        head = rest if len(rest) == FRAME.size and self._greeted else b""
        if rest and not head:
            data = rest + data
        position, end = 0, len(data)
        if not self._greeted:
            if end < len(PREFACE) and PREFACE.startswith(data):
                self._rest = data
                return
            if not data.startswith(PREFACE):
                raise ConnectionBroken(PROTOCOL_ERROR, "not an HTTP/2 connection preface")
            self._greeted, position = True, len(PREFACE)
        while head or end - position >= FRAME.size:
            word, flags, number = FRAME.unpack_from(head or data, 0 if head else position)
            number &= MAX_WINDOW
            length, kind = word >> 8, word & 0xFF
            if length > MAX_FRAME:
                raise ConnectionBroken(FRAME_SIZE_ERROR, f"a frame of {length} bytes is over the limit of {MAX_FRAME}")
            if self._header_block is not None and kind != CONTINUATION:
                raise ConnectionBroken(PROTOCOL_ERROR, "a header block was interrupted")
            start = position if head else position + FRAME.size
            if start + length > end:
                if kind == DATA and is_large(end - start, end) and not flags & PADDED:
                    # What is there of it need not be copied again when the rest of it comes, which is the same frame.
                    self._data(number, flags & ~END_STREAM, memoryview(data)[start:])
                    head, position = FRAME.pack((length - end + start) << 8 | DATA, flags, number), end
                break
            position, head = start + length, b""
            if kind == DATA:
                self._data(number, flags, piece(data, start, position))
            elif kind == HEADERS:
                self._headers(number, flags, data[start:position])
            else:
                self._control(kind, flags, number, data[start:position])
            if self._transport is None:
                return
        self._rest = head + data[position:]
        if not self._rest and self._header_block is None:
            self._frames_at = 0.0
        elif position or not self._frames_at:
            self._frames_at = self._time()

    def _data(self, number: int, flags: int, chunk: bytes | memoryview) -> None:
        self._received += len(chunk)
        if self._received > _RENEW_WINDOW:
            self._out += (FRAME.pack(4 << 8 | WINDOW_UPDATE, 0, 0), self._received.to_bytes(4, "big"))
            self._received = 0
        stream = self.streams.get(number)
        if stream is None:
            self._late(number, flags)
            return
        if stream.complete:
            raise ConnectionBroken(STREAM_CLOSED, f"data after the end of stream {number}")
        if flags & PADDED:
            chunk = unpadded(bytes(chunk))
        if chunk:
            stream.keep(chunk)
        if flags & END_STREAM:
            self._complete(stream)
            return
        if not self._shared.take(len(chunk)):
            self.request_overflowed(stream)
            return
        self.buffered += len(chunk)
        stream.counted += len(chunk)
        self.request_grew(stream)

    def _complete(self, stream: Stream) -> None:
        """All of a request is there."""
        self._coming -= 1
        stream.complete = True
        if stream.counted:
            self._uncount(stream)
        self.request_complete(stream)

    def _uncount(self, stream: Stream) -> None:
        self.buffered -= stream.counted
        self._shared.give_back(stream.counted)
        stream.counted = 0

    def _late(self, number: int, flags: int) -> None:
        """Data or headers for a stream that is not open: allowed while the client cannot know that it was refused."""
        if number == 0 or number > self._last_id:
            raise ConnectionBroken(PROTOCOL_ERROR, f"data for stream {number}, which is not open")
        if number not in self._refused:
            raise ConnectionBroken(STREAM_CLOSED, f"a frame for stream {number}, which is closed")
        if flags & END_STREAM:
            del self._refused[number]

    def _headers(self, number: int, flags: int, block: bytes) -> None:
        if number == 0:
            raise ConnectionBroken(PROTOCOL_ERROR, "headers of no stream")
        if flags & PADDED:
            block = unpadded(block)
        if flags & WITH_PRIORITY:
            if len(block) < 5:
                raise ConnectionBroken(FRAME_SIZE_ERROR, "a header frame is too short")
            block = block[5:]
        if flags & END_HEADERS:
            self._header_block_complete(number, flags, block)
        else:
            self._header_block = (number, flags, bytearray(block))
            self._continuations = 0

    def _continuation(self, flags: int, number: int, block: bytes) -> None:
        if self._header_block is None or self._header_block[0] != number:
            raise ConnectionBroken(PROTOCOL_ERROR, "a continuation of no header block")
        first_flags, whole = self._header_block[1], self._header_block[2]
        whole += block
        self._continuations += 1
        if len(whole) > MAX_LIST_SIZE or self._continuations > _MOST_CONTINUATIONS:
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
        self._coming += 1
        self.request_started(stream)
        if flags & END_STREAM and not stream.answered:
            self._complete(stream)

    def _trailers(self, number: int, flags: int, headers: list[Header]) -> None:
        stream = self.streams.get(number)
        if stream is None:
            self._late(number, flags)
            return
        if stream.complete:
            raise ConnectionBroken(STREAM_CLOSED, f"headers after the end of stream {number}")
        if not flags & END_STREAM or any(name.startswith(b":") for name, _ in headers):
            raise ConnectionBroken(PROTOCOL_ERROR, f"a second header block in stream {number} that is no trailers")
        self._complete(stream)

    def _control(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            self._window_update(number, payload)
        elif kind == PING:
            if len(payload) != 8 or number:
                raise ConnectionBroken(FRAME_SIZE_ERROR, "a ping has 8 bytes and no stream")
            self._out += () if flags & ACK else (FRAME.pack(8 << 8 | PING, ACK, 0), payload)
        elif kind == SETTINGS:
            self._settings(number, flags, payload)
        elif kind == RST_STREAM:
            self._reset_by_peer(number, payload)
        elif kind == CONTINUATION:
            self._continuation(flags, number, payload)
        elif kind == PUSH_PROMISE:
            raise ConnectionBroken(PROTOCOL_ERROR, "a client cannot push")
        elif kind == PRIORITY and len(payload) != 5:
            raise ConnectionBroken(FRAME_SIZE_ERROR, "a priority has 5 bytes")
        elif kind == PRIORITY and not number:
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
        window = self._stream_window
        for key, value in SETTING.iter_unpack(payload):
            if key == INITIAL_WINDOW_SETTING:
                if value > MAX_WINDOW:
                    raise ConnectionBroken(FLOW_CONTROL_ERROR, f"a window of {value} bytes is too large")
                window = value
            elif key == PUSH_SETTING and value > 1:
                raise ConnectionBroken(PROTOCOL_ERROR, "push is either on or off")
            elif key == MAX_FRAME_SETTING:
                if not DEFAULT_FRAME <= value < 1 << 24:
                    raise ConnectionBroken(PROTOCOL_ERROR, f"a frame size of {value} bytes is not allowed")
                self._peer_frame = value
        self._out.append(SETTINGS_ACK)
        if window != self._stream_window:
            for stream in self.streams.values():
                stream.window += window - self._stream_window
            self._stream_window = window
            self._send_waiting()

    def _window_update(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionBroken(FRAME_SIZE_ERROR, "a window update has 4 bytes")
        increment = unpack_from(">I", payload)[0] & MAX_WINDOW
        if number == 0:
            if not increment or self._window + increment > MAX_WINDOW:
                raise ConnectionBroken(FLOW_CONTROL_ERROR, "the connection's window grew past its limit, or by nothing")
            was, self._window = self._window, self._window + increment
            if was <= 0:  # else nothing waits for this window
                self._send_waiting()
        else:
            stream = self.streams.get(number)
            if stream is None:
                if number > self._last_id:
                    raise ConnectionBroken(PROTOCOL_ERROR, f"a window of stream {number}, which is not open")
                return
            stream.window += increment
            if not increment or stream.window > MAX_WINDOW:
                self._give_up(stream)
                self._reset(number, FLOW_CONTROL_ERROR if increment else PROTOCOL_ERROR, ended=stream.complete)
            elif stream.unsent is not None and not self._paused:
                self._send_some(stream)

    def _reset_by_peer(self, number: int, payload: bytes) -> None:
        if len(payload) != 4 or number == 0 or number > self._last_id:
            raise ConnectionBroken(PROTOCOL_ERROR, "a reset of no stream")
        self._refused.pop(number, None)
        stream = self.streams.get(number)
        if stream is not None:
            self._give_up(stream)

    def _give_up(self, stream: Stream) -> None:
        """A stream that the client ends before its answer, by a reset or by breaking a rule of it."""
        self._resets += 1
        self.request_abandoned(stream)
        self._close(stream)
        if self._resets > _MAX_RESETS:
            raise ConnectionBroken(ENHANCE_YOUR_CALM, "too many requests were taken back")

    def _reset(self, number: int, code: int, *, ended: bool) -> None:
        """Take a stream back. `ended`: the client has sent all of it."""
        if not ended:
            self._refused[number] = None
            if len(self._refused) > _MAX_REFUSED:
                del self._refused[next(iter(self._refused))]
        self._out += (FRAME.pack(4 << 8 | RST_STREAM, 0, number), code.to_bytes(4, "big"))

    # -- writing --------------------------------------------------------------------------------
    def _close(self, stream: Stream) -> None:
        self.streams.pop(stream.id, None)
        self._waiting.pop(stream.id, None)
        if stream.answered and stream.unsent is None and self._resets:
            self._resets -= 1
        if stream.unsent is not None:
            self._unsent -= len(stream.unsent.body)
        if not stream.complete:
            self._coming -= 1
            self._uncount(stream)
            stream.body = []
            if stream.answered:
                self._reset(stream.id, NO_ERROR, ended=False)

    def _drop(self, stream: Stream) -> None:
        """Take back what has not come whole."""
        self.request_abandoned(stream)
        self._close(stream)
        self._reset(stream.id, CANCEL, ended=stream.complete)

    # -- clients that take their time -----------------------------------------------------------
    def _time(self) -> float:
        return 0.0 if self._loop is None else self._loop.time()

    def _watch(self) -> None:
        """Look after a while whether what is under way has come further."""
        if self._timer is not None or self._loop is None or self._transport is None:
            return
        if self._coming or self._rest or self._header_block or self._waiting or self._paused or self._closing:
            self._timer = self._loop.call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        transport, now = self._transport, self._time()
        if transport is None:
            return
        left = transport.get_write_buffer_size()
        if left != self._left:
            self._left, self._sent_at = left, now
        if self._unsent > MAX_UNSENT or ((left or self._waiting) and now - self._sent_at > STALL_SECONDS):
            transport.abort()
            return
        if (self._rest or self._header_block is not None) and not self._held and now - self._frames_at > HEADER_SECONDS:
            self._break(ENHANCE_YOUR_CALM, f"a frame or header block did not come within {HEADER_SECONDS:g} seconds")
            return
        for stream in list(self.streams.values()):
            stream.since = stream.since or now
            if not stream.complete and now - stream.since > BODY_SECONDS + stream.size * self._coming / BODY_RATE:
                self._drop(stream)
        self._flush()
        self._watch()

    def _send_waiting(self) -> None:
        """Send of the waiting answers what the windows and the socket allow, in turns."""
        for stream in list(self._waiting.values()):
            if self._paused or self._window <= 0:
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
            self._out += (FRAME.pack(size << 8, 0, stream.id), unsent.body[unsent.position : unsent.position + size])
            unsent.position += size
            self._sent_at = self._time()
            if len(self._out) * self._peer_frame > _WRITE_CHUNK:
                self._flush()
                if self._paused:
                    return
        self._out += (
            FRAME.pack(len(unsent.trailers) << 8 | HEADERS, END_HEADERS | END_STREAM, stream.id),
            unsent.trailers,
        )
        self._unsent -= total
        stream.unsent = None
        self._close(stream)

    def _flush(self) -> None:
        out = self._out
        if not out or self._transport is None:
            return
        self._out = []
        self._transport.write(b"".join(out))
        if self._leaving and not self.streams:
            self._end()

    def _end(self) -> None:
        """Close when all that is written was taken; not if nothing of it is."""
        assert self._transport is not None
        self._transport.close()
        self._closing = True
        self._watch()

    def _break(self, code: int, message: str) -> None:
        if self._transport is None:
            return
        text = message.encode()
        self._out += (FRAME.pack((8 + len(text)) << 8 | GOAWAY, 0, 0), PAIR.pack(self._last_id, code), text)
        self._flush()
        self._end()
        self._rest = b""
