"""Resource groups with several query nodes: what is loaded lives on the nodes of its group, and follows them."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from tests.cluster.test_topology import nearest
from tests.engine import DIM, NAME, Engine

from redkite.errors import CollectionNotFullyLoaded, NodesNotEnough
from redkite.model import placement as pl
from redkite.model import requests as rq
from redkite.model.schema import DEFAULT_RESOURCE_GROUP
from redkite.model.types import LoadState
from redkite.simulated import simulated_env

DEFAULT = DEFAULT_RESOURCE_GROUP


def wants(nodes: int) -> pl.ResourceGroupConfig:
    return pl.ResourceGroupConfig(requests=nodes, limits=nodes)


def held(engine: Engine) -> dict[int, int]:
    """Query node -> segments it holds."""
    return {node.node_id: len(node._segments) for node in engine.database.topology.querying}


@pytest.fixture
def engine() -> Any:
    made = Engine("db", simulated_env(3), {"query_nodes": 3})
    made.create(shards=2, index="FLAT")
    return made


def filled(engine: Engine, count: int = 400) -> np.ndarray:
    vectors = np.random.default_rng(5).normal(size=(count, DIM)).astype(np.float32)
    engine.insert(range(count), vectors, range(count))
    engine.flush()
    return vectors


def test_segments_follow_the_node_that_their_group_has(engine: Engine) -> None:
    vectors = filled(engine)
    engine.call(pl.CreateResourceGroup(name="mine", config=wants(1)))
    (node,) = (n.node_id for n in engine.call(pl.DescribeResourceGroup(name="mine")).nodes)
    assert held(engine)[node] == 0, "the node left the group that the collection lives in"
    assert sum(held(engine).values()) == 2
    engine.call(pl.TransferReplica(source=DEFAULT, target="mine", collection=NAME, replicas=1))
    assert held(engine) == {n: 2 * (n == node) for n in (1, 2, 3)}
    (replica,) = engine.call(pl.GetReplicas(collection=NAME)).replicas
    assert (replica.group, replica.node_ids, replica.outbound_nodes) == ("mine", (node,), {})
    hits = engine.search(vectors[7], 10)
    assert hits.ids.to_pylist() == nearest(vectors, vectors[7], 10)


def test_deletes_are_with_the_segments_wherever_they_go(engine: Engine) -> None:
    filled(engine)
    engine.delete("number < 100")
    engine.call(pl.CreateResourceGroup(name="mine", config=wants(2)))
    engine.call(pl.TransferReplica(source=DEFAULT, target="mine", collection=NAME, replicas=1))
    assert engine.count() == 300
    engine.delete("number >= 350")
    assert engine.count() == 250
    engine.call(pl.UpdateResourceGroups(configs={"mine": wants(1)}))
    assert engine.count() == 250
    engine.reopen()
    assert engine.count() == 250
    assert [r.group for r in engine.call(pl.GetReplicas(collection=NAME)).replicas] == ["mine"]


def test_segments_sealed_later_go_to_the_group_too(engine: Engine) -> None:
    engine.call(pl.CreateResourceGroup(name="mine", config=wants(1)))
    engine.call(rq.LoadCollection(collection=NAME, resource_groups=("mine",)))
    (node,) = (n.node_id for n in engine.call(pl.DescribeResourceGroup(name="mine")).nodes)
    filled(engine)
    assert held(engine) == {n: 2 * (n == node) for n in (1, 2, 3)}
    segments = engine.call(rq.ListLoadedSegments(collection=NAME)).segments
    assert {segment.node_ids for segment in segments} == {(node,)}


def test_a_group_without_nodes_is_served_by_the_others(engine: Engine) -> None:
    filled(engine)
    engine.call(pl.CreateResourceGroup(name="mine", config=wants(1)))
    engine.call(pl.TransferReplica(source=DEFAULT, target="mine", collection=NAME, replicas=1))
    engine.call(pl.UpdateResourceGroups(configs={"mine": wants(0)}))
    assert engine.count() == 400
    (replica,) = engine.call(pl.GetReplicas(collection=NAME)).replicas
    assert replica.outbound_nodes == {DEFAULT: 3}
    assert engine.call(pl.DescribeResourceGroup(name="mine")).outgoing_nodes == {NAME: 3}


def test_reads_are_right_while_nodes_go_to_and_fro(engine: Engine) -> None:
    filled(engine)
    engine.call(pl.CreateResourceGroup(name="mine", config=None))
    stop, wrong = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            count = engine.count()
            if count != 400:
                wrong.append(count)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for turn in range(60):
            engine.call(pl.UpdateResourceGroups(configs={"mine": wants(1 + turn % 2)}))
            where = (DEFAULT, "mine") if turn % 4 == 1 else ("mine", DEFAULT)
            if turn % 2:
                engine.call(pl.TransferReplica(source=where[0], target=where[1], collection=NAME, replicas=1))
    finally:
        stop.set()
        reader.join()
    assert not wrong


def test_two_replicas_have_nodes_of_their_own_and_each_the_whole(engine: Engine) -> None:
    vectors = filled(engine)
    engine.call(rq.LoadCollection(collection=NAME, replicas=2))
    replicas = engine.call(pl.GetReplicas(collection=NAME)).replicas
    assert sorted(node for replica in replicas for node in replica.node_ids) == [1, 2, 3]
    segments = len(engine.database.topology.data.segments(replicas[0].collection_id))
    assert sum(held(engine).values()) == 2 * segments
    assert engine.search(vectors[7], 3).ids.to_pylist() == nearest(vectors, vectors[7], 3)
    engine.call(rq.LoadCollection(collection=NAME, replicas=1))
    assert sum(held(engine).values()) == segments
    with pytest.raises(NodesNotEnough):
        engine.call(rq.LoadCollection(collection=NAME, replicas=4))


def test_what_is_on_its_way_is_loading_and_not_read(engine: Engine) -> None:
    filled(engine)
    loads = engine.database.topology.loads
    number = engine.database.topology.root.find("", NAME).collection_id
    with loads.loading(number, 4) as progress:
        progress.done = 1
        assert engine.call(rq.GetLoadState(collection=NAME)).state is LoadState.Loading
        assert engine.call(rq.GetLoadingProgress(collection=NAME)).percent == 25
        (brief,) = engine.call(rq.ShowCollections(loaded_only=True)).collections
        assert brief.loaded_percent == 25
        (part,) = engine.call(rq.ShowPartitions(collection=NAME)).partitions
        assert part.loaded_percent == 25
        with pytest.raises(CollectionNotFullyLoaded, match="collection not fully loaded") as caught:
            engine.count()
        assert (caught.value.code, caught.value.retriable) == (103, True)
        with pytest.raises(CollectionNotFullyLoaded):
            engine.call(pl.LoadBalance(collection=NAME, source=1))
        progress.done = 4
        assert engine.call(rq.GetLoadingProgress(collection=NAME)).percent == 99, "it is over when it is over"
    assert engine.call(rq.GetLoadState(collection=NAME)).state is LoadState.Loaded
    assert engine.count() == 400
