"""Structs out of JSON and MessagePack. What msgspec has to know of a type it finds out at its first use, and where two
threads do that at once the process crashes: here it is one at a time."""

from __future__ import annotations

from threading import Lock
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
MAKING = Lock()
"""Held by whoever makes a decoder."""
_JSON: dict[Any, msgspec.json.Decoder[Any]] = {}
_MSGPACK: dict[Any, msgspec.msgpack.Decoder[Any]] = {}


def from_json(data: bytes | memoryview | str, kind: type[T]) -> T:
    """Raises `msgspec.DecodeError`, and UnicodeDecodeError."""
    decoder = _JSON.get(kind)
    if decoder is None:
        with MAKING:
            decoder = _JSON[kind] = msgspec.json.Decoder(kind)
    found: T = decoder.decode(data)
    return found


def from_msgpack(data: bytes, kind: type[T]) -> T:
    """Raises `msgspec.DecodeError`, and UnicodeDecodeError."""
    decoder = _MSGPACK.get(kind)
    if decoder is None:
        with MAKING:
            decoder = _MSGPACK[kind] = msgspec.msgpack.Decoder(kind)
    found: T = decoder.decode(data)
    return found
