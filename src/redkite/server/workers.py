"""Threads for calls that take their time. They are daemons: one that never returns does not keep the process alive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

Work = Callable[[], None]


class Workers:
    """A pool that grows to `size` threads. Work must not raise."""

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._threads = 0
        self._lock = threading.Lock()
        self._unfinished = 0

    def submit(self, work: Work) -> None:
        """Have a thread do it: one that is idle, else a new one. Called from one thread only."""
        with self._lock:
            self._unfinished += 1
            busy = self._unfinished > self._threads
        self._queue.put(work)
        if busy and self._threads < self._size:
            self._threads += 1
            threading.Thread(target=self._run, name=f"{self._name}-{self._threads}", daemon=True).start()

    def close(self) -> None:
        """Let the threads end when what was submitted is done."""
        for _ in range(self._threads):
            self._queue.put(None)

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            work()
            with self._lock:
                self._unfinished -= 1
