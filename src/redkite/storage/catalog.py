"""The catalog: a small ordered key-value store with transactions. What is committed here is what exists."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from redkite.env import Files
from redkite.errors import Conflict, Corruption, DiskLimitExceeded, MilvusException, StorageError

CATALOG_FORMAT = 1
_CRC_BYTES = 4

_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_LAST_CHARACTER = "\U0010ffff"


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
        return SqliteCatalog(local)
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
        gone = _checked_deletes(puts, deletes)
        with self._lock:
            for key, value in (expect or {}).items():
                _check_expected(key, value, self._table.entries.get(key))
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


class SqliteCatalog:
    """A catalog in one SQLite file: write-ahead log, synced at each commit, one connection behind a lock.

    It belongs to the process that opened it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._pid = os.getpid()
        self._lock = threading.Lock()
        with self._errors():
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise
        self._closed = False

    def get(self, key: str) -> bytes | None:
        with self._locked():
            return self._value(key)

    def scan(self, prefix: str = "") -> list[tuple[str, bytes]]:
        after = _after_prefix(prefix)
        condition = "key >= ?" if after is None else "key >= ? AND key < ?"
        bounds = (prefix,) if after is None else (prefix, after)
        with self._locked():
            rows = self._connection.execute(f"SELECT key, value FROM entries WHERE {condition} ORDER BY key", bounds)
            return [(key, self._unseal(key, sealed)) for key, sealed in rows.fetchall()]

    def commit(
        self,
        puts: Mapping[str, bytes],
        deletes: Iterable[str] = (),
        expect: Mapping[str, bytes | None] | None = None,
    ) -> None:
        gone = _checked_deletes(puts, deletes)
        with self._locked(), self._transaction():
            for key, value in (expect or {}).items():
                _check_expected(key, value, self._value(key))
            self._connection.executemany("DELETE FROM entries WHERE key = ?", [(key,) for key in gone])
            self._connection.executemany(
                "INSERT INTO entries VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                [(key, _seal(key, value)) for key, value in puts.items()],
            )

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                if self._pid == os.getpid():
                    with self._errors():
                        self._connection.close()

    def _prepare(self) -> None:
        execute = self._connection.execute
        self._connection.text_factory = _decode
        execute("PRAGMA busy_timeout = 5000")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        (version,) = execute("PRAGMA user_version").fetchone()
        if version > CATALOG_FORMAT:
            raise StorageError(
                f"the catalog '{self._path}' has format {version}, written by a newer Redkite; "
                f"this one reads up to {CATALOG_FORMAT}: upgrade Redkite to open it"
            )
        if not version:
            with self._transaction():
                execute("CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
                execute(f"PRAGMA user_version = {CATALOG_FORMAT}")

    def _value(self, key: str) -> bytes | None:
        row = self._connection.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()
        return None if row is None else self._unseal(key, row[0])

    def _unseal(self, key: str, sealed: object) -> bytes:
        if isinstance(sealed, bytes):
            value = sealed[_CRC_BYTES:]
            if _seal(key, value) == sealed:
                return value
        raise Corruption(f"the catalog '{self._path}': the value of '{key}' does not match its checksum")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock, self._errors():
            if self._closed:
                raise StorageError(f"the catalog '{self._path}' is closed")
            if self._pid != os.getpid():
                raise StorageError(
                    f"the catalog '{self._path}' was opened by process {self._pid}; a forked child must open its own"
                )
            yield

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """SQLite's errors as ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def _translated(self, error: sqlite3.Error) -> MilvusException:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        text = f"the catalog '{self._path}': {error}"
        if code in _CORRUPT:
            return Corruption(text)
        return DiskLimitExceeded(text) if code == sqlite3.SQLITE_FULL else StorageError(text)


def _decode(text: bytes) -> str:
    """A damaged key must not stop SQLite's driver; its checksum tells."""
    return text.decode(errors="replace")


def _seal(key: str, value: bytes) -> bytes:
    """The value behind a checksum of key and value: SQLite itself has none."""
    return zlib.crc32(value, zlib.crc32(key.encode())).to_bytes(_CRC_BYTES, "little") + value


def _checked_deletes(puts: Mapping[str, bytes], deletes: Iterable[str]) -> list[str]:
    gone = list(deletes)
    both = puts.keys() & set(gone)
    if both:
        raise ValueError(f"a catalog commit both puts and deletes {min(both)!r}")
    return gone


def _check_expected(key: str, expected: bytes | None, found: bytes | None) -> None:
    if found != expected:
        what = "is absent" if found is None else "is there" if expected is None else "has another value"
        raise Conflict(f"the catalog's '{key}' {what}: somebody else changed it")


def _after_prefix(prefix: str) -> str | None:
    """The least key behind all that begin with `prefix`, or None when there is no such key."""
    stem = prefix.rstrip(_LAST_CHARACTER)
    if not stem:
        return None
    code = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if 0xD800 <= code <= 0xDFFF else code)
