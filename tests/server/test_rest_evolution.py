"""Fields and properties change over REST, against the real engine."""

from __future__ import annotations

from typing import Any

import pytest
from tests.server.rest_client import Rest


@pytest.fixture
def filled(rest: Rest, name: str) -> str:
    """A loaded collection of two rows, one of them flushed."""
    rest.ok("collections/create", {"collectionName": name, "dimension": 2, "params": {"enableDynamicField": False}})
    rest.ok("entities/insert", {"collectionName": name, "data": [{"id": 1, "vector": [1, 1]}]})
    rest.ok("collections/flush", {"collectionName": name})
    rest.ok("entities/insert", {"collectionName": name, "data": [{"id": 2, "vector": [2, 2]}]})
    return name


def rows(rest: Rest, name: str, *fields: str, where: str = "id >= 0") -> list[dict[str, Any]]:
    found = rest.ok("entities/query", {"collectionName": name, "filter": where, "outputFields": list(fields)})
    return sorted(found, key=lambda row: row["id"])


def field(name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"fieldName": name, "dataType": kind, "nullable": True, **more}


def test_a_field_is_added_and_dropped(rest: Rest, filled: str) -> None:
    price = field("price", "Int32", defaultValue=5, description="in cents")
    assert rest.ok("collections/fields/add", {"collectionName": filled, "schema": price}) == {}
    note = field("note", "VarChar", elementTypeParams={"max_length": 9})
    assert rest.ok("collections/fields/add", {"collectionName": filled, "schema": note}) == {}
    rest.ok("entities/insert", {"collectionName": filled, "data": [{"id": 3, "vector": [3, 3], "note": "new"}]})
    assert rows(rest, filled, "price", "note") == [
        {"id": 1, "price": 5, "note": None}, {"id": 2, "price": 5, "note": None}, {"id": 3, "price": 5, "note": "new"},
    ]  # fmt: skip
    described = {f["name"]: f for f in rest.ok("collections/describe", {"collectionName": filled})["fields"]}
    assert (described["price"]["description"], described["price"]["defaultValue"]) == ("in cents", 5)
    assert rest.ok("collections/fields/drop", {"collectionName": filled, "fieldName": "note"}) == {}
    assert rest.ok("collections/fields/drop", {"collectionName": filled, "fieldId": described["price"]["id"]}) == {}
    assert rest.error("entities/query", {"collectionName": filled, "filter": "price == 5"})[0] == 1100
    fields = rest.ok("collections/describe", {"collectionName": filled})["fields"]
    assert [f["name"] for f in fields] == ["id", "vector"]


@pytest.mark.parametrize(
    ("path", "body", "code", "text"),
    [
        ("fields/add", {"schema": {"fieldName": "n", "dataType": "Int32"}}, 1100, "added field must be nullable"),
        (
            "fields/add",
            {"schema": {"fieldName": "n", "dataType": "Int33"}},
            1100,
            "data type Int33 of field n",
        ),
        ("fields/add", {"schema": {"dataType": "Int32"}}, 1802, "FieldName"),
        ("fields/add", {}, 1802, "FieldName"),
        ("fields/add", {"schema": field("id", "Int64")}, 1100, "duplicated field name id"),
        ("fields/drop", {"fieldName": "id"}, 1100, "cannot drop primary key field: id"),
        ("fields/drop", {"fieldName": "f"}, 1700, "field not found: f"),
        ("fields/drop", {}, 1802, "either fieldName or fieldId is required"),
        ("fields/alter_properties", {"fieldName": "id"}, 1802, "FieldParams"),
        ("fields/alter_properties", {"fieldName": "id", "fieldParams": {"x": 1}}, 1100, "x does not allow update"),
        ("alter_properties", {"properties": {"warmup.x": 1}}, 1100, "unknown collection property warmup.x"),
        ("alter_properties", {"properties": {"query_mode": "x"}}, 10, "query_mode is not built in this version"),
        ("alter_properties", {"properties": {"mmap.enabled": True}}, 104, "can not alter mmap properties"),
        ("alter_properties", {}, 1802, "Properties"),
        ("drop_properties", {}, 1802, "PropertyKeys"),
        ("drop_properties", {"propertyKeys": ["ttl_Field"]}, 1100, "did you mean ttl_field?"),
    ],
)
def test_a_change_that_cannot_be_is_refused(
    rest: Rest, filled: str, path: str, body: dict[str, Any], code: int, text: str
) -> None:
    found = rest.error(f"collections/{path}", {"collectionName": filled, **body})
    assert (found[0], text in found[1]) == (code, True), found


def test_params_of_a_field_and_properties_of_a_collection_change(rest: Rest, filled: str) -> None:
    note = field("note", "VarChar", elementTypeParams={"max_length": 3})
    rest.ok("collections/fields/add", {"collectionName": filled, "schema": note})
    long = {"collectionName": filled, "data": [{"id": 3, "vector": [3, 3], "note": "longer"}]}
    assert rest.error("entities/insert", long)[0] == 1100
    params = {"collectionName": filled, "fieldName": "note", "fieldParams": {"max_length": 8}}
    assert rest.ok("collections/fields/alter_properties", params) == {}
    rest.ok("entities/insert", long)
    properties = {"collection.ttl.seconds": 600, "timezone": "UTC"}
    body = {"collectionName": filled, "properties": properties}
    assert rest.ok("collections/alter_properties", body) == {}
    shown = rest.ok("collections/describe", {"collectionName": filled})["properties"]
    assert {p["key"]: p["value"] for p in shown} == {"collection.ttl.seconds": "600", "timezone": "UTC"}
    keys = {"collectionName": filled, "propertyKeys": ["collection.ttl.seconds", "timezone"]}
    assert rest.ok("collections/drop_properties", keys) == {}
    assert rest.ok("collections/describe", {"collectionName": filled})["properties"] == []


def test_the_dynamic_field_is_turned_on(rest: Rest, filled: str) -> None:
    row = {"collectionName": filled, "data": [{"id": 3, "vector": [3, 3], "colour": "red"}]}
    assert rest.error("entities/insert", row)[0] != 0
    rest.ok("collections/alter_properties", {"collectionName": filled, "properties": {"dynamicfield.enabled": True}})
    rest.ok("entities/insert", row)
    assert rows(rest, filled, "colour", where="colour == 'red'") == [{"id": 3, "colour": "red"}]


@pytest.mark.parametrize("path", ["databases/alter", "databases/alter_properties"])
def test_properties_of_a_database_change(rest: Rest, name: str, path: str) -> None:
    rest.ok("databases/create", {"dbName": name})
    assert rest.ok(path, {"dbName": name, "properties": {"timezone": "Asia/Tokyo"}}) == {}
    described = rest.ok("databases/describe", {"dbName": name})
    assert described["properties"] == [{"key": "timezone", "value": "Asia/Tokyo"}]
    assert rest.ok("databases/drop_properties", {"dbName": name, "propertyKeys": ["timezone"]}) == {}
    assert rest.ok("databases/describe", {"dbName": name})["properties"] == []
    assert rest.error(path, {"dbName": name})[0] == 1100
    rest.ok("databases/drop", {"dbName": name})
