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
from redkite.model.tuning import Tuning
from redkite.model.types import Metric
from redkite.query import nearby
from redkite.query.nearby import Nearby, Reach

ROWS, DIM, QUERIES = 8_000, 48, 120
NEARBY = "compare the allowed rows of the cells nearby"
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
    end = time.monotonic() + 120
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


@settings(
    max_examples=8, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
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


def test_questions_that_move_ever_farther_away_keep_recall(built: Built) -> None:
    """What was learned from the first of them, which are near what is allowed, is not all that the last ones need."""
    engine, vectors, queries, metric = built
    rng = np.random.default_rng(21)
    along = rng.normal(size=DIM).astype(np.float32)
    height = vectors @ along
    allowed = height <= np.quantile(height, 0.4)
    outside = queries[queries @ along > np.quantile(height, 0.5)]
    order = np.argsort([-(vectors[ranked(vectors, allowed, q, metric)[-1]] @ q) for q in outside])
    condition = f"id in {np.flatnonzero(allowed).tolist()} and id >= -5"
    found = []
    for at, query in enumerate(outside[order]):
        hits = engine.search(query, 10, condition, params={"ef": 48}).ids.to_pylist()
        found.append(len(set(hits) & set(ranked(vectors, allowed, query, metric).tolist())) / 10)
        if at == nearby.PATIENCE + 1:
            time.sleep(0.3)  # cells are being made
    assert len(found) > nearby.PATIENCE + nearby.MEASURED + 10
    assert np.mean(found[nearby.PATIENCE + nearby.MEASURED :]) >= 0.95


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


def answers(count: int, slack: float) -> tuple[np.ndarray, np.ndarray]:
    """As many, of 10 rows each, 2 away."""
    return np.full((count, 10), slack, np.float32), np.full((count, 10), 2, np.float32)


def test_nothing_is_left_out_before_enough_was_measured() -> None:
    reach = Reach()
    assert not reach.is_learning
    reach.learn(*answers(nearby.MEASURED - 1, 0.1))
    assert not reach.known()
    assert reach.is_learning
    reach.learn(*answers(1, 0.2))
    assert reach.known()
    assert not reach.is_learning
    assert reach.slack == pytest.approx(0.2)


def test_distances_that_overflow_leave_nothing_out() -> None:
    reach = Reach()
    reach.learn(*answers(nearby.MEASURED, np.nan))
    assert reach.slack == np.inf


def test_a_question_from_farther_away_looks_farther() -> None:
    reach = Reach()
    reach.learn(*answers(nearby.MEASURED, 0.25))
    assert reach.bound(1.0) == 1.25
    assert reach.bound(2.0) == 2.25
    assert reach.bound(3.0) == 3.25 + nearby.LENGTHENED


def test_it_is_measured_again_now_and_then() -> None:
    reach = Reach()
    reach.learn(*answers(nearby.MEASURED, 0.1))
    assert [reach.known() for _ in range(2 * nearby.AGAIN)].count(False) == 2


def test_what_searches_cost_is_known_from_the_last_ones() -> None:
    reach = Reach()
    assert reach.part == np.inf
    reach.learn(*answers(nearby.MEASURED, 0.1))
    for part in [0.5] * 200 + [0.1] * 200:
        reach.compared(part)
    assert reach.part == pytest.approx(0.1, abs=0.001)


@pytest.mark.parametrize("is_kept", [False, True])
@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP, Metric.COSINE])
def test_the_measured_slack_holds_the_neighbours_however_many_are_asked_for(metric: Metric, is_kept: bool) -> None:
    rng = np.random.default_rng(3)
    points = 4 * rng.normal(size=(60, 12))[rng.integers(0, 60, 4020)] + rng.normal(size=(4020, 12))
    vectors, queries = points[:4000].astype(np.float32), points[4000:].astype(np.float32)
    allowed = vectors[:, 0] > 0.3
    rows = np.flatnonzero(allowed)
    near = Nearby(build_cells(vectors, metric), rows)
    assert sorted(near.rows.tolist()) == rows.tolist()
    column = FloatColumn(vectors)
    exact = np.array([ranked(vectors, allowed, query, metric.name) for query in queries])
    scores, exact = column.ranked(queries, exact, 10, metric)
    slacks, _ = near.slacks(queries, scores, exact)
    reach, compared = Reach(), []
    reach.learn(np.full((nearby.MEASURED, 1), slacks.max() + 1e-4), np.full((nearby.MEASURED, 1), 1e9))
    kept = FloatColumn(vectors[near.rows]) if is_kept else None
    for k in (1, 10):
        for query, want, score in zip(queries, exact, scores, strict=True):
            found = near.search(column, kept, query[None], reach, k)
            if found is None:
                compared.append(len(rows))
                continue
            assert found[1][0].tolist() == want[:k].tolist()
            assert found[0][0].tolist() == score[:k].tolist(), "a score depends on how its row was found"
            compared.append(found[2])
    assert np.mean(compared) < 0.6 * len(rows)


