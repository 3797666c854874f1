"""Vectors of one length, as numbers or bytes from a file, as the column of their field."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.formats.faults import BadCell, BadColumn
from redkite.model.batch import arrow_to_numbers, matrix_to_arrow, matrix_type
from redkite.model.halves import to_bfloat16
from redkite.model.schema import FieldSchema
from redkite.model.types import DataType

Matrix = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
_HALVES = (DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR)


def matrix_column(field: FieldSchema, matrix: Matrix, valid: Mask | None = None) -> pa.Array:
    """(rows, n) numbers -> column. n numbers are the dimensions, or for binary and half vectors the bytes of one;
    rows where `valid` is False are null."""
    stored = _stored(field, matrix)
    return matrix_to_arrow(stored, field.data_type, valid)


def _stored(field: FieldSchema, matrix: Matrix) -> Matrix:
    kind = field.data_type
    stored, width = matrix_type(kind, field.dim)
    given = matrix.shape[1]
    if kind in _HALVES:
        if matrix.dtype == np.uint8:
            _check_width(field, given, 2 * width, " bytes")
            return np.ascontiguousarray(matrix).view(stored)
        _check_width(field, given, width)
        if matrix.dtype.kind == "V" and matrix.dtype.itemsize == 2:
            return np.ascontiguousarray(matrix).view(stored)
        with np.errstate(over="ignore"):  # what is too large becomes infinity, which no vector may hold
            return to_bfloat16(matrix) if kind is DataType.BFLOAT16_VECTOR else matrix.astype(np.float16)
    _check_width(field, given, width, " bytes" if kind is DataType.BINARY_VECTOR else "")
    if matrix.dtype == stored:
        return matrix
    if stored.kind in "iu":
        return _narrowed(field, matrix, stored)
    if matrix.dtype.kind not in "fiu":
        raise BadColumn(f"numbers of type {matrix.dtype} are no vectors of {kind.wire_name}")
    with np.errstate(over="ignore"):
        return matrix.astype(stored)


def _check_width(field: FieldSchema, given: int, wanted: int, what: str = "") -> None:
    if given != wanted:
        raise BadColumn(f"its vectors have {given} numbers, and {wanted}{what} make the dimension {field.dim}")


def _narrowed(field: FieldSchema, matrix: Matrix, stored: np.dtype[Any]) -> Matrix:
    if matrix.dtype.kind not in "fiu":
        raise BadColumn(f"numbers of type {matrix.dtype} are no vectors of {field.data_type.wire_name}")
    narrow = matrix.astype(stored)
    odd = (narrow != matrix).any(axis=1)
    if odd.any():
        raise BadCell(int(np.argmax(odd)), f"a number does not fit {stored.name}")
    return narrow


def lists_matrix(field: FieldSchema, lists: pa.Array) -> tuple[Matrix, Mask | None]:
    """A list column of numbers, all of one length but for nulls -> (rows with a vector, n) and which rows those are."""
    valid: Mask | None = None
    if lists.null_count:
        valid = lists.is_valid().to_numpy(zero_copy_only=False)
        lists = lists.drop_null()
    rows = len(lists)
    if not rows:
        stored, width = matrix_type(field.data_type, field.dim)
        return np.empty((0, width), stored), valid
    kind = lists.type
    if pa.types.is_fixed_size_list(kind):
        width = kind.list_size
    else:
        width = _one_length(field, lists, valid)
    flat = lists.flatten()
    if flat.null_count:
        at = int(np.argmax(flat.is_null().to_numpy(zero_copy_only=False)))
        raise BadCell(_row(at // max(1, width), valid), "the vector has a null among its numbers")
    if pa.types.is_float16(flat.type):
        numbers: Matrix = flat.to_numpy(zero_copy_only=False)
    elif pa.types.is_integer(flat.type) or pa.types.is_floating(flat.type):
        numbers = arrow_to_numbers(flat)
    else:
        raise BadColumn(f"a list of {flat.type} is no vector")
    return numbers.reshape(rows, width), valid


def _one_length(field: FieldSchema, lists: pa.Array, valid: Mask | None) -> int:
    """How many numbers each row has."""
    starts = np.frombuffer(
        lists.buffers()[1], np.int64 if pa.types.is_large_list(lists.type) else np.int32
    )[lists.offset : lists.offset + len(lists) + 1]  # fmt: skip
    lengths = np.diff(starts)
    wanted = _lengths(field)
    width = int(lengths[0]) if int(lengths[0]) in wanted else wanted[0]
    odd = lengths != width
    if odd.any():
        at = int(np.argmax(odd))
        raise BadCell(
            _row(at, valid), f"the vector has {lengths[at]} numbers, and {width} make the dimension {field.dim}"
        )
    return width


def _lengths(field: FieldSchema) -> tuple[int, ...]:
    """How many numbers a vector may be made of."""
    if field.data_type in _HALVES:
        return 2 * field.dim, field.dim
    return (matrix_type(field.data_type, field.dim)[1],)


def _row(at: int, valid: Mask | None) -> int:
    """The row of the at-th vector that is there."""
    return at if valid is None else int(np.flatnonzero(valid)[at])


def spread(matrix: Matrix, valid: Mask | None) -> Matrix:
    """A row for each row, zeros where none is valid."""
    if valid is None:
        return matrix
    out = np.zeros((len(valid), matrix.shape[1]), matrix.dtype)
    out[valid] = matrix
    return out


def lists_column(field: FieldSchema, lists: pa.Array) -> pa.Array:
    """A list column of numbers or bytes -> the column of a vector field."""
    matrix, valid = lists_matrix(field, lists)
    return matrix_column(field, spread(matrix, valid), valid)


def bytes_column(field: FieldSchema, values: pa.Array) -> pa.Array:
    """A binary column, the bytes of one vector each -> the column of a vector field."""
    stored, width = matrix_type(field.data_type, field.dim)
    size = stored.itemsize * width
    if field.data_type in (DataType.FLOAT_VECTOR, DataType.INT8_VECTOR):
        raise BadColumn(f"bytes are no vectors of {field.data_type.wire_name}")
    if pa.types.is_fixed_size_binary(values.type):
        if values.type.byte_width != size:
            raise BadColumn(f"its vectors have {values.type.byte_width} bytes, {size} make the dimension {field.dim}")
        return values
    import pyarrow.compute as pc

    lengths = pc.binary_length(values).fill_null(size).to_numpy(zero_copy_only=False)
    odd = lengths != size
    if odd.any():
        at = int(np.argmax(odd))
        raise BadCell(at, f"the vector has {lengths[at]} bytes, {size} make the dimension {field.dim}")
    return values.cast(pa.binary(size))
