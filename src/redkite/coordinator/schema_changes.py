"""A collection after a change of its fields or properties, from what it was before. Pure: the root coordinator commits.

Field ids are given out once: `CollectionMeta.max_field_id` remembers those of fields that are gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import tzinfo

import msgspec

from redkite.coordinator.creation import dynamic_field, engine_struct
from redkite.coordinator.meta import CollectionMeta
from redkite.errors import InvalidParameter
from redkite.model.limits import Limits
from redkite.model.rules.change_rules import (
    DESCRIPTION,
    check_added_field,
    check_added_struct,
    check_field_params,
    check_struct_params,
    fields_to_drop,
)
from redkite.model.rules.field_rules import check_field, with_settled_default
from redkite.model.rules.numbers import truth
from redkite.model.rules.property_rules import check_properties, check_property_keys
from redkite.model.rules.schema_rules import check_description
from redkite.model.rules.struct_rules import check_struct
from redkite.model.schema import CollectionSchema, FieldSchema, StructFieldSchema
from redkite.model.types import ConsistencyLevel

_DYNAMIC = "dynamicfield.enabled"
_DESCRIPTION = "collection.description"
_CONSISTENCY = "consistency_level"
_NOT_KEPT = (_DYNAMIC, _DESCRIPTION, _CONSISTENCY)
"""Said like properties, and kept in the collection itself."""


def with_field(meta: CollectionMeta, field: FieldSchema, zone: tzinfo, limits: Limits) -> CollectionMeta:
    """With one more field, after the others. `zone` is that of a default time without an offset."""
    check_added_field(meta.schema, field, limits)
    added = msgspec.structs.replace(
        with_settled_default(field, zone), name=field.name.strip(), field_id=meta.next_field_id
    )
    return _with_added(meta, added)


def with_struct(meta: CollectionMeta, struct: StructFieldSchema, limits: Limits) -> CollectionMeta:
    """With one more array of structs, which is null in the rows that are there."""
    check_added_struct(meta.schema, struct, limits)
    added = engine_struct(struct, meta.next_field_id)
    schema = msgspec.structs.replace(meta.schema, struct_fields=(*meta.schema.struct_fields, added))
    fields = tuple(sorted((*meta.schema.fields, *added.fields), key=lambda f: f.is_dynamic))
    return _with_fields(msgspec.structs.replace(meta, schema=schema), fields)


def with_checked_field(meta: CollectionMeta, field: FieldSchema) -> CollectionMeta:
    """With one more field that somebody has checked."""
    return _with_added(meta, msgspec.structs.replace(field, field_id=meta.next_field_id))


def without_fields(meta: CollectionMeta, gone: Iterable[FieldSchema]) -> CollectionMeta:
    """Without some fields that somebody has checked."""
    names = {field.name for field in gone}
    return _with_fields(meta, tuple(f for f in meta.schema.fields if f.name not in names))


def _with_added(meta: CollectionMeta, added: FieldSchema) -> CollectionMeta:
    """`$meta` stays last."""
    return _with_fields(meta, tuple(sorted((*meta.schema.fields, added), key=lambda f: f.is_dynamic)))


def _with_fields(meta: CollectionMeta, fields: tuple[FieldSchema, ...]) -> CollectionMeta:
    structs = tuple(
        msgspec.structs.replace(struct, fields=tuple(f for f in fields if f.struct_name == struct.name))
        for struct in meta.schema.struct_fields
    )
    schema = msgspec.structs.replace(
        meta.schema,
        fields=fields,
        struct_fields=tuple(struct for struct in structs if struct.fields),
        version=meta.schema.version + 1,
    )
    highest = max(meta.next_field_id - 1, *(f.field_id for f in fields))
    return msgspec.structs.replace(meta, schema=schema, max_field_id=highest)


def without_field(meta: CollectionMeta, name: str, field_id: int, indexed: Iterable[str]) -> CollectionMeta:
    """Without the field of that name or, when the name is empty, that id. `indexed` are the fields with an index."""
    gone = fields_to_drop(meta.schema, name, field_id)
    for field in gone:
        if field.name in indexed:
            raise InvalidParameter(f"cannot drop field {field.name}: it has an index, drop the index first")
    return _with_fields(meta, tuple(f for f in meta.schema.fields if f not in gone))


def with_field_params(
    meta: CollectionMeta, name: str, properties: Mapping[str, str], delete_keys: Iterable[str], limits: Limits
) -> CollectionMeta:
    """With other params of one field. Values that are stored already stay as they are, also beyond a smaller limit."""
    gone = set(delete_keys)
    _check_either(properties, gone)
    struct = meta.schema.struct(name.partition("[")[0])
    if struct is not None:
        return _with_struct_params(meta, struct, name, properties, gone, limits)
    field = meta.schema.field(name)
    if field is None or field.is_dynamic:
        raise InvalidParameter(f"field {name} does not exist in collection {meta.name}")
    check_field_params(field, properties, gone)
    params = {key: value for key, value in field.params.items() if key not in gone}
    params |= {key: value for key, value in properties.items() if key != DESCRIPTION}
    description = "" if DESCRIPTION in gone else properties.get(DESCRIPTION, field.description)
    changed = msgspec.structs.replace(field, params=params, description=description)
    check_field(meta.name, changed, limits)
    check_description(f"field {name}", description, limits)
    if changed == field:
        return meta
    return _with_fields(meta, tuple(changed if f is field else f for f in meta.schema.fields))


def _with_struct_params(
    meta: CollectionMeta, struct: StructFieldSchema, name: str, properties: Mapping[str, str], gone: set[str],
    limits: Limits,
) -> CollectionMeta:  # fmt: skip
    """With another capacity of an array of structs, another length of the texts of a sub-field, or a description."""
    part = None if name == struct.name else meta.schema.field(name)
    if part is None and name != struct.name:
        raise InvalidParameter(f"field {name} does not exist in collection {meta.name}")
    check_struct_params(struct, part, properties, gone)
    params = {key: value for key, value in properties.items() if key != DESCRIPTION}
    described = {} if DESCRIPTION not in (*properties, *gone) else {"description": properties.get(DESCRIPTION, "")}
    check_description(f"field {name}", described.get("description", ""), limits)
    changed = struct
    if part is None and described:
        changed = msgspec.structs.replace(struct, **described)
    parts = tuple(
        msgspec.structs.replace(f, params=f.params | params, **({} if part is None else described))
        if part is None or f is part or f.name == name
        else f
        for f in struct.fields
    )
    changed = msgspec.structs.replace(changed, fields=parts)
    check_struct(meta.name, changed, limits)
    if changed == struct:
        return meta
    structs = tuple(changed if s is struct else s for s in meta.schema.struct_fields)
    new = {f.name: f for f in parts}
    made = msgspec.structs.replace(meta, schema=msgspec.structs.replace(meta.schema, struct_fields=structs))
    return _with_fields(made, tuple(new.get(f.name, f) for f in meta.schema.fields))


def with_properties(
    meta: CollectionMeta, properties: Mapping[str, str], delete_keys: Iterable[str], limits: Limits
) -> CollectionMeta:
    """With some properties set and others taken away."""
    gone = set(delete_keys)
    _check_either(properties, gone)
    for key in _NOT_KEPT:
        if key in gone:
            raise InvalidParameter(f"the property {key} can be changed, not dropped")
    check_property_keys(gone)
    wanted = {key: value for key, value in properties.items() if key not in _NOT_KEPT}
    kept = {key: value for key, value in meta.properties.items() if key not in gone} | wanted
    check_properties(kept, limits, meta.schema.fields)
    schema: CollectionSchema = msgspec.structs.replace(meta.schema, properties=kept)
    if _DESCRIPTION in properties:
        check_description("collection", properties[_DESCRIPTION], limits)
        schema = msgspec.structs.replace(schema, description=properties[_DESCRIPTION])
    level = meta.consistency_level
    if _CONSISTENCY in properties:
        level = _level(properties[_CONSISTENCY])
    made = msgspec.structs.replace(meta, schema=schema, properties=kept, consistency_level=level)
    return _with_dynamic_field(made, properties[_DYNAMIC]) if _DYNAMIC in properties else made


def as_said(
    schema: CollectionSchema, level: ConsistencyLevel, properties: Mapping[str, str]
) -> tuple[CollectionSchema, ConsistencyLevel]:
    """A schema that is to be, with these properties besides its own, and its level: what is said like properties is
    kept where it belongs."""
    given = {**schema.properties, **properties}
    kept = {key: value for key, value in given.items() if key not in _NOT_KEPT}
    made: CollectionSchema = msgspec.structs.replace(
        schema,
        properties=kept,
        description=given.get(_DESCRIPTION, schema.description),
        enable_dynamic_field=schema.enable_dynamic_field or _dynamic(given.get(_DYNAMIC, "false")),
    )
    return made, _level(given[_CONSISTENCY]) if _CONSISTENCY in given else level


def _dynamic(value: str) -> bool:
    wanted = truth(value)
    if wanted is None:
        raise InvalidParameter(f"the value for {_DYNAMIC} must be true or false, but got {value}")
    return wanted


def _check_either(properties: Mapping[str, str], delete_keys: Iterable[str]) -> None:
    if properties and delete_keys:
        raise InvalidParameter("properties cannot be set and deleted in one request")
    if not properties and not delete_keys:
        raise InvalidParameter("no property to set and no key to delete is given")


def _with_dynamic_field(meta: CollectionMeta, value: str) -> CollectionMeta:
    wanted = _dynamic(value)
    if wanted is meta.schema.enable_dynamic_field:
        return meta
    if not wanted:
        raise InvalidParameter(f"the dynamic field of collection {meta.name} cannot be turned off")
    made = _with_added(meta, dynamic_field(meta.next_field_id))
    return msgspec.structs.replace(made, schema=msgspec.structs.replace(made.schema, enable_dynamic_field=True))


def _level(text: str) -> ConsistencyLevel:
    """A level by its name or number."""
    if text in ConsistencyLevel.__members__:
        return ConsistencyLevel[text]
    number = int(text) if text.isdecimal() else -1
    if number not in ConsistencyLevel._value2member_map_:
        raise InvalidParameter(f"Invalid consistency level: {text}")
    return ConsistencyLevel(number)
