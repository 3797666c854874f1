"""Merging: candidates of several segments into one node's answer, answers of several nodes into one.

Equal scores are ordered by primary key.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from redkite.index.alone import Near
from redkite.index.base import NO_ROW, RowNumbers, Scores
from redkite.model.batch import arrow_to_numbers, arrow_type, numbers_to_arrow
from redkite.model.schema import PARTITION_FIELD, VERSION_FIELD, CollectionSchema
from redkite.query.plan import QueryPartial, QueryPlan, SearchPartial, SearchPlan
from redkite.query.sources import sortable
from redkite.segment.base import Segment
from redkite.segment.growing import rows_only

_OWN_COLUMNS = frozenset({VERSION_FIELD, PARTITION_FIELD})
FEW = 64
"""Numbers of which Python's own set is quicker than numpy's comparisons."""
FEW_CANDIDATES = 256
"""Candidates for one query that Python's own sort merges quicker than numpy."""


class Found(NamedTuple):
    """Candidates of one segment: (nq, k) scores and row numbers, best first, NO_ROW where there are fewer."""

    segment: Segment
    scores: Scores
    rows: RowNumbers


# -- searches -----------------------------------------------------------------------------------
def hits_of_one(found: Found, plan: SearchPlan) -> SearchPartial:
    """The answer when one segment is all there is."""
    segment, scores, rows = found
    if len(rows) == 1 and rows[0, -1] >= 0:
        return hits_alone(segment, (scores[0], rows[0], True), plan)
    if rows.size and rows[:, -1].min() >= 0:  # NO_ROW is behind all others
        topks = np.full(len(rows), rows.shape[1])
        flat_rows, flat_scores = rows.reshape(-1), scores.reshape(-1)
    else:
        present = rows != NO_ROW
        topks = np.count_nonzero(present, axis=1)
        flat_rows, flat_scores = rows[present], scores[present]
    flat_rows = _ties_by_key(flat_rows, flat_scores, topks, segment)
    return SearchPartial(
        topks, segment.bare_keys(flat_rows), flat_scores, take_columns(segment, flat_rows, plan.columns)
    )


def hits_alone(segment: Segment, near: Near, plan: SearchPlan) -> SearchPartial:
    """The same of one query, which has as many hits as it found rows."""
    scores, rows, has_ties = near
    topks = _alone(len(rows))
    if has_ties:
        rows = _ties_by_key(rows, scores, topks, segment)
    taken = take_columns(segment, rows, plan.columns) if plan.columns else rows_only(len(rows))
    return SearchPartial(topks, segment.bare_keys(rows), scores, taken)


@lru_cache(maxsize=256)
def _alone(hits: int) -> npt.NDArray[np.int64]:
    """The number of hits of a search for one query."""
    topks = np.array([hits])
    topks.flags.writeable = False
    return topks


def _ties_by_key(rows: RowNumbers, scores: Scores, topks: npt.NDArray[np.int64], segment: Segment) -> RowNumbers:
    if len(scores) <= FEW and len(set(scores.tolist())) == len(scores):
        return rows
    if not np.equal(scores[1:], scores[:-1]).any():
        return rows
    if len(scores) <= FEW and len(topks) == 1:
        keys, flat = segment.keys(rows).to_pylist(), scores.tolist()
        starts = [at for at in range(len(flat)) if at == 0 or flat[at] != flat[at - 1]]
        pieces = zip(starts, [*starts[1:], len(flat)], strict=True)
        order = [at for start, end in pieces for at in sorted(range(start, end), key=keys.__getitem__)]
        return rows[order]
    queries = np.repeat(np.arange(len(topks)), topks)
    groups = np.cumsum(np.concatenate([[True], (scores[1:] != scores[:-1]) | (queries[1:] != queries[:-1])]))
    keys = segment.keys(rows)
    order = pc.sort_indices(
        pa.table({"group": groups, "key": keys}), sort_keys=[("group", "ascending"), ("key", "ascending")]
    )
    ordered: RowNumbers = rows[arrow_to_numbers(order)]
    return ordered


def assemble_hits(found: Sequence[Found], plan: SearchPlan, nq: int) -> SearchPartial:
    """Merge the candidates of several segments and take the output columns of the winners only."""
    if not found:
        return empty_hits(plan, nq)
    if nq == 1 and plan.limit * len(found) <= FEW_CANDIDATES:
        return _assembled_for_one(found, plan)
    scores = np.concatenate([f.scores for f in found], axis=1)
    rows = np.concatenate([f.rows for f in found], axis=1)
    rank = -scores if plan.metric.larger_is_closer else scores.copy()
    rank[rows == NO_ROW] = np.nan  # sorted behind all numbers, and equal to none
    order = np.argsort(rank, axis=1)[:, : plan.limit + 1]
    near = np.take_along_axis(rank, order, axis=1)
    if (near[:, 1:] == near[:, :-1]).any():
        return _assembled_by_keys(found, plan)
    order = order[:, : plan.limit]
    rows = np.take_along_axis(rows, order, axis=1)
    present = rows != NO_ROW
    owners = np.repeat(np.arange(len(found)), [f.rows.shape[1] for f in found])[order][present]
    topks = np.count_nonzero(present, axis=1)
    chosen = np.take_along_axis(scores, order, axis=1)[present]
    return _hits_of(*_by_segment([f.segment for f in found], owners, rows[present]), chosen, topks, plan)


