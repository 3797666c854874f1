"""Fields and properties of a full collection change alike through every SDK."""

from __future__ import annotations

from typing import Any

import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk
from tests.servers import ProcessServer

from redkite import errors

DIM = 4


def make(sdk: Sdk, client: Any, name: str, *, dynamic: bool = False, **fields: Any) -> None:
    """A loaded collection of four rows, two of them flushed."""
    types = sdk.module.DataType
    schema = client.create_schema(enable_dynamic_field=dynamic)
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=DIM)
    schema.add_field("word", types.VARCHAR, max_length=8, nullable=True)
    schema.add_field("tags", types.ARRAY, element_type=types.INT64, max_capacity=2, nullable=True)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    client.insert(name, [row(0), row(1)])
    client.flush(name)
    client.insert(name, [row(2), row(3)])


def row(key: int, **more: Any) -> dict[str, Any]:
    return {"id": key, "vector": [float(key)] * DIM, "word": f"w{key}", "tags": [key]} | more


def rows(client: Any, name: str, *fields: str, where: str = "id >= 0") -> list[dict[str, Any]]:
    found = client.query(name, filter=where, output_fields=list(fields) or ["*"], consistency_level="Strong")
    return sorted((dict(r) for r in found), key=lambda r: r["id"])


def refused(sdk: Sdk, code: int, call: Any, *arguments: Any, **more: Any) -> str:
    with pytest.raises(sdk.module.MilvusException) as caught:
        call(*arguments, **more)
    assert caught.value.code == code, caught.value
    return str(caught.value.message)


# -- fields -------------------------------------------------------------------------------------
def test_an_added_field_has_its_default_or_null_in_old_rows(sdk: Sdk, client: Any, name: str) -> None:
    types = sdk.module.DataType
    make(sdk, client, name)
    client.add_collection_field(name, "price", types.INT64, nullable=True, default_value=5)
    client.add_collection_field(name, "note", types.VARCHAR, "what is noted", nullable=True, max_length=20)
    assert rows(client, name, "price", "note") == [{"id": i, "price": 5, "note": None} for i in range(4)]
    client.insert(name, [row(4, price=9, note="new"), row(5)])
    client.upsert(name, [row(1, price=7, note=None)])
    assert [(r["price"], r["note"]) for r in rows(client, name)] == [
        (5, None), (7, None), (5, None), (5, None), (9, "new"), (5, None),
    ]  # fmt: skip
    assert [r["id"] for r in rows(client, name, "id", where="price > 5")] == [1, 4]
    assert [r["id"] for r in rows(client, name, "id", where="note is null and price == 5")] == [0, 2, 3, 5]
    (hits,) = client.search(name, [[4.0] * DIM], limit=2, filter="price > 5", output_fields=["note"])
    assert [(h["id"], h["entity"]["note"]) for h in hits] == [(4, "new"), (1, None)]
    fields = {f["name"]: f for f in client.describe_collection(name)["fields"]}
    assert fields["note"]["description"] == "what is noted"
    assert (fields["price"]["field_id"], fields["note"]["field_id"]) == (104, 105)
    assert client.describe_collection(name)["schema_version"] == 2


@pytest.mark.parametrize(
    ("kind", "settings", "default", "where"),
    [
        ("BOOL", {}, True, "f == true"),
        ("INT8", {}, -3, "f == -3"),
        ("INT32", {}, 1 << 20, "f > 1000"),
        ("FLOAT", {}, 0.5, "f == 0.5"),
        ("DOUBLE", {}, 0.1, "f == 0.1"),
        ("VARCHAR", {"max_length": 9}, "ßx", "f like 'ß%'"),
        ("TIMESTAMPTZ", {}, "2025-01-01T00:00:00Z", "f == ISO '2025-01-01T00:00:00Z'"),
        ("JSON", {}, None, "f is null"),
        ("ARRAY", {"max_capacity": 3, "element_type": "INT32"}, None, "f is null"),
    ],
)
def test_fields_of_every_scalar_type_can_be_added(
    sdk: Sdk, client: Any, name: str, kind: str, settings: dict[str, Any], default: Any, where: str
) -> None:
    types = sdk.module.DataType
    make(sdk, client, name)
    more = {k: types[v] if k == "element_type" else v for k, v in settings.items()}
    if default is not None:
        more["default_value"] = default
    client.add_collection_field(name, "f", types[kind], nullable=True, **more)
    assert [r["f"] for r in rows(client, name, "f")] == [default] * 4
    assert len(rows(client, name, "id", where=where)) == 4


