"""Processes that read beside the one that writes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.engine import NAME, Engine

from redkite import DataType, MilvusClient
from redkite.errors import CollectionNotLoaded, ReadOnlyDatabase, StorageError

DIM = 8


def vector(i: int) -> list[float]:
    return [float(i), *([0.5] * (DIM - 1))]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "shared.db")


@pytest.fixture
def writer(path: str):
    client = MilvusClient(path)
    client.create_collection("c", dimension=DIM, metric_type="L2")
    client.insert("c", [{"id": i, "vector": vector(i), "word": f"w{i}"} for i in range(10)])
    yield client
    client.close()


def ids(client: MilvusClient, filter: str = "id >= 0") -> list[int]:
    return [row["id"] for row in client.query("c", filter, output_fields=["id"])]


def soon(look: Callable[[], object], wanted: object) -> None:
    """A reader is some milliseconds behind: it waits for the writer's proof that a write is durable."""
    limit = time.monotonic() + 120
    while (found := look()) != wanted:
        assert time.monotonic() < limit, f"still {found}"
        time.sleep(0.002)


def test_a_reader_sees_each_write_flush_compaction_and_schema_change_of_the_writer(
    path: str, writer: MilvusClient
) -> None:
    reader = MilvusClient(path, read_only=True)
    soon(lambda: ids(reader), list(range(10)))
    writer.insert("c", [{"id": 10, "vector": vector(10)}])
    soon(lambda: ids(reader), list(range(11)))
    writer.delete("c", ids=[0])
    soon(lambda: ids(reader), list(range(1, 11)))
    writer.flush("c")
    soon(lambda: ids(reader), list(range(1, 11)))
    writer.upsert("c", [{"id": 1, "vector": vector(100), "word": "new"}])
    soon(lambda: reader.get("c", [1])[0]["word"], "new")
    assert reader.search("c", [vector(100)], limit=1)[0][0]["id"] == 1
    writer.flush("c")
    writer.compact("c")
    soon(lambda: ids(reader), list(range(1, 11)))
    writer.add_collection_field("c", "extra", DataType.INT64, nullable=True)
    writer.upsert("c", [{"id": 2, "vector": vector(2), "extra": 5}])
    soon(lambda: [r["extra"] for r in reader.get("c", [2, 3], ["extra"])], [5, None])
    writer.create_collection("d", dimension=DIM)
    assert sorted(reader.list_collections()) == ["c", "d"]
    writer.release_collection("c")
    with pytest.raises(CollectionNotLoaded):
        ids(reader)
    writer.load_collection("c")
    writer.truncate_collection("c")
    soon(lambda: ids(reader), [])
    writer.drop_collection("c")
    assert reader.list_collections() == ["d"]
    reader.close()


def test_a_reader_of_a_database_that_nobody_writes_leaves_every_file_as_it_was(path: str, writer: MilvusClient) -> None:
    writer.flush("c")
    writer.insert("c", [{"id": 77, "vector": vector(77)}])
    writer.close()
    files = {p: p.read_bytes() for p in Path(path).rglob("*") if p.is_file() and "catalog-" not in p.name}
    with MilvusClient(path, read_only=True) as reader:
        assert ids(reader, "id > 5") == [6, 7, 8, 9, 77]
    assert {p: p.read_bytes() for p in Path(path).rglob("*") if p.is_file() and "catalog-" not in p.name} == files


def test_a_reader_writes_nothing(path: str, writer: MilvusClient) -> None:
    reader = MilvusClient(path, read_only=True)
    for attempt in (
        lambda: reader.insert("c", [{"id": 1, "vector": vector(1)}]),
        lambda: reader.delete("c", ids=[1]),
        lambda: reader.flush("c"),
        lambda: reader.drop_collection("c"),
        lambda: reader.create_collection("e", dimension=DIM),
        lambda: reader.release_collection("c"),
    ):
        with pytest.raises(ReadOnlyDatabase, match="read_only=True"):
            attempt()
    assert ids(writer) == list(range(10))


def test_there_must_be_a_database_to_read(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"there is no database at .*none\.db"):
        MilvusClient(str(tmp_path / "none.db"), read_only=True)
    assert not (tmp_path / "none.db").exists()


CHILD = """
import sys
from redkite import MilvusClient
reader = MilvusClient(sys.argv[1], read_only=True)
seen, last = 0, -1
while last < int(sys.argv[2]):
    rows = reader.query("c", "id >= 1000", output_fields=["id", "pair"])
    keys = [r["id"] for r in rows]
    assert keys == list(range(1000, 1000 + len(keys))), keys[:5]
    assert len(keys) % 2 == 0, "half of a write was seen"
    assert len(keys) >= seen, "the reader went back in time"
    seen, last = len(keys), keys[-1] if keys else -1
print(seen)
"""


def test_reader_processes_follow_a_busy_writer_and_see_whole_writes_only(path: str, writer: MilvusClient) -> None:
    last = 1000 + 2 * 300 - 1
    children = [
        subprocess.Popen([sys.executable, "-c", CHILD, path, str(last)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for turn in range(300):
        writer.insert("c", [{"id": 1000 + 2 * turn + i, "vector": vector(turn), "pair": turn} for i in (0, 1)])
        if turn % 60 == 59:
            writer.flush("c")
    for child in children:
        out, _ = child.communicate(timeout=60)
        assert (child.returncode, out.strip()) == (0, "600")


def test_threads_of_a_reader_search_while_the_writer_seals_and_compacts(path: str, writer: MilvusClient) -> None:
    reader = MilvusClient(path, read_only=True)
    stop = time.monotonic() + 3
    failures: list[BaseException] = []

    def search() -> None:
        try:
            while time.monotonic() < stop:
                hits = reader.search("c", [vector(3)], limit=3, filter="id < 10")[0]
                assert [h["id"] for h in hits] == [3, 2, 4], hits
        except BaseException as error:  # noqa: BLE001  shown by the test
            failures.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    generator = np.random.default_rng(0)
    first = 100
    while time.monotonic() < stop:
        block = generator.normal(size=(200, DIM)).astype(np.float32) + 1000
        writer.insert("c", [{"id": first + i, "vector": v.tolist()} for i, v in enumerate(block)])
        first += 200
        writer.flush("c")
        writer.compact("c")
    for thread in threads:
        thread.join()
    reader.close()
    assert not failures, failures[0]


def test_a_reader_sees_writes_whose_timestamps_are_ahead_of_its_clock(path: str) -> None:
    """As after a crash: the writer goes on above every number that the one before might have handed out."""
    writer = Engine(path)
    writer.create()
    writer.database.topology.root.oracle.allocate(60_000 << 18)
    writer.insert(range(3), np.eye(3, DIM, dtype=np.float32), [0, 1, 2])
    reader = MilvusClient(path, read_only=True)
    soon(lambda: [row["id"] for row in reader.query(NAME, "id >= 0", output_fields=["id"])], [0, 1, 2])
    reader.close()
    writer.close()
