"""The paths of the metrics port that Milvus has besides health and metrics: what is there, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.server.guarded import ROOT, serve
from tests.server.rest_client import Rest
from tests.servers import ProcessServer

ADMIN = {"Authorization": f"Bearer {ROOT}"}
BOB = {"Authorization": "Bearer bob:secret1"}


def get(server: ProcessServer, path: str, body: Any = None, **headers: str) -> httpx.Response:
    return httpx.request("GET", f"http://127.0.0.1:{server.metrics_port}{path}", json=body, headers=headers)


def told(server: ProcessServer, path: str, body: Any = None, **headers: str) -> Any:
    response = get(server, path, body, **{**ADMIN, **headers})
    assert response.status_code == 200, response.text
    return response.json()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessServer]:
    """Two collections; bob may see one of them."""
    with serve(tmp_path_factory.mktemp("watched"), 'authorization = "on"', "slow_query_seconds = 0.000001") as server:
        rest = Rest(server.uri)
        rest.ok("users/create", {"userName": "bob", "password": "secret1"}, **ADMIN)
        rest.ok("roles/create", {"roleName": "reader"}, **ADMIN)
        rest.ok("users/grant_role", {"userName": "bob", "roleName": "reader"}, **ADMIN)
        for name in ("seen", "hidden"):
            rest.ok("collections/create", {"collectionName": name, "dimension": 2}, **ADMIN)
            rest.ok("entities/insert", {"collectionName": name, "data": [{"id": 1, "vector": [1, 2]}]}, **ADMIN)
        for privilege in ("DescribeCollection", "Query", "IndexDetail"):
            rest.ok("roles/grant_privilege_v2",
                    {"roleName": "reader", "privilege": privilege, "collectionName": "seen", "dbName": "default"},
                    **ADMIN)  # fmt: skip
        rest.ok("entities/query", {"collectionName": "hidden", "filter": "id == 1"}, **ADMIN)
        rest.ok("collections/flush", {"collectionName": "seen"}, **ADMIN)
        yield server


def test_reads_of_grpc_are_answered_as_its_messages(watched: ProcessServer) -> None:
    shown = told(watched, "/api/v1/collections")
    assert sorted(shown["collection_names"]) == ["hidden", "seen"]
    assert told(watched, "/api/v1/_collection/list?db_name=default") == shown
    described = told(watched, "/api/v1/collection?collection_name=seen")
    assert [field["name"] for field in described["schema"]["fields"]] == ["id", "vector"]
    assert described["status"]["code"] == 0
    assert told(watched, "/api/v1/collection", {"collection_name": "seen"}) == described
    assert told(watched, "/api/v1/_collection/desc?db_name=default&collection_name=seen") == described
    counted = told(watched, "/api/v1/collection/statistics?collection_name=seen")
    assert counted["stats"] == [{"key": "row_count", "value": "1"}]
    assert told(watched, "/api/v1/partitions?collection_name=seen")["partition_names"] == ["_default"]
    assert told(watched, "/api/v1/collection/existence?collectionName=nowhere")["value"] is False
    assert told(watched, "/api/v1/index?collection_name=seen")["index_descriptions"][0]["field_name"] == "vector"
    assert len(told(watched, "/api/v1/_dc/segments?dbName=default&collectionName=seen")["infos"]) == 1
    assert told(watched, "/api/v1/_db/list")["db_names"] == ["default"]
    assert told(watched, "/api/v1/_qc/resource_group")["resource_groups"] == ["__default_resource_group"]
    assert sorted(told(watched, "/api/v1/credential/users")["usernames"]) == ["bob", "root"]


def test_the_server_tells_of_itself(watched: ProcessServer) -> None:
    assert told(watched, "/api/v1/health") == {"status": "ok"}
    assert {node["infos"]["type"] for node in told(watched, "/api/v1/_cluster/info")["nodes_info"]} >= {"proxy"}
    settings = told(watched, "/api/v1/_cluster/configs")
    assert settings["authorization"] == "on"
    slow = told(watched, "/api/v1/_cluster/slow_query")
    assert {"database": "default", "collection": "hidden", "type": "query", "user": "root"}.items() <= slow[0].items()
    assert slow[0]["query_params"]["expr"] == "id == 1"


def test_everybody_is_told_what_they_may_know_and_strangers_nothing(watched: ProcessServer) -> None:
    assert get(watched, "/api/v1/collections").status_code == 401
    assert told(watched, "/api/v1/collections", **BOB)["collection_names"] == ["seen"]
    assert told(watched, "/api/v1/_collection/desc?collection_name=seen", **BOB)["collection_name"] == "seen"
    for path in ("collection/statistics?collection_name=hidden", "_cluster/configs", "credential/users"):
        assert get(watched, f"/api/v1/{path}", **BOB).status_code == 403, path
    assert told(watched, "/api/v1/_cluster/slow_query", **BOB) == []
    for path in ("/api/v1/collections", "/debug/pprof/goroutine"):
        assert get(watched, path, **ADMIN, Origin="http://evil.example").status_code == 403


def test_what_is_wrong_with_a_question_is_said(watched: ProcessServer) -> None:
    missing = get(watched, "/api/v1/collection?collection_name=nowhere", **ADMIN)
    assert (missing.status_code, missing.json()["code"]) == (404, 100)
    for path, wanted in (
        ("collection?name=seen", "DescribeCollection has no parameter name"),
        ("collection?time_stamp=soon", "DescribeCollection: "),
        ("replicas?with_shard_nodes=perhaps&collection_name=seen", "should be true or false"),
    ):
        wrong = get(watched, f"/api/v1/{path}", **ADMIN)
        assert (wrong.status_code, wrong.json()["code"]) == (400, 1100), path
        assert wanted in wrong.json()["msg"]
    assert get(watched, "/api/v1/collection", [1], **ADMIN).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("POST", "/api/v1/entities", "writes and reads of rows go to the main port"),
        ("DELETE", "/api/v1/collection", "writes and reads of rows go to the main port"),
        ("POST", "/api/v1/search", "writes and reads of rows go to the main port"),
        ("GET", "/api/v1/_cluster/clients", "no list is kept of who is connected"),
        ("GET", "/api/v1/_dn/tasks/sync", "/metrics counts it"),
        ("GET", "/api/v1/nothing", "there is no such path"),
        ("GET", "/expr?code=1&auth=x", "no code is run here"),
        ("GET", "/eventlog", "the audit log"),
        ("GET", "/static/index.html", "the page is at /webui/"),
        ("GET", "/debug/pprof/heap", "a profile of Go's"),
    ],
)
def test_what_is_not_there_is_refused_with_a_reason(
    watched: ProcessServer, method: str, path: str, wanted: str
) -> None:
    response = httpx.request(method, f"http://127.0.0.1:{watched.metrics_port}{path}", headers=ADMIN)
    assert response.status_code == 501
    assert wanted in response.text


def test_threads_are_shown_to_administrators(watched: ProcessServer) -> None:
    response = get(watched, "/debug/pprof/goroutine?debug=2", **ADMIN)
    assert response.status_code == 200
    assert "MainThread:\n" in response.text
    assert "management.py" in response.text
    assert "serve" in get(watched, "/debug/pprof/cmdline", **ADMIN).text
    assert get(watched, "/debug/pprof/goroutine", **BOB).status_code == 403
    assert get(watched, "/debug/pprof/goroutine").status_code == 401


def test_questions_are_counted_by_their_paths(watched: ProcessServer) -> None:
    told(watched, "/api/v1/version")
    text = get(watched, "/metrics", **ADMIN).text
    assert 'milvus_proxy_restful_api_req_count{node_id="1",path="/api/v1/version"} 1' in text
