"""Columns of sparse vectors, compared row by row.

The score of a row is the inner product, or what BM25 makes of it: float32, products added in ascending order of
dimensions, so that it has the same bits whoever computes it. A row whose score is not positive is no answer to a query:
mostly it shares no dimension with it. Its score is minus infinity, and no search returns it.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import gt
from threading import Lock
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from redkite.env import Executor
from redkite.index.base import NO_ROW, RowNumbers, Scores
from redkite.index.bm25 import NO_NORMS, Bm25, Norms
from redkite.index.sparse_lists import SparseLists
from redkite.index.word_facts import WordFacts
from redkite.model.sparse import SparseRows
from redkite.model.types import Metric

NO_SCORE = np.float32(-np.inf)
PAIR_COST = 8
"""Looking one dimension of a row up in a query costs as much as comparing so many numbers of dense vectors."""
_FEW = 64
"""Numbers that Python compares quicker than numpy."""
_ALL = np.empty(0, np.int64)
_ALL_ALLOWED = np.empty(0, np.uint8)
PIECE = 8192
"""Rows whose lists are made together."""
SMALL = 1024
"""The same of the rows behind the last whole piece, until they are one."""


class Piece(NamedTuple):
    """Inverted lists over some rows of a column, from the `first` on."""

    first: int
    lists: SparseLists


class SparsePieces:
    """Inverted lists over pieces of PIECE rows, and of SMALL rows behind those, made when they are searched for the
    second time. Shared by all columns that begin with the same rows."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._made: dict[int, SparseLists] = {}
        """By their first row. Replaced, never changed."""
        self._seen = 0
        self.facts = WordFacts()

    def of(self, vectors: SparseRows) -> list[Piece]:
        """Pieces over the first rows, one behind another, as many as may be used now."""
        wanted = len(vectors) - len(vectors) % SMALL
        found, covered = self._usable(wanted)
        if covered < wanted:
            with self._lock:
                searched, self._seen = self._seen, max(self._seen, wanted)
                self._make(vectors, min(wanted, searched))
            found, _ = self._usable(wanted)
        return found

    def _usable(self, rows: int) -> tuple[list[Piece], int]:
        """What there is of the first rows, and over how many."""
        found, at, made = [], 0, self._made
        while (lists := made.get(at)) is not None and at + lists.count <= rows:
            found.append(Piece(at, lists))
            at += lists.count
        return found, at

    def _make(self, vectors: SparseRows, until: int) -> None:
        """Pieces over the first rows, as large as may be; for a column of fewer rows than those known nothing."""
        if self._usable(len(self._made) * PIECE)[1] >= until:
            return
        made, at = dict[int, SparseLists](), 0
        while at < until:
            size = PIECE if at + PIECE <= until else SMALL
            lists = self._made.get(at)
            if lists is None or lists.count < size:
                lists = SparseLists.build(vectors[at : at + size])
            made[at] = lists
            at += lists.count
        self._made = made

    @property
    def nbytes(self) -> int:
        return sum(lists.nbytes for lists in self._made.values()) + self.facts.nbytes


class SparseColumn:
    """The sparse vectors of some rows."""

    __slots__ = ("_norms", "_pieces", "vectors")

    def __init__(self, vectors: SparseRows, pieces: SparsePieces | None = None, norms: Norms = NO_NORMS) -> None:
        """`pieces`: what is known of columns that begin with the same rows. `norms`: those of the rows, where their
        values are frequencies of terms that are compared by BM25."""
        self.vectors = vectors
        self._pieces = pieces or SparsePieces()
        self._norms = norms

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
    def facts(self) -> WordFacts:
        """What BM25 wants to know of the rows."""
        return self._pieces.facts

    @property
    def norms(self) -> Norms:
        return self._norms

    def scored_by(self, scoring: Bm25, lists: SparseLists | None = None) -> SparseColumn:
        """The same rows, compared by BM25. `lists`: those of all rows, where there are some that know their lengths."""
        return SparseColumn(self.vectors, self._pieces, self.facts.norms(self.vectors, scoring, lists))

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
        self._check(metric)
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

        self._check(metric)
        vectors = self.vectors
        lengths, base, slope, _ = self._norms
        scores = np.empty(self.rows if rows is None else len(rows), np.float32)
        if len(scores):
            chosen = _ALL if rows is None else rows
            held = vectors.starts, vectors.indices, vectors.values
            score_rows(*held, *query.row(0), lengths, base, slope, chosen, scores)
            scores[scores <= 0] = NO_SCORE
        return scores

    def _check(self, metric: Metric) -> None:
        by_words = self._norms is not NO_NORMS
        assert metric is (Metric.BM25 if by_words else Metric.IP), "sparse vectors are compared as they were prepared"

    def gather(self, rows: RowNumbers) -> SparseColumn:
        return SparseColumn(self.vectors[rows])

    def head(self, rows: int) -> SparseColumn:
        return SparseColumn(self.vectors[:rows], self._pieces)

    def _rank(self, query: SparseRows, rows: RowNumbers, k: int, metric: Metric) -> tuple[Scores, RowNumbers]:
        """The best `k` of some rows, fewer if there are not so many."""
        scores = self.scores(query, metric, rows)
        if len(rows) <= min(k, _FEW):
            values = scores.tolist()
            if values and values[-1] > NO_SCORE and all(map(gt, values, values[1:])):
                return scores, rows  # in order already, as an index gives them
        near = np.flatnonzero(scores > NO_SCORE)
        order = near[np.lexsort((rows[near], -scores[near]))[:k]]
        return scores[order], rows[order]

    def _best(self, query: SparseRows, pieces: list[Piece], k: int) -> tuple[Scores, RowNumbers]:
        """The best `k` of all rows: by lists where there are some, row by row behind them."""
        from redkite.index.best import sort_best
        from redkite.index.sparse_kernels import asked_of, lists_of, sindi
        from redkite.index.sparse_rows import search_rows

        scores, rows, size = np.empty(k, np.float32), np.empty(k, np.int64), 0
        if k == 0:
            return scores, rows
        dims, weights = query.row(0)
        for first, lists in pieces:
            norms = self._norms_of(first, lists.count)
            asked = asked_of(dims, weights, norms, _ALL_ALLOWED, first, lists.count, 1.0)
            size = sindi(lists_of(lists.arrays), asked, scores, rows, size)
        held = self.vectors
        behind = pieces[-1].first + pieces[-1].lists.count if pieces else 0
        lengths, base, slope, _ = self._norms
        kept = held.starts, held.indices, held.values
        size = search_rows(*kept, dims, weights, lengths, base, slope, behind, scores, rows, size)
        sort_best(scores, rows, size)
        return scores[:size], rows[:size]

    def _norms_of(self, first: int, count: int) -> Norms:
        norms = self._norms
        return norms if norms is NO_NORMS else norms._replace(lengths=norms.lengths[first : first + count])


def _each(queries: SparseRows) -> Iterable[SparseRows]:
    return (queries[at : at + 1] for at in range(len(queries)))


def _stacked(found: Iterable[tuple[Scores, RowNumbers]], k: int) -> tuple[Scores, RowNumbers]:
    """Answers of any lengths up to `k` as two matrices."""
    answers = list(found)
    if len(answers) == 1 and len(answers[0][0]) == k:
        return answers[0][0][None], answers[0][1][None]
    scores, rows = np.zeros((len(answers), k), np.float32), np.full((len(answers), k), NO_ROW, np.int64)
    for at, (some, winners) in enumerate(answers):
        scores[at, : len(some)], rows[at, : len(winners)] = some, winners
    return scores, rows
