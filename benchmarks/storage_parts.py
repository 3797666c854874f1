"""The parts of `storage.py`: each makes what it needs in a folder and answers numbers."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import measure
import redkite

NAME = "rows"
BATCH = 10_000
WRITERS = 64
SIZES = {"1k": (1, 1_024), "512k": (64, 8_192), "8m": (1, 8 * 1024 * 1024)}
"""Name -> (records, bytes of each) in one commit."""
MB = 1e6

Numbers = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where and how large."""

    folder: Path
    rows: int
    dim: int
    seconds: float
    index: str
    in_child: Callable[[Place, str], Numbers]

    def fresh(self, name: str) -> Path:
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        return path

    @property
    def raw_bytes(self) -> int:
        """Of the large collections: key, number, vector."""
        return self.rows * (8 + 8 + 4 * self.dim)


def database(path: Path, dim: int, index: str = "HNSW") -> redkite.MilvusClient:
    client = redkite.MilvusClient(str(path))
    if not client.has_collection(NAME):
        schema = client.create_schema()
        schema.add_field("id", redkite.DataType.INT64, is_primary=True)
        schema.add_field("number", redkite.DataType.INT64)
        schema.add_field("vector", redkite.DataType.FLOAT_VECTOR, dim=dim)
        params = {"M": 16, "efConstruction": 200} if index == "HNSW" else {}
        indexes = client.prepare_index_params("vector", index_type=index, metric_type="L2", params=params)
        client.create_collection(NAME, schema=schema, index_params=indexes)
    return client


# -- durable single rows ------------------------------------------------------------------------
def inserts(place: Place) -> Numbers:
    """Key, number and vector, one row a call, each durable before the next begins."""
    vector = np.random.default_rng(1).random(place.dim, np.float32)
    numbers: Numbers = {}
    for store, (insert, close) in stores(place.fresh("inserts"), place.dim):
        row = vector if store == "redkite" else vector.tobytes()
        for writers in (1, WRITERS):
            offset = 100_000_000 * writers
            calls = measure.repeat_in_threads(
                lambda n, insert=insert, row=row, offset=offset: insert(offset + unique(n), row), writers, place.seconds
            )
            numbers[f"{store}_{writers}_per_s"] = calls["per_s"]
            numbers[f"{store}_{writers}_p50_ms"] = calls["p50_ms"]
        close()
    return numbers


_numbers = iter(range(10**12))


def unique(_: int) -> int:
    """A key no other call of this run has."""
    return next(_numbers)


Insert = Callable[[int, Any], object]


def stores(folder: Path, dim: int) -> list[tuple[str, tuple[Insert, Callable[[], object]]]]:
    folder.mkdir(parents=True)
    client = database(folder / "redkite.db", dim)

    def ours(key: int, vector: Any) -> object:
        return client.insert(NAME, {"id": key, "number": key, "vector": vector})

    known = [("redkite", (ours, client.close)), ("sqlite", sqlite_store(folder / "sqlite.db"))]
    other = lmdb_store(folder / "lmdb")
    return known if other is None else [*known, ("lmdb", other)]


