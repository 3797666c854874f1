"""Who may answer a read when nobody can say who owns a shard, as when etcd is away for longer than a lease."""

from __future__ import annotations

from math import inf
from typing import Final

from redkite.coordinator.meta import CollectionMeta
from redkite.model import requests as rq
from redkite.model.types import ConsistencyLevel
from redkite.node.face import ShardFace
from redkite.node.topology import Topology

BOUND_SECONDS: Final = 5.0
"""What was overwritten longer ago is not shown to reads at Bounded."""
_LEVEL_STAMPS: Final = 2
"""Milvus's clients say Eventually and Bounded by the timestamps 1 and 2 as well; larger ones are timestamps."""


def lapse_of(meta: CollectionMeta, request: rq.Search | rq.Query | rq.HybridSearch) -> float | None:
    """For how many seconds after its lease who was the owner may answer. Nobody else can have been given the shard
    before the lease was over, so what its owner had then was the newest."""
    if request.as_of or request.guarantee_timestamp > _LEVEL_STAMPS:
        return None
    level = meta.consistency_level if request.consistency_level is None else request.consistency_level
    if level is ConsistencyLevel.Eventually:
        return inf
    return BOUND_SECONDS if level is ConsistencyLevel.Bounded else None


def shards_to_read(
    topology: Topology, meta: CollectionMeta, request: rq.Search | rq.Query | rq.HybridSearch
) -> list[ShardFace]:
    """The shards of a collection, to be read as a request allows."""
    shards = topology.shards(meta)
    lapse = lapse_of(meta, request) if shards and shards[0].settles_reads else None
    return [*shards] if lapse is None else [shard.lenient(lapse) for shard in shards]
