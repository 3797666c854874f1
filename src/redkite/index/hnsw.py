"""HNSW: a navigable small-world graph over copies of the vectors (Malkov and Yashunin, 2018).

The graph is made over float16 copies, which halves memory and traffic at equal recall; where float16 would blur the
neighbourhoods of the data (large offsets, huge values) they are float32, and int8 vectors stay int8. HNSW_SQ, HNSW_PQ
and HNSW_PRQ put smaller codes in the place of the copies once the links are there. Scores shown to users never come
from codes. COSINE is inner product over vectors of length 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from redkite.index.base import SearchParams, Vectors, normalized
from redkite.index.building import Build, BuildCancelled, from_bytes, metric_code, to_bytes, whole
from redkite.index.codes import (
    bits_for,
    candidates_each,
    fill,
    keeps_codes,
    modest,
    parts_for,
    scalar_kind,
    with_refinement,
)
from redkite.index.dense import ByteColumn
from redkite.index.effort import LEAST, MEASURED, measured_effort, resolved
from redkite.index.faiss_index import FaissIndex, scaled, with_selector
from redkite.index.locality import near_order, reordered
from redkite.index.threads import faiss
from redkite.model.segments import IndexSpec
from redkite.model.types import Metric

__all__ = ["BuildCancelled", "HnswIndex", "build_bytes", "build_hnsw", "half_precision_suffices", "open_hnsw"]

_faiss: Any = faiss
"""For the classes that faiss's type stubs describe wrongly or not at all."""
AUTO_M, AUTO_EF_CONSTRUCTION = 18, 240
"""What AUTOINDEX stands for."""
MOST_DEFAULT_EF = 512
TREES_LEAST_M, TREES_MOST_M = 8, 64
HALF_MAX = 60_000.0
SAMPLE = 256
SAMPLE_NEIGHBOURS = 10
EF_WORK = 60
"""Distances computed per unit of ef, for guessing a call's cost."""


class HnswIndex(FaissIndex):
    """A built graph. `search` takes `ef` from params, and `refine_k` where it is over codes."""

    def __init__(self, stored: Any, metric: Metric, factor: float = 1.0, *, codes_refine: bool = False) -> None:
        super().__init__(stored, metric, factor, codes_refine=codes_refine)
        self.least = self._graph().hnsw.efSearch
        self.is_fine = factor == 1 and not codes_refine
        """Whether it ranks rows by their vectors, not by codes."""

    def _base_parameters(self, params: SearchParams, selector: Any) -> Any:
        # The library's other queue, `bounded_queue=False`, ignores the selector: it must stay as it is.
        return with_selector(_faiss.SearchParametersHNSW, selector, efSearch=resolved(params, "ef", self.least))

    def _work(self, params: SearchParams) -> int:
        return resolved(params, "ef", self.least) * EF_WORK

    def widened(self, params: SearchParams, k: int, factor: float) -> SearchParams:
        return scaled(self._chosen(params), "ef", k, factor, max(self.rows, k))

    def _graph(self) -> Any:
        return _faiss.downcast_index(self.native.base_index) if self._codes_refine else self.native

    def memory(self) -> int:
        graph = self._graph()
        finer = int(_faiss.downcast_index(self.native.refine_index).sa_code_size()) if self._codes_refine else 0
        codes = graph.storage.sa_code_size() + finer
        links: int = graph.hnsw.neighbors.size() * 4
        return int(codes * self.rows + links) + (0 if self._order is None else self._order.bytes)


def build_hnsw(build: Build) -> memoryview:
    """The bytes of a graph over all rows. Raises BuildCancelled."""
    graph = _linked(build)
    codes = _small_codes(build)
    if codes is not None:
        fill(build, codes)
        _replace_storage(graph, codes)
    index = with_refinement(build, graph)
    order = near_order(build)
    if order is not None:
        index = reordered(index, order)
    graph.hnsw.efSearch = _effort(build, index)
    return to_bytes(index)


