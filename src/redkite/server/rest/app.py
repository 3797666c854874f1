"""The REST application: which endpoint is asked, how long may it take, and what does HTTP say around its answer?

Every endpoint of v2 is a POST with a JSON body, and nearly every answer is HTTP 200 with the outcome in an envelope.
There is nothing here for a router to match: a path is a key of a table.
"""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from redkite.errors import InvalidParameter, MilvusException, ParameterTooLarge, Timeout, Unimplemented
from redkite.model.limits import LIMITS, Limits
from redkite.model.schema import DEFAULT_DATABASE
from redkite.server.calls import Calls, as_milvus
from redkite.server.metrics import Metrics
from redkite.server.rest import (
    aliases,
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
    for module in (collections, databases, entities, hybrid, evolution, partitions, indexes, aliases, keeping)
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
_JSON = b"application/json; charset=utf-8"
_TEXT = b"text/plain; charset=utf-8"


class RestApp:
    """REST v2 as an ASGI application. One per server; it keeps nothing between calls."""

    def __init__(self, calls: Calls, metrics: Metrics, limits: Limits = LIMITS) -> None:
        self._calls = calls
        self._metrics = metrics
        self._max_body = limits.max_receive_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        if method == "OPTIONS":
            await _send(send, 204, _TEXT, b"")
        elif method == "POST" and path in _ENDPOINTS:
            status, content = await self._answer(path, dict(scope["headers"]), receive)
            await _send(send, status, _JSON, content)
        elif method == "POST" and path in _UNSERVED:
            error = Unimplemented(f"service unimplemented: {path} is not served in this version")
            await _send(send, 200, _JSON, failure(error))
        else:
            await _send(send, 404, _TEXT, b"404 page not found")

    async def _answer(self, path: str, headers: dict[bytes, bytes], receive: Receive) -> tuple[int, bytes]:
        """HTTP status and body of one call. Never raises."""
        started = time.monotonic()
        status, failed = 200, True
        try:
            async with asyncio.timeout(_timeout(headers)):
                content = await self._run(path, headers, receive)
            failed = False
        except TimeoutError as error:
            if isinstance(error, MilvusException):
                content = failure(error)
            else:
                status, content = 408, failure(Timeout("request timeout"))
        except Exception as error:  # noqa: BLE001  whatever went wrong is this call's answer
            content = failure(as_milvus(error))
        self._metrics.of("rest", path.removeprefix(BASE)).observe(time.monotonic() - started, failed)
        return status, content

    async def _run(self, path: str, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        endpoint = _ENDPOINTS[path]
        data = await self._read(receive)
        read = functools.partial(read_body, endpoint.body, data)
        body = await self._calls.run(read) if len(data) > _LARGE_BODY else read()
        database = body.db_name or headers.get(b"db-name", b"").decode(errors="replace") or DEFAULT_DATABASE
        as_text = headers.get(b"accept-type-allow-int64", b"").lower() in (b"false", b"0", b"f")
        return await endpoint.handle(Exchange(self._calls, self._metrics, database, as_text), body)

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


async def _send(send: Send, status: int, content_type: bytes, body: bytes) -> None:
    headers = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(body)),
        (b"x-milvus-trace-id", os.urandom(16).hex().encode()),
        *_COMMON_HEADERS,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
