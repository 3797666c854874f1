"""Time and tasks of one simulated process: one thread, the next job chosen by the seed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from redkite.env import Awaited, Executor, Timer, Work
from redkite.errors import Unavailable
from redkite.logs import get_logger
from redkite.simulated.disk import Random

T = TypeVar("T")
_EPOCH_MS = 1_700_000_000_000
_log = get_logger("simulated")


class Stalled(RuntimeError):
    """Somebody waits for a future that nothing can finish: in a real process this call would hang."""


class SimulatedFuture(Future[T]):
    """Waiting on it lets the scheduler work until it is done. `timeout` is not waited for: nothing more can happen."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._scheduler = scheduler

    def result(self, timeout: float | None = None) -> T:
        self._scheduler.run_until(self, timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._scheduler.run_until(self, timeout)
        return super().exception(0)


class SimulatedAwaited(Awaited[T]):
    """Who waits does the work, or has it done: both happen in the world, so the seed says which."""

    def __init__(self, scheduler: Scheduler, work: Work) -> None:
        super().__init__(work)
        self._scheduler = scheduler

    def result(self, timeout: float | None = None) -> T:
        self._run(timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._run(timeout)
        return super().exception(0)

    def _run(self, timeout: float | None) -> None:
        if not self.done():
            self._begin(timeout if self._scheduler.toss() else 0)
        self._scheduler.run_until(self, timeout)


class Scheduler:
    """Clock and tasks of a simulated process: one job at a time, the next one chosen by the seed."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._now = 0.0
        self._executors: list[SimulatedExecutor] = []
        self._timers: list[SimulatedTimer] = []

    # clock
    def now_ms(self) -> int:
        return self.now_us() // 1000

    def now_us(self) -> int:
        return _EPOCH_MS * 1000 + int(self._now * 1_000_000)

    def monotonic(self) -> float:
        return self._now

    # tasks
    def future(self, work: Work | None = None) -> Future[Any]:
        return SimulatedFuture(self) if work is None else SimulatedAwaited(self, work)

    def toss(self) -> bool:
        return self._rng.random() < 0.5

    def executor(self, name: str, workers: int = 1) -> Executor:
        executor = SimulatedExecutor(self, name, workers)
        self._executors.append(executor)
        return executor

    def every(self, seconds: float, fn: Callable[[], None], name: str, *, alone: bool = False) -> Timer:  # noqa: ARG002
        timer = SimulatedTimer(seconds, self._now + seconds, fn, name)
        self._timers.append(timer)
        return timer

    # stepping
    def step(self) -> bool:
        """Run one ready job to its end; False when none is ready."""
        ready = [(executor, index) for executor in self._executors for index in range(executor.ready())]
        if not ready:
            return False
        executor, index = self._rng.choice(ready)
        executor.run(index)
        return True

    def run_until_idle(self) -> None:
        while self.step():
            pass

    def run_until(self, future: Future[Any], timeout: float | None = None) -> None:
        """Run jobs until the future is done. Raises `Stalled` (`TimeoutError` with a timeout) when none is left."""
        while not future.done():
            if self.step():
                continue
            if timeout is not None:
                raise TimeoutError
            busy = ", ".join(e.name for e in self._executors if e.queued) or "none"
            timers = ", ".join(timer.name for timer in self._timers if not timer.cancelled) or "none"
            raise Stalled(
                f"this future can never finish: no job is ready (executors with work but no free worker: {busy}; "
                f"timers that only `advance` fires: {timers})"
            )

    def advance(self, seconds: float) -> None:
        until = self._now + seconds
        while True:
            self._timers = [timer for timer in self._timers if not timer.cancelled]
            due = [timer for timer in self._timers if timer.due <= until]
            if not due:
                break
            timer = min(due, key=lambda timer: timer.due)
            self._now = max(self._now, timer.due)
            timer.fire()
            timer.due = self._now + timer.seconds
            self.run_until_idle()
        self._now = until


class SimulatedExecutor:
    """A queue of which the first `workers` jobs may run next, in any order."""

    def __init__(self, scheduler: Scheduler, name: str, workers: int) -> None:
        self.name = name
        self._scheduler = scheduler
        self._workers = workers
        self._running = 0
        self._closed = False
        self.queued: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()

    def submit(self, fn: Callable[..., T], /, *args: Any) -> Future[T]:
        if self._closed:
            raise Unavailable(f"executor '{self.name}' is shut down")
        future: Future[T] = SimulatedFuture(self._scheduler)
        self.queued.append((future, fn, args))
        return future

    def shutdown(self, wait: bool = True) -> None:
        self._closed = True
        while wait and self.ready():
            self.run(0)

    def ready(self) -> int:
        """How many of the queued jobs could start now."""
        return min(len(self.queued), self._workers - self._running)

    def run(self, index: int) -> None:
        future, fn, args = self.queued[index]
        del self.queued[index]
        if not future.set_running_or_notify_cancel():
            return
        self._running += 1
        try:
            result = fn(*args)
        except Exception as error:  # noqa: BLE001  the future carries whatever the job raised
            future.set_exception(error)
        else:
            future.set_result(result)
        finally:
            self._running -= 1


class SimulatedTimer:
    def __init__(self, seconds: float, due: float, fn: Callable[[], None], name: str) -> None:
        self.seconds = seconds
        self.due = due
        self.name = name
        self.cancelled = False
        self._fn = fn

    def fire(self) -> None:
        try:
            self._fn()
        except Exception:  # noqa: BLE001  one failure must not end everybody's timers
            _log.exception("timer %s failed; it goes on", self.name)

    def cancel(self) -> None:
        self.cancelled = True
