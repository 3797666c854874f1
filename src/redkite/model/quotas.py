"""How much may be asked of a Redkite: rates, sizes and denials, for all, for a database, a collection or a user.

What is set here holds until a collection or a database says otherwise in its properties. -1 sets no limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import msgspec

from redkite.errors import InvalidParameter
from redkite.model.rules.numbers import truth

Scope = Literal["cluster", "database", "collection", "user"]
Kind = Literal[
    "insert", "upsert", "delete", "bulk_load", "search", "query", "database_changes", "collection_changes",
    "partition_changes", "index_changes", "flush", "compaction",
]  # fmt: skip
NO_LIMIT: Final = -1.0
MEGABYTE: Final = 1024 * 1024


class Rates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much a second, of everything in a cluster, in each database, in each collection, and by each user. A limit
    may be overstepped by one request, after which nothing more is accepted until time has made up for it."""

    cluster: float = NO_LIMIT
    database: float = NO_LIMIT
    collection: float = NO_LIMIT
    user: float = NO_LIMIT

    def __post_init__(self) -> None:
        for scope in self.__struct_fields__:
            value = getattr(self, scope)
            if not (value == NO_LIMIT or 0 <= value < float("inf")):
                raise ValueError(f"{scope} must be -1 (no limit), 0 or more, got {value}")

    def __str__(self) -> str:
        given = (f"{scope}={value:g}" for scope in self.__struct_fields__ if (value := getattr(self, scope)) >= 0)
        return ",".join(given) or "no limit"


_NONE: Final = Rates()


class Quotas(msgspec.Struct, frozen=True, kw_only=True):
    """What a server allows. Rates of writes are in megabytes, of searches in query vectors, of others in requests."""

    insert: Rates = _NONE
    """Inserted megabytes a second, as in `{ collection = 8, user = 2 }`. Milvus: `dml.insertRate`."""
    upsert: Rates = _NONE
    """Upserted megabytes a second. Milvus: `dml.upsertRate`."""
    delete: Rates = _NONE
    """Megabytes of deletes (keys and filters) a second. Milvus: `dml.deleteRate`."""
    bulk_load: Rates = _NONE
    """Megabytes of rows that imports read a second: they wait where others are refused. Milvus: `dml.bulkLoadRate`."""
    search: Rates = _NONE
    """Query vectors a second. Milvus: `dql.searchRate`."""
    query: Rates = _NONE
    """Queries a second. Milvus: `dql.queryRate`."""
    database_changes: Rates = _NONE
    """Databases created, altered and dropped a second. Milvus: `dbRate`."""
    collection_changes: Rates = _NONE
    """Collections created, dropped, loaded, released, restored and changed a second. Milvus: `ddl.collectionRate`."""
    partition_changes: Rates = _NONE
    """Partitions created, dropped, loaded and released a second. Milvus: `ddl.partitionRate`."""
    index_changes: Rates = _NONE
    """Indexes created and dropped a second. Milvus: `indexRate`."""
    flush: Rates = _NONE
    """Flushes a second. Milvus: `flushRate`, which it sets to 0.1 for each collection."""
    compaction: Rates = _NONE
    """Compactions asked for a second. Milvus: `compactionRate`."""
    deny_writing: bool = False
    """No rows are written or deleted. Milvus: `limitWriting.forceDeny`."""
    deny_reading: bool = False
    """No searches and queries. Milvus: `limitReading.forceDeny`."""
    deny_changes: bool = False
    """Nothing is created, dropped, loaded, flushed or compacted. Milvus: `forceDenyAllDDL`."""
    disk_bytes: int = -1
    """Rows are written only while all data takes less. Milvus: `diskProtection.diskQuota`, in megabytes there."""
    database_disk_bytes: int = -1
    """… while that of the database takes less. Milvus: `diskQuotaPerDB`."""
    collection_disk_bytes: int = -1
    """… while that of the collection takes less. Milvus: `diskQuotaPerCollection`."""
    partition_disk_bytes: int = -1
    """… while that of the partition takes less. Milvus: `diskQuotaPerPartition`."""
    insert_request_bytes: int = -1
    """Rows of one insert or upsert. Milvus: `limits.maxInsertSize`."""


