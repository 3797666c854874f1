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
from redkite.index.sparse import SparseColumn, SparsePieces
from redkite.model.batch import matrix_of, matrix_to_arrow, matrix_type
from redkite.model.schema import FieldSchema
from redkite.model.sparse import SparseRows
from redkite.model.types import DataType
from redkite.segment.vectors import DENSE, Mask, Matrix, Vectored, column_of

FIRST_CAPACITY = 1024


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
        self._block: Matrix = np.empty((0, width), dtype)
        self._lengths: Scores = np.empty(0, np.float32)

    def _settle(self) -> None:
        # Room for all that waits at once: copied once at most.
        self._block = with_room(self._block, self._used, self._used + sum(map(len, self._pending)))
        super()._settle()

    def _append(self, column: pa.Array, present: Mask | None, at: int, end: int) -> None:
        self._block[at:end] = matrix_of(column, self._kind)
        if present is not None:
            self._block[at:end][~present] = 0

    def _held(self) -> int:
        return self._block.nbytes + self._lengths.nbytes

    def _read(self, rows: int, valid: Mask | None) -> Vectored:
        kind, matrix = DENSE.get(self._kind), self._block[:rows]
        if kind is None:
            return Vectored(column_of(self._kind, matrix), valid)
        return Vectored(kind(matrix, partial(self._lengths_of, rows)), valid)

    def _take(self, rows: RowNumbers | slice, valid: Mask | None) -> pa.Array:
        return matrix_to_arrow(self._block[rows], self._kind, valid)

    def _lengths_of(self, rows: int) -> Scores:
        """Euclidean lengths of the first `rows` rows, 1 for zero vectors; computed once for each row."""
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


def growing_vectors(field: FieldSchema) -> GrowingVectors:
    """Room for the vectors of a field."""
    return GrowingSparse() if field.data_type is DataType.SPARSE_FLOAT_VECTOR else GrowingMatrix(field)
