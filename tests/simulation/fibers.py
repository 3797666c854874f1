"""Many processes in one thread: a fiber for each of their threads, the next one chosen by a seed, time that jumps.

A fiber runs until it waits. What it waits with are the standard library's locks, conditions, events and futures, for
which `primitives.py` puts others in place, so that code that knows nothing of fibers waits here and nowhere else.
"""

from __future__ import annotations

import contextvars
import heapq
import logging
import random
import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

import greenlet

from redkite.env import Awaited, Work
from redkite.errors import Unavailable

log = logging.getLogger("redkite.simulation")
EPOCH_US: Final = 1_700_000_000_000_000
_STEPS_WITHOUT_TIME: Final = 200_000
"""More of them at one moment is somebody who waits by asking again and again."""


class Ended(BaseException):
    """The process of this fiber was killed. Not an `Exception`, so that no handler goes on."""


class Stuck(AssertionError):
    """Nobody can go on, or nobody lets time go on."""


class Fiber:
    """A thread of a simulated process."""

    __slots__ = ("dead", "fn", "frame", "locals", "mark", "name", "process", "ticket", "timed_out")

    def __init__(self, fn: Callable[[], Any], name: str, mark: bytes, process: Process | None) -> None:
        self.fn, self.name, self.mark, self.process = fn, name, mark, process
        self.frame: Any = None
        """The greenlet that runs it, once it has begun."""
        self.locals: dict[Any, dict[str, Any]] = {}
        self.ticket = 0
        """Counts its waits: who wakes it must mean the present one."""
        self.timed_out = False
        self.dead = False


