"""Searches and queries against a plain numpy model: exact where every row is compared, bounded below where not."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine import Engine

from redkite.simulated import simulated_env

ROWS, DIM = 12_000, 96


def truth(vectors: np.ndarray, allowed: np.ndarray, query: np.ndarray, k: int, metric: str) -> list[int]:
    rows = np.flatnonzero(allowed)
    some = vectors[rows].astype(np.float64)
    if metric == "L2":
        rank = ((some - query) ** 2).sum(axis=1)
    elif metric == "IP":
        rank = -(some @ query)
    else:
        rank = -(some @ query) / np.linalg.norm(some, axis=1) / np.linalg.norm(query)
    return [int(i) for i in rows[np.lexsort((rows, rank))[:k]]]


def wait_for_index(engine: Engine) -> None:
    end = time.monotonic() + 120
    while not engine.indexed():
        assert time.monotonic() < end, "the index was not built"
        time.sleep(0.02)


@pytest.fixture(scope="module", params=["L2", "COSINE", "IP"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Engine, np.ndarray, str]:
    """An engine with one sealed segment under a finished, sparse graph. `number` ranks the rows along a direction: a
    filter on it is as correlated with the vectors as a filter can be."""
    path: Path = tmp_path_factory.mktemp("execute") / "db"
    rng = np.random.default_rng(5)
    latent = rng.normal(size=(ROWS, 12))
    vectors = (latent @ rng.normal(size=(12, DIM)) + 0.05 * rng.normal(size=(ROWS, DIM))).astype(np.float32)
    side = np.argsort(np.argsort(vectors[:, 0]))
    engine = Engine(str(path))
    engine.create(metric=request.param, dim=DIM, M=8, efConstruction=60)
    words = [f"w{i % 100}" for i in range(ROWS)]
    for at in range(0, ROWS, 2000):
        engine.insert(range(at, at + 2000), vectors[at : at + 2000], side[at : at + 2000], words[at : at + 2000])
    engine.flush()
    wait_for_index(engine)
    request.addfinalizer(engine.close)
    return engine, vectors, request.param


@pytest.fixture(autouse=True)
def few_rows_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the real bound: let the graph answer filters over these few rows, as it does over many."""
    monkeypatch.setattr("redkite.query.execute.EXACT_FLOATS", 130_000)


def recall(engine: Engine, vectors: np.ndarray, metric: str, allowed: np.ndarray, filter: str, ef: int = 64) -> float:
    found, wanted = 0, 0
    queries = vectors[:: len(vectors) // 60][:60] + np.float32(0.01)
    for query in queries:
        hits = engine.search(query, 10, filter, params={"ef": ef})
        want = truth(vectors, allowed, query, 10, metric)
        assert len(hits.ids) == len(want), "fewer rows than match"
        found += len(set(hits.ids.to_pylist()) & set(want))
        wanted += len(want)
    return found / wanted


def test_the_graph_finds_the_neighbours(built: tuple[Engine, np.ndarray, str]) -> None:
    engine, vectors, metric = built
    assert recall(engine, vectors, metric, np.ones(ROWS, bool), "") >= 0.95


def test_a_wider_walk_finds_more(built: tuple[Engine, np.ndarray, str]) -> None:
    engine, vectors, metric = built
    every = np.ones(ROWS, bool)
    assert recall(engine, vectors, metric, every, "", ef=10) < recall(engine, vectors, metric, every, "", ef=400)


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.0005])
def test_a_filter_independent_of_the_vectors_keeps_recall(built: tuple[Engine, np.ndarray, str], share: float) -> None:
    engine, vectors, metric = built
    modulus = round(1 / share)
    allowed = np.arange(ROWS) % modulus == 3 % modulus
    assert recall(engine, vectors, metric, allowed, f"id % {modulus} == {3 % modulus}") >= 0.95


