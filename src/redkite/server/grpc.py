"""gRPC over HTTP/2: which call is this, where does its message end, and what does its answer look like?

Unary calls of one service. A method that is not built answers UNIMPLEMENTED; everything else answers OK with the
error, if there is one, inside the reply, as Milvus's protocol wants it.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from struct import Struct
from urllib.parse import quote_from_bytes

import msgspec

from redkite.errors import MilvusException, Refused, Unauthenticated
from redkite.logs import CURRENT
from redkite.model.limits import LIMITS, Limits
from redkite.model.results import Result
from redkite.server.calls import Calls, as_milvus
from redkite.server.guard import AUTHORIZATION, MISSING, Guard
from redkite.server.http2 import Http2Connection, Stream
from redkite.server.observer import WRITES, Call, Observer, shown_address
from redkite.wire.headers import Header, literal
from redkite.wire.methods import DATABASE_KEY, PATHS, USER_KEY, decode_request, encode_error, encode_reply

RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = 8, 12, 13

Done = Callable[[bytes | Refused], None]
"""Takes the reply of one call, or why it was refused at the door, in the event loop's thread."""

_DATABASE_HEADER = DATABASE_KEY.encode()
_USER_HEADER = USER_KEY.encode()
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

    def __init__(self, calls: Calls, observer: Observer, guard: Guard | None = None, *, trusting: bool = False) -> None:
        """With a `guard`, callers say who they are. `trusting`: they are other processes of this server, which say for
        whom they ask, and note their calls themselves."""
        self._calls = calls
        self._observer = observer
        self._guard = guard
        self._trusting = trusting
        self.methods = {path.encode(): name for name, path in PATHS.items()}
        """Path -> name of every call that is built."""

    def begin(self, method: str, message: bytes, headers: list[Header], done: Done, address: str = "") -> None:
        """Start a call; `done` is called once with its reply, now or later. Never raises."""
        call = Call("grpc", method, len(message), address)
        call.headers = headers

        def finish(reply: bytes | MilvusException) -> None:
            error = None
            if isinstance(reply, MilvusException):
                error = reply
                if not isinstance(reply, Refused):
                    reply = encode_error(method, reply)
            if not self._trusting:
                self._observer.finished(call, error, 0 if isinstance(reply, Refused) else len(reply))
            done(reply)

        def run(user: str | MilvusException) -> None:
            if isinstance(user, MilvusException):
                finish(user)
                return
            before = CURRENT.set(call)
            try:
                self._run(call, message, headers, user, finish)
            finally:
                CURRENT.reset(before)

        self._identify(headers, run)

    def _run(
        self,
        call: Call,
        message: bytes,
        headers: list[Header],
        user: str,
        finish: Callable[[bytes | MilvusException], None],
    ) -> None:
        method = call.method
        try:
            request = decode_request(method, message, _metadata(headers))
            if user:
                request = msgspec.structs.replace(request, user=user)
        except Exception as error:  # noqa: BLE001  whatever is wrong with the bytes is this call's answer
            finish(as_milvus(error))
            return
        call.user, call.request = user, request
        encode: Callable[[Result], bytes] = functools.partial(encode_reply, method)
        if type(request) in WRITES:
            encode = functools.partial(_encode_write, call)
        self._calls.begin(request, encode, finish)

    def _identify(self, headers: list[Header], run: Callable[[str | MilvusException], None]) -> None:
        """Go on with the name of whoever calls, now or later; an empty one when nobody need say."""
        guard = self._guard
        if guard is None:
            run((_header(headers, _USER_HEADER) or b"").decode() if self._trusting else "")
            return
        header = _header(headers, AUTHORIZATION)
        try:
            user = guard.known(header)
        except Exception as error:  # noqa: BLE001  whatever went wrong is this call's answer
            run(as_milvus(error))
            return
        if user is not None:
            run(user)
            return
        assert header is not None, "known raises without one"
        self._calls.check(functools.partial(guard.grpc_user, header), run)

    def stranger(self, headers: list[Header]) -> Refused | None:
        """Why a call is refused before its message is there: nobody says who asks."""
        if self._guard is None or _header(headers, AUTHORIZATION) is not None:
            return None
        return Unauthenticated(MISSING)


class GrpcConnection(Http2Connection):
    """One gRPC client. Registers itself in `open_connections` while it lasts."""

    def __init__(self, rpcs: Rpcs, open_connections: set[GrpcConnection], limits: Limits = LIMITS) -> None:
        super().__init__()
        self._rpcs = rpcs
        self._open = open_connections
        self._open.add(self)
        self._max_receive = limits.max_receive_bytes
        self._max_send = limits.max_send_bytes
        self._address = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._address = shown_address(transport.get_extra_info("peername"))

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
        elif (refused := self._rpcs.stranger(stream.headers)) is not None:
            self.refuse(stream, failure(refused.grpc_status, refused.message))
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
            done = functools.partial(self._reply, stream)
            self._rpcs.begin(stream.target, message, stream.headers, done, self._address)

    def _reply(self, stream: Stream, reply: bytes | Refused) -> None:
        if isinstance(reply, Refused):
            self.refuse(stream, failure(reply.grpc_status, reply.message))
            return
        size = len(reply)
        if size > self._max_send:
            text = f"grpc: trying to send message larger than max ({size} vs. {self._max_send})"
            self.refuse(stream, failure(RESOURCE_EXHAUSTED, text))
        else:
            self.respond(stream, _HEAD, (_PREFIX.pack(0, size), reply), _TRAILERS_OK)

    def _refuse_large(self, stream: Stream, size: int) -> None:
        text = f"grpc: received message larger than max ({size} vs. {self._max_receive})"
        self.refuse(stream, failure(RESOURCE_EXHAUSTED, text))


def _encode_write(call: Call, result: Result) -> bytes:
    call.answered(result)
    return encode_reply(call.method, result)


def _metadata(headers: list[Header]) -> dict[str, str]:
    """What a call looks at besides its message."""
    database = _header(headers, _DATABASE_HEADER)
    return {} if database is None else {DATABASE_KEY: database.decode(errors="replace")}


def _header(headers: list[Header], wanted: bytes) -> bytes | None:
    for name, value in headers:
        if name == wanted:
            return value
    return None
