"""The scores of all rows that a search may see, each computed alike, wherever the row stands: for searches that must
not leave a row out. The scores of a sealed segment are kept where a search with the same query is likely to follow.
"""

from __future__ import annotations

import numpy as np

from redkite.index.base import Queries, RowNumbers, Scores, fingerprint
from redkite.model.types import Metric
from redkite.query.allowed import Scored, allowed_rows
from redkite.query.comparing import prepared
from redkite.query.plan import SearchPlan
from redkite.query.sources import sortable
from redkite.segment.base import Segment


def scan(segment: Segment, plan: SearchPlan, query: Queries, timestamp: int) -> tuple[Scores, RowNumbers]:
    """The scores of the rows that may be seen, for one query (a batch of one), and which rows those are. Rows without a
    score, such as sparse ones that share nothing with the query, are left out."""
    rows = segment.rows_at(timestamp)
    _, valid = segment.vectors(plan.field, rows)
    allowed = allowed_rows(segment, plan.filter, plan.field if valid is not None else "", timestamp, plan.expiry)
    scores = _scores(segment, plan, query, rows)
    seen = np.arange(rows) if allowed is None else allowed.rows
    scores = scores if allowed is None else scores[seen]
    finite = np.isfinite(scores)
    return (scores, seen) if finite.all() else (scores[finite], seen[finite])


def _scores(segment: Segment, plan: SearchPlan, query: Queries, rows: int) -> Scores:
    column, _ = prepared(segment.vectors(plan.field, rows).column, None, plan, segment.index(plan.field))
    cache = segment.cache
    if cache is None or rows != segment.rows_at(1 << 63) or not _goes_on(plan):
        return column.scores(query, plan.metric)
    how: object = plan.metric if plan.scoring is None else plan.scoring
    if plan.metric is Metric.MHJACCARD:
        how = f"{plan.metric} {sorted(plan.params.items())}"
    key = (segment.segment_id, segment.schema.version, f"\0scores {how} {fingerprint(query)}", plan.field)
    known: Scored | None = cache.scores(key)
    if known is None:
        known = Scored(column.scores(query, plan.metric))
        cache.put_scores(key, known)
    return known.scores


def _goes_on(plan: SearchPlan) -> bool:
    """Whether another search with the same query is likely to follow."""
    return plan.after is not None or plan.in_order or (plan.grouping is not None and plan.grouping.strict)


def rank_of(plan: SearchPlan, scores: Scores) -> Scores:
    """Numbers that are smaller the closer a row is."""
    return -scores if plan.metric.larger_is_closer else scores


def nearest(rank: Scores, count: int) -> RowNumbers:
    """Places of the `count` smallest, and of all that equal the largest of these, in any order."""
    if count >= len(rank):
        return np.arange(len(rank))
    return np.flatnonzero(rank <= np.partition(rank, count - 1)[count - 1])


def best(segment: Segment, plan: SearchPlan, scores: Scores, rows: RowNumbers) -> RowNumbers:
    """Places of the best `plan.limit` scores, best first; of equal ones those of the smallest keys."""
    rank = rank_of(plan, scores)
    near = nearest(rank, plan.limit)
    order = near[np.argsort(rank[near], kind="stable")]
    sorted_rank = rank[order]
    if len(order) > plan.limit or bool((sorted_rank[1:] == sorted_rank[:-1]).any()):
        order = order[np.lexsort((sortable(segment.keys(rows[order])), sorted_rank))]
    return order[: plan.limit]