def _assembled_for_one(found: Sequence[Found], plan: SearchPlan) -> SearchPartial:
    """The same for one query and few candidates, for which numpy's fixed costs are most of its time."""
    sign = -1 if plan.metric.larger_is_closer else 1
    near = [
        (sign * score, owner, row)
        for owner, (_, scores, rows) in enumerate(found)
        for score, row in zip(scores[0].tolist(), rows[0].tolist(), strict=True)
        if row != NO_ROW
    ]
    near.sort()
    near = near[: plan.limit + 1]
    if len({rank for rank, _, _ in near}) < len(near):
        return _assembled_by_keys(found, plan)
    if not near:
        return empty_hits(plan, 1)
    del near[plan.limit :]
    places: list[list[int]] = [[] for _ in found]
    for place, (_, owner, _) in enumerate(near):
        places[owner].append(place)
    pieces = [
        (found[owner].segment, np.array([near[place][2] for place in own], np.int64))
        for owner, own in enumerate(places)
        if own
    ]
    back = np.empty(len(near), np.int64)
    back[[place for own in places for place in own]] = np.arange(len(near))
    chosen = np.array([sign * rank for rank, _, _ in near], np.float32)
    return _hits_of(pieces, numbers_to_arrow(back), chosen, _alone(len(near)), plan)


def _hits_of(
    pieces: Sequence[tuple[Segment, RowNumbers]],
    back: pa.Array,
    scores: Scores,
    topks: npt.NDArray[np.int64],
    plan: SearchPlan,
) -> SearchPartial:
    """The answer of rows of some segments, `back` their order."""
    keys = pa.concat_arrays([segment.keys(some) for segment, some in pieces]).take(back)
    taken = [take_columns(segment, some, plan.columns) for segment, some in pieces] if plan.columns else []
    return SearchPartial(topks, keys, scores, concat_rows(taken).take(back) if taken else rows_only(len(keys)))


def _assembled_by_keys(found: Sequence[Found], plan: SearchPlan) -> SearchPartial:
    """The same where scores are equal: the keys of all candidates are looked at."""
    ids = [f.segment.keys(f.rows[f.rows != NO_ROW]) for f in found]
    topks = [np.count_nonzero(f.rows != NO_ROW, axis=1) for f in found]
    scores = [f.scores[f.rows != NO_ROW] for f in found]
    order, merged_topks = _merge_order(topks, scores, ids, plan.limit, plan.metric.larger_is_closer)
    owners = np.repeat(np.arange(len(found)), [len(s) for s in scores])[order]
    rows = np.concatenate([f.rows[f.rows != NO_ROW] for f in found])[order]
    taken = take_from([f.segment for f in found], owners, rows, plan.columns, plan.schema)
    keys = pa.concat_arrays(ids).take(numbers_to_arrow(order))
    return SearchPartial(merged_topks, keys, np.concatenate(scores)[order], taken)


def merge_hits(partials: Sequence[SearchPartial], plan: SearchPlan) -> SearchPartial:
    """Merge the answers of several nodes."""
    if len(partials) == 1:
        return partials[0]
    topks = [p.topks for p in partials]
    scores = [p.scores for p in partials]
    ids = [p.ids for p in partials]
    order, merged_topks = _merge_order(topks, scores, ids, plan.limit, plan.metric.larger_is_closer)
    wanted = numbers_to_arrow(order)
    return SearchPartial(
        merged_topks,
        pa.concat_arrays(ids).take(wanted),
        np.concatenate(scores)[order],
        concat_rows([p.rows for p in partials]).take(wanted) if plan.columns else rows_only(len(order)),
    )


def _merge_order(
    topks: Sequence[npt.NDArray[np.int64]], scores: Sequence[Scores], ids: Sequence[pa.Array], k: int, larger: bool
) -> tuple[RowNumbers, npt.NDArray[np.int64]]:
    """Places in the concatenation of the lists that make the merged answer, and its hits per query."""
    queries = np.concatenate([np.repeat(np.arange(len(t)), t) for t in topks])
    flat = np.concatenate(scores)
    rank = -flat if larger else flat
    keys = sortable(pa.concat_arrays(ids))
    order = np.lexsort((keys, rank, queries))
    totals = np.sum(topks, axis=0)
    merged = np.minimum(totals, k)
    within = np.arange(len(order)) - np.repeat(np.cumsum(totals) - totals, totals)
    return order[within < k], merged


