"""Sets that may hold a little more than was put in: split-block Bloom filters as Parquet has them, in an envelope.

The envelope, 32 bytes, little endian: `MBF1`, version (u16), algorithm (u16), how many members it was made for (u64),
the part of others that it lets pass (f64), blocks (u32), kinds of values (u8), three zeros. Blocks of eight u32 follow,
a power of two of them. The upper half of a value's hash says which block is its own, the lower one which bit of each
word.
"""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.filter.membership.hashing import Hashes, hash_integers, hash_texts
from redkite.filter.numbers import Mask

MAGIC: Final = b"MBF1"
HEADER: Final = struct.Struct("<4sHHQdIB3s")
INTEGERS, TEXTS = 1, 2
"""Kinds of values, one bit each."""
LEAST_RATE, MOST_RATE, RATE = 0.0001, 0.05, 0.005
_VERSION, _ALGORITHM = 1, 1
_BLOCK, _MOST_BYTES = 32, 128 * 1024 * 1024
_SALTS = np.array(
    [0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D, 0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31], np.uint32
)
"""Parquet's, one for each word of a block."""
_CHUNK = 1 << 15
"""Hashes looked at together: their blocks and bits stay in the cache."""

Blocks = npt.NDArray[np.uint32]


class BadMembers(ValueError):
    """Bytes that are no set of members; its text is the detail of the error."""


@dataclass(frozen=True, slots=True, eq=False)
class BloomFilter:
    """Immutable; any thread."""

    blocks: Blocks
    """(blocks, 8)"""
    kinds: int
    digest: str
    """What names its bytes."""

    exact = False

    @staticmethod
    def read(data: bytes) -> BloomFilter:
        """Raises BadMembers for what is not whole."""
        if len(data) < HEADER.size:
            raise BadMembers(f"bloom filter blob too short: {len(data)} bytes, need at least {HEADER.size}")
        _, version, algorithm, _, _, count, kinds, reserved = HEADER.unpack_from(data)
        if version != _VERSION:
            raise BadMembers(f"unsupported bloom filter version {version}, expected {_VERSION}")
        if algorithm != _ALGORITHM:
            raise BadMembers(f"unsupported bloom filter algo {algorithm}, expected {_ALGORITHM}")
        if kinds & ~(INTEGERS | TEXTS):
            raise BadMembers(f"bloom filter declares unknown value domains 0x{kinds:02x}, known bits 0x03")
        if any(reserved):
            raise BadMembers("bloom filter reserved field must be 0")
        if not 0 < count <= _MOST_BYTES // _BLOCK or count & (count - 1):
            raise BadMembers(f"bloom filter num_blocks {count} is not a power of two in [1, {_MOST_BYTES // _BLOCK}]")
        body = len(data) - HEADER.size
        if body != count * _BLOCK:
            raise BadMembers(
                f"bloom filter body length {body} does not match num_blocks {count} (want {count * _BLOCK} bytes)"
            )
        blocks = np.frombuffer(data, "<u4", offset=HEADER.size).reshape(count, 8)
        return BloomFilter(blocks, kinds, hashlib.blake2b(data, digest_size=16).hexdigest())

    def has_integers(self, values: npt.NDArray[Any]) -> Mask:
        """(rows,) True where the value is likely a member; a fresh array."""
        return self._has(hash_integers, values) if self.kinds & INTEGERS else np.zeros(len(values), np.bool_)

    def has_texts(self, texts: pa.Array) -> Mask:
        """The same of strings without nulls."""
        return self._has(hash_texts, texts) if self.kinds & TEXTS else np.zeros(len(texts), np.bool_)

    def _has(self, hashed: Any, values: Any) -> Mask:
        mask = np.empty(len(values), np.bool_)
        for start in range(0, len(mask), _CHUNK):
            blocks, bits = places(hashed(values[start : start + _CHUNK]), len(self.blocks))
            words = self.blocks[blocks]
            mask[start : start + _CHUNK] = np.all((words & bits) == bits, axis=1)
        return mask


def places(hashes: Hashes, blocks: int) -> tuple[npt.NDArray[np.int64], Blocks]:
    """(rows,) the block of each hash, and (rows, 8) its bit in each word of that."""
    chosen = ((hashes >> np.uint64(32)) * np.uint64(blocks)) >> np.uint64(32)
    lower = (hashes & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    bits: Blocks = np.uint32(1) << ((lower[:, None] * _SALTS) >> np.uint32(27))
    return chosen.astype(np.int64), bits


def put(blocks: Blocks, hashes: Hashes) -> None:
    """Add members, by their hashes, to blocks that may be written."""
    for start in range(0, len(hashes), _CHUNK):
        chosen, bits = places(hashes[start : start + _CHUNK], len(blocks))
        np.bitwise_or.at(blocks, chosen, bits)


def blocks_for(members: int, rate: float) -> int:
    """How many blocks let about this part of others pass, when so many members are in."""
    bits = -8.0 * members / math.log(1.0 - rate ** (1 / 8))
    wanted = max(_BLOCK * 8, int(min(bits, _MOST_BYTES * 8)))
    if wanted & (wanted - 1):
        wanted = 1 << wanted.bit_length()
    return min(wanted, _MOST_BYTES * 8) // (_BLOCK * 8)


def written(blocks: Blocks, members: int, rate: float, kinds: int) -> bytes:
    """The bytes that `BloomFilter.read` reads."""
    header = HEADER.pack(MAGIC, _VERSION, _ALGORITHM, members, rate, len(blocks), kinds, bytes(3))
    return header + blocks.astype("<u4", copy=False).tobytes()
