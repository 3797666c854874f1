"""Faults that take several steps, about a channel that goes from one owner to another while the first stands still.

What shuts a former owner out is a check at the last moment: of a commit, of a record in the log, of an answer. Only who
was stopped right before it, and goes on when another has written, comes to such a check with something that matters.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from tests.simulation.workload import HARMLESS, TABLES

from redkite.model import requests as rq

if TYPE_CHECKING:
    from tests.simulation.cluster import Node, SimulatedCluster

TABLE: Final = TABLES[0]
AHEAD_US: Final = 8_000_000
"""So far the clock of an owner is ahead that is about to be replaced: further than taking its place takes."""
_QUEUED: Final = 12
"""So many reads wait for an owner that stands still: some are answered before it notices that its lease is over."""


class Handovers:
    """Those of one run. Each begins at once, goes on beside the rest, and gives the seconds that it wants alone."""

    def __init__(self, cluster: SimulatedCluster, rng: random.Random) -> None:
        self._cluster, self._world, self._rng = cluster, cluster.world, rng

    def owner_and_proxy(self) -> tuple[Node, Node] | None:
        """Who owns the channel of the first table, and somebody who may ask it."""
        cluster = self._cluster
        owners = [node for node in cluster.of("streaming") if not node.process.paused and cluster.owns_first(node)]
        proxies = [node for node in cluster.of("proxy") if node.door is not None and not node.process.paused]
        return (self._rng.choice(owners), self._rng.choice(proxies)) if owners and proxies else None

    def stop(self, node: Node, seconds: float) -> None:
        self._world.pause(node.process)
        self._world.at(seconds, lambda: self._world.go_on(node.process))

    def stop_as_it_logs(self, owner: Node, seconds: float) -> bool:
        """At the next record that an owner sends to the log. False where it has no log yet."""
        if owner.backends is None:
            return False
        broker = owner.backends.broker()
        before = broker.sends

        def stop() -> None:
            broker.sends = before
            self.stop(owner, seconds)

        broker.sends = stop
        return True

    def _until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Whether something comes to hold within so many seconds."""
        limit = self._world.now + seconds
        while not holds():
            if self._world.now >= limit:
                return False
            self._world.sleep(0.02)
        return True

    def _is_replaced(self, owner: Node) -> bool:
        return any(node is not owner and self._cluster.owns_first(node) for node in self._cluster.of("streaming"))

    def _kill_owners(self, but: Node) -> None:
        """What the next owner finds is what the catalog and the log say."""
        for node in self._cluster.of("streaming"):
            if node is not but and self._cluster.owns_first(node):
                self._cluster.kill(node.process.name)

    def _look(self) -> None:
        """What everybody is answered now."""
        reader = self._cluster.client("afterwards", lambda _: True)
        for _ in range(3):
            for register in range(TABLE.registers):
                reader.read(TABLE, register, "Strong")
            reader.count(TABLE, "Strong")
            self._world.sleep(0.3)

    # -- a commit that comes too late -------------------------------------------------------------
    def late_seal(self) -> float:
        """An owner stands still before it commits what it has sealed. Another one deletes those rows meanwhile, seals
        as well, and has the log forgotten; then it dies."""
        chosen = self.owner_and_proxy()
        if chosen is None:
            return 0.0
        seconds = self._cluster.config.lease_seconds + 3.0
        self._world.spawn(lambda: self._seal_late(chosen[0], seconds), "late seal")
        return seconds + 2.5

    def _seal_late(self, owner: Node, seconds: float) -> None:
        cluster, world = self._cluster, self._world
        client = cluster.client("seals", lambda _: True)
        for register in range(TABLE.registers):
            client.put(TABLE, register)
        cluster.aims.order_stop_before_a_seal(owner, seconds)
        world.spawn(self._flush, "flushes")
        if not self._until(lambda: owner.process.paused, 1.0) or not self._until(
            lambda: self._is_replaced(owner), seconds
        ):
            return
        client = cluster.client("deletes", lambda _: True)
        for register in range(TABLE.registers):
            client.delete(TABLE, register)
        self._flush()
        self._until(lambda: not owner.process.paused, seconds)
        world.sleep(0.1)
        self._kill_owners(owner)
        self._look()

    def _flush(self) -> None:
        try:
            self._cluster.ask(rq.Flush(collections=(TABLE.name,)))
        except HARMLESS:
            return

    # -- a record that comes too late -------------------------------------------------------------
    def future_record(self) -> float:
        """An owner whose clock is far ahead stands still with a record that is on its way to the log. Whoever asked for
        it asks the next owner, and others write the same rows; when the record has come, that owner dies."""
        chosen = self.owner_and_proxy()
        if chosen is None:
            return 0.0
        seconds = self._cluster.config.lease_seconds + 2.5
        if not self.stop_as_it_logs(chosen[0], seconds):
            return 0.0
        chosen[0].process.skew_us += AHEAD_US
        self._world.spawn(lambda: self._log_late(chosen[0], seconds), "future record")
        return seconds + 2.5

    def _log_late(self, owner: Node, seconds: float) -> None:
        cluster, world = self._cluster, self._world
        for name in ("writes", "writes after"):
            cluster.client(name, lambda _: True).put(TABLE, 0)
        self._until(lambda: not owner.process.paused, seconds)
        world.sleep(0.1)
        self._kill_owners(owner)
        self._look()

    # -- an answer that comes too late ------------------------------------------------------------
    def late_answers(self) -> float:
        """An owner stands still, and a proxy that hears of nothing asks it to read, again and again. Others write
        meanwhile."""
        chosen = self.owner_and_proxy()
        if chosen is None:
            return 0.0
        owner, proxy = chosen
        seconds = self._cluster.config.lease_seconds + 2.0
        self.stop(owner, seconds)
        self._cluster.forget(proxy, seconds + 1.0)
        self._world.spawn(lambda: self._ask_late(owner, proxy, seconds), "late answers")
        return seconds + 0.5

    def _ask_late(self, owner: Node, proxy: Node, seconds: float) -> None:
        cluster, world = self._cluster, self._world
        if not self._until(lambda: self._is_replaced(owner), seconds):
            return
        writer = cluster.client("writer", lambda node: node is not proxy)
        while not writer.answered and owner.process.paused:
            writer.put(TABLE, 0)
        world.sleep(0.01)  # what begins as another ends is not behind it
        for _ in range(_QUEUED):
            reader = cluster.client("reader", lambda node: node is proxy)
            world.spawn(partial(reader.read, TABLE, 0, "Strong"), reader.name)
