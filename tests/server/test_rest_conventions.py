"""What all REST calls have in common: envelopes, HTTP status, headers, bad bodies."""

from __future__ import annotations

import threading
import time
from typing import Any

import httpx
import pytest
from tests.server.fakes import FakeService
from tests.server.rest_client import Rest
from tests.servers import ThreadServer

from redkite.logs import CURRENT
from redkite.model.limits import Limits
from redkite.model.requests import HasCollection, ShowCollections
from redkite.model.results import Collections, Flag, Result
from redkite.server.rest.app import RestApp
from redkite.server.rest.endpoints import BASE
from redkite.server.rest.endpoints import ENDPOINTS as _ENDPOINTS


@pytest.fixture
def fake(fake_server: ThreadServer, service: FakeService) -> Rest:
    """REST calls to a server around the fake service."""
    service.answers[HasCollection] = lambda request: Flag(value=request.collection == "there")
    return Rest(fake_server.uri)


def test_a_success_is_an_envelope_with_code_0(fake: Rest) -> None:
    response = fake.post("collections/has", {"collectionName": "there"})
    assert response.status_code == 200
    assert response.json() == {"code": 0, "data": {"has": True}}
    assert response.headers["content-type"].startswith("application/json")


def test_every_answer_has_a_trace_id_of_its_own(fake: Rest) -> None:
    first, second = (fake.post("databases/list").headers for _ in range(2))
    assert len(first["x-milvus-trace-id"]) == 32
    assert first["x-milvus-trace-id"] != second["x-milvus-trace-id"]
    assert first["x-content-type-options"] == "nosniff"


def test_a_preflight_is_answered_204(fake: Rest) -> None:
    response = httpx.options(f"{fake.uri}/v2/vectordb/collections/has", headers={"Origin": "http://localhost:3000"})
    assert response.status_code == 204
    assert "POST" in response.headers["access-control-allow-methods"]


def test_the_id_a_client_gives_stands_in_the_log(fake: Rest, service: FakeService) -> None:
    def told(_: Any) -> Result:
        current = CURRENT.get()
        assert current is not None
        seen.append(dict(current.log_fields()))
        return Flag(value=True)

    seen: list[dict[str, object]] = []
    service.answers[HasCollection] = told
    answer = fake.post("collections/has", {"collectionName": "c"}, client_request_id="mine-7")
    assert seen[0]["client_request_id"] == "mine-7"
    assert seen[0]["request_id"] == answer.headers["x-milvus-trace-id"]


def test_the_id_a_client_gives_comes_back(fake: Rest) -> None:
    assert fake.post("databases/list", client_request_id="mine-7").headers["client-request-id"] == "mine-7"
    assert "client-request-id" not in fake.post("databases/list", client_request_id="x" * 200).headers
    assert "client-request-id" not in fake.post("databases/list").headers


def test_an_unknown_route_or_method_is_a_plain_404(fake: Rest) -> None:
    for response in (
        fake.post("collections/nothing"),
        httpx.post(f"{fake.uri}/nothing", json={}),
        httpx.get(f"{fake.uri}/v2/vectordb/collections/list"),
    ):
        assert (response.status_code, response.text) == (404, "404 page not found")


@pytest.mark.parametrize("path", sorted(_ENDPOINTS))
def test_every_endpoint_wants_a_json_object(fake: Rest, path: str) -> None:
    short = path.removeprefix(BASE)
    assert fake.error(short, b"") == (
        1801, "can only accept json format request, the request body should be nil, however {} is valid",
    )  # fmt: skip
    for body in (b"{", b"[1]", b"nonsense", b"\xff\xfe", b'{"collectionName": }', b"[" * 100_000):
        code, message = fake.error(short, body)
        assert code == 1801
        assert message.startswith("can only accept json format request, error: ")


@pytest.mark.parametrize("path", sorted(_ENDPOINTS))
def test_every_endpoint_refuses_keys_it_does_not_know(fake: Rest, path: str) -> None:
    code, message = fake.error(path.removeprefix(BASE), {"dbNam": "d"})
    assert code == 1100
    assert message == "unknown parameter dbNam, did you mean dbName?: invalid parameter"


@pytest.mark.parametrize("path", sorted(path for path, endpoint in _ENDPOINTS.items() if endpoint.body.required))
def test_missing_keys_are_named_together(fake: Rest, path: str) -> None:
    body = _ENDPOINTS[path].body
    code, message = fake.error(path.removeprefix(BASE))
    assert code == 1802
    assert message.startswith("missing required parameters, error: Key: '")
    # A struct within the body may want more.
    assert message.count("failed on the 'required' tag") >= len(body.required)


def test_a_missing_key_is_named_as_milvus_does(fake: Rest) -> None:
    expected = (
        "missing required parameters, error: Key: 'CollectionNameReq.CollectionName' Error:Field validation for "
        "'CollectionName' failed on the 'required' tag"
    )
    for body in ({}, {"collectionName": ""}, {"collectionName": None}):
        assert fake.error("collections/has", body) == (1802, expected)


