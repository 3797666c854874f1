"""Faults that wait for their moment: an answer that is about to leave, a read that is under way, a commit.

A fault at a random time seldom hits what a protocol is made for. These are ordered at a random time as well, and happen
when the next such moment comes: the answer to a write is lost, or its owner dies as it would give it; an owner stands
still behind the view that it reads, until its lease is over; who commits dies before it hears of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from tests.simulation.fibers import Process, World

WRITES: Final = frozenset({"InsertRows", "ChangeRows", "DeleteKeys", "DeleteFound"})
DECISIONS: Final = ("broadcast/", "root/")
"""Keys of the catalog that come with a change that is decided."""
OF_IMPORTS: Final = frozenset({"TellDesk", "AskIds"})
"""What data nodes ask while they read files."""
OF_ADMISSIONS: Final = frozenset({"LookFor", "HoldShard", "PrepareHeld", "EndHold"})
"""What owners are asked while imported rows come to be."""
PATIENCE: Final = 3.0
"""An order of which the moment does not come for so long is taken back."""


class Host(Protocol):
    """A node, as far as it can be hurt here."""

    role: Any
    process: Process
    node: Any


class Aims:
    """The orders of one run."""

    def __init__(self, world: World, rng: random.Random, lease: float, kill: Callable[[str], None]) -> None:
        """`kill` ends the process of a name, and has another one take its place."""
        self._world, self._rng, self._lease, self._kill = world, rng, lease, kill
        self._until: dict[str, float] = {}
        """What is ordered, and when that is taken back."""
        self._left: dict[str, int] = {}
        self.hits: dict[str, int] = {}
        self._seals: tuple[Host, float, float] | None = None
        """Who is stopped before it commits a segment, for how long, and until when that is ordered."""

    def order(self, what: str, times: int = 1) -> None:
        self._until[what], self._left[what] = self._world.now + PATIENCE, times

    def order_stop_before_a_seal(self, host: Host, seconds: float) -> None:
        """The next time that this node has sealed something it stands still for so long, and commits it then."""
        self._seals = host, seconds, self._world.now + PATIENCE

    def _is_due(self, what: str) -> bool:
        if self._left.get(what, 0) <= 0 or self._until[what] < self._world.now:
            return False
        self._left[what] -= 1
        if self._left[what]:
            return False
        self.hits[what] = self.hits.get(what, 0) + 1
        return True

    def _each(self, what: str) -> bool:
        """Of an order for the next so many moments, each is one."""
        if self._left.get(what, 0) <= 0 or self._until[what] < self._world.now:
            return False
        self._left[what] -= 1
        self.hits[what] = self.hits.get(what, 0) + 1
        return True

    # -- moments --------------------------------------------------------------------------------
    def asked(self, source: Process | None, target: Process | None, what: str) -> None:
        """A message has arrived."""
        if what in OF_IMPORTS:
            self._hurt(source, "in an import")
        elif what in OF_ADMISSIONS:
            self._hurt(source, "the coordinator in an admission")
            self._hurt(target, "an owner in an admission")
        if what == "ReadHeld" and source is not None and not source.ended and self._is_due("stop in a read"):
            self._stand_still(source)
        elif what == "GiveRows" and source is not None and not source.ended:
            if self._is_due("kill in a write of a segment"):
                self._world.spawn(lambda: self._kill(source.name), "kills")
            elif self._is_due("stop in a write of a segment"):
                self._stand_still(source)

    def _hurt(self, process: Process | None, when: str) -> None:
        if process is None or process.ended:
            return
        if self._is_due(f"kill {when}"):
            self._world.spawn(lambda: self._kill(process.name), "kills")
        elif self._is_due(f"stop {when}"):
            self._stand_still(process)

    def answers(self, source: Process, what: str) -> bool:
        """An answer is about to leave; whether it does."""
        if what in OF_IMPORTS | OF_ADMISSIONS and not source.ended and self._each("lose answers in an import"):
            return False
        if what not in WRITES or source.ended:
            return True
        if self._each("lose answers"):
            return False
        if (what == "ChangeRows" and self._is_due("kill at the answer to a swap")) or self._is_due("kill at an answer"):
            self._kill(source.name)
            return False
        if self._is_due("stop at an answer"):
            self._stand_still(source)
        return True

    def commits(self, host: Host, keys: Iterable[str]) -> None:
        """Something was committed, and whoever did it has not heard of it."""
        if host.role == "coordinator" and any(key.startswith(DECISIONS) for key in keys):
            if self._is_due("kill the coordinator at a decision"):
                self._kill(host.process.name)
            elif self._is_due("stop the coordinator at a decision"):
                self._stand_still(host.process)
        elif self._is_due(f"kill the {host.role} at a commit"):
            self._kill(host.process.name)
        elif self._is_due(f"stop the {host.role} at a commit"):
            self._stand_still(host.process)

    def writes(self, host: Host, keys: Iterable[str]) -> None:
        """Something is about to be committed."""
        seals = host.role == "streaming" and any(key.startswith("segment/") for key in keys)
        if seals and self._seals is not None and self._seals[0] is host and self._world.now < self._seals[2]:
            seconds, self._seals = self._seals[1], None
            self._world.pause(host.process)
            self._world.at(seconds, lambda: self._world.go_on(host.process))
        elif (seals or host.role == "coordinator") and self._is_due(f"stop the {host.role} before it commits"):
            self._stand_still(host.process)

    def logs(self, host: Host) -> None:
        """A record is about to go to the broker of the log."""
        if self._is_due("stop as it logs"):
            self._stand_still(host.process, short=True)

    def _stand_still(self, process: Process, *, short: bool = False) -> None:
        """For longer than its lease, so that another has its place when it goes on. `short`: who has asked it may still
        wait for its answer."""
        world = self._world
        world.pause(process)
        seconds = self._rng.uniform(0.2, 0.9) if short else self._rng.uniform(0.5, 2.5)
        world.at(self._lease + seconds, lambda: world.go_on(process))
