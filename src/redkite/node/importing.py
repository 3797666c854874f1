"""Rows that come in any number, made into sealed segments on their way; and the moment when all of them are seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Protocol

import msgspec
import numpy as np
import pyarrow as pa

from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.meta import CollectionMeta
from redkite.errors import ImportFailed
from redkite.index.registry import BuildCancelled
from redkite.model.segments import SegmentMeta
from redkite.node.admission import Made, Replaced, replaced_within
from redkite.node.data import DataNode
from redkite.node.face import ShardFace
from redkite.node.memory import MemoryBudget
from redkite.node.records import Parts
from redkite.node.shard import Shard
from redkite.node.turns import turns
from redkite.segment.evolution import unmade
from redkite.segment.files import Place, open_stored, write_rows
from redkite.storage.change_notes import ADMITTED
from redkite.storage.objects import ObjectStore

Where = tuple[int, int]
"""Shard number and partition id."""


class SegmentMaker:
    """Takes rows of one collection and writes full segments of them. What it holds in memory stays below twice the
    size of a segment, to how many shards and partitions the rows may go. For one thread."""

    def __init__(
        self,
        store: ObjectStore,
        memory: MemoryBudget,
        new_id: Callable[[], int],
        collection: CollectionMeta,
        most_rows: int,
        most_bytes: int,
        stamp: int,
    ) -> None:
        """`new_id` gives each segment its id. Rows are written with the timestamp `stamp`, which is none of theirs:
        that comes with their admission."""
        self._store = store
        self._memory = memory
        self._new_id = new_id
        self._collection = collection
        self._most_rows = most_rows
        self._most_bytes = most_bytes
        self._stamp = stamp
        self._waiting: dict[Where, list[pa.RecordBatch]] = {}
        self._rows: dict[Where, int] = {}
        self._bytes: dict[Where, int] = {}
        self.made: list[SegmentMeta] = []
        """What is written, in that order."""

    @property
    def held(self) -> int:
        """Bytes of rows that are not written yet."""
        return sum(self._bytes.values())

    def add(self, shard: int, parts: Parts, rows: pa.RecordBatch) -> None:
        """Rows of one shard, partition by partition."""
        at = 0
        for partition_id, count in parts:
            some = rows.slice(at, count)
            at += count
            if count < rows.num_rows:  # else these few rows would hold all of them in memory
                some = some.take(pa.array(np.arange(count)))
            where = shard, partition_id
            self._waiting.setdefault(where, []).append(some)
            self._rows[where] = self._rows.get(where, 0) + count
            self._bytes[where] = self._bytes.get(where, 0) + some.nbytes
            if self._rows[where] >= self._most_rows or self._bytes[where] >= self._most_bytes:
                self._write(where)
        while self.held > self._most_bytes:
            self._write(max(self._bytes, key=self._bytes.__getitem__))

    def finish(self) -> None:
        """Write what is left."""
        for where in sorted(self._waiting):
            self._write(where)

    def _write(self, where: Where) -> None:
        batches = self._waiting.pop(where)
        self._rows.pop(where)
        size = self._bytes.pop(where)
        shard, partition_id = where
        collection = self._collection
        with self._memory.work("imports", 2 * size):
            rows = pa.Table.from_batches(batches).combine_chunks().to_batches()
            batches.clear()
            for some in rows:
                stamps = np.full(some.num_rows, self._stamp, np.uint64)
                place = Place(collection.collection_id, partition_id, collection.channels[shard], self._new_id())
                self.made.append(write_rows(self._store, place, collection.schema, some, stamps))


def with_indexes(
    data: DataCoordinator,
    data_node: DataNode,
    collection: CollectionMeta,
    meta: SegmentMeta,
    wanted: Callable[[], bool],
) -> SegmentMeta:
    """A segment with every index that its collection has, so that searches find it ready. Raises BuildCancelled."""
    for index in data.indexes(collection.collection_id):
        if data.wants_build(meta, index):
            file = data_node.make_index(meta, index, collection.schema, wanted)
            if file is None:
                raise BuildCancelled
            meta = msgspec.structs.replace(meta, indexes=(*meta.indexes, file))
    return meta


def made_of(
    store: ObjectStore, collection: CollectionMeta, segments: Sequence[SegmentMeta], *, unique: bool
) -> dict[str, list[Made]]:
    """Segments by channel. `unique`: no primary key comes twice among them, as nobody but Redkite gave them."""
    replaced = {} if unique else replaced_within(store, segments, collection)
    none = np.empty(0, np.int64)
    found: dict[str, list[Made]] = {channel: [] for channel in collection.channels}
    for meta in segments:
        found[meta.channel].append(Made(meta, replaced.get(meta.segment_id, none)))
    return found


class Admit(Protocol):
    """Makes segments rows of their collection, all in one catalog commit."""

    def __call__(
        self,
        data: DataCoordinator,
        shards: Sequence[ShardFace],
        made: Mapping[str, Sequence[Made]],
        allocate: Callable[[], int],
        check: Callable[[], None],
        notes: Callable[[], Mapping[str, bytes]],
        committed: Callable[[], None],
    ) -> int:
        """The timestamp that they have from then on. What `notes` gives is in the commit. `check` raises when something
        has come between, and is asked when nothing can any more; `committed` is called as soon as the rows are there
        for good, whatever follows, and before this returns."""
        ...


def admit(
    data: DataCoordinator,
    shards: Sequence[ShardFace],
    made: Mapping[str, Sequence[Made]],
    allocate: Callable[[], int],
    check: Callable[[], None],
    notes: Callable[[], Mapping[str, bytes]],
    committed: Callable[[], None],
) -> int:
    """See `Admit`: to shards that are all of this process."""
    return _admit([own_shard(shard) for shard in shards], data, made, allocate, check, notes, committed)


def own_shard(shard: ShardFace) -> Shard:
    """What is done while shards hold their turns is done where they are."""
    assert isinstance(shard, Shard), "what holds the turn of a shard runs where the shard is"
    return shard


def _admit(
    shards: Sequence[Shard],
    data: DataCoordinator,
    made: Mapping[str, Sequence[Made]],
    allocate: Callable[[], int],
    check: Callable[[], None],
    notes: Callable[[], Mapping[str, bytes]],
    committed: Callable[[], None],
) -> int:
    known = {shard.channel: Replaced() for shard in shards}
    for shard in shards:
        shard.flush(allocate)  # most of what is growing, while writers go on
        shard.look_for(made[shard.channel], known[shard.channel])
    with turns(shards, settled=True), ExitStack() as held:
        for shard in sorted(shards, key=lambda s: s.channel):
            held.enter_context(shard.still())
        check()
        timestamp = allocate()
        with ExitStack() as opened:
            ready = []
            for shard in shards:
                admission = shard.prepare(made[shard.channel], known[shard.channel], timestamp)
                opened.callback(shard.give_up, admission)
                ready.append((shard, admission))
            added = [holding.meta for _, admission in ready for holding in admission.fresh]
            deletes = {i: file for _, admission in ready for i, file in admission.deletes.items()}
            told = dict(notes())
            for channel in {meta.channel for meta in added}:
                told |= data.notes.noted(channel, ADMITTED, timestamp)
            data.commit_admission(shards[0].collection.collection_id, added, deletes, told)
            opened.pop_all()
        committed()
        for shard, admission in ready:
            shard.admit(admission)
    for meta in added:
        next(s for s in shards if s.channel == meta.channel).build_missing(meta.segment_id)
    return timestamp


def check_partitions(collection: CollectionMeta, segments: Sequence[SegmentMeta]) -> None:
    """Raise ImportFailed when a partition of these segments is gone."""
    for meta in segments:
        if collection.partition_by_id(meta.partition_id) is None:
            raise ImportFailed(f"partition {meta.partition_id} of collection {collection.name} has been dropped")


def stored_columns(store: ObjectStore, segments: Sequence[SegmentMeta]) -> list[tuple[str, ...]]:
    """What the files of segments have, as names of columns: field ids."""
    return [tuple(open_stored(store, meta)[0].schema.names) for meta in segments]


def check_columns(collection: CollectionMeta, stored: Sequence[tuple[str, ...]]) -> None:
    """Raise ImportFailed when a model was to fill a field of rows that were written before the field came."""
    for columns in dict.fromkeys(stored):
        name = unmade(collection.schema, columns)
        if name:
            raise ImportFailed(
                f"field {name} of collection {collection.name} came while the rows were imported, and only a model can "
                "fill it: import them again"
            )
