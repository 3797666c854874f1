"""A process that dies anywhere in a compaction leaves every row once, and no garbage after the next open."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from tests.engine import DIM, NAME, Engine, schema

from redkite.coordinator.compaction import CompactionPolicy
from redkite.errors import MilvusException, StorageError
from redkite.model import requests as rq
from redkite.simulated import SimulatedCrash, simulated_env

VECTORS = np.random.default_rng(4).normal(size=(64, DIM)).astype(np.float32)
ROWS = 30


def opened(env: Any) -> Engine:
    return Engine("db", env, {"compaction": CompactionPolicy(automatic=False)})


def filled(env: Any) -> tuple[Engine, dict[int, int]]:
    """Three small segments with deletes, and some rows still growing."""
    engine = opened(env)
    engine.call(rq.CreateCollection(schema=schema(), properties={"collection.retention.seconds": "0"}))
    engine.call(rq.CreateIndex(collection=NAME, field="vector", params={"index_type": "FLAT", "metric_type": "L2"}))
    engine.call(rq.LoadCollection(collection=NAME))
    for start in range(0, ROWS, 10):
        ids = list(reversed(range(start, start + 10)))
        engine.insert(ids, VECTORS[ids], ids)
        engine.flush()
    engine.delete("id in [3, 14, 15]")
    engine.insert([5, 40], VECTORS[[5, 40]], [1005, 1040])
    expected = {i: i for i in range(ROWS) if i not in (3, 14, 15)} | {5: 1005, 40: 1040}
    return engine, expected


def compact(engine: Engine) -> None:
    engine.call(rq.Compact(collection=NAME))
    engine.database.topology.compactor.wait_idle()


def check(engine: Engine, expected: dict[int, int]) -> None:
    assert engine.numbers() == expected
    assert engine.count() == len(expected)
    hits = engine.search(VECTORS[0], 100)
    assert sorted(hits.ids.to_pylist()) == sorted(expected), "a row is missing from searches, or there twice"
    topology = engine.database.topology
    assert set(topology.store.list("segments/")) == set(topology.data.object_names()), "garbage is left"


def crash_in_compaction(operation: int, seed: int) -> bool:
    """True when the compaction ended before that file operation."""
    env = simulated_env(seed)
    engine, expected = filled(env)
    env.disk.crash_at(env.disk.operations + operation)
    with contextlib.suppress(SimulatedCrash):
        compact(engine)
    if not env.disk.crashed:
        return True
    env.disk.restart()
    survivor = opened(simulated_env(seed + 1, env.disk))
    check(survivor, expected)
    compact(survivor)
    check(survivor, expected)
    collection = survivor.database.topology.root.find("", NAME).collection_id
    assert len(survivor.database.topology.data.segments(collection)) == 1
    survivor.reopen()
    check(survivor, expected)
    return False


@pytest.mark.parametrize("seed", [1, 2])
def test_a_crash_at_any_file_operation_of_a_compaction_loses_no_row_and_doubles_none(seed: int) -> None:
    operation = 1
    while not crash_in_compaction(operation, seed):
        operation += 1
    assert operation > 20, "the compaction hardly touched the disk"


@pytest.mark.parametrize("kind", ["eio", "enospc", "short"])
def test_a_failing_file_operation_of_a_compaction_changes_nothing(kind: Any) -> None:
    operation = 0
    while True:
        operation += 1
        env = simulated_env(9)
        engine, expected = filled(env)
        before = env.disk.operations
        env.disk.fail_at(before + operation, kind)
        with contextlib.suppress(MilvusException):  # the flush that comes first tells its caller
            compact(engine)
        if env.disk.operations - before < operation:
            break
        engine.close()
        survivor = opened(simulated_env(10, env.disk))
        check(survivor, expected)
        compact(survivor)
        check(survivor, expected)
    assert operation > 20


def test_what_a_failed_commit_would_have_named_is_left_for_the_next_open() -> None:
    env = simulated_env(9)
    engine, expected = filled(env)
    data = engine.database.topology.data
    commit = data.commit_replace

    def committed_all_the_same(*arguments: Any) -> None:
        known = data._segments
        commit(*arguments)
        data._segments = known
        raise StorageError("the disk did not answer")

    data.commit_replace = committed_all_the_same  # type: ignore[method-assign]
    compact(engine)
    env.disk.crash()
    env.disk.restart()
    check(opened(simulated_env(10, env.disk)), expected)
