"""Imports, cut off at the operations of the disk: all their rows are there and the job says so, or none is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.engine import DIM, NAME, Engine

from redkite.errors import MilvusException
from redkite.model.imports import CommitImport, DescribeImport, ImportFiles, ImportState, ListImports
from redkite.simulated import SimulatedCrash, SimulatedEnv, simulated_env

VECTORS = np.random.default_rng(2).random((30, DIM), dtype=np.float32)
BEFORE = dict.fromkeys(range(20), 1)
AFTER = BEFORE | dict.fromkeys(range(10, 30), 2)
EVERY = 3


def prepared(seed: int, shards: int = 2) -> tuple[Engine, SimulatedEnv]:
    """Twenty rows, half of them sealed, and a file with twenty rows, of which ten are newer ones of the same keys."""
    env = simulated_env(seed)
    engine = Engine("db", env, {"garbage_seconds": 0.0})
    engine.create(shards=shards)
    engine.insert(list(range(15)), VECTORS[:15], [1] * 15)
    engine.flush()
    engine.insert(list(range(15, 20)), VECTORS[15:20], [1] * 5)
    lines = [json.dumps({"id": i, "vector": VECTORS[i].tolist(), "number": 2, "word": f"w{i}"}) for i in range(10, 30)]
    env.files.make_dirs("files")
    env.files.write_new("files/rows.jsonl", ["\n".join(lines).encode()])
    env.files.sync_dir("files")
    return engine, env


def begin(engine: Engine, env: SimulatedEnv, *, auto_commit: bool = True) -> int:
    options = {} if auto_commit else {"auto_commit": "false"}
    job = engine.call(ImportFiles(collection=NAME, groups=(("files/rows.jsonl",),), options=options))
    env.run_until_idle()
    return int(job.job_id)


def state(engine: Engine, job_id: int) -> ImportState:
    found: ImportState = engine.call(DescribeImport(job_id=job_id)).state
    return found


def reopened(env: SimulatedEnv) -> tuple[Engine, SimulatedEnv]:
    env.disk.restart()
    after = simulated_env(77, env.disk)
    return Engine("db", after, {"garbage_seconds": 0.0}), after


def check_whole(engine: Engine) -> None:
    """The rows of an import are all there, with a complete job, or none is, with a failed one or none at all."""
    numbers = engine.numbers()
    assert numbers in (BEFORE, AFTER)
    jobs = engine.call(ListImports()).jobs
    assert all(job.state.is_over for job in jobs)
    assert (numbers == AFTER) == any(job.state is ImportState.COMPLETED for job in jobs)
    assert all(job.reason for job in jobs if job.state is ImportState.FAILED)
    store = engine.database.topology.store
    assert set(store.list("segments/")) == set(engine.database.topology.data.object_names())


@pytest.mark.parametrize("shards", [1, 2])
def test_a_crash_leaves_all_rows_of_an_import_or_none(shards: int) -> None:
    operation = 1
    outcomes = set()
    while True:
        engine, env = prepared(shards, shards)
        env.disk.crash_at(env.disk.operations + operation)
        try:
            begin(engine, env)
        except SimulatedCrash:
            pass
        else:
            assert engine.numbers() == AFTER
            break
        survivor, after = reopened(env)
        check_whole(survivor)
        outcomes.add(tuple(job.state for job in survivor.call(ListImports()).jobs))
        begin(survivor, after)
        assert survivor.numbers() == AFTER
        operation += EVERY
    assert {(), (ImportState.FAILED,), (ImportState.COMPLETED,)} <= outcomes


def test_what_waits_to_be_committed_survives_a_restart_and_is_committed_by_another_process() -> None:
    engine, env = prepared(3)
    job_id = begin(engine, env, auto_commit=False)
    assert state(engine, job_id) is ImportState.UNCOMMITTED
    assert engine.numbers() == BEFORE
    survivor, _ = reopened(env)
    assert state(survivor, job_id) is ImportState.UNCOMMITTED
    assert survivor.numbers() == BEFORE
    survivor.insert([25], VECTORS[:1], [9])  # older than the commit, which replaces it
    survivor.call(CommitImport(job_id=job_id))
    assert survivor.numbers() == AFTER
    assert state(survivor, job_id) is ImportState.COMPLETED
    again, _ = reopened(env)
    check_whole(again)


def test_a_crash_during_a_commit_leaves_it_uncommitted_or_complete() -> None:
    operation = 1
    outcomes = set()
    while True:
        engine, env = prepared(5)
        job_id = begin(engine, env, auto_commit=False)
        env.disk.crash_at(env.disk.operations + operation)
        try:
            engine.call(CommitImport(job_id=job_id))
        except SimulatedCrash:
            pass
        else:
            break
        survivor, _ = reopened(env)
        found = state(survivor, job_id)
        outcomes.add(found)
        assert survivor.numbers() == (AFTER if found is ImportState.COMPLETED else BEFORE)
        if found is not ImportState.COMPLETED:
            survivor.call(CommitImport(job_id=job_id))
            assert survivor.numbers() == AFTER
        operation += 1
    assert ImportState.UNCOMMITTED in outcomes  # and once it is complete, nothing is left to be done that could fail
    env.disk.crash()
    survivor, _ = reopened(env)
    assert (state(survivor, job_id), survivor.numbers()) == (ImportState.COMPLETED, AFTER)


@pytest.mark.parametrize("kind", ["eio", "enospc", "short"])
def test_a_failing_disk_fails_the_job_and_leaves_none_of_its_rows(kind: str) -> None:
    for operation in range(1, 40, 6):
        engine, env = prepared(7)
        env.disk.fail_at(env.disk.operations + operation, kind)  # type: ignore[arg-type]
        try:
            begin(engine, env)
        except MilvusException:
            env.run_until_idle()
        survivor, after = reopened(env)
        check_whole(survivor)
        begin(survivor, after)
        assert survivor.numbers() == AFTER
