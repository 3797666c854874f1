"""Is the server well, and what has it done? The small HTTP application of the metrics port.

Health and liveness are told to anybody: whatever watches processes asks without a password. The rest names collections,
and asks who calls wherever the main port does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from redkite.errors import MilvusException, Unauthenticated
from redkite.model.requests import CheckHealth
from redkite.model.results import Health
from redkite.server.calls import Calls
from redkite.server.guard import Guard
from redkite.server.management import LEVEL_PATH, MANAGEMENT_PATH, PROFILE_PATH, Management
from redkite.server.mirror import PATH as MIRROR
from redkite.server.mirror import Mirror
from redkite.server.observation import Observation
from redkite.server.webui.door import WebUi
from redkite.server.webui.sessions import PATH as PAGE

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_TEXT = b"text/plain; charset=utf-8"
_PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"
_JSON = b"application/json"
_READ_METHODS = frozenset({"GET", "HEAD"})
_OPEN = frozenset({"/healthz", "/livez"})
_MANAGED = (MANAGEMENT_PATH, PROFILE_PATH)
_REFUSED = {
    "/eventlog": b"no stream of events: the log of the server and the audit log have them",
    "/expr": b"no code is run here",
}
"""Why a path of Milvus is not there."""
_STATIC = "/static/"
_CHALLENGE = (b"www-authenticate", b'Basic realm="redkite", charset="UTF-8"')


class HealthApp:
    """`/healthz`, `/livez`, `/metrics` and the page `/webui`, as an ASGI application. `calls` is None until the engine
    is open, `guard` where nobody need say who they are, `page` and `mirror` where there is none."""

    def __init__(self, observation: Observation, *, guarded: bool = False) -> None:
        """`guarded`: there will be a guard."""
        self.calls: Calls | None = None
        self.guard: Guard | None = None
        self.page: WebUi | None = None
        self.management: Management | None = None
        self.mirror: Mirror | None = None
        self._guarded = guarded
        self._observation = observation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if self.page is not None and (path == PAGE or path.startswith(f"{PAGE}/")):
            await self.page(scope, receive, send)  # which asks who calls in its own way
            return
        if path not in _OPEN and self._guarded and not await self._is_let_in(scope, send):
            return
        if self.management is not None and (path == LEVEL_PATH or path.startswith(_MANAGED)):
            await self.management(scope, receive, send)  # which wants more than a known user
            return
        if self.mirror is not None and path.startswith(MIRROR):
            await self.mirror(scope, receive, send)
            return
        if scope["method"] not in _READ_METHODS:
            await _answer(send, 405, _TEXT, b"method not allowed")
        elif path == "/healthz":
            await self._healthz(scope, send)
        elif path == "/livez":
            await _answer(send, 200, _TEXT, b"OK")
        elif path in ("/metrics", "/metrics_default"):
            await _answer(send, 200, _PROMETHEUS, (await self._observation.text()).encode())
        elif path in _REFUSED:
            await _answer(send, 501, _TEXT, _REFUSED[path])
        elif path.startswith(_STATIC):
            await _answer(send, 501, _TEXT, b"nothing is served from here: the page is at /webui/")
        else:
            await _answer(send, 404, _TEXT, b"404 page not found")

    async def _is_let_in(self, scope: Scope, send: Send) -> bool:
        """Whether a known user asks; the others are answered here."""
        if self.guard is None or self.calls is None:
            await _answer(send, 503, _TEXT, b"the database is being opened")
            return False
        try:
            await self.guard.rest_caller(self.calls, dict(scope["headers"]))
        except Unauthenticated as error:
            await _answer(send, 401, _TEXT, error.message.encode(), _CHALLENGE)
            return False
        return True

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


def _as_is(result: Any) -> Any:
    return result


async def _answer(send: Send, status: int, content_type: bytes, body: bytes, *more: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
