"""Insert, upsert, delete, flush."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
import pyarrow as pa

from redkite.coordinator.meta import CollectionMeta
from redkite.errors import CollectionNotLoaded, InvalidParameter, SchemaMismatch, Unimplemented
from redkite.filter import Filter, compile_filter
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.batch import arrow_type
from redkite.model.schema import DEFAULT_PARTITION
from redkite.model.timestamps import physical_ms
from redkite.node.shard import Shard
from redkite.node.topology import Topology
from redkite.proxy.pending import when_all
from redkite.proxy.routing import pieces, shard_keys
from redkite.proxy.rules.row_rules import rules_of
from redkite.query.plan import QueryPlan
from redkite.query.reduce import merge_rows


class Writes:
    """Requests that change rows. Each answers a future that is done when the change is durable and visible."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._root = topology.root
        self._allocate: Callable[[], int] = topology.root.oracle.allocate

    def insert(self, request: rq.Insert) -> Future[rs.Result]:
        meta = self._root.find(request.database, request.collection)
        self._check_schema_age(meta, request.schema_timestamp)
        rules = rules_of(meta.schema, self._topology.limits)
        auto_ids = self._auto_ids(meta, request.rows) if rules.needs_ids(request.rows, upsert=False) else None
        rows = rules.check(request.rows, upsert=False, auto_ids=auto_ids)
        return self._write(meta, rows, self._partition(meta, request.partition))

    def upsert(self, request: rq.Upsert) -> Future[rs.Result]:
        if request.partial:
            raise Unimplemented("partial_update is not built in this version: send all fields of the rows")
        meta = self._root.find(request.database, request.collection)
        self._check_schema_age(meta, request.schema_timestamp)
        rules = rules_of(meta.schema, self._topology.limits)
        rows = rules.check(request.rows, upsert=True, auto_ids=None)
        return self._write(meta, rows, self._partition(meta, request.partition))

    @staticmethod
    def _check_schema_age(meta: CollectionMeta, schema_timestamp: int) -> None:
        if 0 < schema_timestamp < meta.update_timestamp:
            raise SchemaMismatch.named(meta.name)

    def _auto_ids(self, meta: CollectionMeta, rows: pa.RecordBatch) -> pa.Array:
        first = self._root.oracle.allocate_ids(max(rows.num_rows, 1))
        ids = pa.array(np.arange(first, first + rows.num_rows))
        return ids if pa.types.is_integer(arrow_type(meta.schema.primary)) else ids.cast(pa.string())

    @staticmethod
    def _partition(meta: CollectionMeta, name: str) -> int | None:
        if meta.has_partition_key:
            if name:
                raise InvalidParameter(
                    "not support manually specifying the partition names if partition key mode is used"
                )
            return None
        return meta.need_partition(name or DEFAULT_PARTITION).partition_id

    def _write(self, meta: CollectionMeta, rows: pa.RecordBatch, partition_id: int | None) -> Future[rs.Result]:
        shards = self._topology.shards(meta)
        ids = rows.column(meta.schema.primary.name)
        writes: list[Future[int]] = []
        timestamp = 0
        touched: list[Shard] = []
        for number, partition, piece in pieces(meta, rows, partition_id):
            stamp, future = shards[number].insert(partition, piece, self._allocate)
            timestamp = max(timestamp, stamp)
            writes.append(future)
            touched.append(shards[number])

        def answer() -> rs.Result:
            for shard in touched:
                self._topology.owner(shard.channel).seal_if_full(shard)
            return rs.Mutation(ids=ids, count=len(ids), timestamp=timestamp)

        return when_all(self._topology.env.tasks, writes, answer)

    def delete(self, request: rq.Delete) -> Future[rs.Result]:
        meta = self._root.find(request.database, request.collection)
        condition = compile_filter(request.filter, meta.schema, request.filter_params, purpose="delete")
        if condition.always_true:
            raise InvalidParameter(f"delete plan can't be empty or always true : {request.filter}")
        if request.partition:
            meta.need_partition(request.partition)
        key_type = arrow_type(meta.schema.primary)
        if condition.primary_keys is not None and not request.partition:
            keys = pa.array(condition.primary_keys, key_type)
        else:
            keys = self._matching_keys(meta, condition, request.partition)
        count = len(keys)
        shards = self._topology.shards(meta)
        writes = []
        timestamp = 0
        for number, some in shard_keys(meta, keys):
            timestamp, future = shards[number].delete(some, self._allocate)
            writes.append(future)
        if not writes:
            return self._done(rs.Mutation(ids=pa.array([], key_type), count=0, timestamp=self._allocate()))
        stamp = timestamp
        return when_all(
            self._topology.env.tasks,
            writes,
            lambda: rs.Mutation(ids=pa.array([], key_type), count=count, timestamp=stamp),
        )

    def _done(self, result: rs.Result) -> Future[rs.Result]:
        future: Future[rs.Result] = self._topology.env.tasks.future()
        future.set_result(result)
        return future

    def _matching_keys(self, meta: CollectionMeta, condition: Filter, partition: str) -> pa.Array:
        if self._topology.loads.entry(meta.collection_id) is None:
            raise CollectionNotLoaded.named(meta.name)
        within = frozenset([meta.need_partition(partition).partition_id]) if partition else None
        plan = QueryPlan(
            collection_id=meta.collection_id,
            schema=meta.schema,
            filter=condition,
            partitions=within,
            limit=None,
            columns=(meta.schema.primary.name,),
        )
        partials = [p for shard in self._topology.shards(meta) for p in shard.query(plan)[1]]
        if not partials:
            return pa.array([], arrow_type(meta.schema.primary))
        return merge_rows(partials, plan).ids

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
