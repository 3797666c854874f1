"""A whole cluster in one process: every role as it is, over any network and anything that nodes share.

    with InProcessCluster(MemoryNodes(folder)) as cluster:
        cluster.service().call(request)
        cluster.kill(cluster.nodes("streaming")[0])

For tests, for trying, and for the simulation, which brings its own world.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

import msgspec

from redkite.cluster.backends import Backends, MemoryWorld
from redkite.cluster.config import ROLES, ClusterConfig, Role
from redkite.cluster.local_network import LocalHub
from redkite.cluster.membership import take_node_id
from redkite.cluster.mortal_tasks import MortalTasks
from redkite.cluster.network import Network
from redkite.cluster.roles.coordinator import CoordinatorRole
from redkite.cluster.roles.data import DataRole
from redkite.cluster.roles.proxy import ProxyRole
from redkite.cluster.roles.query import QueryRole
from redkite.cluster.roles.streaming import StreamingRole
from redkite.env import Env
from redkite.errors import MilvusException, Unavailable
from redkite.logs import get_logger
from redkite.model.service import Service

log = get_logger(__name__)

READY_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.01


class Node(Protocol):
    """A role that runs."""

    node_id: int

    @property
    def address(self) -> str: ...

    def start(self) -> None: ...

    def health(self) -> tuple[str, ...]: ...

    def close(self) -> None: ...


MakeRole = Callable[[int, ClusterConfig, Env, Backends, Network], Node]
_MAKERS: Final[dict[Role, MakeRole]] = {
    "coordinator": CoordinatorRole,
    "streaming": StreamingRole,
    "query": QueryRole,
    "data": DataRole,
    "proxy": ProxyRole,
}


class World(Protocol):
    """What nodes stand on."""

    def env(self, name: str) -> Env:
        """The world of one node."""
        ...

    def network(self, node_id: int, name: str) -> Network: ...

    def backends(self, env: Env, name: str) -> Backends: ...

    def kill(self, running: Running) -> None:
        """The node is gone, with everything it has open, from one moment to the next: nothing of it runs any more."""
        ...

    def pause(self, running: Running) -> None:
        """The node takes no message, and renews no lease, until it is resumed."""
        ...

    def resume(self, running: Running) -> None: ...

    def sleep(self, seconds: float) -> None: ...

    def close(self) -> None: ...


@dataclass(eq=False)
class Running:
    """A node of the cluster."""

    role: Role
    name: str
    node: Node
    backends: Backends
    network: Network
    env: Env
    alive: bool = True

    @property
    def node_id(self) -> int:
        return self.node.node_id


class MemoryNodes:
    """A `World` of threads: metadata and the log that nodes share are in memory, objects in a folder."""

    def __init__(self, folder: str, env: Env | None = None, seed: int = 0) -> None:
        """`env`: of all nodes; by default the real one."""
        self._env = env or Env.real()
        self.shared = MemoryWorld(self._env, folder, seed)
        self.hub = LocalHub(self._env)

    def env(self, name: str) -> Env:  # noqa: ARG002  all are in one, each with work of its own
        return dataclasses.replace(self._env, tasks=MortalTasks(self._env.tasks))

    def network(self, node_id: int, name: str) -> Network:  # noqa: ARG002  addresses are enough
        return self.hub.network(node_id)

    def backends(self, env: Env, name: str) -> Backends:
        return self.shared.backends(env, name)

    def kill(self, running: Running) -> None:
        running.network.close()
        getattr(running.backends, "abandon", running.backends.close)()
        if isinstance(running.env.tasks, MortalTasks):
            running.env.tasks.end()

    def pause(self, running: Running) -> None:
        self.hub.pause(running.node.address)
        getattr(running.backends, "cut", _nothing)()

    def resume(self, running: Running) -> None:
        getattr(running.backends, "mend", _nothing)()
        self.hub.resume(running.node.address)

    def sleep(self, seconds: float) -> None:
        try:
            self._env.tasks.future().result(seconds)
        except TimeoutError:
            return

    def close(self) -> None:
        self.shared.close()


def _nothing() -> None:
    """What shares nothing that could be cut."""


class InProcessCluster:
    """Starts the nodes that a config counts; more can be started and any be killed. Use as a context, or `close` it."""

    def __init__(self, world: World, config: ClusterConfig | None = None, **counts: int) -> None:
        """`counts` go before those of the config: `proxies=1, streaming=2, query=2, coordinators=1, data=0`."""
        self.config = msgspec.structs.replace(config or SMALL, **counts)
        self.world = world
        self._running: list[Running] = []
        self._numbers = dict.fromkeys(ROLES, 0)

    # -- nodes ------------------------------------------------------------------------------------
    def start(self) -> Self:
        """Start every node, and wait until requests can be served. What cannot be started is closed again."""
        try:
            for role in ROLES:
                for _ in range(self.config.count(role)):
                    self.start_node(role)
            self.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def start_node(self, role: Role) -> Running:
        """One more node of a role."""
        self._numbers[role] += 1
        name = f"{role}-{self._numbers[role]}"
        env = self.world.env(name)
        backends = self.world.backends(env, name)
        node_id = take_node_id(backends.catalog())
        network = self.world.network(node_id, name)
        node = _MAKERS[role](node_id, self.config, env, backends, network)
        running = Running(role, name, node, backends, network, env)
        self._running.append(running)
        node.start()
        return running

    def nodes(self, role: Role) -> list[Running]:
        """Those of a role that run, in the order of their start."""
        return [running for running in self._running if running.role == role and running.alive]

    def __iter__(self) -> Iterator[Running]:
        return iter([running for running in self._running if running.alive])

    def stop(self, running: Running) -> None:
        """End a node in good order."""
        running.alive = False
        running.node.close()
        running.network.close()
        running.backends.close()

    def kill(self, running: Running) -> None:
        """End a node at once: nothing of what it had is given back."""
        running.alive = False
        self.world.kill(running)

    def pause(self, running: Running) -> None:
        self.world.pause(running)

    def resume(self, running: Running) -> None:
        self.world.resume(running)

    def restart(self, running: Running) -> Running:
        """Kill a node and start another of its role."""
        if running.alive:
            self.kill(running)
        return self.start_node(running.role)

    # -- requests ---------------------------------------------------------------------------------
    def proxy(self, number: int = 0) -> ProxyRole:
        """One of the proxies."""
        node = self.nodes("proxy")[number].node
        assert isinstance(node, ProxyRole), "its role says so"
        return node

    def service(self, number: int = 0) -> Service:
        """Of one of the proxies."""
        return self.proxy(number).service

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait until a coordinator leads and every channel has an owner, as the proxies see it. Raises Unavailable,
        which says what is missing."""
        waited = 0.0
        while reasons := self.reasons():
            if waited >= seconds:
                raise Unavailable(f"the cluster is not ready after {seconds:g} s: {'; '.join(reasons)}")
            self.world.sleep(_LOOK_SECONDS)
            waited += _LOOK_SECONDS

    def reasons(self) -> list[str]:
        """Why not everything can be asked of the proxies."""
        found: list[str] = []
        for running in self.nodes("proxy"):
            assert isinstance(running.node, ProxyRole), "its role says so"
            found += running.node.missing()
        return found

    def close(self) -> None:
        """End all nodes, proxies first, and forget what they shared."""
        for role in reversed(ROLES):
            for running in self.nodes(role):
                try:
                    self.stop(running)
                except MilvusException as error:
                    log.warning("%s could not end in good order: %s", running.name, error.message)
        self.world.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


SMALL: Final = ClusterConfig(
    objects="/objects", coordinators=1, streaming=2, query=2, data=0, proxies=1, pchannels=4, lease_seconds=2.0
)
"""Enough for every role to have something to do."""
