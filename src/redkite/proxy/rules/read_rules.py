"""What a search or a query may ask for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from redkite.coordinator.meta import CollectionMeta
from redkite.errors import InvalidParameter
from redkite.model.limits import LIMITS, Limits
from redkite.model.requests import Search
from redkite.model.rules.function_rules import bm25_outputs
from redkite.model.schema import META_FIELD, VERSION_FIELD, CollectionSchema, FieldSchema
from redkite.model.timestamps import physical_ms
from redkite.model.types import Metric

_ONE_METRIC = {Metric.MAX_SIM, Metric.MAX_SIM_COSINE}
"""Two names of it."""
COUNT = "count(*)"
EVERYTHING = "*"
MAX_DECIMALS = 6
_TOKEN = re.compile(r"[0-9A-Fa-f-]{32,60}(\.[A-Za-z0-9_-]+)?")
_NOT_IN_A_KEY = frozenset("()[]*'\"")


# -- how many -----------------------------------------------------------------------------------
def check_search_window(limit: int, offset: int, nq: int, limits: Limits = LIMITS) -> None:
    """Rows per query, rows to skip, and queries of one search."""
    if not 1 <= limit <= limits.max_topk:
        raise _out_of_range("topk", limit, "it", limits.max_topk)
    if offset < 0 or offset > limits.max_result_window:
        raise _out_of_range("offset", offset, "it", limits.max_result_window)
    if limit + offset > limits.max_result_window:
        raise _out_of_range("offset+topk", limit + offset, "it", limits.max_result_window)
    if not 1 <= nq <= limits.max_nq:
        raise _out_of_range("nq", nq, "nq (number of search vector per search request)", limits.max_nq)


def _out_of_range(name: str, value: int, subject: str, most: int) -> InvalidParameter:
    # The protocol's text carries the suffix twice.
    return InvalidParameter(
        f"{name} [{value}] is invalid, {subject} should be in range [1, {most}], but got {value}: invalid parameter"
    )


def check_query_window(
    expression: str, limit: int | None, offset: int, *, count: bool = False, limits: Limits = LIMITS
) -> None:
    """Rows and rows to skip of one query; `count` when only `count(*)` is asked."""
    start = "invalid max query result window"
    if count:
        if limit is not None or offset:
            raise InvalidParameter("count entities with pagination is not allowed")
        return
    if offset < 0:
        raise InvalidParameter(f"{start}, offset [{offset}] is invalid, should be gte than 0: invalid parameter")
    if limit is not None and limit <= 0:
        raise InvalidParameter(f"{start}, limit [{limit}] is invalid, should be greater than 0: invalid parameter")
    window = offset + (limit or 0)
    if window > limits.max_result_window:
        raise InvalidParameter(
            f"{start}, (offset+limit) should be in range [1, {limits.max_result_window}], but got {window}"
            ": invalid parameter"
        )
    if limit is None and not expression.strip():
        raise InvalidParameter("empty expression should be used with limit")


def check_round_decimal(decimals: int) -> None:
    if decimals != -1 and not 0 <= decimals <= MAX_DECIMALS:
        raise InvalidParameter(
            f"round_decimal [{decimals}] is invalid, should be -1 or an integer in range [0, {MAX_DECIMALS}]"
        )


# -- which vectors ------------------------------------------------------------------------------
def choose_vector_field(schema: CollectionSchema, name: str) -> FieldSchema:
    """The field to search: the one named, or the only vector field."""
    if not name:
        fields = schema.vector_fields
        if len(fields) > 1:
            raise InvalidParameter("multiple anns_fields exist, please specify a anns_field in search_params")
        if not fields:
            raise InvalidParameter("anns_field not found in schema")
        return fields[0]
    field = schema.field(name)
    if field is None:
        raise InvalidParameter(
            f"failed to create query plan: failed to get field schema by name: fieldName({name}) not found"
        )
    if not field.data_type.is_vector:
        raise InvalidParameter(f"failed to create query plan: field ({name}) to search is not of vector data type")
    return field


def check_metric(asked: str, metric: Metric) -> None:
    """The metric a search names (empty: none) must be the index's."""
    if asked and asked.upper() != metric and not {asked.upper(), metric} <= _ONE_METRIC:
        raise InvalidParameter("metric type not match", expected=metric, actual=asked)


# -- which rows and columns ---------------------------------------------------------------------
def choose_partitions(meta: CollectionMeta, names: Sequence[str]) -> frozenset[int] | None:
    """Ids of the partitions named; None when none is named, which means all."""
    if not names:
        return None
    if meta.has_partition_key:
        raise InvalidParameter("not support manually specifying the partition names if partition key mode is used")
    ids: set[int] = set()
    for name in names:
        partition = meta.partition(name)
        if partition is None:
            raise InvalidParameter(f"partition name {name} not found")
        ids.add(partition.partition_id)
    return frozenset(ids)


