"""A database folder held for inspection: locked, with its catalog read, and nothing running in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from redkite.coordinator.groups import Group
from redkite.coordinator.imports import ImportJob
from redkite.coordinator.meta import CollectionMeta
from redkite.coordinator.snapshots import SnapshotMeta
from redkite.env import Env
from redkite.errors import Corruption, MilvusException, StorageError
from redkite.model.decoding import from_json
from redkite.model.segments import ChannelState, IndexMeta, LoadEntry, SegmentMeta
from redkite.ops.report import Finding, Kind
from redkite.storage.catalog import Catalog, open_catalog
from redkite.storage.lock import lock_path
from redkite.storage.objects import FolderObjects

T = TypeVar("T")
CATALOG = "catalog"
QUARANTINE = "quarantine"
"""Where damaged files go that are taken out of use."""


def _json(kind: type[T]) -> Callable[[bytes], T]:
    return lambda value: from_json(value, kind)


_ENTRIES: dict[str, Callable[[bytes], Any]] = {
    "root/collection/": CollectionMeta.from_bytes,
    "segment/": _json(SegmentMeta),
    "index/": _json(IndexMeta),
    "channel/": _json(ChannelState),
    "load/": _json(LoadEntry),
    "resource-group/": _json(Group),
    "snapshot/": SnapshotMeta.from_bytes,
    "import-job/": ImportJob.from_bytes,
}
"""What the values are of the keys that an inspection looks into."""


class Folder:
    """What the catalog says, and the way to everything else. `catalog` is None when it cannot be opened: `findings`
    then says why."""

    def __init__(self, env: Env, root: str) -> None:
        self.env = env
        self.root = root
        self.findings: list[Finding] = []
        self.objects = FolderObjects(env.files, f"{root}/objects")
        self.catalog = self._open()
        self.collections: dict[int, CollectionMeta] = {}
        self.segments: list[SegmentMeta] = []
        self.indexes: dict[int, IndexMeta] = {}
        self.channels: dict[str, ChannelState] = {}
        self.snapshots: list[SnapshotMeta] = []
        self.imports: list[ImportJob] = []
        if self.catalog is not None:
            self.read(self.catalog.scan())

    def _open(self) -> Catalog | None:
        try:
            return open_catalog(self.env.files, f"{self.root}/{CATALOG}")
        except Corruption as error:
            kind = Kind.CATALOG_OLD if "newest commits" in error.message else Kind.CATALOG
            self.findings.append(Finding(kind=kind, name=CATALOG, text=error.message))
        except StorageError as error:
            if "newer Redkite" not in error.message:
                raise
            self.findings.append(Finding(kind=Kind.FORMAT, name=CATALOG, text=error.message))
        return None

    def read(self, entries: Iterable[tuple[str, bytes]]) -> None:
        """Take over what entries of a catalog say."""
        for key, value in entries:
            prefix = next((p for p in _ENTRIES if key.startswith(p)), None)
            if prefix is None:
                continue
            try:
                entry = _ENTRIES[prefix](value)
            except (msgspec.DecodeError, UnicodeDecodeError, MilvusException) as error:
                self.findings.append(Finding(kind=Kind.ENTRY, name=key, text=f"it cannot be read: {error}"))
                continue
            self._keep(key.removeprefix(prefix), entry)

    def _keep(self, name: str, entry: object) -> None:
        match entry:
            case CollectionMeta():
                self.collections[entry.collection_id] = entry
            case SegmentMeta():
                self.segments.append(entry)
            case IndexMeta():
                self.indexes[entry.index_id] = entry
            case ChannelState():
                self.channels[name] = entry
            case SnapshotMeta():
                self.snapshots.append(entry)
            case ImportJob():
                self.imports.append(entry)

    @property
    def all_segments(self) -> list[SegmentMeta]:
        """The live ones, and those that snapshots still have, or have with fewer deletes."""
        of_snapshots = (s for snapshot in self.snapshots for s in snapshot.image.segments)
        return list({(s.segment_id, s.deletes_object): s for s in (*of_snapshots, *self.segments)}.values())

    @property
    def named_objects(self) -> set[str]:
        named = {name for s in self.segments for name in s.objects}
        waiting = (job.objects for job in self.imports)
        return named.union(*(snapshot.image.objects for snapshot in self.snapshots), *waiting)

    def collection_name(self, collection_id: int) -> str:
        meta = self.collections.get(collection_id)
        return f"{meta.database}.{meta.name}" if meta is not None else f"collection {collection_id}"

    def collection_of(self, channel: str) -> CollectionMeta | None:
        return next((c for c in self.collections.values() if channel in c.channels), None)

    def close(self) -> None:
        if self.catalog is not None:
            self.catalog.close()


@contextmanager
def held(path: str, env: Env) -> Iterator[Folder]:
    """The folder, locked until the end of the block. Raises StorageError when there is no database in it, PathLocked
    when a process has it open."""
    files = env.files
    root = os.path.abspath(path) if files.local_path(path) is not None else path
    if not any(files.exists(f"{root}/{name}") for name in (CATALOG, "objects", "log")):
        raise StorageError(f"there is no database at {path}" if files.exists(root) else f"{path} does not exist")
    lock = lock_path(files, env.clock, root, os.getpid(), "redkite verify")
    try:
        folder = Folder(env, root)
        try:
            yield folder
        finally:
            folder.close()
    finally:
        lock.release()
