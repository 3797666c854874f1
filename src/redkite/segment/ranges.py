"""Between which values the scalar fields of a sealed segment lie."""

from __future__ import annotations

import math

import pyarrow as pa
import pyarrow.compute as pc

from redkite.model.schema import CollectionSchema
from redkite.model.segments import FieldRange
from redkite.model.types import DataType

TEXT_BOUND = 64
"""Characters of a text kept as its bound."""
_LAST_CHARACTER = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)


def has_range(data_type: DataType) -> bool:
    return data_type.is_number or data_type in (DataType.VARCHAR, DataType.TIMESTAMPTZ)


def field_ranges(batch: pa.RecordBatch, schema: CollectionSchema) -> tuple[FieldRange, ...]:
    """Of every number, time and VARCHAR field that holds a value, `batch` having one column per schema field."""
    found = []
    for field in schema.fields:
        if has_range(field.data_type):
            bounds = _bounds(batch.column(field.name))
            if bounds is not None:
                found.append(FieldRange(field.field_id, *bounds))
    return tuple(found)


def _bounds(column: pa.Array) -> tuple[int | float | str, int | float | str] | None:
    if column.null_count == len(column):
        return None
    least_most = pc.min_max(column).as_py()
    low, high = least_most["min"], least_most["max"]
    if isinstance(low, float) and not (math.isfinite(low) and math.isfinite(high)):
        return None
    if isinstance(low, str):
        above = _text_above(high)
        return None if above is None else (low[:TEXT_BOUND], above)
    return low, high


def _text_above(text: str) -> str | None:
    """A short text that is not below `text`; None when there is none."""
    if len(text) <= TEXT_BOUND:
        return text
    last = ord(text[TEXT_BOUND - 1]) + 1
    if last in _SURROGATES:
        last = _SURROGATES.stop
    return None if last > _LAST_CHARACTER else text[: TEXT_BOUND - 1] + chr(last)
