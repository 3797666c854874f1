"""How a running server is watched: metrics, slow queries, the audit log, log lines."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pymilvus
import pytest
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc
from tests.server.fakes import FakeService
from tests.servers import ProcessServer, ThreadServer, alone, engine_here, wire_server

from redkite import MilvusClient
from redkite.errors import MilvusException
from redkite.logs import configure
from redkite.model.requests import HasCollection
from redkite.server.audit import AuditLog, Entry
from redkite.server.exposition import exposition
from redkite.server.metrics import MOST_SERIES, OK, Metrics
from redkite.server.slow import SlowQuery

DIM = 4


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What is logged meanwhile, one JSON object a line."""
    root = logging.getLogger("redkite")
    before = (root.handlers, root.level, root.propagate)
    stream = io.StringIO()
    configure("info", as_json=True, stream=stream)
    yield stream
    root.handlers, root.level, root.propagate = before


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ThreadServer]]:
    """Starts servers around the real engine, in this process."""
    started: list[tuple[ThreadServer, Any]] = []

    def begin(**settings: object) -> ThreadServer:
        database = engine_here(str(tmp_path / "data"))
        server = ThreadServer(database.service, **settings)
        server.server.observation._topology = database.topology
        started.append((server, database))
        return server

    yield begin
    for server, database in started:
        server.stop()
        database.close()


def row(number: int) -> dict[str, object]:
    return {"id": number, "vector": [float(number), 1.0, 1.0, 1.0], "color": "red"}


def samples(text: str) -> dict[str, float]:
    """Name with labels -> value."""
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def metrics(server: ThreadServer | ProcessServer, **more: Any) -> dict[str, float]:
    answer = httpx.get(f"http://127.0.0.1:{server.metrics_port}/metrics", **more)
    assert answer.status_code == 200, answer.text
    return samples(answer.text)


def eventually(found: Callable[[], Any], seconds: float = 20.0) -> Any:
    limit = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < limit
        time.sleep(0.02)
    return result


# -- metrics ------------------------------------------------------------------------------------
@alone  # a proxy tells nothing of rows: their owners do
def test_metrics_have_the_names_and_labels_of_milvus_whichever_client_asks(start: Callable[..., ThreadServer]) -> None:
    server = start()
    client = pymilvus.MilvusClient(server.uri)
    client.create_collection("docs", dimension=DIM)
    client.insert("docs", [row(number) for number in range(10)])
    client.search("docs", data=[[1.0, 2.0, 3.0, 4.0]] * 3, limit=2)
    client.delete("docs", ids=[1, 2])
    body = {"collectionName": "docs", "data": [[1, 2, 3, 4]], "limit": 2}
    assert httpx.post(f"{server.uri}/v2/vectordb/entities/search", json=body).json()["code"] == 0
    with pytest.raises(pymilvus.MilvusException):
        client.search("nowhere", data=[[1.0, 2.0, 3.0, 4.0]], limit=2)
    found = metrics(server)
    named = 'db_name="default",collection_name="docs"'
    count = 'milvus_proxy_req_count{node_id="1",function_name="Search",status="%s",cause="%s",%s}'
    assert found[count % ("total", "na", named)] == found[count % ("success", "na", named)] == 2
    assert found[count % ("fail", "user", 'db_name="",collection_name=""')] == 1
    searched = f'{{node_id="1",query_type="search",{named}}}'
    assert found[f"milvus_proxy_search_vectors_count{searched}"] == 4
    assert found[f"milvus_proxy_sq_latency_count{searched}"] == 2
    assert found[f'milvus_proxy_sq_latency_bucket{searched[:-1]},le="131072"}}'] == 2
    assert found[f'milvus_proxy_insert_vectors_count{{node_id="1",{named}}}'] == 10
    assert found[f'milvus_proxy_delete_vectors_count{{node_id="1",{named}}}'] == 2
    assert found[f'milvus_proxy_mutation_latency_count{{node_id="1",msg_type="insert",{named}}}'] == 1
    assert found['milvus_proxy_restful_api_req_count{node_id="1",path="/v2/vectordb/entities/search"}'] == 1
    assert found[f'milvus_proxy_receive_bytes_count{{node_id="1",msg_type="insert",{named}}}'] > 10 * DIM * 4
    assert found['milvus_rootcoord_collection_num{db_name="default"}'] == 1
    assert found[f'milvus_rootcoord_entity_num{{{named},status="loaded"}}'] == 8
    assert found['milvus_num_node{node_id="1",role_name="querynode"}'] == 1
    assert found["redkite_rows_written_total"] == 10
    assert found['milvus_rootcoord_ddl_req_count{function_name="CreateCollection",status="success"}'] == 1
    assert found['milvus_querycoord_load_req_count{status="total"}'] == 1
    assert found["milvus_querycoord_load_latency_count"] == 1
    assert found['milvus_datacoord_index_req_count{status="fail"}'] == 0
    assert found["process_resident_memory_bytes"] > 10_000_000


