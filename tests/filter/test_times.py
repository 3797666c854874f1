"""Filters over times."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.filter.rows import DYNAMIC, columns_of, kept

from redkite.errors import InvalidParameter
from redkite.filter import compile_filter
from redkite.model.moments import LAST_MOMENT, parse_moment, show_moments, zone_of

TEXTS = ("2025-01-01T00:00:00Z", "2025-01-31T12:00:00Z", "2025-03-01T00:00:00.000001Z", None, "1960-02-29T00:00:00Z")
ROWS: list[dict[str, Any]] = [{"moment": None if t is None else parse_moment(t)} for t in TEXTS]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('moment > ISO "2025-01-01T00:00:00Z"', [1, 2]),
        ('moment >= ISO "2025-01-01 00:00:00"', [0, 1, 2]),
        ('moment == iso "2025-01-01T08:00:00+08:00"', [0]),
        ('moment != ISO "2025-01-01T00:00:00Z"', [1, 2, 4]),
        ('not (moment == ISO "2025-01-01T00:00:00Z")', [1, 2, 4]),
        ('ISO "2025-01-31T12:00:00Z" > moment', [0, 4]),
        ('ISO "2025-01-01T00:00:00Z" < moment and moment <= ISO "2025-03-01T00:00:00.000001Z"', [1, 2]),
        ('ISO "2025-01-01T00:00:00Z" < moment < ISO "2025-03-01T00:00:00.000001Z"', [1]),
        ('ISO "2025-01-31T12:00:00Z" >= moment >= ISO "2025-01-01T00:00:00Z"', [0, 1]),
        ('moment + INTERVAL "P1DT2H" >= ISO "2025-01-02T02:00:00Z"', [0, 1, 2]),
        ('moment - INTERVAL "PT1S" < ISO "2024-12-31T23:59:59Z"', [4]),
        ('INTERVAL "P30D" + moment == ISO "2025-03-02T12:00:00Z"', [1]),
        # January 31 and a month is three days after the end of February, in UTC.
        ('moment + INTERVAL "P1M" == ISO "2025-03-03T12:00:00Z"', [1]),
        ('moment - INTERVAL "P1Y" < ISO "1959-03-02T00:00:00Z"', [4]),
        ('moment + interval "P65Y" > ISO "2025-03-01T00:00:00Z"', [0, 1, 2]),
        ('moment > ISO "2025-01-31T12:00:00Z" - INTERVAL "P1M"', [0, 1, 2]),
        ('moment == ISO "2025-01-01T00:00:00Z" or moment == ISO "2025-03-01T00:00:00.000001Z" '
         'or moment == ISO "1960-02-29T00:00:00Z"', [0, 2, 4]),
        ("moment is null", [3]),
        ("moment is not null", [0, 1, 2, 4]),
        ("moment == moment", [0, 1, 2, 4]),
        ('ISO "2025-01-01T00:00:00Z" < ISO "2026-01-01T00:00:00Z"', [0, 1, 2, 3, 4]),
    ],
)  # fmt: skip
def test_times_are_compared(text: str, rows: list[int]) -> None:
    assert kept(text, ROWS) == rows


def test_a_time_may_be_a_parameter() -> None:
    assert kept("moment > {since}", ROWS, since="2025-01-31T12:00:00Z") == [2]


def test_a_time_without_an_offset_is_one_of_the_given_zone_and_so_is_the_filter_s_key() -> None:
    text = 'moment == ISO "2025-01-01 08:00:00"'
    here = compile_filter(text, DYNAMIC, zone=zone_of("Asia/Shanghai"))
    assert here.evaluate(columns_of(ROWS)).nonzero()[0].tolist() == [0]
    assert compile_filter(text, DYNAMIC).key != here.key
    plain = "big > 1"
    assert compile_filter(plain, DYNAMIC).key == compile_filter(plain, DYNAMIC, zone=zone_of("Asia/Shanghai")).key


@given(
    st.lists(st.integers(0, 10**16), min_size=1, max_size=20), st.integers(0, 400), st.integers(0, 100_000),
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), st.integers(0, 10**10),
)  # fmt: skip
def test_a_fixed_interval_moves_every_row(moments: list[int], days: int, seconds: int, sign: str, at: int) -> None:
    text = f'moment + INTERVAL "P{days}DT{seconds}S" {sign} {{at}}'
    rows = [{"moment": m} for m in moments]
    bound = at * 1_000_000
    moved = [m + (days * 86_400 + seconds) * 1_000_000 for m in moments]
    compare = {
        "<": int.__lt__, "<=": int.__le__, ">": int.__gt__, ">=": int.__ge__, "==": int.__eq__, "!=": int.__ne__,
    }[sign]  # fmt: skip
    shown = show_moments(pa.array([bound]))[0].as_py()
    assert kept(text, rows, at=shown) == [i for i, m in enumerate(moved) if compare(m, bound)]


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ('age > ISO "2025-01-01T00:00:00Z"', "field 'age' is not a timestamptz datatype"),
        ('doc["k"] > ISO "2025-01-01T00:00:00Z"', "is not a timestamptz datatype"),
        ('age + INTERVAL "P1D" > ISO "2025-01-01T00:00:00Z"', "field 'age' is not a timestamptz datatype"),
        ('moment > ISO "noon"', "got invalid timestamptz string 'noon'"),
        ("moment > {since}", "got invalid timestamptz string 'noon'"),
        ("moment == 1", "comparisons between Timestamptz and Int64 are not supported"),
        ('moment == "2025-01-01T00:00:00Z"', "comparisons between Timestamptz and VarChar are not supported"),
        ("moment == big", "comparisons between Timestamptz and Int64 are not supported"),
        ("moment in [1, 2]", "'term' is not supported on Timestamptz fields"),
        ("moment like 'a%'", "like operation on non-string or no-json field is unsupported"),
        ("moment + 1 == 2", "the only arithmetic on times is adding and subtracting an INTERVAL"),
        ('moment * INTERVAL "P1D" > ISO "2025-01-01T00:00:00Z"', "the only arithmetic on times"),
        ('INTERVAL "P1D" - moment > ISO "2025-01-01T00:00:00Z"', "the only arithmetic on times"),
        ('moment + INTERVAL "P1D" > moment', "not supported to do arithmetic operations between multiple fields"),
        ('moment + INTERVAL "P1D" + INTERVAL "P1D" > ISO "2025-01-01T00:00:00Z"', "complicated arithmetic"),
        ('moment > INTERVAL "P1D"', "an INTERVAL can only be added to a time"),
        ('moment + INTERVAL "P" > ISO "2025-01-01T00:00:00Z"', "invalid interval 'P'"),
        ('moment + INTERVAL "P1DT" > ISO "2025-01-01T00:00:00Z"', "invalid interval 'P1DT'"),
        ('moment + INTERVAL "1D" > ISO "2025-01-01T00:00:00Z"', "invalid interval '1D'"),
        ('moment + INTERVAL "P10001Y" > ISO "2025-01-01T00:00:00Z"', "longer than ten thousand years"),
        ('moment > ISO "9999-01-01T00:00:00Z" + INTERVAL "P1Y"', "the result lies outside the years 1 to 9999"),
        ('ISO "2026-01-01T00:00:00Z" < moment < ISO "2025-01-01T00:00:00Z"', "lowerbound is greater than upperbound"),
        ('ISO "2025-01-01T00:00:00Z"', "predicate is not a boolean expression"),
        ('INTERVAL "P1D"', "predicate is not a boolean expression"),
        ("moment", "data type: Timestamptz"),
    ],
)
def test_a_comparison_that_means_nothing_is_refused_with_the_reason(text: str, detail: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        compile_filter(text, DYNAMIC, {"since": "noon"})
    assert "cannot parse expression: " in caught.value.message
    assert detail in caught.value.message


def test_the_longest_interval_on_the_last_moment_does_not_overflow() -> None:
    rows = [{"moment": LAST_MOMENT}]
    assert kept('moment + INTERVAL "P10000Y" > ISO "2025-01-01T00:00:00Z"', rows) == [0]
    assert kept('moment - INTERVAL "P10000Y" > ISO "2025-01-01T00:00:00Z"', rows) == []
