"""Filters through every SDK: over rows in memory, and over the same rows sealed, where more is kept and stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk
from tests.acceptance.test_collections import flat_index
from tests.server.rest_client import Rest
from tests.servers import ProcessServer

from redkite import ParamError

ROWS = 5_000
HUGE = 2**64 - 1


def row(number: int) -> dict[str, Any]:
    kinds: list[Any] = [number, str(number), number / 2, number % 2 == 0, None]
    return {
        "id": number, "vector": [float(number), 0.0], "name": f"item-{number}", "age": number % 90,
        "made": f"2025-01-{number % 28 + 1:02}T00:00:00Z", "place": f"POINT({number % 100} {number // 100})",
        "doc": {"n": number, "mixed": kinds[number % 5], "tags": ["all", f"t{number % 7}"], "deep": {"er": number % 3}},
        "color": ("red", "green", "blue")[number % 3], **({"huge": HUGE} if number == 77 else {"huge": number}),
    }  # fmt: skip


CASES: list[tuple[str, dict[str, Any], list[int]]] = [
    (r"name =~ r'^item-4[0-3]\d$'", {}, list(range(400, 440))),
    (r"name !~ r'\d{2,}'", {}, list(range(10))),
    ("doc['n'] < 5", {}, list(range(5))),
    ("doc['mixed'] == '11' or doc['mixed'] == 6.0 or doc['mixed'] == 5", {}, [5, 11, 12]),
    ("doc['mixed'] == true and doc['n'] < 30", {}, [8, 18, 28]),
    ("doc['mixed'] is null and doc['n'] < 20", {}, [4, 9, 14, 19]),
    ("json_contains(doc['tags'], 't6') and id < 21", {}, [6, 13, 20]),
    ("json_contains_all(doc['tags'], ['all', 't3']) and id < 20", {}, [3, 10, 17]),
    ("doc['tags'] == ['all', 't0'] and id < 10", {}, [0, 7]),
    ("array_length(doc['tags']) == 2 and doc['tags'][1] like '%5' and id < 20", {}, [5, 12, 19]),
    ("doc['deep']['er'] == 2 and color == 'blue' and id < 9", {}, [2, 5, 8]),
    ("color in ['red', 3] and id < 9", {}, [0, 3, 6]),
    (f"huge == {HUGE}", {}, [77]),
    ("huge > 9223372036854775807", {}, [77]),
    ("age == 3 and 2 == id % 5", {}, [number for number in range(ROWS) if number % 90 == 3 and number % 5 == 2]),
    ("made - INTERVAL 'P1D' == ISO '2025-01-27T00:00:00Z' and id < 60", {}, [27, 55]),
    ("st_within(place, 'POLYGON((9.5 9.5, 11.5 9.5, 11.5 10.5, 9.5 10.5, 9.5 9.5))')", {}, [1010, 1011]),
    ("(doc['n'] < 3 and color == 'red') or (doc['n'] < 3 and color == 'blue')", {}, [0, 2]),
    ("id in {ids} and name like {start}", {"ids": [1, 10, 11], "start": "item-1_"}, [10, 11]),
    ("json_contains_any(doc['tags'], {tags}) and id < 7", {"tags": ["t1", "t2"]}, [1, 2]),
    ("st_dwithin(place, {point}, {reach})", {"point": "POINT(4 5)", "reach": 1_000}, [504]),
    ("{low} <= doc['n'] < {high}", {"low": 40, "high": 42}, [40, 41]),
]


def collection(sdk: Sdk, client: Any, name: str) -> None:
    types = sdk.module.DataType
    schema = sdk.module.MilvusClient.create_schema(enable_dynamic_field=True)
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=2)
    schema.add_field("name", types.VARCHAR, max_length=40)
    schema.add_field("age", types.INT64)
    schema.add_field("made", types.TIMESTAMPTZ)
    schema.add_field("place", types.GEOMETRY)
    schema.add_field("doc", types.JSON)
    client.create_collection(name, schema=schema, index_params=flat_index(client), consistency_level="Strong")
    client.insert(name, [row(number) for number in range(ROWS)])


def found(client: Any, name: str, text: str, params: dict[str, Any] | None = None) -> list[int]:
    return [r["id"] for r in client.query(name, filter=text, filter_params=params or {}, output_fields=["id"])]


def test_filters_keep_the_same_rows_in_memory_and_sealed_and_after_deletes(sdk: Sdk, client: Any, name: str) -> None:
    collection(sdk, client, name)
    gone: set[int] = set()
    for step in ("in memory", "sealed", "again", "after deletes"):
        if step == "sealed":
            client.flush(name)
        if step == "after deletes":
            assert client.delete(name, filter="doc['n'] < 2 and color != 'blue'")["delete_count"] == 2
            assert client.delete(name, filter="json_contains(doc['tags'], 't6')")["delete_count"] == ROWS // 7
            gone = {0, 1} | {number for number in range(ROWS) if number % 7 == 6}
        for text, params, rows in CASES:
            assert found(client, name, text, params) == [r for r in rows if r not in gone], (step, text)
    hits = client.search(
        name, [[0.0, 0.0]], limit=3, filter="doc['n'] > {n} and color == 'red'", filter_params={"n": 100},
        output_fields=["color"],
    )[0]  # fmt: skip
    assert [hit["id"] for hit in hits] == [102, 105, 108]


@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
def test_a_parameter_may_be_a_list_of_several_kinds(sdk: Sdk, client: Any, name: str) -> None:
    collection(sdk, client, name)
    # pymilvus takes the texts in such a list for JSON.
    mixed = {"mixed": [5, True, "11", 6.0, ["all", "t1"]]}
    assert found(client, name, "doc['mixed'] in {some} and id < 20", {"some": mixed["mixed"][:4]}) == [5, 8, 11, 12, 18]
    assert found(client, name, "json_contains_any(doc['tags'], {mixed})", mixed) == []
    assert found(client, name, "doc['tags'] == {tags} and id < 9", {"tags": ["all", "t1"]}) == [1, 8]


def test_a_sample_is_of_the_rows_that_pass_and_another_one_later(sdk: Sdk, client: Any, name: str) -> None:
    collection(sdk, client, name)
    draws = []
    for flush in (False, True):
        if flush:
            client.flush(name)
        for _ in range(3):
            draw = found(client, name, "id < 2000 and random_sample(0.25)")
            assert 380 < len(draw) < 620
            assert max(draw) < 2000
            draws.append(tuple(draw))
    assert len(set(draws)) == len(draws)
    (count,) = client.query(name, filter="random_sample(0.5)", output_fields=["count(*)"])
    assert 2_200 < count["count(*)"] < 2_800
    hits = client.search(name, [[0.0, 0.0]], limit=50, filter="random_sample(0.5)")[0]
    assert len(hits) == 50
    assert 60 < max(hit["id"] for hit in hits) < 180
    deleted = client.delete(name, filter="id < 1000 and random_sample(0.5)")["delete_count"]
    assert 400 < deleted < 600
    assert len(found(client, name, "id < 1000")) == 1_000 - deleted


@pytest.mark.parametrize(
    ("text", "code", "detail"),
    [
        ("name =~ '('", 1100, "invalid regex pattern '(': missing )"),
        ("random_sample(0.5) and age == 1", 1100, "can only be the last expression in the logical and expression"),
        ("text_match(name, 'a')", 1100, 'field "name" does not enable match'),
        ("element_filter(parts, $[x] > 1)", 1100, "expects the name of a struct array field, but got: parts"),
        ("age == 9223372036854775808", 1100, "integer 9223372036854775808 is out of range of Int64"),
        ("age =~ 'x'", 1100, "regex match operation on non-string or no-json field is unsupported"),
    ],
)
def test_a_filter_that_cannot_be_is_refused_by_reads_and_deletes(
    sdk: Sdk, client: Any, name: str, text: str, code: int, detail: str
) -> None:
    collection(sdk, client, name)
    calls = [
        ("query", lambda: client.query(name, filter=text)),
        ("query", lambda: client.search(name, [[0.0, 0.0]], limit=1, filter=text)),
        ("delete", lambda: client.delete(name, filter=text)),
    ]
    for purpose, call in calls:
        with pytest.raises(sdk.module.MilvusException) as caught:
            call()
        assert caught.value.code == code
        assert f"failed to create {purpose} plan: cannot parse expression: {text}" in caught.value.message
        assert detail in caught.value.message


def test_filters_over_rest(server: ProcessServer) -> None:
    rest, name = Rest(server.uri), "rest_filters"
    fields = [
        {"fieldName": "id", "dataType": "Int64", "isPrimary": True},
        {"fieldName": "vector", "dataType": "FloatVector", "elementTypeParams": {"dim": "2"}},
        {"fieldName": "name", "dataType": "VarChar", "elementTypeParams": {"max_length": "40"}},
        {"fieldName": "age", "dataType": "Int64"},
        {"fieldName": "made", "dataType": "Timestamptz"},
        {"fieldName": "place", "dataType": "Geometry"},
        {"fieldName": "doc", "dataType": "JSON"},
    ]
    schema = {"fields": fields, "enableDynamicField": True}
    index = [{"fieldName": "vector", "metricType": "L2"}]
    rest.ok("collections/create", {"collectionName": name, "schema": schema, "indexParams": index})
    rest.ok("entities/insert", {"collectionName": name, "data": [row(number) for number in range(ROWS)]})
    asked = {"collectionName": name, "outputFields": ["id"], "consistencyLevel": "Strong", "limit": 1_000}
    for text, params, rows in CASES:
        answer = rest.ok("entities/query", asked | {"filter": text, "exprParams": params})
        assert [r["id"] for r in answer] == rows[:1_000], text
    rest.ok("entities/delete", {"collectionName": name, "filter": "name =~ r'^item-\\d$' and st_isvalid(place)"})
    assert rest.ok("entities/query", asked | {"filter": "id < 12"}) == [{"id": 10}, {"id": 11}]
    rest.ok("collections/drop", {"collectionName": name})


@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
def test_values_of_filters_are_what_programs_hold(sdk: Sdk, client: Any, name: str) -> None:
    client.create_collection(name, dimension=2, metric_type="L2")
    client.insert(name, [{"id": n, "vector": [n, 1.0], "big": 2**53 + n} for n in range(4)])

    def found(text: str, value: Any) -> list[int]:
        rows = client.query(name, filter=text, filter_params={"x": value}, output_fields=["id"])
        return sorted(row["id"] for row in rows)

    assert found("big in {x}", [2**53 + 1, 0.5]) == [1]
    for ids in ([np.int64(1), np.int32(2)], np.array([1, 2]), (1, 2), {1, 2}, [1, np.int64(2)]):
        assert found("id in {x}", ids) == [1, 2]
    with pytest.raises(ParamError, match="a name in filter_params is a str, not int: 1"):
        client.query(name, filter="id == 1", filter_params={1: 2})
