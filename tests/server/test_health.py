"""The metrics port."""

from __future__ import annotations

import httpx
import pytest
from tests.server.fakes import FakeService
from tests.servers import ThreadServer

from redkite.errors import CollectionNotFound
from redkite.model.requests import CheckHealth, GetCollectionStatistics, HasCollection, ShowCollections
from redkite.model.results import CollectionBrief, Collections, Flag, Health, Result, RowCount
from redkite.server.exposition import exposition
from redkite.server.metrics import OK, SYSTEM, Metrics


@pytest.fixture
def port(fake_server: ThreadServer) -> str:
    return f"http://127.0.0.1:{fake_server.metrics_port}"


def test_a_healthy_server_answers_ok(port: str) -> None:
    answer = httpx.get(f"{port}/healthz")
    assert (answer.status_code, answer.text) == (200, "OK")
    answer = httpx.get(f"{port}/healthz", headers={"Content-Type": "application/json"})
    assert answer.json() == {"state": "OK", "detail": [{"name": "redkite", "code": 1}]}


def test_an_unhealthy_server_says_why(port: str, service: FakeService) -> None:
    service.answers[CheckHealth] = lambda _: Health(healthy=False, reasons=("the disk is full",))
    answer = httpx.get(f"{port}/healthz")
    assert (answer.status_code, answer.text) == (500, "Not all components are healthy, 0/1: the disk is full")
    assert httpx.get(f"{port}/livez").status_code == 200


def test_other_paths_and_methods_are_refused(port: str) -> None:
    assert httpx.get(f"{port}/nothing").status_code == 404
    assert httpx.post(f"{port}/healthz").status_code == 405


def test_metrics_count_calls_errors_and_rows(port: str, service: FakeService, fake_server: ThreadServer) -> None:
    def gone(_: object) -> Result:
        raise CollectionNotFound.named("default", "b")

    brief = CollectionBrief(name="a", collection_id=1, created_timestamp=1, shards=1, loaded_percent=100)
    service.answers[ShowCollections] = lambda _: Collections(collections=(brief,))
    service.answers[GetCollectionStatistics] = lambda _: RowCount(rows=5)
    service.answers[HasCollection] = lambda _: Flag(value=True)
    for _ in range(3):
        httpx.post(f"{fake_server.uri}/v2/vectordb/collections/has", json={"collectionName": "a"})
    httpx.post(f"{fake_server.uri}/v2/vectordb/collections/has", json={})
    text = httpx.get(f"{port}/metrics").text
    assert 'redkite_requests_total{protocol="rest",method="collections/has"} 4' in text
    assert 'redkite_request_errors_total{protocol="rest",method="collections/has"} 1' in text
    assert 'redkite_request_seconds_count{protocol="rest",method="collections/has"} 4' in text
    assert "redkite_collections 1\n" in text
    assert "redkite_rows 5\n" in text
    service.answers[GetCollectionStatistics] = gone
    assert "redkite_rows 0\n" in httpx.get(f"{port}/metrics").text


def test_a_histogram_counts_every_call_below_its_bounds() -> None:
    metrics = Metrics()
    for seconds in (0.0001, 0.0005, 0.3, 100.0):
        metrics.of("grpc", "Search").observe(seconds, SYSTEM if seconds > 1 else OK)
    lines = exposition(metrics.counted()).splitlines()
    labels = 'protocol="grpc",method="Search"'
    assert f'redkite_request_seconds_bucket{{{labels},le="0.0005"}} 2' in lines
    assert f'redkite_request_seconds_bucket{{{labels},le="0.5"}} 3' in lines
    assert f'redkite_request_seconds_bucket{{{labels},le="+Inf"}} 4' in lines
    assert f"redkite_request_seconds_sum{{{labels}}} 100.300600" in lines
    assert f"redkite_request_errors_total{{{labels}}} 1" in lines