def test_a_dropped_field_is_gone_and_its_name_is_free(sdk: Sdk, client: Any, name: str) -> None:
    types = sdk.module.DataType
    make(sdk, client, name)
    client.drop_collection_field(name, "word")
    assert [set(r) for r in rows(client, name)] == [{"id", "vector", "tags"}] * 4
    assert "field word not exist" in refused(sdk, 1100, client.query, name, filter="id >= 0", output_fields=["word"])
    refused(sdk, 1100, client.query, name, filter="word == 'w1'")
    client.add_collection_field(name, "word", types.INT64, nullable=True)
    client.insert(name, [row(4, word=44)])
    assert [r["word"] for r in rows(client, name, "word")] == [None] * 4 + [44]
    client.flush(name)
    client.release_collection(name)
    client.load_collection(name)
    assert [r["word"] for r in rows(client, name, "word")] == [None] * 4 + [44]
    fields = {f["name"]: f["field_id"] for f in client.describe_collection(name)["fields"]}
    assert fields == {"id": 100, "vector": 101, "tags": 103, "word": 104}
    client.drop_collection_field(name, field_id=103)
    assert "tags" not in rows(client, name)[0]


def test_what_cannot_be_added_or_dropped_is_refused_in_milvus_words(sdk: Sdk, client: Any, name: str) -> None:
    types = sdk.module.DataType
    make(sdk, client, name)
    text = refused(sdk, 1100, client.add_collection_field, name, "n", types.INT64, nullable=False)
    assert "added field must be nullable, please check it, field name = n" in text
    text = refused(sdk, 1100, client.add_collection_field, name, "word", types.INT64, nullable=True)
    assert "duplicated field name word" in text
    refused(sdk, 1701, client.add_collection_field, name, "no way", types.INT64, nullable=True)
    assert "cannot drop primary key field: id" in refused(sdk, 1100, client.drop_collection_field, name, "id")
    assert "cannot drop the last vector field: vector" in refused(
        sdk, 1100, client.drop_collection_field, name, "vector"
    )
    assert "field not found: f" in refused(sdk, 1700, client.drop_collection_field, name, "f")
    refused(sdk, 100, client.add_collection_field, name + "x", "n", types.INT64, nullable=True)


def test_params_of_a_field_change(sdk: Sdk, client: Any, name: str) -> None:
    make(sdk, client, name)
    long = row(9, word="much longer", tags=[1, 2, 3])
    refused(sdk, 1100, client.insert, name, [long])
    client.alter_collection_field(name, "word", {"max_length": 16, "field.description": "a word"})
    client.alter_collection_field(name, "tags", {"max_capacity": 3})
    client.insert(name, [long])
    fields = {f["name"]: f for f in client.describe_collection(name)["fields"]}
    assert (fields["word"]["params"], fields["word"]["description"]) == ({"max_length": 16}, "a word")
    assert fields["tags"]["params"] == {"max_capacity": 3}
    text = refused(sdk, 1100, client.alter_collection_field, name, "word", {"colour": "red"})
    assert "colour does not allow update in collection field param" in text
    text = refused(sdk, 104, client.alter_collection_field, name, "word", {"mmap.enabled": True})
    assert "can not alter mmap properties if collection loaded" in text
    client.release_collection(name)
    client.alter_collection_field(name, "word", {"mmap.enabled": True})
    assert {f["name"]: f for f in client.describe_collection(name)["fields"]}["word"]["params"]["mmap_enabled"] is True


# -- properties ---------------------------------------------------------------------------------
def test_properties_are_set_dropped_and_refused(sdk: Sdk, client: Any, name: str) -> None:
    make(sdk, client, name)
    client.alter_collection_properties(name, {"collection.ttl.seconds": 600, "timezone": "Asia/Tokyo"})
    assert client.describe_collection(name)["properties"] == {"collection.ttl.seconds": "600", "timezone": "Asia/Tokyo"}
    client.drop_collection_properties(name, ["collection.ttl.seconds"])
    assert client.describe_collection(name)["properties"] == {"timezone": "Asia/Tokyo"}
    client.alter_collection_properties(name, {"collection.description": "all of it"})
    assert client.describe_collection(name)["description"] == "all of it"
    text = refused(sdk, 10, client.alter_collection_properties, name, {"query_mode": "large_topk"})
    assert "query_mode is not built in this version" in text
    text = refused(sdk, 1100, client.alter_collection_properties, name, {"partitionkey.isolation": True})
    assert "no partition key field is set" in text
    text = refused(sdk, 1100, client.alter_collection_properties, name, {"collection.colour": "red"})
    assert "unknown collection property collection.colour" in text
    refused(sdk, 104, client.alter_collection_properties, name, {"mmap.enabled": True})
    refused(sdk, 1100, client.drop_collection_properties, name, ["collection.colour"])