@alone
def test_gauges_follow_what_is_sealed_and_indexed(start: Callable[..., ThreadServer]) -> None:
    server = start()
    client = MilvusClient(server.uri)
    client.create_collection("docs", dimension=DIM)
    client.insert("docs", [row(number) for number in range(20)])

    def value(name: str, **labels: str) -> float:
        every = metrics(server).items()
        chosen = [v for k, v in every if k.startswith(name + "{") and all(f'{a}="{b}"' in k for a, b in labels.items())]
        return sum(chosen)

    assert value("milvus_querynode_segment_num", segment_state="Growing") == 1
    assert value("milvus_datacoord_stored_rows_num") == 0
    client.flush("docs")
    assert value("milvus_datacoord_stored_rows_num") == 20
    assert value("milvus_querynode_entity_num", segment_state="Sealed") == 20
    assert value("milvus_datacoord_stored_binlog_size") > 20 * DIM * 4
    assert value("milvus_datacoord_index_task_count", status="unissued") == 0
    client.drop_collection("docs")
    assert value("milvus_datacoord_stored_rows_num") == 0


def test_label_values_cannot_break_the_format_and_kinds_of_calls_are_bounded() -> None:
    counters = Metrics()
    counters.of("grpc", "HasCollection", "HasCollection", "default", 'a"b\\c\nd').observe(0.1, OK)
    assert 'collection_name="a\\"b\\\\c\\nd"} 1' in exposition(counters.counted())
    for number in range(MOST_SERIES + 10):
        counters.of("grpc", "HasCollection", "HasCollection", "default", f"c{number}").observe(0.1, OK)
    kinds = counters.counted().calls
    assert len(kinds) == MOST_SERIES + 1
    assert sum(counts.total for _, counts in kinds) == MOST_SERIES + 11


def test_get_metrics_describes_the_nodes_and_their_machine(start: Callable[..., ThreadServer]) -> None:
    server = start()
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = milvus_pb2_grpc.MilvusServiceStub(channel)
        answer = stub.GetMetrics(milvus_pb2.GetMetricsRequest(request='{"metric_type": "system_info"}'))
        assert (answer.status.code, answer.component_name) == (0, "proxy1")
        nodes = {node["infos"]["name"]: node for node in json.loads(answer.response)["nodes_info"]}
        proxy, hardware = nodes["proxy1"], nodes["proxy1"]["infos"]["hardware_infos"]
        assert hardware["memory"] > hardware["memory_usage"] > 10_000_000
        assert proxy["infos"]["system_info"]["build_version"].startswith("v2.")
        identifiers = {node["identifier"]: node["infos"]["type"] for node in nodes.values()}
        for node in nodes.values():
            assert all(identifiers[c["connected_identifier"]] == c["target_type"] for c in node["connected"])
        answer = stub.GetMetrics(milvus_pb2.GetMetricsRequest(request='{"metric_type": "hardware_info"}'))
        assert (answer.status.code, answer.status.reason) == (1200, "metric not found[metric=hardware_info]")
        assert stub.GetMetrics(milvus_pb2.GetMetricsRequest(request="?")).status.code == 1100


