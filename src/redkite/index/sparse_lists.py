"""Inverted lists: for each dimension the rows that have it. Built of sparse rows, kept as aligned arrays, read mapped.

Stored, little endian: a header of 64 bytes (magic, version, then rows, dimensions, pairs, blocks and whether there are
sums, as int64), then the arrays in the order of `_PARTS`, each at a multiple of 64.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from redkite.env import Buffer
from redkite.errors import StorageError
from redkite.model.sparse import SparseRows

MAGIC = b"RKSPARSE"
VERSION = 1
ALIGNMENT = 64
_HEADER = struct.Struct("<8sq5q")
_PARTS: tuple[tuple[str, type[np.generic]], ...] = (
    ("dims", np.uint32), ("starts", np.int64), ("bounds", np.float32), ("block_starts", np.int64),
    ("block_bounds", np.float32), ("rows", np.uint32), ("values", np.float32), ("sums", np.float32),
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class SparseLists:
    """`dims` (n,) ascending; dimension t is had by `rows[starts[t]:starts[t + 1]]`, ascending, with these `values`.

    `bounds` (n,) the largest value of each list; `block_bounds[block_starts[t] + b]` that of its block b.
    `sums` (count,) the sum of each row's values, as BM25 wants it; empty for other metrics. `count`: rows, empty ones
    and those without a list included.
    """

    count: int
    dims: npt.NDArray[np.uint32]
    starts: npt.NDArray[np.int64]
    bounds: npt.NDArray[np.float32]
    block_starts: npt.NDArray[np.int64]
    block_bounds: npt.NDArray[np.float32]
    rows: npt.NDArray[np.uint32]
    values: npt.NDArray[np.float32]
    sums: npt.NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        return sum(getattr(self, name).nbytes for name, _ in _PARTS)

    @property
    def arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """In the order of the kernels' `Lists`."""
        return self.dims, self.starts, self.rows, self.values, self.bounds, self.block_starts, self.block_bounds

    @classmethod
    def build(cls, vectors: SparseRows, drop_ratio: float = 0.0, *, sums: bool = False) -> Self:
        """Of all rows; of their values the smallest `drop_ratio` part is left out."""
        from redkite.index import sparse_kernels as searching
        from redkite.index import sparse_rows as kernels

        # numba is slow to import: where no sparse vector is, nobody waits for it.
        seen, numbers = kernels.number_dims(vectors.starts, vectors.indices)
        order = np.argsort(seen)
        ranks = np.empty(len(seen), np.uint32)
        ranks[order] = np.arange(len(seen), dtype=np.uint32)
        smallest = _smallest_kept(vectors, drop_ratio)
        starts, rows, values = kernels.make_lists(vectors.starts, vectors.values, numbers, ranks, len(seen), smallest)
        block_starts = np.zeros(len(starts), np.int64)
        np.cumsum(-(-np.diff(starts) // searching.BLOCK), out=block_starts[1:])
        bounds, block_bounds = np.empty(len(seen), np.float32), np.empty(block_starts[-1], np.float32)
        kernels.bound_lists(starts, values, block_starts, bounds, block_bounds)
        totals = np.empty(len(vectors) if sums else 0, np.float32)
        if sums:
            kernels.sum_rows(vectors.starts, vectors.values, totals)
        return cls(len(vectors), seen[order], starts, bounds, block_starts, block_bounds, rows, values, totals)

    def serialize(self) -> Iterator[Buffer]:
        """The stored form, in pieces."""
        sizes = self.count, len(self.dims), len(self.rows), len(self.block_bounds), len(self.sums)
        yield _HEADER.pack(MAGIC, VERSION, *sizes).ljust(ALIGNMENT, b"\0")
        for name, _ in _PARTS:
            part = np.ascontiguousarray(getattr(self, name))
            yield part.view(np.uint8).data
            yield b"\0" * (-part.nbytes % ALIGNMENT)

    @classmethod
    def open(cls, data: Buffer) -> Self:
        """Views of stored bytes, which stay mapped. Raises StorageError when they are something else."""
        view = memoryview(data)
        if len(view) < ALIGNMENT:
            raise StorageError("a sparse index is cut off")
        magic, version, count, dims, pairs, blocks, sums = _HEADER.unpack_from(view)
        if magic != MAGIC or version != VERSION:
            raise StorageError(f"this is no sparse index of version {VERSION}: {magic!r}, version {version}")
        lengths = dims, dims + 1, dims, dims + 1, blocks, pairs, pairs, sums
        parts: dict[str, npt.NDArray[Any]] = {}
        at = ALIGNMENT
        for (name, kind), length in zip(_PARTS, lengths, strict=True):
            size = length * np.dtype(kind).itemsize
            if at + size > len(view):
                raise StorageError("a sparse index is cut off")
            parts[name] = np.frombuffer(view, kind, length, at)
            at += size + -size % ALIGNMENT
        return cls(count, **parts)


def _smallest_kept(vectors: SparseRows, drop_ratio: float) -> float:
    """The size below which values are left out."""
    sizes = np.abs(vectors.values[vectors.starts[0] : vectors.starts[-1]])
    dropped = int(drop_ratio * len(sizes))
    return float(np.partition(sizes, dropped)[dropped]) if dropped else 0.0
