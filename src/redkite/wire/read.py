"""Searching and querying."""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.errors import InvalidParameter, Unimplemented, WireError
from redkite.model import requests, results
from redkite.model.buckets import Bucket
from redkite.model.decoding import from_json
from redkite.model.explain import Explanation
from redkite.model.reach import Reach
from redkite.model.timestamps import BOUNDED, EVENTUALLY
from redkite.model.types import ConsistencyLevel, DataType
from redkite.wire.aggregation import read_aggregation, read_buckets, write_aggregation, write_buckets
from redkite.wire.codec import Codec, codec
from redkite.wire.collection import read_level
from redkite.wire.column_reader import read_batch, read_ids
from redkite.wire.column_writer import write_batch, write_ids
from redkite.wire.functions import read_chains, read_function_score, write_chains, write_function_score
from redkite.wire.highlighting import decode_highlighter, encode_highlights, pack_highlighter, read_highlights
from redkite.wire.kinds import read_query_kinds, read_search_kinds, write_query_kinds, write_search_kinds
from redkite.wire.messages import milvus
from redkite.wire.numbers import packed, read_integers, varint
from redkite.wire.params import SearchParams, read_flag, read_query_params, read_search_params, search_values
from redkite.wire.placeholders import read_queries, write_queries
from redkite.wire.schemas import no_namespace, read_pairs, write_pairs
from redkite.wire.templates import read_templates, write_templates

_BOOL_EXPR = 1
_EXPLANATION = "explain"
_REACH = ("data_rows", "left_out_rows", "left_out_segments")
_SCORES_TAG = b"\x22"
"""Field 4, length-delimited: `SearchResultData.scores`."""
_KEPT = 2048
"""Bytes of searches, without their vectors, and characters of their filters: those of no more are remembered."""
_NO_QUERIES = requests.Queries(data_type=DataType.NONE)
_GROUP_TAG, _NQ_TAG = b"\x32", b"\x60"
"""Fields 6 and 12 of `SearchRequest`: `placeholder_group`, `nq`."""
_RARE = ("page", "grouping", "order_by", "aggregation", "tuning", "function_score", "function_chains", "highlighter")
_rare = attrgetter(*_RARE)
_NOTHING_RARE = _rare(requests.Search(collection="", queries=_NO_QUERIES, limit=1))
_TOLD = tuple(
    name
    for name in requests.Search.__struct_fields__
    if name not in (*_RARE, "queries", "params", "filter_params", "user")
)
_told = attrgetter(*_TOLD)
_PLAIN = frozenset({int, float, str, bool})
_NO_COLUMNS = pa.RecordBatch.from_arrays([], names=[])
_UNSERVED_VALUES = ("sub_reqs", "search_by_primary_keys")


# -- consistency --------------------------------------------------------------------------------
def read_consistency(message: Any) -> ConsistencyLevel | None:
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


def write_consistency(message: Any, request: requests.Search | requests.Query | requests.HybridSearch) -> None:
    message.guarantee_timestamp = request.guarantee_timestamp
    if request.consistency_level is None:
        message.use_default_consistency = True
    else:
        message.consistency_level = int(request.consistency_level)


def _moment(as_of: int, guarantee: int, *, paged: bool) -> int:
    """The time to read at: pages of an iterator name it as their guarantee timestamp."""
    return guarantee if paged and not as_of and guarantee > BOUNDED else as_of


# -- search -------------------------------------------------------------------------------------
def decode_search(message: Any, database: str) -> requests.Search:
    """`SearchRequest` -> Search. Takes the vectors out of the message."""
    vectors = message.placeholder_group
    if not vectors:
        return _decode_search(message, database, _read_queries(message))
    message.ClearField("placeholder_group")
    rest = message.SerializeToString() if message.guarantee_timestamp <= BOUNDED else b""
    again = 0 < len(rest) <= _KEPT  # a timestamp is hardly ever said twice
    known = _known_search(rest, database) if again else _decode_search(message, database, _NO_QUERIES)
    return msgspec.structs.replace(known, queries=read_queries(vectors, message.nq), params={**known.params})


