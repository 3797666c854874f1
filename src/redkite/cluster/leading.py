"""What the coordinator that leads has, from its election to its end: every decision is committed under its fence."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Any, Final

from redkite.cluster.assembly import proxy_arguments, topology_over
from redkite.cluster.closing import close_each
from redkite.cluster.data_work import SharedDataNode
from redkite.cluster.deciding import ONCE, Begun, CarryingOut, Deciding, TaskedCatalog, watching
from redkite.cluster.figures import Figure, channels_of, waits_of
from redkite.cluster.following import Metadata
from redkite.cluster.forwarding import LOOKING, WAITING, Forward, Forwarded, NotLeading, Reach
from redkite.cluster.membership import NodeRecord
from redkite.cluster.network import NotReached, Unanswered
from redkite.cluster.roles.node import AskingRole
from redkite.cluster.seen import SeenQueryNodes, serving_nodes
from redkite.cluster.shard_leaders import with_owners
from redkite.cluster.shards.admitting import RemoteAdmission
from redkite.cluster.shards.compacting import DistantCompactor, compaction_policy, no_shard
from redkite.cluster.shards.hand_over import ask_to_let_go
from redkite.cluster.shards.remote import RemoteOwners
from redkite.cluster.shards.writing import RemoteWrites
from redkite.cluster.standing_still import Everywhere
from redkite.cluster.taking_over import TakingOver
from redkite.cluster.tries import Tries
from redkite.coordinator.broadcast import Broadcaster
from redkite.coordinator.jobs import JobRecords
from redkite.coordinator.meta import CollectionMeta
from redkite.coordinator.pchannels import PChannel
from redkite.coordinator.shared_garbage import Collector, SharedGarbage
from redkite.coordinator.streaming import StreamingCoordinator
from redkite.env import Executor, Timer
from redkite.errors import CollectionNotFound, ConnectionClosed, MilvusException, Unavailable
from redkite.logs import get_logger
from redkite.model import placement as pl
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.node.memory import MemoryBudget
from redkite.proxy.service import Proxy
from redkite.storage.coordination import Fence, Fenced
from redkite.storage.log_channel_format import collection_id, physical_name

log = get_logger(__name__)

SETTLE_SECONDS: Final = 1.0
"""How often channels are looked after when nothing has happened."""
_FOLLOWERS: Final = ("proxy", "streaming")
"""Nodes that know the catalog by following it."""
_OVER: Final = "this coordinator does not lead any more"
_PAUSE_SECONDS: Final = 0.05
_WORKERS: Final = 16
"""Requests that are decided side by side."""


class Leading:
    """Decides until it is closed, or its fence does not hold any more."""

    def __init__(self, node: AskingRole, fence: Fence, leads: Callable[[], bool]) -> None:
        """`leads` tells whether nobody else can lead now. Raises Unavailable when what the cluster stands on does not
        answer."""
        self._node, self._leads = node, leads
        self._lock = Lock()
        self._to_settle = self._to_carry = False
        self._closed = False
        self._ends: list[Callable[[], object]] = []
        """What has been begun, and how it is ended."""
        try:
            self._begin(fence)
        except BaseException:
            self.close()
            raise

    def _begin(self, fence: Fence) -> None:
        node, begun = self._node, self._ends.append
        env, settings = node.env, node.config.settings
        node.catalog.refresh()
        catalog = self._catalog = TaskedCatalog(node.catalog.fenced(fence))
        self.metadata = Metadata(catalog, env, settings, node.oracle)
        begun(self.metadata.close)
        store = node.backends.objects()
        memory = MemoryBudget(env, settings.memory_limit, settings.memory_wait_seconds)
        named = self.metadata.data.object_names
        garbage = SharedGarbage(env, store, named, catalog, lambda: node.oracle.allocate_ids(1))
        owners = RemoteOwners(node.caller, lambda: len(node.members.nodes("streaming")), self._collection_on)
        builds = self.builds = SharedDataNode(
            node.node_id, env, store, settings.threads or os.cpu_count() or 1, memory, node.network,
            self._data_nodes, lambda: node.oracle.allocate_ids(1), lambda: node.address,
        )  # fmt: skip
        compactor = DistantCompactor(
            env, store, self.metadata.root, self.metadata.data, garbage, builds, no_shard, compaction_policy(settings),
            self._protected, JobRecords(catalog, "compaction"),
        )  # fmt: skip
        askers = env.tasks.executor("compactions asked for", _WORKERS)
        compactor.ask_by(node.caller, askers)
        begun(partial(askers.shutdown, wait=False))
        topology = topology_over(
            env, settings, self.metadata, store, garbage, owners, querying=SeenQueryNodes(node.members), memory=memory,
            decides=catalog, data_nodes=(builds,), compactor=compactor,
        )  # fmt: skip
        self.topology = dataclasses.replace(topology, admit=RemoteAdmission(env, node.caller, catalog))
        begun(self.topology.close)
        self.streaming = StreamingCoordinator(
            catalog, env.clock, node.config.pchannels, self._streaming_nodes, self._carried, self._let_go,
            self._remove_log,
        )  # fmt: skip
        self.metadata.root.pick_channels = self.streaming.pick
        self._proxy = Proxy(self.topology, writer=RemoteWrites, import_by=builds.importing, **proxy_arguments(settings))
        begun(self._proxy.close)
        answer: Any = self._proxy.method(pl.GetReplicas)
        self._proxy.answer_with(pl.GetReplicas, with_owners(answer, self.streaming.channels, node.members.node))
        self.broadcaster = Broadcaster(env, catalog, lambda: node.oracle.allocate_ids(1), CarryingOut(self.topology))
        self.topology.standing.elsewhere = Everywhere(
            env, catalog, node.members, node.network, self._patience, lambda: self.broadcaster.waiting
        )
        self._tries = Tries(env)
        self._decisions = Deciding(self._proxy, self.topology, self.broadcaster, catalog.refresh)
        self._worker: Executor = env.tasks.executor("decide", _WORKERS)
        self._settler: Executor = env.tasks.executor("settle", 1)
        begun(partial(self._worker.shutdown, wait=False))
        begun(partial(self._settler.shutdown, wait=False))
        self._carrier: Executor = env.tasks.executor("carry out", 1)
        begun(partial(self._carrier.shutdown, wait=False))
        catalog.when_changed(self._changed)
        begun(lambda: catalog.forget_listener(self._changed))
        node.members.when_changed(self._nodes_changed)
        begun(lambda: node.members.forget_listener(self._nodes_changed))
        self._timer: Timer = env.tasks.every(SETTLE_SECONDS, self.settle_soon, "settle")
        begun(self._timer.cancel)
        self._nodes_changed()
        self._taking_over = TakingOver(env, catalog, self.topology, self._proxy)
        begun(self._taking_over.close)
        self._collector = Collector(
            env, store, garbage, named, catalog, node.backends.coordination, self._readers, settings.garbage_seconds
        )
        begun(self._collector.close)

    def _protected(self) -> frozenset[int]:
        """Segments that snapshots want left alone."""
        return self.topology.snapshots.protected_segments()

    def _data_nodes(self) -> list[tuple[int, str]]:
        nodes = self._node.members.nodes("data")
        return [(record.node_id, record.address) for record in nodes if not record.draining]

    def _collection_on(self, channel: str) -> CollectionMeta | None:
        """The collection of a virtual channel; None when it is gone."""
        try:
            return self.metadata.root.find_by_id(collection_id(channel))
        except CollectionNotFound:
            return None

    def _readers(self) -> list[int]:
        """The nodes that live and read objects."""
        return [record.node_id for record in self._node.members.nodes() if record.role in ("streaming", "query")]

    def health(self) -> tuple[str, ...]:
        """What waits to be done; nothing when all is."""
        reasons = []
        left = len(self.broadcaster.waiting)
        if left:
            reasons.append(f"{left} changes are decided and not carried out everywhere yet")
        alone = [c.name for c in self.streaming.channels().values() if c.is_wanted and not c.is_owned]
        if alone:
            reasons.append(f"nobody owns channel {', '.join(alone)}")
        return tuple(reasons)

    def figures(self) -> Iterator[Figure]:
        """What is decided, and how long that waits."""
        yield from channels_of(self.streaming.channels())
        yield from waits_of(self.broadcaster.locks.waits)
        text = "Changes that are decided, and that not all concerned have carried out."
        yield Figure("redkite_tasks_waiting", text, len(self.broadcaster.waiting))
        text = "1 when everything that the coordinator before had begun is taken over."
        yield Figure("redkite_taken_over", text, self._taking_over.is_done)

    # -- requests ---------------------------------------------------------------------------------
    def answer(self, message: Forward) -> Future[Forwarded]:
        """Answers `Forward`."""
        if type(message.request) in WAITING:
            return self._awaited(message.request)
        if self._closed:
            raise NotLeading(_OVER)
        try:
            return self._worker.submit(self._answer, message)
        except Unavailable:  # closed just now: nothing was begun
            raise NotLeading(_OVER) from None

    def _awaited(self, request: rq.Request) -> Future[Forwarded]:
        """The answer to one that waits for what comes, for which no thread does: there may be many of them."""
        answer: Future[Forwarded] = self._node.env.tasks.future()

        def done(found: Future[rs.Result]) -> None:
            error = found.exception()
            if error is None:
                answer.set_result(Forwarded(found.result(), 0))
            elif isinstance(error, Fenced):
                answer.set_exception(NotLeading(f"{_OVER}: {error.message}"))
            else:
                answer.set_exception(error)

        if self._closed:
            raise NotLeading(_OVER)
        found = self._proxy.call(request)
        assert isinstance(found, Future), "what waits answers later"
        found.add_done_callback(done)
        return answer

    def _answer(self, message: Forward) -> Forwarded:
        if self._closed:
            raise NotLeading(_OVER)
        with self._tries.turn(message.number, message.tried), watching() as begun:
            try:
                result = self._decided(message, begun)
                if type(message.request) in LOOKING:
                    return Forwarded(result, 0)
                revision = self._catalog.refresh()
            except (Fenced, Unavailable) as error:
                if isinstance(error, Fenced) or self._closed:  # what it needs was closed under it
                    raise (Unanswered if begun.commits else NotLeading)(f"{_OVER}: {error.message}") from error
                raise
        self._tell_all(revision)
        return Forwarded(result, revision)

    def _decided(self, message: Forward, begun: Begun) -> rs.Result:
        """What a request comes to. Where nothing was committed for it, nobody has looked at the fence: what was found
        by looking says nothing once another may lead."""
        try:
            result = self._decisions.call(message.request, message.number if type(message.request) in ONCE else 0)
        except (Fenced, Unavailable):
            raise
        except MilvusException as error:
            if not begun.commits and not self._leads():
                raise NotLeading(f"{_OVER}: {error.message}") from error
            raise
        assert isinstance(result, rs.Result), "a request is answered with a result"
        if not begun.commits and not self._leads():
            raise NotLeading(_OVER)
        return result

    def _tell_all(self, revision: int) -> None:
        """Come back when every node that lives knows the catalog as far as this."""
        asked = []
        for record in self._node.members.nodes():
            if record.role in _FOLLOWERS:
                remote = self._node.network.connect(record.address)
                with suppress(MilvusException):  # it is gone, or will be
                    asked.append((record, remote.ask_soon(Reach(revision=revision), self._patience)))
        silent = set()
        for record, reply in asked:
            error = reply.exception()
            if error is not None:
                log.info("node %d does not say that it knows of a change: %s", record.node_id, error)
                if not isinstance(error, NotReached):
                    silent.add(record.node_id)
        self._wait_for_owners(silent)

    def _wait_for_owners(self, silent: Collection[int]) -> None:
        """A streaming node that hears of nothing may go on to answer by the log, from what it knew, until others own
        its channels: that is waited for, as long as it takes when all is well."""
        deadline = self._node.env.clock.monotonic() + self._patience
        while self._node.env.clock.monotonic() < deadline:
            there = self._streaming_nodes().keys() - silent
            known = [channel for channel in self.streaming.channels().values() if channel.has_node]
            if all(channel.is_owned and channel.node_id in there for channel in known):
                return
            with suppress(TimeoutError):
                self._node.env.tasks.future().result(_PAUSE_SECONDS)

    @property
    def _patience(self) -> float:
        """A node that does not answer for so long is taken for dead by then."""
        return self._node.config.lease_seconds

    # -- channels ---------------------------------------------------------------------------------
    def _streaming_nodes(self) -> dict[int, bool]:
        return {record.node_id: not record.draining for record in self._node.members.nodes("streaming")}

    def _carried(self) -> Mapping[str, Sequence[int]]:
        carried: dict[str, list[int]] = {}
        for meta in self.metadata.root.all_collections():
            for channel in meta.channels:
                carried.setdefault(physical_name(channel), []).append(meta.collection_id)
        return carried

    def _let_go(self, channel: PChannel) -> None:
        record = self._node.members.node(channel.node_id)
        ask_to_let_go(channel, None if record is None else self._node.network.connect(record.address))

    def _remove_log(self, name: str) -> None:
        self._node.backends.broker().drop(name)

    def settle_soon(self) -> None:
        """Look after channels and replicas, in the background."""
        with self._lock:
            if self._to_settle or self._closed:
                return
            self._to_settle = True
        with suppress(Unavailable):  # closed just now
            self._settler.submit(self._settle)

    def _settle(self) -> None:
        with self._lock:
            self._to_settle = False
        try:
            done = self.streaming.settle()
            self.metadata.loads.settle()
        except Fenced:
            log.info("this coordinator does not lead any more: channels are another's to give")
        except ConnectionClosed:
            self._timer.cancel()
        except MilvusException as error:
            if not self._closed:
                log.warning("channels could not be looked after: %s", error.message)
        else:
            self._carry_soon()
            if not done.is_quiet:
                self.settle_soon()

    def _carry_soon(self) -> None:
        """Go on with decisions that are not carried out everywhere, on a thread of its own: they wait for channels to
        have owners, who are given by the other one."""
        with self._lock:
            if self._to_carry or self._closed:
                return
            self._to_carry = True
        with suppress(Unavailable):  # closed just now
            self._carrier.submit(self._carry)

    def _carry(self) -> None:
        try:
            self.broadcaster.resume()
            self.broadcaster.forget_requests()
        except Fenced:
            log.info("this coordinator does not lead any more: what is left is carried out by another")
        except MilvusException as error:
            if not self._closed:
                log.warning("what was decided is carried out later: %s", error.message)
        finally:
            with self._lock:
                self._to_carry = False

    # -- following --------------------------------------------------------------------------------
    def _nodes_changed(self) -> None:
        self._see(self._node.members.nodes("query"))
        self.settle_soon()

    def _see(self, records: Collection[NodeRecord]) -> None:
        leaving = {record.node_id for record in records if record.draining}
        self.metadata.loads.see(serving_nodes(records), leaving)

    def _changed(self, changes: Mapping[str, bytes | None]) -> None:
        if any(key.startswith("pchannel/") for key in changes):
            self.settle_soon()

    def close(self) -> None:
        """Decide nothing any more. What is under way fails at its next commit."""
        with self._lock:
            self._closed = True
        close_each(f"the leading of node {self._node.node_id}", reversed(self._ends))
