"""Hybrid searches and functions over REST."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.server.rest_client import Rest

RNG = np.random.default_rng(4)
A = RNG.standard_normal((40, 3)).round(3)
B = RNG.standard_normal((40, 2)).round(3)
FIELDS: list[dict[str, Any]] = [
    {"fieldName": "id", "dataType": "Int64", "isPrimary": True},
    {"fieldName": "a", "dataType": "FloatVector", "elementTypeParams": {"dim": "3"}},
    {"fieldName": "b", "dataType": "FloatVector", "elementTypeParams": {"dim": "2"}},
    {"fieldName": "n", "dataType": "Int64"},
]


@pytest.fixture
def pairs(rest: Rest, name: str) -> str:
    """Forty rows of two vectors."""
    indexes = [{"fieldName": "a", "metricType": "L2"}, {"fieldName": "b", "metricType": "COSINE"}]
    rest.ok("collections/create", {"collectionName": name, "schema": {"fields": FIELDS}, "indexParams": indexes})
    rows = [{"id": i, "a": A[i].tolist(), "b": B[i].tolist(), "n": i} for i in range(40)]
    rest.ok("entities/insert", {"collectionName": name, "data": rows})
    return name


def search(**more: Any) -> list[dict[str, Any]]:
    return [
        {"data": [A[1].tolist()], "annsField": "a", "limit": 10, "metricType": "L2", **more},
        {"data": [B[2].tolist()], "annsField": "b", "limit": 10, "params": {"params": {}}, **more},
    ]


def orders() -> tuple[list[int], list[int]]:
    near = np.argsort(((A - A[1]) ** 2).sum(axis=1), kind="stable")
    alike = np.argsort(-(B @ B[2]) / np.linalg.norm(B, axis=1), kind="stable")
    return near.tolist(), alike.tolist()


@pytest.mark.parametrize("path", ["entities/hybrid_search", "entities/advanced_search"])
def test_reciprocal_ranks(path: str, rest: Rest, pairs: str) -> None:
    scores: dict[int, float] = {}
    for ranked in orders():
        for rank, key in enumerate(ranked[:10], 1):
            scores[key] = scores.get(key, 0) + 1 / (30 + rank)
    best = sorted(scores, key=lambda key: (-np.float32(scores[key]), key))[1:5]
    body = {
        "collectionName": pairs, "search": search(), "rerank": {"strategy": "rrf", "params": {"k": 30}}, "limit": 4,
        "offset": 1, "outputFields": ["n"],
    }  # fmt: skip
    whole = rest.whole(path, body)
    assert [row["id"] for row in whole["data"]] == best
    assert [row["n"] for row in whole["data"]] == best
    assert [row["distance"] for row in whole["data"]] == pytest.approx([scores[key] for key in best], rel=1e-6)
    assert (whole["topks"], whole["cost"]) == ([4], 0)


def test_without_a_strategy_it_is_rrf(rest: Rest, pairs: str) -> None:
    body = {"collectionName": pairs, "search": search(), "limit": 6}
    named = body | {"rerank": {"strategy": "rrf", "params": {"k": 60}}}
    assert rest.ok("entities/hybrid_search", body) == rest.ok("entities/hybrid_search", named)


def test_filters_of_each_search_with_their_values(rest: Rest, pairs: str) -> None:
    parts = search(filter="n > {least}", exprParams={"least": 30})
    found = rest.ok("entities/hybrid_search", {"collectionName": pairs, "search": parts})
    assert sorted(row["id"] for row in found) == list(range(31, 40))


def test_functions(rest: Rest, pairs: str) -> None:
    decay = {
        "name": "near twenty", "type": "Rerank", "inputFieldNames": ["n"],
        "params": {"reranker": "decay", "function": "linear", "origin": 20, "scale": 10, "decay": 0.001},
    }  # fmt: skip
    boost = {"name": "even", "type": "Rerank", "params": {"reranker": "boost", "filter": "n % 2 == 0", "weight": 3}}
    weighted = {"strategy": "weighted", "params": {"weights": [0.5, 0.5], "norm_score": True}}
    body: dict[str, Any] = {"collectionName": pairs, "search": search(), "limit": 5}
    found = rest.ok("entities/hybrid_search", body | {"functionScore": {"functions": [decay]}})
    assert all(abs(row["id"] - 20) < 10 or row["distance"] < 0.01 for row in found)
    boosted = body | {"rerank": weighted, "functionScore": {"functions": [boost], "params": {"boost_mode": "sum"}}}
    assert len(rest.ok("entities/hybrid_search", boosted)) == 5
    plain = {"collectionName": pairs, "data": [B[2].tolist()], "annsField": "b", "limit": 5, "outputFields": ["n"]}
    rows = rest.ok("entities/search", plain | {"functionScore": {"functions": [boost]}})
    cosines = (B @ B[2]) / np.linalg.norm(B, axis=1) / np.linalg.norm(B[2])
    wanted = np.argsort(-cosines * np.where(np.arange(40) % 2, 1, 3), kind="stable")[:5]
    assert [row["n"] for row in rows] == wanted.tolist()


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"search": []}, 1802, "Key: 'HybridSearchReq.Search' Error:Field validation for 'Search' failed"),
        ({"search": [{"annsField": "a"}]}, 1802, "Field validation for 'Data' failed on the 'required' tag"),
        ({"search": [{"data": [["x"]], "annsField": "a"}]}, 1801, "cannot be read"),
        ({"rerank": {"strategy": "best"}}, 1100, "unsupported rank type best"),
        ({"rerank": {"strategy": "weighted", "params": {"weights": [1]}}}, 1100, "length of weights param mismatch"),
        ({"search": [*search(), {"data": [A[0].tolist()] * 2, "annsField": "a"}]}, 1100, "nq should be the same"),
        ({"search": search(offset=3)}, 1100, "offset is for the whole hybrid search"),
        ({"functionScore": {"functions": [{"name": "f", "type": "BM25"}]}}, 1100, "must be Rerank"),
        ({"functionScore": {"functions": [{"name": "f"}]}}, 1802, "Field validation for 'Type' failed"),
        ({"limit": 16385}, 1100, "topk [16385] is invalid"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], code: int, text: str, rest: Rest, pairs: str) -> None:
    got = rest.error("entities/hybrid_search", {"collectionName": pairs, "search": search(), "limit": 3} | changes)
    assert (got[0], text in got[1]) == (code, True), got


def test_groups(rest: Rest, pairs: str) -> None:
    body = {
        "collectionName": pairs, "search": search(limit=40), "groupingField": "n", "groupSize": 2, "limit": 5,
        "outputFields": ["n"],
    }  # fmt: skip
    found = rest.ok("entities/hybrid_search", body)
    assert len({row["n"] for row in found}) == 5
    code, text = rest.error("entities/hybrid_search", body | {"groupSize": 11})
    assert (code, "exceeds configured max group size" in text) == (1100, True)
    code, text = rest.error("entities/hybrid_search", body | {"groupingField": ""})
    assert (code, "has no effect without group_by_field" in text) == (1100, True)


def test_no_hit_at_all(rest: Rest, pairs: str) -> None:
    whole = rest.whole("entities/hybrid_search", {"collectionName": pairs, "search": search(filter="n > 99")})
    assert (whole["data"], whole["topks"]) == ([], [0])


# -- chains -------------------------------------------------------------------------------------
def test_a_chain_of_a_search(rest: Rest, pairs: str) -> None:
    chain = {
        "name": "odd", "stage": "L2_RERANK",
        "ops": [
            {
                "op": "map", "outputs": ["near"],
                "expr": {
                    "name": "decay", "args": [{"column": "n"}],
                    "params": {"function": "linear", "origin": 20, "scale": 30, "decay": 0.1},
                },
            },
            {"op": "filter", "params": {"filter": "n % 2 == 1"}},
            {"op": "sort", "params": {"column": "near", "desc": True, "tie_break_col": "$id"}},
            {"op": "limit", "params": {"limit": 4}},
        ],
    }  # fmt: skip
    body = {"collectionName": pairs, "data": [A[1].tolist()], "annsField": "a", "limit": 20, "functionChains": [chain]}
    odd = [key for key in orders()[0][:20] if key % 2]
    found = rest.ok("entities/search", body)
    assert [row["id"] for row in found] == sorted(odd, key=lambda key: (abs(key - 20), key))[:4]


def test_a_chain_of_a_hybrid_search(rest: Rest, pairs: str) -> None:
    scores: dict[int, float] = {}
    for ranked in orders():
        for rank, key in enumerate(ranked[:10], 1):
            scores[key] = scores.get(key, 0) + 1 / (30 + rank)
    best = sorted(scores, key=lambda key: (-np.float32(scores[key]), key))[:3]
    merge = {"op": "merge", "params": {"strategy": "rrf", "k": 30}}
    chain = {"stage": 5, "ops": [merge, {"op": "limit", "params": {"limit": 3}}]}
    body = {"collectionName": pairs, "search": search(), "functionChains": [chain], "limit": 10}
    assert [row["id"] for row in rest.ok("entities/hybrid_search", body)] == best


@pytest.mark.parametrize(
    ("chain", "text"),
    [
        ({"stage": "L9", "ops": []}, "stage 'L9' of a function chain is not known"),
        ({"stage": 5, "ops": [{"op": "limit", "limit": 3}]}, "functionChains cannot be read"),
        ({"stage": 5, "ops": []}, "has no steps"),
    ],
)
def test_chains_that_cannot_be_read(rest: Rest, pairs: str, chain: dict[str, Any], text: str) -> None:
    body = {"collectionName": pairs, "data": [A[1].tolist()], "annsField": "a", "functionChains": [chain]}
    assert text in rest.error("entities/search", body)[1]
