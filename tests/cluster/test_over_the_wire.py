"""A handful of what clients do, over the wire against a whole cluster; `make cluster-acceptance` runs the rest."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pymilvus
import pytest
from tests.servers import ProcessServer

import redkite

DIM = 8


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessServer]:
    data = tmp_path_factory.mktemp("cluster") / "data"
    with ProcessServer(data, command=("tests.cluster.serve", str(data))) as process:
        yield process


@pytest.fixture(params=[pymilvus, redkite], ids=["pymilvus", "redkite"])
def client(request: pytest.FixtureRequest, server: ProcessServer) -> Iterator[Any]:
    made = request.param.MilvusClient(uri=server.uri)
    yield made
    if made.has_collection("films"):
        made.drop_collection("films")
    made.close()


def rows(count: int) -> list[dict[str, Any]]:
    vectors = np.random.default_rng(5).random((count, DIM), dtype=np.float32)
    return [{"id": i, "vector": vector.tolist(), "year": 1900 + i} for i, vector in enumerate(vectors)]


def test_rows_go_in_are_found_changed_and_deleted(client: Any) -> None:
    client.create_collection("films", dimension=DIM)
    made = rows(100)
    client.insert("films", made)
    assert client.search("films", data=[made[7]["vector"]], limit=1)[0][0]["id"] == 7
    client.upsert("films", [{**made[7], "year": 2000}])
    assert client.query("films", filter="year == 2000", output_fields=["id"]) == [{"id": 7}]
    client.delete("films", filter="year < 1950")
    client.flush("films")
    found = client.query("films", filter="", output_fields=["count(*)"])
    assert found[0]["count(*)"] == 51
    assert client.get_collection_stats("films")["row_count"] == 51


def test_many_searches_at_once_get_each_their_own_answer(client: Any) -> None:
    client.create_collection("films", dimension=DIM)
    made = rows(100)
    client.insert("films", made)
    client.flush("films")

    def search(at: int) -> int:
        found: int = client.search("films", data=[made[at]["vector"]], limit=1)[0][0]["id"]
        return found

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(search, range(100))) == list(range(100))


def test_what_is_not_there_is_told_with_its_code(client: Any) -> None:
    with pytest.raises((pymilvus.MilvusException, redkite.MilvusException), match="not found") as raised:
        client.search("nowhere", data=[[0.0] * DIM], limit=1)
    assert raised.value.code == 100


def test_rest_answers_as_well(server: ProcessServer) -> None:
    def post(path: str, body: dict[str, Any]) -> Any:
        asked = urllib.request.Request(
            f"{server.uri}/v2/vectordb/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return json.load(answer)

    assert post("collections/create", {"collectionName": "rest", "dimension": DIM})["code"] == 0
    assert post("entities/insert", {"collectionName": "rest", "data": rows(10)})["data"]["insertCount"] == 10
    hits = post("entities/search", {"collectionName": "rest", "data": [rows(10)[3]["vector"]], "limit": 1})
    assert hits["data"][0]["id"] == 3
    assert post("collections/drop", {"collectionName": "rest"})["code"] == 0
