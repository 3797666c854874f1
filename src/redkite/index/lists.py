"""Columns of lists of vectors: each row has several, or none, and is compared with a list of query vectors.

| metric | score of a row for a list | closer |
|---|---|---|
| MAX_SIM, MAX_SIM_COSINE | sum over the query's vectors of the largest cosine with one of the row's | larger |
| MAX_SIM_IP | the same of inner products | larger |
| MAX_SIM_L2 | sum over the query's vectors of the smallest squared distance to one of the row's | smaller |
| MAX_SIM_HAMMING, MAX_SIM_JACCARD | the same of these distances between binary vectors | smaller |

A row without any vector has no score: it is infinitely far away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from redkite.env import Executor
from redkite.index.base import NO_ROW, RowNumbers, Scores, VectorColumn, Vectors, normalized
from redkite.index.binary import BinaryColumn
from redkite.index.dense import DenseColumn
from redkite.index.exact import SPARE
from redkite.model.types import Metric

Starts = npt.NDArray[np.int64]
BLOCK_PRODUCTS = 1 << 19
"""Products of the query's and the rows' vectors that are made at a time: they stay in a core's cache."""


@dataclass(frozen=True, slots=True)
class VectorLists:
    """Queries that are lists of vectors: those of query i are `matrix[starts[i] : starts[i + 1]]`, never none."""

    starts: Starts
    matrix: npt.NDArray[Any]
    """(vectors, dim) float32, or (vectors, dim / 8) uint8."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, chosen: npt.NDArray[Any]) -> VectorLists:
        """Some queries, by a mask or by their numbers."""
        rows = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
        starts, places = spread(self.starts, rows)
        return VectorLists(starts, self.matrix[places])

    def tobytes(self) -> bytes:
        return self.starts.tobytes() + self.matrix.tobytes()


def spread(starts: Starts, rows: RowNumbers) -> tuple[Starts, RowNumbers]:
    """The elements of some rows, in their order: where those of each row begin among them, and which they are."""
    counts = starts[rows + 1] - starts[rows]
    begins = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(counts, out=begins[1:])
    places = np.arange(begins[-1]) + np.repeat(starts[rows] - begins[:-1], counts)
    return begins, places


class ListColumn:
    """Row r has the vectors `flat[starts[r] : starts[r + 1]]`."""

    __slots__ = ("flat", "rows", "starts")

    def __init__(self, starts: Starts, flat: VectorColumn) -> None:
        self.starts = starts
        self.flat = flat
        self.rows: int = len(starts) - 1

    def __len__(self) -> int:
        return self.rows

    @property
    def elements(self) -> int:
        """Vectors of all rows."""
        return int(self.starts[-1] - self.starts[0])

    @property
    def nbytes(self) -> int:
        return self.flat.nbytes * self.elements // max(1, self.flat.rows) + self.starts.nbytes

    @property
    def width(self) -> int:
        return max(1, self.elements * self.flat.width // max(1, self.rows))

    def gather(self, rows: RowNumbers) -> ListColumn:
        starts, places = spread(self.starts, rows)
        return ListColumn(starts, self.flat.gather(places))

    def head(self, rows: int) -> ListColumn:
        return ListColumn(self.starts[: rows + 1], self.flat)

    # -- exact scores ---------------------------------------------------------------------------
    def scores(self, query: VectorLists, metric: Metric, rows: RowNumbers | None = None) -> Scores:
        column = self if rows is None else self.gather(rows)
        return column._sums(query.matrix, metric)

    def _sums(self, tokens: npt.NDArray[Any], metric: Metric) -> Scores:
        """Exact scores of all rows for one list of query vectors, each row computed alike."""
        filled = np.flatnonzero(np.diff(self.starts))
        scores = np.full(self.rows, -np.inf if metric.larger_is_closer else np.inf, np.float32)
        if not len(filled):
            return scores
        best = np.maximum if metric.larger_is_closer else np.minimum
        first, last = int(self.starts[0]), int(self.starts[-1])
        whole = first == 0 and last == len(self.flat)
        flat = self.flat if whole else self.flat.gather(np.arange(first, last))
        begins = self.starts[filled] - first
        total = np.zeros(len(filled), np.float32)
        for at in range(len(tokens)):
            total += best.reduceat(flat.scores(tokens[at : at + 1], metric.of_elements), begins)
        scores[filled] = total
        return scores

    def ranked(self, queries: VectorLists, found: RowNumbers, k: int, metric: Metric) -> tuple[Scores, RowNumbers]:
        scores, rows = _none_found(len(queries), k)
        for at, candidates in enumerate(found):
            present = candidates[candidates >= 0]
            if not len(present):
                continue
            exact = self.scores(queries[np.array([at])], metric, present)
            order = np.argsort(-exact if metric.larger_is_closer else exact, kind="stable")[:k]
            order = order[np.isfinite(exact[order])]
            scores[at, : len(order)], rows[at, : len(order)] = exact[order], present[order]
        return scores, rows

    # -- search ---------------------------------------------------------------------------------
    def search(
        self, queries: VectorLists, k: int, metric: Metric, pool: Executor | None = None
    ) -> tuple[Scores, RowNumbers]:
        del pool  # products of matrices use all cores by themselves
        kept = min(k + SPARE, self.rows)
        if not min(k, self.rows, self.elements):
            return _none_found(len(queries), k)
        if isinstance(self.flat, BinaryColumn):
            return self.ranked(queries, self._nearest_bits(queries, kept, metric), k, metric)
        assert isinstance(self.flat, DenseColumn), "lists hold dense or binary vectors"
        tokens = normalized(queries.matrix) if metric.of_elements is Metric.COSINE else queries.matrix
        asked = VectorLists(queries.starts, np.ascontiguousarray(tokens, np.float32))
        return self.ranked(queries, self._nearest(self.flat, asked, kept, metric), k, metric)

    def _nearest(self, flat: DenseColumn, asked: VectorLists, kept: int, metric: Metric) -> RowNumbers:
        """(nq, `kept` or fewer) rows of about the best scores."""
        from redkite.index.list_kernels import sum_of_best

        best = (np.empty((len(asked), 0), np.float32), np.empty((len(asked), 0), np.int64))
        most = max(1, BLOCK_PRODUCTS // len(asked.matrix))
        at = 0
        while at < self.rows:
            until = int(np.searchsorted(self.starts, self.starts[at] + most, "right")) - 1
            until = min(self.rows, max(until, at + 1))
            begin, end = int(self.starts[at]), int(self.starts[until])
            some = flat.floats(slice(begin, end))
            products = some @ asked.matrix.T
            closeness = np.empty((until - at, len(asked)), np.float32)
            scales, shifts = _as_closeness(flat, some, metric.of_elements, begin)
            sum_of_best(products, scales, shifts, self.starts[at : until + 1] - begin, asked.starts, closeness)
            rows = np.broadcast_to(np.arange(at, until), (len(asked), until - at))
            best = _largest(best, (closeness.T, rows), kept)
            at = until
        return np.where(np.isfinite(best[0]), best[1], NO_ROW)

    def _nearest_bits(self, queries: VectorLists, kept: int, metric: Metric) -> RowNumbers:
        found = np.full((len(queries), kept), NO_ROW, np.int64)
        for at in range(len(queries)):
            scores = self._sums(queries[np.array([at])].matrix, metric)
            near = np.argpartition(scores, kept - 1)[:kept]
            found[at] = np.where(np.isfinite(scores[near]), near, NO_ROW)
        return found


def _as_closeness(flat: DenseColumn, some: Vectors, kind: Metric, begin: int) -> tuple[Scores, Scores]:
    """What a product with each of `some` vectors, which stand at `begin`, is to be multiplied by, and what is then to
    be taken away, so that it is larger the closer the two are. What it lacks of a score is the same for all vectors."""
    if kind is Metric.COSINE:
        lengths = flat.lengths[begin : begin + len(some)]
        return np.reciprocal(lengths), np.zeros(len(some), np.float32)
    if kind is Metric.L2:
        return np.full(len(some), 2, np.float32), np.vecdot(some, some)
    return np.ones(len(some), np.float32), np.zeros(len(some), np.float32)


def _none_found(nq: int, k: int) -> tuple[Scores, RowNumbers]:
    return np.zeros((nq, k), np.float32), np.full((nq, k), NO_ROW, np.int64)


def _largest(
    some: tuple[Scores, RowNumbers], others: tuple[Scores, RowNumbers], kept: int
) -> tuple[Scores, RowNumbers]:
    """The largest `kept` of both for each query, in any order."""
    scores = np.concatenate([some[0], others[0]], axis=1)
    rows = np.concatenate([some[1], others[1]], axis=1)
    if scores.shape[1] <= kept:
        return scores, rows
    chosen = np.argpartition(-scores, kept - 1, axis=1)[:, :kept]
    return np.take_along_axis(scores, chosen, axis=1), np.take_along_axis(rows, chosen, axis=1)
