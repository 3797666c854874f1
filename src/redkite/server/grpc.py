"""gRPC over HTTP/2: which call is this, where does its message end, and what does its answer look like?

Unary calls of one service. A method that is not built answers UNIMPLEMENTED; everything else answers OK with the
error, if there is one, inside the reply, as Milvus's protocol wants it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from struct import Struct
from urllib.parse import quote_from_bytes

from redkite.errors import MilvusException
from redkite.model.limits import LIMITS, Limits
from redkite.model.requests import Insert, Upsert
from redkite.server.calls import Calls, as_milvus
from redkite.server.http2 import Http2Connection, Stream
from redkite.server.metrics import Metrics
from redkite.wire.headers import Header, literal
from redkite.wire.methods import DATABASE_KEY, PATHS, decode_request, encode_error, encode_reply

RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = 8, 12, 13

Done = Callable[[bytes], None]
"""Takes the reply of one call, in the event loop's thread."""

_DATABASE_HEADER = DATABASE_KEY.encode()
_PREFIX = Struct(">BI")
_HEAD = b"\x88" + literal(b"content-type", b"application/grpc")
_TRAILERS_OK = literal(b"grpc-status", b"0")
_ACCEPT_IDENTITY = literal(b"grpc-accept-encoding", b"identity")
_NOT_GRPC = literal(b":status", b"415") + literal(b"content-type", b"text/plain")
_PRINTABLE = " !\"#$&'()*+,/:;<=>?@[\\]^`{|}"


def failure(status: int, message: str) -> bytes:
    """The header block of an answer that has no message."""
    text = quote_from_bytes(message.encode(), safe=_PRINTABLE).encode()
    return _HEAD + literal(b"grpc-status", b"%d" % status) + literal(b"grpc-message", text)


class Rpcs:
    """Runs the calls of all gRPC connections: bytes in, bytes out."""

    def __init__(self, calls: Calls, metrics: Metrics) -> None:
        self._calls = calls
        self._metrics = metrics
        self.methods = {path.encode(): name for name, path in PATHS.items()}
        """Path -> name of every call that is built."""

    def begin(self, method: str, message: bytes, headers: list[Header], done: Done) -> None:
        """Start a call; `done` is called once with its reply, now or later. Never raises."""
        started = time.monotonic()

        def finish(reply: bytes | MilvusException) -> None:
            failed = isinstance(reply, MilvusException)
            self._metrics.of("grpc", method).observe(time.monotonic() - started, failed)
            done(encode_error(method, reply) if isinstance(reply, MilvusException) else reply)

        try:
            request = decode_request(method, message, _metadata(headers))
        except Exception as error:  # noqa: BLE001  whatever is wrong with the bytes is this call's answer
            finish(as_milvus(error))
            return
        if isinstance(request, Insert | Upsert):
            self._metrics.rows_written += request.rows.num_rows
        self._calls.begin(request, functools.partial(encode_reply, method), finish)


class GrpcConnection(Http2Connection):
    """One gRPC client. Registers itself in `open_connections` while it lasts."""

    def __init__(self, rpcs: Rpcs, open_connections: set[GrpcConnection], limits: Limits = LIMITS) -> None:
        super().__init__()
        self._rpcs = rpcs
        self._open = open_connections
        self._open.add(self)
        self._max_receive = limits.max_receive_bytes
        self._max_send = limits.max_send_bytes

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._open.discard(self)

    def request_started(self, stream: Stream) -> None:
        path = b""
        is_grpc = False
        for name, value in stream.headers:
            if name == b":path":
                path = value
            elif name == b"content-type":
                is_grpc = value.startswith(b"application/grpc")
        if not is_grpc:
            self.refuse(stream, _NOT_GRPC)
            return
        method = self._rpcs.methods.get(path)
        if method is None:
            unknown = path.rsplit(b"/", 1)[-1].decode(errors="replace")
            self.refuse(stream, failure(UNIMPLEMENTED, f"method {unknown} not implemented"))
        else:
            stream.target = method

    def request_grew(self, stream: Stream) -> None:
        size = stream.size
        if len(stream.body) == 1 and size >= _PREFIX.size:
            size = max(size, _PREFIX.unpack_from(stream.body[0])[1])
        if size > self._max_receive + _PREFIX.size:
            self._refuse_large(stream, size)

    def request_complete(self, stream: Stream) -> None:
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
        elif compressed:
            self.refuse(stream, failure(UNIMPLEMENTED, "compressed messages are not accepted") + _ACCEPT_IDENTITY)
        else:
            body[0] = body[0][_PREFIX.size :]
            message = b"".join(body)
            self._rpcs.begin(stream.target, message, stream.headers, functools.partial(self._reply, stream))

    def _reply(self, stream: Stream, reply: bytes) -> None:
        size = len(reply)
        if size > self._max_send:
            text = f"grpc: trying to send message larger than max ({size} vs. {self._max_send})"
            self.refuse(stream, failure(RESOURCE_EXHAUSTED, text))
        else:
            self.respond(stream, _HEAD, (_PREFIX.pack(0, size), reply), _TRAILERS_OK)

    def _refuse_large(self, stream: Stream, size: int) -> None:
        text = f"grpc: received message larger than max ({size} vs. {self._max_receive})"
        self.refuse(stream, failure(RESOURCE_EXHAUSTED, text))


def _metadata(headers: list[Header]) -> dict[str, str]:
    """What a call looks at besides its message."""
    for name, value in headers:
        if name == _DATABASE_HEADER:
            return {DATABASE_KEY: value.decode(errors="replace")}
    return {}
