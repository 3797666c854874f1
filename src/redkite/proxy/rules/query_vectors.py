"""The vectors of a search against the field they are compared with, and as its columns compare them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.errors import InvalidParameter
from redkite.index.base import Queries as Comparable
from redkite.index.base import Vectors
from redkite.index.lists import VectorLists
from redkite.model.batch import matrix_type
from redkite.model.halves import from_bfloat16, to_bfloat16
from redkite.model.requests import Queries
from redkite.model.schema import FieldSchema
from redkite.model.sparse import PAIR_BYTES, SparseRows
from redkite.model.types import DataType, Metric
from redkite.proxy.rules.column_rules import MAX_SPARSE_INDEX, check_sparse
from redkite.proxy.rules.finite import check_finite

_ENGINE_NAMES: dict[DataType, str] = {
    DataType.BINARY_VECTOR: "VECTOR_BINARY", DataType.FLOAT_VECTOR: "VECTOR_FLOAT",
    DataType.FLOAT16_VECTOR: "VECTOR_FLOAT16", DataType.BFLOAT16_VECTOR: "VECTOR_BFLOAT16",
    DataType.SPARSE_FLOAT_VECTOR: "VECTOR_SPARSE_U32_F32", DataType.INT8_VECTOR: "VECTOR_INT8",
}  # fmt: skip
_HALVES = {DataType.FLOAT16_VECTOR: "float16", DataType.BFLOAT16_VECTOR: "bfloat16"}
_FLOAT_BYTES = 4


def check_queries(field: FieldSchema, queries: Queries) -> None:
    """Raise unless the query vectors are of the field's type and dimension; floats may also ask a field of halves.
    A field of lists of vectors takes lists."""
    if queries.are_lists or field.data_type is DataType._ARRAY_OF_VECTOR:
        _check_lists(field, queries)
        return
    given, wanted = queries.data_type, field.data_type
    if given is not wanted and (given is not DataType.FLOAT_VECTOR or wanted not in _HALVES):
        raise InvalidParameter(
            f"vector type must be the same, field {field.name} - type {_engine_name(wanted)}, "
            f"search info type {_engine_name(given)}"
        )
    if wanted is DataType.SPARSE_FLOAT_VECTOR:
        return
    if queries.vectors is not None:
        expected, actual = _FLOAT_BYTES * field.dim, _FLOAT_BYTES * queries.vectors.shape[1]
    else:
        dtype, width = matrix_type(wanted, field.dim)
        expected = dtype.itemsize * width
        actual = next((len(raw) for raw in queries.raw if len(raw) != expected), expected)
    if actual != expected:
        raise InvalidParameter(f"vector dimension mismatch, expected vector size(byte) {expected}, actual {actual}")


def _check_lists(field: FieldSchema, queries: Queries) -> None:
    start = f"vector type must be the same, field {field.name} - type "
    if field.data_type is not DataType._ARRAY_OF_VECTOR:
        raise InvalidParameter(f"{start}{_engine_name(field.data_type)}, search info type VECTOR_ARRAY")
    if not queries.are_lists:
        name = _engine_name(queries.data_type)
        raise InvalidParameter(
            f"{start}VECTOR_ARRAY, search info type {name}: its index compares lists of vectors, search with an "
            "EmbeddingList"
        )
    given, wanted = queries.data_type, field.element_type
    if given is not wanted and (given is not DataType.FLOAT_VECTOR or wanted not in _HALVES):
        raise InvalidParameter(f"{start}{_engine_name(wanted)} list, search info type {_engine_name(given)} list")
    dtype, width = matrix_type(given, field.dim)
    size = dtype.itemsize * width
    actual = next((len(raw) for raw in queries.raw if len(raw) % size or not raw), 0)
    if actual:
        raise InvalidParameter(
            f"vector dimension mismatch, expected a multiple of vector size(byte) {size}, actual {actual}"
        )


def searched_field(field: FieldSchema, metric: Metric, queries: Queries) -> FieldSchema:
    """The field as a search compares it: under a metric of single vectors each element of an array stands by itself.
    Raises InvalidParameter for queries of the other kind."""
    if field.data_type is not DataType._ARRAY_OF_VECTOR:
        if queries.of_elements:
            raise InvalidParameter(f"element-level search wants a vector sub-field of structs, not field {field.name}")
        return field
    if not metric.is_of_lists and queries.are_lists:
        raise InvalidParameter(
            f"the index of {field.name} has the metric {metric} of single vectors: embedding lists want one of MAX_SIM*"
        )
    compared = field if metric.is_of_lists else field.element
    if queries.ids is None:
        check_queries(compared, queries)
    return compared


def is_element(field: FieldSchema) -> bool:
    """Whether a field, as `searched_field` gives it, is one element of an array."""
    return bool(field.struct_name) and field.data_type is not DataType._ARRAY_OF_VECTOR


def comparable(field: FieldSchema, queries: Queries) -> Comparable:
    """The query vectors as the field's columns take them. Raises InvalidParameter for what is no such vector."""
    kind, vectors = field.data_type, queries.vectors
    if queries.sparse is not None and kind is DataType.SPARSE_FLOAT_VECTOR:
        return queries.sparse
    if vectors is not None and kind is queries.data_type is DataType.FLOAT_VECTOR and vectors.shape[1] == field.dim:
        if not queries.are_lists:
            check_finite(vectors)
            return vectors
    else:
        check_queries(field, queries)
    if queries.are_lists:
        return _lists(field, queries)
    if kind is DataType.SPARSE_FLOAT_VECTOR:
        return _sparse_rows(queries.raw)
    if vectors is None:
        return _of_bytes(kind, queries)
    if kind in _HALVES:
        vectors = _rounded(kind, vectors)
    check_finite(vectors)
    return vectors


