"""Traces: from a client's call to the segments that are searched, and out to a collector."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Thread

import httpx
import numpy as np
import opentelemetry.trace
import pytest
from tests.server.guarded import serve
from tests.servers import ThreadServer, engine_here
from tests.test_spans import Traces

import redkite
from redkite import spans
from redkite.config import ConfigError, items, load
from redkite.errors import InvalidParameter
from redkite.model.tracing import TraceSettings
from redkite.server import tracing
from redkite.server.observer import Call

SENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = "0af7651916cd43dd8448eb211c80319c"
VECTORS = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)


@pytest.fixture
def traces() -> Iterator[Traces]:
    found = Traces()
    spans.install(found.tracer)
    yield found
    spans.install(None)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ThreadServer]:
    """The real engine behind the real doors, in this process."""
    database = engine_here(str(tmp_path / "db"))
    with ThreadServer(database.service) as running:
        yield running
    database.close()


@pytest.fixture
def client(server: ThreadServer) -> Iterator[redkite.MilvusClient]:
    with redkite.MilvusClient(server.uri) as connected:
        connected.create_collection("books", dimension=8, metric_type="L2")
        connected.insert("books", [{"id": at, "vector": vector} for at, vector in enumerate(VECTORS)])
        yield connected


def above(traces: Traces, name: str) -> list[str]:
    """A span's name and those it stands below, up to the first."""
    (span,) = {s.name: s for s in traces.all if s.name == name}.values()
    found = [span]
    by_id = {s.context.span_id: s for s in traces.all}
    while found[-1].parent is not None and found[-1].parent.span_id in by_id:
        found.append(by_id[found[-1].parent.span_id])
    return [s.name for s in found]


def test_a_search_is_traced_from_the_call_to_the_segment(client: redkite.MilvusClient, traces: Traces) -> None:
    client.search("books", [VECTORS[0]], limit=3, filter="id > 5")
    assert above(traces, "segment") == ["segment", "shard", "proxy", "Search"]
    assert len({s.context.trace_id for s in traces.all if s.name in ("segment", "proxy", "Search")}) == 1
    call = traces.named("Search")
    assert call.attributes is not None
    assert call.attributes["db.collection.name"] == "books"
    assert call.attributes["rpc.system"] == "grpc"
    assert call.kind is opentelemetry.trace.SpanKind.SERVER


def test_a_search_of_sealed_rows_goes_by_a_query_node(client: redkite.MilvusClient, traces: Traces) -> None:
    client.flush("books")
    client.search("books", [VECTORS[0]], limit=3, filter="id > 5")
    assert above(traces, "segment") == ["segment", "query node", "shard", "proxy", "Search"]
    assert above(traces, "write segment") == ["write segment", "flush", "proxy", "Flush"]
    assert traces.named("segment").attributes is not None


def test_a_write_is_traced_to_its_log(client: redkite.MilvusClient, traces: Traces) -> None:
    client.insert("books", [{"id": 100, "vector": VECTORS[0]}])
    assert above(traces, "log append") == ["log append", "shard insert", "proxy", "Insert"]
    appended, answered = traces.named("log append"), traces.named("Insert")
    assert appended.end_time is not None
    assert answered.end_time is not None
    assert appended.end_time <= answered.end_time


def test_work_in_the_background_is_traced_too(
    client: redkite.MilvusClient, server: ThreadServer, traces: Traces, tmp_path: Path
) -> None:
    def waited(name: str) -> set[str]:
        deadline = time.monotonic() + 120
        while name not in {span.name for span in traces.all} and time.monotonic() < deadline:
            time.sleep(0.02)
        return {span.name for span in traces.all}

    client.flush("books")
    client.insert("books", [{"id": at + 1000, "vector": vector} for at, vector in enumerate(VECTORS)])
    client.compact("books")
    assert {"flush", "write segment", "compaction"} <= waited("compaction")
    (tmp_path / "rows.json").write_text(json.dumps([{"id": 5000, "vector": VECTORS[0].tolist()}]))
    body = {"collectionName": "books", "files": [[str(tmp_path / "rows.json")]]}
    told = httpx.post(f"{server.uri}/v2/vectordb/jobs/import/create", json=body).json()
    assert told["code"] == 0, told
    assert "import" in waited("import")
    many = [{"id": at, "vector": vector} for at, vector in enumerate(np.tile(VECTORS, (30, 1)))]
    client.insert("books", many)  # fewer are not indexed
    client.flush("books")
    assert "build index" in waited("build index")


def test_the_clients_own_span_is_the_parent_of_the_servers(
    client: redkite.MilvusClient, traces: Traces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opentelemetry.trace, "get_tracer_provider", lambda: traces.provider)
    client.search("books", [VECTORS[0]], limit=3)
    assert above(traces, "Search")[1:] == ["search"]
    mine = traces.named("search")
    assert mine.kind is opentelemetry.trace.SpanKind.CLIENT
    assert mine.attributes is not None
    assert mine.attributes["db.collection.name"] == "books"


def test_a_failed_call_is_marked(client: redkite.MilvusClient, traces: Traces) -> None:
    with pytest.raises(redkite.MilvusException):
        client.search("books", [VECTORS[0]], limit=3, filter="id = = 3")
    call = traces.named("Search")
    assert not call.status.is_ok
    assert call.attributes is not None
    assert call.attributes["redkite.code"] == 1100


