"""What may be changed about the fields of a collection that exists, and may have rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from redkite.errors import FieldNotFound, InvalidParameter
from redkite.model.limits import Limits
from redkite.model.rules.field_rules import check_field
from redkite.model.rules.names import check_field_name
from redkite.model.rules.property_rules import TTL_FIELD
from redkite.model.rules.struct_rules import check_struct
from redkite.model.schema import CollectionSchema, FieldSchema, StructFieldSchema
from redkite.model.types import DataType

DESCRIPTION = "field.description"
_MAX_LENGTH = "max_length"
_MAX_CAPACITY = "max_capacity"
_MMAP = "mmap.enabled"
_CHANGEABLE = frozenset({DESCRIPTION, _MAX_LENGTH, _MAX_CAPACITY, _MMAP, "warmup"})
_REMOVABLE = frozenset({DESCRIPTION, _MMAP, "warmup"})


def check_added_field(schema: CollectionSchema, field: FieldSchema, limits: Limits) -> None:
    """Raise unless a field can be added: the rows that are there must have a value for it, its default or null."""
    name = field.name.strip()
    if field.is_function_output:
        raise InvalidParameter(f"not support to add function output field, field name = {name}")
    if not field.nullable and field.default_value is None:
        _check_new(schema, field, limits)
        raise InvalidParameter(f"added field must be nullable, please check it, field name = {name}")
    _check_new(schema, field, limits)
    check_field(schema.name, field, limits)


def check_added_output(schema: CollectionSchema, field: FieldSchema, limits: Limits) -> None:
    """Raise unless a field can be added that a new function fills, also in the rows that are there."""
    _check_new(schema, field, limits)
    check_field(schema.name, field, limits)


def _check_new(schema: CollectionSchema, field: FieldSchema, limits: Limits) -> None:
    """The name of a new field, its part in the schema, and whether there is room for it."""
    name = field.name.strip()
    check_field_name(name, limits)
    if any(f.name == name for f in schema.fields):
        raise InvalidParameter(f"duplicated field name {name}")
    for flag, role in (
        (field.is_primary, "pk"),
        (field.is_partition_key, "partition key"),
        (field.is_clustering_key, "clustering key"),
        (field.is_dynamic, "dynamic"),
    ):
        if flag:
            raise InvalidParameter(f"not support to add {role} field, field name = {name}")
    if field.auto_id:
        raise InvalidParameter(f"only primary field can speficy AutoID with true, field name = {name}")
    if field.data_type.is_vector and len(schema.vector_fields) >= limits.max_vector_fields:
        raise InvalidParameter(f"maximum vector field's number should be limited to {limits.max_vector_fields}")
    if sum(not f.is_dynamic for f in schema.fields) >= limits.max_fields:
        raise InvalidParameter(f"The number of fields has reached the maximum value {limits.max_fields}")
    size = len(field.description.encode())
    if size > limits.max_description_bytes:
        raise InvalidParameter(
            f"the description of field {name} must be no longer than {limits.max_description_bytes} bytes, "
            f"but got {size}"
        )


def check_added_struct(schema: CollectionSchema, struct: StructFieldSchema, limits: Limits) -> None:
    """Raise unless an array of structs can be added: it is null in the rows that are there."""
    name = struct.name.strip()
    if any(f.name == name for f in schema.fields) or schema.struct(name) is not None:
        raise InvalidParameter(f"duplicated field name {name}")
    if not struct.nullable:
        raise InvalidParameter(f"added field must be nullable, please check it, field name = {name}")
    vectors = sum(part.data_type.is_vector for part in struct.fields)
    if len(schema.vector_fields) + vectors > limits.max_vector_fields:
        raise InvalidParameter(f"maximum vector field's number should be limited to {limits.max_vector_fields}")
    if sum(not f.is_dynamic for f in schema.fields) + len(struct.fields) > limits.max_fields:
        raise InvalidParameter(f"The number of fields has reached the maximum value {limits.max_fields}")
    check_struct(schema.name, struct, limits)


def fields_to_drop(schema: CollectionSchema, name: str, field_id: int) -> tuple[FieldSchema, ...]:
    """The field of that name, or without one of that id, if it can be dropped; or the sub-fields of the array of
    structs that is meant. One sub-field alone stays."""
    for struct in schema.struct_fields:
        if name == struct.name or (not name and field_id == struct.field_id):
            if all(f.struct_name == struct.name for f in schema.vector_fields):
                raise InvalidParameter(f"cannot drop the last vector field: {struct.name}")
            return struct.fields
        for part in struct.fields:
            if name == part.name or (not name and field_id == part.field_id):
                raise InvalidParameter(
                    f"cannot drop sub-field {part.sub_name} of struct array field {struct.name}, drop the whole field"
                )
    return (field_to_drop(schema, name, field_id),)


def check_struct_params(
    struct: StructFieldSchema, part: FieldSchema | None, properties: Mapping[str, str], delete_keys: Iterable[str]
) -> None:
    """Raise unless each of these may change later, of an array of structs or of one of its sub-fields."""
    name = struct.name if part is None else part.name
    allowed = {DESCRIPTION, _MAX_CAPACITY} if part is None else {DESCRIPTION}
    if part is not None and part.element_type is DataType.VARCHAR:
        allowed.add(_MAX_LENGTH)
    for key in properties:
        if key not in allowed:
            raise InvalidParameter(f"{key} does not allow update in collection field param of {name}")
    for key in delete_keys:
        if key != DESCRIPTION:
            raise InvalidParameter(f"{key} does not allow delete in collection field param of {name}")


def field_to_drop(schema: CollectionSchema, name: str, field_id: int) -> FieldSchema:
    """The field of that name, or without one of that id, if it can be dropped."""
    field = schema.field(name) if name else schema.field_by_id(field_id)
    if field is None:
        raise FieldNotFound(f"field not found: {name or field_id}")
    for flag, role in (
        (field.is_primary, "primary key"),
        (field.is_partition_key, "partition key"),
        (field.is_clustering_key, "clustering key"),
        (field.is_dynamic, "dynamic"),
    ):
        if flag:
            raise InvalidParameter(f"cannot drop {role} field: {field.name}")
    if field.data_type.is_vector and len(schema.vector_fields) == 1:
        raise InvalidParameter(f"cannot drop the last vector field: {field.name}")
    for function in schema.functions:
        if field.name in function.input_field_names:
            raise InvalidParameter(f"field is referenced by function {function.name} as input, drop function first")
        if field.name in function.output_field_names:
            raise InvalidParameter(f"field is the output of function {function.name}, drop function first")
    if schema.properties.get(TTL_FIELD) == field.name:
        raise InvalidParameter(f"the property {TTL_FIELD} names the field {field.name}, drop the property first")
    return field


def check_field_params(field: FieldSchema, properties: Mapping[str, str], delete_keys: Iterable[str]) -> None:
    """Raise unless each of these is a param that may change later, of this kind of field. Values are checked with the
    whole field."""
    for key in properties:
        if key not in _CHANGEABLE:
            raise InvalidParameter(f"{key} does not allow update in collection field param")
    for key in delete_keys:
        if key not in _REMOVABLE:
            raise InvalidParameter(f"{key} does not allow delete in collection field param")
    if _MAX_LENGTH in properties and not (field.data_type.is_string or field.element_type is DataType.VARCHAR):
        raise InvalidParameter(f"{field.data_type.wire_name} can not modify the maxlength for non-string types")
    if _MAX_CAPACITY in properties and field.data_type is not DataType.ARRAY:
        raise InvalidParameter(f"{field.data_type.wire_name} can not modify the maxcapacity for non-array types")


def touches_mmap(keys: Iterable[str]) -> bool:
    """Whether how data is mapped is among the changes: that wants a released collection."""
    return any(key == _MMAP for key in keys)
