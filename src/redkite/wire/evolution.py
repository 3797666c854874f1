"""Changes of a collection's fields and properties, and of a database's properties."""

from __future__ import annotations

from typing import Any

from redkite.errors import InvalidParameter, MissingParameter, Unimplemented
from redkite.model import requests, results
from redkite.wire.codec import Codec, codec, done, nothing
from redkite.wire.messages import parse, schema
from redkite.wire.schemas import (
    read_field,
    read_function,
    read_pairs,
    read_struct,
    write_field,
    write_function,
    write_pairs,
    write_struct,
)

Change = (
    requests.AddCollectionField | requests.DropCollectionField | requests.AddFunctionField | requests.DropFunctionField
)


# -- fields -------------------------------------------------------------------------------------
def _decode_add(message: Any, database: str) -> requests.AddCollectionField:
    field = parse(schema.FieldSchema, message.schema)
    return requests.AddCollectionField(database=database, collection=message.collection_name, field=read_field(field))


def _pack_add(message: Any, request: requests.AddCollectionField) -> None:
    field = schema.FieldSchema()
    write_field(field, request.field)
    message.collection_name = request.collection
    message.schema = field.SerializeToString()


def _decode_add_struct(message: Any, database: str) -> requests.AddCollectionStructField:
    field = read_struct(message.struct_array_field_schema)
    return requests.AddCollectionStructField(database=database, collection=message.collection_name, field=field)


def _pack_add_struct(message: Any, request: requests.AddCollectionStructField) -> None:
    message.collection_name = request.collection
    write_struct(message.struct_array_field_schema, request.field)


def _decode_change(message: Any, database: str) -> Change:
    """AlterCollectionSchema either adds or drops."""
    name = message.collection_name
    operation = message.action.WhichOneof("op")
    if operation == "add_request":
        return _add(message.action.add_request, database, name)
    if operation == "drop_request":
        return _drop(message.action.drop_request, database, name)
    raise MissingParameter("the action of AlterCollectionSchema is not given")


def _add(add: Any, database: str, collection: str) -> requests.AddCollectionField | requests.AddFunctionField:
    if len(add.field_infos) != 1:
        raise InvalidParameter(f"one field at a time can be added, but {len(add.field_infos)} are given")
    if len(add.func_schema) > 1:
        raise InvalidParameter(f"one function at a time can be added, but {len(add.func_schema)} are given")
    (info,) = add.field_infos
    field = read_field(info.field_schema)
    if add.func_schema:
        return requests.AddFunctionField(
            database=database, collection=collection, field=field, function=read_function(add.func_schema[0]),
            index_name=info.index_name, index_params=read_pairs(info.extra_params),
        )  # fmt: skip
    if add.do_physical_backfill:
        raise Unimplemented("do_physical_backfill is not built in this version: old rows have the default, or null")
    if info.index_name or info.extra_params:
        raise Unimplemented("an index cannot be made with the field in this version, create it afterwards")
    return requests.AddCollectionField(database=database, collection=collection, field=field)


def _pack_add_function(message: Any, request: requests.AddFunctionField) -> None:
    message.collection_name = request.collection
    add = message.action.add_request
    info = add.field_infos.add(index_name=request.index_name)
    write_field(info.field_schema, request.field)
    write_pairs(info.extra_params, request.index_params)
    write_function(add.func_schema.add(), request.function)


def _drop(drop: Any, database: str, collection: str) -> requests.DropCollectionField | requests.DropFunctionField:
    if drop.function_name:
        if not drop.drop_function_output_fields:
            raise InvalidParameter(
                f"function {drop.function_name} cannot be dropped without the field it fills: "
                "drop_function_output_fields must be true"
            )
        return requests.DropFunctionField(database=database, collection=collection, function=drop.function_name)
    return requests.DropCollectionField(
        database=database, collection=collection, field=drop.field_name, field_id=drop.field_id
    )


def _decode_alter_function(message: Any, database: str) -> requests.AlterFunction:
    return requests.AlterFunction(
        database=database, collection=message.collection_name, name=message.function_name,
        function=read_function(message.functionSchema),
    )  # fmt: skip


