"""Values between nodes: whatever a message, a reply or an error holds, as bytes and back.

Numbers and structs are msgpack. Arrays, Arrow batches and raw buffers follow it in the same frame and are views of the
bytes that arrived: nothing is copied, and they cannot be written. What comes again and again (plans, schemas, filters)
is encoded once per object and decoded once per distinct bytes, so that equal plans of one sender are one object at the
receiver, which keeps ways and masks by it.

Only what is listed here is understood. Other bytes are a WireError, whatever they are.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from datetime import UTC, timedelta, timezone, tzinfo
from enum import Enum
from threading import local
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import numpy as np
import pyarrow as pa

from redkite import errors
from redkite.cluster.frames import join_frame, split_frame
from redkite.cluster.shapes import class_named, is_shaped, shape_named, shape_of
from redkite.env import Buffer
from redkite.errors import MilvusException, Unexpected, WireError
from redkite.filter import Filter, compile_filter
from redkite.model.decoding import MAKING
from redkite.model.limits import Limits
from redkite.model.one_row import LooseRow, OneRow, RowLayout
from redkite.model.schema import CollectionSchema
from redkite.model.sparse import SparseRows
from redkite.query.plan import QueryPlan, SearchPartial, SearchPlan
from redkite.segment.growing import rows_only

(
    _SHAPED, _TUPLE, _SET, _FROZEN_SET, _ENUM, _ARRAY, _BATCH, _COLUMN, _BUFFER, _KEPT, _ERROR, _ZONE, _FILTER, _LAYOUT,
    _ROW, _PAIRS, _CLASS, _NUMBERS_COLUMN, _HITS,
) = range(1, 20)  # fmt: skip

MOST_KEPT = 2048
"""Plans, schemas and filters that each side remembers; then it begins anew."""
LARGEST_KEPT = 64 * 1024
"""Bytes of one that is remembered."""
KEPT_BYTES = 16 << 20
"""About, of all that each side remembers."""
SMALL = 4096
"""Bytes of a buffer that is not worth a place of its own."""
_FEW_HITS = 256
_HITS_HEAD = struct.Struct("<II")
"""Queries and hits; then come the hits of each query, their keys, their scores."""
_NUMBERS = "biufc"
_INT64 = pa.int64()
_FLAT = frozenset(
    kind.id for kind in (
        pa.null(), pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(),
        pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.string(), pa.binary(), pa.large_string(),
        pa.large_binary(), pa.binary(1), pa.timestamp("us"), pa.date32(),
    )
)  # fmt: skip
"""Types of columns that have no dictionary in them."""
_MALFORMED = (
    msgspec.MsgspecError, ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError,
    pa.ArrowException, ArithmeticError, AssertionError, OSError, struct.error,
)  # fmt: skip
"""What bytes that are not as they should be can lead to."""

Ext = msgspec.msgpack.Ext


class Codec:
    """One node's. Safe from any thread."""

    def __init__(self) -> None:
        self._sent: dict[int, tuple[object, bytes]] = {}
        """By identity: what was encoded, which is held so that the identity stays its own."""
        self._received: dict[bytes, Any] = {}
        self._sent_bytes = self._received_bytes = 0

    def encode(self, value: Any) -> bytes:
        """One frame. Raises TypeError for what cannot be sent, WireError for a value that has no bytes: an integer of
        more than 64 bits, half a character."""
        writing = _Writing(self)
        try:
            return join_frame(_ENCODER.encode(writing.box(value)), writing.buffers)
        except (OverflowError, UnicodeEncodeError) as error:
            raise WireError(f"a value cannot be sent from node to node: {error}") from None

    def decode(self, frame: Buffer) -> Any:
        """What was encoded. Raises WireError for anything else, WrongPeer for another version of the protocol."""
        try:
            return self._decode(frame)
        except MilvusException:
            raise
        except _MALFORMED as error:
            raise WireError(f"a message between nodes cannot be read: {str(error)[:200]}") from None

    def _decode(self, frame: Buffer) -> Any:
        body, buffers = split_frame(frame)
        before = _HERE.reading
        _HERE.reading = _Reader(self, buffers)
        try:
            return _DECODER.decode(body)
        finally:
            _HERE.reading = before

    # -- what is kept ---------------------------------------------------------------------------
    def kept_bytes(self, value: Any, parts: Callable[[Any], Any]) -> bytes:
        """The frame of something that comes again; `parts` makes what is encoded of it."""
        known = self._sent.get(id(value))
        if known is not None:
            return known[1]
        frame = self.encode(parts(value))
        if len(frame) <= LARGEST_KEPT:
            if len(self._sent) >= MOST_KEPT or self._sent_bytes + len(frame) > KEPT_BYTES:
                self._sent, self._sent_bytes = {}, 0
            self._sent[id(value)] = value, frame
            self._sent_bytes += len(frame)
        return frame

    def kept(self, data: memoryview, made: Callable[[Any], Any]) -> Any:
        """What a frame stands for, the same object each time."""
        frame = bytes(data)
        found = self._received.get(frame)
        if found is None:
            found = made(self._decode(frame))
            if len(frame) <= LARGEST_KEPT:
                if len(self._received) >= MOST_KEPT or self._received_bytes + len(frame) > KEPT_BYTES:
                    self._received, self._received_bytes = {}, 0
                found = self._received.setdefault(frame, found)
                self._received_bytes += len(frame)
        return found


