"""How does an event loop call a service that blocks, without waiting for it?

Quick requests run in the loop's thread, searches that are alike in one call; the others run in a pool. A write's future
is waited for by a callback, so a client that goes away takes no write with it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Any, TypeVar

from redkite import spans
from redkite.errors import MilvusException, RateLimited, Unexpected
from redkite.logs import CURRENT, Logged, get_logger
from redkite.model.requests import Request, Search
from redkite.model.results import Hits, Result
from redkite.model.service import Service
from redkite.server.gather import MOST_QUERIES, alike, apart, together
from redkite.server.metrics import OK, Counts
from redkite.server.workers import Workers

T = TypeVar("T")
Done = Callable[[T | MilvusException], None]
"""Takes the outcome of one call, in the event loop's thread. Must not raise."""

Unwanted = Callable[[], MilvusException | None]
"""Why nobody waits for a call any more; asked when its turn has come."""

_Gathered = tuple[Search, tuple["Done[Result]", Logged | None]]
"""A search, who is told its outcome, and what is logged of it."""
WORKERS = 16
DOOR_WORKERS = 2
CANCELED = "context canceled"
MOST_CHECKS = 64
"""Callers whose passwords are being compared, or wait for it. More are refused until some are done."""
_log = get_logger(__name__)


class Calls:
    """Runs requests of one service for one event loop. `begin` and `call` belong to the loop's thread."""

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop, workers: int = WORKERS) -> None:
        self._service = service
        self._loop = loop
        self._pool = Workers(workers, "redkite-call")
        self._door = Workers(DOOR_WORKERS, "redkite-door")
        self._checks = 0
        self._arrived: deque[Callable[[], None]] = deque()
        self._awake = False
        self._gathered: list[tuple[Search, tuple[Done[Result], Logged | None]]] = []
        self._held = False
        self.running = 0
        self.waited: dict[str, Counts] = {}
        """How long requests have waited for a thread, by what they ask."""
        self._counting = Lock()

    @property
    def waiting(self) -> int:
        """Calls that wait for a thread."""
        return self._pool.waiting

    def begin(
        self, request: Request, finish: Callable[[Result], T], done: Done[T], unwanted: Unwanted | None = None
    ) -> None:
        """Call the service and hand `finish(result)`, or the error, to `done`: before this returns, or later.

        `finish` turns the result into what travels; it runs where the call ran. A call that had to wait for a thread
        and is `unwanted` by then is not made.
        """
        try:
            if not self._service.is_quick(request):
                self.running += 1
                about = CURRENT.get()
                queued = time.monotonic()

                def work() -> T:
                    self._has_waited(type(request).__name__, time.monotonic() - queued)
                    return finish(self._wait(request))

                self._pool.submit(lambda: self._work(work, done, about, unwanted))
                return
            if isinstance(request, Search) and not spans.is_open():
                self._gather(request, finish, done)
                return
            result = self._service.call(request)
            if isinstance(result, Future):
                self._follow(result, finish, done)
                return
            outcome: T | MilvusException = finish(result)
        except Exception as error:  # noqa: BLE001  whatever went wrong is this call's answer
            outcome = as_milvus(error)
        done(outcome)

    def _has_waited(self, kind: str, seconds: float) -> None:
        with self._counting:
            counts = self.waited.get(kind)
            if counts is None:
                # Another dict, so that one that is being read does not change.
                self.waited = {**self.waited, kind: (counts := Counts())}
            counts.observe(seconds, OK)

    async def call(self, request: Request, finish: Callable[[Result], T]) -> T:
        """`begin` for coroutines. Cancelling the coroutine leaves the call running; one that waits is not made."""
        waiter, done = self._waiter()
        self.begin(request, finish, done, lambda: MilvusException(CANCELED, 10_000) if waiter.cancelled() else None)
        result: T = await waiter
        return result

    async def run(self, work: Callable[[], T]) -> T:
        """Run something slow that is no request in the pool."""
        waiter, done = self._waiter()
        self.start(work, done)
        result: T = await waiter
        return result

    def check(self, who: Callable[[], str], done: Done[str]) -> None:
        """Look at who calls. It takes its time on purpose: on threads of its own, so that strangers hold nobody up."""
        if self._checks >= MOST_CHECKS:
            done(RateLimited(f"{MOST_CHECKS} callers are being looked at already: try again"))
            return
        self._checks += 1
        self.running += 1

        def looked_at(user: str | MilvusException) -> None:
            self._checks -= 1
            done(user)

        self._door.submit(lambda: self._work(who, looked_at, None))

    async def checked(self, who: Callable[[], str]) -> str:
        """`check` for coroutines."""
        waiter, done = self._waiter()
        self.check(who, done)
        user: str = await waiter
        return user

    def start(self, work: Callable[[], T], done: Done[T]) -> None:
        """`run` for callbacks."""
        self.running += 1
        about = CURRENT.get()
        self._pool.submit(lambda: self._work(work, done, about))

    def close(self) -> None:
        """End the pool; what it still runs is left behind."""
        self._pool.close()
        self._door.close()

    # -- searches that arrive together ----------------------------------------------------------
    def hold(self) -> None:
        """Searches that begin from here on wait for `let_go`, and not for the next turn of the loop."""
        self._held = True

    def let_go(self) -> None:
        """Answer the searches that were held. Who knows that no others can arrive in this turn saves one."""
        self._held = False
        if self._gathered:
            before = CURRENT.set(None)
            try:
                self._answer()
            finally:
                CURRENT.reset(before)

    def _gather(self, search: Search, finish: Callable[[Result], T], done: Done[T]) -> None:
        """Put a search beside those that came in this turn of the loop."""

        def answered(result: Result | MilvusException) -> None:
            try:
                outcome = result if isinstance(result, MilvusException) else finish(result)
            except Exception as error:  # noqa: BLE001  whatever went wrong is this call's answer
                outcome = as_milvus(error)
            done(outcome)

        if not self._gathered and not self._held:
            self._loop.call_soon(self._answer)
        self._gathered.append((search, (answered, CURRENT.get())))
        self.running += 1

    def _answer(self) -> None:
        gathered, self._gathered = self._gathered, []
        for group in alike(gathered) if len(gathered) > 1 else [gathered]:
            for at in range(0, len(group), MOST_QUERIES):
                self._ask(group[at : at + MOST_QUERIES])

    def _ask(self, some: list[_Gathered]) -> None:
        """Answer some searches that are alike."""
        searches = [search for search, _ in some]
        CURRENT.set(some[0][1][1] if len(some) == 1 else None)  # the caller, or the loop, puts back what was there
        try:
            hits = self._service.call(searches[0] if len(searches) == 1 else together(searches))
        except Exception as error:  # noqa: BLE001  whatever went wrong is these calls' answer
            self._told(some, error)
            return
        if isinstance(hits, Future):
            hits.add_done_callback(lambda done: self._post(lambda: self._told(some, done.exception() or done.result())))
        else:
            self._told(some, hits)

    def _told(self, some: list[_Gathered], found: Result | BaseException) -> None:
        """What one call for all of them found. After an error each is asked by itself."""
        outcomes: list[Result | MilvusException]
        try:
            if isinstance(found, BaseException):
                raise found
            assert isinstance(found, Hits)
            outcomes = [*apart(found, [search for search, _ in some])] if len(some) > 1 else [found]
        except Exception as error:  # noqa: BLE001  whatever went wrong is these calls' answer
            if len(some) > 1:
                for one in some:
                    self._ask([one])
                return
            outcomes = [as_milvus(error)]
        self.running -= len(some)
        for (_, (answered, _)), outcome in zip(some, outcomes, strict=True):
            answered(outcome)

    def _waiter(self) -> tuple[asyncio.Future[Any], Done[Any]]:
        """A future for a coroutine to wait on, and what settles it. Cancelled, it lets the call run on."""
        waiter: asyncio.Future[Any] = self._loop.create_future()

        def done(outcome: object) -> None:
            if waiter.done():
                return
            if isinstance(outcome, MilvusException):
                waiter.set_exception(outcome)
            else:
                waiter.set_result(outcome)

        return waiter, done

    def _wait(self, request: Request) -> Result:
        result = self._service.call(request)
        return result.result() if isinstance(result, Future) else result

    def _work(
        self, work: Callable[[], T], done: Done[T], about: Logged | None, unwanted: Unwanted | None = None
    ) -> None:
        """In a thread of the pool. `about`: what is logged meanwhile."""
        before = CURRENT.set(about)
        try:
            refused = None if unwanted is None else unwanted()
            outcome: T | MilvusException = work() if refused is None else refused
        except Exception as error:  # noqa: BLE001  whatever went wrong is this call's answer
            outcome = as_milvus(error)
        finally:
            CURRENT.reset(before)
        self._post(lambda: self._settle(outcome, done))

    def _follow(self, future: Future[Result], finish: Callable[[Result], T], done: Done[T]) -> None:
        self.running += 1
        about = CURRENT.get()

        def arrived(finished: Future[Result]) -> None:
            def settle() -> None:
                before = CURRENT.set(about)
                try:
                    outcome: T | MilvusException = finish(finished.result())
                except Exception as error:  # noqa: BLE001  whatever went wrong is this call's answer
                    outcome = as_milvus(error)
                finally:
                    CURRENT.reset(before)
                self._settle(outcome, done)

            self._post(settle)

        future.add_done_callback(arrived)

    def _settle(self, outcome: T | MilvusException, done: Done[T]) -> None:
        self.running -= 1
        done(outcome)

    def _post(self, action: Callable[[], None]) -> None:
        """Have the loop's thread do it. Many posts in a row, as after a group commit, wake the loop once."""
        self._arrived.append(action)
        if not self._awake:
            self._awake = True
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._awake = False
        arrived = self._arrived
        while arrived:
            action = arrived.popleft()
            try:
                action()
            except Exception:  # noqa: BLE001  one answer that cannot be delivered must not hold up the others
                _log.exception("an answer was not delivered")


def as_milvus(error: Exception) -> MilvusException:
    """The error as it travels. One that is not Redkite's own is a bug: it is logged, here and nowhere else."""
    if isinstance(error, MilvusException):
        return error
    _log.error("unexpected error in a call", exc_info=error)
    return Unexpected(f"{type(error).__name__}: {error}")
