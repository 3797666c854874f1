"""Who is called what, at one moment: an immutable picture that readers take without a lock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from redkite.coordinator.meta import CollectionMeta, DatabaseMeta, M

if TYPE_CHECKING:
    from redkite.storage.catalog import Catalog

DATABASES: Final = "root/database/"
COLLECTIONS: Final = "root/collection/"
"""Behind these the catalog has them, by their ids."""


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


def space_with(
    space: Namespace, catalog: Catalog, keys: Iterable[str], made: Mapping[str, CollectionMeta | DatabaseMeta]
) -> Namespace:
    """A picture with what the catalog has under these keys; the same one if that is nothing new. `made` is what some of
    them were made of just now."""
    old: list[CollectionMeta] = []
    new: list[CollectionMeta] = []
    for key in keys:
        data = catalog.get(key)
        if key.startswith(COLLECTIONS):
            was = space.collections.get(int(key.removeprefix(COLLECTIONS)))
            now = _meta(CollectionMeta, data, made.get(key))
            if was != now:
                old += [] if was is None else [was]
                new += [] if now is None else [now]
        elif key.startswith(DATABASES):
            number = int(key.removeprefix(DATABASES))
            known = next((d for d in space.databases.values() if d.database_id == number), None)
            database = _meta(DatabaseMeta, data, made.get(key))
            if known is not None and (database is None or known.name != database.name):
                space = space.without_database(known.name)
            if database is not None and database != known:
                space = space.with_database(database)
    return space.replaced(old, new) if old or new else space


def _meta(kind: type[M], data: bytes | None, made: object) -> M | None:
    if data is None:
        return None
    return made if isinstance(made, kind) and made.to_bytes() == data else kind.from_bytes(data)
