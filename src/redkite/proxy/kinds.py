"""The kinds of search: what they add to a plan, and how their hits are put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import tzinfo
from itertools import pairwise

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from redkite.errors import InvalidParameter
from redkite.index.base import Queries
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.batch import arrow_field, arrow_to_numbers, list_starts, matrix_of
from redkite.model.explain import SegmentReport, WordStatistics
from redkite.model.limits import Limits
from redkite.model.reach import Reach, reach_of_all, shorter
from redkite.model.schema import OFFSET_FIELD, CollectionSchema, FieldSchema
from redkite.model.structs import elements_of
from redkite.model.types import DataType, Metric
from redkite.node.face import ShardFace, count_words_all, query_all, search_all
from redkite.proxy.rules.aggregation_rules import bucket_plan
from redkite.proxy.rules.kind_rules import RANGE_PARAMS, group_plan, sort_keys
from redkite.proxy.words import terms_of, told_of, weighed
from redkite.query.buckets import BucketPlan, buckets_of
from redkite.query.grouping import groups_of, merge_groups, no_groups, skip_groups, take_hits
from redkite.query.ordering import order_hits
from redkite.query.plan import QueryPartial, QueryPlan, SearchPartial, SearchPlan, SortKey, TextCounts
from redkite.query.reduce import concat_rows, empty_hits, empty_rows, merge_hits, merge_rows
from redkite.query.timing import ReadTimes
from redkite.segment.growing import rows_only


class Asked:
    """Asks all shards, more than once at one moment, and knows which that was."""

    def __init__(self, shards: Sequence[ShardFace], moment: int | None) -> None:
        self._shards = shards
        self._moment = moment
        self.timestamp = 0
        self.reports: list[SegmentReport] = []
        self.statistics: list[WordStatistics] = []
        """Of plans that explain."""
        self.reach: Reach | None = None
        """Where rows were left out: of the time when most were."""

    def __call__(self, plan: SearchPlan, queries: Queries) -> list[SearchPartial]:
        moment = self._moment or self.timestamp or None
        partials: list[SearchPartial] = []
        for stamp, answers in search_all(self._shards, plan, queries, moment):
            self.timestamp = max(self.timestamp, stamp)
            partials += answers
            self.reports += [report for answer in answers for report in answer.reports]
        self._reached(partials)
        return partials

    def _reached(self, partials: Iterable[SearchPartial | QueryPartial | TextCounts]) -> None:
        self.reach = shorter(self.reach, reach_of_all(part.reach for part in partials))

    def weighed(self, plan: SearchPlan, queries: Queries) -> tuple[SearchPlan, Queries]:
        """The plan and the queries of a search by words, with what all shards know about these; any other as it is."""
        if plan.scoring is None or plan.scoring.rows >= 0:
            return plan, queries
        moment = self._moment or self.timestamp or None
        counts: list[TextCounts] = []
        terms, _ = terms_of(queries)
        for stamp, found in count_words_all(self._shards, plan, terms, moment):
            self.timestamp = max(self.timestamp, stamp)
            counts += found
        self._reached(counts)
        known, weights = weighed(plan, queries, counts)
        if plan.explain:
            self.statistics.append(told_of(known, len(terms), weights))
        return known, weights

    def query(self, plan: QueryPlan) -> pa.RecordBatch:
        """The rows of a plain query."""
        moment = self._moment or self.timestamp or None
        partials = [part for _, answers in query_all(self._shards, plan, moment) for part in answers]
        self._reached(partials)
        rows = merge_rows(partials, plan).rows if partials else None
        return empty_rows(plan.schema, plan.columns) if rows is None else rows


class Kind(msgspec.Struct, frozen=True):
    """What is done with the hits of a search after they are merged."""

    order: tuple[SortKey, ...] = ()
    hidden: tuple[str, ...] = ()
    """Columns that are fetched only to sort by."""
    buckets: BucketPlan | None = None


PLAIN = Kind()


def kind_of(
    schema: CollectionSchema, request: rq.Search, metric: Metric, columns: Sequence[str], zone: tzinfo, limits: Limits
) -> Kind:
    """What the request wants done with its hits; `columns` are fetched anyway."""
    if request.aggregation is not None:
        shown, nq = request.output_fields, request.queries.nq
        return Kind(buckets=bucket_plan(schema, request.aggregation, metric, shown, nq, zone, limits))
    if not request.order_by:
        return PLAIN
    order = sort_keys(schema, request.order_by)
    hidden = dict.fromkeys(key.source.field for key in order if key.source.field not in columns)
    return Kind(order, tuple(hidden))


def with_kind(plan: SearchPlan, kind: Kind, request: rq.Search, limits: Limits) -> SearchPlan:
    """The plan of such a search."""
    if kind.buckets is not None:
        buckets = kind.buckets
        return msgspec.structs.replace(plan, grouping=buckets.grouping, limit=buckets.limit, columns=buckets.columns)
    grouping = None if request.grouping is None else group_plan(plan.schema, request.grouping, limits)
    return msgspec.structs.replace(
        plan,
        grouping=grouping,
        columns=plan.columns + kind.hidden,
        in_order=request.in_order,
        lazy_filter=request.hints == "iterative_filter" and not plan.elements,
    )


def compares_all(request: rq.Search) -> bool:
    """Whether every row is compared, whatever the index."""
    grouped = request.grouping is not None or request.aggregation is not None
    ranged = not request.params.keys().isdisjoint(RANGE_PARAMS)
    return ranged or grouped or request.in_order or request.page is not None


# -- putting together ---------------------------------------------------------------------------
def gathered(plan: SearchPlan, queries: Queries, ask: Asked, times: ReadTimes) -> SearchPartial:
    """Ask all nodes, and merge what they answer."""
    begun = times.now()
    plan, queries = ask.weighed(plan, queries)
    partials = ask(plan, queries)
    times.took(times.searches, begun)
    if plan.grouping is None:
        return merge_hits(partials, plan) if partials else empty_hits(plan, len(queries))
    if not partials:
        return no_groups(plan, len(queries))
    found = merge_groups(partials, plan)
    if plan.grouping.strict and plan.grouping.size > 1 and found.groups is not None:
        return _filled(found, plan, queries, ask)
    return found


def _filled(found: SearchPartial, plan: SearchPlan, queries: Queries, ask: Asked) -> SearchPartial:
    """The same groups with all the hits they may have: a node tells those of its own best groups only, and a group that
    is among the best of one may be far behind on another."""
    assert plan.grouping is not None, "there are groups to fill"
    filled = []
    for at, groups in enumerate(groups_of(found)):
        if not groups.num_rows:
            filled.append(no_groups(plan, 1))
            continue
        asked = msgspec.structs.replace(plan, grouping=msgspec.structs.replace(plan.grouping, wanted=groups))
        filled.append(merge_groups(ask(asked, queries[np.array([at])]), asked))
    groups = [part.groups for part in filled if part.groups is not None]
    return SearchPartial(
        np.concatenate([part.topks for part in filled]),
        pa.concat_arrays([part.ids for part in filled]),
        np.concatenate([part.scores for part in filled]),
        concat_rows([part.rows for part in filled]) if plan.columns else rows_only(sum(len(p.ids) for p in filled)),
        pa.concat_batches(groups) if groups else None,
    )


def arranged(found: SearchPartial, plan: SearchPlan, kind: Kind, offset: int) -> SearchPartial:
    """Without the hits, or groups, to skip; in the order that was asked for."""
    if offset:
        found = _skip(found, offset) if plan.grouping is None else skip_groups(found, offset)
    if not kind.order:
        return found
    if len(found.scores):
        found = take_hits(found, order_hits(found, kind.order), found.topks)
    if not kind.hidden:
        return found
    shown = [name for name in plan.columns if name not in kind.hidden]
    rows = found.rows.select(shown) if shown else rows_only(found.rows.num_rows)
    return msgspec.structs.replace(found, rows=rows)


def _skip(found: SearchPartial, offset: int) -> SearchPartial:
    """Without the first `offset` hits of each query."""
    topks = found.topks
    starts = np.cumsum(topks) - topks
    within = np.arange(len(found.scores)) - np.repeat(starts, topks)
    return take_hits(found, np.flatnonzero(within >= offset), np.maximum(topks - offset, 0))


def with_offsets(hits: rs.Hits) -> rs.Hits:
    """The hits of a search among elements, where each stands in its row told beside the output fields."""
    place = hits.rows.schema.get_field_index(OFFSET_FIELD)
    if place < 0:
        return hits  # nobody looks at more than keys and scores
    offsets = arrow_to_numbers(hits.rows.column(place))
    rest = [name for name in hits.rows.schema.names if name != OFFSET_FIELD]
    rows = hits.rows.select(rest) if rest else rows_only(len(offsets))
    return msgspec.structs.replace(hits, rows=rows, element_indices=offsets)


def shown_groups(found: SearchPartial, plan: SearchPlan) -> pa.RecordBatch | None:
    """The group of each hit, under the names it was asked for."""
    if found.groups is None or plan.grouping is None:
        return None
    fields = []
    for source, column in zip(plan.grouping.sources, found.groups.columns, strict=True):
        kind = DataType.VARCHAR if source.data_type is DataType.JSON else source.data_type
        fields.append(arrow_field(source.name, kind, column.type))
    return pa.RecordBatch.from_arrays(found.groups.columns, schema=pa.schema(fields))


def bucketed(found: SearchPartial, plan: BucketPlan, request: rq.Search, primary: str, asked: Asked) -> rs.Hits:
    """The answer of a search that aggregates: buckets, and no hits."""
    if request.round_decimal >= 0:
        found = msgspec.structs.replace(found, scores=np.round(found.scores, request.round_decimal))
    return rs.Hits(
        topks=np.zeros(len(found.topks), np.int64),
        keys=found.keys[:0],
        scores=np.empty(0, np.float32),
        rows=rows_only(0),
        output_fields=plan.shown,
        primary_field=primary,
        collection=request.collection,
        session_timestamp=asked.timestamp,
        reach=asked.reach,
        buckets=buckets_of(found, plan),
    )


# -- queries that are stored --------------------------------------------------------------------
def keys_filter(schema: CollectionSchema, ids: pa.Array) -> tuple[str, dict[str, list[int] | list[str]]]:
    """A filter for the rows whose vectors are to be searched with, and its parameters."""
    primary = schema.primary
    kind = "VarChar" if pa.types.is_string(ids.type) else "Int64"
    if kind != primary.data_type.wire_name:
        raise InvalidParameter(
            f"ids are of type {kind}, primary key {primary.name} is of type {primary.data_type.wire_name}"
        )
    if not len(ids):
        raise InvalidParameter("nq [0] is invalid, ids must not be empty")
    return f"{primary.name} in {{ids}}", {"ids": ids.to_pylist()}


def stored_queries(field: FieldSchema, primary: str, ids: pa.Array, rows: pa.RecordBatch) -> rq.Queries:
    """The vectors of the rows with these keys, in their order, out of `rows`. Raises InvalidParameter for a key that no
    row has, or only one without a vector."""
    if field.struct_name:
        raise InvalidParameter(f"search by primary keys is not supported for the array of vectors {field.name}")
    places = pc.index_in(ids, rows.column(primary))
    if places.null_count:
        missing = ids.filter(places.is_null()).slice(0, 5).to_pylist()
        raise InvalidParameter(f"no entity has the primary key that is to be searched with: {missing}")
    column = rows.column(field.name).take(places)
    if column.null_count:
        empty = ids.filter(column.is_null()).slice(0, 5).to_pylist()
        raise InvalidParameter(f"field {field.name} is null in the entities that are to be searched with: {empty}")
    return queries_of(field, column)


def queries_of(field: FieldSchema, column: pa.Array) -> rq.Queries:
    """Stored vectors, none of them null, as queries; empty arrays of them are left out."""
    if pa.types.is_list(column.type):
        return _list_queries(field, column)
    if pa.types.is_fixed_size_list(column.type):
        matrix = matrix_of(column, field.data_type)
        if matrix.dtype == np.float32:
            return rq.Queries(data_type=field.data_type, vectors=np.ascontiguousarray(matrix))
        return rq.Queries(data_type=field.data_type, raw=tuple(row.tobytes() for row in matrix))
    return rq.Queries(data_type=field.data_type, raw=tuple(column.to_pylist()))


def _list_queries(field: FieldSchema, column: pa.Array) -> rq.Queries:
    """Stored arrays of vectors as lists, or their elements where each is compared by itself."""
    if field.data_type is not DataType._ARRAY_OF_VECTOR:
        return queries_of(field, elements_of(column))
    matrix, starts = matrix_of(elements_of(column), field.element_type), list_starts(column).tolist()
    spans = ((begin - starts[0], end - starts[0]) for begin, end in pairwise(starts) if begin < end)
    raw = tuple(matrix[begin:end].tobytes() for begin, end in spans)
    return rq.Queries(data_type=field.element_type, raw=raw, are_lists=True)
