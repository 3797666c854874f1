"""Header blocks of HTTP/2 (RFC 7541): read by the `hpack` library, and the literals a peer has to say."""

from __future__ import annotations

from typing import cast

import hpack

Header = tuple[bytes, bytes]

MAX_LIST_SIZE = 16_384
"""Bytes of one message's headers, uncompressed."""

MAX_PLAIN = 1_024
"""Longer blocks are left to the library, which counts what they unfold to; up to here that is below the limit."""


class HeaderError(ValueError):
    """A block that breaks the compression's rules or unfolds to too much."""


class HeaderReader:
    """The reading side of one connection: blocks share a table, so they are read in order."""

    def __init__(self) -> None:
        self._decoder = hpack.Decoder(max_header_list_size=MAX_LIST_SIZE)

    def read(self, block: bytes) -> list[Header]:
        """The headers of a whole block, in order. Raises HeaderError, after which the connection is of no use."""
        headers = _plain(block)
        if headers is not None:
            return headers
        try:
            return cast(list[Header], self._decoder.decode(block, raw=True))
        except (hpack.HPACKError, IndexError, ValueError) as error:
            raise HeaderError(str(error) or type(error).__name__) from error


def _plain(block: bytes) -> list[Header] | None:
    """The headers of a block in which all names and values are spelled out, as in those that `literal` makes; None for
    any other. Such a block does not touch the table, and reading it here takes a quarter of the library's time."""
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
