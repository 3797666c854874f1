"""Chains over hits, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.query.chains import (
    Chain,
    CombineExpr,
    DecayExpr,
    LimitStep,
    MapStep,
    ModelExpr,
    RoundExpr,
    SortStep,
    Step,
    run,
)
from redkite.query.models import ModelRerank
from redkite.query.plan import SearchPartial
from redkite.query.rescoring import Slope


def unasked(*_: Any) -> Any:
    raise AssertionError("no model is asked")


def hits(*queries: list[tuple[int, float, int | None]]) -> SearchPartial:
    """(key, score, value) of each hit."""
    flat = [hit for query in queries for hit in query]
    rows = pa.RecordBatch.from_arrays(
        [pa.array([v for _, _, v in flat], pa.int64()), pa.array([f"word {k}" for k, _, _ in flat], pa.string())],
        ["value", "word"],
    )
    return SearchPartial(
        np.array([len(query) for query in queries]),
        pa.array([k for k, _, _ in flat], pa.int64()),
        np.array([s for _, s, _ in flat], np.float32),
        rows,
    )


def left(found: SearchPartial, *steps: Step, larger: bool = True, ask: Any = unasked) -> list[list[tuple[int, float]]]:
    done = run([Chain(steps, ("value", "word"))], found, larger, ask)
    assert done.rows.column("word").to_pylist() == [f"word {key}" for key in done.ids.to_pylist()]
    flat = iter(zip(done.ids.to_pylist(), done.scores.tolist(), strict=True))
    return [[next(flat) for _ in range(count)] for count in done.topks.tolist()]


def test_a_score_that_is_computed_orders_the_hits() -> None:
    found = hits([(1, 0.9, 10), (2, 0.5, 40), (3, 0.4, None)], [(4, 0.3, 1)])
    step = MapStep("$score", CombineExpr(("$score", "value"), "sum"))
    assert left(found, step) == [
        [(2, pytest.approx(40.5)), (1, pytest.approx(10.9)), (3, pytest.approx(0.4))],
        [(4, pytest.approx(1.3))],
    ]


def test_a_computed_distance_orders_from_the_smallest() -> None:
    found = hits([(1, 0.14, 0), (2, 0.26, 0), (3, 0.24, 0)])
    got = left(found, MapStep("$score", RoundExpr("$score", 1)), larger=False)
    assert [key for key, _ in got[0]] == [1, 3, 2]


def test_without_a_score_or_a_sort_the_order_stays() -> None:
    found = hits([(3, 0.9, 1), (1, 0.5, 2)])
    assert [key for key, _ in left(found, MapStep("other", RoundExpr("value", 0)))[0]] == [3, 1]


def test_a_sort_puts_nulls_last_and_breaks_ties_by_another_column() -> None:
    found = hits([(4, 0.5, 2), (2, 0.5, None), (3, 0.7, 7), (1, 0.5, 2)])
    assert [k for k, _ in left(found, SortStep("value", True, "$id"))[0]] == [3, 1, 4, 2]
    assert [k for k, _ in left(found, SortStep("value", False, "$id"))[0]] == [1, 4, 3, 2]
    assert [k for k, _ in left(found, SortStep("word", True))[0]] == [4, 3, 2, 1]


def test_a_limit_counts_in_each_query() -> None:
    found = hits([(1, 0.9, 1), (2, 0.8, 1), (3, 0.7, 1)], [(4, 0.9, 1)])
    got = left(found, LimitStep(1, 1), LimitStep(5))
    assert [[key for key, _ in query] for query in got] == [[2], []]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-5, 5), st.none() | st.integers(-9, 9)), min_size=1, max_size=8),
    st.sampled_from(["multiply", "sum", "max", "min", "avg", "weighted"]),
)
def test_numbers_are_combined_as_their_mode_says(rows: list[tuple[float, int | None]], mode: Any) -> None:
    found = hits([(key, score, value) for key, (score, value) in enumerate(rows)])
    weights = (0.25, 2.0) if mode == "weighted" else ()
    got = dict(left(found, MapStep("$score", CombineExpr(("$score", "value"), mode, weights)))[0])
    for key, (given_score, value) in enumerate(rows):
        a, b = float(np.float32(given_score)), float(value or 0)
        wanted = {
            "multiply": a * b, "sum": a + b, "max": max(a, b), "min": min(a, b), "avg": (a + b) / 2,
            "weighted": 0.25 * a + 2 * b,
        }[mode]  # fmt: skip
        assert got[key] == pytest.approx(wanted, rel=1e-6, abs=1e-6)


def test_steps_see_what_earlier_ones_made() -> None:
    found = hits([(1, 0.5, 100), (2, 0.5, 90), (3, 0.5, None)])
    slope = Slope(curve="linear", origin=100, scale=10, decay=0.5)
    got = left(
        found,
        MapStep("fresh", DecayExpr("value", slope)),
        MapStep("$score", CombineExpr(("$score", "fresh"), "weighted", (0.5, 0.5))),
        LimitStep(2),
    )
    assert got == [[(1, 0.75), (2, 0.5)]]


def test_a_model_is_asked_for_each_query() -> None:
    asked: list[tuple[str, list[str]]] = []

    def ask(_model: ModelRerank, query: str, texts: Sequence[str]) -> Any:
        asked.append((query, list(texts)))
        return np.arange(len(texts), dtype=np.float64)

    model = ModelRerank(provider="tei", field="word", queries=("a", "b", "c"), endpoint="http://there")
    found = hits([(1, 0.9, 1), (2, 0.8, 1)], [], [(4, 0.9, 1)])
    got = left(found, MapStep("$score", ModelExpr(model)), ask=ask)
    assert got == [[(2, 1.0), (1, 0.0)], [], [(4, 0.0)]]
    assert asked == [("a", ["word 1", "word 2"]), ("c", ["word 4"])]


def test_hits_whose_score_became_infinite_are_left_out() -> None:
    found = hits([(1, 3e38, 9), (2, 0.5, 1)])
    with np.errstate(over="ignore"):
        got = left(found, MapStep("$score", CombineExpr(("$score", "value"), "multiply")))
    assert [key for key, _ in got[0]] == [2]
