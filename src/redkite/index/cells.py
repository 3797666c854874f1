"""Cells: the rows of a segment grouped by the nearest of a few centres, so that a scan can begin near a query.

Cells are no index that users choose. They serve filtered searches from places where the filter allows little, which a
graph answers badly: the rows to compare are then those of the nearest cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from redkite.index.base import Scores, Vectors, lengths_of, normalized
from redkite.index.building import is_measurable
from redkite.index.scoring import closeness
from redkite.index.threads import faiss, use_threads
from redkite.model.types import Metric

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
    """`centres` (cells, dim) float32, of vectors of length 1 for COSINE; `cell_of` (rows,) the cell of each row.

    How far a row or a centre is from a query: the Euclidean distance, of vectors of length 1 for COSINE; for IP minus
    its product with the query made 1 long. A row's distance differs from that of its centre by no more than the two
    are apart, whatever the metric.
    """

    metric: Metric
    centres: Vectors
    cell_of: npt.NDArray[np.uint8]

    def asked(self, query: Vectors) -> Vectors:
        """A (1, dim) query as distances are measured from it."""
        return query if self.metric is Metric.L2 else normalized(query)

    def distances(self, asked: Vectors) -> Scores:
        """(cells,) how far the centres are."""
        metric = Metric.L2 if self.metric is Metric.COSINE else self.metric
        close = closeness(self.centres, None, asked, metric)
        return close if metric is Metric.IP else np.sqrt(close)

    def distance(self, close: float) -> float:
        """How far a row is, by its `closeness`."""
        if self.metric is Metric.IP:
            return close
        return math.sqrt(max(0.0, close if self.metric is Metric.L2 else 2 + 2 * close))

    def distances_scored(self, queries: Vectors, scores: Scores) -> Scores:
        """(nq, k) how far rows are, by their exact scores."""
        if self.metric is Metric.IP:
            far: Scores = -scores / lengths_of(queries)[:, None]
            return far
        return np.sqrt(np.maximum(scores if self.metric is Metric.L2 else 2 - 2 * scores, 0))


def build_cells(vectors: Vectors, metric: Metric) -> Cells:
    """Fit centres to a sample and give every row its cell; some 0.2 s of one core for 12 million numbers. Rows that are
    too far apart for single precision are all in one cell, which spares nobody anything."""
    rows, dim = vectors.shape
    if metric is not Metric.COSINE and not is_measurable(vectors):
        return Cells(metric, np.zeros((1, dim), np.float32), np.zeros(rows, np.uint8))
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
