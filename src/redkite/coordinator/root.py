"""The root coordinator: databases, collections, partitions and aliases, and the oracle of timestamps and ids.

Readers take one immutable snapshot and never lock. Every change is one catalog commit, durable before the snapshot
moves; changes are serialised by one lock. When a commit fails the snapshot is read back from the catalog, which alone
knows what happened.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING, TypeVar

import msgspec

from redkite.coordinator.creation import (
    engine_schema,
    first_partitions,
    new_collection,
    numbered_channels,
    same_or_raise,
)
from redkite.coordinator.meta import CollectionMeta, DatabaseMeta, PartitionMeta
from redkite.coordinator.namespace import COLLECTIONS as _COLLECTIONS
from redkite.coordinator.namespace import DATABASES as _DATABASES
from redkite.coordinator.namespace import Namespace, space_with
from redkite.coordinator.schema_changes import as_said
from redkite.coordinator.tso import TimestampOracle
from redkite.env import Env
from redkite.errors import (
    AliasConflict,
    AliasExists,
    AliasNotFound,
    CollectionNotFound,
    DatabaseNotFound,
    InvalidParameter,
    LimitReached,
)
from redkite.model.limits import LIMITS, Limits
from redkite.model.moments import zone_of
from redkite.model.quotas import DATABASE_COLLECTIONS, limit_of
from redkite.model.results import AliasInfo
from redkite.model.rules.field_rules import with_settled_default
from redkite.model.rules.names import (
    check_alias,
    check_collection_name,
    check_database_name,
    check_partition_name,
)
from redkite.model.rules.property_rules import TIMEZONE, check_database_keys, check_database_properties
from redkite.model.rules.schema_rules import check_schema
from redkite.model.schema import DEFAULT_DATABASE, DEFAULT_PARTITION, CollectionSchema
from redkite.model.types import ConsistencyLevel

if TYPE_CHECKING:
    from redkite.storage.catalog import Catalog

T = TypeVar("T")

_DATABASE_LIMIT = 801
_CAPACITY_LIMIT = 250
_NO_NAME = "collection name should not be empty"


class RootCoordinator:
    """Safe from any thread. An empty `database` means `default`; a missing one raises DatabaseNotFound. Where a
    collection is named, an alias does as well unless the method says otherwise."""

    def __init__(
        self, catalog: Catalog, env: Env, limits: Limits = LIMITS, oracle: TimestampOracle | None = None
    ) -> None:
        self._catalog = catalog
        self._limits = limits
        self._ddl = threading.Lock()
        self._turn = threading.Lock()
        """Held for a moment, while the snapshot is exchanged for the next."""
        self.oracle = oracle or TimestampOracle(catalog, env.clock)
        self.pick_channels: Callable[[int], Sequence[str]] = numbered_channels
        """The physical channels for so many shards of a new collection."""
        self._space = self._load()
        if DEFAULT_DATABASE not in self._space.databases:
            self._add_database(DEFAULT_DATABASE, {})

    def reload(self) -> None:
        """Take over what another process has committed."""
        with self._turn:
            self._space = self._load()

    def absorb(self, changes: Iterable[str]) -> None:
        """Take over what others have committed: the keys that changed. Waits for nobody."""
        self._take(changes, {})

    def _take(self, keys: Iterable[str], made: Mapping[str, CollectionMeta | DatabaseMeta]) -> None:
        """Have in the snapshot what the catalog has under these keys. `made` is what was committed just now: it is
        taken as it is, if nobody has changed it since."""
        with self._turn:
            self._space = space_with(self._space, self._catalog, keys, made)

    def _load(self) -> Namespace:
        return Namespace.of(
            (DatabaseMeta.from_bytes(data) for _, data in self._catalog.scan(_DATABASES)),
            (CollectionMeta.from_bytes(data) for _, data in self._catalog.scan(_COLLECTIONS)),
        )

    @property
    def space(self) -> Namespace:
        """Everything that has a name, as it is now. Another object whenever something has changed."""
        return self._space

    @property
    def is_current(self) -> bool:
        """Whether there are the collections that the catalog has: who makes or drops one shows that right behind the
        commit."""
        known = {int(key.removeprefix(_COLLECTIONS)) for key, _ in self._catalog.scan(_COLLECTIONS)}
        return known == self._space.collections.keys()

    def close(self) -> None:
        """Leave the oracle where it stands. The coordinator must not be used for changes afterwards."""
        with self._ddl:
            self.oracle.close()

    # -- databases ------------------------------------------------------------------------------
    def create_database(self, name: str, properties: Mapping[str, str] | None = None) -> DatabaseMeta:
        check_database_name(name, self._limits)
        check_database_properties(properties or {})
        with self._ddl:
            databases = self._space.databases
            if name in databases:
                raise InvalidParameter(f"database already exist: {name}")
            limit = self._limits.max_databases
            if len(databases) >= limit:
                raise LimitReached(f"exceeded the limit number of database[limit={limit}]", code=_DATABASE_LIMIT)
            return self._add_database(name, properties or {})

    def _add_database(self, name: str, properties: Mapping[str, str]) -> DatabaseMeta:
        database = DatabaseMeta(
            name=name,
            database_id=self.oracle.allocate_ids(1),
            created_timestamp=self.oracle.allocate(),
            properties=dict(properties),
        )
        return self._put_database(database)

    def _put_database(self, database: DatabaseMeta) -> DatabaseMeta:
        self._commit({f"{_DATABASES}{database.database_id}": database})
        return database

    def alter_database(self, name: str, properties: Mapping[str, str], delete_keys: Iterable[str]) -> DatabaseMeta:
        """Set some properties, take others away."""
        check_database_properties(properties)
        gone = set(delete_keys)
        check_database_keys(gone)
        with self._ddl:
            database = self._database(self._space, name)
            kept = {key: value for key, value in database.properties.items() if key not in gone}
            return self._put_database(msgspec.structs.replace(database, properties={**kept, **properties}))

    def drop_database(self, name: str) -> DatabaseMeta | None:
        """Missing is success (None)."""
        if name == DEFAULT_DATABASE:
            raise InvalidParameter("can not drop default database")
        with self._ddl:
            database = self._space.databases.get(name)
            if database is None:
                return None
            if any(self._space.in_database(name)):
                raise InvalidParameter(f"database:{name} not empty, must drop all collections before drop database")
            self._commit({}, [f"{_DATABASES}{database.database_id}"])
            return database

    def list_databases(self) -> tuple[DatabaseMeta, ...]:
        """Sorted by name."""
        databases = self._space.databases
        return tuple(databases[name] for name in sorted(databases))

    def describe_database(self, name: str) -> DatabaseMeta:
        return self._database(self._space, name)

    def zone_of(self, meta: CollectionMeta) -> tzinfo:
        """The time zone of a collection: its own, else its database's, else UTC."""
        return self._zone(meta.database, meta.properties)

    def _zone(self, database: str, properties: Mapping[str, str]) -> tzinfo:
        name = properties.get(TIMEZONE)
        if not name:
            known = self._space.databases.get(database)
            name = "" if known is None else known.properties.get(TIMEZONE, "")
        return zone_of(name)

    # -- collections ----------------------------------------------------------------------------
    def create_collection(
        self,
        database: str,
        schema: CollectionSchema,
        shards: int = 0,
        partitions: int = 0,
        consistency: ConsistencyLevel = ConsistencyLevel.Bounded,
        properties: Mapping[str, str] | None = None,
        check: Callable[[CollectionSchema], object] | None = None,
    ) -> CollectionMeta:
        """Create, or return the existing collection when it is identical. `shards` 0 means one; `partitions` is only
        for schemas with a partition key, 0 means the default number. `check` raises for a schema that is well formed
        but cannot be served."""
        wanted, consistency = as_said(schema, consistency, properties or {})
        check_schema(wanted, self._limits, partitions, shards)
        wanted = engine_schema(wanted)
        if check is not None:
            check(wanted)
        shards = shards or 1
        names = first_partitions(wanted, partitions or self._limits.default_key_partitions)
        with self._ddl:
            home = self._database(self._space, database).name
            zone = self._zone(home, wanted.properties)
            settled = tuple(with_settled_default(field, zone) for field in wanted.fields)
            wanted = msgspec.structs.replace(wanted, fields=settled)
            existing = self._space.names.get((home, wanted.name))
            if existing is not None:
                return same_or_raise(existing, wanted, shards, len(names), consistency)
            self._check_room(home, shards * len(names))
            collection_id = self.oracle.allocate_ids(1 + len(names))
            now = self.oracle.allocate()
            physical = self.pick_channels(shards)
            meta = new_collection(home, wanted, shards, names, consistency, collection_id, now, physical)
            self._replace([], [meta])
            return meta

    def check_adoptable(self, database: str, name: str) -> None:
        """Raise unless a collection could be made there under that name now."""
        check_collection_name(name, self._limits)
        if (self._database(self._space, database).name, name) in self._space.names:
            raise InvalidParameter(f"collection {name} already exists in database {database or DEFAULT_DATABASE}")

    def adopt_collection(self, meta: CollectionMeta) -> None:
        """Make known a collection whose segments, indexes and channels are recorded already."""
        with self._ddl:
            self.check_adoptable(meta.database, meta.name)
            self._check_room(meta.database, meta.shards * len(meta.partitions))
            self._replace([], [meta])

    def _check_room(self, home: str, more: int) -> None:
        limit = self._limits.max_collections
        known = self._space.databases.get(home)
        own = None if known is None else limit_of(known.properties, DATABASE_COLLECTIONS)
        if own is not None and own >= 0:
            limit = min(limit, int(own))
        if sum(1 for _ in self._space.in_database(home)) >= limit:
            raise LimitReached(f"exceeded the limit number of collections[dbName={home}][limit={limit}]")
        self._check_capacity(more)

    def _check_capacity(self, more: int) -> None:
        limit = self._limits.max_general_capacity
        size = self._space.capacity + more
        if size > limit:
            text = f"general capacity exceeded[newGeneralSize={size}][generalCapacity={limit}]"
            raise LimitReached(text, code=_CAPACITY_LIMIT)

    def drop_collection(self, database: str, name: str) -> CollectionMeta | None:
        """What was dropped; None when there was none. Real name only."""
        if not name:
            raise InvalidParameter(_NO_NAME)
        with self._ddl:
            home = self._database(self._space, database).name
            meta = self._space.names.get((home, name))
            if meta is None:
                return None
            if meta.name != name:
                raise InvalidParameter(f"cannot drop the collection via alias = {name}")
            if meta.aliases:
                raise InvalidParameter(
                    f"unable to drop the collection [{name}] because it has associated aliases "
                    f"[{' '.join(meta.aliases)}], please remove all aliases before dropping the collection"
                )
            self._replace([meta], [])
            return meta

    def find(self, database: str, name: str) -> CollectionMeta:
        """The collection of that name or alias, or CollectionNotFound; InvalidParameter when there is no name."""
        space = self._space
        found = space.names.get((database or DEFAULT_DATABASE, name))
        if found is None:
            if not name:
                raise InvalidParameter(_NO_NAME)
            raise CollectionNotFound.named(self._database(space, database).name, name)
        return found

    def find_by_id(self, collection_id: int) -> CollectionMeta:
        found = self._space.collections.get(collection_id)
        if found is None:
            raise CollectionNotFound(f"collection not found[collection={collection_id}]")
        return found

    def current(self, meta: CollectionMeta) -> CollectionMeta:
        """What a collection is now; itself when it is dropped."""
        return self._space.collections.get(meta.collection_id, meta)

    def exists(self, database: str, name: str) -> bool:
        space = self._space
        return (self._database(space, database).name, name) in space.names

    def list_collections(self, database: str = "") -> tuple[CollectionMeta, ...]:
        """Sorted by name."""
        space = self._space
        home = self._database(space, database).name
        return tuple(sorted(space.in_database(home), key=lambda meta: meta.name))

    def all_collections(self) -> tuple[CollectionMeta, ...]:
        """Those of every database, in order of creation."""
        collections = self._space.collections
        return tuple(collections[key] for key in sorted(collections))

    def rename_collection(self, database: str, name: str, new_name: str, new_database: str = "") -> CollectionMeta:
        """Real name only. An empty `new_database` keeps the collection where it is."""
        check_collection_name(new_name, self._limits)
        with self._ddl:
            home = self._database(self._space, database).name
            target = self._database(self._space, new_database).name if new_database else home
            if (home, name) == (target, new_name):
                raise InvalidParameter("collection name or database name should be different")
            meta = self.find(home, name)
            if meta.name != name:
                raise InvalidParameter(f"unsupported use an alias to rename collection, alias:{name}")
            if (target, new_name) in self._space.names:
                raise InvalidParameter(
                    f"duplicated new collection name {target}:{new_name} with other collection name or alias"
                )
            if target != home and meta.aliases:
                raise InvalidParameter("fail to rename db name, must drop all aliases of this collection before rename")
            if target != home:
                self._check_room(target, 0)
            schema = msgspec.structs.replace(meta.schema, name=new_name)
            return self._change(meta, schema=schema, database=target)

    def change_collection(
        self, database: str, name: str, change: Callable[[CollectionMeta], CollectionMeta]
    ) -> CollectionMeta:
        """Change the fields or the properties of a collection: `change` gives what it shall be from what it is, or
        raises. The commit is the moment of the change. What changes nothing is no new version."""
        with self._ddl:
            meta = self.find(database, name)
            changed = change(meta)
            if changed == meta:
                return meta
            changed = msgspec.structs.replace(changed, update_timestamp=self.oracle.allocate())
            self._replace([meta], [changed])
            return changed

    def while_unchanged(self, database: str, name: str, act: Callable[[CollectionMeta], T]) -> T:
        """What `act` makes of a collection, none of which changes meanwhile."""
        with self._ddl:
            return act(self.find(database, name))

    # -- partitions -----------------------------------------------------------------------------
    def create_partition(self, database: str, collection: str, name: str) -> PartitionMeta:
        """Existing is success."""
        name = check_partition_name(name, self._limits)
        with self._ddl:
            meta = self.find(database, collection)
            if meta.has_partition_key:
                raise InvalidParameter("disable create partition if partition key mode is used")
            existing = meta.partition(name)
            if existing is not None:
                return existing
            count, limit = len(meta.partitions), self._limits.max_partitions
            if count >= limit:
                raise InvalidParameter(
                    f"partition number ({count}) exceeds max configuration ({limit}), collection: {meta.name}"
                )
            self._check_capacity(meta.shards)
            partition = PartitionMeta(
                name=name, partition_id=self.oracle.allocate_ids(1), created_timestamp=self.oracle.allocate()
            )
            self._change(meta, partitions=(*meta.partitions, partition))
            return partition

    def drop_partition(self, database: str, collection: str, name: str) -> PartitionMeta | None:
        """What was dropped; None when there was none. Whether it is loaded is for the caller to check first."""
        name = check_partition_name(name, self._limits)
        with self._ddl:
            meta = self.find(database, collection)
            if meta.has_partition_key:
                raise InvalidParameter("disable drop partition if partition key mode is used")
            if name == DEFAULT_PARTITION:
                raise InvalidParameter("default partition cannot be deleted")
            partition = meta.partition(name)
            if partition is not None:
                self._change(meta, partitions=tuple(p for p in meta.partitions if p is not partition))
            return partition

    def has_partition(self, database: str, collection: str, name: str) -> bool:
        return self.find(database, collection).partition(name) is not None

    # -- aliases --------------------------------------------------------------------------------
    def create_alias(self, database: str, collection: str, alias: str) -> None:
        """`collection` is a real name. An alias that already points there is success."""
        check_alias(alias, self._limits)
        with self._ddl:
            meta = self._find_real(database, collection)
            holder = self._alias_holder(meta.database, alias)
            if holder is None:
                self._change(meta, aliases=tuple(sorted((*meta.aliases, alias))))
            elif holder is not meta:
                raise AliasExists(
                    f"{alias} is already alias to another collection: {holder.name}: "
                    f"alias already exist[database={meta.database}][alias={alias}]"
                )

    def drop_alias(self, database: str, alias: str) -> None:
        """Missing is success."""
        with self._ddl:
            meta = self._space.names.get((self._database(self._space, database).name, alias))
            if meta is not None and meta.name != alias:
                self._change(meta, aliases=_without(meta.aliases, alias))

    def alter_alias(self, database: str, collection: str, alias: str) -> None:
        """Point an existing alias at another collection (a real name), in one step for every reader."""
        check_alias(alias, self._limits)
        with self._ddl:
            meta = self._find_real(database, collection)
            holder = self._alias_holder(meta.database, alias)
            if holder is None:
                raise AliasNotFound.named(meta.database, alias)
            if holder is not meta:
                loser = msgspec.structs.replace(holder, aliases=_without(holder.aliases, alias))
                winner = msgspec.structs.replace(meta, aliases=tuple(sorted((*meta.aliases, alias))))
                self._replace([holder, meta], [loser, winner])

    def describe_alias(self, database: str, alias: str) -> AliasInfo:
        space = self._space
        home = self._database(space, database).name
        meta = space.names.get((home, alias))
        if meta is None or meta.name == alias:
            raise AliasNotFound.named(home, alias)
        return AliasInfo(alias=alias, collection=meta.name, database=home)

    def list_aliases(self, database: str, collection: str = "") -> tuple[str, ...]:
        """Sorted; those of the whole database when no collection is named."""
        if collection:
            return self.find(database, collection).aliases
        return tuple(sorted(alias for meta in self.list_collections(database) for alias in meta.aliases))

    def _alias_holder(self, home: str, alias: str) -> CollectionMeta | None:
        holder = self._space.names.get((home, alias))
        if holder is not None and holder.name == alias:
            raise AliasConflict(f"alias and collection name conflict[database={home}][alias={alias}]")
        return holder

    # -- the one way a change happens -------------------------------------------------------------
    def _find_real(self, database: str, collection: str) -> CollectionMeta:
        meta = self.find(database, collection)
        if meta.name != collection:
            raise CollectionNotFound.named(meta.database, collection)
        return meta

    def _change(self, meta: CollectionMeta, **fields: object) -> CollectionMeta:
        changed = msgspec.structs.replace(meta, **fields)
        self._replace([meta], [changed])
        return changed

    def _replace(self, old: Iterable[CollectionMeta], new: Iterable[CollectionMeta]) -> None:
        old, new = list(old), list(new)
        puts = {f"{_COLLECTIONS}{meta.collection_id}": meta for meta in new}
        gone = {f"{_COLLECTIONS}{meta.collection_id}" for meta in old} - puts.keys()
        self._commit(puts, sorted(gone))

    def _commit(self, puts: Mapping[str, CollectionMeta | DatabaseMeta], gone: Iterable[str] = ()) -> None:
        gone = list(gone)
        try:
            self._catalog.commit({key: meta.to_bytes() for key, meta in puts.items()}, gone)
            self._take([*puts, *gone], puts)
        except BaseException:  # also an interrupt: whether it was committed only the catalog knows
            self.reload()
            raise

    @staticmethod
    def _database(space: Namespace, name: str) -> DatabaseMeta:
        found = space.databases.get(name or DEFAULT_DATABASE)
        if found is None:
            raise DatabaseNotFound.named(name)
        return found


def _without(aliases: tuple[str, ...], alias: str) -> tuple[str, ...]:
    return tuple(a for a in aliases if a != alias)
