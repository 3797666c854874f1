"""How log files look: a header, then records one after another, each with a checksum.

File header, 32 bytes:   magic 8 · format u32 · salt u32 · base u64 · zero u32 · crc u32
Record header, 32 bytes: magic u32 · crc u32 · length u64 · sequence u64 · durable u64, then the payload, then
zeros up to a multiple of eight.

`base` is the sequence of the file's first record. A record's crc covers payload, the other header fields and the
file's salt, so a block of another file or another place is not taken for a record. `durable` is the sequence up to
which everything was synced when the record was written. A damaged record followed by a good one whose `durable`
lies behind it was once safe, so the file is corrupt; without such a witness it is the torn end of a commit that
nobody was told about, and is cut off. A mark is a record without payload or sequence of its own, written
at a clean close as a witness for all before it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from redkite.env import Buffer
from redkite.storage.checksums import crc32

FORMAT = 1
_FILE_MAGIC = b"RKTLOG\r\n"
_FILE = struct.Struct("<8sIIQI")
_RECORD = struct.Struct("<IIQQQ")
_CHECKED = struct.Struct("<IIQQQ")
_CRC = struct.Struct("<I")
_RECORD_MAGIC = 0x316B_72B5
_MARK_MAGIC = 0x316B_6DB5
MAGIC_BYTES = (struct.pack("<I", _RECORD_MAGIC), struct.pack("<I", _MARK_MAGIC))

FILE_HEADER_BYTES = _FILE.size + _CRC.size
RECORD_HEADER_BYTES = _RECORD.size
ALIGNMENT = 8
_PADDING = tuple(bytes(count) for count in range(ALIGNMENT))


class FileHeader(NamedTuple):
    format: int
    salt: int
    base: int


class Entry(NamedTuple):
    """A good record (or mark) found in a file. Offsets are within the scanned bytes."""

    sequence: int
    durable: int
    is_mark: bool
    payload: memoryview
    next_offset: int


def encode_file_header(base: int, salt: int) -> bytes:
    head = _FILE.pack(_FILE_MAGIC, FORMAT, salt, base, 0)
    return head + _CRC.pack(crc32(head))


def decode_file_header(data: bytes) -> FileHeader | None:
    """None when the bytes are no header of any format."""
    if len(data) < FILE_HEADER_BYTES:
        return None
    magic, version, salt, base, _ = _FILE.unpack_from(data)
    (crc,) = _CRC.unpack_from(data, _FILE.size)
    if magic != _FILE_MAGIC or crc != crc32(data[: _FILE.size]):
        return None
    return FileHeader(version, salt, base)


def measure(buffers: Sequence[Buffer]) -> tuple[int, int]:
    """(bytes, checksum) of a payload."""
    length = crc = 0
    for buffer in buffers:
        length += len(buffer) if type(buffer) is bytes else memoryview(buffer).nbytes
        crc = crc32(buffer, crc)
    return length, crc


def payload_crc(buffers: Sequence[Buffer]) -> int:
    crc = 0
    for buffer in buffers:
        crc = crc32(buffer, crc)
    return crc


def padding(length: int) -> bytes:
    """The zeros that follow a payload of this length."""
    return _PADDING[-length % ALIGNMENT]


def record_bytes(length: int) -> int:
    """Bytes a record with a payload of this length takes in the file."""
    return RECORD_HEADER_BYTES + length + -length % ALIGNMENT


def encode_record_header(salt: int, crc_of_payload: int, length: int, sequence: int, durable: int) -> bytes:
    crc = crc32(_CHECKED.pack(_RECORD_MAGIC, salt, length, sequence, durable), crc_of_payload)
    return _RECORD.pack(_RECORD_MAGIC, crc, length, sequence, durable)


def encode_mark(salt: int, end: int) -> bytes:
    crc = crc32(_CHECKED.pack(_MARK_MAGIC, salt, 0, end, end))
    return _RECORD.pack(_MARK_MAGIC, crc, 0, end, end)


def needed_bytes(data: memoryview, offset: int) -> int:
    """Bytes that the record whose header is at `offset` says it takes, not yet checked."""
    length: int = _RECORD.unpack_from(data, offset)[2]
    return record_bytes(length)


def decode_record(data: memoryview, offset: int, salt: int) -> Entry | None:
    """The record or mark at `offset`, or None when there is no whole, undamaged one."""
    if len(data) - offset < RECORD_HEADER_BYTES:
        return None
    magic, crc, length, sequence, durable = _RECORD.unpack_from(data, offset)
    if magic not in (_RECORD_MAGIC, _MARK_MAGIC) or record_bytes(length) > len(data) - offset:
        return None
    start = offset + RECORD_HEADER_BYTES
    payload = data[start : start + length]
    if crc != crc32(_CHECKED.pack(magic, salt, length, sequence, durable), crc32(payload)):
        return None
    return Entry(sequence, durable, magic == _MARK_MAGIC, payload, offset + record_bytes(length))


def find_witness(data: bytes, salt: int, sequence: int) -> int | None:
    """Offset of a good record that proves record `sequence` was once durable, or None."""
    view = memoryview(data)
    for magic in MAGIC_BYTES:
        at = data.find(magic)
        while at >= 0:
            entry = decode_record(view, at, salt)
            if entry is not None and entry.durable > sequence:
                return at
            at = data.find(magic, at + 1)
    return None
