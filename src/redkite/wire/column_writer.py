"""Arrow columns to FieldData, in the two layouts that `column_reader` describes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from redkite.errors import Unimplemented
from redkite.model.batch import Keys, arrow_to_numbers, data_type_of, list_starts, lists_of
from redkite.model.schema import META_FIELD
from redkite.model.structs import runs, split_name
from redkite.model.types import DataType
from redkite.wire.messages import schema
from redkite.wire.numbers import packed, varint, write_packed
from redkite.wire.struct_columns import write_vector_lists

_VALID_DATA_TAG = b"\x3a"
"""Field 7, length-delimited: `FieldData.valid_data`."""
_TYPE_TAG, _NAME_TAG, _VECTORS_TAG = b"\x08", b"\x12", b"\x22"
"""Fields 1, 2 and 4 of `FieldData`."""
_DIM_TAG, _FLOAT_VECTOR_TAG = b"\x08", b"\x12"
"""Fields 1 and 2 of `VectorField`."""
_DATA_TAG = b"\x0a"
"""Field 1 of `FloatArray`."""
_FLOAT_BYTES = 4

Buffer = bytes | memoryview


def write_batch(fields: Any, batch: pa.RecordBatch, *, dense: bool) -> None:
    """Add one FieldData per column to a repeated field."""
    for name, places in runs(batch.schema.names):
        write_run(fields.add(), name, batch, places, dense=dense)


def write_run(out: Any, name: str, batch: pa.RecordBatch, places: list[int], *, dense: bool) -> None:
    """Fill one FieldData with a column, or with the sub-fields of one array of structs, which is called `name`."""
    if batch.schema.field(places[0]).name == name:
        write_column(out, batch.schema.field(places[0]), batch.column(places[0]), dense=dense)
        return
    out.type = int(DataType._ARRAY_OF_STRUCT)
    out.field_name = name
    out.struct_arrays.SetInParent()
    for place in places:
        field = batch.schema.field(place)
        part = out.struct_arrays.fields.add()
        write_column(part, field, batch.column(place), dense=dense)
        part.field_name = split_name(field.name)[1]


def write_column(out: Any, field: pa.Field, column: pa.Array, *, dense: bool) -> None:
    """Fill one FieldData. `valid_data` is written for nullable columns only; a column without a declared Milvus type
    (see `batch.arrow_field`) counts as nullable when it has nulls."""
    kind = data_type_of(field)
    if kind not in _WRITERS and kind is not DataType._ARRAY_OF_VECTOR:
        raise Unimplemented(f"data type {kind.wire_name} of field {field.name} is not supported in this version")
    out.type = int(kind)
    out.field_name = field.name
    out.is_dynamic = field.name == META_FIELD
    # Only a field that knows its Milvus type means it when it says nullable: Arrow says so by default.
    if column.null_count or (field.nullable and field.metadata):
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        out.MergeFromString(packed(_VALID_DATA_TAG, valid.view(np.uint8).data))
    if pa.types.is_null(column.type):
        return  # nothing but nulls of a kind without a placeholder
    if column.null_count:
        filled = dense and (not kind.is_vector or kind is DataType._ARRAY_OF_VECTOR)
        column = _fill(kind, column) if filled else column.drop_null()
    if kind is DataType._ARRAY_OF_VECTOR:
        write_vector_lists(out, field, column)
    else:
        _WRITERS[kind](out, column)


def batch_pieces(number: int, rows: pa.RecordBatch, before: int = 0) -> list[Buffer]:
    """`field_pieces` of all columns, those of a struct in one. `before`: how much of the message stands before them."""
    pieces: list[Buffer] = []
    for name, places in runs(rows.schema.names):
        made = field_pieces(number, name, rows, places, before)
        before += sum(map(len, made))
        pieces += made
    return pieces


def field_pieces(number: int, name: str, rows: pa.RecordBatch, places: list[int], before: int = 0) -> list[Buffer]:
    """A column, or those of a struct of this name, as one entry of a message's repeated FieldData field `number`, to be
    appended to the message's bytes. A large block of numbers is one of the pieces as it lies in the column, and begins
    at a multiple of four in the message: a reader need not copy it to where floats may lie."""
    field, column = rows.schema.field(places[0]), rows.column(places[0])
    if field.name != name or not _is_block(field, column):
        entry = schema.FieldData()
        write_run(entry, name, rows, places, dense=False)
        data = entry.SerializeToString()
        return [varint(number << 3 | 2) + varint(len(data)), data]
    numbers = _numpy(column.flatten()).view(np.uint8).data
    floats = _DATA_TAG + varint(len(numbers)) if len(numbers) else b""
    vectors = _DIM_TAG + varint(column.type.list_size) + _FLOAT_VECTOR_TAG + varint(len(floats) + len(numbers)) + floats
    label = name.encode()
    kind = int(DataType.FLOAT_VECTOR)
    rest = _NAME_TAG + varint(len(label)) + label + _VECTORS_TAG + varint(len(vectors) + len(numbers)) + vectors
    head = _entry_head(number, _TYPE_TAG + varint(kind) + rest, len(numbers))
    odd = (before + len(head)) % _FLOAT_BYTES
    if odd:
        head = _entry_head(number, _TYPE_TAG + varint(kind, _FLOAT_BYTES - odd) + rest, len(numbers))
    return [head, numbers]


def _entry_head(number: int, head: bytes, following: int) -> bytes:
    """The beginning of an entry of the field `number`, behind which so many bytes of it follow."""
    return varint(number << 3 | 2) + varint(len(head) + following) + head


def _is_block(field: pa.Field, column: pa.Array) -> bool:
    """Float vectors without nulls."""
    plain = pa.types.is_fixed_size_list(column.type) and pa.types.is_float32(column.type.value_type)
    nullable = column.null_count or (field.nullable and field.metadata)
    return plain and not nullable and data_type_of(field) is DataType.FLOAT_VECTOR


def _fill(kind: DataType, column: pa.Array) -> pa.Array:
    """Placeholders instead of nulls."""
    if kind is DataType._ARRAY_OF_VECTOR:
        return lists_of(list_starts(column), column.values)
    if kind is DataType.ARRAY:
        return pc.if_else(column.is_valid(), column, pa.scalar([], column.type))
    return column.fill_null(_placeholder(column.type))


def _placeholder(kind: pa.DataType) -> bool | int | float | str | bytes:
    if pa.types.is_boolean(kind):
        return False
    if pa.types.is_integer(kind):
        return 0
    if pa.types.is_floating(kind):
        return 0.0
    return "" if pa.types.is_string(kind) else b""


# -- scalars ------------------------------------------------------------------------------------
def _numpy(column: pa.Array) -> Any:
    return column.to_numpy(zero_copy_only=False)


def _bools(out: Any, column: pa.Array) -> None:
    write_packed(out.scalars.bool_data, _numpy(column))


def _integers(slot: str) -> Callable[[Any, pa.Array], None]:
    def write(out: Any, column: pa.Array) -> None:
        message = getattr(out.scalars, slot)
        message.SetInParent()
        message.data.extend(_numpy(column).tolist())

    return write


def _floats(out: Any, column: pa.Array) -> None:
    write_packed(out.scalars.float_data, _numpy(column).astype(np.float32, copy=False))


def _doubles(out: Any, column: pa.Array) -> None:
    write_packed(out.scalars.double_data, _numpy(column).astype(np.float64, copy=False))


def _texts(slot: str) -> Callable[[Any, pa.Array], None]:
    def write(out: Any, column: pa.Array) -> None:
        message = getattr(out.scalars, slot)
        message.SetInParent()
        message.data.extend(column.to_pylist())

    return write


_strings = _texts("string_data")


def _timestamps(out: Any, column: pa.Array) -> None:
    """UTC microseconds as ISO texts, without trailing zeros in the fraction; texts stay as they are."""
    if not pa.types.is_integer(column.type):
        return _strings(out, column)
    moments = _numpy(column).astype("datetime64[us]")
    texts = pa.array(np.datetime_as_string(moments, unit="us").tolist(), pa.string())
    trimmed = pc.utf8_rtrim(pc.utf8_rtrim(texts, "0"), ".")
    return _strings(out, pc.binary_join_element_wise(trimmed, "Z", ""))


_LIST_SLOTS: dict[DataType, str] = {
    DataType.BOOL: "bool_data", DataType.INT8: "int_data", DataType.INT16: "int_data", DataType.INT32: "int_data",
    DataType.INT64: "long_data", DataType.FLOAT: "float_data", DataType.DOUBLE: "double_data",
    DataType.VARCHAR: "string_data",
}  # fmt: skip


def _lists(out: Any, column: pa.Array) -> None:
    array = out.scalars.array_data
    array.SetInParent()
    element = column.type.value_type
    if pa.types.is_null(element):
        for _ in range(len(column)):
            array.data.add()
        return
    kind = data_type_of(pa.field(out.field_name, element))
    array.element_type = int(kind)
    slot = _LIST_SLOTS[kind]
    for row in column.to_pylist():
        values = getattr(array.data.add(), slot)
        values.SetInParent()
        values.data.extend(row)


# -- vectors ------------------------------------------------------------------------------------
def _float_vectors(out: Any, column: pa.Array) -> None:
    out.vectors.dim = column.type.list_size
    write_packed(out.vectors.float_vector, _numpy(column.flatten()))


def _int8_vectors(out: Any, column: pa.Array) -> None:
    out.vectors.dim = column.type.list_size
    out.vectors.int8_vector = _numpy(column.flatten()).tobytes()


def _byte_vectors(slot: str, bits: int) -> Callable[[Any, pa.Array], None]:
    def write(out: Any, column: pa.Array) -> None:
        width = column.type.byte_width
        out.vectors.dim = width * 8 // bits
        buffer = column.buffers()[1]
        start = column.offset * width
        raw = memoryview(buffer)[start : start + len(column) * width].tobytes() if len(column) else b""
        setattr(out.vectors, slot, raw)

    return write


def _sparse_vectors(out: Any, column: pa.Array) -> None:
    contents = column.to_pylist()
    message = out.vectors.sparse_float_vector
    message.contents.extend(contents)
    indices = np.frombuffer(b"".join(contents), "<u4")[::2]
    message.dim = int(indices.max()) + 1 if len(indices) else 0
    out.vectors.dim = message.dim


_WRITERS: dict[DataType, Callable[[Any, pa.Array], None]] = {
    DataType.BOOL: _bools,
    DataType.INT8: _integers("int_data"),
    DataType.INT16: _integers("int_data"),
    DataType.INT32: _integers("int_data"),
    DataType.INT64: _integers("long_data"),
    DataType.FLOAT: _floats,
    DataType.DOUBLE: _doubles,
    DataType.VARCHAR: _strings,
    DataType.TEXT: _strings,
    DataType.TIMESTAMPTZ: _timestamps,
    DataType.GEOMETRY: _texts("geometry_wkt_data"),
    DataType.JSON: _texts("json_data"),
    DataType.ARRAY: _lists,
    DataType.FLOAT_VECTOR: _float_vectors,
    DataType.INT8_VECTOR: _int8_vectors,
    DataType.BINARY_VECTOR: _byte_vectors("binary_vector", 1),
    DataType.FLOAT16_VECTOR: _byte_vectors("float16_vector", 16),
    DataType.BFLOAT16_VECTOR: _byte_vectors("bfloat16_vector", 16),
    DataType.SPARSE_FLOAT_VECTOR: _sparse_vectors,
}


def write_ids(out: Any, ids: Keys) -> None:
    """Keys -> `IDs`."""
    if isinstance(ids, np.ndarray) or pa.types.is_integer(ids.type):
        numbers = ids if isinstance(ids, np.ndarray) else arrow_to_numbers(ids)
        out.int_id.SetInParent()
        out.int_id.data.extend(numbers.tolist())
    else:
        out.str_id.SetInParent()
        out.str_id.data.extend(ids.to_pylist())
