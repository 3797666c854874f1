"""What a new collection is made of: the engine's schema, its first partitions, and whether it is there already."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from redkite.coordinator.meta import CollectionMeta, PartitionMeta
from redkite.errors import AliasConflict, InvalidParameter
from redkite.model.rules.function_rules import settled
from redkite.model.rules.struct_rules import part_name
from redkite.model.schema import (
    DEFAULT_PARTITION,
    FIRST_FIELD_ID,
    META_FIELD,
    CollectionSchema,
    FieldSchema,
    StructFieldSchema,
)
from redkite.model.types import ConsistencyLevel, DataType


def engine_schema(schema: CollectionSchema) -> CollectionSchema:
    """The checked schema with field ids, trimmed names and, when dynamic, `$meta`."""
    filled = {name for function in schema.functions for name in function.output_field_names}
    fields = [
        msgspec.structs.replace(
            field,
            name=field.name.strip(),
            field_id=FIRST_FIELD_ID + i,
            is_function_output=field.name.strip() in filled,
            auto_id=field.auto_id or (schema.auto_id and field.is_primary),
        )
        for i, field in enumerate(schema.fields)
    ]
    structs = []
    free = FIRST_FIELD_ID + len(fields)
    for struct in schema.struct_fields:
        structs.append(engine_struct(struct, free))
        free += 1 + len(struct.fields)
    if schema.enable_dynamic_field:
        fields.append(dynamic_field(free))
    made = msgspec.structs.replace(
        schema, fields=tuple(fields), struct_fields=tuple(structs), functions=settled(schema.functions), version=0
    )
    return made.with_parts


def engine_struct(struct: StructFieldSchema, field_id: int) -> StructFieldSchema:
    """A checked array of structs with its id, and those of its sub-fields behind it. It says what they share."""
    name = struct.name.strip()
    parts = tuple(
        msgspec.structs.replace(
            part,
            name=f"{name}[{part_name(struct, part)}]",
            field_id=field_id + 1 + i,
            nullable=struct.nullable,
        )
        for i, part in enumerate(struct.fields)
    )
    return msgspec.structs.replace(struct, name=name, field_id=field_id, fields=parts)


def dynamic_field(field_id: int) -> FieldSchema:
    """`$meta`, which holds what rows have beside the fields of the schema."""
    return FieldSchema(
        name=META_FIELD,
        data_type=DataType.JSON,
        field_id=field_id,
        is_dynamic=True,
        description="dynamic schema",
    )


def first_partitions(schema: CollectionSchema, of_key: int) -> list[str]:
    """Names of the partitions that a collection starts with; `of_key` is their number under a partition key."""
    if schema.partition_key is None:
        return [DEFAULT_PARTITION]
    return [f"{DEFAULT_PARTITION}_{i}" for i in range(of_key)]


def new_collection(
    home: str,
    schema: CollectionSchema,
    shards: int,
    names: list[str],
    consistency: ConsistencyLevel,
    collection_id: int,
    now: int,
    physical: Sequence[str] = (),
) -> CollectionMeta:
    """A collection in database `home`. Its partitions, by name, take the ids that follow its own. `physical`: the
    channels that its shards are on; none: each on the one of its number."""
    return CollectionMeta(
        collection_id=collection_id,
        database=home,
        schema=schema,
        shards=shards,
        channels=virtual_channels(collection_id, physical or numbered_channels(shards)),
        partitions=tuple(
            PartitionMeta(name=name, partition_id=collection_id + 1 + i, created_timestamp=now)
            for i, name in enumerate(names)
        ),
        aliases=(),
        consistency_level=consistency,
        properties=schema.properties,
        created_timestamp=now,
        update_timestamp=now,
        max_field_id=max(f.field_id for f in schema.fields),
    )


def numbered_channels(shards: int) -> list[str]:
    """Of a Redkite whose log is its own."""
    return [f"by-dev-rootcoord-dml_{shard}" for shard in range(shards)]


def virtual_channels(collection_id: int, physical: Sequence[str]) -> tuple[str, ...]:
    """The channels of a collection's shards, which are on these physical ones."""
    return tuple(f"{name}_{collection_id}v{shard}" for shard, name in enumerate(physical))


def same_or_raise(
    existing: CollectionMeta, schema: CollectionSchema, shards: int, partitions: int, consistency: ConsistencyLevel
) -> CollectionMeta:
    """The existing collection when a second creation asks for exactly it."""
    if existing.name != schema.name:
        raise AliasConflict(
            "please choose a unique name: alias and collection name conflict"
            f"[database={existing.database}][alias={schema.name}]"
        )
    same = (
        _declared(existing.schema) == _declared(schema)
        and existing.shards == shards
        and existing.consistency_level == consistency
        and (not existing.has_partition_key or len(existing.partitions) == partitions)
    )
    if not same:
        raise InvalidParameter(f"create duplicate collection with different parameters, collection: {schema.name}")
    return existing


def _declared(schema: CollectionSchema) -> CollectionSchema:
    """The schema as its user wrote it, however it came to be so."""
    fields = tuple(msgspec.structs.replace(field, field_id=0) for field in schema.fields)
    structs = tuple(
        msgspec.structs.replace(struct, field_id=0, fields=tuple(f for f in fields if f.struct_name == struct.name))
        for struct in schema.struct_fields
    )
    return msgspec.structs.replace(schema, fields=fields, struct_fields=structs, version=0)
