"""Reads: search, query, get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import structs

from redkite.client import arguments
from redkite.client.operations.data import Ids, id_list
from redkite.client.operations.kinds import queries_by_ids, query_kinds, search_kinds
from redkite.client.results import QueryResult, SearchResult
from redkite.client.session import Operation, Session, answer, ask, ask_by_ids
from redkite.client.vectors import queries
from redkite.errors import ParamError
from redkite.model import requests, results
from redkite.model.types import ConsistencyLevel

Moment = int | str | datetime
"""A hybrid timestamp, ISO 8601 text, or a datetime."""
TimeFields = str | Sequence[str] | None
"""Parts of times, as one text or a list."""
_EVERYTHING = ("*",)
_NOTHING: Mapping[str, Any] = {}
_OWN_SETTINGS = ("metric_type", "offset", "ignore_growing", "round_decimal", "as_of", "timezone", "time_fields")


def search(
    session: Session,
    collection_name: str,
    data: Any,
    filter: str | None,
    limit: int,
    output_fields: Sequence[str] | None,
    search_params: Mapping[str, Any] | None,
    partition_names: Sequence[str] | None,
    anns_field: str | None,
    offset: int | None,
    round_decimal: int | None,
    filter_params: dict[str, Any] | None,
    consistency_level: str | int | None,
    ignore_growing: bool | None,
    guarantee_timestamp: int | None,
    as_of: Moment | None,
    timezone: str | None,
    time_fields: TimeFields,
    options: Mapping[str, Any] = _NOTHING,
) -> Operation[SearchResult]:
    """Find the rows closest to each query vector."""
    key: tuple[Any, ...] | None = None
    known: requests.Search | None = None
    if (
        data is not None and not options and partition_names is None and offset is None and round_decimal is None
        and filter_params is None and consistency_level is None and ignore_growing is None
        and guarantee_timestamp is None and as_of is None and timezone is None and time_fields is None
    ):  # fmt: skip
        key, known = asked_before(session, collection_name, filter, limit, output_fields, search_params, anns_field)
    if known is not None:
        request = structs.replace(known, queries=queries(data, known.anns_field))
    else:
        params = flat_params(search_params) if search_params else {}
        rest = (
            partition_names, offset, round_decimal, filter_params, consistency_level, ignore_growing,
            guarantee_timestamp, as_of, timezone, time_fields,
        )  # fmt: skip
        request = _search(
            session, collection_name, data, filter, limit, output_fields, params, anns_field, rest, options
        )  # fmt: skip
        if key is not None:
            session.keep(key, request)
    hits = answer(request, (yield request), results.Hits)
    return SearchResult(hits, request.round_decimal)


def asked_before(
    session: Session,
    name: str,
    filter: str | None,
    limit: int,
    output_fields: Sequence[str] | None,
    search_params: Mapping[str, Any] | None,
    anns_field: str | None,
) -> tuple[tuple[Any, ...] | None, requests.Search | None]:
    """What a search with these arguments and no others is remembered by (None: it cannot be), and what is: the request,
    without vectors, if it was asked before."""
    fields = tuple(output_fields) if type(output_fields) is list else output_fields
    settings = _settings(search_params) if search_params else ()
    if settings is None:
        return None, None
    key = session.database, name, filter, limit, type(limit), fields, anns_field, *settings
    try:
        return key, session.searches.get(key)
    except TypeError:  # one of them is a list or a dict
        return None, None


def _settings(search_params: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Search parameters as part of a key; None where they have to be looked at. Numbers of several types are equal, and
    not all of them are good for a setting."""
    if type(search_params) is not dict:
        return None
    nested = search_params.get("params", _NOTHING)
    if nested is _NOTHING:
        return *search_params.items(), *map(type, search_params.values())
    if type(nested) is not dict:
        return None
    kinds = map(type, nested.values())
    if len(search_params) == 1:
        return 0, *nested.items(), *kinds
    outer = [item for item in search_params.items() if item[0] != "params"]
    return *outer, len(outer), *nested.items(), *map(type, search_params.values()), *kinds


def _search(
    session: Session,
    collection_name: str,
    data: Any,
    filter: str | None,
    limit: int,
    output_fields: Sequence[str] | None,
    params: dict[str, Any],
    anns_field: str | None,
    rest: tuple[Any, ...],
    options: Mapping[str, Any],
) -> requests.Search:
    """The request, once all arguments are found to be good. Takes its own settings out of the search parameters."""
    (
        partition_names, offset, round_decimal, filter_params, consistency_level, ignore_growing, guarantee_timestamp,
        as_of, timezone, time_fields,
    ) = rest  # fmt: skip
    name = arguments.name("collection_name", collection_name)
    kinds = search_kinds(options, params) if options or params else {}
    own = {key: params.pop(key) for key in _OWN_SETTINGS if key in params} if params else {}
    digits = arguments.integer("round_decimal", _one("round_decimal", round_decimal, own, -1))
    field = arguments.optional_name("anns_field", anns_field)
    level = arguments.consistency(consistency_level)
    return requests.Search(
        database=session.database,
        collection=name,
        queries=_queries(data, options.get("ids"), field),
        limit=arguments.integer("limit", limit),
        anns_field=field,
        filter=arguments.expression(filter),
        filter_params=arguments.template(filter_params),
        output_fields=arguments.names("output_fields", output_fields),
        partitions=arguments.names("partition_names", partition_names),
        offset=arguments.integer("offset", _one("offset", offset, own, 0)),
        metric=str(own.get("metric_type") or ""),
        params=params,
        round_decimal=digits,
        ignore_growing=arguments.flag("ignore_growing", _one("ignore_growing", ignore_growing, own, False)),
        consistency_level=level,
        guarantee_timestamp=guarantee(session, name, level, guarantee_timestamp),
        as_of=arguments.moment("as_of", _one("as_of", as_of, own, None)),
        timezone=arguments.optional_name("timezone", _one("timezone", timezone, own, None)),
        time_fields=arguments.time_fields(_one("time_fields", time_fields, own, None)),
        **kinds,
    )


