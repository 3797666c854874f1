"""Threads for calls that take their time. They are daemons: one that never returns does not keep the process alive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from redkite.env import works_for

Work = Callable[[], None]
MOST_AWAY = 112
"""Threads that may wait for other machines beside those that work."""


class Workers:
    """A pool that grows to `size` threads, and by those that are away. Work must not raise."""

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._threads = 0
        self._away = 0
        self._lock = threading.Lock()
        self._unfinished = 0

    def submit(self, work: Work) -> None:
        """Have a thread do it: one that is idle, else a new one. Called from one thread only."""
        with self._lock:
            self._unfinished += 1
            self._queue.put(work)
            self._grow()

    def close(self) -> None:
        """Let the threads end when what was submitted is done."""
        for _ in range(self._threads):
            self._queue.put(None)

    @property
    def waiting(self) -> int:
        """How much of what was submitted no thread has begun."""
        return self._queue.qsize()

    def leave(self) -> None:
        with self._lock:
            self._away += 1
            self._grow()

    def come_back(self) -> None:
        with self._lock:
            self._away -= 1

    def _grow(self) -> None:
        """Start a thread when there is work that none of them can begin."""
        working = self._threads - min(self._away, MOST_AWAY)
        if self._unfinished > self._threads and working < self._size:
            self._threads += 1
            threading.Thread(target=self._run, name=f"{self._name}-{self._threads}", daemon=True).start()

    def _run(self) -> None:
        works_for(self)
        while (work := self._queue.get()) is not None:
            work()
            with self._lock:
                self._unfinished -= 1
