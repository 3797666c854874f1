"""Answers that wait for writes to be durable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from threading import Lock
from typing import Any, TypeVar

from redkite.env import Tasks, attach, work_of

R = TypeVar("R")


def when_all(
    tasks: Tasks,
    writes: Sequence[Future[Any]],
    result: Callable[[], R],
    parted: Callable[[list[int], BaseException], BaseException] | None = None,
) -> Future[R]:
    """A future that is `result()` once all writes are done, or the first error among them; where some were done all
    the same, it is what `parted` makes of those that were not and that error."""
    if len(writes) == 1:
        return _when(tasks, writes[0], result)
    answer: Future[R] = tasks.future()
    left = len(writes)
    lock = Lock()
    errors: dict[int, BaseException] = {}

    def one_done(number: int, write: Future[Any]) -> None:
        nonlocal left
        error = write.exception()
        with lock:
            left -= 1
            if error is not None:
                errors[number] = error
            if left:
                return
        first = next(iter(errors.values()), None)
        if first is not None and parted is not None and len(errors) < len(writes):
            first = parted(sorted(errors), first)
        _settle(answer, first, result)

    for number, write in enumerate(writes):
        write.add_done_callback(partial(one_done, number))
    return answer


def _when(tasks: Tasks, write: Future[Any], result: Callable[[], R]) -> Future[R]:
    """The same for one write. Who waits for the answer may do the writing."""
    answer: Future[R] = tasks.future(work_of(write))

    def done(write: Future[Any]) -> None:
        _settle(answer, write.exception(), result)

    attach(write, done)
    return answer


def _settle(answer: Future[R], error: BaseException | None, result: Callable[[], R]) -> None:
    """End the answer, whatever `result` does: nobody may wait for ever."""
    if error is not None:
        answer.set_exception(error)
        return
    try:
        value = result()
    except Exception as failure:  # noqa: BLE001  it is the answer
        answer.set_exception(failure)
    else:
        answer.set_result(value)
