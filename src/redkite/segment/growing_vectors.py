"""Vectors of one field of a segment that grows.

Columns are kept as they come and copied into one block when somebody reads: what nobody searches meanwhile is not
copied. Readers keep the block they have when a larger one replaces it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.index.base import RowNumbers, Scores
from redkite.index.dense import DenseColumn
from redkite.index.lists import spread
from redkite.index.pieced import PiecedColumn
from redkite.index.sparse import SparseColumn, SparsePieces
from redkite.model.batch import list_starts, lists_of, matrix_of, matrix_to_arrow, matrix_type
from redkite.model.schema import FieldSchema
from redkite.model.sparse import SparseRows
from redkite.model.types import DataType
from redkite.segment.vectors import DENSE, Mask, Matrix, Vectored, column_of, listed

FIRST_CAPACITY = 1024
KEPT_BYTES = 16 << 20
"""Less than this is copied, wherever it is."""
KEPT_ROWS = 1024
"""Columns of fewer rows are copied together: each one that is kept costs every search a call."""


def with_room(block: npt.NDArray[Any], used: int, wanted: int) -> npt.NDArray[Any]:
    """`block` itself if `wanted` rows fit, else a larger copy. Unused memory is not touched, so it costs nothing."""
    if wanted <= len(block):
        return block
    grown = np.empty((max(wanted, 2 * len(block), FIRST_CAPACITY), *block.shape[1:]), block.dtype)
    grown[:used] = block[:used]
    return grown


class GrowingVectors(ABC):
    """What the kinds have in common: columns that wait, and which rows have a vector."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._valid: Mask | None = None
        self._used = 0
        self._pending: list[pa.Array] = []

    def add(self, column: pa.Array) -> None:
        with self._lock:
            self._pending.append(column)

    def memory(self) -> int:
        """Bytes held: the blocks with their unused room, and what is pending."""
        valid = self._valid
        held = self._held() + (0 if valid is None else valid.nbytes)
        return held + sum(int(column.nbytes) for column in self._pending)

    def read(self, rows: int) -> Vectored:
        """The first `rows` rows, and which of them have a vector."""
        self._settled()
        return self._read(rows, None if self._valid is None else self._valid[:rows])

    def arrow(self, rows: int) -> pa.Array:
        """The first `rows` rows as a column; null where there is no vector."""
        return self.take(slice(rows))

    def take(self, rows: RowNumbers | slice) -> pa.Array:
        """Some rows as a column."""
        self._settled()
        return self._take(rows, None if self._valid is None else self._valid[rows])

    def _settled(self) -> None:
        if self._pending:
            with self._lock:
                self._settle()

    def _settle(self) -> None:
        """Copy what is pending to the end of the blocks."""
        for column in self._pending:
            at, end = self._used, self._used + len(column)
            present = column.is_valid().to_numpy(zero_copy_only=False) if column.null_count else None
            self._append(column, present, at, end)
            if present is not None or self._valid is not None:
                valid = np.ones(at, np.bool_) if self._valid is None else self._valid
                valid = with_room(valid, at, end)
                valid[at:end] = True if present is None else present
                self._valid = valid
            self._used = end
        # Last: a reader that finds nothing pending does not take the lock.
        self._pending = []

    @abstractmethod
    def _append(self, column: pa.Array, present: Mask | None, at: int, end: int) -> None:
        """Take in the rows from `at` to `end`, of which those `present` have a vector (None: all)."""

    @abstractmethod
    def _held(self) -> int: ...

    @abstractmethod
    def _read(self, rows: int, valid: Mask | None) -> Vectored: ...

    @abstractmethod
    def _take(self, rows: RowNumbers | slice, valid: Mask | None) -> pa.Array: ...


class GrowingMatrix(GrowingVectors):
    """Vectors of one size."""

    def __init__(self, field: FieldSchema) -> None:
        super().__init__()
        dtype, width = matrix_type(field.data_type, field.dim)
        self._kind = field.data_type
        self._kept: list[DenseColumn] = []
        """The first rows, where they are not copied to the block."""
        self._first = 0
        """The row with which the block begins."""
        self._block: Matrix = np.empty((0, width), dtype)
        self._lengths: Scores = np.empty(0, np.float32)

    def keep(self) -> None:
        """Let what is pending stay where it is, as far as that is worth it: it is no private memory of this process."""
        kind = DENSE.get(self._kind)
        with self._lock:
            if kind is None or self._used or sum(int(c.nbytes) for c in self._pending) < KEPT_BYTES:
                return
            count = 0
            while count < len(self._pending) and len(self._pending[count]) >= KEPT_ROWS:
                if self._pending[count].null_count:
                    break
                count += 1
            self._kept = [kind(matrix_of(column, self._kind)) for column in self._pending[:count]]
            self._first = self._used = sum(column.rows for column in self._kept)
            self._pending = self._pending[count:]

    def _settle(self) -> None:
        # Room for all that waits at once: copied once at most.
        used = self._used - self._first
        self._block = with_room(self._block, used, used + sum(map(len, self._pending)))
        super()._settle()

    def _append(self, column: pa.Array, present: Mask | None, at: int, end: int) -> None:
        rows = slice(at - self._first, end - self._first)
        self._block[rows] = matrix_of(column, self._kind)
        if present is not None:
            self._block[rows][~present] = 0

    def _held(self) -> int:
        return self._block.nbytes + self._lengths.nbytes

    def _read(self, rows: int, valid: Mask | None) -> Vectored:
        kind = DENSE.get(self._kind)
        if self._kept:
            return Vectored(self._pieces(rows), valid)
        matrix = self._block[:rows]
        if kind is None:
            return Vectored(column_of(self._kind, matrix), valid)
        return Vectored(kind(matrix, partial(self._lengths_of, rows)), valid)

    def _pieces(self, rows: int) -> PiecedColumn:
        if rows <= self._first:
            return PiecedColumn(self._kept).head(rows)
        later = rows - self._first
        block = DENSE[self._kind](self._block[:later], partial(self._lengths_of, later))
        return PiecedColumn([*self._kept, block])

    def _take(self, rows: RowNumbers | slice, valid: Mask | None) -> pa.Array:
        if not self._kept:
            return matrix_to_arrow(self._block[rows], self._kind, valid)
        whole = self._pieces(self._used)
        wanted = np.arange(*rows.indices(self._used)) if isinstance(rows, slice) else np.asarray(rows)
        return matrix_to_arrow(whole.gather(wanted).matrix, self._kind, valid)

    def _lengths_of(self, rows: int) -> Scores:
        """Euclidean lengths of the first `rows` rows of the block, 1 for zero vectors; computed once for each row."""
        known = self._lengths
        if len(known) < rows:
            fresh = DENSE[self._kind](self._block[len(known) : rows])
            known = self._lengths = np.concatenate([known, fresh.lengths])
        return known[:rows]


