"""A collection after a function has come or gone, from what it was before. Pure: the root coordinator commits."""

from __future__ import annotations

import msgspec

from redkite.coordinator.meta import CollectionMeta
from redkite.coordinator.schema_changes import with_checked_field, without_fields
from redkite.errors import InvalidParameter
from redkite.model.limits import Limits
from redkite.model.rules.change_rules import check_added_output
from redkite.model.rules.function_rules import FIRST_FUNCTION_ID, check_functions
from redkite.model.schema import CollectionSchema, FieldSchema, FunctionSchema
from redkite.model.types import FunctionType


def with_function(meta: CollectionMeta, field: FieldSchema, function: FunctionSchema, limits: Limits) -> CollectionMeta:
    """With a function and the field it fills, also for the rows that are there. Those that want a model have no value
    until somebody has asked it: so long the field may be null."""
    schema = meta.schema
    name = field.name.strip()
    if function.output_field_names != (name,):
        raise InvalidParameter(
            f"the output field of function {function.name} must be the field that is added, {name}, "
            f"got {', '.join(function.output_field_names)}"
        )
    output = msgspec.structs.replace(field, name=name, is_function_output=True)
    check_added_output(schema, output, limits)
    waiting = {field.name for _, field in unfilled(schema)}
    known = [msgspec.structs.replace(f, nullable=f.nullable and f.name not in waiting) for f in schema.user_fields]
    check_functions((*schema.functions, function), (*known, output))
    output = msgspec.structs.replace(output, nullable=function.type is FunctionType.TEXTEMBEDDING)
    number = max((f.function_id for f in schema.functions), default=FIRST_FUNCTION_ID - 1) + 1
    functions = (*schema.functions, msgspec.structs.replace(function, function_id=number))
    changed = msgspec.structs.replace(meta, schema=msgspec.structs.replace(schema, functions=functions))
    return with_checked_field(changed, output)


def unfilled(schema: CollectionSchema) -> list[tuple[FunctionSchema, FieldSchema]]:
    """Functions that came to rows that were there, and were not applied to all of them yet; and what they fill."""
    return [
        (function, field)
        for function in schema.functions
        if function.type is FunctionType.TEXTEMBEDDING
        for field in schema.fields
        if field.name in function.output_field_names and field.nullable
    ]


def with_all_filled(meta: CollectionMeta, field_id: int) -> CollectionMeta:
    """With a field that its function has filled in all rows. Told apart by its id: another may have its name by now."""
    done = {field.field_id for _, field in unfilled(meta.schema)} & {field_id}
    fields = tuple(
        msgspec.structs.replace(f, nullable=f.nullable and f.field_id not in done) for f in meta.schema.fields
    )
    return msgspec.structs.replace(meta, schema=msgspec.structs.replace(meta.schema, fields=fields))


def without_function(meta: CollectionMeta, name: str) -> CollectionMeta:
    """Without a function and the field it fills."""
    schema = meta.schema
    function = next((f for f in schema.functions if f.name == name), None)
    if function is None:
        raise InvalidParameter(f"function not found: {name}")
    filled = [f for f in schema.fields if f.name in function.output_field_names]
    if {f.name for f in schema.vector_fields} <= {f.name for f in filled}:
        raise InvalidParameter(f"cannot drop the last vector field: {filled[0].name}")
    kept = tuple(f for f in schema.functions if f is not function)
    changed = msgspec.structs.replace(meta, schema=msgspec.structs.replace(schema, functions=kept))
    return without_fields(changed, filled)


def with_altered_function(meta: CollectionMeta, name: str, altered: FunctionSchema) -> CollectionMeta:
    """With other parameters of a function that asks a model; what it reads and fills stays."""
    functions = meta.schema.functions
    function = next((f for f in functions if f.name == name), None)
    if function is None:
        raise InvalidParameter(f"function not found: {name}")
    if function.type is not FunctionType.TEXTEMBEDDING:
        raise InvalidParameter(
            f"function {name}: only functions of type TEXTEMBEDDING can be altered, since the values of others would "
            "not fit their parameters any more"
        )
    for what in ("name", "type", "input_field_names", "output_field_names"):
        before, after = getattr(function, what), getattr(altered, what)
        if before != after:
            raise InvalidParameter(f"function {name}: {what} cannot be altered, from {before} to {after}")
    changed = msgspec.structs.replace(altered, function_id=function.function_id)
    kept = tuple(changed if f is function else f for f in functions)
    return msgspec.structs.replace(meta, schema=msgspec.structs.replace(meta.schema, functions=kept))
