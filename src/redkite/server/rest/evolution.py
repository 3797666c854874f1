"""REST: changes of a collection's fields and properties, and of a database's properties."""

from __future__ import annotations

from redkite.model import requests as rq
from redkite.server.rest.bodies import (
    CollectionFieldReqWithParams,
    CollectionFieldReqWithSchema,
    CollectionReqWithProperties,
    DatabaseReqWithProperties,
    DropCollectionFieldReq,
    DropCollectionPropertiesReq,
    DropDatabasePropertiesReq,
)
from redkite.server.rest.exchange import Endpoint, Exchange, MissingKeys, texts
from redkite.server.rest.schemas import added_field


async def _add_field(exchange: Exchange, body: CollectionFieldReqWithSchema) -> bytes:
    return await exchange.tell(
        rq.AddCollectionField(
            database=exchange.database, collection=body.collection_name, field=added_field(body.schema)
        )
    )


async def _drop_field(exchange: Exchange, body: DropCollectionFieldReq) -> bytes:
    if not body.field_name and not body.field_id:
        raise MissingKeys("either fieldName or fieldId is required")
    return await exchange.tell(
        rq.DropCollectionField(
            database=exchange.database,
            collection=body.collection_name,
            field=body.field_name,
            field_id=body.field_id,
        )
    )


async def _alter_field(exchange: Exchange, body: CollectionFieldReqWithParams) -> bytes:
    return await exchange.tell(
        rq.AlterCollectionField(
            database=exchange.database,
            collection=body.collection_name,
            field=body.field_name,
            properties=texts(body.field_params),
        )
    )


async def _alter(exchange: Exchange, body: CollectionReqWithProperties) -> bytes:
    return await exchange.tell(
        rq.AlterCollection(
            database=exchange.database, collection=body.collection_name, properties=texts(body.properties)
        )
    )


async def _drop_properties(exchange: Exchange, body: DropCollectionPropertiesReq) -> bytes:
    return await exchange.tell(
        rq.AlterCollection(database=exchange.database, collection=body.collection_name, delete_keys=body.property_keys)
    )


async def _alter_database(exchange: Exchange, body: DatabaseReqWithProperties) -> bytes:
    return await exchange.tell(rq.AlterDatabase(database=body.db_name, properties=texts(body.properties)))


async def _drop_database_properties(exchange: Exchange, body: DropDatabasePropertiesReq) -> bytes:
    return await exchange.tell(rq.AlterDatabase(database=body.db_name, delete_keys=body.property_keys))


ENDPOINTS = {
    "collections/fields/add": Endpoint(CollectionFieldReqWithSchema, _add_field),
    "collections/fields/drop": Endpoint(DropCollectionFieldReq, _drop_field),
    "collections/fields/alter_properties": Endpoint(CollectionFieldReqWithParams, _alter_field),
    "collections/alter_properties": Endpoint(CollectionReqWithProperties, _alter),
    "collections/drop_properties": Endpoint(DropCollectionPropertiesReq, _drop_properties),
    "databases/alter": Endpoint(DatabaseReqWithProperties, _alter_database),
    "databases/alter_properties": Endpoint(DatabaseReqWithProperties, _alter_database),
    "databases/drop_properties": Endpoint(DropDatabasePropertiesReq, _drop_database_properties),
}
