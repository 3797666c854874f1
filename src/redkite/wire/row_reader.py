"""FieldData of a single row to the values themselves: what `column_reader.py` does costs ten times as much for one row.

Only the usual is read here. Whatever else there may be, right or wrong, is for the columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from redkite.model.schema import META_FIELD
from redkite.model.types import DataType
from redkite.wire.blocks import Blocks
from redkite.wire.numbers import read_packed


def read_values(fields: Iterable[Any], blocks: Blocks) -> tuple[dict[str, DataType], dict[str, Any]] | None:
    """The types and values of columns of one row each, by name, as `LooseRow` has them; None where a column is given
    twice, has not one value, may be null, or is of a type that is not usual."""
    kinds: dict[str, DataType] = {}
    values: dict[str, Any] = {}
    count = 0
    for count, field in enumerate(fields, 1):
        kind = field.type
        if field.is_dynamic:
            held: Any = field.scalars.json_data.data if kind == DataType.JSON else ()
            name = META_FIELD
        else:
            read, name = _READERS.get(kind), field.field_name
            if read is None:
                return None
            held = read(field) if count - 1 not in blocks else _as_given(field, blocks[count - 1])
            kinds[name] = DataType(kind)
        if len(held) != 1 or len(field.valid_data):
            return None
        values[name] = held[0]
    return (kinds, values) if len(values) == count else None


def _vector(field: Any) -> Any:
    return _as_given(field, read_packed(field.vectors.float_vector, np.float32))


def _as_given(field: Any, numbers: Any) -> Any:
    """A matrix of one row, if that is what these are."""
    return numbers[None] if len(numbers) == field.vectors.dim else ()


def _whole(field: Any) -> Any:
    return field.scalars.int_data.data


_READERS: dict[int, Callable[[Any], Any]] = {
    DataType.BOOL: lambda field: field.scalars.bool_data.data,
    DataType.INT8: _whole,
    DataType.INT16: _whole,
    DataType.INT32: _whole,
    DataType.INT64: lambda field: field.scalars.long_data.data,
    DataType.FLOAT: lambda field: field.scalars.float_data.data,
    DataType.DOUBLE: lambda field: field.scalars.double_data.data,
    DataType.VARCHAR: lambda field: field.scalars.string_data.data,
    DataType.FLOAT_VECTOR: _vector,
}
"""What holds the values of a column; it is empty where they are in another place than theirs."""
