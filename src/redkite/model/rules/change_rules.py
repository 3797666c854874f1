"""What may be changed about the fields of a collection that exists, and may have rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from redkite.errors import FieldNotFound, InvalidParameter
from redkite.model.limits import Limits
from redkite.model.rules.field_rules import check_field
from redkite.model.rules.names import check_field_name
from redkite.model.rules.property_rules import TTL_FIELD
from redkite.model.schema import CollectionSchema, FieldSchema
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
    check_field_name(name, limits)
    if any(f.name == name for f in schema.fields):
        raise InvalidParameter(f"duplicated field name {name}")
    for flag, role in (
        (field.is_primary, "pk"),
        (field.is_partition_key, "partition key"),
        (field.is_clustering_key, "clustering key"),
        (field.is_dynamic, "dynamic"),
        (field.is_function_output, "function output"),
    ):
        if flag:
            raise InvalidParameter(f"not support to add {role} field, field name = {name}")
    if field.auto_id:
        raise InvalidParameter(f"only primary field can speficy AutoID with true, field name = {name}")
    if field.data_type.is_vector and len(schema.vector_fields) >= limits.max_vector_fields:
        raise InvalidParameter(f"maximum vector field's number should be limited to {limits.max_vector_fields}")
    if not field.nullable and field.default_value is None:
        raise InvalidParameter(f"added field must be nullable, please check it, field name = {name}")
    if len(schema.user_fields) >= limits.max_fields:
        raise InvalidParameter(f"The number of fields has reached the maximum value {limits.max_fields}")
    size = len(field.description.encode())
    if size > limits.max_description_bytes:
        raise InvalidParameter(
            f"the description of field {name} must be no longer than {limits.max_description_bytes} bytes, "
            f"but got {size}"
        )
    check_field(schema.name, field, limits)


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
