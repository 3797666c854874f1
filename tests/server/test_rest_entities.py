"""Rows and searches over REST, against the real engine."""

from __future__ import annotations

import base64
import time
from typing import Any

import numpy as np
import pytest
from tests.server.rest_client import Rest

TYPES: list[dict[str, Any]] = [
    {"fieldName": "id", "dataType": "Int64", "isPrimary": True},
    {"fieldName": "v", "dataType": "FloatVector", "elementTypeParams": {"dim": "2"}},
    {"fieldName": "small", "dataType": "Int8"},
    {"fieldName": "flag", "dataType": "Bool"},
    {"fieldName": "float", "dataType": "Float"},
    {"fieldName": "double", "dataType": "Double"},
    {"fieldName": "text", "dataType": "VarChar", "elementTypeParams": {"max_length": 100}},
    {"fieldName": "json", "dataType": "JSON"},
    {"fieldName": "list", "dataType": "Array", "elementDataType": "VarChar",
     "elementTypeParams": {"max_capacity": 4, "max_length": 10}},
    {"fieldName": "maybe", "dataType": "Int64", "nullable": True},
    {"fieldName": "ten", "dataType": "Int64", "defaultValue": 10},
]  # fmt: skip
ROW = {
    "id": 1, "v": [0.5, 1], "small": 5, "flag": True, "float": 0.1, "double": 0.1, "text": "hello", "json": {"a": [1]},
    "list": ["x", "y"],
}  # fmt: skip


@pytest.fixture
def typed(rest: Rest, name: str) -> str:
    """A collection with a field of each plain type, indexed and loaded."""
    index = [{"fieldName": "v", "metricType": "L2"}]
    rest.ok("collections/create", {"collectionName": name, "schema": {"fields": TYPES}, "indexParams": index})
    return name


@pytest.fixture
def quick(rest: Rest, name: str) -> str:
    """A collection made by dimension alone, with five rows."""
    rest.ok("collections/create", {"collectionName": name, "dimension": 2, "metricType": "L2"})
    rows = [{"id": number, "vector": [number, 0], "color": f"c{number}"} for number in range(5)]
    rest.ok("entities/insert", {"collectionName": name, "data": rows})
    return name


def test_a_row_of_every_type_comes_back_as_milvus_shows_it(rest: Rest, typed: str) -> None:
    inserted = rest.whole("entities/insert", {"collectionName": typed, "data": ROW})
    assert inserted == {"code": 0, "data": {"insertCount": 1, "insertIds": [1]}, "cost": 0}
    rows = rest.ok("entities/query", {"collectionName": typed, "filter": "id == 1"})
    shown = {
        "json": '{"a":[1]}', "list": {"Data": {"StringData": {"data": ["x", "y"]}}}, "maybe": None, "ten": 10,
    }  # fmt: skip
    assert rows == [ROW | shown]


def test_values_in_strings_are_read_as_their_field_wants(rest: Rest, typed: str) -> None:
    row = ROW | {"id": "7", "small": "-3", "flag": "false", "float": "1e2", "double": "2.5", "text": 12, "maybe": "4"}
    rest.ok("entities/insert", {"collectionName": typed, "data": [row]})
    (found,) = rest.ok("entities/get", {"collectionName": typed, "id": "7"})
    assert [found[key] for key in ("id", "small", "flag", "float", "double", "text", "maybe")] == [
        7, -3, False, 100.0, 2.5, "12", 4,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"v": [1, 2, 3]}, "the dim (3) of field data(v) is not equal to schema dim (2)"),
        ({"v": ["a", 1]}, "{v} field should be a float_vector"),
        ({"v": None}, "{v} field should be a float_vector"),
        ({"small": 200}, "out of range: [-128, 127]"),
        ({"small": 1.5}, "{small} field should be a int8"),
        ({"small": "x"}, "{small} field should be a int8"),
        ({"flag": 1}, "{flag} field should be a bool"),
        ({"text": None}, "{text} field should be a varchar"),
        ({"list": "x"}, "{list} field should be a array"),
        ({"list": [1]}, "{list} field should be a varchar"),
        ({"unknown": 1}, "unexpected field `unknown`"),
        ({"json": "{"}, "Invalid JSON string"),
    ],
)
def test_a_value_that_does_not_fit_names_its_field(rest: Rest, typed: str, change: Any, reason: str) -> None:
    code, message = rest.error("entities/insert", {"collectionName": typed, "data": [ROW | change]})
    assert code == 1804
    assert message.startswith("fail to deal the insert data, error: ")
    assert reason in message
    assert rest.ok("entities/query", {"collectionName": typed, "outputFields": ["count(*)"]}) == [{"count(*)": 0}]


