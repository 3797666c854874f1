"""Another coordinator leads: what the one before had begun is done, once, and what it had decided holds."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.cluster.clusters import ClusterEngine
from tests.cluster.test_admission import begin, ended, file_of, settled
from tests.engine import DIM, NAME, schema

from redkite.backup import snapshots, work
from redkite.cluster.election import Election
from redkite.cluster.forwarding import Forward, NotLeading
from redkite.cluster.in_process import SMALL, Running
from redkite.cluster.leading import Leading
from redkite.cluster.roles.coordinator import CoordinatorRole
from redkite.config import Settings
from redkite.coordinator.pchannels import PChannel
from redkite.coordinator.restores import RestoreJobs
from redkite.env import Env
from redkite.errors import CollectionNotFound, Unavailable
from redkite.model import requests as rq
from redkite.model.imports import CommitImport, DescribeImport, ImportState
from redkite.model.segments import SegmentMeta
from redkite.model.types import JobState
from redkite.proxy.importing import ImportWork

LEASE = 1.0


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ClusterEngine]:
    chosen = Settings(imports=str(tmp_path), backups=str(tmp_path / "backups"))
    config = msgspec.structs.replace(SMALL, settings=chosen, lease_seconds=LEASE)
    made = ClusterEngine(str(tmp_path / "objects"), config, coordinators=2)
    made.create(shards=2)
    yield made
    made.close()


def leader(engine: ClusterEngine) -> Running:
    def found() -> list[Running]:
        return [running for running in engine.cluster.nodes("coordinator") if running.node.leading is not None]

    (one,) = settled(found, lambda leaders: len(leaders) == 1)
    return one


class Once:
    """Stops whoever calls something first, until it is over with them."""

    def __init__(self, call: Any) -> None:
        self.call, self.reached, self.over = call, threading.Event(), threading.Event()
        self._first = True

    def __call__(self, *args: Any, **more: Any) -> Any:
        if self._first:
            self._first = False
            self.reached.set()
            self.over.wait(30)
            raise Unavailable("the process is gone")
        return self.call(*args, **more)

    def end(self, engine: ClusterEngine, how: str) -> None:
        """The leader is killed meanwhile, or ends as it is told to."""
        assert self.reached.wait(30)
        ending = threading.Thread(target=getattr(engine.cluster, how), args=(leader(engine),))
        ending.start()
        if how == "stop":
            ending.join(0.5)  # it waits for this
        else:
            ending.join()
        self.over.set()
        ending.join()


def test_another_leads_within_the_lease_and_a_second_and_knows_everything(engine):
    engine.insert(range(10), np.zeros((10, DIM), np.float32), range(10))
    before = engine.call(rq.DescribeCollection(collection=NAME))
    first = leader(engine)
    engine.cluster.kill(first)
    engine.call(rq.CreateCollection(schema=msgspec.structs.replace(schema(), name="another")))
    assert leader(engine) is not first
    assert engine.call(rq.DescribeCollection(collection=NAME)) == before
    assert engine.count() == 10
    assert settled(lambda: leader(engine).node.leading._taking_over.is_done, bool)


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_an_import_that_was_under_way_is_done_by_the_next_leader_once(engine, tmp_path, monkeypatch, how):
    once = Once(ImportWork._indexed)
    monkeypatch.setattr(ImportWork, "_indexed", lambda *args: once(*args))  # noqa: PLW0108  a method
    job = begin(engine, file_of(tmp_path, range(100)))
    once.end(engine, how)
    info = ended(engine, job)
    assert (info.state, info.reason) == (ImportState.COMPLETED, "")
    assert engine.count() == 100


def test_an_import_that_waits_to_be_committed_waits_for_the_next_leader_too(engine, tmp_path):
    job = begin(engine, file_of(tmp_path, range(100)), auto_commit="false")
    settled(lambda: engine.call(DescribeImport(job_id=job)), lambda info: info.state is ImportState.UNCOMMITTED)
    engine.cluster.kill(leader(engine))
    assert engine.count() == 0
    engine.call(CommitImport(job_id=job))
    assert engine.count() == 100


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_restore_that_was_under_way_is_done_by_the_next_leader(engine, monkeypatch, how):
    engine.insert(range(10), np.zeros((10, DIM), np.float32), range(10))
    engine.call(rq.CreateSnapshot(collection=NAME, name="then"))
    engine.delete("id >= 0")
    once = Once(snapshots.commit)
    monkeypatch.setattr(snapshots, "commit", once)
    job = engine.call(rq.RestoreSnapshot(collection=NAME, name="then", target_collection="copy")).job_id
    once.end(engine, how)
    state = settled(
        lambda: engine.call(rq.GetRestoreSnapshotState(job_id=job)),
        lambda info: info.state in (JobState.COMPLETED, JobState.FAILED),
    )
    assert (state.state, state.reason) == (JobState.COMPLETED, "")
    engine.call(rq.LoadCollection(collection="copy"))
    found = engine.call(rq.Query(collection="copy", filter="id >= 0", output_fields=("count(*)",))).rows
    assert found.to_pydict() == {"count(*)": [10]}


def test_a_restore_that_is_resumed_takes_no_foreign_collection_for_its_own(engine, monkeypatch):
    engine.insert(range(10), np.zeros((10, DIM), np.float32), range(10))
    engine.call(rq.CreateSnapshot(collection=NAME, name="then"))
    once = Once(snapshots.commit)
    monkeypatch.setattr(snapshots, "commit", once)
    job = engine.call(rq.RestoreSnapshot(collection=NAME, name="then", target_collection="copy")).job_id
    assert once.reached.wait(30)
    engine.call(rq.CreateCollection(schema=msgspec.structs.replace(schema(), name="copy")))  # with the same fields
    once.end(engine, "kill")
    state = settled(
        lambda: engine.call(rq.GetRestoreSnapshotState(job_id=job)),
        lambda info: info.state in (JobState.COMPLETED, JobState.FAILED),
    )
    assert (state.state, state.reason) == (JobState.FAILED, "collection copy already exists")


def test_a_restore_that_was_there_but_for_the_word_of_it_is_done_though_renamed_since(engine, monkeypatch):
    engine.insert(range(10), np.zeros((10, DIM), np.float32), range(10))
    engine.call(rq.CreateSnapshot(collection=NAME, name="then"))
    once = Once(RestoreJobs.complete)
    monkeypatch.setattr(RestoreJobs, "complete", lambda *args: once(*args))  # noqa: PLW0108  a method
    job = engine.call(rq.RestoreSnapshot(collection=NAME, name="then", target_collection="copy")).job_id
    assert once.reached.wait(30)
    engine.call(rq.RenameCollection(collection="copy", new_name="other"))
    once.end(engine, "kill")
    state = settled(
        lambda: engine.call(rq.GetRestoreSnapshotState(job_id=job)),
        lambda info: info.state in (JobState.COMPLETED, JobState.FAILED),
    )
    assert (state.state, state.reason) == (JobState.COMPLETED, "")
    assert {found.name for found in engine.call(rq.ShowCollections()).collections} == {NAME, "other"}


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_backup_that_was_under_way_is_made_by_the_next_leader(engine, monkeypatch, tmp_path, how):
    engine.insert(range(10), np.zeros((10, DIM), np.float32), range(10))
    once = Once(work._copy_missing)
    monkeypatch.setattr(work, "_copy_missing", once)
    place = str(tmp_path / "backups" / "b")
    job = engine.call(rq.CreateBackup(destination=place, name="one")).job_id
    once.end(engine, how)
    state = settled(
        lambda: engine.call(rq.GetBackupJob(job_id=job)),
        lambda info: info.state in (JobState.COMPLETED, JobState.FAILED),
    )
    assert (state.state, state.reason) == (JobState.COMPLETED, "")
    assert state.backup.collections[0].rows == 10


def test_segments_of_a_collection_that_never_came_to_be_are_removed(engine):
    first = leader(engine)
    data = first.node.leading.metadata.data
    stray = SegmentMeta(
        segment_id=5, collection_id=4, partition_id=1, channel="by-dev-rootcoord-dml_0_4v0", rows=1, size=1,
        rows_object="segments/4/5/rows", rows_crc=0,
    )  # fmt: skip
    data.adopt(4, {}, [stray], [])
    engine.cluster.kill(first)
    second = leader(engine)
    assert settled(second.node.leading.metadata.data.collections, lambda left: 4 not in left) is not None


def test_a_leader_that_comes_back_after_a_pause_decides_nothing(engine):
    first = leader(engine)
    engine.cluster.pause(first)
    settled(lambda: engine.call(rq.CreateAlias(collection=NAME, alias="other")), lambda _: True)
    engine.cluster.resume(first)
    assert leader(engine) is not first
    assert settled(lambda: first.node.leading, lambda leading: leading is None) is None
    engine.call(rq.DropAlias(alias="other"))


def test_a_coordinator_that_reaches_nobody_says_why_it_cannot_lead(engine):
    node = leader(engine).node
    assert node.health() == ()
    engine.cluster.pause(leader(engine))
    reasons = settled(node.health, lambda found: len(found) >= 2)
    assert any("cannot be elected: etcd does not answer" in reason for reason in reasons)
    assert any("could not renew its lease" in reason for reason in reasons)


def test_a_decision_that_cannot_be_carried_out_keeps_no_channel_from_getting_an_owner(engine: ClusterEngine) -> None:
    leading = leader(engine).node.leading
    assert leading is not None
    once = Once(leading.broadcaster.resume)
    leading.broadcaster.resume = once  # it waits as for an owner that there is not
    leading.settle_soon()
    assert once.reached.wait(30)
    gone, other = engine.cluster.nodes("streaming")
    engine.cluster.kill(gone)
    until = time.monotonic() + 20  # sooner than it has waited in vain

    def owners() -> set[int]:
        return {channel.node_id for channel in leading.streaming.channels().values() if channel.is_wanted}

    try:
        settled(owners, lambda found: found == {other.node_id})
        assert time.monotonic() < until
    finally:
        once.over.set()


def test_a_coordinator_that_another_may_have_replaced_denies_nothing(
    engine: ClusterEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = leader(engine).node
    assert isinstance(role, CoordinatorRole)
    denied = Forward(request=rq.Flush(collections=("made by the next",)))
    listed = Forward(request=rq.ShowCollections())
    with pytest.raises(CollectionNotFound):
        role._answer(denied).result(30)
    monkeypatch.setattr(Election, "is_leader", False)  # its lease is over, and it has not noticed
    for message in (denied, listed):
        with pytest.raises(NotLeading):
            role._answer(message).result(30)


def test_a_change_is_told_as_done_when_others_own_what_a_silent_node_may_go_on_to_answer_for() -> None:
    env = Env.real()
    known = PChannel(name="by-dev-rootcoord-dml_0").given_to(1, 0).taken()
    taken = known.given_to(2, 0)
    seen: list[PChannel] = []

    def channels(steps: Iterator[PChannel]) -> dict[str, PChannel]:
        seen.append(next(steps, known))
        return {known.name: seen[-1]}

    def wait(silent: set[int], *steps: PChannel) -> None:
        seen.clear()
        streaming = SimpleNamespace(channels=partial(channels, iter(steps)))
        there = SimpleNamespace(
            _node=SimpleNamespace(env=env), _patience=0.3, _streaming_nodes=lambda: {1: True, 2: True},
            streaming=streaming,
        )  # fmt: skip
        Leading._wait_for_owners(there, silent)  # type: ignore[arg-type]

    wait(set(), known)
    assert len(seen) == 1
    wait({1}, known, known, taken, taken.taken())
    assert seen == [known, known, taken, taken.taken()]
    began = env.clock.monotonic()
    wait({1})
    assert env.clock.monotonic() >= began + 0.3, "it may only be that nobody can own it"
