"""A broker in memory that outlives the processes that use it, and fails as brokers do, by a seed."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from redkite.env import Env
from redkite.errors import MilvusException, Unavailable
from redkite.simulated.disk import Random
from redkite.storage.broker import Message


def _nothing() -> None:
    """Who is told nothing."""


@dataclass
class BrokerTopic:
    messages: list[tuple[int, bytes]] = field(default_factory=list)
    next: int = 0
    first: int = 0

    def add(self, payload: bytes, gap: int) -> None:
        self.next += gap
        self.messages.append((self.next, payload))
        self.next += 1


@dataclass
class BrokerWorld:
    """What the broker keeps, and how it misbehaves: chances of each message to be lost, kept twice, kept late, and kept
    with a reply that is lost."""

    rng: Random
    topics: dict[str, BrokerTopic] = field(default_factory=dict)
    lost: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    silent: float = 0.0
    gaps: bool = False
    down: bool = False
    delayed: list[tuple[str, bytes]] = field(default_factory=list)
    clients: tuple[MemoryBroker, ...] = ()
    lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, topic: str, payload: bytes) -> None:
        with self.lock:
            kept = self.topics.setdefault(topic, BrokerTopic())
            kept.add(payload, int(self.rng.random() * 3) if self.gaps else 0)

    def join(self, client: MemoryBroker) -> None:
        with self.lock:
            self.clients = (*self.clients, client)

    def leave(self, client: MemoryBroker) -> None:
        with self.lock:
            self.clients = tuple(other for other in self.clients if other is not client)

    def let_late_ones_in(self) -> None:
        delayed, self.delayed = self.delayed, []
        for topic, payload in delayed:
            self.keep(topic, payload)


class MemoryBroker:
    """A client of the broker, in one simulated process."""

    def __init__(self, world: BrokerWorld, env: Env, message_bytes: int = 1 << 20) -> None:
        self.message_bytes = message_bytes
        self._world = world
        self._pool = env.tasks.executor("broker", 1)
        self._followers: tuple[_Follower, ...] = ()
        self._lock = threading.Lock()
        self.closed = self.is_cut = False
        self.sends: Callable[[], None] = _nothing
        """Told of each message that is about to go to the broker. Must not wait."""
        world.join(self)

    def create(self, topic: str) -> None:
        self._check()
        self._world.topics.setdefault(topic, BrokerTopic())

    def _check(self) -> None:
        if self._world.down or self.closed or self.is_cut:
            raise Unavailable("the broker does not answer")

    def send(self, topic: str, payload: bytes, done: Callable[[MilvusException | None], None]) -> None:
        self.sends()
        try:
            self._pool.submit(self._arrive, topic, payload, done)
        except Unavailable as error:  # closed
            done(error)

    def _arrive(self, topic: str, payload: bytes, done: Callable[[MilvusException | None], None]) -> None:
        world = self._world
        if self.closed:
            return
        if world.down or self.is_cut:
            done(Unavailable("the broker does not answer"))
            return
        outcome = self._outcome()
        if outcome == "late":
            world.delayed.append((topic, payload))
        elif outcome != "lost":
            for _ in range(2 if outcome == "doubled" else 1):
                world.keep(topic, payload)
        if outcome in ("lost", "late", "silent"):
            done(Unavailable("no reply came"))
        else:
            done(None)
        for client in world.clients:
            client.wake()

    def _outcome(self) -> str:
        world = self._world
        luck = world.rng.random()
        for chance, name in ((world.lost, "lost"), (world.doubled, "doubled"), (world.late, "late")):
            if luck < chance:
                return name
            luck -= chance
        return "silent" if luck < world.silent else "kept"

    def wake(self) -> None:
        """Deliver what has come."""
        if self.is_cut:
            return
        for follower in self._followers:
            if not follower.awake:
                follower.awake = True
                with suppress(Unavailable):  # closed just now
                    self._pool.submit(follower.run)

    def cut(self) -> None:
        """Nothing comes through, either way, until `mend`."""
        self.is_cut = True

    def mend(self) -> None:
        self.is_cut = False
        self.wake()

    def follow(
        self,
        topic: str,
        position: int,
        deliver: Callable[[Message], None],
        failed: Callable[[MilvusException], None],
    ) -> _Follower:
        self._check()
        follower = _Follower(self, self._world, topic, position, deliver, failed)
        with self._lock:
            self._followers = (*self._followers, follower)
        self.wake()
        return follower

    def read(self, topic: str, position: int) -> Iterator[Message]:
        self._check()
        kept = self._world.topics.get(topic)
        messages = [] if kept is None else kept.messages
        first = bisect_left(messages, position, key=_position)
        return iter([Message(at, data) for at, data in messages[first:]])

    def bounds(self, topic: str) -> tuple[int, int]:
        self._check()
        kept = self._world.topics.get(topic)
        if kept is None:
            return (0, 0)
        return (kept.messages[0][0] if kept.messages else kept.next), kept.next

    def forget(self, topic: str, position: int) -> None:
        self._check()
        with self._world.lock:
            kept = self._world.topics[topic]
            kept.messages = [message for message in kept.messages if message[0] >= position]

    def topics(self) -> list[str]:
        self._check()
        return sorted(self._world.topics)

    def drop(self, topic: str) -> None:
        self._check()
        self._world.topics.pop(topic, None)

    def cut_off(self) -> None:
        """Followers hear that the connection is gone."""
        followers, self._followers = self._followers, ()
        for follower in followers:
            self._pool.submit(follower.fail)

    def forget_follower(self, follower: _Follower) -> None:
        with self._lock:
            self._followers = tuple(other for other in self._followers if other is not follower)

    def close(self) -> None:
        self.closed = True
        self._followers = ()
        self._world.leave(self)
        self._pool.shutdown(wait=False)


def _position(message: tuple[int, bytes]) -> int:
    return message[0]


class _Follower:
    def __init__(
        self,
        broker: MemoryBroker,
        world: BrokerWorld,
        topic: str,
        position: int,
        deliver: Callable[[Message], None],
        failed: Callable[[MilvusException], None],
    ) -> None:
        self.awake = False
        self._broker, self._world, self._topic, self._next = broker, world, topic, position
        self._deliver, self._failed = deliver, failed
        self._closed = False

    def run(self) -> None:
        self.awake = False
        kept = self._world.topics.get(self._topic)
        messages = [] if kept is None else kept.messages
        first = bisect_left(messages, self._next, key=_position)
        for position, payload in messages[first:]:
            if self._closed or self._world.down or self._broker.is_cut:
                return
            self._next = position + 1
            self._deliver(Message(position, payload))

    def fail(self) -> None:
        if not self._closed:
            self._failed(Unavailable("the connection to the broker is gone"))

    def close(self) -> None:
        self._closed = True
        self._broker.forget_follower(self)
