"""One of several processes that serve one database and one port.

The first process writes. The others map the same segments and follow its log: they answer reads themselves, after a
look at the board that the writer keeps, and hand everything else to the writer over a local socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from typing import Any

import msgspec

from redkite.client.endpoint import Endpoint
from redkite.client.transports.direct import DirectTransport
from redkite.client.transports.speech import Speech
from redkite.cluster.reading import SERVED, ReadOnlyView, open_for_reading
from redkite.config import Settings, analyzer_folder, model_settings
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.service import Service
from redkite.server.board import SharedBoard
from redkite.server.main import Server
from redkite.server.process import begin_process
from redkite.server.security import access_rules

READY = b"ready\n"


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told when it starts, as a line of JSON on its standard input, which is closed to end it."""

    settings: Settings
    listening: int
    """The descriptor of the socket that all processes accept from."""
    writer: str
    """The path of the writer's own socket."""
    board: str
    counters: str
    """The path of the socket on which this worker says what it has counted."""


class SharedService:
    """Reads answered here, everything else by the writer."""

    def __init__(self, reads: Service, writer: DirectTransport) -> None:
        self._reads = reads
        self._writer = writer

    def call(self, request: rq.Request) -> Any:
        if _is_read(request):
            return self._reads.call(request)
        result: rs.Result = self._writer.call(request, None)
        return result

    def is_quick(self, request: rq.Request) -> bool:
        return _is_read(request) and self._reads.is_quick(request)


class SharedDatabase:
    """The database as a worker has it."""

    def __init__(self, orders: Orders) -> None:
        settings = orders.settings
        self._writer = DirectTransport(Speech(Endpoint(address=f"unix:{orders.writer}")))
        self._view: ReadOnlyView = open_for_reading(
            settings.data,
            limits=settings.limits,
            verify=settings.verify == "open",
            board=SharedBoard.open(orders.board),
            access=access_rules(settings),
            models=model_settings(settings),
            analyzer_files=analyzer_folder(settings),
            quotas=settings.quotas,
            cluster_id=settings.cluster_id,
        )
        self.access = self._view.topology.access
        self.reads = self._view.reads
        self.service: Service = SharedService(self._view.service, self._writer)

    def follow(self) -> None:
        """Take over what the writer has committed."""
        self._view.follow()

    def close(self) -> None:
        self._writer.close()
        self._view.close()


def _is_read(request: rq.Request) -> bool:
    """The pages of one iterator are remembered in one place, with the writer."""
    return type(request) in SERVED and not (isinstance(request, rq.Search) and request.page is not None)


async def _work(orders: Orders) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C reaches the whole group: the writer ends the workers
    loop.add_reader(sys.stdin.fileno(), stop.set)
    server = Server(orders.settings, lambda _: SharedDatabase(orders))
    try:
        await server.start_beside(socket.socket(fileno=orders.listening))
        await server.observation.tell(orders.counters)
        os.write(sys.stdout.fileno(), READY)
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nobody reads on: what is written fills no pipe
        await stop.wait()
    finally:
        await server.stop()


def main() -> None:
    """The process that `Fleet` starts."""
    line = bytearray()
    while not line.endswith(b"\n"):  # byte by byte: nothing of what follows may be taken
        byte = os.read(sys.stdin.fileno(), 1)
        if not byte:
            return
        line += byte
    orders = msgspec.json.decode(line, type=Orders)
    begin_process(orders.settings)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_work(orders))


if __name__ == "__main__":
    main()
