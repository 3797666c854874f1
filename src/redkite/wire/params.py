"""The key-value pairs of searches and queries, as typed values.

Everything in them is text. What this version serves is read; what it does not serve is refused by name when it would
change the answer, and accepted when its value says the default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from redkite.errors import InvalidParameter, Unimplemented
from redkite.model.moments import read_time_parts
from redkite.model.requests import Page
from redkite.model.tuning import TUNING_KEYS

_SMALLEST_TIME = 2
"""Guarantee timestamps up to here are names of consistency levels."""
_INTEGER = re.compile(r"[-+]?[0-9]{1,20}")
_UNSERVED: dict[str, frozenset[str]] = {
    # key -> values (lower case) that ask for nothing. The first one that asks for something is named.
    "rank_group_scorer": frozenset({""}),
    "query_iter_last_pk": frozenset({""}),
    "query_iter_last_element_offset": frozenset({""}),
    "for_tuning": frozenset({"", "false"}),
}
_PAGE_KEYS = (
    "iterator", "search_iter_v2", "search_iter_batch_size", "search_iter_last_bound", "search_iter_id", "collection_id",
    "guarantee_timestamp",
)  # fmt: skip
_KIND_KEYS = (
    "group_by_field", "group_by_fields", "group_size", "strict_group_size", "json_path", "json_type", "strict_cast",
    "order_by_fields", "page_retain_order", "hints", *TUNING_KEYS,
)  # fmt: skip
_SEARCH_KEYS = frozenset({
    "anns_field", "topk", "offset", "metric_type", "round_decimal", "ignore_growing", "as_of", "timezone",
    "time_fields", "params", "cluster_id", *_PAGE_KEYS, *_KIND_KEYS,
})  # fmt: skip
_OUTER_KEYS = _SEARCH_KEYS | _UNSERVED.keys()
"""What may stand beside `params`, and is no index parameter when it stands inside."""
_RANGE_KEYS = frozenset({"radius", "range_filter"})
_ANALYZER_NAME = "analyzer_name"
_QUERY_KEYS = frozenset({
    "limit", "offset", "ignore_growing", "as_of", "timezone", "time_fields", "reduce_stop_for_best",
    "iterator", "collection_id", "order_by_fields", "group_by_fields", "explain", "analyze", "cluster_id",
})  # fmt: skip


class SearchParams(NamedTuple):
    anns_field: str
    topk: int
    offset: int
    metric: str
    round_decimal: int
    ignore_growing: bool
    index_params: dict[str, Any]
    as_of: int = 0
    timezone: str = ""
    time_fields: tuple[str, ...] = ()
    collection_id: int = 0
    page: Page | None = None
    cluster: str = ""


class QueryParams(NamedTuple):
    limit: int | None
    offset: int
    ignore_growing: bool
    as_of: int = 0
    timezone: str = ""
    time_fields: tuple[str, ...] = ()
    collection_id: int = 0
    is_page: bool = False
    """Of an iterator: the guarantee timestamp is the time to read at."""
    cluster: str = ""


def read_search_params(pairs: dict[str, str]) -> SearchParams:
    """The `search_params` of a search. Clients repeat outer keys in the JSON under `params`; the outer one counts.
    Some repeat index parameters outside, too; there the inner one counts."""
    given = read_object(pairs.get("params", ""))
    _refuse_unserved(given)
    _refuse_unserved(pairs)
    index_params = {key: value for key, value in given.items() if key not in _OUTER_KEYS}
    values = {key: value for key, value in given.items() if key in _SEARCH_KEYS} | pairs
    if not pairs.keys() <= _SEARCH_KEYS:
        for key in pairs.keys() - _OUTER_KEYS:
            if key == _ANALYZER_NAME:
                index_params[key] = pairs[key]
                continue
            if key in index_params:
                continue
            if key not in _RANGE_KEYS:
                raise InvalidParameter(f"search parameter {key} is not known")
            index_params.setdefault(key, _number(key, pairs[key]))
    page = _read_page(values)
    if page is not None and values.get("search_iter_batch_size"):
        values["topk"] = values["search_iter_batch_size"]
    if "topk" not in values:
        raise InvalidParameter("topk not found in search_params")
    return SearchParams(
        str(values.get("anns_field", "")),
        read_integer("topk", values["topk"]),
        read_integer("offset", values.get("offset", 0)),
        str(values.get("metric_type", "")),
        read_integer("round_decimal", values.get("round_decimal", -1)),
        read_flag("ignore_growing", values.get("ignore_growing", "")),
        index_params,
        _read_moment(values, is_page=page is not None),
        str(values.get("timezone") or ""),
        read_time_parts(str(values.get("time_fields") or "")),
        read_integer("collection_id", values.get("collection_id") or 0),
        page,
        str(values.get("cluster_id") or ""),
    )


def search_values(pairs: Mapping[str, str]) -> dict[str, Any]:
    """What is given beside the index's parameters, or among them; the outer one counts."""
    text = pairs.get("params", "")
    given = read_object(text) if text and text != "{}" else {}
    return {**{key: value for key, value in given.items() if key in _SEARCH_KEYS}, **pairs}


