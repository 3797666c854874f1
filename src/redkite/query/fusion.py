"""Several ranked lists made one: rows found by more than one list are taken together by primary key.

Everything here is columns: a hit is a place in flat arrays, and no loop runs over hits. Scores are combined in double
precision and answered in single.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from redkite.index.base import RowNumbers
from redkite.model.batch import numbers_to_arrow
from redkite.model.schema import OFFSET_FIELD
from redkite.model.types import Metric
from redkite.query.plan import SearchPartial
from redkite.segment.growing import rows_only

Values = npt.NDArray[np.float64]
Mode = Literal["max", "sum", "avg"]
"""How the scores of one row in several lists become one."""
MODES: tuple[Mode, ...] = ("max", "sum", "avg")


class Rrf(msgspec.Struct, frozen=True):
    """Reciprocal rank fusion: the sum of 1 / (k + rank) over the lists that have the row; ranks count from 1."""

    k: float = 60.0


class Weighted(msgspec.Struct, frozen=True):
    """The sum of weight × score over the lists that have the row; with `norm_score` of scores brought to 0..1."""

    weights: tuple[float, ...]
    norm_score: bool = False


class RankedList(NamedTuple):
    """What one search found, best first."""

    metric: Metric
    hits: SearchPartial


class Pool(NamedTuple):
    """The distinct rows of each query, by query and then by primary key, and the hits that found them."""

    nq: int
    queries: RowNumbers
    """(rows,) the query each row belongs to"""
    ids: pa.Array
    """(rows,)"""
    rows: pa.RecordBatch
    """(rows,) the columns that the searches brought along"""
    metrics: tuple[Metric, ...]
    lists: RowNumbers
    """(hits,) which list"""
    places: RowNumbers
    """(hits,) which row"""
    ranks: RowNumbers
    """(hits,) from 1"""
    scores: Values
    """(hits,) as the search gave them"""

    def __len__(self) -> int:
        return len(self.queries)


class Scored(NamedTuple):
    """A score for each row of a pool."""

    scores: npt.NDArray[np.float32]
    larger_is_closer: bool = True


# -- the rows -----------------------------------------------------------------------------------
def pool(lists: Sequence[RankedList]) -> Pool:
    """Put the hits of all lists together. Hits without a finite score are left out. Hits that say which element of
    their row they are stand for elements: those of one row are apart."""
    topks = [found.hits.topks for found in lists]
    queries = np.concatenate([np.repeat(np.arange(len(t)), t) for t in topks])
    owners = np.repeat(np.arange(len(lists)), [int(t.sum()) for t in topks])
    ranks = np.concatenate([np.arange(1, int(t.sum()) + 1) - np.repeat(np.cumsum(t) - t, t) for t in topks])
    scores = np.concatenate([found.hits.scores for found in lists]).astype(np.float64)
    ids = pa.concat_arrays([found.hits.ids for found in lists])
    rows = joined([found.hits.rows for found in lists])
    finite = np.isfinite(scores)
    if not finite.all():
        kept = np.flatnonzero(finite)
        queries, owners, ranks, scores = queries[kept], owners[kept], ranks[kept], scores[kept]
        ids, rows = ids.take(numbers_to_arrow(kept)), taken(rows, kept)
    keys = _places_of(sortable(ids), rows)
    order = np.lexsort((*keys, queries))  # stable: of equal ones the hit of the first list comes first
    begins = np.ones(len(order), np.bool_)
    begins[1:] = np.any([np.diff(values[order]) != 0 for values in (*keys, queries)], axis=0)
    first = order[begins]
    places = np.empty(len(order), np.int64)
    places[order] = np.cumsum(begins) - 1
    return Pool(
        nq=len(topks[0]),
        queries=queries[first],
        ids=ids.take(numbers_to_arrow(first)),
        rows=taken(rows, first),
        metrics=tuple(found.metric for found in lists),
        lists=owners,
        places=places,
        ranks=ranks,
        scores=scores,
    )


def _places_of(keys: npt.NDArray[Any], rows: pa.RecordBatch) -> list[npt.NDArray[Any]]:
    """What tells hits of one query apart, as numbers; the last matters most in their order."""
    place = rows.schema.get_field_index(OFFSET_FIELD)
    return [keys] if place < 0 else [rows.column(place).to_numpy(zero_copy_only=False), keys]


def sortable(keys: pa.Array) -> npt.NDArray[Any]:
    """Numbers that sort as the primary keys do."""
    if pa.types.is_integer(keys.type):
        values: npt.NDArray[Any] = keys.to_numpy()
        return values
    ranks: npt.NDArray[Any] = pc.rank(keys, tiebreaker="dense").to_numpy()
    return ranks


def joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Batches of equal columns in one; they may have none. Those without rows may be of other types."""
    filled = [batch for batch in batches if batch.num_rows] or [batches[0]]
    if len(filled) == 1:
        return filled[0]
    if filled[0].num_columns:
        return pa.concat_batches(filled)
    return rows_only(sum(batch.num_rows for batch in filled))


