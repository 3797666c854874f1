"""What a process of Redkite's own keeps out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pymilvus import MilvusClient
from tests.servers import ProcessServer

pytest.importorskip("pandas")

_AFTER_THE_START = """
import sys
from redkite.config import Settings
from redkite.server.process import begin_process
begin_process(Settings())
import pyarrow as pa
column = pa.array(["kite"])
print("pandas" in sys.modules)
print(column.to_pandas().tolist())
"""


def test_arrow_does_not_look_for_pandas_but_still_makes_a_series_of_a_column() -> None:
    done = subprocess.run([sys.executable, "-c", _AFTER_THE_START], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["False", "['kite']"]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads what a process has mapped from /proc")
def test_a_server_that_takes_rows_and_answers_queries_has_not_loaded_pandas(tmp_path: Path) -> None:
    with ProcessServer(tmp_path / "data") as server:
        client = MilvusClient(server.uri)
        client.create_collection("birds", dimension=4)
        client.insert("birds", [{"id": 1, "vector": [1, 0, 0, 0], "name": "kite", "tags": ["a", "b"]}])
        assert client.query("birds", filter='name == "kite"', output_fields=["*"])[0]["tags"] == ["a", "b"]
        assert "pandas" not in Path(f"/proc/{server.process.pid}/maps").read_text()
