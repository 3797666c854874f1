"""Ranges and groups through an index, where that costs less than comparing every row: nearly the same answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engine import Engine

from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.tuning import Tuning

ROWS, DIM = 24_000, 128
RNG = np.random.default_rng(12)
SPREAD = RNG.normal(size=(10, DIM))
VECTORS = (RNG.normal(size=(ROWS, 10)) @ SPREAD).astype(np.float32)
"""Of fewer directions than numbers, as vectors of real things are."""
QUERIES = (RNG.normal(size=(30, 10)) @ SPREAD).astype(np.float32)
KINDS = {"HNSW": {"M": 16, "efConstruction": 60}, "IVF_FLAT": {"nlist": 64}}
PARAMS = {"HNSW": {"ef": 80}, "IVF_FLAT": {"nprobe": 12}}
WIDE = {"HNSW": {"ef": 250}, "IVF_FLAT": {"nprobe": 12}}
"""As far as many rows want it."""
EXACT, ANALYZE, EXPLAIN = Tuning(exact=True), Tuning(explain="analyze"), Tuning(explain="plan")


@pytest.fixture(scope="module", params=KINDS)
def engine(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, str]]:
    path: Path = tmp_path_factory.mktemp("reaching")
    made = Engine(str(path / "db"))
    made.create(metric="L2", index=request.param, dim=DIM, **KINDS[request.param])
    made.insert(range(ROWS), VECTORS, [i % 40 for i in range(ROWS)])
    made.delete("id in [1, 2, 3, 4]")
    made.flush()
    end = time.monotonic() + 120
    while not made.indexed():
        assert time.monotonic() < end
        time.sleep(0.05)
    yield made, request.param
    made.close()


def hows(hits: rs.Hits) -> set[str]:
    assert hits.explanation is not None
    return {step.how for segment in hits.explanation.segments for step in segment.steps}


def pairs(hits: rs.Hits) -> list[list[tuple[int, float]]]:
    """(key, score) of each query."""
    ends = np.cumsum(hits.topks).tolist()
    both = list(zip(hits.ids.to_pylist(), hits.scores.tolist(), strict=True))
    return [both[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def recall(found: rs.Hits, wanted: rs.Hits) -> float:
    hit = total = 0
    for some, every in zip(pairs(found), pairs(wanted), strict=True):
        hit += len({key for key, _ in some} & {key for key, _ in every})
        total += len(every)
    return hit / total


@pytest.mark.parametrize("filter", ["", "number < 36", "id > 23900"])
def test_a_range_from_the_nearest_on_is_found_through_the_index(engine: tuple[Engine, str], filter: str) -> None:
    made, kind = engine
    near = float(np.sort(((VECTORS - QUERIES[0]) ** 2).sum(1))[30])
    params = {**PARAMS[kind], "radius": near}
    exact = made.search(QUERIES, 50, filter, params={"radius": near}, tuning=EXACT)
    found = made.search(QUERIES, 50, filter, params=params)
    assert recall(found, exact) >= 0.95
    for some, every in zip(pairs(found), map(dict, pairs(exact)), strict=True):
        assert all(score < near for _, score in some)
        assert [score for _, score in some] == sorted(score for _, score in some)
        assert all(score == pytest.approx(every[key], rel=1e-4) for key, score in some if key in every)
    told = made.search(QUERIES[:1], 50, filter, params=params, tuning=ANALYZE)
    planned = made.search(QUERIES[:1], 50, filter, params=params, tuning=EXPLAIN)
    if filter == "id > 23900":  # few rows are compared
        assert hows(told) == hows(planned) == {"compare every allowed row"}
    else:
        assert any("ask the index" in how for how in hows(told))
        assert hows(planned) == {"ask the index, for more while these are too few"}
    assert hows(made.search(QUERIES[:1], 50, filter, params=params, tuning=Tuning(exact=True, explain="analyze"))) == {
        "compare every allowed row"
    }


def test_a_range_that_begins_farther_out_leaves_nothing_out(engine: tuple[Engine, str]) -> None:
    made, kind = engine
    distances = np.sort(((VECTORS - QUERIES[0]) ** 2).sum(1))
    params = {**WIDE[kind], "radius": float(distances[60]), "range_filter": float(distances[20])}
    exact = made.search(QUERIES[:1], 100, params=params, tuning=EXACT)
    assert made.search(QUERIES[:1], 100, params=params).ids == exact.ids
    assert 38 <= len(exact.ids) <= 42
    assert hows(made.search(QUERIES[:1], 100, params=params, tuning=ANALYZE)) == {"compare every allowed row"}


@pytest.mark.parametrize(("size", "strict"), [(1, False), (3, False), (3, True)])
@pytest.mark.parametrize("filter", ["", "number < 36"])
def test_groups_are_found_through_the_index(engine: tuple[Engine, str], size: int, strict: bool, filter: str) -> None:
    made, kind = engine
    grouping = rq.Grouping(fields=("number",), size=size, strict=strict)
    asked: dict[str, Any] = {"params": PARAMS[kind], "grouping": grouping}
    exact = made.search(QUERIES, 5, filter, params={}, grouping=grouping, tuning=EXACT)
    found = made.search(QUERIES, 5, filter, **asked)
    assert recall(found, exact) >= 0.93
    if strict:
        assert len(found.ids) == len(QUERIES) * 5 * size
    for some in pairs(found):
        groups = [key % 40 for key, _ in some]
        assert len(set(groups)) == 5
        assert max(groups.count(group) for group in groups) <= size
    told = hows(made.search(QUERIES[:1], 5, filter, **asked, tuning=ANALYZE))
    assert any(how.startswith(("ask the index", "look at the")) for how in told)


def test_so_many_groups_that_comparing_is_cheaper_are_compared(engine: tuple[Engine, str]) -> None:
    made, kind = engine
    grouping = rq.Grouping(fields=("id",), size=1)
    exact = made.search(QUERIES[:2], 2000, params={}, grouping=grouping, tuning=EXACT)
    params = {"ef": 2000} if kind == "HNSW" else PARAMS[kind]
    assert made.search(QUERIES[:2], 2000, params=params, grouping=grouping).ids == exact.ids
    told = made.search(QUERIES[:2], 2000, params=params, grouping=grouping, tuning=ANALYZE)
    assert hows(told) == {"compare every allowed row"}


def test_pages_that_retain_their_order_leave_nothing_out(engine: tuple[Engine, str]) -> None:
    made, kind = engine
    params = {**WIDE[kind], "radius": 1e9}
    exact = made.search(QUERIES[:1], 200, params=params, tuning=EXACT).ids.to_pylist()
    found: list[int] = []
    for offset in range(0, 200, 50):
        found += made.search(QUERIES[:1], 50, offset=offset, in_order=True, params=params).ids.to_pylist()
    assert found == exact