class GrowingSparse(GrowingVectors):
    """Sparse vectors: pairs of all rows, one row after the other, and where each row begins."""

    def __init__(self) -> None:
        super().__init__()
        self._pairs: npt.NDArray[np.uint32] = np.empty((0, 2), np.uint32)
        self._starts: npt.NDArray[np.int64] = np.zeros(1, np.int64)
        self._last: Vectored | None = None
        self._lists = SparsePieces()

    def _append(self, column: pa.Array, present: Mask | None, at: int, end: int) -> None:
        del present  # a null row is an empty one here
        rows = SparseRows.from_arrow(column)
        first, last = int(self._starts[at]), int(self._starts[at]) + rows.pairs
        starts = with_room(self._starts, at + 1, end + 1)
        starts[at + 1 : end + 1] = rows.starts[1:] - rows.starts[0] + first
        pairs = with_room(self._pairs, first, last)
        taken = slice(rows.starts[0], rows.starts[-1])
        pairs[first:last, 0], pairs[first:last, 1] = rows.indices[taken], rows.values[taken].view(np.uint32)
        self._pairs, self._starts = pairs, starts

    def _held(self) -> int:
        return self._pairs.nbytes + self._starts.nbytes + self._lists.nbytes

    def arrow(self, rows: int) -> pa.Array:
        with self._lock:
            if self._pending and not self._used and sum(map(len, self._pending)) == rows:
                return pa.concat_arrays(self._pending)  # what nobody has read is copied once, and stays as it came
        return super().arrow(rows)

    def _rows(self, rows: int) -> SparseRows:
        return SparseRows(self._starts[: rows + 1], self._pairs[:, 0], self._pairs.view(np.float32)[:, 1])

    def _read(self, rows: int, valid: Mask | None) -> Vectored:
        last = self._last
        if last is None or len(last.column) != rows:
            last = self._last = Vectored(SparseColumn(self._rows(rows), self._lists), valid)
        return last

    def _take(self, rows: RowNumbers | slice, valid: Mask | None) -> pa.Array:
        column = self._rows(self._used)[rows].to_arrow()
        if valid is None or valid.all():
            return column
        bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
        return pa.Array.from_buffers(column.type, len(column), [bitmap, *column.buffers()[1:]])


class GrowingLists(GrowingVectors):
    """Lists of vectors: the vectors of all rows, one after the other, and where those of each row begin."""

    def __init__(self, field: FieldSchema) -> None:
        super().__init__()
        dtype, width = matrix_type(field.element_type, field.dim)
        self._field = field
        self._block: Matrix = np.empty((0, width), dtype)
        self._starts: npt.NDArray[np.int64] = np.zeros(1, np.int64)
        self._last: Vectored | None = None

    def _append(self, column: pa.Array, present: Mask | None, at: int, end: int) -> None:
        del present  # a null row is an empty list here
        given = list_starts(column).astype(np.int64)
        first, last = int(self._starts[at]), int(self._starts[at] + given[-1] - given[0])
        starts = with_room(self._starts, at + 1, end + 1)
        starts[at + 1 : end + 1] = given[1:] - given[0] + first
        block = with_room(self._block, first, last)
        values = column.values.slice(given[0], given[-1] - given[0])
        block[first:last] = matrix_of(values, self._field.element_type)
        self._block, self._starts = block, starts

    def _held(self) -> int:
        return self._block.nbytes + self._starts.nbytes

    def _read(self, rows: int, valid: Mask | None) -> Vectored:
        del valid  # so is one that is not null
        last = self._last
        if last is None or len(last.column) != rows:
            starts = self._starts[: rows + 1]
            last = self._last = listed(self._field, starts, self._block[: starts[-1]])
        return last

    def _take(self, rows: RowNumbers | slice, valid: Mask | None) -> pa.Array:
        chosen = np.arange(self._used)[rows] if isinstance(rows, slice) else rows
        starts, places = spread(self._starts, chosen)
        return lists_of(starts.astype(np.int32), matrix_to_arrow(self._block[places], self._field.element_type), valid)


def growing_vectors(field: FieldSchema) -> GrowingVectors:
    """Room for the vectors of a field."""
    if field.data_type is DataType._ARRAY_OF_VECTOR:
        return GrowingLists(field)
    return GrowingSparse() if field.data_type is DataType.SPARSE_FLOAT_VECTOR else GrowingMatrix(field)
