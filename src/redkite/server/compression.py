"""Messages of gRPC that travel compressed. What is inflated has a limit, whatever it was made of."""

from __future__ import annotations

import zlib
from typing import Final

from redkite.errors import InvalidInput, WireError

ENCODINGS: Final = (b"gzip", b"deflate", b"identity")
ACCEPTED: Final = b"gzip,deflate,identity"
WORTH_BYTES: Final = 1024
"""Smaller replies are not compressed."""
_GZIP, _ZLIB = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS
_WINDOWS: Final = {b"gzip": _GZIP, b"deflate": _ZLIB}
_LEVEL: Final = 1


class TooLarge(InvalidInput):
    """A message that inflates to more than there may be."""


class NotCompressed(WireError):
    """Bytes that are not what their header says."""


def inflated(message: bytes, encoding: bytes, most: int) -> bytes:
    """What was compressed. Raises TooLarge as soon as more than `most` bytes come out, NotCompressed for anything that
    is not one whole stream."""
    machine = zlib.decompressobj(_WINDOWS[encoding])
    try:
        found = machine.decompress(message, most + 1)
    except zlib.error as error:
        raise NotCompressed(f"the message is not {encoding.decode()}: {error}") from None
    if len(found) > most:
        raise TooLarge
    if not machine.eof or machine.unused_data:
        raise NotCompressed(f"the message is not one whole {encoding.decode()} stream")
    return found


def deflated(message: bytes, encoding: bytes) -> bytes:
    """The same message, compressed quickly."""
    machine = zlib.compressobj(_LEVEL, wbits=_WINDOWS[encoding])
    return machine.compress(message) + machine.flush()


def is_known(encoding: bytes) -> bool:
    """Whether messages with this `grpc-encoding` can be read."""
    return encoding in ENCODINGS
