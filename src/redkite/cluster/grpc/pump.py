"""Threads that wait for sockets: who is woken by one reads it, and does what has to be done about it by itself.

So nothing is handed from thread to thread on the way of a message. While a thread is at work another one waits; when
all are at work another one is started.
"""

from __future__ import annotations

import os
import select
import weakref
from atexit import register
from collections import deque
from collections.abc import Callable
from contextvars import Context
from threading import Lock
from typing import Final, Protocol

from redkite.env import Env
from redkite.errors import Unavailable
from redkite.logs import get_logger

_log = get_logger(__name__)

MOST_THREADS: Final = 512
_KEPT: Final = 2
"""Threads that wait although there is nothing to do."""
_IDLE_SECONDS: Final = 10.0
READ: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT
WRITE: Final = select.EPOLLOUT
GONE: Final = select.EPOLLRDHUP | select.EPOLLONESHOT
"""A connection that is only watched."""
Job = Callable[[], None]


class Ready(Protocol):
    """Somebody who is called when a socket is ready, by one thread at a time: it is looked at once, and again when it
    says so."""

    def ready(self) -> None: ...


class Pump:
    """Of one node. Safe from any thread."""

    def __init__(self, env: Env, name: str) -> None:
        self._epoll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._bell, select.EPOLLIN | select.EPOLLET)
        self._ready: dict[int, Ready] = {}
        self._jobs: deque[Job] = deque()
        self._idle: list[None] = []
        """One for each thread that waits: a list, as its ends are taken and put in one step."""
        self._lock = Lock()
        self._threads = 0
        self._closed = False
        self._tasks = env.tasks.executor(name, MOST_THREADS)
        _OPEN.add(self)

    def after_fork(self) -> None:
        """In a child, which has its own descriptors of what its parent waits with: who forgets a socket here must not
        make the parent forget it."""
        self._lock = Lock()
        self._closed, self._threads = True, 0
        self._ready, self._jobs = {}, deque()
        if not self._epoll.closed:
            self._epoll.close()
            os.close(self._bell)

    # -- sockets ------------------------------------------------------------------------------------
    def watch(self, number: int, ready: Ready, events: int = READ) -> None:
        """Call `ready` when there is something to do with a socket, once. Raises OSError, and that when it is closed,
        too."""
        self._ready[number] = ready
        try:
            self._epoll.register(number, events)
        except (OSError, ValueError) as error:
            if self._ready.get(number) is ready:
                del self._ready[number]
            raise OSError(f"its socket cannot be watched: {error}") from error
        if not self._threads:
            self._another()

    def again(self, number: int, events: int = READ) -> None:
        """Once more."""
        try:
            self._epoll.modify(number, events)
        except (OSError, ValueError):  # it was closed meanwhile
            return

    def forget(self, number: int, ready: Ready) -> None:
        """To be said before a socket is closed."""
        if self._ready.get(number) is ready:
            del self._ready[number]
            try:
                self._epoll.unregister(number)
            except (OSError, ValueError):  # the pump was closed before it
                return

    # -- other work ---------------------------------------------------------------------------------
    def hand(self, job: Job) -> None:
        """Have another thread do something, soon."""
        self._jobs.append(job)
        self._ring()

    def _ring(self) -> None:
        with self._lock:  # its number may be another one's once it is closed, and that must not be written to
            if not self._epoll.closed:
                os.eventfd_write(self._bell, 1)

    # -- threads ------------------------------------------------------------------------------------
    def _another(self) -> None:
        with self._lock:
            if self._closed or self._threads >= MOST_THREADS:
                return
            self._threads += 1
        try:
            Context().run(self._tasks.submit, self._work)  # not below the span of whoever happens to be first
        except Unavailable as error:
            with self._lock:
                self._threads -= 1
            _log.warning("messages wait for threads: %s", error.message)
            self._gone()

    def _work(self) -> None:
        poll, idle, bell = self._epoll.poll, self._idle, self._bell
        while not self._closed:
            idle.append(None)
            try:
                events = poll(_IDLE_SECONDS, 1)
            except InterruptedError:
                events = []
            idle.pop()
            if not events:
                if self._ends():
                    return
                continue
            if not idle:
                self._another()
            number = events[0][0]
            if number != bell:
                ready = self._ready.get(number)
                if ready is not None:
                    self._do(ready.ready)
            self._do_jobs()
        self._do_jobs()  # those that were handed in while this thread did not look, and the others were gone
        with self._lock:
            self._threads -= 1
        self._gone()

    def _do_jobs(self) -> None:
        jobs = self._jobs
        while jobs:
            try:
                job = jobs.popleft()
            except IndexError:  # another thread has taken it
                break
            if jobs:
                self._ring()
            self._do(job)

    def _do(self, job: Job) -> None:
        try:
            job()
        except Exception:  # noqa: BLE001  one connection must not take the others along
            _log.exception("a connection between nodes failed")

    def _ends(self) -> bool:
        """Whether a thread that had nothing to do goes."""
        with self._lock:
            if len(self._idle) < _KEPT:
                return False
            self._threads -= 1
            return True

    def close(self) -> None:
        """Let all threads go, when what they do is done."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            # Not at its edge any more: all that wait are woken, one after the other. Under the lock, as the last of
            # them closes it.
            self._epoll.modify(self._bell, select.EPOLLIN)
            os.eventfd_write(self._bell, 1)
        self._tasks.shutdown(wait=False)
        self._gone()

    def _gone(self) -> None:
        """The last one closes."""
        with self._lock:
            if not self._closed or self._threads or self._epoll.closed:
                return
            self._epoll.close()
            os.close(self._bell)


_OPEN: weakref.WeakSet[Pump] = weakref.WeakSet()


def _forget_in_child() -> None:
    for pump in [*_OPEN]:
        pump.after_fork()
    _OPEN.clear()


os.register_at_fork(after_in_child=_forget_in_child)


@register
def _close_all() -> None:
    """Who has forgotten to close does not keep the interpreter waiting."""
    for pump in [*_OPEN]:
        pump.close()
