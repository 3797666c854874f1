"""Loads of low priority wait behind the others."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.engine import DIM, Engine, schema

from redkite.errors import CollectionNotLoaded, NodesNotEnough, Unavailable
from redkite.model import requests as rq
from redkite.model.types import LoadPriority, LoadState
from redkite.proxy.load_queue import LoadQueue
from redkite.proxy.loading import Loading
from redkite.simulated import simulated_env

LOW = LoadPriority.LOW


class Gate:
    """What holds the loads of one collection up."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.order: list[str] = []
        self._open: Future[None] = Future()
        held, order, opened = name, self.order, self._open
        reload = Loading._reload

        def slow(self: Loading, meta: Any, *args: Any, **more: Any) -> Any:
            if meta.name == held:
                opened.result(30)
            done = reload(self, meta, *args, **more)
            order.append(meta.name)
            return done

        monkeypatch.setattr(Loading, "_reload", slow)

    def open(self) -> None:
        self._open.set_result(None)


@pytest.fixture
def engine(tmp_path: Any) -> Iterator[Engine]:
    made = Engine(str(tmp_path / "db"))
    made.create()
    made.insert(range(3), np.eye(3, DIM), range(3))
    for name in ("slow", "late", "later", "quick"):
        made.call(rq.CreateCollection(schema=msgspec.structs.replace(schema(), name=name)))
        made.call(rq.CreateIndex(collection=name, field="vector", params={"index_type": "FLAT", "metric_type": "L2"}))
    yield made
    made.close()


def state(engine: Engine, name: str) -> LoadState:
    found: LoadState = engine.call(rq.GetLoadState(collection=name)).state
    return found


def percent(engine: Engine, name: str) -> int:
    return int(engine.call(rq.GetLoadingProgress(collection=name)).percent)


def finish(engine: Engine) -> None:
    """Until nothing waits any more."""
    worker = engine.database.service._load_queue._worker
    assert worker is not None
    worker.submit(lambda: None).result(30)