def test_a_missing_value_names_its_field(rest: Rest, typed: str) -> None:
    row = {key: value for key, value in ROW.items() if key != "text"}
    code, message = rest.error("entities/insert", {"collectionName": typed, "data": [ROW, row]})
    assert code == 1804
    assert "`text`" in message


def test_the_engine_has_the_last_word_on_a_value(rest: Rest, typed: str) -> None:
    code, message = rest.error("entities/insert", {"collectionName": typed, "data": ROW | {"text": "x" * 101}})
    assert code == 1100
    assert "length of varchar field text exceeds max length" in message


def test_large_integers_are_exact_and_can_be_strings(rest: Rest, quick: str) -> None:
    big = 2**63 - 1
    body = {"collectionName": quick, "data": {"id": big, "vector": [9, 9], "n": 2**53 + 1}}
    assert rest.ok("entities/insert", body, Accept_Type_Allow_Int64="false")["insertIds"] == [str(big)]
    (row,) = rest.ok("entities/get", {"collectionName": quick, "id": big})
    assert (row["id"], row["n"]) == (big, 2**53 + 1)
    (row,) = rest.ok("entities/get", {"collectionName": quick, "id": big}, Accept_Type_Allow_Int64="false")
    assert row["id"] == str(big)


def test_dynamic_keys_come_back_as_values(rest: Rest, quick: str) -> None:
    row = {"id": 9, "vector": [1, 1], "a": 1.5, "b": {"c": [1]}}
    rest.ok("entities/insert", {"collectionName": quick, "data": row})
    body = {"collectionName": quick, "filter": "id == 9", "outputFields": ["a", "b"]}
    assert rest.ok("entities/query", body) == [{"id": 9, "a": 1.5, "b": {"c": [1]}}]
    assert rest.ok("entities/get", {"collectionName": quick, "id": 9}) == [
        {"id": 9, "vector": [1.0, 1.0], "a": 1.5, "b": {"c": [1]}}
    ]


def test_upsert_replaces_and_delete_removes(rest: Rest, quick: str) -> None:
    body = {"collectionName": quick, "data": [{"id": 1, "vector": [7, 7], "color": "new"}]}
    assert rest.whole("entities/upsert", body) == {
        "code": 0, "data": {"upsertCount": 1, "upsertIds": [1]}, "cost": 0,
    }  # fmt: skip
    assert rest.ok("entities/get", {"collectionName": quick, "id": [1], "outputFields": ["color"]})[0]["color"] == "new"
    deleted = rest.ok("entities/delete", {"collectionName": quick, "filter": "color == 'new'"})
    assert deleted == {"deleteCount": 1}
    assert rest.ok("entities/get", {"collectionName": quick, "id": [1]}) == []


def test_get_takes_one_key_or_many(rest: Rest, quick: str) -> None:
    for ids, wanted in ((3, [3]), ("3", [3]), ([1, "2", 99], [1, 2])):
        rows = rest.ok("entities/get", {"collectionName": quick, "id": ids, "outputFields": ["id"]})
        assert sorted(row["id"] for row in rows) == wanted


@pytest.mark.parametrize("ids", ["x", 1.5, True, [1, "x"], {"a": 1}])
def test_a_key_that_is_none_is_refused(rest: Rest, quick: str, ids: Any) -> None:
    code, message = rest.error("entities/get", {"collectionName": quick, "id": ids})
    assert code == 1806
    assert message.startswith("please check the primary key and its' type can only in [int, string]")


def test_text_keys_with_quotes_are_found(rest: Rest, name: str) -> None:
    body = {"collectionName": name, "dimension": 2, "idType": "VarChar", "params": {"max_length": 50}}
    rest.ok("collections/create", body)
    keys = ['a"b', "a'b", "a\\b", "ünï", "a\nb"]
    rest.ok("entities/insert", {"collectionName": name, "data": [{"id": key, "vector": [1, 2]} for key in keys]})
    for key in keys:
        assert [row["id"] for row in rest.ok("entities/get", {"collectionName": name, "id": key})] == [key]


