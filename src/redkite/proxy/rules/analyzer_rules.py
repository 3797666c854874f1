"""Which analyzers a schema may have, and the files they bring into it."""

from __future__ import annotations

from typing import Any

import msgspec

from redkite.errors import InvalidParameter
from redkite.model.rules.text_rules import enables_analyzer
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import DataType
from redkite.text.resources import FILES_PARAM, Resources, pack
from redkite.text.specs import ANALYZER_PARAMS, MULTI_PARAMS, field_analyzer, field_analyzers, read_params


def with_analyzers(schema: CollectionSchema, resources: Resources) -> CollectionSchema:
    """The schema with what its analyzers read from files; raises for analyzers that cannot be made."""
    fields = tuple(with_analyzer(field, resources) for field in schema.fields)
    for field in fields:
        check_languages(schema, field)
    return msgspec.structs.replace(schema, fields=fields)


def with_analyzer(field: FieldSchema, resources: Resources) -> FieldSchema:
    """One field with what its analyzers read from files; raises for analyzers that cannot be made."""
    if FILES_PARAM in field.params:
        raise InvalidParameter(f"type param {FILES_PARAM} is not supported for the field {field.name}")
    given = [key for key in (ANALYZER_PARAMS, MULTI_PARAMS) if key in field.params]
    if not given or not field.data_type.is_string:
        return field
    if len(given) > 1:
        raise InvalidParameter(f"field {field.name} cannot have both {ANALYZER_PARAMS} and {MULTI_PARAMS}")
    if not enables_analyzer(field):
        raise InvalidParameter(f"field {field.name} has {given[0]} but does not set enable_analyzer")
    params: dict[str, Any] = read_params(field.params[given[0]], given[0])
    packed = pack(params, resources)
    if packed:
        field = msgspec.structs.replace(field, params={**field.params, FILES_PARAM: packed})
    if MULTI_PARAMS in given:
        field_analyzers(field)
    else:
        field_analyzer(field)
    return field


def without_files(fields: tuple[FieldSchema, ...]) -> tuple[FieldSchema, ...]:
    """Fields as their users wrote them."""
    return tuple(
        msgspec.structs.replace(field, params={k: v for k, v in field.params.items() if k != FILES_PARAM})
        if FILES_PARAM in field.params
        else field
        for field in fields
    )


def check_languages(schema: CollectionSchema, field: FieldSchema) -> None:
    """Raise unless a field that has an analyzer for each language can say which a row is in."""
    analyzers = field_analyzers(field)
    if analyzers is None:
        return
    name = analyzers.by_field
    chosen = schema.field(name)
    if chosen is None:
        raise InvalidParameter(f"multi analyzer dependent field {name} not exist in collection {schema.name}")
    if chosen.data_type is not DataType.VARCHAR or chosen.name == field.name:
        raise InvalidParameter(f"multi analyzer now only support by varchar field, but field {name} is not one")


def check_not_a_language(schema: CollectionSchema, name: str, field_id: int) -> None:
    """Raise if the field of that name, or without one of that id, says in which language another one is."""
    gone = schema.field(name) if name else schema.field_by_id(field_id)
    for field in schema.fields:
        analyzers = field_analyzers(field)
        if gone is not None and analyzers is not None and analyzers.by_field == gone.name and field != gone:
            raise InvalidParameter(f"field {gone.name} chooses the analyzer of field {field.name}, drop that one first")
