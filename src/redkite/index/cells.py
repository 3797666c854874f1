"""Cells: the rows of a segment grouped by the nearest of a few centres, so that a scan can begin near a query.

Cells are no index that users choose. They serve filtered searches from places where the filter allows little, which a
graph answers badly: the rows to compare are then those of the nearest cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from redkite.index.base import RowNumbers, Scores, Vectors, normalized
from redkite.index.exact import SPARE
from redkite.index.threads import faiss, use_threads
from redkite.model.types import Metric

_faiss: Any = faiss
"""For kernels that faiss's type stubs leave out."""
CELLS = 128
ROWS_PER_CELL = 16
"""A segment gets no more cells than leave so many rows to each."""
SAMPLE_PER_CELL = 32
"""Rows that the centres are fitted to."""
ROUNDS = 5
"""Of k-means: the centres need not be good, only near."""
ASSIGN_STEP = 16_384
_SEED = 7


@dataclass(frozen=True, slots=True)
class Cells:
    """`centres` (cells, dim) float32, of vectors of length 1 for COSINE; `cell_of` (rows,) the cell of each row."""

    metric: Metric
    centres: Vectors
    cell_of: npt.NDArray[np.uint8]

    def nearest(self, queries: Vectors) -> RowNumbers:
        """(nq, cells) cells of each query, nearest first."""
        if self.metric is Metric.COSINE:
            queries = normalized(queries)
        far = -2 * (queries @ self.centres.T)
        if self.metric is not Metric.IP:
            far += np.vecdot(self.centres, self.centres)
        return np.argsort(far, axis=1)


def build_cells(vectors: Vectors, metric: Metric) -> Cells:
    """Fit centres to a sample and give every row its cell; some 0.2 s of one core for 12 million numbers."""
    rows, dim = vectors.shape
    count = max(1, min(CELLS, rows // ROWS_PER_CELL))
    sample = vectors[:: max(1, rows // (count * SAMPLE_PER_CELL))]
    sample = normalized(sample) if metric is Metric.COSINE else np.ascontiguousarray(sample)
    use_threads(0)
    means = faiss.Kmeans(dim, count, niter=ROUNDS, min_points_per_centroid=1, seed=_SEED)
    means.train(sample)
    centres: Vectors = np.asarray(means.centroids, np.float32)
    cell_of = np.empty(rows, np.uint8)
    for at in range(0, rows, ASSIGN_STEP):
        block = vectors[at : at + ASSIGN_STEP]
        block = normalized(block) if metric is Metric.COSINE else np.ascontiguousarray(block)
        cell_of[at : at + len(block)] = faiss.knn(block, centres, 1)[1][:, 0]
    return Cells(metric, centres, cell_of)


def closest_in(
    spans: list[tuple[int, int]], block: Vectors, lengths: Scores | None, query: Vectors, k: int, metric: Metric
) -> RowNumbers:
    """Places in `block` among which the best `k` of the given spans are, in any order: `k` or a few more, at most all.

    `lengths` of the block's rows are wanted for COSINE. The spans hold at least one row.
    """
    sizes = [end - start for start, end in spans]
    close = np.empty(sum(sizes), np.float32)
    asked, at, dim = faiss.swig_ptr(query), 0, block.shape[1]
    compare = _faiss.fvec_L2sqr_ny if metric is Metric.L2 else _faiss.fvec_inner_products_ny
    for (start, end), size in zip(spans, sizes, strict=True):
        compare(faiss.swig_ptr(close[at : at + size]), asked, faiss.swig_ptr(block[start:end]), dim, size)
        if lengths is not None:
            close[at : at + size] /= lengths[start:end]
        at += size
    wanted = min(k + SPARE, len(close))
    if metric is not Metric.L2:
        np.negative(close, out=close)
    best = np.argpartition(close, wanted - 1)[:wanted] if wanted < len(close) else np.arange(wanted)
    # From a place in `close` to one in `block`: each span is shifted by what was passed over before it.
    ends = np.cumsum(sizes)
    shifts = np.array([start for start, _ in spans]) - (ends - sizes)
    found: RowNumbers = (best + shifts[np.searchsorted(ends, best, "right")]).astype(np.int64, copy=False)
    return found
