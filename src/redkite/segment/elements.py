"""The elements of an array of vectors as the rows of a segment: what a search among single elements reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.index.base import VectorIndex
from redkite.index.list_index import ListIndex
from redkite.index.lists import ListColumn, spread
from redkite.model.batch import Keys, numbers_to_arrow
from redkite.model.schema import OFFSET_FIELD, CollectionSchema
from redkite.segment.base import Segment
from redkite.segment.columns import SegmentColumns
from redkite.segment.deletes import Deletes, RowNumbers
from redkite.segment.keys import Key
from redkite.segment.vectors import Vectored


class ElementView:
    """Elements are numbered from 0, those of one row after those of the row before. Their columns are those of their
    rows, and OFFSET_FIELD: where in its row an element stands. Deletes and the cache are the segment's own."""

    def __init__(self, segment: Segment, field: str) -> None:
        self.segment = segment
        self.field = field
        """A vector sub-field."""
        self.segment_id = segment.segment_id
        self.partition_id = segment.partition_id
        self.schema = segment.schema
        self.deletes: Deletes = segment.deletes

    @property
    def struct(self) -> str:
        """The array of structs that is searched."""
        return self.field.partition("[")[0]

    def lists(self, rows: int) -> ListColumn:
        """The vectors of the first rows."""
        column = self.segment.vectors(self.field, rows).column
        assert isinstance(column, ListColumn), "only arrays of vectors have elements that are searched"
        return column

    def rows_at(self, timestamp: int) -> int:
        return self.lists(self.segment.rows_at(timestamp)).elements

    def rows_of(self, elements: RowNumbers) -> RowNumbers:
        """The row that each element is in."""
        starts = self.lists(self.segment.rows_at(1 << 63)).starts
        rows: RowNumbers = np.searchsorted(starts, elements, "right") - 1
        return rows

    def offsets(self, elements: RowNumbers) -> RowNumbers:
        """Where each element stands in its row, from 0."""
        starts = self.lists(self.segment.rows_at(1 << 63)).starts
        offsets: RowNumbers = elements - starts[self.rows_of(elements)]
        return offsets

    def timestamps(self, rows: int) -> npt.NDArray[np.uint64]:
        stamps = self.segment.timestamps(self.segment.rows_at(1 << 63))
        return stamps[self.rows_of(np.arange(rows))]

    def under(self, schema: CollectionSchema) -> ElementView:
        segment = self.segment.under(schema)
        return self if segment is self.segment else ElementView(segment, self.field)

    def columns(self, rows: int) -> SegmentColumns:
        """Of any columns: some first elements, each with the values of its row."""
        wanted = numbers_to_arrow(self.rows_of(np.arange(rows)))
        columns = self.segment.columns(self.segment.rows_at(1 << 63))
        return SegmentColumns(rows, lambda name: columns.stored(name).take(wanted))

    def vectors(self, field: str, rows: int) -> Vectored:
        assert field == self.field, "a view is of one field"
        return Vectored(self.lists(self.segment.rows_at(1 << 63)).flat.head(rows), None)

    @property
    def cache(self) -> Any | None:
        return self.segment.cache

    def find(self, keys: Sequence[Key], timestamp: int) -> RowNumbers | None:
        rows = self.segment.find(keys, timestamp)
        if rows is None:
            return None
        return spread(self.lists(self.segment.rows_at(1 << 63)).starts, rows)[1]

    def index(self, field: str) -> VectorIndex | None:
        found = self.segment.index(field)
        return found.inner if isinstance(found, ListIndex) else None

    def keys(self, rows: RowNumbers) -> pa.Array:
        return self.segment.keys(self.rows_of(rows))

    def bare_keys(self, rows: RowNumbers) -> Keys:
        return self.segment.bare_keys(self.rows_of(rows))

    def take(self, rows: RowNumbers, fields: tuple[str, ...]) -> pa.RecordBatch:
        batch = self.segment.take(self.rows_of(rows), tuple(name for name in fields if name != OFFSET_FIELD))
        if OFFSET_FIELD not in fields:
            return batch
        offsets = numbers_to_arrow(self.offsets(rows))
        taken = [offsets if name == OFFSET_FIELD else batch.column(name) for name in fields]
        return pa.RecordBatch.from_arrays(taken, list(fields))

    def versions(self, rows: RowNumbers) -> npt.NDArray[np.int64]:
        return self.segment.versions(self.rows_of(rows))


def element_views(segments: Sequence[Segment], field: str) -> list[Segment]:
    """The elements of a vector sub-field in each segment."""
    return [s if isinstance(s, ElementView) else ElementView(s, field) for s in segments]
