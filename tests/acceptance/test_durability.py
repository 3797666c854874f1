"""Whatever a `redkite serve` process has acknowledged is there after it was killed, and after it was asked to stop."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pymilvus
import pytest
from tests.servers import ProcessServer, alone, processor_seconds

import redkite

DIM = 32
NAME = "kept"
BATCH = 25
EVERYTHING = "id >= 0"
UNAVAILABLE = 2


def vector(key: int, version: int = 0) -> np.ndarray:
    """What the row of a key holds."""
    return np.full(DIM, key % 10_007 + version / 4, np.float32)


def row(key: int, version: int = 0) -> dict[str, Any]:
    return {"id": key, "vector": vector(key, version), "version": version}


def create(client: pymilvus.MilvusClient) -> None:
    schema = client.create_schema()
    schema.add_field("id", pymilvus.DataType.INT64, is_primary=True)
    schema.add_field("vector", pymilvus.DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("version", pymilvus.DataType.INT32)
    index = client.prepare_index_params("vector", index_type="HNSW", metric_type="L2")
    client.create_collection(NAME, schema=schema, index_params=index)


class Work:
    """Threads that write with pymilvus until the server is gone, and what they were told.

    `sure` is what every key must hold: its version, or None when its deletion was acknowledged. `open` are the changes
    of which no answer came: they may have happened or not, but a batch as a whole.
    """

    def __init__(self, uri: str, first_key: int) -> None:
        self.sure: dict[int, int | None] = {}
        self.open: list[dict[int, int | None]] = []
        self.problems: list[str] = []
        self._uri = uri
        self._stop = threading.Event()
        self._acknowledged = threading.Event()
        bodies: list[Callable[[Any, int], None]] = [self._insert, self._insert, self._change, self._flush]
        self._threads = [
            threading.Thread(target=self._run, args=(body, first_key + number * 1_000_000))
            for number, body in enumerate(bodies)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wait_for_one(self) -> None:
        """Until something was acknowledged, however long this machine takes."""
        assert self._acknowledged.wait(120)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _run(self, body: Callable[[Any, int], None], key: int) -> None:
        try:
            client = pymilvus.MilvusClient(self._uri, dedicated=True)
        except pymilvus.MilvusException:
            return  # the server was gone before this thread had its turn
        while not self._stop.is_set():
            body(client, key)
            key += BATCH
        client.close()

    def _insert(self, client: Any, key: int) -> None:
        self._try(
            dict.fromkeys(range(key, key + BATCH), 0),
            lambda: client.insert(NAME, [row(k) for k in range(key, key + BATCH)], retry_times=0),
        )

    def _change(self, client: Any, key: int) -> None:
        self._insert(client, key)
        some = range(key, key + 10)
        self._try(dict.fromkeys(some, 1), lambda: client.upsert(NAME, [row(k, 1) for k in some], retry_times=0))
        gone = list(range(key + 5, key + 15))
        self._try(dict.fromkeys(gone, None), lambda: client.delete(NAME, ids=gone, retry_times=0))

    def _flush(self, client: Any, _: int) -> None:
        self._try({}, lambda: client.flush(NAME, retry_times=0))
        time.sleep(0.03)

    def _try(self, change: dict[int, int | None], call: Callable[[], object]) -> None:
        if self._stop.is_set():
            return
        try:
            call()
        except (pymilvus.MilvusException, ValueError) as error:
            # The connection broke: whether the change happened, nobody was told.
            self._stop.set()
            if isinstance(getattr(error, "code", None), int) and error.code > UNAVAILABLE:
                self.problems.append(str(error))  # an answer of the server, and no good one
            self.open.append(change)
        else:
            self.sure |= change
            if change:
                self._acknowledged.set()


def stored(client: Any) -> dict[int, int]:
    """Version by key, read in pages; each vector is the one of its row."""
    found: dict[int, int] = {}
    last = -1
    while True:
        page = client.query(NAME, f"id > {last}", output_fields=["id", "version", "vector"], limit=10_000)
        for item in page:
            assert item["vector"] == vector(item["id"], item["version"]).tolist()
            found[item["id"]] = item["version"]
        if len(page) < 10_000:
            return found
        last = page[-1]["id"]


def check(client: Any, sure: dict[int, int | None], unanswered: list[dict[int, int | None]]) -> dict[int, int]:
    """Every acknowledged change holds, and unanswered ones hold whole or not at all. Returns what is stored."""
    found = stored(client)
    may = {key for change in unanswered for key in change}
    wrong = {k: (version, found.get(k)) for k, version in sure.items() if k not in may and found.get(k) != version}
    assert not wrong
    assert not {key for key in found if key not in sure and key not in may}
    for change in unanswered:
        happened = {found.get(key) == version for key, version in change.items()}
        before = {found.get(key) == sure.get(key) for key in change}
        assert happened == {True} or before == {True} or not change
    (counted,) = client.query(NAME, output_fields=["count(*)"])
    assert counted["count(*)"] == len(found)
    return found


@contextmanager
def working(server: ProcessServer, first_key: int) -> Iterator[Work]:
    work = Work(server.uri, first_key)
    work.start()
    try:
        yield work
    finally:
        work.stop()
        assert not work.problems


@alone
def test_acknowledged_writes_survive_a_kill_at_any_moment(tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    sure: dict[int, int | None] = {}
    server = ProcessServer(tmp_path / "data")
    try:
        client = pymilvus.MilvusClient(server.uri, dedicated=True)
        create(client)
        client.close()
        for turn in range(5):
            with working(server, turn * 10_000_000) as work:
                work.wait_for_one()
                time.sleep(choose.uniform(0.0, 0.6))
                assert server.stop(signal.SIGKILL) == -signal.SIGKILL
            assert work.sure
            # The process that looks what is there is also the next to be killed.
            server = ProcessServer(tmp_path / "data")
            client = pymilvus.MilvusClient(server.uri, dedicated=True)
            assert client.get_load_state(NAME)["state"].name == "Loaded"
            found = check(client, sure | work.sure, work.open)
            key = next(key for key, version in work.sure.items() if version == 0 and key in found)
            (hits,) = client.search(NAME, [vector(key).tolist()], limit=1)
            assert hits[0]["distance"] == 0
            client.close()
            sure = dict(found)
            sure |= {key: None for change in (work.sure, *work.open) for key in change if key not in found}
        server.stop()
        server = ProcessServer(tmp_path / "data")
        client = pymilvus.MilvusClient(server.uri, dedicated=True)
        assert check(client, sure, []) == found
        client.close()
    finally:
        if server.process.poll() is None:
            server.stop()


@alone
def test_a_server_asked_to_stop_under_load_ends_within_seconds_and_keeps_all(tmp_path: Path) -> None:
    server = ProcessServer(tmp_path / "data")
    client = pymilvus.MilvusClient(server.uri, dedicated=True)
    create(client)
    with working(server, 0) as work:
        work.wait_for_one()
        time.sleep(0.5)
        assert server.stop(signal.SIGTERM, seconds=120) == 0
    client.close()
    assert "Traceback" not in server.errors
    with ProcessServer(tmp_path / "data") as again:
        client = pymilvus.MilvusClient(again.uri, dedicated=True)
        check(client, work.sure, work.open)
        client.close()


@alone
def test_a_large_collection_is_searched_soon_after_a_kill(tmp_path: Path) -> None:
    count, dim = 30_000, 64
    matrix = np.random.default_rng(1).random((count, dim), np.float32)
    server = ProcessServer(tmp_path / "data")
    client = redkite.MilvusClient(server.uri)
    client.create_collection("large", dimension=dim, metric_type="L2")
    for start in range(0, count, 5_000):
        part = slice(start, start + 5_000)
        client.insert("large", {"id": np.arange(count)[part], "vector": matrix[part]})
    client.flush("large")
    client.insert("large", {"id": count + np.arange(1_000), "vector": matrix[:1_000] + 2})
    client.close()
    server.stop(signal.SIGKILL)
    with ProcessServer(tmp_path / "data") as again:
        client = redkite.MilvusClient(again.uri)
        found = client.search("large", matrix[[0, 29_999]], limit=1)
        took = processor_seconds(again.process.pid)
        assert [hits.ids[0] for hits in found] == [0, 29_999]
        assert client.search("large", matrix[:1] + 2, limit=1)[0].ids == [count]
        assert client.query("large", output_fields=["count(*)"])[0]["count(*)"] == count + 1_000
        client.close()
    assert took < 6, "an index that is there is not built before the first search"


@alone
def test_definitions_survive_a_kill(tmp_path: Path) -> None:
    with_all = ProcessServer(tmp_path / "data")
    client = pymilvus.MilvusClient(with_all.uri, dedicated=True)
    create(client)
    client.create_partition(NAME, "p")
    client.create_alias(NAME, "also")
    client.create_database("books")
    client.create_collection("released", dimension=4)
    client.release_collection("released")
    client.create_collection("dropped", dimension=4)
    client.drop_collection("dropped")
    client.create_collection("old_name", dimension=4)
    client.rename_collection("old_name", "new_name")
    client.insert(NAME, [row(1)], partition_name="p")
    client.insert(NAME, [row(2)])
    client.delete(NAME, ids=[2])
    before = client.describe_collection(NAME), client.describe_index(NAME, "vector")
    client.close()
    with_all.stop(signal.SIGKILL)
    with ProcessServer(tmp_path / "data") as again:
        client = pymilvus.MilvusClient(again.uri, dedicated=True)
        assert (client.describe_collection(NAME), client.describe_index(NAME, "vector")) == before
        assert sorted(client.list_collections()) == [NAME, "new_name", "released"]
        assert sorted(client.list_partitions(NAME)) == ["_default", "p"]
        assert client.describe_alias("also")["collection_name"] == NAME
        assert sorted(client.list_databases()) == ["books", "default"]
        states = {name: client.get_load_state(name)["state"].name for name in (NAME, "released")}
        assert states == {NAME: "Loaded", "released": "NotLoad"}
        assert [item["id"] for item in client.query("also", EVERYTHING, partition_names=["p"])] == [1]
        assert stored(client) == {1: 0}
        client.close()


_WRITER = """
import sys, redkite
client = redkite.MilvusClient(sys.argv[1])
client.create_collection("kept", dimension=4)
for key in range(100_000):
    client.insert("kept", {"id": key, "vector": [key, 0.0, 0.0, 0.0]})
    print(key, flush=True)
"""


def test_acknowledged_writes_of_an_embedded_database_survive_a_kill(tmp_path: Path) -> None:
    path = str(tmp_path / "embedded.db")
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, path], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    last = -1
    while last < 150:
        last = int(writer.stdout.readline())
    with pytest.raises(redkite.PathLocked, match=str(writer.pid)):
        redkite.MilvusClient(path)
    writer.kill()
    rest = writer.communicate(timeout=60)[0].splitlines()
    last = int(rest[-1]) if rest else last
    client = redkite.MilvusClient(path)
    keys = [item["id"] for item in client.query(NAME, EVERYTHING, output_fields=["id"])]
    assert keys == list(range(len(keys)))
    assert len(keys) in (last + 1, last + 2)
    client.close()
