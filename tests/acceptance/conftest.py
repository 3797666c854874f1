"""Three ways to the same engine: pymilvus and Redkite's SDK against `redkite serve`, and Redkite's SDK on a file."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pymilvus
import pytest
from tests.servers import ProcessServer, wire_server

import redkite

OUR_WAYS = ("redkite", "embedded")
"""For tests of what pymilvus does not have: `parametrize("sdk", OUR_WAYS, indirect=True, scope="session")`."""
WAYS = ("pymilvus", *OUR_WAYS)


@dataclass(frozen=True)
class Sdk:
    """One way to an engine: a module that has `MilvusClient`, and where its client connects to."""

    way: str
    module: ModuleType
    uri: str

    @property
    def embedded(self) -> bool:
        return self.way == "embedded"

    @property
    def ours(self) -> bool:
        return self.module is redkite

    def connect(self, **options: Any) -> Any:
        return self.module.MilvusClient(uri=self.uri, **options)

    def connect_async(self, **options: Any) -> Any:
        return self.module.AsyncMilvusClient(uri=self.uri, **options)


def plain(answer: Any) -> dict[str, Any]:
    """What a write answered, without what it would have been billed, which only pymilvus tells."""
    assert isinstance(answer, dict)
    return {key: list(value) if key == "ids" else value for key, value in answer.items() if key != "cost"}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessServer]:
    """One `redkite serve`, or a cluster (`make cluster-acceptance`; `CLUSTER="query=1"` says how many of its nodes),
    for all tests that name their own collections."""
    data = tmp_path_factory.mktemp("acceptance") / "data"
    with wire_server(data) as process:
        yield process


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database file for all tests that name their own collections."""
    return str(tmp_path_factory.mktemp("acceptance") / "shared.db")


@pytest.fixture(scope="session", params=WAYS)
def sdk(request: pytest.FixtureRequest) -> Sdk:
    way = str(request.param)
    module = pymilvus if way == "pymilvus" else redkite
    if way == "embedded":
        return Sdk(way, module, str(request.getfixturevalue("database")))
    return Sdk(way, module, str(request.getfixturevalue("server").uri))


@pytest.fixture(scope="session")
def client(sdk: Sdk) -> Iterator[Any]:
    """A client that all tests of one way share, as a program's would be."""
    shared = sdk.connect()
    yield shared
    shared.close()


@pytest.fixture
def name(client: Any) -> Iterator[str]:
    """A name no collection has yet; whatever the test creates under it is dropped."""
    chosen = f"c_{uuid.uuid4().hex}"
    yield chosen
    client.drop_collection(chosen)
