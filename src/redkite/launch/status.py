"""How is a cluster? Asked of etcd, which knows who lives, and of every node itself.

Needs neither the log nor the store of objects, nor whoever started the nodes: so it also tells when one of these fails.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from redkite.cluster.backends import etcd_settings
from redkite.cluster.config import ROLES, ClusterConfig
from redkite.cluster.frames import PROTOCOL
from redkite.cluster.grpc_network import GrpcNetwork
from redkite.cluster.membership import NodeRecord, readable
from redkite.cluster.network import Network
from redkite.coordinator.pchannels import PREFIX, PChannel
from redkite.env import Env
from redkite.errors import InvalidParameter, MilvusException, Unavailable
from redkite.launch.facts import AskDrain, AskFacts, NodeFacts
from redkite.model.version import VERSION
from redkite.storage.coordination import Coordination

ASK_SECONDS: Final = 2.0
CLOCK_MS: Final = 1_000
"""Clocks that differ by more are told."""
_LOOK_SECONDS: Final = 0.2
_NODES: Final = "nodes/"
_LEADER: Final = "leader"
_ASKING: Final = 0
"""The node id of who only asks."""


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One node that etcd knows to be alive."""

    node_id: int
    role: str
    address: str
    host: str
    version: str
    leads: bool
    draining: bool
    channels: int
    """Physical channels that it owns."""
    health: tuple[str, ...]
    """What is wrong; nothing when all is well."""
    pid: int = 0
    port: int = 0
    """Where clients ask it, of a proxy."""
    metrics_port: int = 0
    up_seconds: int = 0
    resident_bytes: int = 0
    drained: bool = False


class ChannelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One physical channel."""

    name: str
    state: str
    node_id: int
    """Who owns it, or is about to; 0: nobody."""
    term: int
    since_ms: int


class ClusterStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A whole cluster at one moment."""

    name: str
    leader: int
    """Node id of the coordinator that decides; 0: nobody does."""
    nodes: tuple[NodeStatus, ...]
    channels: tuple[ChannelStatus, ...]
    problems: tuple[str, ...]
    """What is wrong with the whole."""

    @property
    def is_well(self) -> bool:
        return not self.problems and not any(node.health for node in self.nodes)


class Watcher:
    """What a cluster's etcd and nodes can be asked from outside. `watching` makes one."""

    def __init__(
        self, config: ClusterConfig, coordination: Coordination, scan: Callable[[str], list[tuple[str, bytes]]],
        network: Network,
    ) -> None:  # fmt: skip
        """`scan` reads the catalog."""
        self._config, self._coordination, self._scan, self._network = config, coordination, scan, network

    def records(self) -> list[NodeRecord]:
        """Every node that lives, by its number."""
        return sorted(readable(self._coordination.present(_NODES)), key=lambda record: record.node_id)

    def leader(self) -> int:
        """Node id; 0: nobody."""
        found = self._coordination.present(_LEADER).get(_LEADER)
        return 0 if found is None else msgspec.json.decode(found, type=_Leads).node_id

    def status(self) -> ClusterStatus:
        """Raises Unavailable when etcd does not answer."""
        records = self.records()
        answers = {record.node_id: self._ask(record) for record in records}
        leader = self.leader()
        channels = tuple(_channel(data) for _, data in self._scan(PREFIX))
        owned = Counter(channel.node_id for channel in channels if channel.state == "assigned")
        now = time.time_ns() // 1_000_000
        nodes = tuple(
            _node(record, answers[record.node_id], record.node_id == leader, owned[record.node_id], now)
            for record in records
        )
        problems = tuple(_problems(self._config, records, leader, channels))
        return ClusterStatus(name=self._config.name, leader=leader, nodes=nodes, channels=channels, problems=problems)

    def _ask(self, record: NodeRecord) -> Future[Any] | None:
        if record.protocol != PROTOCOL:
            return None
        return self._network.connect(record.address).ask_soon(AskFacts(), ASK_SECONDS)

    def drain(self, wanted: str, seconds: float, say: Callable[[str], None]) -> NodeFacts:
        """Have a node (by its number or address) hand over what it has; its facts when it has. Raises InvalidParameter
        for a node that is not there, Unavailable when it does not answer or is not done in time."""
        record = self._find(wanted)
        remote = self._network.connect(record.address)
        facts: NodeFacts = remote.ask(AskDrain(), ASK_SECONDS)
        say(f"node {record.node_id} ({record.role} at {record.address}) hands over what it has")
        deadline = time.monotonic() + seconds
        while not facts.drained:
            if time.monotonic() > deadline:
                raise Unavailable(f"node {record.node_id} has not handed over everything within {seconds:.0f} s")
            time.sleep(_LOOK_SECONDS)
            facts = remote.ask(AskFacts(), ASK_SECONDS)
        if facts.drain_error:
            raise Unavailable(f"node {record.node_id} could not hand over everything: {facts.drain_error}")
        return facts

    def _find(self, wanted: str) -> NodeRecord:
        records = self.records()
        for record in records:
            if wanted in (str(record.node_id), record.address):
                return record
        known = ", ".join(f"{record.node_id} ({record.role})" for record in records) or "none"
        raise InvalidParameter(f"there is no node '{wanted}'; those that live are {known}")


