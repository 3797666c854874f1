"""REST: the kinds of search and of query, and buckets as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from redkite.errors import InvalidParameter
from redkite.model import requests as rq
from redkite.model.buckets import Bucket, BucketHit
from redkite.model.explain import Explanation
from redkite.model.orderings import given_orderings, split_names
from redkite.model.reach import Reach
from redkite.model.reading import check_ungrouped
from redkite.model.schema import CollectionSchema
from redkite.model.tuning import TUNING_KEYS, Explain, read_tuning
from redkite.model.types import DataType
from redkite.server.rest.bodies import QueryReqV2, SearchReqV2
from redkite.server.rest.rows import read_ids

_OWN = (
    "group_by_field", "group_by_fields", "group_size", "strict_group_size", "json_path", "json_type", "strict_cast",
    "order_by_fields", "page_retain_order", "hints", *TUNING_KEYS,
)  # fmt: skip
"""Settings that stand among the search parameters."""
_LEVEL = frozenset({"fields", "size", "metrics", "order", "topHits", "subAggregation", "searchSize"})
_DIRECTIONS = {"asc": False, "desc": True}


def search_kinds(body: SearchReqV2, params: dict[str, Any]) -> dict[str, Any]:
    """The fields of a Search that say which kind it is. Takes its settings out of the search parameters."""
    own = {key: params.pop(key) for key in _OWN if key in params}
    kinds: dict[str, Any] = {
        "grouping": _grouping(body, own),
        "order_by": given_orderings(own.get("order_by_fields") or list(body.order_by_fields)),
        "in_order": _flag("page_retain_order", own.get("page_retain_order", False)),
        "hints": str(own.get("hints") or ""),
        "tuning": read_tuning(own),
    }
    if body.search_aggregation:
        kinds["aggregation"] = _level("searchAggregation", body.search_aggregation)
    return kinds


def query_kinds(body: QueryReqV2) -> dict[str, Any]:
    """The fields of a Query that say which kind it is."""
    explain: Explain = "analyze" if body.analyze else "plan" if body.explain else ""
    return {
        "order_by": given_orderings(list(body.order_by_fields)),
        "group_by": body.group_by_fields,
        "explain": explain,
    }


def explained(explanation: Explanation | None) -> dict[str, Any]:
    """What an answer holds beside its data when it was to explain itself."""
    return {} if explanation is None else {"explain": msgspec.to_builtins(explanation)}


def partly(reach: Reach | None) -> dict[str, Any]:
    """What an answer holds beside its data when rows were left out."""
    return {} if reach is None else _camel(reach.said, "reach")


def stored_ids(schema: CollectionSchema, given: Any) -> rq.Queries:
    """The `ids` of a search: keys of the rows to search with."""
    primary = schema.primary
    kind = pa.int64() if primary.data_type is DataType.INT64 else pa.string()
    return rq.Queries(data_type=DataType.NONE, ids=pa.array(read_ids(primary, given), kind))


def _grouping(body: SearchReqV2, own: Mapping[str, Any]) -> rq.Grouping | None:
    single = body.grouping_field or str(own.get("group_by_field") or "")
    several = own.get("group_by_fields") or ()
    names = tuple(split_names(several)) if isinstance(several, str) else tuple(several)
    if single and names:
        raise InvalidParameter("groupingField and group_by_fields are mutually exclusive")
    size = body.group_size or _whole_number("group_size", own.get("group_size", 1))
    strict = body.strict_group_size or _flag("strict_group_size", own.get("strict_group_size", False))
    if not single and not names:
        check_ungrouped(size, strict)
        return None
    return rq.Grouping(
        fields=(single,) if single else names,
        size=size,
        strict=strict,
        json_path=str(own.get("json_path") or ""),
        json_type=str(own.get("json_type") or ""),
        strict_cast=_flag("strict_cast", own.get("strict_cast", False)),
    )


def _flag(name: str, value: Any) -> bool:
    if str(value).lower() not in ("true", "false"):
        raise InvalidParameter(f"{name} must be true or false, got {value!r:.40}")
    return str(value).lower() == "true"


def _whole_number(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidParameter(f"{name} must be a whole number, got {value!r:.40}")
    return value


# -- buckets asked for --------------------------------------------------------------------------
def _camel(given: Any, where: str) -> dict[str, Any]:
    """An object with its keys in camel case, whichever case they came in."""
    if not isinstance(given, dict):
        raise InvalidParameter(f"{where} must be an object, got {given!r:.80}")
    parts = {key: str(key).split("_") for key in given}
    return {words[0] + "".join(w.capitalize() for w in words[1:]): given[key] for key, words in parts.items()}


def _level(where: str, given: Any, depth: int = 1) -> rq.Aggregation:
    level = _camel(given, where)
    unknown = level.keys() - _LEVEL
    if unknown:
        raise InvalidParameter(f"{where} has an unknown key {min(unknown)}")
    if depth > 32:
        raise InvalidParameter(f"{where} is nested too deep")
    fields, below, top = level.get("fields"), level.get("subAggregation"), level.get("topHits")
    if not isinstance(fields, list) or not all(isinstance(name, str) for name in fields):
        raise InvalidParameter(f"{where}.fields must be a list of names")
    metrics = level.get("metrics") or {}
    if not isinstance(metrics, dict):
        raise InvalidParameter(f"{where}.metrics must be an object")
    return rq.Aggregation(
        fields=tuple(fields),
        size=_whole_number(f"{where}.size", level.get("size")),
        measures=tuple(_measure(where, alias, item) for alias, item in metrics.items()),
        order=_orderings(f"{where}.order", level.get("order")),
        top_hits=None if top is None else _top_hits(where, top),
        below=None if below is None else _level(f"{where}.subAggregation", below, depth + 1),
        search_size=_whole_number(f"{where}.searchSize", level.get("searchSize", 0)),
    )


def _top_hits(where: str, given: Any) -> rq.TopHits:
    top = _camel(given, f"{where}.topHits")
    if top.keys() - {"size", "sort"}:
        raise InvalidParameter(f"{where}.topHits has an unknown key {min(top.keys() - {'size', 'sort'})}")
    size = _whole_number(f"{where}.topHits.size", top.get("size"))
    return rq.TopHits(size=size, sort=_orderings(f"{where}.topHits.sort", top.get("sort")))


def _measure(where: str, alias: str, given: Any) -> rq.Measure:
    """`{"avg": "price"}` or `{"op": "avg", "fieldName": "price"}`"""
    item = _camel(given, f"{where}.metrics.{alias}")
    if item.keys() == {"op", "fieldName"}:
        op, field = item["op"], item["fieldName"]
    elif len(item) == 1:
        op, field = next(iter(item.items()))
    else:
        raise InvalidParameter(f"{where}.metrics.{alias} must be an operation and a field")
    return rq.Measure(alias=alias, op=str(op), field=str(field))


def _orderings(where: str, given: Any) -> tuple[rq.Ordering, ...]:
    """`[{"price": "asc"}]` or `[{"key": "price", "direction": "asc", "nullFirst": true}]`"""
    keys = []
    for entry in given or ():
        nulls_last = True
        if isinstance(entry, dict) and len(entry) > 1:
            item = _camel(entry, where)
            name, direction = item.get("key", item.get("fieldName")), item.get("direction", "asc")
            nulls_last = not _flag(f"{where}.nullFirst", item.get("nullFirst", False))
        elif isinstance(entry, dict) and entry:
            name, direction = next(iter(entry.items()))
        else:
            name = direction = None
        if not isinstance(name, str) or direction not in _DIRECTIONS:
            raise InvalidParameter(f"{where}: {entry!r:.80} is no name with asc or desc")
        keys.append(rq.Ordering(field=name, descending=_DIRECTIONS[direction], nulls_last=nulls_last))
    return tuple(keys)


# -- buckets answered ---------------------------------------------------------------------------
def bucket_rows(
    found: Sequence[Sequence[Bucket]], schema: CollectionSchema, integers_as_text: bool
) -> list[dict[str, Any]]:
    """The buckets of each query as JSON objects."""
    wide = {f.name for f in schema.fields if f.data_type is DataType.INT64} if integers_as_text else set()
    return [{"buckets": [_bucket(bucket, wide, integers_as_text) for bucket in buckets]} for buckets in found]


def _bucket(bucket: Bucket, wide: set[str], integers_as_text: bool) -> dict[str, Any]:
    return {
        "key": [
            {"fieldName": part.field, "fieldId": part.field_id, "value": _shown(part.field, part.value, wide)}
            for part in bucket.key
        ],
        "count": bucket.count,
        "metrics": bucket.measures,
        "hits": [_hit(hit, wide, integers_as_text) for hit in bucket.hits],
        "subGroups": [_bucket(below, wide, integers_as_text) for below in bucket.groups],
    }


def _hit(hit: BucketHit, wide: set[str], integers_as_text: bool) -> dict[str, Any]:
    key = str(hit.key) if integers_as_text else hit.key
    fields = {name: _shown(name, value, wide) for name, value in hit.fields.items()}
    return {"pk": key, "distance": hit.score, **fields}


def _shown(name: str, value: Any, wide: set[str]) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return str(value) if name in wide and value is not None else value
