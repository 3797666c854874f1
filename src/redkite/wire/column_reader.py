"""FieldData to Arrow columns.

Two layouts exist. A client that writes sends every column *compact*: only the values of valid rows. A server that
answers sends scalars *dense*, with a placeholder at each null row, and vectors compact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from redkite.errors import InvalidParameter, Unimplemented
from redkite.model.batch import arrow_field, numbers_to_arrow
from redkite.model.halves import to_bfloat16
from redkite.model.limits import LIMITS
from redkite.model.schema import META_FIELD
from redkite.model.types import DataType
from redkite.wire.blocks import NO_BLOCKS, Blocks
from redkite.wire.messages import schema
from redkite.wire.numbers import Array, read_integers, read_packed
from redkite.wire.struct_columns import element_kind, parts_of, read_vector_lists

_MAX_DIM = 8 * LIMITS.max_dimension
_WITH_DIM = frozenset({
    DataType.FLOAT_VECTOR, DataType.INT8_VECTOR, DataType.BINARY_VECTOR, DataType.FLOAT16_VECTOR,
    DataType.BFLOAT16_VECTOR,
})  # fmt: skip

_ELEMENTS: dict[DataType, pa.DataType] = {
    DataType.BOOL: pa.bool_(), DataType.INT8: pa.int8(), DataType.INT16: pa.int16(), DataType.INT32: pa.int32(),
    DataType.INT64: pa.int64(), DataType.FLOAT: pa.float32(), DataType.DOUBLE: pa.float64(),
    DataType.VARCHAR: pa.string(),
}  # fmt: skip
_ELEMENT_OF_SLOT: dict[str, DataType] = {
    "bool_data": DataType.BOOL, "int_data": DataType.INT32, "long_data": DataType.INT64,
    "float_data": DataType.FLOAT, "double_data": DataType.DOUBLE, "string_data": DataType.VARCHAR,
}  # fmt: skip


def read_batch(fields: Iterable[Any], rows: int | None, *, dense: bool, blocks: Blocks = NO_BLOCKS) -> pa.RecordBatch:
    """Columns of `rows` rows each (None: as many as the first has), named by their fields; the Arrow fields remember
    the Milvus type. `blocks`: what was cut out of the fields.

    Raises InvalidParameter for a column that is given twice, has the wrong number of rows or contradicts itself.
    """
    names: list[pa.Field] = []
    columns: list[pa.Array] = []
    seen: set[str] = set()
    for place, field in _flat(fields):
        name = META_FIELD if field.is_dynamic else field.field_name  # some SDKs leave the name of that one empty
        if name in seen:
            raise InvalidParameter(f"duplicated field name {name} found")
        seen.add(name)
        column = read_column(field, rows, dense=dense, numbers=blocks.get(place))
        rows = len(column)
        columns.append(column)
        nullable = column.null_count > 0 or len(field.valid_data) > 0
        kind = data_type(field)
        element = element_kind(field) if kind is DataType._ARRAY_OF_VECTOR else DataType.NONE
        names.append(arrow_field(name, kind, column.type, nullable=nullable, element=element))
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(names))


def _flat(fields: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    """The columns and their places, with those of structs, which have none, in the place of their struct."""
    for place, field in enumerate(fields):
        if field.type == DataType._ARRAY_OF_STRUCT:
            yield from ((-1, part) for part in parts_of(field))
        else:
            yield place, field


def data_type(field: Any) -> DataType:
    """The type a FieldData claims to have."""
    try:
        return DataType(field.type)
    except ValueError:
        raise InvalidParameter(f"data type {field.type} of field {field.field_name} is not known") from None


def read_column(field: Any, rows: int | None, *, dense: bool, numbers: Array | None = None) -> pa.Array:
    """One column of exactly `rows` rows; None: as many as it has. `numbers`: of its float vectors, where they are not
    in the field."""
    kind = data_type(field)
    reader = _READERS.get(kind)
    if reader is None:
        _refuse_type(kind, field.field_name)
    if numbers is not None:
        reader = partial(_float_vectors, numbers=numbers)
    if not len(field.valid_data):
        values = reader(field)
        _check_rows(field, len(values), len(values) if rows is None else rows)
        return values
    valid = read_integers(field.valid_data, np.bool_)
    if rows is not None and len(valid) != rows:
        raise InvalidParameter(
            f"the length of valid_data of field({field.field_name}) is wrong", expected=rows, actual=len(valid)
        )
    filled = int(np.count_nonzero(valid))
    if not filled and kind in _WITH_DIM and not field.vectors.dim:
        return pa.nulls(len(valid))  # nothing in the message tells the dimension
    values = reader(field)
    if dense and (not kind.is_vector or kind is DataType._ARRAY_OF_VECTOR):
        _check_rows(field, len(values), len(valid))
        return values if filled == len(valid) else pc.if_else(pa.array(valid), values, pa.scalar(None, values.type))
    _check_rows(field, len(values), filled, len(valid))
    return values if filled == len(valid) else _spread(values, valid)


def _refuse_type(kind: DataType, name: str) -> NoReturn:
    if kind is DataType.STRING:
        raise InvalidParameter("string data type not supported yet, please use VarChar type instead")
    if kind in (DataType.NONE, DataType.UNKNOWN):
        raise InvalidParameter(f"field {name} has no data type")
    raise Unimplemented(f"data type {kind.wire_name} of field {name} is not supported in this version")


def _spread(values: pa.Array, valid: Array) -> pa.Array:
    """Put the values of valid rows where they belong, nulls elsewhere."""
    return values.take(pa.array(np.cumsum(valid) - 1, mask=~valid))


def _check_rows(field: Any, given: int, expected: int, rows: int | None = None) -> None:
    if given != expected:
        passed = expected if rows is None else rows
        raise InvalidParameter(
            f"the num_rows ({given}) of field ({field.field_name}) is not equal to passed num_rows ({passed})",
            expected=expected, actual=given,
        )  # fmt: skip


# -- scalars ------------------------------------------------------------------------------------
def _slot(field: Any, *expected: str) -> Any:
    """The message that holds a scalar field's values, which must be in one of the expected slots."""
    which = field.WhichOneof("field")
    if which not in (None, "scalars"):
        raise InvalidParameter(f"field {field.field_name} carries {which}, expected scalars")
    slot = field.scalars.WhichOneof("data") or expected[0]
    if slot not in expected:
        raise InvalidParameter(f"field {field.field_name} carries {slot}, expected {expected[0]}")
    return getattr(field.scalars, slot)


