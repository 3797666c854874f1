"""The streaming node: owns physical channels, and answers for the shards on them.

It has the ordinary streaming node, shards and compactor, over a log and a catalog that others share. What it commits
about a channel holds only while the channel is its own; what it answers, it answers only while its lease is held, or
where the log shows that nobody else does.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import ClassVar, Final

import msgspec

from redkite.cluster.assembly import topology_over
from redkite.cluster.caching import node_store
from redkite.cluster.config import ClusterConfig, Role
from redkite.cluster.data_work import SharedDataNode
from redkite.cluster.figures import Figure, Piece, cache_of, channels_of, progress_of, rows_of, segments_of, taken
from redkite.cluster.following import Metadata
from redkite.cluster.forwarding import reach_handler
from redkite.cluster.network import Handler
from redkite.cluster.owned_catalog import OwnedCatalog
from redkite.cluster.owning import Owning
from redkite.cluster.peers import QueryNodes
from redkite.cluster.roles.node import JOIN_SECONDS, NodeRole
from redkite.cluster.shards.admitting_service import AdmittingService
from redkite.cluster.shards.compacting import compacting_handlers
from redkite.cluster.shards.feed import FeedService
from redkite.cluster.shards.hand_over import let_go_handler
from redkite.cluster.shards.reading_service import ReadingService
from redkite.cluster.shards.upkeep_service import UpkeepService
from redkite.cluster.shards.writing_service import WritingService
from redkite.cluster.standing_still import standing_handler
from redkite.config import Settings, model_settings
from redkite.coordinator.compaction import CompactionPolicy
from redkite.coordinator.data import Parted
from redkite.coordinator.jobs import JobRecords
from redkite.coordinator.meta import CollectionMeta
from redkite.coordinator.node_oracle import NodeOracle
from redkite.coordinator.shared_garbage import Releasing, SharedGarbage
from redkite.coordinator.snapshots import protected_in
from redkite.env import away
from redkite.errors import CollectionNotFound, MilvusException, NotOwner, TopicClosed, Unavailable
from redkite.functions.base import Services
from redkite.functions.models import Models
from redkite.functions.registry import Functions
from redkite.logs import get_logger
from redkite.node.compactor import Compactor
from redkite.node.copies import ReadPolicy
from redkite.node.implied import drop_gone_partitions
from redkite.node.memory import MemoryBudget
from redkite.node.shard import Shard
from redkite.node.streaming import SealPolicy, StreamingNode
from redkite.node.topology import LocalOwners, Topology
from redkite.proxy.reads import Reads
from redkite.storage.catalog import MemoryCatalog
from redkite.storage.coordination import Fenced
from redkite.storage.followed import FollowedCatalog
from redkite.storage.log_channel_format import collection_id, physical_name
from redkite.storage.log_channels import ChannelLog
from redkite.storage.prefixed import PrefixedCatalog
from redkite.storage.shared_log import SharedLog, SharedLogSettings

log = get_logger(__name__)

DRAIN_SECONDS: Final = 600.0
PROOF_SECONDS: Final = 2.0
"""How long the log may take to say that a channel is still this node's; then the read is asked for again."""
MOST_AGE_SECONDS: Final = 300.0
"""What was written so long ago is sealed: the next owner of a channel reads no more of its log than this."""
_LOOK_SECONDS: Final = 0.1
_HANDS: Final = 8
"""So much upkeep is done side by side, and so many writes that wait for others."""


