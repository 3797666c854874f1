"""Kernels over float32 matrices: every row compared, and the exact scores of candidates."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from redkite.env import Executor
from redkite.index.base import NO_ROW, RowNumbers, Scores, Vectors, lengths_of, normalized
from redkite.index.threads import CORES, LARGE_CALL, faiss, use_threads
from redkite.model.types import Metric

_faiss: Any = faiss
"""For a kernel that faiss's type stubs leave out."""
MATRIX_PRODUCT_QUERIES = 20
"""From this many queries faiss computes L2 by matrix products, which cancel digits: more rows are kept."""
SPARE = 32
BLOCK_FLOATS = 4_000_000
"""Numbers gathered at a time when candidates are re-scored, compared at a time when all are."""
Take = Callable[[RowNumbers], Vectors]
"""The float32 vectors of some rows: an array of row numbers of any shape, and one axis more."""


def exact_search(
    vectors: Vectors,
    queries: Vectors,
    k: int,
    metric: Metric,
    lengths: Scores | None = None,
    pool: Executor | None = None,
) -> tuple[Scores, RowNumbers]:
    """Best `k` of all rows of `vectors` per query: (nq, k) exact scores and row numbers, best first, NO_ROW as filler.

    `lengths` saves computing `lengths_of(vectors)` for COSINE. With a `pool`, a long scan for few queries is split over
    the cores (for many queries the library splits by query).
    """
    rows, nq = len(vectors), len(queries)
    if min(k, rows) == 0:
        return np.zeros((nq, k), np.float32), np.full((nq, k), NO_ROW, np.int64)
    if metric is Metric.COSINE and lengths is None:
        lengths = lengths_of(vectors)
    if pool is None or nq >= MATRIX_PRODUCT_QUERIES or nq * rows * vectors.shape[1] < LARGE_CALL:
        return ranked(vectors.__getitem__, queries, candidates(vectors, queries, k, metric, lengths), k, metric)
    cuts = np.linspace(0, rows, CORES + 1).astype(int)
    pieces = [
        (start, vectors[start:end], None if lengths is None else lengths[start:end]) for start, end in pairwise(cuts)
    ]
    others = [pool.submit(candidates, some, queries, k, metric, known) for _, some, known in pieces[1:]]
    found = [candidates(pieces[0][1], queries, k, metric, pieces[0][2])]
    for future, (start, some, known) in zip(others, pieces[1:], strict=True):
        # A piece that no thread has begun yet, because all are busy, is not waited for.
        rows_of = candidates(some, queries, k, metric, known) if future.cancel() else future.result()
        found.append(rows_of + start)
    return ranked(vectors.__getitem__, queries, np.concatenate(found, axis=1), k, metric)


def candidates(vectors: Vectors, queries: Vectors, k: int, metric: Metric, lengths: Scores | None) -> RowNumbers:
    """(nq, `k` or a few more, at most all) rows among which the best `k` are."""
    nq, rows = len(queries), len(vectors)
    if lengths is not None:
        return _cosine_candidates(vectors, lengths, normalized(queries), min(k + SPARE, rows))
    use_threads(nq * rows * vectors.shape[1])
    kind = faiss.METRIC_L2 if metric is Metric.L2 else faiss.METRIC_INNER_PRODUCT
    spare = SPARE if nq >= MATRIX_PRODUCT_QUERIES else 0
    found: RowNumbers = faiss.knn(queries, vectors, min(k + spare, rows), metric=kind)[1]
    return found