def _bools(field: Any) -> pa.Array:
    return pa.array(read_integers(_slot(field, "bool_data").data, np.bool_))


def _small_integers(dtype: type[np.signedinteger[Any]]) -> Callable[[Any], pa.Array]:
    bounds = np.iinfo(dtype)

    def read(field: Any) -> pa.Array:
        values = read_integers(_slot(field, "int_data").data, np.int32)
        wrong = (values < bounds.min) | (values > bounds.max)
        if wrong.any():
            first = int(np.argmax(wrong))
            raise InvalidParameter(
                f"the {first}th element ({values[first]}) out of range: [{bounds.min}, {bounds.max}]",
                expected="integer doesn't overflow", actual="out of range",
            )  # fmt: skip
        return pa.array(values.astype(dtype))

    return read


def _int32(field: Any) -> pa.Array:
    return pa.array(read_integers(_slot(field, "int_data").data, np.int32))


def _int64(field: Any) -> pa.Array:
    return pa.array(read_integers(_slot(field, "long_data").data, np.int64))


def _floats(field: Any) -> pa.Array:
    return pa.array(read_packed(_slot(field, "float_data"), np.float32))


def _doubles(field: Any) -> pa.Array:
    return pa.array(read_packed(_slot(field, "double_data"), np.float64))


def _strings(field: Any) -> pa.Array:
    return pa.array(_slot(field, "string_data").data[:], pa.string())


def _timestamps(field: Any) -> pa.Array:
    """ISO texts as they came: what a text without an offset means depends on the collection's time zone."""
    slot = _slot(field, "string_data", "timestamptz_data")
    if isinstance(slot, schema.TimestamptzArray):
        return pa.array(read_integers(slot.data, np.int64))
    return pa.array(list(slot.data), pa.string())


def _shapes(field: Any) -> pa.Array:
    return pa.array(list(_slot(field, "geometry_wkt_data").data), pa.string())


def _documents(field: Any) -> pa.Array:
    return pa.array(list(_slot(field, "json_data").data), pa.binary())


