"""Values written as JSON, one text for each row, as the column of their field: what JSON files hold, and the cells of
CSV files and strings of Parquet files whose fields have no plainer form there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from redkite.formats.dense import lists_column
from redkite.formats.faults import BadCell
from redkite.formats.sparse import sparse_rows
from redkite.model.batch import arrow_field, arrow_type, batch_field, lists_of, numbers_to_arrow
from redkite.model.schema import FieldSchema, StructFieldSchema
from redkite.model.types import DataType

Texts = Sequence[bytes | None]
"""JSON, or None for a null."""
Column = tuple[pa.Field, pa.Array]
_NULL = b"null"
_INTEGER_BITS = {DataType.INT8: 8, DataType.INT16: 16, DataType.INT32: 32, DataType.INT64: 64}


@cache
def _decoder(kind: DataType, element: DataType) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(_python_type(kind, element))


def _python_type(kind: DataType, element: DataType) -> Any:
    """What a value of a field is, once parsed."""
    if kind is DataType.ARRAY:
        return list[_python_type(element, DataType.NONE)] | None  # type: ignore[misc]  # made of a value
    return {
        DataType.BOOL: bool | None, DataType.INT8: int | None, DataType.INT16: int | None,
        DataType.INT32: int | None, DataType.INT64: int | None, DataType.FLOAT: float | None,
        DataType.DOUBLE: float | None, DataType.VARCHAR: str | None, DataType.TEXT: str | None,
        DataType.GEOMETRY: str | None, DataType.TIMESTAMPTZ: str | int | None,
        DataType.FLOAT_VECTOR: list[float] | None, DataType.FLOAT16_VECTOR: list[float] | None,
        DataType.BFLOAT16_VECTOR: list[float] | None, DataType.BINARY_VECTOR: list[int] | None,
        DataType.INT8_VECTOR: list[int] | None, DataType.SPARSE_FLOAT_VECTOR: dict[str, Any] | None,
    }[kind]  # fmt: skip


def parsed(decoder: msgspec.json.Decoder[Any], texts: Texts) -> list[Any]:
    """Each text, parsed. Raises BadCell for the first that is not what it should be."""
    given = [_NULL if text is None else text for text in texts]
    try:
        return list(map(decoder.decode, given))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        for row, text in enumerate(given):
            try:
                decoder.decode(text)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                shown = text[:80].decode(errors="replace")
                raise BadCell(row, f"{shown!r}: {error}") from None
        raise


def json_column(field: FieldSchema, texts: Texts) -> Column:
    """The column of a field. Raises BadCell."""
    kind = field.data_type
    if kind is DataType.JSON:
        return batch_field(field), pa.array(list(map(document, texts)), pa.binary())
    values = parsed(_decoder(kind, field.element_type), texts)
    if kind is DataType.TIMESTAMPTZ:
        return moments_column(field, values)
    return batch_field(field), _made(field, values)


def document(text: bytes | None) -> bytes | None:
    """A JSON value as it is kept. A string is the text of a value, as everywhere in Milvus; null is no value."""
    if text is None or text == _NULL:
        return None
    if text[:1] != b'"':
        return text
    try:
        return str(msgspec.json.decode(text, type=str)).encode()
    except (msgspec.DecodeError, UnicodeError):
        return text  # what is wrong with it is said where documents are checked


def moments_column(field: FieldSchema, values: Sequence[str | int | None]) -> Column:
    """Times as texts, whose zone may be the collection's; whole numbers are UTC microseconds."""
    texts = [value for value in values if isinstance(value, str)]
    if not texts and any(value is not None for value in values):
        return batch_field(field), pa.array(values, pa.int64())
    for row, value in enumerate(values):
        if isinstance(value, int):
            raise BadCell(row, f"{value}: times of one file are texts, or whole numbers, not both")
    return arrow_field(field.name, DataType.TIMESTAMPTZ, pa.string()), pa.array(values, pa.string())


def _made(field: FieldSchema, values: Sequence[Any]) -> pa.Array:
    maker = _MAKERS.get(field.data_type)
    return typed(field.data_type, arrow_type(field), values) if maker is None else maker(field, values)


