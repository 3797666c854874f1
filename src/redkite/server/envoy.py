"""`redkite serve --front envoy`: the server inside Envoy, started and ended from here.

Raises FrontMissing where pyvoy, Envoy or a shared libpython is not to be had; the default front is then used.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from redkite.config import Settings
from redkite.errors import Unavailable, from_code
from redkite.logs import get_logger
from redkite.server.envoy_app import ORDERS, Orders, Report
from redkite.server.main import check_port, greeting, interrupted
from redkite.server.security import tls_context

if TYPE_CHECKING:
    from pyvoy import PyvoyServer

_START_SECONDS = 120.0
_POLL_SECONDS = 0.02
_ADMIN_SECONDS = 10.0
_RUNNING = "/stats?filter=^http.ingress_http.downstream_rq_active$"
_log = get_logger(__name__)


class FrontMissing(Exception):
    """Envoy cannot be used here; the text says why."""


async def serve_in_envoy(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; the result is the exit status. Raises FrontMissing, or what kept the database from
    opening."""
    try:
        from pyvoy import PyvoyServer, StartupError
        from pyvoy._server import get_envoy_environ
    except ImportError as error:
        raise FrontMissing(f"{error.name or error} is not installed: pip install 'redkite[envoy]'") from error
    if "LD_PRELOAD" not in get_envoy_environ():
        raise FrontMissing("this Python has no shared libpython")
    tls_context(settings)  # what is wrong with the files is told in the words of the other front, not in Envoy's
    port = check_port(settings.host, settings.port, "--port")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, interrupted, stop)
    if settings.audit_log:
        # The application finds out by itself that its file was moved away.
        loop.add_signal_handler(signal.SIGHUP, lambda: None)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="redkite-") as folder:
        orders = Orders(settings=settings, report=f"{folder}/report", launcher=os.getpid(), arguments=sys.argv)
        server = PyvoyServer(
            "redkite.server.envoy_app:app", address=settings.host, port=port, lifespan=True, loop="asyncio",
            env={ORDERS: msgspec.json.encode(orders).decode()}, stdout=sys.stderr.buffer, stderr=sys.stderr.buffer,
            tls_cert=_file(settings.tls_cert), tls_key=_file(settings.tls_key),
            tls_ca_cert=_file(settings.tls_client_ca), tls_enable_http3=False,
        )  # fmt: skip
        try:
            await server.start()
        except (StartupError, OSError) as error:
            _check(_read(orders))
            raise Unavailable(f"Envoy does not start: {error}") from error
        report = await _ready(orders, server)
        print(greeting(settings, server.listener_port, report.metrics_port, time.monotonic() - started), flush=True)
        ended = asyncio.create_task(server.wait())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            _log.error("Envoy ended with status %s", ended.result())
            return 1
        if not ended.done():
            await _drain(server, settings.shutdown_seconds)
            await server.stop()
        return 0 if await ended == 0 else 1


async def _ready(orders: Orders, server: PyvoyServer) -> Report:
    """What the application says once it has opened the database. Raises what kept it from that."""
    limit = time.monotonic() + _START_SECONDS
    while (report := _read(orders)) is None:
        if server.stopped or time.monotonic() > limit:
            raise Unavailable("Redkite did not start inside Envoy: what it wrote above says why")
        await asyncio.sleep(_POLL_SECONDS)
    if report.code:
        await server.stop()
    _check(report)
    return report


async def _drain(server: PyvoyServer, seconds: float) -> None:
    """Accept no more and wait for running requests. Envoy by itself would break them off where they are."""
    try:
        # Whoever is connected is told to go with the next answer.
        await asyncio.to_thread(_ask, server, "POST", "/healthcheck/fail")
        await asyncio.to_thread(_ask, server, "POST", "/drain_listeners")
        deadline = time.monotonic() + seconds
        while running := int((await asyncio.to_thread(_ask, server, "GET", _RUNNING)).rpartition(b":")[2]):
            if time.monotonic() > deadline:
                _log.warning("stopping with %d requests unanswered", running)
                return
            await asyncio.sleep(_POLL_SECONDS)
    except (OSError, HTTPException) as error:
        _log.warning("stopping without waiting for requests: Envoy does not say which are running: %s", error)


def _ask(server: PyvoyServer, method: str, path: str) -> bytes:
    """What Envoy's own administration answers. Raises OSError or HTTPException."""
    connection = HTTPConnection(server._admin_address or "", timeout=_ADMIN_SECONDS)
    try:
        connection.request(method, path)
        return connection.getresponse().read()
    finally:
        connection.close()


def _file(path: str) -> Path | None:
    return Path(path) if path else None


def _read(orders: Orders) -> Report | None:
    try:
        return msgspec.json.decode(Path(orders.report).read_bytes(), type=Report)
    except FileNotFoundError:
        return None


def _check(report: Report | None) -> None:
    if report is not None and report.code:
        raise from_code(report.code, report.message)
