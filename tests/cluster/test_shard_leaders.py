"""What a cluster says of its replicas and groups: who leads their shards, which nodes labels bring; and loads that
wait."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cluster.clusters import ClusterEngine
from tests.engine import DIM, NAME

from redkite.cluster.membership import labels_of
from redkite.cluster.shard_leaders import with_owners
from redkite.coordinator.pchannels import PChannel
from redkite.model import placement as pl
from redkite.model import requests as rq
from redkite.model.types import LoadPriority


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClusterEngine]:
    monkeypatch.setenv("MILVUS_SERVER_LABEL_zone", "east")
    made = ClusterEngine(str(tmp_path / "objects"))
    yield made
    made.close()


def test_the_owner_of_a_channel_leads_its_shard(engine: ClusterEngine) -> None:
    engine.create(shards=2, index="FLAT")
    owners = {running.node_id: running.node.address for running in engine.cluster.nodes("streaming")}
    (replica,) = engine.call(pl.GetReplicas(collection=NAME, with_shard_nodes=True)).replicas
    assert len(replica.shards) == 2
    for shard in replica.shards:
        assert owners[shard.leader_id] == shard.leader_address
        assert shard.leader_id not in replica.node_ids
        assert shard.node_ids == replica.node_ids


def test_a_group_takes_the_nodes_whose_labels_it_wants(engine: ClusterEngine) -> None:
    for zone, nodes in (("west", 0), ("east", 1)):
        wanted = pl.ResourceGroupConfig(requests=1, limits=1, node_labels=(("zone", zone),))
        engine.call(pl.CreateResourceGroup(name=zone, config=wanted))
        assert len(engine.call(pl.DescribeResourceGroup(name=zone)).nodes) == nodes, zone


def test_labels_are_the_variables_of_that_name() -> None:
    variables = {"MILVUS_SERVER_LABEL_zone": "a", "MILVUS_SERVER_LABEL_": "b", "X_MILVUS_SERVER_LABEL_c": "d", "e": "f"}
    assert labels_of(variables) == (("zone", "a"),)


def test_a_channel_without_an_owner_has_no_leader() -> None:
    shard = pl.ReplicaShard(channel="redkite-0_7v0", leader_id=3, leader_address="a:1", node_ids=(3,))
    replica: Any = pl.Replica(
        replica_id=1, collection_id=7, partition_ids=(), shards=(shard,), node_ids=(3,), group="g", outbound_nodes={}
    )
    homeless = {"redkite-0": PChannel(name="redkite-0")}
    answer = with_owners(lambda _: pl.Replicas(replicas=(replica,)), lambda: homeless, lambda _: None)
    (found,) = answer(pl.GetReplicas()).replicas
    assert [(one.leader_id, one.leader_address, one.node_ids) for one in found.shards] == [(0, "", (3,))]


def test_a_load_of_low_priority_is_made_by_whoever_leads(engine: ClusterEngine) -> None:
    engine.create(shards=2, index="FLAT")
    engine.insert(range(9), np.ones((9, DIM), np.float32), range(9))
    engine.call(rq.ReleaseCollection(collection=NAME))
    engine.call(rq.LoadCollection(collection=NAME, priority=LoadPriority.LOW))
    end = time.monotonic() + 120
    while engine.call(rq.GetLoadingProgress(collection=NAME)).percent < 100:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert engine.count() == 9
