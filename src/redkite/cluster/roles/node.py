"""What the nodes of a cluster have in common: what they are made of, their place among the others, their end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import ClassVar, Final

from redkite.cluster.backends import Backends
from redkite.cluster.closing import close_each
from redkite.cluster.config import ROLES, ClusterConfig, Role
from redkite.cluster.figures import ROLE_NAMES, Figure, storage_of
from redkite.cluster.following import Metadata
from redkite.cluster.forwarding import reach_handler
from redkite.cluster.membership import Membership
from redkite.cluster.network import Handler, Network, Serving
from redkite.cluster.shards.calling import Caller
from redkite.cluster.shards.remote import RemoteOwners
from redkite.cluster.shards.routes import KnownRoutes
from redkite.coordinator.node_oracle import NodeOracle
from redkite.env import Env
from redkite.node.counted_objects import CountedObjects

JOIN_SECONDS: Final = 10.0
_COLLECTIONS: Final = "root/collection/"


class NodeRole(ABC):
    """One node. `make` and `ends` say what it has beside its place in the cluster."""

    kind: ClassVar[Role]

    def __init__(
        self,
        node_id: int,
        config: ClusterConfig,
        env: Env,
        backends: Backends,
        network: Network,
        address: str = "127.0.0.1:0",
    ) -> None:
        self.node_id, self.address = node_id, address
        """`address`: where others ask it; the port is known when it is started."""
        self.config, self.env, self.backends, self.network = config, env, backends, network
        self.members = Membership(backends.coordination, env, node_id, config.lease_seconds)
        self._serving: Serving | None = None
        self._closed = False
        try:
            self.make()
        except BaseException:
            self.members.close()
            raise

    @abstractmethod
    def make(self) -> None:
        """Its parts. Called once, when it is made."""

    def join(self, handlers: Mapping[type, Handler]) -> None:
        """Answer others, and be known to them. Raises Unavailable when the address is taken or etcd does not answer,
        WrongVersion when the cluster speaks otherwise."""
        self.members.wait(JOIN_SECONDS)
        self.serve(handlers)
        self.members.register(self.kind, self.address)

    def serve(self, handlers: Mapping[type, Handler]) -> None:
        """Answer others, from the first call on. Raises Unavailable when the address is taken."""
        if self._serving is None:
            self._serving = self.network.serve(self.address, handlers)
            self.address = self._serving.address

    def stop_serving(self) -> None:
        """Answer nobody any more."""
        if self._serving is not None:
            self._serving.close()

    def health(self) -> tuple[str, ...]:
        """What is wrong; nothing when all is well."""
        return self.members.health()

    def figures(self) -> Iterator[Figure]:
        """What it is doing, in numbers."""
        yield Figure("redkite_node_alive", "1 while others take this node for alive.", self.members.is_alive)
        yield Figure("redkite_node_troubles", "Reasons for which this node is not well.", len(self.health()))
        labels = (("node_id", str(self.node_id)), ("role_name", ROLE_NAMES[self.kind]))
        yield Figure("milvus_num_node", "Nodes by role: each tells of itself.", 1, labels)
        store = self.backends.objects()
        if isinstance(store, CountedObjects):
            yield from storage_of(store.counted())
        for role in ROLES:
            count = len(self.members.nodes(role))
            yield Figure("redkite_nodes", "Nodes that live, as this one sees it.", count, (("role", role),))

    @abstractmethod
    def ends(self) -> Iterable[Callable[[], object]]:
        """What is to be done when it ends, in this order."""

    def close(self) -> None:
        """Give back what it has, whatever `start` came to. Twice is once; a part that cannot be closed is logged, and
        keeps no other open."""
        if self._closed:
            return
        self._closed = True
        close_each(f"{self.kind} node {self.node_id}", self.ends())


class AskingRole(NodeRole):
    """A node that asks the owners of shards. `metadata` is kept new; `owners` are asked where they are."""

    def make(self) -> None:
        env, backends = self.env, self.backends
        self.catalog = backends.catalog()
        self.oracle = NodeOracle(self.catalog, env.clock, env.tasks)
        self.network.keep_time(self.oracle)
        self.metadata = Metadata(self.catalog, env, self.config.settings, self.oracle)
        self.routes = KnownRoutes(env.tasks, self.catalog, self.members, self.network)
        self.caller = Caller(env, self.routes, self.oracle, self.catalog)
        self.owners = RemoteOwners(self.caller, lambda: len(self.members.nodes("streaming")))
        self.catalog.when_changed(self._forget_dropped)

    def _forget_dropped(self, changes: Mapping[str, bytes | None]) -> None:
        keys = (key for key, value in changes.items() if value is None and key.startswith(_COLLECTIONS))
        gone = {int(key.removeprefix(_COLLECTIONS)) for key in keys}
        if gone:
            self.owners.all.forget(gone)
            self.routes.forget(gone)

    def join(self, handlers: Mapping[type, Handler]) -> None:
        super().join({**reach_handler(self.catalog), **handlers})

    def ends(self) -> Iterable[Callable[[], object]]:
        return (
            self.members.close,
            lambda: self.catalog.forget_listener(self._forget_dropped),
            self.caller.close,
            self.routes.close,
            self.metadata.close,
            self.stop_serving,
            self.oracle.close,
        )
