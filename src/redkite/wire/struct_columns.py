"""Arrays of structs on the wire: one FieldData that holds one for each sub-field, which is an array or one of vectors.

In memory each sub-field is a column of its own, named `struct[sub]`. Answers are dense also where they hold vectors:
clients look for the vectors of row i at place i.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from redkite.errors import InvalidParameter, Unimplemented
from redkite.model.batch import element_type_of, list_starts, lists_of, matrix_of, matrix_to_arrow, matrix_type
from redkite.model.limits import LIMITS
from redkite.model.structs import split_name
from redkite.model.types import DataType
from redkite.wire.messages import schema
from redkite.wire.numbers import Array, read_packed, write_packed

_SLOTS = {
    DataType.FLOAT_VECTOR: "float_vector", DataType.FLOAT16_VECTOR: "float16_vector",
    DataType.BFLOAT16_VECTOR: "bfloat16_vector", DataType.INT8_VECTOR: "int8_vector",
    DataType.BINARY_VECTOR: "binary_vector",
}  # fmt: skip
_KINDS = {slot: kind for kind, slot in _SLOTS.items()}


def parts_of(field: Any) -> Iterator[Any]:
    """The FieldData of each sub-field, with its full name."""
    if not field.struct_arrays.fields:
        raise InvalidParameter(f"struct array field {field.field_name} carries no sub-fields")
    for part in field.struct_arrays.fields:
        if part.type not in (DataType.ARRAY, DataType._ARRAY_OF_VECTOR):
            raise InvalidParameter(
                f"sub-field {part.field_name} of struct array field {field.field_name} must be an array or an array "
                "of vectors"
            )
        copied = schema.FieldData()
        copied.CopyFrom(part)
        if not split_name(part.field_name)[0]:
            copied.field_name = f"{field.field_name}[{part.field_name}]"
        yield copied


# -- arrays of vectors --------------------------------------------------------------------------
def element_kind(field: Any) -> DataType:
    """The type of the vectors that a FieldData holds lists of. Raises InvalidParameter when it contradicts itself."""
    if field.WhichOneof("field") not in (None, "vectors") or (
        field.vectors.WhichOneof("data") not in (None, "vector_array")
    ):
        raise InvalidParameter(f"field {field.field_name} carries no array of vectors")
    array = field.vectors.vector_array
    return _kind(field, array.element_type, {row.WhichOneof("data") for row in array.data} - {None})


def read_vector_lists(field: Any) -> pa.Array:
    """One list of vectors for each entry."""
    kind = element_kind(field)
    array = field.vectors.vector_array
    rows = array.data
    dims = {row.dim for row in rows if row.WhichOneof("data")} | ({array.dim} if array.dim else set())
    dims.discard(0)
    if len(dims) > 1:
        raise InvalidParameter(f"the vectors of field {field.field_name} differ in dimension: {sorted(dims)}")
    dim = dims.pop() if dims else field.vectors.dim
    if not 0 < dim <= 8 * LIMITS.max_dimension or (kind is DataType.BINARY_VECTOR and dim % 8):
        if any(row.WhichOneof("data") for row in rows) or dim:
            raise InvalidParameter(f"dim({dim}) of field {field.field_name} is out of range")
        dim = 8
    dtype, width = matrix_type(kind, dim)
    lengths, flat = _joined(rows, kind, dtype)
    if (lengths % width).any():
        row = int(np.argmax(lengths % width != 0))
        raise InvalidParameter(
            f"the length({lengths[row]}) of the vector data of field {field.field_name} in row {row} should divide "
            f"the dim({dim})"
        )
    starts = np.zeros(len(rows) + 1, np.int32)
    np.cumsum(lengths // width, out=starts[1:])
    return lists_of(starts, matrix_to_arrow(flat.reshape(-1, width), kind))


def _kind(field: Any, declared: int, slots: set[str]) -> DataType:
    given = {_KINDS.get(slot) for slot in slots}
    if None in given or len(given) > 1:
        raise InvalidParameter(f"array of vector field {field.field_name} carries {sorted(slots)}")
    found = next(iter(given), None)
    if not declared:
        return found or DataType.FLOAT_VECTOR
    if declared not in _SLOTS:
        raise Unimplemented(f"arrays of vectors of type {declared} are not supported, field {field.field_name}")
    kind = DataType(declared)
    if found not in (None, kind):
        raise InvalidParameter(f"array of vector field {field.field_name} of {kind.wire_name} carries {min(slots)}")
    return kind


def _joined(rows: Any, kind: DataType, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Numbers of each row, and all of them."""
    slot = _SLOTS[kind]
    if kind is DataType.FLOAT_VECTOR:
        pieces = [read_packed(row.float_vector, np.float32) for row in rows]
        lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
        return lengths, np.concatenate(pieces) if pieces else np.empty(0, np.float32)
    raw = [getattr(row, slot) for row in rows]
    sizes = np.fromiter(map(len, raw), np.int64, len(raw))
    if (sizes % dtype.itemsize).any():
        raise InvalidParameter(f"the bytes of {kind.wire_name} vectors are no whole numbers")
    return sizes // dtype.itemsize, np.frombuffer(b"".join(raw), dtype)


def write_vector_lists(out: Any, field: pa.Field, column: pa.Array) -> None:
    """Fill a FieldData with lists of vectors; a null row becomes an empty list."""
    kind = element_type_of(field)
    starts = list_starts(column).tolist()
    matrix = matrix_of(column.values, kind)
    dim = matrix.shape[1] * 8 if kind is DataType.BINARY_VECTOR else matrix.shape[1]
    slot = _SLOTS[kind]
    out.vectors.dim = dim
    array = out.vectors.vector_array
    array.dim, array.element_type = dim, int(kind)
    for row in range(len(column)):
        some, entry = matrix[starts[row] : starts[row + 1]], array.data.add()
        entry.dim = dim
        if kind is DataType.FLOAT_VECTOR:
            entry.float_vector.SetInParent()
            write_packed(entry.float_vector, some.reshape(-1))
        else:
            setattr(entry, slot, some.tobytes())
