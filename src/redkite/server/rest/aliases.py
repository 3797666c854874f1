"""REST: aliases."""

from __future__ import annotations

from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.server.rest.bodies import AliasCollectionReq, AliasReq, OptionalCollectionNameReq
from redkite.server.rest.exchange import Endpoint, Exchange, answer


async def _list(exchange: Exchange, body: OptionalCollectionNameReq) -> bytes:
    request = rq.ListAliases(database=exchange.database, collection=body.collection_name)
    return answer((await exchange.ask(request, rs.Aliases)).aliases)


async def _describe(exchange: Exchange, body: AliasReq) -> bytes:
    request = rq.DescribeAlias(database=exchange.database, alias=body.alias_name)
    found = await exchange.ask(request, rs.AliasInfo)
    return answer({"dbName": found.database, "collectionName": found.collection, "aliasName": found.alias})


async def _create(exchange: Exchange, body: AliasCollectionReq) -> bytes:
    return await exchange.tell(
        rq.CreateAlias(database=exchange.database, collection=body.collection_name, alias=body.alias_name)
    )


async def _alter(exchange: Exchange, body: AliasCollectionReq) -> bytes:
    return await exchange.tell(
        rq.AlterAlias(database=exchange.database, collection=body.collection_name, alias=body.alias_name)
    )


async def _drop(exchange: Exchange, body: AliasReq) -> bytes:
    return await exchange.tell(rq.DropAlias(database=exchange.database, alias=body.alias_name))


ENDPOINTS = {
    "aliases/list": Endpoint(OptionalCollectionNameReq, _list),
    "aliases/describe": Endpoint(AliasReq, _describe),
    "aliases/create": Endpoint(AliasCollectionReq, _create),
    "aliases/alter": Endpoint(AliasCollectionReq, _alter),
    "aliases/drop": Endpoint(AliasReq, _drop),
}
