"""Arrow columns as Python values and numpy arrays, in the forms Milvus's SDK shows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from redkite.client.sparse import sparse_dict
from redkite.client.structs import struct_values
from redkite.errors import WireError
from redkite.model import batch
from redkite.model.batch import arrow_to_numbers, data_type_of
from redkite.model.schema import META_FIELD
from redkite.model.structs import joined, runs
from redkite.model.types import DataType

_FEW = 16
"""Numbers of which Arrow makes a list quicker than numpy."""


def kind_of(field: pa.Field) -> DataType | None:
    """The field type a column says it has; None when its Arrow type says enough."""
    return data_type_of(field) if field.metadata else None


def python_values(column: pa.Array, kind: DataType | None = None, *, listed: bool = False) -> list[Any]:
    """One Python value per row; nulls are None.

    FLOAT becomes the float that equals the float32; a float vector a list of such; a vector of another dense kind its
    bytes, or with `listed` a list that holds them, as Milvus's SDK has it in queries; a sparse vector
    `{index: value}`; JSON what it says; a time its ISO text in UTC.
    """
    numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if numeric and column.null_count == 0 and kind is not DataType.TIMESTAMPTZ:
        if len(column) <= _FEW:
            few: list[Any] = column.to_pylist()
            return few
        numbers: list[Any] = arrow_to_numbers(column).tolist()
        return numbers
    if pa.types.is_fixed_size_list(column.type):
        return _vectors(column, listed)
    if pa.types.is_fixed_size_binary(column.type):
        return _listed(column.to_pylist()) if listed else list(column.to_pylist())
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        load = sparse_dict if kind is DataType.SPARSE_FLOAT_VECTOR else loads
        return [None if v is None else load(v) for v in column.to_pylist()]
    if kind is DataType.TIMESTAMPTZ and pa.types.is_integer(column.type):
        return [None if v is None else _iso(v) for v in column.to_pylist()]
    values: list[Any] = column.to_pylist()
    return values


def _iso(microseconds: int) -> str:
    moment = datetime(1970, 1, 1) + timedelta(microseconds=microseconds)
    text = moment.isoformat(timespec="microseconds").rstrip("0").rstrip(".")
    return text + "Z"


def loads(data: bytes) -> Any:
    """A JSON text a server sent."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise WireError(f"a JSON value of the reply does not parse: {error}") from error


def _listed(values: list[Any]) -> list[Any]:
    return [None if value is None else [value] for value in values]


def _vectors(column: pa.Array, listed: bool) -> list[Any]:
    matrix = matrix_of(column)
    rows: list[Any]
    if matrix.dtype == np.int8:
        rows = [row.tobytes() for row in matrix]
        rows = _listed(rows) if listed else rows
    else:
        rows = matrix.tolist()
    if column.null_count:
        for i in np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)):
            rows[i] = None
    return rows


def matrix_of(column: pa.Array) -> npt.NDArray[Any]:
    """A fixed-size-list column -> (rows, dim), zeros where a row is null. A view, when no row is."""
    dim = column.type.list_size
    if not column.null_count:
        flat: npt.NDArray[Any] = column.flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(len(column), dim)
    matrix = np.zeros((len(column), dim), dtype=column.type.value_type.to_pandas_dtype())
    matrix[column.is_valid().to_numpy(zero_copy_only=False)] = column.drop_null().flatten().to_numpy().reshape(-1, dim)
    return matrix


def is_matrix(column: pa.Array) -> bool:
    """Whether `numpy_column` makes a matrix of it: vectors that are all of one size."""
    return bool(pa.types.is_fixed_size_list(column.type) or pa.types.is_fixed_size_binary(column.type))


def numpy_column(column: pa.Array, kind: DataType | None = None) -> npt.NDArray[Any]:
    """A column as numpy: vectors as a matrix, a null one as zeros; text and the like as objects. `kind` where the Arrow
    type does not tell it."""
    if pa.types.is_fixed_size_list(column.type):
        return matrix_of(column)
    if pa.types.is_fixed_size_binary(column.type):
        return _matrix_of_bytes(column, kind or DataType.BINARY_VECTOR)
    result: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return result


def _matrix_of_bytes(column: pa.Array, kind: DataType) -> npt.NDArray[Any]:
    matrix = batch.matrix_of(column, kind)
    if column.null_count:
        matrix = np.where(column.is_valid().to_numpy(zero_copy_only=False)[:, None], matrix, matrix.dtype.type(0))
    if kind is not DataType.BFLOAT16_VECTOR:
        return matrix
    try:
        import ml_dtypes
    except ImportError:
        return matrix
    return matrix.view(ml_dtypes.bfloat16)


class Dynamic:
    """Which keys of `$meta` a result shows: those that were asked for, or, when none was, every one."""

    def __init__(self, output_fields: tuple[str, ...], columns: list[str]) -> None:
        asked = [name for name in output_fields if name not in columns and name not in ("*", META_FIELD)]
        self._asked = () if META_FIELD in output_fields else tuple(asked)

    @property
    def is_choice(self) -> bool:
        """Some keys, not every one."""
        return bool(self._asked)

    def pick(self, meta: Any) -> dict[str, Any]:
        """The keys of one row. `meta`: its parsed `$meta`."""
        if not isinstance(meta, dict):
            return {}
        if not self._asked:
            return meta
        return {name: meta[name] for name in self._asked if name in meta}

    def columns(self, metas: list[Any]) -> dict[str, pa.Array]:
        """The keys of many rows as Arrow columns, null where a row lacks one. Mixed values become JSON text."""
        names = dict.fromkeys(self._asked) or dict.fromkeys(key for meta in metas for key in meta or ())
        return {name: _loose_column([(meta or {}).get(name) for meta in metas]) for name in names}


def _loose_column(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if v is None else orjson.dumps(v).decode() for v in values], pa.string())


def row_dicts(rows: pa.RecordBatch, output_fields: tuple[str, ...], *, listed: bool = False) -> list[dict[str, Any]]:
    """A batch as dicts, dynamic keys beside the fields (a field wins over a key of its name)."""
    names, columns = [], []
    for name, places in runs(rows.schema.names):
        field = rows.schema.field(places[0])
        if name == META_FIELD:
            continue
        names.append(name)
        if field.name == name:
            columns.append(python_values(rows.column(places[0]), kind_of(field), listed=listed))
        else:
            columns.append(struct_values(rows, places))
    if names:
        dicts = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    else:
        dicts = [{} for _ in range(rows.num_rows)]
    if META_FIELD in rows.schema.names:
        dynamic = Dynamic(output_fields, names)
        metas = python_values(rows.column(META_FIELD))
        dicts = [{**row, **dynamic.pick(meta), **row} for meta, row in zip(metas, dicts, strict=True)]
    return dicts


def arrow_columns(rows: pa.RecordBatch, output_fields: tuple[str, ...]) -> dict[str, pa.Array]:
    """A batch by column, `$meta` spread into its keys."""
    columns = {
        name: rows.column(places[0]) if rows.schema.names[places[0]] == name else joined(rows, places)
        for name, places in runs(rows.schema.names)
        if name != META_FIELD
    }
    if META_FIELD in rows.schema.names:
        spread = Dynamic(output_fields, list(columns)).columns(python_values(rows.column(META_FIELD)))
        columns |= {name: column for name, column in spread.items() if name not in columns}
    return columns
