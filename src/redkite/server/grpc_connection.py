"""One gRPC client's connection: where a message ends, how it was compressed, and how long it may take.

Whoever is not known is looked at before their messages are read: until that is done a connection holds a few of their
bytes and no more.
"""

from __future__ import annotations

import asyncio
import functools
import math
import re
import time
from struct import Struct

from redkite.errors import MilvusException, RateLimited, Refused
from redkite.model.limits import LIMITS, Limits
from redkite.server.buffered import Buffered
from redkite.server.calls import as_milvus
from redkite.server.compression import (
    ACCEPTED,
    WORTH_BYTES,
    NotCompressed,
    TooLarge,
    deflated,
    inflated,
    is_known,
)
from redkite.server.dumping import Frames
from redkite.server.grpc import HEAD, INTERNAL, RESOURCE_EXHAUSTED, UNIMPLEMENTED, Done, Rpcs, failure
from redkite.server.http2 import Http2Connection
from redkite.server.observer import shown_address
from redkite.server.streams import Stream
from redkite.wire.headers import literal
from redkite.wire.methods import encode_error

STRANGER_BYTES = 65_536
"""Of the messages of one connection, while it is looked at who sends them. More is not read until that is known."""
STRANGER_SECONDS = 60.0
"""A connection that nobody known has used for so long after it was made is closed, where callers must be known."""
_PREFIX = Struct(">BI")
_LARGE_BYTES = 65_536
"""Messages and replies of more bytes are inflated and compressed in a thread."""
_TRAILERS_OK = literal(b"grpc-status", b"0")
_ACCEPTED = literal(b"grpc-accept-encoding", ACCEPTED)
_NOT_GRPC = literal(b":status", b"415") + literal(b"content-type", b"text/plain")
MOST_INFLATED = 1_032
"""Bytes that one byte of a compressed message makes at most."""
NO_ROOM = "the server holds as many unfinished requests as it may: try again"
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


