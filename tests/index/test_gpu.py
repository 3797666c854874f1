"""Indexes on a device: what is said where there is none, and what is asked of the library where there is one."""

from __future__ import annotations

import gc
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tests.index.vectors import clustered, near, recall

from redkite.errors import Unimplemented
from redkite.index import gpu, registry
from redkite.index.dense import FloatColumn
from redkite.index.exact import exact_search
from redkite.model.segments import IndexSpec
from redkite.model.types import Metric

CAGRA = {"intermediate_graph_degree": 32, "graph_degree": 16, "build_algo": "NN_DESCENT"}
TYPES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("GPU_BRUTE_FORCE", {}, {}),
    ("GPU_IVF_FLAT", {"nlist": 8}, {"nprobe": 4}),
    ("GPU_IVF_PQ", {"nlist": 8, "m": 4, "nbits": 8}, {"nprobe": 4}),
    (
        "GPU_CAGRA",
        CAGRA,
        {"itopk_size": 64, "search_width": 2, "min_iterations": 0, "max_iterations": 0, "team_size": "8"},
    ),
]


@pytest.fixture
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)


@pytest.mark.usefixtures("no_device")
@pytest.mark.parametrize(("kind", "build", "_"), TYPES)
def test_without_a_device_the_error_says_what_is_missing(kind: str, build: dict[str, Any], _: object) -> None:
    spec = IndexSpec(index_type=kind, metric=Metric.L2, build=build)
    text = rf"index type {kind} needs a CUDA device and the extra `gpu` \(pip install 'redkite\[gpu\]'\)"
    with pytest.raises(Unimplemented, match=text):
        registry.require(spec)
    with pytest.raises(Unimplemented, match=text):
        registry.build(spec, FloatColumn(np.zeros((10, 4), np.float32)), lambda: True, 1)


