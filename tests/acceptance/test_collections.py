"""Collections, partitions, aliases, databases, indexes and load states answer alike through every SDK."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.acceptance.conftest import Sdk, plain

DIM = 4


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"id": i, "vector": [float(i)] * DIM, "group": i % 3} for i in range(start, start + count)]


def flat_index(client: Any, **settings: Any) -> Any:
    params = client.prepare_index_params()
    params.add_index(field_name="vector", **({"index_type": "FLAT", "metric_type": "L2"} | settings))
    return params


def load_state(client: Any, name: str, partition: str = "") -> str:
    state = client.get_load_state(name, partition)["state"]
    return str(state.name)


def count(client: Any, name: str, **options: Any) -> int:
    (counted,) = client.query(name, output_fields=["count(*)"], consistency_level="Strong", **options)
    return int(counted["count(*)"])


# -- making them --------------------------------------------------------------------------------
def test_a_collection_made_from_a_dimension_describes_itself(sdk: Sdk, client: Any, name: str) -> None:
    types = sdk.module.DataType
    assert client.create_collection(name, dimension=DIM) is None
    described = client.describe_collection(name)
    ids = described.pop("collection_id"), described.pop("created_timestamp"), described.pop("update_timestamp")
    assert all(isinstance(number, int) and number > 0 for number in ids)
    assert described == {
        "collection_name": name,
        "auto_id": False,
        "num_shards": 1,
        "description": "",
        "fields": [
            {
                "field_id": 100,
                "name": "id",
                "description": "",
                "type": types.INT64,
                "params": {},
                "is_primary": True,
            },
            {"field_id": 101, "name": "vector", "description": "", "type": types.FLOAT_VECTOR, "params": {"dim": DIM}},
        ],
        "functions": [],
        "aliases": [],
        "consistency_level": 2,
        "consistency_level_name": "Bounded",
        "properties": {},
        "num_partitions": 1,
        "enable_dynamic_field": True,
        "enable_namespace": False,
        "schema_version": 0,
    }


def test_a_collection_made_from_a_dimension_takes_its_settings(sdk: Sdk, client: Any, name: str) -> None:
    types = sdk.module.DataType
    client.create_collection(
        name,
        dimension=DIM,
        primary_field_name="key",
        id_type="string",
        vector_field_name="embedding",
        metric_type="IP",
        auto_id=True,
        max_length=32,
        consistency_level="Strong",
    )
    described = client.describe_collection(name)
    key, vector = described["fields"]
    assert (key["name"], key["type"], key["params"], key["auto_id"]) == ("key", types.VARCHAR, {"max_length": 32}, True)
    assert vector["name"] == "embedding"
    assert described["auto_id"] is True
    assert (described["consistency_level"], described["consistency_level_name"]) == (0, "Strong")
    assert client.describe_index(name, "embedding")["metric_type"] == "IP"
    answer = client.insert(name, [{"embedding": [1.0] * DIM}, {"embedding": [2.0] * DIM}])
    assert len(set(answer["ids"])) == 2
    assert all(isinstance(key, str) and key.isdecimal() for key in answer["ids"])


def test_every_setting_of_a_schema_is_described(sdk: Sdk, client: Any, name: str) -> None:
    types = sdk.module.DataType
    schema = sdk.module.MilvusClient.create_schema(
        auto_id=True, enable_dynamic_field=False, description="all of it", partition_key_field="group"
    )
    schema.add_field("key", types.INT64, is_primary=True, description="the key")
    schema.add_field("vector", types.FLOAT_VECTOR, dim=DIM)
    schema.add_field("group", types.VARCHAR, max_length=20)
    schema.add_field("note", types.VARCHAR, max_length=30, nullable=True)
    schema.add_field("size", types.INT32, default_value=7)
    schema.add_field("tags", types.ARRAY, element_type=types.INT16, max_capacity=5)
    schema.add_field("document", types.JSON, nullable=True)
    client.create_collection(name, schema=schema, num_partitions=4, num_shards=2, properties={"mmap.enabled": "true"})
    described = client.describe_collection(name)
    assert described["description"] == "all of it"
    assert described["enable_dynamic_field"] is False
    assert described["num_partitions"] == 4
    assert described["num_shards"] == 2
    assert described["properties"] == {"mmap.enabled": "true"}
    fields = {field["name"]: field for field in described["fields"]}
    assert fields["key"]["auto_id"] is True
    assert fields["key"]["description"] == "the key"
    assert fields["group"]["is_partition_key"] is True
    assert fields["group"]["params"] == {"max_length": 20}
    assert fields["note"]["nullable"] is True
    assert fields["document"]["nullable"] is True
    assert fields["tags"]["element_type"] == types.INT16
    assert fields["tags"]["params"] == {"max_capacity": 5}
    assert [field["field_id"] for field in described["fields"]] == list(range(100, 107))
    default = fields["size"]["default_value"]
    assert (default if sdk.ours else default.int_data) == 7
    assert load_state(client, name) == "NotLoad"


def test_creating_the_same_collection_again_changes_nothing(client: Any, name: str) -> None:
    client.create_collection(name, dimension=DIM)
    client.insert(name, rows(3))
    client.create_collection(name, dimension=DIM)
    assert count(client, name) == 3


def test_collections_are_listed_renamed_and_dropped(client: Any, name: str) -> None:
    assert client.has_collection(name) is False
    client.create_collection(name, dimension=DIM)
    client.insert(name, rows(5))
    assert client.has_collection(name) is True
    assert client.list_collections().count(name) == 1

    renamed = f"{name}_new"
    assert client.rename_collection(name, renamed) is None
    assert client.has_collection(name) is False
    assert client.describe_collection(renamed)["collection_name"] == renamed
    assert count(client, renamed) == 5
    assert client.rename_collection(renamed, name) is None

    assert client.drop_collection(name) is None
    assert client.has_collection(name) is False
    assert name not in client.list_collections()


def test_a_collection_dropped_and_made_anew_under_its_name_is_empty_and_has_its_new_schema(
    client: Any, name: str
) -> None:
    client.create_collection(name, dimension=DIM)
    client.insert(name, rows(5))
    client.drop_collection(name)
    client.create_collection(name, dimension=2 * DIM, id_type="string", max_length=8)
    assert count(client, name) == 0
    client.insert(name, [{"id": "a", "vector": [1.0] * 2 * DIM}])
    assert client.get(name, ["a"])[0]["vector"] == [1.0] * 2 * DIM


def test_truncation_empties_a_collection_and_keeps_all_else(client: Any, name: str) -> None:
    client.create_collection(name, dimension=DIM)
    client.create_partition(name, "p")
    client.insert(name, rows(5))
    client.insert(name, rows(5, 5), partition_name="p")
    client.flush(name)
    client.insert(name, rows(5, 10))
    assert client.truncate_collection(name) is None
    assert count(client, name) == 0
    assert list(client.search(name, [[1.0] * DIM])[0]) == []
    assert sorted(client.list_partitions(name)) == ["_default", "p"]
    assert client.list_indexes(name) == ["vector"]
    assert load_state(client, name) == "Loaded"
    client.insert(name, rows(2))
    assert count(client, name) == 2


def test_statistics_count_the_rows(client: Any, name: str) -> None:
    client.create_collection(name, dimension=DIM)
    assert client.get_collection_stats(name) == {"row_count": 0}
    client.insert(name, rows(7))
    client.flush(name)
    assert client.get_collection_stats(name) == {"row_count": 7}


# -- partitions and aliases -----------------------------------------------------------------------
def test_partitions_hold_their_own_rows(client: Any, name: str) -> None:
    client.create_collection(name, dimension=DIM)
    assert client.list_partitions(name) == ["_default"]
    assert client.create_partition(name, "red") is None
    client.create_partition(name, "blue-2")
    client.create_partition(name, "red")
    assert sorted(client.list_partitions(name)) == ["_default", "blue-2", "red"]
    assert client.has_partition(name, "red") is True
    assert client.has_partition(name, "green") is False

    client.insert(name, rows(3))
    client.insert(name, rows(4, 10), partition_name="red")
    client.insert(name, rows(5, 20), partition_name="blue-2")
    assert count(client, name) == 12
    assert count(client, name, partition_names=["red"]) == 4
    assert count(client, name, partition_names=["red", "_default"]) == 7
    (hits,) = client.search(name, [[1.0] * DIM], limit=20, partition_names=["blue-2"])
    assert sorted(hits.ids) == list(range(20, 25))
    assert [row["id"] for row in client.get(name, [1, 11], partition_names=["red"])] == [11]
    assert int(client.get_partition_stats(name, "red")["row_count"]) == 4

    assert plain(client.delete(name, filter="id >= 0", partition_name="red")) == {"delete_count": 4}
    assert count(client, name) == 8
    client.release_partitions(name, ["blue-2"])
    assert client.drop_partition(name, "blue-2") is None
    assert sorted(client.list_partitions(name)) == ["_default", "red"]
    assert count(client, name) == 3


def test_rows_find_their_partition_by_the_partition_key(sdk: Sdk, client: Any, name: str) -> None:
    types = sdk.module.DataType
    schema = sdk.module.MilvusClient.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=DIM)
    schema.add_field("group", types.INT64, is_partition_key=True)
    client.create_collection(name, schema=schema, index_params=flat_index(client))
    assert client.list_partitions(name) == [f"_default_{i}" for i in range(16)]
    client.insert(name, rows(30))
    assert count(client, name) == 30
    assert count(client, name, filter="group == 1") == 10
    (hits,) = client.search(name, [[0.0] * DIM], limit=4, filter="group in [2]")
    assert list(hits.ids) == [2, 5, 8, 11]
    with pytest.raises(sdk.module.MilvusException, match="not support manually specifying the partition names"):
        client.search(name, [[0.0] * DIM], partition_names=["_default_0"])
    with pytest.raises(sdk.module.MilvusException, match="disable create partition if partition key mode is used"):
        client.create_partition(name, "p")


def test_an_alias_stands_for_its_collection(sdk: Sdk, client: Any, name: str) -> None:
    alias, other = f"alias_{name}", f"other_{name}"
    client.create_collection(name, dimension=DIM)
    client.create_collection(other, dimension=DIM)
    client.insert(other, rows(1))
    assert client.create_alias(name, alias) is None
    assert client.has_collection(alias) is True
    client.insert(alias, rows(3))
    assert count(client, alias) == 3
    assert client.search(alias, [[2.0] * DIM], limit=1)[0][0]["id"] in (1, 2)
    assert client.describe_collection(alias)["collection_name"] == name
    assert client.describe_collection(name)["aliases"] == [alias]
    assert client.describe_alias(alias) == {"alias": alias, "collection_name": name, "db_name": "default"}
    assert client.list_aliases(name) == {"aliases": [alias], "collection_name": name, "db_name": "default"}
    assert alias in client.list_aliases()["aliases"]

    assert client.alter_alias(other, alias) is None
    assert count(client, alias) == 1
    assert client.list_aliases(name)["aliases"] == []
    with pytest.raises(sdk.module.MilvusException) as caught:
        client.create_alias(name, alias)
    assert caught.value.code == 1602
    assert client.drop_alias(alias) is None
    assert client.has_collection(alias) is False
    client.drop_collection(other)


# -- loading and indexes ----------------------------------------------------------------------------
def test_a_load_of_low_priority_comes_to_its_end(client: Any, sdk: Sdk, name: str) -> None:
    client.create_collection(name, dimension=DIM)
    client.create_partition(name, "p")
    client.insert(name, rows(3), partition_name="p")
    client.release_collection(name)
    assert client.load_partitions(name, ["p"], priority="LOW") is None
    assert (load_state(client, name, "p"), load_state(client, name, "_default")) == ("Loaded", "NotLoad")
    assert client.load_collection(name, priority="low") is None
    assert (load_state(client, name, "_default"), count(client, name)) == ("Loaded", 3)
    with pytest.raises(sdk.module.MilvusException, match="HIGH"):
        client.load_collection(name, priority="soon")


def test_a_collection_is_loaded_and_released(client: Any, name: str) -> None:
    assert load_state(client, name) == "NotExist"
    client.create_collection(name, dimension=DIM)
    client.create_partition(name, "p")
    assert load_state(client, name) == "Loaded"
    client.insert(name, rows(3), partition_name="p")
    assert client.release_collection(name) is None
    assert load_state(client, name) == "NotLoad"
    client.insert(name, rows(3, 3), partition_name="p")
    assert client.load_partitions(name, ["p"]) is None
    assert load_state(client, name, "p") == "Loaded"
    assert load_state(client, name, "_default") == "NotLoad"
    assert count(client, name) == 6
    assert client.release_partitions(name, ["p"]) is None
    assert load_state(client, name, "p") == "NotLoad"
    assert client.load_collection(name) is None
    assert client.refresh_load(name) is None
    assert load_state(client, name) == "Loaded"
    assert count(client, name) == 6


@pytest.mark.parametrize("index_type", ["FLAT", "HNSW", "AUTOINDEX"])
@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
def test_an_index_is_created_described_and_dropped(
    index_type: str, metric: str, sdk: Sdk, client: Any, name: str
) -> None:
    schema = sdk.module.MilvusClient.create_schema()
    schema.add_field("id", sdk.module.DataType.INT64, is_primary=True)
    schema.add_field("vector", sdk.module.DataType.FLOAT_VECTOR, dim=DIM)
    client.create_collection(name, schema=schema)
    assert client.list_indexes(name) == []
    settings = {"params": {"M": 8, "efConstruction": 64}} if index_type == "HNSW" else {}
    params = flat_index(client, index_type=index_type, metric_type=metric, index_name="mine", **settings)
    assert client.create_index(name, params) is None
    assert client.list_indexes(name) == ["mine"]
    assert client.list_indexes(name, field_name="vector") == ["mine"]
    assert client.list_indexes(name, field_name="id") == []
    client.insert(name, [{"id": i, "vector": [float(i), 1.0, 0.0, 0.0]} for i in range(5)])
    client.flush(name)

    described = client.describe_index(name, "mine")
    expected = {
        "index_type": index_type,
        "metric_type": metric,
        "field_name": "vector",
        "index_name": "mine",
        "total_rows": 5,
        "indexed_rows": 5,
        "pending_index_rows": 0,
        "state": "Finished",
    }
    if index_type == "HNSW":
        expected |= {"M": "8", "efConstruction": "64"}
    assert {key: described.get(key) for key in expected} == expected
    # Servers differ in what more they tell; SDKs must not.
    assert described.keys() - expected.keys() <= {"mmap.enabled", "user_index_type", "index_param_storage"}

    client.load_collection(name)
    (hits,) = client.search(name, [[4.0, 1.0, 0.0, 0.0]], limit=2, search_params={"metric_type": metric})
    assert hits[0]["id"] == 4
    client.release_collection(name)
    assert client.drop_index(name, "mine") is None
    assert client.list_indexes(name) == []
    assert client.describe_index(name, "mine") is None


# -- databases and the server -------------------------------------------------------------------------
@pytest.fixture
def books(client: Any) -> Iterator[str]:
    assert client.create_database("books") is None
    yield "books"
    client.use_database("default")
    client.drop_database("books")


def test_databases_are_apart(sdk: Sdk, client: Any, name: str, books: str) -> None:
    assert sorted(client.list_databases()) == ["books", "default"]
    assert client.describe_database("books")["name"] == "books"
    client.create_collection(name, dimension=DIM)
    client.insert(name, rows(3))

    assert client.use_database(books) is None
    assert client.has_collection(name) is False
    assert client.list_collections() == []
    client.create_collection(name, dimension=DIM)
    client.insert(name, rows(1))
    assert count(client, name) == 1
    with pytest.raises(sdk.module.MilvusException, match="books not empty, must drop all collections") as caught:
        client.drop_database(books)
    assert caught.value.code == 1100

    other = sdk.connect(db_name=books)
    assert other.list_collections() == [name]
    other.drop_collection(name)
    other.close()
    client.use_database("default")
    assert count(client, name) == 3
    with pytest.raises(sdk.module.MilvusException) as caught:
        client.create_database(books)
    assert caught.value.code == 1100
    with pytest.raises(sdk.module.MilvusException, match="can not drop default database"):
        client.drop_database("default")


def test_a_collection_moves_to_another_database(sdk: Sdk, client: Any, name: str, books: str) -> None:
    client.create_collection(name, dimension=DIM)
    client.insert(name, rows(3))
    client.rename_collection(name, name, target_db=books)
    assert client.has_collection(name) is False
    client.use_database(books)
    assert count(client, name) == 3
    client.drop_collection(name)


def test_the_server_tells_what_it_is(sdk: Sdk, client: Any) -> None:
    assert client.get_server_type() == "milvus"
    version = client.get_server_version()
    assert isinstance(version, str)
    assert version
    detail = client.get_server_version(detail=True)
    assert set(detail) >= {"version", "build_time", "git_commit", "go_version", "deploy_mode"}
    assert detail["version"] == version


def test_flushing_says_when_it_is_done(sdk: Sdk, client: Any, name: str) -> None:
    client.create_collection(name, dimension=DIM)
    client.insert(name, rows(10))
    assert client.flush(name) is None
    client.insert(name, rows(10, 10))
    assert client.flush_all() is None
    if sdk.ours:  # pymilvus forgets an argument of its own here
        assert client.get_flush_all_state() is True
    assert count(client, name) == 20


def test_a_closed_client_leaves_another_one_working(sdk: Sdk, client: Any, name: str) -> None:
    client.create_collection(name, dimension=DIM)
    other = sdk.connect()
    other.insert(name, rows(2))
    other.close()
    other.close()
    assert count(client, name) == 2
    if sdk.ours:
        with sdk.connect() as third:
            assert count(third, name) == 2
