"""Exact scores of pairs of a query and a row.

One kernel computes every score that is answered, whichever way the row was found: a row's score is the same to the last
bit whether an index or a scan came upon it, alone or among thousands.
"""

from __future__ import annotations

from functools import lru_cache
from operator import ge, le

import numpy as np
import numpy.typing as npt

from redkite.index.base import NO_ROW, RowNumbers, Scores, Vectors
from redkite.index.threads import native, use_threads
from redkite.model.types import Metric

_pointer = native("swig_ptr")
_distances = native("fvec_L2sqr_by_idx")
_products = native("fvec_inner_products_by_idx")
_squared_lengths = native("fvec_norms_L2sqr")
_FEW = 64
"""Numbers that Python compares quicker than numpy."""


def pair_scores(matrix: Vectors, queries: Vectors, rows: RowNumbers, metric: Metric) -> Scores:
    """(nq, width) scores of `rows`, row numbers of that shape, of a (any, dim) `matrix`, for (nq, dim) queries: squared
    L2, inner product, or cosine in [-1, 1], 0 for a zero vector. NO_ROW scores infinitely far."""
    nq, width = rows.shape
    dim = matrix.shape[1]
    if not matrix.flags.c_contiguous:  # one row stands for all, in a field that was added later
        matrix, rows = matrix[rows.reshape(-1)], _places(rows.size).reshape(rows.shape)
    if not rows.flags.c_contiguous:
        rows = np.ascontiguousarray(rows)
    if not queries.flags.c_contiguous:
        queries = np.ascontiguousarray(queries)
    if nq > 1:  # else it takes one thread anyway
        use_threads(rows.size * dim)
    scores = np.empty((nq, width), np.float32)
    pointers = _pointer(queries), _pointer(matrix), _pointer(rows), dim, nq, width
    if metric is Metric.L2:
        _distances(_pointer(scores), *pointers)
        return scores
    _products(_pointer(scores), *pointers)
    if metric is Metric.COSINE:
        # The distance from the origin is the square of the length, and costs no copy of the rows.
        lengths, origin = np.empty((nq, width), np.float32), np.zeros((nq, dim), np.float32)
        _distances(_pointer(lengths), _pointer(origin), *pointers[1:])
        missing = rows < 0
        if missing.any():
            scores[missing], lengths[missing] = 0, 1
            _divide(scores, lengths, queries)
            scores[missing] = -np.inf
        else:
            _divide(scores, lengths, queries)
    return scores


def scores_alike(vectors: Vectors, query: Vectors, metric: Metric, out: Scores) -> None:
    """`pair_scores` of all (rows, dim) vectors and one (dim,) query, into `out`."""
    vectors = np.ascontiguousarray(vectors)
    out[:] = pair_scores(vectors, query[None], _places(len(vectors))[None], metric)[0]


def _divide(products: Scores, squares: Scores, queries: Vectors) -> None:
    """Make inner products cosines, given the squared lengths of the rows."""
    own = np.empty(len(queries), np.float32)
    _squared_lengths(_pointer(own), _pointer(queries), queries.shape[1], len(queries))
    squares *= own[:, None]
    np.sqrt(squares, out=squares)
    squares[squares == 0] = 1
    products /= squares
    np.clip(products, -1, 1, out=products)


def best_of(scores: Scores, rows: RowNumbers, k: int, metric: Metric) -> tuple[Scores, RowNumbers]:
    """The best `k` of (nq, width) rows as `pair_scores` scored them, NO_ROW skipped: (nq, k) scores and row numbers,
    best first, NO_ROW at the end where there are fewer. Equal ones stay in their order."""
    nq, width = rows.shape
    if nq == 1 and width >= k and rows[0, -1] >= 0:
        # The everyday search: numpy's cost for each call is a good part of it, so no step more than needed.
        if width == k <= _FEW:
            values = scores[0].tolist()
            if all(map(le if metric is Metric.L2 else ge, values, values[1:])):
                return scores, rows
        if rows.min() >= 0:
            best = np.argsort(scores[0] if metric is Metric.L2 else -scores[0], kind="stable")[:k]
            return scores[0][best][None, :], rows[0][best][None, :]
    rank = scores.copy() if metric is Metric.L2 else -scores
    rank[rows < 0] = np.inf
    order = np.argsort(rank, axis=1, kind="stable")[:, :k]
    best_scores, best_rows = np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)
    if width >= k:
        return best_scores, best_rows
    filler = ((0, 0), (0, k - width))
    return np.pad(best_scores, filler), np.pad(best_rows, filler, constant_values=NO_ROW)


@lru_cache(maxsize=16)
def _places(count: int) -> npt.NDArray[np.int64]:
    places = np.arange(count)
    places.flags.writeable = False
    return places
