"""Exact scores of pairs of a query and a row.

One kernel computes every score that is answered, whichever way the row was found: a row's score is the same to the last
bit whether an index or a scan came upon it, alone or among thousands.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from operator import ge, le

import numpy as np
import numpy.typing as npt

from redkite.index.base import LEAST_SQUARE, MOST_SQUARE, NO_ROW, RowNumbers, Scores, Vectors
from redkite.index.threads import native, use_threads
from redkite.model.types import Metric

_pointer = native("swig_ptr")
_distances = native("fvec_L2sqr_by_idx")
_products = native("fvec_inner_products_by_idx")
_squared_lengths = native("fvec_norms_L2sqr")
_SCORE, _ROW = np.dtype(np.float32), np.dtype(np.int64)
_FEW = 64
"""Numbers that Python compares quicker than numpy."""
_SOME = 384
"""Scores of one query up to which numpy's stable order costs less than a few calls more."""
PICKED = 8
"""A number of a row that is picked costs as much time as so many of rows that lie side by side."""
_NOTHING = np.float32(0)
_ALL_BUT_SIGN, _PLACE = np.int32(0x7FFFFFFF), np.int64(0xFFFFFFFF)


class Candidates:
    """Of one query: (width,) row numbers and scores, uninitialised, and what native code knows them by."""

    __slots__ = ("rows", "scores", "to_rows", "to_scores")

    def __init__(self, width: int) -> None:
        self.rows, self.scores = np.empty(width, _ROW), np.empty(width, _SCORE)
        self.to_rows, self.to_scores = _pointer(self.rows), _pointer(self.scores)


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
    use_threads(PICKED * rows.size * dim if nq > 1 else 0)  # one query is never split
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
            _divide(scores, lengths, queries, matrix, rows)
            scores[missing] = -np.inf
        else:
            _divide(scores, lengths, queries, matrix, rows)
    return scores


def scores_alone(matrix: Vectors, metric: Metric, width: int) -> Callable[[Vectors, Candidates], None]:
    """`pair_scores` of rows of a matrix for one query, prepared: gives `width` candidates their scores, by a (1, dim)
    query in one piece. It uses as many threads as `use_threads` has said last."""
    if metric is Metric.COSINE or not matrix.flags.c_contiguous:

        def whole(query: Vectors, candidates: Candidates) -> None:
            candidates.scores[:] = pair_scores(matrix, query, candidates.rows[None], metric)[0]

        return whole
    dim, compare = matrix.shape[1], _distances if metric is Metric.L2 else _products
    vectors = _pointer(matrix), matrix  # what is pointed to stays

    def direct(query: Vectors, candidates: Candidates) -> None:
        compare(candidates.to_scores, _pointer(query), vectors[0], candidates.to_rows, dim, 1, width)

    return direct


def closeness(matrix: Vectors, rows: RowNumbers | None, query: Vectors, metric: Metric) -> Scores:
    """(n,) numbers that are smaller for rows nearer to a (1, dim) query: the squared L2 distance, or minus the product,
    which for COSINE is still to be divided by lengths. `rows` of a contiguous (any, dim) `matrix`, or all of it."""
    if rows is None:
        rows = _places(len(matrix))
    close = np.empty(len(rows), np.float32)
    compare = _distances if metric is Metric.L2 else _products
    compare(_pointer(close), _pointer(query), _pointer(matrix), _pointer(rows), matrix.shape[1], 1, len(rows))
    if metric is not Metric.L2:
        np.negative(close, out=close)
    return close


def scores_alike(vectors: Vectors, query: Vectors, metric: Metric, out: Scores) -> None:
    """`pair_scores` of all (rows, dim) vectors and one (dim,) query, into `out`."""
    vectors = np.ascontiguousarray(vectors)
    out[:] = pair_scores(vectors, query[None], _places(len(vectors))[None], metric)[0]


