"""Fused lists against a plain model that goes hit by hit."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.model.types import Metric
from redkite.query import fusion
from redkite.query.fusion import RankedList, Rrf, Scored, Weighted
from redkite.query.plan import SearchPartial

METRICS = (Metric.COSINE, Metric.IP, Metric.L2, Metric.JACCARD, Metric.BM25)
Lists = list[tuple[Metric, list[list[tuple[Any, float]]]]]
"""(metric, for each query its hits in order)"""


def partial(hits: list[list[tuple[Any, float]]], key: pa.DataType) -> SearchPartial:
    flat = [hit for query in hits for hit in query]
    return SearchPartial(
        np.array([len(query) for query in hits]),
        pa.array([key_ for key_, _ in flat], key),
        np.array([score for _, score in flat], np.float32),
        pa.RecordBatch.from_arrays([pa.array([str(key_) for key_, _ in flat], pa.string())], ["name"]),
    )


@st.composite
def lists(draw: st.DrawFn, texts: bool = False) -> Lists:
    nq = draw(st.integers(1, 3))
    scores = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])  # few, so that many are equal
    found: Lists = []
    for _ in range(draw(st.integers(1, 4))):
        metric = draw(st.sampled_from(METRICS))
        queries = []
        for _ in range(nq):
            keys = draw(st.lists(st.integers(-5, 5), max_size=8, unique=True))
            hits = [(f"k{key}" if texts else key, draw(scores)) for key in keys]
            queries.append(sorted(hits, key=lambda hit: (-hit[1] if metric.larger_is_closer else hit[1], hit[0])))
        found.append((metric, queries))
    return found


def normal(score: float, metric: Metric) -> float:
    if metric is Metric.COSINE:
        return (1 + score) / 2
    if metric is Metric.BM25:
        return 2 * math.atan(score) / math.pi
    if metric is Metric.IP:
        return 0.5 + math.atan(score) / math.pi
    return 1 - 2 * math.atan(score) / math.pi


def model(found: Lists, ranker: Rrf | Weighted, limit: int, offset: int) -> list[list[tuple[Any, np.float32]]]:
    """What a reader of the documentation would compute with a dict."""
    metrics = [metric for metric, _ in found]
    one_way = len({metric.larger_is_closer for metric in metrics}) == 1
    ascending = isinstance(ranker, Weighted) and not ranker.norm_score and one_way and not metrics[0].larger_is_closer
    answer = []
    for query in range(len(found[0][1])):
        totals: dict[Any, float] = defaultdict(float)
        for number, (metric, queries) in enumerate(found):
            for rank, (key, score) in enumerate(queries[query], 1):
                if isinstance(ranker, Rrf):
                    totals[key] += 1 / (ranker.k + rank)
                    continue
                value = score
                if ranker.norm_score or (not one_way and not metric.larger_is_closer):
                    value = normal(score, metric)
                totals[key] += ranker.weights[number] * value
        single = [(key, np.float32(total)) for key, total in totals.items()]
        ranked = sorted(single, key=lambda hit: (hit[1] if ascending else -hit[1], hit[0]))
        answer.append(ranked[offset : offset + limit])
    return answer


def fused(found: Lists, ranker: Rrf | Weighted, limit: int, offset: int, key: pa.DataType) -> SearchPartial:
    pool = fusion.pool([RankedList(metric, partial(queries, key)) for metric, queries in found])
    return fusion.answer(pool, fusion.fuse(pool, ranker), limit, offset)


def shown(answer: SearchPartial) -> list[list[tuple[Any, float]]]:
    assert answer.rows.column("name").to_pylist() == [str(key) for key in answer.ids.to_pylist()]
    hits = iter(zip(answer.ids.to_pylist(), answer.scores.tolist(), strict=True))
    return [[next(hits) for _ in range(count)] for count in answer.topks.tolist()]


def assert_same(got: list[list[tuple[Any, float]]], wanted: list[list[tuple[Any, np.float32]]]) -> None:
    assert [[key for key, _ in query] for query in got] == [[key for key, _ in query] for query in wanted]
    for some, others in zip(got, wanted, strict=True):
        assert [score for _, score in some] == pytest.approx([float(score) for _, score in others], rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(lists(), st.integers(1, 10), st.integers(0, 5), st.sampled_from([1, 10, 60, 0.5]))
def test_reciprocal_ranks_are_added_by_key(found: Lists, limit: int, offset: int, k: float) -> None:
    got = shown(fused(found, Rrf(k), limit, offset, pa.int64()))
    assert_same(got, model(found, Rrf(k), limit, offset))


@settings(max_examples=60, deadline=None)
@given(lists(texts=True), st.integers(1, 10), st.integers(0, 5), st.booleans())
def test_weighted_scores_are_added_by_key(found: Lists, limit: int, offset: int, norm: bool) -> None:
    ranker = Weighted(tuple([0.25, 1.0, 0.5, 0.0][: len(found)]), norm)
    got = shown(fused(found, ranker, limit, offset, pa.string()))
    assert_same(got, model(found, ranker, limit, offset))


@settings(max_examples=40, deadline=None)
@given(lists(), st.integers(1, 6), st.integers(0, 6))
def test_a_shorter_answer_is_the_beginning_of_a_longer_one(found: Lists, limit: int, more: int) -> None:
    short = shown(fused(found, Rrf(), limit, 0, pa.int64()))
    long = shown(fused(found, Rrf(), limit + more, 0, pa.int64()))
    assert short == [query[:limit] for query in long]


def test_distances_alone_stay_distances_when_they_are_not_normalized() -> None:
    found: Lists = [(Metric.L2, [[(1, 0.5), (2, 4.0)]]), (Metric.L2, [[(2, 1.0), (1, 3.0)]])]
    assert shown(fused(found, Weighted((0.5, 0.5)), 5, 0, pa.int64())) == [[(1, 1.75), (2, 2.5)]]


def test_hits_without_a_finite_score_are_left_out() -> None:
    found: Lists = [(Metric.IP, [[(1, math.inf), (2, math.nan), (3, 0.5)]])]
    assert [key for key, _ in shown(fused(found, Rrf(), 5, 0, pa.int64()))[0]] == [3]


def test_rows_without_a_finite_new_score_are_left_out() -> None:
    pool = fusion.pool([RankedList(Metric.IP, partial([[(1, 1.0), (2, 0.5)]], pa.int64()))])
    scored = Scored(np.array([np.inf, 0.5], np.float32))
    assert fusion.answer(pool, scored, 5).ids.to_pylist() == [2]


def test_lists_without_any_hit_make_an_empty_answer_for_each_query() -> None:
    answer = fused([(Metric.L2, [[], []]), (Metric.IP, [[], []])], Rrf(), 5, 0, pa.int64())
    assert answer.topks.tolist() == [0, 0]
    assert len(answer.ids) == 0