@alone
def test_counters_of_all_processes_are_summed_and_none_goes_back_when_one_ends(tmp_path: Path) -> None:
    audit = tmp_path / "audit.log"
    config = tmp_path / "redkite.toml"
    config.write_text(f'audit_log = "{audit}"\n')
    with ProcessServer(tmp_path / "data", "--workers", "2", "--config", str(config)) as server:
        clients = [MilvusClient(server.uri, dedicated=True) for _ in range(12)]
        clients[0].create_collection("docs", dimension=DIM)
        for number, client in enumerate(clients):
            client.insert("docs", [row(number)])
            assert client.query("docs", "id >= 0")
        insert = 'redkite_requests_total{protocol="grpc",method="Insert"}'
        query = 'redkite_requests_total{protocol="grpc",method="Query"}'
        assert (metrics(server)[insert], metrics(server)[query]) == (12, 12)
        read = 'milvus_querynode_sq_req_latency_count{node_id="1",query_type="query",scope="OnLeader"}'
        assert metrics(server)[read] == 12
        assert metrics(server)['redkite_worker_cpu_seconds_total{worker="1"}'] > 0
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
        (worker,) = children.read_text().split()
        os.kill(int(worker), signal.SIGKILL)
        eventually(lambda: children.read_text().split() not in ([], [worker]))
        MilvusClient(server.uri, dedicated=True).query("docs", "id >= 0")
        eventually(lambda: metrics(server)[query] == 13)
        lines = eventually(lambda: (found := audit.read_text().splitlines()) and len(found) >= 39 and found)
        methods = [json.loads(line)["method"] for line in lines]
        assert methods.count("Insert") == 12


# -- who may look -------------------------------------------------------------------------------
def test_metrics_ask_who_calls_where_the_main_port_does(tmp_path: Path) -> None:
    config = tmp_path / "redkite.toml"
    config.write_text('authorization = "on"\n')
    with wire_server(tmp_path / "data", "--config", str(config)) as server:
        url = f"http://127.0.0.1:{server.metrics_port}"
        for path in ("/metrics", "/metrics_default", "/nothing"):
            refused = httpx.get(url + path)
            assert (refused.status_code, refused.headers["www-authenticate"][:5]) == (401, "Basic")
            assert httpx.get(url + path, auth=("root", "wrong!")).status_code == 401
        assert "redkite_requests_total" not in httpx.get(f"{url}/metrics").text
        assert httpx.get(f"{url}/healthz").text == httpx.get(f"{url}/livez").text == "OK"
        root = MilvusClient(server.uri, token="root:Milvus")
        root.create_user("watcher", "only looks")
        assert metrics(server, auth=("watcher", "only looks"))
        assert metrics(server, headers={"Authorization": "Bearer watcher:only looks"})
        key = root.create_api_key("prometheus", "watcher")
        assert metrics(server, headers={"Authorization": f"Bearer {key}"})
        root.drop_user("watcher")
        assert httpx.get(f"{url}/metrics", auth=("watcher", "only looks")).status_code == 401


# -- slow queries -------------------------------------------------------------------------------
def slow_queries(server: ThreadServer) -> list[SlowQuery]:
    future = asyncio.run_coroutine_threadsafe(server.server.observation.slow_queries(), server._loop)
    return future.result(30)


