"""Rows that were written as files, made rows of shards that other nodes own: all at once, once, or not at all."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.cluster.clusters import ClusterEngine
from tests.engine import DIM, NAME

from redkite.cluster.in_process import SMALL
from redkite.cluster.shards import admitting, admitting_service
from redkite.config import Settings
from redkite.coordinator import ends
from redkite.coordinator.jobs import JobRecords
from redkite.errors import ImportFailed, MilvusException, Unavailable
from redkite.model.imports import AbortImport, CommitImport, DescribeImport, ImportFiles, ImportInfo, ImportState
from redkite.proxy import imports


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ClusterEngine]:
    config = msgspec.structs.replace(SMALL, settings=Settings(imports=str(tmp_path)), lease_seconds=1.0)
    made = ClusterEngine(str(tmp_path / "objects"), config, proxies=2, coordinators=2, streaming=2)
    made.create(shards=3)
    yield made
    made.close()


def file_of(folder: Path, keys: range, number: int = 1) -> str:
    rng = np.random.default_rng(1)
    rows = [
        {"id": key, "vector": rng.random(DIM).round(4).tolist(), "number": number, "word": "imported"} for key in keys
    ]
    path = folder / f"{keys.start}-{number}.json"
    path.write_text(json.dumps(rows))
    return str(path)


def ended(engine: ClusterEngine, job: int, seconds: float = 30.0) -> ImportInfo:
    return settled(lambda: engine.call(DescribeImport(job_id=job)), lambda info: info.state.is_over, seconds)


def settled(look: Callable[[], Any], is_enough: Callable[[Any], bool], seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = look()
        except MilvusException:
            if time.monotonic() > deadline:
                raise
        else:
            if is_enough(found):
                return found
            assert time.monotonic() < deadline, found
        time.sleep(0.02)


def begin(engine: ClusterEngine, *files: str, **options: str) -> int:
    groups = tuple((file,) for file in files)
    return int(engine.call(ImportFiles(collection=NAME, groups=groups, options=options)).job_id)


def test_an_import_over_shards_of_several_nodes_is_seen_everywhere_when_it_is_done(engine, tmp_path):
    engine.insert(range(100), np.random.default_rng(2).random((100, DIM), np.float32), range(100))
    assert engine.count() == 100
    job = begin(engine, file_of(tmp_path, range(50, 1_050)))
    info = ended(engine, job)
    assert (info.state, info.reason) == (ImportState.COMPLETED, "")
    for proxy in (0, 1):
        engine.proxy = proxy
        assert engine.count() == 1_050
        assert len(engine.query("number == 1 and word == 'imported'", fields=("id",))["id"]) == 1_000
        assert engine.query("id in [49, 50]", fields=("number",))["number"] == [49, 1]


def test_what_is_written_meanwhile_stays_and_what_is_written_later_replaces(engine, tmp_path):
    job = begin(engine, file_of(tmp_path, range(100)), auto_commit="false")
    settled(lambda: engine.call(DescribeImport(job_id=job)), lambda info: info.state is ImportState.UNCOMMITTED)
    engine.insert([5], np.zeros((1, DIM), np.float32), [55])
    engine.call(CommitImport(job_id=job))
    assert engine.query("id == 5", fields=("number",))["number"] == [1]
    engine.insert([6], np.zeros((1, DIM), np.float32), [66])
    assert engine.query("id == 6", fields=("number",))["number"] == [66]
    engine.delete("id == 7")
    assert engine.count() == 99


def test_owners_that_hear_nothing_of_a_decision_find_out_by_themselves(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(admitting_service, "HOLD_SECONDS", 0.3)
    monkeypatch.setattr(admitting._Admission, "_end", lambda _: None)
    job = begin(engine, file_of(tmp_path, range(100)))
    assert ended(engine, job).state is ImportState.COMPLETED
    assert settled(engine.count, lambda count: count == 100) == 100
    engine.insert([500], np.zeros((1, DIM), np.float32), [5])
    assert engine.count() == 101


def test_a_coordinator_that_stops_before_it_decides_keeps_nobody_from_writing(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(admitting_service, "HOLD_SECONDS", 0.3)
    monkeypatch.setattr(admitting, "_PAUSE_SECONDS", 0.01)

    def fails(*_: object) -> None:
        raise ImportFailed("it went away")

    monkeypatch.setattr(admitting._Admission, "_commit", fails)
    monkeypatch.setattr(admitting._Admission, "_end", lambda _: None)
    job = begin(engine, file_of(tmp_path, range(100)))
    info = ended(engine, job)
    assert (info.state, info.reason) == (ImportState.FAILED, "it went away: importing data failed")
    engine.insert([500], np.zeros((1, DIM), np.float32), [5])
    assert engine.count() == 1


def test_an_owner_that_dies_before_the_decision_makes_it_none(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(admitting_service, "HOLD_SECONDS", 3.0)
    commit, times = admitting._Admission._commit, []

    def after_a_death(self: Any, *args: Any) -> None:
        times.append(1)
        if len(times) == 1:
            gone, left = engine.cluster.nodes("streaming")
            engine.cluster.kill(gone)
            settled(left.node.owning.owned, lambda channels: len(channels) == SMALL.pchannels)
        commit(self, *args)

    monkeypatch.setattr(admitting._Admission, "_commit", after_a_death)
    job = begin(engine, file_of(tmp_path, range(100)))
    info = ended(engine, job)
    assert (info.state, info.reason) == (ImportState.COMPLETED, "")
    assert len(times) > 1
    assert engine.count() == 100


def test_a_decision_that_comes_too_late_is_none(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(admitting_service, "HOLD_SECONDS", 0.2)
    commit, times = admitting._Admission._commit, []

    def late(self: Any, *args: Any) -> None:
        times.append(1)
        if len(times) == 1:
            time.sleep(1)
            engine.insert([5], np.zeros((1, DIM), np.float32), [55])  # nobody holds it any more
        commit(self, *args)

    monkeypatch.setattr(admitting._Admission, "_commit", late)
    job = begin(engine, file_of(tmp_path, range(100)))
    assert ended(engine, job).state is ImportState.COMPLETED
    assert len(times) > 1
    assert engine.count() == 100
    assert engine.query("id == 5", fields=("number",))["number"] == [1]


def test_what_somebody_else_has_promised_meanwhile_is_no_decision_and_nothing_is_shown(engine, tmp_path, monkeypatch):
    """As an owner does that stood still until another had its channel, where that is not looked at."""
    commit, pause, seen = admitting._Admission._commit, admitting.RemoteAdmission.pause, []

    def overtaken(self: Any, *args: Any) -> None:
        if not seen:
            self._home._catalog.commit({admitting.ticket(self._channels[0]): admitting.ticket_of(1)})
        commit(self, *args)

    def looks(self: Any, seconds: float) -> None:
        seen.append(engine.count())
        pause(self, seconds)

    monkeypatch.setattr(admitting._Admission, "_commit", overtaken)
    monkeypatch.setattr(admitting.RemoteAdmission, "pause", looks)
    job = begin(engine, file_of(tmp_path, range(100)))
    assert ended(engine, job).state is ImportState.COMPLETED
    assert seen == [0]
    assert engine.count() == 100


def test_a_promise_that_was_taken_back_without_an_answer_is_no_decision_either(engine, tmp_path, monkeypatch):
    pause, seen = admitting.RemoteAdmission.pause, []

    def fails(*_: object) -> None:
        monkeypatch.undo()
        monkeypatch.setattr(admitting.RemoteAdmission, "pause", looks)
        for node in engine.cluster.nodes("streaming"):
            monkeypatch.setattr(node.node.catalog, "commit", unanswered(node.node.catalog.commit))
        raise Unavailable("it went away")

    def unanswered(commit: Callable[..., None]) -> Callable[..., None]:
        def commits(puts: Any, deletes: Any = (), expect: Any = None) -> None:
            commit(puts, deletes, expect)
            if any(key.startswith(admitting.TICKETS) for key in deletes) and not seen:
                raise Unavailable("no answer came")

        return commits

    def looks(self: Any, seconds: float) -> None:
        seen.append(engine.count())
        pause(self, seconds)

    monkeypatch.setattr(admitting._Admission, "_commit", fails)
    job = begin(engine, file_of(tmp_path, range(100)))
    assert ended(engine, job).state is ImportState.COMPLETED
    assert seen == [0]
    assert engine.count() == 100


def test_who_has_lost_a_channel_promises_nothing_about_it(engine, tmp_path, monkeypatch):
    record_of, promised = admitting_service.AdmittingService._promised, []

    def by_an_older_record(self: Any, channel: str, number: int, admission: Any) -> Any:
        if not promised:
            promised.append(channel)
            key, _ = self._record_of(channel)
            monkeypatch.setattr(self, "_record_of", lambda _: (key, b"of a former term"))
        try:
            return record_of(self, channel, number, admission)
        finally:
            monkeypatch.undo()
            tickets.append(self._node.catalog.get(admitting.ticket(channel)))

    tickets: list[bytes | None] = []
    monkeypatch.setattr(admitting_service.AdmittingService, "_promised", by_an_older_record)
    job = begin(engine, file_of(tmp_path, range(100)))
    assert ended(engine, job).state is ImportState.COMPLETED
    assert tickets[0] is None
    assert engine.count() == 100


def test_the_owner_that_is_asked_again_what_it_is_looking_for_looks_once(engine, tmp_path, monkeypatch):
    """Where the first question, or its answer, was lost: that is not waited for."""
    monkeypatch.setattr(admitting, "ASK_AGAIN_SECONDS", 0.05)
    look, looked = admitting_service.AdmittingService._look_now, []

    def slowly(self: Any, message: Any) -> None:
        looked.append(message.channel)
        time.sleep(0.3)
        look(self, message)

    monkeypatch.setattr(admitting_service.AdmittingService, "_look_now", slowly)
    job = begin(engine, file_of(tmp_path, range(100)))
    assert ended(engine, job).state is ImportState.COMPLETED
    assert sorted(looked) == sorted(set(looked))
    assert engine.count() == 100


def test_who_opens_a_held_shard_anew_waits_for_the_hold_and_sees_what_it_admitted(engine, tmp_path, monkeypatch):
    """The log below it was closed, as when the broker was away, and etcd does not answer to the end of the hold."""
    engine.count()
    commit, times, opened = admitting._Admission._commit, [], []
    (channel, role) = next(
        (shard.channel, node.node) for node in engine.cluster.nodes("streaming") for shard in node.node.node.shards()
    )

    def unanswered(refresh: Callable[..., int]) -> Callable[..., int]:
        def refreshes(**how: Any) -> int:
            if threading.current_thread().name.startswith("redkite-admissions") and len(times) < 3:
                times.append("refresh")
                raise Unavailable("no answer came")
            return refresh(**how)

        return refreshes

    def anew(self: Any, *args: Any) -> None:
        if not opened:
            role.node.open_shard(channel).close_log()
            opened.append(threading.Thread(target=role.own_shard, args=(channel,), daemon=True))
            opened[0].start()
            time.sleep(0.3)
            monkeypatch.setattr(role.catalog, "refresh", unanswered(role.catalog.refresh))
        commit(self, *args)

    monkeypatch.setattr(admitting._Admission, "_commit", anew)
    job = begin(engine, file_of(tmp_path, range(100)))
    assert ended(engine, job).state is ImportState.COMPLETED
    opened[0].join(20)
    assert not opened[0].is_alive()
    assert engine.count() == 100


def test_an_import_whose_end_cannot_be_noted_is_not_over_yet(engine, tmp_path, monkeypatch):
    """Told as failed, it might be done by the next coordinator after all."""
    away: list[int] = []
    begun, replace = threading.Event(), JobRecords.replace

    def replaces(self: Any, *given: Any) -> None:
        assert begun.wait(30)
        away.append(1)
        if len(away) < 3:
            assert not engine.call(DescribeImport(job_id=job)).state.is_over
            raise Unavailable("etcd does not answer")
        replace(self, *given)

    monkeypatch.setattr(JobRecords, "replace", replaces)
    monkeypatch.setattr(ends, "AGAIN_SECONDS", 0.05)
    (tmp_path / "wrong.json").write_text("[{")
    job = begin(engine, str(tmp_path / "wrong.json"))
    begun.set()
    assert ended(engine, job).state is ImportState.FAILED
    assert len(away) == 3


def test_an_import_that_was_committed_without_a_word_of_it_is_not_aborted(engine, tmp_path, monkeypatch):
    """Its rows are there, and stay."""
    commit = imports.commit_import

    def unanswered(*given: Any, **more: Any) -> None:
        commit(*given, **more)
        raise Unavailable("no answer came")

    job = begin(engine, file_of(tmp_path, range(100)), auto_commit="false")
    settled(lambda: engine.call(DescribeImport(job_id=job)), lambda info: info.state is ImportState.UNCOMMITTED)
    with monkeypatch.context() as lost:
        lost.setattr(imports, "commit_import", unanswered)
        with pytest.raises(Unavailable):
            engine.call(CommitImport(job_id=job))
    with pytest.raises(ImportFailed, match=r"cannot abort job .* in state Completed"):
        engine.call(AbortImport(job_id=job))
    assert engine.call(DescribeImport(job_id=job)).state is ImportState.COMPLETED
    assert engine.count() == 100
