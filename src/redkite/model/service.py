"""The door every front end knocks on."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol, runtime_checkable

from redkite.model.requests import Queries, Request, Search
from redkite.model.results import Hits, Result


class Service(Protocol):
    """A whole Redkite, near or far. Safe to call from any thread."""

    def call(self, request: Request) -> Result | Future[Result]:
        """Answer a request, or raise a MilvusException.

        Reads and most other requests answer at once, in the caller's thread. Writes answer a future that is done when
        the write is durable and visible. A request that this version does not build raises Unimplemented (10).
        """
        ...

    def is_quick(self, request: Request) -> bool:
        """True when `call` will take well under a millisecond or returns a future: an event loop may call it inline."""
        ...


@runtime_checkable
class Repeating(Protocol):
    """A service that knows searches by what they are: small ones would spend much of their time on being read."""

    def again(self, search: Search, queries: Queries) -> Hits | None:
        """What `call` answers to this very object with these queries instead of its own; None: it has to be asked.
        Whoever searches again keeps the object."""
        ...
