"""Large blocks of floats, read where they lie in a message.

protobuf copies a repeated field twice until numpy has it: into its message, and out of it. Nearly all of an insert is
one such field. So it is cut out of the bytes before they are parsed, and what is parsed has an empty one in its place.
What is not laid out as every client lays it out is left alone: it is for the parser to understand, or to refuse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from redkite.model.types import DataType
from redkite.wire.messages import parse
from redkite.wire.numbers import Array, varint

Blocks = Mapping[int, Array]
"""The float32 numbers of a vector column, by its place in the repeated field."""
NO_BLOCKS: Final[Blocks] = {}
LEAST_BYTES: Final = 1 << 14
"""Smaller columns are left to the parser."""
_MOST_ENTRIES: Final = 1_024
"""In one message; of more, nobody's columns are worth looking for."""
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_KIND, _SCALARS, _VECTORS, _STRUCTS = 1 << 3 | _VARINT, 3 << 3 | _LENGTH, 4 << 3 | _LENGTH, 8 << 3 | _LENGTH
"""Of `FieldData`."""
_DIM, _FLOATS = 1 << 3 | _VARINT, 2 << 3 | _LENGTH
"""Of `VectorField`."""
_NUMBERS = 1 << 3 | _LENGTH
"""Of `FloatArray`: packed."""


class RowsMessage(NamedTuple):
    """A parsed message, and what was cut out of it before."""

    message: Any
    blocks: Blocks

    @property
    def db_name(self) -> str:
        name: str = self.message.db_name
        return name


def parse_rows(cls: Any, data: bytes, number: int) -> RowsMessage:
    """A message whose repeated field `number` holds columns. Raises WireError as `parse` does."""
    rest, blocks = cut_blocks(data, number)
    return RowsMessage(parse(cls, rest), blocks)


class _Odd(Exception):
    """Not laid out as expected."""


class _Entry(NamedTuple):
    """A field of a message: its tag, where that begins, and where its value lies."""

    tag: int
    start: int
    value: int
    end: int


def cut_blocks(data: bytes, number: int) -> tuple[bytes, Blocks]:
    """The message without its large blocks of float vectors, and these. The numbers lie in `data`, if they can."""
    if len(data) < LEAST_BYTES:
        return data, NO_BLOCKS
    wanted, place, done = number << 3 | _LENGTH, -1, 0
    pieces: list[bytes] = []
    blocks: dict[int, Array] = {}
    try:
        for entry in _entries(data, 0, len(data)):
            if entry.tag != wanted:
                continue
            place += 1
            found = _block(data, entry) if entry.end - entry.value >= LEAST_BYTES else None
            if found is not None:
                rest, blocks[place] = found
                pieces += (data[done : entry.start], _field(wanted, rest))
                done = entry.end
    except _Odd:
        return data, NO_BLOCKS
    return (b"".join((*pieces, data[done:])), blocks) if blocks else (data, NO_BLOCKS)


def _block(data: bytes, column: _Entry) -> tuple[bytes, Array] | None:
    """A FieldData without the floats of its vectors, and these; None when it has none, or them in several parts."""
    parts = list(_entries(data, column.value, column.end))
    tags = [part.tag for part in parts]
    if tags.count(_KIND) != 1 or tags.count(_VECTORS) != 1 or _SCALARS in tags or _STRUCTS in tags:
        return None
    if _number(data, parts[tags.index(_KIND)].value, column.end)[0] != DataType.FLOAT_VECTOR:
        return None
    vectors = parts[tags.index(_VECTORS)]
    inner = list(_entries(data, vectors.value, vectors.end))
    floats = [part for part in inner if part.tag == _FLOATS]
    if len(floats) != 1 or any(part.tag not in (_DIM, _FLOATS) for part in inner):
        return None
    numbers = list(_entries(data, floats[0].value, floats[0].end))
    if len(numbers) != 1 or numbers[0].tag != _NUMBERS:
        return None
    start, end = numbers[0].value, numbers[0].end
    if (end - start) % 4:
        return None
    values = np.frombuffer(data, "<f4", (end - start) // 4, start)
    if not values.flags.aligned:
        values = values.copy()
    empty = data[vectors.value : floats[0].start] + _field(_FLOATS, b"") + data[floats[0].end : vectors.end]
    rest = data[column.value : vectors.start] + _field(_VECTORS, empty) + data[vectors.end : column.end]
    return rest, values


def _field(tag: int, value: bytes) -> bytes:
    return varint(tag) + varint(len(value)) + value


def _entries(data: bytes, at: int, end: int) -> Iterator[_Entry]:
    """The fields between two places. Raises _Odd when they do not end where they should, or are too many."""
    count = 0
    while at < end:
        count += 1
        if count > _MOST_ENTRIES:
            raise _Odd
        start = at
        tag, at = _number(data, at, end)
        kind = tag & 7
        if kind == _LENGTH:
            length, at = _number(data, at, end)
            value, at = at, at + length
        elif kind == _VARINT:
            value, (_, at) = at, _number(data, at, end)
        elif kind in (_FIXED32, _FIXED64):
            value, at = at, at + (4 if kind == _FIXED32 else 8)
        else:
            raise _Odd
        if at > end:
            raise _Odd
        yield _Entry(tag, start, value, at)


def _number(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The varint at a place, and the place after it."""
    value = shift = 0
    while at < end and shift < 64:
        octet = data[at]
        at += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value, at
        shift += 7
    raise _Odd
