"""A write that meets the end of its partition."""

from __future__ import annotations

import numpy as np
from tests.engine import DIM, NAME, Engine

from redkite.model import requests as rq
from redkite.simulated import simulated_env


def test_rows_logged_after_their_partition_was_dropped_are_gone_with_it_before_and_after_a_restart() -> None:
    engine = Engine("db", simulated_env(21))
    engine.create()
    engine.call(rq.CreatePartition(collection=NAME, partition="p"))
    engine.call(rq.ReleasePartitions(collection=NAME, partitions=("p",)))
    vectors = np.eye(DIM, dtype=np.float32)
    engine.insert([1, 2], vectors[:2], [1, 2])
    topology = engine.database.topology
    meta = topology.root.find("", NAME)
    partition = meta.need_partition("p").partition_id
    shard = topology.shards(meta)[0]
    # As checked before the drop, and logged after it: key 2 moves to the partition, and goes with it.
    engine.call(rq.DropPartition(collection=NAME, partition="p"))
    rows = engine.batch([2, 3], vectors[2:4], [22, 33])
    logged = shard.insert(((partition, 2),), rows, topology.root.oracle.allocate, lambda timestamp: timestamp)
    assert logged.result() >= 0
    assert engine.numbers() == {1: 1}
    engine.reopen()
    assert engine.numbers() == {1: 1}
