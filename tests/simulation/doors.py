"""How clients, which live outside of all that fails, ask a process that may be gone at any moment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial
from typing import Any

from tests.simulation.fibers import Process, World

from redkite.errors import MilvusException, Unavailable

PATIENCE_SECONDS = 12.0
"""A client waits no longer for its answer."""


class Door:
    """One process that answers, as long as it lives."""

    def __init__(self, world: World, process: Process, answer: Callable[[Any], Any]) -> None:
        self._world, self._process, self._answer = world, process, answer
        self._open: dict[Future[Any], None] = {}
        process.at_end.append(self._hang_up)

    @property
    def is_open(self) -> bool:
        return not self._process.ended

    def ask(self, request: Any) -> Any:
        """The answer, or the error; Unavailable when the process ends first, or answers too late."""
        if self._process.ended:
            raise Unavailable("nobody listens")
        future: Future[Any] = Future()
        self._open[future] = None
        self._world.sleep(self._world.rng.uniform(0.0001, 0.001))
        if not self._process.ended:
            self._process.spawn(lambda: self._serve(request, future), "request")
        try:
            return future.result(PATIENCE_SECONDS)
        except TimeoutError:
            raise Unavailable("no answer in time") from None
        finally:
            self._open.pop(future, None)

    def _serve(self, request: Any, future: Future[Any]) -> None:
        try:
            answer = self._answer(request)
            if isinstance(answer, Future):
                answer = answer.result()
        except MilvusException as error:
            self._end(future.set_exception, error)
        else:
            self._end(future.set_result, answer)

    def _end(self, end: Callable[[Any], None], what: Any) -> None:
        if not self._process.ended:
            with suppress(InvalidStateError):  # nobody waits any more
                end(what)

    def _hang_up(self) -> None:
        waiting, self._open = list(self._open), {}
        for future in waiting:
            self._world.spawn(partial(_lose, future), "hang up")


def _lose(future: Future[Any]) -> None:
    with suppress(InvalidStateError):
        future.set_exception(Unavailable("the connection was lost"))