def _pack_alter_function(message: Any, request: requests.AlterFunction) -> None:
    message.collection_name = request.collection
    message.function_name = request.name
    write_function(message.functionSchema, request.function)


def _pack_drop_function(message: Any, request: requests.DropFunctionField) -> None:
    message.collection_name = request.collection
    message.action.drop_request.function_name = request.function
    message.action.drop_request.drop_function_output_fields = True


def _pack_drop(message: Any, request: requests.DropCollectionField) -> None:
    message.collection_name = request.collection
    drop = message.action.drop_request
    if request.field:
        drop.field_name = request.field
    else:
        drop.field_id = request.field_id


def _decode_alter_field(message: Any, database: str) -> requests.AlterCollectionField:
    return requests.AlterCollectionField(
        database=database,
        collection=message.collection_name,
        field=message.field_name,
        properties=read_pairs(message.properties),
        delete_keys=tuple(message.delete_keys),
    )


def _pack_alter_field(message: Any, request: requests.AlterCollectionField) -> None:
    message.collection_name = request.collection
    message.field_name = request.field
    write_pairs(message.properties, request.properties)
    message.delete_keys.extend(request.delete_keys)


# -- properties ---------------------------------------------------------------------------------
def _decode_alter(message: Any, database: str) -> requests.AlterCollection:
    return requests.AlterCollection(
        database=database,
        collection=message.collection_name,
        properties=read_pairs(message.properties),
        delete_keys=tuple(message.delete_keys),
    )


def _pack_alter(message: Any, request: requests.AlterCollection) -> None:
    message.collection_name = request.collection
    write_pairs(message.properties, request.properties)
    message.delete_keys.extend(request.delete_keys)


def _decode_database(message: Any, database: str) -> requests.AlterDatabase:
    return requests.AlterDatabase(
        database=database, properties=read_pairs(message.properties), delete_keys=tuple(message.delete_keys)
    )


def _pack_database(message: Any, request: requests.AlterDatabase) -> None:
    write_pairs(message.properties, request.properties)
    message.delete_keys.extend(request.delete_keys)


_ALTER_SCHEMA: Codec[Any, results.Done] = codec(
    "AlterCollectionSchema", requests.DropCollectionField, results.Done,
    decode=_decode_change, pack=_pack_drop, encode=nothing, unpack=done,
)  # fmt: skip

CODECS: tuple[Codec[Any, Any], ...] = (
    _ALTER_SCHEMA,
    codec(
        "AlterCollectionSchema", requests.AddFunctionField, results.Done,
        decode=_decode_change, pack=_pack_add_function, encode=nothing, unpack=done,
    ),
    codec(
        "AlterCollectionSchema", requests.DropFunctionField, results.Done,
        decode=_decode_change, pack=_pack_drop_function, encode=nothing, unpack=done,
    ),
    codec(
        "AlterCollectionFunction", requests.AlterFunction, results.Done,
        decode=_decode_alter_function, pack=_pack_alter_function, encode=nothing, unpack=done,
    ),
    codec(
        "AddCollectionField", requests.AddCollectionField, results.Done,
        decode=_decode_add, pack=_pack_add, encode=nothing, unpack=done,
    ),
    codec(
        "AddCollectionStructField", requests.AddCollectionStructField, results.Done,
        decode=_decode_add_struct, pack=_pack_add_struct, encode=nothing, unpack=done,
    ),
    codec(
        "AlterCollectionField", requests.AlterCollectionField, results.Done,
        decode=_decode_alter_field, pack=_pack_alter_field, encode=nothing, unpack=done,
    ),
    codec(
        "AlterCollection", requests.AlterCollection, results.Done,
        decode=_decode_alter, pack=_pack_alter, encode=nothing, unpack=done,
    ),
    codec(
        "AlterDatabase", requests.AlterDatabase, results.Done,
        decode=_decode_database, pack=_pack_database, encode=nothing, unpack=done, own_database=True,
    ),
)  # fmt: skip
