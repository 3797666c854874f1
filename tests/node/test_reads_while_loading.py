"""Reads of a collection while more of it is loaded, and of one whose load state changes while they are planned."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from tests.engine import DIM, NAME, Engine

from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.loads import QueryCoordinator
from redkite.errors import CollectionNotFullyLoaded
from redkite.model import requests as rq
from redkite.model.segments import ChannelState
from redkite.node.querying import QueryNode
from redkite.node.shard import Shard
from redkite.proxy.reads import Reads

VECTORS = np.random.default_rng(3).normal(size=(40, DIM)).astype(np.float32)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Rows 0 to 19, which are loaded, and 20 to 39 in partition p, which are not; all of them sealed."""
    engine = Engine(str(tmp_path / "a.db"))
    engine.create(index="FLAT")
    engine.call(rq.CreatePartition(collection=NAME, partition="p"))
    engine.insert(range(20), VECTORS[:20], range(20))
    engine.insert(range(20, 40), VECTORS[20:], range(20), partition="p")
    engine.flush()
    engine.call(rq.ReleaseCollection(collection=NAME))
    engine.call(rq.LoadPartitions(collection=NAME, partitions=("_default",)))
    yield engine
    engine.close()


def found(engine: Engine, **more: Any) -> set[int]:
    return set(engine.search(VECTORS[0], 40, **more).ids.to_pylist())


@contextmanager
def being_loaded(monkeypatch: pytest.MonkeyPatch, engine: Engine, load: rq.Request) -> Iterator[Event]:
    """Have segments take until the end to be opened; or until the event is set."""
    entered, go_on, opened = Event(), Event(), QueryNode.load_segment

    def late(self: QueryNode, *given: Any) -> Any:
        entered.set()
        assert go_on.wait(60)
        return opened(self, *given)

    monkeypatch.setattr(QueryNode, "load_segment", late)
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(engine.call, load)
        try:
            assert entered.wait(60)
            yield go_on
        finally:
            go_on.set()
        loading.result(60)


@pytest.mark.parametrize("whole", [False, True])
def test_what_is_loaded_is_read_while_more_is_loaded_and_the_rest_after_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    load = rq.LoadCollection(collection=NAME) if whole else rq.LoadPartitions(collection=NAME, partitions=("p",))
    with being_loaded(monkeypatch, engine, load):
        assert found(engine) == set(range(20))
        assert engine.count() == 20
        assert found(engine, partitions=("_default",)) == set(range(20))
    assert found(engine) == set(range(40))
    assert engine.count() == 40


def test_who_names_a_partition_that_is_being_loaded_is_told_to_come_back(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = rq.LoadPartitions(collection=NAME, partitions=("p",))
    with being_loaded(monkeypatch, engine, load):
        for read in (
            lambda: found(engine, partitions=("p",)),
            lambda: engine.query("id >= 0", fields=("id",), partitions=("p",)),
            lambda: engine.delete("number == 3"),
        ):
            with pytest.raises(CollectionNotFullyLoaded, match="partition not fully loaded") as caught:
                read()
            assert (caught.value.code, caught.value.retriable) == (202, True)
    assert found(engine, partitions=("p",)) == set(range(20, 40))


def test_who_meets_segments_that_are_being_opened_waits_for_them(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a read does that was planned before they were released, and looks when they are loaded again."""
    asked, taken = Event(), Shard._served_again

    def waits(self: Shard, *given: Any) -> Any:
        asked.set()
        return taken(self, *given)

    monkeypatch.setattr(Shard, "_served_again", waits)
    monkeypatch.setattr(QueryCoordinator, "arriving_partitions", lambda *_: frozenset())
    load = rq.LoadPartitions(collection=NAME, partitions=("p",))
    with ThreadPoolExecutor(1) as pool:
        with being_loaded(monkeypatch, engine, load) as go_on:
            reading = pool.submit(found, engine, partitions=("p",))
            assert asked.wait(60)
            go_on.set()
        assert reading.result(60) == set(range(20, 40))


def test_a_search_that_was_planned_while_more_was_loaded_is_planned_anew(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = Reads._partitions

    def then_loaded(self: Reads, *given: Any) -> Any:
        partitions = chosen(self, *given)
        monkeypatch.setattr(Reads, "_partitions", chosen)
        engine.call(rq.LoadPartitions(collection=NAME, partitions=("p",)))
        return partitions

    monkeypatch.setattr(Reads, "_partitions", then_loaded)
    assert found(engine) == set(range(20))
    assert found(engine) == set(range(40))


def test_a_channel_whose_flush_ends_just_now_is_not_taken_for_one_that_is_to_be_opened_anew(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen by somebody who reads what was committed before the shard has taken it over, and looks again after that."""
    topology = engine.database.topology
    (shard,) = topology.own_shards(topology.root.find("", NAME))
    known = shard._state

    class Committed(ChannelState, frozen=True):
        def __ne__(self, other: object) -> bool:
            shard._state = self  # the flush ends between two looks
            return True

    with monkeypatch.context() as patch:
        patch.setattr(DataCoordinator, "channel_state", lambda *_: Committed(checkpoint=known.checkpoint + 1))
        assert not shard.is_parted
        patch.setattr(DataCoordinator, "channel_state", lambda *_: ChannelState(checkpoint=known.checkpoint + 2))
        assert shard.is_parted
    shard._state = known
