"""The streaming node: owns channels. A shard opens at its first use: an idle collection costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock

import msgspec

from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.garbage import Garbage
from redkite.coordinator.loads import QueryCoordinator
from redkite.coordinator.meta import CollectionMeta
from redkite.env import Env, Executor, Timer
from redkite.errors import MilvusException
from redkite.logs import get_logger
from redkite.node.data import DataNode
from redkite.node.implied import settle_indexes
from redkite.node.memory import SEGMENT_SHARE, MemoryBudget
from redkite.node.peers import QueryPeer
from redkite.node.shard import Shard
from redkite.storage.log import Log
from redkite.storage.objects import ObjectStore

log = get_logger(__name__)


MIN_SEAL_BYTES = 64 * 1024
"""Less is not worth a segment, however short of memory the database is."""


class SealPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When growing rows become a sealed segment by themselves."""

    rows: int = 262_144
    bytes: int = 256 * 1024 * 1024
    idle_seconds: float = 600.0
    """After so long without a write, rows enough for an index are sealed."""
    idle_rows: int = 1_024
    age_seconds: float = 86_400.0
    """What was written so long ago is sealed whatever its size, so that the log does not grow without end."""
    check_seconds: float = 30.0

    def within(self, limit: int) -> SealPolicy:
        """The same where a segment must not take more than a part of so many bytes of memory (0: of any number)."""
        if not limit:
            return self
        return msgspec.structs.replace(self, bytes=min(self.bytes, max(MIN_SEAL_BYTES, int(limit * SEGMENT_SHARE))))


class StreamingNode:
    """Shards by channel. Safe from any thread."""

    def __init__(
        self,
        node_id: int,
        env: Env,
        log_: Log,
        store: ObjectStore,
        garbage: Garbage,
        data: DataCoordinator,
        loads: QueryCoordinator,
        peers: dict[int, QueryPeer],
        data_node: DataNode,
        scans: Executor,
        allocate: Callable[[], int],
        policy: SealPolicy,
        memory: MemoryBudget,
    ) -> None:
        self.node_id = node_id
        self._env = env
        self._log = log_
        self._store = store
        self._garbage = garbage
        self._data = data
        self._loads = loads
        self._peers = peers
        self._data_node = data_node
        self._scans = scans
        self._allocate = allocate
        self._policy = policy
        self._memory = memory
        self._lock = Lock()
        self._shards: dict[str, Shard] = {}
        self._sealer: Executor = env.tasks.executor(f"seal-{node_id}", 1)
        self._sealing: set[str] = set()
        self._timer: Timer | None = None

    def shard(self, collection: CollectionMeta, channel: str) -> Shard:
        """The open shard of a channel; opening replays its log."""
        found = self._shards.get(channel)
        if found is not None:
            return found
        with self._lock:
            found = self._shards.get(channel)
            if found is None:
                topic = self._log.topic(channel)
                settle_indexes(self._data, self._garbage, collection)
                found = Shard(
                    collection,
                    channel,
                    topic,
                    self._store,
                    self._garbage,
                    self._data,
                    self._loads,
                    self._peers,
                    self._data_node,
                    self._scans,
                    self._env.clock.now_ms,
                )
                self._shards = {**self._shards, channel: found}
                if self._timer is None:
                    self._timer = self._env.tasks.every(self._policy.check_seconds, self._seal_idle, "seal-idle")
            return found

    def open_shard(self, channel: str) -> Shard | None:
        """A shard if it is open already."""
        return self._shards.get(channel)

    def seal_if_full(self, shard: Shard) -> None:
        """Called after writes: seal in the background when a segment is full."""
        rows, size = shard.largest_growing()
        if rows >= self._policy.rows or size >= self._policy.bytes:
            self._seal_soon(shard)

    def growing_bytes(self) -> int:
        """Memory of all rows that are not sealed yet, about."""
        return sum(shard.growing_bytes() for shard in self._shards.values())

    def seal_for_memory(self, excess: int) -> None:
        """Seal the fullest shards in the background, until they hold so many bytes together."""
        sizes = [(shard.growing_bytes(), shard) for shard in self._shards.values()]
        total = sum(size for size, _ in sizes)
        # A segment that is small beside the limit is worth its files only where many of them fill the memory.
        least = max(MIN_SEAL_BYTES, self._memory.limit // 64 if total < self._memory.limit // 4 else 0)
        for size, shard in sorted(sizes, key=lambda pair: pair[0], reverse=True):
            if excess <= 0 or size < least:
                return
            self._seal_soon(shard)
            excess -= size

    def _seal_idle(self) -> None:
        now = self._env.clock.now_ms()
        for shard in self._shards.values():
            idle = now - shard.touched_ms >= self._policy.idle_seconds * 1000
            since = shard.unflushed_since_ms
            old = since is not None and now - since >= self._policy.age_seconds * 1000
            if old or (idle and shard.growing_rows >= self._policy.idle_rows):
                self._seal_soon(shard)

    def _seal_soon(self, shard: Shard) -> Future[None] | None:
        with self._lock:
            if shard.channel in self._sealing:
                return None
            self._sealing.add(shard.channel)
        try:
            return self._sealer.submit(self._seal, shard)
        except MilvusException:
            with self._lock:
                self._sealing.discard(shard.channel)
            raise

    def _seal(self, shard: Shard) -> None:
        try:
            shard.flush(self._allocate)
        except MilvusException:
            # The rows stay readable and in the log; the next flush tries again.
            log.exception("channel %s could not be sealed", shard.channel)
        finally:
            with self._lock:
                self._sealing.discard(shard.channel)
            self._memory.has_changed()

    def drop_channel(self, channel: str) -> None:
        with self._lock:
            shard = self._shards.get(channel)
            self._shards = {c: s for c, s in self._shards.items() if c != channel}
        if shard is not None:
            shard.drop()
            shard.close()
        self._log.drop(channel)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._sealer.shutdown(wait=True)
        for shard in self._shards.values():
            shard.close()
