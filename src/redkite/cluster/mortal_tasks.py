"""Background work of one node among several in a process: it ends with the node, as it would with its process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from redkite.env import Executor, Tasks, Timer, Work
from redkite.errors import ConnectionClosed


class MortalTasks:
    """`Tasks` that end all together. Safe from any thread."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._lock = threading.Lock()
        self._timers: set[_MortalTimer] = set()
        self._executors: list[Executor] = []
        self._ended = False

    def future(self, work: Work | None = None) -> Future[Any]:
        return self._tasks.future(work)

    def executor(self, name: str, workers: int = 1) -> Executor:
        made = self._tasks.executor(name, workers)
        with self._lock:
            self._executors.append(made)
            ended = self._ended
        if ended:
            made.shutdown(wait=False)
        return made

    def every(self, seconds: float, fn: Callable[[], None], name: str, *, alone: bool = False) -> Timer:
        timer = _MortalTimer(self)
        with self._lock:
            if self._ended:
                raise ConnectionClosed(f"timer '{name}' of a node that has ended")
            timer.inner = self._tasks.every(seconds, fn, name, alone=alone)
            self._timers.add(timer)
        return timer

    def forget(self, timer: _MortalTimer) -> None:
        with self._lock:
            self._timers.discard(timer)

    def end(self) -> None:
        """Nothing is begun any more: what runs just now runs to its end."""
        with self._lock:
            self._ended = True
            timers, executors = list(self._timers), self._executors
        for timer in timers:
            timer.cancel()
        for executor in executors:
            executor.shutdown(wait=False)


class _MortalTimer:
    def __init__(self, tasks: MortalTasks) -> None:
        self._tasks = tasks
        self.inner: Timer | None = None

    def cancel(self) -> None:
        if self.inner is not None:
            self.inner.cancel()
        self._tasks.forget(self)
