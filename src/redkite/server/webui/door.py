"""HTTP of the page: its files to anybody, its questions to those who may ask.

The files hold no data. A question is a POST below `/webui/api/` that comes from the page itself: the page of another
site can neither send the header it carries nor the cookie. It is asked as the session's user, and answered by the
endpoints of REST or by `views`, both of which ask the proxy.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import orjson

from redkite import __version__
from redkite.errors import MilvusException, PermissionDenied, Unauthenticated
from redkite.logs import CURRENT
from redkite.model.hosts import is_loopback
from redkite.model.schema import DEFAULT_DATABASE
from redkite.model.version import PROTOCOL_VERSION
from redkite.server.calls import Calls, as_milvus
from redkite.server.guard import AUTHORIZATION, Guard
from redkite.server.observer import Call, Observer, shown_address
from redkite.server.rest.exchange import Exchange, failure, read_body
from redkite.server.webui.files import INDEX, PageFile, page_files
from redkite.server.webui.sessions import PATH, Sessions, cookie, token_of
from redkite.server.webui.views import PAGE, UNNOTED, VIEWS, Views

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

API: Final = f"{PATH}/api/"
REST: Final = f"{API}rest/"
MARK: Final = b"x-redkite-page"
"""The header that every question carries."""
_REST_BASE: Final = "/v2/vectordb/"
_LARGEST_BODY: Final = 4 * 1024 * 1024
_JSON: Final = b"application/json; charset=utf-8"
_TEXT: Final = b"text/plain; charset=utf-8"
_POLICY: Final = (
    b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; "
    b"require-trusted-types-for 'script'"
)
_HEADERS: Final = [
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_OF_THE_PAGE: Final = frozenset({AUTHORIZATION, b"cookie", b"db-name", b"origin"})
"""Headers that REST does not see: they are looked at here, and say who asks in their own way."""
_SERVED: Final = frozenset({
    "collections/list", "collections/describe", "collections/get_stats", "collections/get_load_state",
    "databases/list", "databases/describe", "partitions/list", "partitions/get_stats", "indexes/list",
    "indexes/describe", "aliases/list", "entities/query", "entities/search", "jobs/import/list", "jobs/snapshot/list",
    "users/list", "users/describe", "users/create", "users/drop", "users/grant_role", "users/revoke_role",
    "roles/list", "roles/describe", "roles/create", "roles/drop", "roles/grant_privilege_v2",
    "roles/revoke_privilege_v2", "privilege_groups/list",
})  # fmt: skip
"""Endpoints of REST that the page asks; it has no way to the others."""


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name and a password, or an API key."""

    user: str = ""
    password: str = ""
    key: str = ""

    @property
    def header(self) -> bytes:
        """As HTTP says it."""
        if self.key:
            return b"Bearer " + self.key.encode()
        return b"Basic " + base64.b64encode(f"{self.user}:{self.password}".encode())


