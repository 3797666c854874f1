"""What BM25 wants to know of the rows of one column: how long they are, and in how many of them each dimension is.

The facts grow with the column; what is known of the rows so far is not counted again. Rows that are dead are counted
apart, and what has died since the last time is added there.
"""

from __future__ import annotations

from threading import Lock
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from redkite.index.base import Scores
from redkite.index.bm25 import Bm25, Counts, Norms, document_frequencies
from redkite.index.sparse_lists import SparseLists
from redkite.model.sparse import SparseRows

Mask = npt.NDArray[np.bool_]
Dims = npt.NDArray[np.uint32]
FIRST_ROOM = 1 << 10
_EVERY = np.empty(0, np.int64)
_NO_MASK = np.empty(0, np.uint8)


class WordTable:
    """In how many rows each dimension is. One writer at a time, and nobody reads meanwhile."""

    def __init__(self) -> None:
        self._keys = np.full(FIRST_ROOM, 0xFFFF_FFFF, np.uint32)
        self._counts = np.zeros(FIRST_ROOM, np.int64)
        self._used = 0

    @property
    def nbytes(self) -> int:
        return self._keys.nbytes + self._counts.nbytes

    def add(self, vectors: SparseRows, chosen: npt.NDArray[np.int64] | None = None) -> None:
        """Count all rows, or those chosen."""
        from redkite.index.word_kernels import count_rows, move_counts

        rows = _EVERY if chosen is None else chosen
        at, end = 0, len(vectors) if chosen is None else len(chosen)
        while at < end:
            place = (vectors.starts, vectors.indices, rows, at, end, self._keys, self._counts, self._used)
            at, self._used = count_rows(*place)
            if at < end:
                keys = np.full(2 * len(self._keys), 0xFFFF_FFFF, np.uint32)
                counts = np.zeros(len(keys), np.int64)
                move_counts(self._keys, self._counts, keys, counts)
                self._keys, self._counts = keys, counts

    def having(self, dims: Dims) -> Counts:
        from redkite.index.word_kernels import look_up

        out = np.empty(len(dims), np.int64)
        look_up(self._keys, self._counts, dims, out)
        return out


class _Dead:
    """The rows of a column that are dead, as far as they are counted."""

    def __init__(self) -> None:
        self.mask: Mask = np.zeros(0, np.bool_)
        self.table = WordTable()
        self.tokens = 0.0
        self.state: object = None
        """What told that these are dead; the same again tells nothing new."""


class WordCounts(NamedTuple):
    """Of some rows."""

    tokens: float
    having: Counts
    """In how many rows each of the dimensions is that were asked for."""


class WordFacts:
    """Safe from any thread. Where all rows have inverted lists with their lengths, those are asked."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._lengths: Scores = np.empty(0, np.float32)
        self._measured = 0
        self._shortest = np.inf
        self._tokens = 0.0
        self._table: WordTable | None = None
        self._counted = 0
        self._dead: _Dead | None = None

    @property
    def nbytes(self) -> int:
        dead = self._dead
        tables = (0 if self._table is None else self._table.nbytes) + (0 if dead is None else dead.table.nbytes)
        return tables + (self._lengths.nbytes if self._lengths.flags.owndata else 0)

    def norms(self, vectors: SparseRows, scoring: Bm25, lists: SparseLists | None = None) -> Norms:
        """Those of these rows, which are the first ones of the column."""
        if self._measured < len(vectors):
            with self._lock:
                self._measure(vectors, lists)
        return scoring.norms(self._lengths[: len(vectors)], self._shortest if self._measured else 0.0)

    def count(
        self, vectors: SparseRows, dims: Dims, alive: Mask | None, state: object, lists: SparseLists | None = None
    ) -> WordCounts:
        """Of the rows that are alive (None: all) among these, the first ones of the column. Equal (the same) `state`
        objects mean the same rows. `dims` ascend."""
        with self._lock:
            self._measure(vectors, lists)
            if self._measured > len(vectors):
                return self._seen(vectors, dims, alive)  # a read of what there was before
            having = self._table_of(vectors).having(dims) if lists is None else document_frequencies(lists, dims)
            if alive is None:
                return WordCounts(self._tokens, having)
            dead = self._died(vectors, alive, state)
            if dead is None:
                return self._seen(vectors, dims, alive)
            return WordCounts(self._tokens - dead.tokens, having - dead.table.having(dims))

    def _table_of(self, vectors: SparseRows) -> WordTable:
        """All of these rows, counted."""
        if self._table is None:
            self._table = WordTable()
        if self._counted < len(vectors):
            self._table.add(vectors[self._counted :])
            self._counted = len(vectors)
        return self._table

    def _measure(self, vectors: SparseRows, lists: SparseLists | None) -> None:
        """Know the lengths of these rows."""
        known, rows = self._measured, len(vectors)
        if known >= rows:
            return
        if lists is not None and known == 0:
            self._lengths = fresh = lists.sums
        else:
            from redkite.index.sparse_rows import sum_rows

            fresh = np.empty(rows - known, np.float32)
            some = vectors[known:]
            sum_rows(some.starts, some.values, fresh)
            if rows > len(self._lengths):
                grown = np.empty(max(rows, 2 * known), np.float32) if known else np.empty(rows, np.float32)
                grown[:known] = self._lengths[:known]
                self._lengths = grown
            self._lengths[known:rows] = fresh
        self._tokens += float(fresh.sum(dtype=np.float64))
        self._shortest = min(self._shortest, float(fresh.min()))
        self._measured = rows  # last: who finds it does not take the lock

    def _died(self, vectors: SparseRows, alive: Mask, state: object) -> _Dead | None:
        """The dead rows, counted; None when rows are alive that were dead before: it is a read of earlier times."""
        dead = self._dead
        if dead is None:
            dead = self._dead = _Dead()
        if state is not None and dead.state is state:
            return dead
        gone = ~alive
        known = dead.mask
        fresh = gone.copy()
        if len(known) > len(gone) or bool((known & ~gone[: len(known)]).any()):
            return None
        fresh[: len(known)] &= ~known
        rows = np.flatnonzero(fresh)
        if len(rows):
            dead.table.add(vectors, rows)
            dead.tokens += float(self._lengths[rows].sum(dtype=np.float64))
        dead.mask, dead.state = gone, state
        return dead

    def _seen(self, vectors: SparseRows, dims: Dims, alive: Mask | None) -> WordCounts:
        """Row by row."""
        from redkite.index.word_kernels import count_seen

        having = np.zeros(len(dims), np.int64)
        mask = _NO_MASK if alive is None else alive.view(np.uint8)
        count_seen(vectors.starts, vectors.indices, mask, dims, having)
        lengths = self._lengths[: len(vectors)]
        seen = lengths if alive is None else lengths[alive]
        return WordCounts(float(seen.sum(dtype=np.float64)), having)
