"""The query node: holds sealed segments and answers reads over those it is told to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from threading import Lock

import numpy as np
import numpy.typing as npt

from redkite.env import Executor
from redkite.errors import CollectionNotLoaded
from redkite.index.base import VectorIndex, Vectors
from redkite.index.registry import open_index
from redkite.model.schema import CollectionSchema
from redkite.model.segments import IndexFile, IndexMeta, SegmentMeta
from redkite.query.allowed import AllowedCache
from redkite.query.execute import query_segments, search_segments
from redkite.query.plan import QueryPartial, QueryPlan, SearchPartial, SearchPlan
from redkite.segment.deletes import Deletes, RowNumbers
from redkite.segment.sealed import SealedSegment
from redkite.storage.objects import ObjectStore

Stamps = npt.NDArray[np.uint64]


class QueryNode:
    """Reads may come from any thread. Segments come and go by replacing one dict."""

    def __init__(self, node_id: int, store: ObjectStore, scans: Executor) -> None:
        self.node_id = node_id
        self._store = store
        self._scans = scans
        self._lock = Lock()
        self._cache = AllowedCache()
        self._segments: dict[int, SealedSegment] = {}

    # -- what is held ---------------------------------------------------------------------------
    def load_segment(
        self,
        meta: SegmentMeta,
        schema: CollectionSchema,
        deleted: tuple[RowNumbers, Stamps],
        indexes: Iterable[IndexMeta],
    ) -> None:
        """Map a segment and the indexes built over it so far."""
        segment = SealedSegment(self._store, meta, schema, Deletes.from_entries(*deleted, meta.rows))
        segment.cache = self._cache
        for index in indexes:
            file = meta.index(index.index_id)
            if file is not None:
                segment.attach_index(index.field, self._open(index, file))
        with self._lock:
            self._segments = {**self._segments, meta.segment_id: segment}

    def _open(self, index: IndexMeta, file: IndexFile) -> VectorIndex:
        return open_index(index.spec, self._store.local_path(file.object), self._store.map(file.object))

    def release_segments(self, segment_ids: Iterable[int]) -> None:
        gone = set(segment_ids)
        with self._lock:
            self._segments = {i: s for i, s in self._segments.items() if i not in gone}
        for segment_id in gone:
            self._cache.forget(segment_id)

    def attach_index(self, segment_id: int, index: IndexMeta, file: IndexFile) -> None:
        """Use an index from now on; nothing happens when the segment is not here (any more)."""
        segment = self._segments.get(segment_id)
        if segment is not None:
            segment.attach_index(index.field, self._open(index, file))

    def detach_index(self, segment_id: int, field: str) -> None:
        segment = self._segments.get(segment_id)
        if segment is not None:
            segment.detach_index(field)

    def apply_deletes(self, segment_id: int, rows: RowNumbers, timestamps: Stamps) -> None:
        """Rows deleted since; those known already are passed over."""
        segment = self._segments.get(segment_id)
        if segment is not None:
            segment.deletes.merge(rows, timestamps, segment.meta.rows)

    def covers(self, segment_id: int, field: str) -> bool:
        """Whether an index answers searches over this segment."""
        segment = self._segments.get(segment_id)
        return segment is not None and segment.index(field) is not None

    # -- reads ----------------------------------------------------------------------------------
    def search(self, segment_ids: Sequence[int], plan: SearchPlan, queries: Vectors, timestamp: int) -> SearchPartial:
        return search_segments(self._held(segment_ids, plan.schema), plan, queries, timestamp, self._scans)

    def query(self, segment_ids: Sequence[int], plan: QueryPlan, timestamp: int) -> QueryPartial:
        return query_segments(self._held(segment_ids, plan.schema), plan, timestamp)

    def _held(self, segment_ids: Sequence[int], schema: CollectionSchema) -> list[SealedSegment]:
        try:
            segments = self._segments
            return [segments[i] for i in segment_ids]
        except KeyError:
            # The collection was released or dropped after the view was taken.
            raise CollectionNotLoaded.named(schema.name) from None
