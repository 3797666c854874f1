"""A network that a seed decides: messages are lost, late, overtaken by others, doubled, and hosts are cut off.

    net = NetworkWorld(rng, later)
    node = SimulatedNetwork(net, env, node_id=7, host="streaming-7")
    net.cut({"streaming-7"}, {"proxy-1", "proxy-2"})
    net.heal()

Messages are encoded and decoded as between machines. An asker that was not reached is told so only where a real one
would know: the host is there and nobody listens, or no connection could be made. All else is no answer in time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import msgspec

from redkite.cluster.network import ASK_SECONDS, Handler, HybridClock, NotReached, Unanswered
from redkite.cluster.party import Party
from redkite.cluster.traffic import Traffic
from redkite.env import Env, Executor
from redkite.errors import MilvusException, Unavailable
from redkite.simulated.disk import Random

Later = Callable[[float, Callable[[], None]], None]
"""Calls something after so many seconds of the world, which must not wait."""
_THREADS = 64
"""Messages that one node answers at a time."""
_CONNECT_SECONDS = 1.0
"""After this long without a connection nobody was reached."""


@dataclass
class Weather:
    """How the network is: chances of each message, and seconds."""

    least: float = 0.0002
    most: float = 0.002
    """How long one is on its way, usually."""
    slow: float = 0.0
    slow_seconds: float = 0.5
    """The chance of one to take up to so long."""
    lost: float = 0.0
    doubled: float = 0.0
    """Arrives a second time, later; only of what may be asked twice."""


@dataclass
class NetworkWorld:
    """All hosts and what is between them."""

    rng: Random
    later: Later
    weather: Weather = field(default_factory=Weather)
    servers: dict[str, SimulatedServing] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    """Hosts without power: nobody knows whether they are there."""
    silent: set[tuple[str, str]] = field(default_factory=set)
    """(from, to): nothing comes through that way."""
    sent: int = 0
    lost: int = 0
    asked: Callable[[str, str, str], None] = lambda *_: None
    """Told of each message that arrives: from which host, at which, and what it is called. Must not wait."""
    answers: Callable[[str, str], bool] = lambda *_: True
    """Asked for each answer that is about to leave a host, with what was asked: whether it does."""

    delays: Callable[[str], float] = lambda _: 0.0
    """So many seconds more a question is on its way, by what it is called."""

    def cut(self, some: Iterable[str], others: Iterable[str], *, one_way: bool = False) -> None:
        """Nothing of some hosts reaches the others; nor back, unless it is only one way."""
        pairs = [(a, b) for a in some for b in others if a != b]
        self.silent.update(pairs)
        if not one_way:
            self.silent.update((b, a) for a, b in pairs)

    def heal(self) -> None:
        self.silent.clear()

    def reaches(self, source: str, target: str) -> bool:
        return (source, target) not in self.silent and source not in self.down and target not in self.down

    def carry(
        self, source: str, target: str, arrive: Callable[[], None], *, may_double: bool = False, what: str = ""
    ) -> None:
        """Bring something from one host to another, if that comes to be. `what`: how a question is called."""
        self.sent += 1
        weather = self.weather
        copies = 1 + (may_double and self.rng.random() < weather.doubled)
        for _ in range(copies):
            if self.rng.random() < weather.lost:
                self.lost += 1
                continue
            self.later(self._delay() + self.delays(what), lambda: arrive() if self.reaches(source, target) else None)

    def _delay(self) -> float:
        weather = self.weather
        if self.rng.random() < weather.slow:
            return self.rng.uniform(weather.most, weather.slow_seconds)
        return self.rng.uniform(weather.least, weather.most)


class SimulatedServing:
    """A server on a simulated host."""

    def __init__(self, network: SimulatedNetwork, address: str, handlers: Mapping[type, Handler]) -> None:
        self.network, self.address, self.handlers = network, address, handlers

    def close(self) -> None:
        servers = self.network.world.servers
        if servers.get(self.address) is self:
            del servers[self.address]


class SimulatedNetwork:
    """One node's way to the others."""

    def __init__(self, world: NetworkWorld, env: Env, node_id: int, host: str, cluster: str = "redkite") -> None:
        self.world, self.env, self.host = world, env, host
        self.party = Party(env, cluster, node_id)
        self.pool: Executor = env.tasks.executor("network", _THREADS)
        self.closed = False
        self.open: dict[_Call, None] = {}
        """Questions that are under way."""
        self._remotes: dict[str, SimulatedRemote] = {}
        self._ports = itertools.count(1000)

    @property
    def traffic(self) -> Traffic:
        return self.party.traffic

    def serve(self, address: str, handlers: Mapping[type, Handler]) -> SimulatedServing:
        port = address.rpartition(":")[2]
        picks = port in ("", "0")
        chosen = f"{self.host}:{next(self._ports) if picks else port}"
        while chosen in self.world.servers:
            if not picks:
                raise Unavailable(f"{chosen} is taken")
            chosen = f"{self.host}:{next(self._ports)}"
        serving = self.world.servers[chosen] = SimulatedServing(self, chosen, handlers)
        return serving

    def connect(self, address: str) -> SimulatedRemote:
        found = self._remotes.get(address)
        if found is None:
            found = self._remotes[address] = SimulatedRemote(self, address)
        return found

    def abandon(self, address: str) -> None:
        for call in [call for call in self.open if call.address == address]:
            call.finish_soon(call.no_answer)

    def keep_time(self, oracle: HybridClock) -> None:
        self.party.keep_time(oracle)

    def close(self) -> None:
        self.closed = True
        for serving in [serving for serving in self.world.servers.values() if serving.network is self]:
            serving.close()


