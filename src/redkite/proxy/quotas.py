"""Is there room for this request within what a second, a disk and an administrator allow?

Rates are kept by buckets that time fills again. A request passes while no bucket it draws from is in debt, and may
leave one in debt by its size: so one that is larger than a second's worth passes too, and the next ones wait for it.
A minimum rate is a bucket that is drawn from where a wider one is in debt, and instead of it. Imports are not refused
for a rate: they wait. Where nothing is limited, the check is two comparisons.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from redkite.coordinator.meta import CollectionMeta
from redkite.coordinator.namespace import Namespace
from redkite.errors import MilvusException, ParameterTooLarge, QuotaExceeded, RateLimited
from redkite.model import quotas as qt
from redkite.model import requests as rq
from redkite.model.advice import AdviseIndex, MeasureRecall
from redkite.model.changes import ReadChanges
from redkite.model.exchange import RestoreExternalSnapshot
from redkite.model.imports import Import, ImportFiles
from redkite.model.quotas import MEGABYTE, NO_LIMIT, Kind, Quotas
from redkite.model.rules.numbers import truth
from redkite.model.schema import DEFAULT_DATABASE
from redkite.node.topology import Topology
from redkite.proxy.advisor import MAX_QUERIES
from redkite.proxy.writes import delete_bytes

READ_LIMITED, WRITE_LIMITED, DENY_READ, DENY_WRITE, DENY_CHANGES = 2, 3, 4, 5, 6
"""Milvus's numbers for the state of quotas."""
_DISABLED: Final = "access has been disabled by the administrator"
_DISK_FULL: Final = "disk quota exceeded, please allocate more resources"
_MEASURED_FOR: Final = 1.0
"""Seconds that a sum of sizes on disk is used for."""
_RECENT: Final = 10.0
"""A rate counts as limiting for so many seconds after it has refused a request."""
_MOST_BUCKETS: Final = 10_000
_FULL_SOON: Final = 1e-6
"""Room is more than nothing."""
_SHARED: Final = qt.WRITES - qt.PACED
"""Of writes, those that any proxy takes; imports are made by one process."""
_WIDER: Final = frozenset({"cluster", "database"})


class _Weighed(NamedTuple):
    kind: Kind
    weigh: Callable[[Any], float]


def _one(_request: rq.Request) -> float:
    return 1.0


def _rows(request: rq.Insert | rq.Upsert) -> float:
    return request.rows.nbytes / MEGABYTE


_KINDS: Final[dict[type[rq.Request], _Weighed]] = {
    rq.Insert: _Weighed("insert", _rows),
    rq.Upsert: _Weighed("upsert", _rows),
    rq.Delete: _Weighed("delete", lambda request: delete_bytes(request) / MEGABYTE),
    **dict.fromkeys((ImportFiles, Import), _Weighed("bulk_load", lambda _: 0.0)),
    rq.Search: _Weighed("search", lambda request: float(request.queries.nq)),
    rq.HybridSearch: _Weighed("search", lambda request: float(sum(s.queries.nq for s in request.searches))),
    MeasureRecall: _Weighed("search", lambda request: float(min(max(request.queries, 1), MAX_QUERIES))),
    AdviseIndex: _Weighed("search", _one),
    rq.Query: _Weighed("query", _one),
    ReadChanges: _Weighed("query", _one),
    **dict.fromkeys((rq.CreateDatabase, rq.AlterDatabase, rq.DropDatabase), _Weighed("database_changes", _one)),
    **dict.fromkeys(
        (
            rq.CreateCollection, rq.DropCollection, rq.RenameCollection, rq.TruncateCollection, rq.LoadCollection,
            rq.ReleaseCollection, rq.AddCollectionField, rq.AddCollectionStructField, rq.DropCollectionField,
            rq.AddFunctionField, rq.DropFunctionField, rq.AlterFunction, rq.RestoreSnapshot, rq.RestoreBackup,
            RestoreExternalSnapshot,
        ),
        _Weighed("collection_changes", _one),
    ),
    **dict.fromkeys(
        (rq.CreatePartition, rq.DropPartition, rq.LoadPartitions, rq.ReleasePartitions),
        _Weighed("partition_changes", _one),
    ),
    **dict.fromkeys((rq.CreateIndex, rq.DropIndex), _Weighed("index_changes", _one)),
    rq.Flush: _Weighed("flush", _one),
    rq.FlushAll: _Weighed("flush", _one),
    rq.Compact: _Weighed("compaction", _one),
}  # fmt: skip


