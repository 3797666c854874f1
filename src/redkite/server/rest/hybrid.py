"""REST: several searches ranked as one."""

from __future__ import annotations

import functools
from typing import Any

from redkite.errors import InvalidParameter
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.moments import read_time_parts
from redkite.model.reading import Grouping, check_ungrouped
from redkite.model.tuning import TUNING_KEYS, read_tuning
from redkite.server.rest.bodies import HybridSearchReq, SubSearchReq
from redkite.server.rest.exchange import Endpoint, Exchange, consistency
from redkite.server.rest.functions import function_chains, function_score
from redkite.server.rest.highlighting import highlighter_of
from redkite.server.rest.kinds import explained, partly
from redkite.server.rest.rendering import answered_hits
from redkite.server.rest.rows import read_queries
from redkite.server.rest.streams import Content

_INLINE_VECTORS = 8


async def _hybrid_search(exchange: Exchange, body: HybridSearchReq) -> Content:
    info = await exchange.ask(
        rq.DescribeCollection(database=exchange.database, collection=body.collection_name), rs.CollectionInfo
    )
    read = functools.partial(_searches, exchange.database, body, info)
    vectors = sum(len(search.data) for search in body.search)
    searches = read() if vectors <= _INLINE_VECTORS else await exchange.calls.run(read)
    request = rq.HybridSearch(
        database=exchange.database,
        collection=body.collection_name,
        searches=searches,
        limit=body.limit,
        offset=body.offset,
        strategy=body.rerank.strategy,
        rank_params=body.rerank.params,
        function_score=function_score(body.function_score),
        function_chains=function_chains(body.function_chains),
        highlighter=highlighter_of(body.highlighter),
        output_fields=body.output_fields,
        partitions=body.partition_names,
        grouping=_grouping(body),
        group_scorer=body.rank_group_scorer or "max",
        explain="analyze" if body.analyze else "plan" if body.explain else "",
        consistency_level=consistency(body.consistency_level),
        as_of=body.as_of,
        timezone=body.timezone,
        time_fields=read_time_parts(body.time_fields),
    )

    def finish(found: rs.Result) -> Content:
        assert isinstance(found, rs.Hits)
        more = {"cost": 0, "topks": found.topks, **explained(found.explanation), **partly(found.reach)}
        return answered_hits(found, info.schema, exchange.integers_as_text, more)

    return await exchange.finished(request, finish)


def _searches(database: str, body: HybridSearchReq, info: rs.CollectionInfo) -> tuple[rq.Search, ...]:
    return tuple(_search(database, body, search, info) for search in body.search)


def _search(database: str, whole: HybridSearchReq, body: SubSearchReq, info: rs.CollectionInfo) -> rq.Search:
    if body.offset not in (0, whole.offset):
        raise InvalidParameter("offset is for the whole hybrid search, not for one of its searches")
    if body.grouping_field not in ("", whole.grouping_field):
        raise InvalidParameter("groupingField is for the whole hybrid search, not for one of its searches")
    params = _flattened(body.search_params) | _flattened(body.params)
    given: list[Any] = [body.data] if isinstance(body.data[0], int | float) else body.data
    return rq.Search(
        database=database,
        collection=whole.collection_name,
        queries=read_queries(info.schema, body.anns_field, given),
        limit=body.limit or whole.limit,
        anns_field=body.anns_field,
        filter=body.filter,
        filter_params=body.expr_params,
        metric=body.metric_type or str(params.pop("metric_type", "")),
        params={key: value for key, value in params.items() if key not in TUNING_KEYS},
        tuning=read_tuning(params),
        ignore_growing=body.ignore_growing,
    )


def _flattened(params: dict[str, Any]) -> dict[str, Any]:
    """The index's own parameters stand in `params`, or beside it; the outer ones count."""
    inner = params.get("params", {})
    if not isinstance(inner, dict):
        raise InvalidParameter(f"params must be an object, got {inner!r:.80}")
    return inner | {key: value for key, value in params.items() if key != "params"}


def _grouping(body: HybridSearchReq) -> Grouping | None:
    if not body.grouping_field:
        check_ungrouped(body.group_size, body.strict_group_size)
        return None
    return Grouping(fields=(body.grouping_field,), size=body.group_size or 1, strict=body.strict_group_size)


ENDPOINTS = {
    "entities/hybrid_search": Endpoint(HybridSearchReq, _hybrid_search),
    "entities/advanced_search": Endpoint(HybridSearchReq, _hybrid_search),
}