@lru_cache(maxsize=256)
def _known_search(rest: bytes, database: str) -> requests.Search:
    """What a `SearchRequest` says beside its vectors. Searches come again and again with the same."""
    return _decode_search(milvus.SearchRequest.FromString(rest), database, _NO_QUERIES)


def _decode_search(message: Any, database: str, queries: requests.Queries) -> requests.Search:
    if message.namespace:
        raise no_namespace(message.namespace)
    for name in _UNSERVED_VALUES:
        if getattr(message, name):
            raise Unimplemented(f"{name} of a search is not supported in this version")
    if message.dsl and message.dsl_type != _BOOL_EXPR:
        raise InvalidParameter("a search filter must be an expression (dsl_type BoolExprV1)")
    pairs = read_pairs(message.search_params)
    read = _known_settings if sum(map(len, pairs.values())) <= _KEPT else _settings
    params, kinds, paged = read(tuple(pairs.items()))
    if message.HasField("search_aggregation"):
        kinds = {**kinds, "aggregation": read_aggregation(message.search_aggregation)}
    return requests.Search(
        database=database,
        cluster=params.cluster,
        collection=message.collection_name,
        queries=queries,
        limit=params.topk,
        anns_field=params.anns_field,
        filter=message.dsl,
        filter_params=read_templates(message.expr_template_values),
        output_fields=tuple(message.output_fields),
        partitions=tuple(message.partition_names),
        offset=params.offset,
        metric=params.metric,
        params={**params.index_params},
        round_decimal=params.round_decimal,
        ignore_growing=params.ignore_growing,
        consistency_level=read_consistency(message),
        guarantee_timestamp=message.guarantee_timestamp,
        as_of=_moment(params.as_of, message.guarantee_timestamp, paged=paged),
        collection_id=params.collection_id,
        page=params.page,
        timezone=params.timezone,
        time_fields=params.time_fields,
        **kinds,
        function_score=read_function_score(message),
        function_chains=read_chains(message.function_chains),
        highlighter=decode_highlighter(message),
    )


def _settings(pairs: tuple[tuple[str, str], ...]) -> tuple[SearchParams, dict[str, Any], bool]:
    """What the pairs of a search say: its parameters, the fields of a `Search` that say which kind it is, and whether
    it is a page of an iterator. Nobody changes these."""
    given = dict(pairs)
    params, values = read_search_params(given), search_values(given)
    paged = params.page is not None or read_flag("iterator", values.get("iterator", ""))
    return params, read_search_kinds(values), paged


_known_settings = lru_cache(maxsize=256)(_settings)


def _read_queries(message: Any) -> requests.Queries:
    """The query vectors, or the rows to take them from."""
    if message.WhichOneof("search_input") == "ids":
        return requests.Queries(data_type=DataType.NONE, ids=read_ids(message.ids))
    return read_queries(message.placeholder_group, message.nq)


def short_search(request: requests.Search) -> bytes | None:
    """A whole `SearchRequest` for a search that may come again with other vectors; None for any other."""
    queries, params = request.queries, request.params
    if queries.ids is not None or request.filter_params or len(request.filter) > _KEPT:
        return None
    if request.guarantee_timestamp:  # hardly ever the same twice
        return None
    kinds = tuple(map(type, params.values()))
    if _rare(request) != _NOTHING_RARE or not _PLAIN.issuperset(kinds):
        return None
    group = write_queries(queries)
    said = _said(_told(request), tuple(params.items()), kinds)
    return b"".join((said, _GROUP_TAG, varint(len(group)), group, _NQ_TAG, varint(queries.nq)))


@lru_cache(maxsize=256)
def _said(told: tuple[Any, ...], params: tuple[tuple[str, Any], ...], _kinds: tuple[type, ...]) -> bytes:
    """What a search says beside its vectors. Numbers of several types are equal, and are not written alike."""
    fields = dict(zip(_TOLD, told, strict=True))
    request = requests.Search(queries=_NO_QUERIES, params=dict(params), **fields)
    message = milvus.SearchRequest(db_name=request.database)
    _pack_rest(message, request)
    data: bytes = message.SerializeToString()
    return data


