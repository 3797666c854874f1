"""One page of a search iterator: the best rows behind where the last page ended.

Every allowed row is compared, whatever index there is: a graph finds the nearest rows, not the next nearest, and the
rows between would be lost. The scores of a sealed segment are kept for the pages that follow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from redkite.index.base import NO_ROW, RowNumbers, Scores, Vectors
from redkite.model.types import Metric
from redkite.query.allowed import Scored, allowed_rows
from redkite.query.plan import SearchPartial, SearchPlan
from redkite.query.reduce import Found, assemble_hits
from redkite.segment.base import Segment

BLOCK_FLOATS = 4_000_000
"""Numbers compared at a time."""


def next_page(segments: Sequence[Segment], plan: SearchPlan, query: Vectors, timestamp: int) -> SearchPartial:
    """The best `plan.limit` rows behind `plan.after` for one (dim,) query."""
    found = [Found(segment, *_page_of(segment, plan, query, timestamp)) for segment in segments]
    return assemble_hits(found, plan, 1)


def _page_of(segment: Segment, plan: SearchPlan, query: Vectors, timestamp: int) -> tuple[Scores, RowNumbers]:
    rows = segment.rows_at(timestamp)
    _, valid = segment.vectors(plan.field, rows)
    allowed = allowed_rows(segment, plan.filter, plan.field if valid is not None else "", timestamp, plan.expiry)
    scores = _scores(segment, plan, query, rows)
    left = np.arange(rows) if allowed is None else allowed.rows
    left = left[_behind(segment, plan, scores[left], left)]
    taken = _best(segment, plan, scores[left], left)
    shape = (1, plan.limit)
    page_scores, page_rows = np.zeros(shape, np.float32), np.full(shape, NO_ROW, np.int64)
    page_scores[0, : len(taken)], page_rows[0, : len(taken)] = scores[taken], taken
    return page_scores, page_rows


def _behind(segment: Segment, plan: SearchPlan, scores: Scores, rows: RowNumbers) -> npt.NDArray[np.bool_]:
    """Which rows come after the end of the last page, in the order of scores and, for equal ones, of keys."""
    after = plan.after
    if after is None or after.score is None:
        return np.ones(len(rows), np.bool_)
    bound = np.float32(after.score)
    behind: npt.NDArray[np.bool_] = scores < bound if plan.metric.larger_is_closer else scores > bound
    if after.key is not None:
        ties = np.flatnonzero(scores == bound)
        if len(ties):
            last = after.key
            behind[ties] = [key > last for key in segment.keys(rows[ties]).to_pylist()]
    return behind


def _best(segment: Segment, plan: SearchPlan, scores: Scores, rows: RowNumbers) -> RowNumbers:
    """The rows of the best `plan.limit` scores; of equal ones those of the smallest keys."""
    rank = -scores if plan.metric.larger_is_closer else scores
    if len(rows) > plan.limit:
        near = rank <= np.partition(rank, plan.limit - 1)[plan.limit - 1]
        rows, rank = rows[near], rank[near]
    order = np.argsort(rank, kind="stable")
    if len(rows) > plan.limit and rank[order[plan.limit - 1]] == rank[order[plan.limit]]:
        keys = segment.keys(rows).to_pylist()
        order = np.array(sorted(range(len(rows)), key=lambda at: (rank[at], keys[at])))
    return rows[order[: plan.limit]]


def _scores(segment: Segment, plan: SearchPlan, query: Vectors, rows: int) -> Scores:
    cache = segment.cache
    if cache is None or rows != segment.rows_at(1 << 63):
        return _compare(segment.vectors(plan.field, rows)[0], query, plan.metric)
    key = (segment.segment_id, segment.schema.version, f"\0scores {plan.metric} {query.tobytes().hex()}", plan.field)
    known: Scored | None = cache.scores(key)
    if known is None:
        known = Scored(_compare(segment.vectors(plan.field, rows)[0], query, plan.metric))
        cache.put_scores(key, known)
    return known.scores


def _compare(vectors: Vectors, query: Vectors, metric: Metric) -> Scores:
    """Scores of all rows, each computed alike wherever the row stands: pages must not disagree about it."""
    scores = np.empty(len(vectors), np.float32)
    step = max(1, BLOCK_FLOATS // max(1, vectors.shape[1]))
    for at in range(0, len(vectors), step):
        some = vectors[at : at + step]
        if metric is Metric.L2:
            apart = some - query
            np.vecdot(apart, apart, out=scores[at : at + step])
            continue
        products = np.vecdot(some, query, out=scores[at : at + step])
        if metric is Metric.COSINE:
            lengths = np.sqrt(np.vecdot(some, some) * np.vecdot(query, query))
            lengths[lengths == 0] = 1
            products /= lengths
            np.clip(products, -1, 1, out=products)
    return scores
