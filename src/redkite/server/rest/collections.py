"""REST: collections."""

from __future__ import annotations

from typing import Any

from redkite.errors import CollectionNotFound, InvalidParameter
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.types import ConsistencyLevel, LoadState
from redkite.server.rest.bodies import (
    CollectionNameReq,
    CollectionReq,
    CompactReq,
    EmptyReq,
    GetCompactionStateReq,
    LoadStateReq,
    RenameCollectionReq,
)
from redkite.server.rest.exchange import DONE, Endpoint, Exchange, MissingKeys, answer, consistency, texts
from redkite.server.rest.indexes import create_request, indexes_of
from redkite.server.rest.schemas import (
    custom_schema,
    described_fields,
    described_functions,
    described_structs,
    pairs,
    quick_schema,
)

_PROPERTIES = {
    "ttlSeconds": "collection.ttl.seconds", "ttlField": "ttl_field", "partitionKeyIsolation": "partitionkey.isolation",
    "timezone": "timezone", "mmap.enabled": "mmap.enabled", "warmup.scalarField": "warmup.scalarField",
    "warmup.scalarIndex": "warmup.scalarIndex", "warmup.vectorField": "warmup.vectorField",
    "warmup.vectorIndex": "warmup.vectorIndex",
}  # fmt: skip
"""Keys of `params` that are properties of the collection under another name."""
_PARAMS = frozenset({"max_length", "enableDynamicField", "shardsNum", "consistencyLevel", "partitionsNum"})


async def _list(exchange: Exchange, _body: EmptyReq) -> bytes:
    found = await exchange.ask(rq.ShowCollections(database=exchange.database), rs.Collections)
    return answer([collection.name for collection in found.collections])


async def _has(exchange: Exchange, body: CollectionNameReq) -> bytes:
    request = rq.HasCollection(database=exchange.database, collection=body.collection_name)
    return answer({"has": (await exchange.ask(request, rs.Flag)).value})


async def _describe(exchange: Exchange, body: CollectionNameReq) -> bytes:
    name = body.collection_name
    info = await exchange.ask(rq.DescribeCollection(database=exchange.database, collection=name), rs.CollectionInfo)
    load = await exchange.ask(rq.GetLoadState(database=exchange.database, collection=name), rs.LoadStateInfo)
    indexes = await indexes_of(exchange, name)
    return answer(_described(info, load.state, indexes), message="")


def _described(info: rs.CollectionInfo, load: LoadState, indexes: tuple[rs.IndexInfo, ...]) -> dict[str, Any]:
    schema = info.schema
    first_vector = next((field.name for field in schema.with_parts.vector_fields), "")
    return {
        "collectionName": schema.name,
        "collectionID": info.collection_id,
        "description": schema.description,
        "autoId": schema.auto_id,
        "fields": described_fields(info),
        "structFields": described_structs(info),
        "functions": described_functions(info),
        "aliases": info.aliases,
        "indexes": [
            {
                "indexName": index.index_name,
                "fieldName": index.field,
                "metricType": index.params.get("metric_type", "COSINE"),
            }
            for index in indexes
            if index.field == first_vector
        ],
        "load": f"LoadState{load.name}",
        "shardsNum": info.shards,
        "partitionsNum": info.partitions,
        "consistencyLevel": info.consistency_level.name,
        "enableDynamicField": schema.enable_dynamic_field,
        "externalSource": "",
        "externalSpec": "",
        "properties": pairs(info.properties),
    }


async def _get_stats(exchange: Exchange, body: CollectionNameReq) -> bytes:
    request = rq.GetCollectionStatistics(database=exchange.database, collection=body.collection_name)
    return answer({"rowCount": (await exchange.ask(request, rs.RowCount)).rows})


async def _get_load_state(exchange: Exchange, body: LoadStateReq) -> bytes:
    where = {"database": exchange.database, "collection": body.collection_name}
    partitions = body.partition_names
    state = (await exchange.ask(rq.GetLoadState(**where, partitions=partitions), rs.LoadStateInfo)).state
    if state is LoadState.NotExist:
        raise CollectionNotFound.named(exchange.database, body.collection_name)
    if state is LoadState.NotLoad:
        return answer({"loadState": "LoadStateNotLoad"})
    progress = await exchange.ask(rq.GetLoadingProgress(**where, partitions=partitions), rs.LoadProgress)
    return answer({"loadState": f"LoadState{state.name}", "loadProgress": progress.percent}, message="")


