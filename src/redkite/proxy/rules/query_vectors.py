"""The vectors of a search against the field they are compared with, and as its columns compare them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.errors import InvalidParameter
from redkite.index.base import Queries as Comparable
from redkite.index.base import Vectors
from redkite.model.batch import matrix_type
from redkite.model.halves import from_bfloat16, to_bfloat16
from redkite.model.requests import Queries
from redkite.model.schema import FieldSchema
from redkite.model.sparse import SparseRows
from redkite.model.types import DataType
from redkite.proxy.rules.column_rules import check_sparse
from redkite.proxy.rules.finite import check_finite

_ENGINE_NAMES: dict[DataType, str] = {
    DataType.BINARY_VECTOR: "VECTOR_BINARY", DataType.FLOAT_VECTOR: "VECTOR_FLOAT",
    DataType.FLOAT16_VECTOR: "VECTOR_FLOAT16", DataType.BFLOAT16_VECTOR: "VECTOR_BFLOAT16",
    DataType.SPARSE_FLOAT_VECTOR: "VECTOR_SPARSE_U32_F32", DataType.INT8_VECTOR: "VECTOR_INT8",
}  # fmt: skip
_HALVES = {DataType.FLOAT16_VECTOR: "float16", DataType.BFLOAT16_VECTOR: "bfloat16"}
_FLOAT_BYTES = 4


def check_queries(field: FieldSchema, queries: Queries) -> None:
    """Raise unless the query vectors are of the field's type and dimension; floats may also ask a field of halves."""
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


def comparable(field: FieldSchema, queries: Queries) -> Comparable:
    """The query vectors as the field's columns take them. Raises InvalidParameter for what is no such vector."""
    check_queries(field, queries)
    kind, vectors = field.data_type, queries.vectors
    if kind is DataType.SPARSE_FLOAT_VECTOR:
        check_sparse(pa.array(queries.raw, pa.binary()))
        return SparseRows.from_bytes(queries.raw)
    if vectors is None:
        return _of_bytes(kind, queries)
    if kind in _HALVES:
        vectors = _rounded(kind, vectors)
    check_finite(vectors)
    return vectors


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