def test_slow_reads_are_kept_and_logged_with_their_plan(
    start: Callable[..., ThreadServer], logged: io.StringIO
) -> None:
    server = start(slow_query_seconds=1e-6)
    client = MilvusClient(server.uri)
    client.create_collection("docs", dimension=DIM)
    client.insert("docs", [row(number) for number in range(10)])
    client.search("docs", data=[[1.0, 2.0, 3.0, 4.0]] * 2, limit=3, filter='color == "red"')
    search = eventually(lambda: slow_queries(server))[0]
    assert (search.kind, search.collection, search.nq, search.limit) == ("search", "docs", 2, 3)
    assert search.filter == 'color == "red"'
    assert "10 of 10 rows" in search.plan
    client.query("docs", "id in [" + ", ".join(map(str, range(1000))) + "]")
    query = eventually(lambda: len(slow_queries(server)) == 2 and slow_queries(server))[0]
    assert (query.kind, query.nq, len(query.filter)) == ("query", 0, 1002)
    line = next(line for line in map(json.loads, logged.getvalue().splitlines()) if "slow search" in line["message"])
    assert (line["level"], line["collection"], line["request_id"]) == ("warning", "docs", search.request_id)
    assert line["message"].startswith("slow search: ")
    assert (
        metrics(server)[
            'milvus_proxy_slow_query_count{node_id="1",query_type="search",db_name="default",collection_name="docs"}'
        ]
        == 1
    )


def test_quick_reads_and_wrong_ones_are_not_slow_queries(start: Callable[..., ThreadServer]) -> None:
    server = start(slow_query_seconds=60.0)
    client = MilvusClient(server.uri)
    client.create_collection("docs", dimension=DIM)
    client.query("docs", "id > 0")
    assert slow_queries(server) == []
    with pytest.raises(MilvusException):
        client.query("nowhere", "id > 0")
    assert slow_queries(server) == []


