"""The first version of REST, as older clients speak it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.servers import ProcessServer


class Old:
    """Calls of v1."""

    def __init__(self, uri: str) -> None:
        self._base = f"{uri}/v1/vector/"

    def post(self, path: str, body: Any) -> dict[str, Any]:
        response = httpx.post(self._base + path, json=body, timeout=30)
        assert response.status_code == 200
        envelope: dict[str, Any] = response.json()
        return envelope

    def get(self, path: str, **query: str) -> dict[str, Any]:
        response = httpx.get(self._base + path, params=query, timeout=30)
        assert response.status_code == 200
        envelope: dict[str, Any] = response.json()
        return envelope

    def ok(self, path: str, body: Any) -> Any:
        envelope = self.post(path, body)
        assert envelope["code"] == 200, envelope
        return envelope["data"]


@pytest.fixture
def old(server: ProcessServer) -> Old:
    return Old(server.uri)


def test_a_collection_lives_its_life_by_the_first_version(old: Old, name: str) -> None:
    where = {"collectionName": name}
    assert old.ok("collections/create", {**where, "dimension": 2, "metricType": "L2"}) == {}
    assert name in old.get("collections")["data"]
    described = old.get("collections/describe", collectionName=name)
    assert described["code"] == 200
    data = described["data"]
    assert data["collectionName"] == name
    assert [(field["name"], field["type"], field["primaryKey"]) for field in data["fields"]] == [
        ("id", "Int64", True), ("vector", "FloatVector(2)", False),
    ]  # fmt: skip
    assert data["indexes"] == [{"indexName": "vector", "fieldName": "vector", "metricType": "L2"}]
    assert data["load"] == "LoadStateLoaded"
    written = old.ok("insert", {**where, "data": [{"vector": [i, 0], "word": f"w{i}"} for i in range(3)]})
    assert written["insertCount"] == 3
    first, second, third = written["insertIds"]
    hits = old.ok("search", {**where, "vector": [2, 0], "limit": 2, "outputFields": ["word"]})
    assert [(hit["id"], hit["word"], hit["distance"]) for hit in hits] == [(third, "w2", 0.0), (second, "w1", 1.0)]
    assert old.ok("get", {**where, "id": first, "outputFields": ["word"]}) == [{"id": first, "word": "w0"}]
    assert old.ok("delete", {**where, "id": [first]}) == {}
    left = old.ok("query", {**where, "filter": "id > 0", "outputFields": ["word"]})
    assert sorted(row["word"] for row in left) == ["w1", "w2"]
    assert old.ok("delete", {**where, "filter": "word == 'w1'"}) == {}
    assert len(old.ok("query", {**where, "filter": "id > 0"})) == 1
    assert old.ok("collections/drop", where) == {}
    assert name not in old.get("collections")["data"]


def test_errors_have_the_codes_of_the_second_version(old: Old, name: str) -> None:
    missing = old.post("query", {"collectionName": name, "filter": "id > 0"})
    assert missing["code"] == 100
    assert old.post("search", {"collectionName": name})["code"] == 1802
    assert old.post("delete", {"collectionName": name})["code"] == 1802
    assert old.get("collections/describe")["code"] == 1802
    assert old.get("collections/describe", collectionNam=name)["code"] == 1100


def test_what_the_first_version_does_not_have_is_not_found(server: ProcessServer) -> None:
    for method, path in (("GET", "insert"), ("POST", "collections"), ("POST", "nothing")):
        response = httpx.request(method, f"{server.uri}/v1/vector/{path}")
        assert (response.status_code, response.text) == (404, "404 page not found")
