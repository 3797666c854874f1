"""A snapshot, a backup and a restore, cut off at the operations of the disk: whole, or not there."""

from __future__ import annotations

import numpy as np
import pytest
from tests.engine import DIM, NAME, Engine

from redkite.backup.work import whole
from redkite.errors import MilvusException
from redkite.model import requests as rq
from redkite.model.types import JobState
from redkite.simulated import SimulatedCrash, SimulatedEnv, simulated_env

VECTORS = np.random.default_rng(2).random((40, DIM), dtype=np.float32)
BEFORE, AFTER = dict.fromkeys(range(20), 1), dict.fromkeys(range(5, 30), 2)
PLACE = "backups"
EVERY = 2


def numbers(engine: Engine, collection: str) -> dict[int, int]:
    engine.call(rq.LoadCollection(collection=collection))
    fields = ("id", "number")
    rows = engine.call(rq.Query(collection=collection, filter="id >= 0", output_fields=fields)).rows.to_pydict()
    return dict(zip(rows["id"], rows["number"], strict=True))


def finish(engine: Engine, env: SimulatedEnv, request: rq.Request) -> None:
    job_id = engine.call(request).job_id
    env.run_until_idle()
    job = engine.call(rq.GetBackupJob(job_id=job_id))
    assert job.state is JobState.COMPLETED, job.reason


def prepared(seed: int) -> tuple[Engine, SimulatedEnv]:
    """A database of which one backup exists, and that has gone on since."""
    env = simulated_env(seed)
    engine = Engine("db", env, {"garbage_seconds": 0.0})
    engine.create()
    engine.insert(list(range(20)), VECTORS[:20], [1] * 20)
    finish(engine, env, rq.CreateBackup(destination=PLACE, name="first"))
    engine.insert(list(range(5, 30)), VECTORS[5:30], [2] * 25)
    engine.delete("id < 5")
    return engine, env


def steps(engine: Engine, env: SimulatedEnv, done: list[str]) -> None:
    engine.call(rq.CreateSnapshot(collection=NAME, name="s"))
    done.append("snapshot")
    finish(engine, env, rq.CreateBackup(destination=PLACE, name="second"))
    done.append("second")
    finish(engine, env, rq.RestoreBackup(destination=PLACE, name="first", suffix="_old"))
    done.append("restored")
    engine.call(rq.DropSnapshot(collection=NAME, name="s"))
    finish(engine, env, rq.VerifyBackup(destination=PLACE, name="second"))
    engine.call(rq.DeleteBackup(destination=PLACE, name="first"))
    done.append("deleted")


def check(engine: Engine, env: SimulatedEnv, done: list[str]) -> None:
    assert numbers(engine, NAME) == AFTER
    found = [info.name for info in whole(env, PLACE)]
    assert "deleted" in done or "restored" in done or "first" in found
    assert "second" in found or "second" not in done
    for name, rows in (("first", BEFORE), ("second", AFTER)):
        if name in found:
            finish(engine, env, rq.VerifyBackup(destination=PLACE, name=name))
            finish(engine, env, rq.RestoreBackup(destination=PLACE, name=name, suffix=f"_{name}"))
            assert numbers(engine, f"{NAME}_{name}") == rows
    if engine.call(rq.HasCollection(collection=f"{NAME}_old")).value:
        assert numbers(engine, f"{NAME}_old") == BEFORE
    else:
        assert "restored" not in done
    if engine.call(rq.ListSnapshots(collection=NAME)).names:
        job = engine.call(rq.RestoreSnapshot(collection=NAME, name="s", target_collection="of_s")).job_id
        env.run_until_idle()
        assert engine.call(rq.GetRestoreSnapshotState(job_id=job)).state is JobState.COMPLETED
        assert numbers(engine, "of_s") == AFTER
    else:
        assert "snapshot" not in done or "restored" in done
    finish(engine, env, rq.CreateBackup(destination=PLACE, name="third"))


@pytest.mark.parametrize("seed", [1, 2])
def test_a_crash_leaves_whole_backups_snapshots_and_collections_only(seed: int) -> None:
    operation = seed
    while True:
        engine, env = prepared(seed)
        env.disk.crash_at(env.disk.operations + operation)
        done: list[str] = []
        try:
            steps(engine, env, done)
        except SimulatedCrash:
            pass
        else:
            break
        env.disk.restart()
        after = simulated_env(seed + 100, env.disk)
        survivor = Engine("db", after, {"garbage_seconds": 0.0})
        check(survivor, after, done)
        operation += EVERY
    assert operation > 50, "the steps hardly touched the disk"


@pytest.mark.parametrize("kind", ["eio", "enospc", "short"])
def test_a_failing_disk_is_an_error_and_leaves_whole_things_only(kind: str) -> None:
    for operation in range(2, 72, 7):
        engine, env = prepared(7)
        env.disk.fail_at(env.disk.operations + operation, kind)  # type: ignore[arg-type]
        done: list[str] = []
        try:
            steps(engine, env, done)
        except (MilvusException, AssertionError):
            env.run_until_idle()
        env.disk.restart()
        after = simulated_env(8, env.disk)
        survivor = Engine("db", after, {"garbage_seconds": 0.0})
        check(survivor, after, done)
