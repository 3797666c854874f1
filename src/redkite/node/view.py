"""One immutable view of a shard: what a read sees, and as of when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from redkite.errors import InvalidParameter
from redkite.model.segments import LoadEntry, SegmentMeta
from redkite.node.asked import Held, P
from redkite.node.copies import Begun, Copies, Local, NotServed
from redkite.query.plan import QueryPlan, SearchPlan
from redkite.query.straight import Straight
from redkite.query.word_way import WordWay
from redkite.segment.growing import GrowingSegment

MAX_WAYS = 1024


@dataclass(frozen=True, slots=True)
class ShardView:
    """`timestamp`: every write up to it is in. Each row is in exactly one segment."""

    timestamp: int
    growing: tuple[GrowingSegment, ...]
    placements: Local | Copies
    readable_from: int = 0
    """No read goes further back: rows deleted or expired before may be gone."""
    ways: dict[int, Straight | WordWay] = field(default_factory=dict, compare=False, repr=False)
    """By the identity of their plans, which they hold."""

    def growing_in(self, partitions: frozenset[int] | None) -> list[GrowingSegment]:
        return [g for g in self.growing if g.rows and (partitions is None or g.partition_id in partitions)]

    def straight(self, plan: SearchPlan, entry: LoadEntry | None) -> Straight | WordWay | None:
        """The way of a plain plan through sealed segments of one node, kept as long as this view is; None: there is
        none. `entry`: what is loaded now. Raises SegmentGone when the node does not hold them any more."""
        if self.placements.entry is not entry:
            return None
        way = self.ways.get(id(plan))
        if way is not None and way.stands():
            return way
        if entry is None or not entry.covers_all(plan.partitions):
            return None
        if isinstance(self.placements, Copies) or (not plan.ignore_growing and self.growing_in(plan.partitions)):
            return None
        asked = [(p.peer, ids) for p in self.placements if (ids := p.within(plan.partitions))]
        peer = asked[0][0] if len(asked) == 1 else None
        way = None if peer is None else peer.straight(asked[0][1], plan)
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
        there: Callable[[tuple[int, ...], int], Held[P]],
    ) -> tuple[int, list[P]]:
        """The timestamp that was read at (None: the newest) and the answers: `here` reads growing segments, `there` is
        what a query node is asked about those that it holds. Raises SegmentGone when a node does not hold them any
        more."""
        if timestamp is not None and timestamp < self.readable_from:
            raise InvalidParameter(
                f"collection {collection} cannot be read as of {timestamp}: "
                f"rows deleted before {self.readable_from} are no longer kept"
            )
        at = self.timestamp if timestamp is None else timestamp
        growing = [] if plan.ignore_growing else self.growing_in(plan.partitions)
        placements = self.placements
        if isinstance(placements, Copies):
            begun: Begun[P] = placements.begin(plan, lambda ids: there(ids, at), at_once=bool(growing))
            partials = [here(growing, at)] if growing else []
            partials += begun.answers()
            reach = begun.reach
            if reach is not None:
                partials = partials or [here([], at)]
                partials[0] = msgspec.structs.replace(partials[0], reach=reach)
            return at, partials
        partials = [here(growing, at)] if growing else []
        for placement in placements:
            segments = placement.within(plan.partitions)
            if segments:
                if placement.peer is None:
                    raise NotServed(f"segments {list(segments)} could not be opened")
                partials.append(there(segments, at).of(placement.peer))
        return at, partials


class ShardImage(NamedTuple):
    """What a shard held at one moment, all of it in objects. Deletes newer than `timestamp` may be among the saved
    ones."""

    timestamp: int
    checkpoint: int
    segments: tuple[SegmentMeta, ...]
