"""One read over the segments of one node.

A search chooses, per segment and by the measured number of allowed rows, between comparing every allowed row and
walking the graph. A filter that is correlated with the vectors ruins a graph walk, whatever its selectivity; so the
neighbourhood of each query is probed first, and a walk that comes back short, or a query from a place where few rows
are allowed, is answered by comparing rows instead: at first all that are allowed, and once such answers have shown how
far away the neighbours are under this filter, those of the cells that near (`nearby.py`). A search never returns fewer
rows than match.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from redkite.env import Executor
from redkite.index.base import NO_ROW, RowNumbers, Scores, VectorIndex, Vectors
from redkite.index.exact import MATRIX_PRODUCT_QUERIES, exact_search, ranked
from redkite.model.types import Metric
from redkite.query.allowed import Allowed, AllowedCache, allowed_rows
from redkite.query.expired import expired_of
from redkite.query.iterate import next_page
from redkite.query.nearby import PATIENCE
from redkite.query.plan import QueryPartial, QueryPlan, SearchPartial, SearchPlan
from redkite.query.reduce import Found, assemble_hits, assemble_rows, hits_of_one
from redkite.segment.base import Segment

EXACT_FLOATS = 1_300_000
"""Up to this many allowed rows × dimensions, comparing them all costs no more than a graph walk (10,000 × 128 or
1,700 × 768: .15 ms)."""
NEARLY_ALL = 0.9
"""Above this share of allowed rows a filter cannot hide a neighbourhood from the walk for long: no probe."""
PROBE = 32
"""Neighbours looked at, allowed or not, to see whether the query lies where rows are allowed."""
POOR = 0.5
"""In a neighbourhood with less than this part of the expected allowed rows, the graph is not walked."""
WIDEST = 8.0
"""The walk is widened by 1 / selectivity, at most so much."""
FEW = 4
"""For more queries at once, walks share the cores and beat comparing the cells of one after another."""
FARTHEST = 0.5
"""Where neighbours are spread over more than this part of the allowed rows, picking cells gains nothing."""


class _Ask(NamedTuple):
    """One search, as each segment gets it."""

    plan: SearchPlan
    queries: Vectors
    pool: Executor | None
    """Other threads for long scans."""


def search_segments(
    segments: Sequence[Segment], plan: SearchPlan, queries: Vectors, timestamp: int, pool: Executor | None = None
) -> SearchPartial:
    """Best `plan.limit` rows of all segments for each query. Long scans are split over `pool`."""
    if plan.after is not None:
        return next_page([held.under(plan.schema) for held in segments], plan, queries[0], timestamp)
    ask = _Ask(plan, queries, pool)
    found: list[Found] = []
    for held in segments:
        segment = held.under(plan.schema)
        scores, rows = _search_segment(segment, ask, timestamp)
        if len(segments) == 1:
            return hits_of_one(Found(segment, scores, rows), plan)
        found.append(Found(segment, scores, rows))
    return assemble_hits(found, plan, len(queries))


def _search_segment(segment: Segment, ask: _Ask, timestamp: int) -> tuple[Scores, RowNumbers]:
    plan, queries, _ = ask
    rows = segment.rows_at(timestamp)
    vectors, valid = segment.vectors(plan.field, rows)
    if plan.filter is None and valid is None and segment.deletes.count == 0 and plan.expiry is None:
        allowed = None
    else:
        nullable = plan.field if valid is not None else ""
        allowed = allowed_rows(segment, plan.filter, nullable, timestamp, plan.expiry)
    index = None if plan.exact else segment.index(plan.field)
    if index is None or index.rows != rows:
        return _exact(segment, vectors, allowed, ask)
    if allowed is None:
        _, candidates = index.search(queries, min(plan.limit, rows), plan.params, None)
        return ranked(vectors, queries, candidates, plan.limit, plan.metric)
    if allowed.count * vectors.shape[1] <= EXACT_FLOATS:
        return _exact(segment, vectors, allowed, ask)
    return _filtered(segment, index, vectors, allowed, ask)


def _exact(segment: Segment, vectors: Vectors, allowed: Allowed | None, ask: _Ask) -> tuple[Scores, RowNumbers]:
    plan, queries, pool = ask
    cosine = plan.metric is Metric.COSINE
    if allowed is None or allowed.count == len(vectors):
        lengths = segment.lengths(plan.field, len(vectors)) if cosine else None
        return exact_search(vectors, queries, plan.limit, plan.metric, lengths, pool)
    gathered = allowed.gathered(plan.field, vectors, segment.cache)
    lengths = gathered.lengths if cosine else None
    scores, places = exact_search(gathered.vectors, queries, plan.limit, plan.metric, lengths, pool)
    if allowed.count >= plan.limit:
        return scores, gathered.rows[places]
    rows = np.full_like(places, NO_ROW)
    present = places >= 0
    rows[present] = gathered.rows[places[present]]
    return scores, rows


def _filtered(
    segment: Segment, index: VectorIndex, vectors: Vectors, allowed: Allowed, ask: _Ask
) -> tuple[Scores, RowNumbers]:
    """Walk the graph among the allowed rows, and compare rows one by one for the queries where that will not do."""
    plan, queries, _ = ask
    share = allowed.count / len(vectors)
    if len(queries) <= FEW:
        reach = allowed.reach(plan.field)
        if reach.share is not None and reach.share * allowed.count * vectors.shape[1] <= EXACT_FLOATS:
            return _compared(segment, vectors, allowed, ask)
    ef = plan.params["ef"]
    poor = np.zeros(len(queries), np.bool_)
    if share < NEARLY_ALL:
        _, near = index.search(queries, PROBE, {**plan.params, "ef": max(PROBE, ef)}, None)
        poor = allowed.mask[near].sum(axis=1) < PROBE * share * POOR
    scores = np.zeros((len(queries), plan.limit), np.float32)
    rows = np.full((len(queries), plan.limit), NO_ROW, np.int64)
    walked = np.flatnonzero(~poor)
    if len(walked):
        some = queries if len(walked) == len(queries) else np.ascontiguousarray(queries[walked])
        wider = {**plan.params, "ef": int(ef * min(1 / share, WIDEST)) + 1}
        _, candidates = index.search(some, min(plan.limit, allowed.count), wider, allowed.bitmap)
        poor[walked] = (candidates < 0).any(axis=1)
        scores[walked], rows[walked] = ranked(vectors, some, candidates, plan.limit, plan.metric)
    if poor.any():
        hard = ask._replace(queries=np.ascontiguousarray(queries[poor]))
        scores[poor], rows[poor] = _compared(segment, vectors, allowed, hard)
    return scores, rows


def _compared(segment: Segment, vectors: Vectors, allowed: Allowed, ask: _Ask) -> tuple[Scores, RowNumbers]:
    """Compare the allowed rows of the cells near each query. All of them, as long as it is not known how far the
    neighbours are under this filter, and for many queries, where all cost less."""
    plan, queries, pool = ask
    cache: AllowedCache | None = segment.cache
    if cache is None or pool is None or allowed.count < plan.limit or len(queries) >= MATRIX_PRODUCT_QUERIES:
        return _exact(segment, vectors, allowed, ask)
    reach = allowed.reach(plan.field)
    reach.scans += len(queries)
    cells = cache.cells(segment, plan.field, plan.metric, pool) if reach.scans > PATIENCE else None
    if cells is None:
        return _exact(segment, vectors, allowed, ask)
    nearby = allowed.nearby(plan.field, cells)
    if reach.known_for(plan.limit) and reach.share is not None and reach.share <= FARTHEST:
        kept = allowed.kept(plan.field, vectors, cache)
        return nearby.search(vectors, kept, queries, reach.share, plan.limit, plan.metric)
    scores, rows = _exact(segment, vectors, allowed, ask)
    reach.learn(nearby.shares(queries, rows), plan.limit)
    return scores, rows


def query_segments(segments: Sequence[Segment], plan: QueryPlan, timestamp: int) -> QueryPartial:
    """Rows of all segments that pass, the `plan.limit` smallest primary keys, in ascending order."""
    segments = [held.under(plan.schema) for held in segments]
    if plan.count:
        return QueryPartial(sum(_count(s, plan, timestamp) for s in segments))
    found = [(s, _matching(s, plan, timestamp)) for s in segments]
    return assemble_rows([(s, rows) for s, rows in found if len(rows)], plan)


def _count(segment: Segment, plan: QueryPlan, timestamp: int) -> int:
    keyed = _by_key(segment, plan, timestamp)
    if keyed is not None:
        return len(keyed)
    allowed = allowed_rows(segment, plan.filter, "", timestamp, plan.expiry)
    return segment.rows_at(timestamp) if allowed is None else allowed.count


def _matching(segment: Segment, plan: QueryPlan, timestamp: int) -> RowNumbers:
    keyed = _by_key(segment, plan, timestamp)
    if keyed is not None:
        return keyed
    allowed = allowed_rows(segment, plan.filter, "", timestamp, plan.expiry)
    return np.arange(segment.rows_at(timestamp)) if allowed is None else allowed.rows


def _by_key(segment: Segment, plan: QueryPlan, timestamp: int) -> RowNumbers | None:
    """Rows of the wanted primary keys, found without a scan; None when the filter asks for more than keys."""
    if plan.filter is None or plan.filter.primary_keys is None:
        return None
    rows = segment.find(plan.filter.primary_keys, timestamp)
    if rows is None:
        return None
    visible = segment.rows_at(timestamp)
    alive = segment.deletes.alive(visible, timestamp)
    expired = expired_of(segment, plan.expiry, visible, None)
    if expired is not None:
        rows = expired.keep(rows)
    return np.sort(rows if alive is None else rows[alive[rows]])
