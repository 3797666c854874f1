"""One column of user values -> the Arrow column of its field. Numpy and Arrow input is not copied where it fits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from redkite.client.refusals import mismatch, wrong_dim
from redkite.client.vectors import vector_column
from redkite.errors import DataNotMatchException, InvalidParameter
from redkite.model.batch import arrow_type
from redkite.model.schema import FieldSchema
from redkite.model.types import DataType
from redkite.model.utf8 import first_invalid

_JSON = orjson.OPT_SERIALIZE_NUMPY
_NONE = type(None)

_NUMBERS = (int, float, np.integer, np.floating)
_ACCEPTED: dict[DataType, tuple[type, ...]] = {
    DataType.BOOL: (bool, np.bool_),
    DataType.INT8: (int, np.integer), DataType.INT16: (int, np.integer),
    DataType.INT32: (int, np.integer), DataType.INT64: (int, np.integer),
    DataType.FLOAT: _NUMBERS, DataType.DOUBLE: _NUMBERS,
    DataType.VARCHAR: (str,), DataType.TEXT: (str,), DataType.GEOMETRY: (str,),
    DataType.TIMESTAMPTZ: (str, datetime),
}  # fmt: skip


def column(field: FieldSchema, values: Any) -> pa.Array:
    """The Arrow column of a field from a list, numpy array, Arrow array or pandas series of its values.

    None is a null, where the field is nullable or has a default. Times may be texts: the server reads them, as it knows
    the time zone of those without an offset.
    """
    if isinstance(values, pa.ChunkedArray):
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
    if isinstance(values, pa.Array):
        return from_arrow(field, values)
    if hasattr(values, "to_numpy"):
        return from_pandas(field, values)
    if not isinstance(values, np.ndarray | list | tuple) and not hasattr(values, "tocsr"):
        raise mismatch(field.name, f"column of {field.data_type.name.lower()}", values)
    if field.data_type.is_vector:
        return vector_column(field, values)
    if isinstance(values, np.ndarray):
        return from_numpy(field, values)
    return from_list(field, values)


def _takes_null(field: FieldSchema) -> bool:
    return field.nullable or field.default_value is not None


# -- lists --------------------------------------------------------------------------------------
def from_list(field: FieldSchema, values: Sequence[Any]) -> pa.Array:
    kind = field.data_type
    if kind is DataType.JSON:
        return pa.array([None if v is None else json_bytes(field.name, v) for v in values], pa.binary())
    if kind is DataType.ARRAY:
        return _array_column(field, values)
    _check_types(field.name, kind, values, _takes_null(field))
    if kind is DataType.TIMESTAMPTZ:
        return _times(values)
    return _typed(field.name, kind, values, arrow_type(field))


def _check_types(name: str, kind: DataType, values: Sequence[Any], takes_null: bool) -> None:
    """Every value must be of a Python type that the field takes: Arrow alone would truncate 1.5 to 1."""
    accepted = _ACCEPTED[kind]
    for found in set(map(type, values)):
        if found is _NONE:
            fits = takes_null
        else:
            fits = issubclass(found, accepted) and (kind is DataType.BOOL or not issubclass(found, bool))
        if not fits:
            raise mismatch(name, kind.name.lower(), next(v for v in values if type(v) is found))


def _typed(name: str, kind: DataType, values: Sequence[Any], target: pa.DataType, unit: str = "row number") -> pa.Array:
    """`unit` is what is counted among the values, for messages."""
    try:
        result = pa.array(values, target)
    except (pa.ArrowInvalid, OverflowError) as error:
        raise _out_of_range(kind, values) from error
    except UnicodeEncodeError as error:
        at = next((at for at, value in enumerate(values) if value is error.object), 0)
        raise DataNotMatchException(
            f"a text of field `{name}` is not valid Unicode: {error.reason}, {unit}: {at}"
        ) from error
    if kind is DataType.FLOAT:
        numbers = result.drop_null().to_numpy(zero_copy_only=False)
        given = pa.array(values, pa.float64()).drop_null().to_numpy(zero_copy_only=False)
        if np.isinf(numbers).sum() != np.isinf(given).sum():
            raise InvalidParameter(f"a value of float field {name} is out of the range of float32")
    return result


def _out_of_range(kind: DataType, values: Sequence[Any]) -> InvalidParameter:
    bits = {DataType.INT8: 8, DataType.INT16: 16, DataType.INT32: 32}.get(kind, 64)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    odd = ((i, v) for i, v in enumerate(values) if v is not None and not low <= v <= high)
    at, value = next(odd, (0, "?"))
    return InvalidParameter(
        f"the {at}th element ({value}) out of range: [{low}, {high}]",
        expected="integer doesn't overflow", actual="out of range",
    )  # fmt: skip


def _array_column(field: FieldSchema, values: Sequence[Any]) -> pa.Array:
    takes_null = _takes_null(field)
    for value in values:
        if value is None and takes_null:
            continue
        if not isinstance(value, list | tuple | np.ndarray):
            raise mismatch(field.name, "array", value)
    flat = list(chain.from_iterable(value for value in values if value is not None))
    _check_types(field.name, field.element_type, flat, False)
    ends = np.cumsum([0, *(0 if value is None else len(value) for value in values)], dtype=np.int32)
    target = arrow_type(field)
    elements = _typed(field.name, field.element_type, flat, target.value_type, "element of all rows")
    mask = pa.array([value is None for value in values]) if None in set(map(_is_null, values)) else None
    return pa.ListArray.from_arrays(pa.array(ends), elements, type=target, mask=mask)


def _is_null(value: object) -> bool | None:
    return None if value is None else False


def json_bytes(name: str, value: Any) -> bytes:
    """One JSON value as UTF-8 text. A `str` is taken for JSON text, as in Milvus, and must parse."""
    if isinstance(value, str):
        try:
            orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise DataNotMatchException(f"Invalid JSON string: {error}. Input string: {value[:200]!r}") from error
        return value.encode()
    return dumped(name, value)


def dumped(name: str, value: Any) -> bytes:
    """A Python value as JSON text; numpy scalars and arrays inside it are fine."""
    try:
        return orjson.dumps(value, option=_JSON)
    except TypeError as error:
        reason = "JSON key must be str." if "key must be str" in str(error) else str(error)
        raise DataNotMatchException(f"a value of field `{name}` is not JSON: {reason}") from error


def _times(values: Sequence[Any]) -> pa.Array:
    """Texts and datetimes as texts."""
    if any(isinstance(value, datetime) for value in values):
        values = [_iso(value) if isinstance(value, datetime) else value for value in values]
    return pa.array(values, pa.string())


def _iso(moment: datetime) -> str:
    return moment.isoformat() if moment.tzinfo is None else moment.astimezone(UTC).isoformat()


# -- numpy and pandas ---------------------------------------------------------------------------
_NUMPY_KINDS = {
    DataType.BOOL: "b", DataType.INT8: "iu", DataType.INT16: "iu", DataType.INT32: "iu", DataType.INT64: "iu",
    DataType.FLOAT: "fiu", DataType.DOUBLE: "fiu",
}  # fmt: skip


def from_numpy(field: FieldSchema, values: np.ndarray[Any, Any]) -> pa.Array:
    kinds = _NUMPY_KINDS.get(field.data_type)
    if values.dtype.kind == "M" and field.data_type is DataType.TIMESTAMPTZ:
        return from_arrow(field, pa.array(values.astype("datetime64[us]")))
    if kinds is None or values.dtype.kind not in kinds:
        if values.dtype.kind in "OUS" or field.data_type in (DataType.JSON, DataType.ARRAY):
            return from_list(field, values.tolist())
        raise mismatch(field.name, field.data_type.name.lower(), values.flat[0] if values.size else values)
    if values.ndim != 1:
        raise DataNotMatchException(f"field `{field.name}` takes a column of one dimension, got shape {values.shape}")
    return _cast(field, pa.array(values))


def from_pandas(field: FieldSchema, series: Any) -> pa.Array:
    """A data frame's column. Pandas marks what is missing as NaN, NaT or NA: a null, where the field takes one."""
    missing = np.asarray(series.isna()) if hasattr(series, "isna") else np.zeros(len(series), dtype=np.bool_)
    if not missing.any():
        return column(field, np.asarray(series.to_numpy()))
    if series.dtype == object:
        values = [None if gone else v for v, gone in zip(series.tolist(), missing, strict=True)]
        return column(field, values)
    values = pa.array(series, from_pandas=True)
    if field.data_type.is_integer and pa.types.is_floating(values.type):  # pandas makes floats of integers with gaps
        try:
            values = values.cast(arrow_type(field))
        except pa.ArrowInvalid as error:
            raise _arrow_mismatch(field, values.type) from error
    return from_arrow(field, values)