def test_query_filters_pages_and_counts(rest: Rest, quick: str) -> None:
    body = {"collectionName": quick, "filter": "id >= 1", "limit": 2, "offset": 1, "outputFields": ["color"]}
    assert rest.ok("entities/query", body) == [{"id": 2, "color": "c2"}, {"id": 3, "color": "c3"}]
    counted = rest.ok("entities/query", {"collectionName": quick, "filter": "id > 2", "outputFields": ["count(*)"]})
    assert counted == [{"count(*)": 2}]


def test_a_search_answers_flat_rows_and_how_many_belong_to_each_query(rest: Rest, quick: str) -> None:
    body = {"collectionName": quick, "data": [[0, 0], [4, 0]], "limit": 2, "outputFields": ["color"]}
    found = rest.whole("entities/search", body)
    assert found["topks"] == [2, 2]
    assert found["cost"] == 0
    assert found["data"] == [
        {"id": 0, "distance": 0.0, "color": "c0"}, {"id": 1, "distance": 1.0, "color": "c1"},
        {"id": 4, "distance": 0.0, "color": "c4"}, {"id": 3, "distance": 1.0, "color": "c3"},
    ]  # fmt: skip


def test_a_search_can_filter_skip_and_say_its_metric(rest: Rest, quick: str) -> None:
    body = {
        "collectionName": quick, "data": [[0, 0]], "annsField": "vector", "filter": "id > 1", "offset": 1, "limit": 1,
        "searchParams": {"metricType": "L2", "params": {"ef": 50}},
    }  # fmt: skip
    assert rest.ok("entities/search", body) == [{"id": 3, "distance": 9.0}]
    wrong = body | {"searchParams": {"metricType": "IP"}}
    assert rest.error("entities/search", wrong) == (
        1100, "metric type not match: invalid parameter[expected=L2][actual=IP]",
    )  # fmt: skip


def test_a_search_without_hits_answers_an_empty_list(rest: Rest, quick: str) -> None:
    found = rest.whole("entities/search", {"collectionName": quick, "data": [[0, 0]], "filter": "id > 100"})
    assert (found["data"], found["topks"]) == ([], [0])


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        ({"data": []}, 1802, "either 'ids' (for primary key search) or 'data' (for vector search) must be provided"),
        ({"data": [[1, 2, 3]]}, 1100, "vector dimension mismatch"),
        ({"data": [["a", 2]]}, 1801, "the query vectors cannot be read"),
        ({"data": [[1, 2], [1]]}, 1801, "the query vectors cannot be read"),
        ({"data": 3}, 1801, "Expected `array`"),
        ({"ids": [1]}, 1100, "'ids' and 'data' are mutually exclusive"),
        ({"groupingField": "nope", "searchParams": {"group_by_fields": "a"}}, 1100, "are mutually exclusive"),
        ({"consistencyLevel": "Sometimes"}, 1100, "consistencyLevel Sometimes is not one of Strong"),
        ({"limit": 0}, 1100, "topk [0] is invalid"),
        ({"annsField": "nope"}, 1100, "fieldName(nope) not found"),
        ({"filter": "id >"}, 1100, "cannot parse expression"),
        ({"searchParams": {"ignoreGrowing": "perhaps"}}, 1100, "must be true or false"),
    ],
)
def test_a_search_that_makes_no_sense_says_why(rest: Rest, quick: str, change: Any, code: int, reason: str) -> None:
    found = rest.error("entities/search", {"collectionName": quick, "data": [[1, 2]]} | change)
    assert found[0] == code
    assert reason in found[1]


def test_a_missing_collection_is_code_100(rest: Rest) -> None:
    for path, body in (
        ("entities/insert", {"data": [{"id": 1}]}), ("entities/query", {"filter": "id > 0"}),
        ("entities/search", {"data": [[1.0]]}), ("entities/delete", {"filter": "id > 0"}), ("entities/get", {"id": 1}),
        ("collections/describe", {}), ("collections/get_load_state", {}),
    ):  # fmt: skip
        assert rest.error(path, {"collectionName": "absent"} | body) == (
            100, "collection not found[database=default][collection=absent]",
        )  # fmt: skip


