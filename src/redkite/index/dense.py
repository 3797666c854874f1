"""Columns of dense vectors: float32 as they are, narrower numbers made float32 a block at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from redkite.env import Executor
from redkite.index.base import NO_ROW, RowNumbers, Scores, Vectors, lengths_of, normalized
from redkite.index.exact import MATRIX_PRODUCT_QUERIES, SPARE, exact_search
from redkite.index.scoring import Candidates, best_of, pair_scores, scores_alike, scores_alone
from redkite.index.threads import CORES, LARGE_CALL, faiss, shared_out, use_threads
from redkite.model.halves import widen_bfloat16
from redkite.model.types import Metric

CACHED_FLOATS = 131_072
"""Numbers that are made wide, or compared one by one, at a time: they stay in a core's cache."""
GATHERED_FLOATS = 4_000_000
"""Numbers that are made wide at a time when candidates are scored."""
NATIVE_FLOATS = 2_000_000
"""Columns of float16 so large are worth a kernel, which is compiled or loaded first."""


class DenseColumn(ABC):
    """`matrix` is (rows, dim), of whatever numbers the vectors are kept in; comparing is done in float32."""

    __slots__ = ("_known", "_lengths", "matrix", "rows", "width")

    def __init__(self, matrix: npt.NDArray[Any], lengths: Callable[[], Scores] | None = None) -> None:
        """`lengths` are asked for when they are first needed: somebody may know them already."""
        self.matrix = matrix
        self.rows: int = matrix.shape[0]
        self.width: int = matrix.shape[1]
        self._lengths = lengths
        self._known: Scores | None = None

    def __len__(self) -> int:
        return self.rows

    @property
    def nbytes(self) -> int:
        return self.matrix.nbytes

    @property
    def lengths(self) -> Scores:
        """Euclidean length of each row, 1 for a zero row; computed once."""
        known = self._known
        if known is None:
            known = self._known = self._measure() if self._lengths is None else self._lengths()
        return known

    def _measure(self) -> Scores:
        lengths = np.empty(self.rows, np.float32)
        step = block_rows(self.width)
        for at in range(0, self.rows, step):
            lengths[at : at + step] = lengths_of(self.floats(slice(at, at + step)))
        return lengths

    @abstractmethod
    def floats(self, rows: RowNumbers | slice) -> Vectors:
        """The float32 vectors of some rows: row numbers of any shape, and one axis more. A slice may give a view."""

    @abstractmethod
    def search(self, queries: Vectors, k: int, metric: Metric, pool: Executor | None) -> tuple[Scores, RowNumbers]: ...

    def ranked(self, queries: Vectors, found: RowNumbers, k: int, metric: Metric) -> tuple[Scores, RowNumbers]:
        scores = np.empty(found.shape, np.float32)
        step = max(1, GATHERED_FLOATS // max(1, found.shape[1] * self.width))
        for at in range(0, len(found), step):
            some = found[at : at + step]
            places = np.arange(some.size).reshape(some.shape)
            wide = self.floats(some.reshape(-1))
            scores[at : at + step] = pair_scores(wide, queries[at : at + step], places, metric)
        scores[found < 0] = np.inf if metric is Metric.L2 else -np.inf
        return best_of(scores, found, k, metric)

    def scores(self, query: Vectors, metric: Metric, rows: RowNumbers | None = None) -> Scores:
        total = self.rows if rows is None else len(rows)
        scores = np.empty(total, np.float32)
        step = block_rows(self.width)
        for at in range(0, total, step):
            some = self.floats(slice(at, at + step) if rows is None else rows[at : at + step])
            scores_alike(some, query[0], metric, scores[at : at + step])
        return scores

    def gather(self, rows: RowNumbers) -> Self:
        return type(self)(self.matrix[rows])

    def head(self, rows: int) -> Self:
        return type(self)(self.matrix[:rows], lambda: self.lengths[:rows])


class FloatColumn(DenseColumn):
    """float32."""

    __slots__ = ()

    def floats(self, rows: RowNumbers | slice) -> Vectors:
        return self.matrix[rows]

    def search(self, queries: Vectors, k: int, metric: Metric, pool: Executor | None) -> tuple[Scores, RowNumbers]:
        lengths = self.lengths if metric is Metric.COSINE else None
        return exact_search(self.matrix, queries, k, metric, lengths, pool)

    def ranked(self, queries: Vectors, found: RowNumbers, k: int, metric: Metric) -> tuple[Scores, RowNumbers]:
        return best_of(pair_scores(self.matrix, queries, found, metric), found, k, metric)

    def alone(self, metric: Metric, width: int) -> Callable[[Vectors, Candidates], None]:
        """See `scores_alone`."""
        return scores_alone(self.matrix, metric, width)


class _NarrowColumn(DenseColumn):
    """Numbers narrower than float32, made wide a block at a time."""

    __slots__ = ()

    def floats(self, rows: RowNumbers | slice) -> Vectors:
        some = self.matrix[rows]
        out = np.empty(some.shape, np.float32)
        self._widen(some, out)
        return out

    @abstractmethod
    def _widen(self, some: npt.NDArray[Any], out: Vectors) -> None:
        """The same numbers as float32."""

    def search(self, queries: Vectors, k: int, metric: Metric, pool: Executor | None) -> tuple[Scores, RowNumbers]:
        rows, nq = self.rows, len(queries)
        if min(k, rows) == 0:
            return np.zeros((nq, k), np.float32), np.full((nq, k), NO_ROW, np.int64)
        if metric is Metric.COSINE:
            _ = self.lengths  # measured here, once, rather than by each thread
        if pool is None or nq >= MATRIX_PRODUCT_QUERIES or nq * rows * self.width < LARGE_CALL:
            return self.ranked(queries, self._candidates(0, rows, queries, k, metric), k, metric)
        cuts = np.linspace(0, rows, CORES + 1).astype(int).tolist()
        found = shared_out(pool, lambda piece: self._candidates(*piece, queries, k, metric), list(pairwise(cuts)))
        return self.ranked(queries, np.concatenate(found, axis=1), k, metric)

    def _candidates(self, start: int, end: int, queries: Vectors, k: int, metric: Metric) -> RowNumbers:
        """(nq, `k` or a few more, at most all) rows of a piece among which its best `k` are."""
        cosine = metric is Metric.COSINE
        queries = normalized(queries) if cosine else queries
        kept = min(k + SPARE, end - start)
        step = max(block_rows(self.width), kept)
        wide = np.empty((min(step, end - start), self.width), np.float32)
        best: tuple[Scores, RowNumbers] | None = None
        for at in range(start, end, step):
            until = min(at + step, end)
            block = wide[: until - at]
            self._widen(self.matrix[at:until], block)
            if cosine:
                block *= 1 / self.lengths[at:until, None]
            found = _nearest(queries, block, min(kept, len(block)), metric)
            found = (found[0], found[1] + at)
            best = found if best is None else _better(best, found, kept, metric)
        assert best is not None, "there are rows"
        return best[1]


def _nearest(queries: Vectors, block: Vectors, k: int, metric: Metric) -> tuple[Scores, RowNumbers]:
    use_threads(len(queries) * block.size)
    kind = faiss.METRIC_L2 if metric is Metric.L2 else faiss.METRIC_INNER_PRODUCT
    found: tuple[Scores, RowNumbers] = faiss.knn(queries, block, k, metric=kind)
    return found


def _better(
    some: tuple[Scores, RowNumbers], others: tuple[Scores, RowNumbers], k: int, metric: Metric
) -> tuple[Scores, RowNumbers]:
    """The best `k` of both for each query, in any order."""
    scores = np.concatenate([some[0], others[0]], axis=1)
    rows = np.concatenate([some[1], others[1]], axis=1)
    if scores.shape[1] <= k:
        return scores, rows
    rank = scores if metric is Metric.L2 else -scores
    chosen = np.argpartition(rank, k - 1, axis=1)[:, :k]
    return np.take_along_axis(scores, chosen, axis=1), np.take_along_axis(rows, chosen, axis=1)


class HalfColumn(_NarrowColumn):
    """float16; or bfloat16, whose bits are kept as uint16, numpy having no such type. All numbers are finite."""

    __slots__ = ()

    def _widen(self, some: npt.NDArray[Any], out: Vectors) -> None:
        if some.dtype == np.uint16:
            widen_bfloat16(some, out)
        elif self.matrix.size < NATIVE_FLOATS or not some.flags.c_contiguous:
            np.copyto(out, some)
        else:
            from redkite.index.half_kernels import widen_halves

            widen_halves(some.reshape(-1).view(np.uint16), out.reshape(-1).view(np.uint32))


class ByteColumn(_NarrowColumn):
    """int8."""

    __slots__ = ()

    def _widen(self, some: npt.NDArray[Any], out: Vectors) -> None:
        np.copyto(out, some)


def block_rows(width: int) -> int:
    """Rows that are compared at a time."""
    return max(1, CACHED_FLOATS // max(1, width))
