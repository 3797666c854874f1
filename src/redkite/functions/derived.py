"""What functions would have made of rows that were written before the functions came.

What a function makes that asks neither a service nor a model is the same whenever it is asked for: it is made where it
is read, until the rows are written anew. Rows that want a model have no value until they were written with one.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING

import pyarrow as pa

from redkite.errors import InvalidParameter
from redkite.functions.base import FieldFunction
from redkite.functions.registry import MAX_KEPT
from redkite.model.rules.function_rules import function_of_output
from redkite.model.schema import CollectionSchema, FieldSchema, FunctionSchema
from redkite.model.types import FunctionType

if TYPE_CHECKING:
    from redkite.text.specs import Resources


class _Alone:
    """No files but those that lie in the field's own params."""

    resources: Resources | None = None


_lock = Lock()
_ready: dict[tuple[int, str], tuple[CollectionSchema, FieldFunction]] = {}


def is_derived(schema: CollectionSchema, field: FieldSchema) -> bool:
    """Whether the values of a field can be made where they are read."""
    function = function_of_output(schema, field.name) if field.is_function_output else None
    return function is not None and function.type is not FunctionType.TEXTEMBEDDING


def derived_column(schema: CollectionSchema, field: FieldSchema, read: Callable[[str], pa.Array]) -> pa.Array:
    """The column of a field that a function fills, of rows that were written without it. `read` gives the columns of
    other fields of the same rows."""
    function = function_of_output(schema, field.name)
    if function is None:
        raise InvalidParameter(f"field {field.name} is marked as a function output, but no function writes it")
    ready = _function(schema, function)
    return ready.fill([read(name) for name in ready.inputs])


def _function(schema: CollectionSchema, function: FunctionSchema) -> FieldFunction:
    """Kept as long as the schema is in use."""
    key = (id(schema), function.name)
    with _lock:
        known = _ready.get(key)
        if known is None or known[0] is not schema:
            if len(_ready) >= MAX_KEPT:
                _ready.clear()
            known = _ready[key] = (schema, _made(schema, function))
        return known[1]


def _made(schema: CollectionSchema, function: FunctionSchema) -> FieldFunction:
    if function.type is FunctionType.MINHASH:
        from redkite.functions.minhash import MinHashFunction

        return MinHashFunction(schema, function, _Alone())
    from redkite.functions.bm25 import Bm25Function

    assert function.type is FunctionType.BM25, "what a model makes is not made at reading"
    return Bm25Function(schema, function, _Alone())
