"""Columns of Arrow types, as Parquet files have them, as the columns of fields."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from redkite.formats.cells import Column, json_column
from redkite.formats.dense import bytes_column, lists_column
from redkite.formats.faults import BadCell, BadColumn
from redkite.formats.sparse import sparse_structs
from redkite.model.batch import arrow_field, arrow_type, batch_field, list_starts, lists_of
from redkite.model.schema import FieldSchema, StructFieldSchema
from redkite.model.structs import elements_of
from redkite.model.types import DataType

is_ = pa.types


def plain(values: pa.Array) -> pa.Array:
    """The same values without dictionaries, views and 64-bit offsets."""
    kind = values.type
    if is_.is_dictionary(kind):
        return plain(values.dictionary_decode())
    if is_.is_large_string(kind) or is_.is_string_view(kind):
        return values.cast(pa.string())
    if is_.is_large_binary(kind) or is_.is_binary_view(kind):
        return values.cast(pa.binary())
    if is_.is_large_list(kind):
        return values.cast(pa.list_(kind.value_type))
    return values


def native_column(field: FieldSchema, values: pa.Array) -> Column:
    """The column of a field. Raises BadColumn and BadCell."""
    values = plain(values)
    kind = field.data_type
    if is_.is_null(values.type):
        return batch_field(field), pa.nulls(len(values), arrow_type(field))
    if kind is DataType.TIMESTAMPTZ:
        return _moments(field, values)
    if kind is DataType.JSON:
        return batch_field(field), _documents(field, values)
    if kind is DataType.SPARSE_FLOAT_VECTOR:
        return batch_field(field), _sparse(field, values)
    if kind.is_vector:
        return batch_field(field), _vectors(field, values)
    return batch_field(field), _scalars(field, values)


def _refused(field: FieldSchema, kind: pa.DataType) -> BadColumn:
    return BadColumn(f"a column of {kind} does not fit {field.data_type.wire_name}")


def _moments(field: FieldSchema, values: pa.Array) -> Column:
    kind = values.type
    if is_.is_integer(kind):
        return batch_field(field), _cast(field, values, pa.int64())
    if is_.is_timestamp(kind):
        micros = values.cast(pa.timestamp("us", kind.tz), safe=False)
        if kind.tz is not None:
            return batch_field(field), micros.cast(pa.int64())
        values = micros.cast(pa.string())
    if not is_.is_string(values.type):
        raise _refused(field, kind)
    return arrow_field(field.name, DataType.TIMESTAMPTZ, pa.string()), values


def _documents(field: FieldSchema, values: pa.Array) -> pa.Array:
    kind = values.type
    if is_.is_string(kind) or is_.is_binary(kind):
        return values.cast(pa.binary())
    if is_.is_nested(kind) or is_.is_boolean(kind) or is_.is_integer(kind) or is_.is_floating(kind):
        rows = values.to_pylist(maps_as_pydicts="strict")
        try:
            return pa.array([None if row is None else orjson.dumps(row) for row in rows], pa.binary())
        except TypeError as error:
            raise BadColumn(f"a column of {kind} is no JSON: {error}") from None
    raise _refused(field, kind)


def _sparse(field: FieldSchema, values: pa.Array) -> pa.Array:
    kind = values.type
    if is_.is_struct(kind) or is_.is_map(kind):
        return sparse_structs(values)
    if is_.is_string(kind):
        return json_column(field, values.cast(pa.binary()).to_pylist())[1]
    raise _refused(field, kind)


def _vectors(field: FieldSchema, values: pa.Array) -> pa.Array:
    kind = values.type
    if is_.is_list(kind) or is_.is_fixed_size_list(kind):
        return lists_column(field, values)
    if is_.is_binary(kind) or is_.is_fixed_size_binary(kind):
        return bytes_column(field, values)
    if is_.is_string(kind):
        return json_column(field, values.cast(pa.binary()).to_pylist())[1]
    raise _refused(field, kind)


def _scalars(field: FieldSchema, values: pa.Array) -> pa.Array:
    if field.data_type is not DataType.ARRAY:
        return _element(field.data_type, field, values)
    if is_.is_string(values.type):
        return json_column(field, values.cast(pa.binary()).to_pylist())[1]
    if is_.is_fixed_size_list(values.type):
        values = values.cast(pa.list_(values.type.value_type))
    if not is_.is_list(values.type):
        raise _refused(field, values.type)
    starts = list_starts(values)
    valid = values.is_valid().to_numpy(zero_copy_only=False) if values.null_count else None
    if valid is not None:
        values = values.take(pa.array(np.arange(len(values))))  # null rows hold nothing then
        starts = list_starts(values)
    try:
        elements = _element(field.element_type, field, plain(elements_of(values)))
    except BadCell as error:
        row = int(np.searchsorted(starts - starts[0], error.row, "right")) - 1
        raise BadCell(row, error.reason) from None
    return lists_of(starts - starts[0], elements, valid)


def _element(kind: DataType, field: FieldSchema, values: pa.Array) -> pa.Array:
    """Values of one scalar type."""
    wanted = arrow_type(field) if kind is field.data_type else arrow_type(field).value_type
    given = values.type
    if given == wanted:
        return values
    if is_.is_null(given):
        return pa.nulls(len(values), wanted)
    fits = (
        (kind.is_integer and is_.is_integer(given))
        or (kind.is_float and (is_.is_floating(given) or is_.is_integer(given)))
        or ((kind.is_string or kind is DataType.GEOMETRY) and is_.is_binary(given))
    )
    if not fits:
        raise _refused(field, given)
    return _cast(field, values, wanted)


def _cast(field: FieldSchema, values: pa.Array, wanted: pa.DataType) -> pa.Array:
    loose = is_.is_floating(wanted)
    try:
        return values.cast(wanted, safe=not loose)
    except pa.ArrowInvalid:
        for row, value in enumerate(values):
            try:
                pa.array([value.as_py()]).cast(wanted, safe=True)
            except (pa.ArrowInvalid, OverflowError):
                raise BadCell(row, f"{_shown(value.as_py())} does not fit {field.data_type.wire_name}") from None
        raise


def _shown(value: Any) -> str:
    return repr(value)[:80]


def struct_columns(struct: StructFieldSchema, values: pa.Array) -> list[Column]:
    """The columns of an array of structs, one for each sub-field, from a column of lists of structs."""
    values = plain(values)
    kind = values.type
    if is_.is_null(kind):
        return [(batch_field(part), pa.nulls(len(values), arrow_type(part))) for part in struct.fields]
    if not is_.is_list(kind) or not is_.is_struct(kind.value_type):
        raise BadColumn(f"a column of {kind} is no array of structs")
    names = {kind.value_type.field(at).name for at in range(kind.value_type.num_fields)}
    wanted = {part.sub_name for part in struct.fields}
    if names != wanted:
        raise BadColumn(f"its structs have the fields {sorted(names)}, not {sorted(wanted)}")
    valid = values.is_valid().to_numpy(zero_copy_only=False) if values.null_count else None
    if valid is not None:
        values = values.take(pa.array(np.arange(len(values))))
    structs, starts = elements_of(values), list_starts(values)
    starts = starts - starts[0]
    found = []
    for part in struct.fields:
        try:
            _, elements = native_column(part.element, structs.field(part.sub_name))
        except BadCell as error:
            row = int(np.searchsorted(starts, error.row, "right")) - 1
            raise BadCell(row, f"{part.sub_name}: {error.reason}") from None
        except BadColumn as error:
            raise BadColumn(f"{part.sub_name}: {error}") from None
        found.append((batch_field(part), lists_of(starts, elements, valid)))
    return found
