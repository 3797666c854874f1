"""What an operator may do to a running server, and who else may not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.server.guarded import ROOT, serve
from tests.server.rest_client import Rest
from tests.servers import ProcessServer, wire_server

from redkite.coordinator.garbage import Garbage
from redkite.simulated import simulated_env
from redkite.storage.objects import FolderObjects

ADMIN = {"Authorization": f"Bearer {ROOT}"}


def call(server: ProcessServer, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    return httpx.request(method, f"http://127.0.0.1:{server.metrics_port}{path}", json=body, headers=headers)


@pytest.fixture(scope="module")
def managed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessServer]:
    with serve(tmp_path_factory.mktemp("managed"), 'authorization = "on"') as server:
        rest = Rest(server.uri)
        rest.ok("users/create", {"userName": "bob", "password": "secret1"}, **ADMIN)
        yield server


PATHS = ["/log/level", "/management/stop", "/management/datacoord/garbage_collection/pause", "/management/config/get"]


@pytest.mark.parametrize("path", PATHS)
def test_only_an_administrator_may(managed: ProcessServer, path: str) -> None:
    assert call(managed, "GET", path).status_code == 401
    denied = call(managed, "GET", path, Authorization="Bearer bob:secret1")
    assert denied.status_code == 403
    assert denied.json() == {"msg": "permission deny to bob: it takes the role admin"}
    assert managed.process.poll() is None


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-origin"}],
)
def test_a_page_may_not(server: ProcessServer, managed: ProcessServer, path: str, headers: dict[str, str]) -> None:
    assert call(server, "GET", path, **headers).status_code == 403
    assert call(managed, "GET", path, **headers, **ADMIN).status_code == 403
    assert server.process.poll() is None


def test_the_level_of_the_log_is_read_and_changed(managed: ProcessServer) -> None:
    assert call(managed, "GET", "/log/level", **ADMIN).json() == {"level": "info"}
    assert call(managed, "PUT", "/log/level", {"level": "debug"}, **ADMIN).json() == {"level": "debug"}
    assert call(managed, "GET", "/log/level", **ADMIN).json() == {"level": "debug"}
    refused = call(managed, "PUT", "/log/level", {"level": "loud"}, **ADMIN)
    assert refused.status_code == 400
    assert "loud" in refused.json()["msg"]
    assert call(managed, "PUT", "/log/level", {"level": "info"}, **ADMIN).json() == {"level": "info"}


def test_files_are_kept_while_their_deletion_is_paused() -> None:
    env = simulated_env(1)
    store = FolderObjects(env.files, "objects")
    garbage = Garbage(env, store, list, grace_seconds=0.0)
    store.put("segments/a", [b"bytes"])
    garbage.pause(60)
    garbage.discard(["segments/a"])
    assert garbage.is_paused
    assert store.list("segments/") == ["segments/a"]
    garbage.resume()
    assert store.list("segments/") == []
    garbage.pause(60)
    env.advance(61)
    assert not garbage.is_paused


def test_deletion_is_paused_and_resumed_over_http(managed: ProcessServer) -> None:
    base = "/management/datacoord/garbage_collection/"
    assert call(managed, "GET", f"{base}pause?pause_seconds=5", **ADMIN).json() == {"msg": "OK"}
    assert call(managed, "GET", f"{base}resume", **ADMIN).json() == {"msg": "OK"}
    for wrong in ("0", "soon", "-1", "999999999"):
        assert call(managed, "GET", f"{base}pause?pause_seconds={wrong}", **ADMIN).status_code == 400


def test_nodes_and_what_they_hold_are_told(managed: ProcessServer) -> None:
    nodes = call(managed, "GET", "/management/querycoord/node/list", **ADMIN).json()["nodeInfos"]
    path = "/management/querycoord/distribution/get"

    def held() -> list[dict[str, Any]]:
        return [call(managed, "GET", f"{path}?node_id={node['ID']}", **ADMIN).json() for node in nodes]

    assert held() == [{"channel_names": [], "sealed_segmentIDs": []}] * len(nodes)
    rest, name = Rest(managed.uri), "held"
    rest.ok("collections/create", {"collectionName": name, "dimension": 2}, **ADMIN)
    for key in (1, 2):
        row = {"id": key, "vector": [1.0, key]}
        rest.ok("entities/insert", {"collectionName": name, "data": [row]}, **ADMIN)
        rest.ok("collections/flush", {"collectionName": name}, **ADMIN)
    described = held()
    assert all(len(node["channel_names"]) == 1 for node in described)
    assert len({segment for node in described for segment in node["sealed_segmentIDs"]}) == 2
    rest.ok("collections/drop", {"collectionName": name}, **ADMIN)
    assert held() == [{"channel_names": [], "sealed_segmentIDs": []}] * len(nodes)
    assert call(managed, "GET", f"{path}?node_id=77777", **ADMIN).status_code == 400


def test_settings_are_told_without_secrets_and_a_few_altered(managed: ProcessServer) -> None:
    told = call(managed, "GET", "/management/config/get?key=limits.max_topk", **ADMIN).json()
    assert told == {"msg": "OK", "key": "limits.max_topk", "value": "16384"}
    assert call(managed, "GET", "/management/config/get?key=nothing", **ADMIN).status_code == 400
    alter = "/management/config/alter"
    assert call(managed, "POST", f"{alter}?key=slow_query_seconds&value=0.5", **ADMIN).json() == {"msg": "OK"}
    for wrong in ("key=slow_query_seconds&value=-1", "key=slow_query_seconds&value=x", "key=port&value=1", ""):
        assert call(managed, "POST", f"{alter}?{wrong}", **ADMIN).status_code == 400


@pytest.mark.parametrize("name", ["wal/alter", "querycoord/transfer/segment", "querycoord/node/suspend", "data_gc"])
def test_what_takes_several_machines_is_refused(managed: ProcessServer, name: str) -> None:
    response = call(managed, "POST", f"/management/{name}", **ADMIN)
    assert response.status_code == 501
    assert name in response.json()["msg"]


def test_stopping_ends_the_server_in_good_order(tmp_path: Path) -> None:
    with wire_server(tmp_path / "data") as server:
        assert call(server, "GET", "/management/check/ready").json() == {"msg": "OK"}
        assert call(server, "POST", "/management/stop").json() == {"msg": "OK"}
        deadline = time.monotonic() + 120
        while server.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert server.process.returncode == 0
