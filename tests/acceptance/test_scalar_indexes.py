"""Indexes over values by every way to an engine: made, described, altered, dropped, and never seen in an answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.acceptance.conftest import Sdk
from tests.server.rest_client import Rest

ROWS = 1_500
JSON_PATH = {"json_path": 'meta["price"]', "json_cast_type": "DOUBLE"}
MADE: dict[str, tuple[str, str, dict[str, Any]]] = {
    # index name: (field, type, params)
    "flag": ("flag", "BITMAP", {}),
    "level": ("level", "Asceneding", {}),
    "score": ("score", "STL_SORT", {}),
    "name": ("name", "Trie", {}),
    "title": ("title", "NGRAM", {"min_gram": 2, "max_gram": 3}),
    "tags": ("tags", "INVERTED", {}),
    "when": ("when", "AUTOINDEX", {}),
    "place": ("place", "RTREE", {}),
    "meta/price": ("meta", "INVERTED", JSON_PATH),
    "whole": ("meta", "AUTOINDEX", {"json_cast_type": "JSON"}),
    "color": ("color", "INVERTED", {"json_cast_type": "VARCHAR"}),
}
FILTERS = {
    "flag == true": lambda n: n % 3 == 0,
    "level in [1, 7, 200]": lambda n: n % 50 in (1, 7),
    "score > 1490": lambda n: n > 1490,
    'name like "n-1%"': lambda n: str(n).startswith("1"),
    'title like "%blue 49%"': lambda n: n % 2 == 1 and str(n).startswith("49"),
    'array_contains(tags, "t5")': lambda n: n % 20 == 5,
    'when == ISO "2025-01-01T00:00:07Z"': lambda n: n % 60 == 7,
    "st_within(place, 'POLYGON ((-0.5 -0.5, 3.5 -0.5, 3.5 0.5, -0.5 0.5, -0.5 -0.5))')": lambda n: n % 100 < 4,
    'meta["price"] < 3': lambda n: n < 6,
    'meta["kind"]["name"] == "k3"': lambda n: n % 9 == 3,
    'color == "c4"': lambda n: n % 30 == 4,
    'not (color == "c4") and level == 4': lambda n: n % 30 != 4 and n % 50 == 4,
}


def schema(client: Any, types: Any) -> Any:
    made = client.create_schema(enable_dynamic_field=True)
    made.add_field("id", types.INT64, is_primary=True)
    made.add_field("v", types.FLOAT_VECTOR, dim=2)
    made.add_field("flag", types.BOOL, nullable=True)
    made.add_field("level", types.INT8)
    made.add_field("score", types.DOUBLE)
    made.add_field("name", types.VARCHAR, max_length=40)
    made.add_field("title", types.VARCHAR, max_length=40)
    made.add_field("tags", types.ARRAY, element_type=types.VARCHAR, max_capacity=5, max_length=10)
    made.add_field("when", types.TIMESTAMPTZ)
    made.add_field("place", types.GEOMETRY)
    made.add_field("meta", types.JSON)
    return made


def row(n: int) -> dict[str, Any]:
    return {
        "id": n, "v": [n, 1.0], "flag": n % 3 == 0 if n % 5 else None, "level": n % 50, "score": float(n),
        "name": f"n-{n}", "title": f"{'red' if n % 2 == 0 else 'blue'} {n}", "tags": [f"t{n % 20}", "all"],
        "when": f"2025-01-01T00:00:{n % 60:02}Z", "place": f"POINT ({n % 100} 0)",
        "meta": {"price": n / 2, "kind": {"name": f"k{n % 9}"}}, "color": f"c{n % 30}",
    }  # fmt: skip


def wait_built(client: Any, name: str, index: str) -> dict[str, Any]:
    for _ in range(600):
        found: dict[str, Any] = client.describe_index(name, index)
        if found["state"] == "Finished" and not found["pending_index_rows"]:
            return found
        time.sleep(0.1)
    raise AssertionError(f"index {index} was not built in time")


@pytest.fixture
def filled(client: Any, sdk: Sdk, name: str) -> Iterator[str]:
    """A loaded collection with rows in a sealed segment and some behind it, and no index over values."""
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema(client, sdk.module.DataType), index_params=index)
    client.insert(name, [row(n) for n in range(ROWS - 100)])
    client.flush(name)
    client.insert(name, [row(n) for n in range(ROWS - 100, ROWS)])
    yield name


def create(client: Any, name: str, field: str, kind: str, params: dict[str, Any], index_name: str = "") -> None:
    wanted = client.prepare_index_params()
    wanted.add_index(field, index_type=kind, index_name=index_name, params=params)
    client.create_index(name, wanted)


def kept(client: Any, name: str, text: str) -> list[int]:
    found = client.query(name, filter=text, output_fields=["id"], consistency_level="Strong")
    return sorted(hit["id"] for hit in found)


def test_filters_keep_the_same_rows_before_and_behind_every_index(client: Any, filled: str) -> None:
    right = {text: [n for n in range(ROWS) if test(n)] for text, test in FILTERS.items()}
    right["flag == true"] = [n for n in right["flag == true"] if n % 5]
    assert {text: kept(client, filled, text) for text in FILTERS} == right
    for index, (field, kind, params) in MADE.items():
        create(client, filled, field, kind, params, index if index == "whole" else "")
    assert sorted(client.list_indexes(filled)) == sorted([*MADE, "v"])
    for index, (field, kind, params) in MADE.items():
        found = wait_built(client, filled, index)
        assert found["index_type"] == kind
        assert found["field_name"] == field
        assert found["total_rows"] == found["indexed_rows"] >= ROWS - 100
        assert {key: str(found[key]) for key in params} == {key: str(value) for key, value in params.items()}
    assert {text: kept(client, filled, text) for text in FILTERS} == right
    hits = client.search(filled, data=[[750.0, 1.0]], limit=3, filter='color == "c4"', search_params={})
    assert sorted(hit["id"] for hit in hits[0]) == [724, 754, 784]


def test_an_index_over_values_is_dropped_while_its_collection_is_loaded(client: Any, filled: str) -> None:
    create(client, filled, "level", "BITMAP", {})
    create(client, filled, "meta", "INVERTED", JSON_PATH)
    client.drop_index(filled, "level")
    assert sorted(client.list_indexes(filled)) == ["meta/price", "v"]
    client.drop_index(filled, "meta/price")
    client.drop_index(filled, "meta/price")
    assert client.list_indexes(filled) == ["v"]
    assert kept(client, filled, "level == 7") == [n for n in range(ROWS) if n % 50 == 7]


def test_properties_are_altered_while_the_collection_is_released(client: Any, sdk: Sdk, filled: str) -> None:
    create(client, filled, "level", "BITMAP", {})
    wait_built(client, filled, "level")
    changed = {"indexoffsetcache.enabled": True, "mmap.enabled": False}
    with pytest.raises(sdk.module.MilvusException) as caught:
        client.alter_index_properties(filled, "level", changed)
    assert caught.value.code == 104
    client.release_collection(filled)
    client.alter_index_properties(filled, "level", changed)
    shown = client.describe_index(filled, "level")
    assert {key: str(shown[key]).lower() for key in changed} == {key: str(v).lower() for key, v in changed.items()}
    client.load_collection(filled)
    for _ in range(2):
        assert kept(client, filled, "level == 7") == [n for n in range(ROWS) if n % 50 == 7]


@pytest.mark.parametrize(
    ("field", "kind", "params", "code", "text"),
    [
        ("level", "HYBRID", {}, 1100, "invalid index type: HYBRID"),
        ("score", "BITMAP", {}, 1100, "data type Double can't build with this index BITMAP"),
        ("title", "NGRAM", {"min_gram": 2}, 1100, "Ngram index must specify both min_gram and max_gram"),
        ("meta", "INVERTED", {}, 1101, "json index must specify cast type"),
        ("nothing", "AUTOINDEX", {}, 1100, "cannot create index on non-exist field: nothing"),
        ("level", "INVERTED", {"nlist": 5}, 1100, "index param nlist is not known for index type INVERTED"),
    ],
)
def test_what_is_no_index_is_refused(
    client: Any, sdk: Sdk, name: str, field: str, kind: str, params: dict[str, Any], code: int, text: str
) -> None:
    client.create_collection(name, schema=schema(client, sdk.module.DataType))
    with pytest.raises(sdk.module.MilvusException) as caught:
        create(client, name, field, kind, params)
    assert caught.value.code == code
    assert text in caught.value.message


def test_a_json_field_has_one_index_for_each_path(client: Any, sdk: Sdk, name: str) -> None:
    client.create_collection(name, schema=schema(client, sdk.module.DataType))
    create(client, name, "meta", "INVERTED", JSON_PATH)
    create(client, name, "meta", "INVERTED", JSON_PATH)
    create(client, name, "meta", "INVERTED", {"json_path": 'meta["kind"]', "json_cast_type": "VARCHAR"})
    create(client, name, "color", "AUTOINDEX", {"json_cast_type": "VARCHAR"}, "by_color")
    assert sorted(client.list_indexes(name)) == ["by_color", "meta/kind", "meta/price"]
    with pytest.raises(sdk.module.MilvusException) as caught:
        create(client, name, "meta", "INVERTED", {**JSON_PATH, "json_cast_type": "VARCHAR"}, "again")
    assert "creating multiple indexes on same field is not supported" in caught.value.message


def test_rest_makes_describes_and_drops_them(server: Any) -> None:
    rest, name = Rest(server.uri), "made_by_rest"
    fields = [
        {"fieldName": "id", "dataType": "Int64", "isPrimary": True},
        {"fieldName": "v", "dataType": "FloatVector", "elementTypeParams": {"dim": 2}},
        {"fieldName": "meta", "dataType": "JSON"},
        {"fieldName": "title", "dataType": "VarChar", "elementTypeParams": {"max_length": 30}},
    ]
    indexes = [
        {"fieldName": "v", "metricType": "L2"},
        {"fieldName": "meta", "indexType": "INVERTED", "params": JSON_PATH},
        {"fieldName": "title", "indexName": "grams", "indexType": "NGRAM", "params": {"min_gram": 2, "max_gram": 3}},
    ]
    rest.ok("collections/create", {"collectionName": name, "schema": {"fields": fields}, "indexParams": indexes})
    assert sorted(rest.ok("indexes/list", {"collectionName": name})) == ["grams", "meta/price", "v"]
    (found,) = rest.ok("indexes/describe", {"collectionName": name, "indexName": "meta/price"})
    assert (found["fieldName"], found["indexType"], found["indexState"]) == ("meta", "INVERTED", "Finished")
    assert {"key": "json_cast_type", "value": "DOUBLE"} in found["indexParams"]
    rows = [{"id": n, "v": [n, 0], "meta": {"price": n}, "title": f"title {n}"} for n in range(40)]
    rest.ok("entities/insert", {"collectionName": name, "data": rows})
    asked = {"collectionName": name, "filter": 'title like "%e 3%" and meta["price"] < 32', "limit": 9}
    assert [hit["id"] for hit in rest.ok("entities/query", {**asked, "outputFields": ["id"]})] == [3, 30, 31]
    rest.ok("indexes/drop", {"collectionName": name, "indexName": "grams"})
    assert sorted(rest.ok("indexes/list", {"collectionName": name})) == ["meta/price", "v"]
    rest.ok("collections/drop", {"collectionName": name})
