"""The default effort of an index is measured when it is built, and is a default only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.index.vectors import clustered, near, recall

from redkite.index import registry
from redkite.index.dense import FloatColumn
from redkite.index.effort import LEAST, MEASURED
from redkite.model.segments import IndexSpec
from redkite.model.types import Metric

K = 10
CASES: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("IVF_FLAT", {"nlist": 64}, "nprobe", {}),
    ("IVF_PQ", {"nlist": 64, "m": 6, "nbits": 8}, "nprobe", {}),
    ("SCANN", {"nlist": 64, "sub_dim": 2, "with_raw_data": True}, "nprobe", {"reorder_k": 64}),
    ("DISKANN", {}, "search_list", {}),
    ("HNSW", {"M": 8, "efConstruction": 60}, "ef", {}),
]


def built(kind: str, build: dict[str, Any], data: np.ndarray) -> Any:
    spec = IndexSpec(index_type=kind, metric=Metric.L2, build=build)
    column = FloatColumn(data)
    return registry.open_index(spec, None, registry.build(spec, column, lambda: True, 2), column)


def found(index: Any, data: np.ndarray, queries: np.ndarray, params: dict[str, Any]) -> float:
    column = FloatColumn(data)
    _, rows = index.search(queries, K, params, None)
    ranked = column.ranked(queries, rows, K, Metric.L2)[1]
    return recall(ranked, column.search(queries, K, Metric.L2, None)[1])


@pytest.mark.parametrize(("kind", "build", "effort", "more"), CASES, ids=[case[0] for case in CASES])
def test_shapeless_rows_raise_it_and_what_a_search_names_stays(
    kind: str, build: dict[str, Any], effort: str, more: dict[str, Any]
) -> None:
    rng = np.random.default_rng(2)
    data = rng.normal(size=(3000, 24)).astype(np.float32)
    queries = near(data, 100)
    index = built(kind, build, data)
    least = LEAST[effort]
    assert index.effort == effort and index.least > least
    named = {effort: least, **more}
    default = {**named, MEASURED: ",".join([effort, *more])}
    assert found(index, data, queries, default) >= 0.95 > found(index, data, queries, named)
    wider = index.widened(default, K, 4)
    assert wider[effort] >= index.least and MEASURED not in wider, "a wider search says what it does"
    assert index.widened(named, K, 1)[effort] < wider[effort]


def test_rows_in_clusters_leave_it() -> None:
    data = clustered(3000)
    assert built("IVF_FLAT", {"nlist": 64}, data).least == LEAST["nprobe"]


def test_equal_rows_and_few_rows_are_measured_too() -> None:
    assert built("IVF_FLAT", {"nlist": 4}, np.ones((300, 8), np.float32)).least <= 4
    assert built("HNSW", {"M": 4, "efConstruction": 8}, np.eye(3, dtype=np.float32)).least == LEAST["ef"]
