"""Which moment is read while writes are under way, and who waits for them."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from redkite.errors import Unavailable
from redkite.node.face import Heard, moment_after
from redkite.node.under_way import UnderWay

NOW = 100


def moment(*heard: tuple[int, int | None], least: int = 0) -> int:
    return moment_after([Heard(newest=newest, under_way=first) for newest, first in heard], NOW, least)


def test_where_nothing_is_under_way_the_present_is_read() -> None:
    assert moment((50, None), (60, None)) == NOW
    assert moment((50, None), (60, None), least=120) == 120


def test_what_is_under_way_is_not_waited_for_where_nobody_was_told_of_anything_later() -> None:
    assert moment((50, 70), (60, None)) == 69
    assert moment((50, 70), (60, 65)) == 64
    assert moment((50, 61), (60, None)) == 60


def test_what_was_answered_is_read_whatever_has_to_be_waited_for() -> None:
    assert moment((50, 58), (60, None)) == NOW, "a write at 60 was answered, one at 58 may be of the same request"
    assert moment((50, 60), (60, None)) == NOW, "one write of two shards is readable in one of them"
    assert moment((50, 70), (60, None), least=80) == NOW, "who asks has written at 80"
    assert moment((50, 0), (60, None)) == NOW, "it is not known which timestamp is under way"


def logged(writes: UnderWay, timestamp: int) -> Future[Any]:
    future: Future[Any] = Future()
    with writes:
        assert writes.log(timestamp, lambda: future) is future
    return future


def test_the_first_write_that_cannot_be_read_yet_is_known() -> None:
    writes = UnderWay()
    assert writes.first is None
    assert writes.is_over
    first, second = logged(writes, 5), logged(writes, 7)
    assert writes.first == 5
    first.set_result(1)
    assert writes.first == 7
    second.set_exception(Unavailable("no"))
    assert writes.first is None
    assert writes.is_over


def test_a_write_is_under_way_before_its_log_takes_it() -> None:
    writes = UnderWay()
    seen: list[int | None] = []

    def append() -> Future[Any]:
        seen.append(writes.first)
        future: Future[Any] = Future()
        future.set_result(1)
        return future

    with writes:
        assert writes.first == 0, "it has no timestamp, or one that nobody has told"
        writes.log(5, append)
        assert writes.first == 5, "more may come by the same timestamp"
        assert not writes.is_over
    assert seen == [5]
    assert writes.first is None


def test_a_write_that_its_log_refuses_came_to_nothing() -> None:
    writes = UnderWay()

    def refuse() -> Future[Any]:
        raise Unavailable("the broker is away")

    with pytest.raises(Unavailable), writes:
        writes.log(5, refuse)
    assert writes.first is None
    logged(writes, 8).set_result(1)
    assert writes.first is None