def test_rest_goes_on_with_a_trace_and_answers_its_id(
    client: redkite.MilvusClient, server: ThreadServer, traces: Traces
) -> None:
    body = {"collectionName": "books", "data": [VECTORS[0].tolist()], "limit": 1}
    answer = httpx.post(f"{server.uri}/v2/vectordb/entities/search", json=body, headers={"traceparent": SENT})
    assert answer.json()["code"] == 0
    assert answer.headers["x-milvus-trace-id"] == TRACE
    call = traces.named("entities/search")
    assert call.parent is not None
    assert f"{call.parent.span_id:016x}" == SENT.split("-")[2]
    assert above(traces, "segment")[-1] == "entities/search"
    other = httpx.post(f"{server.uri}/v2/vectordb/collections/list", json={}).headers["x-milvus-trace-id"]
    assert other == f"{traces.named('collections/list').context.trace_id:032x}"


def test_a_caller_that_decided_not_to_trace_is_not_traced(
    client: redkite.MilvusClient, server: ThreadServer, traces: Traces
) -> None:
    body = {"collectionName": "books", "data": [VECTORS[0].tolist()], "limit": 1}
    begun = len(traces.all)
    headers = {"traceparent": SENT[:-1] + "0"}
    assert httpx.post(f"{server.uri}/v2/vectordb/entities/search", json=body, headers=headers).json()["code"] == 0
    assert "segment" not in {span.name for span in traces.all[begun:]}


def test_log_lines_name_the_trace(traces: Traces) -> None:
    call = Call("grpc", "Search")
    assert "trace_id" not in call.log_fields()
    assert call.trace_id == call.request_id
    call.span = spans.begin_call("Search", {"traceparent": SENT}, {})
    assert call.span is not None
    assert call.log_fields()["trace_id"] == TRACE
    assert call.log_fields()["span_id"] == call.span.span_id
    assert call.trace_id == TRACE


# -- where spans go -----------------------------------------------------------------------------
class Collector:
    """Takes what OTLP over HTTP sends."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, str, bytes]] = []
        taken = self.posted

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                taken.append((self.path, self.headers.get("x-key", ""), body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return self.server.server_port


def test_a_server_sends_its_spans_to_a_collector(tmp_path: Path) -> None:
    collector = Collector()
    section = (
        "[trace]", 'exporter = "otlp"', "sample_fraction = 1.0", 'otlp_method = "http"', "otlp_secure = false",
        f'otlp_endpoint = "127.0.0.1:{collector.port}"', 'otlp_headers = "x-key=very secret"',
    )  # fmt: skip
    with serve(tmp_path, *section) as process, redkite.MilvusClient(process.uri) as client:
        client.list_collections()
    assert {(path, key) for path, key, _ in collector.posted} == {("/v1/traces", "very secret")}
    sent = b"".join(body for _, _, body in collector.posted)
    assert b"ShowCollections" in sent
    assert b"proxy" in sent
    collector.server.shutdown()


def test_spans_can_be_written_to_standard_output_also_by_several_processes(tmp_path: Path) -> None:
    settings = ("[trace]", 'exporter = "stdout"', "sample_fraction = 1.0")
    with serve(tmp_path, *settings, workers=2) as process, redkite.MilvusClient(process.uri) as client:
        for _ in range(20):
            client.list_collections()
    lines = [*process.output.splitlines(), *process.errors.splitlines()]
    told = [json.loads(line) for line in lines if line.startswith("{")]
    assert sum(span["name"] == "ShowCollections" for span in told) >= 20
    assert all(span["resource"]["attributes"]["service.name"] == "redkite" for span in told)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(InvalidParameter, match=r"redkite\[tracing\]"):
        tracing.begin(TraceSettings(exporter="otlp"))
    assert tracing.begin(TraceSettings()) is None
    assert not spans.is_on()


@pytest.mark.parametrize("method", ["grpc", "http"])
@pytest.mark.parametrize("endpoint", ["localhost:4317", "http://collector:4318", "https://collector/v1/traces"])
def test_every_way_to_a_collector_can_be_set_up(method: str, endpoint: str) -> None:
    found = tracing.begin(TraceSettings(exporter="otlp", otlp_method=method, otlp_endpoint=endpoint))  # type: ignore[arg-type]
    assert found is not None
    assert spans.is_on()
    found.close()
    assert not spans.is_on()


def test_headers_that_are_none_are_refused_without_being_quoted() -> None:
    with pytest.raises(InvalidParameter) as caught:
        tracing.begin(TraceSettings(exporter="otlp", otlp_headers="a very secret key"))
    assert "secret" not in caught.value.message


def test_the_settings_of_traces_are_read_checked_and_kept_secret() -> None:
    given = {
        "REDKITE_TRACE_EXPORTER": "otlp",
        "REDKITE_TRACE_SAMPLE_FRACTION": "0.25",
        "REDKITE_TRACE_OTLP_HEADERS": "k=v",
    }
    found = load(environment=given)
    assert found.settings.trace == TraceSettings(exporter="otlp", sample_fraction=0.25, otlp_headers="k=v")
    assert dict(items(found.settings))["trace.otlp_headers"] == "(hidden)"
    assert "k=v" not in found.explain()
    for name, value in (("SAMPLE_FRACTION", "1.5"), ("SAMPLE_FRACTION", "-0.1"), ("EXPORTER", "jaeger")):
        with pytest.raises(ConfigError):
            load(environment={f"REDKITE_TRACE_{name}": value})


def test_a_collector_that_takes_nothing_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "LAST_SECONDS", 0.05)
    found = tracing.begin(TraceSettings(exporter="otlp", otlp_method="http", sample_fraction=1.0))
    assert found is not None
    stuck = Event()
    monkeypatch.setattr(found._provider, "shutdown", stuck.wait)
    began = time.monotonic()
    found.close()
    assert time.monotonic() - began < 30
    stuck.set()
