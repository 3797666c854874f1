"""Every row of a float32 matrix compared."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from redkite.env import Executor
from redkite.index.base import NO_ROW, RowNumbers, Scores, Vectors, lengths_of, normalized
from redkite.index.scoring import best_of, pair_scores
from redkite.index.threads import CORES, LARGE_CALL, faiss, shared_out, use_threads
from redkite.model.types import Metric

_faiss: Any = faiss
"""For a kernel that faiss's type stubs leave out."""
MATRIX_PRODUCT_QUERIES = 20
"""From this many queries faiss computes L2 by matrix products, which cancel digits: more rows are kept."""
SPARE = 32
BLOCK_FLOATS = 4_000_000
"""Numbers compared at a time."""


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
        return ranked(vectors, queries, candidates(vectors, queries, k, metric, lengths), k, metric)
    cuts = np.linspace(0, rows, CORES + 1).astype(int).tolist()

    def compared(piece: tuple[int, int]) -> RowNumbers:
        start, end = piece
        known = None if lengths is None else lengths[start:end]
        return candidates(vectors[start:end], queries, k, metric, known) + start

    found = np.concatenate(shared_out(pool, compared, list(pairwise(cuts))), axis=1)
    return ranked(vectors, queries, found, k, metric)


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


def ranked(vectors: Vectors, queries: Vectors, found: RowNumbers, k: int, metric: Metric) -> tuple[Scores, RowNumbers]:
    """Score candidate rows (nq, width; NO_ROW is skipped) exactly, keep the best `k`: (nq, k) scores and row numbers,
    best first, NO_ROW at the end where there are fewer."""
    return best_of(pair_scores(vectors, queries, found, metric), found, k, metric)