def pack_search(message: Any, request: requests.Search) -> None:
    """Fill a `SearchRequest`."""
    if request.queries.ids is None:
        message.placeholder_group = write_queries(request.queries)
    else:
        write_ids(message.ids, request.queries.ids)
    message.nq = request.queries.nq
    _pack_rest(message, request)


def _pack_rest(message: Any, request: requests.Search) -> None:
    """All but the vectors."""
    message.collection_name = request.collection
    if request.aggregation is not None:
        write_aggregation(message.search_aggregation, request.aggregation)
    message.dsl = request.filter
    message.dsl_type = _BOOL_EXPR
    write_templates(message.expr_template_values, request.filter_params)
    message.output_fields.extend(request.output_fields)
    message.partition_names.extend(request.partitions)
    write_consistency(message, request)
    write_function_score(message, request.function_score)
    write_chains(message.function_chains, request.function_chains)
    pack_highlighter(message, request.highlighter)
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
    if request.cluster:
        pairs["cluster_id"] = request.cluster
    write_pairs(message.search_params, pairs | write_search_kinds(request))


def encode_hits(message: Any, result: results.Hits) -> None:
    """Fill a `SearchResults`."""
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
    write_ids(out.ids, result.keys)
    if result.output_fields:
        out.output_fields.extend(result.output_fields)
    if result.element_indices is not None:
        out.element_indices.data.extend(result.element_indices.tolist())
    if result.recalls:
        out.recalls.extend(result.recalls)
    if result.page is not None:
        out.search_iterator_v2_results.token = result.page.token
        out.search_iterator_v2_results.last_bound = result.page.last_bound
    _write_explanation(message, result.explanation)
    _write_reach(message, result.reach)
    if result.rows.num_columns:
        write_batch(out.fields_data, result.rows, dense=True)
    encode_highlights(out, result.highlights)
    if result.groups is not None:
        write_batch(out.group_by_field_values, result.groups, dense=True)
        # Clients from before there could be several fields look here.
        out.group_by_field_value.CopyFrom(out.group_by_field_values[0])
    if result.buckets is not None:
        out.agg_topks.extend(len(buckets) for buckets in result.buckets)
        for buckets in result.buckets:
            write_buckets(out.agg_buckets, buckets)


def unpack_hits(message: Any) -> results.Hits:
    """`SearchResults` -> Hits. Raises WireError when its columns differ in length."""
    found = message.results
    topks = read_integers(found.topks, np.int64)
    scores = read_integers(found.scores, np.float32)
    ids = read_ids(found.ids)
    total = len(ids)
    if len(topks) == 1:
        counted = topks.item() == total
    else:
        counted = int(topks.sum()) == total and not ((topks < 0) | (topks > total)).any()
    extra = message.status.extra_info
    if not counted or len(scores) != total:
        raise WireError(f"a search reply holds {total} ids and {len(scores)} scores for {topks.sum()} hits")
    return results.Hits(
        topks=topks,
        keys=ids,
        scores=scores,
        rows=read_batch(found.fields_data, total, dense=True) if total and found.fields_data else _NO_COLUMNS,
        output_fields=tuple(found.output_fields),
        primary_field=found.primary_field_name or "id",
        collection=message.collection_name,
        session_timestamp=message.session_ts,
        recalls=tuple(found.recalls),
        page=_read_page_end(found),
        groups=read_batch(found.group_by_field_values, total, dense=True) if found.group_by_field_values else None,
        buckets=_read_buckets(found),
        element_indices=_read_offsets(found, total),
        highlights=read_highlights(found, total),
        explanation=_read_explanation(message) if extra else None,
        reach=_read_reach(message) if extra else None,
    )


def _read_offsets(found: Any, total: int) -> npt.NDArray[np.int64] | None:
    if not found.HasField("element_indices"):
        return None
    offsets: npt.NDArray[np.int64] = read_integers(found.element_indices.data, np.int64)
    if len(offsets) != total:
        raise WireError(f"a search reply holds {len(offsets)} element indices for {total} hits")
    return offsets


def _write_explanation(message: Any, explanation: Explanation | None) -> None:
    """Where clients that do not know of it pass over it."""
    if explanation is not None:
        message.status.extra_info[_EXPLANATION] = msgspec.json.encode(explanation).decode()