class StreamingRole(NodeRole):
    """One streaming node."""

    kind: ClassVar[Role] = "streaming"

    def make(self) -> None:
        node_id, config, env, backends, network = self.node_id, self.config, self.env, self.backends, self.network
        settings = config.settings
        self.catalog = backends.catalog()
        self._face: FollowedCatalog | None = None
        self.oracle = NodeOracle(self.catalog, env.clock, env.tasks)
        network.keep_time(self.oracle)
        self.owning = Owning(
            env,
            node_id,
            self.catalog,
            self._fenced,
            lambda: self.members.is_alive,
            self,
            lambda: self.members.held_until,
            self._is_promised,
        )
        owned = OwnedCatalog(self.catalog, self._fenced, self.owning.record_of)
        self.metadata = Metadata(owned, env, settings, self.oracle)
        self.memory = MemoryBudget(env, settings.memory_limit, settings.memory_wait_seconds)
        positions = PrefixedCatalog(owned, "log/")
        queue = SharedLogSettings().queue_bytes
        queue = min(queue, settings.memory_limit // 8) if settings.memory_limit else queue
        self._shared_log = SharedLog(
            env, backends.broker(), positions, self.owning.term_of, SharedLogSettings(queue_bytes=queue)
        )
        self.log = ChannelLog(self._shared_log, positions, self._checkpoint_of)
        store, self._cache = node_store(config, env, backends.objects())
        self._store = store
        self.garbage = SharedGarbage(
            env, store, self.metadata.data.object_names, self.catalog, lambda: self.oracle.allocate_ids(1)
        )
        self._releasing: Releasing | None = None
        self.query_nodes = QueryNodes(
            env, network, node_id, self.metadata.loads, self._open_shards, _read_policy(config),
            lease_seconds=config.lease_seconds,
        )  # fmt: skip
        scans = env.tasks.executor("scan", max(1, (os.cpu_count() or 2) - 1))
        self._data_node = SharedDataNode(
            node_id, env, store, settings.threads or os.cpu_count() or 1, self.memory, network,
            self._data_nodes, lambda: self.oracle.allocate_ids(1), lambda: self.address, is_far=self._cache is not None,
        )  # fmt: skip
        policy = _seal_policy(settings)
        self.node = StreamingNode(
            node_id, env, self.log, store, self.garbage, self.metadata.data, self.metadata.loads, self.query_nodes,
            self._data_node, scans, self.oracle.allocate, policy, self.memory, self.oracle.observe,
            lambda channel: self.owning.lapsed_at(channel) is not None,
        )  # fmt: skip
        self._compactor = self._make_compactor(settings, policy)
        self.topology: Topology = topology_over(
            env, settings, self.metadata, store, self.garbage, LocalOwners((self.node,)),
            data_nodes=(self._data_node,), compactor=self._compactor, memory=self.memory, scans=scans,
        )  # fmt: skip
        self._watch_memory()
        self._worker = env.tasks.executor("upkeep", _HANDS)
        self._writer = env.tasks.executor("writes", _HANDS)
        self._waiter = env.tasks.executor("compactions waited for", _HANDS)
        self._looker = env.tasks.executor("query nodes seen", 1)
        self._admitting = AdmittingService(self, lambda channel: self.owning.record_of(physical_name(channel)))
        self._handlers = self._answers(settings)

    def _watch_memory(self) -> None:
        """Growing rows and what waits for the log count against the limit; sealing relieves it."""
        self.memory.watch("log queue", lambda: self._shared_log.backlog.size)
        self.memory.tight_when(lambda: self._shared_log.backlog.is_full)
        self.memory.watch("growing segments", self.node.growing_bytes)
        self.memory.relieve_with(self.node.seal_for_memory)

    def _answers(self, settings: Settings) -> dict[type, Handler]:
        """What other nodes may ask."""
        functions = Functions(Services(self.env, Models(self.env, model_settings(settings))))
        return {
            **ReadingService(self).handlers(),
            **WritingService(self, Reads(self.topology, functions), functions, self._writer).handlers(),
            **UpkeepService(self, self._worker).handlers(),
            **FeedService(self, self._worker).handlers(),
            **compacting_handlers(self.own_shard, self._compactor, lambda: self.catalog.own_revision, self._waiter),
            **self._admitting.handlers(),
            **self._data_node.handlers(),
            **let_go_handler(self.owning.let_go, self._worker),
            **reach_handler(self.catalog),
            **standing_handler(self.catalog, self.topology.standing),
        }

    def _make_compactor(self, settings: Settings, policy: SealPolicy) -> Compactor:
        mode = settings.compaction
        compaction = CompactionPolicy(
            rows=policy.rows, bytes=policy.bytes, enabled=mode != "off", automatic=mode == "auto"
        )
        return Compactor(
            self.env, self._store, self.metadata.root, self.metadata.data, self.garbage, self._data_node,
            self._own_if_open, compaction, self._protected, JobRecords(MemoryCatalog(), "compaction"),
        )  # fmt: skip

    def _protected(self) -> frozenset[int]:
        return protected_in(self.catalog, self.env.clock.now_ms())

    # -- life -----------------------------------------------------------------------------------
    def start(self) -> None:
        """Raises Unavailable when the address is taken, or nobody says who else there is."""
        self.members.wait(JOIN_SECONDS)
        self._see_nodes()
        if self._releasing is None:
            self.members.when_changed(self._see_nodes_soon)
            self.members.when_lost(self.owning.lapse)
            self.catalog.when_changed(self._follow)
            self._releasing = Releasing(
                self.env, self.backends.coordination, self.catalog, self.node_id, self._used, self.config.lease_seconds
            )
        self.join(self._handlers)
        self.owning.start(self.log)

    def health(self) -> tuple[str, ...]:
        """What is wrong; nothing when all is well."""
        cache = () if self._cache is None else self._cache.health()
        return (*self.members.health(), *self.owning.health(), *self.query_nodes.health(), *cache)

    def figures(self) -> Iterator[Figure]:
        yield from super().figures()
        yield from channels_of({channel.name: channel for channel in self.owning.owned()})
        yield from taken("redkite_channel_open", "a channel was taken, and its log replayed", self.owning.took)
        nodes = self.query_nodes
        for name, text, count in (
            ("hedged", "Reads that asked a second copy.", nodes.hedged),
            ("partial", "Reads that were answered without rows that no node serves.", nodes.partial),
        ):
            yield Figure(f"redkite_reads_{name}_total", text, count, (), "counter")
        text = "Objects that are useless and not deleted yet."
        yield Figure("redkite_garbage_objects", text, self.garbage.waiting)
        yield Figure("redkite_log_queue_bytes", "Bytes that wait for the log.", self._shared_log.backlog.size)
        yield Figure("redkite_growing_bytes", "Bytes of growing segments.", self.node.growing_bytes())
        yield from segments_of(self.node_id, "Growing", self._growing())
        yield from progress_of(self.node_id, self.node.shards(), self.env.clock.now_ms())
        yield from rows_of(self._rows(), lambda number: self.metadata.loads.entry(number) is not None)
        if self._cache is not None:
            yield from cache_of(self._cache.figures())

    def _growing(self) -> Iterator[Piece]:
        for shard in self.node.shards():
            if self.owning.owns(physical_name(shard.channel)):
                number = shard.collection.collection_id
                yield from (Piece(number, growing.rows, growing.memory) for growing in shard.growing())

    def _rows(self) -> Mapping[int, int]:
        """By collection. A shard that is not open has no rows but those that the catalog knows."""
        found: Counter[int] = Counter()
        for meta in self.metadata.root.all_collections():
            mine = {channel for channel in meta.channels if self.owning.owns(physical_name(channel))}
            shards = [shard for channel in mine if (shard := self.node.open_shard(channel)) is not None]
            closed = mine.difference(shard.channel for shard in shards)
            if mine:
                found[meta.collection_id] += sum(shard.rows() for shard in shards)
            if closed:
                sealed = self.metadata.data.segments(meta.collection_id)
                found[meta.collection_id] += sum(s.rows - s.deleted_rows for s in sealed if s.channel in closed)
        return found

    def drain(self) -> None:
        """Let others take every channel, each after it was sealed. Raises Unavailable when nobody takes them."""
        self.members.drain()
        deadline = self.env.clock.monotonic() + DRAIN_SECONDS
        while owned := self.owning.owned():
            if self.env.clock.monotonic() >= deadline:
                names = ", ".join(sorted(channel.name for channel in owned)[:3])
                more = f" and {len(owned) - 3} more" if len(owned) > 3 else ""
                raise Unavailable(
                    f"streaming node {self.node_id} still owns {names}{more}: no other node has taken them within "
                    f"{DRAIN_SECONDS:g} s"
                )
            try:
                self.env.tasks.future().result(_LOOK_SECONDS)
            except TimeoutError:
                continue

    def ends(self) -> Iterable[Callable[[], object]]:
        """Answer nothing more. What is only in the log is read by the next owners."""
        workers = (self._worker, self._writer, self._looker, self._waiter)
        parts: tuple[Callable[[], object] | None, ...] = (
            lambda: self.catalog.forget_listener(self._follow),
            self.owning.close,
            self.members.close,
            self.stop_serving,
            self._admitting.close,
            *(partial(worker.shutdown, wait=False) for worker in workers),
            self.query_nodes.close,
            self.topology.close,
            None if self._releasing is None else self._releasing.close,
            None if self._cache is None else self._cache.close,
            self.log.close,
            self._shared_log.close,
            self.metadata.close,
            self.oracle.close,
            self.memory.close,
        )
        return [part for part in parts if part is not None]

    def _used(self) -> frozenset[str]:
        """The objects that its shards and what works on them may read."""
        held = (meta.objects for shard in self.node.shards() for meta in shard.held_metas())
        return self.garbage.held.union(*held)

    # -- what is its own ------------------------------------------------------------------------
    def own_shard(self, channel: str, *, by_log: bool = False) -> Shard:
        """The shard, open and as new as its collection is known here. Raises NotOwner, and CollectionNotFound for a
        collection that nobody knows. `by_log`: also while only the log knows whether it is this node's."""
        self.owning.need(channel, by_log=by_log)
        collection = self._collection_of(channel)
        shard = self.node.open_shard(channel)
        if shard is None or shard.is_left:
            try:
                shard = self._opened(collection, channel, shard, by_log=by_log)
            except Fenced:  # what has to be committed for that is for an owner that holds its lease
                raise NotOwner.of(channel) from None
        if shard.collection is not collection:
            shard.follow(lambda: self.metadata.root.current(collection))
        return shard

    def former_shard(self, channel: str, lapse: float) -> Shard | None:
        """The shard as it was when this node's lease ended, if that is not longer ago than so many seconds and nobody
        else is known to own it: whatever others have acknowledged since, they were not the owner before."""
        at = self.owning.lapsed_at(channel)
        if at is None or self.env.clock.monotonic() > at + lapse:
            return None
        return self.node.open_shard(channel) or self.node.former_shard(channel)

    def prove(self, channel: str) -> None:
        """Come back when it is certain that nobody else had answered for a channel by the time of the call: at once
        while the lease is held, else when the log has said so. Raises NotOwner where it does not."""
        name = physical_name(channel)
        if self.owning.owns(name):
            return
        self.owning.need(channel, by_log=True)
        try:
            proof = self._shared_log.topic(name).prove()
            with away():
                proof.result(PROOF_SECONDS)
        except (Fenced, TopicClosed, Unavailable, TimeoutError):
            raise NotOwner.of(channel) from None

    def _opened(self, collection: CollectionMeta, channel: str, left: Shard | None, *, by_log: bool) -> Shard:
        """A shard that is opened anew: `left` is of a time before, when the channel was lost while it was opened."""
        if left is not None:
            self.node.reopen(left)
        shard = self._open_now(collection, channel)
        try:
            self.owning.need(channel, by_log=by_log)
        except NotOwner:
            self.node.reopen(shard)
            raise
        return shard

    def _open_now(self, collection: CollectionMeta, channel: str) -> Shard:
        """The shard as its collection is known here now: it may have changed while the log was read."""
        shard = self.node.shard(collection, channel)
        root = self.metadata.root
        if shard.collection is not root.current(collection):
            shard.follow(lambda: root.current(collection))
            drop_gone_partitions(self.metadata.data, self.garbage, shard)
        return shard

    def open_shard(self, channel: str, *, by_log: bool = False) -> Shard | None:
        """The shard if it is open. Raises NotOwner."""
        self.owning.need(channel, by_log=by_log)
        shard = self.node.open_shard(channel)
        return None if shard is None or shard.is_left else shard

    def reopen(self, shard: Shard) -> None:
        """Open it anew at its next use."""
        self.node.reopen(shard)

    def drop_channel(self, channel: str) -> None:
        """Forget a channel whose collection is gone. Raises NotOwner."""
        self.owning.need(channel)
        self.node.drop_channel(channel)

    def _collection_of(self, channel: str) -> CollectionMeta:
        number = collection_id(channel)
        try:
            return self.metadata.root.find_by_id(number)
        except CollectionNotFound:
            self.catalog.refresh()
            return self.metadata.root.find_by_id(number)

    def _is_promised(self, physical: str) -> bool:
        return self._admitting.is_promised(physical)

    def _own_if_open(self, channel: str) -> Shard | None:
        return self.node.open_shard(channel) if self.owning.owns(physical_name(channel)) else None

    def _checkpoint_of(self, channel: str) -> int | None:
        try:
            self.metadata.root.find_by_id(collection_id(channel))
        except CollectionNotFound:
            return None
        return self.metadata.data.channel_state(channel).checkpoint

    # -- the shards on a channel (`owning.Channels`) ----------------------------------------------
    def replay(self, physical: str) -> None:
        """Open the shards that have to read the log, in one pass over it."""
        log_ = self.log.open(physical)
        for channel in log_.channels():
            try:
                collection = self.metadata.root.find_by_id(collection_id(channel))
            except CollectionNotFound:
                continue
            if log_.has(channel, self.metadata.data.channel_state(channel).checkpoint):
                self._open_now(collection, channel)

    def seal(self, physical: str) -> None:
        for shard in self.node.shards():
            if physical_name(shard.channel) == physical:
                try:
                    shard.flush(self.oracle.allocate)
                except Parted:
                    self.node.reopen(shard)  # the next owner opens it from what is durable

    def step_down(self, physical: str) -> None:
        self.node.give_up(lambda channel: physical_name(channel) == physical)

    def look_again(self, physical: str) -> None:
        for shard in self.node.shards():
            if physical_name(shard.channel) == physical and shard.is_parted:
                log.warning("channel %s is opened anew: the catalog has what this node was not told", shard.channel)
                self.node.reopen(shard)

    # -- following ------------------------------------------------------------------------------
    def _fenced(self) -> FollowedCatalog | None:
        """The catalog that commits under the present lease: one and the same as long as that is held, for it knows of
        commits whose outcome it was not told."""
        fence = self.members.fence
        if fence is None:
            return None
        face = self._face
        if face is None or face.fence != fence:
            face = self._face = self.catalog.fenced(fence)
        return face

    def _open_shards(self) -> tuple[Shard, ...]:
        return self.node.shards()

    def _data_nodes(self) -> list[tuple[int, str]]:
        return [(node.node_id, node.address) for node in self.members.nodes("data") if not node.draining]

    def _see_nodes_soon(self) -> None:
        self._looker.submit(self._see_nodes)

    def _see_nodes(self) -> None:
        self.query_nodes.see(self.members.nodes("query"))

    def _follow(self, changed: Mapping[str, bytes | None]) -> None:
        if any(key.startswith(("load/", "resource-group/")) for key in changed):
            self.query_nodes.place_all()
        gone = [key for key, value in changed.items() if value is None and key.startswith("root/collection/")]
        if gone:
            self._looker.submit(self._forget_dropped, [int(key.rpartition("/")[2]) for key in gone])

    def _forget_dropped(self, collections: list[int]) -> None:
        """Their channels keep nothing in the log any more."""
        for shard in self.node.shards():
            if shard.collection.collection_id in collections:
                try:
                    self.drop_channel(shard.channel)
                except NotOwner:
                    continue
                except MilvusException as error:
                    log.warning("channel %s could not be forgotten: %s", shard.channel, error.message)


def _read_policy(config: ClusterConfig) -> ReadPolicy:
    return ReadPolicy(
        seconds=config.read_seconds, hedged=config.hedged_reads, required_ratio=config.required_data_ratio
    )


def _seal_policy(settings: Settings) -> SealPolicy:
    policy = SealPolicy(
        rows=settings.seal_rows,
        bytes=settings.seal_bytes,
        idle_seconds=settings.seal_idle_seconds,
        age_seconds=min(settings.seal_age_seconds, MOST_AGE_SECONDS),
    ).within(settings.memory_limit)
    return msgspec.structs.replace(policy, check_seconds=min(policy.check_seconds, policy.age_seconds / 2))