def test_a_batch_of_thousands_of_rows_is_taken(rest: Rest, name: str) -> None:
    rest.ok("collections/create", {"collectionName": name, "dimension": 64})
    vectors = np.random.default_rng(1).random((3_000, 64)).round(4)
    rows = [{"id": number, "vector": vector.tolist(), "n": number} for number, vector in enumerate(vectors)]
    assert rest.ok("entities/insert", {"collectionName": name, "data": rows})["insertCount"] == 3_000
    (hit,) = rest.ok("entities/search", {"collectionName": name, "data": [rows[1234]["vector"]], "limit": 1})
    assert hit["id"] == 1234


def test_bytes_travel_as_base64(rest: Rest, name: str) -> None:
    fields = [
        {"fieldName": "id", "dataType": "Int64", "isPrimary": True},
        {"fieldName": "v", "dataType": "Float16Vector", "elementTypeParams": {"dim": 2}},
    ]
    rest.ok("collections/create", {"collectionName": name, "schema": {"fields": fields}})
    half = base64.b64encode(np.array([1, 2], np.float16).tobytes()).decode()
    rows = [{"id": 1, "v": half}, {"id": 2, "v": [1, 2]}]
    assert rest.ok("entities/insert", {"collectionName": name, "data": rows})["insertCount"] == 2
    code, message = rest.error("entities/insert", {"collectionName": name, "data": {"id": 3, "v": "*"}})
    assert code == 1804
    assert "not base64" in message


def test_times_go_in_and_come_out_as_texts(rest: Rest, name: str) -> None:
    fields = [*TYPES[:2], {"fieldName": "at", "dataType": "Timestamptz", "nullable": True}]
    rest.ok("collections/create", {
        "collectionName": name, "schema": {"fields": fields}, "indexParams": [{"fieldName": "v", "metricType": "L2"}],
        "params": {"timezone": "Asia/Shanghai"},
    })  # fmt: skip
    times = ["2025-01-01T00:00:00Z", "2025-01-01 00:00:00", None]
    rows = [{"id": i, "v": [i, 0], "at": at} for i, at in enumerate(times)]
    rest.ok("entities/insert", {"collectionName": name, "data": rows})
    asked = {"collectionName": name, "outputFields": ["at"]}
    found = rest.ok("entities/query", asked | {"filter": 'at <= ISO "2025-01-01T00:00:00Z"'})
    assert [row["at"] for row in found] == ["2025-01-01T08:00:00+08:00", "2025-01-01T00:00:00+08:00"]
    hits = rest.ok("entities/search", asked | {"data": [[0, 0]], "timezone": "UTC"})
    assert [hit["at"] for hit in hits] == ["2025-01-01T00:00:00Z", "2024-12-31T16:00:00Z", None]
    found = rest.ok("entities/query", asked | {"filter": "id == 1", "timeFields": "year, hour"})
    assert found[0]["at"] == [2025, 0]
    assert rest.ok("entities/get", {"collectionName": name, "id": [0], "outputFields": ["at"]})[0]["at"] == (
        "2025-01-01T08:00:00+08:00"
    )


def test_rows_may_expire(rest: Rest, name: str) -> None:
    fields = [*TYPES[:2], {"fieldName": "at", "dataType": "Timestamptz", "nullable": True}]
    rest.ok("collections/create", {
        "collectionName": name, "schema": {"fields": fields}, "indexParams": [{"fieldName": "v", "metricType": "L2"}],
        "params": {"ttlField": "at"},
    })  # fmt: skip
    rows = [{"id": i, "v": [i, 0], "at": at} for i, at in enumerate(["2020-01-01T00:00:00Z", "2120-01-01T00:00:00Z"])]
    rest.ok("entities/insert", {"collectionName": name, "data": rows})
    found = rest.ok("entities/query", {"collectionName": name, "filter": "id >= 0", "outputFields": ["id"]})
    assert [row["id"] for row in found] == [1]
    bad = {"collectionName": f"{name}_2", "dimension": 2, "params": {"ttlSeconds": -2}}
    code, message = rest.error("collections/create", bad)
    assert code == 1100
    assert "collection TTL is out of range, expect [-1, 3155760000], got -2" in message


