"""How far a topic is durable, said outside of its pages.

The last record of a page and the mark behind it lie in one block of the disk more often than not. Who inverts, zeroes
or loses that block takes both, and what is left looks like the torn end of a write that nobody was told about. So the
same is said once more in a file of its own, which is another block: all records before a sequence are durable. It is
written over and over behind the sync of what it speaks of, and is not synced itself. So it may lag behind, and never
runs ahead: a topic that ends before it has lost records.

magic 8 · format u32 · crc u32 of the other fields · sequence u64
"""

from __future__ import annotations

import struct

from redkite.env import Files
from redkite.errors import MilvusException, ObjectNotFound, StorageError
from redkite.logs import get_logger
from redkite.storage.checksums import crc32
from redkite.storage.log_pages import DURABLE

_logger = get_logger("log")

FORMAT = 1
_MAGIC = b"RKTDUR\r\n"
_NOTE = struct.Struct("<8sIIQ")
_CHECKED = struct.Struct("<IQ")


class DurableNote:
    """What one process says of a topic that it writes. Calls are serialised by the topic."""

    def __init__(self, files: Files, folder: str) -> None:
        self._files = files
        self._path = f"{folder}/{DURABLE}"
        self._has_failed = False

    def say(self, end: int) -> None:
        """All records before `end` are durable. Whether or not this can be written, they are."""
        try:
            self._files.overwrite(self._path, encode_note(end))
            self._has_failed = False
        except MilvusException as error:
            if not self._has_failed:
                _logger.warning("how far the log is durable is not noted for now: %s", error.message)
            self._has_failed = True


def encode_note(end: int) -> bytes:
    return _NOTE.pack(_MAGIC, FORMAT, crc32(_CHECKED.pack(FORMAT, end)), end)


def read_note(files: Files, folder: str) -> int:
    """The sequence before which all records are known to be durable; 0 when nothing is said, or what is said cannot be
    read or does not hold: the records do not depend on it. Asked before the pages are looked at, where somebody may be
    writing them."""
    path = f"{folder}/{DURABLE}"
    try:
        data = files.read(path, 0, _NOTE.size)
    except ObjectNotFound:
        return 0
    except MilvusException as error:
        _logger.warning("how far the log is durable is not known beside it: %s", error.message)
        return 0
    if len(data) != _NOTE.size:
        return 0
    magic, version, crc, end = _NOTE.unpack(data)
    if magic != _MAGIC or crc != crc32(_CHECKED.pack(version, end)):
        return 0
    if version > FORMAT:
        raise StorageError(f"'{path}' has format {version}, written by a newer Redkite; this one reads up to {FORMAT}")
    return int(end)
