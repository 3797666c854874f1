"""What befalls a simulated cluster: each kind of fault once, by its name."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from tests.simulation.handovers import AHEAD_US, Handovers
from tests.simulation.themes import Weights
from tests.simulation.workload import HARMLESS, TABLES, Wrong, schema

from redkite.cluster.config import Role
from redkite.cluster.simulated import Weather
from redkite.errors import NotFound, PartlyWritten
from redkite.model import requests as rq

if TYPE_CHECKING:
    from tests.simulation.cluster import Node, SimulatedCluster

AIMED: Final[dict[str, tuple[int, ...]]] = {
    "lose answers": (2, 3), "kill at an answer": (1,), "stop at an answer": (1,), "kill at the answer to a swap": (1,),
    "stop in a read": (1, 2), "stop as it logs": (1,),
    "kill in a write of a segment": (1, 2), "stop in a write of a segment": (1, 2),
    "kill the coordinator at a commit": (1, 2), "stop the coordinator at a commit": (2,),
    "kill the coordinator at a decision": (1,), "stop the coordinator at a decision": (1,),
    "kill the streaming at a commit": (1,), "stop the streaming at a commit": (2,),
    "stop the streaming before it commits": (1,), "stop the coordinator before it commits": (1, 2),
    "kill in an import": (1, 2, 4), "stop in an import": (1, 2, 4), "lose answers in an import": (1, 2),
    "kill the coordinator in an admission": (1, 3, 5), "stop the coordinator in an admission": (1, 3, 5),
    "kill an owner in an admission": (1, 2, 3, 5), "stop an owner in an admission": (1, 2, 3, 5),
}  # fmt: skip
"""Faults that come at the next moment that is made for them, and at the how manieth."""


class Faults:
    """Those of one run."""

    def __init__(self, cluster: SimulatedCluster, rng: random.Random) -> None:
        self._cluster, self._world, self._rng = cluster, cluster.world, rng
        self._shared = cluster.shared
        self._alone_until = 0.0
        self._numbers = itertools.count(1)
        self._handovers = Handovers(cluster, rng)
        self._kinds: dict[str, Callable[[], None]] = {
            "kill one": self._kill_one, "pause one": self._pause_one, "cut one": self._cut_one,
            "cut from shared": self._cut_from_shared, "bad weather": self._bad_weather,
            "lose replies": self._lose_replies, "broker trouble": self._broker_trouble,
            "step a clock": self._step_clock, "etcd away": self._all_away, "forget two": self._forget_two,
            "etcd long away": self._long_away, "two without etcd": self._two_without_etcd,
            "forget a leader": self._forget_leader, "slow moment": self._slow_moment,
            "late record": self._late_record, "clock ahead": self._clock_ahead, "late reads": self._late_reads,
            "late seal": lambda: self._alone(self._handovers.late_seal()),
            "future record": lambda: self._alone(self._handovers.future_record()),
            "late answers": lambda: self._alone(self._handovers.late_answers()),
        }  # fmt: skip

    def go_on(self, weights: Weights, pause: float, until: float) -> int:
        """One fault after another, at times several at once; how many they were."""
        names, shares = list(weights), list(weights.values())
        count = 0
        while True:
            self._world.sleep(self._rng.expovariate(1 / pause))
            if self._world.now >= until:
                return count
            if self._world.now < self._alone_until:
                continue
            self._one(self._rng.choices(names, shares)[0])
            count += 1

    def _alone(self, seconds: float) -> None:
        """What takes several steps would not come to its end beside others."""
        self._alone_until = self._world.now + seconds

    def _one(self, name: str) -> None:
        if name in AIMED:
            self._cluster.aims.order(name, self._rng.choice(AIMED[name]))
        else:
            self._kinds[name]()

    def _some(self) -> Node:
        role: Role = self._rng.choice(("streaming", "streaming", "query", "coordinator", "proxy", "data"))
        return self._rng.choice(self._cluster.of(role) or [node for node in self._cluster.nodes if node.alive])

    def _kill_one(self) -> None:
        self._cluster.kill(self._some().process.name)

    def _pause_one(self) -> None:
        self._handovers.stop(self._some(), self._rng.choice((0.3, 1.0, 3.0, 6.0)))

    def _cut_one(self) -> None:
        """From all others, from some, or only one way."""
        node, net = self._some(), self._cluster.net
        others = {other.process.name for other in self._cluster.nodes if other is not node and self._rng.random() < 0.7}
        net.cut({node.process.name}, others, one_way=self._rng.random() < 0.3)
        self._world.at(self._rng.choice((0.5, 2.0, 5.0)), net.heal)

    def _cut_from_shared(self) -> None:
        self._cluster.cut_off(self._some(), self._rng.choice((0.5, 2.0, 5.0)))

    def _forget_two(self) -> None:
        """An owner and a proxy hear of nothing any more, neither who is alive nor who owns what, but of each other. Or
        the owner stands still, and finds what that proxy has asked it when it goes on."""
        cluster, lease = self._cluster, self._cluster.config.lease_seconds
        owners = [node for node in cluster.of("streaming") if not node.process.paused and cluster.tables_on(node)]
        if not owners or not cluster.of("proxy"):
            return
        owner = self._rng.choice(owners)
        proxy = self._rng.choice(cluster.of("proxy"))
        stops = self._rng.random() < 0.5
        seconds = lease + self._rng.choice((1.0, 2.5) if stops else (2.5, 4.0, 9.0))
        if stops:
            self._handovers.stop(owner, seconds)
        else:
            cluster.cut_off(owner, seconds)
        cluster.forget(proxy, seconds + 1.0)
        self._alone_until = until = self._world.now + seconds
        self._world.spawn(lambda: self._compare(owner, proxy, until), "compares")

    def _two_without_etcd(self) -> None:
        """An owner and a proxy do not reach etcd, and nothing else befalls them: others are given what that owner has,
        and it learns that from the log alone. At times the log is slow to tell it, or it stands still meanwhile."""
        cluster, rng, lease = self._cluster, self._rng, self._cluster.config.lease_seconds
        chosen = self._handovers.owner_and_proxy()
        if chosen is None:
            return
        owner, proxy = chosen
        seconds = lease + rng.choice((2.0, 4.0, 8.0))
        cluster.without_etcd(owner, seconds)
        cluster.without_etcd(proxy, seconds + 1.0)
        proxy.forgotten_until = self._world.now + seconds + 1.0
        self._world.at(lease * rng.uniform(0.7, 1.3), lambda: self._slow_log(owner, rng.choice((0.0, 0.5, 2.0))))
        self._alone_until = until = self._world.now + seconds
        self._world.spawn(lambda: self._compare(owner, proxy, until), "compares")

    def _slow_log(self, owner: Node, seconds: float) -> None:
        """Nothing comes to it from the log's broker, or gets there, for a while; or it stands still."""
        if not seconds or not owner.alive or owner.backends is None:
            return
        if self._rng.random() < 0.3:
            self._handovers.stop(owner, seconds)
            return
        broker = owner.backends.broker()
        broker.cut()
        self._world.at(seconds, broker.mend)

    def _compare(self, owner: Node, proxy: Node, until: float) -> None:
        """As soon as others own what the two believe in: write there, and read here."""
        cluster, world = self._cluster, self._world
        had = cluster.tables_on(owner)
        writer = cluster.client("writer", lambda node: node is not proxy)
        while not cluster.owned_by_others(had, owner):
            world.sleep(0.05)
            if world.now >= until or not (owner.alive and proxy.alive):
                return
        for table in TABLES:
            writer.put(table, 0)
        for level in ("Strong", "Session", "Bounded", "Strong", "Bounded", "Bounded"):
            if world.now >= until:
                return
            for table in TABLES:
                reader = cluster.client("reader", lambda node: node is proxy)
                world.spawn(partial(reader.read, table, 0, level, self._rng.random() < 0.5), reader.name)
            world.sleep(self._rng.uniform(0.2, 2.0))

    def _late_record(self) -> None:
        """An owner stands still with a record that is on its way to the log, until another owns the channel. Who has
        asked it hears of nothing, and waits."""
        chosen = self._handovers.owner_and_proxy()
        seconds = self._cluster.config.lease_seconds + self._rng.uniform(0.6, 1.5)
        if chosen is None or not self._handovers.stop_as_it_logs(chosen[0], seconds):
            return
        proxy = chosen[1]
        self._cluster.forget(proxy, seconds + 1.5)
        self._alone(seconds + 0.5)
        writer = self._cluster.client("late writer", lambda node: node is proxy)
        self._world.spawn(lambda: writer.put(TABLES[0], 0), writer.name)

    def _clock_ahead(self) -> None:
        """An owner whose clock is far ahead dies as soon as it has answered a write, and the proxy with it: nobody has
        heard of its time."""
        chosen = self._handovers.owner_and_proxy()
        if chosen is not None:
            self._alone(self._cluster.config.lease_seconds + 1.0)
            self._world.spawn(lambda: self._write_and_die(*chosen), "clock ahead")

    def _write_and_die(self, owner: Node, proxy: Node) -> None:
        cluster = self._cluster
        owner.process.skew_us += AHEAD_US
        cluster.client("ahead", lambda node: node is proxy).put(TABLES[0], 0)
        for node in (owner, proxy):
            cluster.kill(node.process.name)
        after = cluster.client("behind", lambda _: True)
        for _ in range(3):
            after.put(TABLES[0], 0)
            after.read(TABLES[0], 0, "Strong")

    def _forget_leader(self) -> None:
        """Whoever leads and a proxy hear of nothing any more, but of each other. What the next leader makes the two
        must not deny."""
        cluster = self._cluster
        leaders = cluster.leaders()
        if not leaders or not cluster.of("proxy"):
            return
        leader, proxy = self._rng.choice(leaders), self._rng.choice(cluster.of("proxy"))
        seconds = cluster.config.lease_seconds + self._rng.choice((1.5, 3.0))
        self._handovers.stop(leader, seconds - 1.0)
        cluster.cut_off(leader, seconds)
        cluster.forget(proxy, seconds)
        self._alone_until = until = self._world.now + seconds
        self._world.spawn(lambda: self._deny(leader, proxy, until), "denies")

    def _deny(self, leader: Node, proxy: Node, until: float) -> None:
        cluster, world = self._cluster, self._world
        name = f"forgotten{next(self._numbers)}"
        cluster.unsure.add(name)
        while world.now < until:
            world.sleep(0.05)
            if not any(node is not leader for node in cluster.leaders()):
                continue
            try:
                cluster.ask(rq.CreateCollection(schema=schema(name)), lambda node: node is not proxy)
            except HARMLESS:
                continue
            for request in (rq.Flush(collections=(name,)), rq.ShowPartitions(collection=name)) * 3:
                world.spawn(partial(self._ask, request, proxy), "asks")
                world.sleep(0.2)
            return

    def _ask(self, request: rq.Request, proxy: Node) -> None:
        try:
            self._cluster.ask(request, lambda node: node is proxy)
        except HARMLESS:
            return
        except NotFound as error:
            raise Wrong(f"{type(request).__name__} was answered with: {error.message}") from error

    def _bad_weather(self) -> None:
        rng, net = self._rng, self._cluster.net
        net.weather = Weather(
            lost=rng.choice((0.0, 0.02, 0.1)), slow=rng.choice((0.0, 0.1, 0.3)),
            slow_seconds=rng.choice((0.05, 0.5)), doubled=rng.choice((0.0, 0.1)),
        )  # fmt: skip
        self._world.at(rng.uniform(0.5, 3.0), self.good_weather)

    def _slow_moment(self) -> None:
        """What is sent now comes behind what is sent later."""
        self._cluster.net.weather = Weather(slow=1.0, slow_seconds=0.6)
        self._world.at(self._rng.uniform(0.02, 0.2), self.good_weather)

    def _late_reads(self) -> None:
        """For a moment, what query nodes are asked to read comes late: behind what closes the segments, which are
        merged meanwhile."""
        self._world.spawn(self._read_what_goes, "late reads")

    def _read_what_goes(self) -> None:
        world, net, table = self._world, self._cluster.net, self._rng.choice(TABLES)
        for register in (0, 1):  # a segment each, at least
            self._cluster.client("before", lambda _: True).put(table, register)
            self._ask_for(rq.Flush(collections=(table.name,)))
        seconds = self._rng.uniform(0.3, 0.8)
        net.delays = lambda what: seconds if what == "ReadHeld" else 0.0
        world.at(1.0, lambda: setattr(net, "delays", lambda _: 0.0))
        for register in (0, 1, 0, 1):
            reader = self._cluster.client("late reader", lambda _: True)
            world.spawn(partial(reader.read, table, register, "Strong", self._rng.random() < 0.5), reader.name)
        world.sleep(0.02)
        self._ask_for(rq.Compact(collection=table.name))

    def _ask_for(self, request: rq.Request) -> None:
        try:
            self._cluster.ask(request)
        except (*HARMLESS, PartlyWritten):
            return

    def good_weather(self) -> None:
        self._cluster.net.weather = Weather()

    def _lose_replies(self) -> None:
        node = self._some()
        if node.backends is not None:
            node.backends.connection.lose_replies(self._rng.randint(1, 3))

    def _broker_trouble(self) -> None:
        log, rng = self._shared.log, self._rng
        if rng.random() < 0.3:
            log.down = True
        else:
            log.lost, log.doubled, log.late, log.silent = (rng.random() * 0.1 for _ in range(4))
        self._world.at(rng.uniform(0.3, 2.0), self.mend_broker)

    def mend_broker(self) -> None:
        log = self._shared.log
        log.down, log.lost, log.doubled, log.late, log.silent = False, 0.0, 0.0, 0.0, 0.0
        log.let_late_ones_in()

    def _step_clock(self) -> None:
        most = 2 * self._cluster.theme.skew_us
        self._some().process.skew_us = int(self._rng.uniform(-most, most))

    def _all_away(self) -> None:
        """Etcd answers nobody."""
        self._cluster.etcd_away(self._rng.choice((0.5, 1.5, 4.0, 9.0)))

    def _long_away(self) -> None:
        """The same for many leases: whoever owns something goes on by the log. Not everybody loses it at once, so that
        who finds it a little longer may name others."""
        self._cluster.etcd_away(self._rng.uniform(5.0, 20.0))
        left = [node for role in ("coordinator", "streaming") for node in self._cluster.of(role)]  # type: ignore[arg-type]
        for node in self._rng.sample(left, min(len(left), self._rng.choice((0, 0, 1, 2, 3)))):
            if node.backends is not None:
                node.backends.connection.mend()
