"""What nodes ask of each other. A runtime decides whether the call stays in the process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from redkite.index.base import Vectors
from redkite.model.schema import CollectionSchema
from redkite.model.segments import IndexFile, IndexMeta, SegmentMeta
from redkite.node.face import Answer
from redkite.query.plan import QueryPartial, QueryPlan, SearchPartial, SearchPlan, TextCounts
from redkite.query.straight import Straight
from redkite.query.word_way import WordWay
from redkite.segment.deletes import RowNumbers


class QueryPeer(Protocol):
    """A query node, as its shards see it."""

    node_id: int

    def load_segment(
        self,
        meta: SegmentMeta,
        schema: CollectionSchema,
        deleted: tuple[RowNumbers, npt.NDArray[np.uint64]],
        indexes: Iterable[IndexMeta],
    ) -> list[IndexFile]:
        """Returns the index files that are damaged: searches do without them until they are built again."""
        ...

    def load_soon(
        self,
        meta: SegmentMeta,
        schema: CollectionSchema,
        deleted: tuple[RowNumbers, npt.NDArray[np.uint64]],
        indexes: Iterable[IndexMeta],
    ) -> Answer[list[IndexFile]]:
        """The same, waited for later: several nodes can open segments at once."""
        ...

    def release_segments(self, segment_ids: Iterable[int]) -> None: ...

    def attach_index(self, segment_id: int, index: IndexMeta, file: IndexFile) -> None: ...

    def detach_index(self, segment_id: int, index: IndexMeta) -> None: ...

    def apply_deletes(self, segment_id: int, rows: RowNumbers, timestamps: npt.NDArray[np.uint64]) -> None: ...

    def search(
        self, segment_ids: Sequence[int], plan: SearchPlan, queries: Vectors, timestamp: int
    ) -> SearchPartial: ...

    def count_words(
        self, segment_ids: Sequence[int], plan: SearchPlan, dims: npt.NDArray[np.uint32], timestamp: int
    ) -> TextCounts: ...

    def query(self, segment_ids: Sequence[int], plan: QueryPlan, timestamp: int) -> QueryPartial: ...

    def straight(self, segment_ids: Sequence[int], plan: SearchPlan) -> Straight | WordWay | None:
        """The straight way of a plain plan through these segments, as they are now; None when there is none."""
        ...
