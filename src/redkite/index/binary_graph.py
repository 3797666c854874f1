"""HNSW over binary vectors.

The graph is linked by Hamming distance. JACCARD asks it for all candidates of the walk and lets them be compared: where
vectors have about as many bits as one another, the two metrics have the same neighbours. Where a sample says that they
have not, the graph is linked by cosine, which looks at sizes as JACCARD does, over the bits spread out as numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from redkite.index.base import Bitmap, RowNumbers, Scores, SearchParams, normalized
from redkite.index.building import BUILD_STEP, Build, from_bytes, to_bytes, whole
from redkite.index.effort import LEAST, MEASURED, measured_effort, resolved, settled
from redkite.index.faiss_index import scaled, with_selector
from redkite.index.hnsw import AUTO_EF_CONSTRUCTION, MOST_DEFAULT_EF, links_each
from redkite.index.threads import faiss, use_threads
from redkite.model.segments import IndexSpec
from redkite.model.types import Metric

_faiss: Any = faiss
Bits = npt.NDArray[np.uint8]
SAMPLE = 2_000
SAMPLE_QUERIES = 100
NEIGHBOURS = 10
WALKED = 48
"""Of the nearest by Hamming distance, so many must hold the nearest by Jaccard."""
ENOUGH = 0.95
EF_WORK = 60
_BITS_AT_ONCE = 64
_BINARY_MARK = b"IB"
"""What the stored bytes of an index over bits begin with."""


class BinaryGraph:
    """A built graph. `search` takes `ef` from params."""

    approximate = True
    takes_bitmap = True
    effort = "ef"

    def __init__(self, inner: Any, metric: Metric) -> None:
        self._inner = inner
        self.metric = metric
        self.rows: int = inner.ntotal
        self._dim: int = inner.d
        self._is_spread = not isinstance(inner, _faiss.IndexBinary)
        self.least: int = inner.hnsw.efSearch

    def search(self, queries: Bits, k: int, params: SearchParams, allowed: Bitmap | None) -> tuple[Scores, RowNumbers]:
        nq, ef = len(queries), resolved(params, "ef", self.least)
        width = min(max(k, ef) if self.metric is Metric.JACCARD else k, self.rows)
        asked: Any = normalized(spread(queries)) if self._is_spread else np.ascontiguousarray(queries)
        scores = np.empty((nq, width), np.float32 if self._is_spread else np.int32)
        rows = np.empty((nq, width), np.int64)
        selector = None if allowed is None else faiss.IDSelectorBitmap(len(allowed), faiss.swig_ptr(allowed))
        settings = with_selector(_faiss.SearchParametersHNSW, selector, efSearch=max(ef, width))
        use_threads(nq * ef * EF_WORK * self._dim // _BITS_AT_ONCE if nq > 1 else 0)
        self._inner.search_c(nq, faiss.swig_ptr(asked), width, faiss.swig_ptr(scores), faiss.swig_ptr(rows), settings)
        return scores.astype(np.float32, copy=False), rows

    def widened(self, params: SearchParams, k: int, factor: float) -> SearchParams:
        return scaled(settled(params, "ef", self.least), "ef", k, factor, max(self.rows, k))

    def memory(self) -> int:
        each = self._dim * 2 if self._is_spread else self._dim // 8
        return int(each * self.rows + self._inner.hnsw.neighbors.size() * 4)


def spread(bits: Bits) -> npt.NDArray[np.float32]:
    """Packed bits as one number each, 0 or 1."""
    return np.unpackbits(bits, axis=1, bitorder="little").astype(np.float32)


def _graph_of_numbers(dim: int, links: int) -> Any:
    graph = _faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_fp16, links, faiss.METRIC_INNER_PRODUCT)
    graph.is_trained = True
    graph.storage.is_trained = True
    return graph


def build_graph(build: Build) -> memoryview:
    """The bytes of a graph over all rows. Raises BuildCancelled."""
    matrix, links = build.binary.matrix, links_each(build.spec.build)
    dim = matrix.shape[1] * 8
    by_numbers = build.metric is Metric.JACCARD and not hamming_suffices(matrix)
    graph: Any = _graph_of_numbers(dim, links) if by_numbers else _faiss.IndexBinaryHNSW(dim, links)
    graph.hnsw.efConstruction = whole(build.spec.build, "efConstruction", AUTO_EF_CONSTRUCTION)
    for at in range(0, build.rows, BUILD_STEP):
        build.begin()
        block = np.ascontiguousarray(matrix[at : at + BUILD_STEP])
        graph.add(normalized(spread(block)) if by_numbers else block)
    asked, most = BinaryGraph(graph, build.metric), min(MOST_DEFAULT_EF, max(LEAST["ef"], build.rows))
    graph.hnsw.efSearch = measured_effort(build, asked, {MEASURED: "ef"}, most)
    return to_bytes(graph)


def open_graph(spec: IndexSpec, path: str | None, data: memoryview) -> BinaryGraph:
    binary = bytes(data[: len(_BINARY_MARK)]) == _BINARY_MARK
    return BinaryGraph(from_bytes(path, data, binary=binary), spec.metric or Metric.HAMMING)


def build_bytes(spec: IndexSpec, rows: int, width: int) -> int:
    """Memory that building and storing takes at most, about. `width` is in bytes."""
    each = 16 * width if spec.metric is Metric.JACCARD else width
    return 2 * rows * (each + 10 * links_each(spec.build) + 64)


def hamming_suffices(matrix: Bits) -> bool:
    """Whether the nearest rows by Jaccard distance are among the nearest by Hamming distance, in a sample."""
    base = matrix[:: max(1, len(matrix) // SAMPLE)][:SAMPLE]
    if len(base) <= WALKED:
        return True
    spread_out = spread(base)
    queries = spread_out[:: max(1, len(base) // SAMPLE_QUERIES)]
    both = queries @ spread_out.T
    sizes, own = spread_out.sum(axis=1), queries.sum(axis=1)
    either = own[:, None] + sizes - both
    alike = np.divide(both, either, out=np.ones_like(both), where=either > 0)
    nearest = np.argpartition(-alike, NEIGHBOURS, axis=1)[:, : NEIGHBOURS + 1]
    apart = either - both
    bound = np.partition(apart, WALKED - 1, axis=1)[:, WALKED - 1 : WALKED]
    return bool((np.take_along_axis(apart, nearest, axis=1) <= bound).mean() >= ENOUGH)