# -- the audit log ------------------------------------------------------------------------------
def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def test_every_request_is_one_line_and_nothing_it_carried(start: Callable[..., ThreadServer], tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    server = start(audit_log=str(path))
    client = pymilvus.MilvusClient(server.uri)
    client.create_collection("docs", dimension=DIM)
    client.insert("docs", [{"id": 1, "vector": [0.125] * DIM, "note": "a secret row"}])
    client.query("docs", filter='note == "a secret row"')
    client.create_user("bob", "a secret password")
    wrong = httpx.post(f"{server.uri}/v2/vectordb/collections/describe", json={"collectionName": "nowhere"})
    found = eventually(lambda: (lines := lines_of(path)) and lines[-1]["protocol"] == "rest" and lines)
    by_method = {line["method"]: line for line in found}
    assert by_method["Insert"]["collection"] == by_method["CreateCollection"]["collection"] == "docs"
    assert by_method["CreateCredential"]["object"] == "bob"
    last = found[-1]
    assert (last["method"], last["code"], last["collection"]) == ("collections/describe", 100, "nowhere")
    assert last["request_id"] == wrong.headers["x-milvus-trace-id"]
    assert re.fullmatch(r"127\.0\.0\.1:\d+", last["address"])
    assert len({line["request_id"] for line in found}) == len(found)
    assert "secret" not in path.read_text()
    assert "0.125" not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0


def entry(number: int) -> Entry:
    return Entry(float(number), f"{number:032x}", "", "", "grpc", "Search", "default", "docs", "", 0, 0.001)


def test_full_files_are_kept_under_numbers_and_no_line_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(str(path), 1000, 3)
    for number in range(5):
        for _ in range(5):
            log.put(entry(number))
        last = f"{number:032x}"
        eventually(lambda last=last: path.exists() and [line["request_id"] for line in lines_of(path)] == [last] * 5)
    log.close()
    files = [path, tmp_path / "audit.log.1", tmp_path / "audit.log.2"]
    assert [len(lines_of(file)) for file in files] == [5, 5, 5]
    assert not (tmp_path / "audit.log.3").exists()
    assert log.lost == 0


def test_a_file_that_was_moved_away_is_left(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(str(path), 1_000_000, 3)
    log.put(entry(1))
    eventually(lambda: path.exists() and lines_of(path))
    path.rename(tmp_path / "old")
    log.put(entry(2))
    log.close()
    assert (len(lines_of(tmp_path / "old")), len(lines_of(path))) == (1, 1)


def test_a_full_disk_loses_lines_says_so_and_takes_no_request_down(
    start: Callable[..., ThreadServer], logged: io.StringIO
) -> None:
    server = start(audit_log="/dev/full")
    client = MilvusClient(server.uri)
    assert client.list_collections() == []
    lost = eventually(lambda: metrics(server)["redkite_audit_lines_lost_total"])
    assert client.list_collections() == []
    eventually(lambda: metrics(server)["redkite_audit_lines_lost_total"] > lost)
    assert logged.getvalue().count("cannot be written, lines are lost: No space left on device") == 1


def test_the_next_line_that_can_be_written_tells_how_many_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.symlink_to("/dev/full")
    log = AuditLog(str(path), 1_000_000, 3)
    log.put(entry(1))
    eventually(lambda: log.lost == 1)
    path.unlink()
    log.put(entry(2))
    log.close()
    assert [line.get("lost", line.get("request_id")) for line in lines_of(path)] == [1, f"{2:032x}"]


def test_an_audit_log_that_cannot_be_written_keeps_the_server_from_starting(tmp_path: Path) -> None:
    with pytest.raises(MilvusException, match=r"audit_log: .* cannot be written: No such file or directory"):
        AuditLog(str(tmp_path / "nowhere" / "audit.log"), 1000, 3)


@alone
def test_sighup_goes_on_in_a_new_file_and_the_log_is_json_where_wanted(tmp_path: Path) -> None:
    path, config = tmp_path / "audit.log", tmp_path / "redkite.toml"
    config.write_text(f'audit_log = "{path}"\nlog_format = "json"\nslow_query_seconds = 1e-6\n')
    with ProcessServer(tmp_path / "data", "--config", str(config)) as server:
        client = MilvusClient(server.uri)
        client.create_collection("docs", dimension=DIM)
        eventually(lambda: len(lines_of(path)) >= 2)
        path.rename(tmp_path / "old")
        server.process.send_signal(signal.SIGHUP)
        client.query("docs", "id > 0")
        assert eventually(lambda: path.exists() and lines_of(path))[-1]["method"] == "Query"
        assert server.stop() == 0
        (slow,) = (json.loads(line) for line in server.errors.splitlines())
        assert (slow["logger"], slow["method"], slow["collection"]) == ("redkite.server.slow", "Query", "docs")


# -- log lines ----------------------------------------------------------------------------------
def test_lines_of_a_request_name_it_on_whatever_thread_they_are_written(
    service: FakeService, logged: io.StringIO
) -> None:
    def broken(_: object) -> Any:
        raise ZeroDivisionError("a bug")

    service.answers[HasCollection] = broken
    for slow in (False, True):
        service.slow = {HasCollection} if slow else set()
        with ThreadServer(service) as server:
            answer = httpx.post(f"{server.uri}/v2/vectordb/collections/has", json={"collectionName": "docs"})
            line = json.loads(logged.getvalue().splitlines()[-1])
            assert line["message"] == "unexpected error in a call"
            assert (line["method"], line["collection"]) == ("collections/has", "docs")
            assert line["request_id"] == answer.headers["x-milvus-trace-id"]
            with pytest.raises(MilvusException):
                MilvusClient(server.uri).has_collection("docs")
            assert json.loads(logged.getvalue().splitlines()[-1])["method"] == "HasCollection"
            with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                asked = milvus_pb2.HasCollectionRequest(collection_name="docs")
                stub = milvus_pb2_grpc.MilvusServiceStub(channel)
                stub.HasCollection(asked, metadata=[("client-request-id", "mine")])
            assert json.loads(logged.getvalue().splitlines()[-1])["client_request_id"] == "mine"
