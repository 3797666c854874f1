"""Search and query: from names and text to a plan (kept for the next equal request), from nodes' answers to one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from redkite.coordinator.meta import CollectionMeta
from redkite.errors import CollectionNotLoaded, IndexNotFound, PartitionNotLoaded
from redkite.filter import Filter, compile_filter
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.batch import needs_types, numbers_to_arrow, typed_rows
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import ConsistencyLevel, Metric
from redkite.node.shard import Shard
from redkite.node.topology import Topology
from redkite.proxy.pages import Pages
from redkite.proxy.rules.index_rules import check_search_params
from redkite.proxy.rules.read_rules import (
    check_as_of,
    check_guarantee,
    check_metric,
    check_page,
    check_queries,
    check_query_window,
    check_round_decimal,
    check_same_collection,
    check_search_window,
    choose_partitions,
    choose_vector_field,
    expand_output_fields,
    is_count,
)
from redkite.proxy.times import TimeView, time_view
from redkite.query.plan import QueryPartial, QueryPlan, SearchPartial, SearchPlan
from redkite.query.reduce import empty_hits, empty_rows, merge_hits, merge_rows
from redkite.segment.expiry import expires, expiry_at

P = TypeVar("P", SearchPlan, QueryPlan)

MAX_PLANS = 1024
QUICK_FLOATS = 4_000_000
"""Reads that compare less than this many numbers take well under a millisecond."""


class _Planned(msgspec.Struct, frozen=True):
    meta: CollectionMeta
    plan: SearchPlan
    field: FieldSchema
    shown: tuple[str, ...]
    primary: str
    ambiguous: bool
    """Whether the rows have to say their Milvus types."""
    times: TimeView | None


class Reads:
    """Answers in the caller's thread. Plans are kept by the text of the request and the identity of the schema."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._root = topology.root
        self._limits = topology.limits
        self._plans: dict[tuple[Any, ...], _Planned] = {}
        self._pages = Pages(topology.env)
        self._filters: dict[tuple[int, str, tzinfo], tuple[CollectionSchema, Filter]] = {}

    def forget_plans(self) -> None:
        """Called when indexes or load states change."""
        self._plans = {}

    # -- search ---------------------------------------------------------------------------------
    def search(self, request: rq.Search) -> rs.Hits:
        planned = self._planned(request)
        meta = planned.meta
        check_same_collection(meta, request.collection_id)
        plan = self._expiring(planned.plan, meta, request.as_of)
        if request.page is not None:
            check_page(request)
            plan = msgspec.structs.replace(plan, after=self._pages.start(request.page))
        check_queries(planned.field, request.queries)
        queries = request.queries.vectors
        assert queries is not None
        shards = self._topology.shards(meta)
        moment = self._moment(meta, shards, request)
        timestamp = 0
        partials: list[SearchPartial] = []
        for shard in shards:
            stamp, answers = shard.search(plan, queries, moment)
            timestamp = max(timestamp, stamp)
            partials += answers
        merged = merge_hits(partials, plan) if partials else empty_hits(plan, len(queries))
        if request.offset:
            merged = _skip(merged, request.offset)
        scores = merged.scores if request.round_decimal < 0 else np.round(merged.scores, request.round_decimal)
        rows = typed_rows(merged.rows, plan.schema) if planned.ambiguous else merged.rows
        return rs.Hits(
            topks=merged.topks,
            ids=merged.ids,
            scores=scores,
            rows=rows if planned.times is None else planned.times.show(rows),
            output_fields=planned.shown,
            primary_field=planned.primary,
            collection=request.collection,
            session_timestamp=timestamp,
            page=None if request.page is None else self._pages.end(request.page, merged),
        )

    def _planned(self, request: rq.Search) -> _Planned:
        meta = self._root.find(request.database, request.collection)
        key: tuple[Any, ...] = (
            meta.collection_id,
            request.anns_field,
            request.filter,
            request.limit,
            request.offset,
            request.metric,
            request.output_fields,
            request.partitions,
            request.ignore_growing,
            request.round_decimal,
            request.queries.nq,
            request.timezone,
            request.time_fields,
            *request.params.items(),
        )
        if request.filter_params:
            return self._plan_search(meta, request)
        try:
            planned = self._plans.get(key)
        except TypeError:  # a parameter that is a list or dict
            return self._plan_search(meta, request)
        if planned is None or planned.meta is not meta:
            planned = self._plan_search(meta, request)
            if len(self._plans) >= MAX_PLANS:
                self._plans = {}
            self._plans[key] = planned
        return planned

    def _plan_search(self, meta: CollectionMeta, request: rq.Search) -> _Planned:
        partitions = self._partitions(meta, request.partitions)
        check_search_window(request.limit, request.offset, request.queries.nq, self._limits)
        check_round_decimal(request.round_decimal)
        field = choose_vector_field(meta.schema, request.anns_field)
        check_queries(field, request.queries)
        index = self._topology.data.index_of(meta.collection_id, field.name)
        if index is None:
            raise IndexNotFound.of_collection(meta.name)
        spec = index.spec
        metric = spec.metric or Metric.COSINE
        check_metric(request.metric, metric)
        limit = request.limit + request.offset
        columns, shown = expand_output_fields(meta.schema, request.output_fields)
        plan = SearchPlan(
            collection_id=meta.collection_id,
            schema=meta.schema,
            field=field.name,
            metric=metric,
            params=check_search_params(spec, request.params, limit),
            exact=spec.index_type == "FLAT",
            filter=self._condition(meta, request.filter, request.filter_params),
            partitions=partitions,
            limit=limit,
            columns=columns,
            ignore_growing=request.ignore_growing,
        )
        return _Planned(
            meta, plan, field, shown, meta.schema.primary.name, needs_types(meta.schema, columns),
            self._time_view(meta, columns, request),
        )  # fmt: skip

    def _partitions(self, meta: CollectionMeta, names: tuple[str, ...]) -> frozenset[int] | None:
        """The partitions to read; None when that is all of them."""
        entry = self._topology.loads.entry(meta.collection_id)
        if entry is None:
            raise CollectionNotLoaded.named(meta.name)
        wanted = choose_partitions(meta, names)
        if wanted is None:
            if entry.partitions is None:
                return None
            return self._topology.loads.loaded_partitions(meta.collection_id, (p.partition_id for p in meta.partitions))
        for partition in meta.partitions:
            if partition.partition_id in wanted and not entry.covers(partition.partition_id):
                raise PartitionNotLoaded.named(partition.name)
        return wanted

    def _condition(self, meta: CollectionMeta, text: str, params: dict[str, Any]) -> Filter | None:
        """The compiled filter, None when every row passes; kept by its text."""
        if not text:
            return None
        if params:
            condition = compile_filter(text, meta.schema, params, zone=self._root.zone_of(meta))
            return None if condition.always_true else condition
        zone = self._root.zone_of(meta)
        known = self._filters.get((meta.collection_id, text, zone))
        if known is None or known[0] is not meta.schema:
            if len(self._filters) >= MAX_PLANS:
                self._filters = {}
            known = (meta.schema, compile_filter(text, meta.schema, limits=self._limits, zone=zone))
            self._filters[meta.collection_id, text, zone] = known
        return None if known[1].always_true else known[1]

    # -- query ----------------------------------------------------------------------------------
    def query(self, request: rq.Query) -> rs.Rows:
        meta = self._root.find(request.database, request.collection)
        check_same_collection(meta, request.collection_id)
        partitions = self._partitions(meta, request.partitions)
        condition = self._condition(meta, request.filter, request.filter_params)
        count = is_count(request.output_fields)
        check_query_window(request.filter, request.limit, request.offset, count=count, limits=self._limits)
        names = () if count else request.output_fields
        columns, shown = expand_output_fields(meta.schema, names, with_primary=True)
        plan = QueryPlan(
            collection_id=meta.collection_id,
            schema=meta.schema,
            filter=condition,
            partitions=partitions,
            limit=None if request.limit is None else request.limit + request.offset,
            columns=columns,
            count=count,
            ignore_growing=request.ignore_growing,
        )
        plan = self._expiring(plan, meta, request.as_of)
        times = self._time_view(meta, columns, request)
        shards = self._topology.shards(meta)
        moment = self._moment(meta, shards, request)
        timestamp = 0
        partials: list[QueryPartial] = []
        for shard in shards:
            stamp, answers = shard.query(plan, moment)
            timestamp = max(timestamp, stamp)
            partials += answers
        if count:
            total = sum(p.count for p in partials)
            rows = pa.RecordBatch.from_arrays([pa.array([total], pa.int64())], ["count(*)"])
            shown = ("count(*)",)
        else:
            rows = typed_rows(_merged_rows(partials, plan).slice(request.offset), meta.schema)
            rows = rows if times is None else times.show(rows)
        return rs.Rows(
            rows=rows,
            output_fields=shown,
            primary_field=meta.schema.primary.name,
            collection=request.collection,
            session_timestamp=timestamp,
        )

    def rows_now(
        self,
        meta: CollectionMeta,
        shards: Sequence[Shard],
        condition: Filter,
        columns: tuple[str, ...],
        within: frozenset[int] | None = None,
    ) -> pa.RecordBatch:
        """The rows that pass, as writes need them: of all partitions or those `within`, which must be loaded."""
        entry = self._topology.loads.entry(meta.collection_id)
        if entry is None:
            raise CollectionNotLoaded.named(meta.name)
        for partition in meta.partitions:
            if (within is None or partition.partition_id in within) and not entry.covers(partition.partition_id):
                raise PartitionNotLoaded.named(partition.name)
        plan = QueryPlan(
            collection_id=meta.collection_id,
            schema=meta.schema,
            filter=condition,
            partitions=within,
            limit=None,
            columns=columns,
            expiry=expiry_at(meta.properties, self._root.oracle.now()),
        )
        return _merged_rows([p for shard in shards for p in shard.query(plan)[1]], plan)

    # -- time -----------------------------------------------------------------------------------
    def _expiring(self, plan: P, meta: CollectionMeta, as_of: int) -> P:
        """The plan with what has expired at the moment it reads."""
        if not expires(meta.properties):
            return plan
        expiry = expiry_at(meta.properties, as_of or self._root.oracle.now())
        return msgspec.structs.replace(plan, expiry=expiry)

    def _time_view(
        self, meta: CollectionMeta, columns: tuple[str, ...], request: rq.Search | rq.Query
    ) -> TimeView | None:
        return time_view(meta.schema, columns, self._root.zone_of(meta), request.timezone, request.time_fields)

    def _moment(self, meta: CollectionMeta, shards: Sequence[Shard], request: rq.Search | rq.Query) -> int | None:
        """The timestamp that all shards are read at; None: a lone shard's own newest."""
        now = self._root.oracle.now()
        if request.as_of:
            check_as_of(meta, request.as_of, now)
            for shard in shards:
                shard.settle()
            return request.as_of
        check_guarantee(request.guarantee_timestamp, now)
        if all(shard.is_settled for shard in shards):
            return now
        if len(shards) == 1:
            return None
        level = meta.consistency_level if request.consistency_level is None else request.consistency_level
        if level is ConsistencyLevel.Eventually:
            return min(now if shard.is_settled else shard.view.timestamp for shard in shards)
        # One of these writes may have its place before one that this reader knows of.
        for shard in shards:
            shard.settle()
        return now

    # -- cost -----------------------------------------------------------------------------------
    def is_quick(self, request: rq.Search | rq.Query) -> bool:
        """Whether an event loop may run it: everything is open, and little has to be compared."""
        meta = self._root.find(request.database, request.collection)
        shards = self._topology.open_shards(meta)
        if len(shards) < meta.shards:
            return False
        if isinstance(request, rq.Query):
            return sum(shard.row_slots for shard in shards) <= QUICK_FLOATS // 8
        nq, vectors = request.queries.nq, request.queries.vectors
        dim = 1 if vectors is None else vectors.shape[1]
        compared = sum(shard.unindexed_rows() for shard in shards) * dim * nq
        if request.filter:
            compared += sum(shard.row_slots for shard in shards) * 4
        return compared <= QUICK_FLOATS and nq <= 16


def _skip(partial: SearchPartial, offset: int) -> SearchPartial:
    """Without the first `offset` hits of each query."""
    topks = partial.topks
    starts = np.cumsum(topks) - topks
    within = np.arange(len(partial.scores)) - np.repeat(starts, topks)
    kept = np.flatnonzero(within >= offset)
    wanted = numbers_to_arrow(kept)
    rows = partial.rows.take(wanted) if partial.rows.num_columns else partial.rows.slice(0, len(kept))
    return SearchPartial(np.maximum(topks - offset, 0), partial.ids.take(wanted), partial.scores[kept], rows)


def _merged_rows(partials: list[QueryPartial], plan: QueryPlan) -> pa.RecordBatch:
    rows = merge_rows(partials, plan).rows if partials else None
    return empty_rows(plan.schema, plan.columns) if rows is None else rows
