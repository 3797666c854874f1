"""Schemas made of what is there: of a data frame."""

from __future__ import annotations

from typing import Any

import numpy as np

from redkite.client.schema import CollectionSchema, FieldSchema
from redkite.errors import DataNotMatchException, SchemaNotReadyException
from redkite.model.limits import LIMITS
from redkite.model.types import DataType

_NUMBERS = {
    "bool": DataType.BOOL, "int8": DataType.INT8, "int16": DataType.INT16, "int32": DataType.INT32,
    "int64": DataType.INT64, "float32": DataType.FLOAT, "float64": DataType.DOUBLE,
}  # fmt: skip


def schema_of_frame(frame: Any, primary_field: str, auto_id: bool) -> CollectionSchema:
    """A field for each column: numbers as they are, texts as VARCHAR, lists and arrays of numbers as FLOAT_VECTOR,
    dicts as JSON. Raises SchemaNotReadyException or DataNotMatchException."""
    if not hasattr(frame, "dtypes"):
        raise SchemaNotReadyException(
            f"Data of not pandas.DataFrame type should be passed into the schema: {type(frame)}"
        )
    if not primary_field:
        raise SchemaNotReadyException("Schema must have a primary key field.")
    names = [str(name) for name in frame.columns]
    if primary_field not in names and not auto_id:
        raise SchemaNotReadyException("Primary field must in dataframe.")
    fields = [_field(name, frame[name], name == primary_field) for name in names]
    if primary_field not in names:
        fields.insert(0, FieldSchema(primary_field, DataType.INT64, is_primary=True, auto_id=True))
    return CollectionSchema(fields)


def _field(name: str, column: Any, primary: bool) -> FieldSchema:
    number = _NUMBERS.get(str(column.dtype))
    if number is not None:
        return FieldSchema(name, number, is_primary=primary)
    first = next((value for value in column if value is not None), None)
    if isinstance(first, str):
        return FieldSchema(name, DataType.VARCHAR, is_primary=primary, max_length=LIMITS.max_varchar_length)
    if isinstance(first, dict):
        return FieldSchema(name, DataType.JSON)
    if isinstance(first, list | tuple | np.ndarray):
        return FieldSchema(name, DataType.FLOAT_VECTOR, dim=len(first))
    raise DataNotMatchException(f"column {name} holds {type(first).__name__}, for which there is no field type")
