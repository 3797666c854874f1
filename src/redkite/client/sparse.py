"""Sparse vectors as users hold them, as a column: dicts, lists of pairs, scipy's matrices, bytes.

Stored and sent, a row is (uint32 index, float32 value) pairs by increasing index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from struct import pack
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.client.refusals import mismatch
from redkite.errors import InvalidParameter

MAX_SPARSE_INDEX = 2**32 - 2
_PAIR = np.dtype([("index", "<u4"), ("value", "<f4")])
_EXPECTED = "sparse_float_vector"
_FEW = 256
_WHOLE, _NUMBER = {int}, {int, float}
_LARGEST = 1e38
_Numbers = npt.NDArray[np.float64]
_Lengths = npt.NDArray[np.int64]


def sparse_column(field: str, values: Any) -> pa.Array:
    """A scipy sparse matrix, or a sequence of sparse vectors and None, as a binary column."""
    if hasattr(values, "tocsr"):
        return _of_matrix(field, values)
    rows = values.tolist() if isinstance(values, np.ndarray) else values
    kinds = set(map(type, rows)) - {type(None)}
    if kinds and all(issubclass(kind, Mapping) for kind in kinds):
        return _of_mappings(field, rows)
    if kinds == {list} or kinds == {tuple}:
        return _of_pairs(field, rows)
    return pa.array([None if row is None else sparse_bytes(field, row) for row in rows], pa.binary())


def sparse_bytes(field: str, row: Any) -> bytes:
    """One sparse vector as pairs: `{index: value}`, a list of (index, value), a scipy matrix of one row, or bytes in
    that very form."""
    if isinstance(row, bytes):
        return row
    if type(row) is dict and len(row) <= _FEW:
        quick = _of_dict(row)
        if quick is not None:
            return quick
    if hasattr(row, "tocsr"):
        if row.ndim == 2 and row.shape[0] != 1:
            raise mismatch(field, f"{_EXPECTED} of one row", row)
        column = _of_matrix(field, row)
    elif isinstance(row, Mapping):
        column = _of_mappings(field, [row])
    elif isinstance(row, list | tuple):
        column = _of_pairs(field, [row])
    else:
        raise mismatch(field, _EXPECTED, row)
    data: bytes = column[0].as_py()
    return data


def _of_dict(row: dict[Any, Any]) -> bytes | None:
    """The pairs of one vector, without numpy, whose calls cost more than a few pairs do; None for one that has to be
    looked at closely, because it is wrong or of other types."""
    values = row.values()
    if not (set(map(type, row)) <= _WHOLE and set(map(type, values)) <= _NUMBER):
        return None
    if not row:
        return b""
    pairs = sorted(row.items())
    if pairs[0][0] < 0 or pairs[-1][0] > MAX_SPARSE_INDEX or min(values) < 0 or not sum(values) <= _LARGEST:
        return None  # a sum beyond that is one of a value that is no number, or too large for float32, or nearly so
    return pack(f"<{'If' * len(pairs)}", *chain.from_iterable(pairs))


def _of_matrix(field: str, values: Any) -> pa.Array:
    matrix = values.tocsr()
    lengths = np.diff(matrix.indptr).astype(np.int64)
    return _column(field, lengths, matrix.indices.astype(np.float64), matrix.data.astype(np.float64))


def _of_mappings(field: str, rows: Sequence[Mapping[Any, Any] | None]) -> pa.Array:
    present = [row for row in rows if row is not None]
    lengths = np.fromiter(map(len, present), np.int64, len(present))
    total = int(lengths.sum())
    try:
        index = np.fromiter(chain.from_iterable(present), np.float64, total)
        value = np.fromiter(chain.from_iterable(row.values() for row in present), np.float64, total)
    except (TypeError, ValueError) as error:
        raise mismatch(field, _EXPECTED, present[0]) from error
    return _column(field, lengths, index, value, _validity(rows, present))


def _of_pairs(field: str, rows: Sequence[Sequence[Any] | None]) -> pa.Array:
    present = [row for row in rows if row is not None]
    pairs = list(chain.from_iterable(present))
    if not set(map(type, pairs)) <= {list, tuple} or not set(map(len, pairs)) <= {2}:
        raise mismatch(field, _EXPECTED, present[0])
    try:
        numbers = np.fromiter(chain.from_iterable(pairs), np.float64, 2 * len(pairs)).reshape(-1, 2)
    except (TypeError, ValueError) as error:
        raise mismatch(field, _EXPECTED, present[0]) from error
    lengths = np.fromiter(map(len, present), np.int64, len(present))
    return _column(field, lengths, numbers[:, 0], numbers[:, 1], _validity(rows, present))


def _validity(rows: Sequence[Any], present: Sequence[Any]) -> npt.NDArray[np.bool_] | None:
    """Which rows hold a vector; None when all do."""
    if len(rows) == len(present):
        return None
    return np.fromiter((row is not None for row in rows), np.bool_, len(rows))


def _column(
    field: str, lengths: _Lengths, index: _Numbers, value: _Numbers, valid: npt.NDArray[np.bool_] | None = None
) -> pa.Array:
    """`lengths` of the rows that are there, and their pairs one row after the other, in any order within it."""
    if len(index) and not (index.min() >= 0 and index.max() <= MAX_SPARSE_INDEX and (index == np.floor(index)).all()):
        raise InvalidParameter(f"invalid sparse float vector: index of field {field} out of [0, {MAX_SPARSE_INDEX}]")
    if not np.isfinite(value).all() or (value < 0).any():
        raise InvalidParameter(f"invalid sparse float vector: a value of field {field} is negative or not finite")
    owner = np.repeat(np.arange(len(lengths)), lengths)
    same_row = owner[1:] == owner[:-1]
    if (same_row & (index[1:] <= index[:-1])).any():
        order = np.lexsort((index, owner))
        index, value = index[order], value[order]
        if (same_row & (index[1:] == index[:-1])).any():
            raise InvalidParameter(f"invalid sparse float vector: an index of field {field} occurs twice")
    pairs = np.empty(len(index), _PAIR)
    with np.errstate(over="ignore"):  # a value beyond float32 becomes infinity, which is refused
        pairs["index"], pairs["value"] = index, value
    if not np.isfinite(pairs["value"]).all():
        raise InvalidParameter(f"invalid sparse float vector: a value of field {field} is out of the range of float32")
    return _binary(lengths, pairs, valid)


def _binary(lengths: _Lengths, pairs: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None) -> pa.Array:
    if valid is not None:
        everywhere = np.zeros(len(valid), np.int64)
        everywhere[valid] = lengths
        lengths = everywhere
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths * _PAIR.itemsize, out=offsets[1:])
    bitmap = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(
        pa.binary(), len(lengths), [bitmap, pa.py_buffer(offsets), pa.py_buffer(pairs.view(np.uint8))]
    )


def sparse_dict(data: bytes) -> dict[int, float]:
    """The inverse of `sparse_bytes`."""
    pairs = np.frombuffer(data, dtype=_PAIR)
    return dict(zip(pairs["index"].tolist(), pairs["value"].tolist(), strict=True))
