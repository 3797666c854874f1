"""What the log keeps for readers of change feeds that have no name, over restarts and new leaders."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cluster.clusters import ClusterEngine
from tests.engine import DIM, NAME, Engine

from redkite.cluster.in_process import Running
from redkite.cluster.roles.coordinator import CoordinatorRole
from redkite.coordinator.root import RootCoordinator
from redkite.errors import Unavailable
from redkite.model import changes as ch
from redkite.model import requests as rq
from redkite.proxy import feed


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(str(tmp_path / "data"))
    yield made
    made.close()


def insert(engine: Engine, *keys: int) -> None:
    engine.insert(list(keys), np.zeros((len(keys), DIM), np.float32), list(keys))


def told(engine: Engine, reader: int, position: str, collection: str = NAME) -> tuple[list[ch.Change], str]:
    """Everything behind a position, and the position behind that."""
    found: list[ch.Change] = []
    while True:
        page = engine.call(ch.ReadChanges(collection=collection, reader=reader, position=position))
        found += page.changes
        position = page.end
        if not page.more:
            return found, position


def keys(engine: Engine, reader: int, position: str) -> tuple[list[int], str]:
    found, position = told(engine, reader, position)
    return [key for change in found if change.keys is not None for key in change.keys.to_pylist()], position


def test_a_reader_that_is_quick_to_come_back_takes_nothing_from_one_that_is_slow(engine: Engine) -> None:
    engine.create()
    slow, fast = keys(engine, 1, "")[1], keys(engine, 2, "")[1]
    insert(engine, 1, 2)
    found, fast = keys(engine, 2, fast)
    assert found == [1, 2]
    engine.reopen()
    fast = keys(engine, 2, fast)[1]
    insert(engine, 3)
    fast = keys(engine, 2, fast)[1]
    engine.flush()
    insert(engine, 4)
    assert keys(engine, 1, slow)[0] == [1, 2, 3, 4]
    assert keys(engine, 2, fast)[0] == [4]


def test_a_feed_that_begins_while_a_collection_is_made_follows_that_too(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who makes it has committed it, and not shown it yet."""
    take, committed, go_on = RootCoordinator._take, threading.Event(), threading.Event()

    def late(self: RootCoordinator, *changed: Any) -> None:
        committed.set()
        assert go_on.wait(20)
        take(self, *changed)

    with monkeypatch.context() as making, ThreadPoolExecutor(2) as others:
        making.setattr(RootCoordinator, "_take", late)
        made = others.submit(engine.create)
        assert committed.wait(20)
        begun = others.submit(engine.call, ch.ReadChanges(database="default"))
        with pytest.raises(FutureTimeout):
            begun.result(0.2)
        go_on.set()
        made.result(20)
        position = begun.result(20).end
    insert(engine, 1)
    page = engine.call(ch.ReadChanges(database="default", position=position))
    assert [key for change in page.changes if change.keys is not None for key in change.keys.to_pylist()] == [1]


def test_a_feed_does_not_wait_for_ever_for_a_collection_to_be_shown(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_SHOWN_LIMIT", 0.05)
    monkeypatch.setattr(RootCoordinator, "is_current", False)
    with pytest.raises(Unavailable, match="not shown here yet: try again"):
        engine.call(ch.ReadChanges(database="default"))


@pytest.mark.timeout(120)
def test_a_reader_without_a_name_goes_on_under_another_leader(tmp_path: Path) -> None:
    engine = ClusterEngine(str(tmp_path / "objects"), coordinators=2, pchannels=1)
    try:
        engine.create()
        insert(engine, 1)
        engine.flush()  # the log of the channel that the next one shares begins behind this
        position = told(engine, 1, "", collection="")[1]
        engine.cluster.kill(next(one for one in engine.cluster.nodes("coordinator") if leads(one)))
        engine.call(rq.DropCollection(collection=NAME))
        engine.create()
        insert(engine, 7)
        engine.flush()
        insert(engine, 8)
        found = told(engine, 1, position, collection="")[0]
        assert [c.kind for c in found] == ["collection_dropped", "collection_created", "upsert", "upsert"]
        assert [c.keys.to_pylist() for c in found if c.keys is not None] == [[7], [8]]
    finally:
        engine.close()


def leads(running: Running) -> bool:
    return isinstance(running.node, CoordinatorRole) and running.node.leading is not None
