"""The query node: holds sealed segments and answers reads over those it is told to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from threading import Lock

import numpy as np
import numpy.typing as npt

from redkite.env import Clock, Executor
from redkite.errors import Corruption, SegmentGone, Unimplemented
from redkite.index.base import Queries
from redkite.logs import get_logger
from redkite.model.schema import CollectionSchema
from redkite.model.segments import IndexFile, IndexMeta, SegmentMeta
from redkite.node.face import Answer
from redkite.node.tallies import Durations
from redkite.query.allowed import CACHE_BYTES, AllowedCache
from redkite.query.execute import query_segments, search_segments
from redkite.query.plan import QueryPartial, QueryPlan, SearchPartial, SearchPlan, TextCounts
from redkite.query.pruning import possible_segments
from redkite.query.straight import Straight, straight_way
from redkite.query.text_counts import count_segments
from redkite.query.timing import ReadTimes
from redkite.query.word_way import WordWay, word_way
from redkite.segment.deletes import Deletes, RowNumbers
from redkite.segment.indexes import open_vector_index
from redkite.segment.scalars import open_scalar_file
from redkite.segment.sealed import SealedSegment
from redkite.segment.warming import warmed
from redkite.spans import traced
from redkite.storage.objects import ObjectStore

log = get_logger(__name__)

Stamps = npt.NDArray[np.uint64]
DELETE_BYTES = 32
"""What one deleted row takes, about."""


class QueryNode:
    """Reads may come from any thread. Segments come and go by replacing one dict."""

    def __init__(
        self, node_id: int, store: ObjectStore, scans: Executor, clock: Clock, cache_bytes: int = CACHE_BYTES
    ) -> None:
        self.node_id = node_id
        self._store = store
        self._scans = scans
        self._lock = Lock()
        self._cache = AllowedCache(cache_bytes)
        self._segments: dict[int, SealedSegment] = {}
        self.loading = Durations(clock)
        """Of segments: until a read can look at them."""
        self.times = ReadTimes(clock)
        """Of reads."""
        self.pruned = 0
        """Segments that reads passed over because of their ranges; about, when reads run side by side."""

    # -- what is held ---------------------------------------------------------------------------
    def load_segment(
        self,
        meta: SegmentMeta,
        schema: CollectionSchema,
        deleted: tuple[RowNumbers, Stamps],
        indexes: Iterable[IndexMeta],
    ) -> list[IndexFile]:
        """Map a segment and the indexes built over it so far; returns the index files that are damaged."""
        with self.loading.timed():
            return self._load(meta, schema, deleted, indexes)

    def _load(
        self,
        meta: SegmentMeta,
        schema: CollectionSchema,
        deleted: tuple[RowNumbers, Stamps],
        indexes: Iterable[IndexMeta],
    ) -> list[IndexFile]:
        segment = SealedSegment(self._store, meta, schema, Deletes.from_entries(*deleted, meta.rows))
        segment.cache = self._cache
        segment.warm()
        damaged = []
        for index in indexes:
            file = meta.index(index.index_id)
            if file is not None:
                try:
                    self._attach(segment, index, file)
                except Corruption as error:
                    log.warning("%s; its segment is searched exactly until it is built again", error.message)
                    damaged.append(file)
                except Unimplemented as error:
                    log.warning("%s; segment %d is searched exactly", error.message, meta.segment_id)
        with self._lock:
            known = self._segments.get(meta.segment_id)
            if known is not None:
                _succeed(segment, known)
            self._segments = {**self._segments, meta.segment_id: segment}
        return damaged

    def load_soon(
        self,
        meta: SegmentMeta,
        schema: CollectionSchema,
        deleted: tuple[RowNumbers, Stamps],
        indexes: Iterable[IndexMeta],
    ) -> Answer[list[IndexFile]]:
        """Here the work is the caller's, when it asks for the answer."""
        return partial(self.load_segment, meta, schema, deleted, indexes)

    def _attach(self, segment: SealedSegment, index: IndexMeta, file: IndexFile) -> None:
        """Raises Corruption."""
        index = warmed(index, segment.schema.properties)
        if index.spec.is_scalar:
            segment.attach_scalar(index.index_id, index.field_id, open_scalar_file(self._store, index, file))
        else:
            vectors = segment.vectors(index.field, segment.meta.rows)
            segment.attach_index(index.field, open_vector_index(self._store, index, file, vectors))

    @property
    def address(self) -> str:
        """None: it is asked in its process."""
        return ""

    def holds(self, segment_id: int, version: int) -> bool:
        """Whether a segment is here that reads of this version of its schema can use."""
        segment = self._segments.get(segment_id)
        return segment is not None and segment.schema.version <= version

    def release_segments(self, segment_ids: Iterable[int]) -> None:
        gone = set(segment_ids)
        with self._lock:
            released = [s for i, s in self._segments.items() if i in gone]
            self._segments = {i: s for i, s in self._segments.items() if i not in gone}
        for segment in released:
            segment.release()
        for segment_id in gone:
            self._cache.forget(segment_id)

    def attach_index(self, segment_id: int, index: IndexMeta, file: IndexFile) -> None:
        """Use an index from now on; nothing happens when the segment is not here (any more)."""
        segment = self._segments.get(segment_id)
        if segment is not None:
            self._attach(segment, index, file)

    def detach_index(self, segment_id: int, index: IndexMeta) -> None:
        segment = self._segments.get(segment_id)
        if segment is None:
            return
        if index.spec.is_scalar:
            segment.detach_scalar(index.index_id)
        else:
            segment.detach_index(index.field)

    def apply_deletes(self, segment_id: int, rows: RowNumbers, timestamps: Stamps) -> None:
        """Rows deleted since; those known already are passed over."""
        with self._lock:
            segment = self._segments.get(segment_id)
            if segment is not None:
                segment.deletes.merge(rows, timestamps, segment.meta.rows)

    def covers(self, segment_id: int, field: str) -> bool:
        """Whether an index answers searches over this segment."""
        segment = self._segments.get(segment_id)
        return segment is not None and segment.index(field) is not None

    @property
    def deleted_rows(self) -> int:
        """Rows of its segments that are deleted and not compacted away yet."""
        return sum(s.deletes.count for s in self._segments.values())

    def private_bytes(self) -> int:
        """Memory that is not mapped from files, about: what the cache keeps, and of each segment the deletes, what is
        known of its words, and columns that were not to stay mapped."""
        words = sum(s.word_bytes() for s in self._segments.values())
        columns = sum(s.column_bytes for s in self._segments.values())
        return self._cache.held + self._cache.derived.held + self.deleted_rows * DELETE_BYTES + words + columns

    # -- reads ----------------------------------------------------------------------------------
    @traced("query node")
    def search(self, segment_ids: Sequence[int], plan: SearchPlan, queries: Queries, timestamp: int) -> SearchPartial:
        times = self.times
        begun = times.now()
        held = self._prune(self._held(segment_ids, plan.schema), plan)
        hits = search_segments(held, plan, queries, timestamp, self._scans, times)
        times.took(times.searches, begun)
        return hits

    def count_words(
        self, segment_ids: Sequence[int], plan: SearchPlan, dims: npt.NDArray[np.uint32], timestamp: int
    ) -> TextCounts:
        return count_segments(self._held(segment_ids, plan.schema), plan, dims, timestamp)

    @traced("query node")
    def query(self, segment_ids: Sequence[int], plan: QueryPlan, timestamp: int) -> QueryPartial:
        times = self.times
        begun = times.now()
        held = self._prune(self._held(segment_ids, plan.schema), plan)
        rows = query_segments(held, plan, timestamp)
        times.took(times.queries, begun)
        return rows

    def straight(self, segment_ids: Sequence[int], plan: SearchPlan) -> Straight | WordWay | None:
        """See `QueryPeer.straight`."""
        held = [segment.under(plan.schema) for segment in self._held(segment_ids, plan.schema)]
        if plan.scoring is not None:
            return word_way(held[0], plan, self.times) if len(held) == 1 else None
        return straight_way(held, plan, self._scans, self.times)

    def _prune(self, segments: list[SealedSegment], plan: SearchPlan | QueryPlan) -> list[SealedSegment]:
        """Without those in which no row can pass the filter."""
        if plan.filter is None or not plan.filter.can_prune:
            return segments
        kept = possible_segments(segments, plan.filter, plan.schema)
        self.pruned += len(segments) - len(kept)
        return kept

    def _held(self, segment_ids: Sequence[int], schema: CollectionSchema) -> list[SealedSegment]:
        try:
            segments = self._segments
            return [segments[i] for i in segment_ids]
        except KeyError as error:
            raise SegmentGone(f"segment {error} of collection {schema.name} is not held here") from None


def _succeed(segment: SealedSegment, known: SealedSegment) -> None:
    """Have a segment take the place of one of the same id. What is known to be deleted of the same rows stays: two
    owners may have a channel for a while, and the former one, who knows less, may ask last. Raises SegmentGone for an
    admission that was given up: one that was drawn later is here, and may be committed."""
    mine, theirs = segment.meta, known.meta
    if mine.stamp < theirs.stamp:
        raise SegmentGone(f"segment {mine.segment_id} was admitted at {theirs.stamp}, not at {mine.stamp}")
    if (mine.rows_object, mine.stamp) == (theirs.rows_object, theirs.stamp):
        segment.deletes.merge(*known.deletes.entries(), mine.rows)
