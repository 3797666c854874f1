"""Plans of reads: from names and text to what every node is asked, kept for the next equal request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from redkite.coordinator.meta import CollectionMeta
from redkite.errors import CollectionNotFullyLoaded, CollectionNotLoaded, FieldNotFound, IndexNotFound, InvalidParameter
from redkite.filter import Filter
from redkite.functions.base import FieldFunction
from redkite.functions.registry import Functions
from redkite.index.registry import needs_build
from redkite.model import requests as rq
from redkite.model.batch import needs_types
from redkite.model.schema import OFFSET_FIELD, FieldSchema
from redkite.model.segments import LoadEntry
from redkite.model.types import ConsistencyLevel, Metric
from redkite.node.face import ShardFace, moment_of_all, newest_of_all, time_of_all
from redkite.node.shard import Shard
from redkite.node.topology import Topology
from redkite.proxy.conditions import Conditions
from redkite.proxy.kinds import PLAIN, Kind, kind_of, with_kind
from redkite.proxy.read_counts import ReadCounts
from redkite.proxy.routing import searched_partitions
from redkite.proxy.rules.kind_rules import check_kinds, check_struct_kinds, split_range
from redkite.proxy.rules.query_vectors import check_queries, is_element, searched_field
from redkite.proxy.rules.read_rules import (
    check_as_of,
    check_guarantee,
    check_metric,
    check_round_decimal,
    check_search_window,
    choose_partitions,
    choose_vector_field,
    expand_output_fields,
    is_far_ahead,
)
from redkite.proxy.rules.search_rules import check_search_params
from redkite.proxy.rules.text_rules import scoring_of, split_analyzer, takes_text
from redkite.proxy.times import TimeView, time_view
from redkite.proxy.visible import Visible, check_loaded
from redkite.query.plan import QueryPlan, SearchPlan
from redkite.query.straight import is_plain
from redkite.segment.expiry import expires, expiry_at

P = TypeVar("P", SearchPlan, QueryPlan)

MAX_PLANS = 1024


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


class Plans:
    """Kept by the text of the request and the identity of the schema. Safe from any thread."""

    def __init__(self, topology: Topology, functions: Functions) -> None:
        self._topology = topology
        self._functions = functions
        self._root = topology.root
        self._limits = topology.limits
        self.plans: dict[tuple[Any, ...], Planned] = {}  # another one when indexes or load states change
        self._visible = Visible(topology.root, topology.loads)
        self.conditions = Conditions(topology)
        self.counts = ReadCounts(topology)

    def forget_plans(self) -> None:
        """Called when indexes or load states change."""
        self.plans = {}

    # -- searches -------------------------------------------------------------------------------
    def planned(self, request: rq.Search) -> Planned:
        """How a search is carried out."""
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
        entry, late = self._loaded(meta)
        wanted = choose_partitions(meta, names)
        if wanted is None:
            if entry.partitions is None and not late:
                return None
            return loads.loaded_partitions(meta.collection_id, (p.partition_id for p in meta.partitions)) - late
        check_loaded(meta, entry, late, wanted)
        return wanted

    def _loaded(self, meta: CollectionMeta) -> tuple[LoadEntry, frozenset[int]]:
        """What of a collection is loaded, and which partitions are on their way."""
        loads = self._topology.loads
        late, entry = loads.arriving_partitions(meta.collection_id), loads.entry(meta.collection_id)
        if entry is None:
            raise CollectionNotLoaded.named(meta.name)
        if loads.progress(meta.collection_id) is not None:
            raise CollectionNotFullyLoaded.named(meta.name)
        return entry, late

    def condition(self, meta: CollectionMeta, text: str, params: dict[str, Any]) -> Filter | None:
        """The compiled filter, None when every row passes."""
        return self.conditions.of(meta, text, params)

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


def _lone(shards: Sequence[ShardFace]) -> Shard | None:
    """The only shard, where it is of this process."""
    only = shards[0] if len(shards) == 1 else None
    return only if isinstance(only, Shard) else None
