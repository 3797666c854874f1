"""Search and query: from names and text to a plan (kept for the next equal request), from nodes' answers to one."""

from __future__ import annotations

from typing import Any

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
from redkite.model.types import Metric
from redkite.node.topology import Topology
from redkite.proxy.rules.index_rules import check_search_params
from redkite.proxy.rules.read_rules import (
    check_metric,
    check_queries,
    check_query_window,
    check_round_decimal,
    check_search_window,
    choose_partitions,
    choose_vector_field,
    expand_output_fields,
    is_count,
)
from redkite.query.plan import QueryPartial, QueryPlan, SearchPartial, SearchPlan
from redkite.query.reduce import empty_hits, empty_rows, merge_hits, merge_rows

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


class Reads:
    """Answers in the caller's thread. Plans are kept by the text of the request and the identity of the schema."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._root = topology.root
        self._limits = topology.limits
        self._plans: dict[tuple[Any, ...], _Planned] = {}
        self._filters: dict[tuple[int, str], tuple[CollectionSchema, Filter]] = {}

    def forget_plans(self) -> None:
        """Called when indexes or load states change."""
        self._plans = {}

    # -- search ---------------------------------------------------------------------------------
    def search(self, request: rq.Search) -> rs.Hits:
        planned = self._planned(request)
        meta, plan = planned.meta, planned.plan
        check_queries(planned.field, request.queries)
        queries = request.queries.vectors
        assert queries is not None
        timestamp = 0
        partials: list[SearchPartial] = []
        for shard in self._topology.shards(meta):
            stamp, answers = shard.search(plan, queries)
            timestamp = max(timestamp, stamp)
            partials += answers
        merged = merge_hits(partials, plan) if partials else empty_hits(plan, len(queries))
        if request.offset:
            merged = _skip(merged, request.offset)
        scores = merged.scores if request.round_decimal < 0 else np.round(merged.scores, request.round_decimal)
        return rs.Hits(
            topks=merged.topks,
            ids=merged.ids,
            scores=scores,
            rows=typed_rows(merged.rows, plan.schema) if planned.ambiguous else merged.rows,
            output_fields=planned.shown,
            primary_field=planned.primary,
            collection=request.collection,
            session_timestamp=timestamp,
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
        return _Planned(meta, plan, field, shown, meta.schema.primary.name, needs_types(meta.schema, columns))

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
            condition = compile_filter(text, meta.schema, params)
            return None if condition.always_true else condition
        known = self._filters.get((meta.collection_id, text))
        if known is None or known[0] is not meta.schema:
            if len(self._filters) >= MAX_PLANS:
                self._filters = {}
            known = (meta.schema, compile_filter(text, meta.schema, limits=self._limits))
            self._filters[meta.collection_id, text] = known
        return None if known[1].always_true else known[1]

    # -- query ----------------------------------------------------------------------------------
    def query(self, request: rq.Query) -> rs.Rows:
        meta = self._root.find(request.database, request.collection)
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
        timestamp = 0
        partials: list[QueryPartial] = []
        for shard in self._topology.shards(meta):
            stamp, answers = shard.query(plan)
            timestamp = max(timestamp, stamp)
            partials += answers
        if count:
            total = sum(p.count for p in partials)
            rows = pa.RecordBatch.from_arrays([pa.array([total], pa.int64())], ["count(*)"])
            shown = ("count(*)",)
        else:
            rows = typed_rows(_merged_rows(partials, plan).slice(request.offset), meta.schema)
        return rs.Rows(
            rows=rows,
            output_fields=shown,
            primary_field=meta.schema.primary.name,
            collection=request.collection,
            session_timestamp=timestamp,
        )

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
