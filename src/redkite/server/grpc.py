"""gRPC over HTTP/2: which call is this, where does its message end, and what does its answer look like?

Unary calls of one service, and one that is answered by several messages. A method that is not built answers
UNIMPLEMENTED; everything else answers OK with the error, if there is one, inside the reply, as Milvus's protocol wants
it.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence
from urllib.parse import quote_from_bytes

import msgspec

from redkite.errors import MilvusException, PermissionDenied, Refused, Timeout
from redkite.logs import CURRENT
from redkite.model.results import Result
from redkite.server.calls import CANCELED, Calls, as_milvus
from redkite.server.dumping import Dump
from redkite.server.dumping import path as dump_path
from redkite.server.guard import AUTHORIZATION, Guard
from redkite.server.observer import WRITES, Call, Observer
from redkite.wire.headers import Header, literal
from redkite.wire.methods import (
    DATABASE_KEY,
    PATHS,
    STREAMED,
    USER_KEY,
    WITHOUT_A_STATUS,
    decode_request,
    encode_error,
    encode_reply,
)

RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = 8, 12, 13

Done = Callable[[bytes | Refused], None]
"""Takes the reply of one call, or why it was refused at the door, in the event loop's thread."""

_DATABASE_HEADER = DATABASE_KEY.encode()
_USER_HEADER = USER_KEY.encode()
HEAD = b"\x88" + literal(b"content-type", b"application/grpc")
_CANCELED = 10_000
_PRINTABLE = " !\"#$&'()*+,/:;<=>?@[\\]^`{|}"


def failure(status: int, message: str) -> bytes:
    """The header block of an answer that has no message."""
    return HEAD + literal(b"grpc-status", b"%d" % status) + literal(b"grpc-message", as_header(message))


def as_header(message: str) -> bytes:
    """A text as the value of `grpc-message`."""
    return quote_from_bytes(message.encode(), safe=_PRINTABLE).encode()


class _Failed(Refused):
    """The error of a call whose reply has no place for one."""

    grpc_status = INTERNAL


class Rpcs:
    """Runs the calls of all gRPC connections: bytes in, bytes out."""

    def __init__(self, calls: Calls, observer: Observer, guard: Guard | None = None, *, trusting: bool = False) -> None:
        """With a `guard`, callers say who they are. `trusting`: they are other processes of this server, which say for
        whom they ask, and note their calls themselves."""
        self.calls = calls
        self.is_guarded = guard is not None
        self._observer = observer
        self._guard = guard
        self._trusting = trusting
        self.methods = {path.encode(): name for name, path in PATHS.items()} | {dump_path().encode(): STREAMED}
        """Path -> name of every call that is built."""

    def begin(
        self, method: str, message: bytes, headers: list[Header], done: Done, address: str = "",
        deadline: float = math.inf,
    ) -> Call:  # fmt: skip
        """Start a call; `done` is called once with its reply, now or later. Never raises. The call is not made when its
        turn comes after the `deadline` (monotonic), or after `gone` was set in what this returns."""
        call = Call("grpc", method, len(message), address)
        call.headers, call.deadline = headers, deadline
        self._observer.begun(call)
        finish = functools.partial(self._finish, call, done)

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
        return call

    def look(self, method: str, headers: list[Header], address: str, let_in: Callable[[], None], done: Done) -> None:
        """See who calls before their message is read: `let_in` when they are known, else `done` with the refusal. Both
        are called later."""
        call = Call("grpc", method, 0, address)
        call.headers = headers

        def run(user: str | MilvusException) -> None:
            if isinstance(user, MilvusException):
                self._finish(call, done, user)
            else:
                let_in()

        header = _header(headers, AUTHORIZATION)
        assert self._guard is not None and header is not None, "it was looked whether it is known"
        self.calls.check(functools.partial(self._guard.grpc_user, header), run)

    def is_unknown(self, headers: list[Header]) -> bool:
        """Whether it has to be looked at who calls. Raises Unauthenticated when nobody says it."""
        return self._guard is not None and self._guard.known(_header(headers, AUTHORIZATION)) is None

    def _finish(self, call: Call, done: Done, reply: bytes | MilvusException) -> None:
        error = None
        answer: bytes | Refused
        if not isinstance(reply, MilvusException):
            answer = reply
        else:
            error = reply
            if isinstance(error, PermissionDenied) and self._guard is not None:
                key = self._guard.key_of(_header(call.headers, AUTHORIZATION))
                error = error.of_key(call.user, key) if key else error
            if call.method in WITHOUT_A_STATUS and not isinstance(error, Refused):
                error = _Failed(error.message, error.code)
            answer = error if isinstance(error, Refused) else encode_error(call.method, error)
        if self._trusting:
            self._observer.end_span(call, error)
        else:
            self._observer.finished(call, error, 0 if isinstance(answer, Refused) else len(answer))
        done(answer)

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
            if method == STREAMED:
                Dump(self.calls, call, finish).begin(message, user)
                return
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
        self.calls.begin(request, encode, finish, functools.partial(_unwanted, call))

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
        self.calls.check(functools.partial(guard.grpc_user, header), run)


def _encode_write(call: Call, result: Result) -> bytes:
    call.answered(result)
    return encode_reply(call.method, result)


def _unwanted(call: Call) -> MilvusException | None:
    """Why nobody waits for the reply of a call."""
    if call.gone:
        return MilvusException(CANCELED, _CANCELED)
    return Timeout("context deadline exceeded") if time.monotonic() > call.deadline else None


def _metadata(headers: list[Header]) -> dict[str, str]:
    """What a call looks at besides its message."""
    database = _header(headers, _DATABASE_HEADER)
    return {} if database is None else {DATABASE_KEY: database.decode(errors="replace")}


def _header(headers: Sequence[Header], wanted: bytes) -> bytes | None:
    for name, value in headers:
        if name == wanted:
            return value
    return None
