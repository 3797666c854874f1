"""The streaming node: owns channels. A shard opens at its first use: an idle collection costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from itertools import filterfalse
from threading import Lock

import msgspec

from redkite.coordinator.data import DataCoordinator, Parted
from redkite.coordinator.garbage import Garbage
from redkite.coordinator.loads import QueryCoordinator
from redkite.coordinator.meta import CollectionMeta
from redkite.coordinator.namespace import COLLECTIONS
from redkite.env import Env, Executor, Timer
from redkite.errors import CollectionNotFound, NotOwner
from redkite.logs import get_logger
from redkite.node.data import DataNode
from redkite.node.implied import settle_indexes
from redkite.node.memory import SEGMENT_SHARE, MemoryBudget
from redkite.node.peers import QueryPeer
from redkite.node.shard import Shard
from redkite.storage.coordination import Fenced
from redkite.storage.log import Log, Room
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


FORMER_SECONDS = 30.0
"""The segments of a shard that was left stay open on query nodes for so long."""


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
        peers: Mapping[int, QueryPeer],
        data_node: DataNode,
        scans: Executor,
        allocate: Callable[[], int],
        policy: SealPolicy,
        memory: MemoryBudget,
        observe: Callable[[int], None] | None = None,
        keeps: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`observe` is told the newest timestamp of a shard before anybody can write to it: its rows may be of a node
        whose clock is ahead. `keeps`: whether the shard of a channel that was left is still read."""
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
        self._observe = observe
        self._keeps = keeps
        self._lock = Lock()
        self._shards: dict[str, Shard] = {}
        self._opening: dict[str, Lock] = {}
        """Of channels whose shard is being opened, or dropped."""
        self._gone: set[str] = set()
        """Channels that were dropped: their names come again only where a secondary begins anew."""
        self._former: list[tuple[float, Shard]] = []
        """Shards that were left, and when."""
        self._sealer: Executor = env.tasks.executor(f"seal-{node_id}", 1)
        self._sealing: set[str] = set()
        self._timer: Timer | None = None

    def shard(self, collection: CollectionMeta, channel: str) -> Shard:
        """The open shard of a channel; opening replays its log."""
        found = self._shards.get(channel)
        if found is not None:
            return found
        with self._lock:
            opening = self._opening.setdefault(channel, Lock())
        with opening:  # others are opened meanwhile: this may read a long log, and have segments loaded
            found = self._shards.get(channel)
            if found is None:
                found = self._open(collection, channel)
                self._let_go(channel, found.segment_ids())
                with self._lock:
                    self._shards = {**self._shards, channel: found}
                    self._opening.pop(channel, None)
                    if self._timer is None:
                        self._timer = self._env.tasks.every(self._policy.check_seconds, self._seal_idle, "seal-idle")
            return found

    def _open(self, collection: CollectionMeta, channel: str) -> Shard:
        if channel in self._gone:
            if self._data.notes.get(f"{COLLECTIONS}{collection.collection_id}") is None:
                # It is asked for by somebody who has found the collection before.
                raise CollectionNotFound.named(collection.database, collection.name)
            with self._lock:
                self._gone.discard(channel)
        topic = self._log.topic(channel)
        settle_indexes(self._data, self._garbage, collection)
        while True:
            for _, former in self._former:
                if former.channel == channel:
                    former.wait_ended()
            shard = Shard(
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
            if not shard.is_parted:
                break
            # A flush that a former shard had begun was committed meanwhile: what it sealed may have been forgotten by
            # the log before it was read here.
            self._leave(shard)
        if self._observe is not None:
            self._observe(shard.view.timestamp)
        return shard

    def open_shard(self, channel: str) -> Shard | None:
        """A shard if it is open already."""
        return self._shards.get(channel)

    def former_shard(self, channel: str) -> Shard | None:
        """The last of a channel that was left, while it can still be read: nothing that came later is in it."""
        return next((shard for _, shard in reversed(self._former) if shard.channel == channel), None)

    def shards(self) -> tuple[Shard, ...]:
        """Those that are open."""
        return tuple(self._shards.values())

    def give_up(self, is_gone: Callable[[str], bool]) -> None:
        """Other nodes own these channels: what is open of them is told so at once, and then let go."""
        for shard in self.shards():
            if is_gone(shard.channel):
                shard.step_down()
        with self._lock:
            gone = [shard for channel, shard in self._shards.items() if is_gone(channel)]
            self._shards = {channel: shard for channel, shard in self._shards.items() if not is_gone(channel)}
        for shard in gone:
            self._leave(shard)

    def _leave(self, shard: Shard) -> None:
        """Nothing more is done with a shard. Reads under way finish with its view, and its segments stay open: its
        channel may be this node's again in a moment."""
        shard.step_down()
        with self._lock:
            self._former.append((self._env.clock.monotonic(), shard))

    def _let_go(self, channel: str, kept: Collection[int]) -> None:
        """Have query nodes close what only former shards of a channel have open."""
        with self._lock:
            gone = [shard for _, shard in self._former if shard.channel == channel]
            self._former = [pair for pair in self._former if pair[1].channel != channel]
        for shard in gone:
            shard.let_go(kept)

    def _let_go_former(self) -> None:
        """Of channels that have been others' for a while."""
        until = self._env.clock.monotonic() - FORMER_SECONDS
        with self._lock:
            channels = {shard.channel for at, shard in self._former if at < until}
        for channel in filterfalse(self._keeps, channels):
            with self._lock:
                opening = self._opening.setdefault(channel, Lock())
            with opening:
                if channel not in self._shards:
                    self._let_go(channel, ())

    def reopen(self, shard: Shard) -> None:
        """Let go of a shard that does not have what the catalog has: its next use opens it anew."""
        shard.step_down()
        shard.close_log()  # while nobody can have opened it anew
        with self._lock:
            if self._shards.get(shard.channel) is not shard:
                return
            self._shards = {channel: s for channel, s in self._shards.items() if s is not shard}
        self._leave(shard)

    def reserve(self, sizes: Mapping[str, int]) -> Room:
        """Room in the log for a record of so many bytes of each of these channels, or of none. In a turn of theirs."""
        return self._log.reserve(sizes)

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
        self._let_go_former()
        now = self._env.clock.now_ms()
        for shard in self.shards():
            if shard.is_parted:
                log.warning("channel %s is opened anew: the catalog has what this node was not told", shard.channel)
                self.reopen(shard)
                continue
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
        except BaseException as error:
            with self._lock:
                self._sealing.discard(shard.channel)
            if not isinstance(error, Exception):
                raise
            # The write that filled the segment is done all the same; the next one tries again.
            log.exception("the sealing of channel %s could not be begun", shard.channel)
            return None

    def _seal(self, shard: Shard) -> None:
        try:
            shard.flush(self._allocate)
        except Parted as error:
            log.warning("%s: it is opened anew", error.message)
            self.reopen(shard)
        except (NotOwner, Fenced) as error:  # its next owner does it
            log.info("channel %s is not sealed here: %s", shard.channel, error.message)
        except Exception:  # whatever it is
            # The rows stay readable and in the log; the next flush tries again.
            log.exception("channel %s could not be sealed", shard.channel)
        finally:
            with self._lock:
                self._sealing.discard(shard.channel)
            self._memory.has_changed()

    def drop_channel(self, channel: str) -> None:
        with self._lock:
            self._gone.add(channel)
            opening = self._opening.setdefault(channel, Lock())
        with opening:  # a shard that is being opened would be left behind, and its log with it
            with self._lock:
                shard = self._shards.get(channel)
                self._shards = {c: s for c, s in self._shards.items() if c != channel}
                self._opening.pop(channel, None)
            if shard is not None:
                shard.drop()
                shard.close()
            self._let_go(channel, ())
            self._log.drop(channel)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._sealer.shutdown(wait=True)
        for shard in self._shards.values():
            shard.close()
