"""Background work that fails in a way that nobody foresaw: it is told, what it held is given back, and what comes next
works."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.engine import DIM, NAME, Engine

from redkite.coordinator.compaction import CompactionPolicy
from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.restores import RestoreJobs
from redkite.env import Executor
from redkite.errors import MilvusException, Unavailable
from redkite.model import requests as rq
from redkite.model.exchange import ExportSnapshot, GetExportSnapshotState, RestoreExternalSnapshot
from redkite.model.types import IndexState, JobState
from redkite.model.upkeep import CompactionState, PlanState
from redkite.node.compactor import Compactor
from redkite.node.memory import MemoryBudget
from redkite.node.shard import Shard
from redkite.node.streaming import SealPolicy
from redkite.simulated import SimulatedEnv, simulated_env
from redkite.storage.catalog import MemoryCatalog
from redkite.storage.coordination import Fenced

VECTORS = np.random.default_rng(8).normal(size=(3000, DIM)).astype(np.float32)
ERRORS = [ValueError("no such shape"), MemoryError("no room"), RuntimeError("the library gave up")]


def engine_of(count: int = 200, **options: Any) -> tuple[Engine, SimulatedEnv]:
    env = simulated_env(7)
    engine = Engine("db", env, {"compaction": CompactionPolicy(automatic=False)} | options)
    engine.create(index="FLAT")
    for start in range(0, count, 100):
        engine.insert(range(start, start + 100), VECTORS[start : start + 100], range(100))
        engine.flush()
    return engine, env


def failing(error: Exception) -> Any:
    def fails(*_: Any, **__: Any) -> Any:
        raise error

    return fails


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("where", ["data.merge", "compaction_work.survivors", "shard"])
def test_a_compaction_that_fails_in_any_way_has_failed_and_says_why(
    error: Exception, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, env = engine_of()
    before = engine.numbers()
    if where == "shard":
        monkeypatch.setattr(Shard, "replace", failing(error))
    else:
        monkeypatch.setattr(f"redkite.node.{where}", failing(error))
    job = engine.call(rq.Compact(collection=NAME)).job_id
    env.run_until_idle()
    progress = engine.call(rq.GetCompactionState(job_id=job))
    assert (progress.state, progress.failed, progress.executing) == (CompactionState.Completed, 1, 0)
    (plan,) = engine.database.topology.compactor.jobs.plans(job)
    assert plan.state is PlanState.FAILED
    assert str(error) in plan.reason
    monkeypatch.undo()
    again = engine.call(rq.Compact(collection=NAME)).job_id
    env.run_until_idle()
    assert [p.state for p in engine.database.topology.compactor.jobs.plans(again)] == [PlanState.COMPLETED]
    assert engine.numbers() == before
    engine.close()


def test_a_compaction_is_complete_when_its_segments_are_swapped_though_what_was_replaced_cannot_be_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, env = engine_of()
    before = engine.numbers()
    monkeypatch.setattr(Compactor, "_discard", failing(RuntimeError("no")))
    job = engine.call(rq.Compact(collection=NAME)).job_id
    env.run_until_idle()
    assert [p.state for p in engine.database.topology.compactor.jobs.plans(job)] == [PlanState.COMPLETED]
    monkeypatch.undo()
    engine.reopen()
    assert engine.numbers() == before
    engine.close()


def test_a_compaction_that_cannot_be_begun_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, _ = engine_of()
    compactor = engine.database.topology.compactor
    worker: Executor = compactor._worker
    monkeypatch.setattr(worker, "submit", failing(Unavailable("shut down")))
    with pytest.raises(Unavailable):
        engine.call(rq.Compact(collection=NAME))
    (meta,) = engine.database.topology.root.all_collections()
    assert [p.state for p in compactor.jobs.plans_of(meta.collection_id)] == [PlanState.FAILED]
    assert not compactor.jobs.busy(meta.collection_id)


@pytest.mark.parametrize("error", ERRORS)
def test_a_restore_that_fails_in_any_way_has_failed_and_says_why(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, env = engine_of()
    engine.call(rq.CreateSnapshot(collection=NAME, name="s"))
    monkeypatch.setattr("redkite.backup.snapshots.bring", failing(error))
    asked = rq.RestoreSnapshot(collection=NAME, name="s", target_collection="other")
    job = engine.call(asked).job_id
    env.run_until_idle()
    told = engine.call(rq.GetRestoreSnapshotState(job_id=job))
    assert told.state is JobState.FAILED
    assert str(error) in told.reason
    monkeypatch.undo()
    again = engine.call(asked).job_id
    env.run_until_idle()
    assert engine.call(rq.GetRestoreSnapshotState(job_id=again)).state is JobState.COMPLETED
    engine.close()


@pytest.mark.parametrize("error", ERRORS)
def test_an_export_and_what_is_brought_back_that_fail_in_any_way_have_failed_and_say_why(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, env = engine_of(backups="/elsewhere")
    engine.call(rq.CreateSnapshot(collection=NAME, name="s"))
    asked = ExportSnapshot(collection=NAME, name="s", target="out")
    with monkeypatch.context() as patch:
        patch.setattr("redkite.backup.exchange.create", failing(error))
        job = engine.call(asked).job_id
        env.run_until_idle()
    told = engine.call(GetExportSnapshotState(job_id=job))
    assert told.state is JobState.FAILED
    assert str(error) in told.reason
    made = engine.call(asked)
    env.run_until_idle()
    assert engine.call(GetExportSnapshotState(job_id=made.job_id)).state is JobState.COMPLETED
    wanted = RestoreExternalSnapshot(uri=made.uri, target_collection="other")
    with monkeypatch.context() as patch:
        patch.setattr("redkite.backup.exchange.restore", failing(error))
        job = engine.call(wanted).job_id
        env.run_until_idle()
    told = engine.call(rq.GetRestoreSnapshotState(job_id=job))
    assert told.state is JobState.FAILED
    assert str(error) in told.reason
    engine.close()


def test_a_restore_whose_end_cannot_be_noted_or_that_cannot_be_begun_is_over() -> None:
    catalog = MemoryCatalog()
    jobs = RestoreJobs(catalog, lambda: 5)
    jobs.start(1, "s", "default", "c")
    jobs.start(2, "s", "default", "d")
    commit = catalog.commit
    catalog.commit = failing(MilvusException("the disk is full"))  # type: ignore[method-assign]
    jobs.fail(1, "no vectors")
    with pytest.raises(Unavailable), jobs.told(2):
        raise Unavailable("shut down")
    assert [(jobs.find(i).state, jobs.find(i).reason) for i in (1, 2)] == [
        (JobState.FAILED, "no vectors"),
        (JobState.FAILED, "shut down"),
    ]
    catalog.commit = commit  # type: ignore[method-assign]
    assert RestoreJobs(catalog, lambda: 6).find(1).state is JobState.FAILED


def test_that_a_restore_failed_which_another_process_would_do_is_told_when_it_is_durable() -> None:
    catalog = MemoryCatalog()
    jobs = RestoreJobs(catalog, lambda: 5, resumes=True)
    jobs.start(1, "s", "default", "c", source=7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "commit", failing(MilvusException("etcd does not answer")))
        with pytest.raises(MilvusException, match="etcd"):
            jobs.fail(1, "no vectors")
        assert not jobs.find(1).is_over
    jobs.fail(1, "no vectors")
    assert RestoreJobs(catalog, lambda: 6, resumes=True).find(1).reason == "no vectors"


def test_of_restores_only_those_are_taken_over_that_another_process_began() -> None:
    catalog = MemoryCatalog()
    RestoreJobs(catalog, lambda: 5, resumes=True).start(1, "s", "default", "c", source=7)
    jobs = RestoreJobs(catalog, lambda: 6, resumes=True)
    jobs.start(2, "s", "default", "d", source=7)
    assert [job.job_id for job in jobs.unfinished()] == [1]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("where", ["build", "built"])
def test_an_index_whose_build_fails_in_any_way_has_failed_and_says_why(
    error: Exception, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = simulated_env(7)
    engine = Engine("db", env)
    if where == "build":
        monkeypatch.setattr("redkite.node.data.build", failing(error))
    else:
        monkeypatch.setattr(Shard, "_built", failing(error))
    engine.create(index="HNSW")
    engine.insert(range(3000), VECTORS, range(3000))
    engine.flush()
    env.run_until_idle()
    (info,) = engine.call(rq.DescribeIndex(collection=NAME)).indexes
    assert info.state is IndexState.FAILED
    assert str(error) in info.fail_reason
    assert len(engine.search(VECTORS[:1], 10).ids) == 10
    monkeypatch.undo()
    engine.reopen()
    engine.count()
    env.run_until_idle()
    assert engine.indexed()
    engine.close()


@pytest.mark.parametrize("work", ["add_index_file", "commit_flush"])
def test_work_on_a_channel_that_was_let_go_of_meanwhile_is_no_failure(
    work: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    env = simulated_env(7)
    engine = Engine("db", env, {"policy": SealPolicy(rows=2000)})
    engine.create(index="HNSW")
    topology = engine.database.topology
    with monkeypatch.context() as patch, caplog.at_level("WARNING", "redkite.node"):
        patch.setattr(DataCoordinator, work, failing(Fenced("the channel is not this node's any more")))
        engine.insert(range(3000), VECTORS, range(3000))
        env.run_until_idle()
    assert caplog.records == []
    assert not topology.data_nodes[0].failures
    assert engine.count() == 3000
    (meta,) = topology.root.all_collections()
    assert {s.rows for s in topology.data.segments(meta.collection_id)} == ({3000} if "index" in work else set())
    if work == "add_index_file":  # what was built is left to nobody
        assert {*topology.store.list()} == topology.data.object_names()
    engine.close()


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("name", ["_flush", "_commit"])
def test_after_sealing_that_failed_in_any_way_memory_is_counted_as_before_and_the_next_one_seals(
    error: Exception, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = simulated_env(7)
    engine = Engine("db", env, {"memory_limit": 64 << 20, "policy": SealPolicy(rows=1000)})
    engine.create(index="FLAT")
    memory = engine.database.topology.memory
    woken: list[int] = []
    changed = MemoryBudget.has_changed
    with monkeypatch.context() as patch:
        patch.setattr(Shard, name, failing(error))
        engine.insert(range(1000), VECTORS[:1000], range(1000))
        patch.setattr(MemoryBudget, "has_changed", lambda self: (woken.append(1), changed(self)))
        env.run_until_idle()
    assert woken, "whoever waits for memory looks again"
    held = memory.usage()
    assert held.pop("growing rows", 1) or held
    assert memory.usage()["writes"] == 0
    assert engine.count() == 1000
    engine.insert(range(1000, 2100), VECTORS[1000:2100], range(1100))
    env.run_until_idle()
    topology = engine.database.topology
    (meta,) = topology.root.all_collections()
    assert sum(s.rows for s in topology.data.segments(meta.collection_id)) == 2100
    assert sum(shard.growing_bytes() for shard in topology.open_shards(meta)) == 0
    assert engine.count() == 2100
    engine.close()


def test_sealing_that_cannot_be_queued_is_tried_again_at_the_next_write(monkeypatch: pytest.MonkeyPatch) -> None:
    env = simulated_env(7)
    engine = Engine("db", env, {"policy": SealPolicy(rows=1000)})
    engine.create(index="FLAT")
    (node,) = engine.database.topology.streaming
    with monkeypatch.context() as patch:
        patch.setattr(node._sealer, "submit", failing(RuntimeError("no thread")))  # type: ignore[attr-defined]
        assert engine.insert(range(1000), VECTORS[:1000], range(1000)).count == 1000
    engine.insert([1000], VECTORS[:1], [1])
    env.run_until_idle()
    topology = engine.database.topology
    (meta,) = topology.root.all_collections()
    assert sum(s.rows for s in topology.data.segments(meta.collection_id)) == 1001
    engine.close()
