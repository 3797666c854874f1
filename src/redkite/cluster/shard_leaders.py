"""Who leads the shards of a replica: the streaming nodes that own their channels, and not a query node."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from redkite.cluster.membership import NodeRecord
from redkite.coordinator.pchannels import PChannel
from redkite.model import placement as pl
from redkite.storage.log_channel_format import physical_name


def with_owners(
    answer: Callable[[pl.GetReplicas], pl.Replicas],
    channels: Callable[[], Mapping[str, PChannel]],
    node: Callable[[int], NodeRecord | None],
) -> Callable[[pl.GetReplicas], pl.Replicas]:
    """Answers as `answer` does, with the owner of each channel as its leader: 0 while it has none."""

    def shard(one: pl.ReplicaShard, known: Mapping[str, PChannel]) -> pl.ReplicaShard:
        channel = known.get(physical_name(one.channel))
        owner = node(channel.node_id) if channel is not None and channel.has_node else None
        return msgspec.structs.replace(
            one, leader_id=0 if owner is None else owner.node_id, leader_address="" if owner is None else owner.address
        )

    def answered(request: pl.GetReplicas) -> pl.Replicas:
        found, known = answer(request), channels()
        replicas = tuple(
            msgspec.structs.replace(replica, shards=tuple(shard(one, known) for one in replica.shards))
            for replica in found.replicas
        )
        return msgspec.structs.replace(found, replicas=replicas)

    return answered