# -- Arrow --------------------------------------------------------------------------------------
def from_arrow(field: FieldSchema, values: pa.Array) -> pa.Array:
    """An Arrow column, cast where its type is another than the field's."""
    target = arrow_type(field)
    if values.null_count and not _takes_null(field):
        raise mismatch(field.name, field.data_type.name.lower(), None)
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if field.data_type is DataType.TIMESTAMPTZ and values.type != target:
        return _arrow_times(field, values)
    if field.data_type in (DataType.FLOAT_VECTOR, DataType.INT8_VECTOR):
        values = _fixed_size(field, values)
    elif pa.types.is_fixed_size_binary(target) and values.type != target:
        _check_widths(field, values, target.byte_width)
    made = values if values.type == target else _cast(field, values)
    _check_texts(field, made)
    return made


def _check_texts(field: FieldSchema, values: pa.Array) -> None:
    """Arrow looks at no byte of what it is told to be texts."""
    if pa.types.is_string(values.type):
        texts, unit = values, "row number"
    elif pa.types.is_list(values.type) and pa.types.is_string(values.type.value_type):
        texts, unit = values.flatten(), "element of all rows"
    else:
        return
    at = first_invalid(texts)
    if at is not None:
        raise DataNotMatchException(f"a text of field `{field.name}` is not valid UTF-8, {unit}: {at}")


