"""Compaction inside a whole engine: answers stay, segments and bytes go, whatever happens meanwhile."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.engine import DIM, NAME, Engine, schema

from redkite.coordinator.compaction import GONE, CompactionPolicy
from redkite.coordinator.data import Parted
from redkite.errors import MilvusException, SegmentGone
from redkite.index.dense import FloatColumn
from redkite.model import requests as rq
from redkite.model.segments import SegmentMeta
from redkite.model.upkeep import CompactionState, PlanState
from redkite.simulated import SimulatedCrash, SimulatedEnv, simulated_env

VECTORS = np.random.default_rng(2).normal(size=(8000, DIM)).astype(np.float32)
MANUAL = CompactionPolicy(automatic=False)


class Compacting(Engine):
    """An engine whose deleted rows may go at once, and which compacts when told."""

    env: SimulatedEnv

    def make(self, *, index: str = "FLAT", properties: dict[str, str] | None = None, shards: int = 1) -> None:
        settled = {"collection.retention.seconds": "0"} | (properties or {})
        self.call(rq.CreateCollection(schema=schema(), shards=shards, properties=settled))
        params = {"index_type": index, "metric_type": "L2"}
        self.call(rq.CreateIndex(collection=NAME, field="vector", params=params))
        self.call(rq.LoadCollection(collection=NAME))

    def make_with_key(self) -> None:
        """The same, to be split by `number`."""
        fields = tuple(msgspec.structs.replace(f, is_clustering_key=f.name == "number") for f in schema().fields)
        clustered = msgspec.structs.replace(schema(), fields=fields)
        self.call(rq.CreateCollection(schema=clustered, properties={"collection.retention.seconds": "0"}))
        self.call(rq.CreateIndex(collection=NAME, field="vector", params={"index_type": "FLAT", "metric_type": "L2"}))
        self.call(rq.LoadCollection(collection=NAME))

    def add(self, ids: Any, offset: int = 0, partition: str = "") -> None:
        ids = list(ids)
        self.insert(ids, VECTORS[ids], [i + offset for i in ids], partition=partition)

    def fill(self, segments: int) -> None:
        """So many sealed segments of a hundred rows."""
        for start in range(0, 100 * segments, 100):
            self.add(range(start, start + 100))
            self.flush()

    def compact(self, **asked: Any) -> int:
        """Have a job done; its id."""
        job = self.begin(**asked)
        self.finish()
        return job

    def finish(self) -> None:
        """Have everything done that is queued."""
        self.database.topology.compactor.wait_idle()
        self.env.run_until_idle()

    def begin(self, **asked: Any) -> int:
        return int(self.call(rq.Compact(collection=NAME, **asked)).job_id)

    def state(self, job: int) -> Any:
        return self.call(rq.GetCompactionState(job_id=job)).state

    def plans(self, job: int) -> Any:
        return self.call(rq.GetCompactionPlans(job_id=job)).plans

    @property
    def segments(self) -> tuple[SegmentMeta, ...]:
        topology = self.database.topology
        return topology.data.segments(topology.root.find("", NAME).collection_id)

    def objects(self) -> list[str]:
        return self.database.topology.store.list("segments/")

    def bytes(self) -> int:
        return sum(self.database.topology.store.size(name) for name in self.objects())

    def named(self) -> set[str]:
        return set(self.database.topology.data.object_names())


def engine(**options: Any) -> Compacting:
    return Compacting("db", simulated_env(21), {"compaction": MANUAL} | options)


def test_nothing_but_the_new_segment_is_left_on_disk() -> None:
    e = engine()
    e.make()
    e.fill(4)
    e.delete("id % 4 == 0")
    before, size = e.numbers(), e.bytes()
    e.compact()
    (left,) = e.segments
    assert left.rows == 300
    assert e.numbers() == before
    assert e.bytes() < size
    assert set(e.objects()) == e.named()
    e.reopen()
    assert e.numbers() == before


def test_a_segment_of_which_all_rows_are_gone_leaves_none_behind() -> None:
    e = engine()
    e.make()
    e.add(range(50))
    e.delete("id >= 0")
    e.compact()
    assert e.segments == ()
    assert e.objects() == []
    assert e.count() == 0


def test_rows_that_can_still_be_read_as_of_a_time_are_kept_with_their_marks() -> None:
    e = engine()
    e.make(properties={"collection.retention.seconds": "3600"})
    e.add(range(100))
    e.flush()
    then = e.database.topology.root.oracle.allocate()
    e.env.advance(10)
    e.delete("id < 40")
    e.add(range(100, 150))
    e.compact()
    (merged,) = e.segments
    assert (merged.rows, merged.deleted_rows) == (150, 40)
    assert e.count() == 110
    assert len(e.query("id >= 0", fields=("id",), as_of=then)["id"]) == 100
    e.env.advance(3700)
    e.compact()
    assert [s.rows for s in e.segments] == [110]
    with pytest.raises(MilvusException, match="no longer kept"):
        e.query("id >= 0", fields=("id",), as_of=then)


def test_rows_past_their_time_to_live_are_dropped() -> None:
    e = engine()
    e.make(properties={"collection.ttl.seconds": "100"})
    e.add(range(60))
    e.flush()
    e.env.advance(90)
    e.add(range(60, 100))
    e.flush()
    e.env.advance(20)
    assert e.count() == 40
    e.compact()
    assert [s.rows for s in e.segments] == [40]
    assert e.count() == 40


def test_the_new_segment_has_its_index_before_anybody_searches_it() -> None:
    e = engine()
    e.make(index="HNSW")
    for start in range(0, 2000, 500):
        e.add(range(start, start + 500))
        e.flush()
    assert all(not s.indexes for s in e.segments)
    job = e.begin()
    seen = []
    while e.call(rq.GetCompactionState(job_id=job)).state is CompactionState.Executing:
        seen.append([bool(s.indexes) for s in e.segments if s.rows > 1000])
        assert e.env.tasks.step()
    assert [bool(s.indexes) for s in e.segments] == [True]
    assert all(all(having) for having in seen)
    assert e.search(VECTORS[7], 1).ids.to_pylist() == [7]


def test_deletes_and_replaced_rows_that_come_while_a_merge_runs_are_not_lost() -> None:
    e = engine()
    e.make()
    e.fill(3)
    compactor = e.database.topology.compactor
    make = compactor._data_node._indexed

    def busy_meanwhile(*arguments: Any) -> Any:
        made = make(*arguments)
        e.delete("id < 20")
        e.add(range(50, 60), offset=1000)
        e.flush()
        e.delete("id == 290")
        return made

    compactor._data_node._indexed = busy_meanwhile  # type: ignore[method-assign]
    e.compact()
    expected = {i: i for i in range(20, 300) if i != 290} | {i: i + 1000 for i in range(50, 60)}
    assert e.numbers() == expected
    assert sorted(s.rows for s in e.segments) == [10, 300]
    e.reopen()
    assert e.numbers() == expected


def test_who_has_not_heard_of_a_merge_commits_nothing() -> None:
    """Else it would save deletes of segments that are gone, and have the log begin behind them."""
    e = engine()
    e.make()
    e.fill(3)
    topology = e.database.topology
    meta = topology.root.find("", NAME)
    (shard,) = topology.shards(meta)
    before = topology.data.channel_state(shard.channel)
    e.compact()
    assert len(e.segments) == 1
    further = msgspec.structs.replace(before, checkpoint=before.checkpoint + 1)
    with pytest.raises(Parted):
        topology.data.commit_flush(meta.collection_id, shard.channel, further, (), {}, before)
    e.add(range(300, 310))
    e.flush()
    assert len(e.segments) == 2


@pytest.mark.parametrize("end", ["drop", "truncate", "partition", "close"])
def test_a_merge_whose_rows_are_gone_meanwhile_leaves_nothing(end: str) -> None:
    e = engine()
    e.make()
    e.call(rq.CreatePartition(collection=NAME, partition="p"))
    for start in range(0, 300, 100):
        e.add(range(start, start + 100), partition="p")
        e.flush()
    e.call(rq.ReleaseCollection(collection=NAME))
    compactor = e.database.topology.compactor
    make = compactor._data_node._indexed

    def gone_meanwhile(*arguments: Any) -> Any:
        made = make(*arguments)
        if end == "drop":
            e.call(rq.DropCollection(collection=NAME))
        elif end == "truncate":
            e.call(rq.TruncateCollection(collection=NAME))
        elif end == "partition":
            e.call(rq.DropPartition(collection=NAME, partition="p"))
        else:
            compactor._closing = True
        return made

    compactor._data_node._indexed = gone_meanwhile  # type: ignore[method-assign]
    job = e.compact()
    (plan,) = e.plans(job)
    assert plan.state is PlanState.FAILED
    assert set(e.objects()) == e.named()
    assert len(e.named()) == (3 if end == "close" else 0)


def test_by_itself_small_segments_are_merged_after_flushes() -> None:
    e = engine(compaction=CompactionPolicy(rows=100_000))
    e.make()
    for start in range(0, 900, 100):
        e.add(range(start, start + 100))
        e.flush()
        e.env.run_until_idle()
    assert len(e.segments) < 6
    assert e.count() == 900


def test_a_collection_may_refuse_compaction_by_itself() -> None:
    e = engine(compaction=CompactionPolicy(rows=100_000))
    e.make(properties={"collection.autocompaction.enabled": "false"})
    for start in range(0, 900, 100):
        e.add(range(start, start + 100))
        e.flush()
        e.env.run_until_idle()
    assert len(e.segments) == 9
    e.compact()
    assert len(e.segments) == 1


def test_a_segment_with_many_deletes_is_written_anew_by_the_timer() -> None:
    e = engine(compaction=CompactionPolicy())
    e.make(properties={"collection.retention.seconds": "100"})
    e.add(range(100))
    e.delete("id < 30")
    e.flush()
    e.env.run_until_idle()
    assert [s.rows for s in e.segments] == [100]
    e.env.advance(200)
    e.env.run_until_idle()
    assert [s.rows for s in e.segments] == [70]


def test_switched_off_compaction_says_so() -> None:
    e = engine(compaction=CompactionPolicy(enabled=False))
    e.make()
    with pytest.raises(MilvusException, match="compaction disabled") as raised:
        e.compact()
    assert raised.value.code == 2


def test_a_merge_that_fails_keeps_the_old_segments_and_says_why() -> None:
    e = engine()
    e.make()
    e.fill(2)
    before = e.segments
    compactor = e.database.topology.compactor
    make = compactor._data_node._indexed

    def full(*arguments: Any) -> Any:
        make(*arguments)
        raise MilvusException("the disk is full")

    compactor._data_node._indexed = full  # type: ignore[method-assign]
    job = e.compact()
    (plan,) = e.plans(job)
    assert plan.state is PlanState.FAILED
    assert "the disk is full" in plan.failure_reason
    assert e.segments == before
    assert set(e.objects()) == e.named()
    compactor._data_node._indexed = make  # type: ignore[method-assign]
    e.compact()
    assert len(e.segments) == 1
    assert e.count() == 200


def test_reads_that_hold_an_old_view_finish_while_its_objects_go() -> None:
    e = engine()
    e.make(index="HNSW")
    for start in range(0, 3000, 1500):
        e.add(reversed(range(start, start + 1500)))
        e.flush()
    e.env.run_until_idle()
    (shard,) = e.database.topology.shards(e.database.topology.root.find("", NAME))
    node = e.database.topology.querying[0]
    old = [node._segments[s.segment_id] for s in e.segments]
    names = {name for s in e.segments for name in s.objects}
    before = [s.find([7, 2222], 1 << 62) for s in old]
    e.compact()
    assert names.isdisjoint(e.objects())
    for segment, found in zip(old, before, strict=True):
        rows = segment.find([7, 2222], 1 << 62)
        assert rows is not None
        assert found is not None
        assert rows.tolist() == found.tolist()
        column, _ = segment.vectors("vector", segment.meta.rows)
        keys = segment.keys(np.arange(segment.meta.rows)).to_pylist()
        assert isinstance(column, FloatColumn)
        assert np.array_equal(column.matrix, VECTORS[keys])
        index = segment.index("vector")
        assert index is not None
        _, near = index.search(VECTORS[keys[:1]], 1, {"ef": 64}, None)
        assert near[0, 0] == 0
    assert shard.rows() == 3000


def test_a_key_looked_up_in_a_segment_that_was_cleared_away_makes_the_read_start_again() -> None:
    e = engine()
    e.make()
    for start in range(0, 200, 100):
        e.add(reversed(range(start, start + 100)))
        e.flush()
    node = e.database.topology.querying[0]
    old = [node._segments[s.segment_id] for s in e.segments]
    e.compact()
    for segment in old:
        with pytest.raises(SegmentGone):
            segment.find([7], 1 << 62)


def test_clustering_splits_by_the_key_and_filters_pass_over_segments() -> None:
    e = engine(compaction=CompactionPolicy(automatic=False, rows=200))
    e.make_with_key()
    shuffled = np.random.default_rng(3).permutation(1000)
    for part in np.split(shuffled, 5):
        ids = [int(i) for i in part]
        e.insert(ids, VECTORS[ids], [i // 2 for i in ids])
        e.flush()
    asked = ["number == 77", "number in [3, 499]", "100 <= number < 140", "id == 5", "number > 600"]
    before = [(e.query(f, fields=("id", "number")), e.search(VECTORS[3], 9, f).ids.to_pylist()) for f in asked]
    node = e.database.topology.querying[0]
    passed = node.pruned
    e.compact(clustering=True)
    assert sorted(s.rows for s in e.segments) == [200] * 5
    assert {s.level for s in e.segments} == {2}
    assert [(e.query(f, fields=("id", "number")), e.search(VECTORS[3], 9, f).ids.to_pylist()) for f in asked] == before
    assert node.pruned > passed + 10
    passed = node.pruned
    e.delete("number == 77")
    assert node.pruned >= passed + 4, "a delete looks for its rows where they can be"
    assert e.query("number == 77", fields=("id",)) == {"id": []}
    e.compact()
    assert {s.level for s in e.segments} == {2}, "segments split by a key are not merged again"


def test_only_what_is_asked_for_is_compacted() -> None:
    e = engine()
    e.make()
    e.call(rq.CreatePartition(collection=NAME, partition="p"))
    for start in range(0, 400, 100):
        e.add(range(start, start + 100), partition="p" if start >= 200 else "")
        e.flush()
    chosen = next(p.partition_id for p in e.call(rq.ShowPartitions(collection=NAME)).partitions if p.name == "p")
    e.compact(partition_id=chosen)
    assert sorted(s.rows for s in e.segments) == [100, 100, 200]
    ids = tuple(s.segment_id for s in e.segments if s.rows == 100)
    e.compact(segment_ids=ids)
    assert sorted(s.rows for s in e.segments) == [200, 200]


def test_a_second_request_waits_for_the_job_that_runs_and_does_what_that_left() -> None:
    e = engine()
    e.make()
    e.fill(2)
    first, second, third = e.begin(), e.begin(), e.begin()
    assert len({first, second, third}) == 3
    assert all(e.state(job) is CompactionState.Executing for job in (first, second, third))
    e.finish()
    assert all(e.state(job) is CompactionState.Completed for job in (first, second, third))
    assert [s.rows for s in e.segments] == [200]
    assert [plan.sources for plan in e.plans(second)] == [()]
    assert e.begin() == -1


def test_deletes_that_came_while_a_merge_ran_are_dropped_by_the_job_that_was_asked_for_then() -> None:
    e = engine()
    e.make()
    e.fill(2)
    asked: list[int] = []

    def meanwhile(original: Any) -> Any:
        def compact(*arguments: Any) -> Any:
            made = original(*arguments)  # what it drops is decided by now
            if not asked:
                e.delete("id < 50")
                asked.append(e.begin())
            return made

        return compact

    node = e.database.topology.data_nodes[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node, "compact", meanwhile(node.compact))
        e.compact()
    assert e.state(asked[0]) is CompactionState.Completed
    assert [s.rows for s in e.segments] == [150]
    assert e.count() == 150


def test_what_is_asked_for_is_done_though_a_merge_of_another_kind_runs() -> None:
    e = engine()
    e.make_with_key()
    e.fill(2)
    e.begin()
    job = e.begin(clustering=True)
    e.finish()
    assert e.state(job) is CompactionState.Completed
    assert {s.level for s in e.segments} == {2}


def test_a_job_that_waited_for_a_collection_that_was_dropped_has_failed() -> None:
    e = engine()
    e.make()
    e.fill(2)
    e.begin()
    job = e.begin()
    e.call(rq.DropCollection(collection=NAME))
    e.finish()
    (plan,) = e.plans(job)
    assert plan.state is PlanState.FAILED
    assert "not found" in plan.failure_reason


def test_a_job_that_waited_when_its_process_ended_has_failed() -> None:
    e = engine()
    e.make()
    e.fill(2)
    e.begin()
    job = e.begin()
    e.reopen()
    (plan,) = e.plans(job)
    assert plan.state is PlanState.FAILED
    assert "ask for it again" in plan.failure_reason


# -- memory -------------------------------------------------------------------------------------
def test_no_merge_makes_a_segment_of_more_than_the_memory_there_is_allows() -> None:
    limit = 4 << 20
    e = engine(memory_limit=limit)
    e.make()
    for start in range(0, 8000, 1000):
        e.add(range(start, start + 1000))
        e.flush()
    before = e.numbers()
    e.compact(target_megabytes=1024)
    assert e.numbers() == before
    assert max(s.size for s in e.segments) <= limit / 8
    assert e.database.topology.memory.usage().get("compaction", 0) == 0


def test_a_segment_from_a_time_of_more_memory_is_written_anew_in_several() -> None:
    e = engine()
    e.make()
    e.add(range(8000))
    e.flush()
    e.delete("id % 2 == 0")
    (whole,) = e.segments
    e.options |= {"memory_limit": 1 << 20}
    e.reopen()
    before = e.numbers()
    e.compact()
    pieces = e.segments
    assert len(pieces) >= 2
    assert max(s.size for s in pieces) <= (1 << 20) / 8 + 4096
    assert sum(s.rows for s in pieces) == 4000
    assert whole.segment_id not in {s.segment_id for s in pieces}
    assert e.numbers() == before
    e.reopen()
    assert e.numbers() == before


@pytest.mark.parametrize("gone", ["collection", "partition", "rows"])
def test_a_job_cut_off_whose_segments_were_dropped_is_not_told_as_completed(gone: str) -> None:
    e = engine()
    e.make()
    e.call(rq.CreatePartition(collection=NAME, partition="p"))
    for start in (0, 100):
        e.add(range(start, start + 100), partition="p")
        e.flush()
    job = e.begin()
    if gone == "collection":
        e.call(rq.DropCollection(collection=NAME))
    elif gone == "partition":
        e.call(rq.ReleasePartitions(collection=NAME, partitions=("p",)))
        e.call(rq.DropPartition(collection=NAME, partition="p"))
    else:
        e.call(rq.TruncateCollection(collection=NAME))
    e.env.disk.restart()
    e.env = simulated_env(22, e.env.disk)
    e.open()
    (plan,) = e.database.topology.compactor.jobs.plans(job)
    assert (plan.state, plan.reason) == (PlanState.FAILED, GONE)
    e.close()


def test_a_swap_that_was_committed_is_told_as_completed_wherever_the_process_ended_after_it() -> None:
    states: set[PlanState] = set()
    for operation in range(1, 400):
        e = engine()
        e.make()
        for start in (0, 100):
            e.add(range(start, start + 100))
            e.flush()
        job = e.begin()
        e.env.disk.crash_at(e.env.disk.operations + operation)
        is_over = False
        try:
            e.database.topology.compactor.wait_idle()
            e.env.run_until_idle()
            is_over = True
        except SimulatedCrash:
            pass
        e.env.disk.restart(random.Random(operation))
        e.env = simulated_env(22, e.env.disk)
        e.open()
        (plan,) = e.plans(job)
        assert (plan.state is PlanState.COMPLETED) == (len(e.segments) == 1)
        states.add(plan.state)
        if is_over:
            break
    assert states == {PlanState.COMPLETED, PlanState.FAILED}


def test_a_job_cut_off_by_the_end_of_its_process_has_failed_afterwards_and_changed_nothing() -> None:
    e = engine()
    e.make()
    for start in (0, 100):
        e.add(range(start, start + 100))
        e.flush()
    before, segments = e.numbers(), e.segments
    job = e.begin()
    e.env.disk.restart()
    e.env = simulated_env(22, e.env.disk)
    e.open()
    (plan,) = e.plans(job)
    assert plan.state is PlanState.FAILED
    progress = e.call(rq.GetCompactionState(job_id=job))
    assert (progress.state, progress.failed, progress.executing) == (CompactionState.Completed, 1, 0)
    assert (e.numbers(), e.segments) == (before, segments)
    again = e.compact()
    e.reopen()
    assert [p.state for p in e.plans(again)] == [PlanState.COMPLETED]
    assert len(e.segments) == 1