def test_a_value_of_the_wrong_type_is_refused_with_its_place(fake: Rest) -> None:
    code, message = fake.error("collections/has", {"collectionName": 3})
    assert code == 1801
    assert message.endswith("Expected `str`, got `int` - at `$.collectionName`")


def test_the_database_comes_from_the_body_else_the_header_else_it_is_default(fake: Rest, service: FakeService) -> None:
    fake.ok("collections/has", {"collectionName": "c"})
    assert service.last(HasCollection).database == "default"
    fake.ok("collections/has", {"collectionName": "c"}, DB_Name="books")
    assert service.last(HasCollection).database == "books"
    fake.ok("collections/has", {"collectionName": "c", "dbName": "films"}, DB_Name="books")
    assert service.last(HasCollection).database == "films"


def test_a_bug_in_the_service_answers_code_65535(fake: Rest, service: FakeService) -> None:
    service.answers[HasCollection] = lambda _: Flag(value=1 // 0 == 0)
    code, message = fake.error("collections/has", {"collectionName": "c"})
    assert code == 65535
    assert "ZeroDivisionError" in message


def test_a_call_past_its_timeout_is_answered_408(fake: Rest, service: FakeService) -> None:
    released = threading.Event()

    def wait(_: Any) -> Result:
        released.wait(60)
        return Flag(value=True)

    service.slow = {HasCollection}
    service.answers[HasCollection] = wait
    began = time.monotonic()
    response = fake.post("collections/has", {"collectionName": "c"}, Request_Timeout="1")
    released.set()
    assert response.status_code == 408
    assert response.json() == {"code": 10001, "message": "request timeout"}
    assert time.monotonic() - began < 50


def _app(server: ThreadServer) -> RestApp:
    assert server.server._rest_http is not None
    app: RestApp = server.server._rest_http._config.app
    return app


def test_the_settings_say_how_long_a_call_takes_and_how_integers_look(service: FakeService) -> None:
    service.slow = {HasCollection}
    service.answers[HasCollection] = lambda _: time.sleep(1.0) or Flag(value=True)  # type: ignore[func-returns-value]
    with ThreadServer(service, rest_seconds=0.2, rest_int64_as_numbers=False) as server:
        rest = Rest(server.uri)
        assert rest.post("collections/has", {"collectionName": "c"}).status_code == 408
        app = _app(server)
        assert app._as_text({})
        assert app._as_text({b"accept-type-allow-int64": b"perhaps"})
        assert not app._as_text({b"accept-type-allow-int64": b"True"})


@pytest.mark.parametrize("given", ["soon", "1.5", "1e3", "²", "1_0", "9" * 30])
def test_a_timeout_that_is_no_whole_number_is_refused(fake: Rest, given: str) -> None:
    response = httpx.post(
        f"{fake.uri}/v2/vectordb/databases/list", content=b"{}", headers={"Request-Timeout": given.encode()}
    )
    assert response.json()["code"] == 1100
    assert response.json()["message"].startswith("Request-Timeout parse failed, err: ")


@pytest.mark.parametrize("given", ["0", "-5", "100000000", ""])
def test_a_timeout_out_of_range_is_brought_into_it(fake: Rest, given: str) -> None:
    fake.ok("databases/list", {}, Request_Timeout=given)


def test_a_timeout_that_is_no_number_is_refused(fake: Rest) -> None:
    code, message = fake.error("databases/list", Request_Timeout="soon")
    assert code == 1100
    assert message.startswith("Request-Timeout parse failed, err: ")


def test_a_body_over_the_limit_is_refused(service: FakeService) -> None:
    with ThreadServer(service, limits=Limits(max_receive_bytes=1_000)) as server:
        code, message = Rest(server.uri).error("collections/has", {"collectionName": "c" * 2_000})
    assert code == 1102
    assert message == "the request body is larger than 1000 bytes: parameter too large"


def test_many_calls_use_one_connection(fake: Rest, service: FakeService) -> None:
    service.answers[ShowCollections] = lambda _: Collections(collections=())
    with httpx.Client(base_url=fake.uri) as client:
        for _ in range(50):
            assert client.post("/v2/vectordb/collections/list", json={}).json() == {"code": 0, "data": []}


def test_malformed_http_is_answered_400_and_the_server_goes_on(fake: Rest, fake_server: ThreadServer) -> None:
    import socket

    with socket.create_connection(("127.0.0.1", fake_server.port), timeout=30) as peer:
        peer.sendall(b"POST / HTTP/1.1\r\nbroken header\r\n\r\n")
        assert peer.recv(100).startswith(b"HTTP/1.1 400 ")
    fake.ok("databases/list")
