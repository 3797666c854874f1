"""HTTP/2 header blocks (RFC 7541), for a peer that was told to keep no dynamic table.

Without that table a block means the same wherever it stands, so that decoded blocks can be remembered: the headers and
trailers of one server's replies are nearly always the same few.
"""

from __future__ import annotations

from functools import lru_cache

from redkite.errors import WireError

_STATIC: tuple[tuple[str, str], ...] = (
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
    ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
    ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
    ("www-authenticate", ""),
)  # fmt: skip

# The Huffman code is canonical: the lengths of its 256 symbols and of the end mark say it all.
_LENGTHS = (
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28,
    28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6,
    12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5,
    6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22,
    22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21,
    20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22,
    23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26,
    28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27,
    28, 27, 27, 27, 27, 27, 26, 30,
)  # fmt: skip
_END = 256

Headers = dict[str, str]


def literal(name: str, value: str) -> bytes:
    """One header as a block of its own, neither indexed nor compressed."""
    return b"\x00" + _plain(name.encode()) + _plain(value.encode())


def _plain(text: bytes) -> bytes:
    return _integer(len(text), 7) + text


def _integer(value: int, bits: int) -> bytes:
    limit = (1 << bits) - 1
    if value < limit:
        return bytes((value,))
    parts = [limit]
    value -= limit
    while value >= 128:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes((*parts, value))


@lru_cache(maxsize=256)
def decode(block: bytes) -> Headers:
    """A header block -> its headers; of one that occurs twice, the last. Raises WireError for a block that is none."""
    try:
        return _Reader(block).headers()
    except (IndexError, KeyError, UnicodeDecodeError) as error:
        raise WireError("a header block of the reply does not decode") from error


class _Reader:
    def __init__(self, block: bytes) -> None:
        self._block = block
        self._at = 0

    def headers(self) -> Headers:
        headers: Headers = {}
        while self._at < len(self._block):
            first = self._block[self._at]
            if first & 0x80:
                name, value = self._static(self._number(7))
            elif first & 0xE0 == 0x20:  # a change of the table's size: it stays empty here
                self._number(5)
                continue
            else:
                index = self._number(6 if first & 0x40 else 4)
                name = self._static(index)[0] if index else self._text()
                value = self._text()
            headers[name] = value
        return headers

    @staticmethod
    def _static(index: int) -> tuple[str, str]:
        if index == 0:
            raise IndexError
        return _STATIC[index - 1]

    def _number(self, bits: int) -> int:
        limit = (1 << bits) - 1
        value = self._block[self._at] & limit
        self._at += 1
        shift = 0
        if value == limit:
            while True:
                byte = self._block[self._at]
                self._at += 1
                value += (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
                if shift > 28:
                    raise IndexError
        return value

    def _text(self) -> str:
        packed = bool(self._block[self._at] & 0x80)
        length = self._number(7)
        raw = self._block[self._at : self._at + length]
        if len(raw) < length:
            raise IndexError
        self._at += length
        return (unpack(raw) if packed else raw).decode()


@lru_cache(maxsize=1)
def _codes() -> dict[tuple[int, int], int]:
    """(length, code) -> symbol."""
    codes: dict[tuple[int, int], int] = {}
    code = previous = 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(_LENGTHS)):
        code <<= length - previous
        codes[length, code] = symbol
        code += 1
        previous = length
    return codes


def unpack(data: bytes) -> bytes:
    """Huffman-coded text -> text. Raises KeyError for what no text is coded as."""
    codes = _codes()
    bits = int.from_bytes(data, "big")
    text = bytearray()
    code = length = 0
    for shift in range(8 * len(data) - 1, -1, -1):
        code = code << 1 | bits >> shift & 1
        length += 1
        symbol = codes.get((length, code))
        if symbol is not None:
            if symbol == _END:
                raise KeyError(symbol)
            text.append(symbol)
            code = length = 0
    if length > 7 or code != (1 << length) - 1:
        raise KeyError(code)
    return bytes(text)
