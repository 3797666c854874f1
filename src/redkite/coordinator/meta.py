"""What the root coordinator knows of databases and collections: immutable, serialisable."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from redkite.errors import Corruption, PartitionNotFound
from redkite.model.decoding import from_msgpack
from redkite.model.schema import CollectionSchema
from redkite.model.types import ConsistencyLevel

M = TypeVar("M", bound="Meta")


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what the catalog keeps. Unknown keys are ignored when read, so that a newer writer can add fields."""

    def to_bytes(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def from_bytes(cls: type[M], data: bytes) -> M:
        try:
            return from_msgpack(data, cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Corruption(f"catalog entry is not a valid {cls.__name__}: {error}") from error


class DatabaseMeta(Meta, frozen=True, kw_only=True):
    name: str
    database_id: int
    created_timestamp: int
    """Hybrid."""
    properties: dict[str, str] = {}


class PartitionMeta(Meta, frozen=True, kw_only=True):
    name: str
    partition_id: int
    created_timestamp: int
    """Hybrid."""


class CollectionMeta(Meta, frozen=True, kw_only=True):
    """One collection. `schema` is the engine's: field ids from 100, `$meta` last when dynamic, `schema.name` the real
    name, `schema.properties` equal to `properties`."""

    collection_id: int
    database: str
    schema: CollectionSchema
    shards: int
    channels: tuple[str, ...]
    """One virtual channel per shard."""
    partitions: tuple[PartitionMeta, ...]
    """In order of creation; with a partition key `_default_0`, `_default_1` …, else `_default` first."""
    aliases: tuple[str, ...]
    """Sorted."""
    consistency_level: ConsistencyLevel
    properties: dict[str, str]
    created_timestamp: int
    """Hybrid."""
    update_timestamp: int
    """Hybrid: moves with the fields and the properties. Renames, partitions and aliases leave it alone."""
    max_field_id: int = 0
    """The highest field id ever given out here: the column of a dropped field is never taken for another's."""

    @property
    def name(self) -> str:
        return self.schema.name

    @property
    def has_partition_key(self) -> bool:
        return self.schema.partition_key is not None

    @property
    def next_field_id(self) -> int:
        return max(self.max_field_id, *(f.field_id for f in self.schema.fields)) + 1

    @property
    def physical_channels(self) -> tuple[str, ...]:
        return tuple(channel.rsplit("_", 1)[0] for channel in self.channels)

    def partition(self, name: str) -> PartitionMeta | None:
        return next((p for p in self.partitions if p.name == name), None)

    def partition_by_id(self, partition_id: int) -> PartitionMeta | None:
        return next((p for p in self.partitions if p.partition_id == partition_id), None)

    def need_partition(self, name: str) -> PartitionMeta:
        """The partition of that name, or PartitionNotFound."""
        found = self.partition(name)
        if found is None:
            raise PartitionNotFound.named(name)
        return found
