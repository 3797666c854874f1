"""What the columns of arrays of structs may hold: each sub-field for itself, and all of one struct together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.errors import InvalidParameter
from redkite.model.batch import element_type_of, list_starts, lists_of
from redkite.model.schema import CollectionSchema, FieldSchema


def fit_lists(field: FieldSchema, column: pa.Array, wanted: pa.DataType) -> pa.Array:
    """A column of arrays of vectors as the field's type, which it must have unless it holds no vector at all."""
    if not pa.types.is_list(column.type):
        raise _mismatch(field, str(column.type))
    starts = list_starts(column)
    if starts[0] == starts[-1]:
        return lists_of(np.zeros(len(column) + 1, np.int32), pa.array([], wanted.value_type), _valid(column))
    given, element = column.type.value_type, wanted.value_type
    if pa.types.is_fixed_size_list(given) and pa.types.is_fixed_size_list(element):
        if given.value_type == element.value_type and given.list_size != element.list_size:
            raise InvalidParameter(
                f"the dim ({given.list_size}) of field data({field.name}) is not equal to schema dim ({field.dim})",
                expected=field.dim, actual=given.list_size,
            )  # fmt: skip
        if given.value_type == element.value_type:
            return column.cast(wanted)
    if pa.types.is_fixed_size_binary(given) and given == element:
        return column.cast(wanted)
    raise _mismatch(field, f"list of {given}")


def check_element_type(field: FieldSchema, column: pa.Field) -> None:
    """Raise when a column says that its vectors are of another type than the field's."""
    if column.metadata and (given := element_type_of(column)) is not field.element_type:
        raise _mismatch(field, f"list of {given.wire_name}")


def _mismatch(field: FieldSchema, given: str) -> InvalidParameter:
    wanted = f"list of {field.element_type.wire_name}"
    return InvalidParameter(
        f"field {field.name} is illegal, array type mismatch", expected=f"need {wanted}", actual=f"got {given}"
    )


def check_capacity(field: FieldSchema, column: pa.Array) -> None:
    """Raise when a row has more elements than the array may hold."""
    counts = np.diff(list_starts(column))
    row = int(np.argmax(counts)) if len(counts) else 0
    if len(counts) and counts[row] > field.max_capacity:
        row = int(np.argmax(counts > field.max_capacity))
        raise InvalidParameter(
            f"the length ({counts[row]}) of {row}th array exceeds max capacity ({field.max_capacity})",
            expected="valid length array", actual="array length exceeds max capacity",
        )  # fmt: skip


def check_structs(schema: CollectionSchema, columns: Mapping[str, pa.Array]) -> None:
    """Raise unless each row has as many elements in every sub-field of a struct, and is null in all or in none. A
    struct comes whole or not at all."""
    for struct in schema.struct_fields:
        given = [part for part in struct.fields if part.name in columns]
        if not given:
            continue
        for part in struct.fields:
            if part.name not in columns:
                raise InvalidParameter(
                    f"struct array field {struct.name} is written as a whole: its sub-field {part.sub_name} is missing"
                )
        first = given[0]
        counts, valid = _shape(columns[first.name])
        for part in given[1:]:
            others, present = _shape(columns[part.name])
            odd = (counts != others) | (valid != present)
            if odd.any():
                row = int(np.argmax(odd))
                raise InvalidParameter(
                    f"sub-fields of struct array field {struct.name} differ in length in row {row}: "
                    f"{first.sub_name} has {_shown(counts, valid, row)}, {part.sub_name} has "
                    f"{_shown(others, present, row)}"
                )


def _shown(counts: npt.NDArray[np.int32], valid: npt.NDArray[np.bool_], row: int) -> str:
    return f"{counts[row]} elements" if valid[row] else "null"


def _shape(column: pa.Array) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """How many elements each row has, and which rows are not null."""
    valid = _valid(column)
    counts = np.diff(list_starts(column))
    return counts, np.ones(len(column), np.bool_) if valid is None else valid


def _valid(column: pa.Array) -> npt.NDArray[np.bool_] | None:
    if not column.null_count:
        return None
    valid: npt.NDArray[np.bool_] = column.is_valid().to_numpy(zero_copy_only=False)
    return valid


def whole_lists(column: pa.Array) -> pa.Array:
    """The same column, in which a null row is empty and nothing lies between rows."""
    if not column.null_count:
        return column
    starts = list_starts(column)
    counts = np.diff(starts)
    if not counts[~column.is_valid().to_numpy(zero_copy_only=False)].any():
        return column
    return column.take(pa.array(np.arange(len(column)), pa.int64()))
