"""The real world: the system's clock and entropy, files with fsync, threads. POSIX only."""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import heapq
import itertools
import mmap
import os
import queue
import random
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from redkite.env import AppendFile, Awaited, Buffer, Env, Executor, FileLock, Gate, Names, Outcome, Timer, Work
from redkite.errors import DiskLimitExceeded, MilvusException, ObjectNotFound, StorageError, Unavailable
from redkite.logs import get_logger
from redkite.spans import carried

T = TypeVar("T")
_log = get_logger("env")

_IOV_MAX = 1024
_FEW, _SMALL_BYTES = 64, 16 << 10
"""So many buffers of so many bytes are copied together before they are written: describing them would cost more."""
_IDLE_SECONDS = 10.0
"""A worker thread without work ends after this long; the next submit starts a new one."""
_EXIT_SECONDS = 5.0
"""How long the interpreter waits at exit for jobs that are still running."""
_NO_LINKS = frozenset((errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK, errno.EACCES))
"""What a file system says that gives a file one name only."""
_CANNOT_RESERVE = frozenset((errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ENODEV, errno.ESPIPE, errno.EFBIG))
_datasync = getattr(os, "fdatasync", os.fsync)


def real_env() -> Env:
    """The operating system behind the seam."""
    return Env(clock=RealClock(), random=random.Random(os.urandom(32)), files=RealFiles(), tasks=RealTasks())


class RealClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def now_us(self) -> int:
        return time.time_ns() // 1_000

    monotonic = staticmethod(time.monotonic)  # no call in between: reads look at it several times


# -- files --------------------------------------------------------------------------------------
def storage_error(action: str, path: str, error: OSError) -> MilvusException:
    """The system's error as ours: it names the file and the cause, and a full disk is told apart."""
    text = f"cannot {action} '{path}': {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskLimitExceeded(text)
    if error.errno == errno.ENOENT:
        return ObjectNotFound(text)
    return StorageError(text)


@contextlib.contextmanager
def _named(action: str, path: str) -> Iterator[None]:
    try:
        yield
    except MilvusException:
        raise
    except OSError as error:
        raise storage_error(action, path, error) from error


def _write_all(fd: int, buffers: Sequence[Buffer], offset: int) -> int:
    """Write the buffers in order at an offset, whatever the system takes at a time."""
    if len(buffers) <= _FEW and sum(map(len, buffers)) <= _SMALL_BYTES:  # for others than bytes that is a guess
        buffers = (b"".join(buffers),)
    views = [view.cast("B") for buffer in buffers if (view := memoryview(buffer)).nbytes]
    total = sum([view.nbytes for view in views])
    first = 0
    if len(views) == 1:
        written = os.pwrite(fd, views[0], offset)
        if written == total:
            return total
        offset += written
        views[0] = views[0][written:]
    while first < len(views):
        written = os.pwritev(fd, views[first : first + _IOV_MAX], offset)
        offset += written
        while first < len(views) and written >= views[first].nbytes:
            written -= views[first].nbytes
            first += 1
        if written:
            views[first] = views[first][written:]
    return total


