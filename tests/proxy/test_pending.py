"""Answers that wait for writes end, whatever becomes of the writes and of what is made of them."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from redkite.proxy.pending import when_all
from redkite.realenv import RealTasks


def answered(count: int, failed: int, result: Any) -> Future[Any]:
    """The answer to so many writes, the first of which fail."""
    writes: list[Future[Any]] = [Future() for _ in range(count)]
    answer: Future[Any] = when_all(RealTasks(), writes, result)
    for number, write in enumerate(writes):
        assert not answer.done()
        if number < failed:
            write.set_exception(KeyError(number))
        else:
            write.set_result(number)
    return answer


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_answer_is_made_when_the_last_write_is_durable(count: int) -> None:
    assert answered(count, 0, lambda: "made").result(30) == "made"


@pytest.mark.parametrize("count", [1, 2, 5])
def test_an_answer_that_cannot_be_made_is_the_error_that_its_waiter_gets(count: int) -> None:
    def fails() -> None:
        raise RuntimeError("no answer")

    with pytest.raises(RuntimeError, match="no answer"):
        answered(count, 0, fails).result(30)


@pytest.mark.parametrize(("count", "failed"), [(1, 1), (2, 1), (2, 2)])
def test_the_first_write_that_fails_is_the_answer_and_nothing_is_made(count: int, failed: int) -> None:
    made: list[int] = []
    assert isinstance(answered(count, failed, lambda: made.append(1)).exception(5), KeyError)
    assert made == []
