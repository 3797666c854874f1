"""One immutable view of a shard: what a read sees, and as of when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from redkite.errors import InvalidParameter
from redkite.model.segments import SegmentMeta
from redkite.node.peers import QueryPeer
from redkite.query.plan import QueryPartial, QueryPlan, SearchPartial, SearchPlan
from redkite.segment.growing import GrowingSegment

P = TypeVar("P", SearchPartial, QueryPartial)


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
    """`timestamp`: every write up to it is in. Each row is in exactly one segment."""

    timestamp: int
    growing: tuple[GrowingSegment, ...]
    placements: tuple[Placement, ...]
    readable_from: int = 0
    """No read goes further back: rows deleted or expired before may be gone."""

    def growing_in(self, partitions: frozenset[int] | None) -> list[GrowingSegment]:
        return [g for g in self.growing if g.rows and (partitions is None or g.partition_id in partitions)]

    def read(
        self,
        collection: str,
        plan: SearchPlan | QueryPlan,
        timestamp: int | None,
        here: Callable[[list[GrowingSegment], int], P],
        there: Callable[[QueryPeer, Sequence[int], int], P],
    ) -> tuple[int, list[P]]:
        """The timestamp that was read at (None: the newest) and the answers: `here` reads growing segments, `there`
        those that a query node holds. Raises SegmentGone when a node does not hold them any more."""
        if timestamp is not None and timestamp < self.readable_from:
            raise InvalidParameter(
                f"collection {collection} cannot be read as of {timestamp}: "
                f"rows deleted before {self.readable_from} are no longer kept"
            )
        at = self.timestamp if timestamp is None else timestamp
        partials = []
        growing = [] if plan.ignore_growing else self.growing_in(plan.partitions)
        if growing:
            partials.append(here(growing, at))
        for placement in self.placements:
            segments = placement.within(plan.partitions)
            if segments:
                partials.append(there(placement.peer, segments, at))
        return at, partials


class ShardImage(NamedTuple):
    """What a shard held at one moment, all of it in objects. Deletes newer than `timestamp` may be among the saved
    ones."""

    timestamp: int
    checkpoint: int
    segments: tuple[SegmentMeta, ...]
