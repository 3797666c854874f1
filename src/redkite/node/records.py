"""How a write lies in the log.

record   = header length (uint32 LE) | header (MessagePack) | body
insert   : the body is an Arrow IPC stream of one batch whose columns are named by field id, so that a field that is
           dropped and made anew does not find old values; `parts` says which rows go to which partition; rows of equal
           primary key written earlier are replaced
delete   : the body is an Arrow IPC stream of one column, the primary keys
"""

from __future__ import annotations

import struct
from contextvars import ContextVar
from typing import TypeAlias

import msgspec
import pyarrow as pa

from redkite.env import Buffer
from redkite.errors import Corruption
from redkite.model.one_row import OneRow, stacked
from redkite.model.schema import CollectionSchema
from redkite.node.row_body import form_of
from redkite.segment.keys import Key

INSERT, DELETE = 1, 2
_LENGTH = struct.Struct("<I")
_KEY = "key"
_ALIGNMENT = 8
_HEADER_BYTES, _PART_BYTES, _ID_BYTES = 64, 20, 8
"""What a header takes at most, whatever its timestamp: of itself, and for each part."""

Parts = tuple[tuple[int, int], ...]
"""(partition id, rows), in the order of the rows."""


class RecordHeader(msgspec.Struct, frozen=True, array_like=True):
    kind: int
    timestamp: int
    collection_id: int
    parts: Parts = ()
    """Empty for deletes: they concern all partitions."""
    filler: bytes = b""
    """So many bytes that the body begins at a multiple of eight: what is mapped is then read as it lies. Where there
    are eight or more, the first eight are the id of the write, which came from another machine."""

    @property
    def write_id(self) -> int:
        """What its writer calls the write, so that it is not done again when it is sent again; 0: nothing."""
        return int.from_bytes(self.filler[:_ID_BYTES], "big") if len(self.filler) >= _ID_BYTES else 0


WRITE_ID: ContextVar[int] = ContextVar("redkite_write_id", default=0)
"""Of the write that is logged in this thread."""


def named() -> bytes:
    """What the header of a record of this thread's write ends in."""
    write_id = WRITE_ID.get()
    return write_id.to_bytes(_ID_BYTES, "big") if write_id else b""


_LARGE_BYTES = 1 << 14
_OPTIONS = pa.ipc.IpcWriteOptions()
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(RecordHeader).decode


Rows: TypeAlias = pa.RecordBatch | OneRow
"""What one write brings: a column per field of the schema, in its order, or a row taken apart."""

Body: TypeAlias = list[Buffer]
"""What stands behind the header, in pieces. They are parts of the rows, which nobody may change until the record is
durable: its checksum is taken before it is written."""


def keys_of(rows: Rows, schema: CollectionSchema) -> list[Key]:
    """The primary keys of the rows."""
    if isinstance(rows, OneRow):
        return [rows.key]
    keys: list[Key] = rows.column(schema.primary.name).to_pylist()
    return keys


def rows_of(rows: Rows, schema: CollectionSchema) -> pa.RecordBatch:
    """The rows as a batch."""
    return stacked(schema, [rows]) if isinstance(rows, OneRow) else rows


def encode_rows(rows: Rows, schema: CollectionSchema) -> Body:
    """The body of an insert: one column per schema field, in schema order. The numbers stay where they are."""
    if isinstance(rows, OneRow):
        form = form_of(schema)
        if form is not None:
            return [form(rows.values)]
    rows = rows_of(rows, schema)
    return _stream(pa.RecordBatch.from_arrays(rows.columns, [str(f.field_id) for f in schema.fields]))


def encode_keys(keys: pa.Array) -> Body:
    """The body of a delete."""
    return _stream(pa.RecordBatch.from_arrays([keys], [_KEY]))


class _Kept:
    """A file that keeps what Arrow writes to it: what is large as it lies in memory, what is small copied together."""

    closed = False

    def __init__(self) -> None:
        self.buffers: Body = []
        self._small: list[memoryview] = []

    def write(self, data: bytes | pa.Buffer) -> int:
        view = memoryview(data)
        if len(view) < _LARGE_BYTES:
            self._small.append(view)
        else:
            self.gather()
            self.buffers.append(view)
        return len(view)

    def gather(self) -> None:
        """Copy together what is small."""
        self.buffers.append(b"".join(self._small))
        self._small.clear()

    def flush(self) -> None:
        """Nothing waits to be written."""

    def close(self) -> None:
        """What was written is wanted yet."""


def _stream(batch: pa.RecordBatch) -> Body:
    kept = _Kept()
    with pa.ipc.new_stream(pa.PythonFile(kept, mode="w"), batch.schema, options=_OPTIONS) as writer:
        writer.write_batch(batch)
    kept.gather()
    return kept.buffers


def size_with_header(parts: Parts, body: Body) -> int:
    """Bytes that a record takes at most."""
    return _HEADER_BYTES + _PART_BYTES * len(parts) + sum(map(len, body))


def with_header(header: RecordHeader, body: Body) -> list[Buffer]:
    """Buffers to append to the log, without copying the rows."""
    head = _encode(header)
    odd = (_LENGTH.size + len(head)) % _ALIGNMENT
    if odd:
        # The filler's length is one byte, before it; as many zeros more behind it as the new length says.
        more, there = _ALIGNMENT - odd, len(header.filler)
        end = len(head) - there
        head = head[: end - 1] + bytes((there + more,)) + head[end:] + bytes(more)
    return [_LENGTH.pack(len(head)) + head, *body]


def decode_header(payload: Buffer) -> RecordHeader:
    """The header alone."""
    view = memoryview(payload)
    try:
        (length,) = _LENGTH.unpack_from(view)
        return _decode(view[_LENGTH.size : _LENGTH.size + length])
    except (msgspec.DecodeError, ValueError, struct.error) as error:
        raise Corruption(f"a log record cannot be read: {error}") from error


def record_body(payload: Buffer) -> memoryview:
    """What stands behind the header: an Arrow IPC stream."""
    view = memoryview(payload)
    (length,) = _LENGTH.unpack_from(view)
    return view[_LENGTH.size + length :]


def decode_record(payload: Buffer) -> tuple[RecordHeader, pa.RecordBatch]:
    """The header, and the batch as it was written: columns named by field id, or the keys of a delete."""
    view = memoryview(payload)
    try:
        (length,) = _LENGTH.unpack_from(view)
        header = _decode(view[_LENGTH.size : _LENGTH.size + length])
        batch = pa.ipc.open_stream(pa.py_buffer(view[_LENGTH.size + length :])).read_next_batch()
    except (msgspec.DecodeError, pa.ArrowInvalid, OSError, ValueError, StopIteration, struct.error) as error:
        raise Corruption(f"a log record cannot be read: {error}") from error
    if header.kind not in (INSERT, DELETE):
        raise Corruption(f"a log record is of the unknown kind {header.kind}")
    if header.kind == INSERT and sum(rows for _, rows in header.parts) != batch.num_rows:
        raise Corruption(f"a log record has {batch.num_rows} rows, its header says {header.parts}")
    return header, batch
