"""`redkite serve`: everything of one server process, from the first port to the last byte.

Both ports are bound before the database is opened, so that a wrong port is told at once. The metrics port answers from
then on; a connection to the main port waits until the database is open.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, Protocol

from redkite import __version__
from redkite.config import Settings, analyzer_folder, import_places, model_settings
from redkite.errors import InvalidParameter, Unavailable
from redkite.logs import get_logger
from redkite.model.service import Service
from redkite.server.buffered import Buffered
from redkite.server.calls import Calls
from redkite.server.grpc import Rpcs
from redkite.server.grpc_connection import GrpcConnection
from redkite.server.guard import Guard
from redkite.server.health import HealthApp
from redkite.server.http1 import Http1
from redkite.server.listener import BACKLOG, Listener
from redkite.server.management import Admins, Management
from redkite.server.mirror import Mirror
from redkite.server.observation import Observation
from redkite.server.process import begin_process
from redkite.server.rest.app import RestApp
from redkite.server.security import access_rules, metrics_context, tls_context, warn_if_open
from redkite.server.webui.door import WebUi
from redkite.server.webui.views import Views

if TYPE_CHECKING:
    from redkite.coordinator.access import AccessCoordinator
    from redkite.server.board import SharedBoard
    from redkite.server.fleet import Fleet
    from redkite.server.replicating import Replicator

_log = get_logger(__name__)
_GC_THRESHOLD = 50_000
"""Allocations between collections: calls make no cycles, and a collection stops every call."""
_POLL_SECONDS = 0.01
_INTERRUPTED = 130
_MOST_WATCHERS = 1_000
"""Connections to the metrics port."""


class Database(Protocol):
    """An open database."""

    @property
    def service(self) -> Service: ...

    @property
    def access(self) -> AccessCoordinator: ...

    def follow(self) -> None: ...

    def close(self) -> None: ...


OpenDatabase = Callable[[Settings], Database]


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; the result is the exit status.

    Raises MilvusException when it cannot start: a port is taken, the data is in use or damaged.
    """
    begin_process(settings)
    if settings.front == "envoy":
        from redkite.server.envoy import FrontMissing, serve_in_envoy

        try:
            return asyncio.run(serve_in_envoy(settings))
        except FrontMissing as error:
            _log.warning("front = envoy cannot be had here (%s): the default front serves", error)
    return asyncio.run(_serve(Server(settings)))


async def _serve(server: Server) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, interrupted, stop)
    if server.observation.has_audit_log:
        loop.add_signal_handler(signal.SIGHUP, server.observation.reopen)
    started = time.monotonic()
    try:
        await server.start()
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GC_THRESHOLD)
        print(server.greeting(time.monotonic() - started), flush=True)
        await stop.wait()
    finally:
        await server.stop()
    return 0


def interrupted(stop: asyncio.Event) -> None:
    """Ctrl-C ends the server in good order; a second one ends it at once, which the data survives like a crash."""
    if stop.is_set():
        os._exit(_INTERRUPTED)
    stop.set()


class Doors(NamedTuple):
    """Where calls go in."""

    rpcs: Rpcs
    rest: RestApp
    buffered: Buffered
    """The bytes of all requests that are not answered yet."""


