"""How long, how much CPU, how much memory? Timing of calls and watching of server processes."""

from __future__ import annotations

import http.client
import os
import shlex
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil

Call = Callable[[int], object]


def percentiles(seconds: list[float]) -> dict[str, float]:
    milliseconds = 1000 * np.asarray(seconds)
    return {
        "calls": len(seconds),
        "mean_ms": round(float(milliseconds.mean()), 4),
        "p50_ms": round(float(np.percentile(milliseconds, 50)), 4),
        "p99_ms": round(float(np.percentile(milliseconds, 99)), 4),
    }


def repeat(call: Call, seconds: float, least: int = 10) -> dict[str, float]:
    """Call with 0, 1, 2 … for so many seconds: calls per second and percentiles."""
    spent: list[float] = []
    started = time.perf_counter()
    while time.perf_counter() - started < seconds or len(spent) < least:
        before = time.perf_counter()
        call(len(spent))
        spent.append(time.perf_counter() - before)
    wall = time.perf_counter() - started
    return {"per_s": round(len(spent) / wall, 1), **percentiles(spent)}


def repeat_in_threads(call: Call, threads: int, seconds: float) -> dict[str, float]:
    """The same from several threads at once. The first error ends the measurement and is raised."""
    barrier = threading.Barrier(threads + 1)

    def work(number: int) -> list[float]:
        spent: list[float] = []
        barrier.wait()
        end = time.perf_counter() + seconds
        position = 37 * number
        while time.perf_counter() < end:
            before = time.perf_counter()
            call(position)
            spent.append(time.perf_counter() - before)
            position += 1
        return spent

    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(work, number) for number in range(threads)]
        barrier.wait()
        started = time.perf_counter()
        spent = [value for future in futures for value in future.result()]
        wall = time.perf_counter() - started
    return {"per_s": round(len(spent) / wall, 1), **percentiles(spent)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def disk_bytes(path: str | Path | None) -> int:
    """Bytes that the files of a folder, or one file, take on disk."""
    if path is None:
        return 0
    root = Path(path)
    files = [root] if root.is_file() else [file for file in root.rglob("*") if file.is_file()]
    return sum(file.stat().st_blocks * 512 for file in files)


def own_memory() -> int:
    """Resident bytes of this process."""
    resident: int = psutil.Process().memory_info().rss
    return resident


class Server:
    """A server process of one command line: started, measured, stopped, killed, started again."""

    def __init__(self, command: str, uri: str, data: str | None, health: str | None = None) -> None:
        """`health` is `host:port/path` of a page that answers 200 when ready; without it, an open port is enough."""
        self.command, self.uri, self.data, self.health = command, uri, data, health
        self.log = Path(f"{data or 'server'}.log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, timeout: float = 90) -> float:
        """Seconds from the start of the process until it is ready."""
        started = time.perf_counter()
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                shlex.split(self.command), stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True
            )
        while not self._ready():
            if self._process.poll() is not None or time.perf_counter() - started > timeout:
                raise RuntimeError(f"the server did not start: {self.command}\n{self.log.read_text()[-2000:]}")
            time.sleep(0.01)
        return time.perf_counter() - started

    def _ready(self) -> bool:
        if self.health is not None:
            address, _, page = self.health.partition("/")
            with suppress(OSError):
                connection = http.client.HTTPConnection(address, timeout=2)
                connection.request("GET", f"/{page}")
                return connection.getresponse().status == 200
            return False
        host, _, port = self.uri.rpartition("/")[2].partition(":")
        with suppress(OSError), socket.create_connection((host, int(port)), timeout=2):
            return True
        return False

    def _family(self) -> list[Any]:
        if self._process is None:
            return []
        with suppress(psutil.Error):
            parent = psutil.Process(self._process.pid)
            return [parent, *parent.children(recursive=True)]
        return []

    def cpu_seconds(self) -> float:
        total = 0.0
        for process in self._family():
            with suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def memory(self) -> int:
        total = 0
        for process in self._family():
            with suppress(psutil.Error):
                total += process.memory_info().rss
        return total

    def stop(self, number: int = signal.SIGTERM, grace: float = 30) -> float:
        """Seconds until every process of the server is gone."""
        started = time.perf_counter()
        family = self._family()
        for process in family if number == signal.SIGKILL else family[:1]:
            with suppress(psutil.Error):
                process.send_signal(number)
        _, alive = psutil.wait_procs(family, timeout=grace)
        for process in alive:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=10)
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
        self._process = None
        return time.perf_counter() - started


def machine() -> dict[str, Any]:
    model = ""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {"cpu": model, "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2)}