def _effort(build: Build, index: Any) -> int:
    """What a search walks that does not say how far."""
    asked = HnswIndex(index, build.metric, candidates_each(build.spec), codes_refine=keeps_codes(build.spec))
    return measured_effort(build, asked, {MEASURED: "ef"}, min(MOST_DEFAULT_EF, max(LEAST["ef"], build.rows)))


def open_hnsw(spec: IndexSpec, path: str | None, data: memoryview) -> HnswIndex:
    """From a file, mapped; or from bytes where there is no file."""
    metric = spec.metric or Metric.COSINE
    return HnswIndex(from_bytes(path, data), metric, candidates_each(spec), codes_refine=keeps_codes(spec))


def build_bytes(spec: IndexSpec, rows: int, width: int) -> int:
    """Memory that building and storing takes at most, about: copies and links, and all of it again as bytes."""
    return 2 * rows * (4 * width + 10 * links_each(spec.build) + 64)


def links_each(params: Mapping[str, Any]) -> int:
    """M of the graph. ANNOY, which is served by a graph, says how good it shall be by a number of trees."""
    if "n_trees" in params:
        return min(TREES_LEAST_M + whole(params, "n_trees"), TREES_MOST_M)
    return whole(params, "M", AUTO_M)


def _linked(build: Build) -> Any:
    """The graph over copies of the vectors."""
    dim, m, kind = build.dim, links_each(build.spec.build), metric_code(build.metric)
    graph: Any
    if isinstance(build.column, ByteColumn) and build.metric is not Metric.COSINE:
        # Exact as long as queries are whole numbers too, and those of an int8 field are.
        graph = _faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_8bit_direct_signed, m, kind)
    elif half_precision_suffices(build.sample(8 * SAMPLE), build.metric):
        graph = _faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_fp16, m, kind)
    else:
        graph = _faiss.IndexHNSWFlat(dim, m, kind)
    graph.is_trained = True
    graph.storage.is_trained = True
    graph.hnsw.efConstruction = whole(build.spec.build, "efConstruction", AUTO_EF_CONSTRUCTION)
    for block in build.blocks():
        graph.add(block)
    return graph


def _small_codes(build: Build) -> Any | None:
    """An empty index of the codes that shall stand in the graph; None when the copies stay."""
    dim, kind, spec = build.dim, metric_code(build.metric), build.spec
    codes: Any
    if spec.index_type == "HNSW_SQ":
        return _faiss.IndexScalarQuantizer(dim, scalar_kind(str(spec.build["sq_type"])), kind)
    if spec.index_type == "HNSW_PQ":
        codes = _faiss.IndexPQ(dim, parts_for(build), bits_for(build, build.whole("nbits")), kind)
        modest(codes.pq.cp)
        return codes
    if spec.index_type == "HNSW_PRQ":
        parts, rounds = build.whole("m"), build.whole("nrq")
        codes = _faiss.IndexProductResidualQuantizer(dim, parts, rounds, bits_for(build, build.whole("nbits")), kind)
        for at in range(parts):
            modest(_faiss.downcast_AdditiveQuantizer(codes.prq.subquantizer(at)).cp)
        return codes
    return None


def _replace_storage(graph: Any, codes: Any) -> None:
    """Let the graph rank by codes instead of the copies it was made over."""
    copies = graph.storage
    graph.storage = codes
    codes.this.disown()
    copies.this.own(True)


def half_precision_suffices(sample: Vectors, metric: Metric) -> bool:
    """Whether float16 codes keep the neighbours of a sample: their 10 nearest by codes are the 10 nearest by float32,
    but for one in fifty, at the scale of the sample."""
    if metric is not Metric.COSINE and float(np.abs(sample).max(initial=0)) > HALF_MAX:
        return False
    step = max(1, len(sample) // (8 * SAMPLE))
    base = sample[::step][: 8 * SAMPLE]
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
    kind = metric_code(metric)
    _, exact = faiss.knn(queries, base, k, metric=kind)
    _, blurred = faiss.knn(queries, coded, k, metric=kind)
    kept = sum(len(np.intersect1d(a, b)) for a, b in zip(exact, blurred, strict=True))
    return bool(kept >= 0.98 * exact.size)
