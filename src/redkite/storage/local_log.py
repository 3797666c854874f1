"""The log in files of this machine: group commit, one `fdatasync` a commit, recovery from torn ends.

A topic is a folder of segment files named after the sequence of their first record. While one commit is being
written and synced, further appends gather and go together in the next one, so a lone append waits for one sync and
a thousand at once for two or three. Commits run as at most one job per topic on the log's executor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import NamedTuple

from redkite.env import AppendFile, Buffer, Env, Executor
from redkite.errors import (
    Corruption,
    DiskLimitExceeded,
    InvalidParameter,
    MilvusException,
    ParameterTooLarge,
    StorageError,
)
from redkite.logs import get_logger
from redkite.storage import log_format as fmt
from redkite.storage.log import LogRecord
from redkite.storage.log_scan import SegmentScan

_logger = get_logger("log")

SEGMENT_BYTES = 64 << 20
COMMIT_BYTES = 16 << 20
"""A commit takes no further records beyond this, so that the first of them does not wait for the last."""
COMMITS_PER_JOB = 8
"""Commits one executor job makes before another topic has its turn."""
MAX_RECORD_BYTES = 1 << 30
MAX_NAME_BYTES = 200
_WINDOW_BYTES = 4 << 20
_SUFFIX = ".log"
_TEMPORARY = ".tmp"
_DROPPED = ".dropped"


class _Segment(NamedTuple):
    base: int
    path: str


class _Append(NamedTuple):
    buffers: Sequence[Buffer]
    length: int
    crc: int
    on_durable: Callable[[int], None] | None
    future: Future[int]


class LocalLog:
    """All topics below one folder. One process may have it open."""

    def __init__(
        self, env: Env, root: str, *, segment_bytes: int = SEGMENT_BYTES, committers: int = 4, executor: str = "log"
    ) -> None:
        self._env = env
        self._root = root
        self._segment_bytes = segment_bytes
        self._executor = env.tasks.executor(f"redkite-{executor}", committers)
        self._lock = threading.Lock()
        self._topics: dict[str, LocalTopic] = {}
        self._closed = False
        env.files.make_dirs(root)
        env.files.remove_tree(f"{root}/{_DROPPED}")

    def topic(self, name: str) -> LocalTopic:
        _check_name(name)
        with self._lock:
            if self._closed:
                raise StorageError(f"the log '{self._root}' is closed")
            topic = self._topics.get(name)
            if topic is None or topic.closed:
                topic = LocalTopic(self._env, f"{self._root}/{name}", self._executor, self._segment_bytes)
                self._topics[name] = topic
            return topic

    def topics(self) -> list[str]:
        return [name for name in self._env.files.list(self._root) if not name.startswith(".")]

    def drop(self, name: str) -> None:
        _check_name(name)
        with self._lock:
            topic = self._topics.pop(name, None)
        if topic is not None:
            topic.abandon()
        files, folder = self._env.files, f"{self._root}/{name}"
        if not files.exists(folder):
            return
        graveyard = f"{self._root}/{_DROPPED}"
        files.make_dirs(graveyard)
        files.remove_tree(f"{graveyard}/{name}")
        files.rename(folder, f"{graveyard}/{name}")
        files.sync_dir(self._root)
        files.remove_tree(f"{graveyard}/{name}")

    def close(self) -> None:
        with self._lock:
            self._closed = True
            topics = list(self._topics.values())
        try:
            for topic in topics:
                topic.close()
        finally:
            self._executor.shutdown()


class LocalTopic:
    """One topic. Nothing is opened or read before the first use.

    Two locks: `_state` guards the queue and is held for moments, `_io` is held by whoever writes, syncs or
    removes files. `_io` is taken first where both are.
    """

    def __init__(self, env: Env, folder: str, executor: Executor, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._env = env
        self._files = env.files
        self._folder = folder
        self._executor = executor
        self._segment_bytes = segment_bytes
        self._state = threading.Lock()
        self._io = threading.Lock()
        self._recovered = False
        self._segments: tuple[_Segment, ...] = ()
        self._end = 0
        self._salt = 0
        self._size = 0
        """Durable bytes of the last segment."""
        self._is_ours = False
        """Did this object create the last segment? Only then may it be appended to: see `_secure`."""
        self._doomed: list[str] = []
        """Files that hold only forgotten records and are to be removed."""
        self._file: AppendFile | None = None
        self._marked = True
        self._queue: list[_Append] = []
        self._committing = False
        self._last: Future[int] | None = None
        self._failed = ""
        """Why no more is written, if so."""
        self.closed = False

    @property
    def end(self) -> int:
        self._recover()
        return self._end

    @property
    def start(self) -> int:
        self._recover()
        segments = self._segments
        return segments[0].base if segments else self._end

    # -- writing --------------------------------------------------------------------------------
    def append(self, buffers: Sequence[Buffer], on_durable: Callable[[int], None] | None = None) -> Future[int]:
        self._recover()
        length = sum(memoryview(buffer).nbytes for buffer in buffers)
        if length > MAX_RECORD_BYTES:
            raise ParameterTooLarge(f"a log record of {length} bytes exceeds {MAX_RECORD_BYTES}")
        future: Future[int] = self._env.tasks.future()
        future.set_running_or_notify_cancel()
        append = _Append(buffers, length, fmt.payload_crc(buffers), on_durable, future)
        with self._state:
            self._check_writable()
            self._queue.append(append)
            self._last = future
            start = not self._committing
            self._committing = True
        if start:
            self._submit()
        return future

    def _check_writable(self) -> None:
        if self.closed:
            raise StorageError(f"the log topic '{self._folder}' is closed")
        if self._failed:
            raise StorageError(
                f"the log topic '{self._folder}' takes no writes after a failure, reopen it: {self._failed}"
            )

    def _submit(self) -> None:
        try:
            self._executor.submit(self._commit_queue)
        except MilvusException as error:
            self._fail(error, [])

    def _commit_queue(self) -> None:
        """Commit what is queued, several times over, then make room for another topic's job."""
        for _ in range(COMMITS_PER_JOB):
            with self._state:
                batch = self._take()
                if not batch:
                    self._committing = False
                    return
            self._commit(batch)
        self._submit()

    def _take(self) -> list[_Append]:
        """The next commit's records: all that wait, up to `COMMIT_BYTES`."""
        total = count = 0
        for append in self._queue:
            count += 1
            total += append.length
            if total >= COMMIT_BYTES:
                break
        batch, self._queue = self._queue[:count], self._queue[count:]
        return batch

    def _commit(self, batch: list[_Append]) -> None:
        first = self._end
        try:
            with self._io:
                self._write(batch)
                self._end = first + len(batch)
        except Exception as error:  # noqa: BLE001  whatever it is, nobody may wait for ever
            self._fail(error, batch)
            return
        for position, append in enumerate(batch, first):
            try:
                if append.on_durable is not None:
                    append.on_durable(position)
            except Exception as error:  # the record is durable; only its waiter learns that applying it failed
                _logger.exception("record %d of '%s' is durable but was not applied", position, self._folder)
                append.future.set_exception(error)
            else:
                append.future.set_result(position)

    def _write(self, batch: list[_Append]) -> None:
        file = self._writable()
        first = self._end
        buffers: list[Buffer] = []
        for sequence, append in enumerate(batch, first):
            buffers.append(fmt.encode_record_header(self._salt, append.crc, append.length, sequence, first))
            buffers.extend(append.buffers)
            buffers.append(fmt.padding(append.length))
        self._marked = False
        try:
            written = file.write(buffers)
        except DiskLimitExceeded:
            self._undo_write(file)
            raise
        try:
            file.sync()
        except DiskLimitExceeded as error:  # unlike a failed write, a failed sync cannot be undone
            raise StorageError(error.message) from error
        self._size += written

    def _writable(self) -> AppendFile:
        """The file to append to: the last one, or a new one when that is full."""
        if not self._is_ours or self._size >= self._segment_bytes:
            self._roll()
        if self._file is None:
            self._file = self._files.append(self._segments[-1].path)
        return self._file

    def _roll(self) -> None:
        """Start a new last file at `_end`."""
        if not self._segments:
            self._files.make_dirs(self._folder)
        segment = self._create(self._end)
        self._close_file()
        self._segments = (*self._segments, segment)

    def _create(self, base: int, records: Sequence[fmt.Entry] = ()) -> _Segment:
        """A new last file with these records. It gets its name when it is whole; nothing changes if that fails."""
        path = f"{self._folder}/{base:020d}{_SUFFIX}"
        salt = self._env.random.getrandbits(32)
        buffers: list[Buffer] = [fmt.encode_file_header(base, salt)]
        for record in records:
            length, crc = len(record.payload), fmt.payload_crc([record.payload])
            buffers.append(fmt.encode_record_header(salt, crc, length, record.sequence, base))
            buffers += (record.payload, fmt.padding(length))
        try:
            self._files.write_new(path + _TEMPORARY, buffers)
        except DiskLimitExceeded:
            self._files.remove(path + _TEMPORARY)
            raise
        try:
            self._files.rename(path + _TEMPORARY, path)
            self._files.sync_dir(self._folder)
        except DiskLimitExceeded as error:  # the name may be there or not: only a new recovery can tell
            raise StorageError(error.message) from error
        self._salt, self._size, self._is_ours = salt, sum(len(buffer) for buffer in buffers), True
        return _Segment(base, path)

    def _undo_write(self, file: AppendFile) -> None:
        """The disk is full: cut off what was written of the commit, so that appends work again once there is room."""
        self._file = None
        file.close()
        self._files.truncate(self._segments[-1].path, self._size)

    def _fail(self, error: Exception, batch: list[_Append]) -> None:
        """Tell the waiters. A full disk fails this commit only; after anything else the topic must be reopened."""
        with self._state:
            if not isinstance(error, DiskLimitExceeded):
                self._failed = error.message if isinstance(error, MilvusException) else repr(error)
                batch = batch + self._queue
                self._queue = []
                self._committing = False
        for append in batch:
            append.future.set_exception(error)

    # -- reading --------------------------------------------------------------------------------
    def read(self, position: int = 0) -> Iterator[LogRecord]:
        self._recover()
        end = self._end  # before the files: a file that is added in between only begins at or behind it
        return self._read(self._segments, position, end)

    def _read(self, segments: tuple[_Segment, ...], position: int, end: int) -> Iterator[LogRecord]:
        for index, segment in enumerate(segments):
            stop = segments[index + 1].base if index + 1 < len(segments) else end
            if position >= stop:
                continue
            scan = SegmentScan(self._env.files, segment.path, segment.base)
            for entry in scan.entries(stop):
                if entry.sequence >= position:
                    yield LogRecord(entry.sequence, entry.payload)

    # -- forgetting -----------------------------------------------------------------------------
    def truncate(self, position: int) -> None:
        self._recover()
        with self._io:
            if position > self._end:
                raise InvalidParameter(f"cannot truncate to {position}, the log ends at {self._end}")
            segments = self._segments
            if position == self._end and segments and segments[-1].base < self._end and not self._failed:
                self._roll_or_fail()
                segments = self._segments
            kept = next((i for i in range(len(segments) - 1, -1, -1) if segments[i].base <= position), 0)
            self._segments = segments[kept:]
            self._doomed.extend(segment.path for segment in segments[:kept])
            self._remove_doomed()

    def _remove_doomed(self) -> None:
        """Also those that an earlier truncation failed to remove."""
        if self._doomed:
            for path in self._doomed:
                self._files.remove(path)
            self._files.sync_dir(self._folder)
            self._doomed.clear()

    def _roll_or_fail(self) -> None:
        """A new file that half exists must not be followed by appends to the old one."""
        try:
            self._roll()
        except MilvusException as error:
            self._fail(error, [])
            raise

    def close(self) -> None:
        """Wait for appends under way, leave a mark that all was well, close the file."""
        if not self._stop():
            return
        with self._io:
            try:
                if self._file is not None and not self._marked and not self._failed:
                    self._file.write([fmt.encode_mark(self._salt, self._end)])
                    self._file.sync()
            finally:
                self._close_file()

    def abandon(self) -> None:
        """Close without leaving a mark: the files are about to be removed."""
        if self._stop():
            with self._io:
                self._close_file()

    def _stop(self) -> bool:
        with self._state:
            if self.closed:
                return False
            self.closed = True
            last = self._last
        if last is not None:
            last.exception()
        return True

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    # -- recovery -------------------------------------------------------------------------------
    def _recover(self) -> None:
        """Find the files and the end. Files that are there are only read: a torn end is left behind, unread."""
        if not self._recovered:
            with self._io:
                self._recover_once()

    def _recover_once(self) -> None:
        if self._recovered:
            return
        segments = self._find_segments()
        if segments:
            scan = SegmentScan(self._files, segments[-1].path, segments[-1].base)
            self._end = scan.recover()
            if not scan.is_proven:
                segments = self._secure(segments, scan)
        self._segments = tuple(segments)
        self._recovered = True

    def _secure(self, segments: list[_Segment], scan: SegmentScan) -> list[_Segment]:
        """Make the last commit durable, about which the file itself does not say that it is.

        Its bytes may be in the system's cache only; if the process before us saw a sync of them fail, a further
        sync may succeed and do nothing. So they are written once more, to a new file that begins with them.
        """
        base, records = scan.last_commit()
        try:
            segment = self._create(base, records)
        except DiskLimitExceeded:  # syncing is then the best that can be done
            file = self._files.append(segments[-1].path)
            file.sync()
            file.close()
            return segments
        return [known for known in segments if known.base < base] + [segment]

    def _find_segments(self) -> list[_Segment]:
        segments = []
        for name in self._files.list(self._folder):
            path, stem = f"{self._folder}/{name}", name.removesuffix(_SUFFIX)
            if name.endswith(_TEMPORARY):
                self._files.remove(path)
            elif stem == name or not stem.isdecimal():
                raise Corruption(f"'{path}' is no file of the log")
            else:
                segments.append(_Segment(int(stem), path))
        return segments


def _check_name(name: str) -> None:
    if not name or name.startswith(".") or "/" in name or "\0" in name or len(name.encode()) > MAX_NAME_BYTES:
        raise InvalidParameter(f"{name!r} is no name for a log topic")
