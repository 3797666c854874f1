"""Repeated number fields to and from numpy without a loop over the numbers.

Fixed-width numbers (float, double) and booleans lie packed on the wire just as numpy keeps them, so a sub-message
`message XArray { repeated X data = 1; }` is made by parsing a header and the array's own bytes. Reading goes the other
way where protobuf offers no array interface of its own (before 7.34).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_FEW = 32
"""Numbers that are quicker read one by one."""
_DATA_TAG = b"\x0a"
"""Field 1, length-delimited: `data` of every `XArray` message."""


def varint(value: int, more: int = 0) -> bytes:
    """The varint encoding of a number >= 0; in so many bytes `more` than it takes, which every reader understands."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    if more:
        out[-1] |= 0x80
        out += b"\x80" * (more - 1) + b"\0"
    return bytes(out)


def packed(tag: bytes, payload: bytes | memoryview) -> bytes:
    """A length-delimited field: tag, length, payload."""
    return b"".join((tag, varint(len(payload)), payload))


def read_packed(message: Any, dtype: npt.DTypeLike) -> Array:
    """The `data` of a FloatArray or DoubleArray as a numpy array."""
    data = message.data
    if hasattr(data, "__array__"):
        return np.asarray(data, dtype)
    size = len(data)
    if not size:
        return np.empty(0, dtype)
    # The packed payload is the tail of the serialised sub-message.
    kind = np.dtype(dtype)
    raw = message.SerializeToString()
    return np.frombuffer(raw, kind.newbyteorder("<"), size, len(raw) - size * kind.itemsize)


def read_integers(data: Any, dtype: npt.DTypeLike) -> Array:
    """A repeated integer or boolean field as a numpy array."""
    count = len(data)
    if count > _FEW and hasattr(data, "__array__"):
        return np.asarray(data, dtype)
    return np.fromiter(data, dtype, count)


def write_packed(message: Any, values: Array) -> None:
    """Append to the `data` of a FloatArray, DoubleArray or BoolArray; the array has that very type."""
    if values.size:
        raw = np.ascontiguousarray(values)
        message.MergeFromString(packed(_DATA_TAG, raw.view(np.uint8).reshape(-1).data))
    else:
        message.SetInParent()


@lru_cache(maxsize=64)
def counting(count: int) -> bytes:
    """0, 1 … count-1 as packed varints."""
    values = np.arange(count, dtype=np.uint32)
    parts = []
    for width in range(1, 6):
        low, high = (0 if width == 1 else 1 << 7 * (width - 1)), 1 << 7 * width
        part = values[low:high] if low < count else values[:0]
        if not part.size:
            break
        shifted = part[:, None] >> np.arange(0, 7 * width, 7, dtype=np.uint32)
        octets = (shifted & 0x7F).astype(np.uint8)
        octets[:, :-1] |= 0x80
        parts.append(octets.tobytes())
    return b"".join(parts)