def _read_explanation(message: Any) -> Explanation | None:
    text = message.status.extra_info.get(_EXPLANATION, "") if message.HasField("status") else ""
    try:
        return from_json(text, Explanation) if text else None
    except msgspec.DecodeError as error:
        raise WireError(f"the explanation in a reply cannot be read: {error}") from None


def _write_reach(message: Any, reach: Reach | None) -> None:
    if reach is not None:
        for name, value in reach.said.items():
            message.status.extra_info[name] = repr(value)


def _read_reach(message: Any) -> Reach | None:
    told = message.status.extra_info if message.HasField("status") else {}
    if _REACH[-1] not in told:
        return None
    try:
        return Reach(*(int(told.get(name, "0")) for name in _REACH))
    except ValueError as error:
        raise WireError(f"a reply does not say in numbers what it left out: {error}") from None


def _read_buckets(found: Any) -> tuple[tuple[Bucket, ...], ...] | None:
    """The buckets of each query; None when the search did not ask for any."""
    if not found.agg_topks:
        return None
    buckets = read_buckets(found.agg_buckets)
    ends = np.cumsum(read_integers(found.agg_topks, np.int64)).tolist()
    if any(count < 0 for count in found.agg_topks) or ends[-1] != len(buckets):
        raise WireError(f"a search reply holds {len(buckets)} buckets for {ends[-1]}")
    return tuple(buckets[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True))


def _read_page_end(found: Any) -> results.PageEnd | None:
    if not found.HasField("search_iterator_v2_results"):
        return None
    end = found.search_iterator_v2_results
    return results.PageEnd(token=end.token, last_bound=end.last_bound)


# -- query --------------------------------------------------------------------------------------
def _decode_query(message: Any, database: str) -> requests.Query:
    if message.namespace:
        raise no_namespace(message.namespace)
    pairs = read_pairs(message.query_params)
    params = read_query_params(pairs)
    return requests.Query(
        database=database,
        cluster=params.cluster,
        collection=message.collection_name,
        filter=message.expr,
        filter_params=read_templates(message.expr_template_values),
        output_fields=tuple(message.output_fields),
        partitions=tuple(message.partition_names),
        limit=params.limit,
        offset=params.offset,
        ignore_growing=params.ignore_growing,
        consistency_level=read_consistency(message),
        guarantee_timestamp=message.guarantee_timestamp,
        as_of=_moment(params.as_of, message.guarantee_timestamp, paged=params.is_page),
        collection_id=params.collection_id,
        timezone=params.timezone,
        time_fields=params.time_fields,
        **read_query_kinds(pairs),
    )


def _pack_query(message: Any, request: requests.Query) -> None:
    message.collection_name = request.collection
    message.expr = request.filter
    write_templates(message.expr_template_values, request.filter_params)
    message.output_fields.extend(request.output_fields)
    message.partition_names.extend(request.partitions)
    write_consistency(message, request)
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
    if request.cluster:
        pairs["cluster_id"] = request.cluster
    write_pairs(message.query_params, pairs | write_query_kinds(request))


def _encode_rows(message: Any, result: results.Rows) -> None:
    message.collection_name = result.collection
    message.session_ts = result.session_timestamp
    message.primary_field_name = result.primary_field
    message.output_fields.extend(result.output_fields)
    write_batch(message.fields_data, result.rows, dense=True)
    _write_explanation(message, result.explanation)
    _write_reach(message, result.reach)


def _unpack_rows(message: Any) -> results.Rows:
    return results.Rows(
        rows=read_batch(message.fields_data, None, dense=True),
        output_fields=tuple(message.output_fields),
        primary_field=message.primary_field_name,
        collection=message.collection_name,
        session_timestamp=message.session_ts,
        explanation=_read_explanation(message),
        reach=_read_reach(message),
    )


CODECS: tuple[Codec[Any, Any], ...] = (
    codec(
        "Search", requests.Search, results.Hits, decode=decode_search, pack=pack_search,
        encode=encode_hits, unpack=unpack_hits, short=short_search,
    ),
    codec(
        "Query", requests.Query, results.Rows, decode=_decode_query, pack=_pack_query,
        encode=_encode_rows, unpack=_unpack_rows,
    ),
)  # fmt: skip
