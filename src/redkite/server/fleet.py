"""The worker processes of `redkite serve --workers N`: started, watched, started again, ended.

One interpreter runs one thread of Python at a time, so one process cannot use a large machine however many cores index
and scan code takes. The processes share the port (each accepts when it is idle), the mapped segments and nothing else.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import tempfile

import msgspec

from redkite.config import Settings
from redkite.errors import Unavailable
from redkite.logs import get_logger
from redkite.server.board import SharedBoard
from redkite.server.listener import BACKLOG
from redkite.server.sharing import Gathered, worker_socket
from redkite.server.worker import READY, Orders

_log = get_logger(__name__)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
_START_SECONDS = 120.0
_MODULE = "redkite.server.worker"


class Fleet:
    """All but the first of the processes. Belongs to one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = tempfile.mkdtemp(prefix="redkite-")
        self.board = SharedBoard.create(f"{self._folder}/board")
        self.counters = Gathered(self._folder, settings.workers - 1)
        """What the workers have counted."""
        self._stopping = False
        self._watchers: list[asyncio.Task[None]] = []
        self._processes: dict[int, asyncio.subprocess.Process] = {}

    def writer_socket(self) -> socket.socket:
        """Where the writer listens for the workers."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(self._writer)
        listening.listen(BACKLOG)
        listening.setblocking(False)
        return listening

    @property
    def _writer(self) -> str:
        return f"{self._folder}/writer.sock"

    async def start(self, listening: socket.socket) -> None:
        """Start the workers on the main port's socket; returns when each is ready. Raises Unavailable."""
        descriptor = listening.fileno()
        os.set_inheritable(descriptor, True)
        orders = Orders(
            settings=self._settings, listening=descriptor, writer=self._writer, board=self._board_path, counters="",
        )  # fmt: skip
        numbers = range(1, self._settings.workers)
        await asyncio.gather(*(self._launch(number, orders) for number in numbers))
        self._watchers = [asyncio.create_task(self._watch(number, orders)) for number in numbers]

    @property
    def _board_path(self) -> str:
        return f"{self._folder}/board"

    async def _launch(self, number: int, orders: Orders) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", _MODULE,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, pass_fds=(orders.listening,),
        )  # fmt: skip
        self._processes[number] = process
        assert process.stdin is not None
        assert process.stdout is not None
        orders = msgspec.structs.replace(orders, counters=worker_socket(self._folder, number))
        process.stdin.write(msgspec.json.encode(orders) + b"\n")
        try:
            said = await asyncio.wait_for(process.stdout.readline(), _START_SECONDS)
        except TimeoutError:
            said = b""
        if said != READY:
            raise Unavailable(f"worker {number} did not start (exit status {process.returncode})")

    async def _watch(self, number: int, orders: Orders) -> None:
        """Start a worker again when it ends; what it answered just then, its clients ask once more."""
        pause = _FIRST_PAUSE
        while True:
            status = await self._processes[number].wait()
            if self._stopping:
                return
            _log.error("worker %d ended with status %d and is started again", number, status)
            await asyncio.sleep(pause)
            try:
                await self._launch(number, orders)
                pause = _FIRST_PAUSE
            except (Unavailable, OSError) as error:
                _log.error("%s", error)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def stop(self) -> None:
        """Let the workers finish what they do, and remove what they shared."""
        self._stopping = True
        ending = [self._end(process) for process in self._processes.values()]
        await asyncio.gather(*ending)
        for watcher in self._watchers:
            watcher.cancel()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), self._settings.shutdown_seconds + 5)
        except TimeoutError:
            _log.warning("worker process %d does not end and is killed", process.pid)
            process.kill()
            await process.wait()
