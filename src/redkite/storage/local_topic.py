"""One topic of the local log: group commit, one `fdatasync` a commit.

While one commit is being written and synced, further appends gather and go together in the next one, so a lone append
waits for one sync and a thousand at once for two or three. Who waits for an append while nobody commits does it
himself: that is no slower than the disk, while handing it to another thread and being woken again costs as much as the
sync. What has gathered meanwhile, and what nobody waits for, is committed by at most one job per topic on the log's
executor.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from redkite.env import Buffer, Env, Executor
from redkite.errors import InvalidParameter, MilvusException, StorageError
from redkite.logs import get_logger
from redkite.storage import log_format as fmt
from redkite.storage.log import EARLIEST, At, LogRecord, LogSettings, Room
from redkite.storage.log_answers import check_name, finish
from redkite.storage.log_backlog import Backlog, Place
from redkite.storage.log_groups import LocalGroup, resolve
from redkite.storage.log_keeping import Keeper
from redkite.storage.log_pages import PageReader
from redkite.storage.log_room import APPEND_BYTES, LocalRoom, check_length
from redkite.storage.log_writer import PageWriter

_logger = get_logger("log")

COMMIT_BYTES = 16 << 20
"""A commit takes no further records beyond this, so that the first of them does not wait for the last."""
COMMITS_PER_JOB = 8
"""Commits one executor job makes before another topic has its turn."""
LEAD_BYTES = 1 << 20
"""A commit of more than this is left to the executor: handing it over costs little beside it."""


class _Append(NamedTuple):
    buffers: Sequence[Buffer]
    length: int
    crc: int
    is_kept: bool
    """Has the disk kept room for it, and so for all before it?"""
    on_durable: Callable[[int], None] | None
    answer: Callable[[], Any] | None
    place: Place
    future: Future[Any]


_NOTHING_TAKEN: tuple[int, list[_Append]] = (0, [])
_NOBODY, _JOB = 0, -1
"""Beside the identities of threads."""


class LocalTopic:
    """One topic. Nothing is opened or read before the first use.

    Four locks, taken in this order: `_keeping` guards what is remembered and forgotten, `_turn` is held by whoever
    commits, `_io` by whoever writes, syncs or changes the list of pages, `_state` guards the queue and is held for
    moments.

    Whoever waits may be torn away from what he does, by an interrupt, between any two calls. So whatever was appended
    and is not told is in the queue, or in `_taken`, at every moment; and who is torn away does no more than have the
    executor go on. The next who has the turn puts in order what he finds.
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
        self._leader = _NOBODY
        """Whose task it is to commit what is queued: a thread's, or that of a job of the executor."""
        self._turn = threading.Lock()
        self._taken = _NOTHING_TAKEN
        """The commit under way: the sequence of its first record, and the appends. Changed by who has the turn."""
        self._begun = 0
        """All before this sequence have been applied, or have begun to be."""
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
        room: Room | None = None,
    ) -> Future[Any]:
        if not self._recovered:
            self._recover()
        length, crc = fmt.measure(buffers)
        check_length(length)
        future: Future[Any] = self._tasks.future(self)
        place = Place()
        try:
            is_kept = isinstance(room, LocalRoom) and room.use(self, length, place)
            if not is_kept:
                self._backlog.enter(length + APPEND_BYTES, place)
            append = _Append(buffers, length, crc, is_kept, on_durable, answer, place, future)
            with self._state:
                self._check_writable()
                self._queue.append(append)
        except BaseException:
            self._backlog.leave(place)
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

    def keep_room(self, length: int) -> None:
        """Have the disk keep room for what waits to be written and a record of so many bytes behind it."""
        self._recover()
        with self._state:
            self._check_writable()
            # Those that are being written, too, whether they have been by now or not.
            waiting = [*self._taken[1], *self._queue]
            size = sum([fmt.record_bytes(append.length) for append in waiting]) + fmt.record_bytes(length)
            if self._writer.promise(size):
                return
        with self._io:
            with self._state:
                first, taken = self._taken
                waiting = [*(taken if self._writer.end == first else ()), *self._queue]
            size = sum([fmt.record_bytes(append.length) for append in waiting]) + fmt.record_bytes(length)
            self._writer.make_room(size)

    def keep_no_room(self) -> None:
        """Nothing comes that room was kept for."""
        with self._state:
            # Of those being written some may have room, too.
            if not self._taken[1] and not any(append.is_kept for append in self._queue):
                self._writer.promise_no_more()

    def resume(self) -> None:
        """What is in the log has been applied by now."""
        self.unapplied = ""

    # -- committing -----------------------------------------------------------------------------
    def do_here(self) -> None:
        """Commit what is queued in this thread, unless somebody does that already, or it is much."""
        self._lead(is_here=True)

    def do_elsewhere(self) -> None:
        """Have what is queued committed by the executor, unless somebody does that already."""
        self._lead(is_here=False)

    def _lead(self, *, is_here: bool) -> None:
        is_ours, me = False, threading.get_ident()
        try:
            with self._state:
                # A lead that is this thread's own, outside of its commits, is one that it was torn away from.
                if not self._queue or self._leader not in (_NOBODY, _NOBODY if self._backlog.here.depth else me):
                    return
                is_ours = True
                self._leader = me
                is_here = is_here and _bytes_of(self._queue) <= LEAD_BYTES
            if is_here:
                self._commit_queue(1)
            else:
                self._submit()
        except BaseException:
            if is_ours:
                self._hand_over()
            raise

    def _hand_over(self) -> None:
        """This thread is torn away, by something thrown into it from outside: the executor goes on, also where it does
        already. What it took is seen to first, so that its next append meets nothing half done."""
        while True:
            try:
                if not self._turn.locked():  # who has the turn has seen to it
                    with contextlib.suppress(Exception), self._turn:  # who has it next tries again
                        self._recall()
                self._submit()
            except Exception:
                raise
            except BaseException:  # noqa: BLE001  once more: the first one is raised when this is done
                continue
            return

    def _submit(self) -> None:
        try:
            self._executor.submit(self._commit_job)
        except Exception as error:  # noqa: BLE001  whatever it is, nobody may wait for ever
            self._refuse(error)
            return
        with self._state:
            # The job may be over by now: then the lead is nobody's, or another's, and stays so.
            if self._leader == threading.get_ident():
                self._leader = _JOB

    def _refuse(self, error: Exception) -> None:
        """Nobody commits: tell those who wait, also those who come meanwhile and leave it to this thread."""
        while True:
            with self._state:
                self._queue = [append for append in self._queue if not append.future.done()]
                refused = [*self._queue]
                if not refused:
                    self._leader = _NOBODY
                    return
            self._backlog.leave(*[append.place for append in refused])
            _fail(error, refused)

    def _commit_job(self) -> None:
        try:
            self._commit_queue(COMMITS_PER_JOB)
        except BaseException:  # nobody may wait for ever
            self._hand_over()
            raise

    def _commit_queue(self, commits: int) -> None:
        """Commit what is queued, several times over, then make room for another topic's job. Commits wait for each
        other, should two threads have come to make them."""
        for _ in range(commits):
            with self._turn:
                self._recall()
                with self._state:
                    batch = self._take()
                if not batch:
                    break
                self._commit(batch)
                self._taken = _NOTHING_TAKEN
        if not self._queue:
            with self._io:
                self._writer.mark()
            with self._state:
                if not self._queue:
                    self._leader = _NOBODY
                    return
        self._submit()

    def _recall(self) -> None:
        """See to what somebody took who was torn away from it. What is not durable is written again. What is, and has
        not begun to be applied, is applied; of one that has begun nobody knows how far it came."""
        first, batch = self._taken
        if not batch:
            return
        left = [append for append in batch if not append.future.done()]
        position = first + len(batch) - len(left)
        if left and self.unapplied:
            self._end_with(StorageError(self.unapplied), left)
        elif left and position < self._writer.end:
            if self._begun > position:
                self._end_with(StorageError("interrupted while it was applied"), left)
            else:
                self._apply(left, position)
        elif left:
            with self._state:
                if not (self._queue and self._queue[0] is left[0]):  # else they were about to be taken
                    self._queue = left + self._queue
        self._taken = _NOTHING_TAKEN

    def _take(self) -> list[_Append]:
        """The next commit's records: all that wait, up to `COMMIT_BYTES`."""
        queue, taken, count = self._queue, 0, 0
        # What comes behind these has no room yet, and if it finds none, those before it must not fail with it.
        kept = max([number for number, append in enumerate(queue, 1) if append.is_kept], default=len(queue))
        while count < kept and taken < COMMIT_BYTES:
            taken += queue[count].length
            count += 1
        batch = queue[:count]
        self._taken = (self._writer.end, batch)
        self._queue = queue[count:]
        return batch

    def _commit(self, batch: list[_Append]) -> None:
        first = self._writer.end
        try:
            with self._io:
                self._writer.write(batch)
        except Exception as error:  # noqa: BLE001  whatever it is, nobody may wait for ever
            self._void(error, batch)
            return
        self._apply(batch, first)

    def _apply(self, batch: list[_Append], first: int) -> None:
        """Show what is durable, and tell those who wait for it."""
        self._backlog.leave(*[append.place for append in batch])
        try:
            if self.on_commit is not None:
                self.on_commit(self._writer.end)
        except Exception as error:  # noqa: BLE001  whatever it is, nobody may wait for ever
            self._end_with(error, batch)
            return
        with self._backlog.here:
            for position, append in enumerate(batch, first):
                self._begun = position + 1
                try:
                    if append.on_durable is not None:
                        append.on_durable(position)
                except Exception as error:  # whatever it is: what is durable and what is shown have parted
                    _logger.exception("record %d of '%s' is durable but was not applied", position, self._folder)
                    # What is behind it may build on it: nothing more is applied or written until all is replayed.
                    self._end_with(error, batch[position - first :])
                    return
                finish(append.future, append.answer, position)

    def _void(self, error: Exception, batch: list[_Append]) -> None:
        """Nothing of a commit is durable as far as anybody knows: its waiters are told, and if a sync failed those
        behind it too. The next commit is tried."""
        if self._writer.suspect:
            batch = self._take_all(batch)
        self._backlog.leave(*[append.place for append in batch])
        _fail(error, batch)

    def _end_with(self, error: Exception, batch: list[_Append]) -> None:
        """Tell the waiters; the topic takes no writes until it is opened again. `batch` is durable."""
        self.unapplied = (isinstance(error, MilvusException) and error.message) or repr(error)
        batch = self._take_all(batch)
        self._backlog.leave(*[append.place for append in batch])
        _fail(error, batch)

    def _take_all(self, batch: list[_Append]) -> list[_Append]:
        """These and whatever else waits, to be told of a failure."""
        with self._state:
            batch = batch + self._queue
            self._taken = (self._writer.end, batch)
            self._queue = []
        return batch

    # -- reading --------------------------------------------------------------------------------
    def read(self, position: int = 0) -> Iterator[LogRecord]:
        self._recover()
        end = self._writer.end  # before the pages: one that is added in between only begins at or behind it
        return self._reader.read(self._writer.pages, position, end)

    def kept_bytes(self, position: int) -> int:
        """Bytes of the pages that hold records from a position on."""
        self._recover()
        pages = self._writer.pages
        ends = [page.base for page in pages[1:]] + [self._writer.end] * bool(pages)
        return sum(self._files.size(p.path) for p, end in zip(pages, ends, strict=True) if end > position)

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
            waiting = [*self._taken[1], *self._queue]
        if waiting:
            waiting[-1].future.exception()
        return True

    # -- recovery -------------------------------------------------------------------------------
    def _recover(self) -> None:
        if not self._recovered:
            with self._io:
                if not self._recovered:
                    self._keeper.load()
                    self._writer.recover()
                    self._recovered = True


def _bytes_of(batch: Sequence[_Append]) -> int:
    return sum([append.length for append in batch])


def _fail(error: Exception, batch: Sequence[_Append]) -> None:
    """Tell those who wait, also where some have been told."""
    for append in batch:
        if not append.future.done():
            append.future.set_exception(error)
