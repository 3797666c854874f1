"""Who knows the named snapshots: what each holds, who pinned it, until when compaction is kept away from it.

A snapshot is a record in the catalog that names segments; their objects are held back from the garbage for as long as
the record is there. Everything is durable before it is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import Protocol

import msgspec

from redkite.coordinator.meta import CollectionMeta, Meta
from redkite.errors import InvalidParameter, SnapshotNotFound, SnapshotPinned
from redkite.model.segments import IndexMeta, SegmentMeta
from redkite.storage.catalog import Catalog

_SNAPSHOTS = "snapshot/"


class Holder(Protocol):
    """The part of the garbage collector that snapshots need."""

    def hold(self, owner: str, names: Iterable[str]) -> None: ...

    def release(self, owner: str) -> None: ...

    def discard(self, names: Iterable[str]) -> None: ...


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody reads the snapshot's objects: it may not be dropped before `expires_ms` (0: never expires)."""

    pin_id: int
    expires_ms: int = 0

    def is_active(self, now_ms: int) -> bool:
        return not self.expires_ms or self.expires_ms > now_ms


class CollectionImage(Meta, frozen=True, kw_only=True):
    """A collection at one timestamp: all its rows in sealed segments. The stored deletes of a segment may hold some
    that are newer than `timestamp`; they do not count."""

    timestamp: int
    collection: CollectionMeta
    indexes: tuple[IndexMeta, ...]
    segments: tuple[SegmentMeta, ...]
    readable_from: dict[str, int] = {}
    """By channel: no read goes further back."""

    @property
    def objects(self) -> frozenset[str]:
        return frozenset(name for segment in self.segments for name in segment.objects)

    @property
    def rows(self) -> int:
        """Rows written, deleted ones included."""
        return sum(segment.rows for segment in self.segments)


class SnapshotMeta(Meta, frozen=True, kw_only=True):
    """One named snapshot."""

    snapshot_id: int
    name: str
    description: str = ""
    created_ms: int
    protected_until_ms: int = 0
    """Compaction leaves the snapshot's segments alone until then."""
    image: CollectionImage
    pins: tuple[Pin, ...] = ()

    @property
    def owner(self) -> str:
        """Under which its objects are held."""
        return f"{_SNAPSHOTS}{self.snapshot_id}"

    @property
    def key(self) -> str:
        return f"{_SNAPSHOTS}{self.image.collection.collection_id}/{self.snapshot_id}"

    def active_pins(self, now_ms: int) -> int:
        return sum(pin.is_active(now_ms) for pin in self.pins)


def protected_in(catalog: Catalog, now_ms: int) -> frozenset[int]:
    """Ids of the segments that compaction has to leave alone, as a catalog says it that others commit to."""
    return _protected((SnapshotMeta.from_bytes(value) for _, value in catalog.scan(_SNAPSHOTS)), now_ms)


def _protected(snapshots: Iterable[SnapshotMeta], now_ms: int) -> frozenset[int]:
    return frozenset(
        segment.segment_id
        for snapshot in snapshots
        if snapshot.protected_until_ms > now_ms
        for segment in snapshot.image.segments
    )


