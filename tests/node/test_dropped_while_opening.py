"""A partition, or a collection, that is dropped while a shard reads its log leaves nothing behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cluster.clusters import ClusterEngine
from tests.engine import DIM, NAME, Engine

from redkite.errors import CollectionNotFound, MilvusException
from redkite.model import requests as rq
from redkite.node.implied import drop_gone_partitions
from redkite.node.shard import Shard


def filled(engine: Engine) -> None:
    engine.create()
    engine.call(rq.CreatePartition(collection=NAME, partition="p"))
    engine.insert(range(5), np.zeros((5, DIM), np.float32), range(5), partition="p")
    engine.insert(range(5, 8), np.zeros((3, DIM), np.float32), range(3))
    engine.call(rq.ReleasePartitions(collection=NAME, partitions=("p",)))


class Held:
    """Stops whoever opens a shard next, when it has read the log."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.goes_on = threading.Event(), threading.Event()
        whole = Shard.__init__

        def held(shard: Shard, *args: Any, **more: Any) -> None:
            whole(shard, *args, **more)
            if not self.reached.is_set():
                self.reached.set()
                assert self.goes_on.wait(30)

        monkeypatch.setattr(Shard, "__init__", held)


def check(engine: Engine) -> None:
    engine.flush()
    segments = engine.call(rq.ListPersistentSegments(collection=NAME)).segments
    assert sum(segment.num_rows for segment in segments) == 3


def test_a_partition_that_comes_while_those_that_went_are_looked_for_keeps_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(str(tmp_path / "data"))
    filled(engine)
    topology, growing = engine.database.topology, Shard.growing
    (shard,) = topology.own_shards(topology.root.find("", NAME))

    def comes(self: Shard) -> Any:
        monkeypatch.setattr(Shard, "growing", growing)
        engine.call(rq.CreatePartition(collection=NAME, partition="q"))
        engine.insert(range(20, 24), np.zeros((4, DIM), np.float32), range(4), partition="q")
        return growing(self)

    monkeypatch.setattr(Shard, "growing", comes)
    drop_gone_partitions(topology.data, topology.garbage, shard)
    engine.call(rq.LoadPartitions(collection=NAME, partitions=("q",)))
    assert engine.query("", fields=("count(*)",), partitions=("q",))["count(*)"] == [4]
    engine.close()


def test_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(str(tmp_path / "data"))
    filled(engine)
    engine.reopen()
    held = Held(monkeypatch)
    reader = threading.Thread(target=lambda: engine.query("id >= 0", fields=("id",)))
    reader.start()
    assert held.reached.wait(30)
    engine.call(rq.DropPartition(collection=NAME, partition="p"))
    held.goes_on.set()
    reader.join()
    check(engine)
    engine.close()


def test_of_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ClusterEngine(str(tmp_path / "objects"), streaming=1, pchannels=1, lease_seconds=1.0)
    try:
        filled(engine)
        (only,) = engine.cluster.nodes("streaming")
        held = Held(monkeypatch)
        node: Any = only.node
        shard = node.node.shards()[0]
        node.reopen(shard)  # its next use opens it anew
        reader = threading.Thread(target=lambda: engine.query("id >= 0", fields=("id",)))
        reader.start()
        assert held.reached.wait(30)
        engine.call(rq.DropPartition(collection=NAME, partition="p"))
        held.goes_on.set()
        reader.join()
        check(engine)
    finally:
        engine.close()


# -- a collection that is dropped ---------------------------------------------------------------
def dropped_meanwhile(engine: Engine, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[str], object]) -> str:
    """Drop the collection, and do something when its log is gone and the catalog still has its records."""
    topology = engine.database.topology
    (channel,) = topology.root.find("", NAME).channels
    whole = topology.data.drop_collection

    def held(*args: Any) -> None:
        meanwhile(channel)
        whole(*args)

    monkeypatch.setattr(topology.data, "drop_collection", held)
    engine.call(rq.DropCollection(collection=NAME))
    return channel


def test_a_writer_that_found_a_collection_before_it_was_dropped_is_told_that_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(str(tmp_path / "data"))
    filled(engine)
    engine.flush()
    engine.insert(range(20, 23), np.zeros((3, DIM), np.float32), range(3))
    topology = engine.database.topology
    meta = topology.root.find("", NAME)
    found: list[BaseException] = []

    def late(channel: str) -> None:
        with pytest.raises(CollectionNotFound) as refused:
            topology.owner(channel).shard(meta, channel)
        found.append(refused.value)

    channel = dropped_meanwhile(engine, monkeypatch, late)
    assert len(found) == 1
    assert not (tmp_path / "data" / "log" / channel).exists()
    engine.create()
    engine.insert(range(5), np.zeros((5, DIM), np.float32), range(5))
    assert engine.query("id >= 0", fields=("id",)) == {"id": [0, 1, 2, 3, 4]}
    engine.close()


def test_a_collection_that_is_dropped_while_a_shard_of_it_is_opened_leaves_no_shard_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(str(tmp_path / "data"))
    filled(engine)
    engine.reopen()
    topology = engine.database.topology
    (channel,) = topology.root.find("", NAME).channels
    held = Held(monkeypatch)

    def read() -> None:
        with suppress(MilvusException):  # that it is gone
            engine.query("id >= 0", fields=("id",))

    reader = threading.Thread(target=read)
    reader.start()
    assert held.reached.wait(30)
    dropper = threading.Thread(target=topology.owner(channel).drop_channel, args=(channel,))
    dropper.start()
    dropper.join(1.0)  # it waits, or is done too soon
    held.goes_on.set()
    dropper.join()
    reader.join()
    assert topology.owner(channel).open_shard(channel) is None
    assert not (tmp_path / "data" / "log" / channel).exists()
    engine.close()
