"""GEOMETRY fields and the filters over them, through every SDK."""

from __future__ import annotations

from typing import Any

import pytest
from tests.acceptance.conftest import Sdk
from tests.acceptance.test_collections import flat_index
from tests.server.rest_client import Rest
from tests.servers import ProcessServer

SQUARE = "POLYGON((0 0, 3 0, 3 3, 0 3, 0 0))"
ROWS: list[dict[str, Any]] = [
    {"id": 0, "place": "POINT(1 1)"},
    {"id": 1, "place": "point ( 5.50 1e0 )"},
    {"id": 2, "place": "POLYGON((1 1, 2 1, 2 2, 1 2, 1 1))"},
    {"id": 3, "place": "POLYGON((1 1, 2 2, 2 1, 1 2, 1 1))"},
    {"id": 4, "place": None},
    {"id": 5, "place": "LINESTRING(-1 1, 4 1)", "home": "POINT(8 9)"},
]
SHOWN = [
    "POINT (1 1)", "POINT (5.5 1)", "POLYGON ((1 1, 2 1, 2 2, 1 2, 1 1))", "POLYGON ((1 1, 2 2, 2 1, 1 2, 1 1))", None,
    "LINESTRING (-1 1, 4 1)",
]  # fmt: skip
KEPT: list[tuple[str, list[int]]] = [
    (f"st_within(place, '{SQUARE}')", [0, 2]),
    (f"not st_within(place, '{SQUARE}')", [1, 3, 5]),
    (f"ST_INTERSECTS(place, '{SQUARE}')", [0, 2, 5]),
    (f"st_crosses(place, '{SQUARE}')", [5]),
    ("st_contains(place, 'POINT(1.5 1.5)')", [2]),
    ("st_equals(place, 'POLYGON((2 2, 1 2, 1 1, 2 1, 2 2))')", [2]),
    ("st_touches(place, 'POLYGON((2 1, 3 1, 3 2, 2 2, 2 1))')", [2, 5]),
    ("st_overlaps(place, 'POLYGON((1.5 1.5, 5 1.5, 5 5, 1.5 5, 1.5 1.5))')", [2]),
    ("st_dwithin(place, 'POINT(1 1.001)', 112)", [0, 2, 5]),
    ("st_dwithin(place, 'POINT(1 1.001)', 0.5)", [2, 5]),
    ("st_isvalid(place)", [0, 1, 2, 5]),
    ("not st_isvalid(place)", [3]),
    ("place is null", [4]),
    ("place is not null and id > 2", [3, 5]),
    ("st_equals(home, 'POINT(0 0)')", [0, 1, 2, 3, 4]),
    ("st_within(place, {area}) or id == {key}", [0, 2, 4]),
]


@pytest.fixture
def places(sdk: Sdk, client: Any, name: str) -> str:
    types = sdk.module.DataType
    schema = sdk.module.MilvusClient.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=2)
    schema.add_field("place", types.GEOMETRY, nullable=True)
    schema.add_field("home", types.GEOMETRY, default_value="POINT(0 0)")
    client.create_collection(name, schema=schema, index_params=flat_index(client), consistency_level="Strong")
    client.insert(name, [row | {"vector": [row["id"], 0]} for row in ROWS])
    return name


def ids(client: Any, name: str, condition: str, **params: Any) -> list[int]:
    return [row["id"] for row in client.query(name, filter=condition, filter_params=params, output_fields=["id"])]


@pytest.mark.parametrize("flushed", [False, True])
def test_shapes_go_in_as_wkt_come_out_as_wkt_and_are_filtered(client: Any, places: str, flushed: bool) -> None:
    if flushed:
        client.flush(places)
    rows = client.query(places, filter="id >= 0", output_fields=["place", "home"])
    assert [row["place"] for row in rows] == SHOWN
    assert [row["home"] for row in rows] == ["POINT (0 0)"] * 5 + ["POINT (8 9)"]
    for text, expected in KEPT:
        assert ids(client, places, text, area=SQUARE, key=4) == expected, text
    hits = client.search(
        places, [[0.0, 0.0]], limit=5, filter=f"st_within(place, '{SQUARE}')", output_fields=["place"]
    )[0]
    assert [(hit["id"], hit["entity"]["place"]) for hit in hits] == [(0, SHOWN[0]), (2, SHOWN[2])]


