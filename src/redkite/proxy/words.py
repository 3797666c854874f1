"""Searches by BM25: what a whole collection says about the words that are asked for.

Two steps: every shard counts, at one moment, how many rows with a text are alive, how many words they have, and in how
many of them each word of the queries is. The sums make weights of the words, by which the rows are then searched.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from redkite.index.base import Queries
from redkite.index.bm25 import Bm25
from redkite.model.explain import WordStatistics
from redkite.model.sparse import SparseRows
from redkite.query.plan import SearchPlan, TextCounts


def terms_of(queries: SparseRows) -> tuple[np.ndarray, np.ndarray]:
    """The terms of all queries, ascending, and for each term of a query its place among them."""
    first, last = queries.starts[0], queries.starts[-1]
    indices = np.ascontiguousarray(queries.indices[first:last])
    if len(queries) == 1:
        return indices, np.arange(len(indices))
    terms, places = np.unique(indices, return_inverse=True)
    return terms, places


def weighed(plan: SearchPlan, queries: Queries, counts: Sequence[TextCounts]) -> tuple[SearchPlan, SparseRows]:
    """The plan with the statistics of its collection, and the queries with weights in place of frequencies. Terms that
    no row has are left out."""
    scoring = plan.scoring
    assert scoring is not None and isinstance(queries, SparseRows), "words are sparse vectors"
    rows = sum(count.rows for count in counts)
    tokens = sum(count.tokens for count in counts)
    average = tokens / rows if rows else 0.0
    known = msgspec.structs.replace(scoring, average=average, rows=rows)
    terms, places = terms_of(queries)
    having = sum((count.having for count in counts), np.zeros(len(terms), np.int64))[places]
    first, last = queries.starts[0], queries.starts[-1]
    frequencies = np.ascontiguousarray(queries.values[first:last])
    weights = Bm25(rows, average, scoring.k1, scoring.b).weights(frequencies, having)
    starts, indices = queries.starts - first, np.ascontiguousarray(queries.indices[first:last])
    kept = having > 0
    if not kept.all():
        ends = np.concatenate([[0], np.cumsum(kept)])
        starts, indices, weights = ends[starts], indices[kept], weights[kept]
    return msgspec.structs.replace(plan, scoring=known), SparseRows(starts, indices, weights)


def told_of(plan: SearchPlan, terms: int, weights: SparseRows) -> WordStatistics:
    """What was gathered for a plan, of whose queries' terms those are left that some row has."""
    assert plan.scoring is not None, "only searches by words gather"
    known = len(terms_of(weights)[0])
    return WordStatistics(plan.field, plan.scoring.rows, plan.scoring.average, terms, known)
