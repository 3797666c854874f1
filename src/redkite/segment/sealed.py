"""An immutable segment, mapped from its files, with the indexes built over it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.errors import SegmentGone, StorageError
from redkite.index.base import VectorIndex, lengths_of
from redkite.model.batch import arrow_to_vectors, numbers_to_arrow
from redkite.model.schema import CollectionSchema
from redkite.model.segments import SegmentMeta
from redkite.segment.base import Vectors
from redkite.segment.columns import SegmentColumns
from redkite.segment.deletes import Deletes, RowNumbers
from redkite.segment.evolution import SchemaMoved, StoredColumns
from redkite.segment.files import open_keys, open_stored
from redkite.segment.growing import rows_only
from redkite.segment.keys import Key, SealedKeys
from redkite.storage.objects import ObjectStore


class _Shared:
    """What comes later to a segment, whichever schema it is read by."""

    __slots__ = ("indexes", "keys", "released")

    def __init__(self) -> None:
        self.indexes: dict[str, VectorIndex] = {}
        self.keys: SealedKeys | None = None
        self.released = False


class SealedSegment:
    """Everything but deletes and indexes is fixed. Indexes come by replacing one dict: readers see all or none."""

    def __init__(self, store: ObjectStore, meta: SegmentMeta, schema: CollectionSchema, deletes: Deletes) -> None:
        self.meta = meta
        self.segment_id = meta.segment_id
        self.partition_id = meta.partition_id
        self.deletes = deletes
        self.cache: Any | None = None
        self._store = store
        self._shared = _Shared()
        self._stored, self._stamps = open_stored(store, meta)
        primary = self._stored.column(str(schema.primary.field_id))
        self._primary = primary
        self._integer_keys = primary.to_numpy() if pa.types.is_integer(primary.type) else None
        self._lengths: dict[str, npt.NDArray[np.float32]] = {}
        self._read_by(schema)

    def _read_by(self, schema: CollectionSchema) -> None:
        self.schema = schema
        self._rows = StoredColumns(self._stored, schema)
        self._columns = SegmentColumns(self.meta.rows, self._rows.column)
        self._vectors: dict[str, tuple[Vectors, npt.NDArray[np.bool_] | None]] = {}
        self._newest: SealedSegment | None = None

    def under(self, schema: CollectionSchema) -> SealedSegment:
        """This segment as a later version of its schema sees it; deletes and indexes are the same."""
        version = schema.version
        if version == self.schema.version:
            return self
        newest = self._newest
        if newest is not None and newest.schema.version == version:
            return newest
        if version < self.schema.version:
            raise SchemaMoved.named(schema.name)
        made = copy(self)
        made._lengths = {name: known for name, known in self._lengths.items() if self._is_same(name, schema)}
        made._read_by(schema)
        if newest is None or newest.schema.version < version:
            self._newest = made
        return made

    def _is_same(self, name: str, schema: CollectionSchema) -> bool:
        mine, other = self.schema.field(name), schema.field(name)
        return mine is not None and other is not None and mine.field_id == other.field_id

    def rows_at(self, timestamp: int) -> int:
        if timestamp >= self.meta.max_timestamp:
            return self.meta.rows
        return int(np.searchsorted(self._stamps.to_numpy(), np.uint64(timestamp), "right"))

    def timestamps(self, rows: int) -> npt.NDArray[np.uint64]:
        stamps: npt.NDArray[np.uint64] = self._stamps.to_numpy()[:rows]
        return stamps

    def columns(self, rows: int) -> SegmentColumns:
        return self._columns if rows == self.meta.rows else SegmentColumns(rows, lambda n: self._rows.head(n, rows))

    def vectors(self, field: str, rows: int) -> tuple[Vectors, npt.NDArray[np.bool_] | None]:
        found = self._vectors.get(field)
        if found is None:
            found = self._vectors[field] = _matrix(self._rows.column(field))
        vectors, valid = found
        if rows == self.meta.rows:
            return found
        return vectors[:rows], None if valid is None else valid[:rows]

    def lengths(self, field: str, rows: int) -> npt.NDArray[np.float32]:
        known = self._lengths.get(field)
        if known is None:
            known = self._lengths[field] = lengths_of(self.vectors(field, self.meta.rows)[0])
        return known[:rows]

    def find(self, keys: Sequence[Key], timestamp: int) -> RowNumbers | None:
        found = self._shared.keys
        if found is None:
            try:
                found = self._shared.keys = open_keys(self._store, self.meta, self.schema)
            except StorageError as error:
                if not self._shared.released:
                    raise
                # Compacted away and cleared while this read was under way: it is repeated on what took its place.
                raise SegmentGone(f"segment {self.segment_id} is no longer there") from error
        rows = found.find(keys)
        return rows if timestamp >= self.meta.max_timestamp else rows[rows < self.rows_at(timestamp)]

    def release(self) -> None:
        """Nobody begins to read it any more, and its objects may go; what is open stays readable."""
        self._shared.released = True

    def index(self, field: str) -> VectorIndex | None:
        return self._shared.indexes.get(field)

    def attach_index(self, field: str, index: VectorIndex) -> None:
        self._shared.indexes = {**self._shared.indexes, field: index}

    def detach_index(self, field: str) -> None:
        self._shared.indexes = {f: i for f, i in self._shared.indexes.items() if f != field}

    def keys(self, rows: RowNumbers) -> pa.Array:
        if self._integer_keys is not None:
            return numbers_to_arrow(self._integer_keys[rows])
        return self._primary.take(numbers_to_arrow(rows))

    def versions(self, rows: RowNumbers) -> npt.NDArray[np.int64]:
        stamps: npt.NDArray[np.uint64] = self._stamps.to_numpy()
        return stamps[rows].view(np.int64)

    def take(self, rows: RowNumbers, fields: tuple[str, ...]) -> pa.RecordBatch:
        if not fields:
            return rows_only(len(rows))
        wanted = numbers_to_arrow(rows)
        stored = self._rows
        return pa.RecordBatch.from_arrays([stored.take(f, rows, wanted) for f in fields], list(fields))


def _matrix(column: pa.Array) -> tuple[Vectors, npt.NDArray[np.bool_] | None]:
    """A vector column as a matrix view; null rows hold zeros or old numbers and are marked."""
    if column.null_count == 0:
        return arrow_to_vectors(column).astype(np.float32, copy=False), None
    dim = column.type.list_size
    values = column.values.to_numpy(zero_copy_only=False)
    start = column.offset * dim
    matrix = values[start : start + len(column) * dim].reshape(len(column), dim)
    return matrix, column.is_valid().to_numpy(zero_copy_only=False)
