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
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from redkite import __version__
from redkite.config import Settings
from redkite.errors import Unavailable, from_code
from redkite.logs import get_logger
from redkite.server.envoy_app import ORDERS, Orders, Report
from redkite.server.main import check_port, interrupted

if TYPE_CHECKING:
    from pyvoy import PyvoyServer

_START_SECONDS = 120.0
_POLL_SECONDS = 0.02
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
    port = check_port(settings.host, settings.port, "--port")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, interrupted, stop)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="redkite-") as folder:
        orders = Orders(settings=settings, report=f"{folder}/report", launcher=os.getpid())
        server = PyvoyServer(
            "redkite.server.envoy_app:app", address=settings.host, port=port, lifespan=True, loop="asyncio",
            env={ORDERS: msgspec.json.encode(orders).decode()}, stdout=sys.stderr.buffer, stderr=sys.stderr.buffer,
        )  # fmt: skip
        try:
            await server.start()
        except (StartupError, OSError) as error:
            _check(_read(orders))
            raise Unavailable(f"Envoy does not start: {error}") from error
        report = await _ready(orders, server)
        port = server.listener_port
        print(
            f"Redkite {__version__} is ready after {time.monotonic() - started:.2f} s: gRPC and REST on "
            f"{settings.host}:{port}, health on http://{settings.host}:{report.metrics_port}/healthz, "
            f"data in {settings.data}",
            flush=True,
        )
        ended = asyncio.create_task(server.wait())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            _log.error("Envoy ended with status %s", ended.result())
            return 1
        await server.stop()
        return 0


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


def _read(orders: Orders) -> Report | None:
    try:
        return msgspec.json.decode(Path(orders.report).read_bytes(), type=Report)
    except FileNotFoundError:
        return None


def _check(report: Report | None) -> None:
    if report is not None and report.code:
        raise from_code(report.code, report.message)
