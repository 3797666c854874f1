"""Arrays of structs: lists of objects of one model in a field of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import pyarrow as pa

from redkite.client.typed.models import Model
from redkite.errors import DataNotMatchException
from redkite.model.batch import list_starts
from redkite.model.structs import elements_of, joined, runs


class Part(Protocol):
    """One field of the objects."""

    @property
    def attribute(self) -> str: ...
    @property
    def argument(self) -> str: ...
    @property
    def name(self) -> str: ...
    def values(self, column: pa.Array) -> list[Any]:
        """A stored column as values of the field."""
        ...


def structs_in(parts: Sequence[Part], values: Sequence[Any]) -> list[Any]:
    """Lists of objects as lists of dicts. Raises DataNotMatchException for what is no such object."""
    try:
        return [
            None if row is None else [{part.name: getattr(one, part.attribute) for part in parts} for one in row]
            for row in values
        ]
    except (AttributeError, TypeError) as error:
        raise DataNotMatchException(f"an array of structs takes a list of objects of its class: {error}") from error


def structs_out(parts: Sequence[Part], model: Model, column: pa.Array) -> list[Any]:
    """A column of lists of structs as lists of objects, all made at once."""
    structs = elements_of(column)
    columns = [part.values(structs.field(part.name)) for part in parts]
    objects = model.make([part.argument for part in parts], columns, len(structs))
    starts = (list_starts(column) - list_starts(column)[0]).tolist()
    valid = column.is_valid().to_pylist()
    return [objects[starts[at] : starts[at + 1]] if there else None for at, there in enumerate(valid)]


def columns_of(rows: pa.RecordBatch) -> dict[str, pa.Array]:
    """The columns of an answer, the sub-fields of structs together."""
    names = rows.schema.names
    return {
        name: rows.column(places[0]) if names[places[0]] == name else joined(rows, places)
        for name, places in runs(names)
    }
