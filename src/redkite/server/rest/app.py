"""The REST application: which endpoint is asked, how long may it take, and what does HTTP say around its answer?

Every endpoint of v2 is a POST with a JSON body, and nearly every answer is HTTP 200 with the outcome in an envelope.
There is nothing here for a router to match: a path is a key of a table.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from redkite.errors import (
    InvalidParameter,
    MilvusException,
    ParameterTooLarge,
    PermissionDenied,
    Timeout,
    Unauthenticated,
    Unexpected,
    Unimplemented,
)
from redkite.logs import CURRENT
from redkite.model.limits import LIMITS, Limits
from redkite.model.schema import DEFAULT_DATABASE
from redkite.server.calls import Calls, as_milvus
from redkite.server.guard import Guard
from redkite.server.observer import Call, Observer, shown_address
from redkite.server.rest import (
    access,
    aliases,
    analysis,
    collections,
    databases,
    entities,
    evolution,
    hybrid,
    indexes,
    keeping,
    partitions,
)
from redkite.server.rest.exchange import Endpoint, Exchange, failure, read_body
from redkite.server.rest.unserved import UNSERVED

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BASE = "/v2/vectordb/"
TIMEOUT_SECONDS = 30.0
"""How long a call may take when its client does not say."""
_LARGE_BODY = 65_536
"""Bodies of more bytes are parsed in a thread."""

_ENDPOINTS: dict[str, Endpoint] = {
    BASE + path: endpoint
    for module in (
        collections,
        databases,
        entities,
        hybrid,
        evolution,
        partitions,
        indexes,
        aliases,
        keeping,
        access,
        analysis,
    )
    for path, endpoint in module.ENDPOINTS.items()
}
_UNSERVED = frozenset(BASE + path for path in UNSERVED)

_COMMON_HEADERS = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-credentials", b"true"),
    (b"access-control-allow-headers", b"*"),
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH"),
    (b"x-content-type-options", b"nosniff"),
]
_WHO = failure(MilvusException("user hasn't authenticated", 1800))
_JSON = b"application/json; charset=utf-8"
_TEXT = b"text/plain; charset=utf-8"


class RestApp:
    """REST v2 as an ASGI application. One per server; it keeps nothing between calls."""

    def __init__(self, calls: Calls, observer: Observer, limits: Limits = LIMITS, guard: Guard | None = None) -> None:
        self._calls = calls
        self._guard = guard
        self._observer = observer
        self._max_body = limits.max_receive_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        if method == "OPTIONS":
            await _send(send, 204, _TEXT, b"")
        elif method == "POST" and path in _ENDPOINTS:
            call = Call("rest", path.removeprefix(BASE), 0, shown_address(scope.get("client")))
            CURRENT.set(call)  # in the context of this request's task
            status, content = await self._answer(call, path, dict(scope["headers"]), receive)
            await _send(send, status, _JSON, content, call.request_id)
        elif method == "POST" and path in _UNSERVED:
            status, content = await self._unserved(path, dict(scope["headers"]))
            await _send(send, status, _JSON, content)
        else:
            await _send(send, 404, _TEXT, b"404 page not found")

    async def _unserved(self, path: str, headers: dict[bytes, bytes]) -> tuple[int, bytes]:
        error: MilvusException = Unimplemented(f"service unimplemented: {path} is not served in this version")
        if self._guard is not None:
            try:
                await self._guard.rest_caller(self._calls, headers)
            except Unauthenticated:
                return 401, _WHO
            except MilvusException as refused:
                error = refused
        return 200, failure(error)

    async def _answer(self, call: Call, path: str, headers: dict[bytes, bytes], receive: Receive) -> tuple[int, bytes]:
        """HTTP status and body of one call. Never raises."""
        status = 200
        failed: MilvusException | None = None
        try:
            async with asyncio.timeout(_timeout(headers)):
                content = await self._run(call, path, headers, receive)
        except Unauthenticated as error:
            status, content, failed = 401, _WHO, error
        except PermissionDenied as error:
            failed = error
            status, content = 403, failure(Unexpected(f"rpc error: code = PermissionDenied desc = {error.message}"))
        except TimeoutError as error:
            status = 200 if isinstance(error, MilvusException) else 408
            failed = error if isinstance(error, MilvusException) else Timeout("request timeout")
            content = failure(failed)
        except Exception as error:  # noqa: BLE001  whatever went wrong is this call's answer
            failed = as_milvus(error)
            content = failure(failed)
        self._observer.finished(call, failed, len(content))
        return status, content

    async def _run(self, call: Call, path: str, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        endpoint = _ENDPOINTS[path]
        user = call.user = "" if self._guard is None else await self._guard.rest_caller(self._calls, headers)
        data = await self._read(receive)
        call.received = len(data)
        read = functools.partial(read_body, endpoint.body, data)
        body = await self._calls.run(read) if len(data) > _LARGE_BODY else read()
        database = body.db_name or headers.get(b"db-name", b"").decode(errors="replace") or DEFAULT_DATABASE
        as_text = headers.get(b"accept-type-allow-int64", b"").lower() in (b"false", b"0", b"f")
        return await endpoint.handle(Exchange(self._calls, call, database, as_text, user), body)

    async def _read(self, receive: Receive) -> bytes:
        """The whole body. Raises ParameterTooLarge as soon as it is known to be over the limit."""
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise MilvusException("canceled", 10_000)
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._max_body:
                raise ParameterTooLarge(f"the request body is larger than {self._max_body} bytes")
            chunks.append(chunk)
            if not message.get("more_body"):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _timeout(headers: dict[bytes, bytes]) -> float:
    given = headers.get(b"request-timeout")
    if given is None:
        return TIMEOUT_SECONDS
    try:
        seconds = int(given)
    except ValueError:
        text = given.decode(errors="replace")
        raise InvalidParameter(f"Request-Timeout parse failed, err: {text} is not a number of seconds") from None
    return seconds if seconds > 0 else TIMEOUT_SECONDS


async def _send(send: Send, status: int, content_type: bytes, body: bytes, request_id: str = "") -> None:
    headers = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(body)),
        (b"x-milvus-trace-id", request_id.encode() or os.urandom(16).hex().encode()),
        *_COMMON_HEADERS,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
