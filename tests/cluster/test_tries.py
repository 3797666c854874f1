"""Tries of one request."""

from __future__ import annotations

import threading

import pytest

from redkite.cluster.network import Unanswered
from redkite.cluster.tries import KNOWN, Tries
from redkite.env import Env
from redkite.errors import Unavailable

SECONDS = 30


@pytest.fixture
def tries() -> Tries:
    return Tries(Env.real())


def carried_out(tries: Tries, request: int, tried: int) -> bool:
    try:
        with tries.turn(request, tried):
            return True
    except Unanswered:
        return False


def test_no_try_is_carried_out_behind_a_later_one(tries: Tries) -> None:
    assert [carried_out(tries, 7, tried) for tried in (1, 0, 1, 3, 2)] == [True, False, True, True, False]
    assert carried_out(tries, 8, 0), "another request"


def test_what_has_no_number_is_carried_out_as_often_as_it_comes(tries: Tries) -> None:
    assert [carried_out(tries, 0, tried) for tried in (2, 0, 1)] == [True, True, True]


def test_a_try_waits_for_the_one_before_and_is_given_up_for_one_that_came_meanwhile(tries: Tries) -> None:
    came: list[int] = []
    waiting = [
        threading.Thread(target=lambda n=n: came.append(n) if carried_out(tries, 7, n) else None) for n in (1, 2)
    ]
    with tries.turn(7, 0):
        for thread in waiting:
            thread.start()
            while tries._latest[7] < waiting.index(thread) + 1:
                thread.join(0.01)
        assert not came
    for thread in waiting:
        thread.join(SECONDS)
    assert came == [2]


def test_only_so_many_requests_are_known(tries: Tries) -> None:
    for request in range(1, KNOWN + 2):
        assert carried_out(tries, request, 1)
    assert len(tries._latest) == KNOWN
    assert not carried_out(tries, 2, 0)
    assert carried_out(tries, 1, 0), "as one that is not known"


def test_a_try_that_waits_too_long_for_the_one_before_says_so() -> None:
    tries = Tries(Env.real(), patience=0.05)
    with tries.turn(7, 0), pytest.raises(Unavailable, match="the same request was sent before"), tries.turn(7, 1):
        pytest.fail("two tries at once")
