"""The network of nodes that share a process. Messages are encoded and decoded all the same, so that no node can hold or
change what belongs to another.

    hub = LocalHub(env)
    one, two = hub.network(1), hub.network(2)
    serving = one.serve("127.0.0.1:0", {Ping: answer})
    two.connect(serving.address).ask(Ping())
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from threading import Lock
from typing import Any

import msgspec

from redkite.cluster.network import ASK_SECONDS, Handler, HybridClock, NotReached, Unanswered
from redkite.cluster.party import Party
from redkite.cluster.traffic import Traffic
from redkite.env import Env, Timer, away
from redkite.errors import Unavailable

WORKERS = 32
"""Messages that one node answers at a time."""
_FIRST_PORT = 20_000
_LOOK_SECONDS = 0.05
"""How often it is looked for answers that are overdue."""


class LocalHub:
    """What connects the nodes of one process. A node that is cut off neither hears nor is heard; one that is paused
    hears when it goes on."""

    def __init__(self, env: Env, cluster: str = "redkite") -> None:
        self.env = env
        self.cluster = cluster
        self.lock = Lock()
        self.servings: dict[str, LocalServing] = {}
        self._port = _FIRST_PORT
        self._open: dict[_Waiting, None] = {}
        self._timer: Timer | None = None

    def network(self, node_id: int) -> LocalNetwork:
        """That of one node."""
        return LocalNetwork(self, node_id)

    def pause(self, address: str) -> None:
        """The node at an address takes no message until it is resumed."""
        self.servings[address].pause()

    def resume(self, address: str) -> None:
        self.servings[address].resume()

    def enter(self, address: str, serving: LocalServing) -> str:
        """Take an address; port 0 is the next free one."""
        with self.lock:
            host, _, port = address.rpartition(":")
            while port == "0":
                self._port += 1
                address = f"{host}:{self._port}"
                port = "0" if address in self.servings else str(self._port)
            if address in self.servings:
                raise Unavailable(f"{address} is taken by another node")
            self.servings[address] = serving
            return address

    def leave(self, address: str) -> None:
        with self.lock:
            self.servings.pop(address, None)

    # -- answers that are overdue -----------------------------------------------------------------
    def wait_for(self, waiting: _Waiting) -> None:
        with self.lock:
            self._open[waiting] = None
            if self._timer is None:
                self._timer = self.env.tasks.every(_LOOK_SECONDS, self._look, "overdue-answers")

    def arrived(self, waiting: _Waiting) -> None:
        with self.lock:
            self._open.pop(waiting, None)

    def abandon(self, party: Party, address: str) -> None:
        """Nothing that a node asked there is waited for any longer."""
        with self.lock:
            left = [waiting for waiting in self._open if waiting.is_of(party, address)]
        for waiting in left:
            waiting.cut()

    def _look(self) -> None:
        now = self.env.clock.monotonic()
        with self.lock:
            overdue = [waiting for waiting in self._open if waiting.deadline <= now]
            if not self._open and self._timer is not None:
                self._timer.cancel()
                self._timer = None
        for waiting in overdue:
            waiting.give_up()


class LocalNetwork:
    """One node's."""

    def __init__(self, hub: LocalHub, node_id: int) -> None:
        self._hub = hub
        self._party = Party(hub.env, hub.cluster, node_id)
        self._servings: list[LocalServing] = []
        self._remotes: dict[str, LocalRemote] = {}
        self.closed = False

    @property
    def traffic(self) -> Traffic:
        return self._party.traffic

    def serve(self, address: str, handlers: Mapping[type, Handler]) -> LocalServing:
        serving = LocalServing(self._hub, self._party, handlers, address)
        self._servings.append(serving)
        return serving

    def connect(self, address: str) -> LocalRemote:
        remote = self._remotes.get(address)
        if remote is None:
            remote = self._remotes.setdefault(address, LocalRemote(self, self._hub, self._party, address))
        return remote

    def abandon(self, address: str) -> None:
        self._hub.abandon(self._party, address)

    def keep_time(self, oracle: HybridClock) -> None:
        self._party.keep_time(oracle)

    def close(self) -> None:
        """The node is gone: it neither hears nor is heard."""
        self.closed = True
        for serving in self._servings:
            serving.close()