class World:
    """Fibers and time. One world at a time is the running one."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(f"world {seed}")
        self.now = 0.0
        self.preempt = 0.0
        """The chance that a fiber that takes a lock lets others go first."""
        self.steps = 0
        self.trace = 0
        """A checksum of everything that was chosen: equal for equal runs."""
        self.current: Fiber | None = None
        self.futures = 0
        """So many were made."""
        self._ready: list[tuple[Fiber, int]] = []
        self._due: list[tuple[float, int, Fiber | Callable[[], None], int]] = []
        self._number = 0
        self._still = 0
        self._hub = greenlet.getcurrent()
        self._idle: list[Any] = []
        """Greenlets whose fiber has ended, for the next ones: making one costs more than most fibers do."""
        self._is_over = False
        self._failed: BaseException | None = None
        self.on_failure: Callable[[Fiber, BaseException], None] | None = None
        self._graves: list[Fiber] = []
        self._begun: dict[Fiber, None] = {}
        """Fibers that have begun and not ended."""

    # -- fibers ---------------------------------------------------------------------------------
    def spawn(
        self, fn: Callable[[], Any], name: str, process: Process | None = None, mark: bytes | None = None
    ) -> Fiber:
        """A fiber that begins in a context of its own, without variables. `mark`: its name as bytes."""
        fiber = Fiber(fn, name, name.encode() if mark is None else mark, process)
        if process is not None:
            process.fibers[fiber] = None
        self._make_ready(fiber, 0)
        return fiber

    def _run_each(self, fiber: Fiber) -> None:
        """One fiber after another, in one greenlet."""
        me = greenlet.getcurrent()
        while True:
            try:
                fiber.fn()
            except (Ended, greenlet.GreenletExit):
                pass
            except BaseException as error:  # noqa: BLE001  told below
                self._failed = error
            fiber.dead = True
            self._begun.pop(fiber, None)
            process = fiber.process
            if process is not None:
                process.fibers.pop(fiber, None)
            if self._is_over or (process is not None and process.ended):
                return  # to whoever ends it, who waits for that
            del fiber, process
            me.gr_context = None
            self._idle.append(me)
            fiber = self._hub.switch()

    def end(self) -> None:
        """Nothing goes on here any more; what still waits is ended. A greenlet that only waits for ever would keep all
        that it knows of: no collector of garbage looks into it."""
        self._is_over = True
        while self._begun:
            self._end_fiber(next(iter(self._begun)))
        for frame in self._idle:
            frame.throw(greenlet.GreenletExit)
        self._idle.clear()
        self._graves.clear()

    def _end_fiber(self, fiber: Fiber) -> None:
        """It is told so wherever it waits, and gets no further."""
        self.current = fiber
        fiber.frame.parent = greenlet.getcurrent()
        fiber.frame.throw(Ended)
        if not fiber.dead:
            fiber.dead = True
            self._begun.pop(fiber, None)
            self._graves.append(fiber)
        self._failed = None

    def _make_ready(self, fiber: Fiber, ticket: int) -> None:
        if fiber.process is not None and fiber.process.paused:
            fiber.process.held.append((fiber, ticket))
        else:
            self._ready.append((fiber, ticket))

    def park(self, seconds: float | None = None) -> bool:
        """Wait until somebody wakes this fiber; False when the time was over first."""
        fiber = self.current
        if fiber is None:
            raise Stuck("the scheduler itself would wait")
        if self.is_ending:
            raise Ended
        fiber.ticket += 1
        fiber.timed_out = False
        if seconds is not None:
            self._push(self.now + max(0.0, seconds), fiber, fiber.ticket)
        self.current = None
        self._hub.switch()
        self.current = fiber
        if self.is_ending:
            raise Ended
        return not fiber.timed_out

    def ticket(self) -> tuple[Fiber, int]:
        """What wakes this fiber from its next wait."""
        assert self.current is not None
        return self.current, self.current.ticket + 1

    def wake(self, ticket: tuple[Fiber, int]) -> bool:
        """False when it waits for that no more."""
        fiber, number = ticket
        if fiber.dead or fiber.ticket != number:
            return False
        fiber.ticket += 1
        self._make_ready(fiber, fiber.ticket)
        return True

    def sleep(self, seconds: float) -> None:
        if self.current is not None:
            self.park(seconds)

    def give_way(self) -> None:
        """Let others go first."""
        fiber = self.current
        if fiber is not None and not (fiber.process is not None and fiber.process.ended):
            fiber.ticket += 1
            self._make_ready(fiber, fiber.ticket)
            self.current = None
            self._hub.switch()
            self.current = fiber
            if fiber.process is not None and fiber.process.ended:
                raise Ended

    def maybe_give_way(self) -> None:
        if self.rng.random() < self.preempt:
            self.give_way()

    def at(self, seconds: float, fn: Callable[[], None]) -> None:
        """Call `fn` so much later, in the scheduler: it must not wait."""
        self._push(self.now + max(0.0, seconds), fn, 0)

    def _push(self, due: float, what: Fiber | Callable[[], None], ticket: int) -> None:
        self._number += 1
        heapq.heappush(self._due, (due, self._number, what, ticket))

    # -- running --------------------------------------------------------------------------------
    def run(self, until: Callable[[], bool], seconds: float) -> None:
        """Until something holds. Raises `Stuck` when that takes longer than so many seconds of the world."""
        end = self.now + seconds
        ready, due, luck, sum_up = self._ready, self._due, self.rng.random, zlib.crc32
        while not until():
            if not ready:
                if not due or due[0][0] > end:
                    raise Stuck(f"after {seconds:g} s: {self.standing()}")
                self._next_moment()
                continue
            at = int(luck() * len(ready))
            ready[at], ready[-1] = ready[-1], ready[at]
            fiber, ticket = ready.pop()
            if fiber.ticket == ticket and not fiber.dead:
                self.trace = sum_up(fiber.mark, self.trace ^ at)
                self._step(fiber)

    def _step(self, fiber: Fiber) -> None:
        """Run it until it waits."""
        self.steps += 1
        self._still += 1
        if self._still > _STEPS_WITHOUT_TIME:
            raise Stuck(f"time stands still in {fiber.name}")
        self.current = fiber
        frame = fiber.frame
        if frame is None:
            frame = fiber.frame = self._idle.pop() if self._idle else greenlet.greenlet(self._run_each, self._hub)
            self._begun[fiber] = None
            frame.switch(fiber)
        else:
            frame.switch()
        self.current = None
        if self._failed is not None:
            self._tell(fiber)

    def _tell(self, fiber: Fiber) -> None:
        failed, self._failed = self._failed, None
        assert failed is not None
        if self.on_failure is None:
            raise failed
        self.on_failure(fiber, failed)

    def _next_moment(self) -> None:
        due, _, what, ticket = heapq.heappop(self._due)
        if due > self.now:
            self.now, self._still = due, 0
        if not isinstance(what, Fiber):
            what()
        elif not what.dead and what.ticket == ticket:
            what.timed_out = True
            what.ticket += 1
            self._make_ready(what, what.ticket)

    @property
    def is_ending(self) -> bool:
        """The fiber that runs is of a process that was killed, or the world is over."""
        if self._is_over:
            return True
        return self.current is not None and self.current.process is not None and self.current.process.ended

    def standing(self) -> str:
        """Who waits where, for a failure's text."""
        return f"{len(self._ready)} ready, {len(self._due)} timers"

    # -- processes ------------------------------------------------------------------------------
    def kill(self, process: Process) -> None:
        """Nothing of it runs any more. What its fibers hold of this world's locks is let go."""
        process.ended, process.paused = True, False
        try:
            for close in process.at_end:
                close()
        except Ended:  # of the fiber that kills, where that is one of the process's own
            raise Stuck(f"what is done at the end of {process.name} waits for somebody") from None
        mine = self.current
        for fiber in list(process.fibers):
            if fiber is mine or fiber.dead:
                continue
            if fiber.frame is None:  # never begun
                fiber.dead = True
                continue
            self._end_fiber(fiber)
        process.fibers.clear()
        process.held.clear()
        self.current = mine

    def pause(self, process: Process) -> None:
        process.paused = True

    def go_on(self, process: Process) -> None:
        process.paused = False
        held, process.held = process.held, []
        for fiber, ticket in held:
            self._make_ready(fiber, ticket)


