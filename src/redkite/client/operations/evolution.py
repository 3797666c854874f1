"""Changes of a collection's fields and properties, and of a database's properties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redkite.client import arguments
from redkite.client.index_params import IndexParams
from redkite.client.schema import FieldSchema, Function, StructFieldSchema
from redkite.client.session import Operation, Session, ask
from redkite.errors import ParamError
from redkite.model import requests, results
from redkite.model.types import DataType


def add_collection_field(
    session: Session, collection_name: str, field_name: str, data_type: DataType, desc: str, settings: dict[str, Any]
) -> Operation[None]:
    """Add a field; the rows that are there have its default, else null."""
    name = arguments.name("collection_name", collection_name)
    field = FieldSchema(arguments.name("field_name", field_name), data_type, desc, **settings)
    yield from _told(
        session,
        name,
        requests.AddCollectionField(database=session.database, collection=name, field=field.to_model()),
    )


def add_collection_struct_field(
    session: Session, collection_name: str, field_name: str, struct_schema: StructFieldSchema, max_capacity: int,
    desc: str | None,
) -> Operation[None]:  # fmt: skip
    """Add an array of structs; it is null in the rows that are there."""
    name = arguments.name("collection_name", collection_name)
    if not isinstance(struct_schema, StructFieldSchema):
        raise ParamError("struct_schema must be StructFieldSchema")
    struct = struct_schema.copy()
    struct.name = arguments.name("field_name", field_name)
    struct.max_capacity = arguments.integer("max_capacity", max_capacity)
    struct.nullable = True
    struct.description = desc or struct.description
    struct.verify()
    yield from _told(
        session,
        name,
        requests.AddCollectionStructField(database=session.database, collection=name, field=struct.to_model()),
    )


def drop_collection_field(session: Session, collection_name: str, field_name: str, field_id: int) -> Operation[None]:
    """Drop a field by its name, or by its id; its values can no longer be read."""
    name = arguments.name("collection_name", collection_name)
    field = arguments.optional_name("field_name", field_name)
    number = arguments.integer("field_id", field_id)
    if bool(field) == bool(number):
        raise ParamError("give either field_name or field_id")
    request = requests.DropCollectionField(database=session.database, collection=name, field=field, field_id=number)
    yield from _told(session, name, request)


def add_function_field(
    session: Session, collection_name: str, field_schema: FieldSchema, func: Function, index_params: IndexParams | None
) -> Operation[None]:
    """Add a function with the field it fills, and an index over that."""
    name = arguments.name("collection_name", collection_name)
    if not isinstance(field_schema, FieldSchema):
        raise arguments.wrong_type("field_schema", FieldSchema, field_schema)
    if not isinstance(func, Function):
        raise arguments.wrong_type("func", Function, func)
    given = list(index_params or ())
    if len(given) > 1 or any(param.field_name != field_schema.name for param in given):
        raise ParamError(f"index_params must hold one index, of the field `{field_schema.name}`")
    request = requests.AddFunctionField(
        database=session.database,
        collection=name,
        field=field_schema.to_model(),
        function=func.to_model(),
        index_name=given[0].index_name if given else "",
        index_params=arguments.texts("params", given[0].get_index_configs()) if given else {},
    )
    yield from _told(session, name, request)


def alter_collection_function(
    session: Session, collection_name: str, function_name: str, function: Function
) -> Operation[None]:
    """Give a function that asks a model other parameters."""
    name = arguments.name("collection_name", collection_name)
    if not isinstance(function, Function):
        raise arguments.wrong_type("function", Function, function)
    request = requests.AlterFunction(
        database=session.database,
        collection=name,
        name=arguments.name("function_name", function_name),
        function=function.to_model(),
    )
    yield from _told(session, name, request)


def drop_function_field(session: Session, collection_name: str, function_name: str) -> Operation[None]:
    """Drop a function, the field it fills and the field's index."""
    name = arguments.name("collection_name", collection_name)
    function = arguments.name("function_name", function_name)
    request = requests.DropFunctionField(database=session.database, collection=name, function=function)
    yield from _told(session, name, request)


def alter_collection_field(
    session: Session, collection_name: str, field_name: str, field_params: Mapping[str, Any]
) -> Operation[None]:
    """Set params of a field, such as `max_length`."""
    name = arguments.name("collection_name", collection_name)
    request = requests.AlterCollectionField(
        database=session.database,
        collection=name,
        field=arguments.name("field_name", field_name),
        properties=arguments.texts("field_params", field_params),
    )
    yield from _told(session, name, request)


def alter_collection_properties(
    session: Session, collection_name: str, properties: Mapping[str, Any]
) -> Operation[None]:
    """Set properties of a collection."""
    name = arguments.name("collection_name", collection_name)
    texts = arguments.texts("properties", properties)
    request = requests.AlterCollection(database=session.database, collection=name, properties=texts)
    yield from _told(session, name, request)


def drop_collection_properties(session: Session, collection_name: str, property_keys: Sequence[str]) -> Operation[None]:
    """Take properties of a collection away."""
    name = arguments.name("collection_name", collection_name)
    keys = arguments.names("property_keys", property_keys)
    yield from _told(
        session, name, requests.AlterCollection(database=session.database, collection=name, delete_keys=keys)
    )


def _told(session: Session, name: str, request: requests.Request) -> Operation[None]:
    yield from ask(request, results.Done)
    session.forget(name)


# -- databases ----------------------------------------------------------------------------------
def alter_database_properties(session: Session, db_name: str, properties: Mapping[str, Any]) -> Operation[None]:  # noqa: ARG001  every operation takes the session
    """Set properties of a database."""
    name = arguments.name("db_name", db_name)
    request = requests.AlterDatabase(database=name, properties=arguments.texts("properties", properties))
    yield from ask(request, results.Done)


def drop_database_properties(session: Session, db_name: str, property_keys: Sequence[str]) -> Operation[None]:  # noqa: ARG001  every operation takes the session
    """Take properties of a database away."""
    name = arguments.name("db_name", db_name)
    keys = arguments.names("property_keys", property_keys)
    yield from ask(requests.AlterDatabase(database=name, delete_keys=keys), results.Done)
