"""Graphs whose rows are stored near ones side by side: what they answer is numbered as the segment numbers it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from redkite.index import locality
from redkite.index.building import Build, BuildCancelled
from redkite.index.dense import FloatColumn
from redkite.index.exact import exact_search
from redkite.index.hnsw import HnswIndex, build_hnsw, open_hnsw
from redkite.model.segments import IndexSpec
from redkite.model.types import Metric

ROWS, DIM = 3_000, 24
DATA = np.random.default_rng(3).normal(size=(ROWS, DIM)).astype(np.float32)
ALLOWED = np.random.default_rng(4).random(ROWS) < 0.3
KINDS: list[tuple[str, Mapping[str, Any], Metric]] = [
    ("HNSW", {}, Metric.L2),
    ("HNSW", {}, Metric.IP),
    ("HNSW", {}, Metric.COSINE),
    ("HNSW_SQ", {"sq_type": "SQ8"}, Metric.L2),
    ("HNSW_SQ", {"sq_type": "SQ6", "refine": True, "refine_type": "FP32"}, Metric.COSINE),
    ("HNSW_PQ", {"m": 12, "nbits": 4, "refine": True, "refine_type": "FP16"}, Metric.L2),
]


@pytest.fixture(autouse=True)
def for_small_graphs_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locality, "LEAST_BYTES", 0)


def build(kind: str, more: Mapping[str, Any], metric: Metric) -> Build:
    spec = IndexSpec(index_type=kind, metric=metric, build={"M": 16, "efConstruction": 100, **more})
    return Build(spec, FloatColumn(DATA), lambda: True, 2)


def graph(kind: str = "HNSW", more: Mapping[str, Any] | None = None, metric: Metric = Metric.L2) -> HnswIndex:
    wanted = build(kind, more or {}, metric)
    return open_hnsw(wanted.spec, None, build_hnsw(wanted))


def recall(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, wanted, strict=True)]))


@pytest.mark.parametrize(("kind", "more", "metric"), KINDS)
def test_the_rows_that_come_back_are_those_of_the_segment(kind: str, more: Mapping[str, Any], metric: Metric) -> None:
    index = graph(kind, more, metric)
    assert index._order is not None
    params = {"ef": 300, "refine_k": 8}
    _, rows = index.search(DATA[:40], 10, params, None)
    _, exact = exact_search(DATA, DATA[:40], 10, metric)
    assert recall(rows, exact) >= 0.9
    _, rows = index.search(DATA[:40], 10, params, np.packbits(ALLOWED, bitorder="little"))
    assert ALLOWED[rows[rows >= 0]].all()
    _, exact = exact_search(DATA[ALLOWED], DATA[:40], 10, metric)
    assert recall(rows, np.flatnonzero(ALLOWED)[exact]) >= 0.9


def test_where_there_are_fewer_rows_than_asked_the_rest_are_none() -> None:
    few = np.zeros(ROWS, np.bool_)
    few[[5, 2_999]] = True
    _, rows = graph().search(DATA[5:6], 4, {"ef": ROWS}, np.packbits(few, bitorder="little"))
    assert rows.tolist() == [[5, 2_999, -1, -1]]


def test_a_stored_order_is_read_from_the_file_as_from_the_bytes(tmp_path: Path) -> None:
    wanted = build("HNSW", {}, Metric.L2)
    stored = build_hnsw(wanted)
    path = tmp_path / "graph"
    path.write_bytes(stored)
    mapped, copied = open_hnsw(wanted.spec, str(path), stored), open_hnsw(wanted.spec, None, stored)
    _, rows = mapped.search(DATA[:40], 10, {"ef": 100}, None)
    np.testing.assert_array_equal(copied.search(DATA[:40], 10, {"ef": 100}, None)[1], rows)
    assert (rows[:, 0] == np.arange(40)).all()
    assert mapped.memory() == copied.memory() >= ROWS * (2 * DIM + 16)


def test_near_rows_are_stored_side_by_side() -> None:
    centres = np.random.default_rng(5).normal(size=(5, DIM)) * 20
    of = np.random.default_rng(6).integers(0, 5, ROWS)
    data = (centres[of] + np.random.default_rng(7).normal(size=(ROWS, DIM))).astype(np.float32)
    spec = IndexSpec(index_type="HNSW", metric=Metric.L2, build={})
    order = locality.near_order(Build(spec, FloatColumn(data), lambda: True, 2))
    assert order is not None
    assert sorted(order) == list(range(ROWS))
    assert np.count_nonzero(np.diff(of[order])) < np.count_nonzero(np.diff(of)) / 2


def test_a_small_graph_and_one_of_an_earlier_version_keep_the_order_of_the_segment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(locality, "LEAST_BYTES", 4 << 20)
    index = graph()
    assert index._order is None
    assert not isinstance(index._stored, faiss.IndexIDMap)
    assert (index.search(DATA[:40], 10, {"ef": 100}, None)[1][:, 0] == np.arange(40)).all()


def test_a_build_that_is_no_longer_wanted_stops_in_the_ordering() -> None:
    spec = IndexSpec(index_type="HNSW", metric=Metric.L2, build={})
    with pytest.raises(BuildCancelled):
        locality.near_order(Build(spec, FloatColumn(DATA), lambda: False, 2))
