"""The kinds of search and of query: by primary keys, grouped, ordered, aggregated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import pyarrow as pa

from redkite.client import arguments
from redkite.client.highlighting import highlighter_of
from redkite.client.operations.scoring import ranking_of
from redkite.errors import InvalidParameter, ParamError
from redkite.model.orderings import given_orderings, split_names
from redkite.model.reading import check_ungrouped
from redkite.model.requests import Aggregation, Grouping, Queries
from redkite.model.tuning import TUNING_KEYS, Explain, Tuning, read_explain, read_tuning
from redkite.model.types import DataType

if TYPE_CHECKING:
    from redkite.client.aggregation import SearchAggregation
    from redkite.client.chains import FunctionChain
    from redkite.client.highlighting import LexicalHighlighter, SemanticHighlighter
    from redkite.client.operations.data import Ids
    from redkite.client.ranking import FunctionScore
    from redkite.client.schema import Function

Orderings = str | Sequence[str | Mapping[str, str]]


class QueryOptions(TypedDict, total=False):
    """More that `query` takes."""

    order_by_fields: Orderings | None
    """Sort by these: `[{"field": "price", "order": "desc"}]` or `"price:desc,id"`. Fields, dynamic keys or JSON paths;
    `:nulls_last` may follow the direction. Wants a limit."""
    order_by: Orderings | None
    """Another name of `order_by_fields`."""
    group_by_fields: Sequence[str] | str | None
    """One row for each value of these fields; `output_fields` may name them and aggregates such as `"count(*)"`,
    `"sum(price)"`, `"min(price)"`, `"max(price)"` and `"avg(price)"`."""
    explain: bool | None
    """Read nothing, and tell in `.explanation` how it would be done."""
    analyze: bool | None
    """Tell in `.explanation` how it was done."""


class SearchOptions(TypedDict, total=False):
    """More that `search` takes."""

    ids: Ids | None
    """Search with the vectors of the rows that have these primary keys, instead of `data`."""
    group_by_field: str | None
    """One hit for each value of this field, dynamic key or JSON path; `limit` counts groups."""
    group_by_fields: Sequence[str] | str | None
    """The same of several fields."""
    group_size: int | None
    """Hits of each group, at most; 10 at most."""
    strict_group_size: bool | None
    """Fill every group as far as there are rows."""
    json_path: str | None
    """Of `group_by_field`: a path below the JSON field, such as `/a/b`."""
    json_type: DataType | str | None
    """Of `group_by_field`: what the values at a path are cast to."""
    strict_cast: bool | None
    """Of `group_by_field`: values of another type are null rather than converted."""
    order_by_fields: Orderings | None
    """Show the hits in this order, as `query` takes it."""
    ranker: Function | FunctionScore | None
    """A function of type RERANK that scores the hits anew, or several."""
    function_chains: FunctionChain | Sequence[FunctionChain] | None
    """Steps that score and order the hits anew; instead of a ranker."""
    highlighter: LexicalHighlighter | SemanticHighlighter | None
    """Marks words or sentences in the texts of the hits: `hit["highlight"]`."""
    search_aggregation: SearchAggregation | None
    """Buckets of hits, in `.agg_buckets` of the result."""
    page_retain_order: bool | None
    """Pages by `offset` follow one another without a gap: every row is compared, whatever the index."""
    hints: str | None
    """`"iterative_filter"`: filter rows as they are found, closest first, rather than all of them before."""
    exact: bool | None
    """Compare every row, whatever the index."""
    recall: float | None
    """Instead of `ef`, `nprobe` and their like: find this part of the true neighbours, as measured here."""
    explain: bool | None
    """Search nothing, and tell in `.explanation` how it would be done."""
    analyze: bool | None
    """Tell in `.explanation` how it was done, and in `.recalls` which part of the true neighbours was found."""


OPTIONS = {"query": tuple(QueryOptions.__annotations__), "search": tuple(SearchOptions.__annotations__)}
"""Method -> the options it takes."""
_SETTINGS = (
    "hints", "page_retain_order", "group_by_field", "group_by_fields", "group_size", "strict_group_size", "json_path",
    "json_type", "strict_cast", "order_by_fields", *TUNING_KEYS,
)  # fmt: skip
"""Those that may stand among the search parameters too."""
_CAST_TYPES = {
    DataType.INT8: "Int8", DataType.INT16: "Int16", DataType.INT32: "Int32", DataType.INT64: "Int64",
    DataType.BOOL: "Bool", DataType.VARCHAR: "VarChar", DataType.STRING: "VarChar",
}  # fmt: skip


def split_options(options: Mapping[str, Any], kinds: type) -> tuple[dict[str, Any], dict[str, object]]:
    """(those that are known, those that are not)"""
    if not options:
        return {}, {}
    known = kinds.__annotations__
    return {k: v for k, v in options.items() if k in known}, {k: v for k, v in options.items() if k not in known}


def search_kinds(options: Mapping[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """The fields of a `Search` that say which kind it is. Takes its settings out of the search parameters."""
    given = {key: value for key, value in options.items() if value is not None}
    for key in () if params.keys().isdisjoint(_SETTINGS) else _SETTINGS:
        if key in params:
            value = params.pop(key)
            if key in given and given[key] != value:
                raise ParamError(f"Provide {key} both in kwargs and param, expect just one")
            given[key] = value
    if not given:
        return {}
    kinds: dict[str, Any] = {"order_by": given_orderings(given.get("order_by_fields")), **ranking_of(given)}
    kinds["grouping"] = _grouping(given)
    kinds["aggregation"] = _aggregation(given)
    if "highlighter" in given:
        kinds["highlighter"] = highlighter_of(given["highlighter"])
    kinds["tuning"] = tuning_of(given)
    if "page_retain_order" in given:
        kinds["in_order"] = _flag("page_retain_order", given["page_retain_order"])
    if "hints" in given:
        kinds["hints"] = arguments.optional_name("hints", given["hints"])
    return kinds


def query_kinds(options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `Query` that say which kind it is."""
    if not options:
        return {}
    first, other = options.get("order_by_fields"), options.get("order_by")
    return {
        "order_by": given_orderings(other if first is None else first),
        "group_by": names_of("group_by_fields", options.get("group_by_fields")),
        "explain": explain_of(options),
    }


