"""One topic of the local log: group commit, one `fdatasync` a commit.

While one commit is being written and synced, further appends gather and go together in the next one, so a lone append
waits for one sync and a thousand at once for two or three. Who waits for an append while nobody commits does it
himself: that is no slower than the disk, while handing it to another thread and being woken again costs as much as the
sync. What has gathered meanwhile, and what nobody waits for, is committed by at most one job per topic on the log's
executor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from redkite.env import Buffer, Env, Executor
from redkite.errors import InvalidParameter, MilvusException, ParameterTooLarge, StorageError
from redkite.logs import get_logger
from redkite.storage import log_format as fmt
from redkite.storage.log import EARLIEST, At, LogRecord, LogSettings
from redkite.storage.log_backlog import Backlog
from redkite.storage.log_groups import LocalGroup, resolve
from redkite.storage.log_keeping import Keeper
from redkite.storage.log_pages import PageReader
from redkite.storage.log_writer import MAX_RECORD_BYTES, PageWriter

_logger = get_logger("log")

COMMIT_BYTES = 16 << 20
"""A commit takes no further records beyond this, so that the first of them does not wait for the last."""
COMMITS_PER_JOB = 8
"""Commits one executor job makes before another topic has its turn."""
LEAD_BYTES = 256 << 10
"""A commit of more than this is left to the executor: handing it over costs little beside it."""
APPEND_BYTES = 64
"""What an append costs in memory beside its payload, roughly."""


class _Append(NamedTuple):
    buffers: Sequence[Buffer]
    length: int
    crc: int
    on_durable: Callable[[int], None] | None
    answer: Callable[[], Any] | None
    future: Future[Any]


_Taken = tuple[object | None, int, list[_Append]]
"""Who took records from the queue, where they begin, and which."""
_NOTHING_TAKEN: _Taken = (None, 0, [])


class LocalTopic:
    """One topic. Nothing is opened or read before the first use.

    Four locks, taken in this order: `_keeping` guards what is remembered and forgotten, `_turn` is held by whoever
    commits, `_io` by whoever writes, syncs or changes the list of pages, `_state` guards the queue and is held for
    moments.
    """

    def __init__(self, env: Env, folder: str, executor: Executor, settings: LogSettings, backlog: Backlog) -> None:
        self._tasks = env.tasks
        self._files = env.files
        self._folder = folder
        self._executor = executor
        self._backlog = backlog
        self._keeping = threading.Lock()
        self._io = threading.Lock()
        self._state = threading.Lock()
        self._recovered = False
        self._writer = PageWriter(env, folder, settings.page_bytes)
        self._doomed: list[str] = []
        """Files that hold only forgotten records and are to be removed."""
        self._queue: list[_Append] = []
        self._queued_bytes = 0
        self._committing = False
        """Is there somebody whose task it is to commit what is queued?"""
        self._taken: _Taken = _NOTHING_TAKEN
        self._turn = threading.Lock()
        """The commit under way: the sequence of its first record, and the appends."""
        self._last: Future[Any] | None = None
        self.unapplied = ""
        """Why something that is durable was not applied, if so. Nothing is built on it: no more is written."""
        self._reader = PageReader(env.files, self._writer.over)
        self._keeper = Keeper(env, folder, settings)
        self.on_commit: Callable[[int], None] | None = None
        """Told the end after each commit, before anybody hears that their record is durable."""
        self._groups: dict[str, LocalGroup] = {}
        self.closed = False

    @property
    def end(self) -> int:
        self._recover()
        return self._writer.end

    @property
    def start(self) -> int:
        self._recover()
        pages = self._writer.pages
        return pages[0].base if pages else self._writer.end

    def refresh(self) -> int:
        return self.end

    # -- writing --------------------------------------------------------------------------------
    def append(
        self,
        buffers: Sequence[Buffer],
        on_durable: Callable[[int], None] | None = None,
        answer: Callable[[], Any] | None = None,
    ) -> Future[Any]:
        if not self._recovered:
            self._recover()
        length, crc = fmt.measure(buffers)
        if length > MAX_RECORD_BYTES:
            raise ParameterTooLarge(f"a log record of {length} bytes exceeds {MAX_RECORD_BYTES}")
        future: Future[Any] = self._tasks.future(self)
        append = _Append(buffers, length, crc, on_durable, answer, future)
        self._backlog.enter(length + APPEND_BYTES)
        try:
            with self._state:
                self._check_writable()
                self._queue.append(append)
                self._queued_bytes += length
                self._last = future
        except BaseException:
            self._backlog.leave(length + APPEND_BYTES)
            raise
        return future

    def _check_writable(self) -> None:
        if self.closed:
            raise StorageError(f"the log topic '{self._folder}' is closed")
        if self.unapplied:
            raise StorageError(
                f"the log topic '{self._folder}' takes no writes: one is durable and could not be applied "
                f"({self.unapplied})"
            )

    def resume(self) -> None:
        """What is in the log has been applied by now."""
        self.unapplied = ""

    # -- committing -----------------------------------------------------------------------------
    def do_here(self) -> None:
        """Commit what is queued in this thread, unless somebody does that already, or it is much."""
        lead: object | None = None
        try:
            with self._state:
                if self._committing or not self._queue:
                    return
                lead = object()
                self._committing = True
                is_much = self._queued_bytes > LEAD_BYTES
            if is_much:
                self._submit()
            else:
                self._commit_queue(1, lead)
        except BaseException as error:
            if lead is not None:
                self._leave_lead(error, lead)
            raise

    def do_elsewhere(self) -> None:
        """Have what is queued committed by the executor, unless somebody does that already."""
        with self._state:
            if self._committing or not self._queue:
                return
            self._committing = True
        self._submit()

    def _leave_lead(self, error: BaseException, lead: object) -> None:
        """Something was thrown into this thread from outside, anywhere between two commits: the executor goes on, also
        if it does already. Records that this thread took and that were not proven durable are written again; of one
        that is, it is not known whether it was applied.
        """
        with self._state:
            taken_by, first, batch = self._taken
            if taken_by is lead:
                self._taken = _NOTHING_TAKEN
            else:
                batch = []
        left = [append for append in batch if not append.future.done()]
        if left and self._writer.end > first:
            self._end_with(StorageError(f"interrupted: {error!r}"), left)
        elif left:
            with self._state:
                if not (self._queue and self._queue[0] is left[0]):  # else they were about to be taken
                    self._queue = left + self._queue
                self._queued_bytes = sum([append.length for append in self._queue])
        self._submit()

    def _submit(self) -> None:
        try:
            self._executor.submit(self._commit_queue)
        except MilvusException as error:
            with self._state:
                batch, self._queue = self._queue, []
                self._queued_bytes = 0
                self._committing = False
            self._backlog.leave(_weight(batch))
            _fail(error, batch)

    def _commit_queue(self, commits: int = COMMITS_PER_JOB, lead: object | None = None) -> None:
        """Commit what is queued, several times over, then make room for another topic's job. Commits wait for each
        other, should two threads have come to make them."""
        for _ in range(commits):
            with self._turn:
                with self._state:
                    batch = self._take(lead)
                if not batch:
                    break
                self._commit(batch)
                self._taken = _NOTHING_TAKEN
        if not self._queue:
            with self._io:
                self._writer.mark()
            with self._state:
                if not self._queue:
                    self._committing = False
                    return
        self._submit()

    def _take(self, lead: object | None) -> list[_Append]:
        """The next commit's records: all that wait, up to `COMMIT_BYTES`."""
        queue, taken = self._queue, self._queued_bytes
        count = len(queue)
        if taken > COMMIT_BYTES:
            taken = count = 0
            while taken < COMMIT_BYTES:
                taken += queue[count].length
                count += 1
        batch = queue[:count]
        self._taken = (lead, self._writer.end, batch)
        self._queue = queue[count:]
        self._queued_bytes -= taken
        return batch

    def _commit(self, batch: list[_Append]) -> None:
        writer = self._writer
        first = writer.end
        try:
            with self._io:
                writer.write(batch)
        except Exception as error:  # noqa: BLE001  whatever it is, nobody may wait for ever
            self._void(error, batch)
            return
        if self.on_commit is not None:
            self.on_commit(writer.end)
        self._backlog.leave(_weight(batch))
        with self._backlog.here:
            for position, append in enumerate(batch, first):
                try:
                    if append.on_durable is not None:
                        append.on_durable(position)
                except Exception as error:  # whatever it is: what is durable and what is shown have parted
                    _logger.exception("record %d of '%s' is durable but was not applied", position, self._folder)
                    # What is behind it may build on it: nothing more is applied or written until all is replayed.
                    self._end_with(error, batch[position - first :])
                    return
                _finish(append, position)

    def _void(self, error: Exception, batch: list[_Append]) -> None:
        """Nothing of a commit is durable as far as anybody knows: its waiters are told, and if a sync failed those
        behind it too. The next commit is tried."""
        with self._state:
            if self._writer.suspect:
                batch = batch + self._queue
                self._queue = []
                self._queued_bytes = 0
        self._backlog.leave(_weight(batch))
        _fail(error, batch)

    def _end_with(self, error: Exception, batch: list[_Append]) -> None:
        """Tell the waiters; the topic takes no writes until it is opened again. `batch` is durable."""
        with self._state:
            self.unapplied = error.message if isinstance(error, MilvusException) else repr(error)
            queued, self._queue = self._queue, []
            self._queued_bytes = 0
        self._backlog.leave(_weight(queued))
        _fail(error, batch + queued)

    # -- reading --------------------------------------------------------------------------------
    def read(self, position: int = 0) -> Iterator[LogRecord]:
        self._recover()
        end = self._writer.end  # before the pages: one that is added in between only begins at or behind it
        return self._reader.read(self._writer.pages, position, end)

    # -- forgetting -----------------------------------------------------------------------------
    def truncate(self, position: int) -> None:
        self._recover()
        with self._keeping:
            with self._io:
                end = self._writer.end
                if position > end:
                    raise InvalidParameter(f"cannot truncate to {position}, the log ends at {end}")
                if position == end:
                    self._writer.begin_page()
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
        gone = self._keeper.removable(self._writer.pages)
        if gone:
            with self._io:
                self._doomed += self._writer.forget(gone)
        if self._doomed:
            for path in self._doomed:
                self._files.remove(path)
            self._files.sync_dir(self._folder)
            self._doomed.clear()

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
            with self._keeping, self._io:
                if not self.unapplied:
                    self._writer.mark()
                self._writer.close()

    def abandon(self) -> None:
        """Close without leaving a mark: the files are about to be removed."""
        if self._stop():
            with self._keeping, self._io:
                self._writer.close()

    def _stop(self) -> bool:
        with self._state:
            if self.closed:
                return False
            self.closed = True
            last = self._last
        if last is not None:
            last.exception()
        return True

    # -- recovery -------------------------------------------------------------------------------
    def _recover(self) -> None:
        if not self._recovered:
            with self._io:
                if not self._recovered:
                    self._keeper.load()
                    self._writer.recover()
                    self._recovered = True


def _weight(batch: Sequence[_Append]) -> int:
    return sum([append.length for append in batch]) + APPEND_BYTES * len(batch)


def _finish(append: _Append, position: int) -> None:
    """Tell the waiter of an append that is durable and applied."""
    if append.answer is None:
        append.future.set_result(position)
        return
    try:
        answer = append.answer()
    except Exception as error:  # noqa: BLE001  whatever it was, it is what the waiter hears
        append.future.set_exception(error)
    else:
        append.future.set_result(answer)


def _fail(error: Exception, batch: Sequence[_Append]) -> None:
    for append in batch:
        append.future.set_exception(error)


MAX_NAME_BYTES = 200


def check_name(name: str, what: str) -> None:
    """Raises InvalidParameter for a name that could not be a file's."""
    if not name or name.startswith(".") or "/" in name or "\0" in name or len(name.encode()) > MAX_NAME_BYTES:
        raise InvalidParameter(f"{name!r} is no name for a log {what}")
