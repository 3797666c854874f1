"""Header compression of HTTP/2 (RFC 7541): a decoder per connection, and the few literals a server has to say."""

from __future__ import annotations

from collections import deque
from functools import lru_cache

Header = tuple[bytes, bytes]

TABLE_SIZE = 4096
"""Bytes of the dynamic table a peer may fill: the protocol's default."""
MAX_LIST_SIZE = 16_384
"""Bytes of one request's headers, uncompressed."""
_ENTRY_OVERHEAD = 32
_STATIC: tuple[Header, ...] = (
    (b"", b""),
    (b":authority", b""), (b":method", b"GET"), (b":method", b"POST"), (b":path", b"/"), (b":path", b"/index.html"),
    (b":scheme", b"http"), (b":scheme", b"https"), (b":status", b"200"), (b":status", b"204"), (b":status", b"206"),
    (b":status", b"304"), (b":status", b"400"), (b":status", b"404"), (b":status", b"500"), (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"), (b"accept-language", b""), (b"accept-ranges", b""), (b"accept", b""),
    (b"access-control-allow-origin", b""), (b"age", b""), (b"allow", b""), (b"authorization", b""),
    (b"cache-control", b""), (b"content-disposition", b""), (b"content-encoding", b""), (b"content-language", b""),
    (b"content-length", b""), (b"content-location", b""), (b"content-range", b""), (b"content-type", b""),
    (b"cookie", b""), (b"date", b""), (b"etag", b""), (b"expect", b""), (b"expires", b""), (b"from", b""),
    (b"host", b""), (b"if-match", b""), (b"if-modified-since", b""), (b"if-none-match", b""), (b"if-range", b""),
    (b"if-unmodified-since", b""), (b"last-modified", b""), (b"link", b""), (b"location", b""), (b"max-forwards", b""),
    (b"proxy-authenticate", b""), (b"proxy-authorization", b""), (b"range", b""), (b"referer", b""),
    (b"refresh", b""), (b"retry-after", b""), (b"server", b""), (b"set-cookie", b""),
    (b"strict-transport-security", b""), (b"transfer-encoding", b""), (b"user-agent", b""), (b"vary", b""),
    (b"via", b""), (b"www-authenticate", b""),
)  # fmt: skip
_FIRST_DYNAMIC = len(_STATIC)


class HpackError(ValueError):
    """A header block that is not HPACK. The connection's table is lost with it: the connection must end."""


class Decoder:
    """The receiving side's table of one connection. Blocks must be decoded in the order they came."""

    __slots__ = ("_capacity", "_size", "_table")

    def __init__(self) -> None:
        self._table: deque[Header] = deque()
        self._size = 0
        self._capacity = TABLE_SIZE

    def decode(self, block: bytes) -> list[Header]:
        """The headers of a whole block, names and values as sent. Raises HpackError."""
        try:
            return self._decode(block)
        except IndexError:
            raise HpackError("header block ends inside a field, or names an entry that does not exist") from None

    def _decode(self, block: bytes) -> list[Header]:
        headers: list[Header] = []
        table = self._table
        position, end, total = 0, len(block), 0
        while position < end:
            byte = block[position]
            if byte & 0x80:
                position += 1
                index = byte & 0x7F
                if index == 0x7F:
                    index, position = _integer(block, position, 0x7F)
                header = _STATIC[index] if 0 < index < _FIRST_DYNAMIC else self._entry(index)
            elif byte & 0xE0 == 0x20:
                if headers:
                    raise HpackError("the table is resized within a header block")
                position = self._resize(block, position)
                continue
            else:
                header, position = self._literal(block, position)
                if byte & 0x40:
                    self._add(header, table)
            total += len(header[0]) + len(header[1]) + _ENTRY_OVERHEAD
            if total > MAX_LIST_SIZE:
                raise HpackError(f"headers are larger than {MAX_LIST_SIZE} bytes")
            headers.append(header)
        return headers

    def _entry(self, index: int) -> Header:
        if index == 0:
            raise HpackError("header index 0")
        return self._table[index - _FIRST_DYNAMIC]

    def _literal(self, block: bytes, position: int) -> tuple[Header, int]:
        byte = block[position]
        mask = 0x3F if byte & 0x40 else 0x0F
        index = byte & mask
        position += 1
        if index == mask:
            index, position = _integer(block, position, mask)
        if index == 0:
            name, position = _string(block, position)
        else:
            name = (_STATIC[index] if index < _FIRST_DYNAMIC else self._entry(index))[0]
        value, position = _string(block, position)
        return (name, value), position

    def _add(self, header: Header, table: deque[Header]) -> None:
        self._size += len(header[0]) + len(header[1]) + _ENTRY_OVERHEAD
        table.appendleft(header)
        while self._size > self._capacity:
            name, value = table.pop()
            self._size -= len(name) + len(value) + _ENTRY_OVERHEAD

    def _resize(self, block: bytes, position: int) -> int:
        capacity = block[position] & 0x1F
        position += 1
        if capacity == 0x1F:
            capacity, position = _integer(block, position, 0x1F)
        if capacity > TABLE_SIZE:
            raise HpackError(f"table size {capacity} is over the limit of {TABLE_SIZE}")
        self._capacity = capacity
        while self._size > capacity:
            name, value = self._table.pop()
            self._size -= len(name) + len(value) + _ENTRY_OVERHEAD
        return position


def _integer(block: bytes, position: int, prefix: int) -> tuple[int, int]:
    """The rest of an integer whose prefix bits were all ones."""
    value, shift = prefix, 0
    while True:
        byte = block[position]
        position += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 28:
            raise HpackError("an integer in a header block is too large")


def _string(block: bytes, position: int) -> tuple[bytes, int]:
    byte = block[position]
    length = byte & 0x7F
    position += 1
    if length == 0x7F:
        length, position = _integer(block, position, 0x7F)
    end = position + length
    if end > len(block):
        raise HpackError("a string in a header block is cut off")
    text = block[position:end]
    return (_huffman(text) if byte & 0x80 else text), end


def literal(name: bytes, value: bytes) -> bytes:
    """A header that touches no table, as bytes of a block. Names are lower case."""
    return b"\x00" + _length(name) + name + _length(value) + value


def _length(text: bytes) -> bytes:
    size = len(text)
    if size < 0x7F:
        return bytes((size,))
    out = bytearray(b"\x7f")
    size -= 0x7F
    while size >= 0x80:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    out.append(size)
    return bytes(out)


# Code lengths of the 256 octets and the end mark; the code itself is canonical: codes of one length are consecutive
# in the order of the symbols, and longer codes follow shorter ones.
_LENGTHS = (
    "13 23 28 28 28 28 28 28 28 24 30 28 28 30 28 28 28 28 28 28 28 28 30 28 28 28 28 28 28 28 28 28 "
    "6 10 10 12 13 6 8 11 10 10 8 11 8 6 6 6 5 5 5 6 6 6 6 6 6 6 7 8 15 6 12 10 "
    "13 6 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 8 7 8 13 19 13 14 6 "
    "15 5 6 5 6 5 6 6 6 5 7 7 6 6 6 5 6 7 6 5 5 6 7 7 7 7 7 15 11 14 13 28 "
    "20 22 20 20 22 22 22 23 22 23 23 23 23 23 24 23 24 24 22 23 24 23 23 23 23 21 22 23 22 23 23 24 "
    "22 21 20 22 22 23 23 21 23 22 22 24 21 22 23 23 21 21 22 21 23 22 23 23 20 22 22 22 23 22 22 23 "
    "26 26 20 19 22 23 22 25 26 26 26 27 27 26 24 25 19 21 26 27 27 26 27 24 21 21 26 26 28 27 27 27 "
    "20 24 20 21 22 21 21 23 22 22 25 25 24 24 26 23 26 27 26 26 27 27 27 27 27 28 27 27 27 27 27 26 30"
)
_END = 256


@lru_cache(maxsize=1)
def _codes() -> dict[tuple[int, int], int]:
    """(length, code) -> symbol."""
    lengths = [int(text) for text in _LENGTHS.split()]
    codes: dict[tuple[int, int], int] = {}
    code, previous = 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(lengths)):
        code <<= length - previous
        codes[length, code] = symbol
        code, previous = code + 1, length
    return codes


@lru_cache(maxsize=4096)
def _huffman(text: bytes) -> bytes:
    """Huffman-coded text, decoded. Cached: clients repeat the same few strings."""
    codes = _codes()
    out = bytearray()
    code, length = 0, 0
    for byte in text:
        for bit in (7, 6, 5, 4, 3, 2, 1, 0):
            code = code << 1 | byte >> bit & 1
            length += 1
            symbol = codes.get((length, code))
            if symbol is not None:
                if symbol == _END:
                    raise HpackError("a string holds the end mark of its own code")
                out.append(symbol)
                code, length = 0, 0
    if length > 7 or code != (1 << length) - 1:
        raise HpackError("a string ends in bits that are no padding")
    return bytes(out)
