"""The log record of a single row: the bytes Arrow would write, from a form that is filled in.

An Arrow IPC stream of one row of given columns is always the same but for the values and, where there are texts, their
lengths. The form is cut from a stream that Arrow wrote, and tried on another before it is used.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import pyarrow as pa

from redkite.model.batch import EMPTY_OBJECT
from redkite.model.one_row import Encoded, OneRow, RowLayout, stacked
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import DataType

_END = b"\xff\xff\xff\xff\0\0\0\0"
_HEAD_BYTES = 8
"""Of a message: a mark and the length of what describes it."""
_OFFSETS = struct.Struct("<ii")
_SIZE = struct.Struct("<q")
_PADDING = tuple(bytes(count) for count in range(8))
_WIDTHS = {
    DataType.BOOL: 1, DataType.INT8: 1, DataType.INT16: 2, DataType.INT32: 4, DataType.INT64: 8,
    DataType.FLOAT: 4, DataType.DOUBLE: 8,
}  # fmt: skip

BodyForm = Callable[[Encoded], bytes]
_MAX_RECENT = 256
_recent: dict[int, _Form] = {}


def form_of(schema: CollectionSchema) -> BodyForm | None:
    """What makes the body of an insert of one row by this schema, `$meta` included; None when there is no form. Kept
    while the schema is in use: the same struct gives the same form."""
    found = _recent.get(id(schema))
    if found is None or found.schema is not schema:
        if len(_recent) >= _MAX_RECENT:
            _recent.clear()
        found = _recent[id(schema)] = _Form(schema)
    return found.fill if found.agrees else None


class _Form:
    def __init__(self, schema: CollectionSchema) -> None:
        self.schema = schema
        self._fields = schema.fields
        self._long = [_is_long(field) for field in schema.fields]
        self._texts = any(self._long)
        names = [str(field.field_id) for field in schema.fields]
        first, second = (_sample(schema, size) for size in (3, 11))
        self.agrees = False
        if first is None or second is None:
            return
        streams = [_written(batch, names) for batch in (first[1], second[1])]
        at = len(_described(first[1], names))
        (length,) = struct.unpack_from("<i", streams[0], at + 4)
        self._head = streams[0][: at + _HEAD_BYTES + length]
        sizes = self._sizes(self._complete(first[0]))
        buffers, total = _places(sizes)
        self._buffers_at = self._head.find(buffers, at)
        self._total_at = self._head.find(_SIZE.pack(total), at)
        if min(self._buffers_at, self._total_at) < 0:
            return
        self.agrees = all(self.fill(row) == s for (row, _), s in zip((first, second), streams, strict=True))

    def fill(self, values: Encoded) -> bytes:
        values = self._complete(values)
        parts = [self._header(values) if self._texts else self._head]
        for is_long, value in zip(self._long, values, strict=True):
            if is_long:
                parts.append(_OFFSETS.pack(0, len(value)))
            parts.append(value)
            odd = len(value) % 8
            if odd:
                parts.append(_PADDING[8 - odd])
        parts.append(_END)
        return b"".join(parts)

    def _complete(self, values: Encoded) -> Encoded:
        return values if len(values) == len(self._fields) else (*values, EMPTY_OBJECT)

    def _header(self, values: Encoded) -> bytes:
        buffers, total = _places(self._sizes(values))
        head = bytearray(self._head)
        head[self._buffers_at : self._buffers_at + len(buffers)] = buffers
        _SIZE.pack_into(head, self._total_at, total)
        return bytes(head)

    def _sizes(self, values: Encoded) -> list[int]:
        """Bytes of each buffer of the batch, those for nulls included, which are empty."""
        sizes = []
        for field, value in zip(self._fields, values, strict=True):
            sizes.append(0)
            if field.data_type is DataType.FLOAT_VECTOR:
                sizes.append(0)
            if _is_long(field):
                sizes.append(_OFFSETS.size)
            sizes.append(len(value))
        return sizes


def _is_long(field: FieldSchema) -> bool:
    return field.data_type is DataType.VARCHAR or field.is_dynamic


def _places(sizes: Sequence[int]) -> tuple[bytes, int]:
    """How Arrow describes buffers that lie one behind another, and where the last one ends."""
    at, places = 0, []
    for size in sizes:
        places += [at, size]
        at += size + -size % 8
    return struct.pack(f"<{len(places)}q", *places), at


def _described(batch: pa.RecordBatch, names: list[str]) -> bytes:
    """The first message of a stream: which columns there are."""
    message: bytes = pa.RecordBatch.from_arrays(batch.columns, names).schema.serialize().to_pybytes()
    return message


def _written(batch: pa.RecordBatch, names: list[str]) -> bytes:
    rows: bytes = batch.serialize().to_pybytes()
    return _described(batch, names) + rows + _END


def _sample(schema: CollectionSchema, size: int) -> tuple[Encoded, pa.RecordBatch] | None:
    """Some row, with texts of this size."""
    values = []
    for field in schema.user_fields:
        if field.data_type is DataType.FLOAT_VECTOR:
            values.append(bytes(4 * field.dim))
        elif field.data_type is DataType.VARCHAR:
            values.append(b"x" * size)
        elif field.data_type in _WIDTHS:
            values.append(bytes(_WIDTHS[field.data_type]))
        else:
            return None
    if schema.dynamic_field is not None:
        values.append(b"{%s}" % (b" " * size))
    layout = RowLayout(schema, 0, [bytes] * len(schema.user_fields))
    row = OneRow(layout, 0, tuple(values))
    return row.values, stacked(schema, [row])
