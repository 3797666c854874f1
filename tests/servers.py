"""Servers for tests: a real process, or one in a thread of this process around any service."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from redkite.config import ENVIRONMENT_PREFIX, Settings
from redkite.model.service import Service
from redkite.server.main import Server

READY_SECONDS = 30.0


class ProcessServer:
    """`python -m redkite serve` on free ports with its own data folder."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self.data = data
        command = [sys.executable, "-m", "redkite", "serve", "--data", str(data), "--port", "0", "--metrics-port", "0"]
        if "FRONT" in os.environ:  # as `make envoy` does
            command += ["--front", os.environ["FRONT"]]
        # Settings of the tests are none of the server's, which refuses variables it does not know.
        environment = {key: value for key, value in os.environ.items() if not key.startswith(ENVIRONMENT_PREFIX)}
        self.process = subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout is not None
        self.greeting = self.process.stdout.readline()
        found = re.search(r"REST on \S+:(\d+), health on http://\S+:(\d+)/", self.greeting)
        if found is None:
            self.process.kill()
            raise RuntimeError(f"the server did not start: {self.process.communicate()}")
        self.port, self.metrics_port = int(found[1]), int(found[2])
        self._wait_until_healthy()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 15.0) -> int:
        """Send a signal and wait; the result is the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.output, self.errors = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/healthz", timeout=5) as answer:
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
        self._thread.join(5)

    def _run(self, work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(READY_SECONDS)  # type: ignore[arg-type]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
