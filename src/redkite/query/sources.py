"""Values that rows are grouped and sorted by: of a field, or at a path of a JSON field or of `$meta`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from redkite.filter import JsonColumn
from redkite.filter.json_column import BOOL, DOUBLE, INT, NESTED, STRING
from redkite.index.base import RowNumbers
from redkite.model.batch import arrow_to_numbers
from redkite.model.types import DataType
from redkite.segment.base import Segment

Codes = npt.NDArray[np.int64]
FEW_ROWS = 0.25
"""Up to this share of a segment's rows, their JSON is read row by row; for more, the whole path is, and kept."""
_SPANS = {
    DataType.INT8: (-(1 << 7), (1 << 7) - 1), DataType.INT16: (-(1 << 15), (1 << 15) - 1),
    DataType.INT32: (-(1 << 31), (1 << 31) - 1), DataType.INT64: (-(1 << 63), (1 << 63) - 1),
}  # fmt: skip
_EXACT_DOUBLE = float(1 << 53)
"""Whole doubles up to here are the integers they look like."""


class Source(msgspec.Struct, frozen=True):
    """Where the values come from, and what they are."""

    name: str
    """As it was asked for."""
    field: str
    """The stored column."""
    data_type: DataType
    """Of the values. JSON: of whatever kind each is."""
    path: tuple[str | int, ...] | None = None
    """Below a JSON column; None: the column itself."""
    strict: bool = False
    """At a path: values of another type are null, rather than converted."""


def segment_values(segment: Segment, source: Source, rows: RowNumbers) -> pa.Array:
    """The values of some rows: one Arrow array. Of values of any kind their JSON texts."""
    if source.path is None:
        return plain(segment.take(rows, (source.field,)).column(0))
    return json_values(json_column(segment, source.field, source.path, rows), source)


def batch_values(batch: pa.RecordBatch, source: Source) -> pa.Array:
    """The same of rows that were taken already, with the column among theirs."""
    column = batch.column(source.field)
    if source.path is None:
        return plain(column)
    return json_values(JsonColumn.from_rows(column, source.path), source)


def json_column(segment: Segment, field: str, path: tuple[str | int, ...], rows: RowNumbers) -> JsonColumn:
    """The values at a path in some rows."""
    total = segment.rows_at(1 << 63)
    if len(rows) <= FEW_ROWS * total:
        return JsonColumn.from_rows(segment.take(rows, (field,)).column(0), path)
    return picked(segment.columns(total).json_path(field, path), rows)


def picked(column: JsonColumn, rows: RowNumbers) -> JsonColumn:
    """Some rows of a column, without its lists."""
    if len(rows) == column.rows and (not len(rows) or (rows[0] == 0 and bool((np.diff(rows) == 1).all()))):
        return column
    wanted = pa.array(rows)
    kind = column.kind[rows]
    return JsonColumn(
        present=column.present[rows], filled=column.filled[rows], kind=kind,
        counts=tuple(np.bincount(kind, minlength=NESTED + 1).tolist()), ints=column.ints[rows],
        numbers=column.numbers[rows], bools=column.bools[rows], strings=column.strings.take(wanted),
        raw=column.raw.take(wanted), lists=None,
    )  # fmt: skip


