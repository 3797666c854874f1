"""The asynchronous clients do what the blocking ones do, and a thousand calls at once are no trouble."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk

DIM = 16


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    matrix = np.random.default_rng(start).random((count, DIM), np.float32)
    return [{"id": start + i, "vector": vector.tolist(), "parity": (start + i) % 2} for i, vector in enumerate(matrix)]


async def count(client: Any, name: str) -> int:
    (counted,) = await client.query(name, output_fields=["count(*)"], consistency_level="Strong")
    return int(counted["count(*)"])


async def test_every_call_of_an_asynchronous_client_answers_as_the_blocking_one(sdk: Sdk, name: str) -> None:
    client = sdk.connect_async()
    types = sdk.module.DataType
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=DIM)
    indexes = client.prepare_index_params()
    indexes.add_index(field_name="vector", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64})
    assert await client.create_collection(name, schema=schema, index_params=indexes) is None
    assert await client.has_collection(name) is True
    assert name in await client.list_collections()
    assert (await client.describe_collection(name))["collection_name"] == name
    assert (await client.get_load_state(name))["state"].name == "Loaded"

    stored = rows(40)
    answer = await client.insert(name, stored)
    assert (answer["insert_count"], list(answer["ids"])) == (40, list(range(40)))
    assert (await client.upsert(name, stored[:2]))["upsert_count"] == 2
    assert (await client.delete(name, ids=[1]))["delete_count"] == 1
    assert (await client.delete(name, filter="id >= 38"))["delete_count"] == 2
    assert await client.flush(name) is None
    assert (await client.get_collection_stats(name))["row_count"] >= 37
    assert await count(client, name) == 37
    assert list(await client.get(name, [5])) == [stored[5]]
    assert [row["id"] for row in await client.query(name, "parity == 1 and id < 8", output_fields=["id"])] == [3, 5, 7]
    (hits,) = await client.search(
        name, [stored[9]["vector"]], limit=3, filter="parity == 1", output_fields=["parity"], search_params={"ef": 64}
    )
    assert hits[0]["id"] == 9
    assert [hit["entity"] for hit in hits] == [{"parity": 1}] * 3

    assert await client.create_partition(name, "p") is None
    assert sorted(await client.list_partitions(name)) == ["_default", "p"]
    assert await client.has_partition(name, "p") is True
    await client.release_partitions(name, ["p"])
    assert await client.drop_partition(name, "p") is None
    await client.create_alias(name, f"a_{name}")
    assert (await client.describe_alias(f"a_{name}"))["collection_name"] == name
    aliases = await client.list_aliases(name)
    assert list(aliases["aliases"] if sdk.ours else aliases) == [f"a_{name}"]
    await client.drop_alias(f"a_{name}")
    assert await client.list_indexes(name) == ["vector"]
    assert (await client.describe_index(name, "vector"))["index_type"] == "HNSW"
    await client.release_collection(name)
    await client.drop_index(name, "vector")
    assert await client.list_indexes(name) == []
    await client.create_index(name, indexes)
    await client.load_collection(name)
    assert "default" in await client.list_databases()
    assert await client.truncate_collection(name) is None
    assert await count(client, name) == 0
    await client.rename_collection(name, f"{name}_new")
    assert await client.drop_collection(f"{name}_new") is None
    assert await client.has_collection(f"{name}_new") is False
    await client.close()


async def test_a_thousand_single_rows_inserted_at_once_are_all_there(sdk: Sdk, client: Any, name: str) -> None:
    client.create_collection(name, dimension=DIM)
    writer = sdk.connect_async()
    answers = await asyncio.gather(*(writer.insert(name, row) for row in rows(1000)))
    assert [answer["insert_count"] for answer in answers] == [1] * 1000
    assert [answer["ids"][0] for answer in answers] == list(range(1000))
    assert await count(writer, name) == 1000
    await writer.close()


async def test_a_thousand_searches_at_once_get_each_their_own_answer(sdk: Sdk, client: Any, name: str) -> None:
    client.create_collection(name, dimension=DIM)
    stored = rows(1000)
    client.insert(name, stored)
    reader = sdk.connect_async()
    found = await asyncio.gather(
        *(reader.search(name, [row["vector"]], limit=1, consistency_level="Strong") for row in stored)
    )
    assert [hits[0][0]["id"] for hits in found] == list(range(1000))
    await reader.close()


async def test_reads_and_writes_at_once_keep_their_order_of_cause(sdk: Sdk, client: Any, name: str) -> None:
    client.create_collection(name, dimension=DIM)
    both = sdk.connect_async()

    async def write_then_read(row: dict[str, Any]) -> list[Any]:
        await both.insert(name, row)
        return list(await both.get(name, row["id"], consistency_level="Strong"))

    stored = rows(200)
    assert await asyncio.gather(*map(write_then_read, stored)) == [[row] for row in stored]
    await both.close()


async def test_an_error_of_one_call_is_that_call_s_alone(sdk: Sdk, client: Any, name: str) -> None:
    client.create_collection(name, dimension=DIM)
    writer = sdk.connect_async()
    bad = {"id": 7, "vector": [0.5] * (DIM - 1)}
    batches = [bad if i % 3 == 0 else row for i, row in enumerate(rows(60))]
    answers = await asyncio.gather(*(writer.insert(name, row) for row in batches), return_exceptions=True)
    failed = [answer for answer in answers if isinstance(answer, Exception)]
    assert len(failed) == 20
    assert {error.code for error in failed if isinstance(error, sdk.module.MilvusException)} == {1100}
    assert await count(writer, name) == 40
    await writer.close()


async def test_a_call_that_is_given_up_leaves_the_client_working(sdk: Sdk, client: Any, name: str) -> None:
    client.create_collection(name, dimension=DIM)
    both = sdk.connect_async()
    calls = [asyncio.ensure_future(both.insert(name, row)) for row in rows(200)]
    await asyncio.sleep(0.005)
    for call in calls[::2]:
        call.cancel()
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(answer, dict | asyncio.CancelledError) for answer in done)
    acknowledged = [row["id"] for row, answer in zip(rows(200), done, strict=True) if isinstance(answer, dict)]
    found = {row["id"] for row in await both.query(name, "id >= 0", output_fields=["id"], consistency_level="Strong")}
    assert found >= set(acknowledged)
    await both.close()


@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
def test_a_client_built_outside_a_loop_serves_one_loop_after_another(sdk: Sdk, client: Any, name: str) -> None:
    client.create_collection(name, dimension=DIM)
    both = sdk.connect_async()
    asyncio.run(both.insert(name, rows(5)))
    assert asyncio.run(count(both, name)) == 5
    asyncio.run(both.close())
