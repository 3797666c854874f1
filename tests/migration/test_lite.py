"""Files of milvus-lite, served by a child process: one that only plays it, and, where LITE_PYTHON names an interpreter
whose environment has milvus-lite and pymilvus, the real one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.servers import ProcessServer

from redkite import DataType, MilvusClient
from redkite.errors import ConnectError, StorageError
from redkite.migration.run import migrate

LITE_PYTHON = os.environ.get("LITE_PYTHON", "")
FILL = """\
import sys
from pymilvus import DataType, MilvusClient
client = MilvusClient(sys.argv[1])
schema = client.create_schema(enable_dynamic_field=True)
schema.add_field("id", DataType.INT64, is_primary=True)
schema.add_field("title", DataType.VARCHAR, max_length=100)
schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
schema.add_field("about", DataType.JSON)
index = client.prepare_index_params()
index.add_index("vector", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 40})
client.create_collection("docs", schema=schema, index_params=index)
client.create_partition("docs", "old")
client.create_alias("docs", "papers")
for partition, first in (("_default", 0), ("old", 1000)):
    client.insert("docs", [{"id": first + n, "title": f"t{n}", "vector": [n, 1, 2, 3], "about": {"n": n}, "loose": n}
                           for n in range(150)], partition_name=partition)
client.close()
"""


def interpreter(folder: Path, manager: str) -> str:
    """A Python whose milvus_lite is this text."""
    package = folder / "lite" / "milvus_lite"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "server_manager.py").write_text(manager)
    script = folder / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{folder / "lite"}" exec "{sys.executable}" "$@"\n')
    script.chmod(0o755)
    return str(script)


def manager(uri: str) -> str:
    return f"""\
class Manager:
    def start_and_get_uri(self, path):
        assert path.endswith("old.db")
        return {uri!r}

server_manager_instance = Manager()
"""


def test_a_file_is_read_through_the_server_that_a_child_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.db").touch()
    with ProcessServer(tmp_path / "data") as server:
        with MilvusClient(server.uri) as client:
            client.create_collection("birds", dimension=2)
            client.insert("birds", [{"id": n, "vector": [n, 1], "n": n} for n in range(20)])
        report = migrate("old.db", "new.db", python=interpreter(tmp_path, manager(server.uri)))
    assert report.kind == "milvus-lite"
    assert report.is_whole
    assert report.outcomes[0].stored == 20


def test_what_milvus_lite_says_when_it_cannot_open_a_file_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.db").touch()
    python = interpreter(tmp_path, 'raise RuntimeError("this file is of version 2")')
    with pytest.raises(ConnectError, match=r"milvus-lite cannot open old.db: RuntimeError: this file is of version 2"):
        migrate("old.db", "new.db", python=python)


def test_an_environment_without_milvus_lite_is_told_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.db").touch()
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(StorageError, match="name its interpreter with --python"):
        migrate("old.db", "new.db", python=str(bare))


@pytest.mark.skipif(not LITE_PYTHON, reason="LITE_PYTHON names no interpreter with milvus-lite")
def test_a_real_file_of_milvus_lite_arrives_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run([LITE_PYTHON, "-c", FILL, "old.db"], check=True, timeout=100)
    report = migrate("old.db", "new.db", python=LITE_PYTHON, batch=40)
    assert report.is_whole
    with MilvusClient("./new.db") as client:
        assert client.query("papers", output_fields=["count(*)"])[0]["count(*)"] == 300
        assert client.list_partitions("docs") == ["_default", "old"]
        assert client.get("docs", 1007)[0]["loose"] == 7
        assert client.describe_collection("docs")["fields"][3]["type"] == DataType.JSON
