"""Columns of fields as files have them: what a Parquet file holds, and the JSON texts of JSON and CSV files."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from redkite.model.batch import data_type_of, element_type_of, list_starts, lists_of, matrix_of, numbers_to_arrow
from redkite.model.halves import from_bfloat16
from redkite.model.moments import show_moments
from redkite.model.sparse import SparseRows
from redkite.model.structs import elements_of, runs, split_name
from redkite.model.types import DataType

_BYTES = (DataType.BINARY_VECTOR, DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR)
_NUMPY = orjson.OPT_SERIALIZE_NUMPY


def file_columns(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Rows with a column for each field, named `struct[sub]` within structs, as Parquet files have them."""
    names, columns = [], []
    for name, places in runs(rows.schema.names):
        names.append(name)
        if rows.schema.names[places[0]] == name:
            columns.append(_plain(rows.schema.field(places[0]), rows.column(places[0])))
        else:
            columns.append(_structs(rows, places))
    return pa.RecordBatch.from_arrays(columns, names)


def _plain(field: pa.Field, column: pa.Array) -> pa.Array:
    return _shown(data_type_of(field), column)


def _shown(kind: DataType, column: pa.Array) -> pa.Array:
    """Values of one type."""
    if kind is DataType.JSON:
        return column.cast(pa.string())
    if kind is DataType.TIMESTAMPTZ:
        return show_moments(column) if pa.types.is_integer(column.type) else column
    if kind is DataType.SPARSE_FLOAT_VECTOR:
        return _sparse(column)
    if kind.is_vector:
        return _vectors(kind, column)
    return column


def _valid(column: pa.Array) -> npt.NDArray[np.bool_] | None:
    if not column.null_count:
        return None
    valid: npt.NDArray[np.bool_] = column.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _vectors(kind: DataType, column: pa.Array) -> pa.Array:
    """Lists of numbers, or of bytes."""
    matrix = matrix_of(column, kind)
    valid = _valid(column)
    if valid is not None:
        matrix = matrix[valid]
    numbers = np.ascontiguousarray(matrix)
    if kind in _BYTES:
        numbers = numbers.view(np.uint8)
    counts = np.full(len(column), numbers.shape[1] if numbers.size else 0)
    if valid is not None:
        counts[~valid] = 0
    starts = np.zeros(len(column) + 1, np.int32)
    np.cumsum(counts, out=starts[1:])
    return lists_of(starts, pa.array(numbers.reshape(-1)), valid)


def _sparse(column: pa.Array) -> pa.Array:
    """Structs of `indices` and `values`."""
    rows = SparseRows.from_arrow(column)
    starts = (rows.starts - rows.starts[0]).astype(np.int32)
    at = slice(int(rows.starts[0]), int(rows.starts[-1]))
    indices = lists_of(starts, pa.array(np.ascontiguousarray(rows.indices[at])))
    values = lists_of(starts, numbers_to_arrow(np.ascontiguousarray(rows.values[at])))
    mask = column.is_null() if column.null_count else None
    return pa.StructArray.from_arrays([indices, values], ["indices", "values"], mask=mask)


def _structs(rows: pa.RecordBatch, places: list[int]) -> pa.Array:
    """Lists of structs."""
    first = rows.column(places[0])
    starts, valid = list_starts(first), _valid(first)
    parts = []
    for place in places:
        field, column = rows.schema.field(place), rows.column(place)
        kind = data_type_of(field)
        elements = elements_of(column)
        parts.append(_shown(element_type_of(field), elements) if kind is DataType._ARRAY_OF_VECTOR else elements)
    names = [split_name(rows.schema.names[place])[1] for place in places]
    return lists_of(starts - starts[0], pa.StructArray.from_arrays(parts, names), valid)


# -- JSON ---------------------------------------------------------------------------------------
def json_values(field: pa.Field, column: pa.Array) -> list[Any]:
    """One value per row, for `orjson.dumps`."""
    return _json(data_type_of(field), column)


