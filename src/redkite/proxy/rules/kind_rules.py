"""What kinds of search and of query may be asked for, of which fields, and which of them together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from redkite.errors import FieldNotFound, InvalidParameter
from redkite.filter.diagnostics import Source as Text
from redkite.filter.parser import parse
from redkite.filter.syntax import Name, Path
from redkite.model.limits import LIMITS, Limits
from redkite.model.requests import Grouping, Ordering, Search
from redkite.model.schema import META_FIELD, CollectionSchema, FieldSchema
from redkite.model.types import BY_WIRE_NAME, DataType, Metric
from redkite.query.plan import GroupPlan, Range, SortKey
from redkite.query.sources import Source

RANGE_PARAMS = ("radius", "range_filter")
HINTS = frozenset({"", "disable", "iterative_filter"})
_GROUPED = frozenset({
    DataType.BOOL, DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64, DataType.VARCHAR,
    DataType.TIMESTAMPTZ,
})  # fmt: skip
_SORTED = _GROUPED | {DataType.FLOAT, DataType.DOUBLE}
_CASTS = frozenset({DataType.BOOL, DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64, DataType.VARCHAR})
_POINTER_PART = re.compile(r"/((?:[^/~]|~[01])*)")


# -- ranges -------------------------------------------------------------------------------------
def split_range(params: Mapping[str, Any], metric: Metric) -> tuple[Range | None, dict[str, Any]]:
    """The range of scores a search asks for, and its other parameters."""
    radius, inner = (params.get(key) for key in RANGE_PARAMS)
    if radius is None and inner is None:
        return None, {key: value for key, value in params.items() if key not in RANGE_PARAMS}
    if radius is None:
        raise InvalidParameter(
            "range_filter requires radius to be set; range_filter alone is not a valid range search parameter"
        )
    if metric.name.startswith("MAX_SIM"):
        raise InvalidParameter(f"range search is not supported with metric type {metric}")
    outer = _number("radius", radius)
    if inner is not None:
        inner = _number("range_filter", inner)
        start = f"metric type ({metric}), range_filter({inner:g}) must be"
        if metric.larger_is_closer and not inner > outer:
            raise InvalidParameter(f"{start} greater than radius({outer:g})")
        if not metric.larger_is_closer and not inner < outer:
            raise InvalidParameter(f"{start} less than radius({outer:g})")
    return Range(outer, inner), {key: value for key, value in params.items() if key not in RANGE_PARAMS}


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InvalidParameter(f"Type conflict in json: param '{key}' ({value}) should be a number")
    try:
        number = float(value)
    except ValueError:
        raise InvalidParameter(f"{key} [{str(value)[:100]}] is invalid") from None
    if number != number:
        raise InvalidParameter(f"{key} [nan] is invalid")
    return number


# -- names --------------------------------------------------------------------------------------
def source_of(schema: CollectionSchema, name: str) -> Source:
    """The values that a name stands for: of a field, of a dynamic key, or at a JSON path. Raises FieldNotFound for a
    name that stands for nothing, InvalidParameter for a path below something else than JSON."""
    text = name.strip()
    field = schema.field(text)
    keys: tuple[str | int, ...] = ()
    if schema.struct(text) is not None:
        raise InvalidParameter(f"struct array field {text} has no value to group or sort by")
    if field is None:
        word, keys = _parsed(text)
        field = schema.field(word)
        if field is None:
            if schema.dynamic_field is None:
                raise FieldNotFound(f"field not found[field={text}]")
            return Source(text, META_FIELD, DataType.JSON, (word, *keys))
    if not keys:
        return Source(text, field.name, field.data_type, () if field.data_type is DataType.JSON else None)
    if field.data_type is not DataType.JSON:
        raise InvalidParameter(f"{field.data_type.wire_name} data type not supported accessed with []")
    return Source(text, field.name, DataType.JSON, keys)


def _parsed(text: str) -> tuple[str, tuple[str | int, ...]]:
    """The word a JSON path begins with, and its keys."""
    try:
        node = parse(Text(text, "query"))
    except InvalidParameter:
        node = None
    if isinstance(node, Name):
        return node.name, ()
    if isinstance(node, Path):
        return node.name, node.keys
    raise FieldNotFound(f"field not found[field={text}]")


def _below(text: str, field: str) -> tuple[str | int, ...]:
    """The keys of a path below a field: `/a/b`, `field["a"]["b"]`, `["a"]["b"]` or one key."""
    if text.startswith("/"):
        parts = _POINTER_PART.findall(text)
        if "".join(f"/{part}" for part in parts) != text:
            raise InvalidParameter(f"json_path [{text}] is no JSON pointer")
        return tuple(int(p) if p.isdigit() else p.replace("~1", "/").replace("~0", "~") for p in parts)
    try:
        word, keys = _parsed(f"{field}{text}" if text.startswith("[") else text)
    except FieldNotFound:
        raise InvalidParameter(f"json_path [{text}] is no path below field {field}") from None
    return keys if word == field else (word, *keys)


# -- groups -------------------------------------------------------------------------------------
def group_plan(schema: CollectionSchema, grouping: Grouping, limits: Limits = LIMITS) -> GroupPlan:
    """The groups of a search."""
    if grouping.size < 0:
        raise InvalidParameter(f"input group size:{grouping.size} is negative, failed to do search_groupby")
    if grouping.size > limits.max_group_size:
        raise InvalidParameter(
            f"input group size:{grouping.size} exceeds configured max group size:{limits.max_group_size}"
        )
    if len(set(grouping.fields)) != len(grouping.fields):
        raise InvalidParameter(f"a field is named twice in group_by_fields [{', '.join(grouping.fields)}]")
    casts = grouping.json_path or grouping.json_type or grouping.strict_cast
    if casts and len(grouping.fields) > 1:
        raise InvalidParameter("json_path, json_type and strict_cast are of one group_by_field, not of several")
    sources = tuple(_grouped(schema, name, grouping) for name in grouping.fields)
    return GroupPlan(sources, max(1, grouping.size), grouping.strict)


def _grouped(schema: CollectionSchema, name: str, grouping: Grouping) -> Source:
    try:
        source = source_of(schema, name)
    except FieldNotFound:
        raise FieldNotFound(f"groupBy field not found in schema: field not found[field={name}]") from None
    if source.path is None:
        if grouping.json_path or grouping.json_type or grouping.strict_cast:
            raise InvalidParameter(
                f"json_path, json_type and strict_cast are of JSON fields and dynamic keys, field {name} is a "
                f"{source.data_type.wire_name}"
            )
        if source.data_type not in _GROUPED:
            raise InvalidParameter(f"unsupported data type {source.data_type.wire_name} for group by operator")
        return source
    keys = source.path + (_below(grouping.json_path, source.field) if grouping.json_path else ())
    if not keys:
        raise InvalidParameter("unsupported data type JSON for group by operator: it takes a json_path")
    kind = BY_WIRE_NAME.get(grouping.json_type or "JSON")
    if kind is None or (grouping.json_type and kind not in _CASTS):
        raise InvalidParameter(f"unsupported json cast type {grouping.json_type} for group by operator")
    return Source(source.name, source.field, kind, keys, grouping.strict_cast)


# -- order --------------------------------------------------------------------------------------
def sort_keys(schema: CollectionSchema, order_by: Sequence[Ordering]) -> tuple[SortKey, ...]:
    """The keys to sort rows by."""
    return tuple(SortKey(_sorted(schema, key.field), key.descending, key.nulls_last) for key in order_by)


def _sorted(schema: CollectionSchema, name: str) -> Source:
    try:
        source = source_of(schema, name)
    except FieldNotFound:
        raise InvalidParameter(f"order_by field '{name}' does not exist in collection schema") from None
    if source.path == ():
        raise InvalidParameter(
            f"order_by is not supported for JSON field '{name}', use a JSON path or a dynamic field instead"
        )
    if source.path is None and source.data_type not in _SORTED:
        raise InvalidParameter(f"order_by field '{name}' has unsortable type {source.data_type.wire_name}")
    return source


# -- together -----------------------------------------------------------------------------------
def check_kinds(request: Search, field: FieldSchema) -> None:
    """Which kinds do not go together."""
    if request.hints not in HINTS:
        raise InvalidParameter(f"search hint [{request.hints[:100]}] is not known, must be iterative_filter or disable")
    grouped = request.grouping is not None or request.aggregation is not None
    ranged = any(request.params.get(key) is not None for key in RANGE_PARAMS)
    if request.page is not None:
        if request.grouping is not None:
            raise InvalidParameter("GroupBy is not permitted when using a search iterator")
        if request.order_by:
            raise InvalidParameter("order_by is not supported when using search iterator")
        if request.aggregation is not None:
            raise InvalidParameter("search_aggregation is not supported when using search iterator")
    if request.aggregation is not None:
        _check_aggregation_alone(request)
    if grouped and ranged:
        raise InvalidParameter("Not allowed to do range-search when doing search-group-by")
    if grouped and field.data_type is DataType.BINARY_VECTOR:
        raise InvalidParameter("not support search_group_by operation based on binary vector column")
    scored = request.function_score is not None or request.function_chains
    if request.order_by and scored:
        raise InvalidParameter("order_by and function_score cannot be used together")


def check_struct_kinds(request: Search, field: FieldSchema, schema: CollectionSchema) -> None:
    """Which kinds a search of a vector sub-field may not be of; `field` is what is compared, lists or elements."""
    grouped = request.grouping is not None
    if field.data_type is DataType._ARRAY_OF_VECTOR:
        if grouped or request.aggregation is not None:
            raise InvalidParameter("not support search_group_by operation based on embedding list column")
        return
    if request.grouping is not None and request.grouping.fields != (schema.primary.name,):
        raise InvalidParameter("element-level search can only be grouped by the primary key")


def _check_aggregation_alone(request: Search) -> None:
    if request.offset:
        raise InvalidParameter("search_aggregation does not support offset")
    for given, name in (
        (request.grouping is not None, "group_by_field"), (bool(request.order_by), "order_by_fields"),
        (request.function_score is not None or bool(request.function_chains), "function_score"),
    ):  # fmt: skip
        if given:
            raise InvalidParameter(f"search_aggregation and {name} are mutually exclusive")
