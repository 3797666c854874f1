"""The pairs of searches and queries that say which kind they are: grouped, ordered, in order without gaps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redkite.errors import InvalidParameter
from redkite.model.orderings import read_orderings, split_names, write_orderings
from redkite.model.reading import check_ungrouped
from redkite.model.requests import Grouping, Query, Search
from redkite.model.tuning import read_explain, read_tuning, write_explain, write_tuning
from redkite.wire.params import read_flag, read_integer


def read_search_kinds(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a Search. An iterator of the first protocol asks for ranges that follow one another: it must see
    every row, at the time it names."""
    first_protocol = _flag(values, "iterator") and not _flag(values, "search_iter_v2")
    grouping = _read_grouping(values)
    if first_protocol and grouping is not None:
        raise InvalidParameter("Not allowed to do groupBy when doing iteration")
    kinds: dict[str, Any] = {}
    tuning = read_tuning(values)
    if tuning is not None:
        kinds["tuning"] = tuning
    if grouping is not None:
        kinds["grouping"] = grouping
    if first_protocol or _flag(values, "page_retain_order"):
        kinds["in_order"] = True
    if hints := _text(values, "hints"):
        kinds["hints"] = hints
    if order := _text(values, "order_by_fields"):
        kinds["order_by"] = read_orderings(order)
    return kinds


def _read_grouping(values: Mapping[str, Any]) -> Grouping | None:
    single, several = _text(values, "group_by_field"), _text(values, "group_by_fields")
    if single and several:
        raise InvalidParameter("group_by_field and group_by_fields are mutually exclusive")
    fields = (single,) if single else tuple(split_names(several))
    size = read_integer("group_size", values.get("group_size") or 1)
    strict = _flag(values, "strict_group_size")
    if not fields:
        check_ungrouped(size, strict)
        return None
    return Grouping(
        fields=fields,
        size=size,
        strict=strict,
        json_path=_text(values, "json_path"),
        json_type=_text(values, "json_type"),
        strict_cast=_flag(values, "strict_cast"),
    )


def _text(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    return "" if value is None or value == "None" else str(value)


def _flag(values: Mapping[str, Any], key: str) -> bool:
    value = values.get(key)
    return False if value is None or value == "None" else read_flag(key, value)


def write_search_kinds(request: Search) -> dict[str, str]:
    """The pairs of a Search."""
    pairs = write_tuning(request.tuning)
    grouping = request.grouping
    if grouping is not None:
        pairs["group_by_field" if len(grouping.fields) == 1 else "group_by_fields"] = ",".join(grouping.fields)
        pairs["group_size"] = str(grouping.size)
        pairs["strict_group_size"] = str(grouping.strict)
        if grouping.json_path:
            pairs["json_path"] = grouping.json_path
        if grouping.json_type:
            pairs["json_type"] = grouping.json_type
        if grouping.strict_cast:
            pairs["strict_cast"] = "True"
    if request.in_order:
        pairs["page_retain_order"] = "True"
    if request.hints:
        pairs["hints"] = request.hints
    if request.order_by:
        pairs["order_by_fields"] = write_orderings(request.order_by)
    return pairs


def read_query_kinds(pairs: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a Query."""
    return {
        "order_by": read_orderings(_text(pairs, "order_by_fields")),
        "group_by": tuple(split_names(_text(pairs, "group_by_fields"))),
        "explain": read_explain(pairs),
    }


def write_query_kinds(request: Query) -> dict[str, str]:
    """The pairs of a Query."""
    pairs = write_explain(request.explain)
    if request.order_by:
        pairs["order_by_fields"] = write_orderings(request.order_by)
    if request.group_by:
        pairs["group_by_fields"] = ",".join(request.group_by)
    return pairs
