"""Answers that wait for writes to be durable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Lock
from typing import Any, TypeVar

from redkite.env import Tasks, attach, work_of

R = TypeVar("R")


def when_all(tasks: Tasks, writes: Sequence[Future[Any]], result: Callable[[], R]) -> Future[R]:
    """A future that is `result()` once all writes are done, or the first error among them."""
    if len(writes) == 1:
        return _when(tasks, writes[0], result)
    answer: Future[R] = tasks.future()
    left = len(writes)
    lock = Lock()
    errors: list[BaseException] = []

    def one_done(write: Future[Any]) -> None:
        nonlocal left
        error = write.exception()
        with lock:
            left -= 1
            if error is not None:
                errors.append(error)
            if left:
                return
        if errors:
            answer.set_exception(errors[0])
        else:
            answer.set_result(result())

    for write in writes:
        write.add_done_callback(one_done)
    return answer


def _when(tasks: Tasks, write: Future[Any], result: Callable[[], R]) -> Future[R]:
    """The same for one write. Who waits for the answer may do the writing."""
    answer: Future[R] = tasks.future(work_of(write))

    def done(write: Future[Any]) -> None:
        error = write.exception()
        if error is None:
            answer.set_result(result())
        else:
            answer.set_exception(error)

    attach(write, done)
    return answer
