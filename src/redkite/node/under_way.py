"""Writes of a shard that have their timestamp, or are about to get it, and cannot be read yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Any


class _Write:
    __slots__ = ("future", "timestamp")

    def __init__(self, timestamp: int) -> None:
        self.timestamp = timestamp
        self.future: Future[Any] | None = None
        """None while the log has not taken it."""

    @property
    def is_over(self) -> bool:
        return self.future is not None and self.future.done()


class UnderWay:
    """Told of by whoever has the shard's turn, one after another and with growing timestamps; asked from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._writes: deque[_Write] = deque()
        self._is_stamping = False
        self._stamped = 0
        """The newest timestamp of the present turn, by which more may come; 0 while it has none."""
        self.last: Future[Any] | None = None
        """Of the newest record; when it is done, all are."""
        self._seen_done: Future[Any] | None = None
        """The last one that was found done: asking one takes its lock."""

    def __enter__(self) -> None:
        """A timestamp is taken within, for what is logged within."""
        self._stamped = 0
        self._is_stamping = True

    def __exit__(self, *_: object) -> None:
        self._is_stamping = False

    def log(self, timestamp: int, append: Callable[[], Future[Any]]) -> Future[Any]:
        """What `append` gives, which may wait for the log for long: others see the timestamp meanwhile."""
        write = _Write(timestamp)
        try:
            with self._lock:
                # One that the log has not taken, in another turn than this, came to nothing.
                while self._writes and (self._writes[0].future is None or self._writes[0].is_over):
                    self._writes.popleft()
                self._writes.append(write)
            self._stamped = timestamp
            write.future = self.last = append()
        except BaseException:
            with self._lock:
                if self._writes and self._writes[-1] is write:
                    self._writes.pop()
            raise
        return write.future

    @property
    def is_over(self) -> bool:
        """Whether every write that has its timestamp is applied, or came to nothing."""
        if self._is_stamping:
            return False
        last = self.last  # looked at second: who has left its turn has put its write here before
        if last is None or last is self._seen_done:
            return True
        if not last.done():
            return False
        self._seen_done = last
        return True

    @property
    def first(self) -> int | None:
        """No write under way has a smaller timestamp; 0 where that cannot be said, None when there is none."""
        coming = self._stamped if self._is_stamping else None  # first, as above
        with self._lock:
            waiting = next((write.timestamp for write in self._writes if not write.is_over), None)
        known = [timestamp for timestamp in (coming, waiting) if timestamp is not None]
        return min(known, default=None)
