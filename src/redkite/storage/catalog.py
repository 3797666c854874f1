"""The catalog: a small ordered key-value store with transactions. What is committed here is what exists."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Protocol

from redkite.env import Files
from redkite.errors import Conflict, StorageError


class Catalog(Protocol):
    """Keys are text, ordered by code point; values are bytes. Every method may be called from any thread."""

    def get(self, key: str) -> bytes | None: ...

    def scan(self, prefix: str = "") -> list[tuple[str, bytes]]:
        """All pairs whose key begins with `prefix`, ordered by key: one consistent state."""
        ...

    def commit(
        self,
        puts: Mapping[str, bytes],
        deletes: Iterable[str] = (),
        expect: Mapping[str, bytes | None] | None = None,
    ) -> None:
        """Apply everything or nothing; durable on return.

        `expect` gives the values that keys must have before (None: be absent); `Conflict` is raised otherwise.
        A key may not be both put and deleted. After any other error the outcome is unknown until it is read.
        """
        ...

    def close(self) -> None: ...


class Table(Protocol):
    """What a `MemoryCatalog` keeps its pairs in: a simulated disk has one that survives crashes."""

    entries: dict[str, bytes]

    def apply(self, puts: Mapping[str, bytes], deletes: Iterable[str]) -> None:
        """Atomic and durable."""
        ...


def open_catalog(files: Files, path: str) -> Catalog:
    """SQLite in `path` where files are the system's, else a table of the simulated disk under that name."""
    local = files.local_path(path)
    if local is not None:
        from redkite.storage.sqlite_catalog import SqliteCatalog

        return SqliteCatalog(local, files)
    from redkite.simulated import SimulatedFiles

    if not isinstance(files, SimulatedFiles):
        raise StorageError(f"there is no catalog for files of type {type(files).__name__}")
    return MemoryCatalog(files.disk.table(path))


class MemoryCatalog:
    """A catalog in memory: it lasts as long as its table."""

    def __init__(self, table: Table | None = None) -> None:
        self._table = table or MemoryTable()
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        return self._table.entries.get(key)

    def scan(self, prefix: str = "") -> list[tuple[str, bytes]]:
        with self._lock:
            entries = self._table.entries
            keys = sorted(entries)
            found = []
            for key in keys[bisect_left(keys, prefix) :]:
                if not key.startswith(prefix):
                    break
                found.append((key, entries[key]))
            return found

    def commit(
        self,
        puts: Mapping[str, bytes],
        deletes: Iterable[str] = (),
        expect: Mapping[str, bytes | None] | None = None,
    ) -> None:
        gone = checked_deletes(puts, deletes)
        with self._lock:
            for key, value in (expect or {}).items():
                check_expected(key, value, self._table.entries.get(key))
            self._table.apply({key: bytes(value) for key, value in puts.items()}, gone)

    def close(self) -> None:
        """Nothing is held."""


class MemoryTable:
    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}

    def apply(self, puts: Mapping[str, bytes], deletes: Iterable[str]) -> None:
        entries = self.entries | dict(puts)
        for key in deletes:
            entries.pop(key, None)
        self.entries = entries


def checked_deletes(puts: Mapping[str, bytes], deletes: Iterable[str]) -> list[str]:
    """The keys to delete, none of which may be put as well."""
    gone = list(deletes)
    both = puts.keys() & set(gone)
    if both:
        raise ValueError(f"a catalog commit both puts and deletes {min(both)!r}")
    return gone


def check_expected(key: str, expected: bytes | None, found: bytes | None) -> None:
    """Raises `Conflict` unless a key has the value that a commit expects."""
    if found != expected:
        what = "is absent" if found is None else "is there" if expected is None else "has another value"
        raise Conflict(f"the catalog's '{key}' {what}: somebody else changed it")
