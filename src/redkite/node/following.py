"""Shards of a database that another process writes: the same views, made by following its catalog and its log.

Nothing is written. What the catalog says is taken over first, then the log is read from there, so a record is in a
sealed segment or read from the log, never in both and never in neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Lock

from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.garbage import Garbage
from redkite.coordinator.loads import QueryCoordinator
from redkite.coordinator.meta import CollectionMeta
from redkite.env import Env, Executor
from redkite.errors import ObjectNotFound, ReadOnlyDatabase, SegmentGone
from redkite.model.segments import SegmentMeta
from redkite.node.copies import NOWHERE
from redkite.node.data import DataNode
from redkite.node.holdings import Holding
from redkite.node.peers import QueryPeer
from redkite.node.shard import Shard
from redkite.node.view import ShardView
from redkite.segment.files import open_deletes
from redkite.storage.log import Log, LogRecord, Room
from redkite.storage.objects import ObjectStore


class FollowedShard(Shard):
    """A shard whose writer is elsewhere. `catch_up` brings it to what the catalog and the log say now."""

    def catch_up(self, collection: CollectionMeta) -> None:
        """Raises SegmentGone when the catalog at hand is older than the log: the writer has sealed and forgotten
        records since; refresh it and try again."""
        self._topic.refresh()
        with self._flushing:
            metas = self.segments()
            state = self._data.channel_state(self.channel)
            known = {h.meta.segment_id: h.meta for h in self._sealed}
            moved = (
                state != self._state
                or known != {m.segment_id: m for m in metas}
                or collection.schema.version != self.collection.schema.version
            )
            start = state.checkpoint if moved else self._end
            records = self._records(start)
            self.collection = collection
            if moved:
                self._take_over(metas)
            stale = self._sealed.unwanted()
            fresh = self._sealed.unserved()
            self._sealed.serve_wanted(fresh, self.collection)
            if not (moved or records or stale or fresh):
                return
            with self._apply:
                if moved:
                    self._growing, self._frozen, self._state, self._end = {}, [], state, start
                newest = max(self.view.timestamp, *(m.max_timestamp for m in metas), 0)
                for record in records:
                    newest = max(newest, self._replay(record))
                for holding in fresh:
                    self._sealed.catch_up(holding)
                self.view = ShardView(newest, (), NOWHERE)
                self._publish()
            self._sealed.release(stale)
            self._sealed.release(self._outdated)
            self._outdated = []

    _outdated: list[Holding] = []
    """Segments the catalog does not have any more, until the view without them is published."""

    def _records(self, start: int) -> list[LogRecord]:
        try:
            records = list(self._topic.read(start))
        except ObjectNotFound as error:
            raise SegmentGone(error.message) from error
        if records and records[0].position != start:
            self._topic.refresh()  # positions may have gaps; or what was there has been forgotten meanwhile
        if self._topic.start > start:
            raise SegmentGone(f"channel {self.channel} has no record {start} any more")
        return records

    def _take_over(self, metas: list[SegmentMeta]) -> None:
        """Hold what the catalog names. A segment that got or lost an index is opened anew."""
        now = {m.segment_id: m for m in metas}
        kept = {i for h in self._sealed if (i := h.meta.segment_id) in now and h.meta.indexes == now[i].indexes}
        self._outdated = self._sealed.remove(i for i in self._sealed.ids() if i not in kept)
        for holding in self._sealed:
            meta = now[holding.meta.segment_id]
            if meta.deletes_object != holding.meta.deletes_object:
                # Most of them are known from the log; those of admitted segments are nowhere else.
                holding.deletes.merge(*open_deletes(self._store, meta).entries(), meta.rows)
                self._sealed.catch_up(holding)
        self._sealed.refresh(metas)
        for meta in metas:
            if meta.segment_id not in self._sealed:
                deletes = open_deletes(self._store, meta)
                self._sealed.add(Holding(meta, deletes, deletes.version))

    def close(self) -> None:
        """Nothing is noted anywhere: the writer does that."""
        with self._flushing:
            self._topic.close()

    def follow(self, current: Callable[[], CollectionMeta]) -> None:
        self.catch_up(current())

    def build_missing(self, segment_id: int) -> list[Future[None]]:  # noqa: ARG002  the writer builds
        return []

    @contextmanager
    def turn(self, *, settled: bool = False) -> Iterator[None]:  # noqa: ARG002  there is none to be had
        self._refuse()
        yield

    def _refuse(self) -> None:
        raise ReadOnlyDatabase.of_collection(self.collection.name)


class FollowingNode:
    """Followed shards by channel. Safe from any thread."""

    node_id = 1

    def __init__(
        self,
        env: Env,
        log_: Log,
        store: ObjectStore,
        garbage: Garbage,
        data: DataCoordinator,
        loads: QueryCoordinator,
        peers: Mapping[int, QueryPeer],
        data_node: DataNode,
        scans: Executor,
    ) -> None:
        self._env = env
        self._log = log_
        self._parts = (store, garbage, data, loads, peers, data_node, scans)
        self._lock = Lock()
        self._shards: dict[str, FollowedShard] = {}

    def shard(self, collection: CollectionMeta, channel: str) -> FollowedShard:
        with self._lock:
            found = self._shards.get(channel)
            if found is None:
                topic = self._log.topic(channel)
                found = FollowedShard(collection, channel, topic, *self._parts, self._env.clock.now_ms)
                self._shards = {**self._shards, channel: found}
            return found

    def open_shard(self, channel: str) -> FollowedShard | None:
        return self._shards.get(channel)

    def reserve(self, sizes: Mapping[str, int]) -> Room:
        """Refused: only the writer's node has a log to write to."""
        return self._log.reserve(sizes)

    def seal_if_full(self, shard: Shard) -> None:
        """The writer does that."""

    def drop_channel(self, channel: str) -> None:
        """The collection is gone: forget what was read of it."""
        with self._lock:
            shard = self._shards.get(channel)
            self._shards = {c: s for c, s in self._shards.items() if c != channel}
        if shard is not None:
            shard.forget()
            shard.close()

    def channels(self) -> list[str]:
        return list(self._shards)

    def close(self) -> None:
        for shard in self._shards.values():
            shard.close()
