"""Search and query: from names and text to a plan (kept for the next equal request), from nodes' answers to one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from redkite.coordinator.meta import CollectionMeta
from redkite.errors import (
    CollectionNotFullyLoaded,
    CollectionNotLoaded,
    FieldNotFound,
    IndexNotFound,
    InvalidParameter,
)
from redkite.filter import Filter, match_calls
from redkite.functions.base import FieldFunction
from redkite.functions.registry import Functions
from redkite.index.base import Queries
from redkite.index.registry import needs_build
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.batch import needs_types, numbers_to_arrow, typed_rows
from redkite.model.reach import reach_of_all, shorter
from redkite.model.schema import OFFSET_FIELD, FieldSchema
from redkite.model.types import ConsistencyLevel, Metric
from redkite.node.face import ShardFace, moment_of_all, newest_of_all, query_all, time_of_all
from redkite.node.shard import Shard
from redkite.node.topology import Topology
from redkite.proxy.conditions import Conditions
from redkite.proxy.explaining import Stopwatch, measured
from redkite.proxy.kinds import (
    PLAIN,
    Asked,
    Kind,
    arranged,
    bucketed,
    compares_all,
    gathered,
    keys_filter,
    kind_of,
    queries_of,
    shown_groups,
    stored_queries,
    with_kind,
    with_offsets,
)
from redkite.proxy.lapses import shards_to_read
from redkite.proxy.pages import Pages
from redkite.proxy.query_kinds import aggregate_plan, aggregated, hidden_columns, ordered_rows, query_order
from redkite.proxy.read_counts import ReadCounts
from redkite.proxy.routing import holding_partitions, searched_partitions
from redkite.proxy.rules.kind_rules import check_kinds, check_struct_kinds, split_range
from redkite.proxy.rules.query_vectors import check_queries, comparable, is_element, searched_field
from redkite.proxy.rules.read_rules import (
    check_as_of,
    check_guarantee,
    check_metric,
    check_page,
    check_query_window,
    check_round_decimal,
    check_same_collection,
    check_search_window,
    choose_partitions,
    choose_vector_field,
    expand_output_fields,
    is_count,
    is_far_ahead,
)
from redkite.proxy.rules.search_rules import check_search_params
from redkite.proxy.rules.text_rules import (
    check_no_stored_words,
    is_text,
    scoring_of,
    split_analyzer,
    takes_text,
    words_of,
)
from redkite.proxy.times import TimeView, time_view
from redkite.proxy.tuner import EFFORTS, LiveQueries, Tuner
from redkite.proxy.visible import Visible, check_loaded
from redkite.query.plan import QueryPartial, QueryPlan, SearchPartial, SearchPlan
from redkite.query.reduce import empty_rows, merge_rows
from redkite.query.straight import is_plain
from redkite.segment.expiry import expires, expiry_at

P = TypeVar("P", SearchPlan, QueryPlan)

MAX_PLANS = 1024
QUICK_FLOATS = 4_000_000
"""Reads that compare less than this many numbers take well under a millisecond."""


class Planned(msgspec.Struct, frozen=True):
    meta: CollectionMeta
    plan: SearchPlan
    field: FieldSchema
    shown: tuple[str, ...]
    primary: str
    ambiguous: bool
    """Whether the rows have to say their Milvus types."""
    times: TimeView | None
    kind: Kind = PLAIN
    lone: Shard | None = None
    """Of a plain search, which may go the straight way: the only shard."""
    words: FieldFunction | None = None
    """What reads the texts of a search in a field that a function fills."""


class Reads:
    """Answers in the caller's thread. Plans are kept by the text of the request and the identity of the schema."""

    def __init__(self, topology: Topology, functions: Functions) -> None:
        self._topology = topology
        self._functions = functions
        self._root = topology.root
        self._limits = topology.limits
        self.plans: dict[tuple[Any, ...], Planned] = {}  # another one when indexes or load states change
        self._visible = Visible(topology.root, topology.loads)
        self.pages = Pages(topology.env)
        self.live = LiveQueries()
        self._tuner = Tuner(self.live)
        self.conditions = Conditions(topology)
        self.counts = ReadCounts(topology)

    def forget_plans(self) -> None:
        """Called when indexes or load states change."""
        self.plans = {}

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

    def planned(self, request: rq.Search) -> Planned:
        meta = self._visible.of(self._root.find(request.database, request.collection))
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
            request.in_order,
            request.hints,
            request.tuning,
            request.grouping,
            request.order_by,
            request.aggregation,
            request.page is None,
            request.function_score is None and not request.function_chains,
            *request.params.items(),
        )
        if request.filter_params:
            return self._plan_search(meta, request)
        plans = self.plans  # taken now: a plan that is made while something changes is forgotten with those before it
        try:
            planned = plans.get(key)
        except TypeError:  # a parameter that is a list or dict
            return self._plan_search(meta, request)
        self.counts.plans += 1
        if planned is None or planned.meta is not meta:
            planned = self.counts.planned(lambda: self._plan_search(meta, request))
            if len(plans) >= MAX_PLANS:
                plans.clear()
            plans[key] = planned
        return planned

    def _plan_search(self, meta: CollectionMeta, request: rq.Search) -> Planned:
        try:
            return self._plan_visible(meta, request)
        except (InvalidParameter, FieldNotFound) as error:
            raise self._visible.told(meta, error) from None

    def _plan_visible(self, meta: CollectionMeta, request: rq.Search) -> Planned:
        partitions = self._partitions(meta, request.partitions)
        check_search_window(request.limit, request.offset, request.queries.nq, self._limits)
        check_round_decimal(request.round_decimal)
        field = choose_vector_field(meta.schema, request.anns_field)
        text = takes_text(meta.schema, field, request.queries)
        if request.queries.ids is None and not field.struct_name and not text:
            check_queries(field, request.queries)
        check_kinds(request, field)
        index = self._topology.data.index_of(meta.collection_id, field.name)
        if index is None:
            raise IndexNotFound.of_collection(meta.name)
        spec = index.spec
        metric = spec.metric or Metric.COSINE
        check_metric(request.metric, metric)
        field = searched_field(field, metric, request.queries)
        elements = is_element(field)
        if field.struct_name:
            check_struct_kinds(request, field, meta.schema)
        limit = request.limit + request.offset
        analyzer, params = split_analyzer(request.params)
        if analyzer and not text:
            raise InvalidParameter(f"analyzer_name is for searches with texts, got {analyzer[:100]}")
        within, params = split_range(params, metric)
        columns, shown = expand_output_fields(meta.schema, request.output_fields)
        columns += (OFFSET_FIELD,) if elements else ()
        kind = kind_of(meta.schema, request, metric, columns, self._root.zone_of(meta), self._limits)
        condition = self.condition(meta, request.filter, request.filter_params)
        plan = SearchPlan(
            collection_id=meta.collection_id,
            schema=meta.schema,
            field=field.name,
            metric=metric,
            params=check_search_params(spec, params, limit),
            exact=not needs_build(spec) or (request.tuning is not None and request.tuning.exact),
            explain="" if request.tuning is None else request.tuning.explain,
            filter=condition,
            partitions=searched_partitions(meta, condition, partitions),
            limit=limit,
            columns=columns,
            ignore_growing=request.ignore_growing,
            within=within,
            elements=elements,
            scoring=scoring_of(spec, self._partitions(meta, ())),
        )
        plan = with_kind(plan, kind, request, self._limits)
        plain = kind == PLAIN and request.tuning is None and not request.offset and not expires(meta.properties)
        shards = self._topology.shards(meta) if plain and is_plain(plan) else []
        return Planned(
            meta, plan, field, shown, meta.schema.primary.name, needs_types(meta.schema, columns),
            self.times_of(meta, columns, request), kind, _lone(shards),
            self._functions.of(meta.schema).get(field.name),
        )  # fmt: skip

    def _partitions(self, meta: CollectionMeta, names: tuple[str, ...]) -> frozenset[int] | None:
        """The partitions to read; None when that is all of them."""
        loads = self._topology.loads
        late, entry = loads.arriving_partitions(meta.collection_id), loads.entry(meta.collection_id)
        if entry is None:
            raise CollectionNotLoaded.named(meta.name)
        if loads.progress(meta.collection_id) is not None:
            raise CollectionNotFullyLoaded.named(meta.name)
        wanted = choose_partitions(meta, names)
        if wanted is None:
            if entry.partitions is None and not late:
                return None
            return loads.loaded_partitions(meta.collection_id, (p.partition_id for p in meta.partitions)) - late
        check_loaded(meta, entry, late, wanted)
        return wanted

    def condition(self, meta: CollectionMeta, text: str, params: dict[str, Any]) -> Filter | None:
        """The compiled filter, None when every row passes."""
        return self.conditions.of(meta, text, params)

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
        loads = self._topology.loads
        late, entry = loads.arriving_partitions(meta.collection_id), loads.entry(meta.collection_id)
        if entry is None:
            raise CollectionNotLoaded.named(meta.name)
        if loads.progress(meta.collection_id) is not None:
            raise CollectionNotFullyLoaded.named(meta.name)
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

    # -- time -----------------------------------------------------------------------------------
    def expiring(self, plan: P, meta: CollectionMeta, as_of: int) -> P:
        """The plan with what has expired at the moment it reads."""
        if not expires(meta.properties):
            return plan
        expiry = expiry_at(meta.properties, as_of or self._root.oracle.now())
        return msgspec.structs.replace(plan, expiry=expiry)

    def times_of(
        self, meta: CollectionMeta, columns: tuple[str, ...], request: rq.Search | rq.Query | rq.HybridSearch
    ) -> TimeView | None:
        return time_view(meta.schema, columns, self._root.zone_of(meta), request.timezone, request.time_fields)

    def moment(
        self, meta: CollectionMeta, shards: Sequence[ShardFace], request: rq.Search | rq.Query | rq.HybridSearch
    ) -> int | None:
        """The timestamp that all shards are read at; None: a lone shard's own newest."""
        now = self._root.oracle.now()
        if request.as_of:
            if request.as_of > now and shards[0].settles_reads:  # the clocks of the owners may be ahead of this one
                now = time_of_all(shards, self._root.oracle.now)
            check_as_of(meta, request.as_of, now)
            for shard in shards:
                shard.settle()
            return request.as_of
        if is_far_ahead(request.guarantee_timestamp, now) and shards[0].settles_reads:  # as above
            now = time_of_all(shards, self._root.oracle.now)
        check_guarantee(request.guarantee_timestamp, now)
        if len(shards) == 1:
            return now if shards[0].is_settled else None
        if all(shard.is_settled for shard in shards):
            return now
        level = meta.consistency_level if request.consistency_level is None else request.consistency_level
        far = shards[0].settles_reads
        if level is ConsistencyLevel.Eventually or (far and level is ConsistencyLevel.Bounded):
            return newest_of_all(shards, now)  # each has what was answered, and waits for no write under way
        if far:
            return moment_of_all(shards, self._root.oracle.now, request.guarantee_timestamp)
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


def _lone(shards: Sequence[ShardFace]) -> Shard | None:
    """The only shard, where it is of this process."""
    only = shards[0] if len(shards) == 1 else None
    return only if isinstance(only, Shard) else None


def _merged_rows(partials: list[QueryPartial], plan: QueryPlan) -> pa.RecordBatch:
    rows = merge_rows(partials, plan).rows if partials else None
    return empty_rows(plan.schema, plan.columns) if rows is None else rows
