"""Rows move from growing to sealed segments and under an index while reads and writes go on."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from tests.engine import DIM, NAME, Engine

from redkite.errors import StorageError
from redkite.model import requests as rq
from redkite.node.streaming import SealPolicy
from redkite.simulated import simulated_env
from redkite.storage.local_topic import LocalTopic


def rows(first: int, count: int) -> np.ndarray:
    return np.random.default_rng(first).normal(size=(count, DIM)).astype(np.float32)


def segments(engine: Engine) -> list[int]:
    topology = engine.database.topology
    return [s.rows for s in topology.data.segments(topology.root.find("", NAME).collection_id)]


def test_a_full_segment_is_sealed_and_indexed_by_itself() -> None:
    env = simulated_env(1)
    engine = Engine("db", env, {"policy": SealPolicy(rows=3000)})
    engine.create()
    for first in range(0, 7000, 1000):
        engine.insert(range(first, first + 1000), rows(first, 1000), range(1000))
    env.run_until_idle()
    assert sum(segments(engine)) >= 3000
    assert engine.indexed()
    assert engine.count() == 7000
    topology = engine.database.topology
    meta = topology.root.find("", NAME)
    assert topology.shards(meta)[0].unindexed_rows() <= 4000


def test_an_idle_segment_is_sealed_after_a_while() -> None:
    env = simulated_env(2)
    engine = Engine("db", env, {"policy": SealPolicy(idle_seconds=600, idle_rows=1024)})
    engine.create()
    engine.insert(range(2000), rows(0, 2000), range(2000))
    env.advance(500)
    assert segments(engine) == []
    env.advance(200)
    assert segments(engine) == [2000]
    engine.insert([1], rows(1, 1), [1])
    env.advance(10_000)
    assert segments(engine) == [2000], "a handful of rows is not worth a segment"


def test_sealing_frees_the_log() -> None:
    env = simulated_env(3)
    engine = Engine("db", env)
    engine.create()
    engine.insert(range(2000), rows(0, 2000), range(2000))
    channel = engine.database.topology.root.find("", NAME).channels[0]
    full = sum(env.files.size(f"db/log/{channel}/{name}") for name in env.files.list(f"db/log/{channel}"))
    engine.flush()
    left = sum(env.files.size(f"db/log/{channel}/{name}") for name in env.files.list(f"db/log/{channel}"))
    assert full > 2000 * DIM * 4
    assert left < full / 10


def test_an_index_is_built_while_the_log_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    env = simulated_env(4)
    engine = Engine("db", env)
    engine.create()
    engine.insert(range(2000), rows(0, 2000), range(2000))
    monkeypatch.setattr(LocalTopic, "truncate", Mock(side_effect=StorageError("the log cannot be cut")))
    with pytest.raises(StorageError, match="cannot be cut"):
        engine.flush()
    env.run_until_idle()
    assert segments(engine) == [2000]
    assert engine.indexed()


def test_an_unfinished_build_is_taken_up_when_the_database_opens_again(tmp_path: Path) -> None:
    engine = Engine(str(tmp_path / "db"))
    engine.create(M=48, efConstruction=500)
    engine.insert(range(30_000), rows(0, 30_000), range(30_000))
    engine.flush()
    engine.reopen()
    assert not engine.indexed(), "closing waits for the next step of a build, not for its end"
    engine.count()
    while not engine.indexed():
        time.sleep(0.05)
    assert engine.search(rows(0, 30_000)[4], 1).ids.to_pylist() == [4]
    engine.close()


@pytest.mark.parametrize("shards", [1, 2])
def test_reads_see_whole_writes_while_segments_move(tmp_path: Path, shards: int) -> None:
    """Each write carries 500 rows of one number, and the next write of the same keys replaces all of them: whatever
    moves underneath, a reader of one shard counts 500 of one number and never a mixture."""
    engine = Engine(str(tmp_path / "db"))
    engine.create(shards=shards, M=8, efConstruction=40)
    base = rows(7, 4000)
    engine.insert(range(1000, 5000), base, [-1] * 4000)
    stop = threading.Event()
    failures: list[str] = []

    def write() -> None:
        number = 0
        while not stop.is_set():
            engine.insert(range(500), rows(number, 500), [number] * 500)
            number += 1

    def flush() -> None:
        while not stop.is_set():
            engine.flush()
            time.sleep(0.05)

    def read() -> None:
        while not stop.is_set():
            found = engine.query("number >= 0", fields=("id", "number"))
            if shards == 1 and len(set(found["number"])) > 1:
                failures.append(f"one read saw the writes {sorted(set(found['number']))}")
            if found["id"] != sorted(set(found["id"])):
                failures.append("one key came twice")
            if len(found["id"]) not in ((500,) if shards == 1 else range(501)):
                failures.append(f"one read saw {len(found['id'])} of 500 rows")

    def search() -> None:
        at = 0
        while not stop.is_set():
            at = (at + 37) % 4000
            hits = engine.search(base[at], 1, "number == -1", params={"ef": 100})
            if hits.ids.to_pylist() != [1000 + at]:
                failures.append(f"the nearest of row {at} was {hits.ids.to_pylist()}")

    engine.insert(range(500), rows(0, 500), [0] * 500)
    threads = [threading.Thread(target=work) for work in (write, flush, read, search)]
    for thread in threads:
        thread.start()
    time.sleep(3)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert engine.count() == 4500
    engine.reopen()
    assert engine.count() == 4500
    engine.close()


def test_truncating_drops_every_row_for_good() -> None:
    engine = Engine("db", simulated_env(4))
    engine.create(shards=2)
    engine.insert(range(100), rows(0, 100), range(100))
    engine.flush()
    engine.insert(range(100, 150), rows(1, 50), range(50))
    engine.call(rq.TruncateCollection(collection=NAME))
    assert engine.count() == 0
    engine.insert([7], rows(2, 1), [70])
    engine.reopen()
    assert engine.numbers() == {7: 70}
    assert engine.database.topology.store.list("segments/") == []


def test_who_opens_a_shard_knows_of_a_delete_that_changed_nothing_and_that_no_log_has_any_more() -> None:
    """Its next write is later, whatever its own clock says."""
    env = simulated_env(4)
    engine = Engine("db", env)
    engine.create()
    engine.insert([1], rows(0, 1), [1])
    deleted = engine.delete("id in [999]").timestamp
    engine.flush()
    engine.reopen()
    topology = engine.database.topology
    (shard,) = topology.shards(topology.root.find("", NAME))
    assert shard.view.timestamp >= deleted
