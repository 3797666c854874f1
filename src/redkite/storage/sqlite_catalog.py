"""The catalog in one SQLite file, which proves at each open that nothing of it changed, is missing or is too old.

entries  key, value     a value is its CRC-32 (over key and value) and the value
state    id = 1, value  `CatalogState`: format, commits, entries, digest; changed in every commit
<path>-commits          `Witness`: the numbers of the commits, beside the file
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from redkite.env import Files
from redkite.errors import Corruption, DiskLimitExceeded, MilvusException, StorageError
from redkite.storage.catalog import check_expected, checked_deletes
from redkite.storage.catalog_state import CATALOG_FORMAT, WITNESS_SUFFIX, CatalogState, Witness
from redkite.storage.checksums import crc32

_CRC_BYTES = 4
_VERSIONS = slice(18, 20)
"""Where SQLite's header has the versions needed to write and to read the file."""
_UNFINISHED = ".new"
_LAST_CHARACTER = "\U0010ffff"
_ENTRIES = "CREATE TABLE entries (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
_STATE = "CREATE TABLE state (id INTEGER PRIMARY KEY, value BLOB NOT NULL)"
_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_OUTSIDE = frozenset(
    {
        sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_READONLY,
    }
)  # fmt: skip
"""Errors that say nothing about the bytes of the file."""


