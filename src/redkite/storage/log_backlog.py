"""How much may wait to be written: appenders queue for room, and are sent away when none comes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from redkite.env import Tasks
from redkite.errors import RateLimited


class _MakesRoom(threading.local):
    """Inside of it a thread never waits: it is the one that makes room."""

    depth = 0

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *_: object) -> None:
        self.depth -= 1


class Place:
    """Room that somebody has in a backlog, or none. Nobody else's business, and given back once, however often it is
    tried: whoever is torn away in the middle of that, by an interrupt, tries again."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0


class Backlog:
    """Bytes that wait, over all topics of a log. Who came first gets room first.

    What is counted and what each place has change together, in statements between which no thread can be torn away.
    """

    def __init__(self, tasks: Tasks, limit: int, seconds: float, begin: Callable[[], None]) -> None:
        """`begin` is called before somebody waits: it has written whatever nobody writes yet."""
        self._tasks = tasks
        self._limit = limit
        self._seconds = seconds
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Place, int, Future[None]]] = deque()
        """Who waits, for how much. The first may have got it by now, and not know it yet."""
        self._begin = begin
        self.here = _MakesRoom()
        self.size = 0

    @property
    def is_full(self) -> bool:
        """Would an append have to wait?"""
        return bool(self._waiting) or self.size >= self._limit

    def enter(self, size: int, place: Place) -> None:
        """Wait for room, which the place has then. What is longer than all the room there is goes alone. Raises
        RateLimited. Whatever is raised, the place may have room, and has to be left."""
        with self._lock:
            if self._has_room(size) or self.here.depth:
                self.size += size
                place.size = size
                return
            turn: Future[None] = self._tasks.future()
            self._waiting.append((place, size, turn))
        self._begin()
        try:
            turn.result(self._seconds)
        except TimeoutError:
            if self._is_in(place):  # its turn came at the last moment
                return
            raise RateLimited(
                f"rate limit exceeded: {self.size} bytes wait to be written to the log and the limit is "
                f"{self._limit}; no room came within {self._seconds:g} s"
            ) from None

    def leave(self, *places: Place) -> None:
        """What these have, or wait for, waits no more."""
        with self._lock:
            for place in places:
                self.size -= place.size
                place.size = 0
            if self._waiting:
                gone = set(places)  # a commit's, which may be very many
                for waiting in [known for known in self._waiting if known[0] in gone]:
                    self._waiting.remove(waiting)
                self._let_in()

    def pass_on(self, giver: Place, taker: Place, size: int, spare: int) -> None:
        """So much of a place is another's from now on, and so much beside it nobody's."""
        with self._lock:
            self.size -= spare
            giver.size -= size + spare
            taker.size = size
            self._let_in()

    def _let_in(self) -> None:
        """Room for those who wait, as far as there is some."""
        while self._waiting:
            place, wanted, turn = self._waiting[0]
            if not place.size:
                if self.size and self.size + wanted > self._limit:
                    return
                self.size += wanted
                place.size = wanted
            if not turn.done():
                turn.set_result(None)
            self._waiting.popleft()

    def _is_in(self, place: Place) -> bool:
        """Who waited does so no more: has it got its room by now?"""
        with self._lock:
            for waiting in [known for known in self._waiting if known[0] is place]:
                self._waiting.remove(waiting)
            return place.size > 0

    def _has_room(self, size: int) -> bool:
        return not self.size or (not self._waiting and self.size + size <= self._limit)