def _queries(data: Any, ids: Ids | None, field: str) -> requests.Queries:
    """The query vectors, or the rows to take them from."""
    keys = id_list(ids)
    if not keys:
        if data is None:
            raise ParamError("missing required argument: [data]")
        return queries(data, field)
    if data is not None:
        raise ParamError("Ambiguous parameter, either data or ids should be specified, cannot support both.")
    return queries_by_ids(keys)


def flat_params(search_params: Mapping[str, Any]) -> dict[str, Any]:
    """Search parameters on one level, whether they were given flat, in `params`, or both."""
    if type(search_params) is not dict and not isinstance(search_params, Mapping):
        raise ParamError(f"Search params must be a dict, got {type(search_params)}")
    nested = search_params.get("params") or {}
    if type(nested) is not dict and not isinstance(nested, Mapping):
        raise ParamError(f"Search params must be a dict, got {type(nested)}")
    flat = {key: value for key, value in search_params.items() if key != "params" and value is not None}
    for key, value in nested.items():
        if key in flat and flat[key] != value:
            raise ParamError(
                f"ambiguous parameter: {key}, in search_param: {flat[key]}, in search_param.params: {value}"
            )
        flat[key] = arguments.plain(value)
    arguments.refuse_unbuilt("search", flat)
    return flat


def _one(name: str, given: Any, params: Mapping[str, Any], default: Any) -> Any:
    """A setting that may be an argument or a search parameter, not both."""
    if name not in params:
        return default if given is None else given
    if given is not None and given != params[name]:
        raise ParamError(f"Provide {name} both in kwargs and param, expect just one")
    return params[name]


def guarantee(session: Session, name: str, level: ConsistencyLevel | None, given: int | None) -> int:
    """The timestamp a read must see: at Session level, this client's last write to the collection."""
    if given is not None:
        return arguments.integer("guarantee_timestamp", given)
    if level is ConsistencyLevel.Session:
        return session.last_writes.get((session.database, name), 0)
    return 0


def query(
    session: Session,
    collection_name: str,
    filter: str | None,
    output_fields: Sequence[str] | None,
    ids: Ids | None,
    partition_names: Sequence[str] | None,
    limit: int | None,
    offset: int | None,
    filter_params: dict[str, Any] | None,
    consistency_level: str | int | None,
    ignore_growing: bool | None,
    guarantee_timestamp: int | None,
    as_of: Moment | None,
    timezone: str | None,
    time_fields: TimeFields,
    options: Mapping[str, Any] = _NOTHING,
) -> Operation[QueryResult]:
    """Rows that match a filter, or have one of the given primary keys."""
    name = arguments.name("collection_name", collection_name)
    condition = arguments.expression(filter)
    keys = id_list(ids)
    if keys and condition:
        raise ParamError("Ambiguous parameter, either ids or filter should be specified, cannot support both.")
    level = arguments.consistency(consistency_level)
    request = requests.Query(
        database=session.database,
        collection=name,
        filter=condition,
        filter_params=arguments.template(filter_params),
        output_fields=arguments.names("output_fields", output_fields) or _EVERYTHING,
        partitions=arguments.names("partition_names", partition_names),
        limit=None if limit is None else arguments.integer("limit", limit),
        offset=0 if offset is None else arguments.integer("offset", offset),
        ignore_growing=arguments.flag("ignore_growing", bool(ignore_growing)),
        consistency_level=level,
        guarantee_timestamp=guarantee(session, name, level, guarantee_timestamp),
        as_of=arguments.moment("as_of", as_of),
        timezone=arguments.optional_name("timezone", timezone),
        time_fields=arguments.time_fields(time_fields),
        **query_kinds(options),
    )
    if keys:
        rows = yield from ask_by_ids(session, request, keys, results.Rows)
    else:
        rows = yield from ask(request, results.Rows)
    return QueryResult(rows)


def get(
    session: Session,
    collection_name: str,
    ids: Ids,
    output_fields: Sequence[str] | None,
    partition_names: Sequence[str] | None,
    consistency_level: str | int | None,
    as_of: Moment | None,
    timezone: str | None,
    time_fields: TimeFields,
) -> Operation[QueryResult | list[dict[str, Any]]]:
    """Rows by primary key; keys that do not exist are left out."""
    keys = id_list(ids)
    if not keys:
        return []
    rows = yield from query(
        session, collection_name, None, output_fields, keys, partition_names, None, None, None, consistency_level,
        None, None, as_of, timezone, time_fields,
    )  # fmt: skip
    return rows
