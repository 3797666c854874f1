"""Threads for calls that take their time. They are daemons: one that never returns does not keep the process alive."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from redkite.env import works_for

Work = Callable[[], None]
MOST_AWAY = 112
"""Threads that may wait for other machines beside those that work."""


class _Idle:
    """A thread that has nothing to do, until it is woken with work, or with none to end."""

    def __init__(self) -> None:
        self.work: Work | None = None
        self._woken = threading.Lock()
        self._woken.acquire()

    def wake(self, work: Work | None) -> None:
        self.work = work
        self._woken.release()

    def wait(self) -> Work | None:
        self._woken.acquire()
        work, self.work = self.work, None
        return work


class Workers:
    """A pool that grows to `size` threads, and by those that are away. Work must not raise.

    The thread that was the last to finish is the first to be woken, and no other with it: what it worked with is still
    in the caches, and a pool that was busy once is no slower for it.
    """

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._queue: deque[Work] = deque()
        self._idle: list[_Idle] = []
        """Those that wait for work, the last to finish at the end; none while something is in the queue."""
        self._threads = 0
        self._away = 0
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, work: Work) -> None:
        """Have a thread do it: one that is idle, else a new one, else whichever is free first."""
        with self._lock:
            if self._idle:
                self._idle.pop().wake(work)
            else:
                self._queue.append(work)
                self._grow()

    def close(self) -> None:
        """Let the threads end when what was submitted is done."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for one in idle:
            one.wake(None)

    @property
    def waiting(self) -> int:
        """How much of what was submitted no thread has begun."""
        return len(self._queue)

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
        if self._queue and working < self._size:
            self._threads += 1
            first = self._queue.popleft()
            threading.Thread(target=self._run, args=(first,), name=f"{self._name}-{self._threads}", daemon=True).start()

    def _run(self, work: Work | None) -> None:
        works_for(self)
        me = _Idle()
        while work is not None:
            work()
            del work  # and all that it holds, while this thread waits for more
            work = self._next(me) or me.wait()

    def _next(self, me: _Idle) -> Work | None:
        """What has waited longest. None: whoever waits as `me` is told what comes next."""
        with self._lock:
            if self._queue:
                return self._queue.popleft()
            if self._closed:
                me.wake(None)
            else:
                self._idle.append(me)
            return None
