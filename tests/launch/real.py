"""A cluster of real processes for tests, brought up by the command as anybody would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redkite.launch.parts import S3Gateway

RUNTIME = os.environ.get("CLUSTER_RUNTIME", "")
"""Set by `make cluster`."""


@dataclass
class Cluster:
    """One that the command has brought up."""

    state: Path
    port: int
    options: tuple[str, ...] = ()
    """More words for `up`."""

    def command(self, action: str, *words: str, fails: bool = False) -> str:
        line = [sys.executable, "-m", "redkite", "cluster", action, "--state", str(self.state), *words]
        env = os.environ | {"REDKITE_IMPORTS": str(self.state.parent)}
        done = subprocess.run(line, capture_output=True, text=True, timeout=900, check=False, env=env)
        assert (done.returncode != 0) == fails, (done.stdout, done.stderr)
        return done.stdout + done.stderr

    def words(self) -> list[str]:
        """What `up` is told."""
        objects = "s3" if S3Gateway.program() else "folder"
        words = ["--local", "--runtime", RUNTIME, "--port", str(self.port), "--objects", objects]
        words += ["--log", os.environ.get("CLUSTER_LOG", "kafka")]
        return [*words, "--set", "pchannels=4", *self.options]

    def up(self, *, fails: bool = False) -> str:
        return self.command("up", *self.words(), fails=fails)

    def status(self) -> dict[str, Any]:
        line = [sys.executable, "-m", "redkite", "cluster", "status", "--state", str(self.state), "--json"]
        found: dict[str, Any] = json.loads(subprocess.run(line, capture_output=True, check=False).stdout)
        return found

    def node(self, role: str) -> dict[str, Any]:
        found: dict[str, Any] = next(n for n in self.status()["nodes"] if n["role"] == role)
        return found

    def client(self) -> Any:
        from pymilvus import MilvusClient

        return MilvusClient(f"http://127.0.0.1:{self.port}")

    def client_of_redkite(self) -> Any:
        from redkite import MilvusClient

        return MilvusClient(f"http://127.0.0.1:{self.port}")

    def wait_well(self, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while True:
            status = self.status()
            if not status["problems"] and not any(node["health"] for node in status["nodes"]):
                return
            assert time.monotonic() < deadline, status
            time.sleep(0.5)
