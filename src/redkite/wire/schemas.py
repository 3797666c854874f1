"""Collection schemas to and from their messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from redkite.errors import InvalidParameter, Unimplemented
from redkite.model.schema import CollectionSchema, DefaultValue, FieldSchema, FunctionSchema, StructFieldSchema
from redkite.model.structs import split_name
from redkite.model.types import DataType, FunctionType

_DEFAULT_SLOTS: dict[DataType, str] = {
    DataType.BOOL: "bool_data", DataType.INT8: "int_data", DataType.INT16: "int_data", DataType.INT32: "int_data",
    DataType.INT64: "long_data", DataType.FLOAT: "float_data", DataType.DOUBLE: "double_data",
    DataType.VARCHAR: "string_data", DataType.TEXT: "string_data", DataType.GEOMETRY: "string_data",
    DataType.TIMESTAMPTZ: "string_data",
}  # fmt: skip


def read_pairs(pairs: Iterable[Any]) -> dict[str, str]:
    """KeyValuePairs -> dict; a key given twice counts with its last value."""
    return {pair.key: pair.value for pair in pairs}


def write_pairs(out: Any, pairs: Mapping[str, str]) -> None:
    """dict -> KeyValuePairs, added to a repeated field."""
    for key, value in pairs.items():
        out.add(key=key, value=value)


_IMPORT = "import the files into a collection"
_UNSERVED = {
    "external_source": _IMPORT, "external_spec": _IMPORT,
    "enable_namespace": "keep rows apart by partitions, or by a partition key",
}  # fmt: skip


def no_namespace(name: str) -> Unimplemented:
    """What a request in a namespace is told: there are none."""
    return Unimplemented(f"namespace '{name}' is not supported in this version: {_UNSERVED['enable_namespace']}")


# -- reading ------------------------------------------------------------------------------------
def read_schema(message: Any) -> CollectionSchema:
    """`schema.CollectionSchema` -> CollectionSchema. What this version cannot hold is refused by name."""
    for name, instead in _UNSERVED.items():
        if getattr(message, name):
            text = f"{name} of a collection schema is not supported in this version, got {getattr(message, name)}"
            raise Unimplemented(f"{text}: {instead}")
    return CollectionSchema(
        name=message.name,
        description=message.description,
        auto_id=message.autoID,
        fields=tuple(read_field(field) for field in message.fields),
        enable_dynamic_field=message.enable_dynamic_field,
        struct_fields=tuple(read_struct(field) for field in message.struct_array_fields),
        functions=tuple(read_function(function) for function in message.functions),
        properties=read_pairs(message.properties),
        version=message.version,
    )


def _read_type(number: int, name: str) -> DataType:
    try:
        return DataType(number)
    except ValueError:
        raise InvalidParameter(f"data type {number} of field {name} is not supported") from None


def read_field(message: Any) -> FieldSchema:
    """`schema.FieldSchema` -> FieldSchema."""
    name = message.name
    if message.index_params:
        raise Unimplemented(f"index_params in the schema of field {name} are not supported, create an index instead")
    if message.external_field:
        raise Unimplemented(f"external_field of field {name} is not supported in this version")
    return FieldSchema(
        name=name,
        data_type=_read_type(message.data_type, name),
        field_id=message.fieldID,
        description=message.description,
        is_primary=message.is_primary_key,
        auto_id=message.autoID,
        is_partition_key=message.is_partition_key,
        is_clustering_key=message.is_clustering_key,
        is_dynamic=message.is_dynamic,
        is_function_output=message.is_function_output,
        nullable=message.nullable,
        default_value=_read_default(message.default_value, name),
        element_type=_read_type(message.element_type, name),
        params=read_pairs(message.type_params),
    )


def _read_default(value: Any, name: str) -> DefaultValue:
    slot = value.WhichOneof("data")
    if slot is None:
        return None
    default = getattr(value, slot)
    if not isinstance(default, (bool, int, float, str)):
        raise InvalidParameter(f"the default value of field {name} in {slot} is not supported")
    return default


def read_struct(message: Any) -> StructFieldSchema:
    """`schema.StructArrayFieldSchema` -> StructFieldSchema."""
    return StructFieldSchema(
        name=message.name,
        fields=tuple(read_field(field) for field in message.fields),
        field_id=message.fieldID,
        description=message.description,
        nullable=message.nullable,
        params=read_pairs(message.type_params),
    )


def with_full_names(schema: CollectionSchema) -> CollectionSchema:
    """A schema that a server told: sub-fields have their struct's name around theirs, as columns do, whether or not the
    server says it so."""
    if not schema.struct_fields:
        return schema
    structs = []
    for struct in schema.struct_fields:
        names = [part.name if split_name(part.name)[0] else f"{struct.name}[{part.name}]" for part in struct.fields]
        parts = tuple(replace(part, name=name) for part, name in zip(struct.fields, names, strict=True))
        structs.append(replace(struct, fields=parts))
    return replace(schema, struct_fields=tuple(structs))


def read_function(message: Any) -> FunctionSchema:
    """`schema.FunctionSchema` -> FunctionSchema."""
    try:
        kind = FunctionType(message.type)
    except ValueError:
        raise InvalidParameter(f"function type {message.type} of function {message.name} is not supported") from None
    return FunctionSchema(
        name=message.name,
        type=kind,
        function_id=message.id,
        description=message.description,
        input_field_names=tuple(message.input_field_names),
        output_field_names=tuple(message.output_field_names),
        params=read_pairs(message.params),
    )


# -- writing ------------------------------------------------------------------------------------
def write_schema(out: Any, schema: CollectionSchema) -> None:
    """Fill a `schema.CollectionSchema` with the fields that users see (`$meta` is a flag there)."""
    out.name = schema.name
    out.description = schema.description
    out.autoID = schema.auto_id
    out.enable_dynamic_field = schema.enable_dynamic_field
    out.version = schema.version
    write_pairs(out.properties, schema.properties)
    for field in schema.user_fields:
        write_field(out.fields.add(), field)
    for struct in schema.struct_fields:
        write_struct(out.struct_array_fields.add(), struct)
    for function in schema.functions:
        write_function(out.functions.add(), function)
        ids = {field.name: field.field_id for field in schema.fields}
        written = out.functions[-1]
        written.input_field_ids.extend(ids.get(name, 0) for name in function.input_field_names)
        written.output_field_ids.extend(ids.get(name, 0) for name in function.output_field_names)


def write_field(out: Any, field: FieldSchema) -> None:
    """Fill a `schema.FieldSchema`."""
    out.fieldID = field.field_id
    out.name = field.name
    out.description = field.description
    out.data_type = int(field.data_type)
    out.element_type = int(field.element_type)
    out.is_primary_key = field.is_primary
    out.autoID = field.auto_id
    out.is_partition_key = field.is_partition_key
    out.is_clustering_key = field.is_clustering_key
    out.is_dynamic = field.is_dynamic
    out.is_function_output = field.is_function_output
    out.nullable = field.nullable
    write_pairs(out.type_params, field.params)
    if field.default_value is not None:
        _write_default(out.default_value, field)


def _write_default(out: Any, field: FieldSchema) -> None:
    slot = _DEFAULT_SLOTS.get(field.data_type)
    if slot is None:
        raise InvalidParameter(f"type not support default_value, type:{field.data_type.wire_name}, name:{field.name}")
    try:
        setattr(out, slot, field.default_value)
    except (TypeError, ValueError):
        raise InvalidParameter(
            f"the default value {field.default_value!r} of field {field.name} is not a {field.data_type.wire_name}"
        ) from None


def write_struct(out: Any, struct: StructFieldSchema) -> None:
    """Fill a `schema.StructArrayFieldSchema`."""
    out.fieldID = struct.field_id
    out.name = struct.name
    out.description = struct.description
    out.nullable = struct.nullable
    write_pairs(out.type_params, struct.params)
    for field in struct.fields:
        part = out.fields.add()
        write_field(part, field)
        part.name = split_name(field.name)[1] or field.name


def write_function(out: Any, function: FunctionSchema) -> None:
    """Fill a `schema.FunctionSchema`, without the ids of fields."""
    out.name = function.name
    out.id = function.function_id
    out.type = int(function.type)
    out.description = function.description
    out.input_field_names.extend(function.input_field_names)
    out.output_field_names.extend(function.output_field_names)
    write_pairs(out.params, function.params)
