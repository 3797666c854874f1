"""REST: databases."""

from __future__ import annotations

from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.server.rest.bodies import DatabaseReqRequiredName, DatabaseReqWithProperties, EmptyReq
from redkite.server.rest.exchange import Endpoint, Exchange, answer, texts


async def _create(exchange: Exchange, body: DatabaseReqWithProperties) -> bytes:
    return await exchange.tell(rq.CreateDatabase(database=body.db_name, properties=texts(body.properties)))


async def _drop(exchange: Exchange, body: DatabaseReqRequiredName) -> bytes:
    return await exchange.tell(rq.DropDatabase(database=body.db_name))


async def _list(exchange: Exchange, _body: EmptyReq) -> bytes:
    found = await exchange.ask(rq.ListDatabases(), rs.Databases)
    return answer(found.names)


async def _describe(exchange: Exchange, body: DatabaseReqRequiredName) -> bytes:
    found = await exchange.ask(rq.DescribeDatabase(database=body.db_name), rs.DatabaseInfo)
    properties = [{"key": key, "value": value} for key, value in found.properties.items()]
    return answer({"dbName": found.name, "dbID": found.database_id, "properties": properties})


ENDPOINTS = {
    "databases/create": Endpoint(DatabaseReqWithProperties, _create),
    "databases/drop": Endpoint(DatabaseReqRequiredName, _drop),
    "databases/list": Endpoint(EmptyReq, _list),
    "databases/describe": Endpoint(DatabaseReqRequiredName, _describe),
}
