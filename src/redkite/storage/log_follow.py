"""A topic that another process writes, read while it grows. Nothing is written, locked or repaired here.

Only records are shown that are proven to be durable: the writer says so in the next commit, or in a mark once it has
nothing more to write, or, where the two share a board, there. What lies behind may be half written, or be taken back;
it is no error.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Final

from redkite.env import Buffer, Files
from redkite.errors import Corruption, ObjectNotFound, StorageError
from redkite.storage.log import EARLIEST, At, Group, LogRecord, Room
from redkite.storage.log_durable import read_note
from redkite.storage.log_pages import Page, PageReader, find_pages
from redkite.storage.log_scan import PageScan
from redkite.storage.log_state import load_state

_TRIES = 20
"""Times that a folder is listed again because a page was removed meanwhile."""

_LOOKS: Final = 4
"""So often a look at a page is taken again that seems to be damaged: somebody may be writing it."""


class FollowedTopic:
    """Sees what was there at the last `refresh`; the first use is one."""

    def __init__(self, files: Files, folder: str, published: Callable[[], int] | None = None) -> None:
        """`published` gives the end that the writer tells (0: it told none)."""
        self._files = files
        self._published = published
        self._known = 0
        """What was published when the last look began."""
        self._folder = folder
        self._lock = threading.Lock()
        self._reader = PageReader(files)
        self._seen: tuple[tuple[Page, ...], int] | None = None
        """Pages and end, as of the last look."""
        self._scan: PageScan | None = None
        self.closed = False

    @property
    def end(self) -> int:
        return self._look()[1]

    @property
    def start(self) -> int:
        pages, end = self._look()
        return pages[0].base if pages else end

    def refresh(self) -> int:
        with self._lock:
            # Before the look: what it tells of is there to be found.
            published = 0 if self._published is None else self._published()
            if self._seen is not None and published and published == self._known:
                return self._seen[1]
            noted = 0
            for _ in range(_TRIES):
                noted = read_note(self._files, self._folder)
                pages = tuple(find_pages(self._files, self._folder)[0])
                if noted and not pages:  # dropped just now
                    continue
                try:
                    end = self._find_end(pages, published, noted)
                except ObjectNotFound:
                    continue
                self._seen = (pages, end)
                self._known = published
                return end
        if noted and not pages:
            raise Corruption(f"'{self._folder}' has no page, and it is noted that {noted} records were durable")
        raise StorageError(f"the log topic '{self._folder}' changes too fast to be read")

    def read(self, position: int = 0) -> Iterator[LogRecord]:
        """Raises ObjectNotFound when the writer removes a page before it is read; the next `refresh` looks again."""
        return self._read(*self._look(), position)

    def _read(self, pages: tuple[Page, ...], end: int, position: int) -> Iterator[LogRecord]:
        try:
            yield from self._reader.read(pages, position, end)
        except ObjectNotFound:
            # Pages change without anything being published when the writer mends one, or forgets some.
            self._known = 0
            raise

    def groups(self) -> list[str]:
        return sorted(load_state(self._files, self._folder).groups)

    def close(self) -> None:
        self.closed = True
        self._scan = None

    def _look(self) -> tuple[tuple[Page, ...], int]:
        if self.closed:
            raise StorageError(f"the log topic '{self._folder}' is closed")
        if self._seen is None:
            self.refresh()
        assert self._seen is not None
        return self._seen

    def _find_end(self, pages: tuple[Page, ...], published: int, noted: int) -> int:
        """The end of what is proven, going on from where the last look ended. What was `noted` before the pages were
        listed is in them."""
        if not pages:
            self._scan = None
            return 0 if self._seen is None else self._seen[1]
        fresh = PageScan(self._files, pages[-1].path, pages[-1].base)
        known = self._scan
        # The salt tells a page from one of the same name that took its place.
        scan = known if known is not None and (known.base, known.salt) == (fresh.base, fresh.salt) else fresh
        self._scan = scan
        self._pass(scan)
        for last in (*[False] * _LOOKS, True):
            if scan.next >= noted and not scan.is_blocked:
                break
            try:
                scan.check_rest(noted)
                break
            except Corruption:  # this look may have met the writer at work
                if last:
                    raise
                scan.jump(*scan.proven)
                self._pass(scan)
        reached = scan.next
        scan.jump(*scan.proven)
        for _ in scan.entries(min(max(published, noted), reached)):
            pass  # on to what is published
        return scan.next

    @staticmethod
    def _pass(scan: PageScan) -> None:
        scan.look_again()
        scan.pass_all()

    # -- what only the writer may do ------------------------------------------------------------
    unapplied = ""

    def resume(self) -> None:
        raise self._refusal("resume")

    def append(
        self,
        buffers: Sequence[Buffer],  # noqa: ARG002
        on_durable: Callable[[int], None] | None = None,  # noqa: ARG002
        answer: Callable[[], Any] | None = None,  # noqa: ARG002
        room: Room | None = None,  # noqa: ARG002
    ) -> Future[Any]:
        raise self._refusal("append to")

    def truncate(self, position: int) -> None:  # noqa: ARG002
        raise self._refusal("truncate")

    def group(self, name: str, at: At = EARLIEST) -> Group:  # noqa: ARG002
        raise self._refusal("consume by groups from")

    def drop_group(self, name: str) -> None:  # noqa: ARG002
        raise self._refusal("drop a group of")

    def _refusal(self, action: str) -> StorageError:
        return StorageError(f"cannot {action} the log topic '{self._folder}': it is open for reading only")
