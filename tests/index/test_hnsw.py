"""The graph, and the traps of the library under it."""

from __future__ import annotations

import numpy as np
import pytest

from redkite.index.building import Build
from redkite.index.dense import FloatColumn
from redkite.index.exact import exact_search
from redkite.index.hnsw import HnswIndex, build_hnsw, half_precision_suffices, open_hnsw
from redkite.index.scoring import pair_scores
from redkite.model.segments import IndexSpec
from redkite.model.types import Metric

ROWS, DIM = 4000, 32


def vectors(seed: int = 0, rows: int = ROWS) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, DIM)).astype(np.float32)


def spec_of(metric: Metric, m: int = 16, care: int = 100) -> IndexSpec:
    return IndexSpec(index_type="HNSW", metric=metric, build={"M": m, "efConstruction": care})


def graph(data: np.ndarray, metric: Metric, m: int = 16, care: int = 100) -> HnswIndex:
    spec = spec_of(metric, m, care)
    return open_hnsw(spec, None, build_hnsw(Build(spec, FloatColumn(data), lambda: True, 2)))


def recall(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, wanted, strict=True)]))


@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP, Metric.COSINE])
def test_a_stored_graph_answers_alike_mapped_and_copied(metric: Metric, tmp_path) -> None:
    data = vectors()
    spec = spec_of(metric)
    stored = build_hnsw(Build(spec, FloatColumn(data), lambda: True, 2))
    path = tmp_path / "graph"
    path.write_bytes(stored)
    mapped, copied = open_hnsw(spec, str(path), stored), open_hnsw(spec, None, stored)
    _, rows = mapped.search(data[:50], 10, {"ef": 100}, None)
    assert mapped.rows == ROWS
    np.testing.assert_array_equal(copied.search(data[:50], 10, {"ef": 100}, None)[1], rows)
    _, exact = exact_search(data, data[:50], 10, metric)
    assert recall(rows, exact) >= 0.95


@pytest.mark.parametrize("share", [0.5, 0.2, 0.02])
@pytest.mark.parametrize("ef", [10, 64, 2000])
def test_only_allowed_rows_come_back(share: float, ef: int) -> None:
    """The library has two queues for the walk, and one of them forgets which rows are allowed."""
    data = vectors()
    index = graph(data, Metric.L2)
    mask = np.random.default_rng(1).random(ROWS) < share
    _, rows = index.search(data[:100], 10, {"ef": ef}, np.packbits(mask, bitorder="little"))
    assert mask[rows[rows >= 0]].all()


def test_data_far_from_the_origin_keeps_its_neighbours() -> None:
    """Offsets of thousands leave float16 no digits for differences of one."""
    data = vectors() + np.float32(5000)
    assert not half_precision_suffices(data, Metric.L2)
    index = graph(data, Metric.L2)
    _, rows = index.search(data[:50], 10, {"ef": 200}, None)
    wanted = [np.argsort(((data.astype(np.float64) - q) ** 2).sum(axis=1))[:10] for q in data[:50].astype(np.float64)]
    assert recall(rows, np.array(wanted)) >= 0.9


def test_values_beyond_half_precision_are_not_halved() -> None:
    assert not half_precision_suffices(vectors() * np.float32(1e5), Metric.IP)
    assert half_precision_suffices(vectors(), Metric.L2)
    assert half_precision_suffices(vectors() * np.float32(1e5), Metric.COSINE)


def test_a_zero_vector_has_cosine_zero() -> None:
    data = np.vstack([np.zeros((1, DIM), np.float32), vectors(rows=3)])
    assert pair_scores(data, data[1:2], np.array([[0, 1]]), Metric.COSINE).tolist() == [[0, pytest.approx(1)]]
    assert (pair_scores(data, data[:1], np.arange(4)[None], Metric.COSINE) == 0).all()
    index = graph(np.vstack([data, vectors(rows=2000)]), Metric.COSINE, 8, 40)
    assert index.search(data[:1], 5, {"ef": 16}, None)[1].shape == (1, 5)


def in_double_precision(data: np.ndarray, query: np.ndarray, metric: Metric) -> np.ndarray:
    rows, asked = data.astype(np.float64), query.astype(np.float64)
    if metric is Metric.L2:
        return ((rows - asked) ** 2).sum(axis=1)
    products = rows @ asked
    return products if metric is Metric.IP else products / np.linalg.norm(rows, axis=1) / np.linalg.norm(asked)


@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP, Metric.COSINE])
@pytest.mark.parametrize("nq", [1, 3, 40])
def test_exact_search_is_exact_for_one_query_and_for_many(metric: Metric, nq: int) -> None:
    data = vectors(3) + np.float32(50)
    queries = vectors(4, nq) + np.float32(50)
    scores, rows = exact_search(data, queries, 12, metric)
    for query, found, score in zip(queries, rows, scores, strict=True):
        every = in_double_precision(data, query, metric)
        best = np.sort(every) if metric is Metric.L2 else np.sort(every)[::-1]
        np.testing.assert_allclose(every[found], best[:12], rtol=1e-4)
        np.testing.assert_allclose(score, best[:12], rtol=1e-4)


def test_fewer_rows_than_asked_are_filled_up_with_no_row() -> None:
    scores, rows = exact_search(vectors(rows=3), vectors(rows=2), 5, Metric.L2)
    assert rows[:, 3:].tolist() == [[-1, -1], [-1, -1]]
    assert scores.shape == (2, 5)
    assert exact_search(np.empty((0, DIM), np.float32), vectors(rows=1), 2, Metric.IP)[1].tolist() == [[-1, -1]]