class Refusal(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, code: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.content = orjson.dumps({"code": code, "message": text})


@dataclass(slots=True)
class WebUi:
    """The page of one server, as an ASGI application. Belongs to the event loop's thread."""

    calls: Calls
    observer: Observer
    rest: App
    views: Views
    guard: Guard | None
    host: str
    """Where the server listens."""
    sessions: Sessions = field(default_factory=Sessions)
    _files: dict[str, PageFile] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if path == PATH:
            await _send(send, 308, _TEXT, b"", (b"location", f"{PATH}/".encode()))
        elif path.startswith(API):
            try:
                await self._ask(scope, receive, send)
            except Refusal as refusal:
                await _send(send, refusal.status, _JSON, refusal.content, *_FRESH)
        elif method not in ("GET", "HEAD"):
            await _send(send, 405, _TEXT, b"method not allowed")
        else:
            await self._file(scope, path.removeprefix(f"{PATH}/") or INDEX, send)

    async def _file(self, scope: Scope, name: str, send: Send) -> None:
        if not self._files:
            self._files = page_files()
        found = self._files.get(name)
        if found is None:
            await _send(send, 404, _TEXT, b"404 page not found")
            return
        more = ((b"etag", found.tag), (b"cache-control", b"no-cache"))
        if (b"if-none-match", found.tag) in scope["headers"]:
            await _send(send, 304, found.content_type, b"", *more)
            return
        await _send(send, 200, found.content_type, found.content, *more)

    # -- questions ------------------------------------------------------------------------------
    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        self._check_origin(scope, headers)
        path = scope["path"]
        if path == f"{API}login":
            await self._login(scope, receive, send)
        elif path == f"{API}logout":
            self.sessions.end(token_of(headers.get(b"cookie", b"")))
            await _send(
                send, 200, _JSON, b'{"code":0}', (b"set-cookie", cookie("", encrypted=_encrypted(scope))), *_FRESH
            )
        elif path.startswith(REST) and path.removeprefix(REST) in _SERVED:
            await self._pass_on(scope, headers, receive, send)
        elif path.startswith(API) and path.removeprefix(API) in VIEWS:
            await self._view(scope, headers, receive, send)
        else:
            raise Refusal(404, 404, "there is no such question")

    def _check_origin(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        """Raises Refusal unless the page itself asks."""
        if scope["method"] != "POST":
            raise Refusal(405, 405, "questions are asked by POST")
        host = headers.get(b"host", b"").decode("latin-1")
        origin = headers.get(b"origin")
        foreign = (
            MARK not in headers
            or headers.get(b"sec-fetch-site", b"same-origin") != b"same-origin"
            or (origin is not None and _authority(origin.decode("latin-1")) != host)
        )
        if foreign:
            raise Refusal(403, 403, "only the page itself may ask")
        if self.guard is None and is_loopback(self.host) and not _is_local(host):
            # A name that somebody made point here; its page would pass for ours.
            raise Refusal(403, 403, f"the server is not known as {host}: use localhost or 127.0.0.1")

    async def _user(self, headers: dict[bytes, bytes]) -> tuple[str, bytes | None]:
        """Who asks, and the header that says so; an empty name where nobody need say. Raises Refusal."""
        if self.guard is None:
            return "", None
        token = token_of(headers.get(b"cookie", b""))
        header = (self.sessions.header(token) if token else None) or headers.get(AUTHORIZATION)
        try:
            return await self.guard.rest_caller(self.calls, {} if header is None else {AUTHORIZATION: header}), header
        except Unauthenticated as error:
            if token:
                self.sessions.end(token)
            raise Refusal(401, error.code, "log in first") from None
        except MilvusException as error:
            raise Refusal(503, error.code, error.message) from None

    async def _login(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            login = msgspec.json.decode(await _body(receive), type=Login)
        except msgspec.DecodeError as error:
            raise Refusal(400, 1100, f"a login is a JSON object: {error}") from None
        if self.guard is None:
            raise Refusal(400, 1100, "this server asks nobody who they are")
        call = Call(PAGE, "login", 0, shown_address(scope.get("client")))
        failed: MilvusException | None = None
        try:
            call.user = await self.guard.rest_caller(self.calls, {AUTHORIZATION: login.header})
        except MilvusException as error:
            failed = error
        self.observer.finished(call, failed, 0)
        if failed is not None:
            text = "The user name, the password or the key is wrong."
            raise Refusal(401, failed.code, text if isinstance(failed, Unauthenticated) else failed.message)
        given = cookie(self.sessions.begin(login.header, call.user), encrypted=_encrypted(scope))
        await _send(send, 200, _JSON, orjson.dumps({"code": 0, "data": {"user": call.user}}),
                    (b"set-cookie", given), *_FRESH)  # fmt: skip

    async def _pass_on(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        """Have REST answer, in the name of the session's user."""
        _, header = await self._user(headers)
        kept = [(name, value) for name, value in scope["headers"] if name not in _OF_THE_PAGE]
        if header is not None:
            kept.append((AUTHORIZATION, header))
        inner = {**scope, "path": _REST_BASE + scope["path"].removeprefix(REST), "headers": kept}
        await self.rest(inner, receive, functools.partial(_without_cors, send))

    async def _view(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        name = scope["path"].removeprefix(API)
        call = Call(PAGE, name, 0, shown_address(scope.get("client")))
        if name == "session":
            await self._session(headers, send)
            return
        user, _ = await self._user(headers)
        CURRENT.set(call)  # in the context of this request's task
        call.user = user
        view = VIEWS[name]
        status = 200
        failed: MilvusException | None = None
        try:
            data = await _body(receive)
            call.received = len(data)
            body = read_body(view.body, data)
            exchange = Exchange(self.calls, call, body.db_name or DEFAULT_DATABASE, True, user)
            content = await view.handle(self.views, exchange, body)
        except Refusal:
            raise
        except PermissionDenied as error:
            status, failed = 403, error
        except Exception as error:  # noqa: BLE001  whatever went wrong is this question's answer
            failed = as_milvus(error)
        if failed is not None:
            content = failure(failed)
        if name not in UNNOTED:
            self.observer.finished(call, failed, len(content))
        await _send(send, status, _JSON, content, *_FRESH)

    async def _session(self, headers: dict[bytes, bytes], send: Send) -> None:
        """What the page has to know before anything else; told to strangers, too."""
        told: dict[str, object] = {"guarded": self.guard is not None, "user": None, "admin": False}
        try:
            user, _ = await self._user(headers)
        except Refusal:
            pass  # a stranger: the page asks for a login
        else:
            told |= {"user": user, "admin": self.views.is_admin(user), "version": __version__,
                     "protocol": PROTOCOL_VERSION}  # fmt: skip
        await _send(send, 200, _JSON, orjson.dumps({"code": 0, "data": told}), *_FRESH)


_FRESH: Final = ((b"cache-control", b"no-store"),)


def _encrypted(scope: Scope) -> bool:
    return bool(scope.get("scheme") == "https")


def _authority(origin: str) -> str | None:
    """Host and port; None of what is no address."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _is_local(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


async def _body(receive: Receive) -> bytes:
    """The whole body. Raises Refusal for one that is too large."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > _LARGEST_BODY:
            raise Refusal(413, 1100, f"the question is larger than {_LARGEST_BODY} bytes")
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return b"".join(chunks)


async def _without_cors(send: Send, message: Message) -> None:
    """Pass an answer of REST on, closed to other sites."""
    if message["type"] == "http.response.start":
        kept = [(name, value) for name, value in message["headers"]
                if not name.startswith(b"access-control-") and name != b"x-content-type-options"]  # fmt: skip
        message = {**message, "headers": [*kept, *_HEADERS, *_FRESH]}
    await send(message)


async def _send(send: Send, status: int, content_type: bytes, body: bytes, *more: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *_HEADERS, *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