def test_rows_are_replaced_and_deleted_by_their_shapes(client: Any, places: str) -> None:
    client.upsert(places, [{"id": 1, "vector": [0, 0], "place": "POINT(2 2)"}])
    assert ids(client, places, f"st_within(place, '{SQUARE}')") == [0, 1, 2]
    assert client.delete(places, filter=f"st_within(place, '{SQUARE}')")["delete_count"] == 3
    assert ids(client, places, "id >= 0") == [3, 4, 5]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("POINT(1)", "Expected number"),
        ("here", "Unknown type"),
        ("POLYGON((0 0, 1 1, 1 0))", "do not form a closed linestring"),
        ("", "Expected word"),
        ("GEOMETRYCOLLECTION(" * 5_000 + "POINT(0 0)" + ")" * 5_000, "nests deeper than 32 levels"),
    ],
)
def test_a_text_that_is_no_shape_is_refused(sdk: Sdk, client: Any, places: str, text: str, reason: str) -> None:
    with pytest.raises(sdk.module.MilvusException) as caught:
        client.insert(places, [{"id": 9, "vector": [0, 0], "place": text}])
    assert caught.value.code == 1100
    assert "invalid Geometry data, transform to wkb failed: row 0" in caught.value.message
    assert reason in caught.value.message


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("st_within(place, 'here')", "st_within: invalid WKT: Unknown type: 'HERE'"),
        ("st_within(id, 'POINT(0 0)')", "st_within operation are only supported on geometry fields now, got: id"),
        ("st_within(place, id)", "st_within expects a WKT string as its second argument"),
        ("st_dwithin(place, 'LINESTRING(0 0, 1 1)', 1)", "only supports POINT geometry: LINESTRING"),
        ("st_dwithin(place, 'POINT(0 0)', -1)", "distance must not be negative, but got: -1"),
        ("st_dwithin(place, 'POINT(0 0)', 'far')", "expects a number as its distance"),
        ("st_isvalid(place, 1)", "takes 1 arguments, but got 2"),
        ("place == 'POINT(0 0)'", "comparisons of Geometry field place are not supported"),
        ("place in ['POINT(0 0)']", "'term' can only be used on single field"),
    ],
)
def test_a_filter_that_misuses_a_shape_is_refused(sdk: Sdk, client: Any, places: str, text: str, detail: str) -> None:
    with pytest.raises(sdk.module.MilvusException) as caught:
        client.query(places, filter=text)
    assert caught.value.code == 1100
    assert detail in caught.value.message


def test_a_default_that_is_no_shape_is_refused(sdk: Sdk, client: Any, name: str) -> None:
    types = sdk.module.DataType
    schema = sdk.module.MilvusClient.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=2)
    schema.add_field("home", types.GEOMETRY, default_value="home")
    with pytest.raises(sdk.module.MilvusException, match="invalid Geometry data"):
        client.create_collection(name, schema=schema)


def test_shapes_go_over_rest(server: ProcessServer) -> None:
    rest, name = Rest(server.uri), "rest_places"
    fields = [
        {"fieldName": "id", "dataType": "Int64", "isPrimary": True},
        {"fieldName": "vector", "dataType": "FloatVector", "elementTypeParams": {"dim": "2"}},
        {"fieldName": "place", "dataType": "Geometry", "nullable": True},
        {"fieldName": "home", "dataType": "Geometry", "defaultValue": "POINT(0 0)"},
    ]
    index = [{"fieldName": "vector", "metricType": "L2"}]
    rest.ok("collections/create", {"collectionName": name, "schema": {"fields": fields}, "indexParams": index})
    rest.ok("entities/insert", {"collectionName": name, "data": [row | {"vector": [0, 0]} for row in ROWS]})
    asked = {"collectionName": name, "outputFields": ["place", "home"], "consistencyLevel": "Strong"}
    rows = rest.ok("entities/query", asked | {"filter": "id >= 0"})
    assert [row["place"] for row in rows] == SHOWN
    for text, expected in KEPT:
        rows = rest.ok("entities/query", asked | {"filter": text, "exprParams": {"area": SQUARE, "key": 4}})
        assert [row["id"] for row in rows] == expected, text
    hits = rest.ok("entities/search", asked | {"data": [[0, 0]], "filter": f"st_within(place, '{SQUARE}')"})
    assert {hit["place"] for hit in hits} == {SHOWN[0], SHOWN[2]}
    code, message = rest.error(
        "entities/insert", {"collectionName": name, "data": [ROWS[0] | {"vector": [0, 0], "place": "x"}]}
    )
    assert "invalid Geometry data" in message
    assert code
    rest.ok("collections/drop", {"collectionName": name})
