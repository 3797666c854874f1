"""What a shard asks of the nodes that hold its sealed segments, as one thing that can be asked of any of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol, TypeAlias, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from redkite.index.base import Queries
from redkite.node.peers import QueryPeer
from redkite.query.plan import QueryPartial, QueryPlan, SearchPartial, SearchPlan, TextCounts

P = TypeVar("P", SearchPartial, QueryPartial, TextCounts)
P_co = TypeVar("P_co", bound=SearchPartial | QueryPartial | TextCounts, covariant=True)


class Held(Protocol[P_co]):
    """A read over some of the segments that a node holds."""

    @property
    def segment_ids(self) -> tuple[int, ...]: ...

    def of(self, peer: QueryPeer) -> P_co:
        """Raises SegmentGone when it does not hold them any more."""
        ...


class SearchHeld(msgspec.Struct, frozen=True):
    idempotent: ClassVar[bool] = True

    segment_ids: tuple[int, ...]
    plan: SearchPlan
    queries: Queries
    timestamp: int

    def of(self, peer: QueryPeer) -> SearchPartial:
        return peer.search(self.segment_ids, self.plan, self.queries, self.timestamp)


class QueryHeld(msgspec.Struct, frozen=True):
    idempotent: ClassVar[bool] = True

    segment_ids: tuple[int, ...]
    plan: QueryPlan
    timestamp: int

    def of(self, peer: QueryPeer) -> QueryPartial:
        return peer.query(self.segment_ids, self.plan, self.timestamp)


class CountHeld(msgspec.Struct, frozen=True):
    """How often words are there."""

    idempotent: ClassVar[bool] = True

    segment_ids: tuple[int, ...]
    plan: SearchPlan
    dims: npt.NDArray[np.uint32]
    timestamp: int

    def of(self, peer: QueryPeer) -> TextCounts:
        return peer.count_words(self.segment_ids, self.plan, self.dims, self.timestamp)


AnyHeld: TypeAlias = SearchHeld | QueryHeld | CountHeld


def over(asked: AnyHeld, segment_ids: Sequence[int]) -> AnyHeld:
    """The same of other segments."""
    return msgspec.structs.replace(asked, segment_ids=tuple(segment_ids))
