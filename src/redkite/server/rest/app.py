"""The REST application: which endpoint is asked, how long may it take, and what does HTTP say around its answer?

Every endpoint of v2 is a POST with a JSON body, and nearly every answer is HTTP 200 with the outcome in an envelope.
There is nothing here for a router to match: a path is a key of a table.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from redkite.config import Settings
from redkite.errors import (
    InvalidParameter,
    MilvusException,
    ParameterTooLarge,
    PermissionDenied,
    QuotaExceeded,
    RateLimited,
    Refused,
    Timeout,
    Unauthenticated,
    Unexpected,
)
from redkite.logs import CURRENT
from redkite.model.limits import LIMITS, Limits
from redkite.model.schema import DEFAULT_DATABASE
from redkite.server.buffered import Buffered
from redkite.server.calls import Calls, as_milvus
from redkite.server.guard import AUTHORIZATION, Guard
from redkite.server.observer import CLIENT_ID, Call, Observer, shown_address
from redkite.server.rest.endpoints import BASE, ENDPOINTS
from redkite.server.rest.exchange import Endpoint, Exchange, failure, read_body
from redkite.server.rest.openapi import OPENAPI_PATH, openapi_bytes
from redkite.server.rest.origins import ORIGIN, Origins
from redkite.server.rest.streams import Content, Streamed
from redkite.server.rest.v1 import V1, as_v1, query_body

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LONGEST_SECONDS = 86_400
STALL_SECONDS = 60.0
"""How long a client may take none of an answer that is sent in pieces."""
_LARGE_BODY = 65_536
"""Bodies of more bytes are parsed in a thread."""
_LONGEST_ID = 128
_TRUE, _FALSE = frozenset({b"1", b"t", b"true"}), frozenset({b"0", b"f", b"false"})
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
_WHO = failure(MilvusException("user hasn't authenticated", 1800))
_JSON = b"application/json; charset=utf-8"
_TEXT = b"text/plain; charset=utf-8"
_REJECTED = 1807


class RestApp:
    """REST v1 and v2 as an ASGI application. One per server; it keeps nothing between calls."""

    def __init__(
        self,
        calls: Calls,
        observer: Observer,
        limits: Limits = LIMITS,
        guard: Guard | None = None,
        settings: Settings | None = None,
        buffered: Buffered | None = None,
    ) -> None:
        """`buffered` counts the bytes of bodies that have come in part."""
        settings = settings or Settings()
        self._calls = calls
        self._guard = guard
        self._observer = observer
        self._max_body = limits.max_receive_bytes
        self._buffered = buffered or Buffered(limits.max_unfinished_bytes)
        self._origins = Origins(settings.rest_origins, guarded=guard is not None)
        self._numbers = settings.rest_int64_as_numbers
        self._seconds = settings.rest_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        headers = dict(scope["headers"])
        common = self._origins.headers(headers.get(ORIGIN))
        if common is None:
            text = b"pages of this origin may not call: see the setting rest_origins"
            await _send(send, 403, _TEXT, text, [])
            return
        if method == "OPTIONS":
            await _send(send, 204, _TEXT, b"", common)
            return
        endpoint = ENDPOINTS.get(path) if method == "POST" else None
        if endpoint is not None:
            await self._serve(scope, headers, receive, send, endpoint, common)
        elif (method, path) in V1:
            await self._serve(scope, headers, receive, send, V1[method, path], common)
        elif method == "GET" and path == OPENAPI_PATH:
            if await self._is_let_in(headers):
                await _send(send, 200, _JSON, await self._calls.run(openapi_bytes), common)
            else:
                await _send(send, 401, _JSON, _WHO, common)
        else:
            await _send(send, 404, _TEXT, b"404 page not found", common)

    async def _is_let_in(self, headers: dict[bytes, bytes]) -> bool:
        if self._guard is None:
            return True
        try:
            await self._guard.rest_caller(self._calls, headers)
        except MilvusException:
            return False
        return True

    # -- one call -------------------------------------------------------------------------------
    async def _serve(
        self,
        scope: Scope,
        headers: dict[bytes, bytes],
        receive: Receive,
        send: Send,
        endpoint: Endpoint,
        common: list[tuple[bytes, bytes]],
    ) -> None:
        path = scope["path"]
        call = Call("rest", path.removeprefix(BASE), 0, shown_address(scope.get("client")))
        call.headers = scope["headers"]
        self._observer.begun(call)
        CURRENT.set(call)  # in the context of this request's task
        if scope["method"] == "GET":
            receive = query_body(scope["query_string"])
        status, content, failed = await self._answer(call, endpoint, headers, receive)
        more = [*common, (b"x-milvus-trace-id", call.trace_id.encode())]
        given = headers.get(CLIENT_ID)
        if given is not None and len(given) <= _LONGEST_ID and given.isascii():
            more.append((CLIENT_ID, given))
        v1 = path.startswith("/v1/")
        if isinstance(content, bytes):
            content = as_v1(content) if v1 else content
            self._observer.finished(call, failed, len(content))
            await _send(send, status, _JSON, content, more)
        else:
            await self._stream(call, content, send, more, v1)

    async def _answer(
        self, call: Call, endpoint: Endpoint, headers: dict[bytes, bytes], receive: Receive
    ) -> tuple[int, Content, MilvusException | None]:
        """HTTP status and body of one call, and the error it ended with. Never raises."""
        status = 200
        failed: MilvusException | None = None
        try:
            async with asyncio.timeout(self._timeout(headers)):
                return 200, await self._run(call, endpoint, headers, receive), None
        except Unauthenticated as error:
            return 401, _WHO, error
        except PermissionDenied as error:
            failed = self._named(error, headers, call.user)
            status, content = 403, failure(Unexpected(f"rpc error: code = PermissionDenied desc = {failed.message}"))
        except (RateLimited, QuotaExceeded) as error:
            failed = error
            text = f"request is rejected by limiter, error: {error.message}"
            content = failure(MilvusException(text, _REJECTED))
        except TimeoutError as error:
            status = 200 if isinstance(error, MilvusException) else 408
            failed = error if isinstance(error, MilvusException) else Timeout("request timeout")
            content = failure(failed)
        except Exception as error:  # noqa: BLE001  whatever went wrong is this call's answer
            failed = as_milvus(error)
            content = failure(failed)
        return status, content, failed

    def _named(self, error: Refused, headers: dict[bytes, bytes], user: str) -> Refused:
        """A denial names the API key where one was shown."""
        key = "" if self._guard is None else self._guard.key_of(headers.get(AUTHORIZATION))
        return error.of_key(user, key) if key else error

    async def _run(self, call: Call, endpoint: Endpoint, headers: dict[bytes, bytes], receive: Receive) -> Content:
        user = call.user = "" if self._guard is None else await self._guard.rest_caller(self._calls, headers)
        data = await self._read(receive)
        try:
            call.received = len(data)
            read = functools.partial(read_body, endpoint.body, data)
            body = await self._calls.run(read) if len(data) > _LARGE_BODY else read()
            database = body.db_name or headers.get(b"db-name", b"").decode(errors="replace") or DEFAULT_DATABASE
            return await endpoint.handle(Exchange(self._calls, call, database, self._as_text(headers), user), body)
        finally:
            self._buffered.give_back(len(data))

    def _as_text(self, headers: dict[bytes, bytes]) -> bool:
        """Whether 64-bit integers are answered as texts."""
        wanted = headers.get(b"accept-type-allow-int64", b"").lower()
        if wanted in _TRUE or wanted in _FALSE:
            return wanted in _FALSE
        return not self._numbers

    async def _read(self, receive: Receive) -> bytes:
        """The whole body, counted until it is given back. Raises ParameterTooLarge as soon as it is known to be over
        the limit."""
        chunks: list[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise MilvusException("canceled", 10_000)
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > self._max_body:
                    size -= len(chunk)
                    raise ParameterTooLarge(f"the request body is larger than {self._max_body} bytes")
                if not self._buffered.take(len(chunk)):
                    size -= len(chunk)
                    raise RateLimited("the server holds as many unfinished requests as it may: try again")
                chunks.append(chunk)
                if not message.get("more_body"):
                    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        except BaseException:
            self._buffered.give_back(size)
            raise

    def _timeout(self, headers: dict[bytes, bytes]) -> float:
        text = headers.get(b"request-timeout", b"").decode(errors="replace").strip()
        if not text:
            return self._seconds
        if not text.isascii() or not text.removeprefix("-").isdecimal() or len(text) > 18:
            raise InvalidParameter(f"Request-Timeout parse failed, err: {text:.80} is not a number of seconds")
        seconds = int(text)
        return min(seconds, LONGEST_SECONDS) if seconds > 0 else self._seconds

    # -- answers in pieces ----------------------------------------------------------------------
    async def _stream(
        self, call: Call, content: Streamed, send: Send, headers: list[tuple[bytes, bytes]], v1: bool
    ) -> None:
        """Make a piece, send it, make the next. A client that takes none for too long is left."""
        parts, sent = content.parts(), 0
        failed: MilvusException | None = None
        try:
            part = await self._calls.run(functools.partial(_next, parts))
            assert part is not None, "there is a beginning"
            await send(_start(200, [(b"content-type", _JSON), *headers]))
            part = as_v1(part) if v1 else part
            while part is not None:
                sent += len(part)
                async with asyncio.timeout(STALL_SECONDS):
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                part = await self._calls.run(functools.partial(_next, parts))
            await send({"type": "http.response.body", "body": b""})
        except Exception as error:
            late = isinstance(error, TimeoutError) and not isinstance(error, MilvusException)
            failed = Timeout("the client takes nothing of its answer") if late else as_milvus(error)
            if sent:
                raise  # the connection ends: half an answer must not look whole
            await _send(send, 200, _JSON, failure(failed), headers)
        finally:
            self._observer.finished(call, failed, sent)


def _next(parts: Iterator[bytes]) -> bytes | None:
    return next(parts, None)


def _start(status: int, headers: list[tuple[bytes, bytes]]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": [*headers, _NO_SNIFFING]}


async def _send(send: Send, status: int, content_type: bytes, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    own = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *headers]
    if not any(name == b"x-milvus-trace-id" for name, _ in headers):
        own.append((b"x-milvus-trace-id", os.urandom(16).hex().encode()))
    await send(_start(status, own))
    await send({"type": "http.response.body", "body": body})
