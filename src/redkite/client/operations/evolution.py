"""Changes of a collection's fields and properties, and of a database's properties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redkite.client import arguments
from redkite.client.schema import FieldSchema
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


def drop_collection_field(session: Session, collection_name: str, field_name: str, field_id: int) -> Operation[None]:
    """Drop a field by its name, or by its id; its values can no longer be read."""
    name = arguments.name("collection_name", collection_name)
    field = arguments.optional_name("field_name", field_name)
    number = arguments.integer("field_id", field_id)
    if bool(field) == bool(number):
        raise ParamError("give either field_name or field_id")
    request = requests.DropCollectionField(database=session.database, collection=name, field=field, field_id=number)
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