def typed(kind: DataType, arrow: pa.DataType, values: Sequence[Any]) -> pa.Array:
    """Scalars of the right Python type as a column. Raises BadCell for a number that is too large."""
    try:
        return pa.array(values, arrow)
    except (pa.ArrowInvalid, OverflowError):
        bits = _INTEGER_BITS.get(kind, 64)
        for row, value in enumerate(values):
            if isinstance(value, int) and not -(1 << bits - 1) <= value < 1 << bits - 1:
                raise BadCell(row, f"{value} is out of the range of {kind.wire_name}") from None
        raise
    except UnicodeEncodeError as error:
        row = next((r for r, v in enumerate(values) if isinstance(v, str) and not _is_unicode(v)), 0)
        raise BadCell(row, f"the text is not valid Unicode: {error.reason}") from None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _array(field: FieldSchema, rows: Sequence[list[Any] | None]) -> pa.Array:
    element = arrow_type(field).value_type
    starts = np.zeros(len(rows) + 1, np.int32)
    np.cumsum([0 if row is None else len(row) for row in rows], out=starts[1:])
    flat = list(chain.from_iterable(row for row in rows if row is not None))
    try:
        elements = typed(field.element_type, element, flat)
    except BadCell as error:
        raise BadCell(int(np.searchsorted(starts, error.row, "right")) - 1, error.reason) from None
    valid = np.fromiter((row is not None for row in rows), np.bool_, len(rows))
    return lists_of(starts, elements, valid)


_WHOLE = (DataType.BINARY_VECTOR, DataType.INT8_VECTOR)
"""Vectors of whole numbers."""


def _vectors(field: FieldSchema, rows: Sequence[list[Any] | None]) -> pa.Array:
    whole = field.data_type in _WHOLE
    counts = [0 if row is None else len(row) for row in rows]
    starts = np.zeros(len(rows) + 1, np.int32)
    np.cumsum(counts, out=starts[1:])
    flat = chain.from_iterable(row for row in rows if row is not None)
    try:
        with np.errstate(over="ignore"):
            numbers = np.fromiter(flat, np.int64 if whole else np.float32, int(starts[-1]))
    except OverflowError:
        raise BadCell(0, "a number of a vector is out of range") from None
    valid = np.fromiter((row is not None for row in rows), np.bool_, len(rows))
    return lists_column(field, lists_of(starts, numbers_to_arrow(numbers), valid))


_MAKERS: dict[DataType, Callable[[FieldSchema, Any], pa.Array]] = {
    DataType.ARRAY: _array,
    DataType.FLOAT_VECTOR: _vectors, DataType.FLOAT16_VECTOR: _vectors, DataType.BFLOAT16_VECTOR: _vectors,
    DataType.BINARY_VECTOR: _vectors, DataType.INT8_VECTOR: _vectors,
    DataType.SPARSE_FLOAT_VECTOR: lambda _, rows: sparse_rows(rows),
}  # fmt: skip

_STRUCTS: msgspec.json.Decoder[Any] = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | None)


def struct_columns(struct: StructFieldSchema, texts: Texts) -> list[Column]:
    """The columns of an array of structs, one for each sub-field. Raises BadCell."""
    rows = parsed(_STRUCTS, texts)
    starts = np.zeros(len(rows) + 1, np.int32)
    np.cumsum([0 if row is None else len(row) for row in rows], out=starts[1:])
    valid = np.fromiter((row is not None for row in rows), np.bool_, len(rows))
    items = list(chain.from_iterable(row for row in rows if row is not None))
    wanted = {part.sub_name for part in struct.fields}
    for at, item in enumerate(items):
        if item.keys() != wanted:
            row = int(np.searchsorted(starts, at, "right")) - 1
            raise BadCell(row, f"a struct of {struct.name} has the keys {sorted(item)}, not {sorted(wanted)}")
    found = []
    for part in struct.fields:
        try:
            _, elements = json_column(part.element, [bytes(item[part.sub_name]) for item in items])
        except BadCell as error:
            row = int(np.searchsorted(starts, error.row, "right")) - 1
            raise BadCell(row, f"{part.sub_name}: {error.reason}") from None
        found.append((batch_field(part), lists_of(starts, elements, valid)))
    return found
