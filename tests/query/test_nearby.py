"""Filtered searches once it has been learned how far the neighbours are: against numpy, with a floor for recall."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine import Engine

from redkite.index.cells import build_cells
from redkite.index.dense import FloatColumn
from redkite.model.types import Metric
from redkite.query import nearby
from redkite.query.nearby import Nearby, Reach

ROWS, DIM, QUERIES = 8_000, 48, 120
Built = tuple[Engine, np.ndarray, np.ndarray, str]


@pytest.fixture(scope="module", params=["L2", "COSINE", "IP"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """An engine with one sealed segment under a finished graph, its vectors, and queries from the same place."""
    path: Path = tmp_path_factory.mktemp("nearby") / "db"
    rng = np.random.default_rng(11)
    centres, surface = rng.normal(size=(20, 10)), rng.normal(size=(10, DIM))
    points = centres[rng.integers(0, 20, ROWS + QUERIES)] + 0.6 * rng.normal(size=(ROWS + QUERIES, 10))
    everything = (points @ surface + 0.05 * rng.normal(size=(ROWS + QUERIES, DIM))).astype(np.float32)
    if request.param == "IP":  # as embeddings come; of any lengths, the graph itself finds less
        everything /= np.linalg.norm(everything, axis=1, keepdims=True)
    vectors = everything[:ROWS]
    engine = Engine(str(path))
    engine.create(metric=request.param, dim=DIM, M=16, efConstruction=100)
    for at in range(0, ROWS, 2000):
        engine.insert(range(at, at + 2000), vectors[at : at + 2000], [0] * 2000, ["w"] * 2000)
    engine.flush()
    end = time.monotonic() + 60
    while not engine.indexed():
        assert time.monotonic() < end, "the index was not built"
        time.sleep(0.02)
    request.addfinalizer(engine.close)
    return engine, vectors, everything[ROWS:], request.param


@pytest.fixture(autouse=True)
def few_rows_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redkite.query.execute.EXACT_FLOATS", 20_000)


def ranked(vectors: np.ndarray, allowed: np.ndarray, query: np.ndarray, metric: str) -> np.ndarray:
    rows = np.flatnonzero(allowed)
    some = vectors[rows].astype(np.float64)
    products = some @ query
    rank = {
        "L2": ((some - query) ** 2).sum(axis=1),
        "IP": -products,
        "COSINE": -products / np.linalg.norm(some, axis=1),
    }[metric]
    return rows[np.argsort(rank)[:10]]


def recall(built: Built, allowed: np.ndarray, condition: str) -> float:
    """Of all queries, from the first one on."""
    engine, vectors, queries, metric = built
    found = wanted = 0
    for query in queries:
        hits = engine.search(query, 10, condition, params={"ef": 48}).ids.to_pylist()
        want = ranked(vectors, allowed, query, metric)
        assert len(set(hits)) == len(want), "fewer rows than match"
        assert allowed[hits].all(), "a row that does not match"
        found += len(set(hits) & set(want.tolist()))
        wanted += len(want)
    return found / wanted


def half_space(vectors: np.ndarray, share: float, correlation: float, seed: int) -> np.ndarray:
    """Rows on one side of a plane, more or less: with a correlation of 0 any rows, with 1 exactly those."""
    rng = np.random.default_rng(seed)
    height = vectors @ rng.normal(size=DIM)
    rank = correlation * height / height.std() + (1 - correlation) * rng.normal(size=len(vectors))
    return rank <= np.quantile(rank, share)


@settings(max_examples=8, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    share=st.sampled_from([0.5, 0.3, 0.1, 0.03]),
    correlation=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    seed=st.integers(0, 10),
)
def test_any_filter_keeps_recall(built: Built, share: float, correlation: float, seed: int) -> None:
    allowed = half_space(built[1], share, correlation, seed)
    assert recall(built, allowed, f"id in {np.flatnonzero(allowed).tolist()}") >= 0.97


@pytest.mark.parametrize("capacity", [256 * 1024 * 1024, 0])
def test_a_filter_that_allows_far_places_only_keeps_recall(
    built: Built, capacity: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for the vectors of the allowed rows, and without."""
    monkeypatch.setattr("redkite.query.allowed.CACHE_SHARE", capacity / 2**28)
    _, vectors, queries, _ = built
    apart = ((vectors - queries.mean(axis=0)) ** 2).sum(axis=1)
    allowed = apart >= np.quantile(apart, 0.6)
    extra = "id >= 0 and " if capacity else ""
    assert recall(built, allowed, f"{extra}id in {np.flatnonzero(allowed).tolist()}") >= 0.97


def test_rows_deleted_later_are_not_found(built: Built) -> None:
    engine, vectors, queries, metric = built
    allowed = half_space(vectors, 0.4, 1.0, 99)
    condition = f"id in {np.flatnonzero(allowed).tolist()}"
    recall(built, allowed, condition)
    gone = np.unique([ranked(vectors, allowed, query, metric)[0] for query in queries[:40]])
    engine.delete(f"id in {gone.tolist()}")
    try:
        allowed[gone] = False
        assert recall(built, allowed, condition) >= 0.97
    finally:
        engine.insert(gone.tolist(), vectors[gone], [0] * len(gone), ["w"] * len(gone))


def test_nothing_is_left_out_before_enough_was_measured() -> None:
    reach = Reach()
    reach.learn(np.full((nearby.MEASURED - 1, 10), 0.1), 10)
    assert not reach.known_for(10)
    reach.learn(np.full((1, 10), 0.2), 10)
    assert reach.known_for(10)
    assert reach.share == pytest.approx(0.2 * nearby.MARGIN)


def test_a_larger_limit_is_measured_anew() -> None:
    reach = Reach()
    reach.learn(np.full((nearby.MEASURED, 10), 0.1), 10)
    assert reach.known_for(5)
    assert not reach.known_for(11)
    reach.learn(np.full((1, 11), 0.1), 11)
    assert not reach.known_for(5)


def test_it_is_measured_again_now_and_then() -> None:
    reach = Reach()
    reach.learn(np.full((nearby.MEASURED, 10), 0.1), 10)
    assert [reach.known_for(10) for _ in range(2 * nearby.AGAIN)].count(False) == 2


@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP, Metric.COSINE])
def test_the_measured_part_of_the_rows_holds_the_neighbours(metric: Metric) -> None:
    rng = np.random.default_rng(3)
    vectors, queries = (rng.normal(size=(n, 12)).astype(np.float32) for n in (4000, 20))
    allowed = vectors[:, 0] > 0.3
    rows = np.flatnonzero(allowed)
    near = Nearby(build_cells(vectors, metric), rows)
    assert sorted(near.rows.tolist()) == rows.tolist()
    exact = np.array([ranked(vectors, allowed, query, metric.name) for query in queries])
    shares = near.shares(queries, exact)
    assert ((shares > 0) & (shares <= 1)).all()
    for query, want, share in zip(queries, exact, shares, strict=True):
        _, found = near.search(FloatColumn(vectors), None, query[None], float(share.max()), 10, metric)
        assert set(found[0].tolist()) == set(want.tolist())