class Device:
    """Stands in for the library: remembers what it is asked for, and answers exactly."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.devices = 1
        arrays = ModuleType("cupy")
        arrays.asarray = np.asarray  # type: ignore[attr-defined]
        arrays.asnumpy = np.asarray  # type: ignore[attr-defined]
        arrays.empty = np.empty  # type: ignore[attr-defined]
        runtime = ModuleType("runtime")
        runtime.getDeviceCount = lambda: self.devices  # type: ignore[attr-defined]
        arrays.cuda = ModuleType("cuda")  # type: ignore[attr-defined]
        arrays.cuda.runtime = runtime  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "cupy", arrays)
        for name in ("cuvs", "cuvs.neighbors"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        for name in ("brute_force", "ivf_flat", "ivf_pq", "cagra"):
            monkeypatch.setitem(sys.modules, f"cuvs.neighbors.{name}", self._module(name))

    def _module(self, name: str) -> ModuleType:
        module = ModuleType(name)

        def params(kind: str) -> Any:
            def make(**given: Any) -> dict[str, Any]:
                self.asked.append((kind, given))
                return {"kind": kind, **given}

            return make

        def build(*given: Any, metric: str = "") -> Any:
            settings = given[0] if len(given) == 2 else {"metric": metric}
            return settings["metric"], given[-1].copy()

        def search(*given: Any) -> tuple[np.ndarray, np.ndarray]:
            (metric, vectors), queries, k = given[-3:]
            kind = Metric.L2 if metric == "sqeuclidean" else Metric.IP
            scores, rows = exact_search(vectors, queries, k, kind)
            return scores, rows.astype(np.uint32)

        for attribute, value in (
            ("IndexParams", params("index")),
            ("SearchParams", params("search")),
            ("build", build),
            ("search", search),
        ):
            setattr(module, attribute, value)
        return module


@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP, Metric.COSINE])
@pytest.mark.parametrize(("kind", "build", "params"), TYPES)
def test_on_a_device_each_type_is_made_and_searched(
    kind: str, build: dict[str, Any], params: dict[str, Any], metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(monkeypatch)
    column = FloatColumn(np.random.default_rng(0).normal(size=(500, 16)).astype(np.float32))
    spec = IndexSpec(index_type=kind, metric=metric, build=build)
    registry.require(spec)
    stored = registry.build(spec, column, lambda: True, 1)
    index = registry.open_index(spec, None, stored, column)
    _, found = index.search(column.matrix[:20], 5, params, None)
    assert found.shape[1] == (40 if kind == "GPU_IVF_PQ" else 5), "codes give candidates"
    np.testing.assert_array_equal(found[:, :5], column.search(column.matrix[:20], 5, metric, None)[1])
    assert index._vectors is not None, "the library does not keep them alive"
    assert index.rows == 500
    assert index.memory() == column.nbytes
    assert not index.takes_bitmap
    said = {key: value for _, given in device.asked for key, value in given.items()}
    if kind == "GPU_CAGRA":
        assert said["build_algo"] == "nn_descent"
        assert (said["graph_degree"], said["itopk_size"], said["team_size"]) == (16, 64, 8)
    elif kind != "GPU_BRUTE_FORCE":
        assert (said["n_lists"], said["n_probes"]) == (8, 4)


def test_no_device_in_the_machine_is_said_too(monkeypatch: pytest.MonkeyPatch) -> None:
    Device(monkeypatch).devices = 0
    with pytest.raises(Unimplemented, match="there is no device"):
        registry.require(IndexSpec(index_type="GPU_CAGRA", metric=Metric.L2, build=CAGRA))


def test_what_is_stored_of_an_index_on_a_device_is_checked() -> None:
    spec = IndexSpec(index_type="GPU_BRUTE_FORCE", metric=Metric.L2)
    assert gpu.open_gpu(spec, memoryview(gpu.MARK + b"12"), None).rows == 12
    for damaged in (b"", b"something", gpu.MARK, gpu.MARK + b"x"):
        with pytest.raises(RuntimeError):
            gpu.open_gpu(spec, memoryview(damaged), None)


def test_rows_that_the_library_did_not_find_stand_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    Device(monkeypatch)
    column = FloatColumn(np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32))
    spec = IndexSpec(index_type="GPU_CAGRA", metric=Metric.L2, build=CAGRA)
    index = registry.open_index(spec, None, registry.build(spec, column, lambda: True, 1), column)
    found = np.array([[3, 2**32 - 1, 7], [2**32 - 1, 2**32 - 1, 1]], np.uint32)
    index._module.search = lambda *_: (np.zeros((2, 3), np.float32), found)
    _, rows = index.search(column.matrix[:2], 3, TYPES[3][2], None)
    assert rows.tolist() == [[3, 7, -1], [1, -1, -1]]


# -- on a device --------------------------------------------------------------------------------
def has_device() -> bool:
    try:
        registry.require(IndexSpec(index_type="GPU_BRUTE_FORCE", metric=Metric.L2))
    except Unimplemented:
        return False
    return True


on_device = pytest.mark.skipif(not has_device(), reason="there is no device, or no extra `gpu`")
REAL: list[tuple[str, dict[str, Any], dict[str, Any], float]] = [
    ("GPU_BRUTE_FORCE", {}, {}, 0.999),
    ("GPU_IVF_FLAT", {"nlist": 64}, {"nprobe": 32}, 0.95),
    ("GPU_IVF_PQ", {"nlist": 64, "m": 16, "nbits": 8}, {"nprobe": 32}, 0.9),
    ("GPU_CAGRA", {"intermediate_graph_degree": 128, "graph_degree": 64, "build_algo": "IVF_PQ"}, {
        "itopk_size": 64, "search_width": 1, "min_iterations": 0, "max_iterations": 0, "team_size": "0"}, 0.95),
    ("GPU_CAGRA", {"intermediate_graph_degree": 64, "graph_degree": 32, "build_algo": "NN_DESCENT"}, {
        "itopk_size": 128, "search_width": 4, "min_iterations": 0, "max_iterations": 0, "team_size": "8"}, 0.95),
]  # fmt: skip


@on_device
@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP, Metric.COSINE])
@pytest.mark.parametrize(("kind", "build", "params", "floor"), REAL)
def test_a_real_device_finds_what_comparing_every_row_finds(
    kind: str, build: dict[str, Any], params: dict[str, Any], floor: float, metric: Metric
) -> None:
    data = clustered(20_000)
    column, asked = FloatColumn(data), near(data, 200)
    spec = IndexSpec(index_type=kind, metric=metric, build=build)
    index = registry.open_index(spec, None, registry.build(spec, column, lambda: True, 1), column)
    gc.collect()
    slack = 0.06 if metric is Metric.IP else 0.0
    for nq in (1, 200):
        _, found = index.search(asked[:nq], 10, params, None)
        _, rows = column.ranked(asked[:nq], found, 10, metric)
        true = column.search(asked[:nq], 10, metric, None)[1]
        if nq > 1:
            assert recall(rows, true) >= floor - slack
    few = FloatColumn(data[:5])
    index = registry.open_index(spec, None, registry.build(spec, few, lambda: True, 1), few)
    _, found = index.search(asked[:3], 10, params, None)
    assert sorted(found[0][found[0] >= 0].tolist()) == [0, 1, 2, 3, 4]
