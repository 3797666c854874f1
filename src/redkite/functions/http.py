"""One small HTTP client for every model that is asked: POST a JSON text, get a JSON text.

A request has one deadline for everything: connecting, sending, a server that answers byte by byte, and repeats. What
may be repeated is (a server that is overloaded, fails or cannot be reached), with growing pauses. Redirects are not
followed: texts and keys go where they were meant to go, or nowhere.
"""

from __future__ import annotations

import io
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, RemoteDisconnected
from threading import Lock
from typing import Any
from urllib.parse import SplitResult, urlsplit

import msgspec

from redkite import spans
from redkite.env import Env, Executor, away
from redkite.errors import FunctionFailed
from redkite.functions.quoting import quoted
from redkite.model.calling import ModelSettings

AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
"""Answers after which the same request may succeed."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
IDLE_SECONDS = 30.0
"""A connection that was not used for this long is not used again."""
IDLE_CONNECTIONS = 8
"""Of one server, at most."""
_Place = tuple[str, str, int | None]


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `who` begins the text of an error: `embedding provider openai`."""

    who: str
    url: str
    body: bytes
    headers: Mapping[str, str] = {}
    hidden: tuple[str, ...] = ()
    """Texts that no error may quote."""

    @property
    def place(self) -> str:
        """The endpoint, as an error names it."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Http:
    """Any thread. Connections are kept open for the next request."""

    def __init__(self, env: Env, settings: ModelSettings) -> None:
        self._env = env
        self._settings = settings
        self._lock = Lock()
        self._idle: dict[_Place, list[tuple[float, HTTPConnection]]] = {}
        self._executor: Executor | None = None
        self._closed = False
        self._tls: ssl.SSLContext | None = None

    def post_all(self, requests: Sequence[HttpRequest]) -> list[bytes]:
        """The replies, in order. Several requests run side by side. Raises FunctionFailed for the first that fails;
        those that have not begun are not made then."""
        if len(requests) <= 1:
            with away():
                return [self.post(request) for request in requests]
        stopped = False

        def one(request: HttpRequest) -> bytes:
            return b"" if stopped else self.post(request)

        running = self._workers()
        futures: list[Future[bytes]] = [running.submit(one, request) for request in requests]
        try:
            with away():
                return [future.result() for future in futures]
        except BaseException:
            stopped = True
            raise

    @spans.traced("ask model", lambda _, request: {"redkite.model": request.who, "server.address": request.place})
    def post(self, request: HttpRequest) -> bytes:
        """The body of an answer of status 200. Raises FunctionFailed, which says who was asked, where, and what came
        back."""
        deadline = self._env.clock.monotonic() + self._settings.seconds
        for attempt in range(1, self._settings.tries + 1):
            pause = min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE)
            try:
                reply, body = self._exchange(request, deadline)
            except TimeoutError:
                raise FunctionFailed(
                    f"{request.who} at {request.place} did not answer within {self._settings.seconds:g} s"
                ) from None
            except (OSError, HTTPException) as error:
                said = quoted(str(error).encode(errors="replace"), request.hidden)
                failure = f"{request.who} at {request.place} cannot be reached: {type(error).__name__} {said}"
            else:
                if reply.status == 200:
                    return self._within(request, body)
                failure = _refusal(request, reply, body)
                if reply.status not in AGAIN:
                    break
                pause = max(pause, _wanted_pause(reply))
            pause *= 1 + self._env.random.random() / 4
            if attempt == self._settings.tries or self._env.clock.monotonic() + pause >= deadline:
                break
            self._wait(pause)
        raise FunctionFailed(failure if attempt == 1 else f"{failure} (asked {attempt} times)")

    def close(self) -> None:
        """Keep no connection any more, nor those of requests under way."""
        with self._lock:
            self._closed = True
            executor, self._executor = self._executor, None
            idle = [connection for kept in self._idle.values() for _, connection in kept]
            self._idle.clear()
        for connection in idle:
            connection.close()
        if executor is not None:
            executor.shutdown(wait=False)

    # -- one exchange ---------------------------------------------------------------------------
    def _exchange(self, request: HttpRequest, deadline: float) -> tuple[HTTPResponse, bytes]:
        """One request and its answer. A kept connection that the server has closed meanwhile is replaced."""
        parts = urlsplit(request.url)
        place = (parts.scheme, parts.hostname or "", parts.port)
        connection = self._kept(place)
        if connection is not None:
            try:
                return self._over(connection, place, parts, request, deadline)
            except (RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                connection.close()
        return self._over(self._fresh(place), place, parts, request, deadline)

    def _over(
        self, connection: HTTPConnection, place: _Place, parts: SplitResult, request: HttpRequest, deadline: float
    ) -> tuple[HTTPResponse, bytes]:
        def left() -> float:
            seconds = deadline - self._env.clock.monotonic()
            if seconds <= 0:
                raise TimeoutError
            return seconds

        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        fixed = {"Content-Type": "application/json", "Accept": "application/json"}
        headers = {**fixed, **spans.headers(), **request.headers}
        try:
            connection.timeout = left()
            if connection.sock is not None:
                connection.sock.settimeout(connection.timeout)
            connection.response_class = partial(_TimedResponse, left=left)  # type: ignore[assignment]  # a factory
            connection.request("POST", path, request.body, headers)
            reply = connection.getresponse()
            with reply:
                body = reply.read(self._settings.reply_bytes + 1)
                is_whole = reply.isclosed()
        except BaseException:
            connection.close()
            raise
        if is_whole and not reply.will_close:
            self._keep(place, connection)
        else:
            connection.close()
        return reply, body

    def _within(self, request: HttpRequest, body: bytes) -> bytes:
        if len(body) > self._settings.reply_bytes:
            most = self._settings.reply_bytes
            raise FunctionFailed(f"{request.who} at {request.place} answered more than {most} bytes")
        return body

    # -- connections ----------------------------------------------------------------------------
    def _fresh(self, place: _Place) -> HTTPConnection:
        scheme, host, port = place
        if scheme != "https":
            return HTTPConnection(host, port)
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return HTTPSConnection(host, port, context=self._tls)

    def _kept(self, place: _Place) -> HTTPConnection | None:
        oldest = self._env.clock.monotonic() - IDLE_SECONDS
        stale: list[HTTPConnection] = []
        found = None
        with self._lock:
            kept = self._idle.get(place, [])
            while kept and found is None:
                since, connection = kept.pop()
                if since >= oldest:
                    found = connection
                else:
                    stale.append(connection)
        for connection in stale:
            connection.close()
        return found

    def _keep(self, place: _Place, connection: HTTPConnection) -> None:
        with self._lock:
            kept = self._idle.setdefault(place, [])
            if len(kept) < IDLE_CONNECTIONS and not self._closed:
                kept.append((self._env.clock.monotonic(), connection))
                return
        connection.close()

    # -- waiting --------------------------------------------------------------------------------
    def _workers(self) -> Executor:
        with self._lock:
            if self._executor is None:
                self._executor = self._env.tasks.executor("models", self._settings.requests)
            return self._executor

    def _wait(self, seconds: float) -> None:
        try:
            self._env.tasks.future().result(seconds)
        except TimeoutError:
            return  # nobody ends it earlier


class _TimedRaw(io.RawIOBase):
    """The bytes of a connection, each read of which may take as long as is left."""

    def __init__(self, raw: io.RawIOBase, sock: Any, left: Callable[[], float]) -> None:
        self._raw = raw
        self._sock = sock
        self._left = left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._left())
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(HTTPResponse):
    """A response that is over at its deadline, however slowly its bytes come."""

    def __init__(self, sock: Any, *args: Any, left: Callable[[], float], **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        stream: Any = self.fp
        self.fp = io.BufferedReader(_TimedRaw(stream.detach(), sock, left))


def _refusal(request: HttpRequest, reply: HTTPResponse, body: bytes) -> str:
    reason = quoted(reply.reason.encode(errors="replace"), request.hidden)
    text = f"{request.who} at {request.place} answered {reply.status} {reason}"
    if 300 <= reply.status < 400:
        text += " (redirects are not followed)"
    shown = quoted(body, request.hidden)
    return f"{text}: {shown}" if shown else text


def _wanted_pause(reply: HTTPResponse) -> float:
    """The seconds after which a server wants to be asked again; 0 when it does not say."""
    text = reply.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0