def test_what_a_user_writes_on_a_collection_or_database_is_kept_and_shown(sdk: Sdk, client: Any, name: str) -> None:
    client.create_collection(name, dimension=2, properties={"team": "birds", "owner.mail": "a@b.example"})
    assert client.describe_collection(name)["properties"] == {"team": "birds", "owner.mail": "a@b.example"}
    client.alter_collection_properties(name, {"team": "fish", "größe": 3})
    client.drop_collection_properties(name, ["owner.mail", "never"])
    assert client.describe_collection(name)["properties"] == {"team": "fish", "größe": "3"}
    client.create_database(name, properties={"team": "birds"})
    client.alter_database_properties(name, {"since": 2024})
    described = client.describe_database(name)
    assert (described["team"], described["since"]) == ("birds", "2024")
    client.drop_database_properties(name, ["team"])
    assert "team" not in client.describe_database(name)
    refused(sdk, 1100, client.alter_database_properties, name, {"database.colour": "red"})
    client.drop_database(name)


def test_under_isolation_each_search_is_for_one_value_of_the_partition_key(sdk: Sdk, client: Any, name: str) -> None:
    types = sdk.module.DataType
    schema = client.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("v", types.FLOAT_VECTOR, dim=2)
    schema.add_field("tenant", types.VARCHAR, max_length=9, is_partition_key=True)
    index = client.prepare_index_params()
    index.add_index("v", metric_type="L2", index_type="FLAT")
    client.create_collection(name, schema=schema, index_params=index, properties={"partitionkey.isolation": True})
    assert client.describe_collection(name)["properties"]["partitionkey.isolation"].lower() == "true"
    client.insert(name, [{"id": n, "v": [n, 0], "tenant": "ab"[n % 2]} for n in range(6)])

    def found(filter: str) -> list[int]:
        hits = client.search(name, [[0.0, 0.0]], anns_field="v", limit=9, filter=filter, consistency_level="Strong")
        return [hit["id"] for hit in hits[0]]

    assert found('tenant == "a" and id > 0') == [2, 4]
    assert found('tenant == "nobody"') == []
    for filter in ("", "id > 0", 'tenant != "a"', 'tenant == "a" or id > 0'):
        assert "partition key not found in expr" in refused(sdk, 1100, found, filter), filter
    for filter in ('tenant in ["a", "b"]', 'tenant == "a" or tenant == "b"'):
        assert "does not support more than one value of tenant, got 2" in refused(sdk, 1100, found, filter), filter
    both = [sdk.module.AnnSearchRequest([[0.0, 0.0]], "v", {}, 3, expr=e) for e in ('tenant == "a"', "id > 0")]
    refused(sdk, 1100, client.hybrid_search, name, both, sdk.module.RRFRanker(), limit=3)
    assert len(client.query(name, filter="id >= 0")) == 6, "queries may look at all"
    client.alter_collection_properties(name, {"partitionkey.isolation": False})
    assert found("id >= 0") == [0, 1, 2, 3, 4, 5]


def test_what_is_said_like_properties_may_be_said_at_once(client: Any, sdk: Sdk, name: str) -> None:
    schema = client.create_schema(enable_dynamic_field=False)
    schema.add_field("id", sdk.module.DataType.INT64, is_primary=True)
    schema.add_field("v", sdk.module.DataType.FLOAT_VECTOR, dim=2)
    said = {"collection.description": "birds", "consistency_level": "Strong", "dynamicfield.enabled": True}
    client.create_collection(name, schema=schema, properties=said)
    described = client.describe_collection(name)
    assert (described["description"], described["consistency_level_name"]) == ("birds", "Strong")
    assert (described["enable_dynamic_field"], described["properties"]) == (True, {})


def test_the_dynamic_field_can_be_turned_on_later(sdk: Sdk, client: Any, name: str) -> None:
    make(sdk, client, name)
    client.alter_collection_properties(name, {"dynamicfield.enabled": True})
    assert client.describe_collection(name)["enable_dynamic_field"] is True
    other = sdk.connect()  # its own cache of schemas
    other.insert(name, [row(4, colour="red")])
    other.close()
    assert rows(client, name, "colour", where="colour == 'red'") == [{"id": 4, "colour": "red"}]
    assert [r["id"] for r in rows(client, name, "id")] == [0, 1, 2, 3, 4]
    assert "colour" not in rows(client, name)[0]


