"""What buckets of hits, and what numbers about rows, may be asked for."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from datetime import tzinfo

from redkite.errors import FieldNotFound, InvalidParameter, Unexpected
from redkite.model.limits import LIMITS, Limits
from redkite.model.requests import Aggregation, Grouping, Measure, Ordering, Query
from redkite.model.schema import META_FIELD, CollectionSchema, FieldSchema
from redkite.model.types import DataType, Metric
from redkite.proxy.rules.kind_rules import group_plan, sort_keys
from redkite.query.buckets import SCORE, BucketPlan, Level
from redkite.query.plan import Aggregate, AggregatePlan, GroupPlan, SortKey

EVERYTHING = "*"
_OPERATIONS = ("count", "sum", "avg", "min", "max")
_OWN_KEYS = ("_count", "_key")
_CALL = re.compile(r"(\w+)\s*\((.*)\)", re.DOTALL)
_COMPARED = frozenset({DataType.VARCHAR, DataType.TIMESTAMPTZ})
_KEYS = frozenset({
    DataType.BOOL, DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64, DataType.VARCHAR,
    DataType.TIMESTAMPTZ,
})  # fmt: skip
_UNSHOWN = frozenset({DataType.ARRAY})


# -- buckets of hits ----------------------------------------------------------------------------
def bucket_plan(
    schema: CollectionSchema, aggregation: Aggregation, metric: Metric, shown: Sequence[str], nq: int, zone: tzinfo,
    limits: Limits = LIMITS,
) -> BucketPlan:  # fmt: skip
    """The buckets of a search; `shown` are its output fields as asked for."""
    levels = list(_levels(aggregation))
    if len(levels) > limits.max_aggregation_depth:
        raise InvalidParameter(
            f"search_aggregation is nested {len(levels)} levels deep, at most {limits.max_aggregation_depth} may be"
        )
    names = [name for level in levels for name in level.fields]
    for level in levels:
        _check_level(schema, level)
    if len(names) > limits.max_aggregation_fields:
        raise InvalidParameter(
            f"search_aggregation has {len(names)} fields, at most {limits.max_aggregation_fields} are allowed"
        )
    if len(set(names)) != len(names):
        raise InvalidParameter(f"a field is named twice in search_aggregation [{', '.join(names)}]")
    grouping = _grouping(schema, names, max([0, *(level.top_hits.size for level in levels if level.top_hits)]))
    limit = math.prod(level.search_size or level.size for level in levels)
    entries = nq * limit * grouping.size
    if entries > limits.max_aggregation_entries:
        raise InvalidParameter(
            f"search_aggregation may have {entries} result entries, at most {limits.max_aggregation_entries} can be had"
        )
    output = _shown_fields(schema, shown)
    plans = tuple(_level(schema, level, names) for level in levels)
    times = frozenset(f.name for f in schema.fields if f.data_type is DataType.TIMESTAMPTZ)
    return BucketPlan(
        plans, grouping, limit, tuple(f.name for f in output), tuple(f.field_id for f in output),
        _columns(plans, [f.name for f in output]), metric.larger_is_closer, times, zone,
    )  # fmt: skip


def _levels(aggregation: Aggregation) -> Iterator[Aggregation]:
    level: Aggregation | None = aggregation
    while level is not None:
        yield level
        level = level.below


def _check_level(schema: CollectionSchema, level: Aggregation) -> None:
    if not level.fields:
        raise InvalidParameter("search_aggregation.fields must not be empty")
    for name in level.fields:
        field = schema.field(name)
        if field is None:
            raise FieldNotFound(f"search_aggregation field not found in schema: field not found[field={name}]")
        if field.data_type not in _KEYS:
            raise InvalidParameter(f"unsupported data type {field.data_type.wire_name} for group by operator")
    sizes = [("size", level.size), ("search_size", level.search_size or level.size)]
    sizes += [("top_hits.size", level.top_hits.size)] if level.top_hits is not None else []
    for what, size in sizes:
        if size <= 0:
            raise InvalidParameter(f"search_aggregation.{what} must be positive, but got {size}")
    if level.search_size and level.search_size < level.size:
        raise InvalidParameter(
            f"search_aggregation.search_size {level.search_size} must not be less than size {level.size}"
        )


def _grouping(schema: CollectionSchema, names: Sequence[str], budget: int) -> GroupPlan:
    plan = group_plan(schema, Grouping(fields=tuple(names), strict=True))
    return GroupPlan(plan.sources, max(1, budget), strict=True)


def _shown_fields(schema: CollectionSchema, names: Sequence[str]) -> list[FieldSchema]:
    shown: dict[str, FieldSchema] = {}
    for name in names:
        if name == EVERYTHING:
            shown |= {f.name: f for f in schema.user_fields if _is_shown(f)}
            continue
        field = schema.field(name)
        if field is None or name == META_FIELD:
            raise InvalidParameter(f"field {name} not exist, or is dynamic, which search_aggregation cannot show")
        if not _is_shown(field):
            raise InvalidParameter(f"field {name} of type {field.data_type.wire_name} cannot be shown in buckets")
        shown[name] = field
    return list(shown.values())


def _is_shown(field: FieldSchema) -> bool:
    return not field.data_type.is_vector and field.data_type not in _UNSHOWN


def _level(schema: CollectionSchema, level: Aggregation, names: list[str]) -> Level:
    for measure in level.measures:
        _check_measure(schema, measure)
    aliases = {measure.alias for measure in level.measures}
    for key in level.order:
        if key.field not in aliases and key.field not in _OWN_KEYS:
            known = ", ".join(sorted({*aliases, *_OWN_KEYS}))
            raise InvalidParameter(f"search_aggregation order key '{key.field}' is none of {known}")
    top = level.top_hits
    return Level(
        keys=tuple(names.index(name) for name in level.fields),
        field_ids=tuple(_known(schema, name).field_id for name in level.fields),
        size=level.size,
        measures=level.measures,
        order=level.order,
        hits=0 if top is None else top.size,
        sort=() if top is None else tuple(_hit_key(schema, key) for key in top.sort),
    )


def _hit_key(schema: CollectionSchema, key: Ordering) -> SortKey | Ordering:
    if key.field == SCORE:
        return key
    if schema.field(key.field) is None:
        raise InvalidParameter(f"order_by field '{key.field}' does not exist in collection schema")
    return sort_keys(schema, [key])[0]


def _check_measure(schema: CollectionSchema, measure: Measure) -> None:
    if measure.op not in _OPERATIONS:
        raise InvalidParameter(f"aggregation operator {measure.op} is not known")
    if measure.field == EVERYTHING:
        if measure.op != "count":
            raise InvalidParameter(f"'*' is only valid for count, not for {measure.op}")
    elif measure.field == SCORE:
        if measure.op == "count":
            raise InvalidParameter("_score is not valid for count, use '*'")
    else:
        check_aggregate(_known(schema, measure.field), measure.op)


def _known(schema: CollectionSchema, name: str) -> FieldSchema:
    field = schema.field(name)
    if field is None or field.is_dynamic:
        raise FieldNotFound(f"field not found[field={name}]")
    return field


def _columns(levels: Sequence[Level], shown: Sequence[str]) -> tuple[str, ...]:
    names = dict.fromkeys(shown)
    for level in levels:
        names |= dict.fromkeys(m.field for m in level.measures if m.field not in (EVERYTHING, SCORE))
        names |= dict.fromkeys(key.source.field for key in level.sort if isinstance(key, SortKey))
    return tuple(names)


# -- numbers about rows -------------------------------------------------------------------------
def check_aggregate(field: FieldSchema, op: str) -> None:
    """Raise for a field whose values an operation cannot work on."""
    kind = field.data_type
    if op == "count" and not kind.is_vector and kind is not DataType.JSON:
        return
    if kind.is_number or (op in ("min", "max") and kind in _COMPARED):
        return
    # The protocol answers this one with its code for what was not expected.
    raise Unexpected(f"aggregation operator {op} does not support data type {kind.wire_name}")


def aggregate_plan(schema: CollectionSchema, request: Query, limits: Limits = LIMITS) -> AggregatePlan | None:
    """What a query wants to know about its rows; None when it wants rows, or only how many."""
    calls = [_call(name) for name in request.output_fields]
    if not request.group_by and not any(calls):
        return None
    if not request.group_by and [c and c[:2] for c in calls] == [("count", EVERYTHING)]:
        return None
    keys = []
    for name in request.group_by:
        field = schema.field(name)
        if field is None:
            raise FieldNotFound(f"groupBy field not found in schema: field not found[field={name}]")
        if field.data_type not in _KEYS:
            raise InvalidParameter(f"group by field {name} has unsupported data type {field.data_type.wire_name}")
        keys.append(name)
    if len(set(keys)) != len(keys):
        raise InvalidParameter(f"a field is named twice in group_by_fields [{', '.join(keys)}]")
    aggregates = []
    for name, call in zip(request.output_fields, calls, strict=True):
        if call is not None:
            aggregates.append(_aggregate(schema, name.strip(), *call))
        elif name.strip() not in keys:
            raise InvalidParameter(
                f"output field '{name}' is not allowed in a query that aggregates: it is neither among group_by_fields "
                f"[{', '.join(keys)}] nor an aggregate"
            )
    return AggregatePlan(tuple(keys), tuple(dict.fromkeys(aggregates)), limits.max_groups)


def _call(name: str) -> tuple[str, str] | None:
    """(operation, field) of an output field that looks like a call."""
    found = _CALL.fullmatch(name.strip())
    if found is None:
        return None
    return found[1].lower(), found[2].strip()


def _aggregate(schema: CollectionSchema, name: str, op: str, field_name: str) -> Aggregate:
    if op not in _OPERATIONS:
        raise InvalidParameter(f"aggregation function {op} of output field '{name}' is not known")
    if field_name == EVERYTHING:
        if op != "count":
            raise InvalidParameter(f"'*' is only valid for count, not for {op}")
        return Aggregate(name, op, "")
    if not field_name:
        raise InvalidParameter(f"output field '{name}' names no field to aggregate")
    field = schema.field(field_name)
    if field is None or field.is_dynamic:
        raise FieldNotFound(f"field not found[field={field_name}]")
    check_aggregate(field, op)
    return Aggregate(name, op, field_name)