def _arrow_times(field: FieldSchema, values: pa.Array) -> pa.Array:
    """Arrow texts and timestamps as texts or UTC microseconds; timestamps without a time zone are wall time."""
    if _is_text(values.type):
        return values.cast(pa.string())
    if not pa.types.is_timestamp(values.type):
        raise _arrow_mismatch(field, values.type)
    moments = values.cast(pa.timestamp("us", values.type.tz), safe=False)
    return moments.cast(pa.string()) if values.type.tz is None else moments.cast(pa.int64())


def _fixed_size(field: FieldSchema, values: pa.Array) -> pa.Array:
    """A list column as one of the field's dimension, its numbers all present."""
    import pyarrow.compute as pc

    kind = values.type
    if pa.types.is_fixed_size_list(kind):
        if kind.list_size != field.dim:
            raise wrong_dim(field.name, field.dim, kind.list_size)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        lengths = pc.unique(pc.list_value_length(values).drop_null()).to_pylist()
        odd = [length for length in lengths if length != field.dim]
        if odd:
            raise wrong_dim(field.name, field.dim, odd[0])
        values = values.cast(pa.list_(kind.value_type, field.dim))
    else:
        raise DataNotMatchException(
            f"field `{field.name}` takes an Arrow list of {field.dim} numbers per row, got a column of {kind}"
        )
    if values.flatten().null_count:
        raise DataNotMatchException(f"a vector of field `{field.name}` has a null among its numbers")
    return values


def _check_widths(field: FieldSchema, values: pa.Array, width: int) -> None:
    if not (pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type)):
        return
    import pyarrow.compute as pc

    for length in pc.unique(pc.binary_length(values).drop_null()).to_pylist():
        if length != width:
            raise wrong_dim(field.name, field.dim, length * field.dim // width)


def _cast(field: FieldSchema, values: pa.Array) -> pa.Array:
    target = arrow_type(field)
    if values.type == target:
        return values
    loose = field.data_type in (DataType.FLOAT, DataType.DOUBLE, DataType.FLOAT_VECTOR)
    numbers_to_text = field.data_type.is_string and not _is_text(values.type)
    if numbers_to_text or any(test(values.type) for test in _MISTAKEN.get(field.data_type, ())):
        raise _arrow_mismatch(field, values.type)
    try:
        return values.cast(target, safe=not loose)
    except pa.ArrowInvalid as error:
        if field.data_type.is_integer and pa.types.is_integer(values.type):
            raise _out_of_range(field.data_type, values.to_pylist()) from error
        raise _arrow_mismatch(field, values.type) from error
    except pa.ArrowNotImplementedError as error:
        raise _arrow_mismatch(field, values.type) from error


_NO_NUMBERS = (pa.types.is_boolean, pa.types.is_temporal)
_MISTAKEN = {
    DataType.BOOL: (pa.types.is_integer, pa.types.is_floating),
    **dict.fromkeys((DataType.FLOAT, DataType.DOUBLE), _NO_NUMBERS),
    **dict.fromkeys(
        (DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64), (*_NO_NUMBERS, pa.types.is_floating)
    ),
}
"""What Arrow would cast without a word, and lists of the same values are refused for."""


def _is_text(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _arrow_mismatch(field: FieldSchema, kind: pa.DataType) -> DataNotMatchException:
    return DataNotMatchException(
        "The Input data type is inconsistent with defined schema, "
        f"{{{field.name}}} field should be a {field.data_type.name.lower()}, but got a {{column of {kind}}} instead."
    )
