"""A single row on its way into a collection, without Arrow: an insert of one row costs a fraction of what a batch does.

The values are kept as the bytes that Arrow would hold. What such a row is made of was checked when it was made, by the
same rules as those for batches; whatever is out of the ordinary (nulls, defaults, automatic keys, other types than the
usual ones) makes no `OneRow` and goes the way of batches.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from redkite.model.batch import EMPTY_OBJECT, arrow_type, batch_field
from redkite.model.schema import META_FIELD, CollectionSchema, FieldSchema
from redkite.model.types import DataType

Encoded = tuple[bytes, ...]
"""The value of each field that users declared, in their order, and `$meta` behind, which may be left out."""
Dynamic = Callable[[dict[str, Any]], bytes]
"""What makes `$meta` of the values of a row that have no field, or raises `Unusual`."""
_META = FieldSchema(name=META_FIELD, data_type=DataType.JSON, is_dynamic=True)

_PACKED = {
    DataType.INT8: "<b", DataType.INT16: "<h", DataType.INT32: "<i", DataType.INT64: "<q",
    DataType.FLOAT: "<f", DataType.DOUBLE: "<d",
}  # fmt: skip

_NUMBERS = {int, float}


class Unusual(Exception):
    """A value that is to be looked at more closely: it may be wrong, or right in a way that is not known here."""


class OneRow:
    """Values of one row that were found good by a version of a collection's schema."""

    __slots__ = ("key", "layout", "nbytes", "values")

    num_rows = 1

    def __init__(self, layout: RowLayout, key: int | str, values: Encoded) -> None:
        self.layout = layout
        self.key = key
        self.values = values
        self.nbytes = sum(map(len, values))

    def batch(self) -> pa.RecordBatch:
        """The same row as a batch of one column per field that users declared."""
        return stacked(self.layout.schema, [self])


class LooseRow:
    """A single row as it came over the wire: nobody has compared it with a schema yet.

    `values` are by name: `int`, `float`, `bool`, `str`, a (dim,) float32 array, the bytes of `$meta`. `kinds` are the
    types that they say they have, but for `$meta`."""

    __slots__ = ("batch", "kinds", "nbytes", "values")

    num_rows = 1

    def __init__(
        self, kinds: dict[str, DataType], values: dict[str, Any], nbytes: int, batch: Callable[[], pa.RecordBatch]
    ) -> None:
        """`batch` gives the same row as a batch."""
        self.kinds = kinds
        self.values = values
        self.nbytes = nbytes
        self.batch = batch


class RowLayout:
    """How rows of one version of a schema are taken apart."""

    def __init__(
        self,
        schema: CollectionSchema,
        collection_id: int,
        encoders: Sequence[Callable[[Any], bytes]],
        dynamic: Dynamic | None = None,
    ) -> None:
        self.schema = schema
        self.collection_id = collection_id
        fields = [field for field in schema.fields if not field.is_dynamic]
        self._kinds = {field.name: field.data_type for field in fields}
        self._encoders = tuple(zip(self._kinds, encoders, strict=True))
        self._key = schema.primary.name
        self._dynamic = dynamic

    @classmethod
    def of(cls, schema: CollectionSchema, collection_id: int, dynamic: Dynamic | None = None) -> RowLayout | None:
        """None where rows want more than this. `dynamic`: for values without a field; else they are unusual."""
        if schema.functions or schema.struct_fields or schema.primary.auto_id:
            return None
        encoders = [_encoder(field) for field in schema.fields if not field.is_dynamic]
        usual = [encoder for encoder in encoders if encoder is not None]
        if len(usual) < len(encoders):
            return None
        return cls(schema, collection_id, usual, dynamic if schema.enable_dynamic_field else None)

    def row(self, data: dict[str, Any]) -> OneRow | None:
        """The row, or None when it is out of the ordinary."""
        given, rest = self._kinds.keys(), None
        if data.keys() != given:
            if self._dynamic is None or not given <= data.keys():
                return None
            rest = {name: value for name, value in data.items() if name not in given}
        try:
            values = [encode(data[name]) for name, encode in self._encoders]
            if rest is not None and self._dynamic is not None:
                values.append(self._dynamic(rest))
        except (Unusual, struct.error, OverflowError, UnicodeEncodeError):
            return None
        return OneRow(self, data[self._key], tuple(values))

    def loose(self, row: LooseRow) -> OneRow | None:
        """The same of a row that says what types it is of."""
        return self.row(row.values) if row.kinds == self._kinds else None

    def fits(self, schema: CollectionSchema, collection_id: int) -> bool:
        """Whether a row of this layout is one of that collection, as it is now."""
        return collection_id == self.collection_id and schema.version == self.schema.version


