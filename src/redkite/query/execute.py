"""One read over the segments of one node.

A search chooses, per segment and by the measured number of allowed rows, between comparing every allowed row and
walking the graph. A filter that is correlated with the vectors ruins a graph walk, whatever its selectivity; so the
neighbourhood of each query is probed first, and a walk that comes back short, or a query from a place where few rows
are allowed, is answered exactly instead. A search never returns fewer rows than match.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from redkite.env import Executor
from redkite.index.base import NO_ROW, RowNumbers, Scores, VectorIndex, Vectors
from redkite.index.exact import exact_search, ranked
from redkite.model.types import Metric
from redkite.query.allowed import Allowed, allowed_rows
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
"""A neighbourhood with less than this part of the expected allowed rows is answered exactly."""
WIDEST = 8.0
"""The walk is widened by 1 / selectivity, at most so much."""


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
    ask = _Ask(plan, queries, pool)
    found: list[Found] = []
    for segment in segments:
        scores, rows = _search_segment(segment, ask, timestamp)
        if len(segments) == 1:
            return hits_of_one(Found(segment, scores, rows), plan)
        found.append(Found(segment, scores, rows))
    return assemble_hits(found, plan, len(queries))


def _search_segment(segment: Segment, ask: _Ask, timestamp: int) -> tuple[Scores, RowNumbers]:
    plan, queries, _ = ask
    rows = segment.rows_at(timestamp)
    vectors, valid = segment.vectors(plan.field, rows)
    if plan.filter is None and valid is None and segment.deletes.count == 0:
        allowed = None
    else:
        allowed = allowed_rows(segment, plan.filter, plan.field if valid is not None else "", timestamp)
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
    block = allowed.block(plan.field, vectors, segment.cache)
    lengths = allowed.lengths(plan.field, block) if cosine else None
    scores, places = exact_search(block, queries, plan.limit, plan.metric, lengths, pool)
    if allowed.count >= plan.limit:
        return scores, allowed.rows[places]
    rows = np.full_like(places, NO_ROW)
    present = places >= 0
    rows[present] = allowed.rows[places[present]]
    return scores, rows


def _filtered(
    segment: Segment, index: VectorIndex, vectors: Vectors, allowed: Allowed, ask: _Ask
) -> tuple[Scores, RowNumbers]:
    """Walk the graph among the allowed rows, and compare them all for the queries where that will not do."""
    plan, queries, _ = ask
    share = allowed.count / len(vectors)
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
        scores[poor], rows[poor] = _exact(segment, vectors, allowed, hard)
    return scores, rows


def query_segments(segments: Sequence[Segment], plan: QueryPlan, timestamp: int) -> QueryPartial:
    """Rows of all segments that pass, the `plan.limit` smallest primary keys, in ascending order."""
    if plan.count:
        return QueryPartial(sum(_count(s, plan, timestamp) for s in segments))
    found = [(s, _matching(s, plan, timestamp)) for s in segments]
    return assemble_rows([(s, rows) for s, rows in found if len(rows)], plan)


def _count(segment: Segment, plan: QueryPlan, timestamp: int) -> int:
    keyed = _by_key(segment, plan, timestamp)
    if keyed is not None:
        return len(keyed)
    allowed = allowed_rows(segment, plan.filter, "", timestamp)
    return segment.rows_at(timestamp) if allowed is None else allowed.count


def _matching(segment: Segment, plan: QueryPlan, timestamp: int) -> RowNumbers:
    keyed = _by_key(segment, plan, timestamp)
    if keyed is not None:
        return keyed
    allowed = allowed_rows(segment, plan.filter, "", timestamp)
    return np.arange(segment.rows_at(timestamp)) if allowed is None else allowed.rows


def _by_key(segment: Segment, plan: QueryPlan, timestamp: int) -> RowNumbers | None:
    """Rows of the wanted primary keys, found without a scan; None when the filter asks for more than keys."""
    if plan.filter is None or plan.filter.primary_keys is None:
        return None
    rows = segment.find(plan.filter.primary_keys, timestamp)
    if rows is None:
        return None
    alive = segment.deletes.alive(segment.rows_at(timestamp), timestamp)
    return np.sort(rows if alive is None else rows[alive[rows]])
