"""HNSW: a navigable small-world graph over half-precision copies of the vectors (Malkov and Yashunin, 2018).

The graph ranks by float16 codes, which halves memory and traffic at equal recall; where float16 would blur the
neighbourhoods of the data (large offsets, huge values) the codes are float32. Scores shown to users never come from
codes. COSINE is inner product over vectors of length 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from redkite.index.base import Bitmap, RowNumbers, Scores, Vectors, normalized
from redkite.index.threads import CORES, faiss, use_threads
from redkite.model.types import Metric

_faiss: Any = faiss
"""For the classes that faiss's type stubs describe wrongly or not at all."""
HALF_MAX = 60_000.0
SAMPLE = 256
SAMPLE_NEIGHBOURS = 10
BUILD_STEP = 8_192
"""Rows added between two looks at whether the build is still wanted."""
SERIALIZE_STEP = 1 << 20
EF_WORK = 60
"""Distances computed per unit of ef, for guessing a call's cost."""


class BuildCancelled(Exception):
    """The builder was told to stop."""


class HnswIndex:
    """A built graph. `search` takes `ef` from params."""

    approximate = True

    def __init__(self, graph: Any, metric: Metric, backing: object = None) -> None:
        self._graph = graph
        self.metric = metric
        self.rows: int = graph.ntotal
        self._dim: int = graph.d
        self._backing = backing
        self._params: dict[int, Any] = {}

    def search(
        self, queries: Vectors, k: int, params: dict[str, int], allowed: Bitmap | None
    ) -> tuple[Scores, RowNumbers]:
        nq, ef = len(queries), params["ef"]
        if self.metric is Metric.COSINE:
            queries = normalized(queries)
        scores = np.empty((nq, k), np.float32)
        rows = np.empty((nq, k), np.int64)
        if allowed is None:
            settings = self._params.get(ef)
            if settings is None:
                settings = self._params[ef] = _faiss.SearchParametersHNSW(efSearch=ef)
        else:
            selector = faiss.IDSelectorBitmap(len(allowed), faiss.swig_ptr(allowed))
            settings = _faiss.SearchParametersHNSW(efSearch=ef, sel=selector)
        use_threads(nq * ef * EF_WORK * self._dim if nq > 1 else 0)
        self._graph.search_c(nq, faiss.swig_ptr(queries), k, faiss.swig_ptr(scores), faiss.swig_ptr(rows), settings)
        return scores, rows

    def memory(self) -> int:
        codes = self._graph.storage.sa_code_size() * self.rows
        links: int = self._graph.hnsw.neighbors.size() * 4
        return int(codes + links)

    def serialize(self) -> memoryview:
        # Piece by piece: faiss's own serialisation holds the index four times.
        data = bytearray()
        writer = _faiss.PyCallbackIOWriter(data.extend, SERIALIZE_STEP)
        _faiss.write_index(self._graph, writer)
        return memoryview(data)

    @classmethod
    def open(cls, path: str | None, data: memoryview, metric: Metric) -> HnswIndex:
        """From a file, mapped; or from bytes where there is no file."""
        if path is not None:
            return cls(faiss.read_index(path, faiss.IO_FLAG_MMAP_IFC), metric)
        return cls(faiss.deserialize_index(np.frombuffer(data, np.uint8)), metric)


def build_hnsw(
    vectors: Vectors, metric: Metric, m: int, ef_construction: int, wanted: Callable[[], bool], threads: int = CORES
) -> HnswIndex:
    """Build over all rows; `wanted` is asked now and then, and BuildCancelled raised when it says no."""
    kind = faiss.METRIC_L2 if metric is Metric.L2 else faiss.METRIC_INNER_PRODUCT
    dim = vectors.shape[1]
    graph: Any
    if half_precision_suffices(vectors, metric):
        graph = _faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_fp16, m, kind)
        graph.is_trained = True
        graph.storage.is_trained = True
    else:
        graph = _faiss.IndexHNSWFlat(dim, m, kind)
    graph.hnsw.efConstruction = ef_construction
    for at in range(0, len(vectors), BUILD_STEP):
        if not wanted():
            raise BuildCancelled
        block = vectors[at : at + BUILD_STEP]
        faiss.omp_set_num_threads(threads)
        graph.add(normalized(block) if metric is Metric.COSINE else np.ascontiguousarray(block))
    return HnswIndex(graph, metric)


def half_precision_suffices(vectors: Vectors, metric: Metric) -> bool:
    """Whether float16 codes keep the neighbours of a sample: their 10 nearest by codes are the 10 nearest by float32,
    but for one in fifty, at the scale of the sample."""
    if metric is not Metric.COSINE and float(np.abs(vectors).max(initial=0)) > HALF_MAX:
        return False
    step = max(1, len(vectors) // (8 * SAMPLE))
    base = vectors[::step][: 8 * SAMPLE]
    if metric is Metric.COSINE:
        base = normalized(base)
    base = np.ascontiguousarray(base)
    queries = base[:: max(1, len(base) // SAMPLE)]
    k = min(SAMPLE_NEIGHBOURS, len(base))
    if metric is Metric.L2:
        # The mean does not move L2 neighbours, and float32 matrix products lose digits to it.
        centre = base.mean(axis=0)
        coded = base.astype(np.float16).astype(np.float32) - centre
        base, queries = base - centre, queries - centre
    else:
        coded = base.astype(np.float16).astype(np.float32)
    kind = faiss.METRIC_L2 if metric is Metric.L2 else faiss.METRIC_INNER_PRODUCT
    _, exact = faiss.knn(queries, base, k, metric=kind)
    _, blurred = faiss.knn(queries, coded, k, metric=kind)
    kept = sum(len(np.intersect1d(a, b)) for a, b in zip(exact, blurred, strict=True))
    return bool(kept >= 0.98 * exact.size)
