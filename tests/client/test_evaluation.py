"""Measures of searches, against a computation that knows no arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.client.evaluation import Evaluation, Measures, side_by_side
from redkite.client.operations.evaluating import evaluation, ranking_of, task_of
from redkite.errors import ParamError

MEASURES = ("recall", "precision", "mrr", "ndcg")


def one_query(hits: list[Any], judged: dict[Any, float], k: int, gain: str) -> dict[str, float]:
    """The measures of one query, by their definitions."""

    def worth(grade: float) -> float:
        return grade if gain == "linear" else 2.0**grade - 1

    relevant = {document for document, grade in judged.items() if grade > 0}
    best = hits[:k]
    found = [document for document in best if document in relevant]
    first = next((rank for rank, document in enumerate(best, 1) if document in relevant), None)
    gained = sum(worth(judged.get(d, 0)) / math.log2(rank + 1) for rank, d in enumerate(best, 1))
    ideal = sorted(judged.values(), reverse=True)[:k]
    possible = sum(worth(grade) / math.log2(rank + 1) for rank, grade in enumerate(ideal, 1))
    return {
        "recall": len(found) / len(relevant),
        "precision": len(found) / k,
        "mrr": 1 / first if first else 0.0,
        "ndcg": gained / possible,
    }


def evaluated(hits: list[list[Any]], qrels: Any, k: Any = (1, 3, 5), gain: str = "linear", **more: Any) -> Evaluation:
    queries = more.pop("queries", list(range(len(hits))))
    task = task_of(queries, qrels, k, None, gain, 64)
    return evaluation("docs", task, ranking_of([[hits[place] for place in task.places]], task), 0.0)


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 12), unique=True, max_size=8),
            st.dictionaries(st.integers(0, 12), st.integers(0, 4), max_size=8),
        ),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(["linear", "exponential"]),
    st.booleans(),
)
def test_measures_are_what_their_definitions_say(
    cases: list[tuple[list[int], dict[int, int]]], gain: str, named_by_text: bool
) -> None:
    name = (lambda one: f"d{one}") if named_by_text else (lambda one: one)
    hits = [[name(one) for one in found] for found, _ in cases]
    qrels = [{name(one): grade for one, grade in judged.items()} for _, judged in cases]
    judged = [place for place, one in enumerate(qrels) if any(grade > 0 for grade in one.values())]
    if not judged:
        with pytest.raises(ParamError, match="qrels name no relevant document"):
            evaluated(hits, qrels)
        return
    found = evaluated(hits, qrels, gain=gain)
    assert (found.queries, found.unjudged, found.k) == (len(judged), len(cases) - len(judged), (1, 3, 5))
    for at, k in enumerate(found.k):
        wanted = [one_query(hits[place], qrels[place], k, gain) for place in judged]
        for measure in MEASURES:
            each = [one[measure] for one in wanted]
            np.testing.assert_allclose(found.by_query[measure][:, at], each, atol=1e-12)
            assert getattr(found, measure)[at] == pytest.approx(sum(each) / len(each))


def test_ndcg_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import ndcg_score

    rng = np.random.default_rng(3)
    grades = rng.integers(0, 4, (20, 30)).astype(float)
    grades[:, 0] = 1
    scores = rng.standard_normal((20, 30))
    hits = np.argsort(-scores, axis=1).tolist()
    qrels = [dict(enumerate(row)) for row in grades.tolist()]
    found = evaluated(hits, qrels, k=10)
    assert found.at(10).ndcg == pytest.approx(ndcg_score(grades, scores, k=10))


HITS = [["a", "b", "c"], ["x", "y"], []]
WANTED = {"recall": [0.5, 1.0, 0.0], "mrr": [1.0, 0.5, 0.0]}
FORMS: dict[str, Any] = {
    "dicts by name": ({"one": 0, "two": 1, "three": 2}, {"one": {"a": 1, "z": 1}, "two": {"y": 1}, "three": {"q": 1}}),
    "lists by name": ({"one": 0, "two": 1, "three": 2}, {"one": ["a", "z"], "two": ["y"], "three": {"q"}}),
    "lists in order": ([0, 1, 2], [["a", "z"], ["y"], ("q",)]),
    "places": ([0, 1, 2], {0: ["a", "z"], 1: ["y"], 2: ["q"]}),
    "a table by name": (
        {"one": 0, "two": 1, "three": 2},
        pa.table({"query": ["one", "one", "two", "three"], "document": ["a", "z", "y", "q"], "grade": [1, 1, 1, 1]}),
    ),
    "a table by place": (
        np.zeros((3, 2)),
        pa.table({"query": [0, 0, 1, 2], "document": ["a", "z", "y", "q"]}),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_judgements_may_be_given_in_any_of_these_forms(form: str) -> None:
    queries, qrels = FORMS[form]
    found = evaluated(HITS, qrels, k=3, queries=queries)
    for measure, values in WANTED.items():
        assert found.by_query[measure][:, 0].tolist() == values


def test_an_evaluation_is_a_table_to_read_and_numbers_to_use() -> None:
    found = evaluated(HITS, [["a", "z"], ["y"], ["q"]], k=[3, 1])
    assert str(found).splitlines() == [
        "docs: 3 queries, 0.00 ms a query",
        "      k     recall  precision        MRR       nDCG",
        f"      1     0.1667     0.3333     0.3333{found.at(1).ndcg:>11.4f}",
        f"      3     0.5000     0.2222     0.5000{found.at(3).ndcg:>11.4f}",
    ]
    assert isinstance(found.at(3), Measures)
    assert found.worst(2, "mrr") == [(2, 0.0), (1, 0.5)]
    assert found.to_arrow().column("mrr@3").to_pylist() == [1.0, 0.5, 0.0]
    with pytest.raises(ParamError, match="evaluated at 1, 3, not at 2"):
        found.at(2)
    with pytest.raises(ParamError, match="measure must be one of recall"):
        found.worst(1, "speed")
    with pytest.raises(AttributeError):
        found.queries = 4  # type: ignore[misc]
    lines = side_by_side({"dense": found, "bm25": found}).splitlines()
    assert lines[0].split() == ["k", "=", "3", "recall", "precision", "MRR", "nDCG", "ms/query"]
    assert [line.split()[:2] for line in lines[1:]] == [["dense", "0.5000"], ["bm25", "0.5000"]]


def test_a_document_that_is_found_twice_counts_once() -> None:
    found = evaluated([["a", "a", "b"]], [["a", "b"]], k=(2, 3))
    assert found.recall == (1.0, 1.0)
    assert found.by_query["ndcg"].tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize(
    ("queries", "qrels", "options", "text"),
    [
        ("text", {}, {}, "queries must be a list"),
        ([1], [[1], [2]], {}, "qrels has 2 entries for 1 queries"),
        ({"a": 1}, {"b": [1]}, {}, "qrels judge the query 'b', which is not among the queries"),
        ([1], {5: [1]}, {}, "qrels judge the query 5"),
        ([1], 5, {}, "qrels must be a dict, a list or a table, got int"),
        ([1], [5], {}, "qrels must hold, for each query"),
        ([1], [{1: -1}], {}, "grades in qrels must be numbers from 0 to 1000"),
        ([1], [{1: float("nan")}], {}, "grades in qrels"),
        ([1], [[1, "a"]], {}, "documents in qrels must all be named by integers"),
        ([1], [{1: 0}], {}, "qrels name no relevant document"),
        ([1], [[1]], {"k": 0}, "k must be a number from 1"),
        ([1], [[1]], {"k": []}, "k must be a number from 1"),
        ([1], [[1]], {"gain": "best"}, "gain must be"),
        ([1], [[1]], {"batch_size": 0}, "batch_size must be from 1"),
        ([1], pa.table({"query": [0]}), {}, "needs the columns"),
        ([1], pa.table({"query": [3], "document": [1]}), {}, "judge a query that is not among"),
    ],
)
def test_what_does_not_fit_together_is_refused(queries: Any, qrels: Any, options: dict[str, Any], text: str) -> None:
    given = {"k": 10, "id_field": None, "gain": "linear", "batch_size": 64} | options
    with pytest.raises(ParamError, match=text):
        task_of(queries, qrels, **given)


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (5, "must give, for each query, a list"),
        ({"a": 1}, "must give, for each query, a list"),
        ([["a", 1], []], "must give, for each query, a list"),
        ([["a"]], "2 queries were searched, but there are 1 lists of hits"),
        ([[1], [2]], "qrels name documents by string, but the hits have int64"),
    ],
)
def test_hits_that_are_none_are_refused(result: Any, text: str) -> None:
    task = task_of([1, 2], [["a"], ["b"]], 3, None, "linear", 64)
    with pytest.raises(ParamError, match=text):
        evaluation("docs", task, ranking_of([result], task), 0.0)


def test_a_million_hits_are_measured_without_a_loop() -> None:
    import time

    rng = np.random.default_rng(0)
    count, depth = 2_000, 500
    hits = pa.array(rng.integers(0, 100_000, count * depth))
    qrels = pa.table({"query": np.repeat(np.arange(count), 20), "document": rng.integers(0, 100_000, count * 20)})
    from redkite.client.evaluation import Ranking

    task = task_of(np.zeros((count, 1)), qrels, depth, None, "linear", 64)
    began = time.process_time()
    found = evaluation("docs", task, Ranking(np.full(count, depth), hits), 0.0)
    assert time.process_time() - began < 3.0, "some 0.3 s on a quiet machine; a loop takes longer"
    assert 0 < found.at(depth).recall < 0.02
