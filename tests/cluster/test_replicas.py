"""Replicas, resource groups and balance in a whole cluster: what a client asks of a proxy, and what nodes then do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.cluster.clusters import ClusterEngine
from tests.cluster.query_nodes import until
from tests.engine import DIM, NAME

from redkite.cluster.in_process import SMALL
from redkite.cluster.roles.query import QueryRole
from redkite.config import Settings
from redkite.errors import NodesNotEnough
from redkite.model import placement as pl
from redkite.model import requests as rq
from redkite.model.schema import DEFAULT_RESOURCE_GROUP

ROWS = 300


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ClusterEngine]:
    made = ClusterEngine(str(tmp_path / "objects"), query=3)
    yield made
    made.close()


def filled(engine: ClusterEngine, shards: int = 2) -> np.ndarray:
    engine.create(index="FLAT", shards=shards)
    vectors = np.random.default_rng(3).normal(size=(ROWS, DIM)).astype(np.float32)
    for at in range(0, ROWS, 100):
        engine.insert(range(at, at + 100), vectors[at : at + 100], range(at, at + 100))
        engine.flush()
    return vectors


def held(engine: ClusterEngine) -> dict[int, set[int]]:
    """Query node -> the segments that it holds."""
    nodes = [running.node for running in engine.cluster.nodes("query")]
    return {node.node_id: set(node.held) for node in nodes if isinstance(node, QueryRole)}


def loaded(engine: ClusterEngine) -> dict[int, set[int]]:
    """Segment -> the query nodes that answer for it, as clients are told."""
    found: dict[int, set[int]] = {}
    for info in engine.call(rq.ListLoadedSegments(collection=NAME)).segments:
        if info.state.name != "Growing":
            found.setdefault(info.segment_id, set()).update(info.node_ids)
    return found


def replicas(engine: ClusterEngine) -> list[Any]:
    return list(engine.call(pl.GetReplicas(collection=NAME)).replicas)


def test_two_replicas_answer_and_one_may_go(engine: ClusterEngine) -> None:
    vectors = filled(engine)
    engine.call(rq.LoadCollection(collection=NAME, replicas=2))
    first, second = replicas(engine)
    assert not set(first.node_ids) & set(second.node_ids)
    assert len({*first.node_ids, *second.node_ids}) == 3
    until(lambda: all(len(nodes) == 2 for nodes in loaded(engine).values()))
    victim = engine.cluster.nodes("query")[0]
    engine.cluster.kill(victim)
    assert engine.count() == ROWS
    assert engine.search(vectors[7], 1).ids.to_pylist() == [7]
    until(lambda: all(len(nodes - {victim.node_id}) == 2 for nodes in loaded(engine).values()))
    until(lambda: all(victim.node_id not in replica.node_ids for replica in replicas(engine)))


def test_the_only_replica_is_placed_anew_while_a_read_waits(engine: ClusterEngine) -> None:
    filled(engine)
    engine.delete("number in [1, 2]")
    for _ in range(2):
        engine.cluster.kill(engine.cluster.nodes("query")[0])
        assert engine.count() == ROWS - 2


def test_a_query_node_that_is_drained_fails_no_read(engine: ClusterEngine) -> None:
    filled(engine)
    drained = engine.cluster.nodes("query")[0]
    role = drained.node
    assert isinstance(role, QueryRole)
    env = engine.cluster.world.env("reader")
    wrong: list[Any] = []
    stop = False

    def read() -> None:
        while not stop:
            try:
                found = engine.count()
                if found != ROWS:
                    wrong.append(found)
            except Exception as error:  # noqa: BLE001  whatever it is
                wrong.append(error)

    reading = env.tasks.executor("reader", 1).submit(read)
    role.drain(20)
    engine.cluster.stop(drained)
    time.sleep(0.3)
    stop = True
    reading.result()
    assert not wrong
    assert drained.node_id not in held(engine)


def test_a_new_node_is_used_and_more_replicas_than_nodes_are_refused(engine: ClusterEngine) -> None:
    filled(engine)
    with pytest.raises(NodesNotEnough, match=r"currentNodeNum=3.*expectedNodeNum=4"):
        engine.call(rq.LoadCollection(collection=NAME, replicas=4))
    fourth = engine.cluster.start_node("query")
    until(lambda: len(engine.call(pl.DescribeResourceGroup(name=DEFAULT_RESOURCE_GROUP)).nodes) == 4)
    engine.call(rq.LoadCollection(collection=NAME, replicas=4))
    assert all(len(nodes) == 4 for nodes in loaded(engine).values())
    assert held(engine)[fourth.node_id]
    engine.call(rq.LoadCollection(collection=NAME, replicas=1))
    until(lambda: all(len(nodes) == 1 for nodes in loaded(engine).values()))
    assert engine.count() == ROWS


def test_groups_and_replicas_are_transferred(engine: ClusterEngine) -> None:
    vectors = filled(engine)
    engine.call(pl.CreateResourceGroup(name="mine", config=pl.ResourceGroupConfig(requests=1, limits=1)))
    (mine,) = (node.node_id for node in engine.call(pl.DescribeResourceGroup(name="mine")).nodes)
    engine.call(pl.TransferReplica(source=DEFAULT_RESOURCE_GROUP, target="mine", collection=NAME, replicas=1))
    assert set.union(*loaded(engine).values()) == {mine}
    (replica,) = replicas(engine)
    assert (replica.group, replica.node_ids) == ("mine", (mine,))
    engine.call(pl.TransferNode(source=DEFAULT_RESOURCE_GROUP, target="mine", nodes=1))
    assert len(engine.call(pl.DescribeResourceGroup(name="mine")).nodes) == 2
    assert engine.search(vectors[250], 1).ids.to_pylist() == [250]
    engine.cluster.kill(next(r for r in engine.cluster.nodes("query") if r.node_id == mine))
    assert engine.count() == ROWS


def test_segments_are_moved_by_hand(engine: ClusterEngine) -> None:
    filled(engine)
    source = next(iter(set.union(*loaded(engine).values())))
    engine.call(pl.LoadBalance(collection=NAME, source=source))
    assert source not in set.union(*loaded(engine).values())
    assert engine.count() == ROWS


def test_what_is_dropped_leaves_nodes_and_then_the_store(tmp_path: Path) -> None:
    config = msgspec.structs.replace(SMALL, settings=Settings(garbage_seconds=1.0))
    engine = ClusterEngine(str(tmp_path / "objects"), config)
    try:
        filled(engine)
        assert engine.delete("number < 50").count == 50
        engine.flush()
        assert list((tmp_path / "objects" / "segments").rglob("*.arrow"))
        engine.call(rq.DropCollection(collection=NAME))
        until(lambda: not any(held(engine).values()))
        until(lambda: not list((tmp_path / "objects" / "segments").rglob("*.*")))
    finally:
        engine.close()


def test_no_object_goes_that_a_stopped_but_living_node_may_read(tmp_path: Path) -> None:
    config = msgspec.structs.replace(SMALL, settings=Settings(garbage_seconds=1.0))
    engine = ClusterEngine(str(tmp_path / "objects"), config)
    try:
        filled(engine)
        node = engine.cluster.nodes("query")[0].node
        assert isinstance(node, QueryRole)
        used = node._used()
        assert used
        node._releasing._used = lambda: used  # type: ignore[union-attr]  # it does not let go
        engine.call(rq.DropCollection(collection=NAME))
        time.sleep(4)
        there = {str(path.relative_to(tmp_path / "objects")) for path in (tmp_path / "objects").rglob("*.*")}
        assert used <= there
    finally:
        engine.close()