def _lists(field: FieldSchema, queries: Queries) -> VectorLists:
    """Lists as one matrix of all their vectors, as the field would keep them."""
    raw, kind = b"".join(queries.raw), queries.data_type
    dtype, width = matrix_type(kind, field.dim)
    starts = np.zeros(queries.nq + 1, np.int64)
    np.cumsum([len(some) // (dtype.itemsize * width) for some in queries.raw], out=starts[1:])
    element = field.element
    if kind is DataType.FLOAT_VECTOR:
        whole = Queries(data_type=kind, vectors=np.frombuffer(raw, np.float32).reshape(-1, width))
    else:
        size = dtype.itemsize * width
        whole = Queries(data_type=kind, raw=tuple(raw[at : at + size] for at in range(0, len(raw), size)))
    return VectorLists(starts, comparable(element, whole))


def _of_bytes(kind: DataType, queries: Queries) -> npt.NDArray[Any]:
    dtype, _ = matrix_type(kind, 0)
    matrix: npt.NDArray[Any] = np.frombuffer(b"".join(queries.raw), dtype).reshape(queries.nq, -1)
    if kind is DataType.BINARY_VECTOR:
        return matrix
    floats: Vectors = from_bfloat16(matrix) if kind is DataType.BFLOAT16_VECTOR else matrix.astype(np.float32)
    if kind in _HALVES and not np.isfinite(floats).all():
        raise InvalidParameter(f"{_HALVES[kind]} vector contain nan or infinity value.")
    return floats


def _rounded(kind: DataType, vectors: Vectors) -> Vectors:
    """Floats as the field would keep them."""
    if kind is DataType.BFLOAT16_VECTOR:
        return from_bfloat16(to_bfloat16(vectors))
    with np.errstate(over="ignore"):  # what is too large becomes infinity, which is refused
        return vectors.astype(np.float16).astype(np.float32)


def _engine_name(kind: DataType) -> str:
    return _ENGINE_NAMES.get(kind, kind.name)


def _sparse_rows(raw: tuple[bytes, ...]) -> SparseRows:
    """Of pairs as they travel. The everyday search has one query, of which the least is looked at."""
    if len(raw) == 1 and raw[0] and len(raw[0]) % PAIR_BYTES == 0:
        rows = SparseRows.from_bytes(raw)
        dims, values = rows.indices, rows.values
        if dims[-1] <= MAX_SPARSE_INDEX and (dims[1:] > dims[:-1]).all() and 0 <= values.min() <= values.max() < np.inf:
            return rows
    check_sparse(pa.array(raw, pa.binary()))
    return SparseRows.from_bytes(raw)
