"""Searching and querying."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from redkite.errors import InvalidParameter, Unimplemented, WireError
from redkite.model import requests, results
from redkite.model.timestamps import BOUNDED, EVENTUALLY
from redkite.model.types import ConsistencyLevel
from redkite.wire.codec import Codec, codec
from redkite.wire.collection import read_level
from redkite.wire.column_reader import read_batch, read_ids
from redkite.wire.column_writer import write_batch, write_ids
from redkite.wire.numbers import packed, read_integers
from redkite.wire.params import read_query_params, read_search_params
from redkite.wire.placeholders import read_queries, write_queries
from redkite.wire.schemas import read_pairs, write_pairs
from redkite.wire.templates import read_templates, write_templates

_BOOL_EXPR = 1
_SCORES_TAG = b"\x22"
"""Field 4, length-delimited: `SearchResultData.scores`."""
_UNSERVED_MESSAGES = ("ids", "function_score", "highlighter", "search_aggregation")
_UNSERVED_VALUES = ("function_chains", "sub_reqs", "search_by_primary_keys", "namespace")


# -- consistency --------------------------------------------------------------------------------
def _read_consistency(message: Any) -> ConsistencyLevel | None:
    """The level a read asks for; None when the collection's own counts.

    Clients from before levels existed send level 0 with a timestamp, whose small values stand for levels.
    """
    if message.use_default_consistency:
        return None
    level = read_level(message.consistency_level)
    if level is ConsistencyLevel.Strong and message.guarantee_timestamp:
        if message.guarantee_timestamp == EVENTUALLY:
            return ConsistencyLevel.Eventually
        return ConsistencyLevel.Bounded if message.guarantee_timestamp == BOUNDED else ConsistencyLevel.Customized
    return level


def _write_consistency(message: Any, request: requests.Search | requests.Query) -> None:
    message.guarantee_timestamp = request.guarantee_timestamp
    if request.consistency_level is None:
        message.use_default_consistency = True
    else:
        message.consistency_level = int(request.consistency_level)


def _moment(as_of: int, guarantee: int, *, paged: bool) -> int:
    """The time to read at: pages of an iterator name it as their guarantee timestamp."""
    return guarantee if paged and not as_of and guarantee > BOUNDED else as_of


# -- search -------------------------------------------------------------------------------------
def _decode_search(message: Any, database: str) -> requests.Search:
    for name in _UNSERVED_MESSAGES:
        if message.HasField(name):
            raise Unimplemented(f"{name} of a search is not supported in this version")
    for name in _UNSERVED_VALUES:
        if getattr(message, name):
            raise Unimplemented(f"{name} of a search is not supported in this version")
    if message.dsl and message.dsl_type != _BOOL_EXPR:
        raise InvalidParameter("a search filter must be an expression (dsl_type BoolExprV1)")
    params = read_search_params(read_pairs(message.search_params))
    return requests.Search(
        database=database,
        collection=message.collection_name,
        queries=read_queries(message.placeholder_group, message.nq),
        limit=params.topk,
        anns_field=params.anns_field,
        filter=message.dsl,
        filter_params=read_templates(message.expr_template_values),
        output_fields=tuple(message.output_fields),
        partitions=tuple(message.partition_names),
        offset=params.offset,
        metric=params.metric,
        params=params.index_params,
        round_decimal=params.round_decimal,
        ignore_growing=params.ignore_growing,
        consistency_level=_read_consistency(message),
        guarantee_timestamp=message.guarantee_timestamp,
        as_of=_moment(params.as_of, message.guarantee_timestamp, paged=params.page is not None),
        collection_id=params.collection_id,
        page=params.page,
        timezone=params.timezone,
        time_fields=params.time_fields,
    )


def _pack_search(message: Any, request: requests.Search) -> None:
    message.collection_name = request.collection
    message.placeholder_group = write_queries(request.queries)
    message.nq = request.queries.nq
    message.dsl = request.filter
    message.dsl_type = _BOOL_EXPR
    write_templates(message.expr_template_values, request.filter_params)
    message.output_fields.extend(request.output_fields)
    message.partition_names.extend(request.partitions)
    _write_consistency(message, request)
    pairs = {
        "topk": str(request.limit),
        "round_decimal": str(request.round_decimal),
        "ignore_growing": str(request.ignore_growing),
        "params": msgspec.json.encode(request.params).decode(),
    }
    if request.offset:
        pairs["offset"] = str(request.offset)
    if request.metric:
        pairs["metric_type"] = request.metric
    if request.anns_field:
        pairs["anns_field"] = request.anns_field
    if request.as_of:
        pairs["as_of"] = str(request.as_of)
    if request.collection_id:
        pairs["collection_id"] = str(request.collection_id)
    if request.page is not None:
        pairs |= {"iterator": "True", "search_iter_v2": "True", "search_iter_batch_size": str(request.limit)}
        pairs |= {"search_iter_id": request.page.token} if request.page.token else {}
        if request.page.last_bound is not None:
            pairs["search_iter_last_bound"] = repr(request.page.last_bound)
    if request.timezone:
        pairs["timezone"] = request.timezone
    if request.time_fields:
        pairs["time_fields"] = ",".join(request.time_fields)
    write_pairs(message.search_params, pairs)


def _encode_hits(message: Any, result: results.Hits) -> None:
    message.collection_name = result.collection
    message.session_ts = result.session_timestamp
    out = message.results
    topks = result.topks.tolist()
    out.num_queries = len(topks)
    out.top_k = max(topks, default=0)
    out.topks.extend(topks)
    out.primary_field_name = result.primary_field
    if len(result.scores):
        out.MergeFromString(packed(_SCORES_TAG, result.scores.astype("<f4", copy=False).tobytes()))
    write_ids(out.ids, result.ids)
    if result.output_fields:
        out.output_fields.extend(result.output_fields)
    if result.recalls:
        out.recalls.extend(result.recalls)
    if result.page is not None:
        out.search_iterator_v2_results.token = result.page.token
        out.search_iterator_v2_results.last_bound = result.page.last_bound
    if result.rows.num_columns:
        write_batch(out.fields_data, result.rows, dense=True)


def _unpack_hits(message: Any) -> results.Hits:
    found = message.results
    topks = read_integers(found.topks, np.int64)
    scores = read_integers(found.scores, np.float32)
    ids = read_ids(found.ids)
    total = len(ids)
    counted = int(topks.sum()) == total and not ((topks < 0) | (topks > total)).any()
    if not counted or len(scores) != total:
        raise WireError(f"a search reply holds {total} ids and {len(scores)} scores for {topks.sum()} hits")
    return results.Hits(
        topks=topks,
        ids=ids,
        scores=scores,
        rows=read_batch(found.fields_data, total, dense=True) if total else pa.RecordBatch.from_arrays([], names=[]),
        output_fields=tuple(found.output_fields),
        primary_field=found.primary_field_name or "id",
        collection=message.collection_name,
        session_timestamp=message.session_ts,
        recalls=tuple(found.recalls),
        page=_read_page_end(found),
    )


def _read_page_end(found: Any) -> results.PageEnd | None:
    if not found.HasField("search_iterator_v2_results"):
        return None
    end = found.search_iterator_v2_results
    return results.PageEnd(token=end.token, last_bound=end.last_bound)


# -- query --------------------------------------------------------------------------------------
def _decode_query(message: Any, database: str) -> requests.Query:
    if message.namespace:
        raise Unimplemented("namespace of a query is not supported in this version")
    params = read_query_params(read_pairs(message.query_params))
    return requests.Query(
        database=database,
        collection=message.collection_name,
        filter=message.expr,
        filter_params=read_templates(message.expr_template_values),
        output_fields=tuple(message.output_fields),
        partitions=tuple(message.partition_names),
        limit=params.limit,
        offset=params.offset,
        ignore_growing=params.ignore_growing,
        consistency_level=_read_consistency(message),
        guarantee_timestamp=message.guarantee_timestamp,
        as_of=_moment(params.as_of, message.guarantee_timestamp, paged=params.is_page),
        collection_id=params.collection_id,
        timezone=params.timezone,
        time_fields=params.time_fields,
    )


def _pack_query(message: Any, request: requests.Query) -> None:
    message.collection_name = request.collection
    message.expr = request.filter
    write_templates(message.expr_template_values, request.filter_params)
    message.output_fields.extend(request.output_fields)
    message.partition_names.extend(request.partitions)
    _write_consistency(message, request)
    pairs = {"ignore_growing": str(request.ignore_growing)}
    if request.limit is not None:
        pairs["limit"] = str(request.limit)
    if request.offset:
        pairs["offset"] = str(request.offset)
    if request.as_of:
        pairs["as_of"] = str(request.as_of)
    if request.collection_id:
        pairs["collection_id"] = str(request.collection_id)
    if request.timezone:
        pairs["timezone"] = request.timezone
    if request.time_fields:
        pairs["time_fields"] = ",".join(request.time_fields)
    write_pairs(message.query_params, pairs)


def _encode_rows(message: Any, result: results.Rows) -> None:
    message.collection_name = result.collection
    message.session_ts = result.session_timestamp
    message.primary_field_name = result.primary_field
    message.output_fields.extend(result.output_fields)
    write_batch(message.fields_data, result.rows, dense=True)


def _unpack_rows(message: Any) -> results.Rows:
    return results.Rows(
        rows=read_batch(message.fields_data, None, dense=True),
        output_fields=tuple(message.output_fields),
        primary_field=message.primary_field_name,
        collection=message.collection_name,
        session_timestamp=message.session_ts,
    )


CODECS: tuple[Codec[Any, Any], ...] = (
    codec(
        "Search", requests.Search, results.Hits, decode=_decode_search, pack=_pack_search,
        encode=_encode_hits, unpack=_unpack_hits,
    ),
    codec(
        "Query", requests.Query, results.Rows, decode=_decode_query, pack=_pack_query,
        encode=_encode_rows, unpack=_unpack_rows,
    ),
)  # fmt: skip
