"""The kinds of query: rows in an order, and numbers about rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

import pyarrow as pa

from redkite.errors import InvalidParameter
from redkite.model import requests as rq
from redkite.model.batch import arrow_type, numbers_to_arrow
from redkite.model.limits import Limits
from redkite.model.moments import zone_of
from redkite.model.schema import CollectionSchema
from redkite.model.types import DataType
from redkite.proxy.rules.aggregation_rules import aggregate_plan
from redkite.proxy.rules.kind_rules import sort_keys
from redkite.proxy.times import TimeView
from redkite.query.aggregates import finished, merge_gathered
from redkite.query.ordering import first_rows, merge_ordered
from redkite.query.plan import AggregatePlan, QueryPartial, QueryPlan, SortKey
from redkite.query.reduce import empty_rows, merge_rows
from redkite.query.sources import Source

__all__ = ["aggregate_plan", "aggregated", "hidden_columns", "ordered_rows", "query_order"]


def query_order(schema: CollectionSchema, request: rq.Query, limits: Limits) -> tuple[SortKey, ...]:
    """The keys that rows are sorted by. Raises InvalidParameter without a limit."""
    if not request.order_by:
        return ()
    if request.limit is None:
        raise InvalidParameter(f"order_by_fields should be used with limit, at most {limits.max_result_window}")
    return sort_keys(schema, request.order_by)


def hidden_columns(order: Sequence[SortKey], columns: Sequence[str]) -> tuple[str, ...]:
    """Columns that are fetched only to sort by."""
    return tuple(dict.fromkeys(key.source.field for key in order if key.source.field not in columns))


def ordered_rows(
    partials: Sequence[QueryPartial], plan: QueryPlan, hidden: Sequence[str], offset: int
) -> pa.RecordBatch:
    """The rows of all nodes, without those to skip."""
    merged = (merge_ordered if plan.order else merge_rows)(partials, plan).rows if partials else None
    rows = empty_rows(plan.schema, plan.columns) if merged is None else merged.slice(offset)
    return rows.select([name for name in rows.schema.names if name not in hidden]) if hidden else rows


def aggregated(
    partials: Sequence[QueryPartial], plan: AggregatePlan, schema: CollectionSchema, request: rq.Query, home: tzinfo
) -> pa.RecordBatch:
    """One row for each group: those that the request wants, in the order it wants. Times are shown as they are in its
    time zone, else `home`."""
    columns = {f.name: arrow_type(f) for f in schema.fields if f.name in plan.fields}
    rows = finished(merge_gathered(partials, plan), plan, columns)
    if request.order_by:
        keys = tuple(
            SortKey(Source(key.field, _column(rows, key.field), DataType.NONE), key.descending, key.nulls_last)
            for key in request.order_by
        )
        rows = rows.take(numbers_to_arrow(first_rows(rows, keys)))
    rows = rows.slice(request.offset, request.limit)
    shown = dict.fromkeys(name.strip() for name in request.output_fields)
    rows = rows.select(list(shown or plan.keys))
    times = _times(plan, schema).intersection(rows.schema.names)
    if not times:
        return rows
    zone = zone_of(request.timezone) if request.timezone else home
    return TimeView(times, zone, request.time_fields).show(rows)


def _times(plan: AggregatePlan, schema: CollectionSchema) -> frozenset[str]:
    """The columns of the answer that hold times."""
    fields = {f.name for f in schema.fields if f.data_type is DataType.TIMESTAMPTZ}
    made = {a.name for a in plan.aggregates if a.field in fields and a.op in ("min", "max")}
    return frozenset(made | fields.intersection(plan.keys))


def _column(rows: pa.RecordBatch, name: str) -> str:
    """The column that a sort key names; operations may be written in any case."""
    for known in rows.schema.names:
        if known == name or known.lower().replace(" ", "") == name.lower().replace(" ", ""):
            return str(known)
    raise InvalidParameter(f"order_by field '{name}' is neither among group_by_fields nor an aggregate of this query")
