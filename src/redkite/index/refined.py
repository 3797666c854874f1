"""Inverted lists and the vectors behind them as one index: the library itself compares the candidates once more.

What Python would do between its two calls, and after the second, costs as much as a small search; and the library gives
all of it to all cores where there are many queries. The scores are those of `pair_scores`: it is the same function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from redkite.index.base import RowNumbers, Scores, SearchParams, VectorColumn, VectorIndex, Vectors
from redkite.index.building import metric_code
from redkite.index.dense import FloatColumn
from redkite.index.faiss_index import remembered
from redkite.index.ivf import DiskannIndex, IvfIndex
from redkite.index.scoring import PICKED, Candidates
from redkite.index.threads import faiss, native, native_method, native_object, use_threads
from redkite.model.types import Metric

_faiss: Any = faiss
_SURELY: Final = 0.25
"""Of one candidate more: the library multiplies in single precision, and cuts off what is behind the point."""
_pointer = native("swig_ptr")


class Refined:
    """Searches of all rows, for as many as there are at most. Safe from any thread."""

    __slots__ = ("_index", "_kept", "_search", "_settings")

    def __init__(self, index: IvfIndex, column: FloatColumn) -> None:
        self._index = index
        whole = _faiss.IndexRefine(index.native, _flat_view(column.matrix, index.metric))
        self._kept = whole, column.matrix  # what is pointed to stays
        self._search = native_method(whole, "search_c")
        self._settings: dict[tuple[Any, ...], tuple[int, Any]] = {}

    def search(self, queries: Vectors, k: int, params: SearchParams) -> tuple[Scores, RowNumbers]:
        """(nq, k) scores and row numbers for (nq, dim) queries, best first, NO_ROW behind all others; equal scores in
        any order."""
        if not queries.flags.c_contiguous:
            queries = np.ascontiguousarray(queries)
        work, settings = remembered(self._settings, params, k, self._settled)
        nq = len(queries)
        scores, rows = np.empty((nq, k), np.float32), np.empty((nq, k), np.int64)
        use_threads(nq * work if nq > 1 else 0)
        self._search(nq, _pointer(queries), k, _pointer(scores), _pointer(rows), native_object(settings))
        return scores, rows

    def alone(self, params: SearchParams, k: int) -> Callable[[Vectors, Candidates], None]:
        """The same for one query, prepared: what fills `k` candidates by a (1, dim) query in one piece. It uses as many
        threads as `use_threads` has said last. Whoever calls it keeps this."""
        _, settings = self._settled(params, k)
        search, given = self._search, (native_object(settings), settings)  # what it refers to stays

        def near(query: Vectors, found: Candidates) -> None:
            search(1, _pointer(query), k, found.to_scores, found.to_rows, given[0])

        return near

    def _settled(self, params: SearchParams, k: int) -> tuple[int, Any]:
        """About how many numbers are compared for each query, and the native settings."""
        width, work, base = self._index.settled(params, k)
        settings = _faiss.IndexRefineSearchParameters(k_factor=(width + _SURELY) / k, base_index_params=base)
        return work + PICKED * width * self._index.dim, settings


def refined(index: VectorIndex, column: VectorColumn, metric: Metric) -> Refined | None:
    """Both as one; None where they cannot be: cosines want lengths that the library does not know, a graph's rows are
    in an order of its own, and vectors that lie on disk are sent for before they are compared."""
    if not isinstance(index, IvfIndex) or isinstance(index, DiskannIndex) or not isinstance(column, FloatColumn):
        return None
    if metric is Metric.COSINE or not column.matrix.flags.c_contiguous:
        return None
    return Refined(index, column)


def _flat_view(matrix: Vectors, metric: Metric) -> Any:
    """An index that compares all rows of a matrix where they are; whoever has it keeps the matrix."""
    flat = _faiss.IndexFlat(matrix.shape[1], metric_code(metric))
    codes, start = flat.codes, _pointer(matrix.view(np.uint8))
    codes.is_owned = False
    codes.view_data = codes.c_ptr = start
    codes.view_size = codes.c_size = matrix.nbytes
    flat.ntotal = len(matrix)
    return flat
