"""Groups of ranked rows against a plain model."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.model.types import Metric
from redkite.query import fusion
from redkite.query.fusion import RankedList, Scored
from redkite.query.plan import SearchPartial
from redkite.query.ranked_groups import GroupRule, best_groups

Rows = list[tuple[float, int]]
"""(score, group) of the rows of a query; the key is the place."""


def model(rows: Rows, rule: GroupRule, larger: bool, limit: int, offset: int) -> list[int]:
    sign = -1 if larger else 1
    ranked = sorted(range(len(rows)), key=lambda key: (sign * rows[key][0], key))
    groups: dict[int, list[int]] = defaultdict(list)
    for key in ranked:
        groups[rows[key][1]].append(key)

    def score(keys: list[int]) -> float:
        values = [rows[key][0] for key in keys[: rule.size]]
        return {"max": values[0], "sum": sum(values), "avg": sum(values) / len(values)}[rule.scorer]

    best = sorted(groups.values(), key=lambda keys: (sign * score(keys), ranked.index(keys[0])))
    return [key for keys in best[offset : offset + limit] for key in keys[: rule.size]]


@settings(max_examples=120, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0]), st.integers(0, 4)), max_size=12),
        min_size=1,
        max_size=3,
    ),
    st.integers(1, 4),
    st.sampled_from(["max", "sum", "avg"]),
    st.booleans(),
    st.integers(1, 6),
    st.integers(0, 3),
)
def test_the_best_rows_of_the_best_groups(
    queries: list[Rows], size: int, scorer: Any, larger: bool, limit: int, offset: int
) -> None:
    flat = [row for rows in queries for row in rows]
    hits = SearchPartial(
        np.array([len(rows) for rows in queries]),
        pa.array([key for rows in queries for key in range(len(rows))], pa.int64()),
        np.array([score for score, _ in flat], np.float32),
        pa.RecordBatch.from_arrays([pa.array([group for _, group in flat], pa.int64())], ["group"]),
    )
    pool = fusion.pool([RankedList(Metric.IP if larger else Metric.L2, hits)])
    scored = Scored(pool.scores.astype(np.float32), larger)
    codes = pool.rows.column("group").to_numpy()
    rule = GroupRule(size, scorer)
    places, topks = best_groups(pool, scored, codes, rule, limit, offset)
    keys = iter(pool.ids.take(pa.array(places)).to_pylist())
    got = [[next(keys) for _ in range(count)] for count in topks.tolist()]
    assert got == [model(rows, rule, larger, limit, offset) for rows in queries]
