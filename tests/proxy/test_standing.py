"""When writes are stopped, nothing that was begun before comes later: no write under way, no job in the background."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.engine import DIM, NAME, Engine

from redkite.coordinator.standing import Standing
from redkite.env import Env
from redkite.errors import Unavailable
from redkite.model import replication as rp
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.imports import DescribeImport, ImportFiles, ImportInfo, ImportState
from redkite.storage.catalog import MemoryCatalog
from redkite.storage.change_notes import ChangeNotes

FREEZE = rp.FreezeWrites(frozen=True, reason="it moves")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(str(tmp_path / "data"))
    made.create()
    yield made
    made.close()


def until(check: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not check():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_an_import_that_was_begun_before_stores_nothing(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"id": 1, "vector": [0.0] * DIM, "number": 1, "word": None}))
    go_on = threading.Event()
    engine.database.service._imports._worker.submit(go_on.wait)  # jobs run one after another
    job = engine.call(ImportFiles(collection=NAME, groups=((str(path),),))).job_id

    def info() -> ImportInfo:
        found = engine.call(DescribeImport(job_id=job))
        assert isinstance(found, ImportInfo)
        return found

    engine.call(FREEZE)
    go_on.set()
    until(lambda: info().state.is_over)
    assert info().state is ImportState.FAILED
    assert "it moves" in info().reason
    assert engine.count() == 0
    assert not [name for name in engine.database.topology.store.list("segments/") if "/" in name]


def test_a_restore_that_was_begun_before_makes_no_collection(engine: Engine) -> None:
    engine.insert([1], np.zeros((1, DIM), np.float32), [1])
    engine.call(rq.CreateSnapshot(collection=NAME, name="kept"))
    go_on = threading.Event()
    engine.database.service._snapshots._worker.submit(go_on.wait)
    request = rq.RestoreSnapshot(collection=NAME, name="kept", target_collection="copy")
    job = engine.call(request).job_id

    def info() -> rs.RestoreJobInfo:
        found = engine.call(rq.GetRestoreSnapshotState(job_id=job))
        assert isinstance(found, rs.RestoreJobInfo)
        return found

    engine.call(FREEZE)
    go_on.set()
    until(lambda: info().reason != "")
    assert "it moves" in info().reason
    assert [meta.name for meta in engine.database.topology.root.all_collections()] == [NAME]


def test_writes_go_on_when_they_could_not_be_stopped(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redkite.proxy.replication._SETTLE_SECONDS", 0.1)
    standing = engine.database.topology.standing
    with standing.change(), pytest.raises(Unavailable, match="1 changes under way have not ended"):
        engine.call(FREEZE)
    engine.insert([1], np.zeros((1, DIM), np.float32), [1])


def test_of_two_who_change_what_is_remembered_both_are_heard() -> None:
    tasks, notes = Env.real().tasks, ChangeNotes(MemoryCatalog())
    one, other = Standing(tasks, notes), Standing(tasks, notes)
    assert one.state == other.state
    one.save(frozen="it moves")
    other.save(source="north")
    assert (other.state.frozen, other.state.source) == ("it moves", "north")


def test_a_follower_that_is_elsewhere_takes_nothing_of_a_page(engine: Engine, tmp_path: Path) -> None:
    source = Engine(str(tmp_path / "source"))
    source.create()
    engine.call(rq.DropCollection(collection=NAME))
    begin = engine.call(rp.ApplyReplication(source_cluster_id="s", begin=True))
    first = source.call(rp.ReadReplication(name="f"))
    applied = engine.call(rp.ApplyReplication(source_cluster_id="s", page=first, after=begin.position))
    source.insert([1], np.zeros((1, DIM), np.float32), [1])
    second = source.call(rp.ReadReplication(name="f", position=applied.position))
    applied = engine.call(rp.ApplyReplication(source_cluster_id="s", page=second, after=applied.position))
    source.call(rq.DropCollection(collection=NAME))
    third = source.call(rp.ReadReplication(name="f", position=applied.position))
    gone = engine.call(rp.ApplyReplication(source_cluster_id="s", page=third, after=applied.position))
    again = engine.call(rp.ApplyReplication(source_cluster_id="s", page=first, after=""))  # another sends it late
    assert again.position == gone.position
    assert not engine.database.topology.root.all_collections()
    source.close()
