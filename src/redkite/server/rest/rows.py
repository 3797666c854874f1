"""Rows as JSON to Arrow columns, and back.

The SDK's own conversion does the work; here is what JSON adds: bytes as base64, numbers in strings, sparse vectors with
text keys, and arrays in protobuf's clothes.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import orjson
import pyarrow as pa

from redkite.client.rows import RowPlan
from redkite.client.values import Dynamic, matrix_of
from redkite.client.vectors import queries, vector_column
from redkite.errors import InvalidParameter, MilvusException, ParamError
from redkite.model.batch import list_starts, typed_rows
from redkite.model.requests import Queries
from redkite.model.results import CollectionInfo, Hits
from redkite.model.schema import META_FIELD, CollectionSchema, FieldSchema, StructFieldSchema
from redkite.model.structs import elements_of, runs, split_name
from redkite.model.types import DataType
from redkite.server.rest.exchange import BadPrimaryKey, BadRows, NotJson

Row = dict[str, Any]
_WHOLE_NUMBER = re.compile(r"[-+]?[0-9]{1,20}")
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_NONE = type(None)


# -- rows in ------------------------------------------------------------------------------------
def read_rows(info: CollectionInfo, rows: list[Row], *, upsert: bool, partial: bool) -> pa.RecordBatch:
    """Rows of a body -> the batch of an insert or upsert. Takes the dicts as its own. Raises BadRows."""
    try:
        for field in info.schema.user_fields:
            convert, native = _READERS.get(field.data_type, _AS_IS)
            if convert is not None:
                _convert(field, rows, convert, native)
        for struct in info.schema.struct_fields:
            _convert_structs(struct, rows)
        return typed_rows(RowPlan.of(info).batch(rows, upsert=upsert, partial=partial), info.schema)
    except MilvusException as error:
        raise BadRows(error.message) from None


Reader = Callable[[FieldSchema, Any], Any]


def _convert(field: FieldSchema, rows: list[Row], convert: Reader, native: frozenset[type]) -> None:
    """Replace the values of a field that are not of a type the SDK takes."""
    name = field.name
    if {type(row.get(name)) for row in rows} <= native:
        return
    for row in rows:
        value = row.get(name)
        if type(value) not in native:
            row[name] = convert(field, value)


def _convert_structs(struct: StructFieldSchema, rows: list[Row]) -> None:
    """The same for the structs of all rows, sub-field by sub-field."""
    lists = [row[struct.name] for row in rows if isinstance(row.get(struct.name), list)]
    items = [item for each in lists for item in each if isinstance(item, dict)]
    for part in struct.fields:
        convert, native = _READERS.get(part.element_type, _AS_IS)
        if convert is not None and items:
            given = [item for item in items if part.sub_name in item]
            _convert(msgspec.structs.replace(part.element, name=part.sub_name), given, convert, native)


def _whole_number(_field: FieldSchema, value: Any) -> Any:
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
        return int(value)
    return value


def _number(_field: FieldSchema, value: Any) -> Any:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    return value


def _truth(_field: FieldSchema, value: Any) -> Any:
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


def _text(_field: FieldSchema, value: Any) -> str:
    return msgspec.json.encode(value).decode()  # which knows whole numbers of any size


def _bytes(field: FieldSchema, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except ValueError as error:  # also of what is no ASCII
        raise ParamError(f"the vector of field {field.name} is not base64: {error}") from None


def _sparse(field: FieldSchema, value: Any) -> Any:
    """`{"1": 0.5}` or `{"indices": [1], "values": [0.5]}` -> `{1: 0.5}`"""
    if not isinstance(value, dict):
        return value
    keys, values = list(value), list(value.values())
    if value.keys() == {"indices", "values"}:
        keys, values = value["indices"], value["values"]
        if not isinstance(keys, list) or not isinstance(values, list) or len(keys) != len(values):
            raise ParamError(f"indices and values of sparse field {field.name} must be lists of one length")
    pairs = {}
    for key, number in zip(keys, values, strict=True):
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ParamError(f"a value of sparse field {field.name} is not a number: {number!r:.80}")
        if not _WHOLE_NUMBER.fullmatch(str(key)):
            raise ParamError(f"an index of sparse field {field.name} is not a whole number: {key!r:.80}")
        pairs[int(key)] = number
    if len(pairs) < len(keys):
        raise ParamError(f"a sparse vector of field {field.name} has an index twice")
    return pairs


_AS_IS: tuple[Reader | None, frozenset[type]] = (None, frozenset())
_READERS: dict[DataType, tuple[Reader | None, frozenset[type]]] = {
    DataType.BOOL: (_truth, frozenset({bool, _NONE})),
    DataType.INT8: (_whole_number, frozenset({int, _NONE})), DataType.INT16: (_whole_number, frozenset({int, _NONE})),
    DataType.INT32: (_whole_number, frozenset({int, _NONE})), DataType.INT64: (_whole_number, frozenset({int, _NONE})),
    DataType.FLOAT: (_number, frozenset({int, float, _NONE})),
    DataType.DOUBLE: (_number, frozenset({int, float, _NONE})),
    DataType.VARCHAR: (_text, frozenset({str, _NONE})), DataType.TEXT: (_text, frozenset({str, _NONE})),
    DataType.BINARY_VECTOR: (_bytes, frozenset({_NONE})), DataType.FLOAT16_VECTOR: (_bytes, frozenset({_NONE})),
    DataType.BFLOAT16_VECTOR: (_bytes, frozenset({_NONE})), DataType.INT8_VECTOR: (_bytes, frozenset({_NONE})),
    DataType.SPARSE_FLOAT_VECTOR: (_sparse, frozenset({_NONE})),
}  # fmt: skip
"""How a value becomes what the SDK takes, and the types it takes already."""


def read_queries(schema: CollectionSchema, anns_field: str, data: list[Any]) -> Queries:
    """The `data` of a search -> query vectors of the searched field's type. Raises NotJson."""
    whole = schema.with_parts
    field = whole.field(anns_field) if anns_field else next(iter(whole.vector_fields), None)
    try:
        if field is not None and field.data_type is DataType._ARRAY_OF_VECTOR:
            return _array_queries(field, data)
        if field is not None and field.is_function_output and all(isinstance(value, str) for value in data):
            return queries(data, anns_field)
        if field is None or field.data_type is DataType.FLOAT_VECTOR or not field.data_type.is_vector:
            return queries(data, anns_field)
        if field.data_type is DataType.SPARSE_FLOAT_VECTOR:
            return queries([_sparse(field, value) for value in data], anns_field)
        column = vector_column(msgspec.structs.replace(field, nullable=False), [_bytes(field, value) for value in data])
    except (MilvusException, TypeError) as error:
        text = error.message if isinstance(error, MilvusException) else str(error)
        raise NotJson(f"the query vectors cannot be read: {text}") from None
    return Queries(data_type=field.data_type, raw=tuple(_raw_values(column)))


