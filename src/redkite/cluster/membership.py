"""Who is in the cluster: a record of each node that lives, which is gone when its lease is.

`nodes/<node id>` is a `NodeRecord`. What a node commits can be fenced by its record: a node that was taken for dead
commits nothing more, whatever it believes.
"""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import inf
from typing import Final

import msgspec

from redkite.cluster.frames import PROTOCOL
from redkite.env import Env, Executor, Timer
from redkite.errors import Conflict, ConnectionClosed, Corruption, MilvusException, ServiceError, Unavailable
from redkite.logs import get_logger
from redkite.model.decoding import from_json
from redkite.model.version import VERSION
from redkite.storage.catalog import Catalog
from redkite.storage.coordination import Coordination, Fence, Lease, Watched

log = get_logger(__name__)

_NODES: Final = "nodes/"
_NEXT_NODE: Final = "ids/node"
LABEL_VARIABLE: Final = "MILVUS_SERVER_LABEL_"
_TRIES: Final = 100
_LEASES: Final = 3
"""How many are taken for one that comes in and whose machine stands still while it does."""


class WrongVersion(ServiceError):
    """A node speaks another protocol than the cluster that it wants to join."""

    default_code = 2


class NodeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A node, as others know it."""

    node_id: int
    role: str
    """`coordinator`, `streaming`, `query`, `data` or `proxy`."""
    address: str
    """`host:port` where other nodes ask it."""
    host: str = ""
    version: str = VERSION
    protocol: int = PROTOCOL
    started_ms: int = 0
    memory_bytes: int = 0
    """What the machine has; 0 where that is not known."""
    cores: int = 0
    labels: tuple[tuple[str, str], ...] = ()
    """What resource groups choose their nodes by."""
    draining: bool = False
    """It gives away what it has: nothing new is for it."""

    @property
    def key(self) -> str:
        return f"{_NODES}{self.node_id}"


def labels_of(variables: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The labels that an environment gives to its node: `MILVUS_SERVER_LABEL_zone=a` is the label `zone`."""
    given = ((name.partition(LABEL_VARIABLE), value) for name, value in variables.items())
    return tuple(sorted((name, value) for (before, found, name), value in given if found and name and not before))


def take_node_id(catalog: Catalog) -> int:
    """A number from 1 on that no node of this cluster has had. Raises Unavailable."""
    for _ in range(_TRIES):
        found = catalog.get(_NEXT_NODE)
        number = 1 if found is None else int(found)
        try:
            catalog.commit({_NEXT_NODE: str(number + 1).encode()}, expect={_NEXT_NODE: found})
        except Conflict:
            refresh = getattr(catalog, "refresh", None)
            if refresh is not None:
                refresh()
            continue
        return number
    raise Unavailable("so many nodes ask for a number that none was found: try again")


