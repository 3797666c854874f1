"""What the server says of HTTP/2 (RFC 9113) on its side, and which requests it takes."""

from __future__ import annotations

from functools import lru_cache

from redkite.wire.headers import MAX_LIST_SIZE, Header
from redkite.wire.http2 import (
    DEFAULT_WINDOW,
    FRAME,
    INITIAL_WINDOW_SETTING,
    MAX_FRAME_SETTING,
    MAX_LIST_SETTING,
    MAX_STREAMS_SETTING,
    MAX_WINDOW,
    SETTING,
    SETTINGS,
    WINDOW_UPDATE,
)

MAX_STREAMS = 256
"""Requests a client may have open on one connection; it queues the others itself."""
MAX_FRAME = 65_536
HELLO = b"".join((
    FRAME.pack(24 << 8 | SETTINGS, 0, 0),
    SETTING.pack(MAX_STREAMS_SETTING, MAX_STREAMS), SETTING.pack(INITIAL_WINDOW_SETTING, MAX_WINDOW),
    SETTING.pack(MAX_FRAME_SETTING, MAX_FRAME), SETTING.pack(MAX_LIST_SETTING, MAX_LIST_SIZE),
    FRAME.pack(4 << 8 | WINDOW_UPDATE, 0, 0), (MAX_WINDOW - DEFAULT_WINDOW).to_bytes(4, "big"),
))  # fmt: skip

_LARGE = 1 << 13

_PSEUDO = frozenset({b":method", b":scheme", b":path", b":authority"})
_REQUIRED = frozenset({b":method", b":scheme", b":path"})
_OF_CONNECTIONS = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})


def is_large(size: int, read: int) -> bool:
    """Whether so many bytes of what was read at once are kept where they are: all that was read stays with them."""
    return size >= _LARGE and 4 * size >= read


def piece(read: bytes, start: int, end: int) -> bytes | memoryview:
    """A part of what was read, copied where it is small."""
    return memoryview(read)[start:end] if is_large(end - start, len(read)) else read[start:end]


@lru_cache(maxsize=1024)
def _is_plain_name(name: bytes) -> bool:
    """A header of the request's own, in lower case."""
    return bool(name) and name == name.lower() and name not in _OF_CONNECTIONS


def is_request(headers: list[Header]) -> bool:
    """Whether these may be the headers of a request: its four own ones first, once each, then others."""
    own: dict[bytes, bytes] = {}
    begun = False
    for name, value in headers:
        if name in _PSEUDO:
            if begun or name in own:
                return False
            own[name] = value
        else:
            begun = True
            if name[:1] == b":" or not _is_plain_name(name) or (name == b"te" and value != b"trailers"):
                return False
    return own.keys() >= _REQUIRED and bool(own[b":path"])