# -- going out ----------------------------------------------------------------------------------
class _Writing:
    """One frame on its way."""

    __slots__ = ("_codec", "buffers")

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self.buffers: list[Buffer] = []

    def box(self, value: Any) -> Any:
        """The value as msgpack that says what it is."""
        kind = type(value)
        if kind in _AS_IS:
            return value
        maker = _MAKERS.get(kind)
        if maker is None:
            maker = _MAKERS[kind] = _maker_of(kind)
        return maker(self, value)

    def ext(self, code: int, value: Any) -> Any:
        return Ext(code, _ENCODER.encode(value))

    def keep(self, buffer: Any, size: int) -> int | bytes:
        """Send a buffer of so many bytes behind the body; its number. A small one goes within: itself."""
        if size <= SMALL:
            return bytes(buffer)
        self.buffers.append(memoryview(buffer).cast("B"))
        return len(self.buffers) - 1

    def shaped(self, value: Any) -> Any:
        shape = shape_of(type(value))
        return Ext(_SHAPED, bytes([len(shape.name)]) + shape.name + _ENCODER.encode(shape.values(value, self.box)))

    def kept(self, value: Any) -> Any:
        code, parts = _KEPT_PARTS[type(value)]
        return Ext(code, self._codec.kept_bytes(value, parts))

    def items(self, value: Any) -> Any:
        return [self.box(item) for item in value]

    def pairs(self, value: dict[Any, Any]) -> Any:
        box = self.box
        if all(type(key) is str for key in value):
            return {key: box(item) for key, item in value.items()}
        return self.ext(_PAIRS, [(box(key), box(item)) for key, item in value.items()])

    def array(self, value: Any) -> Any:
        if value.dtype.kind not in _NUMBERS:
            raise TypeError(f"an array of {value.dtype} cannot be sent from node to node")
        if value.nbytes <= SMALL:
            return self.ext(_ARRAY, (value.tobytes(), value.dtype.str, value.shape))
        held = value if value.flags.c_contiguous else np.ascontiguousarray(value)
        return self.ext(
            _ARRAY, (self.keep(held.reshape(-1).view(np.uint8).data, held.nbytes), held.dtype.str, held.shape)
        )

    def batch(self, value: Any) -> Any:
        return self.ext(_BATCH, self._arrow(value))

    def hits(self, value: SearchPartial) -> Any:
        """What a node finds, as most searches find it: few rows, known by their numbers alone."""
        keys, rows = value.keys, value.rows
        if not isinstance(keys, np.ndarray) and keys.type == _INT64 and not keys.null_count:
            keys = keys.to_numpy()
        is_plain = isinstance(keys, np.ndarray) and not rows.num_columns and rows.num_rows == len(keys)
        if is_plain and value.groups is value.reach is None and not value.reports and len(keys) <= _FEW_HITS:
            counts, scores = value.topks, value.scores
            if counts.dtype == np.int64 and scores.dtype == np.float32 and len(scores) == len(keys):
                head = _HITS_HEAD.pack(len(counts), len(keys))
                return Ext(_HITS, b"".join((head, counts.tobytes(), keys.tobytes(), scores.tobytes())))
        return self.shaped(value)

    def column(self, value: Any) -> Any:
        if value.type == _INT64 and not value.null_count:
            numbers = value.to_numpy()
            return self.ext(_NUMBERS_COLUMN, self.keep(numbers, numbers.nbytes))
        return self.ext(_COLUMN, self._arrow(pa.RecordBatch.from_arrays([value], [""])))

    def _arrow(self, batch: Any) -> tuple[int | bytes, ...]:
        """The buffers of a batch: that of a whole stream, or of a schema and of the batch."""
        schema = batch.schema
        for kind in schema.types:
            if kind.id not in _FLAT:
                sink = pa.BufferOutputStream()
                with pa.ipc.new_stream(sink, schema) as stream:
                    stream.write_batch(batch)
                whole = sink.getvalue()
                return (self.keep(whole, whole.size),)
        told, rows = schema.serialize(), batch.serialize()
        return self.keep(told, told.size), self.keep(rows, rows.size)

    def sparse(self, value: SparseRows) -> Any:
        at = slice(int(value.starts[0]), int(value.starts[-1]))
        return self.shaped_as(SparseRows, (value.starts - value.starts[0], value.indices[at], value.values[at]))

    def shaped_as(self, cls: type, values: tuple[Any, ...]) -> Any:
        name = shape_of(cls).name
        return Ext(_SHAPED, bytes([len(name)]) + name + _ENCODER.encode(self.items(values)))

    def error(self, value: MilvusException) -> Any:
        known = {"code", "message", "__notes__"}
        more = {key: item for key, item in vars(value).items() if key not in known and type(item) in _TELLING}
        return self.ext(_ERROR, (type(value).__name__, value.message, value.code, self.pairs(more)))

    def row(self, value: OneRow) -> Any:
        return self.ext(_ROW, (self.kept(value.layout), value.key, value.values))