class Process:
    """A simulated process: what of the world it has, and its threads."""

    def __init__(self, world: World, name: str, skew_us: int = 0) -> None:
        self.world, self.name = world, name
        self.skew_us = skew_us
        """How far its wall clock is off; may change."""
        self.ended = self.paused = False
        self.fibers: dict[Fiber, None] = {}
        self.held: list[tuple[Fiber, int]] = []
        self.at_end: list[Callable[[], None]] = []
        self._timers: SimulatedPool | None = None

    # clock
    def now_ms(self) -> int:
        return self.now_us() // 1000

    def now_us(self) -> int:
        return EPOCH_US + int(self.world.now * 1_000_000) + self.skew_us

    def monotonic(self) -> float:
        return self.world.now

    # tasks
    def future(self, work: Work | None = None) -> Future[Any]:
        return Future() if work is None else Awaited(work)

    def executor(self, name: str, workers: int = 1) -> SimulatedPool:
        return SimulatedPool(self, name, workers)

    def every(self, seconds: float, fn: Callable[[], None], name: str, *, alone: bool = False) -> SimulatedTimer:
        if alone:
            return SimulatedTimer(self, SimulatedPool(self, name, 1), seconds, fn, name)
        if self._timers is None:
            self._timers = SimulatedPool(self, "timers", 1)
        return SimulatedTimer(self, self._timers, seconds, fn, name)

    def spawn(self, fn: Callable[[], Any], name: str) -> Fiber:
        return self.world.spawn(fn, f"{self.name}: {name}", self)


class SimulatedPool:
    """Threads of one process that exist while there is work."""

    def __init__(self, process: Process, name: str, workers: int) -> None:
        self._process, self._name, self._workers = process, name, workers
        self._called = f"{process.name}: {name}"
        self._mark = self._called.encode()
        self._jobs: deque[tuple[Future[Any], contextvars.Context, Callable[..., Any], tuple[Any, ...]]] = deque()
        self._working = 0
        self._closed = False
        self._waiting: list[tuple[Fiber, int]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        if self._closed:
            raise Unavailable(f"executor '{self._name}' is shut down")
        future: Future[Any] = Future()
        if self._process.ended:
            return future
        self._jobs.append((future, contextvars.copy_context(), fn, args))
        if self._working < self._workers:
            self._working += 1
            self._process.world.spawn(self._work, self._called, self._process, self._mark)
        return future

    def _work(self) -> None:
        try:
            while self._jobs:
                future, context, fn, args = self._jobs.popleft()
                if future.set_running_or_notify_cancel():
                    try:
                        result = context.run(fn, *args)
                    except Exception as error:  # noqa: BLE001  the future carries whatever the job raised
                        future.set_exception(error)
                    else:
                        future.set_result(result)
                del future, context, fn, args
        finally:
            self._working -= 1
            waiting, self._waiting = self._waiting, []
            for ticket in waiting:
                self._process.world.wake(ticket)

    def shutdown(self, wait: bool = True) -> None:
        self._closed = True
        world = self._process.world
        while wait and self._working and world.current is not None and not self._is_here():
            self._waiting.append(world.ticket())
            world.park()

    def _is_here(self) -> bool:
        current = self._process.world.current
        return current is not None and current.name == self._called


class SimulatedTimer:
    """Calls on the one thread that a process has for its timers."""

    def __init__(
        self, process: Process, pool: SimulatedPool, seconds: float, fn: Callable[[], None], name: str
    ) -> None:
        self._process, self._pool, self._seconds, self._fn, self.name = process, pool, seconds, fn, name
        self.cancelled = False
        process.world.at(seconds, self._due)

    def _due(self) -> None:
        if not self.cancelled and not self._process.ended:
            self._pool.submit(self._fire)

    def _fire(self) -> None:
        if self.cancelled:
            return
        try:
            self._fn()
        except Exception:  # one failure must not end everybody's timers
            log.exception("timer %s failed; it goes on", self.name)
        self._process.world.at(self._seconds, self._due)

    def cancel(self) -> None:
        self.cancelled = True