def plain(column: pa.Array) -> pa.Array:
    """A column without a dictionary."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


# -- values at a path, cast ---------------------------------------------------------------------
def json_values(column: JsonColumn, source: Source) -> pa.Array:
    """The values as what the source says they are; null where one is not, and cannot be made so."""
    match source.data_type:
        case DataType.JSON:
            return json_texts(column)
        case DataType.VARCHAR:
            return plain(column.strings) if source.strict else _texts(column)
        case DataType.BOOL:
            return _bools(column, source.strict)
        case _:
            return _integers(column, source.strict, *_SPANS[source.data_type])


def json_texts(column: JsonColumn) -> pa.Array:
    """The JSON text of each value: equal texts are equal values. Whole numbers look alike, whatever their kind; the
    characters of strings are not escaped."""
    quoted = pc.binary_join_element_wise(pa.scalar('"'), plain(column.strings), pa.scalar('"'), "")
    return pc.coalesce(quoted, _bare(column))


def _texts(column: JsonColumn) -> pa.Array:
    return pc.coalesce(plain(column.strings), _bare(column))


def _bare(column: JsonColumn) -> pa.Array:
    """The texts of values that are no strings."""
    counts = column.counts
    texts = pc.cast(column.raw, pa.string())
    if counts[INT] or counts[DOUBLE]:
        exact = _whole(column)
        whole = (column.kind == INT) | exact
        numbers = np.where(column.kind == INT, column.ints, np.where(exact, column.numbers, 0).astype(np.int64))
        texts = pc.coalesce(texts, pc.cast(pa.array(numbers, mask=~whole), pa.string()))
    if counts[DOUBLE]:
        broken = (column.kind == DOUBLE) & ~whole
        texts = pc.coalesce(texts, pc.cast(pa.array(column.numbers, mask=~broken), pa.string()))
    if counts[BOOL]:
        texts = pc.coalesce(texts, pc.cast(pa.array(column.bools, mask=column.kind != BOOL), pa.string()))
    return texts


def _whole(column: JsonColumn) -> npt.NDArray[np.bool_]:
    numbers = column.numbers
    whole: npt.NDArray[np.bool_] = numbers == np.trunc(numbers)
    whole &= (column.kind == DOUBLE) & (np.abs(numbers) <= _EXACT_DOUBLE)
    return whole


def _bools(column: JsonColumn, strict: bool) -> pa.Array:
    values = pa.array(column.bools, mask=column.kind != BOOL)
    if strict or not column.counts[STRING]:
        return values
    lower = pc.utf8_lower(plain(column.strings))
    is_bool = pc.is_in(lower, pa.array(["true", "false"]))
    return pc.coalesce(values, pc.if_else(is_bool, pc.equal(lower, "true"), pa.scalar(None, pa.bool_())))


def _integers(column: JsonColumn, strict: bool, least: int, most: int) -> pa.Array:
    known = column.kind == INT
    numbers = column.ints
    if not strict and column.counts[DOUBLE]:
        whole = _whole(column)
        numbers = np.where(whole, np.where(whole, column.numbers, 0).astype(np.int64), numbers)
        known = known | whole
    values = pa.array(numbers, mask=~known)
    if not strict and column.counts[STRING]:
        texts = pc.utf8_trim_whitespace(plain(column.strings))
        is_number = pc.match_substring_regex(texts, "^-?[0-9]{1,18}$")
        parsed = pc.cast(pc.if_else(is_number, texts, pa.scalar(None, pa.string())), pa.int64())
        values = pc.coalesce(values, parsed)
    if (least, most) == _SPANS[DataType.INT64]:
        return values
    inside = pc.and_(pc.greater_equal(values, least), pc.less_equal(values, most))
    return pc.if_else(inside, values, pa.scalar(None, pa.int64()))


# -- as numbers ---------------------------------------------------------------------------------
def codes_of(columns: Sequence[pa.Array]) -> Codes:
    """One number for each row, equal where all the columns are; null is a value."""
    codes: Codes | None = None
    for column in columns:
        encoded = column.dictionary_encode(null_encoding="encode")
        found = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        if codes is None:
            codes = found
        else:
            codes = np.unique(codes * max(1, len(encoded.dictionary)) + found, return_inverse=True)[1].astype(np.int64)
    if codes is None:
        raise ValueError("no columns")
    return codes


def group_starts(asked: Codes, columns: Sequence[pa.Array]) -> Codes:
    """For hits that are in the order of their groups within each query: where the group of each one begins."""
    if not len(asked):
        return np.empty(0, np.int64)
    codes = codes_of(columns)
    begins = np.concatenate([[True], (asked[1:] != asked[:-1]) | (codes[1:] != codes[:-1])])
    starts: Codes = np.maximum.accumulate(np.where(begins, np.arange(len(asked)), 0))
    return starts


def sortable(keys: pa.Array) -> npt.NDArray[Any]:
    """Numbers that sort as keys without nulls do."""
    if pa.types.is_integer(keys.type):
        values: npt.NDArray[Any] = arrow_to_numbers(keys)
        return values
    ranks: npt.NDArray[Any] = arrow_to_numbers(pc.rank(keys, tiebreaker="dense"))
    return ranks
