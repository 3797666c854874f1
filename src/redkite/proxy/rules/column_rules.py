"""What the values of one column may be. Everything is looked at a column at a time, except JSON texts."""

from __future__ import annotations

from datetime import UTC, tzinfo

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from redkite.errors import InvalidParameter
from redkite.model.batch import matrix_of
from redkite.model.limits import Limits
from redkite.model.moments import FIRST_MOMENT, LAST_MOMENT, BadMoment, parse_moments
from redkite.model.rules.field_rules import INTEGER_RANGES
from redkite.model.schema import META_FIELD, FieldSchema
from redkite.model.shapes import normalized
from redkite.model.structs import elements_of
from redkite.model.types import DataType
from redkite.model.utf8 import first_invalid
from redkite.proxy.rules.finite import check_finite
from redkite.proxy.rules.struct_columns import check_capacity, fit_lists, whole_lists

_SMALL_INTEGERS = frozenset({DataType.INT8, DataType.INT16, DataType.INT32})
_TEXTS = frozenset({DataType.VARCHAR, DataType.TEXT})
_INTERCHANGEABLE = (_SMALL_INTEGERS, _TEXTS)
"""Types that travel in the same slot: a column may say it is any of them."""
_DENSE = frozenset({
    DataType.FLOAT_VECTOR, DataType.INT8_VECTOR, DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR,
    DataType.BINARY_VECTOR,
})  # fmt: skip
_BYTES_TO_DIM = {DataType.FLOAT16_VECTOR: (1, 2), DataType.BFLOAT16_VECTOR: (1, 2), DataType.BINARY_VECTOR: (8, 1)}
_EXPONENT = {DataType.FLOAT16_VECTOR: 0x7C00, DataType.BFLOAT16_VECTOR: 0x7F80}
"""All exponent bits set: infinity or NaN."""
_SPARSE_ENTRY = 8
MAX_SPARSE_INDEX = (1 << 32) - 2


# -- types --------------------------------------------------------------------------------------
def fit(field: FieldSchema, kind: DataType, column: pa.Array, wanted: pa.DataType, zone: tzinfo = UTC) -> pa.Array:
    """A column that says it is a `kind`, as the Arrow type of the field; raises when it is not one. Times without an
    offset are those of `zone`."""
    same = kind is field.data_type or any(kind in group and field.data_type in group for group in _INTERCHANGEABLE)
    if not same:
        raise _mismatch(field, kind.wire_name)
    if kind is DataType.GEOMETRY and pa.types.is_string(column.type):
        return normalized(column)
    if kind is DataType._ARRAY_OF_VECTOR:
        return fit_lists(field, whole_lists(column), wanted)
    if column.type == wanted:
        return column
    if kind in _DENSE:
        _check_dim(field, kind, column)
    if kind is DataType.ARRAY:
        return _fit_array(field, column, wanted)
    if kind is DataType.TIMESTAMPTZ and pa.types.is_string(column.type):
        try:
            return parse_moments(column, zone)
        except BadMoment as error:
            raise InvalidParameter(str(error)) from None
    if kind in _SMALL_INTEGERS and pa.types.is_integer(column.type):
        return _narrow(field.data_type, column, wanted)
    if (kind in _TEXTS and pa.types.is_large_string(column.type)) or (
        kind is DataType.JSON and (pa.types.is_large_binary(column.type) or pa.types.is_string(column.type))
    ):
        return column.cast(wanted)
    raise _mismatch(field, str(column.type))


def _mismatch(field: FieldSchema, given: str) -> InvalidParameter:
    kind = field.data_type.wire_name
    return InvalidParameter(
        f"field {field.name} is illegal, array type mismatch",
        expected=f"need {kind} array",
        actual=f"got {given} array",
    )


def _check_dim(field: FieldSchema, kind: DataType, column: pa.Array) -> None:
    if pa.types.is_fixed_size_list(column.type):
        dim = column.type.list_size
    elif pa.types.is_fixed_size_binary(column.type) and kind in _BYTES_TO_DIM:
        times, per = _BYTES_TO_DIM[kind]
        dim = column.type.byte_width * times // per
    else:
        raise _mismatch(field, str(column.type))
    if dim != field.dim:
        raise InvalidParameter(
            f"the dim ({dim}) of field data({field.name}) is not equal to schema dim ({field.dim})",
            expected=field.dim,
            actual=dim,
        )


