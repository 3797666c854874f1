"""What an array of structs may be: its sub-fields, its capacity, its names."""

from __future__ import annotations

import msgspec

from redkite.errors import InvalidParameter, MissingParameter
from redkite.model.limits import Limits
from redkite.model.rules.field_rules import ELEMENT_TYPES, check_field
from redkite.model.rules.names import check_field_name
from redkite.model.rules.numbers import truth, whole_number
from redkite.model.schema import FieldSchema, StructFieldSchema
from redkite.model.types import DataType

CAPACITY = "max_capacity"
_MMAP = "mmap.enabled"
VECTOR_ELEMENTS = frozenset({
    DataType.FLOAT_VECTOR, DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR, DataType.INT8_VECTOR,
    DataType.BINARY_VECTOR,
})  # fmt: skip
"""The vectors that the structs of an array may hold."""
_ROLES = (
    ("is_primary", "be primary key"), ("is_partition_key", "be partition key"),
    ("is_clustering_key", "be clustering key"), ("auto_id", "have auto_id"), ("is_dynamic", "be dynamic field"),
    ("is_function_output", "be the output of a function"),
)  # fmt: skip


def part_name(struct: StructFieldSchema, part: FieldSchema) -> str:
    """What a sub-field is called within its struct; it may come with the struct's name around it."""
    name = part.name.strip()
    start = f"{struct.name.strip()}["
    return name[len(start) : -1].strip() if name.startswith(start) and name.endswith("]") else name


def check_struct(collection: str, struct: StructFieldSchema, limits: Limits) -> None:
    """Raise unless rows may have an array of structs of this kind. That its name is free is looked at elsewhere."""
    check_field_name(struct.name, limits)
    if not struct.fields:
        raise InvalidParameter(f"struct array field {struct.name} has no sub-fields")
    for key, value in struct.params.items():
        if key != _MMAP:
            raise InvalidParameter(f"type param {key} is not supported for the struct array field {struct.name}")
        if truth(value) is None:
            raise InvalidParameter(
                f"the value for {key} of struct array field {struct.name} must be true or false, but got {value}"
            )
    names = [part_name(struct, part) for part in struct.fields]
    for name in names:
        if names.count(name) > 1:
            raise InvalidParameter(f"duplicated field name {name} in struct array field {struct.name}")
    capacities = {check_part(collection, struct, part, limits) for part in struct.fields}
    if len(capacities) > 1:
        raise InvalidParameter(
            f"sub-fields of struct array field {struct.name} differ in max_capacity: {sorted(capacities)}"
        )


def check_part(collection: str, struct: StructFieldSchema, part: FieldSchema, limits: Limits) -> int:
    """Raise unless a sub-field may be one; its capacity."""
    name = part_name(struct, part)
    check_field_name(name, limits)
    for flag, role in _ROLES:
        if getattr(part, flag):
            raise InvalidParameter(f"Field '{name}' in struct '{struct.name}' cannot {role}")
    if part.default_value is not None:
        raise InvalidParameter(f"Field '{name}' in struct '{struct.name}' cannot have default value")
    if part.nullable and not struct.nullable:
        raise InvalidParameter(
            f"Field '{name}' in struct '{struct.name}' cannot be nullable individually, set nullable on the struct "
            "instead"
        )
    wanted = VECTOR_ELEMENTS if part.data_type is DataType._ARRAY_OF_VECTOR else ELEMENT_TYPES
    if part.data_type not in (DataType.ARRAY, DataType._ARRAY_OF_VECTOR):
        raise InvalidParameter(
            f"Fields in StructArrayField can only be array or array of vector, but field {name} is "
            f"{part.data_type.wire_name}"
        )
    if part.element_type not in wanted:
        raise InvalidParameter(
            f"element type {part.element_type.wire_name} is not supported for field {name} of struct array field "
            f"{struct.name}"
        )
    check_field(collection, msgspec.structs.replace(part.element, name=f"{struct.name}[{name}]"), limits)
    return _capacity(collection, struct, part, limits)


def _capacity(collection: str, struct: StructFieldSchema, part: FieldSchema, limits: Limits) -> int:
    text = part.params.get(CAPACITY)
    if text is None:
        raise MissingParameter(
            f"type param(max_capacity) should be specified for array field {struct.name} of collection {collection}"
        )
    capacity = whole_number(text)
    if capacity is None:
        raise InvalidParameter(f"the value for max_capacity of field {struct.name} must be an integer")
    if not 0 < capacity <= limits.max_array_capacity:
        raise InvalidParameter(
            f"the maximum capacity specified for a Array should be in (0, {limits.max_array_capacity}]"
        )
    return capacity
