"""Flushes of a whole cluster: data nodes write the segments, whatever becomes of them, and leave nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tests.cluster.clusters import ClusterEngine
from tests.engine import DIM, NAME

from redkite.cluster import data_work
from redkite.cluster.in_process import MemoryNodes
from redkite.cluster.roles.coordinator import CoordinatorRole
from redkite.cluster.roles.data import DataRole
from redkite.coordinator import shared_garbage
from redkite.errors import Unavailable
from redkite.model import requests as rq

ROWS = 400
VECTORS = np.random.default_rng(4).normal(size=(ROWS, DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterEngine]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(data_work, "LEAST_BYTES", 1)
        made = ClusterEngine(str(tmp_path_factory.mktemp("flushes") / "objects"), streaming=1, query=1, data=2)
        made.create(index="FLAT")
        yield made
        made.close()


def objects(engine: ClusterEngine) -> set[str]:
    world = engine.cluster.world
    assert isinstance(world, MemoryNodes)
    env = world.env("test")
    return set(world.backends(env, "test").objects().list("segments/"))


def benches(engine: ClusterEngine) -> list[Any]:
    found = []
    for running in engine.cluster.nodes("data"):
        assert isinstance(running.node, DataRole)
        found.append(running.node.bench)
    return found


def test_a_flush_is_done_by_a_data_node_and_its_rows_are_read_and_replaced_as_any(engine: ClusterEngine) -> None:
    ids = list(range(ROWS))
    engine.insert(ids, VECTORS, ids)
    engine.flush()
    assert sum(bench.done for bench in benches(engine)) == 1
    assert sum("/rows-" in name for name in objects(engine)) == 1
    engine.call(rq.Upsert(collection=NAME, rows=engine.batch([3], VECTORS[[3]], [1003])))
    engine.delete("id in [4, 5]")
    expected = {i: i for i in ids if i not in (4, 5)} | {3: 1003}
    assert engine.numbers() == expected
    engine.flush()
    assert engine.numbers() == expected
    assert engine.search(VECTORS[7], 1).ids.to_pylist() == [7]


def test_what_a_try_has_left_that_was_given_up_is_removed_and_nothing_else(
    engine: ClusterEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = [bench.place for bench in benches(engine)]

    def silent(place: Any) -> Any:
        def work(message: Any, wanted: Any) -> Any:
            place(message, wanted)
            raise Unavailable("it was written, and nobody hears of it")

        return work

    before = engine.numbers()
    for bench in benches(engine):
        bench.place = silent(bench.place)
    engine.insert([1000], VECTORS[[0]], [7])
    engine.flush()
    for bench, place in zip(benches(engine), usual, strict=True):
        bench.place = place
    (coordinator,) = engine.cluster.nodes("coordinator")
    assert isinstance(coordinator.node, CoordinatorRole)
    leading = coordinator.node.leading
    assert leading is not None
    named = set(leading.metadata.data.object_names())
    left = objects(engine) - named
    assert sum("/rows-" in name for name in left) == 2
    monkeypatch.setattr(shared_garbage, "ORPHAN_SECONDS", 0)
    leading._collector.sweep()
    assert objects(engine) & left == set()
    assert named <= objects(engine)
    assert engine.numbers() == before | {1000: 7}
