"""The graph, and the traps of the library under it."""

from __future__ import annotations

import numpy as np
import pytest

from redkite.index.exact import exact_search, score_rows
from redkite.index.hnsw import BuildCancelled, HnswIndex, build_hnsw, half_precision_suffices
from redkite.model.types import Metric

ROWS, DIM = 4000, 32


def vectors(seed: int = 0, rows: int = ROWS) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, DIM)).astype(np.float32)


def recall(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, wanted, strict=True)]))


@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP, Metric.COSINE])
def test_a_stored_graph_answers_as_the_built_one(metric: Metric, tmp_path) -> None:
    data = vectors()
    index = build_hnsw(data, metric, 16, 100, lambda: True)
    stored = index.serialize()
    path = tmp_path / "graph"
    path.write_bytes(stored)
    _, rows = index.search(data[:50], 10, {"ef": 100}, None)
    for opened in (HnswIndex.open(str(path), stored, metric), HnswIndex.open(None, stored, metric)):
        assert opened.rows == ROWS
        np.testing.assert_array_equal(opened.search(data[:50], 10, {"ef": 100}, None)[1], rows)
    _, exact = exact_search(data, data[:50], 10, metric)
    assert recall(rows, exact) >= 0.95


def test_only_allowed_rows_come_back() -> None:
    data = vectors()
    index = build_hnsw(data, Metric.L2, 16, 100, lambda: True)
    mask = np.random.default_rng(1).random(ROWS) < 0.2
    _, rows = index.search(data[:100], 10, {"ef": 64}, np.packbits(mask, bitorder="little"))
    assert mask[rows[rows >= 0]].all()


def test_data_far_from_the_origin_keeps_its_neighbours() -> None:
    """Offsets of thousands leave float16 no digits for differences of one."""
    data = vectors() + np.float32(5000)
    assert not half_precision_suffices(data, Metric.L2)
    index = build_hnsw(data, Metric.L2, 16, 100, lambda: True)
    _, rows = index.search(data[:50], 10, {"ef": 200}, None)
    wanted = [np.argsort(((data.astype(np.float64) - q) ** 2).sum(axis=1))[:10] for q in data[:50].astype(np.float64)]
    assert recall(rows, np.array(wanted)) >= 0.9


def test_values_beyond_half_precision_are_not_halved() -> None:
    assert not half_precision_suffices(vectors() * np.float32(1e5), Metric.IP)
    assert half_precision_suffices(vectors(), Metric.L2)
    assert half_precision_suffices(vectors() * np.float32(1e5), Metric.COSINE)


def test_a_build_stops_when_it_is_no_longer_wanted() -> None:
    asked = []

    def wanted() -> bool:
        asked.append(1)
        return len(asked) < 2

    with pytest.raises(BuildCancelled):
        build_hnsw(vectors(rows=20_000), Metric.L2, 8, 20, wanted)


def test_a_zero_vector_has_cosine_zero() -> None:
    data = np.vstack([np.zeros((1, DIM), np.float32), vectors(rows=3)])
    assert score_rows(data, data[1], Metric.COSINE)[0] == 0
    assert (score_rows(data, np.zeros(DIM, np.float32), Metric.COSINE) == 0).all()
    index = build_hnsw(np.vstack([data, vectors(rows=2000)]), Metric.COSINE, 8, 40, lambda: True)
    assert index.search(data[:1], 5, {"ef": 16}, None)[1].shape == (1, 5)


@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP, Metric.COSINE])
@pytest.mark.parametrize("nq", [1, 3, 40])
def test_exact_search_is_exact_for_one_query_and_for_many(metric: Metric, nq: int) -> None:
    data = vectors(3) + np.float32(50)
    queries = vectors(4, nq) + np.float32(50)
    scores, rows = exact_search(data, queries, 12, metric)
    for query, found, score in zip(queries, rows, scores, strict=True):
        every = score_rows(data.astype(np.float64), query.astype(np.float64), metric)
        best = np.sort(every) if metric is Metric.L2 else np.sort(every)[::-1]
        np.testing.assert_allclose(every[found], best[:12], rtol=1e-4)
        np.testing.assert_allclose(score, best[:12], rtol=1e-4)


def test_fewer_rows_than_asked_are_filled_up_with_no_row() -> None:
    scores, rows = exact_search(vectors(rows=3), vectors(rows=2), 5, Metric.L2)
    assert rows[:, 3:].tolist() == [[-1, -1], [-1, -1]]
    assert scores.shape == (2, 5)
    assert exact_search(np.empty((0, DIM), np.float32), vectors(rows=1), 2, Metric.IP)[1].tolist() == [[-1, -1]]
