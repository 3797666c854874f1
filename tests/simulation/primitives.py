"""The standard library's locks, for fibers: put in place before anything else is imported.

`install()` replaces what `threading` makes of `Lock`, `RLock` and thread-local data. Conditions, events and futures are
built of these, and wait here as well. Outside of a running world they are what they were, but for never waiting.
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import _base
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.fibers import Fiber, World

world: World | None = None
"""The running one."""


def _misused(text: str) -> BaseException:
    """What is raised; a process that was killed just goes on ending."""
    if world is not None and world.is_ending:
        from tests.simulation.fibers import Ended

        return Ended()
    return RuntimeError(text)


class Lock:
    """`threading.Lock`."""

    __slots__ = ("__weakref__", "_held", "_of", "_waiting")

    def __init__(self) -> None:
        self._held = False
        self._waiting: deque[tuple[Fiber, int]] | None = None
        self._of = world
        """Where it was made. What outlives a world, as caches of modules do, must not draw from its seed."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        here = world
        if here is self._of and here is not None and here.preempt and here.current is not None:
            here.maybe_give_way()
        if not self._held:
            self._held = True
            return True
        return blocking and self._wait(None if timeout < 0 else timeout)

    def _wait(self, seconds: float | None) -> bool:
        if world is None or world.current is None:
            raise RuntimeError("a lock is taken that nobody can give back")
        until = None if seconds is None else world.now + seconds
        if self._waiting is None:
            self._waiting = deque()
        while self._held:
            left = None if until is None else until - world.now
            if left is not None and left <= 0:
                return False
            self._waiting.append(world.ticket())
            try:
                world.park(left)
            except BaseException:
                self._let_next()
                raise
        self._held = True
        return True

    def _let_next(self) -> None:
        """Whoever waits may try, if nobody has it."""
        if world is not None and not self._held:
            while self._waiting and not world.wake(self._waiting.popleft()):
                pass

    def release(self) -> None:
        if not self._held:
            raise _misused("release unlocked lock")
        self._held = False
        if self._waiting:
            self._let_next()

    def locked(self) -> bool:
        return self._held

    def _at_fork_reinit(self) -> None:
        self._held, self._waiting = False, None

    __enter__ = acquire

    def __exit__(self, *_: object) -> None:
        if self._waiting or not self._held:
            self.release()
        else:
            self._held = False


class RLock:
    """`threading.RLock`: its owner is a fiber."""

    __slots__ = ("__weakref__", "_count", "_lock", "_owner")

    def __init__(self) -> None:
        self._lock = Lock()
        self._owner: Any = None
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        me = (world is not None and world.current) or "main"
        if self._owner is me:
            self._count += 1
            return True
        if not self._lock.acquire(blocking, timeout):
            return False
        self._owner, self._count = me, 1
        return True

    def release(self) -> None:
        if self._owner is not ((world is not None and world.current) or "main"):
            raise _misused("cannot release un-acquired lock")
        self._count -= 1
        if not self._count:
            self._owner = None
            self._lock.release()

    __enter__ = acquire

    def __exit__(self, *_: object) -> None:
        self.release()

    def _at_fork_reinit(self) -> None:
        self._lock._at_fork_reinit()
        self._owner, self._count = None, 0

    # what conditions use
    def _release_save(self) -> tuple[int, Any]:
        state = self._count, self._owner
        self._count, self._owner = 0, None
        self._lock.release()
        return state

    def _acquire_restore(self, state: tuple[int, Any]) -> None:
        self._lock.acquire()
        self._count, self._owner = state

    def _is_owned(self) -> bool:
        return self._owner is ((world is not None and world.current) or "main")


