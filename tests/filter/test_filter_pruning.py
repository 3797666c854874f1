"""Passing over rows by their ranges never changes what a filter keeps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.filter.rows import DYNAMIC, batch_of, columns_of
from tests.filter.test_filter_model import Expr, Row, negation, number_leaf, plain_leaves, rows, text_leaf

from redkite.filter import Filter, compile_filter
from redkite.segment.ranges import TEXT_BOUND, field_ranges

SCHEMA = type(DYNAMIC)(
    name=DYNAMIC.name,
    fields=tuple(
        type(f)(**{n: getattr(f, n) for n in f.__struct_fields__} | {"field_id": 100 + at})
        for at, f in enumerate(DYNAMIC.fields)
    ),
    enable_dynamic_field=True,
)
leaves = st.one_of(number_leaf(), text_leaf(), plain_leaves())
expressions = st.recursive(
    leaves | leaves.map(negation),
    lambda inner: st.tuples(st.sampled_from(["and", "or"]), inner, inner).map(
        lambda three: Expr(f"({three[1].text}) {three[0]} ({three[2].text})", lambda row: None)
    ),
    max_leaves=4,
)


def ranges_of(given_rows: list[Row]) -> dict[str, Any]:
    names = {f.field_id: f.name for f in SCHEMA.fields}
    return {names[r.field_id]: (r.low, r.high) for r in field_ranges(batch_of(given_rows), SCHEMA)}


@settings(max_examples=400, deadline=None)
@given(expressions, rows)
def test_what_is_passed_over_holds_no_row_that_passes(expression: Expr, given_rows: list[Row]) -> None:
    condition = compile_filter(expression.text, DYNAMIC)
    if given_rows and not condition.may_match(ranges_of(given_rows)):
        assert condition.can_prune
        assert not condition.evaluate(columns_of(given_rows)).any()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(width=32) | st.sampled_from([0.1, 0.3, -0.0, 16777216.0]), min_size=1, max_size=4),
    st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
    st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70) | st.sampled_from([0.1, 16777217]),
    st.booleans(),
    st.sampled_from(["price", "score", "big"]),
)
def test_numbers_at_the_edge_of_their_precision_are_not_lost(
    values: list[float], operator: str, constant: float, negated: bool, field: str
) -> None:
    if field == "big":
        given_rows: list[Row] = [
            {"id": i, "big": int(v)} for i, v in enumerate(values) if math.isfinite(v) and abs(v) < 2**62
        ]
    else:
        given_rows = [{"id": i, field: float(np.float32(v))} for i, v in enumerate(values)]
    if not given_rows or (isinstance(constant, int) and abs(constant) >= 2**63):
        return
    text = f"{field} {operator} {constant!r}"
    try:
        condition = compile_filter(f"not ({text})" if negated else text, DYNAMIC)
    except ValueError:
        return  # an integer field is not compared with every float
    if not condition.may_match(ranges_of(given_rows)):
        assert not condition.evaluate(columns_of(given_rows)).any()


def possible(text: str, **ranges: Any) -> bool:
    return bool(compile_filter(text, DYNAMIC).may_match(ranges))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id > 10", False), ("id >= 10", True), ("id == 4", False), ("id == 7", True), ("id != 7", True),
        ("id in [1, 2, 30]", False), ("id in [1, 8, 30]", True), ("id not in [5]", True), ("4 < id < 5", True),
        ("1 <= id <= 4", False), ("not (id < 11)", False), ("id > 10 or id < 5", False), ("id > 10 or id == 6", True),
        ("id > 10 and city == 'x'", False), ("city > 'm' ", True), ("id + 1 > 40", True), ("age is null", True),
    ],
)  # fmt: skip
def test_ranges_rule_out_what_they_can(text: str, expected: bool) -> None:
    assert possible(text, id=(5, 10)) is expected


def test_texts_are_ruled_out_by_order_prefix_and_membership() -> None:
    inside = {"city": ("berlin", "london")}
    assert not possible("city < 'a'", **inside)
    assert not possible("city like 'm%'", **inside)
    assert possible("city like 'lo%'", **inside)
    assert possible("city like 'b%'", **inside)
    assert possible("city like '%x'", **inside)
    assert not possible("city in ['aachen', 'oslo']", **inside)
    assert possible("city in ['cork']", **inside)


def test_a_filter_that_no_range_rules_out_says_so() -> None:
    asked: list[Filter] = [
        compile_filter(t, DYNAMIC) for t in ("flag == true", "doc['a'] > 3", "id > 3 or age + 1 > 3")
    ]
    assert [f.can_prune for f in asked] == [False, False, False]
    assert compile_filter("id > 3 and doc['a'] > 3", DYNAMIC).can_prune


def test_long_texts_have_short_bounds_around_them() -> None:
    long = "z" * (2 * TEXT_BOUND)
    low, high = ranges_of([{"id": 1, "city": long}])["city"]
    assert len(low) <= TEXT_BOUND
    assert len(high) <= TEXT_BOUND
    assert low <= long <= high
    highest = chr(0x10FFFF) * (2 * TEXT_BOUND)
    assert "city" not in ranges_of([{"id": 1, "city": highest}])


def test_infinite_floats_and_columns_of_nulls_have_no_range() -> None:
    found = ranges_of([{"id": 1, "score": math.inf}, {"id": 2, "score": 1.0}])
    assert "score" not in found
    assert "age" not in found
    assert found["id"] == (1, 2)
