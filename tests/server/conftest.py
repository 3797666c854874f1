"""A server around a fake service, and one around the real engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.server.fakes import FakeService
from tests.server.rest_client import Rest
from tests.servers import ProcessServer, ThreadServer


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
    """One `redkite serve` process for all tests that name their own collections."""
    with ProcessServer(tmp_path_factory.mktemp("server") / "data") as process:
        yield process


@pytest.fixture
def rest(server: ProcessServer) -> Rest:
    """REST calls to the server process."""
    return Rest(server.uri)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A collection name of this test's own."""
    return "c_" + "".join(letter if letter.isalnum() else "_" for letter in request.node.name)[:200]