def _divide(products: Scores, squares: Scores, queries: Vectors, matrix: Vectors, rows: RowNumbers) -> None:
    """Make inner products cosines, given the squared lengths of the rows."""
    if not squares.size:
        return
    own = np.empty(len(queries), np.float32)
    _squared_lengths(_pointer(own), _pointer(queries), queries.shape[1], len(queries))
    odd = None
    if not (_is_common(own) and _is_common(squares)):
        odd = ~((squares >= LEAST_SQUARE) & (squares <= MOST_SQUARE))
        odd |= ~((own >= LEAST_SQUARE) & (own <= MOST_SQUARE))[:, None]
        products[odd], squares[odd] = _wide_cosines(queries, matrix, rows, odd), 1
        own[odd.all(axis=1)] = 1
    squares *= own[:, None]
    np.sqrt(squares, out=squares)
    if odd is not None:
        squares[odd] = 1
    products /= squares
    np.clip(products, -1, 1, out=products)


def _is_common(squares: Scores) -> bool:
    if squares.size > _FEW:
        return bool(squares.min() >= LEAST_SQUARE and squares.max() <= MOST_SQUARE)
    numbers = squares.ravel().tolist()
    return bool(min(numbers) >= LEAST_SQUARE and max(numbers) <= MOST_SQUARE)


def _wide_cosines(
    queries: Vectors, matrix: Vectors, rows: RowNumbers, wanted: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Cosines of the pairs that single precision is too narrow for."""
    number, place = np.nonzero(wanted)
    own, theirs = queries[number].astype(np.float64), matrix[rows[number, place]].astype(np.float64)
    lengths = np.sqrt(np.vecdot(own, own)) * np.sqrt(np.vecdot(theirs, theirs))
    lengths[lengths == 0] = 1
    cosines: npt.NDArray[np.float64] = np.vecdot(own, theirs) / lengths
    return cosines


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
            best_scores, best_rows = best_alone(scores[0], rows[0], k, metric)
            return best_scores[None], best_rows[None]
    rank = scores + _NOTHING if metric is Metric.L2 else _NOTHING - scores  # both make -0 a 0
    rank[rows < 0] = np.inf
    places = _smallest(rank, k)
    places += width * np.arange(nq)[:, None]
    best_scores, best_rows = scores.take(places), rows.take(places)
    if width >= k:
        return best_scores, best_rows
    filler = ((0, 0), (0, k - width))
    return np.pad(best_scores, filler), np.pad(best_rows, filler, constant_values=NO_ROW)


def best_alone(scores: Scores, rows: RowNumbers, k: int, metric: Metric) -> tuple[Scores, RowNumbers]:
    """`best_of` of one query, none of whose (width,) rows is NO_ROW, `k` at most: (k,) scores and row numbers."""
    if len(rows) > _SOME:
        best = _smallest((scores + _NOTHING if metric is Metric.L2 else _NOTHING - scores)[None], k)[0]
    else:
        best = (scores if metric is Metric.L2 else -scores).argsort(kind="stable")[:k]
    return scores[best], rows[best]


def _smallest(rank: Scores, k: int) -> RowNumbers:
    """The places of the `k` smallest numbers (all, where there are fewer) in each row of `rank`, smallest first, equal
    ones in their order, NaN last. `rank` has no -0, and may be changed.

    numpy sorts whole numbers several times as quickly as it finds a stable order: so each is put before its place.
    """
    rank[np.isnan(rank)] = np.nan  # a positive one
    bits = rank.view(np.int32)
    keys = (bits ^ ((bits >> 31) & _ALL_BUT_SIGN)).astype(np.int64)  # as large or small as the numbers are
    keys <<= 32
    keys |= _places(rank.shape[1])
    keys.sort(axis=1)
    return keys[:, :k] & _PLACE


@lru_cache(maxsize=16)
def _places(count: int) -> npt.NDArray[np.int64]:
    places = np.arange(count)
    places.flags.writeable = False
    return places