# -- parts, conditions, the past ----------------------------------------------------------------
def test_a_part_of_a_row_is_written_and_arrays_grow_and_shrink(rest: Rest, typed: str) -> None:
    rest.ok("entities/insert", {"collectionName": typed, "data": ROW})

    def upsert(row: dict[str, Any], *ops: dict[str, str], **more: Any) -> list[Any]:
        told = rest.ok("entities/upsert", {"collectionName": typed, "data": row, "fieldOps": list(ops)} | more)
        assert told == {"upsertCount": 1, "upsertIds": [1]}
        asked = {"collectionName": typed, "id": 1, "outputFields": ["list", "text", "small"]}
        (found,) = rest.ok("entities/get", asked)
        return [found["list"]["Data"]["StringData"]["data"], found["text"], found["small"]]

    assert upsert({"id": 1, "small": 9}, partialUpdate=True) == [["x", "y"], "hello", 9]
    append, remove = ({"fieldName": "list", "op": op} for op in ("ARRAY_APPEND", "ARRAY_REMOVE"))
    assert upsert({"id": 1, "list": ["z"]}, append, partialUpdate=True) == [["x", "y", "z"], "hello", 9]
    assert upsert({"id": 1, "list": ["x", "z"]}, remove) == [["y"], "hello", 9]
    assert upsert({"id": 1, "list": ["q"]}, partialUpdate=True) == [["q"], "hello", 9]
    refused = {"collectionName": typed, "data": {"id": 1, "list": ["z"]}}
    rest.error("entities/upsert", refused | {"fieldOps": [{"fieldName": "small", "op": "ARRAY_APPEND"}]})
    rest.error("entities/upsert", refused | {"fieldOps": [{"fieldName": "list", "op": "PUSH"}]})


def test_a_write_under_a_condition_that_does_not_hold_is_refused(rest: Rest, quick: str) -> None:
    (row,) = rest.ok("entities/query", {"collectionName": quick, "filter": "id == 1", "outputFields": ["$version"]})
    new = {"collectionName": quick, "data": {"id": 1, "vector": [7, 7], "color": "new"}}
    assert rest.error("entities/upsert", new | {"ifVersion": [int(row["$version"]) - 1]})[0] == 2700
    assert rest.error("entities/upsert", new | {"where": "color == {c}", "whereParams": {"c": "c2"}})[0] == 2700
    rest.ok("entities/upsert", new | {"ifVersion": [int(row["$version"])], "where": "color == 'c1'"})
    (row,) = rest.ok("entities/query", {"collectionName": quick, "filter": "id == 1"})
    assert row["color"] == "new"


def test_the_past_is_read_as_of_a_timestamp(rest: Rest, quick: str) -> None:
    time.sleep(0.01)
    then = int(time.time() * 1000) << 18
    time.sleep(0.01)
    rest.ok("entities/delete", {"collectionName": quick, "filter": "id in [1, 2]"})
    for body in ({"filter": "id >= 0"}, {"filter": "id >= 0", "asOf": then}):
        there = {0, 1, 2, 3, 4} if "asOf" in body else {0, 3, 4}
        rows = rest.ok("entities/query", {"collectionName": quick, **body})
        hits = rest.ok("entities/search", {"collectionName": quick, "data": [[1, 0]], "limit": 9, **body})
        assert {row["id"] for row in rows} == {hit["id"] for hit in hits} == there
    rows = rest.ok("entities/get", {"collectionName": quick, "id": [1, 3], "asOf": then})
    assert {row["id"] for row in rows} == {1, 3}


def test_a_row_whose_key_is_zero_is_read_by_it(rest: Rest, typed: str) -> None:
    where = {"collectionName": typed}
    rest.ok("entities/insert", {**where, "data": {**ROW, "id": 0}})
    assert rest.ok("entities/get", {**where, "id": 0, "outputFields": ["text"]}) == [{"id": 0, "text": "hello"}]
    assert rest.ok("entities/get", {**where, "id": []}) == []
    code, text = rest.error("entities/get", {**where, "id": None})
    assert code == 1802 and "'CollectionIDReq.ID'" in text


def test_keys_of_more_than_64_bits_are_named(rest: Rest, typed: str) -> None:
    for number in (2**63, -(2**63) - 1, 2**80):
        code, text = rest.error("entities/get", {"collectionName": typed, "id": [number]})
        assert code == 1806 and str(number) in text
        code, text = rest.error("entities/search", {"collectionName": typed, "ids": [number], "limit": 1})
        assert code == 1806 and str(number) in text


