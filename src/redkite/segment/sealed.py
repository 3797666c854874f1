"""An immutable segment, mapped from its files, with the indexes built over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.index.base import VectorIndex, lengths_of
from redkite.model.batch import arrow_to_vectors, numbers_to_arrow
from redkite.model.schema import CollectionSchema
from redkite.model.segments import SegmentMeta
from redkite.segment.base import Vectors
from redkite.segment.columns import SegmentColumns
from redkite.segment.deletes import Deletes, RowNumbers
from redkite.segment.files import open_keys, open_rows
from redkite.segment.growing import rows_only
from redkite.segment.keys import Key, SealedKeys
from redkite.storage.objects import ObjectStore


class SealedSegment:
    """Everything but deletes and indexes is fixed. Indexes come by replacing one dict: readers see all or none."""

    def __init__(self, store: ObjectStore, meta: SegmentMeta, schema: CollectionSchema, deletes: Deletes) -> None:
        self.meta = meta
        self.schema = schema
        self.segment_id = meta.segment_id
        self.partition_id = meta.partition_id
        self.deletes = deletes
        self._batch, self._stamps = open_rows(store, meta, schema)
        self._names = {name: at for at, name in enumerate(self._batch.schema.names)}
        self._columns = SegmentColumns(meta.rows, self._batch.column)
        self._indexes: dict[str, VectorIndex] = {}
        self._lengths: dict[str, npt.NDArray[np.float32]] = {}
        self._vectors: dict[str, tuple[Vectors, npt.NDArray[np.bool_] | None]] = {}
        primary = self._batch.column(schema.primary.name)
        self._primary = primary
        self._store = store
        self._found: SealedKeys | None = None
        self.cache: Any | None = None
        self._integer_keys = primary.to_numpy() if pa.types.is_integer(primary.type) else None

    def rows_at(self, timestamp: int) -> int:
        if timestamp >= self.meta.max_timestamp:
            return self.meta.rows
        return int(np.searchsorted(self._stamps.to_numpy(), np.uint64(timestamp), "right"))

    def columns(self, rows: int) -> SegmentColumns:
        return self._columns if rows == self.meta.rows else SegmentColumns(rows, lambda n: self._column(n, rows))

    def _column(self, name: str, rows: int) -> pa.Array:
        return self._batch.column(name).slice(0, rows)

    def vectors(self, field: str, rows: int) -> tuple[Vectors, npt.NDArray[np.bool_] | None]:
        found = self._vectors.get(field)
        if found is None:
            found = self._vectors[field] = _matrix(self._batch.column(field))
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
        if self._found is None:
            self._found = open_keys(self._store, self.meta, self.schema)
        rows = self._found.find(keys)
        return rows if timestamp >= self.meta.max_timestamp else rows[rows < self.rows_at(timestamp)]

    def index(self, field: str) -> VectorIndex | None:
        return self._indexes.get(field)

    def attach_index(self, field: str, index: VectorIndex) -> None:
        self._indexes = {**self._indexes, field: index}

    def detach_index(self, field: str) -> None:
        self._indexes = {f: i for f, i in self._indexes.items() if f != field}

    def keys(self, rows: RowNumbers) -> pa.Array:
        if self._integer_keys is not None:
            return numbers_to_arrow(self._integer_keys[rows])
        return self._primary.take(numbers_to_arrow(rows))

    def take(self, rows: RowNumbers, fields: tuple[str, ...]) -> pa.RecordBatch:
        if not fields:
            return rows_only(len(rows))
        wanted = numbers_to_arrow(rows)
        batch, names = self._batch, self._names
        return pa.RecordBatch.from_arrays([batch.column(names[f]).take(wanted) for f in fields], list(fields))


def _matrix(column: pa.Array) -> tuple[Vectors, npt.NDArray[np.bool_] | None]:
    """A vector column as a matrix view; null rows hold zeros or old numbers and are marked."""
    if column.null_count == 0:
        return arrow_to_vectors(column).astype(np.float32, copy=False), None
    dim = column.type.list_size
    values = column.values.to_numpy(zero_copy_only=False)
    start = column.offset * dim
    matrix = values[start : start + len(column) * dim].reshape(len(column), dim)
    return matrix, column.is_valid().to_numpy(zero_copy_only=False)
