"""REST: changes of a collection's fields and properties, and of a database's properties."""

from __future__ import annotations

from redkite.errors import InvalidParameter
from redkite.model import requests as rq
from redkite.server.rest.bodies import (
    AlterFunctionReq,
    CollectionFieldReqWithParams,
    CollectionFieldReqWithSchema,
    CollectionReqWithProperties,
    CollectionStructFieldReq,
    DatabaseReqWithProperties,
    DropCollectionFieldReq,
    DropCollectionPropertiesReq,
    DropDatabasePropertiesReq,
    DropFunctionFieldReq,
    FunctionFieldReq,
)
from redkite.server.rest.exchange import Endpoint, Exchange, MissingKeys, texts
from redkite.server.rest.schemas import added_field, added_function, struct_field


async def _add_field(exchange: Exchange, body: CollectionFieldReqWithSchema) -> bytes:
    return await exchange.tell(
        rq.AddCollectionField(
            database=exchange.database, collection=body.collection_name, field=added_field(body.schema)
        )
    )


async def _add_struct(exchange: Exchange, body: CollectionStructFieldReq) -> bytes:
    return await exchange.tell(
        rq.AddCollectionStructField(
            database=exchange.database, collection=body.collection_name, field=struct_field(body.schema)
        )
    )


async def _add_function(exchange: Exchange, body: FunctionFieldReq) -> bytes:
    index = body.index_params
    if index.field_name != body.output_field.field_name:
        raise InvalidParameter(
            f"indexParams.fieldName {index.field_name} is not outputField.fieldName {body.output_field.field_name}"
        )
    params = {"index_type": index.index_type, "metric_type": index.metric_type, **texts(index.params)}
    return await exchange.tell(
        rq.AddFunctionField(
            database=exchange.database,
            collection=body.collection_name,
            field=added_field(body.output_field),
            function=added_function(body.function),
            index_name=index.index_name,
            index_params={key: value for key, value in params.items() if value},
        )
    )


async def _alter_function(exchange: Exchange, body: AlterFunctionReq) -> bytes:
    return await exchange.tell(
        rq.AlterFunction(
            database=exchange.database, collection=body.collection_name, name=body.function_name,
            function=added_function(body.function),
        )
    )  # fmt: skip


async def _drop_function(exchange: Exchange, body: DropFunctionFieldReq) -> bytes:
    return await exchange.tell(
        rq.DropFunctionField(database=exchange.database, collection=body.collection_name, function=body.function_name)
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
    "collections/struct_fields/add": Endpoint(CollectionStructFieldReq, _add_struct),
    "collections/add_function_field": Endpoint(FunctionFieldReq, _add_function),
    "collections/alter_function": Endpoint(AlterFunctionReq, _alter_function),
    "collections/drop_function_field": Endpoint(DropFunctionFieldReq, _drop_function),
    "collections/fields/drop": Endpoint(DropCollectionFieldReq, _drop_field),
    "collections/fields/alter_properties": Endpoint(CollectionFieldReqWithParams, _alter_field),
    "collections/alter_properties": Endpoint(CollectionReqWithProperties, _alter),
    "collections/drop_properties": Endpoint(DropCollectionPropertiesReq, _drop_properties),
    "databases/alter": Endpoint(DatabaseReqWithProperties, _alter_database),
    "databases/alter_properties": Endpoint(DatabaseReqWithProperties, _alter_database),
    "databases/drop_properties": Endpoint(DropDatabasePropertiesReq, _drop_database_properties),
}