def _array_queries(field: FieldSchema, data: list[Any]) -> Queries:
    """Queries of a vector sub-field: lists of vectors, or vectors for its elements."""
    element = msgspec.structs.replace(field.element, nullable=False)
    lists = all(isinstance(value, list) and value and isinstance(value[0], list | str) for value in data)
    if not lists:
        column = vector_column(element, [_bytes(element, value) for value in data])
        if element.data_type is DataType.FLOAT_VECTOR:
            return queries(data, field.name)
        return Queries(data_type=element.data_type, raw=tuple(_raw_values(column)))
    columns = [vector_column(element, [_bytes(element, value) for value in values]) for values in data]
    raw = tuple(b"".join(_raw_values(column)) for column in columns)
    return Queries(data_type=element.data_type, raw=raw, are_lists=True)


def _raw_values(column: pa.Array) -> list[bytes]:
    if pa.types.is_fixed_size_list(column.type):
        return [row.tobytes() for row in matrix_of(column)]
    values: list[bytes] = column.to_pylist()
    return values


def read_ids(primary: FieldSchema, given: Any) -> list[Any]:
    """The `id` of a body, one or many -> primary keys. Raises BadPrimaryKey."""
    ids = given if isinstance(given, list) else [given]
    if primary.data_type is DataType.INT64:
        ids = [_whole_number(primary, value) for value in ids]
    numbers = primary.data_type is DataType.INT64
    for value in ids:
        fits = type(value) is int and -(2**63) <= value < 2**63 if numbers else type(value) is str
        if not fits:
            raise BadPrimaryKey(f"{value!r:.80} is no {primary.data_type.wire_name}")
    return ids


# -- rows out -----------------------------------------------------------------------------------
def search_rows(found: Hits, schema: CollectionSchema, integers_as_text: bool) -> list[Row]:
    """The hits of all queries, one after the other: primary key, `distance` and the output fields."""
    ids = key_list(found.ids, integers_as_text)
    scores = list(found.scores)
    primary = found.primary_field
    if found.rows.num_columns:
        own = ("distance", primary) if found.element_indices is None else ("offset", "distance", primary)
        fields = row_objects(found.rows, found.output_fields, schema, integers_as_text, but=own)
        hits = [{"distance": score, primary: key, **row} for score, key, row in zip(scores, ids, fields, strict=True)]
    else:
        hits = [{"distance": score, primary: key} for score, key in zip(scores, ids, strict=True)]
    if found.element_indices is None:
        return hits
    offsets = found.element_indices.tolist()
    return [{"offset": offset, **hit} for offset, hit in zip(offsets, hits, strict=True)]


def key_list(keys: pa.Array, integers_as_text: bool) -> list[Any]:
    """Primary keys as JSON values."""
    if pa.types.is_integer(keys.type) and integers_as_text:
        keys = keys.cast(pa.string())
    values: list[Any] = keys.to_pylist()
    return values


