"""`membership_match` through every SDK, each with its own builders: rows in memory, sealed, deleted."""

from __future__ import annotations

from typing import Any

import pytest
from tests.acceptance.conftest import Sdk
from tests.acceptance.test_collections import flat_index

ROWS = 3_000


def collection(sdk: Sdk, client: Any, name: str) -> None:
    types = sdk.module.DataType
    schema = sdk.module.MilvusClient.create_schema(enable_dynamic_field=True)
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=2)
    schema.add_field("maker", types.VARCHAR, max_length=40)
    schema.add_field("age", types.INT8, nullable=True)
    client.create_collection(name, schema=schema, index_params=flat_index(client), consistency_level="Strong")
    rows = [
        {"id": n, "vector": [float(n), 0.0], "maker": f"m-{n % 700}", "age": None if n % 10 == 0 else n % 100 - 50,
         "tag": n if n % 2 else f"t{n}"}
        for n in range(ROWS)
    ]  # fmt: skip
    client.insert(name, rows)


def found(client: Any, name: str, text: str, **params: Any) -> list[int]:
    return sorted(r["id"] for r in client.query(name, filter=text, filter_params=params, output_fields=["id"]))


def test_sets_as_bytes_keep_their_members_in_memory_and_sealed(sdk: Sdk, client: Any, name: str) -> None:
    collection(sdk, client, name)
    ids = [*range(100, 400, 7), 2_999, 10**12, -5]
    exact = sdk.module.build_roaring_bitmap(ids)
    ages = sdk.module.RoaringBitmapBuilder().add_int64_batch([-49, -48]).build()
    likely = sdk.module.build_bloom_filter(ids, fpr=0.0001)
    makers = sdk.module.BloomFilterBuilder(10, fpr=0.0001).add_string_batch(["m-3", "m-69", "nobody"]).build()
    mixed = sdk.module.BloomFilterBuilder(9, 0.0001).add_int64_batch([7, 8]).add_string_batch(["t8", "t7"]).build()
    wanted = [n for n in ids if 0 <= n < ROWS]
    for step in ("in memory", "sealed"):
        assert found(client, name, "membership_match(id, {s}, type=roaring)", s=exact) == wanted, step
        assert found(client, name, "membership_match(id, {s})", s=likely) == wanted
        others = found(client, name, "not membership_match(id, {s}) and id < 500", s=exact)
        assert others == [n for n in range(500) if n not in wanted]
        assert found(client, name, "membership_match(age, {s}) and id < 300", s=ages) == [1, 2, 101, 102, 201, 202]
        assert found(client, name, "membership_match(maker, {s}, type=bloom) and id < 1000", s=makers) == [
            3, 69, 703, 769,
        ]  # fmt: skip
        assert found(client, name, "membership_match(tag, {s})", s=mixed) == [7, 8]
        hits = client.search(
            name, data=[[105.0, 0.0]], limit=3, filter="membership_match(id, {s})", filter_params={"s": exact},
            search_params={"metric_type": "L2"},
        )  # fmt: skip
        assert sorted(hit["id"] for hit in hits[0]) == [100, 107, 114]
        client.flush(name)


def test_a_delete_takes_an_exact_set_and_refuses_one_that_may_have_more(sdk: Sdk, client: Any, name: str) -> None:
    collection(sdk, client, name)
    gone = list(range(0, 1_000, 3))
    with pytest.raises(sdk.module.MilvusException, match="cannot be used in delete expressions") as caught:
        client.delete(
            name, filter="membership_match(id, {s})", filter_params={"s": sdk.module.build_bloom_filter(gone)}
        )
    assert caught.value.code == 1100
    exact = sdk.module.build_roaring_bitmap(gone)
    assert client.delete(name, filter="membership_match(id, {s})", filter_params={"s": exact})["delete_count"] == 334
    assert found(client, name, "id < 10") == [1, 2, 4, 5, 7, 8]


def test_what_is_no_set_is_refused(sdk: Sdk, client: Any, name: str) -> None:
    collection(sdk, client, name)
    with pytest.raises(sdk.module.MilvusException, match="membership filter blob has unknown format magic") as caught:
        found(client, name, "membership_match(id, {s})", s=b"anything")
    assert caught.value.code == 1100
    with pytest.raises(sdk.module.MilvusException, match="must be a client pre-built membership filter blob"):
        found(client, name, "membership_match(id, {s})", s=[1, 2])