class RealAppendFile:
    """A file written at its end. A failed write or sync ends its life: what the disk then holds is not known.

    It belongs to the process that opened it; in a forked child every use is refused.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._pid = os.getpid()
        self._broken = ""
        with _named("open", path):
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
            self._size = os.fstat(self._fd).st_size
        self._reserved = self._size
        """Where what is set aside ends."""

    def write(self, buffers: Sequence[Buffer]) -> int:
        self._check()
        try:
            written = _write_all(self._fd, buffers, self._size)
        except OSError as error:
            self._broken = f"an earlier write failed: {error.strerror}"
            raise storage_error("write", self._path, error) from error
        self._size += written
        return written

    def sync(self) -> None:
        self._check()
        try:
            _datasync(self._fd)
        except OSError as error:
            self._broken = f"an earlier sync failed: {error.strerror}"
            raise storage_error("sync", self._path, error) from error

    def reserve(self, size: int) -> bool:
        self._check()
        if self._size + size > self._reserved:
            try:
                os.posix_fallocate(self._fd, self._size, size)
            except OSError as error:
                if error.errno in _CANNOT_RESERVE:
                    return False
                with contextlib.suppress(OSError):  # a part of it may have been taken
                    os.ftruncate(self._fd, self._reserved)
                raise storage_error("reserve room in", self._path, error) from error
            self._reserved = self._size + size
        return True

    def size(self) -> int:
        return self._size

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with _named("close", self._path):
                try:
                    if self._reserved > self._size and self._pid == os.getpid():
                        os.ftruncate(fd, self._size)
                finally:
                    os.close(fd)

    def _check(self) -> None:
        if self._broken:
            raise StorageError(f"'{self._path}' cannot be written any more: {self._broken}")
        if self._fd < 0:
            raise StorageError(f"'{self._path}' is closed")
        if self._pid != os.getpid():
            raise StorageError(f"'{self._path}' was opened by process {self._pid}; a forked child must open its own")


class RealFiles:
    """Files of the operating system."""

    def append(self, path: str) -> AppendFile:
        return RealAppendFile(path)

    def write_new(self, path: str, buffers: Sequence[Buffer]) -> None:
        with _named("write", path):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                _write_all(fd, buffers, 0)
                os.fsync(fd)
            finally:
                os.close(fd)

    def overwrite(self, path: str, data: bytes) -> None:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                if os.pwrite(fd, data, 0) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(fd)
        except OSError as error:
            raise storage_error("write", path, error) from error

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        with _named("read", path), open(path, "rb", buffering=0) as file:
            want = max(0, os.fstat(file.fileno()).st_size - offset) if length is None else length
            if offset:
                file.seek(offset)
            data = file.read(want) or b""
            if len(data) == want or not data:
                return data
            parts = [data]
            missing = want - len(data)
            while missing and (more := file.read(missing)):
                parts.append(more)
                missing -= len(more)
            return b"".join(parts)

    def map(self, path: str) -> memoryview:
        with _named("map", path):
            fd = os.open(path, os.O_RDONLY)
            try:
                if not os.fstat(fd).st_size:
                    return memoryview(b"")
                return memoryview(mmap.mmap(fd, 0, access=mmap.ACCESS_READ))
            finally:
                os.close(fd)

    def local_path(self, path: str) -> str | None:
        return path

    def truncate(self, path: str, size: int) -> None:
        with _named("truncate", path):
            fd = os.open(path, os.O_WRONLY)
            try:
                os.ftruncate(fd, size)
                os.fsync(fd)
            finally:
                os.close(fd)

    def rename(self, old: str, new: str) -> None:
        with _named("rename", f"{old}' to '{new}"):
            os.replace(old, new)

    def link(self, old: str, new: str) -> bool:
        with _named("link", f"{old}' to '{new}"):
            try:
                os.link(old, new)
            except OSError as error:
                if error.errno in _NO_LINKS:
                    return False
                raise
        return True

    def remove(self, path: str) -> None:
        with _named("remove", path), contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def remove_tree(self, path: str) -> None:
        with _named("remove", path), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path)

    def list(self, path: str) -> Names:
        try:
            with _named("list", path):
                return sorted(os.listdir(path))
        except ObjectNotFound:
            return []

    def walk(self, path: str) -> Names:
        found: list[str] = []
        folders = [""]
        while folders:
            folder = folders.pop()
            with _named("list", path), contextlib.suppress(FileNotFoundError):
                for entry in os.scandir(f"{path}/{folder}" if folder else path):
                    name = f"{folder}/{entry.name}" if folder else entry.name
                    (folders if entry.is_dir(follow_symlinks=False) else found).append(name)
        return sorted(found)

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def size(self, path: str) -> int:
        with _named("read", path):
            return os.stat(path).st_size

    def make_dirs(self, *paths: str, durable: bool = True) -> None:
        changed: dict[str, None] = {}
        try:
            for path in paths:
                for folder in _missing(path):
                    with _named("create folder", folder):
                        with contextlib.suppress(FileExistsError):
                            os.mkdir(folder)
                        if not os.path.isdir(folder):
                            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
                    changed[os.path.dirname(folder) or "."] = None
        finally:  # also those before one that failed: the next call finds them there
            for folder in changed if durable else ():
                self.sync_dir(folder)

    def sync_dir(self, path: str) -> None:
        with _named("sync folder", path):
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def lock(self, path: str, note: str) -> FileLock | str:
        with _named("lock", path):
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                held = self._try_lock(fd)
                if held is not None:
                    os.close(fd)
                    return held
                os.ftruncate(fd, 0)
                os.pwrite(fd, note.encode(), 0)
            except BaseException:
                os.close(fd)
                raise
        lock = RealFileLock(fd)
        _forgotten_by_children.add(lock)
        return lock

    def _try_lock(self, fd: int) -> str | None:
        """None when taken, else the holder's note, waiting a moment for a holder that has not written it yet."""
        for _ in range(20):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if note := os.pread(fd, 4096, 0):
                    return note.decode(errors="replace")
                time.sleep(0.005)
            else:
                return None
        return ""