class GrpcConnection(Http2Connection):
    """One gRPC client. Registers itself in `open_connections` while it lasts."""

    def __init__(
        self,
        rpcs: Rpcs,
        open_connections: set[GrpcConnection],
        limits: Limits = LIMITS,
        shared: Buffered | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._buffers = shared or Buffered(limits.max_unfinished_bytes)
        super().__init__(self._buffers, loop)
        self._rpcs = rpcs
        self._open = open_connections
        self._open.add(self)
        self._max_receive = limits.max_receive_bytes
        self._max_send = limits.max_send_bytes
        self._address = ""
        self._unknown = 0
        self._stranger = loop.call_later(STRANGER_SECONDS, self._send_away) if rpcs.is_guarded else None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._address = shown_address(transport.get_extra_info("peername"))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._open.discard(self)
        self._let_in()

    def data_received(self, data: bytes) -> None:
        if len(self._open) > 1:  # searches of other clients may come in this turn of the loop, and share a call
            super().data_received(data)
            return
        self._rpcs.calls.hold()
        try:
            super().data_received(data)
        finally:
            self._rpcs.calls.let_go()

    # -- who is it? -----------------------------------------------------------------------------
    def _let_in(self) -> None:
        """The connection is somebody's, or gone: it may stay as long as it likes."""
        if self._stranger is not None:
            self._stranger.cancel()
            self._stranger = None

    def _send_away(self) -> None:
        self._stranger = None
        self.leave()

    def _identify(self, stream: Stream) -> None:
        """See who calls, unless that is known."""
        try:
            if not self._rpcs.is_unknown(stream.headers):
                self._let_in()
                return
        except Refused as refused:
            self.refuse(stream, failure(refused.grpc_status, refused.message))
            return
        except Exception as error:  # noqa: BLE001  whatever went wrong is this call's answer, and no other's
            self._reply(stream, encode_error(stream.target, as_milvus(error)))
            return
        stream.is_unknown = True
        self._unknown += 1

        def known() -> None:
            self._let_in()
            self._seen(stream)
            if stream.complete and not stream.answered:
                self._begin(stream)

        def done(reply: bytes | Refused) -> None:
            self._seen(stream)
            stream.body = []
            self._reply(stream, reply)

        self._rpcs.look(stream.target, stream.headers, self._address, known, done)

    def _seen(self, stream: Stream) -> None:
        stream.is_unknown = False
        self._unknown -= 1
        if not self._unknown:
            self.go_on()

    # -- requests -------------------------------------------------------------------------------
    def request_started(self, stream: Stream) -> None:
        path = b""
        is_grpc = False
        for name, value in stream.headers:
            if name == b":path":
                path = value
            elif name == b"content-type":
                is_grpc = value.startswith(b"application/grpc")
            elif name == b"grpc-timeout":
                stream.deadline = time.monotonic() + timeout_seconds(value)
            elif name == b"grpc-encoding" and value != b"identity":
                stream.encoding = value
        if not is_grpc:
            self.refuse(stream, _NOT_GRPC)
            return
        method = self._rpcs.methods.get(path)
        if method is None:
            unknown = path.rsplit(b"/", 1)[-1].decode(errors="replace")
            self.refuse(stream, failure(UNIMPLEMENTED, f"method {unknown} not implemented"))
        elif stream.encoding and not is_known(stream.encoding):
            text = f"messages compressed with {stream.encoding.decode(errors='replace')} are not accepted"
            self.refuse(stream, failure(UNIMPLEMENTED, text) + _ACCEPTED)
        else:
            stream.target = method
            if self._rpcs.is_guarded:
                self._identify(stream)

    def request_grew(self, stream: Stream) -> None:
        size = stream.size
        if len(stream.body) == 1 and size >= _PREFIX.size:
            size = max(size, _PREFIX.unpack_from(stream.body[0])[1])
        if size > self._max_receive + _PREFIX.size:
            self._refuse_large(stream, size)
        elif stream.is_unknown and self.buffered > STRANGER_BYTES:
            self.hold()

    def request_complete(self, stream: Stream) -> None:
        if not stream.is_unknown:
            self._begin(stream)

    def request_overflowed(self, stream: Stream) -> None:
        stream.body = []
        self._reply(stream, encode_error(stream.target, RateLimited(NO_ROOM)))

    def request_abandoned(self, stream: Stream) -> None:
        if stream.call is not None:
            stream.call.gone = True

    def _begin(self, stream: Stream) -> None:
        """The whole request is there, and whoever sent it may be heard."""
        body, stream.body = stream.body, []
        if len(body) > 1 and len(body[0]) < _PREFIX.size:
            body = [b"".join(body)]
        received = stream.size - _PREFIX.size
        if received < 0:
            self.refuse(stream, failure(INTERNAL, "the request has no message"))
            return
        compressed, size = _PREFIX.unpack_from(body[0])
        if size > self._max_receive:
            self._refuse_large(stream, size)
        elif size != received:
            text = f"the request should be one message of {size} bytes, but has {received}"
            self.refuse(stream, failure(INTERNAL, text))
        else:
            body[0] = body[0][_PREFIX.size :]
            message = b"".join(body)
            if compressed:
                self._inflate(stream, message)
            else:
                self._call(stream, message)

    def _call(self, stream: Stream, message: bytes) -> None:
        """Make the call. A large message counts as unfinished until it is answered: it may have to wait."""
        done: Done = functools.partial(self._reply, stream)
        size = len(message)
        if size > _LARGE_BYTES:
            if not self._buffers.take(size):
                done(encode_error(stream.target, RateLimited(NO_ROOM)))
                return
            done = functools.partial(self._release, done, size)
        stream.call = self._rpcs.begin(stream.target, message, stream.headers, done, self._address, stream.deadline)

    def _release(self, done: Done, size: int, reply: bytes | Refused) -> None:
        self._buffers.give_back(size)
        done(reply)

    def _inflate(self, stream: Stream, message: bytes) -> None:
        if not stream.encoding:
            self.refuse(stream, failure(INTERNAL, "the message is compressed, and no grpc-encoding says how"))
            return

        room = min(len(message) * MOST_INFLATED, self._max_receive)
        if not self._buffers.take(room):
            self._reply(stream, encode_error(stream.target, RateLimited(NO_ROOM)))
            return

        def done(outcome: bytes | MilvusException) -> None:
            self._buffers.give_back(room)
            if isinstance(outcome, bytes):
                self._call(stream, outcome)
            elif isinstance(outcome, TooLarge):
                self._refuse_large(stream, self._max_receive + 1)
            else:
                self.refuse(stream, failure(INTERNAL, outcome.message))

        work = functools.partial(_tried, message, stream.encoding, self._max_receive)
        if len(message) > _LARGE_BYTES // 16:
            self._rpcs.calls.start(work, done)
        else:
            done(work())

    # -- replies --------------------------------------------------------------------------------
    def _reply(self, stream: Stream, reply: bytes | Refused) -> None:
        if isinstance(reply, Refused):
            self.refuse(stream, failure(reply.grpc_status, reply.message))
            return
        size = len(reply)
        if size > self._max_send:
            text = f"grpc: trying to send message larger than max ({size} vs. {self._max_send})"
            self.refuse(stream, failure(RESOURCE_EXHAUSTED, text))
        elif isinstance(reply, Frames):
            self.respond(stream, HEAD, (b"", reply), _TRAILERS_OK)
        elif stream.encoding and size >= WORTH_BYTES:
            self._compress(stream, reply)
        else:
            self.respond(stream, HEAD, (_PREFIX.pack(0, size), reply), _TRAILERS_OK)

    def _compress(self, stream: Stream, reply: bytes) -> None:
        """Answer as the client asks: a client that compresses wants it compressed the same way."""
        head = HEAD + literal(b"grpc-encoding", stream.encoding) + _ACCEPTED

        def done(outcome: bytes | MilvusException) -> None:
            assert isinstance(outcome, bytes), "compressing does not fail"
            self.respond(stream, head, (_PREFIX.pack(1, len(outcome)), outcome), _TRAILERS_OK)

        work = functools.partial(deflated, reply, stream.encoding)
        if len(reply) > _LARGE_BYTES:
            self._rpcs.calls.start(work, done)
        else:
            done(work())

    def _refuse_large(self, stream: Stream, size: int) -> None:
        text = f"grpc: received message larger than max ({size} vs. {self._max_receive})"
        self.refuse(stream, failure(RESOURCE_EXHAUSTED, text))


def _tried(message: bytes, encoding: bytes, most: int) -> bytes | MilvusException:
    try:
        return inflated(message, encoding, most)
    except (TooLarge, NotCompressed) as error:
        return error


def timeout_seconds(value: bytes) -> float:
    """What `grpc-timeout` says; for ever, where it is not as it should be."""
    found = _TIMEOUT.fullmatch(value)
    return math.inf if found is None else int(found[1]) * _UNITS[found[2]]
