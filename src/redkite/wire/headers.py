"""Header blocks of HTTP/2 (RFC 7541): read by a table of our own, and the literals a peer has to say.

Every call begins with such a block, and clients of gRPC say most of it as numbers of a table that both sides keep. Of
the `hpack` library the table that never changes is used, and what undoes its Huffman code, which few clients write.
"""

from __future__ import annotations

import re
from collections import deque

import hpack
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

Header = tuple[bytes, bytes]

MAX_LIST_SIZE = 16_384
"""Bytes of one message's headers, uncompressed."""

MAX_PLAIN = 1_024
"""Of longer blocks it is counted what they unfold to; up to here that is below the limit."""
_TABLE_BYTES = 4_096
"""What a peer may have remembered, which is what it may without being told another size; …"""
_ENTRY_BYTES = 32
"""… and what counts of each entry besides its name and value."""
_STATIC: tuple[Header, ...] = tuple((bytes(name), bytes(value)) for name, value in HeaderTable.STATIC_TABLE)
_FIRST_OWN = len(_STATIC) + 1
_INDEXED, _REMEMBERED, _RESIZED = 0x80, 0x40, 0x20
_NUMBERS = re.compile(rb"[\x81-\xfe]+")
"""Entries of the table, one a byte."""
_MOST_NAMED = 4_096
"""What those may unfold to: with `MAX_PLAIN` bytes behind them that is below the limit."""
_MOST_KEPT = 16
_MOST_SHIFTS = 28
"""A number of more bits means no length and no place."""


class HeaderError(ValueError):
    """A block that breaks the compression's rules or unfolds to too much."""


class HeaderReader:
    """The reading side of one connection: blocks share a table, so they are read in order."""

    def __init__(self) -> None:
        self._entries: deque[Header] = deque()
        """What was remembered, the newest first."""
        self._held = 0
        self._room = _TABLE_BYTES
        self._named: dict[bytes, list[Header]] = {}
        """What blocks began with that named entries, until the table changes: a client's calls begin alike."""

    def read(self, block: bytes) -> list[Header]:
        """The headers of a whole block, in order. Raises HeaderError, after which the connection is of no use."""
        numbers = _NUMBERS.match(block)
        spelled = plain(block if numbers is None else block[numbers.end() :])
        try:
            if spelled is None:
                return self._unfolded(block)
            if numbers is None:
                return spelled
            named = self._named.get(numbers[0]) or self._name(numbers[0])
            return [*named, *spelled] if named else self._unfolded(block)
        except IndexError:
            raise HeaderError("a header block ends early, or names an entry that is not there") from None
        except hpack.HPACKError as error:
            raise HeaderError(str(error) or type(error).__name__) from error

    def _unfolded(self, block: bytes) -> list[Header]:
        headers: list[Header] = []
        unfolded, at, end = 0, 0, len(block)
        while at < end:
            first = block[at]
            if first & _INDEXED:
                number, at = _number(block, at, 0x7F)
                header = self._entry(number)
            elif first & (_REMEMBERED | _RESIZED) == _RESIZED:
                if headers:
                    raise HeaderError("the size of the table changes within a header block")
                room, at = _number(block, at, 0x1F)
                self._resize(room)
                continue
            else:
                number, at = _number(block, at, 0x3F if first & _REMEMBERED else 0x0F)
                if number:
                    name = self._entry(number)[0]
                else:
                    name, at = _text(block, at)
                value, at = _text(block, at)
                header = (name, value)
                if first & _REMEMBERED:
                    self._remember(header)
            headers.append(header)
            unfolded += len(header[0]) + len(header[1]) + _ENTRY_BYTES
            if unfolded > MAX_LIST_SIZE:
                raise HeaderError(f"a header list is over {MAX_LIST_SIZE} bytes")
        return headers

    def _name(self, numbers: bytes) -> list[Header] | None:
        """What the beginning of a block names; None: more than what may stand before others."""
        headers = self._unfolded(numbers)
        if sum(len(name) + len(value) + _ENTRY_BYTES for name, value in headers) > _MOST_NAMED:
            return None
        if len(self._named) >= _MOST_KEPT:
            self._named.clear()
        self._named[numbers] = headers
        return headers

    def _entry(self, number: int) -> Header:
        """Raises IndexError where there is none."""
        if number >= _FIRST_OWN:
            return self._entries[number - _FIRST_OWN]
        if not number:
            raise HeaderError("a header has the number 0")
        return _STATIC[number - 1]

    def _remember(self, header: Header) -> None:
        self._named.clear()
        self._entries.appendleft(header)
        self._held += len(header[0]) + len(header[1]) + _ENTRY_BYTES
        if self._held > self._room:
            self._forget()

    def _resize(self, room: int) -> None:
        if room > _TABLE_BYTES:
            raise HeaderError(f"a header table of {room} bytes is over the limit of {_TABLE_BYTES}")
        self._room = room
        self._named.clear()
        self._forget()

    def _forget(self) -> None:
        """The oldest entries, as long as they do not fit."""
        while self._held > self._room:
            name, value = self._entries.pop()
            self._held -= len(name) + len(value) + _ENTRY_BYTES


def _number(block: bytes, at: int, most: int) -> tuple[int, int]:
    """A number that begins in the bits `most` of a byte, and where it ends. Raises IndexError where it does not."""
    number = block[at] & most
    at += 1
    if number < most:
        return number, at
    for shift in range(0, _MOST_SHIFTS, 7):
        following = block[at]
        at += 1
        number += (following & 0x7F) << shift
        if following < 0x80:
            return number, at
    raise HeaderError("a number in a header block is too large")


def _text(block: bytes, at: int) -> tuple[bytes, int]:
    """A name or value, and where it ends."""
    compressed = block[at] & 0x80
    length, start = _number(block, at, 0x7F)
    end = start + length
    if end > len(block):
        raise HeaderError("a header block ends early")
    text = block[start:end]
    return (bytes(decode_huffman(text)) if compressed else text), end


def plain(block: bytes) -> list[Header] | None:
    """The headers of a block in which all names and values are spelled out, as in those that `literal` makes; None for
    any other. Such a block does not touch the table."""
    if len(block) > MAX_PLAIN:
        return None
    headers: list[Header] = []
    at, end = 0, len(block)
    try:
        while at < end:
            if block[at]:
                return None
            start = at + 2
            middle = start + block[at + 1]
            at = middle + 1 + block[middle]
            if middle - start > 126 or at - middle > 127:
                return None  # compressed, or so long that the length takes more than a byte
            headers.append((block[start:middle], block[middle + 1 : at]))
    except IndexError:
        return None
    return headers if at == end else None


def literal(name: bytes, value: bytes) -> bytes:
    """One header as a block of its own: neither indexed nor compressed, so that it may be made once and joined."""
    return b"\x00" + _sized(name) + _sized(value)


def _sized(text: bytes) -> bytes:
    rest = len(text) - 127
    if rest < 0:
        return bytes((len(text),)) + text
    size = bytearray((127,))
    while rest > 127:
        size.append(rest & 127 | 128)
        rest >>= 7
    size.append(rest)
    return bytes(size) + text