def _narrow(kind: DataType, column: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Integers as a smaller type, when every one fits."""
    low, high = INTEGER_RANGES[kind]
    wrong = pc.fill_null(pc.or_(pc.less(column, low), pc.greater(column, high)), False)
    first = pc.index(wrong, True).as_py()
    if first >= 0:
        raise InvalidParameter(
            f"the {first}th element ({column[first].as_py()}) out of range: [{low}, {high}]",
            expected="integer doesn't overflow",
            actual="out of range",
        )
    return column.cast(wanted)


def _fit_array(field: FieldSchema, column: pa.Array, wanted: pa.DataType) -> pa.Array:
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        raise _mismatch(field, str(column.type))
    given, element = column.type.value_type, wanted.value_type
    if field.element_type in _SMALL_INTEGERS and pa.types.is_integer(given) and given != pa.int64():
        _narrow(field.element_type, column.flatten(), element)
    elif given != element and not pa.types.is_null(given):
        raise _mismatch(field, str(column.type))
    return column.cast(wanted)


# -- values -------------------------------------------------------------------------------------
def check_values(field: FieldSchema, column: pa.Array, static_names: frozenset[str], limits: Limits) -> None:
    """Raise unless every value of a column of the right type may be kept. `static_names` are the fields that users
    declared, which a dynamic key may not be called."""
    kind = field.data_type
    if kind is DataType.FLOAT_VECTOR:
        _check_vectors(field, column)
    elif kind.is_string:
        _check_lengths(field, column, limits)
    elif kind.is_float:
        check_finite((column.drop_null() if column.null_count else column).to_numpy())
    elif kind is DataType.JSON:
        _check_documents(field, column, static_names, limits)
    elif kind is DataType.ARRAY:
        _check_array(field, column)
    elif kind is DataType._ARRAY_OF_VECTOR:
        check_capacity(field, column)
        check_values(field.element, elements_of(column), static_names, limits)
    elif kind is DataType.SPARSE_FLOAT_VECTOR:
        check_sparse(column)
    elif kind is DataType.INT8_VECTOR:
        _check_whole(field, column)
    elif kind is DataType.TIMESTAMPTZ:
        _check_moments(column)
    elif kind in _EXPONENT:
        _check_half(kind, column)


def _check_moments(column: pa.Array) -> None:
    """Numbers of microseconds may come as such; texts have been looked at."""
    ends = pc.min_max(column).as_py()
    for moment in (ends["min"], ends["max"]):
        if moment is not None and not FIRST_MOMENT <= moment <= LAST_MOMENT:
            raise InvalidParameter(f"got invalid timestamptz value {moment}: it lies outside the years 1 to 9999")


def _check_vectors(field: FieldSchema, column: pa.Array) -> None:
    _check_whole(field, column)
    check_finite(column.flatten().to_numpy())


def _check_whole(field: FieldSchema, column: pa.Array) -> None:
    if column.flatten().null_count:
        raise InvalidParameter(f"a vector of field {field.name} has null elements")


def _check_half(kind: DataType, column: pa.Array) -> None:
    bits = matrix_of(column.drop_null() if column.null_count else column, kind).view(np.uint16)
    mask = _EXPONENT[kind]
    if ((bits & mask) == mask).any():
        name = "float16" if kind is DataType.FLOAT16_VECTOR else "bfloat16"
        raise InvalidParameter(f"{name} vector contain nan or infinity value.")


def _lengths(column: pa.Array) -> npt.NDArray[np.int64]:
    """Bytes per text, elements per list; 0 for nulls."""
    count = pc.list_value_length if pa.types.is_list(column.type) else pc.binary_length
    found = count(column)
    lengths: npt.NDArray[np.int64] = (pc.fill_null(found, 0) if found.null_count else found).to_numpy()
    return lengths


def _too_long(lengths: npt.NDArray[np.int64], most: int) -> int | None:
    """The first row that is longer than `most`."""
    return int(np.argmax(lengths > most)) if len(lengths) and lengths.max() > most else None


def _check_lengths(field: FieldSchema, column: pa.Array, limits: Limits) -> None:
    most = field.max_length or limits.max_text_length
    lengths = _lengths(column)
    row = _too_long(lengths, most)
    if row is not None:
        kind = "varchar" if field.data_type is DataType.VARCHAR else "text"
        raise InvalidParameter(
            f"length of {kind} field {field.name} exceeds max length, row number: {row}, "
            f"length: {lengths[row]}, max length: {most}"
        )
    row = first_invalid(column)
    if row is not None:
        raise InvalidParameter(f"a text of field {field.name} is not valid UTF-8, row number: {row}")


def _check_array(field: FieldSchema, column: pa.Array) -> None:
    counts = _lengths(column)
    row = _too_long(counts, field.max_capacity)
    if row is not None:
        raise InvalidParameter(
            f"the length ({counts[row]}) of {row}th array exceeds max capacity ({field.max_capacity})",
            expected="valid length array",
            actual="array length exceeds max capacity",
        )
    elements = column.flatten()
    if elements.null_count:
        raise InvalidParameter(f"array field {field.name} has null elements")
    if field.element_type.is_float:
        check_finite(elements.to_numpy())
    if field.element_type is not DataType.VARCHAR:
        return
    lengths = _lengths(elements)
    element = _too_long(lengths, field.max_length)
    if element is not None:
        raise InvalidParameter(
            f'length of Array array field "{field.name}" exceeds max length, {_place(counts, element)}, '
            f"length: {lengths[element]}, max length: {field.max_length}"
        )
    element = first_invalid(elements)
    if element is not None:
        raise InvalidParameter(
            f'a text of Array array field "{field.name}" is not valid UTF-8, {_place(counts, element)}'
        )


def _place(counts: npt.NDArray[np.int64], element: int) -> str:
    """Where one of all elements of lists of so many is, for messages."""
    ends = np.cumsum(counts)
    row = int(np.searchsorted(ends, element, side="right"))
    return f"row number: {row}, array index: {element - int(ends[row] - counts[row])}"


def _check_documents(field: FieldSchema, column: pa.Array, static_names: frozenset[str], limits: Limits) -> None:
    lengths = _lengths(column)
    row = _too_long(lengths, limits.max_json_bytes)
    if row is not None:
        name = "dynamic" if field.is_dynamic else "json"
        raise InvalidParameter(
            f"the length ({lengths[row]}) of {name} field exceeds max length ({limits.max_json_bytes})",
            expected="valid length json string",
            actual="length exceeds max length",
        )
    loads = orjson.loads
    try:
        documents = [None if text is None else loads(text) for text in column.to_pylist()]
    except orjson.JSONDecodeError as error:
        raise InvalidParameter(
            f"field {field.name} holds a value that is not valid JSON: {error.doc[:100]} ({error.msg})"
        ) from None
    if field.is_dynamic:
        for document in documents:
            if not is_dynamic(document, static_names):
                _refuse_dynamic(document, static_names)


def is_dynamic(document: object, static_names: frozenset[str]) -> bool:
    """Whether these may be the values of a row that have no field."""
    return type(document) is dict and static_names.isdisjoint(document) and META_FIELD not in document


def _refuse_dynamic(document: object, static_names: frozenset[str]) -> None:
    if not isinstance(document, dict):
        shown = orjson.dumps(document)[:100].decode(errors="replace")
        raise InvalidParameter(f"invalid dynamic field data, only json map is supported: {shown}")
    if META_FIELD in document:
        raise InvalidParameter(f"cannot set json key to: {META_FIELD}")
    name = next(key for key in document if key in static_names)
    raise InvalidParameter(f"dynamic field name cannot include the static field name: {name}")


def check_sparse(column: pa.Array) -> None:
    """Each row is (uint32 index, float32 value) pairs, indexes strictly increasing."""
    column = column.drop_null()
    lengths = _lengths(column)
    if (lengths % _SPARSE_ENTRY).any():
        length = int(lengths[np.argmax(lengths % _SPARSE_ENTRY != 0)])
        raise _sparse(f"the length ({length}) of its bytes should be a multiple of {_SPARSE_ENTRY}")
    entries = int(lengths.sum()) // _SPARSE_ENTRY
    if not entries:
        return
    start = int(np.frombuffer(column.buffers()[1], np.int32)[column.offset])
    raw = np.frombuffer(column.buffers()[2], np.uint8)[start : start + entries * _SPARSE_ENTRY]
    pairs = np.frombuffer(raw.tobytes(), "<u4").reshape(entries, 2)
    indexes, values = pairs[:, 0], np.ascontiguousarray(pairs[:, 1]).view("<f4")
    if indexes.max() > MAX_SPARSE_INDEX:
        raise _sparse(f"index {indexes.max()} should be less than {MAX_SPARSE_INDEX + 1}")
    rises = indexes[1:] > indexes[:-1]
    begins = np.cumsum(lengths)[:-1] // _SPARSE_ENTRY
    rises[begins[(begins > 0) & (begins < entries)] - 1] = True
    if not rises.all():
        raise _sparse("indexes should be strictly increasing")
    if not np.isfinite(values).all():
        raise _sparse("values should be finite numbers")
    if (values < 0).any():
        raise _sparse("values should not be negative")


def _sparse(reason: str) -> InvalidParameter:
    return InvalidParameter(f"invalid sparse float vector: {reason}")
