"""Search and query: a plan is carried out, and nodes' answers made one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from redkite.coordinator.meta import CollectionMeta
from redkite.errors import FieldNotFound, InvalidParameter
from redkite.filter import Filter, match_calls
from redkite.functions.registry import Functions
from redkite.index.base import Queries
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.batch import numbers_to_arrow, typed_rows
from redkite.model.reach import reach_of_all, shorter
from redkite.model.schema import FieldSchema
from redkite.node.face import ShardFace, query_all
from redkite.node.topology import Topology
from redkite.proxy.explaining import Stopwatch, measured
from redkite.proxy.kinds import (
    PLAIN,
    Asked,
    arranged,
    bucketed,
    compares_all,
    gathered,
    keys_filter,
    queries_of,
    shown_groups,
    stored_queries,
    with_offsets,
)
from redkite.proxy.lapses import shards_to_read
from redkite.proxy.pages import Pages
from redkite.proxy.plans import Planned, Plans
from redkite.proxy.query_kinds import aggregate_plan, aggregated, hidden_columns, ordered_rows, query_order
from redkite.proxy.routing import holding_partitions
from redkite.proxy.rules.query_vectors import comparable
from redkite.proxy.rules.read_rules import (
    check_guarantee,
    check_page,
    check_query_window,
    check_same_collection,
    expand_output_fields,
    is_count,
)
from redkite.proxy.rules.text_rules import check_no_stored_words, is_text, takes_text, words_of
from redkite.proxy.tuner import EFFORTS, LiveQueries, Tuner
from redkite.proxy.visible import check_loaded
from redkite.query.plan import QueryPartial, QueryPlan, SearchPartial, SearchPlan
from redkite.query.reduce import empty_rows, merge_rows
from redkite.segment.expiry import expiry_at

QUICK_FLOATS = 4_000_000
"""Reads that compare less than this many numbers take well under a millisecond."""


class Reads(Plans):
    """Answers in the caller's thread."""

    def __init__(self, topology: Topology, functions: Functions) -> None:
        super().__init__(topology, functions)
        self.pages = Pages(topology.env)
        self.live = LiveQueries()
        self._tuner = Tuner(self.live)

    # -- search ---------------------------------------------------------------------------------
    def search(self, request: rq.Search) -> rs.Hits:
        watch = Stopwatch(self._topology) if request.tuning is not None else None
        planned = self.planned(request)
        hits = self.straight(request, request.queries, planned) if planned.lone is not None else None
        if hits is not None:
            return hits
        meta = planned.meta
        check_same_collection(meta, request.collection_id)
        plan = self.expiring(planned.plan, meta, request.as_of)
        if request.page is not None:
            check_page(request)
            plan = msgspec.structs.replace(plan, after=self.pages.start(request.page))
        shards = shards_to_read(self._topology, meta, request)
        moment = self.moment(meta, shards, request)
        queries = comparable(planned.field, self.vectors_of(meta, planned.field, request, shards, moment))
        self.live.saw((plan.collection_id, plan.field), queries)
        asked = Asked(shards, moment)
        if watch is None or request.tuning is None:
            return self.hits(request, planned, plan, asked, queries)
        if request.tuning.recall and not plan.exact:
            plan = self.tuned(plan, request, planned, asked)
        watch.planned()
        hits = self.hits(request, planned, plan, asked, queries)
        if not plan.explain:
            return hits

        def again(other: SearchPlan) -> rs.Hits:
            plain = msgspec.structs.replace(request, round_decimal=-1)
            return self.hits(plain, planned, other, Asked(shards, asked.timestamp), queries)

        index = self._topology.data.index_of(meta.collection_id, plan.field)
        told = watch.explanation(
            "search", meta.name, [plan], asked.reports, len(shards), "" if index is None else index.spec.index_type,
            request.filter, statistics=asked.statistics,
        )  # fmt: skip
        recalls = measured(again, plan, comparable=planned.kind == PLAIN)
        return msgspec.structs.replace(
            hits, recalls=recalls, explanation=msgspec.structs.replace(told, recalls=recalls)
        )

    def straight(self, request: rq.Search, asked: rq.Queries, planned: Planned) -> rs.Hits | None:
        """The answer of a plain search where one segment's index is all that has to be asked; None elsewhere."""
        shard = planned.lone
        if shard is None or request.as_of or request.page or request.collection_id:
            return None
        words = planned.words if is_text(asked) else None
        if words is None and (asked.vectors is None or planned.plan.scoring is not None):
            return None
        now = self._root.oracle.now()
        if request.guarantee_timestamp:
            check_guarantee(request.guarantee_timestamp, now)
        loaded = self._topology.loads.entry(planned.plan.collection_id)
        way = shard.view.straight(planned.plan, loaded) if shard.is_settled else None
        if way is None:
            return None
        given = asked if words is None else words_of(words, asked, request.params)
        taken: Any = way.taken(given)
        queries = comparable(planned.field, given) if taken is None else taken
        found = way.search(queries, now)
        if found is None:
            return None
        self.live.saw((planned.plan.collection_id, planned.plan.field), queries)
        return self._shown(request, planned, found, now)

    def tuned(self, plan: SearchPlan, request: rq.Search, planned: Planned, asked: Asked) -> SearchPlan:
        """The plan with the effort that finds the wanted part of the neighbours."""
        index = self._topology.data.index_of(plan.collection_id, plan.field)
        assert index is not None and request.tuning is not None, "it was planned"
        for key in EFFORTS & request.params.keys():
            raise InvalidParameter(f"recall and {key} cannot be given together: either says how far the index looks")
        shards = self._topology.shards(planned.meta)

        def search(other: SearchPlan, queries: Queries) -> rs.Hits:
            plain = msgspec.structs.replace(request, round_decimal=-1, offset=0)
            return self.hits(plain, planned, other, Asked(shards, None), queries)

        rows = sum(shard.row_slots - shard.unindexed_rows() for shard in shards)
        params = self._tuner.params(
            plan, index, request.tuning.recall, rows, search, lambda count: self.between(planned, asked, count, rows)
        )
        if params is None:
            return msgspec.structs.replace(plan, exact=True, params={})
        return msgspec.structs.replace(plan, params=params)

    def between(self, planned: Planned, asked: Asked, count: int, rows: int) -> Queries | None:
        """Queries made of stored vectors: for dense ones points between two; None when there are no rows."""
        meta, field = planned.meta, planned.field
        share = min(0.999, 4 * count / max(rows, 1))
        plan = QueryPlan(
            collection_id=meta.collection_id,
            schema=meta.schema,
            filter=self.condition(meta, f"random_sample({share:.12f})", {}),
            partitions=planned.plan.partitions,
            limit=2 * count,
            columns=(field.name,),
        )
        column = asked.query(plan).column(0).drop_null()
        if len(column) < 2:
            return None
        vectors = comparable(field, queries_of(field, column))
        if isinstance(vectors, np.ndarray) and vectors.dtype == np.float32:
            return np.ascontiguousarray((0.9 * vectors + 0.1 * np.roll(vectors, 1, axis=0))[:count], np.float32)
        return vectors[np.arange(min(count, len(vectors)))]

    def hits(self, request: rq.Search, planned: Planned, plan: SearchPlan, asked: Asked, queries: Queries) -> rs.Hits:
        """Ask, merge, and put the answer together."""
        merged = arranged(gathered(plan, queries, asked, self.counts.times), plan, planned.kind, request.offset)
        if planned.kind.buckets is not None:
            return bucketed(merged, planned.kind.buckets, request, planned.primary, asked)
        hits = self._shown(request, planned, merged, asked.timestamp)
        if plan.elements:
            hits = with_offsets(hits)
        if asked.reach is not None:
            hits = msgspec.structs.replace(hits, reach=asked.reach)
        if request.page is None and plan.grouping is None:
            return hits
        page = None if request.page is None else self.pages.end(request.page, merged)
        groups = None if plan.grouping is None else shown_groups(merged, plan)
        return msgspec.structs.replace(hits, page=page, groups=groups)

    @staticmethod
    def _shown(request: rq.Search, planned: Planned, found: SearchPartial, timestamp: int) -> rs.Hits:
        """Hits as they were asked for."""
        rows = typed_rows(found.rows, planned.plan.schema) if planned.ambiguous else found.rows
        return rs.Hits(
            topks=found.topks,
            keys=found.keys,
            scores=found.scores if request.round_decimal < 0 else np.round(found.scores, request.round_decimal),
            rows=rows if planned.times is None else planned.times.show(rows),
            output_fields=planned.shown,
            primary_field=planned.primary,
            collection=request.collection,
            session_timestamp=timestamp,
        )

    def _given(self, meta: CollectionMeta, field: FieldSchema, request: rq.Search) -> rq.Queries:
        """The query vectors, which may have to be made of texts."""
        if not takes_text(meta.schema, field, request.queries):
            return request.queries
        return words_of(self._functions.of(meta.schema)[field.name], request.queries, request.params)

    def vectors_of(
        self,
        meta: CollectionMeta,
        field: FieldSchema,
        request: rq.Search,
        shards: Sequence[ShardFace],
        moment: int | None,
    ) -> rq.Queries:
        """The query vectors, which may be those of stored rows."""
        ids = request.queries.ids
        if ids is None:
            return self._given(meta, field, request)
        check_no_stored_words(meta.schema, field)
        primary = meta.schema.primary.name
        plan = QueryPlan(
            collection_id=meta.collection_id,
            schema=meta.schema,
            filter=self.condition(meta, *keys_filter(meta.schema, ids)),
            partitions=self._partitions(meta, ()),
            limit=None,
            columns=(primary, field.name),
            whole=True,
        )
        plan = self.expiring(plan, meta, request.as_of)
        rows = _merged_rows([p for _, answers in query_all(shards, plan, moment) for p in answers], plan)
        return stored_queries(field, primary, ids, rows)

    # -- query ----------------------------------------------------------------------------------
    def query(self, request: rq.Query) -> rs.Rows:
        meta = self._visible.of(self._root.find(request.database, request.collection))
        try:
            return self._query(meta, request)
        except (InvalidParameter, FieldNotFound) as error:
            raise self._visible.told(meta, error) from None

    def _query(self, meta: CollectionMeta, request: rq.Query) -> rs.Rows:
        watch = Stopwatch(self._topology) if request.explain else None
        check_same_collection(meta, request.collection_id)
        partitions = self._partitions(meta, request.partitions)
        condition = self.condition(meta, request.filter, request.filter_params)
        aggregates = aggregate_plan(meta.schema, request, self._limits)
        count = aggregates is None and is_count(request.output_fields)
        if aggregates is None or aggregates.keys or request.limit is not None or request.offset:
            check_query_window(request.filter, request.limit, request.offset, count=count, limits=self._limits)
        names = () if count or aggregates is not None else request.output_fields
        columns, shown = expand_output_fields(meta.schema, names, with_primary=aggregates is None)
        order = query_order(meta.schema, request, self._limits) if aggregates is None else ()
        hidden = hidden_columns(order, columns)
        plan = QueryPlan(
            collection_id=meta.collection_id,
            schema=meta.schema,
            filter=condition,
            partitions=holding_partitions(meta, condition, partitions),
            limit=None if request.limit is None else request.limit + request.offset,
            columns=columns + hidden,
            count=count,
            ignore_growing=request.ignore_growing,
            order=order,
            aggregates=aggregates,
            explain=request.explain,
        )
        plan = self.expiring(plan, meta, request.as_of)
        times = self.times_of(meta, columns, request)
        shards = shards_to_read(self._topology, meta, request)
        moment = self.moment(meta, shards, request)
        if watch is not None:
            watch.planned()
        timestamp = 0
        partials: list[QueryPartial] = []
        for stamp, answers in self.counts.queried(lambda: query_all(shards, plan, moment)):
            timestamp = max(timestamp, stamp)
            partials += answers
        if count:
            total = sum(p.count for p in partials)
            rows = pa.RecordBatch.from_arrays([numbers_to_arrow(np.array([total]))], ["count(*)"])
            shown = ("count(*)",)
        elif aggregates is not None:
            rows = aggregated(partials, aggregates, meta.schema, request, self._root.zone_of(meta))
            shown = tuple(rows.schema.names)
        else:
            rows = typed_rows(ordered_rows(partials, plan, hidden, request.offset), meta.schema)
            rows = rows if times is None else times.show(rows)
        return rs.Rows(
            rows=rows,
            output_fields=shown,
            primary_field=meta.schema.primary.name,
            collection=request.collection,
            session_timestamp=timestamp,
            reach=shorter(None, reach_of_all(part.reach for part in partials)),
            explanation=None
            if watch is None
            else watch.explanation(
                "query", meta.name, [plan], [r for p in partials for r in p.reports], len(shards), text=request.filter
            ),
        )

    def rows_now(
        self,
        meta: CollectionMeta,
        shards: Sequence[ShardFace],
        condition: Filter,
        columns: tuple[str, ...],
        within: frozenset[int] | None = None,
        limit: int | None = None,
    ) -> pa.RecordBatch:
        """The rows that pass, as writes need them: of all partitions or those `within`, which must be loaded. `limit`:
        so many, of the smallest keys."""
        entry, late = self._loaded(meta)
        check_loaded(meta, entry, late, within)
        plan = QueryPlan(
            collection_id=meta.collection_id,
            schema=meta.schema,
            filter=condition,
            partitions=holding_partitions(meta, condition, within),
            limit=limit,
            columns=columns,
            expiry=expiry_at(meta.properties, self._root.oracle.now()),
            whole=True,
        )
        return _merged_rows([p for _, answers in query_all(shards, plan, None) for p in answers], plan)

    # -- cost -----------------------------------------------------------------------------------
    def is_quick(self, request: rq.Search | rq.Query) -> bool:
        """Whether an event loop may run it: everything is open, and little has to be compared."""
        meta = self._root.find(request.database, request.collection)
        shards = self._topology.open_shards(meta)
        if len(shards) < meta.shards:
            return False
        if request.filter and not match_calls.is_quick(request.filter, sum(shard.row_slots for shard in shards)):
            return False
        if isinstance(request, rq.Query):
            most = QUICK_FLOATS // (64 if request.order_by or request.group_by else 8)
            return sum(shard.row_slots for shard in shards) <= most
        nq, queries = request.queries.nq, request.queries
        if compares_all(request) or queries.ids is not None:
            return nq == 1 and sum(shard.row_slots for shard in shards) <= QUICK_FLOATS // 1024
        if is_text(queries):
            size = sum(map(len, queries.raw))
            if not self._functions.is_quick(meta.schema, size, request.anns_field):
                return False
        dim = len(b"".join(queries.raw[:1])) if queries.vectors is None else queries.vectors.shape[1]
        compared = sum([shard.unindexed_rows() for shard in shards]) * dim * nq
        if request.filter:
            compared += sum(shard.row_slots for shard in shards) * 4
        return compared <= QUICK_FLOATS and nq <= 16


def _merged_rows(partials: list[QueryPartial], plan: QueryPlan) -> pa.RecordBatch:
    rows = merge_rows(partials, plan).rows if partials else None
    return empty_rows(plan.schema, plan.columns) if rows is None else rows
