"""Collections, partitions, indexes, aliases and databases over REST, against the real engine."""

from __future__ import annotations

from typing import Any

import pytest
from tests.server.rest_client import Rest

PRIMARY = {"fieldName": "id", "dataType": "Int64", "isPrimary": True}
VECTOR = {"fieldName": "v", "dataType": "FloatVector", "elementTypeParams": {"dim": 4}}


def test_a_quick_collection_is_indexed_and_loaded(rest: Rest, name: str) -> None:
    assert rest.ok("collections/create", {"collectionName": name, "dimension": 4}) == {}
    described = rest.whole("collections/describe", {"collectionName": name})
    assert described["message"] == ""
    data = described["data"]
    assert [(field["name"], field["type"], field["primaryKey"]) for field in data["fields"]] == [
        ("id", "Int64", True), ("vector", "FloatVector", False),
    ]  # fmt: skip
    assert data["fields"][1]["params"] == [{"key": "dim", "value": "4"}]
    assert data["indexes"] == [{"indexName": "vector", "fieldName": "vector", "metricType": "COSINE"}]
    assert (data["load"], data["consistencyLevel"], data["enableDynamicField"]) == ("LoadStateLoaded", "Bounded", True)
    state = rest.whole("collections/get_load_state", {"collectionName": name})
    assert state["data"] == {"loadState": "LoadStateLoaded", "loadProgress": 100}


def test_names_key_type_and_automatic_keys_of_a_quick_collection_can_be_chosen(rest: Rest, name: str) -> None:
    body = {
        "collectionName": name, "dimension": 2, "idType": "VarChar", "autoID": True, "metricType": "IP",
        "primaryFieldName": "key", "vectorFieldName": "embedding", "consistencyLevel": "Strong",
        "params": {"max_length": 40, "enableDynamicField": False}, "description": "words",
    }  # fmt: skip
    rest.ok("collections/create", body)
    data = rest.ok("collections/describe", {"collectionName": name})
    key, embedding = data["fields"]
    assert (key["name"], key["type"], key["autoId"]) == ("key", "VarChar", True)
    assert (embedding["name"], data["indexes"][0]["metricType"]) == ("embedding", "IP")
    assert (data["enableDynamicField"], data["consistencyLevel"], data["autoId"]) == (False, "Strong", True)
    assert data["description"] == "words"


def test_a_schema_without_index_params_is_neither_indexed_nor_loaded(rest: Rest, name: str) -> None:
    rest.ok("collections/create", {"collectionName": name, "schema": {"fields": [PRIMARY, VECTOR]}})
    assert rest.ok("indexes/list", {"collectionName": name}) == []
    assert rest.ok("collections/get_load_state", {"collectionName": name}) == {"loadState": "LoadStateNotLoad"}
    index = {"fieldName": "v", "indexName": "by_v", "indexType": "HNSW", "metricType": "L2", "params": {"M": 8}}
    rest.ok("indexes/create", {"collectionName": name, "indexParams": [index]})
    assert rest.ok("indexes/list", {"collectionName": name}) == ["by_v"]
    (described,) = rest.ok("indexes/describe", {"collectionName": name, "indexName": "by_v"})
    assert (described["fieldName"], described["indexType"], described["metricType"]) == ("v", "HNSW", "L2")
    assert {"key": "M", "value": "8"} in described["indexParams"]
    assert described["indexState"] == "Finished"
    for call in ("load", "refresh_load", "release"):
        assert rest.ok(f"collections/{call}", {"collectionName": name}) == {}
    assert rest.ok("indexes/drop", {"collectionName": name, "indexName": "by_v"}) == {}
    assert rest.error("indexes/describe", {"collectionName": name, "indexName": "by_v"})[0] == 700


@pytest.mark.parametrize(
    ("body", "code", "reason"),
    [
        ({}, 1802, "dimension is required for quickly create collection(default metric type: COSINE)"),
        ({"dimension": 1}, 1100, "should be in range 2 ~ 32768"),
        ({"dimension": 2, "idType": "Float"}, 1100, "idType can only be [Int64, VarChar], got Float"),
        ({"dimension": 2, "vectorFieldType": "Vector"}, 1100, "data type Vector of field vector is invalid"),
        ({"dimension": 2, "params": {"shards": 3}}, 1100, "unknown key shards in params"),
        ({"dimension": 2, "params": {"shardsNum": "many"}}, 1100, "params.shardsNum must be a whole number"),
        ({"dimension": 2, "consistencyLevel": "Weak"}, 1100, "consistencyLevel Weak is not one of"),
        ({"dimension": 2, "schema": {"fields": [PRIMARY, VECTOR]}}, 1100, "dimension goes without a schema"),
        ({"schema": {"fields": [PRIMARY, {"fieldName": "v"}]}}, 1802, "'DataType' failed on the 'required' tag"),
        ({"schema": {"fields": [PRIMARY]}}, 1100, "schema does not contain vector field"),
        ({"schema": {"fields": [VECTOR]}}, 1101, "primary key is not specified"),
        ({"schema": {"fields": [PRIMARY, VECTOR | {"dataType": "floatvector"}]}}, 1100, "invalid(case sensitive)"),
        ({"schema": {"fields": [PRIMARY, VECTOR | {"isPrimry": True}]}}, 1100, "did you mean isPrimary?"),
        (
            {"schema": {"fields": [PRIMARY, VECTOR]}, "indexParams": [{"fieldName": "w"}]},
            1802, "missing required parameters, error: `w` hasn't defined in schema",
        ),
        ({"schema": {"fields": [PRIMARY, VECTOR], "structFields": [{}]}}, 1802, "missing required parameters"),
    ],
)  # fmt: skip
def test_a_collection_that_cannot_be_made_says_why(rest: Rest, name: str, body: Any, code: int, reason: str) -> None:
    found = rest.error("collections/create", {"collectionName": name} | body)
    assert found[0] == code
    assert reason in found[1]
    assert rest.ok("collections/has", {"collectionName": name}) == {"has": False}


