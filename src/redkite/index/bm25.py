"""BM25 over sparse vectors of term frequencies (Robertson and others, 1994).

score(row, query) = sum over the query's terms of qtf · idf · tf · (k1 + 1) / (tf + k1 · (1 - b + b · length / average))
with idf = ln(1 + (rows - df + 0.5) / (df + 0.5)); a row's length is the sum of its frequencies. The statistics are the
caller's: those of one segment are not those of a collection.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from redkite.index.base import NO_ROW, Bitmap, RowNumbers, Scores
from redkite.index.sparse_index import ALGORITHMS, SPARE
from redkite.index.sparse_lists import SparseLists
from redkite.model.sparse import SparseRows

Counts = npt.NDArray[np.int64]
_ALL = np.empty(0, np.uint8)
_EVERY = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Bm25:
    """What scores depend on besides a row and a query."""

    rows: int
    """Of the whole collection."""
    average: float
    """Length of its rows."""
    k1: float = 1.2
    b: float = 0.75

    def weights(self, frequencies: Scores, document_frequencies: Counts) -> Scores:
        """What the terms of a query weigh: `frequencies` in the query, and how many rows have each."""
        rarity = np.log1p((self.rows - document_frequencies + 0.5) / (document_frequencies + 0.5))
        weights: Scores = (frequencies * rarity * (self.k1 + 1)).astype(np.float32)
        return weights

    def norms(self, lengths: Scores) -> Scores:
        """What is added to a term's frequency below the fraction, for rows of these lengths."""
        share = lengths / np.float32(self.average) if self.average > 0 else np.zeros_like(lengths)
        norms: Scores = (self.k1 * (1 - self.b + self.b * share)).astype(np.float32)
        # A row whose only values are zeros would divide nothing by nothing.
        return np.maximum(norms, np.finfo(np.float32).tiny)


def document_frequencies(lists: SparseLists, dims: npt.NDArray[np.uint32]) -> Counts:
    """How many rows have each dimension."""
    at = np.minimum(np.searchsorted(lists.dims, dims), max(0, len(lists.dims) - 1))
    if len(lists.dims) == 0:
        return np.zeros(len(dims), np.int64)
    counts: Counts = np.where(lists.dims[at] == dims, np.diff(lists.starts)[at], 0)
    return counts


def search_lists(
    lists: SparseLists, dims: npt.NDArray[np.uint32], weights: Scores, norms: Scores, k: int,
    allowed: Bitmap | None = None, algorithm: str = ALGORITHMS[0],
) -> tuple[Scores, RowNumbers]:  # fmt: skip
    """Rows among which the best `k` are, a few more than that, best first, NO_ROW behind them. `norms` are of all rows
    of the lists."""
    from redkite.index import best, sparse_kernels

    wide = min(k + SPARE, lists.count)
    scores, rows = np.zeros(max(wide, k), np.float32), np.full(max(wide, k), NO_ROW, np.int64)
    if wide:
        bitmap = _ALL if allowed is None else allowed
        asked = sparse_kernels.asked_of(dims, weights, norms, bitmap, 0, lists.count, 1.0)
        run = getattr(sparse_kernels, algorithm.lower())
        found = run(sparse_kernels.lists_of(lists.arrays), asked, scores[:wide], rows[:wide], 0)
        best.sort_best(scores[:wide], rows[:wide], found)
    return scores, rows


def score_rows(
    vectors: SparseRows, dims: npt.NDArray[np.uint32], weights: Scores, norms: Scores, rows: RowNumbers | None = None
) -> Scores:
    """Exact scores of all or of these rows; 0 where a row has no term of the query."""
    from redkite.index import sparse_rows

    scores = np.empty(len(vectors) if rows is None else len(rows), np.float32)
    if len(scores):
        chosen = _EVERY if rows is None else np.ascontiguousarray(rows)
        sparse_rows.score_rows(vectors.starts, vectors.indices, vectors.values, dims, weights, norms, chosen, scores)
    return scores
