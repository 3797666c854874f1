"""A board of numbers in a mapped file: one process writes, any number read, nobody waits.

The file is a table of 16-byte lines, a name's hash and its number, both little-endian u64; the first line counts the
lines. A line never changes its name, and an aligned number is written and read whole.
"""

from __future__ import annotations

import mmap
import os
from hashlib import blake2b
from threading import Lock

import numpy as np
import numpy.typing as npt

from redkite.logs import get_logger

LINES = 1 << 20
"""Names there is room for. Pages of the file that nobody touches take no room."""
_LINE_BYTES = 16
_log = get_logger(__name__)


class SharedBoard:
    """`create` it in the process that writes, `open` it in the others."""

    def __init__(self, table: npt.NDArray[np.uint64]) -> None:
        self._names = table[:, 0]
        self._numbers = table[:, 1]
        self._lines: dict[str, int] = {}
        self._lock = Lock()

    @classmethod
    def create(cls, path: str) -> SharedBoard:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            os.ftruncate(descriptor, LINES * _LINE_BYTES)
            return cls(_table(descriptor, mmap.ACCESS_WRITE))
        finally:
            os.close(descriptor)

    @classmethod
    def open(cls, path: str) -> SharedBoard:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return cls(_table(descriptor, mmap.ACCESS_READ))
        finally:
            os.close(descriptor)

    def publish(self, name: str, number: int) -> None:
        line = self._lines.get(name)
        if line is None:
            with self._lock:
                line = self._add(name)
        if line:
            self._numbers[line] = number

    def read(self, name: str) -> int:
        line = self._lines.get(name) or self._find(name)
        return int(self._numbers[line]) if line else 0

    def _add(self, name: str) -> int:
        """A line of its own, before the count says that it is there; 0 when there is no room left."""
        line = self._lines.get(name)
        if line is None:
            line = int(self._numbers[0]) + 1
            if line >= LINES:
                _log.error("the board is full: readers see writes to %s some milliseconds late", name)
                line = 0
            else:
                self._names[line] = _hash(name)
                self._numbers[0] = line
            self._lines[name] = line
        return line

    def _find(self, name: str) -> int:
        found = np.flatnonzero(self._names[1 : int(self._numbers[0]) + 1] == _hash(name))
        if not len(found):
            return 0
        line = self._lines[name] = int(found[0]) + 1
        return line


def _table(descriptor: int, access: int) -> npt.NDArray[np.uint64]:
    mapped = mmap.mmap(descriptor, LINES * _LINE_BYTES, access=access)
    return np.frombuffer(mapped, "<u8").reshape(LINES, 2)


def _hash(name: str) -> np.uint64:
    return np.uint64(int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little"))
