"""What can be done about each kind of finding, what it costs, and doing it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import msgspec

from redkite.errors import MilvusException
from redkite.model.segments import SegmentMeta
from redkite.ops.folder import CATALOG, QUARANTINE, Folder
from redkite.ops.log_rescue import placeholders, rescue_page, write_page, write_rescued
from redkite.ops.lost_deletes import derive_deletes
from redkite.ops.report import Finding, Kind
from redkite.segment.files import free_name, open_stored, order_bytes, segment_prefix, write_deletes
from redkite.segment.keys import key_order
from redkite.storage.catalog_state import WITNESS_SUFFIX
from redkite.storage.checksums import file_crc32
from redkite.storage.log_pages import STATE, Page, find_pages, page_path
from redkite.storage.sqlite_catalog import SqliteCatalog, salvage


class Remedy(NamedTuple):
    """Something that makes a finding go away."""

    finding: Finding
    action: str
    """What is done."""
    loss: str
    """What is lost by it; empty when nothing is."""
    apply: Callable[[], None]


class Advice(NamedTuple):
    """A finding that is not for the doctor to end."""

    finding: Finding
    text: str


class Medicine:
    """The remedies of one folder. `backup` is a folder where whole copies of damaged files may lie, under any name."""

    def __init__(self, folder: Folder, backup: str = "") -> None:
        self._folder = folder
        self._files = folder.env.files
        self._backup = backup
        self._by_size: dict[int, list[str]] | None = None

    def against(self, finding: Finding) -> Remedy | Advice:
        found: dict[Kind, Callable[[Finding], Remedy | Advice]] = {
            Kind.CATALOG: self._catalog,
            Kind.CATALOG_OLD: self._old_catalog,
            Kind.LOG: self._log,
            Kind.LOG_SHORT: self._short_log,
            Kind.ROWS: self._rows,
            Kind.DELETES: self._deletes,
            Kind.ORDER: self._order,
            Kind.INDEX: self._index,
            Kind.ORPHAN: self._orphan,
        }
        return found.get(finding.kind, _advice)(finding)

    # -- the catalog ----------------------------------------------------------------------------
    def _catalog(self, finding: Finding) -> Remedy | Advice:
        path = self._files.local_path(f"{self._folder.root}/{CATALOG}")
        if path is None:
            return Advice(finding, "restore a backup")
        good, lost = salvage(path)
        if not good:
            return Advice(finding, "nothing in it can be read: restore a backup")
        loss = f"{lost} of its entries: collections, segments or indexes that are then gone"
        action = f"a new catalog is made of the {len(good)} entries that can be read; the old one goes to {QUARANTINE}/"
        return Remedy(finding, action, loss if lost else "", partial(self._rebuild_catalog, path, good))

    def _rebuild_catalog(self, path: str, good: dict[str, bytes]) -> None:
        fresh = f"{path}.new"
        self._remove_catalog(fresh)
        made = SqliteCatalog(fresh)
        made.commit(good)
        made.close()
        for suffix in ("", "-wal", "-shm", WITNESS_SUFFIX):
            if self._files.exists(path + suffix):
                self._set_aside(CATALOG + suffix)
        self._set_unnamed_aside(good)
        self._files.rename(fresh, path)
        self._files.sync_dir(self._folder.root)

    def _remove_catalog(self, path: str) -> None:
        for suffix in ("", "-wal", "-shm"):
            self._files.remove(path + suffix)

    def _set_unnamed_aside(self, good: dict[str, bytes]) -> None:
        """What the catalog does not name would be taken for garbage at the next open."""
        self._folder.read(good.items())
        named = self._folder.named_objects
        for name in self._folder.objects.list("segments/"):
            if name not in named:
                self._set_aside(f"objects/{name}")
        channels = {channel for meta in self._folder.collections.values() for channel in meta.channels}
        for topic in self._files.list(f"{self._folder.root}/log"):
            if not topic.startswith(".") and topic not in channels:
                self._set_aside(f"log/{topic}")

    def _old_catalog(self, finding: Finding) -> Remedy | Advice:
        path = self._files.local_path(f"{self._folder.root}/{CATALOG}")
        if path is None:
            return Advice(finding, "restore a backup")

        def apply() -> None:
            self._set_unnamed_aside(salvage(path)[0])
            self._set_aside(CATALOG + WITNESS_SUFFIX)

        action = f"the catalog is taken as it is; what it does not name goes to {QUARANTINE}/"
        return Remedy(finding, action, "what the missing commits changed, and the segments that they named", apply)

    # -- the log --------------------------------------------------------------------------------
    def _log(self, finding: Finding) -> Remedy | Advice:
        name = finding.name.rpartition("/")[2]
        if name == STATE:
            action, loss = "the file is put aside", "the positions of the topic's consumer groups"
            return Remedy(finding, action, loss, partial(self._set_aside_path, finding.name))
        collection = self._folder.collection_of(finding.channel)
        folder = f"{self._folder.root}/log/{finding.channel}"
        pages = find_pages(self._files, folder)[0] if collection is not None else []
        page = next((p for p in pages if p.path == finding.name), None)
        if page is None or collection is None:
            return _advice(finding)
        following = next((p.base for p in pages if p.base > page.base), None)
        rescue = rescue_page(self._folder.env, page, following)
        if rescue.lost == () and not _is_unreadable(finding):
            return _advice(finding)

        def apply() -> None:
            self._copy_aside(page.path)
            write_rescued(self._folder.env, rescue, collection)

        action = "the page is written anew from its good records; a copy of it goes to quarantine/"
        return Remedy(finding, action, rescue.loss if rescue.lost else "", apply)

    def _short_log(self, finding: Finding) -> Remedy | Advice:
        collection = self._folder.collection_of(finding.channel)
        if collection is None or finding.missing is None:
            return _advice(finding)
        first, end = finding.missing
        folder = f"{self._folder.root}/log/{finding.channel}"

        def apply() -> None:
            self._files.make_dirs(folder)
            pages = find_pages(self._files, folder)[0]
            if any(page.base >= end for page in pages):
                made, records = first, placeholders(first, end, collection)
            else:
                made, records = end, []
                for page in pages:  # everything in them is in sealed segments
                    self._set_aside_path(page.path)
            write_page(self._folder.env, Page(made, page_path(folder, made)), records)

        action = "a page that stands for the missing records is written"
        return Remedy(finding, action, "the writes that were in the missing records", apply)

    # -- segments -------------------------------------------------------------------------------
    def _segment(self, finding: Finding) -> SegmentMeta | None:
        return next((s for s in self._folder.segments if s.segment_id == finding.segment_id), None)

    def _rows(self, finding: Finding) -> Remedy | Advice:
        meta = self._segment(finding)
        known = meta or next((s for s in self._folder.all_segments if s.segment_id == finding.segment_id), None)
        if known is not None and (copy := self._whole_copy(known.size, known.rows_crc)):
            return self._restored(finding, known.rows_object, copy)
        if meta is None:
            return Advice(finding, "only a snapshot still has these rows: give a backup, or drop the snapshot")
        alive = meta.rows - meta.deleted_rows
        loss = f"{alive:,} rows of {finding.collection}, with keys from {meta.min_key!r} to {meta.max_key!r}"
        action = f"the segment is taken out of the collection and its files go to {QUARANTINE}/"
        return Remedy(finding, action, loss, partial(self._remove_segment, meta))

    def _remove_segment(self, meta: SegmentMeta) -> None:
        assert self._folder.catalog is not None
        self._folder.catalog.commit({}, [_key(meta)])
        held = {name for s in self._folder.snapshots for name in s.image.objects}
        for name in meta.objects:
            if name not in held and self._folder.objects.exists(name):
                self._set_aside(f"objects/{name}")

    def _deletes(self, finding: Finding) -> Remedy | Advice:
        meta = self._segment(finding)
        if meta is None:
            return Advice(finding, "only a snapshot still has these deletes: give a backup, or drop the snapshot")
        if copy := self._whole_copy(meta.deletes_size, meta.deletes_crc):
            return self._restored(finding, meta.deletes_object, copy)
        collection = self._folder.collections.get(meta.collection_id)
        if collection is None:
            return _advice(finding)
        deletes = derive_deletes(self._folder, meta, collection)
        back = meta.deleted_rows - deletes.count
        loss = f"{back:,} deletes: those rows are there again" if back else ""

        def apply() -> None:
            now = self._segment(finding) or meta
            if self._folder.objects.exists(meta.deletes_object):
                self._set_aside(f"objects/{meta.deletes_object}")
            made = msgspec.structs.replace(now, deletes_object="", deletes_size=0, deletes_crc=0, deleted_rows=0)
            if deletes.count:
                made = made.with_deletes(write_deletes(self._folder.objects, made, deletes))
            self._save(made)

        action = f"{deletes.count:,} deletes of rows that newer ones replaced are found again from the keys"
        return Remedy(finding, action, loss, apply)

    def _order(self, finding: Finding) -> Remedy | Advice:
        meta = self._segment(finding)
        collection = self._folder.collections.get(meta.collection_id) if meta else None
        if meta is None or collection is None:
            return Advice(finding, "it is not needed: the order is found from the keys when it is wanted")

        def apply() -> None:
            store, now = self._folder.objects, self._segment(finding) or meta
            batch, _ = open_stored(store, meta)
            order = key_order(batch.column(str(collection.schema.primary.field_id)))
            if order is None:
                made = msgspec.structs.replace(now, order_object="", order_crc=0)
            else:
                name = free_name(store, f"{segment_prefix(meta.collection_id, meta.segment_id)}order", ".u32")
                stored = store.put(name, [order.data])
                assert stored.size == order_bytes(meta)
                made = msgspec.structs.replace(now, order_object=name, order_crc=stored.crc32)
            self._save(made)
            store.delete(meta.order_object)

        return Remedy(finding, "the order is found anew from the keys", "", apply)

    def _index(self, finding: Finding) -> Remedy | Advice:
        meta = self._segment(finding)
        if meta is None:
            return Advice(finding, "it is not needed: a snapshot is restored from its rows")

        def apply() -> None:
            now = self._segment(finding) or meta
            kept = tuple(f for f in now.indexes if f.object != finding.name)
            self._save(msgspec.structs.replace(now, indexes=kept))
            self._folder.objects.delete(finding.name)

        action = "it is removed; until the index is built again, at the next use of the collection, searches are exact"
        return Remedy(finding, action, "", apply)

    def _orphan(self, finding: Finding) -> Remedy | Advice:
        if finding.name.startswith("segments/"):
            return Remedy(finding, "it is removed", "", partial(self._folder.objects.delete, finding.name))
        if finding.name.startswith("log/"):
            path = f"{self._folder.root}/{finding.name}"
            return Remedy(finding, "it is removed", "", partial(self._files.remove_tree, path))
        if finding.name.startswith(self._folder.root):
            return Remedy(finding, "it is removed", "", partial(self._files.remove, finding.name))
        return Advice(finding, "nothing has to be done")

    def _save(self, meta: SegmentMeta) -> None:
        assert self._folder.catalog is not None
        self._folder.catalog.commit({_key(meta): msgspec.json.encode(meta)})
        self._folder.segments = [meta if s.segment_id == meta.segment_id else s for s in self._folder.segments]

    # -- files ----------------------------------------------------------------------------------
    def _whole_copy(self, size: int, crc: int) -> str | None:
        """A file of the backup that has just these bytes."""
        if not self._backup:
            return None
        if self._by_size is None:
            self._by_size = {}
            for name in self._files.walk(self._backup):
                path = f"{self._backup}/{name}"
                self._by_size.setdefault(self._files.size(path), []).append(path)
        same = self._by_size.get(size, [])
        return next((path for path in same if file_crc32(self._files, path) == (size, crc)), None)

    def _restored(self, finding: Finding, name: str, copy: str) -> Remedy:
        def apply() -> None:
            if self._folder.objects.exists(name):
                self._set_aside(f"objects/{name}")
            self._folder.objects.put(name, [self._files.read(copy)])

        return Remedy(finding, f"the object is taken from the backup ({copy})", "", apply)

    def _set_aside(self, name: str) -> None:
        self._set_aside_path(f"{self._folder.root}/{name}")

    def _set_aside_path(self, path: str) -> None:
        target = self._place_aside(path)
        self._files.rename(path, target)
        self._files.sync_dir(path.rpartition("/")[0])
        self._files.sync_dir(target.rpartition("/")[0])

    def _copy_aside(self, path: str) -> None:
        target = self._place_aside(path)
        self._files.write_new(target, [self._files.read(path)])
        self._files.sync_dir(target.rpartition("/")[0])

    def _place_aside(self, path: str) -> str:
        """A free name in the quarantine, at the same place below it."""
        target = f"{self._folder.root}/{QUARANTINE}/{path.removeprefix(self._folder.root).lstrip('/')}"
        self._files.make_dirs(target.rpartition("/")[0])
        return next(name for name in _numbered(target) if not self._files.exists(name))


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 0
    while True:
        number += 1
        yield f"{name}.{number}"


def _key(meta: SegmentMeta) -> str:
    return f"segment/{meta.collection_id}/{meta.segment_id}"


def _is_unreadable(finding: Finding) -> bool:
    return "is damaged at" in finding.text


_ADVICE = {
    Kind.FORMAT: "open it with the Redkite that wrote it, or a newer one",
    Kind.TORN: "nothing has to be done: the next write goes to a new file",
    Kind.ENTRY: "restore a backup: the parts of the catalog contradict each other",
    Kind.CONTENT: "restore a backup: the bytes are as they were written, and were written wrong",
}


def _advice(finding: Finding) -> Advice:
    return Advice(finding, _ADVICE.get(finding.kind, "restore a backup"))


def cure(remedy: Remedy) -> str:
    """Apply a remedy; returns what went wrong, empty when nothing did."""
    try:
        remedy.apply()
    except MilvusException as error:
        return error.message
    return ""
