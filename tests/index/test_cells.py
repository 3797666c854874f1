"""Cells against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redkite.index.base import lengths_of
from redkite.index.cells import CELLS, build_cells
from redkite.index.dense import FloatColumn
from redkite.index.scoring import closeness, pair_scores
from redkite.model.types import Metric

METRICS = [Metric.L2, Metric.IP, Metric.COSINE]


def vectors(rows: int, dim: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(1, 2, size=(rows, dim)).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
def test_each_row_is_in_the_cell_of_its_nearest_centre(metric: Metric) -> None:
    data = vectors(5000, 24)
    cells = build_cells(data, metric)
    assert cells.centres.shape == (CELLS, 24)
    placed = data / np.linalg.norm(data, axis=1, keepdims=True) if metric is Metric.COSINE else data
    apart = ((placed[:, None, :].astype(np.float64) - cells.centres) ** 2).sum(axis=2)
    assert (apart.argmin(axis=1) == cells.cell_of).mean() > 0.999  # but for ties of float32


def test_few_rows_get_few_cells() -> None:
    assert len(build_cells(vectors(100, 8), Metric.L2).centres) == 6
    assert len(build_cells(vectors(3, 8), Metric.COSINE).centres) == 1


def test_cells_of_equal_rows_are_made_too() -> None:
    assert len(build_cells(np.ones((2000, 8), np.float32), Metric.L2).cell_of) == 2000


@pytest.mark.parametrize("metric", METRICS)
def test_centres_and_rows_are_as_far_as_their_vectors_say(metric: Metric) -> None:
    data = vectors(3000, 16)
    cells = build_cells(data, metric)
    column = FloatColumn(data)
    for query in 3 * data[:20]:
        asked = cells.asked(query[None])
        one = query / np.linalg.norm(query)
        placed = data / np.linalg.norm(data, axis=1, keepdims=True) if metric is Metric.COSINE else data
        if metric is Metric.IP:
            far, wanted = -cells.centres @ one, -data @ one
        else:
            start = query if metric is Metric.L2 else one
            far, wanted = (np.linalg.norm(points - start, axis=1) for points in (cells.centres, placed))
        assert np.allclose(cells.distances(asked), far, atol=1e-3)
        close = closeness(data, None, asked, metric)
        close = close / column.lengths if metric is Metric.COSINE else close
        assert np.allclose([cells.distance(float(c)) for c in close], wanted, atol=2e-3)
        scores = column.scores(query[None], metric)
        assert np.allclose(cells.distances_scored(query[None], scores[None])[0], wanted, atol=2e-3)


@given(data=st.data(), metric=st.sampled_from(METRICS))
def test_closeness_of_any_rows_is_in_the_order_of_their_scores(data: st.DataObject, metric: Metric) -> None:
    rows, query = vectors(200, 9, data.draw(st.integers(0, 100))), vectors(1, 9, 77)
    chosen = np.array(data.draw(st.lists(st.integers(0, 199), min_size=1, max_size=60)))
    close = closeness(rows, chosen, query, metric)
    if metric is Metric.COSINE:
        close = close / lengths_of(rows)[chosen]
    scores = pair_scores(rows, query, chosen[None], metric)[0]
    scores = scores if metric is Metric.L2 else -scores
    assert (np.diff(scores[np.argsort(close, kind="stable")]) >= -1e-5).all()