def is_count(names: Sequence[str]) -> bool:
    """True when a query asks for `count(*)` and nothing else."""
    return len(names) == 1 and names[0].strip().lower() == COUNT


def expand_output_fields(
    schema: CollectionSchema, names: Sequence[str], *, with_primary: bool = False
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(columns to fetch, names to show) for the output fields asked for.

    `*` is every field but those of words; with a dynamic field also `$meta`. A name that no field has is a dynamic key:
    `$meta` is fetched and the key shown. `with_primary` adds the primary key where it was not asked for, as queries
    always show it.
    """
    fetch: dict[str, None] = {}
    show: dict[str, None] = {}
    unread = bm25_outputs(schema) if schema.functions else ()
    for given in names:
        name = given.strip()
        if name == EVERYTHING:
            readable = [field for field in schema.fields if field.name not in unread]
            fetch |= dict.fromkeys(field.name for field in readable)
            show |= dict.fromkeys(field.struct_name or field.name for field in readable)
        elif parts := _parts(schema, name):
            fetch |= dict.fromkeys(parts)
            show[name.partition("[")[0]] = None
        elif name in unread:
            raise InvalidParameter(f"not allowed to retrieve raw data of field {name}")
        elif schema.field(name) is not None or name == VERSION_FIELD:
            fetch[name] = show[name] = None
        elif name and schema.dynamic_field is not None and _NOT_IN_A_KEY.isdisjoint(name):
            fetch[META_FIELD] = show[name] = None
        else:
            raise InvalidParameter(f"field {name} not exist")
    if with_primary:
        fetch.setdefault(schema.primary.name)
        show.setdefault(schema.primary.name)
    return tuple(fetch), tuple(show)


def _parts(schema: CollectionSchema, name: str) -> list[str]:
    """The columns of an array of structs, or the one of a sub-field; none for any other name."""
    struct = schema.struct(name.partition("[")[0])
    return [] if struct is None else [part.name for part in struct.fields if name in (struct.name, part.name)]


# -- when ---------------------------------------------------------------------------------------
CLOCK_TOLERANCE_MS = 10_000
"""How far the clock of a client may be ahead of ours before its timestamps are refused."""


def check_as_of(meta: CollectionMeta, as_of: int, now: int) -> None:
    """A time at which the collection existed. How far back its deleted rows reach, each shard knows."""
    if as_of > now:
        ahead = physical_ms(as_of) - physical_ms(now)
        raise InvalidParameter(
            f"as_of={as_of} lies {ahead} ms in the future: it is a hybrid timestamp, milliseconds << 18"
        )
    if as_of < meta.created_timestamp:
        raise InvalidParameter(
            f"as_of={as_of} lies before collection {meta.name} was created, at timestamp {meta.created_timestamp}"
        )


def is_far_ahead(timestamp: int, now: int) -> bool:
    """Whether no write was answered with that timestamp, if all clocks are about as the one that says `now`."""
    return physical_ms(timestamp) - physical_ms(now) > CLOCK_TOLERANCE_MS


def check_guarantee(timestamp: int, now: int) -> None:
    """Every write answered so far is visible, so only a timestamp from the future cannot be guaranteed."""
    if is_far_ahead(timestamp, now):
        ahead = physical_ms(timestamp) - physical_ms(now)
        raise InvalidParameter(
            f"guarantee_timestamp={timestamp} lies {ahead} ms in the future: no write up to it can be waited for"
        )


# -- iterators ----------------------------------------------------------------------------------
def check_same_collection(meta: CollectionMeta, collection_id: int) -> None:
    """An iterator must not go on in a collection that was made anew under the old name."""
    if collection_id and collection_id != meta.collection_id:
        raise InvalidParameter(
            f"collection {meta.name} is not the one the iterator began with: its id is {meta.collection_id}, "
            f"not {collection_id}"
        )


def check_page(request: Search) -> None:
    """A page is of one query, in order, without gaps."""
    if request.queries.nq != 1:
        nq = request.queries.nq
        raise InvalidParameter(f"Not support search iteration over multiple vectors at present: nq is {nq}")
    if request.offset:
        raise InvalidParameter("Setting an offset is not permitted when using a search iterator v2")
    if request.page is not None and request.page.token and not _TOKEN.fullmatch(request.page.token):
        raise InvalidParameter("invalid token format")
