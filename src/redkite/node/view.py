"""One immutable view of a shard: what a read sees, and as of when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from redkite.errors import InvalidParameter
from redkite.model.segments import SegmentMeta
from redkite.node.peers import QueryPeer
from redkite.query.plan import QueryPartial, QueryPlan, SearchPartial, SearchPlan, TextCounts
from redkite.query.straight import Straight
from redkite.query.word_way import WordWay
from redkite.segment.growing import GrowingSegment

P = TypeVar("P", SearchPartial, QueryPartial, TextCounts)

MAX_WAYS = 1024


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
    ways: dict[int, Straight | WordWay] = field(default_factory=dict, compare=False, repr=False)
    """By the identity of their plans, which they hold."""

    def growing_in(self, partitions: frozenset[int] | None) -> list[GrowingSegment]:
        return [g for g in self.growing if g.rows and (partitions is None or g.partition_id in partitions)]

    def straight(self, plan: SearchPlan) -> Straight | WordWay | None:
        """The way of a plain plan through sealed segments of one node, kept as long as this view is; None: there is
        none. Raises SegmentGone when the node does not hold them any more."""
        way = self.ways.get(id(plan))
        if way is not None and way.stands():
            return way
        if not plan.ignore_growing and self.growing_in(plan.partitions):
            return None
        asked = [(p.peer, ids) for p in self.placements if (ids := p.within(plan.partitions))]
        way = asked[0][0].straight(asked[0][1], plan) if len(asked) == 1 else None
        if way is not None:
            if len(self.ways) >= MAX_WAYS:
                self.ways.clear()
            self.ways[id(plan)] = way
        return way

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
