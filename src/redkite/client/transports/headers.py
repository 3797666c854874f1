"""Header blocks for a server that was told to keep no table: a block means the same wherever it stands, so decoded ones
can be remembered. The headers and trailers of one server's replies are nearly always the same few."""

from __future__ import annotations

from functools import lru_cache

from redkite.errors import WireError
from redkite.wire import headers

Headers = dict[str, str]


def literal(name: str, value: str) -> bytes:
    """One header as a block of its own."""
    return headers.literal(name.encode(), value.encode())


@lru_cache(maxsize=256)
def decode(block: bytes) -> Headers:
    """A header block -> its headers; of one that occurs twice, the last. Raises WireError for a block that is none."""
    try:
        return {name.decode(): value.decode() for name, value in headers.HeaderReader().read(block)}
    except ValueError as error:
        raise WireError(f"a header block of the reply does not decode: {error}") from error
