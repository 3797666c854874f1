"""Columns of sparse vectors, compared row by row.

The score of a row is the inner product: float32, products added in ascending order of dimensions, so that it has the
same bits whoever computes it. A row whose product is not positive is no answer to a query: mostly it shares no
dimension with it. Its score is minus infinity, and no search returns it.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock

import numpy as np
import pyarrow as pa

from redkite.env import Executor
from redkite.index.base import NO_ROW, RowNumbers, Scores
from redkite.index.sparse_lists import SparseLists
from redkite.model.sparse import SparseRows
from redkite.model.types import Metric

NO_SCORE = np.float32(-np.inf)
PAIR_COST = 8
"""Looking one dimension of a row up in a query costs as much as comparing so many numbers of dense vectors."""
_PLAIN = np.empty(0, np.float32)
_ALL = np.empty(0, np.int64)
_ALL_ALLOWED = np.empty(0, np.uint8)
PIECE = 8192
"""Rows whose lists are made together."""


class SparsePieces:
    """Inverted lists over pieces of PIECE rows, made once each when they are searched for the second time. Shared by
    all columns that begin with the same rows."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._made: dict[int, SparseLists] = {}
        self._seen = 0

    def of(self, vectors: SparseRows) -> list[SparseLists]:
        """The lists of the first pieces, as many as may be used now."""
        whole = len(vectors) // PIECE
        made = self._made
        if len(made) < whole:
            with self._lock:
                searched, self._seen = self._seen, max(self._seen, whole)
                for at in range(len(self._made), min(whole, searched)):
                    lists = SparseLists.build(vectors[at * PIECE : (at + 1) * PIECE])
                    self._made = {**self._made, at: lists}
            made = self._made
        return [made[at] for at in range(min(whole, len(made)))]

    @property
    def nbytes(self) -> int:
        return sum(lists.nbytes for lists in self._made.values())


class SparseColumn:
    """The sparse vectors of some rows."""

    __slots__ = ("_pieces", "vectors")

    def __init__(self, vectors: SparseRows, pieces: SparsePieces | None = None) -> None:
        """`pieces`: what is known of columns that begin with the same rows."""
        self.vectors = vectors
        self._pieces = pieces or SparsePieces()

    @classmethod
    def from_arrow(cls, column: pa.Array) -> SparseColumn:
        """Over the memory of a binary column of (uint32 index, float32 value) pairs."""
        return cls(SparseRows.from_arrow(column))

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def rows(self) -> int:
        return len(self.vectors)

    @property
    def nbytes(self) -> int:
        return 8 * self.vectors.pairs + self.vectors.starts.nbytes + self._pieces.nbytes

    @property
    def width(self) -> int:
        """Dimensions a row has on the average, in numbers of dense vectors, which are compared faster."""
        return -(-PAIR_COST * self.vectors.pairs // max(1, self.rows))

    def search(
        self, queries: SparseRows, k: int, metric: Metric, pool: Executor | None = None
    ) -> tuple[Scores, RowNumbers]:
        assert metric is Metric.IP, "sparse vectors are compared by their inner product"
        pieces = self._pieces.of(self.vectors)
        if pool is None or len(queries) < 2:
            return _stacked((self._best(query, pieces, k) for query in _each(queries)), k)
        rest = [pool.submit(self._best, query, pieces, k) for query in _each(queries[1:])]
        first = self._best(queries[:1], pieces, k)
        others = (
            # A query that no thread has begun yet, because all are busy, is not waited for.
            self._best(query, pieces, k) if future.cancel() else future.result()
            for future, query in zip(rest, _each(queries[1:]), strict=True)
        )
        return _stacked([first, *others], k)

    def ranked(self, queries: SparseRows, found: RowNumbers, k: int, metric: Metric) -> tuple[Scores, RowNumbers]:
        pairs = zip(_each(queries), found, strict=True)
        return _stacked((self._rank(query, rows[rows >= 0], k, metric) for query, rows in pairs), k)

    def scores(self, query: SparseRows, metric: Metric, rows: RowNumbers | None = None) -> Scores:
        from redkite.index.sparse_rows import score_rows

        assert metric is Metric.IP, "sparse vectors are compared by their inner product"
        vectors = self.vectors
        scores = np.empty(self.rows if rows is None else len(rows), np.float32)
        if len(scores):
            chosen = _ALL if rows is None else rows
            score_rows(vectors.starts, vectors.indices, vectors.values, *query.row(0), _PLAIN, chosen, scores)
            scores[scores <= 0] = NO_SCORE
        return scores

    def gather(self, rows: RowNumbers) -> SparseColumn:
        return SparseColumn(self.vectors[rows])

    def head(self, rows: int) -> SparseColumn:
        return SparseColumn(self.vectors[:rows], self._pieces)

    def _rank(self, query: SparseRows, rows: RowNumbers, k: int, metric: Metric) -> tuple[Scores, RowNumbers]:
        """The best `k` of some rows, fewer if there are not so many."""
        scores = self.scores(query, metric, rows)
        near = np.flatnonzero(scores > NO_SCORE)
        order = near[np.lexsort((rows[near], -scores[near]))[:k]]
        return scores[order], rows[order]

    def _best(self, query: SparseRows, pieces: list[SparseLists], k: int) -> tuple[Scores, RowNumbers]:
        """The best `k` of all rows: by lists where there are some, row by row behind them."""
        from redkite.index.best import sort_best
        from redkite.index.sparse_kernels import asked_of, lists_of, sindi
        from redkite.index.sparse_rows import search_rows

        scores, rows, size = np.empty(k, np.float32), np.empty(k, np.int64), 0
        if k == 0:
            return scores, rows
        dims, weights = query.row(0)
        for at, lists in enumerate(pieces):
            asked = asked_of(dims, weights, _PLAIN, _ALL_ALLOWED, at * PIECE, lists.count, 1.0)
            size = sindi(lists_of(lists.arrays), asked, scores, rows, size)
        held = self.vectors
        behind = len(pieces) * PIECE
        size = search_rows(held.starts, held.indices, held.values, dims, weights, _PLAIN, behind, scores, rows, size)
        sort_best(scores, rows, size)
        return scores[:size], rows[:size]


def _each(queries: SparseRows) -> Iterable[SparseRows]:
    return (queries[at : at + 1] for at in range(len(queries)))


def _stacked(found: Iterable[tuple[Scores, RowNumbers]], k: int) -> tuple[Scores, RowNumbers]:
    """Answers of any lengths up to `k` as two matrices."""
    answers = list(found)
    scores, rows = np.zeros((len(answers), k), np.float32), np.full((len(answers), k), NO_ROW, np.int64)
    for at, (some, winners) in enumerate(answers):
        scores[at, : len(some)], rows[at, : len(winners)] = some, winners
    return scores, rows
