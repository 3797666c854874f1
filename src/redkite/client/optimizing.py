"""`optimize(wait=False)`: an optimization that goes on beside its caller, who may look how far it is, or give it up."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from redkite.client.operations.upkeep import OptimizeResult
from redkite.client.session import Effect, Operation, relayed
from redkite.errors import MilvusException, Timeout

_GIVEN_UP = "Optimization task was cancelled"
Make = Callable[[list[str]], Operation[OptimizeResult]]
"""The operation, which notes its stages in a list."""
_NOT_YET = "the optimization is not finished within this time; it goes on"


class _Course(ABC):
    """How far an optimization is. The operation notes its stages here."""

    def __init__(self) -> None:
        self._stages = ["initializing"]
        self._is_cancelled = False

    @abstractmethod
    def _has_ended(self) -> bool:
        """Well or not."""

    def _watched(self, make: Make) -> Operation[OptimizeResult]:
        """The operation, which ends before its next request when it is given up. What the server has begun goes on."""
        return relayed(make(self._stages), self._wanted)

    def _wanted(self, effect: Effect) -> Effect:
        if self._is_cancelled:
            raise MilvusException(_GIVEN_UP)
        return effect

    def done(self) -> bool:
        """Whether it has ended, well or not, or was given up."""
        return self._has_ended() or self._is_cancelled

    def cancelled(self) -> bool:
        return self._is_cancelled

    def progress(self) -> str:
        """The stage that it is at."""
        return self._stages[-1]

    def progress_history(self) -> list[str]:
        return list(self._stages)

    def cancel(self) -> bool:
        """Give it up; False when it has ended already. A compaction that the server has begun goes on."""
        if self._is_cancelled:
            return True
        if self._has_ended():
            return False
        self._is_cancelled = True
        self._stages.append("cancelled")
        return True


class OptimizeTask(_Course):
    """An optimization in a thread of its own, which does not keep the program from ending."""

    def __init__(self, make: Make, run: Callable[[Operation[OptimizeResult]], OptimizeResult]) -> None:
        """`make`: the operation that notes its stages in a list; `run`: drives it to its end."""
        super().__init__()
        self._finished = threading.Event()
        self._result: OptimizeResult | None = None
        self._error: Exception | None = None
        work = partial(self._work, self._watched(make), run)
        threading.Thread(target=work, name="redkite-optimize", daemon=True).start()

    def _work(
        self, operation: Operation[OptimizeResult], run: Callable[[Operation[OptimizeResult]], OptimizeResult]
    ) -> None:
        try:
            self._result = run(operation)
        except Exception as error:  # noqa: BLE001  whoever asks for the result gets it
            self._error = error
        finally:
            self._finished.set()

    def _has_ended(self) -> bool:
        return self._finished.is_set()

    def result(self, timeout: float | None = None) -> OptimizeResult:
        """Wait for what it did. Raises its error; Timeout when it is not finished in so many seconds; MilvusException
        when it was given up."""
        if self._is_cancelled:
            raise MilvusException(_GIVEN_UP)
        if not self._finished.wait(timeout):
            raise Timeout(_NOT_YET)
        if self._error is not None:
            raise self._error
        assert self._result is not None, "it ended well"
        return self._result


class AsyncOptimizeTask(_Course):
    """The same as a task of the event loop; `result` is awaited."""

    def __init__(
        self, make: Make, run: Callable[[Operation[OptimizeResult]], Coroutine[Any, Any, OptimizeResult]]
    ) -> None:
        super().__init__()
        self._task = asyncio.ensure_future(run(self._watched(make)))
        self._task.add_done_callback(_looked_at)

    def _has_ended(self) -> bool:
        return self._task.done()

    def cancel(self) -> bool:
        given_up = super().cancel()
        if given_up:
            self._task.cancel()
        return given_up

    async def result(self, timeout: float | None = None) -> OptimizeResult:
        if self._is_cancelled:
            raise MilvusException(_GIVEN_UP)
        done, _ = await asyncio.wait([self._task], timeout=timeout)
        if not done:
            raise Timeout(_NOT_YET)
        return self._task.result()


def _looked_at(task: asyncio.Task[OptimizeResult]) -> None:
    """An error that nobody asks for is no reason to warn at the program's end."""
    if not task.cancelled():
        task.exception()
