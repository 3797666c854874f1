"""What a catalog knows of itself: how many entries it has, a digest of them, and how many commits made it.

SQLite's pages have no checksums. Each value has one, which tells that it changed; the state tells that one is missing,
or is there twice, or is an older one. That the newest commits are missing altogether (SQLite forgets the tail of its
write-ahead log when a byte of it is wrong) only somebody outside can tell: the witness, a small file beside it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from hashlib import blake2b

import msgspec

from redkite.env import AppendFile, Files
from redkite.errors import MilvusException
from redkite.logs import get_logger
from redkite.storage.checksums import crc32

log = get_logger(__name__)

CATALOG_FORMAT = 2
"""1 was never released: without a state."""

_STATE = struct.Struct("<IQQQ")
_CRC = struct.Struct("<I")
_DIGEST_BYTES = 8
_WRAP = 1 << (8 * _DIGEST_BYTES)

_SEEN = struct.Struct("<QI")
WITNESS_SUFFIX = "-commits"
_WITNESS_BYTES = 64 << 10
"""A witness file that is larger when it is opened is begun anew."""


class CatalogState(msgspec.Struct, frozen=True):
    """`digest` is the sum of the entries' hashes, so that a commit changes it without looking at the others."""

    format: int = CATALOG_FORMAT
    commits: int = 0
    entries: int = 0
    digest: int = 0

    def after(self, added: Iterable[tuple[str, bytes]], removed: Iterable[tuple[str, bytes]]) -> CatalogState:
        """The state one commit later. An entry that changes is removed and added."""
        entries, digest = self.entries, self.digest
        for key, sealed in added:
            entries, digest = entries + 1, digest + _hash(key, sealed)
        for key, sealed in removed:
            entries, digest = entries - 1, digest - _hash(key, sealed)
        return CatalogState(CATALOG_FORMAT, self.commits + 1, entries, digest % _WRAP)

    def to_bytes(self) -> bytes:
        data = _STATE.pack(self.format, self.commits, self.entries, self.digest)
        return _CRC.pack(crc32(data)) + data

    @classmethod
    def from_bytes(cls, data: object) -> CatalogState | None:
        """None when the bytes are no state."""
        if not isinstance(data, bytes) or len(data) != _CRC.size + _STATE.size:
            return None
        if _CRC.unpack_from(data)[0] != crc32(data[_CRC.size :]):
            return None
        return cls(*_STATE.unpack_from(data, _CRC.size))


def _hash(key: str, sealed: bytes) -> int:
    name = key.encode(errors="surrogatepass")
    text = b"%d:%b%b" % (len(name), name, sealed)
    return int.from_bytes(blake2b(text, digest_size=_DIGEST_BYTES).digest(), "little")


class Witness:
    """A file that has the number of each commit that became durable: 12 bytes each, written behind the commit and not
    synced, so it may lag behind the catalog and never runs ahead of it."""

    def __init__(self, files: Files, path: str) -> None:
        self._files = files
        self._path = path
        self._file: AppendFile | None = None
        self._broken = False

    def newest(self) -> int:
        """The highest commit seen; 0 when there is no file. Damaged numbers are passed over."""
        if not self._files.exists(self._path):
            return 0
        data = self._files.read(self._path)
        whole = len(data) - len(data) % _SEEN.size
        seen = (number for number, crc in _SEEN.iter_unpack(data[:whole]) if crc == _crc_of(number))
        return max(seen, default=0)

    def tidy(self, commits: int) -> None:
        """Begin a file that has become large, or whose end is torn, with one number."""
        if self._files.exists(self._path):
            size = self._files.size(self._path)
            if size <= _WITNESS_BYTES and size % _SEEN.size == 0:
                return
            self._files.write_new(self._path, [_SEEN.pack(commits, _crc_of(commits))])

    def saw(self, commits: int) -> None:
        """Called after a commit. The commit stands, whether or not this can be written."""
        if self._broken:
            return
        try:
            if self._file is None:
                self._file = self._files.append(self._path)
            self._file.write([_SEEN.pack(commits, _crc_of(commits))])
        except MilvusException as error:
            self._broken = True
            log.warning("the witness of catalog commits falls behind until the database is reopened: %s", error.message)

    def forget(self) -> None:
        self._files.remove(self._path)

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _crc_of(number: int) -> int:
    return crc32(number.to_bytes(8, "little"))