def _read_moment(values: Mapping[str, Any], *, is_page: bool) -> int:
    """The time to read at, 0 for now. Milvus's SDK for Node names that of an iterator's first page here."""
    as_of = read_integer("as_of", values.get("as_of", 0))
    first_page = read_integer("guarantee_timestamp", values.get("guarantee_timestamp") or 0)
    return first_page if is_page and not as_of and first_page > _SMALLEST_TIME else as_of


def _read_page(values: Mapping[str, Any]) -> Page | None:
    if not read_flag("search_iter_v2", values.get("search_iter_v2", "")):
        return None
    if not read_flag("iterator", values.get("iterator", "")):
        raise InvalidParameter("both iterator and search_iter_v2 must be set in the SDK")
    if not values.get("search_iter_batch_size"):
        raise InvalidParameter("batch size is required")
    bound = values.get("search_iter_last_bound")
    return Page(
        token=str(values.get("search_iter_id") or ""),
        last_bound=None if bound in (None, "") else _number("search_iter_last_bound", str(bound)),
    )


def read_query_params(pairs: Mapping[str, str]) -> QueryParams:
    """The `query_params` of a query."""
    _refuse_unserved(pairs)
    for key in pairs.keys() - _QUERY_KEYS - _UNSERVED.keys():
        raise InvalidParameter(f"query parameter {key} is not known")
    # It lets a server stop early while an iterator runs; a complete answer is right with and without it.
    read_flag("reduce_stop_for_best", pairs.get("reduce_stop_for_best", ""))
    is_page = read_flag("iterator", pairs.get("iterator", ""))
    for key in ("order_by_fields", "group_by_fields"):
        if is_page and pairs.get(key):  # pages follow one another by primary key
            raise InvalidParameter(f"{key.removesuffix('_fields')} is not supported when using query iterator")
    return QueryParams(
        limit=read_integer("limit", pairs["limit"]) if "limit" in pairs else None,
        offset=read_integer("offset", pairs.get("offset", 0)),
        ignore_growing=read_flag("ignore_growing", pairs.get("ignore_growing", "")),
        as_of=read_integer("as_of", pairs.get("as_of", 0)),
        timezone=pairs.get("timezone", ""),
        time_fields=read_time_parts(pairs.get("time_fields", "")),
        collection_id=read_integer("collection_id", pairs.get("collection_id") or 0),
        is_page=is_page,
        cluster=pairs.get("cluster_id", ""),
    )


def _refuse_unserved(values: Mapping[str, Any]) -> None:
    if _UNSERVED.keys().isdisjoint(values):
        return
    for key, harmless in _UNSERVED.items():
        value = values.get(key)
        if value is not None and str(value).lower() not in harmless:
            raise Unimplemented(f"parameter {key} is not supported in this version")


def read_object(text: str) -> dict[str, Any]:
    """A JSON object in `params`; empty text is an empty one."""
    if not text:
        return {}
    try:
        decoded = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidParameter(f"params [{text[:100]}] is not valid JSON ({error})") from None
    if not isinstance(decoded, dict):
        raise InvalidParameter(f"params [{text[:100]}] is not a JSON object")
    return decoded


def read_integer(key: str, value: Any) -> int:
    """A whole number, or its decimal digits."""
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise InvalidParameter(f"{key} [{str(value)[:100]}] is invalid")


def _number(key: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise InvalidParameter(f"{key} [{value[:100]}] is invalid") from None


def read_flag(key: str, value: Any) -> bool:
    """A truth value as clients write it."""
    text = str(value).lower()
    if text in ("true", "1", "t"):
        return True
    if text in ("", "false", "0", "f"):
        return False
    raise InvalidParameter(f"{key} [{str(value)[:100]}] is invalid, should be true or false")


def read_index_params(pairs: Mapping[str, str]) -> dict[str, str]:
    """The `extra_params` of CreateIndex: a JSON object under `params` is taken apart; the outer keys count."""
    flat = dict(pairs)
    nested = read_object(flat.pop("params", ""))
    for key, value in nested.items():
        flat.setdefault(key, value if isinstance(value, str) else msgspec.json.encode(value).decode())
    return flat
