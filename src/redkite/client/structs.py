"""Arrays of structs as users hold them, a list of dicts for each row, to and from one column for each sub-field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from redkite.client.columns import column
from redkite.errors import DataNotMatchException
from redkite.model.batch import data_type_of, element_type_of, list_starts, lists_of, matrix_of
from redkite.model.halves import from_bfloat16
from redkite.model.schema import StructFieldSchema
from redkite.model.structs import elements_of, split_name
from redkite.model.types import DataType


# -- rows in ------------------------------------------------------------------------------------
def struct_columns(struct: StructFieldSchema, values: Any) -> dict[str, pa.Array]:
    """The columns of an array of structs. `values`: a list of dicts, or None, for each row; or an Arrow column of lists
    of structs. Raises DataNotMatchException for a struct that lacks a sub-field or has one too many."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.Array):
        return _from_arrow(struct, values)
    rows = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(rows, list | tuple):
        raise _mismatch(struct, values, "expected a list of dicts for each row")
    lists = [_one_row(struct, at, row) for at, row in enumerate(rows)]
    starts = np.zeros(len(lists) + 1, np.int32)
    np.cumsum([len(items) for items in lists], out=starts[1:])
    items = list(chain.from_iterable(lists))
    valid = np.array([row is not None for row in rows], np.bool_)
    _check_names(struct, items, starts)
    return {
        part.name: lists_of(starts, column(part.element, list(map(itemgetter(part.sub_name), items))), valid)
        for part in struct.fields
    }


def _one_row(struct: StructFieldSchema, at: int, row: Any) -> Sequence[Any]:
    if row is None:
        if not struct.nullable:
            raise _mismatch(struct, row, f"row {at}: expected a list, the field is not nullable")
        return ()
    if isinstance(row, np.ndarray):
        row = row.tolist()
    if not isinstance(row, list | tuple):
        raise _mismatch(struct, row, f"row {at}: expected a list of dicts")
    return row


def _check_names(struct: StructFieldSchema, items: Sequence[Any], starts: Any) -> None:
    wanted = {part.sub_name for part in struct.fields}
    for at, item in enumerate(items):
        if isinstance(item, Mapping) and item.keys() == wanted:
            continue
        row = int(np.searchsorted(starts, at, "right")) - 1
        where = f"row {row}, element {at - int(starts[row])}"
        if not isinstance(item, Mapping):
            raise _mismatch(struct, item, f"{where}: expected a dict")
        if missing := wanted - item.keys():
            raise _mismatch(struct, item, f"{where}: missing required fields: {sorted(missing)}")
        raise _mismatch(struct, item, f"{where}: has unexpected fields: {sorted(map(str, item.keys() - wanted))}")


def _mismatch(struct: StructFieldSchema, value: object, detail: str) -> DataNotMatchException:
    return DataNotMatchException(
        "The Input data type is inconsistent with defined schema, "
        f"{{{struct.name}}} field should be a struct array, but got a {{{type(value)}}} instead. Detail: {detail}"
    )


def _from_arrow(struct: StructFieldSchema, values: pa.Array) -> dict[str, pa.Array]:
    kind = values.type
    if pa.types.is_large_list(kind):
        values = values.cast(pa.list_(kind.value_type))
        kind = values.type
    if not pa.types.is_list(kind) or not pa.types.is_struct(kind.value_type):
        raise _mismatch(struct, values, f"expected an Arrow column of lists of structs, got {kind}")
    given = {kind.value_type.field(at).name for at in range(kind.value_type.num_fields)}
    wanted = {part.sub_name for part in struct.fields}
    if given != wanted:
        raise _mismatch(struct, values, f"expected the fields {sorted(wanted)}, got {sorted(given)}")
    if values.null_count and not struct.nullable:
        raise _mismatch(struct, None, "expected a list, the field is not nullable")
    valid = values.is_valid().to_numpy(zero_copy_only=False) if values.null_count else None
    if values.null_count:
        values = values.take(pa.array(np.arange(len(values))))  # null rows hold nothing then
    structs, starts = elements_of(values), list_starts(values)
    if structs.null_count:
        raise _mismatch(struct, None, "a struct of a row is null")
    return {
        part.name: lists_of(starts - starts[0], column(part.element, structs.field(part.sub_name)), valid)
        for part in struct.fields
    }


# -- rows out -----------------------------------------------------------------------------------
def struct_values(rows: pa.RecordBatch, places: Sequence[int]) -> list[list[dict[str, Any]] | None]:
    """A list of dicts, or None, for each row; `places` are the columns of one struct."""
    names = [split_name(rows.schema.names[place])[1] for place in places]
    parts = [_element_values(rows.schema.field(place), rows.column(place)) for place in places]
    dicts = [dict(zip(names, values, strict=True)) for values in zip(*parts, strict=True)]
    first = rows.column(places[0])
    starts = (list_starts(first) - list_starts(first)[0]).tolist()
    valid = first.is_valid().to_pylist()
    return [dicts[starts[at] : starts[at + 1]] if present else None for at, present in enumerate(valid)]


def _element_values(field: pa.Field, column: pa.Array) -> list[Any]:
    """The elements of all rows as Python values: vectors as lists of numbers, binary ones as a list that holds their
    bytes, as Milvus's SDK shows them."""
    elements = elements_of(column)
    if data_type_of(field) is not DataType._ARRAY_OF_VECTOR:
        values: list[Any] = elements.to_pylist()
        return values
    kind = element_type_of(field)
    matrix = matrix_of(elements, kind)
    if kind is DataType.BINARY_VECTOR:
        return [[row.tobytes()] for row in matrix]
    numbers: list[Any] = (from_bfloat16(matrix) if kind is DataType.BFLOAT16_VECTOR else matrix).tolist()
    return numbers