QUOTAS: Final = Quotas()
"""None."""
KINDS: Final[tuple[Kind, ...]] = (
    "insert", "upsert", "delete", "bulk_load", "search", "query", "database_changes", "collection_changes",
    "partition_changes", "index_changes", "flush", "compaction",
)  # fmt: skip
WRITES: Final = frozenset({"insert", "upsert", "delete", "bulk_load"})
READS: Final = frozenset({"search", "query"})
PACED: Final = frozenset({"bulk_load"})
"""What waits instead of being refused."""


class Denial(NamedTuple):
    """A property of a database that denies some kinds of requests."""

    key: str
    kinds: frozenset[str]


_CHANGES: Final = frozenset({"collection_changes", "partition_changes", "index_changes", "flush", "compaction"})
_MEASURES: Final[dict[str, Kind]] = {
    "insertRate.{}.mb": "insert", "upsertRate.{}.mb": "upsert", "deleteRate.{}.mb": "delete",
    "bulkLoadRate.{}.mb": "bulk_load", "searchRate.{}.vps": "search", "queryRate.{}.qps": "query",
}  # fmt: skip


def _keys(scope: Scope, bound: Literal["max", "min"]) -> dict[str, Kind]:
    return {f"{scope}.{name.format(bound)}": kind for name, kind in _MEASURES.items()}


COLLECTION_RATES: Final = _keys("collection", "max")
"""Properties of a collection that limit a rate."""
COLLECTION_FLOORS: Final = _keys("collection", "min")
"""Properties of a collection that say what rate it has although its database, or the cluster, has nothing left."""
DATABASE_RATES: Final = _keys("database", "max")
"""Those that limit a rate of a database, which Milvus does not have."""
DATABASE_FLOORS: Final = _keys("database", "min")
"""What rate a database has although the cluster has nothing left; Milvus does not have these either."""
COLLECTION_DISK: Final = "collection.diskProtection.diskQuota.mb"
PARTITION_DISK: Final = "partition.diskProtection.diskQuota.mb"
DATABASE_DISK: Final = "database.diskQuota.mb"
DATABASE_COLLECTIONS: Final = "database.max.collections"
_DENY: Final = "database.force.deny."
DENIALS: Final = (
    Denial(f"{_DENY}writing", WRITES),
    Denial(f"{_DENY}reading", READS),
    Denial(f"{_DENY}ddl", _CHANGES),
    Denial(f"{_DENY}collectionDDL", frozenset({"collection_changes"})),
    Denial(f"{_DENY}partitionDDL", frozenset({"partition_changes"})),
    Denial(f"{_DENY}index", frozenset({"index_changes"})),
    Denial(f"{_DENY}flush", frozenset({"flush"})),
    Denial(f"{_DENY}compaction", frozenset({"compaction"})),
)
_DENIAL_KEYS: Final = frozenset(denial.key for denial in DENIALS)
COLLECTION_KEYS: Final = frozenset({*COLLECTION_RATES, *COLLECTION_FLOORS, COLLECTION_DISK, PARTITION_DISK})
"""Properties of a collection that are about quotas."""
DATABASE_KEYS: Final = frozenset({
    *DATABASE_RATES, *DATABASE_FLOORS, DATABASE_DISK, DATABASE_COLLECTIONS, *_DENIAL_KEYS,
})  # fmt: skip


def check_quota_property(key: str, value: str) -> None:
    """Raise unless a property that is about quotas has a value it may have."""
    if key in _DENIAL_KEYS:
        if truth(value) is None:
            raise InvalidParameter(f"the value for {key} must be true or false, but got {value}")
    elif limit_of({key: value}, key) is None:
        raise InvalidParameter(f"the value for {key} must be -1 (no limit), 0 or more, but got {value}")
    elif key == DATABASE_COLLECTIONS and not value.lstrip("-").isdecimal():
        raise InvalidParameter(f"the value for {key} must be a whole number, but got {value}")


def limit_of(properties: Mapping[str, str], key: str) -> float | None:
    """The limit that a property sets, -1 where it sets none; None when it is not there, or no number."""
    try:
        value = float(properties[key])
    except (KeyError, ValueError):
        return None
    return value if value == NO_LIMIT or 0 <= value < float("inf") else None


def read_rates(text: str) -> Rates:
    """`cluster=100,user=5`, as an environment variable says it. Raises InvalidParameter."""
    given: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        scope, _, value = part.partition("=")
        try:
            given[scope.strip()] = float(value)
        except ValueError:
            raise InvalidParameter(f"{part!r} is no limit such as user=5") from None
    try:
        return msgspec.convert(given, Rates)
    except msgspec.ValidationError as error:
        raise InvalidParameter(str(error)) from None