class Server:
    """One database behind its ports. `open_database` runs in a thread."""

    def __init__(
        self, settings: Settings, open_database: OpenDatabase | None = None, *, shared_port: bool = False
    ) -> None:
        """`shared_port`: further processes of the same user may listen on the main port, too."""
        self._shared_port = shared_port
        self.port = 0
        self.metrics_port = 0
        self._command: int | None = None
        self._settings = settings
        self._open_database = open_database
        self.observation = Observation(settings)
        self._health = HealthApp(self.observation, guarded=settings.needs_users)
        self._health_http = Http1(self._health, most=_MOST_WATCHERS)
        self._rest_http: Http1 | None = None
        self._grpc: set[GrpcConnection] = set()
        self._buffered = Buffered(settings.limits.max_unfinished_bytes)
        self._calls: Calls | None = None
        self._database: Database | None = None
        self.replicator: Replicator | None = None
        self._health_server: asyncio.Server | None = None
        self._fleet: Fleet | None = None
        self._listener: Listener | None = None
        self._inner: Listener | None = None
        self._tls = tls_context(settings)
        self._metrics_tls = metrics_context(settings)

    async def start(self) -> None:
        """Bind, open the database, accept. Raises MilvusException; `stop` is needed all the same."""
        settings = self._settings
        await self._answer_health()
        with _bind(settings.host, settings.port, "--port", shared=self._shared_port) as main_socket:
            self.port = main_socket.getsockname()[1]
            if settings.workers > 1:
                from redkite.server.fleet import Fleet

                self._fleet = Fleet(settings)
                self.observation.workers = self._fleet.counters
            await self._open(main_socket.dup())
            if self._fleet is not None:
                await self._fleet.start(main_socket)
        self._health.calls = self._calls
        warn_if_open(settings, self.port)

    async def start_inside(self, command: int) -> Doors:
        """Open the database in a process that accepts connections by other means, which brings calls to the doors.
        `command`: the process that ends this one."""
        self._command = command
        await self._answer_health()
        doors = await self._open_doors()
        self._health.calls = self._calls
        warn_if_open(self._settings, self._settings.port)
        return doors

    async def _answer_health(self) -> None:
        loop = asyncio.get_running_loop()
        health_socket = _bind(self._settings.host, self._settings.metrics_port, "--metrics-port")
        self.metrics_port = health_socket.getsockname()[1]
        self._health_server = await loop.create_server(
            self._health_http.connect, sock=health_socket, ssl=self._metrics_tls
        )

    async def start_beside(self, listening: socket.socket) -> None:
        """Open the database and accept from a socket that other processes accept from, too; no port of its own."""
        if listening.family != socket.AF_UNIX:
            self.port = listening.getsockname()[1]
        await self._open(listening)

    async def _open(self, listening: socket.socket) -> None:
        try:
            rpcs, rest_app, _ = await self._open_doors()
        except BaseException:
            listening.close()  # nobody will accept from it
            raise
        rest = self._rest_http = Http1(rest_app)
        self._listener = Listener(
            http2=lambda: GrpcConnection(rpcs, self._grpc, self._settings.limits, self._buffered),
            http1=rest.connect,
            others=lambda: len(self._grpc) + rest.connections,
        )
        if self._fleet is not None:
            await self._answer_workers(self._fleet.writer_socket())
        await self._listener.open(listening, shared=self._settings.workers > 1, tls=self._tls)

    async def _answer_workers(self, listening: socket.socket) -> None:
        """Other processes of this server have asked who calls already, and say it."""
        assert self._calls is not None, "the doors are open"
        rpcs = Rpcs(self._calls, self.observation.observer, trusting=True)
        self._inner = Listener(
            http2=lambda: GrpcConnection(rpcs, self._grpc, self._settings.limits, self._buffered),
            http1=Http1(_nowhere).connect,
            others=lambda: 0,
        )
        await self._inner.open(listening)

    async def _open_doors(self) -> Doors:
        loop = asyncio.get_running_loop()
        self.observation.begin()
        with ThreadPoolExecutor(1, thread_name_prefix="redkite-open") as opener:
            self._database = await loop.run_in_executor(opener, self._make_database)
        calls = self._calls = Calls(self._database.service, loop)
        guard = Guard(self._database.access, self._database.follow) if self._settings.needs_users else None
        self._health.guard = guard
        self.observation.opened(
            calls, self._database.service, getattr(self._database, "topology", None),
            getattr(self._database, "figures", None), getattr(self._database, "reads", None),
        )  # fmt: skip
        self._replicate(calls)
        observer = self.observation.observer
        rest = RestApp(calls, observer, self._settings.limits, guard, self._settings, self._buffered)
        self._health.management = Management(
            self._settings, self.observation, getattr(self._database, "topology", None),
            None if guard is None else Admins(guard, calls, self._database.access), self._command,
        )  # fmt: skip
        if self._health_server is not None:
            views = self._views(guard)
            self._health.mirror = Mirror(calls, observer, views, guard)
            if self._settings.web_ui:
                self._health.page = WebUi(calls, observer, rest, views, guard, self._settings.host)
        return Doors(Rpcs(calls, observer, guard), rest, self._buffered)

    def _replicate(self, calls: Calls) -> None:
        """Send what is written to the clusters that follow this one, where the database can tell."""
        replication = getattr(self._database, "replication", None)
        if replication is not None:
            from redkite.server.replicating import Replicator

            self.replicator = Replicator(calls, replication)
            self.replicator.start()
            self.observation.replicator = self.replicator

    def _views(self, guard: Guard | None) -> Views:
        topology = getattr(self._database, "topology", None)
        access = None if guard is None or self._database is None else self._database.access
        return Views(self._settings, self.observation, topology, access)

    def _make_database(self) -> Database:
        if self._open_database is not None:
            return self._open_database(self._settings)
        return _open_local(self._settings, None if self._fleet is None else self._fleet.board)

    def greeting(self, seconds: float) -> str:
        """One line for the person who started it."""
        return greeting(self._settings, self.port, self.metrics_port, seconds)

    async def stop(self) -> None:
        """Accept no more, finish what runs, close the database."""
        if self.replicator is not None:
            self.replicator.stop()
        if self._fleet is not None:
            await self._fleet.stop()  # first: they still have the writer to turn to
        for listener in (self._listener, self._inner):
            if listener is not None:
                listener.close()
        for connection in list(self._grpc):
            connection.leave()
        if self._rest_http is not None:
            self._rest_http.leave()
        await self._drain()
        if self._health_server is not None:
            self._health_server.close()
        self._health_http.leave()
        for connection in list(self._grpc):
            connection.abort()
        if self._rest_http is not None:
            self._rest_http.abort()
        if self._calls is not None:
            self._calls.close()
        if self._database is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._database.close)
        self.observation.close()

    async def _drain(self) -> None:
        """Wait for running requests, as long as the settings allow."""
        deadline = time.monotonic() + self._settings.shutdown_seconds
        while self._running and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_SECONDS)
        if self._running:
            _log.warning("stopping with %d requests unanswered", self._running)

    @property
    def _running(self) -> int:
        calls = self._calls.running if self._calls is not None else 0
        rest = self._rest_http.running if self._rest_http is not None else 0
        return max(calls + rest, sum(len(connection.streams) for connection in self._grpc))