class SimulatedRemote:
    """A node, as another sees it."""

    def __init__(self, network: SimulatedNetwork, address: str) -> None:
        self._network, self.address = network, address
        self._host = address.rpartition(":")[0]

    def ask(self, message: msgspec.Struct, timeout: float | None = None) -> Any:
        return self.ask_soon(message, timeout).result()

    def ask_soon(self, message: msgspec.Struct, timeout: float | None = None) -> Future[Any]:
        network, world = self._network, self._network.world
        seconds = ASK_SECONDS if timeout is None else timeout
        call = _Call(network, type(message).__name__, self.address)
        frame = network.party.asking(message, seconds)
        if network.closed:
            call.no_connection()
        elif world.reaches(network.host, self._host) and world.reaches(self._host, network.host):
            may_double = getattr(message, "idempotent", False)
            world.carry(
                network.host, self._host, lambda: self._arrive(call, frame), may_double=may_double, what=call.what
            )
            world.later(seconds, lambda: call.finish_soon(call.no_answer))
        else:
            self._out_of_reach(call, seconds)
        return call.future

    def _out_of_reach(self, call: _Call, seconds: float) -> None:
        """Where there was a connection, nobody notices that it leads nowhere."""
        world = self._network.world
        if world.rng.random() < 0.5:
            world.later(min(seconds, _CONNECT_SECONDS), lambda: call.finish_soon(call.no_connection))
        else:
            world.later(seconds, lambda: call.finish_soon(call.no_answer))

    def _arrive(self, call: _Call, frame: bytes) -> None:
        """At the other host."""
        network, world = self._network, self._network.world
        serving = world.servers.get(self.address)
        if serving is None or serving.network.closed:
            world.carry(self._host, network.host, lambda: call.finish_soon(call.no_connection))
            return
        there = serving.network
        world.asked(network.host, self._host, call.what)

        def deliver(reply: bytes) -> None:
            if there.closed or not world.answers(self._host, call.what) or there.closed:
                return  # who was killed says nothing more
            world.carry(self._host, network.host, lambda: call.finish_soon(lambda: call.take(reply)))

        there.pool.submit(there.party.answer, frame, serving.handlers, network.host, deliver)


class _Call:
    """One question under way: ended once, by the first of an answer and the end of its time."""

    def __init__(self, network: SimulatedNetwork, what: str, address: str) -> None:
        self._network, self.what, self.address = network, what, address
        self.future: Future[Any] = network.env.tasks.future()
        self._begun = network.env.clock.monotonic()
        self._ended = False
        network.open[self] = None

    def finish_soon(self, finish: Callable[[], None]) -> None:
        """In a thread of who asked."""
        if not self._ended and not self._network.closed:
            self._network.pool.submit(finish)

    def take(self, frame: bytes) -> None:
        try:
            value = self._network.party.told(frame)
        except MilvusException as error:
            self.fail(error)
            return
        if self._ends(None):
            self.future.set_result(value)

    def no_connection(self) -> None:
        self.fail(NotReached(f"nobody answers at {self.address}"))

    def no_answer(self) -> None:
        self.fail(Unanswered(f"{self.address} did not answer {self.what} in time"))

    def fail(self, error: MilvusException) -> None:
        if self._ends(error):
            self.future.set_exception(error)

    def _ends(self, error: MilvusException | None) -> bool:
        """Whether this is its end."""
        if self._ended:
            return False
        self._ended = True
        del self._network.open[self]
        took = self._network.env.clock.monotonic() - self._begun
        self._network.traffic.asked(self.what, took, error)
        return True