def _lists(field: Any) -> pa.Array:
    array = _slot(field, "array_data")
    rows = array.data
    slots = {row.WhichOneof("data") for row in rows} - {None}
    if len(slots) > 1:
        raise InvalidParameter(f"array field {field.field_name} mixes element types {sorted(slots)}")
    slot = slots.pop() if slots else None
    element = _element_type(field, array.element_type, slot)
    if slot is None:
        return pa.array([[]] * len(rows), pa.list_(element))
    # Parsing the rows one after another into one message concatenates their elements.
    flat = schema.ScalarField()
    for row in rows:
        flat.MergeFrom(row)
    lengths = [len(getattr(row, slot).data) for row in rows]
    offsets = np.zeros(len(rows) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    reader = _READERS[_ELEMENT_OF_SLOT[slot]]
    values = reader(schema.FieldData(field_name=field.field_name, scalars=flat))
    return pa.ListArray.from_arrays(pa.array(offsets), values.cast(element))


def _element_type(field: Any, declared: int, slot: str | None) -> pa.DataType:
    if slot is not None and slot not in _ELEMENT_OF_SLOT:
        raise InvalidParameter(f"element type of array field {field.field_name} is not supported: {slot}")
    if not declared:
        return _ELEMENTS[_ELEMENT_OF_SLOT[slot]] if slot else pa.null()
    kind = _ELEMENTS.get(DataType(declared)) if declared in set(DataType) else None
    natural = _ELEMENTS[_ELEMENT_OF_SLOT[slot]] if slot else kind
    small = natural == pa.int32() and kind in (pa.int8(), pa.int16())
    if kind is None or (kind != natural and not small):
        raise InvalidParameter(f"element type {declared} of array field {field.field_name} does not fit {slot}")
    return natural if small else kind


# -- vectors ------------------------------------------------------------------------------------
def _vectors(field: Any, slot: str) -> tuple[Any, int]:
    """A vector field's values and dimension."""
    which = field.WhichOneof("field")
    if which not in (None, "vectors"):
        raise InvalidParameter(f"field {field.field_name} carries {which}, expected vectors")
    vectors = field.vectors
    given = vectors.WhichOneof("data")
    if given not in (None, slot):
        raise InvalidParameter(f"field {field.field_name} carries {given}, expected {slot}")
    return getattr(vectors, slot), vectors.dim


def _check_dim(field: Any, dim: int) -> None:
    if not 0 < dim <= _MAX_DIM:
        raise InvalidParameter(f"dim({dim}) of field {field.field_name} should be in range 1 ~ {_MAX_DIM}")


def _check_divides(field: Any, length: int, width: int, dim: int) -> None:
    if length % width:
        raise InvalidParameter(
            f"the length({length}) of the vector data of field {field.field_name} should divide the dim({dim})"
        )


def _float_vectors(field: Any, numbers: Array | None = None) -> pa.Array:
    message, dim = _vectors(field, "float_vector")
    _check_dim(field, dim)
    values = read_packed(message, np.float32) if numbers is None else numbers
    _check_divides(field, len(values), dim, dim)
    return _fixed_lists(values, dim)


def _int8_vectors(field: Any) -> pa.Array:
    raw, dim = _vectors(field, "int8_vector")
    _check_dim(field, dim)
    _check_divides(field, len(raw), dim, dim)
    return _fixed_lists(np.frombuffer(raw, np.int8), dim)


def _fixed_lists(values: Array, dim: int) -> pa.Array:
    flat = pa.array(values)
    return pa.FixedSizeListArray.from_arrays(flat, dim) if len(flat) else pa.array([], pa.list_(flat.type, dim))


def _half_vectors(slot: str, narrow: Callable[[Array], Array]) -> Callable[[Any], pa.Array]:
    """A reader of 16-bit vectors, which may also come as 32-bit floats."""
    read_bytes = _byte_vectors(slot, 16)

    def read(field: Any) -> pa.Array:
        if field.vectors.WhichOneof("data") != "float_vector":
            return read_bytes(field)
        wide = _float_vectors(field)
        buffer = pa.py_buffer(np.ascontiguousarray(narrow(wide.flatten().to_numpy())))
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(2 * wide.type.list_size), len(wide), [None, buffer])

    return read


def _to_float16(values: Array) -> Array:
    with np.errstate(over="ignore"):  # too large becomes infinity, which is refused as such later
        return values.astype("<f2")


def _byte_vectors(slot: str, bits: int) -> Callable[[Any], pa.Array]:
    """A reader of vectors kept as raw bytes, `bits` per dimension."""

    def read(field: Any) -> pa.Array:
        raw, dim = _vectors(field, slot)
        _check_dim(field, dim)
        if dim * bits % 8:
            raise InvalidParameter(f"dim({dim}) of field {field.field_name} should be multiple of 8")
        width = dim * bits // 8
        _check_divides(field, len(raw), width, dim)
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(raw) // width, [None, pa.py_buffer(raw)])

    return read


def _sparse_vectors(field: Any) -> pa.Array:
    message, _ = _vectors(field, "sparse_float_vector")
    return pa.array(list(message.contents), pa.binary())


_READERS: dict[DataType, Callable[[Any], pa.Array]] = {
    DataType.BOOL: _bools,
    DataType.INT8: _small_integers(np.int8),
    DataType.INT16: _small_integers(np.int16),
    DataType.INT32: _int32,
    DataType.INT64: _int64,
    DataType.FLOAT: _floats,
    DataType.DOUBLE: _doubles,
    DataType.VARCHAR: _strings,
    DataType.TEXT: _strings,
    DataType.TIMESTAMPTZ: _timestamps,
    DataType.GEOMETRY: _shapes,
    DataType.JSON: _documents,
    DataType.ARRAY: _lists,
    DataType.FLOAT_VECTOR: _float_vectors,
    DataType.INT8_VECTOR: _int8_vectors,
    DataType.BINARY_VECTOR: _byte_vectors("binary_vector", 1),
    DataType.FLOAT16_VECTOR: _half_vectors("float16_vector", _to_float16),
    DataType.BFLOAT16_VECTOR: _half_vectors("bfloat16_vector", to_bfloat16),
    DataType.SPARSE_FLOAT_VECTOR: _sparse_vectors,
    DataType._ARRAY_OF_VECTOR: read_vector_lists,
}


def read_ids(ids: Any) -> pa.Array:
    """`IDs` -> int64 or string array; an unset `IDs` is an empty int64 array."""
    if ids.WhichOneof("id_field") == "str_id":
        return pa.array(list(ids.str_id.data), pa.string())
    return numbers_to_arrow(read_integers(ids.int_id.data, np.int64))