# -- create -------------------------------------------------------------------------------------
async def _create(exchange: Exchange, body: CollectionReq) -> bytes:
    """Create; index and load too where the body says how to index."""
    for key in body.params:
        if key not in _PARAMS and key not in _PROPERTIES:
            known = ", ".join(sorted(_PARAMS | _PROPERTIES.keys()))
            raise InvalidParameter(f"unknown key {key} in params, known are {known}")
    if body.schema.fields:
        schema = custom_schema(body)
        indexes = body.index_params
    else:
        schema, index = quick_schema(body)
        indexes = (index,)
    for index in indexes:
        if schema.with_parts.field(index.field_name) is None:
            raise MissingKeys(f"`{index.field_name}` hasn't defined in schema")
    level = consistency(body.consistency_level or str(body.params.get("consistencyLevel", "")))
    await exchange.tell(
        rq.CreateCollection(
            database=exchange.database,
            schema=schema,
            shards=_count(body.params, "shardsNum"),
            partitions=_count(body.params, "partitionsNum"),
            consistency_level=ConsistencyLevel.Bounded if level is None else level,
            properties=_properties(body),
        )
    )
    for index in indexes:
        await exchange.tell(create_request(exchange.database, body.collection_name, index))
    if indexes:
        await exchange.tell(rq.LoadCollection(database=exchange.database, collection=body.collection_name))
    return DONE


def _count(params: dict[str, Any], name: str) -> int:
    value = params.get(name, 0)
    try:
        return int(value)
    except (TypeError, ValueError):
        raise InvalidParameter(f"params.{name} must be a whole number, got {value}") from None


def _properties(body: CollectionReq) -> dict[str, str]:
    renamed = {_PROPERTIES[key]: value for key, value in body.params.items() if key in _PROPERTIES}
    return texts(renamed) | texts(body.properties)


# -- the rest -----------------------------------------------------------------------------------
async def _drop(exchange: Exchange, body: CollectionNameReq) -> bytes:
    return await exchange.tell(rq.DropCollection(database=exchange.database, collection=body.collection_name))


async def _truncate(exchange: Exchange, body: CollectionNameReq) -> bytes:
    return await exchange.tell(rq.TruncateCollection(database=exchange.database, collection=body.collection_name))


async def _load(exchange: Exchange, body: CollectionNameReq) -> bytes:
    return await exchange.tell(rq.LoadCollection(database=exchange.database, collection=body.collection_name))


async def _refresh_load(exchange: Exchange, body: CollectionNameReq) -> bytes:
    return await exchange.tell(
        rq.LoadCollection(database=exchange.database, collection=body.collection_name, refresh=True)
    )


async def _release(exchange: Exchange, body: CollectionNameReq) -> bytes:
    return await exchange.tell(rq.ReleaseCollection(database=exchange.database, collection=body.collection_name))


async def _rename(exchange: Exchange, body: RenameCollectionReq) -> bytes:
    return await exchange.tell(
        rq.RenameCollection(
            database=exchange.database,
            collection=body.collection_name,
            new_name=body.new_collection_name,
            new_database=body.new_db_name,
        )
    )


async def _flush(exchange: Exchange, body: CollectionNameReq) -> bytes:
    return await exchange.tell(rq.Flush(database=exchange.database, collections=(body.collection_name,)))


async def _compact(exchange: Exchange, body: CompactReq) -> bytes:
    request = rq.Compact(database=exchange.database, collection=body.collection_name, clustering=body.is_clustering)
    return answer({"compactionID": (await exchange.ask(request, rs.CompactionJob)).job_id})


async def _get_compaction_state(exchange: Exchange, body: GetCompactionStateReq) -> bytes:
    request = rq.GetCompactionState(database=exchange.database, job_id=body.job_id)
    found = await exchange.ask(request, rs.CompactionProgress)
    return answer(
        {
            "compactionID": body.job_id,
            "state": found.state.name,
            "executingPlanNumber": found.executing,
            "timeoutPlanNumber": 0,
            "completedPlanNumber": found.completed,
        }
    )


ENDPOINTS = {
    "collections/list": Endpoint(EmptyReq, _list),
    "collections/has": Endpoint(CollectionNameReq, _has),
    "collections/describe": Endpoint(CollectionNameReq, _describe),
    "collections/get_stats": Endpoint(CollectionNameReq, _get_stats),
    "collections/get_load_state": Endpoint(LoadStateReq, _get_load_state),
    "collections/create": Endpoint(CollectionReq, _create),
    "collections/drop": Endpoint(CollectionNameReq, _drop),
    "collections/truncate": Endpoint(CollectionNameReq, _truncate),
    "collections/load": Endpoint(CollectionNameReq, _load),
    "collections/refresh_load": Endpoint(CollectionNameReq, _refresh_load),
    "collections/release": Endpoint(CollectionNameReq, _release),
    "collections/rename": Endpoint(RenameCollectionReq, _rename),
    "collections/flush": Endpoint(CollectionNameReq, _flush),
    "collections/compact": Endpoint(CompactReq, _compact),
    "collections/get_compaction_state": Endpoint(GetCompactionStateReq, _get_compaction_state),
}
