"""CRC-32, as zlib, gzip and object stores compute it, at the speed of memory; of buffers and of files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from isal import isal_zlib

from redkite.env import Buffer, Executor, Files

CHUNK_BYTES = 1 << 20
"""Read at a time, so that what is read stays in the processor's cache and the process does not grow by the file."""
READERS = 4
"""Pieces of a file under way at once, where there is an executor for it: a disk that is asked for one piece after
another is idle half of the time, and so is all but one core."""

_POLYNOMIAL = 0xEDB8_8320
_ONE, _EIGHTH_POWER = 1 << 31, 1 << 23
"""x⁰ and x⁸ as CRC-32 writes polynomials: the highest bit is the lowest power."""


def crc32(data: Buffer, start: int = 0) -> int:
    """The checksum of `data` behind bytes whose checksum is `start`; the same number that zlib gives."""
    crc: int = isal_zlib.crc32(data, start)
    return crc


def crc32_of(buffers: Sequence[Buffer]) -> tuple[int, int]:
    """(bytes, checksum) of buffers laid one behind another."""
    size = crc = 0
    for buffer in buffers:
        size += memoryview(buffer).nbytes
        crc = crc32(buffer, crc)
    return size, crc


def file_crc32(files: Files, path: str, readers: Executor | None = None) -> tuple[int, int]:
    """(bytes, checksum) of a file, read piece by piece rather than mapped; several pieces at once by `readers`."""
    total = files.size(path)
    if readers is None or total <= CHUNK_BYTES:
        pieces = (_piece(files, path, at) for at in range(0, total, CHUNK_BYTES))
    else:
        waiting = [readers.submit(_piece, files, path, at) for at in range(0, total, CHUNK_BYTES)]
        pieces = (piece.result() for piece in waiting)
    size = crc = 0
    for length, found in pieces:
        crc = joined_crc32(crc, length, found)
        size += length
    return size, crc


def _piece(files: Files, path: str, at: int) -> tuple[int, int]:
    data = files.read(path, at, CHUNK_BYTES)
    return len(data), crc32(data)


def joined_crc32(crc: int, length: int, found: int) -> int:
    """The checksum of bytes with checksum `crc` and, behind them, `length` bytes with checksum `found`."""
    return _times(crc, _shift(length)) ^ found


@lru_cache(maxsize=64)
def _shift(length: int) -> int:
    """The polynomial by which `length` further bytes multiply a checksum: x to the power of their bits."""
    result, square = _ONE, _EIGHTH_POWER
    while length:
        if length & 1:
            result = _times(result, square)
        square = _times(square, square)
        length >>= 1
    return result


def _times(a: int, b: int) -> int:
    """The product of two polynomials over GF(2), modulo CRC-32's."""
    product = 0
    while a:
        if a & _ONE:
            product ^= b
        a = (a << 1) & 0xFFFF_FFFF
        b = (b >> 1) ^ _POLYNOMIAL if b & 1 else b >> 1
    return product
