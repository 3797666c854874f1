"""Is everything in a database as it was written? `redkite verify` and `redkite.verify` read it all and say."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from redkite.env import Env
from redkite.model.segments import ChannelState
from redkite.ops.folder import Folder, held
from redkite.ops.log_check import TopicCheck
from redkite.ops.report import Finding, Kind, Report
from redkite.ops.segment_check import SegmentCheck

Progress = Callable[[int, int, str], None]
"""(bytes done, bytes in all, what is being read)"""


def verify(path: str, *, progress: Progress | None = None, env: Env | None = None) -> Report:
    """Read every byte of the database in folder `path` and compare it with its checksums, and its parts with each
    other. Nothing is changed.

    Raises StorageError when there is no database, PathLocked while a process has it open.
    """
    with held(path, env or Env.real()) as folder:
        return Inspection(folder, progress).report()


class Inspection:
    """One reading of a folder."""

    def __init__(self, folder: Folder, progress: Progress | None = None) -> None:
        self._folder = folder
        self._progress = progress
        self._records = 0
        self._bytes = 0
        self._total = 0
        self._objects: dict[str, int] = {}

    def report(self) -> Report:
        folder = self._folder
        store = folder.objects
        self._objects = {name: store.size(name) for name in store.list("segments/")}
        files = folder.env.files
        self._total = sum(self._objects.values())
        self._total += sum(files.size(f"{folder.root}/log/{name}") for name in files.walk(f"{folder.root}/log"))
        findings = [*folder.findings, *self._findings()]
        return Report(
            path=folder.root,
            findings=tuple(findings),
            collections=len(folder.collections),
            segments=len(folder.segments),
            rows=sum(s.rows for s in folder.segments),
            log_records=self._records,
            objects=len(self._objects),
            bytes=self._bytes,
        )

    def _findings(self) -> Iterator[Finding]:
        yield from self._entries()
        yield from self._segments()
        yield from self._topics()
        if self._folder.catalog is not None:
            yield from self._orphans()

    # -- the catalog ----------------------------------------------------------------------------
    def _entries(self) -> Iterator[Finding]:
        folder = self._folder
        for index in folder.indexes.values():
            collection = folder.collections.get(index.collection_id)
            if collection is None:
                text = "it is an index of a collection that was dropped; it goes when the database is opened"
                yield Finding(kind=Kind.ORPHAN, name=f"index/{index.collection_id}/{index.index_id}", text=text)
            elif collection.schema.field_by_id(index.field_id) is None:
                yield Finding(
                    kind=Kind.ENTRY,
                    name=f"index/{index.collection_id}/{index.index_id}",
                    text=f"it indexes field {index.field}, which the collection does not have",
                    collection=folder.collection_name(index.collection_id),
                )
        for segment in folder.segments:
            key = f"segment/{segment.collection_id}/{segment.segment_id}"
            collection = folder.collections.get(segment.collection_id)
            if collection is None:
                text = "it is a segment of a collection that was dropped; it goes when the database is opened"
                yield Finding(kind=Kind.ORPHAN, name=key, text=text)
                continue
            where = folder.collection_name(segment.collection_id)
            if segment.channel not in collection.channels:
                text = f"its channel {segment.channel} is not the collection's"
                yield Finding(kind=Kind.ENTRY, name=key, text=text, collection=where)
            if collection.partition_by_id(segment.partition_id) is None:
                text = f"it is of partition {segment.partition_id}, which was dropped"
                yield Finding(kind=Kind.ORPHAN, name=key, text=text, collection=where)

    # -- what it names --------------------------------------------------------------------------
    def _segments(self) -> Iterator[Finding]:
        folder = self._folder
        for meta in folder.all_segments:
            collection = folder.collections.get(meta.collection_id)
            self._advance(0, meta.rows_object)
            yield from SegmentCheck(folder.objects, meta, collection, folder.indexes).findings()
            self._advance(sum(self._objects.get(name, 0) for name in meta.objects), meta.rows_object)

    def _topics(self) -> Iterator[Finding]:
        folder = self._folder
        files = folder.env.files
        for name in files.list(f"{folder.root}/log"):
            if name.startswith("."):
                continue
            collection = folder.collection_of(name)
            if collection is None:
                if folder.catalog is not None:
                    text = "a log of no collection; it goes when the database is opened"
                    yield Finding(kind=Kind.ORPHAN, name=f"log/{name}", text=text, channel=name)
                continue
            state = folder.channels.get(name, ChannelState())
            check = TopicCheck(files, f"{folder.root}/log/{name}", state, collection)
            yield from check.findings()
            self._records += check.records
            self._advance(check.bytes, f"log/{name}")

    def _orphans(self) -> Iterator[Finding]:
        named = self._folder.named_objects
        for name in self._objects:
            if name not in named:
                text = f"an object of {self._objects[name]:,} bytes that nothing names; it goes at the next open"
                yield Finding(kind=Kind.ORPHAN, name=name, text=text)

    def _advance(self, size: int, what: str) -> None:
        self._bytes += size
        if self._progress is not None:
            self._progress(self._bytes, self._total, what)
