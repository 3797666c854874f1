"""One shard: a virtual channel with its log, its growing segments, and the truth about deletes in its sealed ones.

Every write is one log record. When the record is durable it is applied, in log order: rows go to the growing segment of
their partition, older rows of equal primary key are marked deleted wherever they are. Then a new view is published, and
only then is the writer answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from threading import Lock

import numpy as np
import pyarrow as pa

from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.loads import QueryCoordinator
from redkite.coordinator.meta import CollectionMeta
from redkite.env import Executor
from redkite.errors import CollectionNotFound
from redkite.index.base import Vectors
from redkite.model.batch import arrow_type
from redkite.model.segments import ChannelState, IndexFile, IndexMeta, SegmentMeta
from redkite.node.data import DataNode
from redkite.node.peers import QueryPeer
from redkite.node.records import DELETE, INSERT, RecordHeader, decode_record, encode_record
from redkite.node.view import Placement, ShardView
from redkite.query.execute import query_segments, search_segments
from redkite.query.plan import QueryPartial, QueryPlan, SearchPartial, SearchPlan
from redkite.segment.deletes import Deletes, RowNumbers
from redkite.segment.files import open_deletes, open_keys, write_deletes
from redkite.segment.growing import GrowingSegment
from redkite.segment.keys import Key, SealedKeys
from redkite.storage.log import Topic
from redkite.storage.objects import ObjectStore


class _Sealed:
    """What the shard keeps of a sealed segment: where its keys are, which of its rows are deleted, who serves it."""

    __slots__ = ("_keys", "deletes", "meta", "peer", "saved_version")

    def __init__(self, meta: SegmentMeta, deletes: Deletes) -> None:
        self.meta = meta
        self.deletes = deletes
        self.saved_version = deletes.version
        self.peer: QueryPeer | None = None
        self._keys: SealedKeys | None = None

    def find(self, keys: Sequence[Key], store: ObjectStore, collection: CollectionMeta) -> RowNumbers:
        """Rows of these keys, deleted ones included."""
        if self._keys is None:
            self._keys = open_keys(store, self.meta, collection.schema)
        return self._keys.find(keys)


class Shard:
    """Writes are serialised; reads take `view` and never lock."""

    def __init__(
        self,
        collection: CollectionMeta,
        channel: str,
        topic: Topic,
        store: ObjectStore,
        data: DataCoordinator,
        loads: QueryCoordinator,
        peers: dict[int, QueryPeer],
        data_node: DataNode,
        scans: Executor,
        clock_ms: Callable[[], int],
    ) -> None:
        self.collection = collection
        self.channel = channel
        self.touched_ms = clock_ms()
        """When the last write was applied."""
        self._clock_ms = clock_ms
        self._topic = topic
        self._store = store
        self._data = data
        self._loads = loads
        self._peers = peers
        self._data_node = data_node
        self._scans = scans
        self._order = Lock()
        self._apply = Lock()
        self._flushing = Lock()
        self._growing: dict[int, GrowingSegment] = {}
        self._frozen: list[GrowingSegment] = []
        self._sealed: dict[int, _Sealed] = {}
        self._sealed_rows = 0
        self._unindexed = 0
        self._dropped = False
        self._state = data.channel_state(channel)
        self._end = self._state.checkpoint
        self._recover()

    # -- recovery -------------------------------------------------------------------------------
    def _recover(self) -> None:
        for meta in self._data.segments_of(self.collection.collection_id, self.channel):
            self._sealed[meta.segment_id] = _Sealed(meta, open_deletes(self._store, meta))
        newest = max((s.meta.max_timestamp for s in self._sealed.values()), default=self.collection.created_timestamp)
        newest = max([newest, *(s.deletes.newest for s in self._sealed.values())])
        self.view = ShardView(newest, (), ())
        for record in self._topic.read(self._state.checkpoint):
            header, batch = decode_record(record.payload)
            newest = max(newest, header.timestamp)
            if header.kind == DELETE:
                self._delete_everywhere(batch.column(0).to_pylist(), header.timestamp)
            elif self.collection.partition_by_id(header.partition_id) is None:
                # The partition is dropped, but what these rows replaced in others stays replaced.
                keys = batch.column(self.collection.schema.primary.name).to_pylist()
                self._delete_everywhere(keys, header.timestamp)
            else:
                self._insert_rows(header.partition_id, batch, header.timestamp, record.position)
            self._end = record.position + 1
        self.view = ShardView(newest, (), ())
        self.reload()

    # -- writes ---------------------------------------------------------------------------------
    def insert(self, partition_id: int, rows: pa.RecordBatch, allocate: Callable[[], int]) -> tuple[int, Future[int]]:
        """Log rows (one column per schema field). Returns their timestamp and a future that is done when they are
        durable and visible."""
        keys = rows.column(self.collection.schema.primary.name).to_pylist()
        with self._order:
            self._check_exists()
            timestamp = allocate()
            header = RecordHeader(INSERT, timestamp, self.collection.collection_id, partition_id)
            apply = partial(self._apply_insert, partition_id, rows, keys, timestamp)
            return timestamp, self._topic.append(encode_record(header, rows), apply)

    def delete(self, keys: pa.Array, allocate: Callable[[], int]) -> tuple[int, Future[int]]:
        """Log a delete of primary keys, in all partitions."""
        with self._order:
            self._check_exists()
            timestamp = allocate()
            header = RecordHeader(DELETE, timestamp, self.collection.collection_id, 0)
            batch = pa.RecordBatch.from_arrays([keys], ["key"])
            apply = partial(self._apply_delete, keys.to_pylist(), timestamp)
            return timestamp, self._topic.append(encode_record(header, batch), apply)

    def _apply_insert(
        self, partition_id: int, rows: pa.RecordBatch, keys: list[Key], timestamp: int, position: int
    ) -> None:
        with self._apply:
            if self._dropped:
                return  # the write came before the drop, and went with it
            if self.collection.partition_by_id(partition_id) is None:
                # Dropped after the write was checked, so it came before the drop: what recovery makes of the record.
                self._delete_everywhere(keys, timestamp)
            else:
                self._insert_rows(partition_id, rows, timestamp, position, keys)
            self._applied(timestamp, position)

    def _apply_delete(self, keys: list[Key], timestamp: int, position: int) -> None:
        with self._apply:
            if self._dropped:
                return
            self._delete_everywhere(keys, timestamp)
            self._applied(timestamp, position)

    def _applied(self, timestamp: int, position: int) -> None:
        self._end = position + 1
        self.touched_ms = self._clock_ms()
        view = self.view
        self.view = ShardView(timestamp, self._growing_now(), view.placements)

    def _insert_rows(
        self, partition_id: int, rows: pa.RecordBatch, timestamp: int, position: int, keys: list[Key] | None = None
    ) -> None:
        if keys is None:
            keys = rows.column(self.collection.schema.primary.name).to_pylist()
        growing = self._growing.get(partition_id)
        if growing is None:
            growing = GrowingSegment(self._data.allocate_id(), partition_id, self.collection.schema, position)
            self._growing[partition_id] = growing
        self._delete_everywhere(keys, timestamp, but=growing)
        growing.append(rows, keys, timestamp)

    def _delete_everywhere(self, keys: list[Key], timestamp: int, but: GrowingSegment | None = None) -> None:
        for growing in (*self._growing.values(), *self._frozen):
            if growing is not but:
                growing.delete(keys, timestamp)
        for sealed in self._sealed.values():
            rows = sealed.find(keys, self._store, self.collection)
            if len(rows) and sealed.deletes.mark(rows, timestamp, sealed.meta.rows) and sealed.peer is not None:
                stamps = np.full(len(rows), timestamp, np.uint64)
                sealed.peer.apply_deletes(sealed.meta.segment_id, rows, stamps)

    def _growing_now(self) -> tuple[GrowingSegment, ...]:
        return (*self._frozen, *self._growing.values())

    # -- reads ----------------------------------------------------------------------------------
    def search(self, plan: SearchPlan, queries: Vectors) -> tuple[int, list[SearchPartial]]:
        """Answers of the nodes that hold this shard's rows, and the timestamp they were read at."""
        view = self.view
        partials = []
        growing = [] if plan.ignore_growing else view.growing_in(plan.partitions)
        if growing:
            partials.append(search_segments(growing, plan, queries, view.timestamp, self._scans))
        for placement in view.placements:
            segments = placement.within(plan.partitions)
            if segments:
                partials.append(placement.peer.search(segments, plan, queries, view.timestamp))
        return view.timestamp, partials

    def query(self, plan: QueryPlan) -> tuple[int, list[QueryPartial]]:
        view = self.view
        partials = []
        growing = [] if plan.ignore_growing else view.growing_in(plan.partitions)
        if growing:
            partials.append(query_segments(growing, plan, view.timestamp))
        for placement in view.placements:
            segments = placement.within(plan.partitions)
            if segments:
                partials.append(placement.peer.query(segments, plan, view.timestamp))
        return view.timestamp, partials

    def rows(self, partitions: frozenset[int] | None = None) -> int:
        """Rows alive, exactly."""
        with self._apply:
            growing = [(g.partition_id, g.rows, g.deletes) for g in self._growing_now()]
            sealed = [(s.meta.partition_id, s.meta.rows, s.deletes) for s in self._sealed.values()]
            counted = (*growing, *sealed)
            return sum(rows - d.count for p, rows, d in counted if partitions is None or p in partitions)

    def unindexed_rows(self) -> int:
        """Rows that a search has to compare one by one."""
        return self._unindexed + self.growing_rows

    @property
    def row_slots(self) -> int:
        """Rows held, deleted ones included: what a filter has to look at."""
        return self._sealed_rows + self.growing_rows

    def _count(self) -> None:
        """Keep the counts that every read asks for. Under the lock that guards `_sealed`."""
        ids = [i.index_id for i in self._data.indexes(self.collection.collection_id)]
        metas = [s.meta for s in self._sealed.values()]
        self._sealed_rows = sum(m.rows for m in metas)
        self._unindexed = sum(m.rows for m in metas if not any(m.index(i) for i in ids))

    @property
    def growing_rows(self) -> int:
        return sum(g.rows for g in self.view.growing)

    def largest_growing(self) -> tuple[int, int]:
        """(rows, bytes) of the fullest segment that takes writes."""
        return max(((g.rows, g.size) for g in list(self._growing.values())), default=(0, 0))

    # -- sealing --------------------------------------------------------------------------------
    def flush(self, allocate: Callable[[], int]) -> tuple[int, list[SegmentMeta]]:
        """Seal everything written so far. Returns a timestamp that no sealed row exceeds, and the new segments."""
        with self._flushing:
            with self._apply:
                self._check_exists()
                # What an earlier flush could not write is still frozen, and tried again.
                frozen = [*self._frozen, *(g for g in self._growing.values() if g.rows)]
                self._frozen = frozen
                self._growing = {}
                state = ChannelState(checkpoint=self._end)
                timestamp = self.view.timestamp
            if frozen or self._unsaved():
                metas = [self._data_node.write_segment(self.collection.collection_id, self.channel, g) for g in frozen]
                self._commit(frozen, metas, state)
                return timestamp, metas
            return max(timestamp, allocate()), []

    def _unsaved(self) -> bool:
        return any(s.deletes.version != s.saved_version for s in self._sealed.values())

    def _commit(self, frozen: list[GrowingSegment], metas: list[SegmentMeta], state: ChannelState) -> None:
        """Make new segments, deletes up to the checkpoint, and the checkpoint one catalog commit; then switch."""
        saved: dict[int, tuple[str, int]] = {}
        versions: dict[int, int] = {}
        current = [(s.meta, s.deletes) for s in self._sealed.values() if s.deletes.version != s.saved_version]
        fresh = [(m, g.deletes) for m, g in zip(metas, frozen, strict=True) if g.deletes.count]
        for meta, deletes in (*current, *fresh):
            versions[meta.segment_id] = deletes.version
            saved[meta.segment_id] = (write_deletes(self._store, meta, deletes), deletes.count)
        stale = [m.deletes_object for m, _ in current if m.deletes_object]
        self._data.commit_flush(self.collection.collection_id, self.channel, state, metas, saved)
        by_id = {m.segment_id: m for m in self._data.segments_of(self.collection.collection_id, self.channel)}
        with self._apply:
            self._state = state
            for segment_id, known in self._sealed.items():
                known.meta = by_id[segment_id]
                known.saved_version = versions.get(segment_id, known.saved_version)
            for meta, growing in zip(metas, frozen, strict=True):
                sealed = _Sealed(by_id[meta.segment_id], growing.deletes)
                sealed.saved_version = versions.get(meta.segment_id, growing.deletes.version)
                self._sealed[meta.segment_id] = sealed
            self._place()
            self._frozen = [g for g in self._frozen if g not in frozen]
            self._publish()
        self._topic.truncate(state.checkpoint)
        for name in stale:
            if name not in {s.meta.deletes_object for s in self._sealed.values()}:
                self._store.delete(name)
        for meta in metas:
            self.build_missing(meta.segment_id)

    # -- placement ------------------------------------------------------------------------------
    def reload(self) -> None:
        """Follow the collection's load state: place what is loaded, take away what is not."""
        with self._apply:
            self._place()
            self._publish()
        for segment_id in list(self._sealed):
            self.build_missing(segment_id)

    def _place(self) -> None:
        entry = self._loads.entry(self.collection.collection_id)
        for segment_id, sealed in self._sealed.items():
            wanted = entry is not None and entry.covers(sealed.meta.partition_id)
            if wanted and sealed.peer is None:
                peer = self._peers[self._loads.place(sealed.meta.rows)]
                indexes = self._data.indexes(self.collection.collection_id)
                peer.load_segment(sealed.meta, self.collection.schema, sealed.deletes.entries(), indexes)
                sealed.peer = peer
            elif not wanted and sealed.peer is not None:
                self._loads.unplace(sealed.peer.node_id, sealed.meta.rows)
                sealed.peer.release_segments([segment_id])
                sealed.peer = None

    def _publish(self) -> None:
        by_node: dict[int, list[_Sealed]] = {}
        for sealed in self._sealed.values():
            if sealed.peer is not None:
                by_node.setdefault(sealed.peer.node_id, []).append(sealed)
        placements = tuple(
            Placement(
                self._peers[node],
                tuple((s.meta.partition_id, s.meta.segment_id) for s in held),
                tuple(s.meta.segment_id for s in held),
            )
            for node, held in by_node.items()
        )
        self.view = ShardView(self.view.timestamp, self._growing_now(), placements)
        self._count()

    # -- indexes --------------------------------------------------------------------------------
    def build_missing(self, segment_id: int) -> list[Future[None]]:
        """Queue the builds that a sealed segment still wants."""
        sealed = self._sealed.get(segment_id)
        if sealed is None:
            return []
        collection_id = self.collection.collection_id
        return [
            self._data_node.build_index(
                sealed.meta,
                index,
                self.collection.schema,
                wanted=partial(self._wants, segment_id, index),
                built=partial(self._built, segment_id, index),
            )
            for index in self._data.indexes(collection_id)
            if self._data.wants_build(sealed.meta, index)
        ]

    def build_all(self) -> None:
        for segment_id in list(self._sealed):
            self.build_missing(segment_id)

    def _wants(self, segment_id: int, index: IndexMeta) -> bool:
        sealed = self._sealed.get(segment_id)
        known = self._data.indexes(self.collection.collection_id)
        return sealed is not None and index in known and self._data.wants_build(sealed.meta, index)

    def _built(self, segment_id: int, index: IndexMeta, file: IndexFile) -> None:
        if not self._data.add_index_file(self.collection.collection_id, segment_id, file):
            self._store.delete(file.object)
            return
        with self._apply:
            sealed = self._sealed[segment_id]
            sealed.meta = next(
                m
                for m in self._data.segments_of(self.collection.collection_id, self.channel)
                if m.segment_id == segment_id
            )
            if sealed.peer is not None:
                sealed.peer.attach_index(segment_id, index, file)
            self._count()

    def drop_index(self, index: IndexMeta) -> None:
        with self._apply:
            by_id = {m.segment_id: m for m in self._data.segments_of(self.collection.collection_id, self.channel)}
            for segment_id, sealed in self._sealed.items():
                sealed.meta = by_id.get(segment_id, sealed.meta)
                if sealed.peer is not None:
                    sealed.peer.detach_index(segment_id, index.field)
            self._count()

    # -- removal --------------------------------------------------------------------------------
    def forget(self, partitions: Iterable[int] | None = None) -> None:
        """Drop the rows of some partitions (None: all) from memory and from the query nodes."""
        gone = None if partitions is None else set(partitions)
        with self._flushing, self._apply:
            kept: dict[int, _Sealed] = {}
            for segment_id, sealed in self._sealed.items():
                if gone is not None and sealed.meta.partition_id not in gone:
                    kept[segment_id] = sealed
                elif sealed.peer is not None:
                    self._loads.unplace(sealed.peer.node_id, sealed.meta.rows)
                    sealed.peer.release_segments([segment_id])
            self._sealed = kept
            self._growing = {p: g for p, g in self._growing.items() if gone is not None and p not in gone}
            self._frozen = [g for g in self._frozen if gone is not None and g.partition_id not in gone]
            self._publish()

    def truncate(self, allocate: Callable[[], int]) -> list[SegmentMeta]:
        """Drop every row written so far, durably; returns the segments whose objects may be deleted."""
        no_keys = pa.array([], self._key_type())
        with self._order:
            self._check_exists()
            # The record marks the place: when it is applied, everything before it is too, and nothing comes after.
            header = RecordHeader(DELETE, allocate(), self.collection.collection_id, 0)
            batch = pa.RecordBatch.from_arrays([no_keys], ["key"])
            end = self._topic.append(encode_record(header, batch)).result() + 1
            self.forget()
            self._end = end
            self._state = ChannelState(checkpoint=end)
            collection_id = self.collection.collection_id
            self._data.commit_flush(collection_id, self.channel, self._state, (), {})
            self._topic.truncate(end)
            return self._data.remove_segments(collection_id, lambda s: s.channel == self.channel)

    def _key_type(self) -> pa.DataType:
        return arrow_type(self.collection.schema.primary)

    def drop(self) -> None:
        """The collection is gone: whoever still holds this shard is told so, and nothing new is written."""
        with self._order:
            self._dropped = True
        self.forget()

    def _check_exists(self) -> None:
        if self._dropped:
            raise CollectionNotFound.named(self.collection.database, self.collection.name)

    def close(self) -> None:
        with self._flushing:
            self._topic.close()
