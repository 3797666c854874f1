"""The segment that takes writes: vectors in growing blocks, other columns as Arrow chunks."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import lru_cache
from threading import Lock

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.functions.derived import derived_column, is_derived
from redkite.index.base import VectorIndex
from redkite.model.batch import Keys, absent_column, arrow_type, numbers_to_arrow
from redkite.model.one_row import OneRow, stacked
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.segment.base import BufferState
from redkite.segment.columns import SegmentColumns, kept_columns, kept_words
from redkite.segment.deletes import Deletes, RowNumbers
from redkite.segment.evolution import SchemaMoved
from redkite.segment.growing_vectors import GrowingMatrix, GrowingVectors, growing_vectors, with_room
from redkite.segment.keys import GrowingKeys, Key
from redkite.segment.vectors import Vectored

KEY_BYTES = 160
"""What one key takes in a dict, about, its row number included."""
LOOSE_ROWS = 256
"""So many rows that came one by one are brought into columns together."""
CHUNK_ROWS = 8192
CHUNK_BYTES = 64 << 10
"""Chunks below both are merged with their neighbours, so that many small writes stay cheap to read."""


class GrowingSegment:
    """One writer at a time (the shard's committer); readers see the rows written before the timestamp they hold."""

    def __init__(self, segment_id: int, partition_id: int, schema: CollectionSchema, first_position: int) -> None:
        self.segment_id = segment_id
        self.partition_id = partition_id
        self.schema = schema
        self.first_position = first_position
        """Log position of the first record with rows here: the log is kept from here until the segment is sealed."""
        self.deletes = Deletes()
        self.state = BufferState.ACTIVE
        self.rows = 0
        self.size = 0
        self._keys = GrowingKeys()
        self._timestamps: npt.NDArray[np.uint64] = np.empty(0, np.uint64)
        self._matrices = {f.name: growing_vectors(f) for f in schema.fields if f.data_type.is_vector}
        self._scalars = pa.schema([(f.name, arrow_type(f)) for f in schema.fields if f.name not in self._matrices])
        self._chunks: list[pa.RecordBatch] = []
        self._loose: list[OneRow] = []
        """Rows that came one by one and are in no column yet."""
        self._settling = Lock()
        self._scalar_bytes = 0
        self._columns: SegmentColumns | None = None
        self._derived = kept_columns()
        self._words = kept_words()
        self._merged: tuple[int, pa.RecordBatch] = (0, _empty(self._scalars))
        self._newest: GrowingSegment | None = None

    # -- writing --------------------------------------------------------------------------------
    def append(self, batch: pa.RecordBatch | OneRow, keys: list[Key], timestamp: int) -> None:
        """Add rows (one column per schema field). Older rows of equal key, here and in the batch, are deleted."""
        at, end = self.rows, self.rows + batch.num_rows
        with self._settling:
            if isinstance(batch, OneRow):
                self._loose.append(batch)
            if len(self._loose) >= LOOSE_ROWS or not isinstance(batch, OneRow):
                self._settle()
            size = batch.nbytes if isinstance(batch, OneRow) else self._add_columns(batch)
        stamps = with_room(self._timestamps, at, end)
        stamps[at:end] = timestamp
        self._timestamps = stamps
        self.size += size
        self.rows = end
        replaced = self._keys.add(keys, at)
        if len(replaced):
            self.deletes.mark(replaced, timestamp, end)

    def _settle(self) -> None:
        """Bring the rows that came one by one into columns; the caller holds the lock."""
        if self._loose:
            self._add_columns(stacked(self.schema, self._loose))
            # Last: a reader that finds none of them does not take the lock.
            self._loose = []

    def _settled(self) -> None:
        """Called before columns are read."""
        if self._loose:
            with self._settling:
                self._settle()

    def _add_columns(self, batch: pa.RecordBatch) -> int:
        """Their bytes."""
        size = 0
        for name, matrix in self._matrices.items():
            column = batch.column(name)
            size += column.nbytes
            matrix.add(column)
        kinds = self._scalars
        scalars = pa.RecordBatch.from_arrays([batch.column(name) for name in kinds.names], schema=kinds)
        return size + self._add_chunk(scalars)

    def keep(self) -> None:
        """The rows so far came out of a mapped log: their vectors may stay there."""
        for matrix in self._matrices.values():
            if isinstance(matrix, GrowingMatrix):
                matrix.keep()

    def memory(self) -> int:
        """Bytes held, about. Scalars count twice: reads merge their chunks into one batch and keep that, too."""
        scalars = 2 * self._scalar_bytes + sum(row.nbytes + KEY_BYTES for row in list(self._loose))
        matrices = sum(matrix.memory() for matrix in self._matrices.values())
        keys = (self.rows + self.deletes.count) * KEY_BYTES
        return scalars + matrices + self._timestamps.nbytes + keys + self._derived.held + self._words.held

    def _add_chunk(self, chunk: pa.RecordBatch) -> int:
        added: int = chunk.nbytes
        size = added
        self._scalar_bytes += added
        chunks = [*self._chunks, chunk]
        while len(chunks) > 1 and chunks[-2].num_rows <= chunks[-1].num_rows < CHUNK_ROWS and size < CHUNK_BYTES:
            chunks[-2:] = [pa.concat_batches(chunks[-2:])]
            size = chunks[-1].nbytes
        self._chunks = chunks
        return added

    def delete(self, keys: list[Key], timestamp: int) -> int:
        """Delete the rows of these keys; returns how many were alive."""
        return self.deletes.mark(self._keys.find_to_change(keys), timestamp, self.rows)

    # -- other schemas --------------------------------------------------------------------------
    def evolved(self, schema: CollectionSchema) -> GrowingSegment:
        """What takes this segment's place once the schema has changed: the same rows, keys and deletes, no column that
        is no field any more, and defaults or nulls for new fields. This one then takes no more writes; its readers
        see what they saw."""
        with self._settling:  # a reader may ask for this while a row comes, which is not to fall between the two
            self._settle()
            made = copy(self)
        made._loose, made._settling = [], Lock()
        known = {f.field_id: f.name for f in self.schema.fields}
        made.schema = schema
        made._matrices = {
            f.name: made._matrices[known[f.field_id]] if f.field_id in known else made._empty_matrix(f)
            for f in schema.fields
            if f.data_type.is_vector
        }
        kept = [f for f in schema.fields if f.name not in made._matrices]
        made._scalars = pa.schema([(f.name, arrow_type(f)) for f in kept])
        made._chunks = [
            pa.RecordBatch.from_arrays(
                [
                    chunk.column(known[f.field_id]) if f.field_id in known else absent_column(f, chunk.num_rows)
                    for f in kept
                ],
                schema=made._scalars,
            )
            for chunk in made._chunks
        ]
        for field in schema.fields:
            if field.field_id not in known and is_derived(schema, field):
                made._matrices[field.name] = made._derived_matrix(field)
        made._scalar_bytes = sum(chunk.nbytes for chunk in made._chunks)
        made._columns = None
        made._words = kept_words()
        made._merged = (0, _empty(made._scalars))
        made._newest = None
        return made

    def _derived_matrix(self, field: FieldSchema) -> GrowingVectors:
        """What a function that is new makes of the rows that are there."""
        matrix = growing_vectors(field)
        for chunk in self._chunks:
            matrix.add(derived_column(self.schema, field, chunk.column))
        return matrix

    def _empty_matrix(self, field: FieldSchema) -> GrowingVectors:
        matrix = growing_vectors(field)
        matrix.add(absent_column(field, self.rows))
        return matrix

    def under(self, schema: CollectionSchema) -> GrowingSegment:
        """The rows written so far, as a later version of the schema sees them."""
        version = schema.version
        if version == self.schema.version:
            return self
        if version < self.schema.version:
            raise SchemaMoved.named(schema.name)
        newest = self._newest
        if newest is None or newest.schema.version != version or newest.rows < self.rows:
            newest = self._newest = self.evolved(schema)
        return newest

    # -- reading --------------------------------------------------------------------------------
    def rows_at(self, timestamp: int) -> int:
        rows = self.rows
        stamps = self._timestamps[:rows]
        if rows == 0 or stamps[-1] <= timestamp:
            return rows
        return int(np.searchsorted(stamps, np.uint64(timestamp), "right"))

    def timestamps(self, rows: int) -> npt.NDArray[np.uint64]:
        return self._timestamps[:rows]

    def _batch(self, rows: int) -> pa.RecordBatch:
        """The scalar columns of the first `rows` rows in one piece; the latest one is kept."""
        self._settled()
        known, batch = self._merged
        if known < rows:
            batch = pa.concat_batches(self._chunks) if self._chunks else _empty(self._scalars)
            self._merged = (batch.num_rows, batch)
        return batch.slice(0, rows) if batch.num_rows != rows else batch

    def columns(self, rows: int) -> SegmentColumns:
        columns = self._columns
        if columns is None or columns.rows != rows:
            batch = self._batch(rows)
            columns = SegmentColumns(rows, lambda name: self._column(batch, name))
            place = (self.segment_id, self.schema.version)
            columns = self._columns = columns.keep_in(place, lambda: self._derived, self._words)
        return columns

    def _column(self, batch: pa.RecordBatch, name: str) -> pa.Array:
        matrix = self._matrices.get(name)
        return batch.column(name) if matrix is None else matrix.arrow(batch.num_rows)

    def vectors(self, field: str, rows: int) -> Vectored:
        self._settled()
        return self._matrices[field].read(rows)

    @property
    def cache(self) -> None:
        return None

    def find(self, keys: Sequence[Key], timestamp: int) -> RowNumbers | None:
        found = self._keys.find(keys)
        # The newest row of a key may be too new for this read, and only a scan finds the one before it.
        return found if not len(found) or found.max() < self.rows_at(timestamp) else None

    def index(self, field: str) -> VectorIndex | None:  # noqa: ARG002  a segment that grows has none
        return None

    def keys(self, rows: RowNumbers) -> pa.Array:
        return self._batch(self.rows).column(self.schema.primary.name).take(numbers_to_arrow(rows))

    def bare_keys(self, rows: RowNumbers) -> Keys:
        return self.keys(rows)

    def versions(self, rows: RowNumbers) -> npt.NDArray[np.int64]:
        return self._timestamps[rows].view(np.int64)

    def take(self, rows: RowNumbers, fields: tuple[str, ...]) -> pa.RecordBatch:
        wanted = numbers_to_arrow(rows)
        batch = self._batch(self.rows)
        taken = [self._take_column(batch, name, rows, wanted) for name in fields]
        return pa.RecordBatch.from_arrays(taken, list(fields)) if fields else rows_only(len(rows))

    def _take_column(self, batch: pa.RecordBatch, name: str, rows: RowNumbers, wanted: pa.Array) -> pa.Array:
        matrix = self._matrices.get(name)
        return batch.column(name).take(wanted) if matrix is None else matrix.take(rows)

    def batch(self, rows: int) -> pa.RecordBatch:
        """Every column of the first `rows` rows, in schema order: what sealing writes."""
        scalars = self._batch(rows)
        names = [f.name for f in self.schema.fields]
        return pa.RecordBatch.from_arrays([self._column(scalars, name) for name in names], names)


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.nulls(0, f.type) for f in schema], schema=schema)


@lru_cache(maxsize=256)
def rows_only(rows: int) -> pa.RecordBatch:
    """A batch without columns that still knows its length."""
    return pa.RecordBatch.from_struct_array(pa.StructArray.from_buffers(pa.struct([]), rows, [None]))
