"""The seam to the world: clock, randomness, files, tasks. Nothing else in Redkite touches them.

`Env.real()` is the operating system. `redkite.simulated.simulated_env(seed)` is a world in memory in
which time moves only when told, un-synced bytes are lost at a crash and work is scheduled from the seed.
"""

from __future__ import annotations

import random
import threading
from _thread import RLock, allocate_lock
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures._base import FINISHED
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from redkite.logs import get_logger

_logger = get_logger("env")
T = TypeVar("T")
Buffer = bytes | bytearray | memoryview
Names = list[str]
"""Spelled so because a class with a method `list` cannot say `list[str]`."""


class Clock(Protocol):
    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch; may step backwards."""
        ...

    def now_us(self) -> int:
        """The same clock in microseconds."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin; never steps backwards."""
        ...


class AppendFile(Protocol):
    """A file that only grows. Bytes are durable after `sync`, not before."""

    def write(self, buffers: Sequence[Buffer]) -> int:
        """Append the buffers in order (one `writev` where possible); returns the bytes written, always all of them."""
        ...

    def sync(self) -> None:
        """Make everything written durable (`fdatasync`). After a failure the file must not be written again."""
        ...

    def reserve(self, size: int) -> bool:
        """Have the disk set so many bytes aside behind the end, so that syncing appends into them costs less.

        They read as zeros, also after a crash, until they are appended to or the file is closed. False when the disk
        cannot do that, which is not an error. Raises DiskLimitExceeded when it has no room, and has taken none then.
        """
        ...

    def size(self) -> int:
        """Bytes appended, those found at opening included; what is reserved behind them is not."""
        ...

    def close(self) -> None:
        """Give back what is reserved, and the handle."""
        ...


class FileLock(Protocol):
    def release(self) -> None: ...


class Files(Protocol):
    """A file system. Paths are plain strings with `/`. A new name is durable after `sync_dir` of its folder."""

    def append(self, path: str) -> AppendFile:
        """Open for appending, creating the file when missing."""
        ...

    def write_new(self, path: str, buffers: Sequence[Buffer]) -> None:
        """Write a whole file and sync its bytes; an existing file is replaced. The name still wants `sync_dir`."""
        ...

    def overwrite(self, path: str, data: bytes) -> None:
        """Put a few bytes, 512 at most, in the place of those that a small file begins with, creating it when missing.
        Nothing is synced: what a crash of the machine leaves is one of the versions since the last one, or a part of
        the first."""
        ...

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes: ...

    def map(self, path: str) -> memoryview:
        """The file's bytes, read-only, mapped where the system can. They stay valid when the file is removed."""
        ...

    def local_path(self, path: str) -> str | None:
        """A path native code may open, or None when the file lives only in memory."""
        ...

    def truncate(self, path: str, size: int) -> None: ...

    def rename(self, old: str, new: str) -> None:
        """Atomic replace. Durable after `sync_dir`."""
        ...

    def link(self, old: str, new: str) -> bool:
        """Give a file that is not written any more a second name. Durable after `sync_dir`. False when the file system
        has no such thing, which is not an error."""
        ...

    def remove(self, path: str) -> None:
        """Missing is not an error."""
        ...

    def remove_tree(self, path: str) -> None:
        """Missing is not an error."""
        ...

    def list(self, path: str) -> Names:
        """Names in a folder, sorted; empty when the folder is missing."""
        ...

    def walk(self, path: str) -> Names:
        """Paths of all files below a folder, relative to it, sorted; empty when the folder is missing."""
        ...

    def exists(self, path: str) -> bool: ...

    def size(self, path: str) -> int: ...

    def make_dirs(self, *paths: str, durable: bool = True) -> None:
        """Create with parents. The new names are durable when it returns, if they are to be; the disk is waited for
        when all of them are there."""
        ...

    def sync_dir(self, path: str) -> None: ...

    def lock(self, path: str, note: str) -> FileLock | str:
        """Take an exclusive lock that dies with the process. Held by another: returns the holder's note instead."""
        ...


class Work(Protocol):
    """What must be done before a future ends, and nobody may be doing yet. Both calls do nothing when somebody is."""

    def do_here(self) -> None:
        """Do it in this thread."""
        ...

    def do_elsewhere(self) -> None:
        """Have another thread do it, without waiting."""
        ...


if TYPE_CHECKING:

    class _Lock(threading.Condition):
        """What it is used as, and what a lock of Python's that can be taken again has besides."""

        def _is_owned(self) -> bool: ...
        def _acquire_restore(self, state: tuple[int, int]) -> None: ...

else:
    _Lock = RLock


