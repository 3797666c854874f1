"""Where a filter finds its columns."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.errors import FieldNotFound
from redkite.filter.indexed import FieldIndex
from redkite.filter.json_column import JsonColumn, JsonPath
from redkite.filter.numbers import Mask, unpack, valid_rows
from redkite.filter.shape_column import ShapeColumn
from redkite.filter.word_column import WordColumn
from redkite.model.schema import CollectionSchema
from redkite.text.analyzer import Analyzer


class Columns(Protocol):
    """The rows a filter runs over. Arrays belong to the columns and are only read; all have `rows` entries."""

    @property
    def rows(self) -> int: ...

    def numbers(self, field: str) -> tuple[npt.NDArray[Any], Mask | None]:
        """Values of a BOOL, integer or float field in its own dtype, and where they are valid (None: everywhere).

        What stands at an invalid row does not matter.
        """
        ...

    def strings(self, field: str) -> pa.Array:
        """A VARCHAR field: string, or string by dictionary; nulls as Arrow nulls."""
        ...

    def arrays(self, field: str) -> pa.Array:
        """An ARRAY field as a ListArray; nulls as Arrow nulls."""
        ...

    def json_path(self, field: str, path: JsonPath) -> JsonColumn:
        """The values at a path of a JSON field or `$meta`."""
        ...

    def shapes(self, field: str) -> ShapeColumn:
        """A GEOMETRY field."""
        ...

    def words(self, field: str, analyzer: Analyzer) -> WordColumn:
        """The words of a VARCHAR or TEXT field, as its analyzer finds them."""
        ...

    def is_valid(self, field: str) -> Mask | None:
        """Where any field is not null; None: everywhere."""
        ...

    def stored(self, field: str) -> pa.Array:
        """Any field as its rows are stored."""
        ...

    def indexes_of(self, field: str) -> tuple[FieldIndex, ...]:
        """What may answer a leaf that reads this field instead of a pass over its rows."""
        ...


class ArrowColumns:
    """`Columns` over one record batch, without copying numbers. JSON paths, shapes and words are read once and kept.

    For one thread at a time.
    """

    __slots__ = ("_batch", "_paths", "_schema", "_shapes", "_words", "rows")

    def __init__(self, batch: pa.RecordBatch, schema: CollectionSchema) -> None:
        self._batch = batch
        self._schema = schema
        self._paths: dict[tuple[str, JsonPath], JsonColumn] = {}
        self._shapes: dict[str, ShapeColumn] = {}
        self._words: dict[str, WordColumn] = {}
        self.rows: int = batch.num_rows

    def numbers(self, field: str) -> tuple[npt.NDArray[Any], Mask | None]:
        column = self._column(field)
        if pa.types.is_boolean(column.type):
            return unpack(column), self._valid(column)
        return number_values(column), self._valid(column)

    def strings(self, field: str) -> pa.Array:
        return self._column(field)

    def arrays(self, field: str) -> pa.Array:
        return self._column(field)

    def json_path(self, field: str, path: JsonPath) -> JsonColumn:
        found = self._paths.get((field, path))
        if found is None:
            found = self._paths[field, path] = JsonColumn.from_rows(self._column(field), path)
        return found

    def shapes(self, field: str) -> ShapeColumn:
        found = self._shapes.get(field)
        if found is None:
            found = self._shapes[field] = ShapeColumn.from_texts(self._column(field))
        return found

    def words(self, field: str, analyzer: Analyzer) -> WordColumn:
        found = self._words.get(field)
        if found is None:
            found = self._words[field] = WordColumn.from_texts(self._column(field), analyzer)
        return found

    def is_valid(self, field: str) -> Mask | None:
        return self._valid(self._column(field))

    def stored(self, field: str) -> pa.Array:
        return self._column(field)

    def indexes_of(self, field: str) -> tuple[FieldIndex, ...]:  # noqa: ARG002  # a batch has none
        return ()

    def _column(self, field: str) -> pa.Array:
        index = self._batch.schema.get_field_index(field)
        if index < 0:
            raise FieldNotFound(f"field {field} not exist in these rows of collection {self._schema.name}")
        return self._batch.column(index)

    @staticmethod
    def _valid(column: pa.Array) -> Mask | None:
        return valid_rows(column) if column.null_count else None


def number_values(column: pa.Array) -> npt.NDArray[Any]:
    """The numbers of an Arrow column where they lie, whatever stands at its nulls."""
    dtype = column.type.to_pandas_dtype()
    buffer = column.buffers()[1]
    if buffer is None:
        return np.zeros(len(column), dtype)
    return np.frombuffer(buffer, dtype, len(column), column.offset * np.dtype(dtype).itemsize)
