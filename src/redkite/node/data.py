"""The data node: writes sealed segments and builds indexes, off the path of requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial
from typing import NamedTuple

import msgspec
import pyarrow as pa

from redkite.coordinator.jobs import why
from redkite.env import Env
from redkite.errors import MemoryLimitExceeded, NotOwner
from redkite.index.registry import BuildCancelled, build, build_bytes, needs_build
from redkite.index.scalar.family import build_memory, build_scalar
from redkite.logs import get_logger
from redkite.model.schema import CollectionSchema
from redkite.model.segments import IndexFile, IndexMeta, SegmentMeta
from redkite.node.compaction_work import Compacted, CompactionWork, bytes_of, groups_of, newest_dropped, parts_of
from redkite.node.memory import MemoryBudget
from redkite.node.tallies import Tallies
from redkite.segment.compaction import MadeSegment, merge
from redkite.segment.deletes import Deletes
from redkite.segment.files import Place, first_index_object, index_object, write_rows
from redkite.segment.growing import GrowingSegment
from redkite.segment.keys import SealedKeys
from redkite.segment.sealed import SealedSegment
from redkite.segment.vectors import Vectored, stored_vectors
from redkite.spans import job, traced
from redkite.storage.objects import ObjectStore

log = get_logger(__name__)


class WrittenSegment(NamedTuple):
    """A growing segment as a sealed one, which is not committed yet."""

    meta: SegmentMeta
    keys: SealedKeys | None = None
    """Where its keys are, if that is known without reading it."""


class DataNode:
    """Stateless: everything it needs comes with the job, everything it makes goes to the object store."""

    def __init__(
        self, node_id: int, env: Env, store: ObjectStore, threads: int, memory: MemoryBudget, builders: int = 1
    ) -> None:
        """`builders` indexes over vectors are built at a time, each with so many `threads`."""
        self.node_id = node_id
        self._store = store
        self._threads = threads
        self.memory = memory
        self._closing = False
        self._builds = env.tasks.executor(f"build-{node_id}", builders)
        self._value_builds = env.tasks.executor(f"build-values-{node_id}", 1)
        """Of indexes over values, which take seconds and do not wait for those over vectors."""
        self._beside = env.tasks.executor(f"build-beside-{node_id}", 1)
        """Of light indexes over rows that are just being written, which whoever writes them waits for."""
        self.failures: dict[tuple[int, int], str] = {}
        """Segment and index -> why the last build did not succeed."""
        self.tallies = Tallies(env.clock)

    def write_segments(
        self,
        collection_id: int,
        channel: str,
        segments: Iterable[GrowingSegment],
        wanted: Callable[[], bool],
        indexes: Sequence[IndexMeta] = (),
        least_indexed_rows: int = 0,
    ) -> list[WrittenSegment]:
        """Write segments of one channel that take no more rows, while the caller waits, and make these `indexes`
        meanwhile over those that have so many rows. Raises NotOwner when they are not `wanted` any more, for their
        shard was left."""
        written = []
        for segment in segments:
            beside = indexes if segment.rows >= least_indexed_rows else ()
            made = self.write_segment(collection_id, channel, segment, wanted, beside)
            if made is None:
                raise NotOwner.of(channel)
            written.append(made)
        return written

    @traced("write segment")
    def write_segment(
        self,
        collection_id: int,
        channel: str,
        segment: GrowingSegment,
        wanted: Callable[[], bool],
        indexes: Sequence[IndexMeta] = (),
    ) -> WrittenSegment | None:
        """Write one; None when it is not wanted any more."""
        if not wanted():
            return None
        place = Place(collection_id, segment.partition_id, channel, segment.segment_id)
        schema, batch = segment.schema, segment.batch(segment.rows)
        begun = [
            self._beside.submit(self._build_beside, place, index, schema, batch, wanted)
            for index in (() if self._closing else indexes)
        ]
        try:
            made = write_rows(self._store, place, schema, batch, segment.timestamps(segment.rows))
        except BaseException:
            for build in begun:
                file = build.result()
                if file is not None:
                    self._store.delete(file.object)
            raise
        files = tuple(file for build in begun if (file := build.result()) is not None)
        self.tallies.flushed(made.rows, made.size)
        return WrittenSegment(msgspec.structs.replace(made, indexes=files) if files else made)

    def _build_beside(
        self,
        place: Place,
        index: IndexMeta,
        schema: CollectionSchema,
        batch: pa.RecordBatch,
        wanted: Callable[[], bool],
    ) -> IndexFile | None:
        """Build an index while the rows it is over are written, and store it. None where it is to be built later, when
        they are: what keeps it from being built now is no reason not to seal them."""
        field = next((field for field in schema.fields if field.field_id == index.field_id), None)
        if field is None:
            return None
        try:
            with self.tallies.builds.timed():
                vectors = stored_vectors(field, batch.column(schema.fields.index(field)))
                # Nothing is waited for: rows may be sealed because there is no room.
                name = partial(first_index_object, place.collection_id, place.segment_id, index.index_id)
                return self._make_vectors(name, batch.num_rows, index, vectors, wanted, self.memory.room)
        except MemoryLimitExceeded:
            return None
        except Exception:  # whatever a library raises: the build after this one says what became of it
            log.warning("index %s over segment %d is built later", index.name, place.segment_id, exc_info=True)
            return None

    def build_index(
        self,
        meta: SegmentMeta,
        index: IndexMeta,
        schema: CollectionSchema,
        wanted: Callable[[], bool],
        built: Callable[[IndexFile], None],
    ) -> Future[None]:
        """Queue a build. `wanted` is asked before and during it; `built` is called with the stored result."""
        builds = self._value_builds if index.spec.is_scalar else self._builds
        return builds.submit(self._build, meta, index, schema, wanted, built)

    def _build(
        self,
        meta: SegmentMeta,
        index: IndexMeta,
        schema: CollectionSchema,
        wanted: Callable[[], bool],
        built: Callable[[IndexFile], None],
    ) -> None:
        place = (meta.segment_id, index.index_id)
        try:
            made = self.make_index(meta, index, schema, wanted)
            if made is not None:
                built(made)
        except Exception as error:  # whatever a library raises, whoever waits for the index has to learn of it
            # The rows stay searchable without the index; the build is tried again when the collection opens next.
            log.exception("index %s over segment %d could not be built", index.name, meta.segment_id)
            self.failures[place] = why(error)
        else:
            self.failures.pop(place, None)

    def make_index(
        self, meta: SegmentMeta, index: IndexMeta, schema: CollectionSchema, wanted: Callable[[], bool]
    ) -> IndexFile | None:
        """Build an index while the caller waits, and store it; None when it is not wanted any more."""
        return self.build_here(meta, index, schema, wanted)

    def index_name(self, meta: SegmentMeta, index: IndexMeta) -> str:
        """The name of the object that an index becomes."""
        return index_object(self._store, meta, index.index_id)

    @job("build index")
    def build_here(
        self, meta: SegmentMeta, index: IndexMeta, schema: CollectionSchema, wanted: Callable[[], bool]
    ) -> IndexFile | None:
        """Build an index in the caller's thread and store it; None when it is not wanted any more."""

        def still_wanted() -> bool:
            return not self._closing and wanted()

        if not still_wanted():
            return None
        with self.tallies.builds.timed():
            return self._made_of(meta, index, schema, still_wanted)

    def _made_of(
        self, meta: SegmentMeta, index: IndexMeta, schema: CollectionSchema, still_wanted: Callable[[], bool]
    ) -> IndexFile | None:
        segment = SealedSegment(self._store, meta, schema, Deletes(), late=False)
        if index.spec.is_scalar:
            return self._make_scalar(segment, index, still_wanted)
        vectors = segment.vectors(index.field, meta.rows)
        name = partial(self.index_name, meta, index)
        return self._make_vectors(name, meta.rows, index, vectors, still_wanted, self.memory.work)

    def _make_vectors(
        self,
        name: Callable[[], str],
        count: int,
        index: IndexMeta,
        vectors: Vectored,
        wanted: Callable[[], bool],
        room: Callable[[str, int], AbstractContextManager[None]],
    ) -> IndexFile | None:
        """The same of an index over `count` vectors, under this name, when there is `room` in memory."""
        held = vectors.held()
        rows = count if held is None else len(held)
        gathered = 0 if held is None else vectors.column.nbytes * rows // count
        with room("index builds", build_bytes(index.spec, rows, vectors.column.width) + gathered):
            try:
                column = vectors.column if held is None else vectors.column.gather(held)
                data = build(index.spec, column, wanted, self._threads) if rows else memoryview(b"")
            except BuildCancelled:
                return None
            called = name()
            stored = self._store.put(called, [data])
        return IndexFile(index_id=index.index_id, object=called, size=len(data), crc=stored.crc32, rows=rows)

    def _make_scalar(self, segment: SealedSegment, index: IndexMeta, wanted: Callable[[], bool]) -> IndexFile | None:
        """The same of an index over values."""
        meta, field = segment.meta, segment.schema.field(index.field)
        if field is None:
            return None
        columns = segment.columns(meta.rows)
        with self.memory.work("index builds", build_memory(index.spec, columns.stored(field.name).nbytes, meta.rows)):
            data = build_scalar(index.spec, field, columns, wanted)
            if data is None:
                return None
            name = self.index_name(meta, index)
            stored = self._store.put(name, data)
        return IndexFile(index_id=index.index_id, object=name, size=stored.size, crc=stored.crc32, rows=meta.rows)

    @job("compact segments")
    def compact(self, work: CompactionWork, wanted: Callable[[], bool], new_id: Callable[[], int]) -> Compacted | None:
        """Make new segments and their indexes in the caller's thread; None when they are not wanted any more. `new_id`
        gives each its id; what was made under them is garbage unless it is swapped in."""
        with self.tallies.compactions.timed():
            return self._compacted(work, wanted, new_id)

    def _compacted(
        self, work: CompactionWork, wanted: Callable[[], bool], new_id: Callable[[], int]
    ) -> Compacted | None:
        parts = parts_of(self._store, work)
        made = []
        for group, level in groups_of(work, parts, self.memory.limit):
            if self._closing or not wanted():
                return None
            with self.memory.work("compaction", bytes_of(group)):
                segment = merge(self._store, work.schema, group, new_id(), level)
            indexed = self._indexed(segment, work, wanted)
            if indexed is None:
                return None
            made.append(indexed)
        return Compacted(made, newest_dropped(parts, work.horizon))

    def _indexed(self, made: MadeSegment, work: CompactionWork, wanted: Callable[[], bool]) -> MadeSegment | None:
        meta = made.meta
        for index in work.indexes:
            if meta.rows >= work.least_indexed_rows and needs_build(index.spec):
                file = self.build_here(meta, index, work.schema, wanted)
                if file is None:
                    return None
                meta = msgspec.structs.replace(meta, indexes=(*meta.indexes, file))
        return MadeSegment(meta, made.deletes, made.origin)

    def close(self) -> None:
        """Stop a running build at its next step; it is done again when the database is opened next."""
        self._closing = True
        self._beside.shutdown(wait=True)
        self._builds.shutdown(wait=True)
        self._value_builds.shutdown(wait=True)
