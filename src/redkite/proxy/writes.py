"""Insert, upsert, delete, flush."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from redkite.coordinator.meta import CollectionMeta
from redkite.errors import InvalidParameter, SchemaMismatch
from redkite.filter import Filter, compile_filter
from redkite.functions.registry import Functions
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.batch import arrow_type
from redkite.model.one_row import LooseRow, OneRow, RowLayout
from redkite.model.schema import DEFAULT_PARTITION
from redkite.model.timestamps import physical_ms
from redkite.node.face import ShardFace
from redkite.node.memory import DELETED_BYTES
from redkite.node.records import Parts
from redkite.node.shard import Shard
from redkite.node.together import keys_piece, log_together, rows_piece
from redkite.node.topology import Topology
from redkite.node.turns import turns
from redkite.proxy.changes import Changes, Fill
from redkite.proxy.merging import check_field_ops
from redkite.proxy.parted import partly_written
from redkite.proxy.pending import when_all
from redkite.proxy.reads import Reads
from redkite.proxy.routing import Partition, pieces, shard_keys
from redkite.proxy.rules.row_rules import RowRules, rules_of
from redkite.segment.evolution import check_made

_Way: TypeAlias = tuple[CollectionMeta, RowLayout, str, int | None]
"""Where the last single row went: collection, layout, name and id of the partition (None: it goes as a batch)."""
Routed: TypeAlias = tuple[int, Parts, pa.RecordBatch]
"""The number of a shard, and what it has to write: its rows, partition by partition."""


class Writes:
    """Requests that change rows. Each answers a future that is done when the change is durable and visible."""

    def __init__(self, topology: Topology, reads: Reads, functions: Functions) -> None:
        self._topology = topology
        self._functions = functions
        self._root = topology.root
        self._allocate: Callable[[], int] = topology.root.oracle.allocate
        self._changes = Changes(topology, reads, self._allocate)
        self._way: _Way | None = None

    def is_quick(self, meta: CollectionMeta) -> bool:
        """Whether a write does not wait for a shard to open."""
        return len(self._topology.open_shards(meta)) == meta.shards

    def insert(self, request: rq.Insert) -> Future[rs.Result]:
        meta = self._find(request)
        rows, rules = request.rows, rules_of(meta.schema, self._topology.limits, self._functions)
        if not isinstance(rows, pa.RecordBatch):
            written = self._write_single(meta, rows, request.partition, rules)
            if written is not None:
                return written
            rows = rows.batch()
        auto_ids = self._auto_ids(meta, rows) if rules.needs_ids(rows, upsert=False) else None
        rows = rules.check(rows, upsert=False, auto_ids=auto_ids, zone=self._root.zone_of(meta))
        return self._write(meta, rows, self._partition(meta, request.partition))

    def upsert(self, request: rq.Upsert) -> Future[rs.Result]:
        meta = self._find(request)
        rows, rules = request.rows, rules_of(meta.schema, self._topology.limits, self._functions)
        zone = self._root.zone_of(meta)
        partition: Partition = self._partition(meta, request.partition)
        if not request.partial and request.condition is None:
            check_field_ops(meta.schema, request.field_ops, partial=False)
            if not isinstance(rows, pa.RecordBatch):
                written = self._write_single(meta, rows, request.partition, rules)
                if written is not None:
                    return written
                rows = rows.batch()
            return self._write(meta, rules.check(rows, upsert=True, zone=zone), partition)
        assert isinstance(rows, pa.RecordBatch), "of what depends on what is there a batch is made"
        if request.partial:
            rows = rules.check_part(rows, zone)
            partition = partition if request.partition else None
        else:
            rows = rules.check(rows, upsert=True, zone=zone)
        return self.change(meta, request, rows, partition, rules)

    def _find(self, request: rq.Insert | rq.Upsert) -> CollectionMeta:
        """The collection; a client that names an older schema than it has is told so."""
        meta = self._root.find(request.database, request.collection)
        if 0 < request.schema_timestamp < meta.update_timestamp:
            raise SchemaMismatch.named(meta.name)
        return meta

    @staticmethod
    def _partition(meta: CollectionMeta, name: str) -> int | None:
        if meta.has_partition_key:
            if name:
                raise InvalidParameter(
                    "not support manually specifying the partition names if partition key mode is used"
                )
            return None
        return meta.need_partition(name or DEFAULT_PARTITION).partition_id

    def _auto_ids(self, meta: CollectionMeta, rows: pa.RecordBatch) -> pa.Array:
        first = self._root.oracle.allocate_ids(max(rows.num_rows, 1))
        ids = pa.array(np.arange(first, first + rows.num_rows))
        return ids if pa.types.is_integer(arrow_type(meta.schema.primary)) else ids.cast(pa.string())

    def _way_of(self, meta: CollectionMeta, layout: RowLayout, name: str) -> _Way:
        """Where single rows of a layout go."""
        if meta.shards > 1 or meta.has_partition_key or not layout.fits(meta.schema, meta.collection_id):
            return meta, layout, name, None
        return meta, layout, name, self._partition(meta, name)

    def _write_single(
        self, meta: CollectionMeta, row: OneRow | LooseRow, partition: str, rules: RowRules
    ) -> Future[rs.Result] | None:
        """Write a row without making a batch of it; None where that cannot be done."""
        one: OneRow | None = row if isinstance(row, OneRow) else None
        if isinstance(row, LooseRow):
            layout = rules.layout(meta.collection_id)
            one = None if layout is None else layout.loose(row)
        if one is None:
            return None
        way = self._way
        if way is None or way[0] is not meta or way[1] is not one.layout or way[2] != partition:
            way = self._way = self._way_of(meta, one.layout, partition)
        return None if way[3] is None else self._write_one(meta, one, way[3], is_named=one is not row)

    def _write_one(self, meta: CollectionMeta, row: OneRow, partition: int, is_named: bool) -> Future[rs.Result]:
        """`is_named`: the answer names the key."""
        (shard,) = self._topology.shards(meta)
        written = partial(self._one_written, shard)
        if is_named:
            written = partial(self._written, pa.array([row.key], arrow_type(meta.schema.primary)), (shard,))
        return shard.insert(((partition, 1),), row, self._allocate, written, meta.schema)

    def _write(self, meta: CollectionMeta, rows: pa.RecordBatch, partition: Partition) -> Future[rs.Result]:
        routed = list(pieces(meta, rows, partition))
        ids = rows.column(meta.schema.primary.name)
        if len(routed) == 1:
            number, parts, piece = routed[0]
            shard = self._topology.shards(meta)[number]
            return shard.insert(parts, piece, self._allocate, partial(self._written, ids, (shard,)), meta.schema)
        return self.write_several(meta, ids, routed)

    # -- what is done where the shards are ------------------------------------------------------
    def write_several(self, meta: CollectionMeta, ids: pa.Array, routed: Sequence[Routed]) -> Future[rs.Result]:
        """Write pieces of several shards, all or none where that can be known before."""
        shards = self._topology.own_shards(meta)
        encoded = [rows_piece(shards[number], parts, piece, meta.schema) for number, parts, piece in routed]
        with turns(piece.shard for piece in encoded):
            for piece in encoded:
                check_made(meta.schema, piece.shard.collection.schema)
            timestamp, logged = log_together(self._topology, encoded, self._allocate)
        return self._when_written(meta, ids, timestamp, logged)

    def change(
        self, meta: CollectionMeta, request: rq.Upsert, rows: pa.RecordBatch, partition: Partition, rules: RowRules
    ) -> Future[rs.Result]:
        """An upsert that depends on what is there; see `Changes.upsert`."""
        shards = dict(enumerate(self._topology.own_shards(meta)))
        timestamp, logged = self._changes.upsert(meta, shards, request, rows, partition, rules)
        return self._when_written(meta, rows.column(meta.schema.primary.name), timestamp, logged)

    def delete_named(self, meta: CollectionMeta, keys: pa.Array) -> Future[rs.Result]:
        """Delete the rows of these keys, if they are there."""
        shards = self._topology.own_shards(meta)
        encoded = [keys_piece(shards[number], some) for number, some in shard_keys(meta, keys) if len(some)]
        with turns(piece.shard for piece in encoded):
            timestamp, logged = log_together(self._topology, encoded, self._allocate)
        return self._when_deleted(meta, keys, len(keys), timestamp, logged)

    def delete_found(self, meta: CollectionMeta, request: rq.Delete, condition: Filter) -> Future[rs.Result]:
        """Delete what passes the filter and the condition now."""
        shards = dict(enumerate(self._topology.own_shards(meta)))
        keys, (timestamp, logged) = self._changes.delete(meta, shards, request, condition)
        named = condition.primary_keys if request.condition is None else None
        # Keys that are named count, there or not.
        return self._when_deleted(meta, keys, len(keys) if named is None else len(named), timestamp, logged)

    def _when_written(
        self, meta: CollectionMeta, ids: pa.Array, timestamp: int, logged: list[tuple[Shard, Future[int]]]
    ) -> Future[rs.Result]:
        answer = partial(self._written, ids, [shard for shard, _ in logged], timestamp)
        return self._all(meta, ids, logged, answer)

    def _all(
        self,
        meta: CollectionMeta,
        keys: pa.Array,
        logged: list[tuple[Shard, Future[int]]],
        answer: Callable[[], rs.Result],
    ) -> Future[rs.Result]:
        """The answer when every shard has its piece of a write, whose rows are those of `keys`."""
        channels = [shard.channel for shard, _ in logged]

        def parted(failed: list[int], error: BaseException) -> BaseException:
            return partly_written(meta, keys, {channels[number] for number in failed}, error)

        return when_all(self._topology.env.tasks, [future for _, future in logged], answer, parted)

    def _one_written(self, shard: ShardFace, timestamp: int) -> rs.Result:
        self._topology.streaming.owner(shard.channel).seal_if_full(shard)
        return rs.Written(count=1, timestamp=timestamp)

    def _written(self, ids: pa.Array, shards: Sequence[ShardFace], timestamp: int) -> rs.Result:
        for shard in shards:
            self._topology.streaming.owner(shard.channel).seal_if_full(shard)
        return rs.Mutation(ids=ids, count=len(ids), timestamp=timestamp)

    def delete(self, request: rq.Delete) -> Future[rs.Result]:
        meta = self._root.find(request.database, request.collection)
        condition = compile_filter(
            request.filter, meta.schema, request.filter_params, purpose="delete", zone=self._root.zone_of(meta)
        )
        if condition.always_true:
            raise InvalidParameter(f"delete plan can't be empty or always true : {request.filter}")
        if request.partition:
            meta.need_partition(request.partition)
        key_type = arrow_type(meta.schema.primary)
        if condition.primary_keys is not None and not request.partition and request.condition is None:
            return self.delete_named(meta, pa.array(condition.primary_keys, key_type))
        return self.delete_found(meta, request, condition)

    def fill(self, meta: CollectionMeta, fill: Fill) -> Future[rs.Result]:
        """See `Changes.fill`."""
        rules = rules_of(meta.schema, self._topology.limits, self._functions)
        shards = dict(enumerate(self._topology.own_shards(meta)))
        timestamp, logged = self._changes.fill(meta, shards, fill, rules)
        keys = fill.rows.column(meta.schema.primary.name)
        return self._when_written(meta, keys, timestamp, logged) if logged else self._done(rs.Done())

    def _when_deleted(
        self, meta: CollectionMeta, keys: pa.Array, count: int, timestamp: int, logged: list[tuple[Shard, Future[int]]]
    ) -> Future[rs.Result]:
        done = rs.Mutation(ids=pa.array([], arrow_type(meta.schema.primary)), count=count, timestamp=timestamp)
        if not logged:
            return self._done(done)
        return self._all(meta, keys, logged, lambda: done)

    def _done(self, result: rs.Result) -> Future[rs.Result]:
        future: Future[rs.Result] = self._topology.env.tasks.future()
        future.set_result(result)
        return future

    # -- flush ----------------------------------------------------------------------------------
    def flush(self, request: rq.Flush) -> rs.Flushed:
        metas = [self._root.find(request.database, name) for name in request.collections]
        return rs.Flushed(
            collections=tuple(
                self._flush_one(meta, name) for meta, name in zip(metas, request.collections, strict=True)
            )
        )

    def _flush_one(self, meta: CollectionMeta, name: str) -> rs.FlushedCollection:
        before = tuple(s.segment_id for s in self._topology.data.segments(meta.collection_id))
        timestamp, made = 0, []
        for shard in self._topology.shards(meta):
            stamp, metas = shard.flush(self._allocate)
            timestamp = max(timestamp, stamp)
            made += [m.segment_id for m in metas]
        return rs.FlushedCollection(
            collection=name,
            segment_ids=tuple(made),
            flushed_ids=before,
            seal_time=physical_ms(timestamp) // 1000,
            flush_timestamp=timestamp,
        )

    def flush_all(self, request: rq.FlushAll) -> rs.Timestamp:
        if request.database:
            metas = self._root.list_collections(request.database)
        else:
            metas = self._root.all_collections()
        for meta in metas:
            for shard in self._topology.shards(meta):
                shard.flush(self._allocate)
        return rs.Timestamp(timestamp=self._allocate())

    def flush_state(self, request: rq.GetFlushState) -> rs.Flag:
        """Flush answers when everything is on disk, so what it named is flushed."""
        if request.collection:
            self._root.find(request.database, request.collection)
        return rs.Flag(value=True)


def delete_bytes(request: rq.Delete) -> int:
    """What the keys that a delete names take, about: as much as its text, and a number for each of its values. Those
    that a filter finds are counted when they are found."""
    listed = sum(len(value) for value in request.filter_params.values() if isinstance(value, list | tuple))
    return len(request.filter) + DELETED_BYTES * listed
