"""The face every segment shows to reads."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.index.base import VectorIndex
from redkite.model.batch import Keys
from redkite.model.schema import CollectionSchema
from redkite.segment.columns import SegmentColumns
from redkite.segment.deletes import Deletes, RowNumbers
from redkite.segment.keys import Key
from redkite.segment.vectors import Vectored


class BufferState(Enum):
    """Where a growing segment is on its way to a sealed one."""

    ACTIVE = "active"
    """Takes rows."""
    FULL = "full"
    """Takes no more rows, and waits to be written."""
    FLUSHING = "flushing"
    """Is being written. When that fails it is full again."""
    FLUSHED = "flushed"
    """A sealed segment has taken its place."""


class Segment(Protocol):
    """Rows numbered from 0 in the order they were written. Safe to read from any thread while it is written."""

    segment_id: int
    partition_id: int
    schema: CollectionSchema
    deletes: Deletes

    def rows_at(self, timestamp: int) -> int:
        """How many leading rows were written at or before `timestamp`."""
        ...

    def timestamps(self, rows: int) -> npt.NDArray[np.uint64]:
        """When each of the first rows was written."""
        ...

    def under(self, schema: CollectionSchema) -> Segment:
        """This segment read by another version of its schema. Raises SchemaMoved when that one is older."""
        ...

    def columns(self, rows: int) -> SegmentColumns: ...

    def vectors(self, field: str, rows: int) -> Vectored:
        """The first rows of a vector field, and which of them have a vector."""
        ...

    @property
    def cache(self) -> Any | None:
        """Room for what reads derive from a sealed segment; None while it grows."""
        ...

    def find(self, keys: Sequence[Key], timestamp: int) -> RowNumbers | None:
        """Rows written up to `timestamp` with these primary keys, deleted ones included, in any order. None when this
        segment would have to be scanned for them."""
        ...

    def index(self, field: str) -> VectorIndex | None: ...

    def keys(self, rows: RowNumbers) -> pa.Array:
        """Primary keys of some rows."""
        ...

    def bare_keys(self, rows: RowNumbers) -> Keys:
        """The same, integers without a column around them."""
        ...

    def take(self, rows: RowNumbers, fields: tuple[str, ...]) -> pa.RecordBatch: ...

    def versions(self, rows: RowNumbers) -> npt.NDArray[np.int64]:
        """The timestamps at which some rows were written."""
        ...
