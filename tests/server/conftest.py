"""A server around a fake service, and one around the real engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pymilvus
import pytest
from tests.server.alone import FILES, WITHOUT_ENVOY
from tests.server.fakes import FakeService
from tests.server.guarded import ROOT, serve
from tests.server.rest_client import Rest
from tests.servers import ProcessServer, ThreadServer, wire_server

import redkite

collect_ignore = sorted(FILES) if "CLUSTER" in os.environ else []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("FRONT") != "envoy":
        return
    for item in items:
        if item.path.parent == Path(__file__).parent:
            test = f"{item.path.name}::{item.name.partition('[')[0]}"
            why = WITHOUT_ENVOY.get(item.path.name) or WITHOUT_ENVOY.get(test)
            if why is not None:
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def fake_server(service: FakeService) -> Iterator[ThreadServer]:
    """A server in a thread around `service`."""
    with ThreadServer(service) as server:
        yield server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessServer]:
    """One `redkite serve` process, or a cluster, for all tests that name their own collections."""
    with wire_server(tmp_path_factory.mktemp("server") / "data") as process:
        yield process


@pytest.fixture
def rest(server: ProcessServer) -> Rest:
    """REST calls to the server process."""
    return Rest(server.uri)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A collection name of this test's own."""
    module = request.node.module.__name__.rpartition(".")[2]
    return "c_" + "".join(letter if letter.isalnum() else "_" for letter in f"{module}_{request.node.name}")[:200]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessServer]:
    with serve(tmp_path_factory.mktemp("guarded"), 'authorization = "on"', 'super_users = "boss"') as process:
        yield process


@pytest.fixture(scope="module")
def root(guarded: ProcessServer) -> Iterator[redkite.MilvusClient]:
    with redkite.MilvusClient(guarded.uri, token=ROOT) as client:
        yield client


@pytest.fixture(params=[pymilvus, redkite], ids=["pymilvus", "redkite"])
def sdk(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.param
    return module


@pytest.fixture
def bob(root: redkite.MilvusClient) -> Iterator[str]:
    """A user with the role `reader`, which may do nothing yet."""
    root.create_user("bob", "secret1")
    root.create_role("reader")
    root.grant_role("bob", "reader")
    yield "bob:secret1"
    root.drop_user("bob")
    root.drop_role("reader", force_drop=True)
