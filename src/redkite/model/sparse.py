"""Sparse vectors in columns: which dimensions each row has, and the values there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.env import Buffer

PAIR_BYTES = 8
"""One dimension of a row as it is stored and sent: uint32 index and float32 value, little endian."""
MAX_INDEX = 2**32 - 2
"""The largest dimension there is."""


@dataclass(frozen=True, slots=True, eq=False)
class SparseRows:
    """Row r has the dimensions `indices[starts[r]:starts[r + 1]]`, strictly ascending, and as many `values`.

    `starts` (rows + 1,) int64, `indices` uint32, `values` float32; the last two may be views with gaps into memory
    where pairs stand side by side. Rows may be empty.
    """

    starts: npt.NDArray[np.int64]
    indices: npt.NDArray[np.uint32]
    values: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.int64] | slice) -> SparseRows:
        """Some rows: by mask, by row numbers in any order, or a slice (no copy where its step is 1)."""
        if isinstance(chosen, slice):
            start, stop, step = chosen.indices(len(self))
            if step == 1:
                return SparseRows(self.starts[start : max(start, stop) + 1], self.indices, self.values)
            chosen = np.arange(start, stop, step)
        rows = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
        sizes = self.lengths[rows]
        starts = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(sizes, out=starts[1:])
        places = np.arange(starts[-1]) + np.repeat(self.starts[:-1][rows] - starts[:-1], sizes)
        return SparseRows(starts, self.indices[places], self.values[places])

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """(rows,) how many dimensions each row has."""
        return np.diff(self.starts)

    @property
    def pairs(self) -> int:
        """Dimensions of all rows together."""
        return int(self.starts[-1] - self.starts[0])

    def row(self, number: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.float32]]:
        """Dimensions and values of one row."""
        start, end = self.starts.item(number), self.starts.item(number + 1)
        if end - start == len(self.indices):
            return self.indices, self.values
        return self.indices[start:end], self.values[start:end]

    def tobytes(self) -> bytes:
        """The same bytes for the same rows, wherever they stand."""
        at = slice(self.starts[0], self.starts[-1])
        return b"".join([self.lengths.tobytes(), self.indices[at].tobytes(), self.values[at].tobytes()])

    def to_arrow(self) -> pa.Array:
        """A binary column of (uint32, float32) pairs."""
        at = slice(self.starts[0], self.starts[-1])
        data = np.empty((self.pairs, 2), np.uint32)
        data[:, 0], data[:, 1] = self.indices[at], self.values[at].view(np.uint32)
        offsets = ((self.starts - self.starts[0]) * PAIR_BYTES).astype(np.int32)
        return pa.Array.from_buffers(pa.binary(), len(self), [None, pa.py_buffer(offsets), pa.py_buffer(data)])

    @classmethod
    def from_arrow(cls, column: pa.Array) -> SparseRows:
        """Views into a binary column of (uint32, float32) pairs: nothing is copied. A null row is empty."""
        kind = np.int64 if pa.types.is_large_binary(column.type) else np.int32
        _, offset_buffer, data = column.buffers()
        if len(column) == 0 or offset_buffer is None:
            return EMPTY
        size = np.dtype(kind).itemsize
        offsets = np.frombuffer(offset_buffer, kind, len(column) + 1, column.offset * size)
        return cls._of_pairs(offsets.astype(np.int64), b"" if data is None else data)

    @classmethod
    def from_bytes(cls, rows: Sequence[bytes]) -> SparseRows:
        """Of one text of pairs per row, as on the wire."""
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        return cls._of_pairs(offsets, b"".join(rows))

    @classmethod
    def _of_pairs(cls, offsets: npt.NDArray[np.int64], data: Buffer) -> SparseRows:
        first, last = int(offsets[0]), int(offsets[-1])
        held = np.frombuffer(data, np.uint8)[first:last]
        if held.ctypes.data % 4:
            held = held.copy()
        words = held.view(np.uint32).reshape(-1, 2)
        starts = (offsets - first) // PAIR_BYTES
        return cls(starts, words[:, 0], words.view(np.float32)[:, 1])


EMPTY = SparseRows(np.zeros(1, np.int64), np.empty(0, np.uint32), np.empty(0, np.float32))
"""No rows."""


def __getattr__(name: str) -> Any:
    """`redkite.model.sparse.BM25EmbeddingFunction`, as Milvus's SDK has it, lives above."""
    if name != "BM25EmbeddingFunction":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("redkite.functions.bm25_encoder"), name)
