"""REST: partitions."""

from __future__ import annotations

from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.server.rest.bodies import CollectionNameReq, PartitionReq, PartitionsReq
from redkite.server.rest.exchange import Endpoint, Exchange, answer


async def _list(exchange: Exchange, body: CollectionNameReq) -> bytes:
    request = rq.ShowPartitions(database=exchange.database, collection=body.collection_name)
    found = await exchange.ask(request, rs.Partitions)
    return answer([partition.name for partition in found.partitions])


async def _has(exchange: Exchange, body: PartitionReq) -> bytes:
    request = rq.HasPartition(
        database=exchange.database, collection=body.collection_name, partition=body.partition_name
    )
    return answer({"has": (await exchange.ask(request, rs.Flag)).value})


async def _get_stats(exchange: Exchange, body: PartitionReq) -> bytes:
    request = rq.GetPartitionStatistics(
        database=exchange.database, collection=body.collection_name, partition=body.partition_name
    )
    return answer({"rowCount": (await exchange.ask(request, rs.RowCount)).rows})


async def _create(exchange: Exchange, body: PartitionReq) -> bytes:
    return await exchange.tell(
        rq.CreatePartition(database=exchange.database, collection=body.collection_name, partition=body.partition_name)
    )


async def _drop(exchange: Exchange, body: PartitionReq) -> bytes:
    return await exchange.tell(
        rq.DropPartition(database=exchange.database, collection=body.collection_name, partition=body.partition_name)
    )


async def _load(exchange: Exchange, body: PartitionsReq) -> bytes:
    return await exchange.tell(
        rq.LoadPartitions(database=exchange.database, collection=body.collection_name, partitions=body.partition_names)
    )


async def _release(exchange: Exchange, body: PartitionsReq) -> bytes:
    return await exchange.tell(
        rq.ReleasePartitions(
            database=exchange.database, collection=body.collection_name, partitions=body.partition_names
        )
    )


ENDPOINTS = {
    "partitions/list": Endpoint(CollectionNameReq, _list),
    "partitions/has": Endpoint(PartitionReq, _has),
    "partitions/get_stats": Endpoint(PartitionReq, _get_stats),
    "partitions/create": Endpoint(PartitionReq, _create),
    "partitions/drop": Endpoint(PartitionReq, _drop),
    "partitions/load": Endpoint(PartitionsReq, _load),
    "partitions/release": Endpoint(PartitionsReq, _release),
}
