"""How does an event loop call a service that blocks, without waiting for it?

Quick requests run in the loop's thread; the others in a pool. A write's future is waited for by a callback, so a client
that goes away takes no write with it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from redkite.errors import MilvusException, Unexpected
from redkite.logs import get_logger
from redkite.model.requests import Request
from redkite.model.results import Result
from redkite.model.service import Service

T = TypeVar("T")
Done = Callable[[T | MilvusException], None]
"""Takes the outcome of one call, in the event loop's thread. Must not raise."""

WORKERS = 16
_log = get_logger(__name__)


class Calls:
    """Runs requests of one service for one event loop. `begin` and `call` belong to the loop's thread."""

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop, workers: int = WORKERS) -> None:
        self._service = service
        self._loop = loop
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="redkite-call")
        self._arrived: deque[Callable[[], None]] = deque()
        self._awake = False
        self.running = 0

    def begin(self, request: Request, finish: Callable[[Result], T], done: Done[T]) -> None:
        """Call the service and hand `finish(result)`, or the error, to `done`: before this returns, or later.

        `finish` turns the result into what travels; it runs where the call ran.
        """
        if self._service.is_quick(request):
            try:
                result = self._service.call(request)
                if isinstance(result, Future):
                    self._follow(result, finish, done)
                else:
                    done(finish(result))
            except Exception as error:  # noqa: BLE001  whatever went wrong is this call's answer
                done(as_milvus(error))
            return
        self.running += 1
        self._pool.submit(self._work, request, finish, done)

    async def call(self, request: Request, finish: Callable[[Result], T]) -> T:
        """`begin` for coroutines. Cancelling the coroutine leaves the call running."""
        waiter: asyncio.Future[T] = self._loop.create_future()

        def done(outcome: T | MilvusException) -> None:
            if waiter.done():
                return
            if isinstance(outcome, MilvusException):
                waiter.set_exception(outcome)
            else:
                waiter.set_result(outcome)

        self.begin(request, finish, done)
        return await waiter

    async def run(self, work: Callable[[], T]) -> T:
        """Run something slow that is no request in the pool."""
        return await self._loop.run_in_executor(self._pool, work)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _work(self, request: Request, finish: Callable[[Result], T], done: Done[T]) -> None:
        try:
            result = self._service.call(request)
            if isinstance(result, Future):
                result = result.result()
            outcome: T | MilvusException = finish(result)
        except Exception as error:  # noqa: BLE001  whatever went wrong is this call's answer
            outcome = as_milvus(error)
        self._post(lambda: self._settle(outcome, done))

    def _follow(self, future: Future[Result], finish: Callable[[Result], T], done: Done[T]) -> None:
        self.running += 1

        def arrived(finished: Future[Result]) -> None:
            def settle() -> None:
                try:
                    outcome: T | MilvusException = finish(finished.result())
                except Exception as error:  # noqa: BLE001  whatever went wrong is this call's answer
                    outcome = as_milvus(error)
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
            arrived.popleft()()


def as_milvus(error: Exception) -> MilvusException:
    """The error as it travels. One that is not Redkite's own is a bug: it is logged, here and nowhere else."""
    if isinstance(error, MilvusException):
        return error
    _log.error("unexpected error in a call", exc_info=error)
    return Unexpected(f"{type(error).__name__}: {error}")
