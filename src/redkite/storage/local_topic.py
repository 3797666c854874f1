"""One topic of the local log: group commit, one `fdatasync` a commit, recovery from torn ends.

While one commit is being written and synced, further appends gather and go together in the next one, so a lone append
waits for one sync and a thousand at once for two or three. Commits run as at most one job per topic on the log's
executor.

A write that fails ends the page it was for: the next commit begins a new one, and what the failed one left behind is
never read. A sync that fails ends the topic until it is opened again: the system may forget which bytes it could not
write, and a second sync would succeed without them.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import NamedTuple

from redkite.env import AppendFile, Buffer, Env, Executor
from redkite.errors import DiskLimitExceeded, InvalidParameter, MilvusException, ParameterTooLarge, StorageError
from redkite.logs import get_logger
from redkite.storage import log_format as fmt
from redkite.storage.log import EARLIEST, At, LogRecord, LogSettings
from redkite.storage.log_backlog import Backlog
from redkite.storage.log_groups import LocalGroup, resolve
from redkite.storage.log_keeping import Keeper
from redkite.storage.log_pages import TEMPORARY, Page, PageReader, encode_page, find_pages, page_path
from redkite.storage.log_scan import PageScan

_logger = get_logger("log")

COMMIT_BYTES = 16 << 20
"""A commit takes no further records beyond this, so that the first of them does not wait for the last."""
COMMITS_PER_JOB = 8
"""Commits one executor job makes before another topic has its turn."""
MAX_RECORD_BYTES = 1 << 30
APPEND_BYTES = 64
"""What an append costs in memory beside its payload, roughly."""
FIRST_RESERVE_BYTES = 256 << 10
RESERVE_BYTES = 8 << 20
"""Set aside behind the end of a page, at first and at most: a sync that changes no size is half as long."""


class SyncFailed(StorageError):
    """Bytes may be lost that the system said were written. Only a new recovery can tell."""


class _Append(NamedTuple):
    buffers: Sequence[Buffer]
    length: int
    crc: int
    on_durable: Callable[[int], None] | None
    future: Future[int]


class LocalTopic:
    """One topic. Nothing is opened or read before the first use.

    Three locks, taken in this order: `_keeping` guards what is remembered and forgotten, `_io` is held by whoever
    writes, syncs or changes the list of pages, `_state` guards the queue and is held for moments.
    """

    def __init__(self, env: Env, folder: str, executor: Executor, settings: LogSettings, backlog: Backlog) -> None:
        self._env = env
        self._files = env.files
        self._folder = folder
        self._executor = executor
        self._page_bytes = settings.page_bytes
        self._backlog = backlog
        self._keeping = threading.Lock()
        self._io = threading.Lock()
        self._state = threading.Lock()
        self._recovered = False
        self._pages: tuple[Page, ...] = ()
        self._end = 0
        self._salt = 0
        self._size = 0
        """Bytes of the last page that are records."""
        self._is_ours = False
        """Did this object create the last page? Only then may it be appended to: see `_secure`."""
        self._room = 0
        """The last page may be appended to up to this size before more is set aside."""
        self._doomed: list[str] = []
        """Files that hold only forgotten records and are to be removed."""
        self._file: AppendFile | None = None
        self._marked = True
        self._queue: list[_Append] = []
        self._committing = False
        self._last: Future[int] | None = None
        self._failed = ""
        """Why no more is written, if so."""
        self._reader = PageReader(env.files)
        self._keeper = Keeper(env, folder, settings)
        self.on_commit: Callable[[int], None] | None = None
        """Told the end after each commit, before anybody hears that their record is durable."""
        self._groups: dict[str, LocalGroup] = {}
        self.closed = False

    @property
    def end(self) -> int:
        self._recover()
        return self._end

    @property
    def start(self) -> int:
        self._recover()
        pages = self._pages
        return pages[0].base if pages else self._end

    def refresh(self) -> int:
        return self.end

    # -- writing --------------------------------------------------------------------------------
    def append(self, buffers: Sequence[Buffer], on_durable: Callable[[int], None] | None = None) -> Future[int]:
        self._recover()
        length = sum(memoryview(buffer).nbytes for buffer in buffers)
        if length > MAX_RECORD_BYTES:
            raise ParameterTooLarge(f"a log record of {length} bytes exceeds {MAX_RECORD_BYTES}")
        future: Future[int] = self._env.tasks.future()
        future.set_running_or_notify_cancel()
        append = _Append(buffers, length, fmt.payload_crc(buffers), on_durable, future)
        self._backlog.enter(length + APPEND_BYTES)
        try:
            with self._state:
                self._check_writable()
                self._queue.append(append)
                self._last = future
                start = not self._committing
                self._committing = True
        except BaseException:
            self._backlog.leave(length + APPEND_BYTES)
            raise
        if start:
            self._submit()
        return future

    def _check_writable(self) -> None:
        if self.closed:
            raise StorageError(f"the log topic '{self._folder}' is closed")
        if self._failed:
            raise StorageError(
                f"the log topic '{self._folder}' takes no writes after a failure, reopen it: close every client of the "
                f"database and open it anew, or restart the server; reads go on. The failure: {self._failed}"
            )

    def _submit(self) -> None:
        try:
            self._executor.submit(self._commit_queue)
        except MilvusException as error:
            self._end_with(error, [])

    def _commit_queue(self) -> None:
        """Commit what is queued, several times over, then make room for another topic's job."""
        for _ in range(COMMITS_PER_JOB):
            with self._state:
                batch = self._take()
                if not batch:
                    break
            self._commit(batch)
        else:
            self._submit()
            return
        self._mark()
        with self._state:
            if not self._queue:
                self._committing = False
                return
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
        except MilvusException as error:
            if isinstance(error, SyncFailed):
                self._end_with(error, batch)
            else:
                self._fail(error, batch)
            return
        except Exception as error:  # noqa: BLE001  whatever it is, nobody may wait for ever
            self._end_with(error, batch)
            return
        if self.on_commit is not None:
            self.on_commit(self._end)
        self._backlog.leave(_weight(batch))
        with self._backlog.without_waiting():
            for position, append in enumerate(batch, first):
                try:
                    if append.on_durable is not None:
                        append.on_durable(position)
                except Exception as error:  # whatever it is: what is durable and what is shown have parted
                    _logger.exception("record %d of '%s' is durable but was not applied", position, self._folder)
                    # What is behind it may build on it: nothing more is applied or written until all is replayed.
                    for left in batch[position - first :]:
                        left.future.set_exception(error)
                    self._end_with(error, [])
                    return
                append.future.set_result(position)

    def _write(self, batch: list[_Append]) -> None:
        first = self._end
        file = self._writable(sum(fmt.record_bytes(append.length) for append in batch))
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
        except MilvusException:
            self._leave_page()
            raise
        try:
            file.sync()
        except MilvusException as error:
            raise SyncFailed(error.message) from error
        self._size += written

    def _mark(self) -> None:
        """Say in the file that all before is durable, for whoever recovers or follows it. Nobody waits for this."""
        with self._io:
            if self._marked or self._failed or self._file is None:
                return
            try:
                self._size += self._file.write([fmt.encode_mark(self._salt, self._end)])
                self._marked = True
            except MilvusException as error:
                _logger.warning("a new page of '%s' is begun: %s", self._folder, error.message)
                self._leave_page()

    def _writable(self, size: int) -> AppendFile:
        """The file to append so many bytes to: the last page, or a new one when that is full."""
        if not self._is_ours or self._size >= self._page_bytes:
            self._roll()
        if self._file is None:
            self._file = self._files.append(self._pages[-1].path)
            self._room = 0
        if self._size + size > self._room:
            try:
                self._reserve(self._file, size)
            except MilvusException:
                self._leave_page()
                raise
        return self._file

    def _reserve(self, file: AppendFile, size: int) -> None:
        step = max(size, min(max(self._size, FIRST_RESERVE_BYTES), RESERVE_BYTES, self._page_bytes))
        self._room = self._size + step if file.reserve(step) else MAX_RECORD_BYTES + self._page_bytes

    def _roll(self) -> None:
        """Begin a new last page at `_end`. Nothing changes if that fails."""
        if not self._pages:
            self._files.make_dirs(self._folder)
        page = self._create(self._end)
        # A page without records that was left after a failure has been replaced by this one.
        self._pages = (*(known for known in self._pages if known.base < page.base), page)
        self._close_file()

    def _create(self, base: int, records: Sequence[fmt.Entry] = ()) -> Page:
        """A new last page with these records. It gets its name when it is whole; nothing changes if that fails."""
        path = page_path(self._folder, base)
        salt = self._env.random.getrandbits(32)
        buffers = encode_page(base, salt, records)
        try:
            self._files.write_new(path + TEMPORARY, buffers)
        except MilvusException:
            with contextlib.suppress(MilvusException):  # the first failure is told, and recovery removes the file
                self._files.remove(path + TEMPORARY)
            raise
        try:
            self._files.rename(path + TEMPORARY, path)
            self._files.sync_dir(self._folder)
        except MilvusException as error:  # the name may be there or not: only a new recovery can tell
            raise SyncFailed(error.message) from error
        self._salt, self._size, self._is_ours = salt, sum(len(buffer) for buffer in buffers), True
        self._marked = True
        return Page(base, path)

    def _undo_write(self, file: AppendFile) -> None:
        """The disk is full: cut off what was written of the commit, so that appends work again once there is room."""
        self._file = None
        try:
            file.close()
            self._files.truncate(self._pages[-1].path, self._size)
        except MilvusException:
            self._is_ours = False

    def _leave_page(self) -> None:
        """Append no more to the last page: something behind its records was not written as it should be."""
        self._is_ours = False
        self._close_file()

    def _fail(self, error: MilvusException, batch: list[_Append]) -> None:
        """Tell the waiters of one commit; the next one is tried."""
        self._backlog.leave(_weight(batch))
        for append in batch:
            append.future.set_exception(error)

    def _end_with(self, error: Exception, batch: list[_Append]) -> None:
        """Tell the waiters; the topic takes no writes until it is opened again."""
        with self._state:
            self._failed = error.message if isinstance(error, MilvusException) else repr(error)
            batch = batch + self._queue
            self._queue = []
            self._committing = False
        self._backlog.leave(_weight(batch))
        for append in batch:
            append.future.set_exception(error)

    # -- reading --------------------------------------------------------------------------------
    def read(self, position: int = 0) -> Iterator[LogRecord]:
        self._recover()
        end = self._end  # before the pages: one that is added in between only begins at or behind it
        return self._reader.read(self._pages, position, end)

    # -- forgetting -----------------------------------------------------------------------------
    def truncate(self, position: int) -> None:
        self._recover()
        with self._keeping:
            with self._io:
                if position > self._end:
                    raise InvalidParameter(f"cannot truncate to {position}, the log ends at {self._end}")
                pages = self._pages
                if position == self._end and pages and pages[-1].base < self._end and not self._failed:
                    self._roll_or_end()
            self._keeper.truncate(position)
            self._forget()

    def sweep(self) -> None:
        """Remove the pages whose time has come."""
        self._recover()
        with self._keeping:
            if not self.closed:
                self._forget()

    def _forget(self) -> None:
        """Remove pages that are wanted no more, also those that an earlier call failed to remove."""
        gone = self._keeper.removable(self._pages)
        if gone:
            with self._io:
                self._doomed.extend(page.path for page in self._pages[:gone])
                self._pages = self._pages[gone:]
        if self._doomed:
            for path in self._doomed:
                self._files.remove(path)
            self._files.sync_dir(self._folder)
            self._doomed.clear()

    def _roll_or_end(self) -> None:
        """A new page that half exists must not be followed by appends to the old one."""
        try:
            self._roll()
        except SyncFailed as error:
            self._end_with(error, [])
            raise

    # -- groups ---------------------------------------------------------------------------------
    def group(self, name: str, at: At = EARLIEST) -> LocalGroup:
        check_name(name, "group")
        self._recover()
        with self._keeping:
            found = self._groups.get(name)
            if found is None:
                if name not in self._keeper.groups:
                    self._check_open()
                    self._keeper.set_group(name, resolve(self, at))
                found = self._groups[name] = LocalGroup(self, name, self._keeper.groups[name])
            return found

    def groups(self) -> list[str]:
        self._recover()
        return sorted(self._keeper.groups)

    def drop_group(self, name: str) -> None:
        self._recover()
        with self._keeping:
            self._check_open()
            self._groups.pop(name, None)
            self._keeper.drop_group(name)
            self._forget()

    def acknowledged_by(self, name: str) -> int:
        """Everything before this is acknowledged by a group."""
        found = self._keeper.groups.get(name)
        if found is None:
            raise InvalidParameter(f"the log topic '{self._folder}' has no group '{name}' (any more)")
        return found

    def move_group(self, name: str, position: int, *, forward_only: bool = False) -> None:
        """Let everything before `position` count as acknowledged by a group, durably."""
        with self._keeping:
            self._check_open()
            known = self.acknowledged_by(name)
            if position > known or (position < known and not forward_only):
                self._keeper.set_group(name, position)
                self._forget()

    def _check_open(self) -> None:
        if self.closed:
            raise StorageError(f"the log topic '{self._folder}' is closed")

    # -- closing --------------------------------------------------------------------------------
    def close(self) -> None:
        """Wait for appends under way, leave a mark that all was well, close the file."""
        if self._stop():
            self._mark()
            with self._keeping, self._io:
                self._close_file()

    def abandon(self) -> None:
        """Close without leaving a mark: the files are about to be removed."""
        if self._stop():
            with self._keeping, self._io:
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
            try:
                file.close()
            except MilvusException as error:  # what was to be durable is; room set aside may stay taken
                _logger.warning("%s", error.message)

    # -- recovery -------------------------------------------------------------------------------
    def _recover(self) -> None:
        """Find the pages and the end. Pages that are there are only read: a torn end is left behind, unread."""
        if not self._recovered:
            with self._io:
                if not self._recovered:
                    self._recover_once()

    def _recover_once(self) -> None:
        pages, unfinished = find_pages(self._files, self._folder)
        for path in unfinished:
            self._files.remove(path)
        self._keeper.load()
        if pages:
            scan = PageScan(self._files, pages[-1].path, pages[-1].base)
            self._end = scan.recover()
            if not scan.is_proven:
                pages = self._secure(pages, scan)
        self._pages = tuple(pages)
        self._recovered = True

    def _secure(self, pages: list[Page], scan: PageScan) -> list[Page]:
        """Make the last commit durable, about which the file itself does not say that it is.

        Its bytes may be in the system's cache only; if the process before us saw a sync of them fail, a further
        sync may succeed and do nothing. So they are written once more, to a new page that begins with them.
        """
        base, records = scan.last_commit()
        try:
            page = self._create(base, records)
        except DiskLimitExceeded:  # syncing is then the best that can be done
            file = self._files.append(pages[-1].path)
            file.sync()
            file.close()
            return pages
        return [known for known in pages if known.base < base] + [page]


def _weight(batch: Sequence[_Append]) -> int:
    return sum(append.length + APPEND_BYTES for append in batch)


MAX_NAME_BYTES = 200


def check_name(name: str, what: str) -> None:
    """Raises InvalidParameter for a name that could not be a file's."""
    if not name or name.startswith(".") or "/" in name or "\0" in name or len(name.encode()) > MAX_NAME_BYTES:
        raise InvalidParameter(f"{name!r} is no name for a log {what}")
