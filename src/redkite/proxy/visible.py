"""What reads see of a collection of which only some fields, or partitions, are loaded."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

import msgspec

from redkite.coordinator.loads import QueryCoordinator
from redkite.coordinator.meta import CollectionMeta
from redkite.coordinator.root import RootCoordinator
from redkite.errors import CollectionNotFullyLoaded, InvalidParameter, MilvusException, PartitionNotLoaded
from redkite.model.schema import CollectionSchema
from redkite.model.segments import LoadEntry

_NO_SUCH_FIELD: Final = re.compile(r"field \W?([\w$]+)\W? not (?:exist|found)|fieldName\((\w+)\) not found")


class Visible:
    """Reads are planned as if there were no other fields than those that are loaded."""

    def __init__(self, root: RootCoordinator, loads: QueryCoordinator) -> None:
        self._root = root
        self._loads = loads
        self._seen: dict[int, tuple[CollectionMeta, tuple[int, ...], CollectionMeta]] = {}
        """Collection -> what it is, which fields are loaded, what of it is seen: one object while nothing changes."""

    def of(self, meta: CollectionMeta) -> CollectionMeta:
        """The collection with the fields that are loaded; itself when all are."""
        entry = self._loads.entry(meta.collection_id)
        if entry is None or entry.fields is None:
            return meta
        known = self._seen.get(meta.collection_id)
        if known is None or known[0] is not meta or known[1] != entry.fields:
            seen = msgspec.structs.replace(meta, schema=_with_fields(meta.schema, frozenset(entry.fields)))
            known = self._seen[meta.collection_id] = (meta, entry.fields, seen)
        return known[2]

    def told(self, meta: CollectionMeta, error: MilvusException) -> MilvusException:
        """The error of a read that was planned by what is seen: a field that is not loaded is told as that."""
        whole = self._root.current(meta)
        if whole.schema.fields == meta.schema.fields:
            return error
        loaded = {field.name for field in meta.schema.fields}
        for field in whole.schema.fields:
            if field.name not in loaded and re.search(rf"\b{re.escape(field.name)}\b", error.message):
                return InvalidParameter(f"field {field.struct_name or field.name} is not loaded")
        named = _NO_SUCH_FIELD.search(error.message)
        if named is not None and whole.schema.dynamic_field is not None and meta.schema.dynamic_field is None:
            key = named[1] or named[2]
            return InvalidParameter(f"field {key} is dynamic but dynamic field is not loaded")
        return error


def check_loaded(
    meta: CollectionMeta, entry: LoadEntry, arriving: Collection[int], wanted: Collection[int] | None
) -> None:
    """Raise unless these partitions (None: all) of a collection are loaded, and are not on their way."""
    for partition in meta.partitions:
        if wanted is None or partition.partition_id in wanted:
            if not entry.covers(partition.partition_id):
                raise PartitionNotLoaded.named(partition.name)
            if partition.partition_id in arriving:
                raise CollectionNotFullyLoaded.of_partition(partition.name)


def _with_fields(schema: CollectionSchema, ids: frozenset[int]) -> CollectionSchema:
    fields = tuple(field for field in schema.fields if field.field_id in ids)
    names = {field.name for field in fields}
    return msgspec.structs.replace(
        schema,
        fields=fields,
        enable_dynamic_field=any(field.is_dynamic for field in fields),
        struct_fields=tuple(s for s in schema.struct_fields if all(part.name in names for part in s.fields)),
        functions=tuple(f for f in schema.functions if {*f.input_field_names, *f.output_field_names} <= names),
    )
