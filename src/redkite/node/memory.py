"""Who holds how much memory, and who may have more.

A limit is a promise about private memory: rows that are not sealed yet, writes on their way, the log's queue, caches,
index builds and compactions. Mapped files are the system's to take back and do not count. From half of the limit on the
fullest segments are sealed early; at three quarters writers wait, and get an error when that does not help in time;
builds and compactions wait for room below the limit. Reads are never refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from math import inf
from threading import Lock
from typing import Final

from redkite.env import Env
from redkite.errors import MemoryLimitExceeded
from redkite.logs import get_logger

log = get_logger(__name__)

MIB: Final = 1 << 20
SEAL_SHARE: Final = 0.5
WRITE_SHARE: Final = 0.75
WRITE_FACTOR: Final = 4
"""What a write takes beside its rows until it is applied: its log record, and the growth of the columns it goes to."""
DELETED_BYTES: Final = 40
"""What a deleted row counts as when its delete is admitted."""
SEGMENT_SHARE: Final = 1 / 16
"""A segment is sealed at this part of the limit at the latest, so that several can be written and indexed in it."""
CACHE_SHARE: Final = 1 / 8
MAX_WAITING: Final = 8
"""Writers that may wait at a time; further ones are refused at once, so that threads are left for reads."""
WORK_TRIES: Final = 60
"""How many times a build waits for `wait_seconds` before it is put off."""


class MemoryBudget:
    """The memory of one database. Safe from any thread; nobody holds a lock while waiting."""

    def __init__(self, env: Env, limit: int = 0, wait_seconds: float = 10.0) -> None:
        """`limit` in bytes, 0 for none. Writers wait `wait_seconds` at most."""
        self.limit = limit
        self.wait_seconds = wait_seconds
        self._env = env
        self._lock = Lock()
        self._measures: dict[str, Callable[[], int]] = {}
        self._relieve: Callable[[int], object] = _cannot_relieve
        self._tight_when: Callable[[], bool] = _never
        self._held: dict[str, int] = {"writes": 0}
        self._waiting: list[Future[None]] = []
        self._writers_waiting = 0
        self._closed = False

    def watch(self, name: str, measure: Callable[[], int]) -> None:
        """Count what somebody holds: `measure` is asked for its bytes whenever the sum is wanted."""
        self._measures[name] = measure

    def tight_when(self, is_full: Callable[[], bool]) -> None:
        """Another reason for which a write would have to wait."""
        self._tight_when = is_full

    def cache_bytes(self, wanted: int, caches: int) -> int:
        """How large each of so many caches may be."""
        return min(wanted, int(self.limit * CACHE_SHARE) // caches) if self.limit else wanted

    def relieve_with(self, relieve: Callable[[int], object]) -> None:
        """`relieve` is called with the bytes that are too many: it starts to give memory back, and does not wait."""
        self._relieve = relieve

    def usage(self) -> dict[str, int]:
        """Bytes by holder."""
        return {name: measure() for name, measure in self._measures.items()} | self._held

    @property
    def used(self) -> int:
        return sum(measure() for measure in self._measures.values()) + sum(self._held.values())

    @property
    def is_tight(self) -> bool:
        """Would a small write have to wait?"""
        if self._tight_when():
            return True
        return bool(self.limit) and (self._writers_waiting > 0 or self.used > self.limit * WRITE_SHARE - MIB)

    @property
    def replay_bytes(self) -> float:
        """Of so many bytes of a log the rows may be in memory when a shard is opened, before they are sealed."""
        return self.limit * SEAL_SHARE / WRITE_FACTOR if self.limit else inf

    # -- writers --------------------------------------------------------------------------------
    def admit(self, size: int) -> Callable[[], None]:
        """Room for a write of so many bytes of rows. Returns what gives it back, to be called when it is applied.

        Waits when there is no room. Raises MemoryLimitExceeded when none comes in time.
        """
        if not self.limit:
            return nothing
        cost = size * WRITE_FACTOR
        most = int(self.limit * WRITE_SHARE)
        deadline = self._env.clock.monotonic() + self.wait_seconds
        is_waiting = False
        try:
            while (turn := self._take("writes", cost, most)) is not None:
                if not is_waiting:
                    with self._lock:
                        self._writers_waiting += 1
                    is_waiting = True
                self._ask_for_relief(cost)
                left = deadline - self._env.clock.monotonic()
                if cost > most or self._writers_waiting > MAX_WAITING or not self._wait(turn, left):
                    raise self._exceeded(cost)
        finally:
            if is_waiting:
                with self._lock:
                    self._writers_waiting -= 1
        self._ask_for_relief(0)
        return _once(lambda: self._give_back("writes", cost))

    # -- builders -------------------------------------------------------------------------------
    @contextmanager
    def work(self, name: str, size: int) -> Iterator[None]:
        """Room for background work that takes so many bytes. Waits for it; work that is larger than the limit itself
        is refused, as is what finds no room for long. Raises MemoryLimitExceeded."""
        if not self.limit:
            yield
            return
        tries = WORK_TRIES if size <= self.limit else 0
        while (turn := self._take(name, size, self.limit)) is not None:
            if not tries or self._closed:
                raise self._exceeded(size)
            self._ask_for_relief(size)
            tries -= not self._wait(turn, self.wait_seconds)
        try:
            yield
        finally:
            self._give_back(name, size)

    @contextmanager
    def room(self, name: str, size: int) -> Iterator[None]:
        """The same for work that others can do as well: room at once, or MemoryLimitExceeded."""
        if not self.limit:
            yield
            return
        if self._take(name, size, self.limit) is not None:
            raise self._exceeded(size)
        try:
            yield
        finally:
            self._give_back(name, size)

    def has_changed(self) -> None:
        """Somebody gave memory back: whoever waits looks again."""
        with self._lock:
            turns, self._waiting = self._waiting, []
        for turn in turns:
            turn.set_result(None)

    def close(self) -> None:
        """Let nobody wait any longer."""
        self._closed = True
        self.has_changed()

    def _take(self, name: str, size: int, most: int) -> Future[None] | None:
        """None when the bytes are taken, else what is done when it is worth trying again."""
        with self._lock:
            if self.used + size <= most:
                self._held[name] = self._held.get(name, 0) + size
                return None
            turn: Future[None] = self._env.tasks.future()
            self._waiting.append(turn)
            return turn

    def _give_back(self, name: str, size: int) -> None:
        with self._lock:
            self._held[name] -= size
        self.has_changed()

    def _wait(self, turn: Future[None], seconds: float) -> bool:
        """Whether it is worth trying again."""
        if self._closed or seconds <= 0:
            return False
        try:
            turn.result(seconds)
        except TimeoutError:
            return False
        return True

    def _ask_for_relief(self, coming: int) -> None:
        excess = self.used + coming - int(self.limit * SEAL_SHARE)
        if excess > 0:
            self._relieve(excess)

    def _exceeded(self, wanted: int) -> MemoryLimitExceeded:
        predicted = (self.used + wanted) / MIB
        held = ", ".join(f"{name} {size / MIB:.1f}" for name, size in self.usage().items() if size >= MIB / 10)
        return MemoryLimitExceeded(
            f"memory limit exceeded[predict(MB)={predicted:.1f}][limit(MB)={self.limit / MIB:.1f}]: held are {held}"
        )


def nothing() -> None:
    """What was not taken need not be given back."""


def _cannot_relieve(size: int) -> None:
    log.debug("nothing can be sealed yet to free %d bytes", size)


def _never() -> bool:
    return False


def _once(action: Callable[[], None]) -> Callable[[], None]:
    lock = Lock()

    def act() -> None:
        if lock.acquire(blocking=False):
            action()

    return act
