"""One immutable view of a shard: what a read sees, and as of when."""

from __future__ import annotations

from dataclasses import dataclass

from redkite.node.peers import QueryPeer
from redkite.segment.growing import GrowingSegment


@dataclass(frozen=True, slots=True)
class Placement:
    """Sealed segments held by one query node."""

    peer: QueryPeer
    segments: tuple[tuple[int, int], ...]
    """(partition id, segment id)"""
    all_ids: tuple[int, ...]

    def within(self, partitions: frozenset[int] | None) -> tuple[int, ...]:
        if partitions is None:
            return self.all_ids
        return tuple(segment for partition, segment in self.segments if partition in partitions)


@dataclass(frozen=True, slots=True)
class ShardView:
    """`timestamp`: every write up to it is in, none after it may be seen. Each row is in exactly one segment."""

    timestamp: int
    growing: tuple[GrowingSegment, ...]
    placements: tuple[Placement, ...]

    def growing_in(self, partitions: frozenset[int] | None) -> list[GrowingSegment]:
        return [g for g in self.growing if g.rows and (partitions is None or g.partition_id in partitions)]
