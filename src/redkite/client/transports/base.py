"""What a client wants of a transport. `deadline` is a `time.monotonic()` in seconds, or None for no limit."""

from __future__ import annotations

import time
from typing import Protocol

from msgspec import structs

from redkite.client.session import Wait, answer
from redkite.errors import Timeout
from redkite.model.requests import Queries, Request, Search
from redkite.model.results import Hits, Result


class Transport(Protocol):
    """Carries requests for any number of threads."""

    def call(self, request: Request, deadline: float | None) -> Result:
        """The answer, or its MilvusException. Writes are durable when this returns."""
        ...

    def again(self, search: Search, queries: Queries, deadline: float | None) -> Hits:
        """The answer to a search with these queries instead of its own. Whoever searches so keeps the object."""
        ...

    def close(self) -> None:
        """Give up connections. Calls that are under way may fail."""
        ...


class GreetingTransport(Transport, Protocol):
    """A transport to a server, which is greeted before anything else."""

    def connect(self, deadline: float | None = None) -> None:
        """Reach the server; ConnectError when none answers."""
        ...


class AsyncTransport(Protocol):
    """Carries requests for the tasks of an event loop."""

    async def call(self, request: Request, deadline: float | None) -> Result:
        """The answer, or its MilvusException. Writes are durable when this returns."""
        ...

    async def close(self) -> None:
        """Give up connections. Calls that are under way may fail."""
        ...


def called_again(transport: Transport, search: Search, queries: Queries, deadline: float | None) -> Hits:
    """`Transport.again` by `Transport.call`."""
    return answer(search, transport.call(structs.replace(search, queries=queries), deadline), Hits)


def remaining(deadline: float | None) -> float | None:
    """Seconds left; raises Timeout when there are none."""
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise Timeout("the call did not finish within its timeout")
    return left


def bounded(pause: Wait, deadline: float | None) -> float:
    """The seconds of a pause; raises Timeout when the deadline comes before its end."""
    left = remaining(deadline)
    if left is not None and left < pause.seconds:
        raise Timeout("what was asked for is not finished within its timeout; it goes on at the server")
    return pause.seconds
