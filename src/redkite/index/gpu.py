"""Indexes on a graphics card, through cuVS: GPU_BRUTE_FORCE, GPU_IVF_FLAT, GPU_IVF_PQ and GPU_CAGRA.

They live on the device and are made from the segment's vectors whenever it is opened, which takes the device seconds:
what is stored only says that an index was made, and over how many rows. Searches under a filter compare the allowed
rows on the host. Without a device, or without the extra `gpu`, such an index cannot be made; segments that have one are
searched exactly.
"""

from __future__ import annotations

import importlib
from threading import Lock
from typing import Any

import numpy as np

from redkite.errors import Unimplemented
from redkite.index.base import NO_ROW, Bitmap, RowNumbers, Scores, SearchParams, VectorColumn, Vectors, normalized
from redkite.index.building import BUILD_STEP, Build, whole
from redkite.index.dense import DenseColumn
from redkite.index.faiss_index import scaled
from redkite.model.segments import IndexSpec
from redkite.model.types import Metric

MARK = b"redkite gpu index, rows: "
CODE_CANDIDATES = 8
MOST_CANDIDATES = 2048
"""Of GPU_IVF_PQ, for one query."""
_MODULES = {
    "GPU_BRUTE_FORCE": "brute_force",
    "GPU_IVF_FLAT": "ivf_flat",
    "GPU_IVF_PQ": "ivf_pq",
    "GPU_CAGRA": "cagra",
}


def require(spec: IndexSpec) -> None:
    """Raises Unimplemented where there is no device, or nothing to talk to it with."""
    _device(spec)


def _device(spec: IndexSpec) -> tuple[Any, Any]:
    """The array library of the device, and the cuVS module of an index type."""
    try:
        arrays = importlib.import_module("cupy")
        module = importlib.import_module(f"cuvs.neighbors.{_MODULES[spec.index_type]}")
    except ImportError as error:
        raise _missing(spec, f"{error.name or error} cannot be imported") from error
    try:
        devices = int(arrays.cuda.runtime.getDeviceCount())
    except RuntimeError as error:
        raise _missing(spec, f"no device answers: {error}") from error
    if not devices:
        raise _missing(spec, "there is no device")
    return arrays, module


def _missing(spec: IndexSpec, reason: str) -> Unimplemented:
    return Unimplemented(
        f"index type {spec.index_type} needs a CUDA device and the extra `gpu` (pip install 'redkite[gpu]'): {reason}"
    )


class GpuIndex:
    """An index on the device. One search at a time uses it."""

    takes_bitmap = False

    def __init__(self, spec: IndexSpec, rows: int, column: VectorColumn | None) -> None:
        """Without a column it is only looked at, not searched."""
        self.rows = rows
        self.metric = spec.metric or Metric.COSINE
        self.approximate = spec.index_type != "GPU_BRUTE_FORCE"
        self._spec = spec
        self._lock = Lock()
        self._made: Any = None
        self._vectors: Any = None
        """On the device. The library's brute force and CAGRA look at them where they are and do not keep them alive."""
        self._bytes = 0
        if column is not None:
            self._arrays, self._module = _device(spec)
            self._made = self._make(column)

    def _make(self, column: VectorColumn) -> Any:
        if not isinstance(column, DenseColumn):
            raise Unimplemented(f"index type {self._spec.index_type} takes dense vectors")
        vectors = self._arrays.empty((column.rows, column.width), "float32")
        self._vectors, self._bytes = vectors, int(vectors.nbytes)
        for at in range(0, column.rows, BUILD_STEP):
            block = column.floats(slice(at, at + BUILD_STEP))
            vectors[at : at + len(block)] = self._arrays.asarray(self._as_compared(block))
        build, metric = self._spec.build, "sqeuclidean" if self.metric is Metric.L2 else "inner_product"
        module = self._module
        match self._spec.index_type:
            case "GPU_BRUTE_FORCE":
                return module.build(vectors, metric=metric)
            case "GPU_IVF_FLAT":
                wanted = module.IndexParams(n_lists=self._lists(), metric=metric)
            case "GPU_IVF_PQ":
                wanted = module.IndexParams(
                    n_lists=self._lists(), metric=metric, pq_dim=whole(build, "m"), pq_bits=whole(build, "nbits", 8)
                )
            case _:
                wanted = module.IndexParams(
                    metric=metric,
                    intermediate_graph_degree=whole(build, "intermediate_graph_degree"),
                    graph_degree=whole(build, "graph_degree"),
                    build_algo=str(build["build_algo"]).lower(),
                )
        return module.build(wanted, vectors)

    def _lists(self) -> int:
        return max(1, min(whole(self._spec.build, "nlist"), self.rows))

    def _as_compared(self, vectors: Vectors) -> Vectors:
        return normalized(vectors) if self.metric is Metric.COSINE else np.ascontiguousarray(vectors)

    def search(
        self, queries: Vectors, k: int, params: SearchParams, allowed: Bitmap | None
    ) -> tuple[Scores, RowNumbers]:
        assert allowed is None and self._made is not None, "asked for all rows, and has its column"
        k = min(k if self._spec.index_type != "GPU_IVF_PQ" else self._candidates(k), self.rows)
        with self._lock:
            asked = self._arrays.asarray(self._as_compared(queries))
            settings = self._settings(params)
            if settings is None:
                near, found = self._module.search(self._made, asked, k)
            else:
                near, found = self._module.search(settings, self._made, asked, k)
            rows = self._arrays.asnumpy(self._arrays.asarray(found)).astype(np.int64)
            scores = self._arrays.asnumpy(self._arrays.asarray(near)).astype(np.float32)
        missing = (rows < 0) | (rows >= self.rows)
        if missing.any():
            rows[missing] = NO_ROW
            order = np.argsort(missing, axis=1, kind="stable")  # they stand at the end
            rows, scores = np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)
        return scores, rows

    @staticmethod
    def _candidates(k: int) -> int:
        """Codes rank coarsely: more of what they find is compared once more."""
        return max(k, min(CODE_CANDIDATES * k, MOST_CANDIDATES))

    def _settings(self, params: SearchParams) -> Any:
        match self._spec.index_type:
            case "GPU_BRUTE_FORCE":
                return None
            case "GPU_IVF_FLAT" | "GPU_IVF_PQ":
                return self._module.SearchParams(n_probes=min(whole(params, "nprobe"), self._lists()))
            case _:
                return self._module.SearchParams(**{name: whole(params, name) for name in params})

    def widened(self, params: SearchParams, k: int, factor: float) -> SearchParams:
        name = "itopk_size" if "itopk_size" in params else "nprobe"
        least = k if name == "itopk_size" else 1
        return scaled(params, name, least, factor, max(self.rows, k))

    def memory(self) -> int:
        return self._bytes


def build_gpu(build: Build) -> memoryview:
    """What is stored of an index. Raises Unimplemented where none can be made."""
    require(build.spec)
    build.check()
    return memoryview(MARK + str(build.rows).encode())


def open_gpu(spec: IndexSpec, data: memoryview, column: VectorColumn | None) -> GpuIndex:
    text = bytes(data)
    if not text.startswith(MARK) or not text[len(MARK) :].isdigit():
        raise RuntimeError("these bytes do not say that there is an index on a device")
    return GpuIndex(spec, int(text[len(MARK) :]), column)