def taken(rows: pa.RecordBatch, places: RowNumbers) -> pa.RecordBatch:
    """Some rows of a batch, which may have no columns."""
    return rows.take(numbers_to_arrow(places)) if rows.num_columns else rows_only(len(places))


# -- their scores -------------------------------------------------------------------------------
def fuse(rows: Pool, ranker: Rrf | Weighted) -> Scored:
    """Score each row by the lists that have it. A list that has not found a row adds nothing."""
    if isinstance(ranker, Rrf):
        values: Values = 1.0 / (ranker.k + rows.ranks.astype(np.float64))
        return Scored(combined(rows, values, "sum").astype(np.float32))
    weights = np.asarray(ranker.weights, np.float64)[rows.lists]
    plain = not ranker.norm_score and _is_one_way(rows.metrics)
    given = rows.scores if plain else comparable(rows, normalized=ranker.norm_score)
    larger = not plain or rows.metrics[0].larger_is_closer
    return Scored(combined(rows, weights * given, "sum").astype(np.float32), larger)


def _is_one_way(metrics: Sequence[Metric]) -> bool:
    return len({metric.larger_is_closer for metric in metrics}) == 1


def comparable(rows: Pool, *, normalized: bool) -> Values:
    """The score of each hit such that more is better. Distances are always turned into 0..1, the nearest 1;
    similarities only if `normalized`."""
    values = np.empty_like(rows.scores)
    for number, metric in enumerate(rows.metrics):
        own = rows.lists == number
        given = rows.scores[own]
        if normalized or not metric.larger_is_closer:
            given = normal(given, metric)
        values[own] = given
    return values


def normal(scores: Values, metric: Metric) -> Values:
    """Scores of a metric brought to 0..1, more is better."""
    if metric is Metric.COSINE:
        return (1.0 + scores) / 2.0
    angle = np.arctan(scores) / np.pi
    if not metric.larger_is_closer:
        return 1.0 - 2.0 * angle
    return 2.0 * angle if metric is Metric.BM25 else 0.5 + angle


def combined(rows: Pool, values: Values, mode: Mode) -> Values:
    """One number for each row from the values of its hits."""
    if mode == "max":
        most = np.full(len(rows), -np.inf)
        np.maximum.at(most, rows.places, values)
        return most
    total = np.bincount(rows.places, values, len(rows)).astype(np.float64)
    return total / np.bincount(rows.places, minlength=len(rows)) if mode == "avg" else total


# -- the answer ---------------------------------------------------------------------------------
def ordered(rows: Pool, scored: Scored) -> RowNumbers:
    """Rows by query, best first; rows of equal score by primary key. Without those that have no finite score."""
    rank = -scored.scores if scored.larger_is_closer else scored.scores
    order: RowNumbers = np.lexsort((rank, rows.queries))  # stable: a pool's rows are in order of their keys
    finite = np.isfinite(scored.scores)
    return order if finite.all() else order[finite[order]]


def cut(queries: RowNumbers, nq: int, limit: int, offset: int = 0) -> tuple[RowNumbers, npt.NDArray[np.int64]]:
    """Places of at most `limit` entries per query behind the first `offset`, and how many those are. `queries` says
    which query an entry belongs to, ascending."""
    counts = np.bincount(queries, minlength=nq)
    within = np.arange(len(queries)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = np.flatnonzero((within >= offset) & (within < offset + limit))
    return kept, np.bincount(queries[kept], minlength=nq)


def answer(rows: Pool, scored: Scored, limit: int, offset: int = 0) -> SearchPartial:
    """The best rows of each query."""
    order = ordered(rows, scored)
    kept, topks = cut(rows.queries[order], rows.nq, limit, offset)
    order = order[kept]
    return SearchPartial(topks, rows.ids.take(numbers_to_arrow(order)), scored.scores[order], taken(rows.rows, order))
