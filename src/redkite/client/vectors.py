"""Vectors as users hold them, as columns: lists of numbers, numpy arrays, bytes, sparse dicts and matrices.

A vector that does not fit names its field, the dimension it should have and the one it has.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain, starmap
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.client.embedding_list import EmbeddingList
from redkite.client.refusals import mismatch, wrong_dim
from redkite.client.sparse import sparse_bytes, sparse_column
from redkite.errors import DataNotMatchException, InvalidParameter
from redkite.model.batch import matrix_to_arrow, matrix_type
from redkite.model.halves import to_bfloat16
from redkite.model.requests import Queries
from redkite.model.schema import FieldSchema
from redkite.model.types import DataType

Matrix = npt.NDArray[Any]


# -- a column of a collection -------------------------------------------------------------------
def vector_column(field: FieldSchema, values: Any) -> pa.Array:
    """Vectors of one field -> its Arrow column. `values`: a matrix, or one vector (or None) per row."""
    if field.data_type is DataType.SPARSE_FLOAT_VECTOR:
        return sparse_column(field.name, values)
    if isinstance(values, np.ndarray) and values.dtype != object:
        return _wrap(field, dense_matrix(field, values), None)
    rows = values.tolist() if isinstance(values, np.ndarray) else values
    valid = _validity(field, rows)
    if valid is not None:
        rows = [row for row in rows if row is not None]
    return _wrap(field, dense_rows(field, rows), valid)


def _validity(field: FieldSchema, rows: Sequence[Any]) -> npt.NDArray[np.bool_] | None:
    """Which rows hold a vector; None when all do."""
    if None not in set(map(_none_or_zero, rows)):
        return None
    if not field.nullable:
        raise mismatch(field.name, field.data_type.name.lower(), None)
    return np.fromiter((row is not None for row in rows), dtype=np.bool_, count=len(rows))


def _none_or_zero(value: object) -> int | None:
    return None if value is None else 0


def _wrap(field: FieldSchema, matrix: Matrix, valid: npt.NDArray[np.bool_] | None) -> pa.Array:
    """(rows with a vector, values per row) -> column; `valid` tells which rows those are."""
    if valid is not None:
        spread = np.zeros((len(valid), matrix.shape[1]), dtype=matrix.dtype)
        spread[valid] = matrix
        matrix = spread
    return matrix_to_arrow(matrix, field.data_type, valid)


def dense_matrix(field: FieldSchema, matrix: Matrix) -> Matrix:
    """A numeric matrix as the field stores it: (rows, values), C-contiguous. No copy when it already is."""
    if matrix.ndim != 2:
        raise DataNotMatchException(
            f"field `{field.name}` takes a matrix of shape (rows, {field.dim}), got shape {matrix.shape}"
        )
    stored, width = matrix_type(field.data_type, field.dim)
    kind, size = matrix.dtype.kind, matrix.dtype.itemsize
    if kind not in "fiuV":
        raise mismatch(field.name, field.data_type.name.lower(), matrix.flat[0] if matrix.size else matrix)
    if matrix.shape[1] != width:
        scale = field.dim // width
        raise wrong_dim(field.name, field.dim, matrix.shape[1] * scale)
    if field.data_type is DataType.BFLOAT16_VECTOR:
        return np.ascontiguousarray(matrix).view(np.uint16) if size == 2 and kind == "V" else to_bfloat16(matrix)
    if kind == "V":
        raise mismatch(field.name, field.data_type.name.lower(), matrix)
    if stored.kind in "iu" and matrix.dtype != stored:
        return _narrowed(field, matrix, stored)
    with np.errstate(over="ignore"):  # what is too large becomes infinity, which no vector may hold
        return np.ascontiguousarray(matrix, dtype=stored)


def _narrowed(field: FieldSchema, matrix: Matrix, stored: np.dtype[Any]) -> Matrix:
    narrow = matrix.astype(stored)
    if not np.array_equal(narrow, matrix):
        raise mismatch(field.name, f"{field.data_type.name.lower()} of {stored.name}", matrix.flat[0])
    return np.ascontiguousarray(narrow)


def dense_rows(field: FieldSchema, rows: Sequence[Any]) -> Matrix:
    """One vector per row, none of them None -> (rows, values) as the field stores it."""
    if not rows:
        stored, width = matrix_type(field.data_type, field.dim)
        return np.empty((0, width), dtype=stored)
    kinds = set(map(type, rows))
    if kinds <= _LISTS and field.data_type is DataType.FLOAT_VECTOR:
        return pack_floats(field.name, rows, field.dim)
    if kinds == {np.ndarray} and all(row.ndim for row in rows):
        return dense_matrix(field, _stack(field, rows))
    return np.concatenate([_one_row(field, row) for row in rows])


_LISTS = {list, tuple}


def _stack(field: FieldSchema, rows: Sequence[Matrix]) -> Matrix:
    _, width = matrix_type(field.data_type, field.dim)
    if set(map(len, rows)) == {width}:
        flat = np.concatenate(rows)
        if flat.ndim == 1:
            return flat.reshape(len(rows), width)
    odd = next((row for row in rows if row.shape != (width,)), rows[0])
    raise wrong_dim(field.name, field.dim, len(odd) * (field.dim // width) if odd.ndim == 1 else 0)


def _one_row(field: FieldSchema, row: Any) -> Matrix:
    """One vector of any accepted form -> a (1, values) matrix."""
    stored, width = matrix_type(field.data_type, field.dim)
    if isinstance(row, list | tuple) and len(row) == 1 and isinstance(row[0], bytes):
        row = row[0]
    if isinstance(row, bytes | bytearray | memoryview) and field.data_type is not DataType.FLOAT_VECTOR:
        data = np.frombuffer(row, dtype=np.uint8)
        if len(data) != width * stored.itemsize:
            raise wrong_dim(field.name, field.dim, len(data) * field.dim // (width * stored.itemsize))
        return data.view(stored).reshape(1, width)
    if isinstance(row, np.ndarray):
        return dense_matrix(field, row.reshape(1, -1))
    if not isinstance(row, list | tuple):
        raise mismatch(field.name, field.data_type.name.lower(), row)
    if field.data_type is DataType.FLOAT_VECTOR:
        return pack_floats(field.name, [row], field.dim)
    _check_numbers(field.name, field.data_type.name.lower(), row)
    return dense_matrix(field, np.array([row]))


@lru_cache(maxsize=64)
def _packer(dim: int) -> struct.Struct:
    return struct.Struct(f"={dim}f")


def pack_floats(field: str, rows: Sequence[Any], dim: int) -> npt.NDArray[np.float32]:
    """Lists of numbers -> (rows, dim) float32. `struct` checks count, type and range of every number as it packs, in
    well under half the time that numpy takes to convert nested lists."""
    try:
        data = b"".join(starmap(_packer(dim).pack, rows))
    except (struct.error, OverflowError) as error:
        raise _explain(field, rows, dim) from error
    return np.frombuffer(data, dtype=np.float32).reshape(len(rows), dim)


def _explain(field: str, rows: Sequence[Any], dim: int) -> Exception:
    """Which of the rows could not be packed, and why."""
    for row in rows:
        if len(row) != dim:
            return wrong_dim(field, dim, len(row))
    try:
        _check_numbers(field, "float_vector", chain.from_iterable(rows))
    except DataNotMatchException as error:
        return error
    return InvalidParameter(f"a value of float vector field {field} is out of the range of float32")


def _check_numbers(field: str, expected: str, values: Any) -> None:
    for value in values:
        if not isinstance(value, int | float | np.number):
            raise mismatch(field, expected, value)


# -- the vectors of a search --------------------------------------------------------------------
_QUERY_TYPES = {
    np.dtype(np.float16): DataType.FLOAT16_VECTOR,
    np.dtype(np.int8): DataType.INT8_VECTOR,
    np.dtype(np.uint8): DataType.BINARY_VECTOR,
}


_FLOATS = np.dtype(np.float32)


def queries(data: Any, anns_field: str) -> Queries:
    """The `data` of a search: a list of vectors, a matrix, or one vector; texts for a full-text field; embedding lists
    for an array of vectors.

    The kind of vector follows from what is given, as in Milvus: numbers and float32/float64 arrays are float vectors;
    float16, int8, uint8 arrays, bytes (binary) and dicts (sparse) name their own kind.
    """
    if type(data) is list and data:
        kind = type(data[0])
        if kind is list:
            return _list_queries(data, anns_field)
        if kind is str:
            return Queries(data_type=DataType.VARCHAR, raw=_utf8(anns_field, data))
        if kind is np.ndarray:
            return _matrix_queries(_query_stack(data, anns_field), anns_field)
    if isinstance(data, np.ndarray) and data.dtype.kind != "O":
        return _matrix_queries(data if data.ndim > 1 else data.reshape(1, -1), anns_field)
    if isinstance(data, EmbeddingList):
        data = [data]
    if isinstance(data, list | tuple) and data and isinstance(data[0], EmbeddingList):
        return _embedding_lists(data)
    if hasattr(data, "tocsr"):
        raw = tuple(sparse_column(anns_field, data).to_pylist())
        return Queries(data_type=DataType.SPARSE_FLOAT_VECTOR, raw=raw)
    if isinstance(data, str | bytes | Mapping):
        data = [data]
    if isinstance(data, np.ndarray):
        data = data.tolist()
    if not isinstance(data, list | tuple) or len(data) == 0:
        raise InvalidParameter(f"`data` of a search must be a list of vectors, got {data!r:.80}")
    first = data[0]
    if isinstance(first, list | tuple):
        return _list_queries(data, anns_field)
    if isinstance(first, np.ndarray):
        return _matrix_queries(_query_stack(data, anns_field), anns_field)
    if isinstance(first, int | float | np.number):
        return _list_queries([data], anns_field)
    return _raw_queries(data, anns_field)


def _embedding_lists(data: Sequence[Any]) -> Queries:
    if not all(isinstance(item, EmbeddingList) for item in data):
        raise InvalidParameter("embedding lists and other queries cannot be mixed in one search")
    flats = [item.to_flat_array() for item in data]
    kinds = {flat.dtype for flat in flats}
    if len(kinds) > 1:
        raise InvalidParameter(f"the embedding lists of a search are of several types: {sorted(map(str, kinds))}")
    first = _matrix_queries(flats[0].reshape(1, -1), "")
    raw = tuple(np.ascontiguousarray(flat, _LITTLE.get(first.data_type, flat.dtype)).tobytes() for flat in flats)
    return Queries(data_type=first.data_type, raw=raw, are_lists=True)


_LITTLE = {DataType.FLOAT_VECTOR: "<f4", DataType.FLOAT16_VECTOR: "<f2"}


def _list_queries(data: Sequence[Any], anns_field: str) -> Queries:
    first = data[0]
    if first and isinstance(first[0], list | tuple):
        return _raw_queries(data, anns_field)
    return Queries(data_type=DataType.FLOAT_VECTOR, vectors=pack_floats(anns_field, data, len(first)))


def _query_stack(data: Sequence[Any], anns_field: str) -> Matrix:
    shapes = set(map(np.shape, data))
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise InvalidParameter(f"the query vectors for field {anns_field or 'of the search'} differ in dimension")
    return np.concatenate(data).reshape(len(data), -1)


def _matrix_queries(matrix: Matrix, anns_field: str) -> Queries:
    if matrix.ndim != 2:
        raise InvalidParameter(f"query vectors must be a matrix of shape (queries, dim), got shape {matrix.shape}")
    if matrix.dtype == _FLOATS:
        vectors = matrix if matrix.flags.c_contiguous else np.ascontiguousarray(matrix)
        return Queries(data_type=DataType.FLOAT_VECTOR, vectors=vectors)
    if matrix.dtype in _QUERY_TYPES:
        return Queries(data_type=_QUERY_TYPES[matrix.dtype], raw=tuple(row.tobytes() for row in matrix))
    if matrix.dtype.kind not in "fiu":
        if matrix.dtype.name != "bfloat16":
            raise mismatch(anns_field, "float_vector", matrix)
        return Queries(data_type=DataType.BFLOAT16_VECTOR, raw=tuple(row.tobytes() for row in matrix))
    return Queries(data_type=DataType.FLOAT_VECTOR, vectors=np.ascontiguousarray(matrix, dtype=np.float32))


def _utf8(anns_field: str, texts: Sequence[Any]) -> tuple[bytes, ...]:
    """The texts of a search."""
    try:
        return tuple(map(str.encode, texts))
    except TypeError:
        other = next(text for text in texts if not isinstance(text, str))
        raise mismatch(anns_field, "text", other) from None
    except UnicodeEncodeError as error:
        raise DataNotMatchException(
            f"a search text for field `{anns_field}` is not valid Unicode: {error.reason}"
        ) from error


def _raw_queries(data: Sequence[Any], anns_field: str) -> Queries:
    first = data[0]
    if isinstance(first, bytes):
        return Queries(data_type=DataType.BINARY_VECTOR, raw=tuple(data))
    if isinstance(first, str):
        return Queries(data_type=DataType.VARCHAR, raw=_utf8(anns_field, data))
    if isinstance(first, Mapping | list | tuple) or hasattr(first, "tocsr"):
        raw = tuple(sparse_bytes(anns_field, row) for row in data)
        return Queries(data_type=DataType.SPARSE_FLOAT_VECTOR, raw=raw)
    raise mismatch(anns_field, "float_vector", first)
