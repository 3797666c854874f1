"""The proxy: takes requests of clients, and has no state of its own but what it has learnt. Any number of them serve
one cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar

from redkite.cluster.assembly import proxy_arguments, topology_over
from redkite.cluster.config import Role
from redkite.cluster.election import LeaderWatch
from redkite.cluster.figures import Figure, channels_of
from redkite.cluster.forwarding import Forwarder
from redkite.cluster.network import Handler
from redkite.cluster.paging import NextPage, Paging
from redkite.cluster.roles.node import AskingRole
from redkite.cluster.searching import Searching
from redkite.cluster.seen import SeenQueryNodes, serving_nodes
from redkite.cluster.sending import ProxySending
from redkite.cluster.service import ClusterService
from redkite.cluster.shards.writing import RemoteWrites
from redkite.cluster.standing_still import standing_handler
from redkite.coordinator.access import AccessCoordinator
from redkite.coordinator.pchannels import read_pchannels
from redkite.coordinator.shared_garbage import SharedGarbage
from redkite.errors import MilvusException
from redkite.logs import get_logger
from redkite.model.service import Service
from redkite.node.memory import MemoryBudget
from redkite.proxy.service import Proxy

log = get_logger(__name__)


class ProxyRole(AskingRole):
    """One proxy, without ports: `service` answers requests. Has what a server wants of a database."""

    kind: ClassVar[Role] = "proxy"

    def make(self) -> None:
        super().make()
        env, settings, metadata = self.env, self.config.settings, self.metadata
        store = self.backends.objects()
        self._memory = MemoryBudget(env, settings.memory_limit, settings.memory_wait_seconds)
        garbage = SharedGarbage(
            env, store, metadata.data.object_names, self.catalog, lambda: self.oracle.allocate_ids(1)
        )
        self.topology = topology_over(
            env, settings, metadata, store, garbage, self.owners, querying=SeenQueryNodes(self.members),
            memory=self._memory,
        )  # fmt: skip
        self.access: AccessCoordinator = metadata.access
        proxy = Proxy(self.topology, writes=False, writer=RemoteWrites, **proxy_arguments(settings))
        proxy.share_rates(lambda: sum(not record.draining for record in self.members.nodes("proxy")))
        self._leader = LeaderWatch(self.backends.coordination, self.network)
        self._pchannels = self.config.pchannels
        self._forwarder = Forwarder(env, self._leader, self.catalog)
        searching = Searching(env.tasks, self.topology, proxy.reads, self.caller)
        paging = Paging(env.tasks, self.node_id, self.members, self.network)
        proxy.reads.pages.process = self.node_id
        service = ClusterService(env, proxy, self._forwarder, self.catalog, self.health, searching, paging)
        self._answers: dict[type, Handler] = {
            NextPage: lambda message: service.page(message.request),
            **standing_handler(self.catalog, self.topology.standing),
        }
        self.service: Service = service
        self.reads = proxy.reads
        self._end_service = service.close
        self.replication = ProxySending(
            settings.cluster_id, self.topology.standing, self.catalog, self.members, self.node_id
        )
        self.members.when_changed(self._nodes_changed)

    def _nodes_changed(self) -> None:
        """For who asks which resource groups have which nodes."""
        records = self.members.nodes("query")
        self.metadata.loads.see(serving_nodes(records), {r.node_id for r in records if r.draining})

    def start(self) -> None:
        """Raises Unavailable when the address is taken, or what the cluster stands on does not answer."""
        self.join(self._answers)

    def follow(self) -> None:
        """Take over what others have committed, if it can be had."""
        try:
            self.catalog.refresh()
        except MilvusException as error:
            log.warning("who may call is asked of metadata that may be old: %s", error.message)

    def health(self) -> tuple[str, ...]:
        """Why requests may fail; nothing when all is well."""
        reasons = list(self.members.health())
        if self._leader.remote() is None:
            reasons.append("no coordinator leads: reads and writes go on, nothing can be created or dropped")
        if not self.members.nodes("streaming"):
            reasons.append("no streaming node is there: nothing can be written")
        return tuple(reasons)

    def figures(self) -> Iterator[Figure]:
        yield from super().figures()
        yield from channels_of(read_pchannels(self.catalog))

    def missing(self) -> list[str]:
        """Why not everything can be asked yet, as it is known here."""
        reasons = list(self.health())
        if not self.members.nodes("query"):
            reasons.append("no query node is there: nothing can be loaded")
        known = read_pchannels(self.catalog).values()
        owned = sum(channel.is_owned for channel in known)
        if owned < self._pchannels:
            reasons.append(f"{owned} of {self._pchannels} channels have an owner")
        return reasons

    def drain(self) -> None:
        """Others learn that it goes; its clients are for who stands before it."""
        self.members.drain()

    def ends(self) -> Iterable[Callable[[], object]]:
        """Answer nothing any more."""
        return (self.replication.close, self._end_service, self._leader.close, *super().ends(), self.topology.close)
