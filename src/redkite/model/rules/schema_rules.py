"""What a new collection's schema may be."""

from __future__ import annotations

from collections.abc import Iterable

from redkite.errors import IllegalSchema, InvalidParameter, MissingParameter
from redkite.model.limits import LIMITS, Limits
from redkite.model.rules.field_rules import check_field
from redkite.model.rules.function_rules import check_functions
from redkite.model.rules.names import check_collection_name, check_field_name
from redkite.model.rules.property_rules import check_properties
from redkite.model.rules.struct_rules import check_struct
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import DataType

_KEY_TYPES = (DataType.INT64, DataType.VARCHAR)
_CLUSTERING_TYPES = frozenset(
    {DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64, DataType.FLOAT, DataType.DOUBLE, DataType.VARCHAR}
)
_VECTOR_CLUSTERING_KEY = 107


def check_schema(schema: CollectionSchema, limits: Limits = LIMITS, partitions: int = 0, shards: int = 0) -> None:
    """Raise unless a collection of this schema can be created.

    `partitions` is the number asked for (0: unspecified), `shards` likewise. Field ids are not looked at and `$meta`
    must not be among the fields yet.
    """
    _check_counts(schema, limits, shards)
    check_collection_name(schema.name, limits)
    check_description("collection", schema.description, limits)
    _check_duplicates([*(f.name for f in schema.fields), *(s.name for s in schema.struct_fields)])
    _check_primary(schema)
    for field in schema.fields:
        _check_flags(field)
    _check_partition_key(schema, partitions, limits)
    _check_clustering_key(schema)
    for field in schema.fields:
        check_field_name(field.name, limits)
        check_description(f"field {field.name}", field.description, limits)
        check_field(schema.name, field, limits)
    for struct in schema.struct_fields:
        check_description(f"field {struct.name}", struct.description, limits)
        check_struct(schema.name, struct, limits)
    check_functions(schema.functions, schema.fields)
    check_properties(schema.properties, limits, schema.fields)


def _check_counts(schema: CollectionSchema, limits: Limits, shards: int) -> None:
    if shards > limits.max_shards:
        raise InvalidParameter(f"maximum shards's number should be limited to {limits.max_shards}")
    if shards < 0:
        raise InvalidParameter(f"shards's number should not be negative, but got {shards}")
    fields = len(schema.fields) + sum(len(struct.fields) for struct in schema.struct_fields)
    if fields > limits.max_fields:
        raise InvalidParameter(f"maximum field's number should be limited to {limits.max_fields}")
    vectors = len(schema.vector_fields) + sum(f.data_type.is_vector for s in schema.struct_fields for f in s.fields)
    if vectors > limits.max_vector_fields:
        raise InvalidParameter(f"maximum vector field's number should be limited to {limits.max_vector_fields}")
    if vectors == 0:
        raise InvalidParameter("schema does not contain vector field")


def check_description(owner: str, text: str, limits: Limits) -> None:
    """Raise when a description is too long. `owner` says whose it is."""
    size = len(text.encode())
    if size > limits.max_description_bytes:
        raise InvalidParameter(
            f"the description of {owner} must be no longer than {limits.max_description_bytes} bytes, but got {size}"
        )


def _check_duplicates(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in map(str.strip, names):
        if name in seen:
            raise InvalidParameter(f"duplicated field name {name} found")
        seen.add(name)


def _check_primary(schema: CollectionSchema) -> None:
    keys = [f for f in schema.fields if f.is_primary]
    if not keys:
        raise MissingParameter("primary key is not specified")
    if len(keys) > 1:
        names = f"{keys[0].name}, {keys[1].name}"
        raise InvalidParameter(f"there are more than one primary key, field name = {names}")
    key = keys[0]
    if key.data_type not in _KEY_TYPES:
        raise InvalidParameter("the data type of primary key should be Int64 or VarChar")
    if key.nullable:
        raise InvalidParameter("primary field not support null")
    if key.default_value is not None:
        raise InvalidParameter("primary key can't be with default value")


def _check_flags(field: FieldSchema) -> None:
    if field.auto_id and not field.is_primary:
        raise InvalidParameter(f"only primary field can speficy AutoID with true, field name = {field.name}")
    if field.is_dynamic:
        raise InvalidParameter(f"cannot explicitly set a field as a dynamic field, field name = {field.name}")


def _check_partition_key(schema: CollectionSchema, partitions: int, limits: Limits) -> None:
    keys = [f for f in schema.fields if f.is_partition_key]
    if len(keys) > 1:
        names = f"{keys[0].name}, {keys[1].name}"
        raise InvalidParameter(f"there are more than one partition key, field name = {names}")
    if not keys:
        if partitions:
            raise InvalidParameter("num_partitions should only be specified with partition key field enabled")
        return
    key = keys[0]
    if key.is_primary:
        raise InvalidParameter("the partition key field must not be primary field")
    if key.data_type not in _KEY_TYPES:
        raise InvalidParameter("the data type of partition key should be Int64 or VarChar")
    if key.nullable:
        raise InvalidParameter("partition key field not support nullable")
    if partitions < 0:
        raise InvalidParameter("the specified partitions should be greater than 0 if partition key is used")
    if partitions > limits.max_partitions:
        raise InvalidParameter(f"partition number ({partitions}) exceeds max configuration ({limits.max_partitions})")


def _check_clustering_key(schema: CollectionSchema) -> None:
    keys = [f for f in schema.fields if f.is_clustering_key]
    end = f": illegal collection schema[collection={schema.name}]"
    if len(keys) > 1:
        names = f"{keys[0].name}, {keys[1].name}"
        raise IllegalSchema(f"there are more than one clustering key, field name = {names}{end}")
    for key in keys:
        if key.data_type.is_vector:
            text = f"vector clustering key not allowed[field={key.name}]"
            raise IllegalSchema(text, code=_VECTOR_CLUSTERING_KEY)
        if key.data_type not in _CLUSTERING_TYPES:
            kind = key.data_type.wire_name
            raise IllegalSchema(f"clustering key field {key.name} has unsupported data type {kind}{end}")
