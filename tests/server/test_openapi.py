"""The OpenAPI document: true to the endpoints, and every endpoint true to it, whatever it is sent.

`REST_EXAMPLES` says how many bodies each endpoint gets (`make rest` sends many).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.server.guarded import ROOT, serve
from tests.server.rest_client import Rest
from tests.servers import ProcessServer

from redkite import cli
from redkite.server.rest.endpoints import BASE, ENDPOINTS
from redkite.server.rest.exchange import read_body
from redkite.server.rest.openapi import openapi
from redkite.server.rest.openapi_data import ANSWERS, EXAMPLES, MORE
from redkite.server.rest.v1 import V1

DOCUMENT = orjson.loads(orjson.dumps(openapi()))
EXAMPLES_EACH = int(os.environ.get("REST_EXAMPLES", "2"))
CHECKS = (
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance,
)  # fmt: skip
SECONDS = 20.0
"""An answer takes less, or the server hangs."""
api = schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def disposable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessServer]:
    """A server that asks who calls; root may do everything to it."""
    with serve(tmp_path_factory.mktemp("fuzzed"), 'authorization = "on"') as server:
        rest = Rest(server.uri)
        for path in ("collections/create", "entities/insert"):
            rest.ok(path, EXAMPLES[path], Authorization=f"Bearer {ROOT}")
        yield server


# -- the document -------------------------------------------------------------------------------
def test_every_endpoint_is_in_the_document_and_nothing_else() -> None:
    described = {(method.upper(), path) for path, operations in DOCUMENT["paths"].items() for method in operations}
    assert described == {("POST", path) for path in ENDPOINTS} | set(V1)
    ids = [op["operationId"] for operations in DOCUMENT["paths"].values() for op in operations.values()]
    assert len(set(ids)) == len(ids)


def test_what_is_said_of_answers_is_about_endpoints() -> None:
    known = {path.removeprefix(BASE) for path in ENDPOINTS} | {path for _, path in V1}
    assert ANSWERS.keys() | MORE.keys() | EXAMPLES.keys() <= known


def test_every_reference_leads_somewhere() -> None:
    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    for reference in set(references(DOCUMENT)):
        found: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        assert found


@pytest.mark.parametrize("path", sorted(ENDPOINTS))
def test_the_example_of_an_endpoint_is_a_body_it_takes(path: str) -> None:
    content = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    body = content["examples"]["example"]["value"]
    read_body(ENDPOINTS[path].body, orjson.dumps(body))
    schema = DOCUMENT["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
    assert set(schema.get("required", [])) <= body.keys() <= schema["properties"].keys()


def test_the_document_is_served_to_whoever_is_known(disposable: ProcessServer) -> None:
    url = f"{disposable.uri}/v2/openapi.json"
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers={"Authorization": f"Bearer {ROOT}"}).json() == DOCUMENT


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["openapi"]) == 0
    assert orjson.loads(capsys.readouterr().out) == DOCUMENT


# -- the endpoints ------------------------------------------------------------------------------
@api.parametrize()
@settings(
    max_examples=EXAMPLES_EACH, deadline=None, database=None, phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck), derandomize="REST_EXAMPLES" not in os.environ,
)  # fmt: skip
def test_every_endpoint_answers_as_the_document_says(case: Any, disposable: ProcessServer) -> None:
    response = case.call(base_url=disposable.uri, headers={"Authorization": f"Bearer {ROOT}"}, timeout=SECONDS)
    case.validate_response(response, checks=CHECKS)


def test_the_server_has_survived(disposable: ProcessServer) -> None:
    assert disposable.process.poll() is None
    rest = Rest(disposable.uri)
    assert rest.ok("databases/list", {}, Authorization=f"Bearer {ROOT}")
    assert not list(Path(disposable.data).parent.glob("*/../books*"))