def test_a_row_is_no_farther_from_its_centre_than_distances_differ() -> None:
    """What makes a slack of the radius of a cell enough, by each metric."""
    rng = np.random.default_rng(5)
    vectors, queries = (rng.normal(size=(n, 8)).astype(np.float32) for n in (2000, 30))
    rows = np.tile(np.arange(len(vectors)), (len(queries), 1))
    for metric in (Metric.L2, Metric.IP, Metric.COSINE):
        near = Nearby(build_cells(vectors, metric), np.arange(len(vectors)))
        scores = FloatColumn(vectors).ranked(queries, rows, len(vectors), metric)
        placed = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if metric is Metric.COSINE else vectors
        radius = np.linalg.norm(placed - near.cells.centres[near.cells.cell_of], axis=1)
        slacks, _ = near.slacks(queries, *scores)
        assert (np.abs(slacks) <= radius[scores[1]] + 1e-3).all(), metric


def test_every_search_of_a_filter_is_answered_by_cells_where_these_cost_less(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redkite.query.execute.EXACT_FLOATS", 150_000)
    engine, vectors, queries, _ = built
    allowed = half_space(vectors, 0.5, 1.0, 7)
    condition = f"id in {np.flatnonzero(allowed).tolist()} and id >= -7"
    recall(built, allowed, condition)
    compared = []
    for query in queries[:20]:
        told = engine.search(query, 10, condition, params={"ef": 48}, tuning=Tuning(explain="analyze")).explanation
        assert told is not None
        steps = [step.how for segment in told.segments if segment.index for step in segment.steps]
        assert steps == [NEARBY]
        compared.append(told.compared)
    assert np.mean(compared) < 0.5 * allowed.sum()


def test_the_rows_around_a_query_are_the_answer_where_enough_of_them_pass(built: Built) -> None:
    engine, vectors, queries, _ = built
    allowed = half_space(vectors, 0.6, 0.0, 3)
    condition = f"id in {np.flatnonzero(allowed).tolist()} and id >= -6"
    assert recall(built, allowed, condition) >= 0.97
    ways = []
    for query in queries[:30]:
        told = engine.search(query, 10, condition, params={"ef": 48}, tuning=Tuning(explain="analyze")).explanation
        assert told is not None
        ways += [[step.how for step in segment.steps] for segment in told.segments if segment.index]
    around = [way for way in ways if len(way) == 1 and way[0].startswith("look at")]
    assert len(around) > 0.9 * len(ways)


def test_a_search_that_cells_cannot_help_counts_as_one_of_all_rows() -> None:
    """Where all that is allowed is in one cell, or most of it is wanted: else the graph would never be asked again."""
    rng = np.random.default_rng(8)
    vectors = np.concatenate([rng.normal(size=(600, 4)), 50 + rng.normal(size=(600, 4))]).astype(np.float32)
    cells = build_cells(vectors, Metric.L2)
    column = FloatColumn(vectors)
    for rows, k in ((np.flatnonzero(cells.cell_of == cells.cell_of[0]), 1), (np.arange(40), 15)):
        reach = Reach()
        reach.learn(*answers(nearby.MEASURED, 0.1))
        assert Nearby(cells, rows).search(column, None, vectors[:1], reach, k) is None
        assert reach.part == pytest.approx(nearby.LATELY)


@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP, Metric.COSINE])
@pytest.mark.parametrize("scale", [1e19, 1e30])
def test_numbers_that_single_precision_cannot_square_do_no_harm(metric: Metric, scale: float) -> None:
    """The library that finds centres would end the process."""
    rng = np.random.default_rng(4)
    vectors = (np.clip(rng.normal(size=(3000, 8)), -1, 1) * scale).astype(np.float32)
    rows, column, reach = np.arange(0, 3000, 2), FloatColumn(vectors), Reach()
    near = Nearby(build_cells(vectors, metric), rows)
    for query in vectors[: 2 * nearby.MEASURED]:
        scores, places = FloatColumn(vectors[rows]).search(query[None], 5, metric, None)
        found = near.search(column, None, query[None], reach, 5) if reach.known() else None
        if found is None:
            reach.learn(*near.slacks(query[None], scores, rows[places]))
        else:
            assert found[0].tolist() == scores.tolist()
