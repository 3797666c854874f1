"""Tries of one request, of which whoever sent it has given up all but the last.

A try that nobody waits for any more may still be on its way, or stand in a queue. Carried out after a later one was
answered it would undo what has come since: a collection that was made, and dropped, would be there again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Final

from redkite.cluster.network import Unanswered
from redkite.coordinator.broadcast import LOCK_SECONDS, Key, ResourceLocks
from redkite.env import Env
from redkite.errors import Unavailable

KNOWN: Final = 10_000
"""Requests whose latest try is known."""


class Tries:
    """Of all requests that one node carries out. Safe from any thread."""

    def __init__(self, env: Env, patience: float = LOCK_SECONDS) -> None:
        """`patience`: seconds that a try waits for the one before."""
        self._patience = patience
        self._turns = ResourceLocks(env.tasks, env.clock)
        self._lock = Lock()
        self._latest: OrderedDict[int, int] = OrderedDict()

    @contextmanager
    def turn(self, request: int, tried: int) -> Iterator[None]:
        """Carry out a try of a request meanwhile; no other of the same is under way then. `tried`: how many there were
        before; `request`: its number, 0 for one that is made only once, or as often as anybody likes. Raises Unanswered
        when a later one has come, Unavailable when an earlier one takes too long."""
        if not request:
            yield
            return
        with self._lock:
            self._latest[request] = max(tried, self._latest.get(request, 0))
            self._latest.move_to_end(request)
            if len(self._latest) > KNOWN:
                self._latest.popitem(last=False)
        with ExitStack() as turn:
            try:
                turn.enter_context(self._turns.holding([Key(f"request/{request}", alone=True)], self._patience))
            except Unavailable:
                raise Unavailable(
                    f"the same request was sent before, and is being carried out for more than {self._patience:g} s"
                ) from None
            with self._lock:
                latest = self._latest.get(request, tried)
            if tried < latest:
                raise Unanswered(f"try {tried} of request {request} was given up: it was sent again")
            yield
