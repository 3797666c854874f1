"""The first programs a person runs, as they stand in Milvus's documentation, with each SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk, plain

SUBJECTS = ("history", "history", "biology")
TEXTS = (
    "Artificial intelligence was founded as an academic discipline in 1956.",
    "Alan Turing was the first person to conduct substantial research in AI.",
    "Born in Maida Vale, London, Turing was raised in southern England.",
)
ROWS = 20_000
BATCH = 1_000


@pytest.fixture(autouse=True)
def fresh(client: Any) -> Iterator[None]:
    """The names in the quickstarts are fixed, so what an earlier test left under them goes first."""
    for collection in ("example_collection", "test_collection", "demo_collection"):
        client.drop_collection(collection)
    yield


def test_a_collection_with_schema_and_index_is_created_indexed_and_loaded_in_one_call(sdk: Sdk) -> None:
    types = sdk.module.DataType
    client = sdk.module.MilvusClient(uri=sdk.uri)
    schema = sdk.module.MilvusClient.create_schema(auto_id=False, description="an example")
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("embedding", types.FLOAT_VECTOR, dim=128)
    index_params = client.prepare_index_params()
    index_params.add_index(field_name="embedding", index_type="AUTOINDEX", metric_type="L2")
    client.create_collection(collection_name="example_collection", schema=schema, index_params=index_params)

    assert client.get_load_state("example_collection")["state"].name == "Loaded"
    described = client.describe_collection("example_collection")
    assert described["description"] == "an example"
    assert [(f["name"], f["type"]) for f in described["fields"]] == [
        ("id", types.INT64),
        ("embedding", types.FLOAT_VECTOR),
    ]
    (index,) = client.list_indexes("example_collection")
    about = client.describe_index("example_collection", index)
    assert (about["index_type"], about["metric_type"], about["field_name"]) == ("AUTOINDEX", "L2", "embedding")
    vectors = np.random.default_rng(1).random((50, 128), np.float32)
    client.insert("example_collection", [{"id": i, "embedding": v.tolist()} for i, v in enumerate(vectors)])
    (hits,) = client.search("example_collection", data=[vectors[7].tolist()], limit=3, consistency_level="Strong")
    assert hits[0]["id"] == 7
    assert hits[0]["distance"] == pytest.approx(0, abs=1e-5)
    client.close()


def test_a_collection_with_a_dimension_alone_is_created_indexed_and_loaded(sdk: Sdk) -> None:
    client = sdk.module.MilvusClient(uri=sdk.uri)
    client.create_collection(collection_name="test_collection", dimension=128)

    assert client.get_load_state("test_collection")["state"].name == "Loaded"
    described = client.describe_collection("test_collection")
    assert described["enable_dynamic_field"] is True
    assert [f["name"] for f in described["fields"]] == ["id", "vector"]
    (index,) = client.list_indexes("test_collection")
    assert client.describe_index("test_collection", index)["metric_type"] == "COSINE"
    client.close()


def test_batches_are_inserted_by_an_asynchronous_client_with_gather(sdk: Sdk, client: Any) -> None:
    client.create_collection(collection_name="test_collection", dimension=128)
    vectors = np.random.default_rng(2).random((ROWS, 128), np.float32)

    async def insert_all() -> list[dict[str, Any]]:
        writer = sdk.module.AsyncMilvusClient(uri=sdk.uri)
        listed = vectors.tolist()
        batches = [
            [{"id": i, "vector": listed[i]} for i in range(start, start + BATCH)] for start in range(0, ROWS, BATCH)
        ]
        answers = await asyncio.gather(*(writer.insert("test_collection", batch) for batch in batches))
        await writer.close()
        return list(answers)

    answers = asyncio.run(insert_all())
    assert [answer["insert_count"] for answer in answers] == [BATCH] * (ROWS // BATCH)
    (counted,) = client.query("test_collection", output_fields=["count(*)"], consistency_level="Strong")
    assert counted["count(*)"] == ROWS
    picked = (0, 777, ROWS - 1)
    found = client.search("test_collection", data=[vectors[i].tolist() for i in picked], limit=1)
    assert [hits[0]["id"] for hits in found] == list(picked)


@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
def test_columns_in_schema_order_are_inserted_by_an_asynchronous_client_built_outside_a_loop(
    sdk: Sdk, client: Any
) -> None:
    client.create_collection(collection_name="test_collection", dimension=128)
    ids = np.arange(ROWS)
    vectors = np.random.default_rng(3).random((ROWS, 128), np.float32)
    writer = sdk.module.AsyncMilvusClient(uri=sdk.uri)

    async def insert_all() -> None:
        starts = range(0, ROWS, BATCH)
        data = [[ids[start : start + BATCH], vectors[start : start + BATCH]] for start in starts]
        data[0] = [data[0][0].tolist(), data[0][1].tolist()]
        answers = await asyncio.gather(*(writer.insert("test_collection", data=columns) for columns in data))
        assert [answer["insert_count"] for answer in answers] == [BATCH] * len(data)
        await writer.close()

    asyncio.run(insert_all())
    (counted,) = client.query("test_collection", output_fields=["count(*)"])
    assert counted["count(*)"] == ROWS
    found = client.search("test_collection", data=vectors[[0, 4321]], limit=1)
    assert [hits[0]["id"] for hits in found] == [0, 4321]


def test_the_demo_of_a_local_file_searches_queries_deletes_and_reopens(
    sdk: Sdk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    uri = "milvus_demo.db" if sdk.embedded else sdk.uri
    client = sdk.module.MilvusClient(uri)
    if client.has_collection(collection_name="demo_collection"):
        client.drop_collection(collection_name="demo_collection")
    client.create_collection(collection_name="demo_collection", dimension=768)
    vectors = np.random.default_rng(4).uniform(-1, 1, (len(TEXTS), 768))
    data = [
        {"id": i, "vector": vectors[i].tolist(), "text": TEXTS[i], "subject": SUBJECTS[i]} for i in range(len(TEXTS))
    ]
    answer = client.insert(collection_name="demo_collection", data=data)
    assert plain(answer) == {"insert_count": 3, "ids": [0, 1, 2]}

    query = [vectors[1].tolist()]
    found = client.search(collection_name="demo_collection", data=query, limit=2, output_fields=["text", "subject"])
    assert len(found) == 1
    assert len(found[0]) == 2
    assert found[0][0] == {
        "id": 1,
        "distance": pytest.approx(1, abs=1e-5),
        "entity": {"text": TEXTS[1], "subject": "history"},
    }
    assert found[0][0]["distance"] > found[0][1]["distance"]

    found = client.search(
        collection_name="demo_collection",
        data=query,
        filter="subject == 'biology'",
        limit=2,
        output_fields=["text", "subject"],
    )
    assert [(hit["id"], hit["entity"]["text"]) for hit in found[0]] == [(2, TEXTS[2])]

    rows = client.query(
        collection_name="demo_collection", filter="subject == 'history'", output_fields=["text", "subject"]
    )
    assert list(rows) == [{"id": i, "text": TEXTS[i], "subject": "history"} for i in (0, 1)]
    rows = client.query(collection_name="demo_collection", ids=[0, 2], output_fields=["vector", "text", "subject"])
    assert [row["id"] for row in rows] == [0, 2]
    np.testing.assert_array_equal(np.float32([row["vector"] for row in rows]), np.float32(vectors[[0, 2]]))

    assert plain(client.delete(collection_name="demo_collection", ids=[0, 2])) == {"delete_count": 2}
    answer = client.delete(collection_name="demo_collection", filter="subject == 'biology'")
    assert plain(answer) == {"delete_count": 0}
    client.close()

    client = sdk.module.MilvusClient(uri)
    assert client.list_collections().count("demo_collection") == 1
    rows = client.query(
        collection_name="demo_collection", filter="subject == 'history'", output_fields=["text", "subject"]
    )
    assert list(rows) == [{"id": 1, "text": TEXTS[1], "subject": "history"}]
    client.drop_collection(collection_name="demo_collection")
    client.close()
    if sdk.embedded:
        assert (tmp_path / "milvus_demo.db").exists()
