"""Every module closes all that it has begun."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.leftovers import nothing_left

from redkite.cluster.grpc_network import GrpcNetwork
from redkite.env import Env

Make = Callable[..., GrpcNetwork]
"""(number of the node, …) -> its end of the network, which is closed behind the test."""


@pytest.fixture(autouse=True, scope="module")
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[GrpcNetwork] = []

    def network(node_id: int, **more: Any) -> GrpcNetwork:
        made.append(GrpcNetwork(Env.real(), "redkite", node_id, **more))
        return made[-1]

    yield network
    for one in made:
        one.close()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a handler waits for; open behind the test."""
    event = threading.Event()
    yield event
    event.set()
