"""Limits that a collection or a database sets in its properties, as clients meet them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from tests.acceptance.conftest import Sdk

RATE = "collection.queryRate.max.qps"


@pytest.fixture
def small(client: Any) -> Any:
    name = f"d_{uuid.uuid4().hex}"
    client.create_database(name, properties={"database.max.collections": 1})
    yield name
    client.drop_database(name)


def refused(call: Any) -> tuple[int, str]:
    with pytest.raises(Exception) as caught:
        call()
    return caught.value.code, caught.value.message


def test_a_rate_of_nothing_refuses_until_it_is_dropped(client: Any, name: str) -> None:
    client.create_collection(name, dimension=2)
    client.insert(name, [{"id": 1, "vector": [1, 2]}])
    client.alter_collection_properties(name, properties={RATE: "0"})
    code, message = refused(lambda: client.query(name, filter="id == 1", timeout=0.5))
    assert code == 8
    assert "request is rejected by grpc RateLimiter middleware, please retry later" in message
    assert client.describe_collection(name)["properties"][RATE] == "0"
    client.drop_collection_properties(name, [RATE])
    assert len(client.query(name, filter="id == 1")) == 1


def test_a_client_that_waits_gets_its_turn(client: Any, sdk: Sdk, name: str) -> None:
    if sdk.embedded:
        pytest.skip("embedded, a refusal is told at once")
    client.create_collection(name, dimension=2)
    client.insert(name, [{"id": 1, "vector": [1, 2]}])
    client.alter_collection_properties(name, properties={RATE: "5"})
    for _ in range(8):
        assert len(client.query(name, filter="id == 1")) == 1


def test_a_database_denies_writing_and_holds_as_many_collections_as_it_may(client: Any, sdk: Sdk, small: str) -> None:
    inside = sdk.connect(db_name=small)
    inside.create_collection("first", dimension=2)
    assert refused(lambda: inside.create_collection("second", dimension=2))[0] == 102
    client.alter_database_properties(small, {"database.force.deny.writing": "true"})
    code, message = refused(lambda: inside.insert("first", [{"id": 1, "vector": [1, 2]}]))
    assert (code, message) == (9, "quota exceeded[reason=access has been disabled by the administrator]")
    client.alter_database_properties(small, {"database.force.deny.writing": "false"})
    assert inside.insert("first", [{"id": 1, "vector": [1, 2]}])["insert_count"] == 1
    inside.drop_collection("first")
    inside.close()
