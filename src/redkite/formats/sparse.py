"""Sparse vectors from files, as the column of their field: pairs of index and value by increasing index."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.formats.faults import BadCell, BadColumn
from redkite.model.batch import list_starts
from redkite.model.sparse import MAX_INDEX

_PAIR = np.dtype([("index", "<u4"), ("value", "<f4")])
_WHOLE = re.compile(r"-?[0-9]+")
Mask = npt.NDArray[np.bool_]


def pairs_column(
    lengths: npt.NDArray[np.int64],
    index: npt.NDArray[Any],
    value: npt.NDArray[Any],
    valid: Mask | None,
) -> pa.Array:
    """`lengths` of all rows (0 where null), their indexes and values one after another, in any order within a row."""
    owner = np.repeat(np.arange(len(lengths)), lengths)
    _check_numbers(owner, index, value)
    same = owner[1:] == owner[:-1]
    if (same & (index[1:] <= index[:-1])).any():
        order = np.lexsort((index, owner))
        index, value = index[order], value[order]
        twice = same & (index[1:] == index[:-1])
        if twice.any():
            at = int(np.argmax(twice))
            raise BadCell(int(owner[at]), f"the sparse vector has the index {index[at]} twice")
    pairs = np.empty(len(index), _PAIR)
    with np.errstate(over="ignore"):  # a value beyond float32 becomes infinity, which is refused
        pairs["index"], pairs["value"] = index, value
    odd = ~np.isfinite(pairs["value"])
    if odd.any():
        raise BadCell(int(owner[np.argmax(odd)]), "a value of the sparse vector is out of the range of float32")
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths * _PAIR.itemsize, out=offsets[1:])
    nulls = None if valid is None or valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(
        pa.binary(), len(lengths), [nulls, pa.py_buffer(offsets), pa.py_buffer(pairs.view(np.uint8))]
    )


def _check_numbers(owner: npt.NDArray[np.int64], index: npt.NDArray[Any], value: npt.NDArray[Any]) -> None:
    if not len(index):
        return
    outside = ~((index >= 0) & (index <= MAX_INDEX))
    if outside.any():
        at = int(np.argmax(outside))
        raise BadCell(int(owner[at]), f"the index {index[at]} of the sparse vector is not within [0, {MAX_INDEX}]")
    broken = index != np.floor(index)
    if broken.any():
        at = int(np.argmax(broken))
        raise BadCell(int(owner[at]), f"the index {index[at]} of the sparse vector is not a whole number")
    bad = ~(np.isfinite(value) & (value >= 0))
    if bad.any():
        at = int(np.argmax(bad))
        raise BadCell(int(owner[at]), f"the value {value[at]} of the sparse vector is negative or not finite")


def sparse_rows(rows: Sequence[dict[str, Any] | None]) -> pa.Array:
    """Parsed JSON, `{"1": 0.5}` or `{"indices": [1], "values": [0.5]}` in each row, as a column."""
    keys: list[Any] = []
    numbers: list[Any] = []
    lengths = np.zeros(len(rows), np.int64)
    for at, row in enumerate(rows):  # dicts of texts: there is nothing to vectorise before they are taken apart
        if row is None:
            continue
        index: Sequence[Any] = tuple(row)
        value: Sequence[Any] = tuple(row.values())
        if row.keys() == {"indices", "values"} and isinstance(row["indices"], list):
            index, value = row["indices"], row["values"]
            if not isinstance(value, list) or len(index) != len(value):
                raise BadCell(at, "indices and values of the sparse vector must be lists of one length")
        if not all(map(_is_whole, index)):
            raise BadCell(at, "an index of the sparse vector is not a whole number")
        keys += map(int, index)
        if any(isinstance(n, bool) or not isinstance(n, int | float) for n in value):
            raise BadCell(at, "a value of the sparse vector is not a number")
        numbers += value
        lengths[at] = len(value)
    try:
        indexes = np.array(keys, np.int64)
    except OverflowError:
        big = int(np.argmax([abs(k) > MAX_INDEX for k in keys]))
        row_of = int(np.searchsorted(np.cumsum(lengths), big, "right"))
        raise BadCell(row_of, f"the index {keys[big]} of the sparse vector is not within [0, {MAX_INDEX}]") from None
    valid = np.fromiter((row is not None for row in rows), np.bool_, len(rows))
    return pairs_column(lengths, indexes, np.array(numbers, np.float64), valid)


def _is_whole(index: Any) -> bool:
    """Keys of JSON objects are texts."""
    return _WHOLE.fullmatch(index) is not None if isinstance(index, str) else type(index) is int


def sparse_structs(values: pa.Array) -> pa.Array:
    """A column of structs of two lists, `indices` and `values`, or of maps from index to value."""
    valid = values.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_map(values.type):
        index, value, starts = values.keys, values.items, list_starts(values)
        lengths = np.diff(starts).astype(np.int64)
        lengths[~valid] = 0
        here = slice(starts[0], starts[-1])
        return pairs_column(lengths, _numbers(index)[here], _numbers(value)[here], valid)
    names = {values.type.field(at).name for at in range(values.type.num_fields)}
    if names != {"indices", "values"}:
        raise BadColumn(f"a struct of {sorted(names)} is no sparse vector: it takes indices and values")
    lists = [_whole(values.field(name), valid) for name in ("indices", "values")]
    counts = [np.diff(list_starts(column)).astype(np.int64) for column in lists]
    odd = counts[0] != counts[1]
    if odd.any():
        raise BadCell(int(np.argmax(odd)), "indices and values of the sparse vector have different lengths")
    return pairs_column(counts[0], _numbers(lists[0].flatten()), _numbers(lists[1].flatten()), valid)


def _whole(column: pa.Array, valid: Mask) -> pa.Array:
    """A list column in which every row is there, those that are not valid being empty."""
    if pa.types.is_large_list(column.type):
        column = column.cast(pa.list_(column.type.value_type))
    if not pa.types.is_list(column.type):
        raise BadColumn(f"indices and values of a sparse vector are lists, not {column.type}")
    missing = valid & column.is_null().to_numpy(zero_copy_only=False)
    if missing.any():
        raise BadCell(int(np.argmax(missing)), "the sparse vector lacks its indices or values")
    empty = pa.array([[]], column.type)
    keep = pa.array(np.where(valid, np.arange(len(column)), len(column)))
    return pa.concat_arrays([column, empty]).take(keep)


def _numbers(values: pa.Array) -> npt.NDArray[Any]:
    if values.null_count or not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise BadColumn("indices and values of a sparse vector are numbers, none of them null")
    numbers: npt.NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return numbers.astype(np.int64) if numbers.dtype == np.uint64 else numbers