def machine_memory() -> int:
    """Bytes of this machine; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0


def _read(data: bytes) -> NodeRecord:
    try:
        return from_json(data, NodeRecord)
    except msgspec.MsgspecError as error:
        raise Corruption(f"the record of a node cannot be read: {error}") from error


def readable(present: Mapping[str, bytes]) -> Iterator[NodeRecord]:
    """Records that make sense here; who wrote another is of another version, and is asked nothing."""
    for key, data in present.items():
        try:
            yield _read(data)
        except Corruption as error:
            log.warning("%s: %s", key, error.message)


class Membership:
    """One node's view of who lives, and its own record there. Safe from any thread."""

    def __init__(self, coordination: Coordination, env: Env, node_id: int, lease_seconds: float) -> None:
        self._coordination, self._env = coordination, env
        self.node_id = node_id
        self._seconds = lease_seconds
        self._lock = threading.Lock()
        self._nodes: dict[int, NodeRecord] = {}
        self._strangers: dict[int, NodeRecord] = {}
        """Nodes that speak another protocol: nobody asks them anything."""
        self._tell: list[Callable[[], None]] = []
        self._when_lost: list[Callable[[], None]] = []
        self._record: NodeRecord | None = None
        self._lease: Lease | None = None
        self._fence: Fence | None = None
        self._ended_at = -inf
        """Until when the last lease was held that was lost."""
        self._back_at = -inf
        """When this node came back after that."""
        self._again: Timer | None = None
        self._closed = False
        self._enterer: Executor = env.tasks.executor("node record", 1)
        self._seen = env.tasks.future()
        self._watched: Watched = coordination.watch(_NODES, self._changed)

    # -- this node ------------------------------------------------------------------------------
    def register(self, role: str, address: str, *, labels: Iterable[tuple[str, str]] = ()) -> NodeRecord:
        """Say that this node lives, for as long as it renews its lease. Raises WrongVersion when the cluster speaks
        another protocol, Unavailable when nobody answers."""
        record = NodeRecord(
            node_id=self.node_id,
            role=role,
            address=address,
            host=platform.node(),
            started_ms=self._env.clock.now_ms(),
            memory_bytes=machine_memory(),
            cores=os.cpu_count() or 0,
            labels=tuple(labels),
        )
        self._enter(record)
        return record

    def _enter(self, record: NodeRecord, tries: int = _LEASES) -> None:
        self._check_versions()
        lease = self._coordination.lease(self._seconds)
        try:
            term = self._coordination.claim(record.key, msgspec.json.encode(record), lease)
            if term is None:
                raise Unavailable(f"node {record.node_id} is still taken for alive: its record is there")
            fence = self._coordination.fence(record.key, term)
            while (newer := self._entered(record, lease, fence)) is not None:
                self._coordination.put(newer.key, msgspec.json.encode(newer), lease)
                record = newer
        except BaseException as error:
            is_over = not lease.is_held
            lease.close()
            if is_over and tries > 1 and isinstance(error, MilvusException):  # this machine stood still meanwhile
                self._enter(record, tries - 1)
                return
            raise
        lease.when_lost(lambda: self._lost(lease))

    def _entered(self, said: NodeRecord, lease: Lease, fence: Fence) -> NodeRecord | None:
        """Take a lease for this node's own, if what its record says holds. Else, and nothing is taken then, what it is
        to say: it began to drain while it came in. Raises ConnectionClosed when it was closed meanwhile."""
        with self._lock:
            if self._closed:
                raise ConnectionClosed(f"node {self.node_id} has left the cluster")
            known = self._record
            if known is not None and known.draining and not said.draining:
                return known
            self._record, self._lease, self._fence = said, lease, fence
            self._nodes = {**self._nodes, said.node_id: said}
            return None

    def _check_versions(self) -> None:
        for data in self._coordination.present(_NODES).values():
            other = _read(data)
            if other.protocol != PROTOCOL and other.node_id != self.node_id:
                raise WrongVersion(
                    f"this is Redkite {VERSION}, which speaks protocol {PROTOCOL} between nodes; node {other.node_id} "
                    f"at {other.address} is Redkite {other.version} and speaks {other.protocol}: all nodes of a "
                    "cluster must speak the same"
                )

    def _lost(self, lease: Lease) -> None:
        with self._lock:
            if self._lease is not lease or self._closed:
                return
            self._lease = self._fence = None
            self._ended_at = lease.held_until
            told = list(self._when_lost)
        try:
            for tell in told:
                tell()
        finally:  # not before: who holds what it had for its own would take the next lease for the last one
            with self._lock:
                if not self._closed:
                    every = max(0.1, self._seconds / 4)
                    self._again = self._env.tasks.every(every, self._enter_soon, "node record")

    def _enter_soon(self) -> None:
        if not self._closed:
            self._enterer.submit(self._enter_again)

    def _enter_again(self) -> None:
        """A node whose lease was lost comes back under a new one: what it had may be others' by now."""
        with self._lock:
            record, again = self._record, self._again
            if record is None or again is None or self._closed:
                return
        try:
            self._enter(record)
        except ConnectionClosed:
            again.cancel()
            return
        except MilvusException as error:
            log.warning("node %d is not taken for alive: %s", self.node_id, error.message)
            return
        with self._lock:
            if self._again is again:  # else it was lost once more already, and another timer tries
                self._again = None
            self._back_at = self._env.clock.monotonic()
        again.cancel()

    @property
    def is_alive(self) -> bool:
        """Whether others take this node for alive, judged by its own clock, so never longer than they do."""
        lease = self._lease
        return lease is not None and lease.is_held

    @property
    def held_until(self) -> float:
        """Until when, by the monotonic clock, others certainly take this node for alive, or took it the last time."""
        lease = self._lease
        return self._ended_at if lease is None else lease.held_until

    @property
    def is_doubtful(self) -> bool:
        """Whether nodes that are missing among those that live may only not have come back yet, as this one had to
        itself: nobody was heard of for longer than a lease."""
        return not self.is_alive or self._env.clock.monotonic() < self._back_at + self._seconds

    @property
    def fence(self) -> Fence | None:
        """Holds as long as this node's present record does; None while it has none."""
        return self._fence

    def when_lost(self, tell: Callable[[], None]) -> None:
        """Called, from any thread, each time this node is no longer taken for alive."""
        with self._lock:
            self._when_lost.append(tell)

    def drain(self) -> None:
        """Say that nothing new is for this node. Raises Unavailable."""
        with self._lock:
            record, lease = self._record, self._lease
        if record is None:
            return
        drained = msgspec.structs.replace(record, draining=True)
        with self._lock:
            self._record = drained
            self._nodes = {**self._nodes, drained.node_id: drained}
        if lease is not None:
            self._coordination.put(drained.key, msgspec.json.encode(drained), lease)

    # -- all of them ----------------------------------------------------------------------------
    def _changed(self, present: Mapping[str, bytes]) -> None:
        found = list(readable(present))
        with self._lock:
            self._nodes = {record.node_id: record for record in found if record.protocol == PROTOCOL}
            self._strangers = {record.node_id: record for record in found if record.protocol != PROTOCOL}
            told = list(self._tell)
        if not self._seen.done():
            self._seen.set_result(None)
        for tell in told:
            try:
                tell()
            except Exception:  # theirs; others are told all the same
                log.exception("that nodes came or went was not taken")

    def nodes(self, role: str = "") -> tuple[NodeRecord, ...]:
        """Those that live, of one role or all, by their numbers."""
        nodes = self._nodes
        return tuple(nodes[number] for number in sorted(nodes) if role in ("", nodes[number].role))

    def node(self, node_id: int) -> NodeRecord | None:
        return self._nodes.get(node_id)

    def when_changed(self, tell: Callable[[], None]) -> None:
        """Call this, one call after another, whenever nodes came, went or began to drain. It must be quick."""
        with self._lock:
            self._tell.append(tell)

    def forget_listener(self, tell: Callable[[], None]) -> None:
        """Do not call it any more."""
        with self._lock:
            self._tell = [other for other in self._tell if other != tell]

    def wait(self, seconds: float) -> None:
        """Until it is known for the first time who lives. Raises Unavailable."""
        try:
            self._seen.result(seconds)
        except TimeoutError:
            raise Unavailable("etcd does not say which nodes there are") from None

    def health(self) -> tuple[str, ...]:
        """What is wrong with this node's place in the cluster; nothing when all is well."""
        reasons = []
        if self._record is not None and not self.is_alive:
            reasons.append(f"node {self.node_id} could not renew its lease: others take it for dead")
        reasons += [
            f"node {other.node_id} at {other.address} speaks protocol {other.protocol} instead of {PROTOCOL} and is "
            "asked nothing"
            for other in self._strangers.values()
        ]
        return tuple(reasons)

    def close(self) -> None:
        """The node's record is gone when this returns, if anybody can be reached."""
        with self._lock:
            self._closed = True
            lease, again = self._lease, self._again
            self._lease = self._fence = self._again = None
        if again is not None:
            again.cancel()
        self._enterer.shutdown(wait=False)
        try:
            self._watched.close()
        finally:
            if lease is not None:
                lease.close()
