"""How much may wait to be written: appenders queue for room, and are sent away when none comes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from redkite.env import Tasks
from redkite.errors import RateLimited


class _MakesRoom(threading.local):
    """Inside of it a thread never waits: it is the one that makes room."""

    depth = 0

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *_: object) -> None:
        self.depth -= 1


class Backlog:
    """Bytes that wait, over all topics of a log. Who came first gets room first."""

    def __init__(self, tasks: Tasks, limit: int, seconds: float, begin: Callable[[], None]) -> None:
        """`begin` is called before somebody waits: it has written whatever nobody writes yet."""
        self._tasks = tasks
        self._limit = limit
        self._seconds = seconds
        self._lock = threading.Lock()
        self._waiting: deque[tuple[int, Future[None]]] = deque()
        self._begin = begin
        self.here = _MakesRoom()
        self.size = 0

    @property
    def is_full(self) -> bool:
        """Would an append have to wait?"""
        return bool(self._waiting) or self.size >= self._limit

    def enter(self, size: int) -> None:
        """Wait for room. What is longer than all the room there is goes alone. Raises RateLimited."""
        with self._lock:
            if self._has_room(size) or self.here.depth:
                self.size += size
                return
            turn: Future[None] = self._tasks.future()
            waiting = (size, turn)
            self._waiting.append(waiting)
        self._begin()
        try:
            turn.result(self._seconds)
        except BaseException as error:
            with self._lock:
                granted = waiting not in self._waiting  # its turn came at the last moment
                if not granted:
                    self._waiting.remove(waiting)
            if not isinstance(error, TimeoutError):  # thrown in from outside
                if granted:
                    self.leave(size)
                raise
            if granted:
                return
            raise RateLimited(
                f"rate limit exceeded: {self.size} bytes wait to be written to the log and the limit is "
                f"{self._limit}; no room came within {self._seconds:g} s"
            ) from None

    def leave(self, size: int) -> None:
        """So many bytes wait no more."""
        turns = []
        with self._lock:
            self.size -= size
            while self._waiting and (not self.size or self.size + self._waiting[0][0] <= self._limit):
                wanted, turn = self._waiting.popleft()
                self.size += wanted
                turns.append(turn)
        for turn in turns:
            turn.set_result(None)

    def _has_room(self, size: int) -> bool:
        return not self.size or (not self._waiting and self.size + size <= self._limit)