class _Leads(msgspec.Struct):
    """What the leader says of itself."""

    node_id: int


@contextmanager
def watching(config: ClusterConfig) -> Iterator[Watcher]:
    """Connections to etcd and to nodes, as long as they are wanted. Raises Unavailable when etcd does not answer."""
    from redkite.storage.etcd import Etcd
    from redkite.storage.etcd_catalog import EtcdCatalog
    from redkite.storage.etcd_coordination import EtcdCoordination

    env = Env.real()
    network = GrpcNetwork(env, config.name, _ASKING, config.tls)
    try:
        etcd = Etcd(etcd_settings(config), env.clock)
        try:
            try:
                etcd.call("KV", "Range", etcd.messages.RangeRequest(key=b"\0"), ASK_SECONDS)
            except Unavailable as error:
                raise Unavailable(f"etcd at {', '.join(config.etcd)} cannot be reached: {error.message}") from error
            yield Watcher(config, EtcdCoordination(etcd, env), EtcdCatalog(etcd, env).scan, network)
        finally:
            etcd.close()
    finally:
        network.close()


def _channel(data: bytes) -> ChannelStatus:
    found = PChannel.from_bytes(data)
    return ChannelStatus(
        name=found.name, state=str(found.state), node_id=found.node_id, term=found.term, since_ms=found.since_ms
    )


def _node(record: NodeRecord, answer: Future[Any] | None, leads: bool, channels: int, now: int) -> NodeStatus:
    health: tuple[str, ...]
    facts: NodeFacts | None = None
    if answer is None:
        health = (f"it speaks protocol {record.protocol} between nodes, and this is {PROTOCOL}",)
    else:
        try:
            facts = answer.result(ASK_SECONDS * 2)
            health = facts.health
        except (MilvusException, TimeoutError) as error:
            health = (f"it does not answer: {getattr(error, 'message', 'not in time')}",)
    if facts is not None and abs(facts.clock_ms - now) > CLOCK_MS:
        health = (*health, f"its clock is {(facts.clock_ms - now) / 1000:+.1f} s off the one here")
    return NodeStatus(
        node_id=record.node_id, role=record.role, address=record.address, host=record.host, version=record.version,
        leads=leads, draining=record.draining, channels=channels, health=health,
        pid=0 if facts is None else facts.pid,
        port=0 if facts is None else facts.port,
        metrics_port=0 if facts is None else facts.metrics_port,
        up_seconds=max(0, now - record.started_ms) // 1000,
        resident_bytes=0 if facts is None else facts.resident_bytes,
        drained=facts is not None and facts.drained,
    )  # fmt: skip


def _problems(
    config: ClusterConfig, records: Sequence[NodeRecord], leader: int, channels: Sequence[ChannelStatus]
) -> Iterator[str]:
    roles = Counter(record.role for record in records)
    for role in ROLES:
        if not roles[role] and (role != "data" or config.data):
            yield f"no node of role {role} lives"
    if not leader and roles["coordinator"]:
        yield "no coordinator leads"
    versions = sorted({record.version for record in records})
    if len(versions) > 1:
        yield f"nodes are of several versions: {', '.join(versions)} (this command is of {VERSION})"
    alive = {record.node_id for record in records}
    without = [channel.name for channel in channels if channel.state == "assigned" and channel.node_id not in alive]
    without += [channel.name for channel in channels if channel.state in ("unassigned", "assigning")]
    if without:
        more = f" and {len(without) - 3} more" if len(without) > 3 else ""
        yield f"nobody owns {', '.join(sorted(without)[:3])}{more} now"
