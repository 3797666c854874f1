"""One process with a whole database on a disk that forgets: killed at any operation of it, and started again."""

from __future__ import annotations

import itertools
import random
from typing import Any

from tests.proof.history import History
from tests.simulation.doors import Door
from tests.simulation.fibers import Fiber, Process, World
from tests.simulation.runs import Outcome, judge
from tests.simulation.workload import TABLES, Client, create_tables

from redkite.cluster.local import Database, open_database
from redkite.env import Env
from redkite.errors import Unavailable
from redkite.node.streaming import SealPolicy
from redkite.simulated import SimulatedCrash, SimulatedDisk, SimulatedFiles

SECONDS = 2.5
BOUND = 5.0
_POLICY = SealPolicy(rows=24, idle_seconds=0.5, idle_rows=1, check_seconds=0.4)


class Standalone:
    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = random.Random(f"standalone {world.seed}")
        self.disk = SimulatedDisk(world.seed)
        self.starts = 0
        self.door: Door | None = None
        self.process: Process | None = None
        self.calm = False
        world.on_failure = self._failed

    def start(self) -> None:
        """A new process on the disk; clients find it when it has opened the database."""
        self.starts += 1
        self.disk.restart()
        process = self.process = Process(self.world, f"server {self.starts}")
        numbers = random.Random(f"random {self.world.seed} {self.starts}")
        env = Env(clock=process, random=numbers, files=SimulatedFiles(self.disk), tasks=process)
        process.spawn(lambda: self._open(process, env), "main")
        if not self.calm:
            self.disk.crash_at(self.disk.operations + self.rng.choice((20, 100, 300, 600)) + self.rng.randrange(200))

    def _open(self, process: Process, env: Env) -> None:
        database: Database = open_database("/db", env=env, policy=_POLICY)
        self.door = Door(self.world, process, database.service.call)

    def _failed(self, fiber: Fiber, error: BaseException) -> None:
        if not isinstance(error, SimulatedCrash):
            raise error
        self._die()

    def _die(self) -> None:
        if self.process is not None and not self.process.ended:
            self.world.kill(self.process)
            self.door = None
            self.world.at(self.rng.uniform(0.01, 0.3), self.start)

    def ask(self, request: Any) -> Any:
        if self.door is None:
            self.world.sleep(0.05)
            raise Unavailable("nobody listens")
        return self.door.ask(request)


def run(world: World) -> Outcome:
    world.preempt = random.Random(f"preempt {world.seed}").choice((0.0, 0.01, 0.1))
    server = Standalone(world)
    history, versions = History(), itertools.count(1)
    clients = [
        Client(f"c{n}", world, random.Random(f"{world.seed} {n}"), server.ask, history, lambda: next(versions), BOUND)
        for n in range(4)
    ]
    done: list[bool] = []

    def main() -> None:
        create_tables(server.ask, world)
        until = world.now + SECONDS
        fibers = [world.spawn(lambda client=client: client.run(until), client.name) for client in clients]
        while not all(fiber.dead for fiber in fibers):
            world.sleep(0.1)
        server.calm = True
        server.disk.crash_at(0)
        clients[0].read_everything()
        done.append(True)

    server.start()
    world.spawn(main, "main")
    world.run(lambda: bool(done), 600)
    return judge(history, TABLES, BOUND, kills=server.starts - 1, answered=sum(c.answered for c in clients))