def take_from(
    segments: Sequence[Segment],
    owners: npt.NDArray[np.int64],
    rows: RowNumbers,
    columns: tuple[str, ...],
    schema: CollectionSchema,
) -> pa.RecordBatch:
    """Rows of several segments, in the given order."""
    if not columns:
        return rows_only(len(rows))
    if not segments:
        return empty_rows(schema, columns)
    pieces, back = _by_segment(segments, owners, rows)
    return concat_rows([take_columns(segment, some, columns) for segment, some in pieces]).take(back)


def _by_segment(
    segments: Sequence[Segment], owners: npt.NDArray[np.int64], rows: RowNumbers
) -> tuple[list[tuple[Segment, RowNumbers]], pa.Array]:
    """The rows of each segment, and where in these, one behind another, the given order finds its own."""
    by_owner = np.argsort(owners, kind="stable")
    sorted_rows = rows[by_owner]
    ends = np.cumsum(np.bincount(owners, minlength=len(segments))).tolist()
    pieces = [sorted_rows[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    back = np.empty(len(rows), np.int64)
    back[by_owner] = np.arange(len(rows))
    return list(zip(segments, pieces, strict=True)), numbers_to_arrow(back)


def take_columns(segment: Segment, rows: RowNumbers, columns: tuple[str, ...]) -> pa.RecordBatch:
    """Fields of some rows, and what the engine knows of rows itself: their versions, their partition."""
    own = [name for name in columns if name in _OWN_COLUMNS]
    if not own:
        return segment.take(rows, columns)
    batch = segment.take(rows, tuple(name for name in columns if name not in _OWN_COLUMNS))
    made = {
        VERSION_FIELD: lambda: numbers_to_arrow(segment.versions(rows)),
        PARTITION_FIELD: lambda: numbers_to_arrow(np.full(len(rows), segment.partition_id)),
    }
    taken = [made[name]() if name in made else batch.column(name) for name in columns]
    return pa.RecordBatch.from_arrays(taken, list(columns))


def concat_rows(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    filled = [b for b in batches if b.num_rows] or [batches[0]]
    return filled[0] if len(filled) == 1 else pa.concat_batches(filled)


def empty_rows(schema: CollectionSchema, columns: tuple[str, ...]) -> pa.RecordBatch:
    types = [arrow_type(f) if (f := schema.field(name)) is not None else pa.int64() for name in columns]
    return pa.RecordBatch.from_arrays([pa.array([], kind) for kind in types], list(columns))


def empty_hits(plan: SearchPlan, nq: int) -> SearchPartial:
    return SearchPartial(
        np.zeros(nq, np.int64),
        pa.array([], arrow_type(plan.schema.primary)),
        np.empty(0, np.float32),
        empty_rows(plan.schema, plan.columns) if plan.columns else rows_only(0),
    )


# -- queries ------------------------------------------------------------------------------------
def assemble_rows(found: Sequence[tuple[Segment, RowNumbers]], plan: QueryPlan) -> QueryPartial:
    """Merge matching rows of several segments by primary key and take their columns."""
    if not found:
        empty = pa.array([], arrow_type(plan.schema.primary))
        return QueryPartial(0, empty, empty_rows(plan.schema, plan.columns))
    segments = [s for s, _ in found]
    keys = pa.concat_arrays([s.keys(rows) for s, rows in found])
    owners = np.repeat(np.arange(len(found)), [len(rows) for _, rows in found])
    rows = np.concatenate([rows for _, rows in found])
    order = _smallest(keys, plan.limit)
    ids = keys.take(numbers_to_arrow(order))
    return QueryPartial(len(ids), ids, take_from(segments, owners[order], rows[order], plan.columns, plan.schema))


def merge_rows(partials: Sequence[QueryPartial], plan: QueryPlan) -> QueryPartial:
    """Merge the answers of several nodes."""
    if plan.count:
        return QueryPartial(sum(p.count for p in partials))
    if len(partials) == 1:
        return partials[0]
    keys = pa.concat_arrays([p.ids for p in partials])
    wanted = numbers_to_arrow(_smallest(keys, plan.limit))
    rows = concat_rows([p.rows for p in partials if p.rows is not None])
    return QueryPartial(len(wanted), keys.take(wanted), rows.take(wanted))


def _smallest(keys: pa.Array, limit: int | None) -> RowNumbers:
    """Places of the `limit` smallest keys, ascending."""
    if pa.types.is_integer(keys.type):
        values = arrow_to_numbers(keys)
        if limit is not None and limit < len(values):
            if bool((values[1:] >= values[:-1]).all()):
                return np.arange(limit)
            places = np.argpartition(values, limit - 1)[:limit] if limit else np.empty(0, np.int64)
            return places[np.argsort(values[places], kind="stable")]
        return np.argsort(values, kind="stable")
    order: RowNumbers = arrow_to_numbers(pc.sort_indices(keys)).astype(np.int64)
    return order[:limit]
