"""Cells against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.index.base import lengths_of
from redkite.index.cells import CELLS, build_cells, closest_in
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
def test_the_nearest_cells_of_a_query_come_first(metric: Metric) -> None:
    data = vectors(3000, 16)
    cells = build_cells(data, metric)
    order = cells.nearest(data[:20])
    assert (np.sort(order, axis=1) == np.arange(len(cells.centres))).all()
    if metric is not Metric.IP:
        assert (order[:, 0] == cells.cell_of[:20]).all()


@settings(max_examples=60)
@given(data=st.data(), metric=st.sampled_from(METRICS), k=st.integers(1, 30))
def test_the_best_rows_of_any_spans_are_among_those_found(data: st.DataObject, metric: Metric, k: int) -> None:
    rows = vectors(200, 9, data.draw(st.integers(0, 100)))
    cuts = sorted(data.draw(st.sets(st.integers(0, 200), min_size=2, max_size=12)))
    spans = list(zip(cuts[::2], cuts[1::2], strict=False))
    query = vectors(1, 9, 77)[0]
    inside = np.concatenate([np.arange(*span) for span in spans])
    products = rows[inside] @ query
    rank = {
        Metric.L2: ((rows[inside] - query) ** 2).sum(axis=1),
        Metric.IP: -products,
        Metric.COSINE: -products / np.linalg.norm(rows[inside], axis=1),
    }[metric]
    lengths = lengths_of(rows) if metric is Metric.COSINE else None
    found = closest_in(spans, rows, lengths, query, k, metric)
    assert len(set(found.tolist())) == len(found)
    assert set(found.tolist()) <= set(inside.tolist())
    assert set(inside[np.argsort(rank)[:k]].tolist()) <= set(found.tolist())
