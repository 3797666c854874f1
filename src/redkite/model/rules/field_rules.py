"""What a single field may be: its type, type params and default."""

from __future__ import annotations

import math
from datetime import tzinfo

import msgspec

from redkite.errors import InvalidParameter, MissingParameter, Unimplemented
from redkite.model.limits import Limits
from redkite.model.moments import BadMoment, in_utc, parse_moment
from redkite.model.rules.numbers import truth, whole_number
from redkite.model.rules.property_rules import check_warmup
from redkite.model.rules.text_rules import check_match
from redkite.model.schema import FieldSchema
from redkite.model.shapes import need_library, normalized_text
from redkite.model.types import DataType

ELEMENT_TYPES = frozenset({
    DataType.BOOL, DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64, DataType.FLOAT, DataType.DOUBLE,
    DataType.VARCHAR,
})  # fmt: skip
"""What an ARRAY may hold."""
INTEGER_RANGES = {
    DataType.INT8: (-(1 << 7), (1 << 7) - 1),
    DataType.INT16: (-(1 << 15), (1 << 15) - 1),
    DataType.INT32: (-(1 << 31), (1 << 31) - 1),
    DataType.INT64: (-(1 << 63), (1 << 63) - 1),
}
_MAX_FLOAT = 3.4028234663852886e38
_STORED = ELEMENT_TYPES | {
    DataType.TEXT, DataType.JSON, DataType.ARRAY, DataType.TIMESTAMPTZ, DataType.GEOMETRY,
}  # fmt: skip
_BYTES_PER_LIMIT = 8
"""A binary vector may have this many times the dimensions of a float one."""
_ANALYZER_SWITCHES = ("enable_analyzer", "enable_match")
_ANALYZERS = ("analyzer_params", "multi_analyzer_params", "analyzer.files")
_PARAMS_NOT_BUILT = frozenset({"field.skipLoad"})


def check_field(collection: str, field: FieldSchema, limits: Limits) -> None:
    """Raise unless the field's type, params and default fit together. Keys and names are checked elsewhere."""
    kind = field.data_type
    if kind is DataType.STRING:
        raise InvalidParameter("string data type not supported yet, please use VarChar type instead")
    if kind not in _STORED and not (kind.is_vector and kind is not DataType._ARRAY_OF_VECTOR):
        raise InvalidParameter(f"data type {kind.wire_name} of field {field.name} is not supported")
    if kind.is_vector:
        _check_dim(field, limits)
    if kind is DataType.GEOMETRY:
        need_library()
    if kind is DataType.ARRAY:
        _check_array(collection, field, limits)
    elif field.element_type is not DataType.NONE:
        raise InvalidParameter(f"element type is only for Array fields, field name = {field.name}")
    if DataType.VARCHAR in (kind, field.element_type):
        _check_max_length(collection, field, limits.max_varchar_length)
    elif kind is DataType.TEXT and "max_length" in field.params:
        _check_max_length(collection, field, limits.max_text_length)
    _check_params(field)
    check_default(field)


def _check_dim(field: FieldSchema, limits: Limits) -> None:
    text = field.params.get("dim")
    if field.data_type is DataType.SPARSE_FLOAT_VECTOR:
        if text is not None:
            raise InvalidParameter(
                f"dim should not be specified for sparse vector field {field.name}({field.field_id})"
            )
        return
    if text is None:
        raise InvalidParameter(
            f"dimension is not defined in field type params of field {field.name}, "
            "check type param `dim` for vector field"
        )
    dim = whole_number(text)
    if dim is None:
        raise InvalidParameter(f"invalid dimension: {text} of field {field.name}. it should be an integer")
    start = f"invalid dimension: {dim} of field {field.name}. "
    if field.data_type is DataType.BINARY_VECTOR:
        most = limits.max_dimension * _BYTES_PER_LIMIT
        if not 2 <= dim <= most:
            raise InvalidParameter(f"{start}binary vector dimension should be in range 2 ~ {most}")
        if dim % 8:
            raise InvalidParameter(f"{start}binary vector dimension should be multiple of 8. ")
    elif not 2 <= dim <= limits.max_dimension:
        raise InvalidParameter(f"{start}float vector dimension should be in range 2 ~ {limits.max_dimension}")


def _check_array(collection: str, field: FieldSchema, limits: Limits) -> None:
    if field.element_type not in ELEMENT_TYPES:
        raise InvalidParameter(f"element type {field.element_type.wire_name} is not supported")
    text = field.params.get("max_capacity")
    if text is None:
        raise MissingParameter(
            f"type param(max_capacity) should be specified for array field {field.name} of collection {collection}"
        )
    capacity = whole_number(text)
    if capacity is None:
        raise InvalidParameter(f"the value for max_capacity of field {field.name} must be an integer")
    if not 0 < capacity <= limits.max_array_capacity:
        raise InvalidParameter(
            f"the maximum capacity specified for a Array should be in (0, {limits.max_array_capacity}]"
        )


