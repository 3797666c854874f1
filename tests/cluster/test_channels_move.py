"""Channels that move, while rows are written: no acknowledged row is lost or doubled, and nobody waits for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.cluster.clusters import ClusterEngine
from tests.engine import DIM, NAME

from redkite.cluster.leading import Leading
from redkite.cluster.roles.coordinator import CoordinatorRole
from redkite.cluster.roles.streaming import StreamingRole
from redkite.coordinator.broadcast import read_tasks
from redkite.coordinator.pchannels import read_pchannels
from redkite.errors import MilvusException, Unavailable
from redkite.model import requests as rq

LEASE = 1.5
PATIENCE = 60.0


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ClusterEngine]:
    made = ClusterEngine(str(tmp_path / "objects"), streaming=2, query=1, pchannels=4, lease_seconds=LEASE)
    yield made
    made.close()


class Writer:
    """Inserts one row after another, each with the next number, until it is stopped. What was acknowledged is kept."""

    def __init__(self, engine: ClusterEngine) -> None:
        self.engine = engine
        self.acknowledged: list[int] = []
        self.unknown: list[int] = []
        self.errors: list[MilvusException] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            try:
                self.engine.insert([number], np.full((1, DIM), number / 1000, np.float32), [number])
            except MilvusException as error:
                self.unknown.append(number)
                self.errors.append(error)
            else:
                self.acknowledged.append(number)

    def wait(self, more: int, seconds: float = PATIENCE) -> None:
        """Until so many more rows are acknowledged."""
        wanted, until = len(self.acknowledged) + more, time.monotonic() + seconds
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < until, f"{len(self.acknowledged)} of {wanted} rows, {self.errors[-1:]}"
            time.sleep(0.005)

    def check(self) -> None:
        there = self.engine.numbers()
        assert set(self.acknowledged) <= set(there)
        assert set(there) <= {*self.acknowledged, *self.unknown}
        assert self.engine.count() == len(there)


def owners(engine: ClusterEngine) -> dict[str, int]:
    proxy = engine.cluster.proxy()
    return {name: c.node_id for name, c in read_pchannels(proxy.catalog).items() if c.is_owned}


def leading(engine: ClusterEngine) -> Leading:
    role = engine.cluster.nodes("coordinator")[0].node
    assert isinstance(role, CoordinatorRole)
    found = role._leading
    assert found is not None
    return found


def test_the_channels_of_a_killed_node_answer_on_another(engine: ClusterEngine) -> None:
    engine.create(shards=2, index="FLAT")
    with Writer(engine) as writer:
        writer.wait(20)
        busy = set(owners(engine).values())
        engine.cluster.kill(next(node for node in engine.cluster.nodes("streaming") if node.node_id in busy))
        engine.cluster.wait_ready(PATIENCE)
        writer.wait(20)
    assert set(owners(engine).values()) == {engine.cluster.nodes("streaming")[0].node_id}
    writer.check()


def test_a_node_that_drains_hands_over_without_a_failed_request(engine: ClusterEngine) -> None:
    engine.create(shards=2, index="FLAT")
    with Writer(engine) as writer:
        writer.wait(20)
        first = engine.cluster.nodes("streaming")[0]
        assert isinstance(first.node, StreamingRole)
        first.node.drain()
        assert first.node.owning.owned() == []
        writer.wait(20)
        engine.cluster.stop(first)
        writer.wait(5)
    assert writer.errors == []
    writer.check()


def test_a_new_node_gets_its_share_of_the_channels(engine: ClusterEngine) -> None:
    engine.create(shards=2, index="FLAT")
    with Writer(engine) as writer:
        writer.wait(5)
        third = engine.cluster.start_node("streaming")
        until = time.monotonic() + PATIENCE
        while third.node_id not in owners(engine).values() and time.monotonic() < until:
            time.sleep(0.02)
        engine.cluster.wait_ready(PATIENCE)
        writer.wait(5)
    assert third.node_id in owners(engine).values()
    assert writer.errors == []
    writer.check()


def test_a_snapshot_of_several_shards_is_of_one_moment(engine: ClusterEngine) -> None:
    engine.create(shards=2, index="FLAT")
    with Writer(engine) as writer:
        for number in range(3):
            writer.wait(15)
            before = len(writer.acknowledged)
            engine.call(rq.CreateSnapshot(name=f"s{number}", collection=NAME))
            job = engine.call(
                rq.RestoreSnapshot(collection=NAME, name=f"s{number}", target_collection=f"copy{number}")
            ).job_id
            until = time.monotonic() + 120
            while engine.call(rq.GetRestoreSnapshotState(job_id=job)).progress < 100 and time.monotonic() < until:
                time.sleep(0.02)
            engine.call(rq.LoadCollection(collection=f"copy{number}"))
            rows = engine.call(
                rq.Query(collection=f"copy{number}", filter="number >= 0", output_fields=("id",))
            ).rows.to_pydict()["id"]
            assert sorted(rows) == list(range(1, len(rows) + 1)), "a later row is there and an earlier one is not"
            assert len(rows) >= before, "what was acknowledged before is there"
    assert writer.errors == []


def test_a_partition_whose_drop_was_cut_off_is_dropped_whole_by_the_next_leader(tmp_path: Path) -> None:
    engine = ClusterEngine(
        str(tmp_path / "objects"), streaming=1, query=1, coordinators=2, pchannels=2, lease_seconds=LEASE
    )
    try:
        engine.create(shards=2, index="FLAT")
        engine.call(rq.CreatePartition(collection=NAME, partition="p"))
        vectors = np.ones((40, DIM), np.float32)
        engine.insert(range(20), vectors[:20], range(20), partition="p")
        engine.flush()
        engine.insert(range(20, 40), vectors[20:], range(20, 40))
        engine.call(rq.ReleaseCollection(collection=NAME))
        first = next(
            r for r in engine.cluster.nodes("coordinator") if isinstance(r.node, CoordinatorRole) and r.node._leading
        )
        assert isinstance(first.node, CoordinatorRole)
        leader = first.node._leading
        assert leader is not None

        killed = []

        def cut_off(*_: object) -> list[object]:
            engine.cluster.kill(first)
            killed.append(first)
            raise Unavailable("the coordinator was killed here")

        leader.metadata.data.remove_segments = cut_off  # type: ignore[assignment, method-assign]
        engine.call(rq.DropPartition(collection=NAME, partition="p"))  # the next leader answers
        assert killed == [first]
        catalog = engine.cluster.proxy().catalog
        assert read_tasks(catalog) == []
        segments = engine.call(rq.ListPersistentSegments(collection=NAME)).segments
        assert sum(s.num_rows for s in segments) <= 20
        engine.call(rq.LoadCollection(collection=NAME))
        assert sorted(engine.numbers()) == list(range(20, 40))
    finally:
        engine.close()


def test_a_flush_whose_commit_had_no_answer_doubles_no_row(tmp_path: Path) -> None:
    engine = ClusterEngine(str(tmp_path / "objects"), streaming=1, query=1, pchannels=1, lease_seconds=5.0)
    try:
        engine.create(index="FLAT")
        (running,) = engine.cluster.nodes("streaming")
        assert isinstance(running.node, StreamingRole)
        connection = running.backends.connection  # type: ignore[attr-defined]
        vectors = np.ones((10, DIM), np.float32)
        failed = 0
        for round_ in range(6):
            engine.insert(range(10 * round_, 10 * round_ + 10), vectors, range(10))
            engine.delete(f"id == {10 * round_}")
            (shard,) = running.node.node.shards()
            connection.lose_replies(1 + round_ % 2)
            try:
                shard.flush(running.node.oracle.allocate)
            except MilvusException:
                failed += 1
            connection.lose_replies(0)
            engine.flush()
            assert engine.count() == 9 * (round_ + 1)
            segments = engine.call(rq.ListPersistentSegments(collection=NAME)).segments
            assert sum(s.num_rows for s in segments) == 10 * (round_ + 1)
        assert failed
    finally:
        engine.close()
