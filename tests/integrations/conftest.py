"""Where libraries that use pymilvus are pointed at: a server, and a local file through redkite-lite-dropin.

The libraries want versions that exclude one another, so they have environments of their own: `make integrations`
makes them and runs these tests in each. What is not installed is skipped.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from tests.servers import ProcessServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessServer]:
    """One `redkite serve` for all libraries."""
    with ProcessServer(tmp_path_factory.mktemp("integrations") / "data") as process:
        yield process


@pytest.fixture(scope="session")
def local_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database file for all libraries; that there is nothing yet is where they all begin."""
    return str(tmp_path_factory.mktemp("integrations") / "local.db")


@pytest.fixture(params=["server", "file"])
def uri(request: pytest.FixtureRequest) -> str:
    """What a library is given."""
    if request.param == "server":
        return str(request.getfixturevalue("server").uri)
    if find_spec("redkite_dropin") is None:
        pytest.skip("redkite-lite-dropin is not installed here: make integrations, make dropin")
    return str(request.getfixturevalue("local_file"))


@pytest.fixture
def name() -> str:
    """A name no collection has yet."""
    return f"c_{uuid.uuid4().hex}"
