"""An immutable segment, mapped from its files, with the indexes built over it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.errors import SegmentGone, StorageError
from redkite.filter import JsonColumn, ShapeColumn
from redkite.filter.json_column import JsonPath
from redkite.functions.derived import is_derived
from redkite.index.base import VectorIndex
from redkite.index.scalar.family import ScalarIndex
from redkite.index.sparse import SparseColumn
from redkite.model.batch import Keys, arrow_to_numbers, numbers_to_arrow
from redkite.model.schema import CollectionSchema
from redkite.model.segments import SegmentMeta
from redkite.segment.columns import SegmentColumns
from redkite.segment.deletes import Deletes, RowNumbers
from redkite.segment.evolution import SchemaMoved, StoredColumns
from redkite.segment.files import open_keys, open_stored_late
from redkite.segment.growing import rows_only
from redkite.segment.keys import Key, SealedKeys
from redkite.segment.late import LateColumn
from redkite.segment.shredding import Shredded
from redkite.segment.vectors import Vectored, absent_vectors, stored_vectors
from redkite.segment.warming import in_memory, warm_fields
from redkite.storage.objects import ObjectStore


class _Shared:
    """What comes later to a segment, whichever schema it is read by."""

    __slots__ = ("indexes", "keys", "released", "scalars")

    def __init__(self) -> None:
        self.indexes: dict[str, VectorIndex] = {}
        self.scalars: dict[int, tuple[int, ScalarIndex]] = {}
        """By index id: the field id and the index."""
        self.keys: SealedKeys | None = None
        self.released = False


class SealedSegment:
    """Everything but deletes and indexes is fixed. Indexes come by replacing one dict: readers see all or none."""

    def __init__(
        self, store: ObjectStore, meta: SegmentMeta, schema: CollectionSchema, deletes: Deletes, *, late: bool = True
    ) -> None:
        """`late`: vectors may be compared with their checksums when they are looked at; else all of them are now."""
        self.meta = meta
        self.segment_id = meta.segment_id
        self.partition_id = meta.partition_id
        self.deletes = deletes
        self.cache: Any | None = None
        self._store = store
        self._shared = _Shared()
        self._stored, self._stamps, self._late = open_stored_late(store, meta)
        if self._late is not None and not late:
            self._late.all()
        self.column_bytes = 0
        """Private memory of columns that are not mapped."""
        self._hold(self._stored, schema)

    def _hold(self, stored: pa.RecordBatch, schema: CollectionSchema) -> None:
        """Read from these columns."""
        self._stored = stored
        primary = stored.column(str(schema.primary.field_id))
        self._primary = primary
        self._integer_keys = arrow_to_numbers(primary) if pa.types.is_integer(primary.type) else None
        self._vectors: dict[str, Vectored] = {}
        self._shredded = Shredded(stored)
        self._read_by(schema)

    def _read_by(self, schema: CollectionSchema) -> None:
        self.schema = schema
        self._rows = StoredColumns(self._stored, schema)
        self._columns = SegmentColumns(
            self.meta.rows, self._rows.column, self._indexes_of, self._path, self._points
        ).keep_in((self.segment_id, schema.version), lambda: None if self.cache is None else self.cache.derived)
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
        made._vectors = {name: known for name, known in self._vectors.items() if self._is_same(name, schema)}
        made._read_by(schema)
        if newest is None or newest.schema.version < version:
            self._newest = made
        return made

    def _is_same(self, name: str, schema: CollectionSchema) -> bool:
        mine, other = self.schema.field(name), schema.field(name)
        return mine is not None and other is not None and mine.field_id == other.field_id

    def _path(self, name: str, path: JsonPath) -> JsonColumn | None:
        """A path of a JSON field, when it is stored."""
        field = self.schema.field(name)
        return None if field is None else self._shredded.column(field.field_id, path)

    def _points(self, name: str) -> ShapeColumn | None:
        """A GEOMETRY field, when it holds points and their coordinates are stored."""
        field = self.schema.field(name)
        if field is None or not self._rows.has(name):
            return None
        return self._shredded.points(field.field_id, self._rows.column(name))

    def rows_at(self, timestamp: int) -> int:
        if timestamp >= self.meta.max_timestamp:
            return self.meta.rows
        return int(np.searchsorted(arrow_to_numbers(self._stamps), np.uint64(timestamp), "right"))

    def timestamps(self, rows: int) -> npt.NDArray[np.uint64]:
        stamps: npt.NDArray[np.uint64] = arrow_to_numbers(self._stamps)[:rows]
        return stamps

    def columns(self, rows: int) -> SegmentColumns:
        return self._columns if rows == self.meta.rows else SegmentColumns(rows, lambda n: self._rows.head(n, rows))

    def vectors(self, field: str, rows: int) -> Vectored:
        found = self._vectors.get(field)
        late = self._late  # another thread may find it done meanwhile
        done = late is not None and late.is_done
        if found is None or done:
            if done:
                self._late, self._vectors = None, {}
            found = self._vectors[field] = self._open_vectors(field)
        return found if rows == self.meta.rows else found.head(rows)

    def _open_vectors(self, name: str) -> Vectored:
        field = self.schema.field(name)
        assert field is not None, "a plan names fields of its schema"
        if not self._rows.has(name) and not is_derived(self.schema, field):
            return absent_vectors(field, self.meta.rows)
        found = stored_vectors(field, self._rows.column(name))
        late = self._late
        if late is None or not late.covers(self._rows.column(name)):
            return found
        return Vectored(LateColumn(found.column, late), found.valid)

    def warm(self) -> None:
        """Read the columns that are to be read before anybody asks for them, and those that are not to stay mapped."""
        held, self.column_bytes = in_memory(self._stored, self.schema)
        if self.column_bytes:
            if self._late is not None:
                self._late.all()  # what was copied is compared with no checksum later
                self._late = None
            self._hold(held, self.schema)
        warm_fields(self._stored, self.schema)

    def word_bytes(self) -> int:
        """Private memory of what BM25 knows of the rows, and of words that are not stored."""
        held = 0
        for name, (column, _) in list(self._vectors.items()):
            if isinstance(column, SparseColumn):
                held += column.facts.nbytes if self._rows.has(name) else column.nbytes
        return held

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

    def _indexes_of(self, name: str) -> tuple[ScalarIndex, ...]:
        """What filters may use of a field."""
        scalars = self._shared.scalars
        field = self.schema.field(name) if scalars else None
        return () if field is None else tuple(i for field_id, i in scalars.values() if field_id == field.field_id)

    def attach_scalar(self, index_id: int, field_id: int, index: ScalarIndex) -> None:
        self._shared.scalars = {**self._shared.scalars, index_id: (field_id, index)}

    def detach_scalar(self, index_id: int) -> None:
        self._shared.scalars = {i: found for i, found in self._shared.scalars.items() if i != index_id}

    def keys(self, rows: RowNumbers) -> pa.Array:
        if self._integer_keys is not None:
            return numbers_to_arrow(self._integer_keys[rows])
        return self._primary.take(numbers_to_arrow(rows))

    def bare_keys(self, rows: RowNumbers) -> Keys:
        numbers = self._integer_keys
        return self.keys(rows) if numbers is None else numbers[rows]

    def versions(self, rows: RowNumbers) -> npt.NDArray[np.int64]:
        stamps: npt.NDArray[np.uint64] = arrow_to_numbers(self._stamps)
        return stamps[rows].view(np.int64)

    def take(self, rows: RowNumbers, fields: tuple[str, ...]) -> pa.RecordBatch:
        if not fields:
            return rows_only(len(rows))
        wanted = numbers_to_arrow(rows)
        stored = self._rows
        late = self._late
        if late is not None and any(late.covers(stored.column(name)) for name in fields if stored.has(name)):
            late.rows(rows)
        return pa.RecordBatch.from_arrays([stored.take(f, rows, wanted) for f in fields], list(fields))