def sqlite_store(path: Path) -> tuple[Insert, Callable[[], object]]:
    """One connection behind a lock: more connections would wait for each other at the same file lock."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, number INTEGER, vector BLOB)")
    lock = threading.Lock()

    def insert(key: int, vector: bytes) -> None:
        with lock:
            connection.execute("INSERT INTO rows VALUES (?, ?, ?)", (key, key, vector))

    return insert, connection.close


def lmdb_store(path: Path) -> tuple[Insert, Callable[[], object]] | None:
    try:
        import lmdb
    except ModuleNotFoundError:
        return None
    environment = lmdb.open(str(path), map_size=64 << 30, max_readers=256)

    def insert(key: int, vector: bytes) -> None:
        with environment.begin(write=True) as transaction:
            transaction.put(key.to_bytes(8, "big"), key.to_bytes(8, "big") + vector)

    return insert, environment.close


# -- the log ------------------------------------------------------------------------------------
def log(place: Place) -> Numbers:
    """Records made durable a commit at a time, in MB/s of payload."""
    folder = place.fresh("log")
    folder.mkdir(parents=True)
    numbers: Numbers = {}
    for name, (records, size) in SIZES.items():
        payload = [os.urandom(size) for _ in range(records)]
        ways = {"redkite": log_commits, "sqlite": sqlite_commits, "lmdb": lmdb_commits}
        for store, way in ways.items():
            commit = way(folder / f"{store}-{name}", payload)
            if commit is not None:
                calls = measure.repeat(commit, place.seconds)
                numbers[f"{store}_{name}_mb_per_s"] = round(calls["per_s"] * records * size / MB, 1)
    return numbers


Commit = Callable[[int], object]


def log_commits(path: Path, payload: list[bytes]) -> Commit:
    from redkite.env import Env
    from redkite.storage.local_log import LocalLog

    topic = LocalLog(Env.real(), str(path)).topic("bench")

    def commit(_: int) -> None:
        futures: list[Future[int]] = [topic.append([record]) for record in payload]
        for future in futures:
            future.result()

    return commit


def sqlite_commits(path: Path, payload: list[bytes]) -> Commit:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE log (position INTEGER PRIMARY KEY, record BLOB)")

    def commit(_: int) -> None:
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO log (record) VALUES (?)", [(record,) for record in payload])
        connection.execute("COMMIT")

    return commit


def lmdb_commits(path: Path, payload: list[bytes]) -> Commit | None:
    try:
        import lmdb
    except ModuleNotFoundError:
        return None
    environment = lmdb.open(str(path), map_size=64 << 30)

    def commit(number: int) -> None:
        first = number * len(payload)
        with environment.begin(write=True) as transaction:
            for position, record in enumerate(payload, first):
                transaction.put(position.to_bytes(8, "big"), record, append=True)

    return commit


# -- recovery -----------------------------------------------------------------------------------
def recovery(place: Place) -> Numbers:
    """Rows that are in the log alone, by a process that ended without closing anything."""
    place.fresh("recovery").mkdir(parents=True)
    written = place.in_child(place, "write-log")
    opened = place.in_child(place, "recover")
    shutil.rmtree(place.folder / "recovery")
    return {
        "rows": place.rows,
        "insert_rows_per_s": round(place.rows / written["insert_s"]),
        "log_mb": written["log_mb"],
        "recovery_s": opened["open_s"],
        "recovery_rows_per_s": round(place.rows / opened["open_s"]),
        "first_search_s": opened["first_search_s"],
    }


def write_log(place: Place) -> Numbers:
    from redkite.client.transports import engines
    from redkite.cluster.local import open_database
    from redkite.node.streaming import SealPolicy

    never = SealPolicy(rows=10**12, bytes=10**15, idle_rows=10**12)
    engines.open_handle = lambda path: open_database(path, policy=never)
    client = database(place.folder / "recovery" / "log.db", place.dim)
    spent = fill(client, place)
    return {"insert_s": round(spent, 3), "log_mb": megabytes(place.folder / "recovery" / "log.db" / "log")}


def recover(place: Place) -> Numbers:
    return first_search(place, place.folder / "recovery" / "log.db", place.rows - 1)


def fill(client: redkite.MilvusClient, place: Place) -> float:
    """Insert the rows; seconds the inserts took."""
    rng = np.random.default_rng(7)
    spent = 0.0
    for start in range(0, place.rows, BATCH):
        ids = np.arange(start, min(start + BATCH, place.rows))
        columns = {"id": ids, "number": ids % 1_000, "vector": rng.random((len(ids), place.dim), np.float32)}
        before = time.perf_counter()
        client.insert(NAME, columns)
        spent += time.perf_counter() - before
    return spent


def first_search(place: Place, path: Path, key: int) -> Numbers:
    """Open in this process, search, look at the memory."""
    batch = key - key % BATCH
    rng = np.random.default_rng(7)
    for _ in range(0, batch, BATCH):
        rng.random((BATCH, place.dim), np.float32)
    vector = rng.random((min(BATCH, place.rows - batch), place.dim), np.float32)[key - batch]
    for module in ("pyarrow", "redkite.cluster.local"):
        import_module(module)  # imports are not what is measured

    before = time.perf_counter()
    client = redkite.MilvusClient(str(path))
    opened = time.perf_counter()
    (counted,) = client.query(NAME, output_fields=["count(*)"])
    (hits,) = client.search(NAME, [vector], limit=10)
    searched = time.perf_counter()
    again = time.perf_counter()
    client.search(NAME, [vector], limit=10)
    second = time.perf_counter()
    if hits.ids[0] != key or counted["count(*)"] != place.rows:
        raise RuntimeError(f"wrong answer: {hits.ids[:3]}, {counted}")
    return {
        "open_s": round(searched - before, 3),
        "first_search_s": round(searched - opened, 3),
        "second_search_s": round(second - again, 4),
        **memory(),
    }


def memory() -> Numbers:
    """Of this process: all that is resident, and what of it is not a mapped file."""
    text = Path("/proc/self/smaps_rollup").read_text()
    kib = {line.split()[0]: int(line.split()[1]) for line in text.splitlines()[1:]}
    return {"resident_mb": round(kib["Rss:"] / 1e3, 1), "own_mb": round(kib["Anonymous:"] / 1e3, 1)}


# -- sealed rows --------------------------------------------------------------------------------
def sealed(place: Place) -> Numbers:
    """Rows in sealed segments: bytes on disk, reopening, memory, then half of them deleted."""
    place.fresh("sealed").mkdir(parents=True)
    made = place.in_child(place, "seal")
    path = place.folder / "sealed" / "sealed.db"
    warm = place.in_child(place, "reopen")
    drop_caches(path)
    cold = place.in_child(place, "reopen")
    empty = place.in_child(place, "idle")
    return {
        **made,
        "reopen_to_first_search_s": warm["open_s"],
        "reopen_uncached_to_first_search_s": cold["open_s"],
        "second_search_s": warm["second_search_s"],
        "memory_resident_mb": warm["resident_mb"],
        "memory_own_mb": warm["own_mb"],
        "memory_without_search_mb": empty["resident_mb"],
        "memory_of_libraries_mb": empty["before_mb"],
    }


def seal(place: Place) -> Numbers:
    path = place.folder / "sealed" / "sealed.db"
    client = database(path, place.dim, place.index)
    fill(client, place)
    started = time.perf_counter()
    client.flush(NAME)
    while client.describe_index(NAME, "vector")["state"] != "Finished":
        time.sleep(0.05)
    built = time.perf_counter()
    client.close()
    data, index = object_bytes(path)
    return {
        "seal_and_index_s": round(built - started, 1),
        "raw_mb": round(place.raw_bytes / MB, 1),
        "data_mb": round(data / MB, 1),
        "index_mb": round(index / MB, 1),
        "data_to_raw": round(data / place.raw_bytes, 3),
    }


def reopen(place: Place) -> Numbers:
    return first_search(place, place.folder / "sealed" / "sealed.db", place.rows - 1)


def idle(place: Place) -> Numbers:
    """Opened and left alone."""
    before = memory()
    client = redkite.MilvusClient(str(place.folder / "sealed" / "sealed.db"))
    client.list_collections()
    return {**memory(), "before_mb": before["resident_mb"]}


def shrink(place: Place) -> Numbers:
    """Disk before and after half of the rows are deleted and compacted away."""
    path = place.folder / "sealed" / "sealed.db"
    if not path.exists():
        sealed(place)
    before = measure.disk_bytes(path)
    numbers = place.in_child(place, "compact")
    place.in_child(place, "idle")  # files that nobody may be reading any more go when the path is opened again
    after = measure.disk_bytes(path)
    return {
        "disk_mb_before": round(before / MB, 1),
        "disk_mb_after_deleting_half": round(after / MB, 1),
        "delete_s": numbers["delete_s"],
        "compact_s": numbers["compact_s"],
    }


def compact(place: Place) -> Numbers:
    client = redkite.MilvusClient(str(place.folder / "sealed" / "sealed.db"))
    client.alter_collection_properties(NAME, {"collection.retention.seconds": 0})
    started = time.perf_counter()
    client.delete(NAME, filter="number < 500")
    deleted = time.perf_counter()
    client.flush(NAME)
    job = client.compact(NAME)
    while client.get_compaction_state(job) != "Completed":
        time.sleep(0.05)
    compacted = time.perf_counter()
    client.close()
    return {"delete_s": round(deleted - started, 2), "compact_s": round(compacted - deleted, 2)}


# -- files --------------------------------------------------------------------------------------
def megabytes(path: Path) -> float:
    return round(measure.disk_bytes(path) / MB, 1)


def object_bytes(path: Path) -> tuple[int, int]:
    """(everything but indexes, indexes) of a closed database."""
    files = [(file.stat().st_size, file.name) for file in path.rglob("*") if file.is_file()]
    index = sum(size for size, name in files if name.startswith("index-"))
    return sum(size for size, _ in files) - index, index


def drop_caches(path: Path) -> None:
    """Ask the system to forget the files of a database."""
    for file in path.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.fdatasync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


PARTS: dict[str, Callable[[Place], Numbers]] = {
    "inserts": inserts, "log": log, "recovery": recovery, "sealed": sealed, "shrink": shrink,
}  # fmt: skip
CHILDREN: dict[str, Callable[[Place], Numbers]] = {
    "write-log": write_log, "recover": recover, "seal": seal, "reopen": reopen, "idle": idle, "compact": compact,
}  # fmt: skip
assert sys.platform == "linux", "memory and page cache are looked at in Linux's way"