def tuning_of(given: Mapping[str, Any]) -> Tuning | None:
    """How exact a search is to be, and whether it tells how it was answered."""
    try:
        return read_tuning(given)
    except InvalidParameter as error:
        raise ParamError(error.message) from None


def explain_of(given: Mapping[str, Any]) -> Explain:
    """Whether a read tells how it was answered."""
    try:
        return read_explain(given)
    except InvalidParameter as error:
        raise ParamError(error.message) from None


def names_of(argument: str, given: object) -> tuple[str, ...]:
    """Fields and paths, as a list or as one text with commas."""
    if isinstance(given, str):
        return tuple(split_names(given))
    if given is not None and not isinstance(given, list | tuple):
        raise ParamError(f"{argument} must be a list")
    return arguments.names(argument, given)


def queries_by_ids(ids: Sequence[int] | Sequence[str]) -> Queries:
    """The queries of a search by primary keys."""
    return Queries(data_type=DataType.NONE, ids=pa.array(ids, pa.string() if isinstance(ids[0], str) else pa.int64()))


def _flag(argument: str, value: object) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise ParamError(f"wrong type for {argument}, expect bool, got {type(value)}")
    return bool(value)


def _grouping(given: Mapping[str, Any]) -> Grouping | None:
    single, several = given.get("group_by_field"), names_of("group_by_fields", given.get("group_by_fields"))
    if single and several:
        raise ParamError("group_by_field and group_by_fields are mutually exclusive")
    fields = (arguments.name("group_by_field", single),) if single else several
    size = arguments.integer("group_size", given.get("group_size", 1))
    strict = _flag("strict_group_size", given.get("strict_group_size", False))
    if not fields:
        check_ungrouped(size, strict)
        return None
    return Grouping(
        fields=fields,
        size=size,
        strict=strict,
        json_path=arguments.optional_name("json_path", given.get("json_path")),
        json_type=_cast_type(given.get("json_type")),
        strict_cast=_flag("strict_cast", given.get("strict_cast", False)),
    )


def _cast_type(given: object) -> str:
    if given is None or given == "":
        return ""
    name = given if isinstance(given, str) else _CAST_TYPES.get(given) if isinstance(given, DataType) else None
    if name not in _CAST_TYPES.values():
        raise ParamError(f"Unsupported json cast type: {given}")
    return str(name)


def _aggregation(given: Mapping[str, Any]) -> Aggregation | None:
    asked = given.get("search_aggregation")
    if asked is None:
        return None
    from redkite.client.aggregation import SearchAggregation

    if not isinstance(asked, SearchAggregation):
        raise ParamError(f"search_aggregation must be a SearchAggregation, got {type(asked).__name__}")
    for other in ("group_by_field", "group_by_fields"):
        if given.get(other):
            raise ParamError(f"search_aggregation and {other} are mutually exclusive")
    return asked.request
