"""Searches under filters over indexes that are not graphs: their recall is that of the graph, and none comes short."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engine import Engine
from tests.index.vectors import clustered, near, wilson_low

ROWS, DIM, QUERIES, K = 8_000, 32, 60, 10
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "IVF_FLAT": ({"nlist": 128}, {"nprobe": 16}),
    "IVF_SQ8": ({"nlist": 128}, {"nprobe": 16}),
    "IVF_PQ": ({"nlist": 128, "m": 16, "nbits": 6}, {"nprobe": 24, "refine_k": 16}),
    "IVF_RABITQ": ({"nlist": 128}, {"nprobe": 24, "refine_k": 20}),
    "SCANN": ({"nlist": 128}, {"nprobe": 24, "reorder_k": 150}),
    "DISKANN": ({}, {"search_list": 48}),
    "HNSW_SQ": ({"M": 16, "efConstruction": 80}, {"ef": 64}),
}
Built = tuple[Engine, np.ndarray, np.ndarray, dict[str, Any]]


@pytest.fixture(scope="module", params=KINDS)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """An engine with one sealed segment under a finished index. `number` ranks the rows along a direction."""
    build, params = KINDS[request.param]
    path: Path = tmp_path_factory.mktemp("indexed") / "db"
    vectors = clustered(ROWS, DIM, seed=9)
    side = np.argsort(np.argsort(vectors[:, 0]))
    engine = Engine(str(path))
    engine.create(metric="L2", index=request.param, dim=DIM, **build)
    engine.insert(range(ROWS), vectors, side, [f"w{i % 100}" for i in range(ROWS)])
    engine.flush()
    end = time.monotonic() + 120
    while not engine.indexed():
        assert time.monotonic() < end, "the index was not built"
        time.sleep(0.02)
    request.addfinalizer(engine.close)
    return engine, vectors, side, params


@pytest.fixture(autouse=True)
def few_rows_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the index answer filters over these few rows, as it does over many."""
    monkeypatch.setattr("redkite.query.execute.EXACT_FLOATS", 20_000)


def found(built: Built, allowed: np.ndarray, filter: str) -> float:
    engine, vectors, _, params = built
    rows, share = np.flatnonzero(allowed), []
    for query in near(vectors, QUERIES):
        hits = engine.search(query, K, filter, params=params).ids.to_pylist()
        wanted = rows[np.argsort(((vectors[rows] - query) ** 2).sum(axis=1))[:K]]
        assert len(hits) == len(wanted), "fewer rows than match"
        assert allowed[hits].all()
        share.append(len(set(hits) & set(wanted.tolist())) / len(wanted))
    return float(np.mean(share))


@pytest.mark.parametrize("share", [1, 0.5, 0.1, 0.01, 0.001])
def test_a_filter_independent_of_the_vectors_keeps_recall(built: Built, share: float) -> None:
    modulus = round(1 / share)
    allowed = np.arange(ROWS) % modulus == 3 % modulus
    filter = f"id % {modulus} == {3 % modulus}" if modulus > 1 else ""
    assert wilson_low(found(built, allowed, filter), QUERIES * K) >= 0.95


@pytest.mark.parametrize("share", [0.5, 0.2, 0.05])
def test_a_filter_correlated_with_the_vectors_keeps_recall(built: Built, share: float) -> None:
    bound = int(ROWS * share)
    assert wilson_low(found(built, built[2] < bound, f"number < {bound}"), QUERIES * K) >= 0.95


def test_more_rows_than_the_lists_hold_are_found_all_the_same(built: Built) -> None:
    engine, vectors, _, params = built
    limit = 3000
    wider = {k: max(v, limit) if k in ("ef", "search_list", "reorder_k") else v for k, v in params.items()}
    hits = engine.search(vectors[5], limit, params=wider)
    assert hits.topks.tolist() == [limit]
    assert hits.scores.tolist() == sorted(hits.scores.tolist())
    hits = engine.search(vectors[5], 200, "word == 'w7' and id < 3000", params=wider if "search_list" in params else {})
    assert sorted(hits.ids.to_pylist()) == list(range(7, 3000, 100))


def test_scores_are_exact_whatever_the_codes_say(built: Built) -> None:
    engine, vectors, _, params = built
    hits = engine.search(vectors[77], K, params=params)
    exact = ((vectors[hits.ids.to_pylist()].astype(np.float64) - vectors[77]) ** 2).sum(axis=1)
    np.testing.assert_allclose(hits.scores, exact, rtol=1e-5, atol=1e-5)


def test_many_queries_answer_as_one_by_one(built: Built) -> None:
    engine, vectors, _, params = built
    for filter in ("", "id % 3 == 1"):
        together = engine.search(vectors[:40], 5, filter, params=params)
        apart = [i for q in vectors[:40] for i in engine.search(q, 5, filter, params=params).ids.to_pylist()]
        assert np.mean(np.array(together.ids.to_pylist()) == np.array(apart)) >= 0.99


def test_deleted_rows_are_gone_and_the_index_stays(built: Built) -> None:
    engine, vectors, _, params = built
    assert engine.search(vectors[4001], 1, params=params).ids.to_pylist() == [4001]
    engine.delete("id == 4001")
    assert 4001 not in engine.search(vectors[4001], K, params=params).ids.to_pylist()
    engine.insert([4001], vectors[4001:4002], [int(built[2][4001])], ["w1"])
    assert engine.search(vectors[4001], 1, params=params).ids.to_pylist() == [4001]