def _missing(path: str) -> list[str]:
    """The folders that are not there of a path, outermost first."""
    missing: list[str] = []
    while path and not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    return missing[::-1]


class RealFileLock:
    """`flock` on an open file: the system releases it when the process ends, however it ends."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            # Closing alone would leave it to a child that was forked just now, until that closes its copy or runs
            # another program.
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            self.after_fork()

    def after_fork(self) -> None:
        """Close the descriptor; in a forked child this leaves the parent's lock as it is."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


# -- tasks --------------------------------------------------------------------------------------
class RealTasks:
    """Threads, started when first needed."""

    def __init__(self) -> None:
        self._timers = TimerThread()

    def future(self, work: Work | None = None) -> Future[Any]:
        return Outcome() if work is None else Awaited(work)

    def executor(self, name: str, workers: int = 1) -> Executor:
        return ThreadExecutor(name, workers)

    def every(self, seconds: float, fn: Callable[[], None], name: str, *, alone: bool = False) -> Timer:
        return (TimerThread() if alone else self._timers).add(seconds, fn, name)


_Job = tuple["Future[Any]", Callable[..., Any], tuple[Any, ...]]
_STOP: _Job = (Future(), repr, ())
"""Queued once for each thread at shutdown, behind the last job."""


class ThreadExecutor:
    """A pool of named threads that exist only while there is work.

    Threads start on submit and end after some idle seconds. A forked child starts with an empty pool.
    At interpreter exit queued jobs are cancelled and running ones get a few seconds.
    """

    def __init__(self, name: str, workers: int = 1) -> None:
        self._name = name
        self._workers = workers
        self._numbers = itertools.count()
        self._closed = False
        self.after_fork()
        _forgotten_by_children.add(self)
        _ended_at_exit.add(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._threads: set[threading.Thread] = set()
        self._waiting = 0
        self._queued = 0

    def submit(self, fn: Callable[..., T], /, *args: Any) -> Future[T]:
        future: Future[T] = Outcome()
        with self._lock:
            if self._closed:
                raise Unavailable(f"executor '{self._name}' is shut down")
            self._queued += 1
            self._jobs.put((future, carried(fn), args))
            if self._queued > self._waiting:
                # Those whose start was interrupted never began, or end as soon as they see that they do not count.
                self._threads = self._begun()
                if len(self._threads) < self._workers:
                    self._start_thread()
        return future

    def _begun(self) -> set[threading.Thread]:
        return {thread for thread in self._threads if thread.is_alive()}

    def _start_thread(self) -> None:
        name = f"{self._name}-{next(self._numbers)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # the system has no more threads for us
            self._threads.discard(thread)
            if not self._threads:
                self._queued -= 1
                self._jobs.get_nowait()
                raise Unavailable(f"executor '{self._name}' has no thread: {error}") from error

    def shutdown(self, wait: bool = True) -> None:
        """Refuse new jobs, finish the queued ones; with `wait`, return when they are finished."""
        with self._lock:
            if not self._closed:
                self._closed = True
                for _ in self._threads:
                    self._jobs.put(_STOP)
            threads = self._begun() - {threading.current_thread()}
        if wait:
            for thread in threads:
                thread.join()

    def end(self, seconds: float) -> None:
        """Cancel what is queued and give running jobs this long."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._jobs.get_nowait()[0].cancel()
        self.shutdown(wait=False)
        deadline = time.monotonic() + seconds
        for thread in self._begun():
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while (job := self._next()) is not None:
            future, fn, args = job
            if future.set_running_or_notify_cancel():
                try:
                    result = fn(*args)
                except BaseException as error:  # noqa: BLE001  the future carries whatever the job raised
                    future.set_exception(error)
                else:
                    future.set_result(result)
                    del result
            del job, future, fn, args

    def _next(self) -> _Job | None:
        """The next job, or None when this thread should end."""
        with self._lock:
            if threading.current_thread() not in self._threads:
                return None
            self._waiting += 1
        while True:
            job: _Job | None = None
            with contextlib.suppress(queue.Empty):
                job = self._jobs.get(timeout=_IDLE_SECONDS)
            with self._lock:
                if job is None and self._queued:
                    continue
                self._waiting -= 1
                if job is None or job is _STOP:
                    self._threads.discard(threading.current_thread())
                    return None
                self._queued -= 1
                return job


class RealTimer:
    def __init__(self, seconds: float, fn: Callable[[], None], name: str) -> None:
        self.seconds = seconds
        self.fn = fn
        self.name = name
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class TimerThread:
    """One thread that calls the functions of all timers; it lives while there is a timer."""

    def __init__(self) -> None:
        self.after_fork()
        _forgotten_by_children.add(self)

    def after_fork(self) -> None:
        self._changed = Gate()
        self._due: list[tuple[float, int, RealTimer]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    def add(self, seconds: float, fn: Callable[[], None], name: str) -> Timer:
        timer = RealTimer(seconds, fn, name)
        with self._changed:
            self._push(timer)
            if self._thread is None or not self._thread.is_alive():  # its start may have been interrupted
                self._thread = threading.Thread(target=self._run, name="redkite-timer", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return timer

    def _push(self, timer: RealTimer) -> None:
        heapq.heappush(self._due, (time.monotonic() + timer.seconds, next(self._numbers), timer))

    def _run(self) -> None:
        while (timer := self._wait()) is not None:
            try:
                timer.fn()
            except Exception:  # noqa: BLE001  one failure must not end everybody's timers
                _log.exception("timer %s failed; it goes on", timer.name)
            with self._changed:
                self._push(timer)

    def _wait(self) -> RealTimer | None:
        """The next timer that is due, or None when none is left."""
        with self._changed:
            while self._thread is threading.current_thread():
                while self._due and self._due[0][2].cancelled:
                    heapq.heappop(self._due)
                if not self._due:
                    self._thread = None
                    return None
                delay = self._due[0][0] - time.monotonic()
                if delay <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(min(delay, _IDLE_SECONDS))
            return None


# -- fork and exit ------------------------------------------------------------------------------
_forgotten_by_children: weakref.WeakSet[RealFileLock | ThreadExecutor | TimerThread] = weakref.WeakSet()
_ended_at_exit: weakref.WeakSet[ThreadExecutor] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for thing in list(_forgotten_by_children):
        thing.after_fork()


def _at_exit() -> None:
    for executor in list(_ended_at_exit):
        executor.end(_EXIT_SECONDS)


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