def test_an_index_that_cannot_be_made_says_why(rest: Rest, name: str) -> None:
    code, message = rest.error("collections/create", {"collectionName": name, "dimension": 2, "metricType": "NEAR"})
    assert code == 1100
    assert "float vector index does not support metric type: NEAR" in message


def test_rows_are_counted_truncated_and_dropped_with_their_collection(rest: Rest, name: str) -> None:
    rest.ok("collections/create", {"collectionName": name, "dimension": 2})
    rest.ok("entities/insert", {"collectionName": name, "data": [{"id": 1, "vector": [1, 2]}]})
    rest.ok("collections/flush", {"collectionName": name})
    assert rest.ok("collections/get_stats", {"collectionName": name}) == {"rowCount": 1}
    rest.ok("collections/truncate", {"collectionName": name})
    assert rest.ok("entities/query", {"collectionName": name, "outputFields": ["count(*)"]}) == [{"count(*)": 0}]
    assert name in rest.ok("collections/list")
    rest.ok("collections/drop", {"collectionName": name})
    assert name not in rest.ok("collections/list")
    assert rest.ok("collections/drop", {"collectionName": name}) == {}


def test_a_renamed_collection_answers_to_its_new_name(rest: Rest, name: str) -> None:
    rest.ok("collections/create", {"collectionName": name, "dimension": 2})
    rest.ok("collections/rename", {"collectionName": name, "newCollectionName": f"{name}_new"})
    assert rest.ok("collections/has", {"collectionName": name}) == {"has": False}
    assert rest.ok("collections/has", {"collectionName": f"{name}_new"}) == {"has": True}


def test_partitions_hold_their_own_rows(rest: Rest, name: str) -> None:
    rest.ok("collections/create", {"collectionName": name, "dimension": 2})
    where = {"collectionName": name, "partitionName": "p"}
    rest.ok("partitions/create", where)
    assert rest.ok("partitions/list", {"collectionName": name}) == ["_default", "p"]
    assert rest.ok("partitions/has", where) == {"has": True}
    rest.ok("entities/insert", where | {"data": [{"id": 1, "vector": [1, 2]}]})
    rest.ok("entities/insert", {"collectionName": name, "data": [{"id": 2, "vector": [1, 2]}]})
    rows = rest.ok("entities/query", {"collectionName": name, "partitionNames": ["p"], "outputFields": ["id"]})
    assert rows == [{"id": 1}]
    assert rest.ok("partitions/get_stats", where) == {"rowCount": 1}
    both = {"collectionName": name, "partitionNames": ["p"]}
    rest.ok("partitions/release", both)
    rest.ok("partitions/load", both)
    rest.ok("partitions/release", both)
    rest.ok("partitions/drop", where)
    assert rest.ok("partitions/has", where) == {"has": False}


def test_an_alias_stands_for_its_collection(rest: Rest, name: str) -> None:
    alias = "alias_of_a_collection"
    for collection in (name, f"{name}_2"):
        rest.ok("collections/create", {"collectionName": collection, "dimension": 2})
    rest.ok("aliases/create", {"collectionName": name, "aliasName": alias})
    assert rest.ok("aliases/list", {"collectionName": name}) == [alias]
    expected = {"dbName": "default", "collectionName": name, "aliasName": alias}
    assert rest.ok("aliases/describe", {"aliasName": alias}) == expected
    assert rest.ok("collections/describe", {"collectionName": alias})["collectionName"] == name
    rest.ok("aliases/alter", {"collectionName": f"{name}_2", "aliasName": alias})
    assert rest.ok("aliases/describe", {"aliasName": alias})["collectionName"] == f"{name}_2"
    rest.ok("aliases/drop", {"aliasName": alias})
    assert rest.error("aliases/describe", {"aliasName": alias})[0] == 1600


def test_databases_keep_their_collections_apart(rest: Rest, name: str) -> None:
    rest.ok("databases/create", {"dbName": "apart"})
    assert {"apart", "default"} <= set(rest.ok("databases/list"))
    assert rest.ok("databases/describe", {"dbName": "apart"})["dbName"] == "apart"
    rest.ok("collections/create", {"dbName": "apart", "collectionName": name, "dimension": 2})
    assert rest.ok("collections/list", DB_Name="apart") == [name]
    assert rest.ok("collections/has", {"collectionName": name}) == {"has": False}
    rest.ok("collections/drop", {"collectionName": name}, DB_Name="apart")
    rest.ok("databases/drop", {"dbName": "apart"})
    assert rest.error("collections/list", {"dbName": "apart"}) == (800, "database not found[database=apart]")
