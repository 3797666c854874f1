"""A whole cluster: every role as it is, each node a process, while nodes are killed, stopped and cut off.

One seed in three has data nodes, which write what is sealed there however little it is. One in four imports files.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from tests.proof.history import History
from tests.simulation.aims import Aims
from tests.simulation.catalog import slow_down
from tests.simulation.doors import Door
from tests.simulation.faults import Faults
from tests.simulation.fibers import Fiber, Process, World
from tests.simulation.imports import FOLDER, HOME, Hosts, Imports
from tests.simulation.runs import Outcome, judge
from tests.simulation.themes import OF_DATA_NODES, OF_IMPORTS, Theme, theme_of
from tests.simulation.upkeep import SETTLING_SECONDS, Upkeep
from tests.simulation.workload import TABLES, Client, Wrong, create_tables

from redkite.cluster import data_work
from redkite.cluster.backends import MemoryBackends, MemoryWorld
from redkite.cluster.config import ClusterConfig, Role
from redkite.cluster.in_process import SMALL
from redkite.cluster.membership import take_node_id
from redkite.cluster.roles.coordinator import CoordinatorRole
from redkite.cluster.roles.data import DataRole
from redkite.cluster.roles.proxy import ProxyRole
from redkite.cluster.roles.query import QueryRole
from redkite.cluster.roles.streaming import StreamingRole
from redkite.cluster.simulated import NetworkWorld, SimulatedNetwork
from redkite.config import Settings
from redkite.env import Env
from redkite.errors import Unavailable
from redkite.proxy import lapses
from redkite.simulated import SimulatedDisk, SimulatedFiles
from redkite.storage.log_channel_format import physical_name
from redkite.storage.shared_memory import DATA

BOUND = 2.0
"""Seconds that Bounded may be stale here: less than elsewhere, so that a run is long enough to see more."""
lapses.BOUND_SECONDS = BOUND
data_work.LEAST_BYTES = 1
START_SECONDS = 120.0
NOT_THERE = 0.1
"""The chance of a data node not to see the folder of the files that are imported."""
MAKERS: dict[Role, Callable[..., Any]] = {
    "coordinator": CoordinatorRole, "streaming": StreamingRole, "query": QueryRole, "data": DataRole,
    "proxy": ProxyRole,
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """How large, how long and how unkind one run is."""

    counts: dict[Role, int] = field(
        default_factory=lambda: {"coordinator": 2, "streaming": 2, "query": 2, "data": 2, "proxy": 2}
    )
    with_data: float = 1 / 3
    """The share of seeds that have data nodes, …"""
    with_imports: float = 1 / 4
    """… and of those that import; most of these have data nodes as well."""
    theme: Theme | None = None
    """None: that of the seed."""


@dataclass(eq=False)
class Node:
    """A process of the cluster."""

    role: Role
    process: Process
    network: SimulatedNetwork | None = None
    backends: MemoryBackends | None = None
    node: Any = None
    door: Door | None = None
    forgotten_until: float = 0.0

    @property
    def alive(self) -> bool:
        return not self.process.ended


class Guarded:
    """A store of objects as one node has it; `deletes` is told of what it is about to delete."""

    def __init__(self, store: Any, deletes: Callable[[str], None]) -> None:
        self._store, self._deletes = store, deletes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def delete(self, name: str) -> None:
        self._deletes(name)
        self._store.delete(name)


class SimulatedCluster:
    """Starts nodes, and takes from them what a machine can take from a process."""

    def __init__(self, world: World, plan: Plan) -> None:
        self.world, self.plan = world, plan
        self.theme = theme = plan.theme or theme_of(world.seed)
        self.rng = random.Random(f"cluster {world.seed}")
        self.imports = random.Random(f"imports {world.seed}").random() < plan.with_imports
        with_data = max(plan.with_data, 3 / 4) if self.imports and plan.with_data else plan.with_data
        has_data = random.Random(f"data nodes {world.seed}").random() < with_data
        self.counts = plan.counts if has_data else {**plan.counts, "data": 0}
        settings = msgspec.structs.replace(
            Settings(), seal_rows=self.rng.choice(theme.seal_rows), threads=1,
            garbage_seconds=self.rng.choice(theme.garbage_seconds), imports=FOLDER,
        )  # fmt: skip
        self.config: ClusterConfig = msgspec.structs.replace(
            SMALL, pchannels=self.rng.choice(theme.channels), lease_seconds=2.0, settings=settings
        )
        self.net = NetworkWorld(random.Random(f"network {world.seed}"), world.at)
        server = Process(world, "shared")
        self.shared = MemoryWorld(self.env(server), seed=world.seed)
        self.nodes: list[Node] = []
        self._numbers = itertools.count(1)
        self.kills = 0
        self.history, self.versions = History(), itertools.count(1)
        self.wrong: list[str] = []
        """What was seen that must not be."""
        self.unsure: set[str] = set()
        """Collections that may be there in the end, or not."""
        self._named: dict[str, Node] = {}
        """By the name of its process, which is its host."""
        self.aims = Aims(world, random.Random(f"aims {world.seed}"), self.config.lease_seconds, self.kill)
        self.faults = Faults(self, random.Random(f"faults {world.seed}"))
        self.net.asked = lambda source, target, what: self.aims.asked(
            self._named[source].process, self._named[target].process, what
        )
        self.net.answers = lambda source, what: self.aims.answers(self._named[source].process, what)
        world.on_failure = self._failed

    def env(self, process: Process) -> Env:
        numbers = random.Random(f"random {self.world.seed} {process.name}")
        files: Any = SimulatedFiles(SimulatedDisk(self.world.seed))
        here = random.Random(f"folder {self.world.seed} {process.name}").random()
        if process.name != "shared" and not (process.name.startswith("data") and here < NOT_THERE):
            files = Hosts(files, self.shared.env.files)
        return Env(clock=process, random=numbers, files=files, tasks=process)

    def _failed(self, fiber: Fiber, error: BaseException) -> None:
        raise error

    # -- nodes ----------------------------------------------------------------------------------
    def start_node(self, role: Role) -> Node:
        """A new process, which goes on trying until it has joined."""
        most = self.theme.skew_us
        process = Process(self.world, f"{role}-{next(self._numbers)}", skew_us=int(self.rng.uniform(-most, most)))
        node = Node(role, process)
        self.nodes.append(node)
        self._named[process.name] = node
        process.spawn(lambda: self._run(node), "main")
        return node

    def _run(self, node: Node) -> None:
        name, env = node.process.name, self.env(node.process)
        node.backends = self.shared.backends(env, name)
        aims = self.aims
        slow_down(
            self.world,
            node.backends.connection,
            lambda keys: aims.commits(node, keys),
            lambda keys: aims.writes(node, keys),
        )
        node.backends._objects = Guarded(node.backends._objects, self._deletes)  # type: ignore[assignment]
        node.backends.broker().sends = lambda: aims.logs(node)
        node.process.at_end.append(node.backends.abandon)
        node_id = self._until_there(lambda: take_node_id(node.backends.catalog()))  # type: ignore[union-attr]
        node.network = SimulatedNetwork(self.net, env, node_id, name)
        node.process.at_end.insert(0, node.network.close)  # first: who was killed says nothing of how that went
        made = MAKERS[node.role](node_id, self.config, env, node.backends, node.network)
        self._until_there(made.start)
        node.node = made
        if node.role == "proxy":
            node.door = Door(self.world, node.process, made.service.call)

    def _deletes(self, name: str) -> None:
        """Nobody who lives may need an object that is deleted."""
        for node in (*self.of("streaming"), *self.of("query")):
            members = None if node.node is None or node.process.paused else node.node.members
            if members is not None and members.is_alive and not members.is_doubtful and name in self._needed_by(node):
                self.wrong.append(f"{name} is deleted, and {node.process.name} needs it")

    def _needed_by(self, node: Node) -> frozenset[str]:
        """The objects that a node reads. What a query node was told to open by who has lost the channel since, as
        somebody who stood still and goes on may tell it, nobody reads there."""
        if node.role == "streaming":
            return frozenset(node.node._used())
        service = node.node._service
        owners = [other.node for other in self.of("streaming") if other.node is not None]
        return frozenset(
            name
            for meta in service.metas
            for owner in owners
            if (kept := service._kept.get(meta.segment_id)) is not None and owner.node_id in kept.owners
            if owner.owning.owns(physical_name(meta.channel))
            for name in meta.objects
        )

    def _until_there(self, act: Callable[[], Any]) -> Any:
        while True:
            try:
                return act()
            except Unavailable:
                self.world.sleep(0.3)

    def of(self, role: Role) -> list[Node]:
        return [node for node in self.nodes if node.role == role and node.alive]

    def keys(self) -> list[str]:
        """Of the catalog, as it is in etcd."""
        return [change.key.removeprefix(DATA) for change in self.shared.shared.pairs(DATA)[1]]

    def leaders(self) -> list[Node]:
        """Coordinators that lead, or believe so."""
        return [node for node in self.of("coordinator") if node.node is not None and node.node.leading is not None]

    def tables_on(self, node: Node) -> set[str]:
        """The physical channels that a node owns and that rows of the tables are on."""
        shards = () if node.node is None else node.node.node.shards()
        names = {table.name for table in TABLES}
        return {physical_name(shard.channel) for shard in shards if shard.collection.name in names}

    def owns_first(self, node: Node) -> bool:
        """Whether a node owns the channel of the first table."""
        shards = () if node.node is None else node.node.node.shards()
        return any(shard.collection.name == TABLES[0].name for shard in shards)

    def owned_by_others(self, channels: set[str], node: Node) -> bool:
        """Whether somebody else owns any of these by now."""
        others = [other.node.owning for other in self.of("streaming") if other is not node and other.node is not None]
        return any(owning.owns(name) for owning in others for name in channels)

    def client(self, name: str, by: Callable[[Node], bool]) -> Client:
        """One more, who asks by some of the proxies alone."""
        number = next(self._numbers)
        numbers = random.Random(f"{self.world.seed} {name} {number}")
        return Client(
            f"{name} {number}", self.world, numbers, lambda request: self.ask(request, by), self.history,
            lambda: next(self.versions), BOUND,
        )  # fmt: skip

    def ask(self, request: Any, by: Callable[[Node], bool] = lambda _: True) -> Any:
        """By any proxy that takes calls, as behind a load balancer."""
        there = [node for node in self.of("proxy") if not node.process.paused and by(node)]
        # Where one is forgotten most go by the others: else all would wait for it, and there would be nothing to miss.
        weights = [0.1 if node.forgotten_until > self.world.now else 1.0 for node in there]
        doors = [(node.door, weight) for node, weight in zip(there, weights, strict=True) if node.door is not None]
        if not doors:
            self.world.sleep(0.05)
            raise Unavailable("no proxy listens")
        return self.rng.choices([door for door, _ in doors], [weight for _, weight in doors])[0].ask(request)

    def start(self) -> None:
        for role, count in self.counts.items():
            for _ in range(count):
                self.start_node(role)
        limit = self.world.now + START_SECONDS
        while not self._is_ready():
            if self.world.now > limit:
                raise Wrong(f"the cluster is not ready: {self._missing()}")
            self.world.sleep(0.1)

    def _is_ready(self) -> bool:
        return all(node.node is not None for node in self.nodes) and not self._missing()

    def _missing(self) -> list[str]:
        found = [f"{node.process.name} has not joined" for node in self.nodes if node.node is None and node.alive]
        for node in self.of("proxy"):
            found += list(node.node.missing()) if node.node is not None else []
        return found

    # -- what befalls nodes ---------------------------------------------------------------------
    def cut_off(self, node: Node, seconds: float) -> None:
        """From etcd and from the log."""
        if node.backends is not None:
            node.backends.cut()
            self.world.at(seconds, node.backends.mend)

    def forget(self, proxy: Node, seconds: float) -> None:
        """It hears of nothing; clients seldom go by it."""
        self.cut_off(proxy, seconds)
        proxy.forgotten_until = self.world.now + seconds

    def without_etcd(self, node: Node, seconds: float) -> None:
        """It reaches all but etcd."""
        if node.backends is not None:
            node.backends.connection.cut()
            self.world.at(seconds, node.backends.connection.mend)

    def etcd_away(self, seconds: float) -> None:
        """It answers nobody."""
        cut = [node.backends for node in self.nodes if node.alive and node.backends is not None]
        for backends in cut:
            backends.connection.cut()
        self.world.at(seconds, lambda: [backends.connection.mend() for backends in cut] and None)

    def kill(self, name: str) -> None:
        """The process of a name; another one takes its place."""
        node = self._named[name]
        if node.alive:
            self.kills += 1
            self.world.kill(node.process)
            self.world.at(self.rng.uniform(0.1, 3.0), lambda: self._replace(node.role))

    def _replace(self, role: Role) -> None:
        self.start_node(role)

    def check_let_go(self) -> None:
        """Everything works again: no query node keeps a segment for an owner that does not count on it there."""
        limit = self.world.now + SETTLING_SECONDS
        while kept := self._kept_in_vain():
            if self.world.now > limit:
                raise Wrong(f"{len(kept)} segments are kept for owners that do not count on them: {kept[:5]}")
            self.world.sleep(0.5)

    def _kept_in_vain(self) -> list[tuple[int, int, int]]:
        """(query node, segment, owner)"""
        counted = {
            (peer.node_id, segment_id, owner.node.node_id)
            for owner in self.of("streaming")
            if owner.node is not None
            for peer in owner.node.query_nodes.peers
            for segment_id in peer._held
        }
        kept = {
            (one.node.node_id, segment_id, owner)
            for one in self.of("query")
            if one.node is not None
            for segment_id, held in one.node._service._kept.items()
            for owner in held.owners
        }
        return sorted(kept - counted)

    def mend(self) -> None:
        """Everything works again, and there are as many nodes as there were."""
        self.faults.good_weather()
        self.net.heal()
        self.faults.mend_broker()
        for node in self.nodes:
            if node.alive:
                if node.process.paused:
                    self.world.go_on(node.process)
                if node.backends is not None:
                    node.backends.mend()
        for role, count in self.counts.items():
            for _ in range(count - len(self.of(role))):
                self.start_node(role)


def imports_of(cluster: SimulatedCluster) -> Imports:
    world, files = cluster.world, cluster.shared.env.files
    files.make_dirs(FOLDER)
    return Imports(
        world, random.Random(f"importing {world.seed}"), cluster.ask, cluster.history, lambda: next(cluster.versions),
        lambda name, content: files.write_new(name, [content]), world.spawn,
    )  # fmt: skip


def run(world: World, plan: Plan | None = None) -> Outcome:
    plan = plan or Plan()
    rng = random.Random(f"plan {world.seed}")
    world.preempt = rng.choice((0.0, 0.005, 0.05))
    cluster = SimulatedCluster(world, plan)
    theme = cluster.theme
    history = cluster.history
    clients = [
        Client(
            f"c{n}", world, random.Random(f"{world.seed} {n}"), cluster.ask, history, lambda: next(cluster.versions),
            BOUND, theme.pause, hot=theme.hot, swaps=theme.swaps,
        )
        for n in range(theme.clients)
    ]  # fmt: skip
    upkeep = Upkeep(world, rng, cluster.ask, theme.upkeep_pause, theme.upkeep)
    upkeep.unsure = cluster.unsure
    imports = imports_of(cluster) if cluster.imports else None
    done: list[int] = []

    def main() -> None:
        cluster.start()
        create_tables(cluster.ask, world)
        if imports is not None:
            imports.prepare()
            cluster.unsure.add(HOME)
        until = world.now + theme.seconds
        fibers = [world.spawn(lambda client=client: client.run(until), client.name) for client in clients]
        fibers.append(world.spawn(lambda: upkeep.run(until), "upkeep"))
        weights = theme.faults | OF_DATA_NODES if cluster.counts["data"] and theme.faults else theme.faults
        if imports is not None:
            fibers.append(world.spawn(lambda: imports.run(until), "imports"))
            weights = weights | OF_IMPORTS if theme.faults else weights
        faults = cluster.faults.go_on(weights, theme.trouble, until - 1.0) if weights else 0
        cluster.mend()
        while not all(fiber.dead for fiber in fibers):
            world.sleep(0.1)
        world.sleep(3.0)
        for client in clients[:3]:
            client.read_everything()
        if imports is not None:
            imports.check()
        upkeep.check(cluster.keys)
        cluster.check_let_go()
        done.append(faults)

    world.spawn(main, "main")
    world.run(lambda: bool(done), 900)
    answered = sum(client.answered for client in clients)
    found = judge(history, TABLES, BOUND, kills=cluster.kills, answered=answered, faults=done[0])
    return replace(found, wrong=(*found.wrong, *cluster.wrong))
