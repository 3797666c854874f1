"""Graphs and lists over binary vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from redkite.index import registry
from redkite.index.base import VectorIndex
from redkite.index.binary import BinaryColumn
from redkite.index.binary_graph import hamming_suffices
from redkite.index.registry import BuildCancelled
from redkite.model.segments import IndexSpec
from redkite.model.types import Metric

ROWS, BITS, K = 4_000, 256, 10
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("HNSW", {"M": 16, "efConstruction": 100}, {"ef": 64}),
    ("BIN_IVF_FLAT", {"nlist": 32}, {"nprobe": 8}),
]
METRICS = [Metric.HAMMING, Metric.JACCARD]


def even(seed: int = 0) -> np.ndarray:
    """Vectors with about as many bits as one another."""
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 256, (100, BITS // 8), dtype=np.uint8)[rng.integers(0, 100, ROWS)]
    return base ^ np.packbits(rng.random((ROWS, BITS)) < 0.12, axis=1)


def uneven(seed: int = 0) -> np.ndarray:
    """Sets of very different sizes."""
    rng = np.random.default_rng(seed)
    sets = rng.random((100, BITS)) < np.linspace(0.02, 0.5, 100)[:, None]
    bits = sets[rng.integers(0, 100, ROWS)]
    return np.packbits((bits & (rng.random((ROWS, BITS)) > 0.5)) | (rng.random((ROWS, BITS)) < 0.01), axis=1)


def made(kind: str, build: dict[str, Any], column: BinaryColumn, metric: Metric) -> VectorIndex:
    spec = IndexSpec(index_type=kind, metric=metric, build=build)
    return registry.open_index(spec, None, registry.build(spec, column, lambda: True, 2), column)


def share_found(column: BinaryColumn, queries: np.ndarray, found: np.ndarray, metric: Metric) -> float:
    """Many rows are equally far: which part of what was found is as near as the rows that should have been."""
    wanted, _ = column.search(queries, K, metric, None)
    scores, _ = column.ranked(queries, found, K, metric)
    return float((scores <= wanted[:, -1:] + 1e-6).mean())


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("kind", "build", "params"), CASES)
@pytest.mark.parametrize("data", [even, uneven])
def test_binary_neighbours_are_found(
    kind: str, build: dict[str, Any], params: dict[str, Any], metric: Metric, data: Any
) -> None:
    column = BinaryColumn(data())
    queries = column.matrix[:100]
    index = made(kind, build, column, metric)
    _, found = index.search(queries, K, params, None)
    least = 0.8 if (data, kind, metric) == (uneven, "BIN_IVF_FLAT", Metric.JACCARD) else 0.93
    assert share_found(column, queries, found, metric) >= least


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("kind", "build", "params"), CASES)
def test_only_allowed_binary_rows_come_back(
    kind: str, build: dict[str, Any], params: dict[str, Any], metric: Metric
) -> None:
    column = BinaryColumn(even())
    queries = column.matrix[:50]
    mask = np.random.default_rng(2).random(ROWS) < 0.3
    index = made(kind, build, column, metric)
    wider = index.widened(params, K, 1 / 0.3)
    _, found = index.search(queries, K, wider, np.packbits(mask, bitorder="little"))
    assert mask[found[found >= 0]].all()
    rows = np.flatnonzero(mask)
    wanted, _ = column.gather(rows).search(queries, K, metric, None)
    scores, _ = column.ranked(queries, found, K, metric)
    assert (scores <= wanted[:, -1:] + 1e-6).mean() >= 0.93


def test_sets_of_different_sizes_are_not_linked_by_differing_bits() -> None:
    assert hamming_suffices(even())
    assert not hamming_suffices(uneven())
    assert hamming_suffices(uneven()[:20])


@pytest.mark.parametrize(("kind", "build", "params"), CASES)
def test_a_binary_index_is_mapped_and_cancelled(
    kind: str, build: dict[str, Any], params: dict[str, Any], tmp_path: Any
) -> None:
    column = BinaryColumn(np.tile(even(), (3, 1)))
    spec = IndexSpec(index_type=kind, metric=Metric.HAMMING, build=build)
    stored = registry.build(spec, column, lambda: True, 2)
    path = tmp_path / "index"
    path.write_bytes(stored)
    answers = [
        registry.open_index(spec, place, stored, column).search(column.matrix[:20], K, params, None)[0]
        for place in (str(path), None)
    ]
    np.testing.assert_array_equal(*answers)
    assert registry.build_bytes(spec, len(column), column.width) >= len(stored)
    asked: list[int] = []
    with pytest.raises(BuildCancelled):
        registry.build(spec, column, lambda: asked.append(1) or len(asked) < 2, 1)


def test_more_lists_and_wider_walks_find_more() -> None:
    column = BinaryColumn(uneven())
    queries = column.matrix[:100]
    for kind, build, narrow, wide in (
        ("HNSW", {"M": 4, "efConstruction": 20}, {"ef": 10}, {"ef": 300}),
        ("BIN_IVF_FLAT", {"nlist": 64}, {"nprobe": 1}, {"nprobe": 32}),
    ):
        index = made(kind, build, column, Metric.JACCARD)
        few, many = (
            share_found(column, queries, index.search(queries, K, p, None)[1], Metric.JACCARD) for p in (narrow, wide)
        )
        assert few < many, kind
    small, large = (
        len(registry.build(IndexSpec(index_type=kind, metric=Metric.HAMMING, build=build), column, lambda: True, 2))
        for kind, build in (("BIN_IVF_FLAT", {"nlist": 2}), ("BIN_IVF_FLAT", {"nlist": 100}))
    )
    assert small < large


def test_few_binary_rows_are_indexed_too() -> None:
    for kind, build, params in CASES:
        for metric in METRICS:
            column = BinaryColumn(even()[:3])
            assert made(kind, build, column, metric).search(column.matrix[:1], 2, params, None)[1][0, 0] == 0