def test_a_number_of_any_size_in_a_text_field_is_its_digits(rest: Rest, typed: str) -> None:
    where = {"collectionName": typed}
    rest.ok("entities/insert", {**where, "data": {**ROW, "id": 3, "text": 2**80}})
    assert rest.ok("entities/get", {**where, "id": 3, "outputFields": ["text"]}) == [{"id": 3, "text": str(2**80)}]


@pytest.mark.parametrize("digits", [1.5, True, "x", [1]])
def test_digits_of_distances_are_a_whole_number(rest: Rest, typed: str, digits: Any) -> None:
    body = {"collectionName": typed, "data": [[0.0, 1.0]], "limit": 1, "searchParams": {"round_decimal": digits}}
    code, text = rest.error("entities/search", body)
    assert code == 1100 and "should be a whole number" in text


def test_single_rows_are_written_as_rows_in_lists_are(rest: Rest, name: str) -> None:
    fields = [
        {"fieldName": "key", "dataType": "VarChar", "isPrimary": True, "elementTypeParams": {"max_length": 9}},
        *(field for field in TYPES[1:7]),
    ]
    index = [{"fieldName": "v", "metricType": "L2"}]
    rest.ok("collections/create", {"collectionName": name, "schema": {"fields": fields}, "indexParams": index})
    rest.ok("partitions/create", {"collectionName": name, "partitionName": "other"})
    row = {"v": [0.5, 1], "small": 5, "flag": True, "float": 0.1, "double": 0.1, "text": "hello"}
    where = {"collectionName": name}
    given: list[dict[str, Any]] = [{"key": f"k{n}", **row, "small": n - 3, "text": "ä" * n} for n in range(6)]
    for one in given[:2]:
        assert rest.ok("entities/insert", {**where, "data": one}) == {"insertCount": 1, "insertIds": [one["key"]]}
    assert rest.ok("entities/insert", {**where, "data": [given[2]], "partitionName": "other"})["insertCount"] == 1
    rest.ok("entities/insert", {**where, "data": given[3:]})
    rows = rest.ok("entities/query", {**where, "filter": "key != ''", "consistencyLevel": "Strong"})
    assert sorted(rows, key=lambda found: str(found["key"])) == given
    assert len(rest.ok("entities/query", {**where, "filter": "key != ''", "partitionNames": ["other"]})) == 1
    for wrong in ({"small": 200}, {"text": "x" * 101}, {"v": [1]}, {"v": [1, 1e300]}, {"flag": 1}, {"more": 1}):
        code, text = rest.error("entities/insert", {**where, "data": {**given[0], **wrong}})
        assert code in (1100, 1804), text
    missing = {**where, "data": given[0], "partitionName": "nosuch"}
    assert rest.error("entities/insert", missing) == (200, "partition not found[partition=nosuch]")


def test_the_key_of_a_single_row_is_answered_as_a_text_where_texts_are_wanted(rest: Rest, quick: str) -> None:
    for row in ({"id": 7, "vector": [1, 2]}, {"id": 7, "vector": [1, 2], "color": "red"}):
        body = {"collectionName": quick, "data": row}
        assert rest.ok("entities/insert", body)["insertIds"] == [7]
        assert rest.ok("entities/insert", body, Accept_Type_Allow_Int64="false")["insertIds"] == ["7"]


@pytest.mark.parametrize("rows", [3, 100], ids=["one by one", "by columns"])
def test_arrays_of_floats_are_shown_in_as_few_digits_as_floats_are(rest: Rest, name: str, rows: int) -> None:
    fields = [
        *TYPES[:2],
        {"fieldName": "many", "dataType": "Array", "elementDataType": "Float", "nullable": True,
         "elementTypeParams": {"max_capacity": 3}},
    ]  # fmt: skip
    index = [{"fieldName": "v", "metricType": "L2"}]
    rest.ok("collections/create", {"collectionName": name, "schema": {"fields": fields}, "indexParams": index})
    rest.ok(
        "entities/insert",
        {"collectionName": name, "data": [{"id": at, "v": [0, 1], "many": [0.1, at]} for at in range(rows)]},
    )
    found = rest.ok("entities/query", {"collectionName": name, "outputFields": ["many"], "filter": ""})
    assert [row["many"]["Data"]["FloatData"]["data"] for row in found] == [[0.1, at] for at in range(rows)]
