"""The straight way: a search of sealed segments whose indexes hold every row, none of them deleted.

Searches come like that again and again by one plan, and then much of a small one would go into finding out what can be
known before. Here it is known. Whatever is not quite so is for `execute.py` to answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from redkite.env import Executor
from redkite.index.alone import Alone, alone
from redkite.index.base import VectorIndex, Vectors
from redkite.index.dense import DenseColumn
from redkite.index.faiss_index import FaissIndex
from redkite.index.refined import Refined, refined
from redkite.index.threads import native, shared_out
from redkite.model.requests import Queries
from redkite.model.types import DataType
from redkite.query.plan import SearchPartial, SearchPlan
from redkite.query.reduce import Found, assemble_hits, hits_alone, hits_of_one
from redkite.query.sharing import pays_to_share
from redkite.query.timing import ReadTimes
from redkite.segment.base import Segment
from redkite.spans import traced

_EVER = (1 << 63) - 1
_pointer, _square = native("swig_ptr"), native("fvec_norm_L2sqr")


@dataclass(frozen=True, slots=True)
class _Part:
    """One segment, and what is asked of it."""

    segment: Segment
    index: VectorIndex
    column: DenseColumn
    refined: Refined | None
    """The two as one, where they can be that."""

    def search(self, queries: Vectors, plan: SearchPlan) -> Found | None:
        """Its best rows; None when the index found fewer than there are."""
        wanted = min(plan.limit, self.column.rows)
        if self.refined is not None and wanted == plan.limit:
            scores, rows = self.refined.search(queries, wanted, plan.params)
        else:
            _, candidates = self.index.search(queries, wanted, plan.params, None)
            scores, rows = self.column.ranked(queries, candidates, plan.limit, plan.metric)
        last = rows[:, wanted - 1]
        if last[0] < 0 or (len(last) > 1 and bool((last < 0).any())):
            return None
        return Found(self.segment, scores, rows)

    def alone(self, plan: SearchPlan) -> Alone | None:
        """Its searches for one query, where they can be prepared."""
        return alone(self.index, self.column, plan.metric, plan.params, min(plan.limit, self.column.rows), self.refined)


class Straight:
    """One plan over some segments. Safe from any thread."""

    __slots__ = ("_alone", "_newest", "_parts", "_pool", "_shape", "_times", "plan")

    def __init__(self, parts: Sequence[_Part], plan: SearchPlan, pool: Executor | None, times: ReadTimes) -> None:
        self.plan = plan
        self._parts = parts
        self._pool = pool
        self._times = times
        self._newest = max(int(part.segment.timestamps(part.column.rows)[-1]) for part in parts)
        self._alone = parts[0].alone(plan) if len(parts) == 1 else None
        self._shape = None if self._alone is None else (1, parts[0].column.width)

    def stands(self) -> bool:
        """Whether the segments have still these indexes, and nothing deleted."""
        field = self.plan.field
        for part in self._parts:
            if part.segment.deletes.count or part.segment.index(field) is not part.index:
                return False
        return True

    def taken(self, queries: Queries) -> Vectors | None:
        """The query, if it is surely one finite vector as it is compared. That is looked at here as quickly as can be,
        and whatever else there may be elsewhere."""
        vectors, shape = queries.vectors, self._shape
        if vectors is None or vectors.shape != shape or queries.data_type is not DataType.FLOAT_VECTOR:
            return None
        if queries.are_lists or not vectors.flags.c_contiguous:
            return None
        return vectors if isfinite(_square(_pointer(vectors), vectors.size)) else None

    @traced("straight way")
    def search(self, queries: Vectors, timestamp: int) -> SearchPartial | None:
        """The answer as of `timestamp`, if the way stood after that was taken; None when an index found too few."""
        if timestamp < self._newest:
            return None
        if self._alone is not None and len(queries) == 1:
            return self._search_alone(self._alone, queries)
        plan, parts, times = self.plan, self._parts, self._times
        begun = times.now()
        if len(parts) == 1:
            found = parts[0].search(queries, plan)
            if found is None:
                times.once_more()
                return None
            at = times.now()
            hits = hits_of_one(found, plan)
            times.went_straight(begun, at)
            return hits
        works = [p.index.work(len(queries), plan.params) if isinstance(p.index, FaissIndex) else 0 for p in parts]
        if self._pool is not None and pays_to_share(works):
            every = shared_out(self._pool, lambda part: self._timed(part, queries), parts)
        else:
            every = [self._timed(part, queries) for part in parts]
        whole = [found for found in every if found is not None]
        if len(whole) < len(parts):
            times.once_more()
            return None
        at = times.now()
        hits = assemble_hits(whole, plan, len(queries))
        times.took(times.reductions, at)
        times.took(times.straight, begun)
        return hits

    def _search_alone(self, alone: Alone, query: Vectors) -> SearchPartial | None:
        times = self._times
        begun = times.now()
        near = alone.search(query)
        if near is None:
            times.once_more()
            return None
        at = times.now()
        hits = hits_alone(self._parts[0].segment, near, self.plan)
        times.went_straight(begun, at)
        return hits

    def _timed(self, part: _Part, queries: Vectors) -> Found | None:
        begun = self._times.now()
        found = part.search(queries, self.plan)
        self._times.took(self._times.segments, begun)
        return found


def is_plain(plan: SearchPlan) -> bool:
    """Whether a plan may go the straight way."""
    return (
        plan.filter is None
        and plan.grouping is None
        and plan.after is None
        and plan.within is None
        and plan.expiry is None
        and not (plan.exact or plan.explain or plan.in_order or plan.lazy_filter or plan.elements)
    )


def straight_way(
    segments: Sequence[Segment], plan: SearchPlan, pool: Executor | None, times: ReadTimes
) -> Straight | None:
    """The way of a plain plan through sealed segments as they are now; None when there is none."""
    parts = []
    for segment in segments:
        rows, index = segment.rows_at(_EVER), segment.index(plan.field)
        if not rows or index is None or index.rows != rows or segment.deletes.count:
            return None
        column, valid = segment.vectors(plan.field, rows)
        if valid is not None or not isinstance(column, DenseColumn):
            return None
        parts.append(_Part(segment, index, column, refined(index, column, plan.metric)))
    return Straight(parts, plan, pool, times) if parts else None