def row_objects(
    rows: pa.RecordBatch,
    output_fields: Sequence[str],
    schema: CollectionSchema,
    integers_as_text: bool,
    but: tuple[str, ...] = (),
) -> list[Row]:
    """Rows as JSON objects, dynamic keys beside the fields, without those whose names are taken otherwise (`but`)."""
    known = schema.with_parts
    names, columns = [], []
    for name, places in runs(rows.schema.names):
        if name == META_FIELD:
            continue
        names.append(name)
        if rows.schema.names[places[0]] == name:
            columns.append(json_cells(rows.column(places[0]), known.field(name), integers_as_text))
        else:
            columns.append(struct_cells(rows, places, known, integers_as_text))
    objects = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    if META_FIELD not in rows.schema.names:
        return objects
    dynamic = Dynamic(tuple(output_fields), names)
    metas = [dynamic.pick(orjson.loads(meta or b"{}")) for meta in rows.column(META_FIELD).to_pylist()]
    for meta in metas if but else ():
        for name in but:
            meta.pop(name, None)
    return [{**meta, **row} for meta, row in zip(metas, objects or [{} for _ in metas], strict=True)]


def struct_cells(
    rows: pa.RecordBatch, places: list[int], schema: CollectionSchema, integers_as_text: bool
) -> list[Any]:
    """One list of JSON objects, or null, per row."""
    parts = [schema.field(rows.schema.names[place]) for place in places]
    names = [split_name(rows.schema.names[place])[1] for place in places]
    values = [
        json_cells(elements_of(rows.column(place)), None if part is None else part.element, integers_as_text)
        for place, part in zip(places, parts, strict=True)
    ]
    objects = [dict(zip(names, each, strict=True)) for each in zip(*values, strict=True)]
    first = rows.column(places[0])
    starts = (list_starts(first) - list_starts(first)[0]).tolist()
    valid = first.is_valid().to_pylist()
    return [objects[starts[at] : starts[at + 1]] if present else None for at, present in enumerate(valid)]


def json_cells(column: pa.Array, field: FieldSchema | None, integers_as_text: bool) -> list[Any]:
    """One JSON value per row; `field` is None for what is no field, such as `count(*)`."""
    kind = DataType.NONE if field is None else field.data_type
    if kind is DataType.INT64 and integers_as_text:
        column = column.cast(pa.string())
    if kind is DataType.FLOAT_VECTOR:
        return _with_nulls(column, list(matrix_of(column)))
    if kind is DataType.INT8_VECTOR:
        return _with_nulls(column, [_base64(row.tobytes()) for row in matrix_of(column)])
    if kind is DataType.FLOAT:
        return _with_nulls(column, list(column.fill_null(0).to_numpy(zero_copy_only=False).astype(np.float32)))
    if kind is DataType.ARRAY and field is not None:
        shown = _array(field)
        return [None if row is None else shown(row) for row in array_values(field, column)]
    values: list[Any] = column.to_pylist()
    show = _WRITERS.get(kind)
    return values if show is None else [None if value is None else show(value) for value in values]


def _with_nulls(column: pa.Array, values: list[Any]) -> list[Any]:
    if column.null_count:
        for index in np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)):
            values[index] = None
    return values


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _sparse_object(value: bytes) -> dict[str, Any]:
    pairs = np.frombuffer(value, [("index", "<u4"), ("value", "<f4")])
    return dict(zip(map(str, pairs["index"].tolist()), pairs["value"], strict=True))


_WRITERS: dict[DataType, Callable[[Any], Any]] = {
    DataType.JSON: bytes.decode,
    DataType.BINARY_VECTOR: _base64, DataType.FLOAT16_VECTOR: _base64, DataType.BFLOAT16_VECTOR: _base64,
    DataType.SPARSE_FLOAT_VECTOR: _sparse_object,
}  # fmt: skip

_ARRAY_NAMES = {
    DataType.BOOL: "BoolData", DataType.INT8: "IntData", DataType.INT16: "IntData", DataType.INT32: "IntData",
    DataType.INT64: "LongData", DataType.FLOAT: "FloatData", DataType.DOUBLE: "DoubleData",
    DataType.VARCHAR: "StringData",
}  # fmt: skip


def _array(field: FieldSchema) -> Callable[[Any], Any]:
    name = array_name(field)
    return lambda values: {"Data": {name: {"data": values}}}


def array_values(field: FieldSchema, column: pa.Array) -> list[Any]:
    """The values of each row; those of 32 bits as numpy has them, which are shown in as few digits as tell them."""
    rows: list[Any] = column.to_pylist()
    if field.element_type is not DataType.FLOAT:
        return rows
    return [None if row is None else np.array(row, np.float32) for row in rows]


def array_name(field: FieldSchema) -> str:
    """What protobuf calls the values of an array."""
    name = _ARRAY_NAMES.get(field.element_type)
    if name is None:
        raise InvalidParameter(f"arrays of {field.element_type.wire_name} cannot be shown as JSON")
    return name
