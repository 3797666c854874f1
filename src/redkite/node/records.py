"""How a write lies in the log.

record   = header length (uint32 LE) | header (MessagePack) | body
insert   : the body is an Arrow IPC stream of one batch; rows of equal primary key written earlier are replaced
delete   : the body is an Arrow IPC stream of one column, the primary keys
"""

from __future__ import annotations

import struct

import msgspec
import pyarrow as pa

from redkite.env import Buffer
from redkite.errors import Corruption

INSERT, DELETE = 1, 2
_LENGTH = struct.Struct("<I")


class RecordHeader(msgspec.Struct, frozen=True, array_like=True):
    kind: int
    timestamp: int
    collection_id: int
    partition_id: int
    """0 for deletes: they concern all partitions."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(RecordHeader).decode


def encode_record(header: RecordHeader, batch: pa.RecordBatch) -> list[Buffer]:
    """Buffers to append to the log, without copying the rows twice."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    head = _encode(header)
    return [_LENGTH.pack(len(head)) + head, memoryview(sink.getvalue())]


def decode_record(payload: Buffer) -> tuple[RecordHeader, pa.RecordBatch]:
    view = memoryview(payload)
    try:
        (length,) = _LENGTH.unpack_from(view)
        header = _decode(view[_LENGTH.size : _LENGTH.size + length])
        return header, pa.ipc.open_stream(pa.py_buffer(view[_LENGTH.size + length :])).read_next_batch()
    except (msgspec.DecodeError, pa.ArrowInvalid, OSError, ValueError, StopIteration, struct.error) as error:
        raise Corruption(f"a log record cannot be read: {error}") from error
