"""What nodes are to each other: something that can be asked, and answers.

Three networks speak it: `local_network` within one process, `grpc_network` between machines, `simulated` in a world
that loses, delays and reorders. Whoever asks knows none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import msgspec

from redkite.errors import ServiceError, Unavailable

ASK_SECONDS = 10.0
"""How long an answer is waited for where nobody says otherwise."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What one node asks of another. Any frozen struct will do; from this one it has how it may be tried again."""

    idempotent: ClassVar[bool] = False
    """Whether asking twice is as good as asking once: then it is tried again although nobody knows whether the first
    time came through."""


class NotReached(Unavailable):
    """Nobody was asked: there is no connection, or the node refuses to talk. Anything may be tried again, elsewhere or
    here."""


class Unanswered(Unavailable):
    """The other node was asked and no answer came, in time or at all. Whether it did what it was asked is not known."""


class WrongPeer(ServiceError):
    """Who answers at an address, or asks, is not of this cluster: it speaks another version of the protocol between
    nodes, belongs to another cluster, or does not know what it is asked."""


Handler = Callable[[Any], Any]
"""Answers a message with a reply, or with a future of one. Called in any thread; a MilvusException goes to whoever
asked."""


class Remote(Protocol):
    """A node, as others see it. Safe from any thread."""

    address: str

    def ask(self, message: msgspec.Struct, timeout: float | None = None) -> Any:
        """The reply. Raises what the other side raised; NotReached when it could not be asked, Unanswered when no
        answer came within `timeout` seconds (None: `ASK_SECONDS`)."""
        ...

    def ask_soon(self, message: msgspec.Struct, timeout: float | None = None) -> Future[Any]:
        """The same without waiting: several nodes can be asked at once."""
        ...


class Serving(Protocol):
    """A server."""

    address: str
    """Where others reach it."""

    def close(self) -> None:
        """Take no more calls, finish those that are running within some seconds, give back the port. Twice is once."""
        ...


class HybridClock(Protocol):
    """The oracle of a node, as far as messages concern it."""

    @property
    def last(self) -> int:
        """The newest timestamp that was handed out or observed."""
        ...

    def observe(self, timestamp: int) -> None:
        """Hand out only larger ones from now on."""
        ...


class Network(Protocol):
    """One node's way to the others."""

    def serve(self, address: str, handlers: Mapping[type, Handler]) -> Serving:
        """Answer messages by their types at `host:port`; port 0 picks one. Raises Unavailable when it is taken."""
        ...

    def connect(self, address: str) -> Remote:
        """A node by its address: cheap, kept, connects when it is first asked and again whenever it has to."""
        ...

    def abandon(self, address: str) -> None:
        """The node there is known to be gone: what it was asked is Unanswered now, rather than in its time."""
        ...

    def keep_time(self, oracle: HybridClock) -> None:
        """Every message carries this oracle's newest timestamp from now on, and it observes those that come."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, of the call that is answered here."""

    node_id: int
    address: str
    """Where it calls from, as far as that is known."""
    deadline: float
    """By the monotonic clock of this node: nobody waits for the answer any longer."""


CALLER: ContextVar[Caller | None] = ContextVar("redkite_caller", default=None)
"""Of the message that is answered in this thread."""
