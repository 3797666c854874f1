"""The streaming node: owns channels. A shard opens at its first use: an idle collection costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock

import msgspec

from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.loads import QueryCoordinator
from redkite.coordinator.meta import CollectionMeta
from redkite.env import Env, Executor, Timer
from redkite.errors import MilvusException
from redkite.logs import get_logger
from redkite.node.data import DataNode
from redkite.node.peers import QueryPeer
from redkite.node.shard import Shard
from redkite.storage.log import Log
from redkite.storage.objects import ObjectStore

log = get_logger(__name__)


class SealPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When growing rows become a sealed segment by themselves."""

    rows: int = 262_144
    bytes: int = 256 * 1024 * 1024
    idle_seconds: float = 600.0
    """After so long without a write, rows enough for an index are sealed."""
    idle_rows: int = 1_024
    check_seconds: float = 30.0


class StreamingNode:
    """Shards by channel. Safe from any thread."""

    def __init__(
        self,
        node_id: int,
        env: Env,
        log_: Log,
        store: ObjectStore,
        data: DataCoordinator,
        loads: QueryCoordinator,
        peers: dict[int, QueryPeer],
        data_node: DataNode,
        scans: Executor,
        allocate: Callable[[], int],
        policy: SealPolicy,
    ) -> None:
        self.node_id = node_id
        self._env = env
        self._log = log_
        self._store = store
        self._data = data
        self._loads = loads
        self._peers = peers
        self._data_node = data_node
        self._scans = scans
        self._allocate = allocate
        self._policy = policy
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
                found = Shard(
                    collection,
                    channel,
                    topic,
                    self._store,
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

    def _seal_idle(self) -> None:
        now = self._env.clock.now_ms()
        for shard in self._shards.values():
            idle = now - shard.touched_ms >= self._policy.idle_seconds * 1000
            if idle and shard.growing_rows >= self._policy.idle_rows:
                self._seal_soon(shard)

    def _seal_soon(self, shard: Shard) -> Future[None] | None:
        with self._lock:
            if shard.channel in self._sealing:
                return None
            self._sealing.add(shard.channel)
        return self._sealer.submit(self._seal, shard)

    def _seal(self, shard: Shard) -> None:
        try:
            shard.flush(self._allocate)
        except MilvusException:
            # The rows stay readable and in the log; the next flush tries again.
            log.exception("channel %s could not be sealed", shard.channel)
        finally:
            with self._lock:
                self._sealing.discard(shard.channel)

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
