"""Rates and quotas of a server's settings, over the wire."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pymilvus
import pytest
from pymilvus.grpc_gen import milvus_pb2
from tests.server.guarded import ROOT, serve
from tests.server.rest_client import Rest
from tests.servers import ProcessServer

from redkite.config import ConfigError, load
from redkite.model.quotas import Rates
from redkite.wire.methods import PATHS

ADMIN = {"Authorization": f"Bearer {ROOT}"}


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessServer]:
    folder = tmp_path_factory.mktemp("limited")
    quotas = ("[quotas]", "query = { user = 0.001 }", "insert_request_bytes = '1KB'", "deny_changes = false")
    with serve(folder, 'authorization = "on"', *quotas) as server:
        rest = Rest(server.uri)
        rest.ok("collections/create", {"collectionName": "c", "dimension": 2}, **ADMIN)
        for name in ("ann", "bob"):
            rest.ok("users/create", {"userName": name, "password": "secret1"}, **ADMIN)
            rest.ok("users/grant_role", {"userName": name, "roleName": "admin"}, **ADMIN)
        yield server


def test_each_user_is_refused_for_its_own_requests(limited: ProcessServer) -> None:
    rest = Rest(limited.uri)
    body = {"collectionName": "c", "filter": "id > 0"}
    for name in ("ann", "bob"):
        who = {"Authorization": f"Bearer {name}:secret1"}
        assert rest.ok("entities/query", body, **who) == []
        code, message = rest.error("entities/query", body, **who)
        assert code == 1807
        assert message == (
            "request is rejected by limiter, error: request is rejected by grpc RateLimiter middleware, please retry "
            "later: rate limit exceeded[rate=0.001]"
        )
    client = pymilvus.MilvusClient(limited.uri, token="bob:secret1")
    with pytest.raises(pymilvus.MilvusException, match="rate limit exceeded") as caught:
        client.query("c", filter="id > 0", retry_on_rate_limit=False)
    assert caught.value.code == 8
    client.close()


def test_what_was_refused_is_counted_and_told(limited: ProcessServer) -> None:
    rest = Rest(limited.uri)
    for _ in range(2):
        rest.post("entities/query", {"collectionName": "c", "filter": "id > 0"}, **ADMIN)
    metrics = httpx.get(f"http://127.0.0.1:{limited.metrics_port}/metrics", headers=ADMIN).text
    assert 'redkite_requests_refused_total{protocol="rest",method="entities/query"}' in metrics
    assert 'milvus_proxy_rate_limit_req_count{node_id="1",msg_type="Query",status="fail"}' in metrics
    told = rest.ok("quotacenter/describe", {}, **ADMIN)
    assert '"query":"user=0.001"' in told
    with grpc.insecure_channel(limited.uri.removeprefix("http://")) as channel:
        reply = channel.unary_unary(PATHS["CheckHealth"])(b"", metadata=(("authorization", "cm9vdDpNaWx2dXM="),))
    assert list(milvus_pb2.CheckHealthResponse.FromString(reply).quota_states) == [2]


def test_an_insert_over_its_size_is_refused(limited: ProcessServer) -> None:
    rows = [{"id": i, "vector": [0, 1]} for i in range(200)]
    code, message = Rest(limited.uri).error("entities/insert", {"collectionName": "c", "data": rows}, **ADMIN)
    assert code == 1102
    assert message.startswith("insert request size ")


def test_rates_are_read_from_a_file_and_from_variables(tmp_path: Path) -> None:
    file = tmp_path / "redkite.toml"
    file.write_text('[quotas]\nsearch = { user = 5, cluster = 50 }\ndisk_bytes = "2GB"\ndeny_reading = true\n')
    quotas = load(file=str(file), environment={"REDKITE_QUOTAS_FLUSH": "collection=0.1"}).settings.quotas
    assert quotas.search == Rates(user=5, cluster=50)
    assert quotas.flush == Rates(collection=0.1)
    assert (quotas.disk_bytes, quotas.deny_reading, quotas.query) == (2 << 30, True, Rates())


@pytest.mark.parametrize(
    "line",
    ["search = { nobody = 5 }", "search = { user = -3 }", "search = 5", "serch = { user = 5 }", "disk_bytes = -7"],
)
def test_a_rate_that_is_none_stops_the_start(tmp_path: Path, line: str) -> None:
    file = tmp_path / "redkite.toml"
    file.write_text(f"[quotas]\n{line}\n")
    with pytest.raises(ConfigError, match="quotas"):
        load(file=str(file), environment={})