# -- values -------------------------------------------------------------------------------------
def _encoder(field: FieldSchema) -> Callable[[Any], bytes] | None:
    """What makes bytes of a value, or raises one of the errors that mean: look more closely."""
    kind = field.data_type
    if field.is_function_output or field.is_dynamic:
        return None
    if kind is DataType.FLOAT_VECTOR:
        return _vector_encoder(field.dim)
    if kind is DataType.VARCHAR and field.max_length:
        return _text_encoder(field.max_length)
    if kind is DataType.BOOL:
        return _flag
    if kind in _PACKED:
        return _number_encoder(_PACKED[kind], float if kind.is_float else int)
    return None


def _number_encoder(form: str, wanted: type) -> Callable[[Any], bytes]:
    pack = struct.Struct(form).pack
    endless = (float("inf"), float("-inf"))

    def encode(value: Any) -> bytes:
        if type(value) is not wanted or value != value or value in endless:
            raise Unusual
        return pack(value)

    return encode


def _flag(value: Any) -> bytes:
    if type(value) is not bool:
        raise Unusual
    return b"\1" if value else b"\0"


def _text_encoder(most: int) -> Callable[[Any], bytes]:
    def encode(value: Any) -> bytes:
        if type(value) is not str:
            raise Unusual
        text = value.encode()
        if len(text) > most:
            raise Unusual
        return text

    return encode


def _vector_encoder(dim: int) -> Callable[[Any], bytes]:
    wanted = np.dtype(np.float32)
    shape = (dim,)

    def encode(value: Any) -> bytes:
        if type(value) is list:
            if len(value) != dim or not set(map(type, value)) <= _NUMBERS:
                raise Unusual
            with np.errstate(over="ignore"):
                value = np.array(value, wanted)
        elif type(value) is not np.ndarray or value.dtype != wanted or value.shape != shape:
            raise Unusual
        if not np.isfinite(value).all():
            raise Unusual
        data: bytes = value.tobytes()
        return data

    return encode


# -- as columns ---------------------------------------------------------------------------------
def stacked(schema: CollectionSchema, rows: Sequence[OneRow]) -> pa.RecordBatch:
    """Rows as one batch, with a column for each field of a schema that has their fields, and `$meta` behind if the
    schema has it or a row."""
    fields, given = schema.fields, [row.values for row in rows]
    if max(map(len, given)) > len(fields):
        fields = (*fields, _META)  # which the schema that users see hides
    whole = [values if len(values) == len(fields) else (*values, EMPTY_OBJECT) for values in given]
    arrays = [_column(field, values) for field, values in zip(fields, zip(*whole, strict=True), strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema([batch_field(field) for field in fields]))


def _column(field: FieldSchema, values: Sequence[bytes]) -> pa.Array:
    kind, rows = arrow_type(field), len(values)
    data = pa.py_buffer(b"".join(values))
    if field.data_type is DataType.BOOL:
        bits = np.packbits(np.frombuffer(data, np.uint8), bitorder="little")
        return pa.Array.from_buffers(kind, rows, [None, pa.py_buffer(bits)])
    if field.data_type is DataType.VARCHAR or field.is_dynamic:
        ends = np.zeros(rows + 1, np.int32)
        np.cumsum([len(value) for value in values], out=ends[1:])
        return pa.Array.from_buffers(kind, rows, [None, pa.py_buffer(ends), data])
    if field.data_type is DataType.FLOAT_VECTOR:
        flat = pa.Array.from_buffers(kind.value_type, rows * kind.list_size, [None, data])
        return pa.Array.from_buffers(kind, rows, [None], children=[flat])
    return pa.Array.from_buffers(kind, rows, [None, data])
