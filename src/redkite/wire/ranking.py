"""Hybrid search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from redkite.errors import InvalidParameter
from redkite.model import requests, results
from redkite.model.highlighting import Highlighter
from redkite.model.moments import read_time_parts
from redkite.model.reading import Grouping, check_ungrouped
from redkite.model.tuning import read_explain, write_explain
from redkite.wire.codec import Codec, codec
from redkite.wire.functions import read_chains, read_function_score, write_chains, write_function_score
from redkite.wire.highlighting import pack_highlighter
from redkite.wire.params import read_flag, read_integer, read_object
from redkite.wire.read import (
    decode_search,
    encode_hits,
    pack_search,
    read_consistency,
    unpack_hits,
    write_consistency,
)
from redkite.wire.schemas import no_namespace, read_pairs, write_pairs

_KEYS = frozenset({
    "explain", "analyze",
    "strategy", "params", "limit", "offset", "round_decimal", "group_by_field", "group_size", "strict_group_size",
    "rank_group_scorer", "as_of", "timezone", "time_fields", "cluster_id",
})  # fmt: skip


def _decode_hybrid(message: Any, database: str) -> requests.HybridSearch:
    if message.namespace:
        raise no_namespace(message.namespace)
    pairs = read_pairs(message.rank_params)
    inside = read_object(pairs.get("params", ""))
    for key in pairs.keys() - _KEYS:
        if key in inside or (key == "reranker" and pairs[key] == pairs.get("strategy")):
            continue  # the SDK for Rust says these twice; `params` and `strategy` count
        raise InvalidParameter(f"rank parameter {key} is not known")
    if "limit" not in pairs:
        raise InvalidParameter("limit not found in rank_params")
    searches = tuple(decode_search(search, database) for search in message.requests)
    # Clients state how times are shown in each search, and not in the whole.
    first = searches[0] if searches else None
    return requests.HybridSearch(
        database=database,
        cluster=pairs.get("cluster_id", ""),
        collection=message.collection_name,
        searches=tuple(msgspec.structs.replace(s, highlighter=None) if s.highlighter else s for s in searches),
        limit=read_integer("limit", pairs["limit"]),
        offset=read_integer("offset", pairs.get("offset", 0)),
        strategy=pairs.get("strategy", ""),
        rank_params=inside,
        function_score=read_function_score(message),
        function_chains=read_chains(message.function_chains),
        highlighter=_highlighter(searches),
        output_fields=tuple(message.output_fields),
        partitions=tuple(message.partition_names),
        round_decimal=read_integer("round_decimal", pairs.get("round_decimal", -1)),
        grouping=_read_grouping(pairs),
        group_scorer=pairs.get("rank_group_scorer", "max"),
        explain=read_explain(pairs),
        consistency_level=read_consistency(message),
        guarantee_timestamp=message.guarantee_timestamp,
        as_of=read_integer("as_of", pairs.get("as_of", 0)),
        timezone=pairs.get("timezone", "") or (first.timezone if first is not None else ""),
        time_fields=read_time_parts(pairs.get("time_fields", "")) or (first.time_fields if first is not None else ()),
    )


def _highlighter(searches: Sequence[requests.Search]) -> Highlighter | None:
    """What is marked in the whole answer; only its searches can say so."""
    found = list(dict.fromkeys(search.highlighter for search in searches if search.highlighter is not None))
    if len(found) > 1:
        raise InvalidParameter("the searches of a hybrid search have different highlighters")
    return found[0] if found else None


def _read_grouping(pairs: Mapping[str, str]) -> Grouping | None:
    size = read_integer("group_size", pairs.get("group_size", 1))
    strict = read_flag("strict_group_size", pairs.get("strict_group_size", ""))
    if not pairs.get("group_by_field"):
        check_ungrouped(size, strict)
        return None
    return Grouping(fields=(pairs["group_by_field"],), size=size, strict=strict)


def _pack_hybrid(message: Any, request: requests.HybridSearch) -> None:
    message.collection_name = request.collection
    message.output_fields.extend(request.output_fields)
    message.partition_names.extend(request.partitions)
    for number, search in enumerate(request.searches):
        pack_search(message.requests.add(), search)
        pack_highlighter(message.requests[number], None if number else request.highlighter)
    write_consistency(message, request)
    write_function_score(message, request.function_score)
    write_chains(message.function_chains, request.function_chains)
    pairs = {"limit": str(request.limit), "round_decimal": str(request.round_decimal)} | write_explain(request.explain)
    if request.strategy or request.rank_params:
        pairs |= {"strategy": request.strategy, "params": msgspec.json.encode(request.rank_params).decode()}
    if request.offset:
        pairs["offset"] = str(request.offset)
    if request.grouping is not None:
        pairs |= {
            "group_by_field": request.grouping.fields[0],
            "group_size": str(request.grouping.size),
            "strict_group_size": str(request.grouping.strict),
            "rank_group_scorer": request.group_scorer,
        }
    if request.as_of:
        pairs["as_of"] = str(request.as_of)
    if request.timezone:
        pairs["timezone"] = request.timezone
    if request.time_fields:
        pairs["time_fields"] = ",".join(request.time_fields)
    if request.cluster:
        pairs["cluster_id"] = request.cluster
    write_pairs(message.rank_params, pairs)


CODECS: tuple[Codec[Any, Any], ...] = (
    codec(
        "HybridSearch", requests.HybridSearch, results.Hits, decode=_decode_hybrid, pack=_pack_hybrid,
        encode=encode_hits, unpack=unpack_hits,
    ),
)  # fmt: skip