def greeting(settings: Settings, port: int, metrics_port: int, seconds: float) -> str:
    """What a server says that is ready `seconds` after its start."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    scheme = "https" if settings.metrics_tls else "http"
    return (
        f"Redkite {__version__} is ready after {seconds:.2f} s: gRPC and REST on {host}:{port}, "
        f"health on {scheme}://{host}:{metrics_port}/healthz, data in {settings.data}"
    )


def _open_local(settings: Settings, board: SharedBoard | None) -> Database:
    from redkite.cluster.local import open_database
    from redkite.coordinator.compaction import CompactionPolicy
    from redkite.node.streaming import SealPolicy
    from redkite.storage.log import LogSettings

    policy = SealPolicy(
        rows=settings.seal_rows,
        bytes=settings.seal_bytes,
        idle_seconds=settings.seal_idle_seconds,
        age_seconds=settings.seal_age_seconds,
    )
    compaction = CompactionPolicy(
        enabled=settings.compaction != "off",
        automatic=settings.compaction == "auto",
        rows=settings.seal_rows,
        bytes=settings.seal_bytes,
    )
    return open_database(
        settings.data,
        limits=settings.limits,
        policy=policy,
        compaction=compaction,
        garbage_seconds=settings.garbage_seconds,
        threads=settings.threads,
        verify=settings.verify == "open",
        backups=settings.backups or f"{settings.data.rstrip('/')}-backups",
        analyzer_files=analyzer_folder(settings),
        imports=import_places(settings),
        memory_limit=settings.memory_limit,
        memory_wait_seconds=settings.memory_wait_seconds,
        board=board,
        access=access_rules(settings),
        models=model_settings(settings),
        quotas=settings.quotas,
        cluster_id=settings.cluster_id,
        log_settings=LogSettings(
            page_bytes=settings.log_page_bytes,
            retention_bytes=settings.log_retention_bytes,
            retention_seconds=settings.log_retention_seconds,
            queue_bytes=settings.log_queue_bytes,
            queue_seconds=settings.log_queue_seconds,
        ),
    )


def _bind(host: str, port: int, option: str, *, shared: bool = False) -> socket.socket:
    """A listening socket. Raises Unavailable when the port is taken, InvalidParameter when the host is not ours."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise InvalidParameter(f"cannot listen on host {host}: {error.strerror}") from None
    # `localhost` has two addresses; every client tries the IPv4 one.
    family, kind, protocol, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        text = f"cannot listen on {host}:{port}: {error.strerror}"
        raise Unavailable(f"{text}; choose another port with {option}") from None
    listening.setblocking(False)
    return listening


def check_port(host: str, port: int, option: str) -> int:
    """A port that can be listened on: the one given, or a free one for 0. Raises Unavailable, or InvalidParameter."""
    with _bind(host, port, option) as found:
        chosen: int = found.getsockname()[1]
        return chosen


async def _nowhere(_scope: object, _receive: object, send: Callable[[dict[str, object]], Awaitable[None]]) -> None:
    """Workers speak gRPC."""
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})