def test_low_loads_wait_for_one_that_runs_and_let_others_by(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate("slow", monkeypatch)
    tasks = engine.database.topology.env.tasks.executor("test", 1)
    running = tasks.submit(lambda: engine.call(rq.LoadCollection(collection="slow")))
    while not engine.database.service._load_queue._running:
        pass
    engine.call(rq.LoadCollection(collection="late", priority=LOW))
    engine.call(rq.LoadPartitions(collection="later", partitions=("_default",), priority=LOW))
    assert (state(engine, "late"), percent(engine, "late")) == (LoadState.Loading, 0)
    engine.call(rq.LoadCollection(collection="quick"))
    assert state(engine, "quick") is LoadState.Loaded
    assert (state(engine, "late"), state(engine, "later")) == (LoadState.Loading, LoadState.Loading)
    gate.open()
    running.result(30)
    finish(engine)
    assert gate.order == ["quick", "slow", "late", "later"]
    assert (percent(engine, "late"), state(engine, "later")) == (100, LoadState.Loaded)
    tasks.shutdown()


def test_a_low_load_that_is_not_wanted_any_more_is_not_made(engine: Engine) -> None:
    queue = engine.database.service._load_queue
    with queue.ahead():
        engine.call(rq.LoadCollection(collection="late", priority=LOW))
        engine.call(rq.ReleaseCollection(collection="late"))
        assert state(engine, "late") is LoadState.NotLoad
        engine.call(rq.LoadCollection(collection="later", priority=LOW))
        engine.call(rq.RenameCollection(collection="later", new_name="other"))
        engine.call(rq.LoadCollection(collection="quick", priority=LOW))
        engine.call(rq.DropCollection(collection="quick"))
    finish(engine)
    assert (state(engine, "late"), state(engine, "other")) == (LoadState.NotLoad, LoadState.Loaded)
    with pytest.raises(CollectionNotLoaded):
        percent(engine, "late")
    assert len(engine.database.topology.loads.entries()) == 2


def test_a_low_load_asked_for_anew_after_a_release_is_made_as_it_was_asked_last(engine: Engine) -> None:
    queue = engine.database.service._load_queue
    engine.call(rq.CreatePartition(collection="late", partition="p"))
    with queue.ahead():
        engine.call(rq.LoadCollection(collection="late", priority=LOW))
        engine.call(rq.ReleaseCollection(collection="late"))
        engine.call(rq.LoadPartitions(collection="late", partitions=("p",), priority=LOW))
    finish(engine)
    found = engine.call(rq.GetLoadState(collection="late", partitions=("_default",))).state
    assert (found, state(engine, "late")) == (LoadState.NotLoad, LoadState.Loaded)


def test_what_is_wrong_is_said_at_once_and_what_becomes_wrong_to_who_asks(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NodesNotEnough):
        engine.call(rq.LoadCollection(collection="late", replicas=5, priority=LOW))
    queue = engine.database.service._load_queue
    with queue.ahead():
        engine.call(rq.LoadCollection(collection="late", priority=LOW))
        loads = engine.database.topology.loads

        def full(*_: Any) -> None:
            raise Unavailable("the disk is full")

        monkeypatch.setattr(loads, "load", full)
    finish(engine)
    with pytest.raises(Unavailable, match="the disk is full"):
        percent(engine, "late")
    monkeypatch.undo()
    engine.call(rq.LoadCollection(collection="late"))
    assert percent(engine, "late") == 100


def test_a_collection_of_which_a_part_waits_is_not_told_as_loaded(engine: Engine) -> None:
    engine.call(rq.CreatePartition(collection="late", partition="p"))
    engine.call(rq.LoadPartitions(collection="late", partitions=("p",)))
    assert percent(engine, "late") == 100
    with engine.database.service._load_queue.ahead():
        engine.call(rq.LoadCollection(collection="late", priority=LOW))
        assert percent(engine, "late") == 50
    finish(engine)
    assert percent(engine, "late") == 100


def test_closing_waits_for_nobody_who_waits(engine: Engine) -> None:
    done: list[int] = []
    queue = LoadQueue(simulated_env(3))
    with queue.ahead():
        queue.put(1, None, lambda: done.append(1))
        queue.close()
    assert done == []
    with pytest.raises(Unavailable):
        queue.put(2, None, lambda: done.append(2))


def test_a_low_load_that_is_taken_back_as_it_begins_stays_taken_back(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = engine.database.service._load_queue
    begin = LoadQueue.begin

    def late(self: LoadQueue, *args: Any) -> bool:
        monkeypatch.setattr(LoadQueue, "begin", begin)
        engine.call(rq.ReleaseCollection(collection="late"))
        return begin(self, *args)

    monkeypatch.setattr(LoadQueue, "begin", late)
    with queue.ahead():
        engine.call(rq.LoadCollection(collection="late", priority=LOW))
    finish(engine)
    assert LoadQueue.begin is begin
    assert state(engine, "late") is LoadState.NotLoad


def test_partitions_that_are_released_while_they_wait_are_not_loaded(engine: Engine) -> None:
    queue = engine.database.service._load_queue
    for name in ("p", "q"):
        engine.call(rq.CreatePartition(collection="late", partition=name))
    engine.call(rq.CreatePartition(collection="later", partition="p"))
    with queue.ahead():
        engine.call(rq.LoadCollection(collection="late", priority=LOW))
        engine.call(rq.ReleasePartitions(collection="late", partitions=("p", "_default")))
        engine.call(rq.LoadPartitions(collection="later", partitions=("p",), priority=LOW))
        engine.call(rq.ReleasePartitions(collection="later", partitions=("p",)))
        assert state(engine, "later") is LoadState.NotLoad
    finish(engine)
    found = {
        name: engine.call(rq.GetLoadState(collection="late", partitions=(name,))).state
        for name in ("p", "q", "_default")
    }
    assert found == {"p": LoadState.NotLoad, "q": LoadState.Loaded, "_default": LoadState.NotLoad}
    assert state(engine, "later") is LoadState.NotLoad


def test_whatever_a_low_load_fails_with_is_told(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("lost")

    with engine.database.service._load_queue.ahead():
        engine.call(rq.LoadCollection(collection="late", priority=LOW))
        monkeypatch.setattr(Loading, "_load_now", broken)
    finish(engine)
    with pytest.raises(Unavailable, match="lost"):
        percent(engine, "late")
