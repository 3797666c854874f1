"""Which functions there are, and the ready ones of each schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from redkite.errors import InvalidParameter
from redkite.functions.base import FieldFunction, Services
from redkite.model.schema import CollectionSchema, FunctionSchema
from redkite.model.types import FunctionType

Maker = Callable[[CollectionSchema, FunctionSchema, Services], FieldFunction]
MAX_KEPT = 256
"""Schemas whose functions are kept."""


def _bm25(schema: CollectionSchema, function: FunctionSchema, services: Services) -> FieldFunction:
    from redkite.functions.bm25 import Bm25Function

    return Bm25Function(schema, function, services)


def _embedding(schema: CollectionSchema, function: FunctionSchema, services: Services) -> FieldFunction:
    from redkite.functions.embedding import TextEmbedding

    return TextEmbedding(schema, function, services)


def _minhash(schema: CollectionSchema, function: FunctionSchema, services: Services) -> FieldFunction:
    from redkite.functions.minhash import MinHashFunction

    return MinHashFunction(schema, function, services)


MAKERS: dict[FunctionType, Maker] = {
    FunctionType.BM25: _bm25,
    FunctionType.TEXTEMBEDDING: _embedding,
    FunctionType.MINHASH: _minhash,
}
"""Modules of functions are imported when the first of their kind is made."""


QUICK_BYTES = 32 * 1024
"""So much text is read within a few milliseconds."""
LOCAL = frozenset({FunctionType.BM25, FunctionType.MINHASH})
"""Functions that ask neither a service nor a model."""


class Ready(NamedTuple):
    """A function and the schema it was made for."""

    schema: CollectionSchema
    by_output: dict[str, FieldFunction]


def function_of(schema: CollectionSchema, function: FunctionSchema, services: Services) -> FieldFunction:
    """A function of a schema, made anew. Raises InvalidParameter for parameters it does not take."""
    maker = MAKERS.get(function.type)
    if maker is None:
        raise InvalidParameter(f"unknown function type: {function.type.name} of function {function.name}")
    return maker(schema, function, services)


class Functions:
    """The ready functions of schemas in use: the same struct gives the same functions. Safe from any thread."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self._ready: dict[int, Ready] = {}

    def check(self, schema: CollectionSchema) -> None:
        """Raises InvalidParameter unless every function of a schema can be made."""
        for function in schema.functions:
            function_of(schema, function, self.services)

    @staticmethod
    def is_quick(schema: CollectionSchema, size: int, field: str = "") -> bool:
        """Whether an event loop may wait for the functions of a schema, or that of one field, to read so many bytes."""
        kinds = {f.type for f in schema.functions if not field or field in f.output_field_names}
        return not kinds or (size <= QUICK_BYTES and kinds <= LOCAL)

    def probe(self, schema: CollectionSchema, *, ask: bool) -> None:
        """Look whether the models behind the functions of a new schema may be asked. `ask`: each for one vector, so
        that a wrong key or another dimension is known at once. Raises InvalidParameter or FunctionFailed."""
        for function in schema.functions:
            if function.type is FunctionType.TEXTEMBEDDING:
                from redkite.functions.embedding import TextEmbedding

                TextEmbedding(schema, function, self.services).probe(ask=ask)

    def of(self, schema: CollectionSchema) -> dict[str, FieldFunction]:
        """By the name of the field each of them fills."""
        found = self._ready.get(id(schema))
        if found is None or found.schema is not schema:
            if len(self._ready) >= MAX_KEPT:
                self._ready = {}
            made = {f.output_field_names[0]: function_of(schema, f, self.services) for f in schema.functions}
            found = self._ready[id(schema)] = Ready(schema, made)
        return found.by_output
