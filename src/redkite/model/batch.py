"""Rows as Arrow: which Arrow type holds which field, and zero-copy doors to numpy.

| field type | Arrow type |
|---|---|
| BOOL, INT8..INT64, FLOAT, DOUBLE | bool_, int8..int64, float32, float64 |
| VARCHAR, TEXT, GEOMETRY (WKT) | string |
| JSON, `$meta` | binary (one UTF-8 JSON text per row) |
| TIMESTAMPTZ | int64 (UTC microseconds) |
| ARRAY | list(element) |
| array of vectors, in a struct | list(what one vector is) |
| FLOAT_VECTOR, INT8_VECTOR | fixed_size_list(float32 / int8, dim) |
| FLOAT16_VECTOR, BFLOAT16_VECTOR, BINARY_VECTOR | fixed_size_binary(2·dim, 2·dim, dim/8), little endian |
| SPARSE_FLOAT_VECTOR | binary (uint32 index, float32 value pairs, little endian, as on the wire) |
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.errors import InvalidParameter
from redkite.model.moments import parse_moment
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import DataType

_SCALARS: dict[DataType, pa.DataType] = {
    DataType.BOOL: pa.bool_(), DataType.INT8: pa.int8(), DataType.INT16: pa.int16(), DataType.INT32: pa.int32(),
    DataType.INT64: pa.int64(), DataType.FLOAT: pa.float32(), DataType.DOUBLE: pa.float64(),
    DataType.VARCHAR: pa.string(), DataType.TEXT: pa.string(), DataType.GEOMETRY: pa.string(),
    DataType.JSON: pa.binary(), DataType.TIMESTAMPTZ: pa.int64(), DataType.SPARSE_FLOAT_VECTOR: pa.binary(),
}  # fmt: skip


_NUMPY_TO_ARROW: dict[np.dtype[Any], pa.DataType] = {
    np.dtype(kind): arrow
    for kind, arrow in (
        (np.int8, pa.int8()), (np.int32, pa.int32()), (np.int64, pa.int64()), (np.uint64, pa.uint64()),
        (np.float32, pa.float32()), (np.float64, pa.float64()),
    )
}  # fmt: skip


def arrow_type(field: FieldSchema) -> pa.DataType:
    """The Arrow type of a field's column."""
    kind = field.data_type
    if kind in _SCALARS:
        return _SCALARS[kind]
    if kind is DataType.ARRAY:
        return pa.list_(_SCALARS[field.element_type])
    if kind is DataType._ARRAY_OF_VECTOR:
        return pa.list_(arrow_type(field.element))
    if kind is DataType.FLOAT_VECTOR:
        return pa.list_(pa.float32(), field.dim)
    if kind is DataType.INT8_VECTOR:
        return pa.list_(pa.int8(), field.dim)
    if kind in (DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR):
        return pa.binary(2 * field.dim)
    if kind is DataType.BINARY_VECTOR:
        return pa.binary(field.dim // 8)
    raise InvalidParameter(f"data type {kind.wire_name} of field {field.name} cannot hold rows")


EMPTY_OBJECT = b"{}"
"""What `$meta` holds when a row has no dynamic keys."""


def absent_column(field: FieldSchema, rows: int) -> pa.Array:
    """The column of a field that these rows say nothing about: its default in each of them, else null."""
    kind = arrow_type(field)
    if field.is_dynamic:
        return pa.repeat(pa.scalar(EMPTY_OBJECT, kind), rows)
    if field.default_value is not None:
        return pa.repeat(default_scalar(field), rows)
    return pa.nulls(rows, kind)


def default_scalar(field: FieldSchema) -> pa.Scalar:
    """The default value of a field that has one, as its column holds it."""
    value = field.default_value
    if field.data_type is DataType.TIMESTAMPTZ:
        value = parse_moment(str(value))
    return pa.scalar(value, arrow_type(field))


def numbers_to_arrow(values: npt.NDArray[Any]) -> pa.Array:
    """A contiguous array of integers or floats as a column over the same memory. (`pa.array` would do, but imports
    pandas where it is installed.)"""
    kind = _NUMPY_TO_ARROW[values.dtype]
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


_ARROW_TO_NUMPY = {arrow: kind for kind, arrow in _NUMPY_TO_ARROW.items()}


def arrow_to_numbers(column: pa.Array) -> npt.NDArray[Any]:
    """A column of integers or floats without nulls as an array over the same memory. (`to_numpy` would do, but imports
    pandas where it is installed, which takes longer than opening a database.)"""
    kind = _ARROW_TO_NUMPY.get(column.type)
    if kind is None or column.null_count:
        values: npt.NDArray[Any] = column.to_numpy()
        return values
    if not len(column):
        return np.empty(0, kind)
    return np.frombuffer(column.buffers()[1], kind, len(column), column.offset * kind.itemsize)


Keys: TypeAlias = npt.NDArray[np.int64] | pa.Array
"""Primary keys: integers as they lie in memory, or a column of integers or strings. A column costs a small search more
than finding the rows' keys, and often nobody asks for one."""


def key_column(keys: Keys) -> pa.Array:
    """Keys as a column."""
    return numbers_to_arrow(keys) if isinstance(keys, np.ndarray) else keys


def vectors_to_arrow(vectors: npt.NDArray[np.float32] | npt.NDArray[np.int8]) -> pa.Array:
    """(rows, dim) C-contiguous matrix -> fixed_size_list column, without copying the numbers."""
    rows, dim = vectors.shape
    flat = numbers_to_arrow(np.ascontiguousarray(vectors).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, dim) if rows else pa.array([], pa.list_(flat.type, dim))


def arrow_to_vectors(column: pa.Array) -> npt.NDArray[np.float32] | npt.NDArray[np.int8]:
    """fixed_size_list column without nulls -> (rows, dim) view of the same memory."""
    dim = column.type.list_size
    values: npt.NDArray[np.float32] = arrow_to_numbers(column.values)
    return values[column.offset * dim : (column.offset + len(column)) * dim].reshape(len(column), dim)


_MATRIX_NUMBERS: dict[DataType, np.dtype[Any]] = {
    DataType.FLOAT_VECTOR: np.dtype(np.float32), DataType.INT8_VECTOR: np.dtype(np.int8),
    DataType.FLOAT16_VECTOR: np.dtype(np.float16), DataType.BFLOAT16_VECTOR: np.dtype(np.uint16),
    DataType.BINARY_VECTOR: np.dtype(np.uint8),
}  # fmt: skip


def matrix_type(kind: DataType, dim: int) -> tuple[np.dtype[Any], int]:
    """The numbers that vectors of fixed size are made of, and how many: the bits of bfloat16 are kept as uint16, eight
    dimensions of a binary vector are one uint8."""
    return _MATRIX_NUMBERS[kind], dim // 8 if kind is DataType.BINARY_VECTOR else dim


def matrix_of(column: pa.Array, kind: DataType) -> npt.NDArray[Any]:
    """A column of vectors of fixed size -> (rows, numbers) view of the same memory; null rows hold anything."""
    dtype = _MATRIX_NUMBERS[kind]
    if pa.types.is_fixed_size_list(column.type):
        width, data = column.type.list_size, column.values.buffers()[1]
        first = column.values.offset + column.offset * width
    else:
        width, data = column.type.byte_width // dtype.itemsize, column.buffers()[1]
        first = column.offset * width
    if data is None:
        return np.zeros((len(column), width), dtype)
    count = len(column) * width
    return np.frombuffer(data, dtype, count, first * dtype.itemsize).reshape(len(column), width)


def matrix_to_arrow(matrix: npt.NDArray[Any], kind: DataType, valid: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """(rows, numbers) matrix of vectors -> a column over the same memory; rows where `valid` is False are null."""
    matrix = np.ascontiguousarray(matrix)
    rows, width = matrix.shape
    nulls = None if valid is None or valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    if kind in (DataType.FLOAT_VECTOR, DataType.INT8_VECTOR):
        flat = numbers_to_arrow(matrix.reshape(-1))
        return pa.Array.from_buffers(pa.list_(flat.type, width), rows, [nulls], children=[flat])
    return pa.Array.from_buffers(pa.binary(matrix.itemsize * width), rows, [nulls, pa.py_buffer(matrix)])


_TYPE_KEY = b"redkite.type"
_ELEMENT_KEY = b"redkite.element"


def arrow_field(
    name: str, kind: DataType, arrow: pa.DataType, *, nullable: bool = True, element: DataType = DataType.NONE
) -> pa.Field:
    """A column's Arrow field that remembers its Milvus type, which several Arrow types alone do not tell
    (`fixed_size_binary` may be binary, float16 or bfloat16 vectors; `binary` JSON or sparse vectors). `element` is that
    of an array of vectors."""
    metadata = {_TYPE_KEY: str(int(kind)).encode()}
    if element is not DataType.NONE:
        metadata[_ELEMENT_KEY] = str(int(element)).encode()
    return pa.field(name, arrow, nullable=nullable, metadata=metadata)


def batch_field(field: FieldSchema) -> pa.Field:
    """The Arrow field of a schema field's column."""
    return known_field(field, arrow_type(field))


def known_field(field: FieldSchema, arrow: pa.DataType) -> pa.Field:
    """The Arrow field of a schema field's column, which is of the type `arrow`."""
    element = field.element_type if field.data_type is DataType._ARRAY_OF_VECTOR else DataType.NONE
    return arrow_field(field.name, field.data_type, arrow, nullable=field.nullable, element=element)


def typed_rows(rows: pa.RecordBatch, schema: CollectionSchema) -> pa.RecordBatch:
    """The same columns with the Milvus types of a schema's fields remembered; other columns stay as they are."""
    fields = [
        f if (known := schema.field(f.name)) is None else known_field(known, f.type)
        for f in rows.schema
    ]  # fmt: skip
    return pa.RecordBatch.from_arrays(rows.columns, schema=pa.schema(fields)) if fields else rows


def needs_types(schema: CollectionSchema, names: Iterable[str]) -> bool:
    """Whether any of these columns is of a type that its Arrow type does not tell."""
    return any(
        (field := schema.field(name)) is not None
        and (field.struct_name or data_type_of(pa.field(name, arrow_type(field))) != field.data_type)
        for name in names
    )


def data_type_of(field: pa.Field) -> DataType:
    """The Milvus type of a column: as remembered by `arrow_field`, else the usual one for its Arrow type."""
    remembered = field.metadata  # made anew whenever it is asked for
    if remembered and _TYPE_KEY in remembered:
        return DataType(int(remembered[_TYPE_KEY]))
    kind = field.type
    if pa.types.is_fixed_size_list(kind):
        return DataType.INT8_VECTOR if kind.value_type == pa.int8() else DataType.FLOAT_VECTOR
    if pa.types.is_list(kind):
        return DataType._ARRAY_OF_VECTOR if _is_vector(kind.value_type) else DataType.ARRAY
    if pa.types.is_fixed_size_binary(kind):
        return DataType.BINARY_VECTOR
    for candidate, arrow in _SCALARS.items():
        if arrow == kind:
            return candidate
    raise InvalidParameter(f"column {field.name} of Arrow type {kind} has no Milvus type")


def element_type_of(field: pa.Field) -> DataType:
    """The type of the vectors in a column of arrays of vectors."""
    if field.metadata and _ELEMENT_KEY in field.metadata:
        return DataType(int(field.metadata[_ELEMENT_KEY]))
    return data_type_of(pa.field(field.name, field.type.value_type))


def _is_vector(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind) or pa.types.is_fixed_size_binary(kind))


def lists_of(offsets: npt.NDArray[np.int32], values: pa.Array, valid: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """A list column of `values`: row i has those from `offsets[i]` to `offsets[i + 1]`, and is null where `valid` is
    False."""
    nulls = None if valid is None or valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    starts = pa.py_buffer(np.ascontiguousarray(offsets, np.int32))
    return pa.Array.from_buffers(pa.list_(values.type), len(offsets) - 1, [nulls, starts], children=[values])


def list_starts(column: pa.Array) -> npt.NDArray[np.int32]:
    """(rows + 1,) where each row of a list column begins in `column.values`; a null row is empty."""
    if not len(column):
        return np.zeros(1, np.int32)
    return np.frombuffer(column.buffers()[1], np.int32, len(column) + 1, 4 * column.offset)
