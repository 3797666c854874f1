"""What is gathered about rows: limits, sums that are too large, groups of several nodes."""

from __future__ import annotations

import pyarrow as pa
import pytest

from redkite.errors import InvalidParameter
from redkite.query.aggregates import finished, merge_gathered
from redkite.query.plan import Aggregate, AggregatePlan, QueryPartial

INT = {"k": pa.int64(), "n": pa.int64()}


def gathered(keys: list[int | None], sums: list[int | None], counts: list[int]) -> QueryPartial:
    totals = [None if value is None else float(value) for value in sums]
    rows = pa.record_batch({
        "k": pa.array(keys, pa.int64()), "0 sum": pa.array(sums, pa.int64()), "0 total": pa.array(totals, pa.float64()),
        "1 count": pa.array(counts, pa.int64()),
    })  # fmt: skip
    return QueryPartial(len(keys), rows=rows)


def plan(most: int = 10) -> AggregatePlan:
    return AggregatePlan(("k",), (Aggregate("sum(n)", "sum", "n"), Aggregate("count(n)", "count", "n")), most)


def test_groups_of_several_nodes_are_put_together() -> None:
    merged = merge_gathered([gathered([1, None], [5, 2], [2, 1]), gathered([1, 2], [7, None], [3, 0])], plan())
    assert finished(merged, plan(), INT).to_pylist() == [
        {"k": None, "sum(n)": 2, "count(n)": 1}, {"k": 1, "sum(n)": 12, "count(n)": 5},
        {"k": 2, "sum(n)": None, "count(n)": 0},
    ]  # fmt: skip


def test_more_groups_than_there_may_be_are_refused() -> None:
    with pytest.raises(InvalidParameter, match=r"the number of groups of group_by_fields \[k\] exceeds the limit 2"):
        merge_gathered([gathered([1, 2], [1, 1], [1, 1]), gathered([3], [1], [1])], plan(2))


def test_a_sum_beyond_64_bits_is_refused_rather_than_wrong() -> None:
    large = (1 << 63) - 1
    alone = finished(merge_gathered([gathered([1], [large], [1])], plan()), plan(), INT)
    assert alone.to_pylist() == [{"k": 1, "sum(n)": large, "count(n)": 1}]
    merged = merge_gathered([gathered([1], [large], [1]), gathered([1], [large], [1])], plan())
    with pytest.raises(InvalidParameter, match=r"sum\(n\) is beyond the integers of 64 bits"):
        finished(merged, plan(), INT)


def test_nothing_at_all_is_no_group_and_one_row_about_nothing() -> None:
    assert finished(merge_gathered([], plan()), plan(), INT).to_pylist() == []
    alone = AggregatePlan((), plan().aggregates, 10)
    assert finished(merge_gathered([], alone), alone, INT).to_pylist() == [{"sum(n)": None, "count(n)": 0}]
