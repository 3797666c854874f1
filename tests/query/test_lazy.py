"""Rows that are filtered as they are found; and ranges over an indexed segment, which leave nothing out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engine import Engine
from tests.query.test_execute import truth, wait_for_index

from redkite.query import execute

ROWS, DIM = 6000, 8


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, np.ndarray]]:
    path: Path = tmp_path_factory.mktemp("lazy") / "db"
    vectors = np.random.default_rng(2).standard_normal((ROWS, DIM)).astype(np.float32)
    engine = Engine(str(path))
    engine.create(dim=DIM, M=16, efConstruction=100)
    engine.insert(range(ROWS), vectors, np.arange(ROWS) % 10, [f"w{i % 3}" for i in range(ROWS)])
    engine.flush()
    wait_for_index(engine)
    engine.delete("id < 600")
    yield engine, vectors
    engine.close()


@pytest.fixture
def filtered(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The filters that whole segments were asked about."""
    seen: list[Any] = []
    real = execute.allowed_rows

    def watched(*args: Any) -> Any:
        seen.append(args[1])
        return real(*args)

    monkeypatch.setattr(execute, "allowed_rows", watched)
    return seen


def search(engine: Engine, query: np.ndarray, filter: str, **more: Any) -> list[int]:
    found: list[int] = engine.search(query, 10, filter, **more).ids.to_pylist()
    return found


def test_a_lazy_filter_looks_at_few_rows_and_finds_the_same(
    built: tuple[Engine, np.ndarray], filtered: list[Any]
) -> None:
    engine, vectors = built
    allowed = (np.arange(ROWS) >= 600) & (np.arange(ROWS) % 10 < 5)
    hits = 0
    for query in vectors[1000:1020] + np.float32(0.01):
        found = search(engine, query, "number < 5", hints="iterative_filter", params={"ef": 200})
        hits += len(set(found) & set(truth(vectors, allowed, query, 10, "L2")))
    assert hits >= 195
    assert filtered == []
    search(engine, vectors[0], "number < 5", params={"ef": 200})
    assert len(filtered) == 1


def test_where_few_rows_pass_all_are_filtered_after_all(built: tuple[Engine, np.ndarray], filtered: list[Any]) -> None:
    engine, vectors = built
    query = vectors[1500]
    found = search(engine, query, "number == 3 and id % 100 == 13", hints="iterative_filter")
    allowed = (np.arange(ROWS) >= 600) & (np.arange(ROWS) % 100 == 13)
    assert found == truth(vectors, allowed, query, 10, "L2")
    assert len(filtered) == 1


def test_a_range_over_an_indexed_segment_is_complete(built: tuple[Engine, np.ndarray]) -> None:
    engine, vectors = built
    for at in (700, 2500, 5900):
        query = vectors[at] + np.float32(0.01)
        distances = ((vectors.astype(np.float64) - query) ** 2).sum(axis=1)
        radius = float(np.sort(distances)[400]) + 1e-4
        found = engine.search(query, ROWS, params={"radius": radius, "ef": ROWS}).ids.to_pylist()
        inside = [i for i in range(600, ROWS) if distances[i] < radius]
        assert sorted(found) == inside
        assert found[:20] == truth(vectors, np.arange(ROWS) >= 600, query, 20, "L2")


def test_the_largest_answer_is_given_whole(built: tuple[Engine, np.ndarray]) -> None:
    engine, vectors = built
    found = engine.search(vectors[3], 16_384, in_order=True, params={"ef": 16_384})
    assert found.ids.to_pylist() == truth(vectors, np.arange(ROWS) >= 600, vectors[3], ROWS, "L2")