def _json(kind: DataType, column: pa.Array) -> list[Any]:
    if kind is DataType.JSON:
        return [None if text is None else _document(text) for text in column.to_pylist()]
    if kind is DataType.SPARSE_FLOAT_VECTOR:
        return [None if pairs is None else _sparse_object(pairs) for pairs in column.to_pylist()]
    if kind in (DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR):
        return _with_nulls(column, _halves(kind, column).tolist())
    if kind.is_vector:
        return _with_nulls(column, matrix_of(column, kind).tolist())
    if kind is DataType.FLOAT:
        return _floats(column)
    if kind is DataType.ARRAY and pa.types.is_float32(column.type.value_type):
        column = column.cast(pa.list_(pa.float64()))
    values: list[Any] = _shown(kind, column).to_pylist()
    return values


def _floats(column: pa.Array) -> list[Any]:
    values: list[Any] = column.cast(pa.float64()).to_pylist()
    return values


def _document(text: bytes) -> Any:
    """A JSON value as it stands, on one line; a string, and null, as the text of it, as everywhere in Milvus."""
    stripped = text.strip()
    if stripped[:1] == b'"' or stripped == b"null":
        return stripped.decode()
    if b"\n" in stripped or b"\r" in stripped:
        stripped = msgspec.json.format(stripped, indent=-1)
    return orjson.Fragment(stripped)


def _sparse_object(pairs: bytes) -> dict[str, float]:
    found = np.frombuffer(pairs, [("index", "<u4"), ("value", "<f4")])
    return dict(zip(map(str, found["index"].tolist()), found["value"].tolist(), strict=True))


def _halves(kind: DataType, column: pa.Array) -> npt.NDArray[np.float32]:
    matrix = matrix_of(column, kind)
    return from_bfloat16(matrix) if kind is DataType.BFLOAT16_VECTOR else matrix.astype(np.float32)


def _with_nulls(column: pa.Array, values: list[Any]) -> list[Any]:
    if column.null_count:
        for row in np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)).tolist():
            values[row] = None
    return values


def json_columns(rows: pa.RecordBatch) -> dict[str, list[Any]]:
    """Each field, its structs as lists of dicts, with one value per row."""
    found: dict[str, list[Any]] = {}
    for name, places in runs(rows.schema.names):
        if rows.schema.names[places[0]] == name:
            found[name] = json_values(rows.schema.field(places[0]), rows.column(places[0]))
            continue
        parts = [_element_values(rows.schema.field(place), rows.column(place)) for place in places]
        names = [split_name(rows.schema.names[place])[1] for place in places]
        items = [dict(zip(names, values, strict=True)) for values in zip(*parts, strict=True)]
        first = rows.column(places[0])
        starts = (list_starts(first) - list_starts(first)[0]).tolist()
        present = first.is_valid().to_pylist()
        found[name] = [items[starts[at] : starts[at + 1]] if there else None for at, there in enumerate(present)]
    return found


def _element_values(field: pa.Field, column: pa.Array) -> list[Any]:
    elements = elements_of(column)
    if data_type_of(field) is DataType._ARRAY_OF_VECTOR:
        return _json(element_type_of(field), elements)
    if pa.types.is_float32(elements.type):
        return _floats(elements)
    values: list[Any] = elements.to_pylist()
    return values


def dumped(value: Any) -> bytes:
    return orjson.dumps(value, option=_NUMPY)


# -- CSV ----------------------------------------------------------------------------------------
def csv_columns(rows: pa.RecordBatch) -> dict[str, pa.Array]:
    """Each field as texts, null where it is."""
    found: dict[str, pa.Array] = {}
    values = None
    for name, places in runs(rows.schema.names):
        field, column = rows.schema.field(places[0]), rows.column(places[0])
        kind = DataType._ARRAY_OF_STRUCT if field.name != name else data_type_of(field)
        if kind is DataType.JSON or kind is DataType.TIMESTAMPTZ:
            found[name] = _shown(kind, column)
        elif kind.is_string or kind is DataType.GEOMETRY:
            found[name] = column
        elif kind is DataType.BOOL or kind.is_number:
            found[name] = pc.cast(column, pa.string())
        else:
            values = json_columns(rows) if values is None else values
            cells = [None if value is None else dumped(value).decode() for value in values[name]]
            found[name] = pa.array(cells, pa.string())
    return found
