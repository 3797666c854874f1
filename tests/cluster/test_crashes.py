"""A process that dies between any two file operations loses nothing that was acknowledged."""

from __future__ import annotations

import contextlib
from random import Random
from typing import Any

import numpy as np
import pytest
from tests.engine import DIM, Engine

from redkite.errors import MilvusException
from redkite.simulated import SimulatedCrash, simulated_env

VECTORS = np.random.default_rng(1).normal(size=(64, DIM)).astype(np.float32)


class Trace:
    """A seeded sequence of writes, flushes and reopenings, and the states that may be found after a crash."""

    def __init__(self, seed: int, steps: int) -> None:
        rng = Random(seed)
        self.steps: list[tuple[Any, ...]] = []
        for number in range(steps):
            kind = rng.choice(["insert", "insert", "insert", "delete", "delete_many", "flush", "reopen", "truncate"])
            if kind == "truncate" and rng.random() < 0.7:
                kind = "flush"
            keys = rng.sample(range(24), rng.randint(1, 6))
            self.steps.append((kind, keys, number + 1))

    @staticmethod
    def apply(state: dict[int, int], step: tuple[Any, ...]) -> dict[int, int]:
        kind, keys, number = step
        if kind == "insert":
            return state | dict.fromkeys(keys, number)
        if kind == "delete":
            return {k: v for k, v in state.items() if k not in keys}
        if kind == "delete_many":
            return {k: v for k, v in state.items() if v % 3 != number % 3}
        if kind == "truncate":
            return {}
        return state

    @staticmethod
    def run(engine: Engine, step: tuple[Any, ...]) -> None:
        kind, keys, number = step
        if kind == "insert":
            engine.insert(keys, VECTORS[keys], [number] * len(keys))
        elif kind == "delete":
            engine.delete(f"id in {keys}")
        elif kind == "delete_many":
            engine.delete(f"number % 3 == {number % 3}")
        elif kind == "flush":
            engine.flush()
        elif kind == "truncate":
            from redkite.model.requests import TruncateCollection

            engine.call(TruncateCollection(collection="things"))
        else:
            engine.reopen()


def run_until_crash(trace: Trace, seed: int, operation: int, shards: int) -> bool:
    """True when the trace ended before that operation."""
    env = simulated_env(seed)
    engine = Engine("db", env)
    engine.create(shards=shards)
    env.disk.crash_at(env.disk.operations + operation)
    before: dict[int, int] = {}
    after = before
    try:
        for step in trace.steps:
            after = trace.apply(before, step)
            trace.run(engine, step)
            before = after
    except SimulatedCrash:
        pass
    else:
        return True
    env.disk.restart()
    survivor = Engine("db", simulated_env(seed + 1, env.disk))
    found = survivor.numbers()
    for key, number in found.items():
        assert number in (before.get(key), after.get(key)), f"key {key} holds {number} after a crash in {step}"
    if shards == 1:
        assert found in (before, after), f"half of {step} is there"
    for key in before.keys() & after.keys():
        assert key in found, f"acknowledged key {key} is lost by a crash in {step}"
    assert survivor.count() == len(found)
    hits = survivor.search(VECTORS[0], 64)
    assert sorted(hits.ids.to_pylist()) == sorted(found), "search and query disagree after a restart"
    survivor.insert([99], VECTORS[:1], [1000])
    survivor.reopen()
    assert survivor.numbers() == found | {99: 1000}
    return False


@pytest.mark.parametrize(("seed", "shards"), [(1, 1), (2, 1), (3, 2)])
def test_a_crash_at_any_file_operation_keeps_every_acknowledged_write(seed: int, shards: int) -> None:
    trace = Trace(seed, steps=14)
    operation = 1
    while not run_until_crash(trace, seed, operation, shards):
        operation += 1
    assert operation > 20, "the trace hardly touched the disk"


@pytest.mark.parametrize("kind", ["eio", "enospc", "short"])
def test_a_failing_file_operation_is_a_clear_error_and_loses_nothing(kind: Any) -> None:
    trace = Trace(5, steps=12)
    for operation in range(1, 120, 3):
        env = simulated_env(7)
        engine = Engine("db", env)
        engine.create()
        env.disk.fail_at(env.disk.operations + operation, kind)
        possible: list[dict[int, int]] = [{}]
        for step in trace.steps:
            try:
                trace.run(engine, step)
            except MilvusException:
                possible = possible + [trace.apply(state, step) for state in possible]
            else:
                possible = [trace.apply(state, step) for state in possible]
        with contextlib.suppress(MilvusException):
            engine.close()
        env.disk.restart()
        survivor = Engine("db", simulated_env(8, env.disk))
        assert survivor.numbers() in possible


@pytest.mark.parametrize("seed", range(6))
def test_random_writes_flushes_and_reopenings_agree_with_a_dict(seed: int) -> None:
    engine = Engine("db", simulated_env(seed))
    engine.create(shards=1 + seed % 2)
    state: dict[int, int] = {}
    trace = Trace(100 + seed, steps=40)
    for step in trace.steps:
        trace.run(engine, step)
        state = trace.apply(state, step)
        assert engine.numbers() == state
        assert engine.count() == len(state)
    engine.close()
