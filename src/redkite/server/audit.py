"""Who did what, when, and how it ended: one line of JSON for each request, in files that are replaced as they fill.

Whoever answers only puts a tuple into a queue; a thread writes. A disk that is full takes no request down: the lines
that cannot be kept are counted, and a line says how many were lost as soon as one can be written again. Several
processes may append to one file.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections import deque
from datetime import UTC, datetime
from typing import Final, NamedTuple

import orjson

from redkite.errors import InvalidParameter
from redkite.logs import get_logger

MOST_WAITING: Final = 100_000
"""Lines in the queue at most; further ones are lost."""
_BATCH: Final = 2_000
_PAUSE_SECONDS: Final = 0.1
"""Between two writes, so that lines go together."""
_log = get_logger(__name__)


class Entry(NamedTuple):
    """One request that was answered. Nothing of what it carried is in it."""

    time: float
    """Seconds since 1970."""
    request_id: str
    user: str
    """Empty when nobody need say."""
    address: str
    protocol: str
    method: str
    database: str
    collection: str
    object: str
    """What else it names: a user, a role, a snapshot."""
    code: int
    """Milvus's code of the outcome; 0 is success."""
    seconds: float


class AuditLog:
    """`put` belongs to one thread; the others may be called from any."""

    def __init__(self, path: str, most_bytes: int, files: int) -> None:
        """A file of more than `most_bytes` becomes `path.1`, and so on; `files` are kept. Raises InvalidParameter when
        `path` cannot be written."""
        self._path = path
        self._most_bytes = most_bytes
        self._files = files
        self._waiting: deque[Entry] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._refused = 0
        self._unwritten = 0
        self._untold = 0
        """Lost lines that no line says yet."""
        self._torn = False
        self._failing = False
        self._reopen = False
        try:
            self._descriptor = _opened(path)
        except OSError as error:
            raise InvalidParameter(f"audit_log: {path} cannot be written: {error.strerror}") from None
        self._thread = threading.Thread(target=self._run, name="redkite-audit", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Lines that could not be kept so far."""
        return self._refused + self._unwritten

    def put(self, entry: Entry) -> None:
        """Have a line written soon."""
        waiting = self._waiting
        if len(waiting) >= MOST_WAITING:
            self._refused += 1
            return
        waiting.append(entry)
        if not self._wake.is_set():
            self._wake.set()

    def reopen(self) -> None:
        """Before the next line, open what has the path then."""
        self._reopen = True

    def close(self) -> None:
        """Write what waits, and end."""
        self._closing.set()
        self._wake.set()
        self._thread.join()
        os.close(self._descriptor)

    # -- the thread -----------------------------------------------------------------------------
    def _run(self) -> None:
        refused = 0
        while True:
            self._wake.wait()
            self._wake.clear()
            refused, before = self._refused, refused
            self._untold += refused - before
            while self._waiting:
                self._write([self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))])
            if self._closing.is_set() and not self._waiting:
                return
            self._closing.wait(_PAUSE_SECONDS)

    def _write(self, entries: list[Entry]) -> None:
        """Append lines; count those that could not be."""
        lines = [orjson.dumps(_line(entry)) + b"\n" for entry in entries]
        if self._untold:
            first = {"time": _shown(entries[0].time), "lost": self._untold}
            lines.insert(0, orjson.dumps(first) + b"\n")
        before = int(self._torn)
        data = b"\n" * before + b"".join(lines)
        written = 0
        try:
            self._turn_if_full()
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError as error:
            self._failed(error, lines, written, before)
            return
        self._untold, self._torn = 0, False
        if self._failing:
            self._failing = False
            _log.warning("the audit log %s is written again; %d lines are missing", self._path, self.lost)

    def _failed(self, error: OSError, lines: list[bytes], written: int, before: int) -> None:
        """Of these lines, with `before` bytes in front of them, so many bytes are in the file. The rest is lost."""
        whole, end = 0, before
        while whole < len(lines) and end + len(lines[whole]) <= written:
            end += len(lines[whole])
            whole += 1
        if written:
            self._torn = written > end
        tells = int(self._untold > 0)
        missing = len(lines) - max(whole, tells)
        self._untold = missing if whole else self._untold + missing
        self._unwritten += missing
        if not self._failing:
            self._failing = True
            _log.error("the audit log %s cannot be written, lines are lost: %s", self._path, error.strerror)

    def _turn_if_full(self) -> None:
        status = os.fstat(self._descriptor)
        try:
            here = os.stat(self._path)
            moved = (here.st_ino, here.st_dev) != (status.st_ino, status.st_dev)
        except FileNotFoundError:
            moved = True
        if moved or self._reopen:
            self._turn()
            self._reopen = False
            status = os.fstat(self._descriptor)
        if status.st_size < self._most_bytes:
            return
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            here = os.stat(self._path)
            if here.st_ino == status.st_ino:  # no other process was quicker
                for number in range(self._files - 1, 0, -1):
                    older = self._path if number == 1 else f"{self._path}.{number - 1}"
                    if os.path.exists(older):
                        os.replace(older, f"{self._path}.{number}")
                if self._files == 1:
                    os.unlink(self._path)
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._turn()

    def _turn(self) -> None:
        """Open what has the path now, in place of what is open."""
        descriptor = _opened(self._path)
        os.close(self._descriptor)
        self._descriptor = descriptor
        self._torn = False


def _opened(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _line(entry: Entry) -> dict[str, object]:
    return {**entry._asdict(), "time": _shown(entry.time), "seconds": round(entry.seconds, 6)}


def _shown(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
