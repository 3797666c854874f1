"""How a collection is loaded where the call does not say: properties of collections and databases; and what a partial
load must have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from redkite.errors import InvalidParameter
from redkite.model.rules.names import check_resource_group_name
from redkite.model.rules.numbers import whole_number
from redkite.model.schema import CollectionSchema

_REPLICAS, _GROUPS = "replica.number", "resource_groups"
COLLECTION_LOAD_KEYS = frozenset({f"collection.{_REPLICAS}", f"collection.{_GROUPS}"})
DATABASE_LOAD_KEYS = frozenset({f"database.{_REPLICAS}", f"database.{_GROUPS}"})


def check_load_property(key: str, value: str) -> None:
    """Raise unless a property can be obeyed when something is loaded."""
    if key.endswith(_REPLICAS):
        number = whole_number(value)
        if number is None or number < 1:
            raise InvalidParameter(f"{key} must be a positive integer, but got {value}")
        return
    for name in _names(value):
        check_resource_group_name(name)


def _names(value: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(","))


def groups_to_load(
    replicas: int, groups: Sequence[str], collection: Mapping[str, str], database: Mapping[str, str]
) -> tuple[str, ...]:
    """The resource group of each replica, as the call says, else the collection, else its database; empty when nobody
    says anything. A name of no group stands for the default one."""
    said = tuple(groups)
    for scope, properties in (("collection", collection), ("database", database)):
        if not replicas:
            replicas = int(properties.get(f"{scope}.{_REPLICAS}", 0))
        if not said and f"{scope}.{_GROUPS}" in properties:
            said = _names(properties[f"{scope}.{_GROUPS}"])
    if replicas < 0:
        raise InvalidParameter(f"replica number must not be negative, but got {replicas}")
    if not replicas and not said:
        return ()
    number = replicas or len(said)
    if len(said) not in (0, 1, number):
        raise InvalidParameter("resource group num can only be 0, 1 or same as replica number")
    return said if len(said) == number else (said or ("",)) * number


def fields_to_load(schema: CollectionSchema, names: Sequence[str], skip_dynamic: bool) -> tuple[int, ...] | None:
    """Ids of the fields that a load asks for; None when that is all of them."""
    if not names and not (skip_dynamic and schema.dynamic_field is not None):
        return None
    known = {f.struct_name or f.name for f in schema.fields if not f.is_dynamic}
    for name in names:
        if name not in known:
            raise InvalidParameter(f"field {name} not exist")
    wanted = set(names) or known
    chosen = [f for f in schema.fields if (f.struct_name or f.name) in wanted and not f.is_dynamic]
    if names:
        _check_needed(schema, names, {f.name for f in chosen})
    if schema.dynamic_field is not None and not skip_dynamic:
        chosen.append(schema.dynamic_field)
    ids = tuple(f.field_id for f in chosen)
    return None if len(ids) == len(schema.fields) else ids


def _check_needed(schema: CollectionSchema, names: Sequence[str], chosen: set[str]) -> None:
    """Raise unless what every load needs is among the fields."""
    given = f"load field list [{' '.join(names)}] does not contain"
    if schema.primary.name not in chosen:
        raise InvalidParameter(f"{given} primary key field {schema.primary.name}")
    key = schema.partition_key
    if key is not None and key.name not in chosen:
        raise InvalidParameter(f"{given} partition key field {key.name}")
    for field in schema.fields:
        if field.is_clustering_key and field.name not in chosen:
            raise InvalidParameter(f"{given} clustering key field {field.name}")
    if not any(f.name in chosen for f in schema.vector_fields):
        raise InvalidParameter(f"{given} vector field")
