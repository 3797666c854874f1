"""Writing the pages of a topic: commits at the end of the last page, new pages, and what happens when the disk fails.

A write that fails ends the page it was for: the next commit begins a new one, and what the failed one left behind is
never read. A sync that fails is worse: the system may forget which bytes it could not write, and a second sync would
succeed without them. So nothing more is synced in that file. The next commit first reads back the records before the
failure, compares their checksums, and writes those that may share a block with the lost bytes to a new page, which
takes the place of everything behind them.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

from redkite.env import AppendFile, Buffer, Env
from redkite.errors import Corruption, DiskLimitExceeded, MilvusException, StorageError
from redkite.logs import get_logger
from redkite.storage import log_format as fmt
from redkite.storage.log_durable import DurableNote, read_note
from redkite.storage.log_pages import TEMPORARY, Page, encode_page, find_pages, page_path
from redkite.storage.log_scan import PageScan

_logger = get_logger("log")

MAX_RECORD_BYTES = 1 << 30
FIRST_RESERVE_BYTES = 256 << 10
RESERVE_BYTES = 8 << 20
"""Set aside behind the end of a page, at first and at most: a sync that changes no size is half as long."""
TAIL_BYTES = 64 << 10
"""A write that failed may have taken what lies in the same block with it: blocks of no file system are larger."""
MARK_BYTES: Final = fmt.record_bytes(0)
"""A mark may be written before what room is promised to."""
T = TypeVar("T")


class SyncFailed(StorageError):
    """Bytes may be lost that the system said were written."""


class Record(Protocol):
    """What is to be written: a payload, its bytes and its checksum."""

    @property
    def buffers(self) -> Sequence[Buffer]: ...

    @property
    def length(self) -> int: ...

    @property
    def crc(self) -> int: ...


class PageWriter:
    """The pages of one topic and the end of the last one. Calls are serialised by the topic."""

    def __init__(self, env: Env, folder: str, page_bytes: int) -> None:
        self._random = env.random
        self._files = env.files
        self._folder = folder
        self._note = DurableNote(env.files, folder)
        self._page_bytes = page_bytes
        self.pages: tuple[Page, ...] = ()
        self.end = 0
        """The sequence behind the last durable record."""
        self.over: set[str] = set()
        """Paths of pages that were there before: they are not written or cut any more."""
        self.suspect = ""
        """Why it is not known what the disk holds behind `end`, if so. The next write mends that first."""
        self._salt = 0
        self._size = 0
        """Bytes of the last page that are records."""
        self._is_ours = False
        """Did this object create the last page? Only then may it be appended to: see `_secure`."""
        self._room = 0
        """The last page may be appended to up to this size before more is set aside."""
        self._promised = 0
        """Up to this size commits go to the last page, and find room there, however long it is by then."""
        self._place = threading.Lock()
        """Guards what the promise is about: held for moments by whoever promises, and by whoever leaves the page."""
        self._is_leaving = False
        self._file: AppendFile | None = None
        self._marked = True

    # -- commits --------------------------------------------------------------------------------
    def write(self, records: Sequence[Record]) -> None:
        """Make records durable, with one write and one sync: all of them, or `end` stays where it was."""
        self._do(self._write, records)

    def _do(self, step: Callable[[T], None], what: T) -> None:
        """One step on sound ground: what an earlier one left in doubt is mended first."""
        try:
            if self.suspect:
                self._mend()
            step(what)
        except SyncFailed as error:
            self.suspect = error.message
            raise
        except MilvusException:
            raise
        except BaseException as error:  # also one that was thrown in from outside, at any point of the above
            self.suspect = repr(error)
            raise

    def _write(self, records: Sequence[Record]) -> None:
        first = self.end
        file = self._writable(sum([fmt.record_bytes(record.length) for record in records]))
        buffers: list[Buffer] = []
        for sequence, record in enumerate(records, first):
            buffers.append(fmt.encode_record_header(self._salt, record.crc, record.length, sequence, first))
            buffers.extend(record.buffers)
            buffers.append(fmt.padding(record.length))
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
        self.end = first + len(records)
        self._note.say(self.end)

    def mark(self) -> None:
        """Say in the file that all before is durable, for whoever recovers or follows it. Nobody waits for this."""
        if self._marked or self.suspect or self._file is None:
            return
        try:
            self._size += self._file.write([fmt.encode_mark(self._salt, self.end)])
            self._marked = True
        except MilvusException as error:
            _logger.warning("a new page of '%s' is begun: %s", self._folder, error.message)
            self._leave_page()
        except BaseException as error:  # thrown in from outside: how long the page is now is not known
            self.suspect = repr(error)
            raise

    def _writable(self, size: int) -> AppendFile:
        """The file to append so many bytes to: the last page, or a new one when that is full."""
        if not self._is_ours or self._is_full():
            self.roll()
        if self._file is None:
            self._file = self._files.append(self.pages[-1].path)
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
        try:
            is_known = file.reserve(step)
        except DiskLimitExceeded:  # for so much; whether there is room for these bytes is seen when they are written
            is_known = False
        self._room = self._size + step if is_known else MAX_RECORD_BYTES + self._page_bytes

    def _is_full(self) -> bool:
        """Whether the next commit begins a new page. From then on nothing is promised of this one."""
        with self._place:
            self._is_leaving = self._size >= max(self._page_bytes, self._promised)
            return self._is_leaving

    # -- room that is promised ------------------------------------------------------------------
    def promise(self, size: int) -> bool:
        """Have the next commits of so many bytes find room, where that wants nothing of the disk; else False. May be
        called while somebody commits: his bytes are among these."""
        with self._place:
            wanted = self._size + size + MARK_BYTES
            if self._file is None or self._is_leaving or self.suspect or not self._is_ours:
                return False
            if wanted > min(self._room, max(self._page_bytes, self._promised)):
                return False
            self._promised = max(self._promised, wanted)
            return True

    def make_room(self, size: int) -> None:
        """The same in any case, with the disk's help. Raises DiskLimitExceeded when it has no room for them, and what
        else the disk says; then nothing has changed. A disk that sets nothing aside is believed to have room."""
        self._do(self._make_room, size + MARK_BYTES)

    def _make_room(self, size: int) -> None:
        if not self._is_ours or self._is_full():
            self.roll()
        if self._file is None:
            self._file = self._files.append(self.pages[-1].path)
            self._room = 0
        if self._size + size > self._room:
            self._room = self._size + size if self._file.reserve(size) else MAX_RECORD_BYTES + self._page_bytes
        self._promised = max(self._promised, self._size + size)

    def promise_no_more(self) -> None:
        with self._place:
            self._promised = 0

    def _undo_write(self, file: AppendFile) -> None:
        """The disk is full: cut off what was written of the commit, so that appends work again once there is room."""
        self._file = None
        try:
            file.close()
            self._files.truncate(self.pages[-1].path, self._size)
        except MilvusException:
            self._is_ours = False

    def _leave_page(self) -> None:
        """Append no more to the last page: something behind its records was not written as it should be."""
        self._is_ours = False
        self.close()

    def close(self) -> None:
        """Give back the file."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except MilvusException as error:  # what was to be durable is; room set aside may stay taken
                _logger.warning("%s", error.message)

    # -- pages ----------------------------------------------------------------------------------
    def begin_page(self) -> None:
        """Go on in a new page, so that those before can be forgotten; not when there is nothing in the last one, nor
        while it is not known what it holds."""
        if self.suspect or not self.pages or self.pages[-1].base == self.end:
            return
        with self._place:
            if self._promised > self._size:  # the next commit goes there
                return
            self._is_leaving = True
        try:
            self.roll()
        except SyncFailed as error:  # a page that half exists must not be followed by appends to the old one
            self.suspect = error.message
            raise
        except MilvusException:
            raise
        except BaseException as error:  # thrown in from outside: the page may half exist, too
            self.suspect = repr(error)
            raise
        finally:
            self._is_leaving = False

    def roll(self) -> None:
        """Begin a new last page at `end`. Nothing changes if that fails."""
        if not self.pages:
            self._files.make_dirs(self._folder)
        self._follow(self._create(self.end))

    def _follow(self, page: Page) -> None:
        """A new page is the last one. One without records that was left after a failure has been replaced by it."""
        self.pages = (*(known for known in self.pages if known.base < page.base), page)
        self.close()

    def forget(self, count: int) -> list[str]:
        """Let the first pages go; their files, which are to be removed."""
        gone = [page.path for page in self.pages[:count]]
        self.pages = self.pages[count:]
        return gone

    def _create(self, base: int, records: Sequence[fmt.Entry] = ()) -> Page:
        """A new last page with these records. It gets its name when it is whole; nothing changes if that fails."""
        path = page_path(self._folder, base)
        salt = self._random.getrandbits(32)
        buffers = encode_page(base, salt, records)
        try:
            self._files.write_new(path + TEMPORARY, buffers)
        except MilvusException:
            with contextlib.suppress(MilvusException):  # the first failure is told, and recovery removes the file
                self._files.remove(path + TEMPORARY)
            raise
        self.over.discard(path)
        try:
            self._files.rename(path + TEMPORARY, path)
            self._files.sync_dir(self._folder)
        except MilvusException as error:  # the name may be there or not
            raise SyncFailed(error.message) from error
        self._salt, self._size, self._is_ours = salt, sum(len(buffer) for buffer in buffers), True
        self._promised, self._is_leaving = 0, False
        self._marked = True
        return Page(base, path)

    # -- after a failure ------------------------------------------------------------------------
    def _mend(self) -> None:
        """Go on in a new page that begins with copies of the last durable records, read back and found good.

        Everything else behind them is void from then on: what a failed commit wrote, and pages that half exist. Raises
        what the disk says, and `Corruption` when the records do not hold; nothing is lost by trying again.
        """
        reason = self.suspect
        records = self._tail()
        if not self.pages:
            self._files.make_dirs(self._folder)
        page = self._create(records[0].sequence if records else self.end, records)
        void = [known for known in find_pages(self._files, self._folder)[0] if known.base > page.base]
        for known in void:
            self._files.remove(known.path)
        if void:
            self._files.sync_dir(self._folder)
        self._follow(page)
        self.suspect = ""
        _logger.warning("the log '%s' goes on in a new page after a failure: %s", self._folder, reason)

    def _tail(self) -> list[fmt.Entry]:
        """The last durable records, those at least that end in the last `TAIL_BYTES` of what is durable."""
        if not self.pages:
            return []
        scan = PageScan(self._files, self.pages[-1].path, self.pages[-1].base)
        kept: deque[tuple[int, fmt.Entry]] = deque()
        for entry in scan.entries(self.end):
            kept.append((scan.offset, entry))
            while kept[0][0] + TAIL_BYTES < scan.offset:
                kept.popleft()
        return [entry for _, entry in kept]

    # -- recovery -------------------------------------------------------------------------------
    def recover(self) -> None:
        """Find the pages and the end. Pages that are there are only read: a torn end is left behind, unread."""
        known = read_note(self._files, self._folder)
        pages, unfinished = find_pages(self._files, self._folder)
        for path in unfinished:
            self._files.remove(path)
        self.over.update(page.path for page in pages)
        if pages:
            scan = PageScan(self._files, pages[-1].path, pages[-1].base, is_over=True)
            self.end = scan.recover(known)
            if not scan.is_proven:
                pages = self._secure(pages, scan)
        elif known:
            raise Corruption(f"'{self._folder}' has no page, and it is noted that {known} records were durable")
        self.pages = tuple(pages)
        if self.end > known:
            self._note.say(self.end)

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
