"""Is the server well, and what has it done? The small HTTP application of the metrics port."""

from __future__ import annotations

import resource
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from redkite.errors import MilvusException
from redkite.model.requests import CheckHealth, GetCollectionStatistics, ListDatabases, ShowCollections
from redkite.model.results import Collections, Databases, Health, RowCount
from redkite.server.calls import Calls
from redkite.server.metrics import Metrics

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_TEXT = b"text/plain; charset=utf-8"
_PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"
_JSON = b"application/json"
_READ_METHODS = frozenset({"GET", "HEAD"})


class HealthApp:
    """`/healthz`, `/livez` and `/metrics`, as an ASGI application. `calls` is None until the engine is open."""

    def __init__(self, metrics: Metrics) -> None:
        self.calls: Calls | None = None
        self._metrics = metrics

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["method"] not in _READ_METHODS:
            await _answer(send, 405, _TEXT, b"method not allowed")
        elif path == "/healthz":
            await self._healthz(scope, send)
        elif path == "/livez":
            await _answer(send, 200, _TEXT, b"OK")
        elif path in ("/metrics", "/metrics_default"):
            await _answer(send, 200, _PROMETHEUS, self._metrics.text(await self._gauges()).encode())
        else:
            await _answer(send, 404, _TEXT, b"404 page not found")

    async def _healthz(self, scope: Scope, send: Send) -> None:
        healthy, reasons = await self._health()
        status = 200 if healthy else 500
        if (b"content-type", b"application/json") in scope["headers"]:
            state = "OK" if healthy else "; ".join(reasons)
            body = {"state": state, "detail": [{"name": "redkite", "code": 1 if healthy else 2}]}
            await _answer(send, status, _JSON, orjson.dumps(body))
        elif healthy:
            await _answer(send, status, _TEXT, b"OK")
        else:
            text = f"Not all components are healthy, 0/1: {'; '.join(reasons)}"
            await _answer(send, status, _TEXT, text.encode())

    async def _health(self) -> tuple[bool, tuple[str, ...]]:
        if self.calls is None:
            return False, ("the database is being opened",)
        try:
            health = await self.calls.call(CheckHealth(), _as_is)
        except MilvusException as error:
            return False, (error.message,)
        assert isinstance(health, Health)
        return health.healthy, health.reasons

    async def _gauges(self) -> list[tuple[str, str, float]]:
        gauges = [
            ("process_cpu_seconds_total", "CPU time of the server, in seconds.", time.process_time()),
            ("process_resident_memory_max_bytes", "Most memory the server has held.", _max_memory()),
        ]
        if self.calls is None:
            return gauges
        databases = await self.calls.call(ListDatabases(), _as_is)
        assert isinstance(databases, Databases)
        collections, rows = 0, 0
        for database in databases.names:
            shown = await self.calls.call(ShowCollections(database=database), _as_is)
            assert isinstance(shown, Collections)
            collections += len(shown.collections)
            for collection in shown.collections:
                rows += await self._rows(database, collection.name)
        return [
            *gauges,
            ("redkite_databases", "Databases.", len(databases.names)),
            ("redkite_collections", "Collections of all databases.", collections),
            ("redkite_rows", "Rows of all collections.", rows),
        ]

    async def _rows(self, database: str, collection: str) -> int:
        assert self.calls is not None
        try:
            count = await self.calls.call(GetCollectionStatistics(database=database, collection=collection), _as_is)
        except MilvusException:
            return 0  # dropped since it was listed
        assert isinstance(count, RowCount)
        return count.rows


def _as_is(result: Any) -> Any:
    return result


def _max_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def _answer(send: Send, status: int, content_type: bytes, body: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