class LocalServing:
    """A node that answers at an address."""

    def __init__(self, hub: LocalHub, party: Party, handlers: Mapping[type, Handler], address: str) -> None:
        self._hub = hub
        self._party = party
        self._handlers = dict(handlers)
        self._lock = Lock()
        self._open: set[_Waiting] = set()
        self._held: list[tuple[bytes, _Waiting]] | None = None
        """Messages that wait while the node is paused."""
        self._closed = False
        self._workers = hub.env.tasks.executor(f"answers-{party.node_id}", WORKERS)
        self.address = hub.enter(address, self)

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            left, self._open = self._open, set()
        self._hub.leave(self.address)
        for waiting in left:
            waiting.cut()
        self._workers.shutdown(wait=False)

    def pause(self) -> None:
        with self._lock:
            self._held = self._held or []

    def resume(self) -> None:
        with self._lock:
            held, self._held = self._held or [], None
        for frame, waiting in held:
            self.take(frame, waiting)

    def take(self, frame: bytes, waiting: _Waiting) -> None:
        """Answer a message in a thread of this node."""
        with self._lock:
            if self._closed:
                raise NotReached(f"nobody answers at {self.address}")
            if self._held is not None:
                self._held.append((frame, waiting))
                return
            self._open.add(waiting)
            self._workers.submit(self._answer, frame, waiting)

    def _answer(self, frame: bytes, waiting: _Waiting) -> None:
        self._party.answer(frame, self._handlers, "", partial(self._deliver, waiting))

    def _deliver(self, waiting: _Waiting, reply: bytes) -> None:
        with self._lock:
            is_heard = waiting in self._open
            self._open.discard(waiting)
        if is_heard:
            waiting.arrive(reply)


class LocalRemote:
    """Another node of the process."""

    def __init__(self, network: LocalNetwork, hub: LocalHub, party: Party, address: str) -> None:
        self._network = network
        self._hub = hub
        self._party = party
        self.address = address

    def ask(self, message: msgspec.Struct, timeout: float | None = None) -> Any:
        with away():
            return self.ask_soon(message, timeout).result()

    def ask_soon(self, message: msgspec.Struct, timeout: float | None = None) -> Future[Any]:
        seconds = ASK_SECONDS if timeout is None else timeout
        frame = self._party.asking(message, seconds)
        waiting = _Waiting(self._party, self._hub, type(message).__name__, self.address, seconds)
        serving = self._hub.servings.get(self.address)
        if serving is None or self._network.closed:
            waiting.fail(NotReached(f"nobody answers at {self.address}"))
            return waiting.future
        self._hub.wait_for(waiting)
        try:
            serving.take(frame, waiting)
        except NotReached as error:
            waiting.fail(error)
        return waiting.future


class _Waiting:
    """One answer that is waited for. It ends once."""

    __slots__ = ("_begun", "_first", "_hub", "_party", "_seconds", "_what", "_where", "deadline", "future")

    def __init__(self, party: Party, hub: LocalHub, what: str, where: str, seconds: float) -> None:
        self._party = party
        self._hub = hub
        self._what = what
        self._where = where
        self._seconds = seconds
        self._begun = hub.env.clock.monotonic()
        self.deadline = self._begun + seconds
        self._first = Lock()
        """Taken by what ends it first, and never given back."""
        self.future: Future[Any] = hub.env.tasks.future()

    def arrive(self, reply: bytes) -> None:
        try:
            value = self._party.told(reply)
        except Exception as error:  # noqa: BLE001  it is for whoever waits
            self.fail(error)
            return
        if self._ends(None):
            self.future.set_result(value)

    def is_of(self, party: Party, address: str) -> bool:
        return self._party is party and self._where == address

    def cut(self) -> None:
        self.fail(Unanswered(f"{self._where} went away before it answered {self._what}"))

    def give_up(self) -> None:
        self.fail(Unanswered(f"{self._where} did not answer {self._what} within {self._seconds:g} s"))

    def fail(self, error: Exception) -> None:
        if self._ends(error):
            self.future.set_exception(error)

    def _ends(self, error: Exception | None) -> bool:
        if not self._first.acquire(blocking=False):
            return False
        self._hub.arrived(self)
        self._party.traffic.asked(self._what, self._hub.env.clock.monotonic() - self._begun, error)
        return True
