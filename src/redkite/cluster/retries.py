"""What could not be done now and is tried again soon, without a thread that waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from typing import Final

from redkite.env import Tasks, Timer
from redkite.logs import get_logger

log = get_logger(__name__)

RETRY_SECONDS: Final = 0.05


class Retries:
    """Safe from any thread."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._lock = Lock()
        self._waiting: list[Callable[[], None]] = []
        self._timer: Timer | None = None
        self._closed = False

    def later(self, again: Callable[[], None]) -> None:
        """Call it within `RETRY_SECONDS`, or at once when nothing is tried again any more: it then sees that its time
        is over, or fails as it did."""
        with self._lock:
            closed = self._closed
            if not closed:
                self._waiting.append(again)
                if self._timer is None:
                    self._timer = self._tasks.every(RETRY_SECONDS, self.now, "try-again")
        if closed:
            again()

    def now(self) -> None:
        """There is news: try again what waits."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            timer = None
            if not waiting:
                timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        _each(waiting)

    @property
    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        with self._lock:
            self._closed = True
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        with self._lock:
            waiting, self._waiting = self._waiting, []
        _each(waiting)


def _each(waiting: Iterable[Callable[[], None]]) -> None:
    for again in waiting:
        try:
            again()
        except Exception:  # theirs: the others have to be tried all the same, or nobody would ever answer them
            log.exception("what was to be tried again failed")