class Gate(_Lock):
    """A `threading.Condition` that what is thrown into a thread from outside (`KeyboardInterrupt`) cannot leave locked:
    its lock is taken and given back in one step, where that of the standard library is taken inside a method written
    in Python."""

    def __init__(self) -> None:
        self._waiters: list[Any] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Let go of the lock until `notify_all`, or for so many seconds; False: they are over."""
        waiter, once = allocate_lock(), (1, threading.get_ident())
        waiter.acquire()
        self._waiters.append(waiter)
        try:
            self.release()
            return waiter.acquire(True, -1 if timeout is None else max(0.0, timeout))
        finally:
            # Taking it back is not interrupted while it waits; who is interrupted before that tries again, as he must
            # come out with the lock.
            try:
                if not self._is_owned():
                    self._acquire_restore(once)
            finally:
                if not self._is_owned():
                    self._acquire_restore(once)
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def notify_all(self) -> None:
        """May be called once more by who was torn away from it: nobody is forgotten before he is woken."""
        for waiter in self._waiters:
            if waiter.locked():
                waiter.release()
        self._waiters = []


class Outcome(Future[T]):
    """A future whose waiter can be interrupted without harm to whoever ends it, and who ends it without harm to those
    who wait: once it is done, all of them hear so."""

    _done_callbacks: list[Callable[[Future[T]], object]]

    def __init__(self) -> None:
        super().__init__()
        self._condition = Gate()

    def set_result(self, result: T) -> None:
        try:
            super().set_result(result)
        except BaseException as error:
            self._tell_all(error)
            raise

    def set_exception(self, exception: BaseException | None) -> None:
        try:
            super().set_exception(exception)
        except BaseException as error:
            self._tell_all(error)
            raise

    def _tell_all(self, error: BaseException) -> None:
        if self.done() and not isinstance(error, Exception):  # else it was done before
            with self._condition:
                self._condition.notify_all()
            self._invoke_callbacks()

    def _invoke_callbacks(self) -> None:
        """Each is called once, also where this is called again after it was interrupted."""
        while self._done_callbacks:
            callback = self._done_callbacks.pop(0)
            try:
                callback(self)
            except Exception:  # as the standard library has it: the others are called
                _logger.exception("a callback of a future failed")


class Awaited(Outcome[T]):
    """A future of work that begins when somebody wants its end: who waits for it does the work himself, while a waiter
    with a time limit, or a callback, has it done by another thread."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self.work = work

    def result(self, timeout: float | None = None) -> T:
        self._begin(timeout)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._begin(timeout)
        return super().exception(timeout)

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        super().add_done_callback(fn)
        if not self.done():
            self.work.do_elsewhere()

    def attach(self, fn: Callable[[Future[T]], object]) -> None:
        """Add a callback that does not want the end any sooner."""
        super().add_done_callback(fn)

    def _begin(self, timeout: float | None) -> None:
        if self._state != FINISHED:
            if timeout is None:
                self.work.do_here()
            else:
                self.work.do_elsewhere()


def attach(future: Future[T], fn: Callable[[Future[T]], object]) -> None:
    """Add a callback to a future without beginning its work."""
    if isinstance(future, Awaited):
        future.attach(fn)
    else:
        future.add_done_callback(fn)


def work_of(future: Future[Any]) -> Work | None:
    """What has to be done before a future ends, if somebody who waits could do it."""
    return future.work if isinstance(future, Awaited) else None


class Executor(Protocol):
    def submit(self, fn: Callable[..., T], /, *args: Any) -> Future[T]: ...

    def shutdown(self, wait: bool = True) -> None: ...


class Timer(Protocol):
    def cancel(self) -> None: ...


class Tasks(Protocol):
    """Background work. In a simulation nothing runs until somebody waits on a future or steps the scheduler."""

    def future(self, work: Work | None = None) -> Future[Any]:
        """A future whose `result()` may be waited on here; with `work`, an `Awaited` one."""
        ...

    def executor(self, name: str, workers: int = 1) -> Executor: ...

    def every(self, seconds: float, fn: Callable[[], None], name: str, *, alone: bool = False) -> Timer:
        """Call `fn` repeatedly until cancelled; an exception in it is reported to the log and the timer goes on. A
        timer that must be on time, however long others take, is `alone` on its thread."""
        ...


class Pool(Protocol):
    """Threads of which some may be away. Both calls come from one of its threads."""

    def leave(self) -> None: ...

    def come_back(self) -> None: ...


_HERE = threading.local()


def works_for(pool: Pool) -> None:
    """Said by a thread of a pool that wants to know when the thread is away."""
    _HERE.pool = pool


@contextmanager
def away() -> Iterator[None]:
    """Within it this thread waits for another machine, perhaps for long: its pool may let another work meanwhile."""
    pool: Pool | None = getattr(_HERE, "pool", None)
    if pool is None:
        yield
        return
    pool.leave()
    try:
        yield
    finally:
        pool.come_back()


@dataclass(frozen=True, slots=True)
class Env:
    clock: Clock
    random: random.Random
    files: Files
    tasks: Tasks

    @staticmethod
    def real() -> Env:
        """The operating system: wall clock, OS entropy, real files with fsync, threads."""
        from redkite.realenv import real_env

        return real_env()