class Bucket:
    """What may still be asked of one rate. It holds a second's worth."""

    __slots__ = ("_at", "_left", "rate")

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self._left = rate
        self._at = now

    def has_room(self, now: float) -> bool:
        self._left = min(self.rate, self._left + (now - self._at) * self.rate)
        self._at = now
        return self._left > 0

    def wait(self, now: float) -> float:
        """Seconds until there is room."""
        if self.has_room(now):
            return 0.0
        return _FULL_SOON - self._left / self.rate if self.rate else float("inf")

    @property
    def is_full(self) -> bool:
        return self._left >= self.rate

    def take(self, amount: float) -> None:
        self._left -= amount

    def give_back(self, amount: float) -> None:
        self._left = min(self.rate, self._left + amount)

    def changed(self, rate: float) -> None:
        """Another rate from now on; debts stay."""
        self._left = min(self._left, rate)
        self.rate = rate


def _alone() -> int:
    return 1


class _Drawn(NamedTuple):
    scope: qt.Scope
    bucket: Bucket


class Gate:
    """The check at the door. Safe from any thread."""

    def __init__(self, topology: Topology, quotas: Quotas) -> None:
        self._topology = topology
        self._root = topology.root
        self._quotas = quotas
        self._is_set = quotas != qt.QUOTAS
        self._clock = topology.env.clock.monotonic
        self._lock = threading.Lock()
        self._buckets: dict[tuple[Kind, str, str], Bucket] = {}
        self._refused: dict[str, float] = {}
        self._sizes: dict[tuple[int, ...], tuple[float, int]] = {}
        self._seen: Namespace | None = None
        self._idle = False
        self._sharers: Callable[[], int] = _alone

    def share(self, sharers: Callable[[], int]) -> None:
        """So many processes, this one included, take the reads and writes that are limited: each lets its part pass."""
        self._sharers = sharers

    def is_open(self, space: Namespace) -> bool:
        """Whether nothing is limited while these are the collections and databases."""
        if space is not self._seen:
            self._look(space)
        return self._idle

    def check(self, request: rq.Request) -> None:
        """Count a request in. Raises RateLimited, QuotaExceeded, or ParameterTooLarge for rows that are too many."""
        space = self._root.space
        if space is not self._seen:
            self._look(space)
        if self._idle:
            return
        weighed = _KINDS.get(type(request))
        if weighed is not None:
            self._check(request, weighed.kind, weighed.weigh(request))

    def states(self) -> tuple[int, ...]:
        """What is limited or denied now for everybody, by Milvus's numbers."""
        quotas, now = self._quotas, self._clock()
        full = 0 <= quotas.disk_bytes <= self._size(())
        found = {
            READ_LIMITED: self._lately(qt.READS, now),
            WRITE_LIMITED: self._lately(qt.WRITES, now),
            DENY_READ: quotas.deny_reading,
            DENY_WRITE: quotas.deny_writing or full,
            DENY_CHANGES: quotas.deny_changes,
        }
        return tuple(state for state, holds in found.items() if holds)

    def described(self, user: str = "") -> dict[str, Any]:
        """What is limited, and how much there is, as JSON has it. Names are told to administrators alone."""
        told: dict[str, Any] = {
            "rates": {kind: str(getattr(self._quotas, kind)) for kind in qt.KINDS},
            "states": list(self.states()),
        }
        if user and not self._topology.access.permissions(user).everything:
            return told
        collections = {}
        for meta in self._root.all_collections():
            limits = {key: value for key, value in meta.properties.items() if key in qt.COLLECTION_KEYS}
            if limits:
                collections[f"{meta.database}.{meta.name}"] = limits
        databases = {
            database.name: {key: value for key, value in database.properties.items() if key in qt.DATABASE_KEYS}
            for database in self._root.list_databases()
        }
        return told | {
            "databases": {name: limits for name, limits in databases.items() if limits},
            "collections": collections,
            "diskBytes": self._size(()),
            "diskQuotaBytes": self._quotas.disk_bytes,
        }

    # -- the check ------------------------------------------------------------------------------
    def _look(self, space: Namespace) -> None:
        """Something was defined or altered: is anything limited now?"""
        limited = any(qt.COLLECTION_KEYS & meta.properties.keys() for meta in space.collections.values())
        limited = limited or any(qt.DATABASE_KEYS & one.properties.keys() for one in space.databases.values())
        self._seen, self._idle = space, not (self._is_set or limited)

    def _check(self, request: rq.Request, kind: Kind, amount: float) -> None:
        database = request.database or DEFAULT_DATABASE
        if kind in ("insert", "upsert"):
            self._check_size(amount)
        for place in {database, getattr(request, "new_database", ""), getattr(request, "target_database", "")} - {""}:
            self._check_denied(kind, place)
        collections = self._collections(request, database)
        if kind in qt.WRITES and kind != "delete":
            self._check_disk(database, collections, getattr(request, "partition", ""))
        with self._lock:
            self._draw(kind, database, collections, request.user, amount)

    def _draw(self, kind: Kind, database: str, collections: list[CollectionMeta], user: str, amount: float) -> None:
        """Draw from every bucket of a request, or from none and raise RateLimited."""
        now = self._clock()
        drawn = list(self._drawn(kind, database, collections, user, now))
        if kind in qt.PACED:
            short = [one for one in drawn if one.bucket.rate == 0]
        else:
            short = [one for one in drawn if not one.bucket.has_room(now)]
        floors = self._floors(kind, database, collections, short, now) if short else []
        if short and not (floors and all(floor.has_room(now) for floor in floors)):
            self._refused[kind] = now
            raise RateLimited.by_quota(short[0].bucket.rate)
        for one in drawn:
            if one not in short:
                one.bucket.take(amount)
        for floor in floors:
            floor.take(amount)

    def pace(self, collection: CollectionMeta, user: str, megabytes: float) -> float:
        """Count in rows that an import has read; seconds after which it may go on. As asked with nothing: how long it
        still has to wait."""
        space = self._root.space
        if space is not self._seen:
            self._look(space)
        if self._idle:
            return 0.0
        there, database = [collection], collection.database
        with self._lock:
            now = self._clock()
            drawn = list(self._drawn("bulk_load", database, there, user, now))
            short = [one for one in drawn if not one.bucket.has_room(now)]
            floors = self._floors("bulk_load", database, there, short, now) if short else []
            for one in drawn:
                if not (floors and one in short):
                    one.bucket.take(megabytes)
            for floor in floors:
                floor.take(megabytes)
            short = [one for one in drawn if not one.bucket.has_room(now)]
            wait = max((one.bucket.wait(now) for one in short), default=0.0)
            floors = self._floors("bulk_load", database, there, short, now) if short else []
            return min(wait, max(floor.wait(now) for floor in floors)) if floors else wait

    def _check_size(self, megabytes: float) -> None:
        limit, size = self._quotas.insert_request_bytes, int(megabytes * MEGABYTE)
        if 0 <= limit < size:
            raise ParameterTooLarge(f"insert request size {size} exceeds maxInsertSize {limit}")

    def _check_denied(self, kind: Kind, database: str) -> None:
        quotas = self._quotas
        if kind in qt.WRITES:
            denied = quotas.deny_writing
        elif kind in qt.READS:
            denied = quotas.deny_reading
        else:
            denied = quotas.deny_changes
        if not denied:
            properties = self._properties(database)
            denied = any(kind in denial.kinds and truth(properties.get(denial.key, "false")) for denial in qt.DENIALS)
        if denied:
            raise QuotaExceeded.because(_DISABLED)

    def _drawn(
        self, kind: Kind, database: str, collections: list[CollectionMeta], user: str, now: float
    ) -> Iterator[_Drawn]:
        """The buckets that a request draws from, the widest first."""
        rates = getattr(self._quotas, kind)
        yield from self._bucket(kind, "cluster", "", rates.cluster, now)
        # A database that is limited must stay alterable; one that is not there must leave no trace.
        if kind != "database_changes" and database in self._root.space.databases:
            limit = _own_limit(self._properties(database), qt.DATABASE_RATES, kind, rates.database)
            yield from self._bucket(kind, "database", database, limit, now)
        for meta in collections:
            limit = _own_limit(meta.properties, qt.COLLECTION_RATES, kind, rates.collection)
            yield from self._bucket(kind, "collection", str(meta.collection_id), limit, now)
        if user:
            yield from self._bucket(kind, "user", user, rates.user, now)

    def _floors(
        self, kind: Kind, database: str, collections: list[CollectionMeta], short: list[_Drawn], now: float
    ) -> list[Bucket]:
        """What is drawn from instead of buckets in debt: the minimum of each collection, else that of the database, for
        the cluster's; none where a bucket has no room that no minimum stands in for."""
        if not {one.scope for one in short} <= _WIDER:
            return []
        found = [self._floor(kind, "collection", meta.properties, meta.collection_id, now) for meta in collections]
        if (not found or None in found) and all(one.scope == "cluster" for one in short):
            found = [self._floor(kind, "database", self._properties(database), database, now)]
        floors = [floor for floor in found if floor is not None]
        return floors if len(floors) == len(found) else []

    def _floor(
        self, kind: Kind, scope: qt.Scope, properties: dict[str, str], name: object, now: float
    ) -> Bucket | None:
        keys = qt.COLLECTION_FLOORS if scope == "collection" else qt.DATABASE_FLOORS
        rate = _own_limit(properties, keys, kind, NO_LIMIT)
        return next((one.bucket for one in self._bucket(kind, scope, f"{name} at least", rate, now)), None)

    def _bucket(self, kind: Kind, scope: qt.Scope, name: str, rate: float, now: float) -> Iterator[_Drawn]:
        if rate == NO_LIMIT:
            return
        if kind in qt.READS or kind in _SHARED:
            rate /= max(1, self._sharers())
        key = (kind, scope, name)
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= _MOST_BUCKETS:
                self._buckets = {k: b for k, b in self._buckets.items() if not (b.has_room(now) and b.is_full)}
            bucket = self._buckets[key] = Bucket(rate, now)
        elif bucket.rate != rate:
            bucket.changed(rate)
        yield _Drawn(scope, bucket)

    def _collections(self, request: rq.Request, database: str) -> list[CollectionMeta]:
        """Those that a request is about; what does not exist is left to the request itself."""
        names = getattr(request, "collections", ()) or (getattr(request, "collection", ""),)
        found = []
        for name in names:
            if name and isinstance(name, str):
                try:
                    found.append(self._root.find(database, name))
                except MilvusException:
                    continue
        return found

    def _properties(self, database: str) -> dict[str, str]:
        known = self._root.space.databases.get(database)
        return {} if known is None else known.properties

    def _lately(self, kinds: frozenset[str], now: float) -> bool:
        return any(now - self._refused.get(kind, float("-inf")) <= _RECENT for kind in kinds)

    # -- disk -----------------------------------------------------------------------------------
    def _check_disk(self, database: str, collections: list[CollectionMeta], partition: str) -> None:
        quotas = self._quotas
        limits: list[tuple[tuple[int, ...], float]] = [((), quotas.disk_bytes)]
        home = self._root.space.databases.get(database)
        if home is not None:
            own = _bytes(home.properties, qt.DATABASE_DISK, quotas.database_disk_bytes)
            limits.append(((home.database_id,), own))
        for meta in collections:
            assert home is not None, "a collection has a database"
            own = _bytes(meta.properties, qt.COLLECTION_DISK, quotas.collection_disk_bytes)
            limits.append(((home.database_id, meta.collection_id), own))
            each = _bytes(meta.properties, qt.PARTITION_DISK, quotas.partition_disk_bytes)
            named = [p for p in meta.partitions if p.name == partition] if partition else meta.partitions
            if each != NO_LIMIT:
                limits += [((home.database_id, meta.collection_id, p.partition_id), each) for p in named]
        for place, limit in limits:
            if limit != NO_LIMIT and self._size(place) >= limit:
                raise QuotaExceeded.because(_DISK_FULL)

    def _size(self, place: tuple[int, ...]) -> int:
        """Bytes of sealed rows and indexes: of everything, or of a (database, collection, partition) or what of that is
        given. As it was at most a second ago."""
        now = self._clock()
        known = self._sizes.get(place)
        if known is not None and now - known[0] < _MEASURED_FOR:
            return known[1]
        data, size = self._topology.data, 0
        ids = {database.name: database.database_id for database in self._root.list_databases()}
        for meta in self._root.all_collections():
            if place and place[0] != ids.get(meta.database):
                continue
            if len(place) > 1 and place[1] != meta.collection_id:
                continue
            for segment in data.segments(meta.collection_id):
                if len(place) < 3 or place[2] == segment.partition_id:
                    size += segment.size + segment.deletes_size + sum(file.size for file in segment.indexes)
        if len(self._sizes) >= _MOST_BUCKETS:
            self._sizes = {}
        self._sizes[place] = (now, size)
        return size


def _own_limit(properties: dict[str, str], keys: dict[str, Kind], kind: Kind, default: float) -> float:
    """What a database or a collection says of a rate, else the default."""
    for key, about in keys.items():
        if about == kind:
            own = qt.limit_of(properties, key)
            return default if own is None else own
    return default


def _bytes(properties: dict[str, str], key: str, default: float) -> float:
    own = qt.limit_of(properties, key)
    if own is None:
        return default
    return own if own == NO_LIMIT else own * MEGABYTE
