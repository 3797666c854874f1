"""Exact sets of integers: portable Roaring64 bitmaps in an envelope `MRB1`. A negative one is what its 64 bits mean
without a sign.

The envelope, 32 bytes, little endian: `MRB1`, version (u16), format (u16), members (u64), bytes of the body (u64) and
zeros (u64).
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from redkite.filter.membership.bloom import BadMembers
from redkite.filter.numbers import Mask

MAGIC: Final = b"MRB1"
HEADER: Final = struct.Struct("<4sHHQQQ")
VERSION, FORMAT = 1, 1
MOST_HIGHS, MOST_BODY, MOST_DECODED = 1 << 18, 128 * 1024 * 1024, 64 * 1024 * 1024
"""Different upper halves, bytes, and bytes in memory as Milvus estimates them."""
_HIGH_BYTES, _CONTAINER_BYTES = 128, 64
_LEAST_HIGH, _LEAST_CONTAINER = 12, 6
"""Bytes that a Roaring32 with its upper half, and that a container takes at least."""


@dataclass(frozen=True, slots=True, eq=False)
class RoaringBitmap:
    """Immutable; any thread."""

    body: npt.NDArray[np.uint8]
    keys: npt.NDArray[np.uint64]
    places: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int32]
    """The containers, see `roaring_kernels.scan`."""
    digest: str
    """What names its bytes."""

    exact = True

    @staticmethod
    def read(data: bytes) -> RoaringBitmap:
        """Raises BadMembers for what is not whole, in time linear in its bytes."""
        members, body = _opened(data)
        highs = int.from_bytes(data[HEADER.size : HEADER.size + 8], "little")
        possible = (len(body) - 8) // _LEAST_HIGH
        if highs > possible:
            raise BadMembers(
                f"invalid portable roaring64 body: high-container count {highs} exceeds body-derived maximum {possible}"
            )
        check_size(len(body), highs, 0)
        room = min(len(body) // _LEAST_CONTAINER, MOST_DECODED // _CONTAINER_BYTES) + 1
        keys, places = np.empty(room, np.uint64), np.empty(room, np.int64)
        sizes, told = np.empty(room, np.int32), np.zeros(4, np.int64)
        from redkite.filter.membership import roaring_kernels as kernels

        kernels.scan(body, keys, places, sizes, told)
        wrong, made, found, taken = told.tolist()
        check_size(len(body), highs, made)
        if wrong:
            raise BadMembers(f"invalid portable roaring64 body: {_WRONG[wrong]}")
        if taken != len(body):
            raise BadMembers(f"invalid portable roaring64 body: consumed {taken} bytes, expected {len(body)}")
        if found != members:
            raise BadMembers(f"roaring bitmap cardinality {found} does not match declared value {members}")
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        return RoaringBitmap(body, keys[:made].copy(), places[:made].copy(), sizes[:made].copy(), digest)

    def has_integers(self, values: npt.NDArray[Any]) -> Mask:
        """(rows,) True where the integer is a member; a fresh array."""
        from redkite.filter.membership import roaring_kernels as kernels

        mask = np.empty(len(values), np.bool_)
        wide = np.ascontiguousarray(values, np.int64).view(np.uint64)
        containers = np.searchsorted(self.keys, wide >> np.uint64(16))
        kernels.look_up(wide, containers, self.body, self.keys, self.places, self.sizes, mask)
        return mask


def check_size(body: int, highs: int, containers: int) -> None:
    """Raises BadMembers for a bitmap that takes too much; `containers` may be fewer than there are."""
    if body > MOST_BODY:
        raise BadMembers(f"roaring bitmap body too large: {body} bytes, exceeds max {MOST_BODY}")
    if highs > MOST_HIGHS:
        raise BadMembers(f"roaring bitmap high-container count {highs} exceeds maximum {MOST_HIGHS}")
    decoded = body + highs * _HIGH_BYTES + containers * _CONTAINER_BYTES
    if decoded > MOST_DECODED:
        raise BadMembers(f"roaring bitmap estimated decoded size {decoded} bytes exceeds maximum {MOST_DECODED}")


def _opened(data: bytes) -> tuple[int, npt.NDArray[np.uint8]]:
    """The members that the envelope names, and its body."""
    if len(data) < HEADER.size:
        raise BadMembers(f"roaring bitmap blob too short: {len(data)} bytes, need at least {HEADER.size}")
    _, version, form, members, length, reserved = HEADER.unpack_from(data)
    if version != VERSION:
        raise BadMembers(f"unsupported roaring bitmap version {version}, expected {VERSION}")
    if form != FORMAT:
        raise BadMembers(f"unsupported roaring bitmap format {form}, expected {FORMAT}")
    if reserved:
        raise BadMembers(f"roaring bitmap reserved field must be 0, got {reserved}")
    body = np.frombuffer(data, np.uint8, offset=HEADER.size)
    if length != len(body):
        raise BadMembers(f"roaring bitmap body length {len(body)} does not match header value {length}")
    if len(body) < 8:
        raise BadMembers(f"invalid portable roaring64 body: too short for high-container count: {len(body)} bytes")
    return members, body


_WRONG = (
    "", "truncated", "unsupported Roaring32 cookie", "invalid Roaring32 container count",
    "a high container has a non-increasing key", "a Roaring32 container has a non-increasing key",
    "array values must be strictly increasing", "bitmap cardinality does not match descriptor", "invalid run count 0",
    "run intervals overlap or are out of order", "run interval exceeds uint16 range",
    "run cardinality does not match descriptor", "too many containers",
)  # fmt: skip
"""By what `scan` says."""