def _plain(value: Any) -> Any:
    """Numbers of numpy within structs, where a number stands."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a {type(value).__name__} cannot be sent from node to node as part of a struct that names no such")


def _zone(value: tzinfo) -> str | int:
    if isinstance(value, ZoneInfo):
        return value.key
    offset = value.utcoffset(None)
    if offset is None:
        raise TypeError(f"the time zone {value!r} cannot be sent from node to node")
    return round(offset.total_seconds())


def _filter_parts(value: Filter) -> tuple[Any, ...]:
    if value.origin is None:
        raise TypeError(f"{value!r} is a part of a filter, which cannot be sent from node to node")
    return tuple(value.origin)


def _layout_parts(value: RowLayout) -> tuple[CollectionSchema, int]:
    return value.schema, value.collection_id


def _struct_parts(value: Any) -> Any:
    return Shaped(type(value), value)


class Shaped:
    """A struct that is to be encoded itself, although its kind is kept."""

    __slots__ = ("cls", "value")

    def __init__(self, cls: type, value: Any) -> None:
        self.cls = cls
        self.value = value


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_plain)
_AS_IS = frozenset({type(None), bool, int, float, str, bytes})
_TELLING = frozenset({bool, int, float, str, bytes, tuple, list, dict, type(None)})
_Maker = Callable[[_Writing, Any], Any]
_KEPT_PARTS: dict[type, tuple[int, Callable[[Any], Any]]] = {
    SearchPlan: (_KEPT, _struct_parts),
    QueryPlan: (_KEPT, _struct_parts),
    CollectionSchema: (_KEPT, _struct_parts),
    Filter: (_FILTER, _filter_parts),
    RowLayout: (_LAYOUT, _layout_parts),
}
_MAKERS: dict[type, _Maker] = {
    list: _Writing.items,
    dict: _Writing.pairs,
    tuple: lambda writing, value: writing.ext(_TUPLE, writing.items(value)),
    set: lambda writing, value: writing.ext(_SET, writing.items(value)),
    frozenset: lambda writing, value: writing.ext(_FROZEN_SET, writing.items(value)),
    memoryview: lambda writing, value: writing.ext(_BUFFER, writing.keep(value, value.nbytes)),
    bytearray: lambda writing, value: writing.ext(_BUFFER, writing.keep(value, len(value))),
    pa.Buffer: lambda writing, value: writing.ext(_BUFFER, writing.keep(value, value.size)),
    np.ndarray: _Writing.array,
    pa.RecordBatch: _Writing.batch,
    SparseRows: _Writing.sparse,
    OneRow: _Writing.row,
    LooseRow: lambda writing, value: writing.batch(value.batch()),
    SearchPartial: _Writing.hits,
    Shaped: lambda writing, value: writing.shaped(value.value),
    **dict.fromkeys(_KEPT_PARTS, _Writing.kept),
}


def _maker_of(kind: type) -> _Maker:
    if issubclass(kind, MilvusException):
        return _Writing.error
    if issubclass(kind, pa.Array):
        return _Writing.column
    if issubclass(kind, np.generic):
        return lambda _, value: value.item()
    if issubclass(kind, Enum):
        name = f"{kind.__module__}:{kind.__qualname__}"
        return lambda writing, value: writing.ext(_ENUM, (name, value.value))
    if issubclass(kind, tzinfo):
        return lambda writing, value: writing.ext(_ZONE, _zone(value))
    if issubclass(kind, type):
        return lambda writing, value: writing.ext(_CLASS, shape_of(value).name)
    if is_shaped(kind):
        return _Writing.shaped
    if issubclass(kind, Mapping):
        return lambda writing, value: writing.pairs(dict(value))
    raise TypeError(f"a {kind.__name__} cannot be sent from node to node")


# -- coming in ----------------------------------------------------------------------------------
class _Here(local):
    """Of this thread."""

    reading: _Reader | None = None


class _Reader:
    """One frame that arrived."""

    __slots__ = ("_buffers", "_codec")

    def __init__(self, codec: Codec, buffers: list[memoryview]) -> None:
        self._codec = codec
        self._buffers = buffers

    def ext(self, code: int, data: memoryview) -> Any:
        reader = _READERS.get(code)
        if reader is None:
            raise WireError(f"a message between nodes has a value of kind {code}, which is not known here")
        return reader(self, data)

    def shaped(self, data: memoryview) -> Any:
        size = 1 + data[0]
        shape = shape_named(bytes(data[1:size]))
        return shape.build(_decoder_of(shape.wire_type).decode(data[size:]))

    def array(self, data: memoryview) -> Any:
        number, kind, shape = _ARRAY_DECODER.decode(data)
        dtype = np.dtype(kind)
        if dtype.kind not in _NUMBERS:
            raise WireError(f"an array of {dtype} came from a node")
        return np.frombuffer(self._buffer(number), dtype).reshape(shape)

    def _buffer(self, kept: int | bytes) -> Buffer:
        return kept if isinstance(kept, bytes) else self._buffers[kept]

    def batch(self, data: memoryview) -> Any:
        numbers = _NUMBERS_DECODER.decode(data)
        if len(numbers) == 1:
            with pa.ipc.open_stream(pa.py_buffer(self._buffer(numbers[0]))) as stream:
                found = stream.read_next_batch()
        else:
            schema = pa.ipc.read_schema(pa.py_buffer(self._buffer(numbers[0])))
            found = pa.ipc.read_record_batch(pa.py_buffer(self._buffer(numbers[1])), schema)
        found.validate()
        return found

    def hits(self, data: memoryview) -> SearchPartial:
        whole = bytes(data)  # so that numbers are where numbers may be
        queries, hits = _HITS_HEAD.unpack_from(whole)
        at = _HITS_HEAD.size
        middle, end = at + 8 * queries, at + 8 * (queries + hits)
        if len(whole) != end + 4 * hits:
            raise WireError("hits between nodes are not as they should be")
        counts = np.frombuffer(whole, np.int64, queries, at)
        keys = np.frombuffer(whole, np.int64, hits, middle)
        return SearchPartial(counts, keys, np.frombuffer(whole, np.float32, hits, end), rows_only(hits))

    def column(self, data: memoryview) -> Any:
        return self.batch(data).column(0)

    def numbers(self, data: memoryview) -> Any:
        buffer = pa.py_buffer(self._buffer(_KEPT_DECODER.decode(data)))
        return pa.Array.from_buffers(_INT64, buffer.size // 8, [None, buffer])

    def buffer(self, data: memoryview) -> memoryview:
        return memoryview(self._buffer(_KEPT_DECODER.decode(data)))

    def kept(self, data: memoryview) -> Any:
        return self._codec.kept(data, lambda value: value)

    def filter(self, data: memoryview) -> Any:
        return self._codec.kept(data, _made_filter)

    def layout(self, data: memoryview) -> Any:
        return self._codec.kept(data, _made_layout)

    def error(self, data: memoryview) -> MilvusException:
        name, message, code, more = _DECODER.decode(data)
        error = errors.rebuilt(_error_named(name), message, code)
        for key, item in more.items():
            setattr(error, key, item)
        return error

    def enum(self, data: memoryview) -> Any:
        name, value = _DECODER.decode(data)
        cls = class_named(name.encode())
        if not issubclass(cls, Enum):
            raise WireError(f"a node sent a {cls.__name__}, which is no enumeration")
        return cls(value)

    def row(self, data: memoryview) -> OneRow:
        layout, key, values = _DECODER.decode(data)
        return OneRow(layout, key, tuple(values))

    def decoded(self, data: memoryview) -> Any:
        return _DECODER.decode(data)


def _ext(code: int, data: memoryview) -> Any:
    reading = _HERE.reading
    assert reading is not None, "a frame is read"
    return reading.ext(code, data)


def _made_filter(parts: tuple[Any, ...]) -> Filter:
    schema, text, params, zone, limits = parts
    if not isinstance(schema, CollectionSchema) or not isinstance(limits, Limits):
        raise WireError("a filter came without its schema")
    return compile_filter(text, schema, params, limits=limits, zone=zone)


def _made_layout(parts: tuple[CollectionSchema, int]) -> RowLayout:
    layout = RowLayout.of(*parts)
    if layout is None:
        raise WireError("a row came by a schema that makes no such rows")
    return layout


def _made_zone(value: str | int) -> tzinfo:
    if isinstance(value, int):
        return UTC if value == 0 else timezone(timedelta(seconds=value))
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError):
        raise WireError(f"the time zone {value[:100]} is not known here") from None


def _error_named(name: str) -> type[MilvusException]:
    """A class of error by its name; one that is not known here is `Unexpected`."""
    found = _ERRORS.get(name)
    if found is None:
        waiting: list[type[MilvusException]] = [MilvusException]
        while waiting:
            cls = waiting.pop()
            _ERRORS.setdefault(cls.__name__, cls)
            waiting += cls.__subclasses__()
        found = _ERRORS.get(name, Unexpected)
    return found


def _decoder_of(wire_type: Any) -> msgspec.msgpack.Decoder[Any]:
    found = _DECODERS.get(wire_type)
    if found is None:
        with MAKING:
            found = _DECODERS[wire_type] = msgspec.msgpack.Decoder(wire_type, ext_hook=_ext)
    return found


_HERE = _Here()
_DECODER: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(ext_hook=_ext)
_KEPT_DECODER = msgspec.msgpack.Decoder(int | bytes)
_ARRAY_DECODER = msgspec.msgpack.Decoder(tuple[int | bytes, str, tuple[int, ...]])
_NUMBERS_DECODER = msgspec.msgpack.Decoder(tuple[int | bytes, ...])
_DECODERS: dict[Any, msgspec.msgpack.Decoder[Any]] = {}
_ERRORS: dict[str, type[MilvusException]] = {}
_READERS: dict[int, Callable[[_Reader, memoryview], Any]] = {
    _SHAPED: _Reader.shaped,
    _TUPLE: lambda reader, data: tuple(reader.decoded(data)),
    _SET: lambda reader, data: set(reader.decoded(data)),
    _FROZEN_SET: lambda reader, data: frozenset(reader.decoded(data)),
    _ENUM: _Reader.enum,
    _ARRAY: _Reader.array,
    _BATCH: _Reader.batch,
    _COLUMN: _Reader.column,
    _NUMBERS_COLUMN: _Reader.numbers,
    _HITS: _Reader.hits,
    _BUFFER: _Reader.buffer,
    _KEPT: _Reader.kept,
    _ERROR: _Reader.error,
    _ZONE: lambda reader, data: _made_zone(reader.decoded(data)),
    _FILTER: _Reader.filter,
    _LAYOUT: _Reader.layout,
    _ROW: _Reader.row,
    _PAIRS: lambda reader, data: dict(reader.decoded(data)),
    _CLASS: lambda reader, data: shape_named(reader.decoded(data)).cls,
}
