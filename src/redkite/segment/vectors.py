"""Vector fields of segments: what is stored, as columns that can be searched."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.index.base import RowNumbers, VectorColumn
from redkite.index.binary import BinaryColumn
from redkite.index.dense import ByteColumn, DenseColumn, FloatColumn, HalfColumn
from redkite.index.lists import ListColumn
from redkite.index.sparse import SparseColumn
from redkite.model.batch import list_starts, matrix_of, matrix_type
from redkite.model.schema import FieldSchema
from redkite.model.types import DataType

DENSE: dict[DataType, type[DenseColumn]] = {
    DataType.FLOAT_VECTOR: FloatColumn,
    DataType.FLOAT16_VECTOR: HalfColumn,
    DataType.BFLOAT16_VECTOR: HalfColumn,
    DataType.INT8_VECTOR: ByteColumn,
}
Matrix = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


class Vectored(NamedTuple):
    """A vector field: its column, and which rows have a vector (None: all). The others are not to be compared."""

    column: VectorColumn
    valid: Mask | None

    def held(self) -> RowNumbers | None:
        """The rows that an index over the field holds; None: all. A sparse row without a vector is an empty one, and so
        is a list."""
        if self.valid is None or isinstance(self.column, SparseColumn | ListColumn):
            return None
        return np.flatnonzero(self.valid)

    def share(self, rows: int) -> float:
        """Which part of the rows with a vector so many are."""
        return rows / max(1, len(self.column) if self.valid is None else int(np.count_nonzero(self.valid)))

    def head(self, rows: int) -> Vectored:
        return Vectored(self.column.head(rows), None if self.valid is None else self.valid[:rows])


def vectors_of(batch: pa.RecordBatch, field: FieldSchema) -> Vectored:
    """A field of stored rows, their columns named by field id."""
    place = batch.schema.get_field_index(str(field.field_id))
    return absent_vectors(field, batch.num_rows) if place < 0 else stored_vectors(field, batch.column(place))


def stored_vectors(field: FieldSchema, column: pa.Array) -> Vectored:
    """A stored column, as it is mapped; null rows hold zeros or old numbers."""
    valid = column.is_valid().to_numpy(zero_copy_only=False) if column.null_count else None
    if field.data_type is DataType.SPARSE_FLOAT_VECTOR:
        return Vectored(SparseColumn.from_arrow(column), valid)
    if field.data_type is DataType._ARRAY_OF_VECTOR:
        return stored_lists(field, column)
    return Vectored(column_of(field.data_type, matrix_of(column, field.data_type)), valid)


def absent_vectors(field: FieldSchema, rows: int) -> Vectored:
    """No vector in any row: of a field that was added after the rows were written. Takes no memory to speak of."""
    valid = np.zeros(rows, np.bool_)
    if field.data_type is DataType.SPARSE_FLOAT_VECTOR:
        return Vectored(SparseColumn.from_arrow(pa.nulls(rows, pa.binary())), valid)
    if field.data_type is DataType._ARRAY_OF_VECTOR:
        dtype, width = matrix_type(field.element_type, field.dim)
        return listed(field, np.zeros(rows + 1, np.int64), np.empty((0, width), dtype))
    dtype, width = matrix_type(field.data_type, field.dim)
    matrix = np.broadcast_to(np.zeros((1, width), dtype), (rows, width))
    return Vectored(column_of(field.data_type, matrix), valid)


def column_of(kind: DataType, matrix: Matrix) -> VectorColumn:
    """Vectors of one size as a column."""
    if kind is DataType.BINARY_VECTOR:
        return BinaryColumn(matrix)
    return DENSE[kind](matrix)


def stored_lists(field: FieldSchema, column: pa.Array) -> Vectored:
    """A stored column of arrays of vectors, which stay where they are mapped."""
    starts = list_starts(column).astype(np.int64)
    values = column.values.slice(starts[0], starts[-1] - starts[0])
    return listed(field, starts - starts[0], matrix_of(values, field.element_type))


def listed(field: FieldSchema, starts: npt.NDArray[np.int64], matrix: Matrix) -> Vectored:
    """Lists of vectors as a column. Empty ones are not compared."""
    filled = starts[1:] > starts[:-1]
    return Vectored(ListColumn(starts, column_of(field.element_type, matrix)), None if filled.all() else filled)
