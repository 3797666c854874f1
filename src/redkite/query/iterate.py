"""Searches in order without gaps: one page of an iterator, behind where the last page ended; and ranges of scores.

Every allowed row is compared, whatever index there is: a graph finds the nearest rows, not the next nearest, and the
rows between would be lost. All but what begins with the nearest and ends at a radius, where an index is cheaper.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from redkite.index.base import NO_ROW, Queries, RowNumbers, Scores
from redkite.query.plan import After, Range, SearchPartial, SearchPlan
from redkite.query.reaching import Reaching
from redkite.query.reduce import Found, assemble_hits
from redkite.query.scanning import best, scan
from redkite.segment.base import Segment
from redkite.segment.elements import ElementView

Mask = npt.NDArray[np.bool_]


def search_in_order(
    segments: Sequence[Segment], plan: SearchPlan, queries: Queries, timestamp: int, reaching: Reaching
) -> SearchPartial:
    """For each query the best `plan.limit` rows that are in the plan's range and behind the last page."""
    found = [_found(segment, plan, queries, timestamp, reaching) for segment in segments]
    return assemble_hits(found, plan, len(queries))


def _found(segment: Segment, plan: SearchPlan, queries: Queries, timestamp: int, reaching: Reaching) -> Found:
    shape = (len(queries), plan.limit)
    scores, rows = np.zeros(shape, np.float32), np.full(shape, NO_ROW, np.int64)
    for at in range(len(queries)):
        some, taken = _page_of(segment, plan, queries[np.array([at])], timestamp, reaching)
        scores[at, : len(taken)], rows[at, : len(taken)] = some, taken
    reaching.close(segment)
    return Found(segment, scores, rows)


def _page_of(
    segment: Segment, plan: SearchPlan, query: Queries, timestamp: int, reaching: Reaching
) -> tuple[Scores, RowNumbers]:
    by_index = reaching.nearest(segment, query, reaching.first)
    if by_index is None:
        reaching.compare(segment)
    scores, rows = scan(segment, plan, query, timestamp) if by_index is None else by_index
    larger = plan.metric.larger_is_closer
    kept: Mask | None = None
    if plan.within is not None:
        kept = in_range(scores, plan.within, larger)
    if plan.after is not None and plan.after.score is not None:
        behind = _behind(segment, plan.after, scores, rows, larger)
        kept = behind if kept is None else kept & behind
    if kept is not None:
        scores, rows = scores[kept], rows[kept]
    places = best(segment, plan, scores, rows)
    return scores[places], rows[places]


def in_range(scores: Scores, within: Range, larger: bool) -> Mask:
    """Where scores count: `radius` itself does not, the inner bound does. Both are compared as the scores are kept."""
    radius = np.float32(within.radius)
    kept: Mask = scores > radius if larger else scores < radius
    if within.inner is not None:
        inner = np.float32(within.inner)
        kept &= scores <= inner if larger else scores >= inner
    return kept


def _behind(segment: Segment, after: After, scores: Scores, rows: RowNumbers, larger: bool) -> Mask:
    """Which rows come after the end of the last page, in the order of scores and, for equal ones, of keys."""
    bound = np.float32(after.score)
    behind: Mask = scores < bound if larger else scores > bound
    if after.key is not None:
        ties = np.flatnonzero(scores == bound)
        if len(ties):
            keys, last = segment.keys(rows[ties]), pa.scalar(after.key, segment.keys(rows[:0]).type)
            behind[ties] = pc.greater(keys, last).to_numpy(zero_copy_only=False)
            if after.offset is not None and isinstance(segment, ElementView):
                same = pc.equal(keys, last).to_numpy(zero_copy_only=False)
                behind[ties] |= same & (segment.offsets(rows[ties]) > after.offset)
    return behind
