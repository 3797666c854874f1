"""Sorting by values of fields and of JSON paths, column by column.

Numbers sort as numbers, texts by their bytes, false before true. At a JSON path truth values come before numbers,
numbers before texts, texts before arrays and objects. Nulls and missing keys come first unless they are wanted last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from redkite.filter import JsonColumn
from redkite.filter.json_column import BOOL, DOUBLE, INT, NESTED, NULL, STRING
from redkite.index.base import RowNumbers
from redkite.model.batch import numbers_to_arrow
from redkite.model.requests import Ordering
from redkite.model.types import DataType
from redkite.query.plan import QueryPartial, QueryPlan, SearchPartial, SortKey
from redkite.query.reduce import assemble_rows, concat_rows, take_from
from redkite.query.sources import Source, batch_values, group_starts, json_column, plain, segment_values, sortable
from redkite.segment.base import Segment

Rank = npt.NDArray[Any]
_KINDS = np.zeros(NESTED + 1, np.int8)
_KINDS[[NULL, BOOL, INT, DOUBLE, STRING, NESTED]] = [0, 1, 2, 2, 3, 4]
"""Kind of a JSON value -> its place among values of other kinds."""
_INT64_END = 2.0**63


# -- keys ---------------------------------------------------------------------------------------
def ranks_of(column: pa.Array | JsonColumn, key: SortKey | Ordering) -> list[Rank]:
    """Arrays to sort by, the weightiest first."""
    if isinstance(column, JsonColumn):
        valid = column.kind != NULL
        ranks = _json_ranks(column)
    else:
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        ranks = [_plain_rank(column)]
    if key.descending:
        # The bits turned over reverse the order of integers, the least one included.
        ranks = [-rank if rank.dtype.kind == "f" else ~rank for rank in ranks]
    if bool(valid.all()):
        return ranks
    return [valid != key.nulls_last, *(np.where(valid, rank, rank.dtype.type(0)) for rank in ranks)]


def _plain_rank(column: pa.Array) -> Rank:
    if pa.types.is_floating(column.type):
        return _numbers(column.fill_null(0), pa.float64())
    if pa.types.is_integer(column.type):
        return _numbers(column.fill_null(0), pa.int64())
    if pa.types.is_boolean(column.type):
        return _numbers(column.fill_null(False), pa.int64())
    return _text_rank(column)


def _numbers(column: pa.Array, kind: pa.DataType) -> Rank:
    numbers: Rank = pc.cast(column, kind).to_numpy()
    return numbers


def _text_rank(column: pa.Array) -> Rank:
    """Only the texts that differ are sorted."""
    encoded = plain(column).dictionary_encode()
    if not len(encoded.dictionary):
        return np.zeros(len(column), np.int64)
    ranks: Rank = pc.rank(encoded.dictionary, tiebreaker="dense").to_numpy().astype(np.int64)
    codes: Rank = encoded.indices.fill_null(0).to_numpy()
    return ranks[codes]


def _json_ranks(column: JsonColumn) -> list[Rank]:
    counts = column.counts
    ranks: list[Rank] = [_KINDS[column.kind]]
    if counts[INT] or counts[DOUBLE] or counts[BOOL]:
        ranks.append(np.where(column.kind == BOOL, column.bools, column.numbers))
        if counts[INT]:
            ranks.append(_exact_integers(column))
    if counts[STRING]:
        ranks.append(_text_rank(column.strings))
    if counts[NESTED]:
        ranks.append(_text_rank(column.raw))
    return ranks


def _exact_integers(column: JsonColumn) -> Rank:
    """Tells integers apart that are one number as doubles. A double counts as the integer it is."""
    if not column.counts[DOUBLE]:
        return column.ints
    whole = (column.kind == DOUBLE) & (np.abs(column.numbers) < _INT64_END)
    exact: Rank = np.where(whole, np.where(whole, column.numbers, 0).astype(np.int64), column.ints)
    return exact


def _all_ranks(columns: Sequence[pa.Array | JsonColumn], keys: Sequence[SortKey]) -> list[Rank]:
    return [rank for column, key in zip(columns, keys, strict=True) for rank in ranks_of(column, key)]


def first_places(ranks: Sequence[Rank], keys: pa.Array, count: int | None) -> RowNumbers:
    """The first `count` places in order: by the ranks, the weightiest first, then by primary key."""
    places = np.arange(len(keys))
    if count is not None and 0 < count < len(places):
        # The weightiest array alone rules most places out.
        places = np.flatnonzero(ranks[0] <= np.partition(ranks[0], count - 1)[count - 1])
    last = sortable(keys.take(numbers_to_arrow(places)))
    order = np.lexsort([*(rank[places] for rank in ranks), last][::-1])
    return places[order][:count]


# -- searches -----------------------------------------------------------------------------------
def order_hits(partial: SearchPartial, keys: Sequence[SortKey]) -> RowNumbers:
    """Places of the hits of each query in the order of the keys, equal ones as they were; of a search by groups whole
    groups, in the order of their best hits."""
    asked = np.repeat(np.arange(len(partial.topks)), partial.topks)
    columns = [column_of(partial.rows, key.source) for key in keys]
    ranks = _all_ranks(columns, keys)
    if partial.groups is not None:
        starts = group_starts(asked, partial.groups.columns)
        ranks = [rank[starts] for rank in ranks]
        ranks.append(starts)
    order: RowNumbers = np.lexsort([asked, *ranks, np.arange(len(asked))][::-1])
    return order


def column_of(batch: pa.RecordBatch, source: Source) -> pa.Array | JsonColumn:
    """What to sort rows by that were taken already."""
    if source.path is not None and source.data_type is DataType.JSON:
        return JsonColumn.from_rows(batch.column(source.field), source.path)
    return batch_values(batch, source)


def first_rows(rows: pa.RecordBatch, keys: Sequence[SortKey]) -> RowNumbers:
    """Places of all rows in the order of the keys, equal ones as they are."""
    ranks = _all_ranks([column_of(rows, key.source) for key in keys], keys)
    order: RowNumbers = np.lexsort([*ranks, np.arange(rows.num_rows)][::-1])
    return order


# -- queries ------------------------------------------------------------------------------------
def assemble_ordered(found: Sequence[tuple[Segment, RowNumbers]], plan: QueryPlan) -> QueryPartial:
    """The first `plan.limit` rows of several segments in the order of the plan, and their columns."""
    if not found:
        return assemble_rows(found, plan)
    kept = []
    for segment, rows in found:
        columns = [_segment_column(segment, key.source, rows) for key in plan.order]
        places = first_places(_all_ranks(columns, plan.order), segment.keys(rows), plan.limit)
        kept.append((segment, rows[places]))
    segments = [segment for segment, _ in kept]
    ids = pa.concat_arrays([segment.keys(rows) for segment, rows in kept])
    owners = np.repeat(np.arange(len(kept)), [len(rows) for _, rows in kept])
    taken = take_from(segments, owners, np.concatenate([rows for _, rows in kept]), plan.columns, plan.schema)
    return _in_order(ids, taken, plan)


def merge_ordered(partials: Sequence[QueryPartial], plan: QueryPlan) -> QueryPartial:
    """Merge the answers of several nodes."""
    filled = [p for p in partials if p.count]
    if len(filled) < 2:
        return filled[0] if filled else partials[0]
    ids = pa.concat_arrays([p.ids for p in filled])
    return _in_order(ids, concat_rows([p.rows for p in filled if p.rows is not None]), plan)


def _in_order(ids: pa.Array, rows: pa.RecordBatch, plan: QueryPlan) -> QueryPartial:
    columns = [column_of(rows, key.source) for key in plan.order]
    wanted = numbers_to_arrow(first_places(_all_ranks(columns, plan.order), ids, plan.limit))
    return QueryPartial(len(wanted), ids.take(wanted), rows.take(wanted))


def _segment_column(segment: Segment, source: Source, rows: RowNumbers) -> pa.Array | JsonColumn:
    if source.path is not None and source.data_type is DataType.JSON:
        return json_column(segment, source.field, source.path, rows)
    return segment_values(segment, source, rows)
