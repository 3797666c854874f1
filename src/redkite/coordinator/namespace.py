"""Who is called what, at one moment: an immutable picture that readers take without a lock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from redkite.coordinator.meta import CollectionMeta, DatabaseMeta


@dataclass(frozen=True, slots=True)
class Namespace:
    """Its dicts are never changed; a new Namespace has new ones."""

    databases: dict[str, DatabaseMeta]
    collections: dict[int, CollectionMeta]
    names: dict[tuple[str, str], CollectionMeta]
    """(database, real name or alias) -> collection."""
    capacity: int
    """Partitions times shards, summed over all collections."""

    @staticmethod
    def of(databases: Iterable[DatabaseMeta], collections: Iterable[CollectionMeta]) -> Namespace:
        empty = Namespace({database.name: database for database in databases}, {}, {}, 0)
        return empty.replaced([], list(collections))

    def with_database(self, database: DatabaseMeta) -> Namespace:
        return replace(self, databases={**self.databases, database.name: database})

    def without_database(self, name: str) -> Namespace:
        return replace(self, databases={key: value for key, value in self.databases.items() if key != name})

    def replaced(self, old: Iterable[CollectionMeta], new: Iterable[CollectionMeta]) -> Namespace:
        """This picture with the old collections taken out and the new ones put in."""
        collections, names, capacity = dict(self.collections), dict(self.names), self.capacity
        for meta in old:
            del collections[meta.collection_id]
            for name in (meta.name, *meta.aliases):
                del names[meta.database, name]
            capacity -= meta.shards * len(meta.partitions)
        for meta in new:
            collections[meta.collection_id] = meta
            for name in (meta.name, *meta.aliases):
                names[meta.database, name] = meta
            capacity += meta.shards * len(meta.partitions)
        return replace(self, collections=collections, names=names, capacity=capacity)

    def in_database(self, name: str) -> Iterator[CollectionMeta]:
        return (meta for meta in self.collections.values() if meta.database == name)
