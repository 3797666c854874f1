"""Kinds of search and of query over REST."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.server.rest_client import Rest

ROWS = 60
VECTORS = np.random.default_rng(3).standard_normal((ROWS, 3)).round(3)
FIELDS: list[dict[str, Any]] = [
    {"fieldName": "id", "dataType": "Int64", "isPrimary": True},
    {"fieldName": "v", "dataType": "FloatVector", "elementTypeParams": {"dim": "3"}},
    {"fieldName": "color", "dataType": "VarChar", "elementTypeParams": {"max_length": "9"}},
    {"fieldName": "n", "dataType": "Int64"},
    {"fieldName": "doc", "dataType": "JSON"},
]
QUERY = (VECTORS[4] + 0.01).tolist()


@pytest.fixture
def shop(rest: Rest, name: str) -> str:
    index = [{"fieldName": "v", "metricType": "L2"}]
    rest.ok("collections/create", {"collectionName": name, "schema": {"fields": FIELDS}, "indexParams": index})
    rows = [
        {"id": i, "v": VECTORS[i].tolist(), "color": "rgb"[i % 3], "n": i % 7, "doc": {"a": i % 2}} for i in range(ROWS)
    ]
    rest.ok("entities/insert", {"collectionName": name, "data": rows})
    return name


def distances() -> np.ndarray:
    return ((VECTORS - np.array(QUERY)) ** 2).sum(axis=1)


def order() -> list[int]:
    return [int(i) for i in np.argsort(distances(), kind="stable")]


def test_a_range(rest: Rest, shop: str) -> None:
    for params in ({"radius": 2.5, "range_filter": 1.0}, {"params": {"radius": 2.5, "range_filter": 1.0}}):
        body = {"collectionName": shop, "data": [QUERY], "searchParams": params}
        found = [row["id"] for row in rest.ok("entities/search", body)]
        assert found == [i for i in order() if 1.0 <= distances()[i] < 2.5]


def test_ids_instead_of_vectors(rest: Rest, shop: str) -> None:
    found = rest.whole("entities/search", {"collectionName": shop, "ids": [5, "6"], "limit": 1})
    assert ([row["id"] for row in found["data"]], found["topks"]) == ([5, 6], [1, 1])
    code, text = rest.error("entities/search", {"collectionName": shop, "ids": ["x"], "limit": 1})
    assert (code, "Int64" in text) == (1806, True)


def test_groups(rest: Rest, shop: str) -> None:
    body = {"collectionName": shop, "data": [QUERY], "limit": 3, "outputFields": ["color"]}
    more = {"groupingField": "color", "groupSize": 2, "strictGroupSize": True}
    groups: dict[str, list[int]] = {}
    for i in order():
        groups.setdefault("rgb"[i % 3], []).append(i)
    rows = rest.ok("entities/search", body | more)
    assert [row["id"] for row in rows] == [i for found in groups.values() for i in found[:2]]
    params = {"group_by_field": "doc", "json_path": "/a", "json_type": "Int64"}
    rows = rest.ok("entities/search", body | {"searchParams": params})
    assert {row["id"] % 2 for row in rows} == {0, 1}
    assert rest.error("entities/search", body | {"groupingField": "nope"})[0] == 1700
    for alone in ({"groupSize": 2}, {"strictGroupSize": True}, {"searchParams": {"group_size": 2}}):
        code, text = rest.error("entities/search", body | alone)
        assert (code, "has no effect without group_by_field" in text) == (1100, True), text


def test_an_order(rest: Rest, shop: str) -> None:
    body = {"collectionName": shop, "data": [QUERY], "limit": 9, "orderByFields": ["n:desc", "id"]}
    found = [row["id"] for row in rest.ok("entities/search", body)]
    assert found == sorted(order()[:9], key=lambda i: (-(i % 7), i))
    page = {"limit": 5, "offset": 2, "orderByFields": ["n:desc", "id:desc"]}
    body = {"collectionName": shop, "outputFields": ["n"]} | page
    found = [row["id"] for row in rest.ok("entities/query", body)]
    assert found == sorted(range(ROWS), key=lambda i: (-(i % 7), -i))[2:7]


def test_numbers_about_rows(rest: Rest, shop: str) -> None:
    body = {
        "collectionName": shop, "groupByFields": ["color"], "outputFields": ["color", "count(*)", "sum(n)"],
        "orderByFields": ["color"],
    }  # fmt: skip
    assert rest.ok("entities/query", body) == [
        {"color": c, "count(*)": 20, "sum(n)": sum(i % 7 for i in range(ROWS) if "rgb"[i % 3] == c)} for c in "bgr"
    ]


@pytest.mark.parametrize("wide", [True, False])
def test_buckets(rest: Rest, shop: str, wide: bool) -> None:
    asked = {
        "fields": ["n"], "size": 2, "metrics": {"far": {"max": "_score"}, "all": {"op": "count", "fieldName": "*"}},
        "order": [{"key": "far", "direction": "desc"}], "topHits": {"size": 2, "sort": [{"id": "asc"}]},
        "subAggregation": {"fields": ["color"], "size": 3},
    }  # fmt: skip
    body = {"collectionName": shop, "data": [QUERY], "searchAggregation": asked, "outputFields": ["n", "color"]}
    whole = rest.whole("entities/search", body, Accept_Type_Allow_Int64=str(wide).lower())
    assert whole["aggTopks"] == [2]
    (found,) = whole["data"]
    first, second = found["buckets"]
    assert first["metrics"]["far"] >= second["metrics"]["far"]
    assert first["metrics"]["all"] == first["count"]
    assert first["key"] == [{"fieldName": "n", "fieldId": 103, "value": first["key"][0]["value"]}]
    assert isinstance(first["key"][0]["value"], int if wide else str)
    for hit in first["hits"]:
        row = int(hit["pk"])
        assert hit["distance"] == pytest.approx(distances()[row], abs=1e-5)
        assert (int(hit["n"]), hit["color"]) == (row % 7, "rgb"[row % 3])
        assert isinstance(hit["pk"], int if wide else str)
    assert [sub["key"][0]["fieldName"] for sub in first["subGroups"]]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"fields": "n", "size": 1}, "fields must be a list"),
        ({"fields": ["n"]}, "size must be a whole number"),
        ({"fields": ["n"], "size": 1, "speed": 1}, "unknown key speed"),
        ({"fields": ["n"], "size": 1, "order": [{"x": "up"}]}, "no name with asc or desc"),
        ({"fields": ["n"], "size": 1, "topHits": {"size": 0}}, "must be positive"),
    ],
)
def test_buckets_that_make_no_sense_say_why(rest: Rest, shop: str, asked: Any, reason: str) -> None:
    body = {"collectionName": shop, "data": [QUERY], "searchAggregation": asked}
    code, text = rest.error("entities/search", body)
    assert (code, reason in text) == (1100, True), text
