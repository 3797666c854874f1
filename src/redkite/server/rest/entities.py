"""REST: rows in, rows out, and searches."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import pyarrow as pa

from redkite.client.rows import RowPlan
from redkite.errors import InvalidParameter
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.moments import read_time_parts
from redkite.model.one_row import OneRow, RowLayout
from redkite.model.schema import CollectionSchema
from redkite.model.types import FieldOp, changes_partly
from redkite.server.rest.bodies import (
    CollectionDataReq,
    CollectionFilterReq,
    CollectionIDReq,
    QueryReqV2,
    SearchReqV2,
    UpsertReq,
)
from redkite.server.rest.exchange import (
    Endpoint,
    Exchange,
    MissingKeys,
    answer,
    consistency,
)
from redkite.server.rest.functions import function_chains, function_score
from redkite.server.rest.highlighting import highlighter_of
from redkite.server.rest.kinds import bucket_rows, explained, partly, query_kinds, search_kinds, stored_ids
from redkite.server.rest.rendering import answered_hits, answered_rows
from redkite.server.rest.rows import key_list, read_ids, read_queries, read_rows
from redkite.server.rest.streams import Content

T = TypeVar("T")

_COUNT = "count(*)"
_INLINE_ROWS = 64
"""More rows than this are converted in a thread."""
_INLINE_VECTORS = 8


async def _info(exchange: Exchange, collection: str) -> rs.CollectionInfo:
    return await exchange.ask(
        rq.DescribeCollection(database=exchange.database, collection=collection), rs.CollectionInfo
    )


async def _run(exchange: Exchange, work: Callable[[], T], inline: bool) -> T:
    return work() if inline else await exchange.calls.run(work)


# -- writes -------------------------------------------------------------------------------------
async def _insert(exchange: Exchange, body: CollectionDataReq) -> bytes:
    info = await _info(exchange, body.collection_name)
    single = _single(info, body.data)
    rows = single or await _rows(exchange, info, body, upsert=False, partial=False)
    request = rq.Insert(
        database=exchange.database,
        collection=body.collection_name,
        rows=rows,
        partition=body.partition_name,
        schema_timestamp=info.update_timestamp,
    )
    written = await exchange.ask(request, rs.Written)
    keys = written.ids if isinstance(written, rs.Mutation) else pa.array([rows.key])
    ids = key_list(keys, exchange.integers_as_text)
    return answer({"insertCount": written.count, "insertIds": ids}, cost=0)


async def _upsert(exchange: Exchange, body: UpsertReq) -> bytes:
    ops = _field_ops(body.field_ops)
    partial = body.partial_update or changes_partly(ops.values())
    info = await _info(exchange, body.collection_name)
    rows = await _rows(exchange, info, body, upsert=True, partial=partial)
    request = rq.Upsert(
        database=exchange.database,
        collection=body.collection_name,
        rows=rows,
        partition=body.partition_name,
        schema_timestamp=info.update_timestamp,
        partial=partial,
        field_ops=ops,
        condition=_condition(body),
    )
    written = await exchange.ask(request, rs.Mutation)
    ids = key_list(written.ids, exchange.integers_as_text)
    return answer({"upsertCount": written.count, "upsertIds": ids}, cost=0)


def _field_ops(given: tuple[dict[str, Any], ...]) -> dict[str, FieldOp]:
    ops: dict[str, FieldOp] = {}
    for entry in given:
        name, op = entry.get("fieldName"), entry.get("op", "REPLACE")
        if not isinstance(name, str) or not name:
            raise InvalidParameter(f"fieldOps: {entry!r:.100} names no fieldName")
        if op not in FieldOp.__members__:
            known = ", ".join(FieldOp.__members__)
            raise InvalidParameter(f"fieldOps of field {name}: op {op!r:.40} is none of {known}")
        ops[name] = FieldOp[op]
    return ops


def _condition(body: UpsertReq) -> rq.Condition | None:
    if not body.if_version and not body.where:
        return None
    return rq.Condition(versions=body.if_version, where=body.where, where_params=body.where_params)


def _single(info: rs.CollectionInfo, data: Any) -> OneRow | None:
    """A row that needs no batch; None where there are several, or the one is out of the ordinary."""
    row = data[0] if isinstance(data, list) and len(data) == 1 else data
    layout = RowLayout.of(info.schema, info.collection_id) if isinstance(row, dict) else None
    return None if layout is None else layout.row(row)


async def _rows(
    exchange: Exchange, info: rs.CollectionInfo, body: CollectionDataReq, *, upsert: bool, partial: bool
) -> pa.RecordBatch:
    """The rows of a body for a collection."""
    given = body.data if isinstance(body.data, list) else [body.data]
    inline = len(given) <= _INLINE_ROWS
    return await _run(exchange, lambda: read_rows(info, given, upsert=upsert, partial=partial), inline)


async def _delete(exchange: Exchange, body: CollectionFilterReq) -> bytes:
    request = rq.Delete(
        database=exchange.database,
        collection=body.collection_name,
        filter=body.filter,
        partition=body.partition_name,
        filter_params=body.expr_params,
    )
    return answer({"deleteCount": (await exchange.ask(request, rs.Mutation)).count})


# -- reads --------------------------------------------------------------------------------------
async def _get(exchange: Exchange, body: CollectionIDReq) -> Content:
    info = await _info(exchange, body.collection_name)
    ids = read_ids(info.schema.primary, body.id)
    partitions = body.partition_names + ((body.partition_name,) if body.partition_name else ())
    request = rq.Query(
        database=exchange.database,
        collection=body.collection_name,
        filter=RowPlan.of(info).filter_of(ids),
        output_fields=body.output_fields,
        partitions=partitions,
        consistency_level=consistency(body.consistency_level),
        as_of=body.as_of,
    )
    return await _answer_rows(exchange, request, info)


async def _query(exchange: Exchange, body: QueryReqV2) -> Content:
    info = await _info(exchange, body.collection_name)
    counting = body.output_fields == (_COUNT,)
    request = rq.Query(
        database=exchange.database,
        collection=body.collection_name,
        filter=body.filter,
        filter_params=body.expr_params,
        output_fields=body.output_fields,
        partitions=body.partition_names,
        limit=None if counting else body.limit,
        offset=body.offset,
        consistency_level=consistency(body.consistency_level),
        as_of=body.as_of,
        timezone=body.timezone,
        time_fields=read_time_parts(body.time_fields),
        **query_kinds(body),
    )
    return await _answer_rows(exchange, request, info)


async def _answer_rows(exchange: Exchange, request: rq.Query, info: rs.CollectionInfo) -> Content:
    def finish(found: rs.Result) -> Content:
        assert isinstance(found, rs.Rows)
        more = {"cost": 0, **explained(found.explanation), **partly(found.reach)}
        return answered_rows(found, info.schema, exchange.integers_as_text, more)

    return await exchange.finished(request, finish)


async def _queries(exchange: Exchange, body: SearchReqV2, schema: CollectionSchema) -> rq.Queries:
    """The query vectors, or the rows to take them from."""
    if body.ids is not None:
        if body.data:
            raise InvalidParameter("'ids' and 'data' are mutually exclusive")
        if body.search_aggregation:
            raise InvalidParameter("'ids' and 'searchAggregation' are mutually exclusive")
        return stored_ids(schema, body.ids)
    given = _vectors(body.data)
    read = functools.partial(read_queries, schema, body.anns_field, given)
    return await _run(exchange, read, len(given) <= _INLINE_VECTORS)


async def _search(exchange: Exchange, body: SearchReqV2) -> Content:
    if body.ids is None and not body.data:
        raise MissingKeys("either 'ids' (for primary key search) or 'data' (for vector search) must be provided")
    info = await _info(exchange, body.collection_name)
    queries = await _queries(exchange, body, info.schema)
    params = dict(body.search_params)
    metric = _pop_text(params, "metricType", "metric_type")
    digits = _pop_whole_number(params, "round_decimal", -1)
    ignore_growing = _pop_flag(params, "ignoreGrowing", "ignore_growing")
    params = _flattened(params)
    kinds = search_kinds(body, params)
    request = rq.Search(
        database=exchange.database,
        collection=body.collection_name,
        queries=queries,
        limit=body.limit,
        anns_field=body.anns_field,
        filter=body.filter,
        filter_params=body.expr_params,
        output_fields=body.output_fields,
        partitions=body.partition_names,
        offset=body.offset,
        metric=metric,
        round_decimal=digits,
        ignore_growing=ignore_growing,
        params=params,
        **kinds,
        consistency_level=consistency(body.consistency_level),
        as_of=body.as_of,
        timezone=body.timezone,
        time_fields=read_time_parts(body.time_fields),
        function_score=function_score(body.function_score),
        function_chains=function_chains(body.function_chains),
        highlighter=highlighter_of(body.highlighter),
    )

    def finish(found: rs.Result) -> Content:
        assert isinstance(found, rs.Hits)
        if found.buckets is not None:
            buckets = bucket_rows(found.buckets, info.schema, exchange.integers_as_text)
            return answer(buckets, cost=0, aggTopks=[len(some) for some in found.buckets], **partly(found.reach))
        recalls = {"recalls": found.recalls} if found.recalls else {}
        more = {"cost": 0, "topks": found.topks, **recalls, **explained(found.explanation), **partly(found.reach)}
        return answered_hits(found, info.schema, exchange.integers_as_text, more)

    return await exchange.finished(request, finish)


def _vectors(data: list[Any]) -> list[Any]:
    """`data` holds one vector or text per query; a bare vector is one query."""
    return [data] if isinstance(data[0], int | float) else data


def _pop_text(params: dict[str, Any], *names: str) -> str:
    values = [params.pop(name) for name in names if name in params]
    if any(not isinstance(value, str) for value in values):
        raise InvalidParameter(f"searchParams.{names[0]} must be a text, got {values[0]}")
    return values[0] if values else ""


def _pop_whole_number(params: dict[str, Any], name: str, default: int) -> int:
    value = params.pop(name, default)
    try:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError
        return int(value)
    except (TypeError, ValueError):
        raise InvalidParameter(f"{name} [{value}] is invalid, should be a whole number") from None


def _pop_flag(params: dict[str, Any], *names: str) -> bool:
    values = [params.pop(name) for name in names if name in params]
    texts = {str(value).lower() for value in values}
    if not texts <= {"true", "false"}:
        raise InvalidParameter(f"searchParams.{names[0]} must be true or false, got {values[0]}")
    return "true" in texts


def _flattened(params: dict[str, Any]) -> dict[str, Any]:
    """The index's own parameters stand in `params`, or beside it; the outer ones count."""
    inner = params.pop("params", {})
    if not isinstance(inner, dict):
        raise InvalidParameter(f"searchParams.params must be an object, got {inner!r:.80}")
    return inner | params


ENDPOINTS = {
    "entities/insert": Endpoint(CollectionDataReq, _insert),
    "entities/upsert": Endpoint(UpsertReq, _upsert),
    "entities/delete": Endpoint(CollectionFilterReq, _delete),
    "entities/get": Endpoint(CollectionIDReq, _get),
    "entities/query": Endpoint(QueryReqV2, _query),
    "entities/search": Endpoint(SearchReqV2, _search),
}