class SqliteCatalog:
    """Write-ahead log, synced at each commit, one connection behind a lock. It belongs to the process that opened it.

    Raises Corruption at opening when the file is damaged in any way that could change an answer.
    """

    def __init__(self, path: str, files: Files | None = None, *, read_only: bool = False) -> None:
        """Without `files` there is no witness, and a catalog that lost its newest commits is taken for an older one.
        With `read_only` another process may be writing it."""
        self._path = path
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._witness = None if files is None else Witness(files, path + WITNESS_SUFFIX)
        self._opening = True
        if files is not None and not read_only:
            self._lay_out(files)
        with self._errors():
            name = f"{Path(path).resolve().as_uri()}?mode=ro" if read_only else path
            self._connection = sqlite3.connect(name, isolation_level=None, check_same_thread=False, uri=read_only)
            try:
                self._prepare(read_only=read_only)
                self._connection.execute("BEGIN")  # what is checked is one state, whoever writes meanwhile
                self._check()
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.close()
                raise
        self._opening = False
        self._closed = False

    def version(self) -> int:
        """Another number once another connection has committed."""
        with self._lock, self._errors():
            self._settle()
            (number,) = self._connection.execute("PRAGMA data_version").fetchone()
            return int(number)

    def get(self, key: str) -> bytes | None:
        with self._lock, self._errors():
            self._settle()
            return self._value(key)

    def scan(self, prefix: str = "") -> list[tuple[str, bytes]]:
        after = _after_prefix(prefix)
        condition = "key >= ?" if after is None else "key >= ? AND key < ?"
        bounds = (prefix,) if after is None else (prefix, after)
        with self._lock, self._errors():
            self._settle()
            rows = self._connection.execute(f"SELECT key, value FROM entries WHERE {condition} ORDER BY key", bounds)
            return [(key, self._unseal(key, sealed)) for key, sealed in rows.fetchall()]

    def commit(
        self,
        puts: Mapping[str, bytes],
        deletes: Iterable[str] = (),
        expect: Mapping[str, bytes | None] | None = None,
    ) -> None:
        gone = checked_deletes(puts, deletes)
        with self._lock, self._errors():
            self._settle()
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                for key, value in (expect or {}).items():
                    check_expected(key, value, self._value(key))
                state = self._change(puts, gone)
                self._connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
            if self._witness is not None:
                self._witness.saw(state.commits)

    def _change(self, puts: Mapping[str, bytes], gone: Iterable[str]) -> CatalogState:
        removed = [(key, old) for key in dict.fromkeys((*gone, *puts)) if (old := self._sealed(key)) is not None]
        added = [(key, _seal(key, value)) for key, value in puts.items()]
        self._connection.executemany("DELETE FROM entries WHERE key = ?", [(key,) for key, _ in removed])
        self._connection.executemany("INSERT INTO entries VALUES (?, ?)", added)
        state = self._state().after(added, removed)
        self._connection.execute("UPDATE state SET value = ? WHERE id = 1", (state.to_bytes(),))
        return state

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                if self._pid == os.getpid():
                    with self._errors():
                        self._connection.close()
                    if self._witness is not None:
                        self._witness.close()

    # -- opening --------------------------------------------------------------------------------
    def _lay_out(self, files: Files) -> None:
        """Where there is no catalog: put an empty one there, which has its name when it is durable. SQLite would wait
        for the disk seven times to make it where it is to be."""
        if any(map(os.path.exists, (self._path, f"{self._path}-wal", f"{self._path}-journal"))):
            return
        fresh = self._path + _UNFINISHED
        files.remove(fresh)
        with self._errors(), contextlib.closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA journal_mode = MEMORY")
            _make_tables(connection)
            connection.execute("PRAGMA journal_mode = WAL")
        with contextlib.closing(files.append(fresh)) as file:
            file.sync()
        files.rename(fresh, self._path)
        files.sync_dir(os.path.dirname(self._path) or ".")

    def _prepare(self, *, read_only: bool) -> None:
        execute = self._connection.execute
        self._connection.text_factory = _decode
        execute("PRAGMA busy_timeout = 5000")
        self._check_versions()
        (version,) = execute("PRAGMA user_version").fetchone()
        if version > CATALOG_FORMAT:
            self._refuse_newer(version)
        if read_only:
            if version < CATALOG_FORMAT:
                self._refuse_older(version)
            return
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        if not execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            _make_tables(self._connection)
        elif version < CATALOG_FORMAT:
            self._refuse_older(version)

    def _check_versions(self) -> None:
        """SQLite takes a file whose header names an unknown version of writing for one that must not be written."""
        path = Path(self._path)
        if path.is_file():
            with path.open("rb") as file:
                versions = file.read(_VERSIONS.stop)[_VERSIONS]
            if any(version not in (1, 2) for version in versions):
                raise self._corrupt("its header names versions of SQLite's format that do not exist")

    def _refuse_newer(self, version: int) -> None:
        if self._connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'state'").fetchone()[0]:
            state = self._state()
            if state.format <= CATALOG_FORMAT:
                raise self._corrupt(f"its header says format {version} and its state format {state.format}")
        raise StorageError(
            f"the catalog '{self._path}' has format {version}, written by a newer Redkite; "
            f"this one reads up to {CATALOG_FORMAT}: upgrade Redkite to open it"
        )

    def _refuse_older(self, version: int) -> None:
        tables = self._connection.execute("SELECT name FROM sqlite_schema").fetchall()
        if version == 1 and ("state",) not in tables and ("entries",) in tables:
            raise StorageError(
                f"the catalog '{self._path}' has format 1, of a Redkite that was never released; "
                f"this one reads format {CATALOG_FORMAT}"
            )
        raise self._corrupt(f"its header says format {version}")

    def _check(self) -> None:
        """Everything that is read later is read once now."""
        execute = self._connection.execute
        schema = {row[0] for row in execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
        if schema != {_ENTRIES, _STATE}:
            raise self._corrupt("its tables are not those of a catalog")
        (verdict,) = execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise self._corrupt(verdict)
        state = self._state()
        last = None
        found = []
        for key, sealed in execute("SELECT key, value FROM entries ORDER BY key"):
            if not isinstance(key, str):
                raise self._corrupt("a key of it is no text")
            self._unseal(key, sealed)
            if last is not None and key.encode() <= last:
                raise self._corrupt(f"the key '{key}' is out of order")
            last = key.encode()
            found.append((key, sealed))
        counted = CatalogState().after(found, ())
        if (counted.entries, counted.digest) != (state.entries, state.digest):
            raise self._corrupt(f"it has {counted.entries} entries that are not the {state.entries} committed ones")
        if self._witness is not None:
            newest = self._witness.newest()
            if newest > state.commits:
                raise self._corrupt(f"its newest commits are missing: it has {state.commits}, there were {newest}")
            self._witness.tidy(state.commits)

    # -- reading --------------------------------------------------------------------------------
    def _state(self) -> CatalogState:
        row = self._connection.execute("SELECT value FROM state WHERE id = 1").fetchone()
        state = None if row is None else CatalogState.from_bytes(row[0])
        if state is None:
            raise self._corrupt("its state does not match its checksum")
        return state

    def _sealed(self, key: str) -> bytes | None:
        row = self._connection.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        self._unseal(key, row[0])
        sealed: bytes = row[0]
        return sealed

    def _value(self, key: str) -> bytes | None:
        sealed = self._sealed(key)
        return None if sealed is None else sealed[_CRC_BYTES:]

    def _unseal(self, key: str, sealed: object) -> bytes:
        if isinstance(sealed, bytes):
            value = sealed[_CRC_BYTES:]
            if _seal(key, value) == sealed:
                return value
        raise self._corrupt(f"the value of '{key}' does not match its checksum")

    def _corrupt(self, what: str) -> Corruption:
        return Corruption(f"the catalog '{self._path}' is damaged: {what}; `redkite doctor` says what can be done")

    # -- SQLite ---------------------------------------------------------------------------------
    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _settle(self) -> None:
        """Is it ours to use? A transaction that is open is of a thread that was torn away from it."""
        if self._closed:
            raise StorageError(f"the catalog '{self._path}' is closed")
        if self._pid != os.getpid():
            raise StorageError(
                f"the catalog '{self._path}' was opened by process {self._pid}; a forked child must open its own"
            )
        self._roll_back()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """SQLite's errors as ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._translated(error) from error
        except UnicodeDecodeError as error:
            # The driver cannot even say what SQLite said, because it quotes a damaged name.
            raise self._corrupt("a name in it is no text") from error

    def _translated(self, error: sqlite3.Error) -> MilvusException:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _CORRUPT or (self._opening and code not in _OUTSIDE):
            return self._corrupt(str(error))
        text = f"the catalog '{self._path}': {error}"
        return DiskLimitExceeded(text) if code == sqlite3.SQLITE_FULL else StorageError(text)


def _make_tables(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_ENTRIES)
    connection.execute(_STATE)
    connection.execute("INSERT INTO state VALUES (1, ?)", (CatalogState().to_bytes(),))
    connection.execute(f"PRAGMA user_version = {CATALOG_FORMAT}")
    connection.execute("COMMIT")


def _decode(text: bytes) -> str:
    """A damaged key must not stop SQLite's driver; its checksum tells."""
    return text.decode(errors="replace")


def _seal(key: str, value: bytes) -> bytes:
    """The value behind a checksum of key and value."""
    return crc32(value, crc32(key.encode())).to_bytes(_CRC_BYTES, "little") + value


def _after_prefix(prefix: str) -> str | None:
    """The least key behind all that begin with `prefix`, or None when there is no such key."""
    stem = prefix.rstrip(_LAST_CHARACTER)
    if not stem:
        return None
    code = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if 0xD800 <= code <= 0xDFFF else code)


def salvage(path: str) -> tuple[dict[str, bytes], int]:
    """What can still be read of a damaged catalog: its entries whose checksums hold, and how many others there were (0
    also when that cannot be told)."""
    good: dict[str, bytes] = {}
    state: CatalogState | None = None
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.text_factory = _decode
        with contextlib.suppress(sqlite3.Error, UnicodeDecodeError):
            row = connection.execute("SELECT value FROM state WHERE id = 1").fetchone()
            state = None if row is None else CatalogState.from_bytes(row[0])
        # A damaged page ends a walk: the other direction sees what lies behind it.
        for direction in ("ASC", "DESC"):
            with contextlib.suppress(sqlite3.Error, UnicodeDecodeError):
                for key, sealed in connection.execute(f"SELECT key, value FROM entries ORDER BY key {direction}"):
                    if isinstance(key, str) and isinstance(sealed, bytes) and sealed == _seal(key, sealed[_CRC_BYTES:]):
                        good[key] = sealed[_CRC_BYTES:]
    return good, max(0, state.entries - len(good)) if state is not None else 0
