"""Rows and checksums of collections, to see whether two copies of them are the same."""

from __future__ import annotations

from redkite.model import replication as rp
from redkite.node.topology import Topology
from redkite.proxy.feed_reading import shard_of


def totals(topology: Topology, timestamp: int = 0, *, checksums: bool = False) -> rp.Totals:
    """Of every collection, now or at a time. For checksums, or at a time, what grows is sealed first."""
    found = []
    for meta in topology.root.all_collections():
        rows, checksum = 0, 0
        for shard in topology.shards(meta):
            counted = (shard.rows(), 0)
            if timestamp or checksums:
                counted = shard_of(topology, meta, shard.channel).count_changes(timestamp)
            rows, checksum = rows + counted[0], (checksum + counted[1]) % (1 << 63)
        found.append(rp.Total(database=meta.database, collection=meta.name, rows=rows, checksum=checksum))
    users = tuple(sorted(user.name for user in topology.access.users()))
    return rp.Totals(totals=tuple(found), users=users, timestamp=topology.root.oracle.now())
