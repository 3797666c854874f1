"""Arrow schemas as collections: LanceDB tables and Parquet files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from redkite.client.schema import CollectionSchema
from redkite.errors import ParamError
from redkite.migration.plan import Wishes, field_name
from redkite.model.batch import matrix_to_arrow
from redkite.model.limits import LIMITS
from redkite.model.types import DataType

_NUMBERS: dict[pa.DataType, DataType] = {
    pa.bool_(): DataType.BOOL, pa.int8(): DataType.INT8, pa.int16(): DataType.INT16, pa.int32(): DataType.INT32,
    pa.int64(): DataType.INT64, pa.uint8(): DataType.INT16, pa.uint16(): DataType.INT32, pa.uint32(): DataType.INT64,
    pa.uint64(): DataType.INT64, pa.float16(): DataType.FLOAT, pa.float32(): DataType.FLOAT,
    pa.float64(): DataType.DOUBLE,
}  # fmt: skip
_VECTORS = {
    pa.float32(): DataType.FLOAT_VECTOR, pa.float64(): DataType.FLOAT_VECTOR, pa.float16(): DataType.FLOAT16_VECTOR,
    pa.int8(): DataType.INT8_VECTOR,
}  # fmt: skip
AUTO_KEY = "id"
KEY_LENGTH = 4096


@dataclass(frozen=True, slots=True)
class Column:
    """One column that is carried."""

    source: str
    """What it is called at the source."""
    kind: DataType
    dim: int = 0
    name: str = ""
    """Of the field."""

    def converted(self, values: pa.Array) -> Any:
        """The values in a form that an insert takes."""
        if self.kind is DataType.JSON:
            return values.to_pylist()
        if self.kind is DataType.FLOAT16_VECTOR:
            return self._halves(values)
        if self.kind is DataType.FLOAT_VECTOR and not pa.types.is_fixed_size_list(values.type):
            return values.cast(pa.list_(values.type.value_type, self.dim))
        if pa.types.is_dictionary(values.type):
            return values.dictionary_decode()
        if pa.types.is_date(values.type) or pa.types.is_time(values.type) or pa.types.is_decimal(values.type):
            return values.cast(pa.string())
        if values.type == pa.uint64():
            return values.cast(pa.int64())
        return values.cast(pa.float32()) if values.type == pa.float16() else values

    def _halves(self, values: pa.Array) -> pa.Array:
        """Vectors of float16 as the bytes of each."""
        valid = values.is_valid().to_numpy(zero_copy_only=False)
        matrix = np.zeros((len(values), self.dim), np.float16)
        matrix[valid] = values.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, self.dim)
        return matrix_to_arrow(matrix, self.kind, valid)


@dataclass(frozen=True, slots=True)
class Mapped:
    """A table as a collection."""

    schema: CollectionSchema
    columns: tuple[Column, ...]
    key: str
    vectors: tuple[str, ...]
    notes: tuple[str, ...]

    def rows(self, batch: pa.RecordBatch) -> dict[str, Any]:
        """A batch by column."""
        return {column.name: _of_column(column, batch.column(column.source)) for column in self.columns}


def _of_column(column: Column, values: pa.Array) -> Any:
    try:
        return column.converted(values)
    except pa.ArrowException as error:
        raise ParamError(f"column {column.source} cannot be carried as {column.kind.name}: {error}") from error


def mapped(schema: pa.Schema, first: pa.Table, wishes: Wishes, what: str) -> Mapped:
    """How a table with this schema becomes a collection; `first` has its first rows. Raises ParamError where none can
    be made of it."""
    columns: list[Column] = []
    notes: list[str] = []
    for field in schema:
        column = _column(field, first, wishes)
        if column is None:
            notes.append(f"column {field.name} stays behind: there is no field for {field.type}")
        else:
            column = replace(column, name=field_name(field.name, [other.name for other in columns]))
            columns.append(column)
            notes += _changes(column, field.type)
    key = _key(columns, wishes, what)
    vectors = tuple(column.name for column in columns if column.kind.is_vector)
    if not vectors:
        raise ParamError(f"{what} has no column of vectors; name one with --vector, if it is a list of numbers")
    made = CollectionSchema()
    if not key:
        name = field_name(AUTO_KEY, [column.name for column in columns])
        made.add_field(name, DataType.INT64, is_primary=True, auto_id=True)
        notes.append(f"rows get keys of their own, in {name}: no column is one (name one with --key)")
    for column in columns:
        made.add_field(column.name, column.kind, **_settings(column, schema.field(column.source), key))
    return Mapped(made, tuple(columns), key, vectors, tuple(notes))


def _changes(column: Column, kind: pa.DataType) -> list[str]:
    """What is another in the field than it was in the column."""
    notes = []
    if column.name != column.source:
        notes.append(f"column {column.source} is called {column.name}: names have letters, digits and underscores")
    if column.kind is DataType.FLOAT_VECTOR and kind.value_type == pa.float64():
        notes.append(f"vectors {column.name} of float64 become float32")
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        notes.append(f"times of {column.name} lose what is below a microsecond")
    return notes


def _key(columns: list[Column], wishes: Wishes, what: str) -> str:
    kinds = {column.source: column.kind for column in columns}
    names = {column.source: column.name for column in columns}
    usable = (DataType.INT64, DataType.VARCHAR)
    if not wishes.key:
        return AUTO_KEY if kinds.get(AUTO_KEY) in usable else ""
    if kinds.get(wishes.key) not in usable:
        raise ParamError(f"{what} has no column {wishes.key} of integers of 64 bits or of texts that could be the key")
    return names[wishes.key]


def _column(field: pa.Field, first: pa.Table, wishes: Wishes) -> Column | None:
    kind = field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if kind in _NUMBERS:
        return Column(field.name, _NUMBERS[kind])
    if pa.types.is_timestamp(kind):
        return Column(field.name, DataType.TIMESTAMPTZ)
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_date, pa.types.is_time)
    if any(test(kind) for test in text) or pa.types.is_decimal(kind):
        return Column(field.name, DataType.VARCHAR)
    if pa.types.is_fixed_size_list(kind) and kind.value_type in _VECTORS:
        return Column(field.name, _VECTORS[kind.value_type], kind.list_size)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _list(field, kind, first, wishes)
    if pa.types.is_struct(kind) or pa.types.is_map(kind):
        return Column(field.name, DataType.JSON)
    return None


def _list(field: pa.Field, kind: pa.DataType, first: pa.Table, wishes: Wishes) -> Column:
    """A list of numbers whose rows are all of one length is a vector; other lists are arrays."""
    if kind.value_type in (pa.float32(), pa.float64()) and wishes.vector in ("", field.name):
        lengths = pc.unique(pc.list_value_length(first.column(field.name).combine_chunks()).drop_null()).to_pylist()
        if len(lengths) == 1 and lengths[0] > 1:
            return Column(field.name, DataType.FLOAT_VECTOR, lengths[0])
        if wishes.vector == field.name:
            raise ParamError(f"column {field.name} has lists of several lengths: {sorted(lengths)[:5]}")
    plain = kind.value_type in _NUMBERS or pa.types.is_string(kind.value_type)
    return Column(field.name, DataType.ARRAY if plain else DataType.JSON)


def _settings(column: Column, field: pa.Field, key: str) -> dict[str, Any]:
    if column.name == key:
        length = {"max_length": KEY_LENGTH} if column.kind is DataType.VARCHAR else {}
        return {"is_primary": True, **length}
    settings: dict[str, Any] = {"nullable": True}
    if column.kind is DataType.VARCHAR:
        settings["max_length"] = LIMITS.max_varchar_length
    elif column.kind.is_vector:
        settings["dim"] = column.dim
    elif column.kind is DataType.ARRAY:
        element = field.type.value_type
        settings |= {"max_capacity": LIMITS.max_array_capacity}
        if pa.types.is_string(element):
            settings |= {"element_type": DataType.VARCHAR, "max_length": LIMITS.max_varchar_length}
        else:
            settings["element_type"] = _NUMBERS[element]
    return settings
