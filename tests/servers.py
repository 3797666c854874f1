"""Servers for tests: a real process, or one in a thread of this process around any service."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import msgspec
import pytest

from redkite.config import ENVIRONMENT_PREFIX, Settings
from redkite.model.service import Service
from redkite.node.topology import Topology
from redkite.server.main import Server

READY_SECONDS = 60.0
ALONE = "it is about a process that serves a folder by itself"
alone = pytest.mark.skipif("CLUSTER" in os.environ, reason=ALONE)


class ProcessServer:
    """`python -m redkite serve` on free ports with its own data folder."""

    def __init__(self, data: Path, *arguments: str, command: tuple[str, ...] = ()) -> None:
        """`command`: another than `redkite serve` that prints the same line."""
        self.data = data
        # All that a cluster keeps, its log and its metadata, is in memory, and freed when the interpreter ends.
        self._end_seconds = 90.0 if command else 60.0
        serve = ["redkite", "serve", "--data", str(data), "--port", "0", "--metrics-port", "0"]
        if "FRONT" in os.environ:  # as `make envoy` does
            serve += ["--front", os.environ["FRONT"]]
        whole = [sys.executable, "-X", "faulthandler", "-m", *(command or serve)]
        # Settings of the tests are none of the server's, which refuses variables it does not know.
        environment = {key: value for key, value in os.environ.items() if not key.startswith(ENVIRONMENT_PREFIX)}
        # A file takes whatever is logged; a pipe that nobody reads is full some day, and whoever logs then waits.
        self._log = tempfile.NamedTemporaryFile(prefix="redkite-", suffix=".log")  # noqa: SIM115 (as long as this)
        self.process = subprocess.Popen(
            [*whole, *arguments], stdout=subprocess.PIPE, stderr=self._log, text=True, env=environment
        )
        assert self.process.stdout is not None
        self.greeting = self.process.stdout.readline()
        found = re.search(r"REST on \S+:(\d+), health on http://\S+:(\d+)/", self.greeting)
        if found is None:
            self.process.kill()
            output, _ = self.process.communicate()
            raise RuntimeError(f"the server did not start: {(output, self.logged())}")
        self.port, self.metrics_port = int(found[1]), int(found[2])
        self._wait_until_healthy()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def logged(self) -> str:
        """What it has written to standard error so far."""
        return self.errors if self._log.closed else Path(self._log.name).read_text(errors="replace")

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float | None = None) -> int:
        """Send a signal and wait; the result is the exit status. One that does not end says where its threads are."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.output, _ = self.process.communicate(timeout=seconds or self._end_seconds)
        except subprocess.TimeoutExpired as error:
            self.process.send_signal(signal.SIGABRT)  # faulthandler writes down every thread's stack
            self.process.communicate()
            error.add_note(self.logged()[-50_000:])
            raise
        self.errors = self.logged()
        self._log.close()
        return self.process.returncode

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/healthz", timeout=30) as answer:
                    if answer.status == 200:
                        return
            except urllib.error.URLError:
                pass
            time.sleep(0.02)
        self.process.kill()
        raise RuntimeError("the server is not healthy")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def wire_server(data: Path, *arguments: str) -> ProcessServer:
    """`redkite serve`, or a cluster where the environment says so: `CLUSTER=1`, or `CLUSTER="query=3"`."""
    if "CLUSTER" not in os.environ:
        return ProcessServer(data, *arguments)
    counts = [count for count in os.environ["CLUSTER"].split() if "=" in count]
    return ProcessServer(data, *arguments, command=("tests.cluster.serve", str(data), *counts))


def processor_seconds(pid: int) -> float:
    """What a process has used so far: unlike the time that went by, about the same on a busy machine."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class EngineHere(Protocol):
    """What answers requests, in this process."""

    @property
    def service(self) -> Service: ...

    @property
    def topology(self) -> Topology: ...

    def close(self) -> None: ...


class ClusterHere:
    """A cluster of all roles in this process; requests are asked of its proxy."""

    def __init__(self, folder: str) -> None:
        from redkite.cluster.in_process import SMALL, InProcessCluster, MemoryNodes

        settings = Settings(data=folder, imports=str(Path(folder).parent))
        config = msgspec.structs.replace(SMALL, settings=settings)
        self._cluster = InProcessCluster(MemoryNodes(f"{folder}/objects"), config).start()
        self.service, self.topology = self._cluster.service(), self._cluster.proxy().topology

    def close(self) -> None:
        self._cluster.close()


def engine_here(folder: str) -> EngineHere:
    """The database in a folder, or a cluster where the environment says so."""
    from redkite.cluster.local import open_database

    return ClusterHere(folder) if "CLUSTER" in os.environ else open_database(folder)


class ThreadServer:
    """A server around `service` in a thread of this process, on free ports."""

    def __init__(self, service: Service, **settings: object) -> None:
        self.service = service
        self.server = Server(Settings(port=0, metrics_port=0, **settings), lambda _: self)  # type: ignore[arg-type]
        self.closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(self.server.start())
        self.port, self.metrics_port = self.server.port, self.server.metrics_port

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """What the server calls when it stops: the database is this object."""
        self.closed = True

    def stop(self) -> None:
        self._run(self.server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        if not self._loop.is_running():
            self._end_tasks()
            self._loop.close()

    def _end_tasks(self) -> None:
        """What was waiting for calls that never ended."""
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self._loop.run_until_complete(asyncio.wait(tasks))

    def _run(self, work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(READY_SECONDS)  # type: ignore[arg-type]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
