"""One shard: a virtual channel with its log, its growing segments, and the truth about deletes in its sealed ones.

Every write is one log record. When the record is durable it is applied, in log order: rows go to the growing segments
of their partitions, older rows of equal primary key are marked deleted wherever they are. Then a new view is published,
and only then is the writer answered.

Four locks, always taken in this order: `_order` (who stamps and logs next), `_flushing` (who moves rows to sealed
segments or changes those), `_apply` (who changes what the view is made of). Reads take `view` and never lock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from math import inf
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.garbage import Garbage
from redkite.coordinator.loads import QueryCoordinator
from redkite.coordinator.meta import CollectionMeta
from redkite.env import Executor
from redkite.errors import CollectionNotFound, Corruption, NotOwner
from redkite.index.base import Vectors
from redkite.model.batch import arrow_type
from redkite.model.one_row import OneRow
from redkite.model.schema import CollectionSchema
from redkite.model.segments import ChannelState, SegmentMeta
from redkite.node import records
from redkite.node.admission import Admitting
from redkite.node.asked import Held, P, QueryHeld, SearchHeld
from redkite.node.copies import NOWHERE
from redkite.node.counting import Counting
from redkite.node.data import DataNode
from redkite.node.feed import Feeding
from redkite.node.holdings import Holdings
from redkite.node.peers import QueryPeer
from redkite.node.sealing import Sealing
from redkite.node.under_way import UnderWay
from redkite.node.view import ShardView
from redkite.node.written import Written
from redkite.query.execute import query_segments, search_segments
from redkite.query.plan import QueryPartial, QueryPlan, SearchPartial, SearchPlan
from redkite.segment.evolution import check_made, conform, identified
from redkite.segment.growing import GrowingSegment
from redkite.segment.keys import Key
from redkite.spans import followed, traced
from redkite.storage.change_notes import TRUNCATED
from redkite.storage.log import LogRecord, Room, Topic
from redkite.storage.objects import ObjectStore

if TYPE_CHECKING:
    pass

R = TypeVar("R")


class Shard(Sealing, Counting, Admitting, Feeding):
    """Writes are serialised by `turn`; several shards are written at one timestamp by `node.turns.turns`."""

    def __init__(
        self,
        collection: CollectionMeta,
        channel: str,
        topic: Topic,
        store: ObjectStore,
        garbage: Garbage,
        data: DataCoordinator,
        loads: QueryCoordinator,
        peers: Mapping[int, QueryPeer],
        data_node: DataNode,
        scans: Executor,
        clock_ms: Callable[[], int],
    ) -> None:
        self.collection = collection
        self.channel = channel
        self.touched_ms = clock_ms()
        """When the last write was applied."""
        self.unflushed_since_ms: int | None = None
        """When the first write was applied that is only in the log."""
        self._clock_ms = clock_ms
        self._topic = topic
        self._store = store
        self._garbage = garbage
        self._data = data
        self._data_node = data_node
        self._scans = scans
        self._order = Lock()
        self._flushing = Lock()
        self._apply = Lock()
        self._growing: dict[int, GrowingSegment] = {}
        self._frozen: list[GrowingSegment] = []
        self._sealed = Holdings(store, data, loads, peers)
        self._dropped = self._is_left = False
        self.written = Written()
        self._under_way = UnderWay()
        self._mending = False
        self._state = data.channel_state(channel)
        self._end = self._state.checkpoint
        self._recover()

    # -- recovery -------------------------------------------------------------------------------
    def _recover(self) -> None:
        self._sealed.recover(self._data.segments_of(self.collection.collection_id, self.channel))
        newest = max((h.meta.max_timestamp for h in self._sealed), default=self.collection.created_timestamp)
        newest = max([newest, self._state.readable_from, self._state.newest, *(h.deletes.newest for h in self._sealed)])
        if self._topic.end < self._state.known_end:
            raise Corruption(
                f"the log of channel '{self.channel}' ends at record {self._topic.end}, and {self._state.known_end} "
                "records were acknowledged; `redkite doctor` says what can be done"
            )
        if self._state.newest or not self._state.checkpoint:  # else it was noted by a version that did not say
            self.written.begin(self._state.newest)
        newest = self._replay_log(newest, self._data_node.memory.replay_bytes)
        self.view = ShardView(newest, (), NOWHERE, self._state.readable_from)
        self.reload()

    def _replay_log(self, newest: int, room: float) -> int:
        """Apply what is only in the log; the newest timestamp. After `room` bytes of it what is there is sealed."""
        replayed = 0
        for record in self._topic.read(self._state.checkpoint):
            newest = max(newest, self._replay(record))
            replayed += len(record.payload)
            if replayed > room:  # written while the limit was a larger one
                replayed = 0
                self.view = ShardView(newest, self._growing_now(), NOWHERE, self._state.readable_from)
                self._flush()
        for growing in self._growing_now():
            growing.keep()
        return newest

    def _replay(self, record: LogRecord) -> int:
        header, batch = records.decode_record(record.payload)
        self.written.replayed(header, batch.num_rows)
        if header.kind == records.DELETE:
            self._delete_everywhere(batch.column(0).to_pylist(), header.timestamp)
        else:
            schema = self.collection.schema
            rows = conform(batch, schema)
            self._insert_parts(header.parts, rows, records.keys_of(rows, schema), header.timestamp, record.position)
        self._end = record.position + 1
        return header.timestamp

    def _mend(self) -> None:
        """A write that is durable was not applied, or in part: apply the log anew. In a turn; reads go on meanwhile."""
        with self._flushing:
            with self._apply:
                before = self._growing, self._frozen, self._end
                self._growing, self._frozen, self._end = {}, [], self._state.checkpoint
                self._mending = True
            try:
                newest = self._replay_log(self.view.timestamp, inf)
            except BaseException:
                # Nothing may be sealed, or forgotten by the log, as if these rows were not.
                with self._apply:
                    self._growing, self._frozen, self._end = before
                    self._mending = False
                raise
            with self._apply:
                self._mending = False
                self.view = ShardView(newest, self._growing_now(), self.view.placements, self._state.readable_from)
            self._topic.resume()

    # -- writes ---------------------------------------------------------------------------------
    @contextmanager
    def turn(self, *, settled: bool = False) -> Iterator[None]:
        """Nobody else logs a write here meanwhile. `settled`: everything logged before is applied and can be read."""
        with self._order:
            if self._dropped:
                raise self._no_collection()
            if self._topic.unapplied:
                self._mend()
            if settled:
                self._wait(self._under_way.last)
            with self._under_way:
                yield

    @traced("shard insert")
    def insert(
        self,
        parts: records.Parts,
        rows: records.Rows,
        allocate: Callable[[], int],
        answer: Callable[[int], R],
        schema: CollectionSchema | None = None,
    ) -> Future[R]:
        """Log rows (one column per field of the schema they were checked by; None: the shard's own) as one write. The
        future is `answer(timestamp)`, asked for when they are durable and visible."""
        schema = schema or self.collection.schema
        keys, body = records.keys_of(rows, self.collection.schema), records.encode_rows(rows, schema)
        with self._order:
            if self._dropped:
                raise self._no_collection()
            if self._topic.unapplied:
                self._mend()
            check_made(schema, self.collection.schema)
            with self._under_way:
                timestamp = allocate()
                return self.log_rows(parts, rows, timestamp, schema, keys, body, partial(answer, timestamp))

    def log_rows(
        self,
        parts: records.Parts,
        rows: records.Rows,
        timestamp: int,
        schema: CollectionSchema | None = None,
        keys: list[Key] | None = None,
        body: records.Body | None = None,
        answer: Callable[[], Any] | None = None,
        room: Room | None = None,
    ) -> Future[Any]:
        """Within a turn. Rows that were checked by an older schema are logged as they are, and read as the present one
        has them: they came before its change."""
        schema = schema or self.collection.schema
        known = records.keys_of(rows, self.collection.schema) if keys is None else keys
        apply = partial(self._apply_insert, parts, rows, schema, known, timestamp)
        header = records.RecordHeader(records.INSERT, timestamp, self.collection.collection_id, parts, records.named())
        return self._log(header, records.encode_rows(rows, schema) if body is None else body, apply, answer, room)

    def log_keys(
        self, keys: pa.Array, timestamp: int, body: records.Body | None = None, room: Room | None = None
    ) -> Future[int]:
        """Log a delete of primary keys, in all partitions; within a turn."""
        header = records.RecordHeader(records.DELETE, timestamp, self.collection.collection_id, (), records.named())
        apply = partial(self._apply_delete, keys.to_pylist(), timestamp)
        return self._log(header, records.encode_keys(keys) if body is None else body, apply, None, room)

    def _log(
        self,
        header: records.RecordHeader,
        body: records.Body,
        apply: Callable[[int], None],
        answer: Callable[[], Any] | None,
        room: Room | None,
    ) -> Future[Any]:
        append = partial(self._topic.append, records.with_header(header, body), apply, answer, room)
        return followed("log append", self._under_way.log(header.timestamp, append))

    def _no_collection(self) -> CollectionNotFound | NotOwner:
        if self._is_left:
            return NotOwner.of(self.channel)
        return CollectionNotFound.named(self.collection.database, self.collection.name)

    @property
    def is_settled(self) -> bool:
        """Whether every write that has its timestamp is applied."""
        return self._under_way.is_over

    @property
    def under_way(self) -> int | None:
        """See `face.Heard`."""
        return self._under_way.first

    def settle(self, until: int | None = None) -> None:
        """Wait until every write that has its timestamp by now, or one up to `until`, is applied."""
        first = self._under_way.first
        if first is None or (until is not None and first > until):
            return
        with self._order:
            last = self._under_way.last
        self._wait(last)

    @staticmethod
    def _wait(last: Future[Any] | None) -> None:
        if last is not None and not last.done():
            last.exception()  # whoever wrote it is told; here only that it is over matters

    def _apply_insert(
        self,
        parts: records.Parts,
        rows: records.Rows,
        schema: CollectionSchema,
        keys: list[Key],
        timestamp: int,
        position: int,
    ) -> None:
        with self._apply:
            if not self._dropped:  # else the write came before the drop, and went with it
                present = self.collection.schema
                if schema.version != present.version:
                    rows = conform(identified(records.rows_of(rows, schema), schema), present)
                self._insert_parts(parts, rows, keys, timestamp, position)
                self._applied(timestamp, position)

    def _apply_delete(self, keys: list[Key], timestamp: int, position: int) -> None:
        with self._apply:
            if not self._dropped:
                self._delete_everywhere(keys, timestamp)
                self._applied(timestamp, position)

    def _applied(self, timestamp: int, position: int) -> None:
        self._end = position + 1
        self.touched_ms = self._clock_ms()
        if self.unflushed_since_ms is None:
            self.unflushed_since_ms = self.touched_ms
        view = self.view
        self.view = ShardView(timestamp, self._growing_now(), view.placements, view.readable_from)

    def _insert_parts(
        self, parts: records.Parts, rows: records.Rows, keys: list[Key], timestamp: int, position: int
    ) -> None:
        at = 0
        for partition_id, count in parts:
            whole = count == rows.num_rows
            some = rows if whole or isinstance(rows, OneRow) else rows.slice(at, count)
            named = keys if whole else keys[at : at + count]
            at += count
            if self.collection.partition_by_id(partition_id) is None:
                # Dropped after the write was checked, so it came before the drop. What these rows replaced in other
                # partitions stays replaced.
                self._delete_everywhere(named, timestamp)
                continue
            growing = self._growing.get(partition_id)
            if growing is None:
                growing = GrowingSegment(self._data.allocate_id(), partition_id, self.collection.schema, position)
                self._growing[partition_id] = growing
            self._delete_everywhere(named, timestamp, but=growing)
            growing.append(some, named, timestamp)

    def _delete_everywhere(self, keys: list[Key], timestamp: int, but: GrowingSegment | None = None) -> None:
        for growing in (*self._growing.values(), *self._frozen):
            if growing is not but:
                growing.delete(keys, timestamp)
        self._sealed.delete(keys, timestamp, self.collection.schema)

    # -- reads ----------------------------------------------------------------------------------
    @traced("shard")
    def search(
        self, plan: SearchPlan, queries: Vectors, timestamp: int | None = None
    ) -> tuple[int, list[SearchPartial]]:
        """Answers of the nodes that hold this shard's rows, and the timestamp they were read at (None: the newest)."""
        return self._read(
            plan,
            timestamp,
            lambda segments, at: search_segments(segments, plan, queries, at, self._scans),
            lambda ids, at: SearchHeld(ids, plan, queries, at),
        )

    @traced("shard")
    def query(self, plan: QueryPlan, timestamp: int | None = None) -> tuple[int, list[QueryPartial]]:
        return self._read(
            plan,
            timestamp,
            lambda segments, at: query_segments(segments, plan, at),
            lambda ids, at: QueryHeld(ids, plan, at),
        )

    def _read(
        self,
        plan: SearchPlan | QueryPlan,
        timestamp: int | None,
        here: Callable[[list[GrowingSegment], int], P],
        there: Callable[[tuple[int, ...], int], Held[P]],
    ) -> tuple[int, list[P]]:
        if timestamp is not None and self._topic.unapplied:
            timestamp = min(timestamp, self.view.timestamp)  # what comes next may be there in part
        return self.read_view(plan, timestamp, here, there)

    # -- the collection -------------------------------------------------------------------------
    def follow(self, current: Callable[[], CollectionMeta]) -> None:
        """Take over what the collection is now. When its fields have changed, rows written from now on have the new
        ones, and those written before are read through them. What `current` gives later is never older."""
        if current().schema.version == self.collection.schema.version:
            with self._apply:
                found = current()
                if found.schema.version == self.collection.schema.version:
                    self.collection = found
                    return
        with self.turn(settled=True), self._apply:
            found = current()
            if found.schema.version != self.collection.schema.version:
                # Frozen ones stay what they are: somebody may be writing them to disk.
                self._growing = {p: g.evolved(found.schema) for p, g in self._growing.items()}
            self.collection = found
            view = self.view
            self.view = ShardView(view.timestamp, self._growing_now(), view.placements, view.readable_from)

    # -- removal --------------------------------------------------------------------------------
    def forget(self, partitions: Iterable[int] | None = None) -> None:
        """Drop the rows of some partitions (None: all) from memory and from the query nodes."""
        with self._flushing, self._apply:
            self._forget(None if partitions is None else set(partitions))

    def _forget(self, gone: Collection[int] | None) -> None:
        removed = self._sealed.remove(
            h.meta.segment_id for h in self._sealed if gone is None or h.meta.partition_id in gone
        )
        self._growing = {p: g for p, g in self._growing.items() if gone is not None and p not in gone}
        self._frozen = [g for g in self._frozen if gone is not None and g.partition_id not in gone]
        self._publish()
        self._sealed.release(removed)

    def truncate(self, allocate: Callable[[], int]) -> list[SegmentMeta]:
        """Drop every row written so far, durably; returns the segments whose objects may be deleted."""
        no_keys = pa.array([], arrow_type(self.collection.schema.primary))
        with self.turn():
            # The record marks the place: when it is applied, everything before it is too, and nothing comes after.
            timestamp = allocate()
            end = self.log_keys(no_keys, timestamp).result() + 1
            with self._flushing:
                state = ChannelState(
                    checkpoint=end, readable_from=timestamp, replaced=self._state.replaced + 1, newest=timestamp
                )
                collection_id = self.collection.collection_id
                gone = self.segments()
                notes = self._data.notes.noted(self.channel, TRUNCATED, timestamp)
                ids = [m.segment_id for m in gone]
                self._data.commit_replace(collection_id, self.channel, state, ids, (), notes, self._state)
                with self._apply:  # only now: had it failed, all rows would still be there
                    self._state, self._end = state, end
                    self._forget(None)
            self._topic.truncate(end)
            return gone

    def drop(self) -> None:
        """The collection is gone: whoever still holds this shard is told so, and nothing new is written."""
        with self._order:
            self._dropped = True
        self.forget()

    def step_down(self) -> None:
        """Another node owns the channel: nothing more is written, sealed or applied here. Waits for nobody."""
        self._is_left = self._dropped = True

    def close_log(self) -> None:
        self._topic.close()

    def segment_ids(self) -> frozenset[int]:
        """Of the sealed ones."""
        return frozenset(self._sealed.ids())

    def wait_ended(self) -> None:
        """After `step_down`: come back when what was being committed here is in the catalog, or never will be."""
        with self._flushing:
            pass

    def let_go(self, kept: Collection[int]) -> None:
        """After `step_down`: have query nodes close its segments, but for those that another shard has by now, and what
        they are about to open."""
        with self._flushing:
            with self._apply:
                gone = self._sealed.remove(self.segment_ids().difference(kept))
            self._sealed.release(gone)

    @property
    def is_left(self) -> bool:
        """Whether nothing can be done with it any more: it stepped down, or its log was closed below it."""
        return self._is_left or bool(getattr(self._topic, "closed", False))

    @property
    def is_parted(self) -> bool:
        """Whether the catalog has another state of the channel, by a commit of which this shard was not told how it
        ended: it is to be opened anew."""
        before = self._state
        is_other = self._data.channel_state(self.channel) != before
        # What is being committed may be known there already, and not yet here.
        return is_other and not (self._dropped or self._flushing.locked() or self._state is not before)

    def close(self) -> None:
        with self._flushing:
            self._topic.close()
            if not self._dropped:
                self._data.note_end(self.channel, self._end)
