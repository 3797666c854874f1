"""Processes that follow one catalog and change it: cut off, held back, killed, their replies lost."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from tests.proof.history import History, Kind, Level
from tests.simulation.fibers import Process, World
from tests.simulation.runs import Outcome, wrong_in

from redkite.env import Env
from redkite.errors import Conflict, MilvusException, Unavailable
from redkite.simulated import SimulatedDisk, SimulatedFiles
from redkite.storage.followed import Copy, FollowedCatalog, follow
from redkite.storage.memory_connection import Feed, MemoryConnection
from redkite.storage.shared_memory import SharedMemory

SECONDS = 4.0
KEYS = ("a", "b", "c")


def env_of(world: World, process: Process) -> Env:
    """What a process has of the world, with a disk of its own that is empty."""
    numbers = random.Random(f"random {world.seed} {process.name}")
    return Env(clock=process, random=numbers, files=SimulatedFiles(SimulatedDisk(world.seed)), tasks=process)


def slow_down(
    world: World,
    connection: MemoryConnection,
    done: Callable[[Iterable[str]], None] = lambda _: None,
    about: Callable[[Iterable[str]], None] = lambda _: None,
    late: float = 0.01,
) -> None:
    """Calls take a moment, before and behind what they do; what is watched comes later than what it tells of. `done` is
    called when something was changed, before who did it hears of it; `about` before that; both with the keys that it
    puts. `late`: how many seconds each change that is watched is late, at most."""
    rng, where = random.Random(f"slow {world.seed} {connection.name}"), cast(Any, connection)
    reach, reply, feed = connection.reach, connection.reply, connection.feed

    def slow_reach() -> SharedMemory:
        world.sleep(rng.uniform(0.0001, 0.002))
        return reach()

    writing: dict[Any, Iterable[str]] = {}

    def slow_reply() -> None:
        done(writing.pop(world.current, ()))
        world.sleep(rng.uniform(0.0001, 0.002))
        reply()

    def slow_feed(prefix: str, revision: int, tell: Callable[..., None], lost: Callable[[], None]) -> Feed:
        def tell_later(*what: Any) -> None:
            world.sleep(rng.uniform(0.0001, late))
            tell(*what)

        return feed(prefix, revision, tell_later, lost)

    store = cast(Any, connection.store)
    writer_of = store.writer

    def slow_writer(fence: Any) -> Any:
        writer = writer_of(fence)
        write = writer.write

        def slow_write(puts: Any, *more: Any) -> Any:
            about(puts)
            writing[world.current] = puts
            world.sleep(rng.uniform(0.0, 0.0005))
            return write(puts, *more)

        writer.write = slow_write
        return writer

    where.reach, where.reply, where.feed, store.writer = slow_reach, slow_reply, slow_feed, slow_writer


@dataclass
class Node:
    """A process with its copy of the catalog; one client of the history."""

    world: World
    process: Process
    connection: MemoryConnection
    history: History
    versions: Callable[[], int]
    rng: random.Random
    catalog: FollowedCatalog | None = None
    copy: Copy | None = None
    answered: int = 0
    refused: dict[str, int] = field(default_factory=dict)

    def run(self, until: float) -> None:
        while self.catalog is None:
            try:
                self.copy, self.catalog = follow(self.connection.store, self.connection.env)
            except Unavailable:
                self.world.sleep(0.1)
        while self.world.now < until:
            self.step(self.rng.choice(KEYS))
            self.world.sleep(self.rng.expovariate(1 / 0.03))

    def step(self, key: str) -> None:
        luck = self.rng.random()
        if luck < 0.3:
            self._write("put", key, self.versions())
        elif luck < 0.4:
            self._write("delete", key, None)
        elif luck < 0.6:
            seen = self.read(key, "Strong")
            if isinstance(seen, int):
                self.world.sleep(self.rng.uniform(0, 0.02))
                self._write("swap", key, self.versions(), seen)
        else:
            self.read(key, "Strong" if luck < 0.8 else "Session")

    def _write(self, kind: Kind, key: str, value: int | None, expected: int | None = None) -> None:
        assert self.catalog is not None
        number = self.history.begin(self.process.name, kind, key, value, at=self.world.now, expected=expected)
        expect = None if expected is None else {key: b"%d" % expected}
        try:
            if value is None:
                self.catalog.commit({}, [key], expect)
            else:
                self.catalog.commit({key: b"%d" % value}, (), expect)
        except Conflict:
            self.history.refuse(number, at=self.world.now)
        except MilvusException as error:
            self._note(error)
        else:
            self.answered += 1
            self.history.end(number, at=self.world.now)

    def read(self, key: str, level: Level) -> int | str | None:
        """Strong: behind a refresh. Session: what is here."""
        assert self.catalog is not None
        number = self.history.begin(self.process.name, "read", key, at=self.world.now, level=level)
        try:
            if level == "Strong":
                self.catalog.refresh()
            found = self.catalog.get(key)
        except MilvusException as error:
            self._note(error)
            self.history.withdraw(number)
            return "unknown"
        self.answered += 1
        value = None if found is None else int(found)
        self.history.end(number, at=self.world.now, value=value)
        return value

    def _note(self, error: MilvusException) -> None:
        if not isinstance(error, Unavailable):
            raise error
        self.refused[error.message] = self.refused.get(error.message, 0) + 1


def run(world: World) -> Outcome:
    rng = random.Random(f"catalog {world.seed}")
    world.preempt = rng.choice((0.0, 0.02, 0.2))
    server = Process(world, "etcd")
    late = rng.choice((0.01, 0.3))
    shared = SharedMemory(env_of(world, server), history=rng.choice((4, 10_000)))
    history, versions, numbers = History(), itertools.count(1), itertools.count(1)
    nodes: list[Node] = []
    done: list[bool] = []

    def start() -> Node:
        process = Process(world, f"node {next(numbers)}")
        connection = MemoryConnection(shared, env_of(world, process), process.name)
        slow_down(world, connection, late=late)
        process.at_end.append(connection.abandon)
        node = Node(
            world, process, connection, history, lambda: next(versions), random.Random(f"{process.name} {world.seed}")
        )
        nodes.append(node)
        process.spawn(lambda: node.run(until), "work")
        return node

    def main() -> None:
        for _ in range(3):
            start()
        faults = _trouble(world, rng, nodes, start, shared, until)
        for node in nodes:
            node.connection.mend()
            node.connection.let_go()
        world.sleep(8.0)  # whoever was in the middle of it is done
        last = start()
        while last.catalog is None:
            world.sleep(0.1)
        for key in KEYS:
            for node in [node for node in nodes if not node.process.ended and node.catalog is not None]:
                assert node.read(key, "Strong") != "unknown"
                assert node.read(key, "Session") != "unknown"
        done.append(True)
        total.append(faults)

    total: list[int] = []
    until = SECONDS
    world.spawn(main, "main")
    world.run(lambda: bool(done), 120)
    answered = sum(node.answered for node in nodes)
    kills = sum(node.process.ended for node in nodes)
    return Outcome(len(history.operations), answered, kills, total[0], wrong_in(history.operations))


def _trouble(
    world: World, rng: random.Random, nodes: list[Node], start: Callable[[], Node], shared: SharedMemory, until: float
) -> int:
    """What befalls connections and processes, until it is time to stop; how often."""
    faults = 0
    while world.now < until:
        world.sleep(rng.uniform(0.02, 0.6))
        alive = [node for node in nodes if not node.process.ended]
        node = rng.choice(alive)
        connection, what = node.connection, rng.randrange(8)
        faults += 1
        if what == 0:
            world.kill(node.process)
            start()
        elif what == 1:
            connection.cut()
        elif what in (2, 3):
            connection.mend()
            connection.let_go()
        elif what == 4:
            connection.hold()
        elif what == 5:
            connection.lose_replies(rng.randint(1, 3))
        elif what == 6:
            shared.compact()
        else:
            world.pause(node.process)
            world.at(rng.uniform(0.1, 1.5), lambda node=node: world.go_on(node.process))
    return faults
