"""How jobs fail that another process would do again: they are over when that is durable, and until then it is tried."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Final

from redkite.env import Tasks, Timer
from redkite.errors import MilvusException
from redkite.logs import get_logger

log = get_logger(__name__)

AGAIN_SECONDS: Final = 1.0


class Ends:
    """Of one kind of jobs. Safe from any thread."""

    def __init__(self, tasks: Tasks, kind: str, fail: Callable[[int, str], None]) -> None:
        """`fail` notes why a job failed, or raises MilvusException when that cannot be done now."""
        self._tasks, self._kind, self._fail = tasks, kind, fail
        self._lock = Lock()
        self._unnoted: dict[int, str] = {}
        self._timer: Timer | None = None
        self._closed = False

    def failed(self, job_id: int, reason: str) -> bool:
        """A job has failed; whether that is noted. Else it is tried again until it is, or this is closed."""
        try:
            self._fail(job_id, reason)
        except MilvusException as error:
            log.warning("the end of %s job %d could not be noted: %s", self._kind, job_id, error.message)
            with self._lock:
                self._unnoted[job_id] = reason
                if self._timer is None and not self._closed:
                    self._timer = self._tasks.every(AGAIN_SECONDS, self._again, f"{self._kind}-ends", alone=True)
            return False
        return True

    def _again(self) -> None:
        with self._lock:
            unnoted, self._unnoted = self._unnoted, {}
        for job_id, reason in unnoted.items():
            self.failed(job_id, reason)
        with self._lock:
            timer = None if self._unnoted else self._timer
            self._timer = self._timer if timer is None else None
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        """Try nothing again."""
        with self._lock:
            self._closed = True
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
