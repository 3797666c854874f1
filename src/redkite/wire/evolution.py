"""Changes of a collection's fields and properties, and of a database's properties."""

from __future__ import annotations

from typing import Any

from redkite.errors import InvalidParameter, MissingParameter, Unimplemented
from redkite.model import requests, results
from redkite.wire.codec import Codec, codec, done, nothing
from redkite.wire.messages import parse, schema
from redkite.wire.schemas import read_field, read_pairs, write_field, write_pairs

Change = requests.AddCollectionField | requests.DropCollectionField


# -- fields -------------------------------------------------------------------------------------
def _decode_add(message: Any, database: str) -> requests.AddCollectionField:
    field = parse(schema.FieldSchema, message.schema)
    return requests.AddCollectionField(database=database, collection=message.collection_name, field=read_field(field))


def _pack_add(message: Any, request: requests.AddCollectionField) -> None:
    field = schema.FieldSchema()
    write_field(field, request.field)
    message.collection_name = request.collection
    message.schema = field.SerializeToString()


def _decode_change(message: Any, database: str) -> Change:
    """AlterCollectionSchema either adds or drops."""
    name = message.collection_name
    operation = message.action.WhichOneof("op")
    if operation == "add_request":
        return requests.AddCollectionField(
            database=database, collection=name, field=_field_to_add(message.action.add_request)
        )
    if operation == "drop_request":
        return _drop(message.action.drop_request, database, name)
    raise MissingParameter("the action of AlterCollectionSchema is not given")


def _field_to_add(add: Any) -> Any:
    for function in add.func_schema:
        raise Unimplemented(f"function {function.name}: functions are not built in this version")
    if add.do_physical_backfill:
        raise Unimplemented("do_physical_backfill is not built in this version: old rows have the default, or null")
    if len(add.field_infos) != 1:
        raise InvalidParameter(f"one field at a time can be added, but {len(add.field_infos)} are given")
    (info,) = add.field_infos
    if info.index_name or info.extra_params:
        raise Unimplemented("an index cannot be made with the field in this version, create it afterwards")
    return read_field(info.field_schema)


def _drop(drop: Any, database: str, collection: str) -> requests.DropCollectionField:
    if drop.function_name or drop.drop_function_output_fields:
        raise Unimplemented(f"function {drop.function_name}: functions are not built in this version")
    return requests.DropCollectionField(
        database=database, collection=collection, field=drop.field_name, field_id=drop.field_id
    )


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
        "AddCollectionField", requests.AddCollectionField, results.Done,
        decode=_decode_add, pack=_pack_add, encode=nothing, unpack=done,
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
