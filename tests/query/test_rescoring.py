"""Decay and boosts against their formulas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.filter import compile_filter
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import DataType, Metric
from redkite.query import fusion
from redkite.query.fusion import RankedList
from redkite.query.plan import SearchPartial
from redkite.query.rescoring import (
    Boost,
    Boosts,
    Decay,
    RandomScore,
    Slope,
    boosted,
    decayed,
    random_numbers,
)

SCHEMA = CollectionSchema(
    name="things",
    fields=(
        FieldSchema(name="id", data_type=DataType.INT64, is_primary=True),
        FieldSchema(name="number", data_type=DataType.INT64, nullable=True),
        FieldSchema(name="word", data_type=DataType.VARCHAR, params={"max_length": "9"}),
    ),
)


def factor(value: float | None, slope: Slope) -> float:
    if value is None:
        return 0.0
    distance = max(0.0, abs(value - slope.origin) - slope.offset)
    if slope.curve == "gauss":
        return math.exp(distance**2 * math.log(slope.decay) / slope.scale**2)
    if slope.curve == "exp":
        return math.exp(distance * math.log(slope.decay) / slope.scale)
    return max(slope.decay, 1 - (1 - slope.decay) / slope.scale * distance)


slopes = st.builds(
    Slope,
    curve=st.sampled_from(["gauss", "exp", "linear"]),
    origin=st.floats(-100, 100),
    scale=st.floats(0.1, 100),
    offset=st.floats(0, 20),
    decay=st.floats(0.01, 0.99),
)


@settings(max_examples=80, deadline=None)
@given(slopes, st.lists(st.none() | st.integers(-1000, 1000), min_size=1, max_size=20))
def test_factors_follow_the_formula(slope: Slope, values: list[int | None]) -> None:
    got = slope.factors(pa.array(values, pa.int64()))
    assert got.tolist() == pytest.approx([factor(value, slope) for value in values], rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("curve", ["gauss", "exp", "linear"])
def test_the_factor_is_one_at_the_origin_and_decay_at_the_scale(curve: Any) -> None:
    slope = Slope(curve=curve, origin=10, scale=5, offset=2, decay=0.25)
    assert slope.factors(pa.array([10.0, 12.0, 8.0, 17.0, 3.0])).tolist() == pytest.approx([1, 1, 1, 0.25, 0.25])


def test_a_value_far_away_underflows_to_nothing_without_a_warning() -> None:
    slope = Slope(curve="gauss", origin=0, scale=1e-150)
    assert slope.factors(pa.array([1e200, 0.0])).tolist() == [0.0, 1.0]


def hits(scores: list[float], numbers: list[int | None], words: list[str] | None = None) -> SearchPartial:
    rows = pa.RecordBatch.from_arrays(
        [
            pa.array(range(len(scores)), pa.int64()),
            pa.array(numbers, pa.int64()),
            pa.array(words or ["a"] * len(scores), pa.string()),
        ],
        ["id", "number", "word"],
    )
    return SearchPartial(np.array([len(scores)]), rows.column(0), np.array(scores, np.float32), rows)


@pytest.mark.parametrize(("mode", "wanted"), [("max", 0.8), ("sum", 1.0), ("avg", 0.5)])
def test_scores_of_a_row_in_several_lists_are_joined_before_they_decay(mode: Any, wanted: float) -> None:
    slope = Slope(curve="linear", origin=0, scale=10, decay=0.5)
    pool = fusion.pool(
        [
            RankedList(Metric.IP, hits([0.8], [5])),
            RankedList(Metric.IP, hits([0.2], [5])),
        ]
    )
    got = decayed(pool, Decay(field="number", slope=slope, score_mode=mode))
    assert got.scores.tolist() == pytest.approx([wanted * 0.75])


def test_distances_are_turned_round_before_they_decay() -> None:
    pool = fusion.pool([RankedList(Metric.L2, hits([0.0, 1.0, 2.0], [0, 0, None]))])
    got = decayed(pool, Decay(field="number", slope=Slope(curve="exp", origin=0, scale=1)))
    assert got.larger_is_closer
    assert got.scores.tolist() == pytest.approx([1.0, 0.5, 0.0])


def with_boosts(boosts: Boosts, scores: list[float], numbers: list[int | None]) -> list[float]:
    found = hits(scores, numbers)
    result: list[float] = boosted(found.scores, found.rows, boosts, SCHEMA).tolist()
    return result


@pytest.mark.parametrize("boost_mode", ["multiply", "sum"])
@pytest.mark.parametrize("function_mode", ["multiply", "sum"])
def test_boosts_that_apply_are_joined_and_then_meet_the_score(boost_mode: Any, function_mode: Any) -> None:
    small = compile_filter("number < 10", SCHEMA)
    even = compile_filter("number % 2 == 0", SCHEMA)
    boosts = Boosts(
        boosts=(Boost(weight=3.0, filter=small), Boost(weight=0.5, filter=even)),
        boost_mode=boost_mode,
        function_mode=function_mode,
    )
    weights = [[3.0, 0.5], [3.0], [0.5], [], []]
    wanted = []
    for applied in weights:
        joined = math.prod(applied) if function_mode == "multiply" else sum(applied)
        changed = 2.0 * joined if boost_mode == "multiply" else 2.0 + joined
        wanted.append(changed if applied else 2.0)
    assert with_boosts(boosts, [2.0] * 5, [4, 5, 20, 21, None]) == pytest.approx(wanted)


def test_a_boost_without_a_filter_applies_to_every_row() -> None:
    assert with_boosts(Boosts(boosts=(Boost(weight=0.5),)), [1.0, 2.0], [None, 1]) == [0.5, 1.0]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(range(4000), pa.int64()),
        pa.array([f"key {i}" for i in range(4000)], pa.string()),
        pa.array(["", *(["x" * i for i in range(1, 500)])], pa.string()).slice(0, 400),
    ],
    ids=["numbers", "texts", "lengths"],
)
def test_random_numbers_are_spread_evenly_and_the_same_every_time(column: pa.Array) -> None:
    got = random_numbers(column, 7)
    assert got.min() >= 0
    assert got.max() < 1
    assert abs(got.mean() - 0.5) < 0.06
    assert len(set(got.tolist())) == len(column)
    assert random_numbers(column, 7).tolist() == got.tolist()
    assert random_numbers(column, 8).tolist() != got.tolist()
    some = column.take(pa.array([300, 20, 20]))
    assert random_numbers(some, 7).tolist() == [got[300], got[20], got[20]]


def test_a_random_boost_is_the_weight_times_a_number_of_the_row() -> None:
    boosts = Boosts(boosts=(Boost(weight=2.0, random=RandomScore(seed=3, field="number")),))
    wanted = random_numbers(pa.array([5, 6], pa.int64()), 3) * 2.0 * 10.0
    assert with_boosts(boosts, [10.0, 10.0], [5, 6]) == pytest.approx(wanted.tolist())