def _cosine_candidates(vectors: Vectors, lengths: Scores, queries: Vectors, k: int) -> RowNumbers:
    """Rows of largest cosine, in any order."""
    rows, dim = vectors.shape
    found = np.empty((len(queries), k), np.int64)
    block = max(1, BLOCK_FLOATS // rows) if len(queries) >= MATRIX_PRODUCT_QUERIES else 1
    cosines = np.empty((block, rows), np.float32)
    for at in range(0, len(queries), block):
        some = queries[at : at + block]
        if block == 1:
            # The library's own kernel: numpy's would wake its threads for a single row, and leave them spinning.
            _faiss.fvec_inner_products_ny(
                faiss.swig_ptr(cosines), faiss.swig_ptr(some), faiss.swig_ptr(vectors), dim, rows
            )
        else:
            np.matmul(some, vectors.T, out=cosines[: len(some)])
        close = cosines[: len(some)]
        close /= lengths
        found[at : at + block] = np.argpartition(close, -k, axis=1)[:, -k:] if k < rows else np.arange(k)
    return found


def score_rows(vectors: Vectors, query: Vectors, metric: Metric) -> Scores:
    """Exact float32 scores of (rows, dim) vectors for one (dim,) query: squared L2, inner product, or cosine in
    [-1, 1] (0 for a zero vector)."""
    if metric is Metric.L2:
        apart = vectors - query
        distances: Scores = np.vecdot(apart, apart)
        return distances
    products: Scores = vectors @ query
    if metric is Metric.IP:
        return products
    lengths = np.sqrt(np.vecdot(vectors, vectors) * (query @ query))
    lengths[lengths == 0] = 1
    products /= lengths
    return np.clip(products, -1, 1, out=products)


def scores_alike(vectors: Vectors, query: Vectors, metric: Metric, out: Scores) -> None:
    """`score_rows` into `out`, each row computed alike wherever it stands: products of matrices do not do that."""
    if metric is Metric.L2:
        apart = vectors - query
        np.vecdot(apart, apart, out=out)
        return
    np.vecdot(vectors, query, out=out)
    if metric is Metric.COSINE:
        lengths = np.sqrt(np.vecdot(vectors, vectors) * np.vecdot(query, query))
        lengths[lengths == 0] = 1
        out /= lengths
        np.clip(out, -1, 1, out=out)


def _score_candidates(take: Take, queries: Vectors, found: RowNumbers, metric: Metric) -> Scores:
    """`score_rows` of (nq, width) candidate rows, a block of queries at a time."""
    scores = np.empty(found.shape, np.float32)
    step = max(1, BLOCK_FLOATS // max(1, found.shape[1] * queries.shape[1]))
    for at in range(0, len(found), step):
        some, asked = take(found[at : at + step]), queries[at : at + step]
        if metric is Metric.L2:
            some -= asked[:, None, :]
            np.vecdot(some, some, out=scores[at : at + step])
            continue
        block = np.vecdot(some, asked[:, None, :], out=scores[at : at + step])
        if metric is Metric.COSINE:
            lengths = np.sqrt(np.vecdot(some, some) * np.vecdot(asked, asked)[:, None])
            lengths[lengths == 0] = 1
            block /= lengths
            np.clip(block, -1, 1, out=block)
    return scores


def ranked(take: Take, queries: Vectors, found: RowNumbers, k: int, metric: Metric) -> tuple[Scores, RowNumbers]:
    """Score candidate rows (nq, width; NO_ROW is skipped) exactly, keep the best `k`: (nq, k) scores and row numbers,
    best first, NO_ROW at the end where there are fewer."""
    nq, width = found.shape
    if nq == 1 and width >= k and found[0, -1] >= 0:
        # The everyday search: numpy's per-call costs are a good part of it, so no step more than needed.
        rows = found[0]
        one = score_rows(take(rows), queries[0], metric)
        best = np.argsort(-one if metric.larger_is_closer else one, kind="stable")[:k]
        return one[best][None, :], rows[best][None, :]
    scores = _score_candidates(take, queries, found, metric)
    rank = -scores if metric.larger_is_closer else scores.copy()
    rank[found < 0] = np.inf
    order = np.argsort(rank, axis=1, kind="stable")[:, :k]
    best_scores = np.take_along_axis(scores, order, axis=1)
    best_rows = np.take_along_axis(found, order, axis=1)
    if width >= k:
        return best_scores, best_rows
    filler = ((0, 0), (0, k - width))
    return np.pad(best_scores, filler), np.pad(best_rows, filler, constant_values=NO_ROW)