def _check_max_length(collection: str, field: FieldSchema, most: int) -> None:
    text = field.params.get("max_length")
    if text is None:
        raise MissingParameter(
            f"type param(max_length) should be specified for the field({field.name}) of collection {collection}"
        )
    length = whole_number(text)
    if length is None:
        raise InvalidParameter(f"the value for max_length of field {field.name} must be an integer")
    if not 0 < length <= most:
        raise InvalidParameter(
            f"the maximum length specified for the field({field.name}) should be in (0, {most}], "
            f"but got {length} instead"
        )


def _allowed_params(field: FieldSchema) -> set[str]:
    allowed = {"mmap.enabled", "warmup", *_ANALYZER_SWITCHES}
    if field.data_type.is_vector:
        allowed.add("dim")
    if field.data_type is DataType.ARRAY:
        allowed.add("max_capacity")
    if field.data_type.is_string or field.element_type is DataType.VARCHAR:
        allowed.add("max_length")
    if field.data_type.is_string:
        allowed.update(_ANALYZERS)
    return allowed


def _check_params(field: FieldSchema) -> None:
    allowed = _allowed_params(field)
    for key, value in field.params.items():
        if key in _PARAMS_NOT_BUILT:
            raise Unimplemented(f"field {field.name}: the type param {key} is not built in this version")
        if key not in allowed:
            raise InvalidParameter(f"type param {key} is not supported for the field {field.name}")
        if key == "warmup":
            check_warmup(f"warmup of field {field.name}", value)
        if key == "enable_analyzer" and _flag(field, key, value) and not field.data_type.is_string:
            raise InvalidParameter(f"type param {key} is only for VarChar and Text fields, field name = {field.name}")
        if key == "enable_match" and _flag(field, key, value):
            check_match(field)
        if key == "mmap.enabled":
            _flag(field, key, value)


def _flag(field: FieldSchema, key: str, value: str) -> bool:
    flag = truth(value)
    if flag is None:
        raise InvalidParameter(f"the value for {key} of field {field.name} must be true or false, but got {value}")
    return flag


# -- default values -----------------------------------------------------------------------------
def with_settled_default(field: FieldSchema, zone: tzinfo) -> FieldSchema:
    """A field whose default is as rows hold it: a time without an offset means the time zone of today for ever, and a
    geometry is written the one way."""
    if field.default_value is None:
        return field
    if field.data_type is DataType.GEOMETRY:
        return msgspec.structs.replace(field, default_value=normalized_text(str(field.default_value)))
    if field.data_type is not DataType.TIMESTAMPTZ:
        return field
    return msgspec.structs.replace(field, default_value=in_utc(str(field.default_value), zone))


def check_default(field: FieldSchema) -> None:
    """Raise unless the default (if any) is a value that the field can hold."""
    value, kind = field.default_value, field.data_type
    if value is None:
        return
    if kind is DataType.ARRAY:
        raise InvalidParameter("array type not support default value")
    if kind.is_vector:
        raise InvalidParameter("vector type not support default value")
    if kind is DataType.JSON:
        raise InvalidParameter(f"type not support default_value, type:{kind.wire_name}, name:{field.name}")
    if kind is DataType.BOOL and isinstance(value, bool):
        return
    if kind.is_integer and isinstance(value, int) and not isinstance(value, bool):
        _check_integer_default(kind, value)
    elif kind.is_float and isinstance(value, (int, float)) and not isinstance(value, bool):
        _check_float_default(kind, float(value))
    elif kind.is_string and isinstance(value, str):
        _check_text_default(field, value)
    elif kind is DataType.GEOMETRY and isinstance(value, str):
        normalized_text(value)
    elif kind is DataType.TIMESTAMPTZ and isinstance(value, str):
        try:
            parse_moment(value)
        except BadMoment as error:
            raise InvalidParameter(str(error)) from None
    else:
        raise InvalidParameter(
            f"type ({kind.wire_name}) of field ({field.name}) is not equal to the type({_type_name(value)}) "
            "of default_value"
        )


def _check_integer_default(kind: DataType, value: int) -> None:
    low, high = INTEGER_RANGES[kind]
    if not low <= value <= high:
        raise InvalidParameter(
            f"[{value} out of range {low} <= value <= {high}]",
            expected="integer doesn't overflow",
            actual="out of range",
        )


def _check_float_default(kind: DataType, value: float) -> None:
    if not math.isfinite(value) or (kind is DataType.FLOAT and abs(value) > _MAX_FLOAT):
        raise InvalidParameter(f"value '{value}' is not a number or infinity")


def _check_text_default(field: FieldSchema, value: str) -> None:
    length = len(value.encode())
    if field.max_length and length > field.max_length:
        raise InvalidParameter(
            f"the length ({length}) of string exceeds max length ({field.max_length})",
            expected="valid length string",
            actual="string length exceeds max length",
        )


def _type_name(value: object) -> str:
    return {bool: "Bool", int: "Int64", float: "Double", str: "VarChar"}[type(value)]