class Future(_base.Future[Any]):
    """`concurrent.futures.Future` without its condition: nobody comes between here, but where it says so."""

    def __init__(self) -> None:
        here = world
        if here is not None:
            here.futures += 1
            self._number = here.futures
        else:
            self._number = 0
        self._state = _base.PENDING
        self._result: Any = None
        self._exception: BaseException | None = None
        self._done_callbacks: list[Callable[[Any], object]] = []
        self._tickets: list[tuple[Fiber, int]] = []

    def __hash__(self) -> int:
        """Its number in this world: in sets as well, futures come in an order that does not depend on addresses."""
        return self._number

    def _ended(self) -> bool:
        return self._state not in (_base.PENDING, _base.RUNNING)

    def _wait(self, seconds: float | None) -> None:
        """Until it has ended. Raises TimeoutError, CancelledError."""
        if not self._ended():
            if world is None or world.current is None:
                raise RuntimeError("somebody waits who cannot be woken")
            until = None if seconds is None else world.now + seconds
            while not self._ended():
                left = None if until is None else until - world.now
                if left is not None and left <= 0:
                    raise TimeoutError
                self._tickets.append(world.ticket())
                world.park(left)
        if self._state != _base.FINISHED:
            raise _base.CancelledError

    def result(self, timeout: float | None = None) -> Any:
        self._wait(timeout)
        if self._exception is not None:
            try:
                raise self._exception
            finally:
                self = None  # type: ignore[assignment]  # noqa: PLW0642  the error holds this frame, which holds this
        return self._result

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._wait(timeout)
        return self._exception

    def done(self) -> bool:
        return self._ended()

    def running(self) -> bool:
        return self._state == _base.RUNNING

    def cancelled(self) -> bool:
        return self._state in (_base.CANCELLED, _base.CANCELLED_AND_NOTIFIED)

    def cancel(self) -> bool:
        if self._state in (_base.RUNNING, _base.FINISHED):
            return False
        if self._state == _base.PENDING:
            self._end(_base.CANCELLED)
        return True

    def set_running_or_notify_cancel(self) -> bool:
        if self._state == _base.CANCELLED:
            self._state = _base.CANCELLED_AND_NOTIFIED
            return False
        if self._state != _base.PENDING:
            raise RuntimeError(f"a future in unexpected state {self._state}")
        self._state = _base.RUNNING
        return True

    def set_result(self, result: Any) -> None:
        self._must_be_open()
        self._result = result
        self._end(_base.FINISHED)

    def set_exception(self, exception: BaseException | None) -> None:
        self._must_be_open()
        self._exception = exception
        self._end(_base.FINISHED)

    def _must_be_open(self) -> None:
        if self._ended():
            raise _base.InvalidStateError(f"{self._state}: {self!r}")

    def _end(self, state: str) -> None:
        self._state = state
        here = world
        if here is not None:
            for ticket in self._tickets:
                here.wake(ticket)
            if here.preempt and here.current is not None:
                here.maybe_give_way()
        for callback in self._done_callbacks:
            self._call(callback)

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        if self._ended():
            self._call(fn)
        else:
            self._done_callbacks.append(fn)

    def _call(self, callback: Callable[[Any], object]) -> None:
        try:
            callback(self)
        except Exception:  # noqa: BLE001  as the original: it is the callback's failure, not of who ends the future
            _base.LOGGER.exception("exception calling callback for %r", self)

    def __repr__(self) -> str:
        return f"<Future {self._state}>"


_MAIN: dict[Any, dict[str, Any]] = {}


class Local:
    """`threading.local`, for attributes that are set outside of `__init__`."""

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("__"):
            mine = _locals().get(id(self))
            if mine is not None and name in mine:
                return mine[name]
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        _locals().setdefault(id(self), {})[name] = value

    def __delattr__(self, name: str) -> None:
        mine = _locals().get(id(self), {})
        if name not in mine:
            raise AttributeError(name)
        del mine[name]


def _locals() -> dict[Any, dict[str, Any]]:
    return world.current.locals if world is not None and world.current is not None else _MAIN


def _monotonic() -> float:
    return world.now if world is not None else 0.0


def install() -> None:
    """Before `redkite` is imported: many modules take the names with them."""
    put: Any = threading
    put.Lock = put._allocate_lock = Lock
    put.RLock = put._PyRLock = RLock
    put._CRLock = None
    put.local = Local
    put._time = _monotonic
    futures: Any = concurrent.futures
    futures.Future = futures._base.Future = Future


def enter(new: World | None) -> None:
    global world
    world = new
