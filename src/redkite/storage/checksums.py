"""CRC-32, as zlib, gzip and object stores compute it, at the speed of memory; of buffers and of files."""

from __future__ import annotations

from collections.abc import Sequence

from isal import isal_zlib

from redkite.env import Buffer, Files

CHUNK_BYTES = 4 << 20
"""Read at a time, so that what is read stays in the processor's cache and the process does not grow by the file."""


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


def file_crc32(files: Files, path: str) -> tuple[int, int]:
    """(bytes, checksum) of a file, read piece by piece rather than mapped."""
    size = crc = 0
    total = files.size(path)
    while size < total:
        chunk = files.read(path, size, CHUNK_BYTES)
        if not chunk:
            break
        size += len(chunk)
        crc = crc32(chunk, crc)
    return size, crc
