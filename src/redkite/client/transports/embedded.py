"""The engine in this process: requests are handed over as they are, no socket and no protobuf between."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from typing import Any

from redkite.client.transports.base import called_again, remaining
from redkite.client.transports.engines import Engine, acquire, release
from redkite.errors import Timeout
from redkite.model.requests import Queries, Request, Search
from redkite.model.results import Hits, Result
from redkite.spans import carried

MAX_READERS = 8
"""Threads that read for the tasks of one asynchronous client, at most."""


class EmbeddedTransport:
    """Answers in the caller's thread. A deadline bounds the wait for a write, not a read that is already running."""

    def __init__(self, path: str, read_only: bool = False, memory_limit: int = 0, verify: bool = True) -> None:
        self._engine = acquire(path, read_only, memory_limit, verify)
        self._leave = weakref.finalize(self, release, self._engine)

    def call(self, request: Request, deadline: float | None) -> Result:
        outcome = self._engine.service.call(request)
        if not isinstance(outcome, Future):
            return outcome
        try:
            return outcome.result(remaining(deadline))
        except FutureTimeout as error:
            if outcome.done():
                raise
            raise Timeout("the write did not finish within its timeout; it may still become durable") from error

    def again(self, search: Search, queries: Queries, deadline: float | None) -> Hits:
        repeating = self._engine.repeating
        hits = None if repeating is None else repeating.again(search, queries)
        return called_again(self, search, queries, deadline) if hits is None else hits

    def close(self) -> None:
        self._leave()


class AsyncEmbeddedTransport:
    """Answers tasks. Writes are handed over at once, so that those of many tasks are made durable together. Reads that
    take well under a millisecond are answered on the spot, which is less than handing them over would cost; all others
    run in a few threads, so that the loop never waits for one. The database is opened by the first call."""

    def __init__(self, path: str, read_only: bool = False, memory_limit: int = 0, verify: bool = True) -> None:
        self._open_as = (path, read_only, memory_limit, verify)
        self._engine: Engine | None = None
        self._opening: Future[Engine] | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._arrivals: _Arrivals | None = None
        self._leave: weakref.finalize[Any, Any] | None = None

    async def call(self, request: Request, deadline: float | None) -> Result:
        left = remaining(deadline)
        if left is None:
            return await self._answer(request)
        try:
            async with asyncio.timeout(left):
                return await self._answer(request)
        except TimeoutError as error:
            raise Timeout("the call did not finish within its timeout; a write may still become durable") from error

    async def close(self) -> None:
        opening, leave, threads = self._opening, self._leave, self._threads
        self._opening = self._leave = self._threads = self._engine = None
        if leave is not None and threads is not None:
            await self._here().wait(threads.submit(leave))
        elif opening is not None:
            opening.add_done_callback(_leave_unused)
        if threads is not None:
            threads.shutdown(wait=False)

    async def _answer(self, request: Request) -> Result:
        engine = self._engine or await self._open()
        service = engine.service
        if engine.orphaned or service.is_quick(request):
            outcome = service.call(request)
        else:
            outcome = await self._here().wait(self._pool().submit(carried(service.call), request))
        if isinstance(outcome, Future):
            outcome = await self._here().wait(outcome)
        return outcome

    async def _open(self) -> Engine:
        """Open the database in a thread, once for all tasks that want it; a failure is every waiting task's own."""
        opening = self._opening
        if opening is None:
            opening = self._opening = self._pool().submit(acquire, *self._open_as)
        try:
            engine: Engine = await self._here().wait(opening)
        except Exception:  # whatever it was: the next call tries again
            if self._opening is opening:
                self._opening = None
            raise
        if self._engine is None and self._opening is opening:
            self._engine = engine
            self._leave = weakref.finalize(self, release, engine)
        return engine

    def _pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(min(MAX_READERS, (os.cpu_count() or 2) + 1), "redkite-client")
        return self._threads

    def _here(self) -> _Arrivals:
        """The landing place of the running loop; another loop gets another."""
        loop = asyncio.get_running_loop()
        if self._arrivals is None or self._arrivals.loop is not loop:
            self._arrivals = _Arrivals(loop)
        return self._arrivals


def _leave_unused(opening: Future[Engine]) -> None:
    """A database that was still being opened when its client was closed."""
    if not opening.cancelled() and opening.exception() is None:
        release(opening.result())


class _Arrivals:
    """Brings what other threads finish to a loop: one wake-up for as many results as have arrived meanwhile.

    Cancelling a wait does not touch the work: a write that was handed over is finished whether or not its task waits.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._arrived: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()
        self._awake = False

    def wait(self, work: Future[Any]) -> asyncio.Future[Any]:
        waiter = self.loop.create_future()
        if work.done():
            _hand_over(waiter, work)
        else:
            work.add_done_callback(partial(self._arrive, waiter))
        return waiter

    def _arrive(self, waiter: asyncio.Future[Any], work: Future[Any]) -> None:
        self._arrived.append((waiter, work))
        if not self._awake and not self.loop.is_closed():
            self._awake = True
            self.loop.call_soon_threadsafe(self._land)

    def _land(self) -> None:
        self._awake = False
        while self._arrived:
            _hand_over(*self._arrived.popleft())


def _hand_over(waiter: asyncio.Future[Any], work: Future[Any]) -> None:
    if waiter.done():
        return
    if work.cancelled():
        waiter.cancel()
        return
    error = work.exception()
    if error is None:
        waiter.set_result(work.result())
    else:
        waiter.set_exception(error)
