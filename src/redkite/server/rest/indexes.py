"""REST: indexes."""

from __future__ import annotations

from redkite.errors import IndexNotFound
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.types import IndexState
from redkite.server.rest.bodies import (
    CollectionNameReq,
    DescribeIndexReq,
    IndexParam,
    IndexParamReq,
    IndexReq,
    IndexReqWithKeys,
    IndexReqWithProperties,
)
from redkite.server.rest.exchange import Endpoint, Exchange, answer, refuse_unserved, texts

AUTOINDEX = "AUTOINDEX"
_PROPERTIES = ("mmap.enabled", "indexoffsetcache.enabled", "warmup")
_STATES = {
    IndexState.NONE: "IndexStateNone", IndexState.UNISSUED: "Unissued", IndexState.IN_PROGRESS: "InProgress",
    IndexState.FINISHED: "Finished", IndexState.FAILED: "Failed", IndexState.RETRY: "Retry",
}  # fmt: skip


async def indexes_of(exchange: Exchange, collection: str, index_name: str = "") -> tuple[rs.IndexInfo, ...]:
    """The indexes of a collection: none is no error, unless one was named."""
    request = rq.DescribeIndex(database=exchange.database, collection=collection, index_name=index_name)
    try:
        return (await exchange.ask(request, rs.Indexes)).indexes
    except IndexNotFound:
        if index_name:
            raise
        return ()


def create_request(database: str, collection: str, param: IndexParam) -> rq.CreateIndex:
    """The request of one item of `indexParams`. Without a type the server picks one."""
    params = {"index_type": param.index_type or AUTOINDEX}
    if param.metric_type:
        params["metric_type"] = param.metric_type
    return rq.CreateIndex(
        database=database,
        collection=collection,
        field=param.field_name,
        index_name=param.index_name,
        params=params | texts(param.params),
    )


async def _list(exchange: Exchange, body: CollectionNameReq) -> bytes:
    return answer([index.index_name for index in await indexes_of(exchange, body.collection_name)])


async def _describe(exchange: Exchange, body: DescribeIndexReq) -> bytes:
    refuse_unserved(body, "timestamp")
    found = await indexes_of(exchange, body.collection_name, body.index_name)
    return answer([_described(index) for index in found])


def _described(index: rs.IndexInfo) -> dict[str, object]:
    return {
        "indexName": index.index_name,
        "fieldName": index.field,
        "indexType": index.params.get("index_type", ""),
        "metricType": index.params.get("metric_type", ""),
        **{key: index.params[key] for key in _PROPERTIES if key in index.params},
        "totalRows": index.total_rows,
        "indexedRows": index.indexed_rows,
        "pendingRows": index.pending_rows,
        "indexState": _STATES[index.state],
        "failReason": index.fail_reason,
        "minIndexVersion": 0,
        "maxIndexVersion": 0,
        "indexParams": [{"key": key, "value": value} for key, value in index.params.items()],
    }


async def _create(exchange: Exchange, body: IndexParamReq) -> bytes:
    for param in body.index_params:
        await exchange.tell(create_request(exchange.database, body.collection_name, param))
    return answer({})


async def _alter(exchange: Exchange, body: IndexReqWithProperties) -> bytes:
    return await exchange.tell(
        rq.AlterIndex(
            database=exchange.database,
            collection=body.collection_name,
            index_name=body.index_name,
            properties=texts(body.properties),
        )
    )


async def _unset(exchange: Exchange, body: IndexReqWithKeys) -> bytes:
    return await exchange.tell(
        rq.AlterIndex(
            database=exchange.database,
            collection=body.collection_name,
            index_name=body.index_name,
            delete_keys=body.property_keys,
        )
    )


async def _drop(exchange: Exchange, body: IndexReq) -> bytes:
    return await exchange.tell(
        rq.DropIndex(database=exchange.database, collection=body.collection_name, index_name=body.index_name)
    )


ENDPOINTS = {
    "indexes/list": Endpoint(CollectionNameReq, _list),
    "indexes/describe": Endpoint(DescribeIndexReq, _describe),
    "indexes/create": Endpoint(IndexParamReq, _create),
    "indexes/drop": Endpoint(IndexReq, _drop),
    "indexes/alter_properties": Endpoint(IndexReqWithProperties, _alter),
    "indexes/drop_properties": Endpoint(IndexReqWithKeys, _unset),
}
