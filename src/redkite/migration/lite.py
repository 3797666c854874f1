"""Files of milvus-lite: its own package serves them from a child process, and we read them like any server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from redkite.client.sync import MilvusClient
from redkite.errors import ConnectError, StorageError
from redkite.migration.server import ServerSource

_CHILD: Final = """\
import sys
from milvus_lite.server_manager import server_manager_instance
print("at " + (server_manager_instance.start_and_get_uri(sys.argv[1]) or ""), flush=True)
sys.stdin.read()
"""


class LiteSource(ServerSource):
    """A file of milvus-lite, open for as long as this is."""

    def __init__(self, path: str, python: str) -> None:
        self._child = subprocess.Popen(
            [python or sys.executable, "-c", _CHILD, str(Path(path).absolute())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        uri = self._greeting(path, python)
        try:
            super().__init__(MilvusClient(uri), "milvus-lite")
        except BaseException:
            self._stop()
            raise
        self.notes = ("settings of indexes (M, efConstruction …) become the defaults: milvus-lite does not tell them",)

    def _greeting(self, path: str, python: str) -> str:
        """Where the child serves."""
        assert self._child.stdout is not None
        for line in self._child.stdout:
            if line.startswith("at ") and line.strip() != "at":
                return line[3:].strip()
        _, errors = self._child.communicate()
        if "No module named 'milvus_lite'" in errors:
            whose = python or "this Python"
            raise StorageError(
                f"{path} is of milvus-lite, which {whose} does not have: install milvus-lite into an environment of "
                "its own, and name its interpreter with --python"
            )
        last = errors.strip().splitlines()[-1:] or ["it said nothing"]
        raise ConnectError(f"milvus-lite cannot open {path}: {last[0]}")

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._stop()

    def _stop(self) -> None:
        """Closing its input ends the child."""
        try:
            self._child.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.communicate()