def test_a_dynamic_key_that_becomes_a_field_is_hidden_by_it(sdk: Sdk, client: Any, name: str) -> None:
    make(sdk, client, name, dynamic=True)
    client.insert(name, [row(4, colour="red", size=3)])
    client.add_collection_field(name, "colour", sdk.module.DataType.INT64, nullable=True)
    assert rows(client, name, "colour", "size", where="id == 4") == [{"id": 4, "colour": None, "size": 3}]
    assert rows(client, name, "id", where="$meta['colour'] == 'red'") == [{"id": 4}]
    client.upsert(name, [{"id": 4, "colour": 7}], partial_update=True)
    assert rows(client, name, "colour", "size", where="colour == 7") == [{"id": 4, "colour": 7, "size": 3}]


def test_properties_of_a_database_change(sdk: Sdk, client: Any, name: str) -> None:
    client.create_database(name)
    try:
        client.alter_database_properties(name, {"timezone": "Asia/Tokyo"})
        assert client.describe_database(name)["timezone"] == "Asia/Tokyo"
        client.drop_database_properties(name, ["timezone"])
        assert "timezone" not in client.describe_database(name)
        refused(sdk, 1100, client.alter_database_properties, name, {"database.no.such.thing": 2})
    finally:
        client.drop_database(name)


# -- clients that do not know yet ---------------------------------------------------------------
def test_a_client_with_an_old_schema_learns_the_new_one_by_writing(sdk: Sdk, client: Any, name: str) -> None:
    types = sdk.module.DataType
    make(sdk, client, name, dynamic=True)
    old = sdk.connect()
    old.insert(name, [row(10)])
    client.add_collection_field(name, "price", types.INT64, nullable=True, default_value=5)
    old.insert(name, [row(11, price=6)])
    client.drop_collection_field(name, "word")
    old.insert(name, [row(12)])  # `word` is a dynamic key now
    old.upsert(name, [row(10, price=8)])
    old.close()
    assert [(r["id"], r["price"]) for r in rows(client, name, "price", where="id >= 10")] == [(10, 8), (11, 6), (12, 5)]
    assert rows(client, name, "word", where="word == 'w12'") == [{"id": 12, "word": "w12"}]


@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
async def test_the_awaited_client_changes_fields_and_properties(sdk: Sdk, client: Any, name: str) -> None:
    types = sdk.module.DataType
    make(sdk, client, name)
    awaited = sdk.connect_async()
    try:
        await awaited.add_collection_field(name, "price", types.INT64, default_value=5)
        await awaited.alter_collection_field(name, "word", {"max_length": 20})
        await awaited.alter_collection_properties(name, {"collection.ttl.seconds": 60})
        await awaited.drop_collection_properties(name, ["collection.ttl.seconds"])
        await awaited.drop_collection_field(name, "tags")
        await awaited.insert(name, [{"id": 8, "vector": [0.0] * DIM, "price": 6}])
        found = await awaited.query(name, filter="price == 6", output_fields=["*"])
        assert [set(r) for r in found] == [{"id", "vector", "word", "price"}]
        await awaited.create_database(name)
        await awaited.alter_database_properties(name, {"timezone": "UTC"})
        await awaited.drop_database_properties(name, ["timezone"])
        await awaited.drop_database(name)
    finally:
        await awaited.close()


@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
def test_settings_that_no_field_has_are_refused_by_the_sdk(sdk: Sdk, client: Any, name: str) -> None:
    types = sdk.module.DataType
    make(sdk, client, name)
    with pytest.raises(errors.ParamError, match="unexpected argument `lenght`"):
        client.add_collection_field(name, "f", types.VARCHAR, lenght=3)
    with pytest.raises(errors.ParamError, match="either field_name or field_id"):
        client.drop_collection_field(name)
    client.add_collection_field(name, "f", types.INT64)  # nullable unless told otherwise
    assert [r["f"] for r in rows(client, name, "f")] == [None] * 4


def test_old_pymilvus_adds_a_field_by_its_own_call(server: ProcessServer, name: str, client: Any, sdk: Sdk) -> None:
    """`AddCollectionField`, which pymilvus 2.6 sends and pymilvus 3 falls back to."""
    from pymilvus import DataType, MilvusClient
    from pymilvus.client.prepare import Prepare

    if sdk.embedded:
        pytest.skip("needs the wire")
    make(sdk, client, name)
    raw = MilvusClient(uri=server.uri)
    field = raw.create_field_schema("price", DataType.INT64, nullable=True)
    stub = raw._get_connection()._stub
    assert stub.AddCollectionField(Prepare.add_collection_field_request(name, field)).code == 0
    raw.close()
    assert [r["price"] for r in rows(client, name, "price")] == [None] * 4