class SnapshotCoordinator:
    """Readers take an immutable dict and never lock; changes are serialised."""

    def __init__(self, catalog: Catalog, garbage: Holder, now_ms: Callable[[], int]) -> None:
        self._catalog = catalog
        self._garbage = garbage
        self._now_ms = now_ms
        self._lock = Lock()
        self._snapshots: Mapping[int, SnapshotMeta] = {}
        for _, value in catalog.scan(_SNAPSHOTS):
            found = SnapshotMeta.from_bytes(value)
            self._snapshots = {**self._snapshots, found.snapshot_id: found}
            garbage.hold(found.owner, found.image.objects)

    # -- asking ---------------------------------------------------------------------------------
    def of_collection(self, collection_id: int) -> list[SnapshotMeta]:
        """In order of creation."""
        mine = (s for s in self._snapshots.values() if s.image.collection.collection_id == collection_id)
        return sorted(mine, key=lambda s: s.snapshot_id)

    def collections(self) -> set[int]:
        """Ids of the collections that have snapshots."""
        return {s.image.collection.collection_id for s in self._snapshots.values()}

    def find(self, collection_id: int, name: str) -> SnapshotMeta:
        """The snapshot of that name, or SnapshotNotFound."""
        for snapshot in self.of_collection(collection_id):
            if snapshot.name == name:
                return snapshot
        raise SnapshotNotFound.named(name)

    def protected_segments(self) -> frozenset[int]:
        """Ids of the segments that compaction has to leave alone for now."""
        return _protected(self._snapshots.values(), self._now_ms())

    def check_name_free(self, collection_id: int, name: str) -> None:
        if any(s.name == name for s in self.of_collection(collection_id)):
            raise InvalidParameter(f"snapshot name {name} already exists")

    def check_collection_droppable(self, collection_id: int) -> None:
        """Dropping a collection drops its snapshots, so none of them may be pinned."""
        for snapshot in self.of_collection(collection_id):
            self._check_unpinned(snapshot, "the collection")

    def _check_unpinned(self, snapshot: SnapshotMeta, what: str = "") -> None:
        pins = snapshot.active_pins(self._now_ms())
        if pins:
            raise SnapshotPinned.named(snapshot.name, pins, what)

    # -- changing -------------------------------------------------------------------------------
    def add(self, snapshot: SnapshotMeta) -> None:
        """Record a snapshot; its objects are held from here on, and were held by the caller until now."""
        with self._lock:
            self.check_name_free(snapshot.image.collection.collection_id, snapshot.name)
            self._garbage.hold(snapshot.owner, snapshot.image.objects)
            try:
                self._save(snapshot)
            except BaseException:
                self._garbage.release(snapshot.owner)
                raise

    def drop(self, collection_id: int, name: str) -> None:
        """Forget a snapshot and let its objects go. Missing is success; pinned is SnapshotPinned."""
        with self._lock:
            try:
                snapshot = self.find(collection_id, name)
            except SnapshotNotFound:
                return
            self._check_unpinned(snapshot)
            self._forget([snapshot])

    def drop_collection(self, collection_id: int) -> None:
        """The collection is gone, and its snapshots with it."""
        with self._lock:
            self._forget(self.of_collection(collection_id))

    def pin(self, collection_id: int, name: str, pin_id: int, ttl_seconds: int) -> None:
        """Keep a snapshot from being dropped; `ttl_seconds` 0: until it is unpinned."""
        if ttl_seconds < 0:
            raise InvalidParameter("ttl_seconds must be non-negative")
        with self._lock:
            snapshot = self.find(collection_id, name)
            now = self._now_ms()
            kept = (pin for pin in snapshot.pins if pin.is_active(now))
            made = Pin(pin_id=pin_id, expires_ms=now + 1000 * ttl_seconds if ttl_seconds else 0)
            self._save(msgspec.structs.replace(snapshot, pins=(*kept, made)))

    def unpin(self, pin_id: int) -> None:
        """An unknown or expired pin is success."""
        with self._lock:
            for snapshot in self._snapshots.values():
                if any(pin.pin_id == pin_id for pin in snapshot.pins):
                    kept = tuple(pin for pin in snapshot.pins if pin.pin_id != pin_id)
                    self._save(msgspec.structs.replace(snapshot, pins=kept))
                    return

    def _save(self, snapshot: SnapshotMeta) -> None:
        self._catalog.commit({snapshot.key: snapshot.to_bytes()})
        self._snapshots = {**self._snapshots, snapshot.snapshot_id: snapshot}

    def _forget(self, gone: list[SnapshotMeta]) -> None:
        if not gone:
            return
        self._catalog.commit({}, [snapshot.key for snapshot in gone])
        out = {snapshot.snapshot_id for snapshot in gone}
        self._snapshots = {i: s for i, s in self._snapshots.items() if i not in out}
        for snapshot in gone:
            self._garbage.release(snapshot.owner)
        # Whatever only the snapshots named. What a segment still is made of stays, the garbage sees to that.
        self._garbage.discard(sorted({name for snapshot in gone for name in snapshot.image.objects}))