@pytest.mark.parametrize("share", [0.5, 0.2, 0.05])
def test_a_filter_correlated_with_the_vectors_keeps_recall(built: tuple[Engine, np.ndarray, str], share: float) -> None:
    engine, vectors, metric = built
    bound = int(ROWS * share)
    side = np.argsort(np.argsort(vectors[:, 0]))
    assert recall(engine, vectors, metric, side < bound, f"number < {bound}") >= 0.97


def test_scores_are_exact_whatever_the_graph_ranks_by(built: tuple[Engine, np.ndarray, str]) -> None:
    engine, vectors, metric = built
    hits = engine.search(vectors[77], 10)
    query = vectors[77].astype(np.float64)
    some = vectors[hits.ids.to_pylist()].astype(np.float64)
    exact = {
        "L2": ((some - query) ** 2).sum(axis=1),
        "IP": some @ query,
        "COSINE": (some @ query) / np.linalg.norm(some, axis=1) / np.linalg.norm(query),
    }[metric]
    np.testing.assert_allclose(hits.scores, exact, rtol=1e-5, atol=1e-5)
    ordered = np.sort(hits.scores) if metric == "L2" else np.sort(hits.scores)[::-1]
    np.testing.assert_array_equal(hits.scores, ordered)


def test_many_queries_at_once_answer_as_one_by_one(built: tuple[Engine, np.ndarray, str]) -> None:
    engine, vectors, _ = built
    for filter in ("", "id % 3 == 1", "number < 7000"):
        together = engine.search(vectors[:40], 5, filter, params={"ef": 200})
        apart = [i for q in vectors[:40] for i in engine.search(q, 5, filter, params={"ef": 200}).ids.to_pylist()]
        same = np.mean(np.array(together.ids.to_pylist()) == np.array(apart))
        assert same >= 0.99


def test_asking_for_more_rows_than_match_gives_all_that_match(built: tuple[Engine, np.ndarray, str]) -> None:
    engine, vectors, _ = built
    hits = engine.search(vectors[5], 200, "word == 'w7' and id < 3000")
    assert sorted(hits.ids.to_pylist()) == list(range(7, 3000, 100))
    assert engine.search(vectors[5], 10, "id < 0").topks.tolist() == [0]


writes = st.lists(
    st.tuples(st.sampled_from(["insert", "insert", "delete", "flush"]), st.lists(st.integers(0, 30), min_size=1)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=40)
@given(steps=writes, metric=st.sampled_from(["L2", "IP", "COSINE"]), data=st.data())
def test_any_sequence_of_writes_is_searched_exactly(steps: list, metric: str, data: st.DataObject) -> None:
    engine = Engine("db", simulated_env(1))
    engine.create(metric=metric, index="FLAT", shards=data.draw(st.sampled_from([1, 2])))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    model: dict[int, tuple[np.ndarray, int]] = {}
    for kind, keys in steps:
        if kind == "insert":
            vectors = rng.normal(size=(len(keys), 8)).astype(np.float32)
            numbers = rng.integers(0, 10, len(keys))
            engine.insert(keys, vectors, numbers)
            model |= {k: (v, int(n)) for k, v, n in zip(keys, vectors, numbers, strict=True)}
        elif kind == "delete":
            engine.delete(f"id in {keys}")
            model = {k: v for k, v in model.items() if k not in keys}
        else:
            engine.flush()
    keys = sorted(model)
    matrix = np.array([model[k][0] for k in keys]).reshape(len(keys), 8)
    numbers = np.array([model[k][1] for k in keys])
    query = rng.normal(size=8).astype(np.float32)
    every = np.ones(len(keys), bool)
    for filter, allowed in (("", every), ("number > 4", numbers > 4), ("not (number > 4)", numbers <= 4)):
        want = [keys[i] for i in truth(matrix, allowed, query, 7, metric)]
        assert engine.search(query, 7, filter).ids.to_pylist() == want
        if filter:
            assert engine.query(filter, fields=("id",))["id"] == [k for k, ok in zip(keys, allowed, strict=True) if ok]
            assert engine.count(filter) == int(allowed.sum())
