"""Does it answer? Asked so that whoever wants to know need not wait as long as the one who is asked takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from threading import Lock
from typing import Final

from redkite.env import Env, Executor
from redkite.errors import MilvusException

PATIENCE_SECONDS: Final = 5.0
"""Who has not answered by then is told of; the question goes on."""


class Probes:
    """Questions by what they are about. Safe from any thread."""

    def __init__(self, env: Env, questions: Mapping[str, Callable[[], object]]) -> None:
        """Each question raises MilvusException, or is answered."""
        self._clock = env.clock
        self._questions = questions
        self._lock = Lock()
        self._asked: dict[str, tuple[Future[object], float]] = {}
        """What is not answered yet, and since when."""
        self._asker: Executor = env.tasks.executor("probes", len(questions))

    def reasons(self) -> tuple[str, ...]:
        """What does not answer, and why; takes no longer than the patience."""
        with self._lock:
            for what, ask in self._questions.items():
                if what not in self._asked:
                    self._asked[what] = self._asker.submit(ask), self._clock.monotonic()
            asked = dict(self._asked)
        until = self._clock.monotonic() + PATIENCE_SECONDS
        found = (self._reason(what, answer, since, until) for what, (answer, since) in asked.items())
        return tuple(reason for reason in found if reason)

    def _reason(self, what: str, answer: Future[object], since: float, until: float) -> str:
        try:
            error = answer.exception(max(0.0, until - self._clock.monotonic()))
        except TimeoutError:
            return f"{what}: no answer for {self._clock.monotonic() - since:.0f} s"
        with self._lock:
            if self._asked.get(what, (None, 0.0))[0] is answer:
                del self._asked[what]
        if error is None:
            return ""
        if isinstance(error, MilvusException):
            return f"{what}: {error.message}"
        raise error

    def close(self) -> None:
        """Nothing is asked any more."""
        self._asker.shutdown(wait=False)
