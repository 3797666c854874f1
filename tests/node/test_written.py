"""What a shard remembers of writes, so that none is done twice."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

import pytest

from redkite.env import Env
from redkite.errors import UnknownOutcome
from redkite.node import written
from redkite.node.records import INSERT, RecordHeader
from redkite.node.written import Written

TASKS = Env.real().tasks


def once(known: Written, number: int, answer: Future[Any], *, doubtful: bool = False) -> Future[Any]:
    return known.once(TASKS, number, number, number, lambda: answer, lambda logged: logged, doubtful=doubtful)


def test_more_writes_may_wait_for_the_log_than_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a broker stands still nothing is settled, and whatever is pending is known."""
    monkeypatch.setattr(written, "MOST_REMEMBERED", 4)
    known, pending = Written(), [Future[Any]() for _ in range(12)]
    answers: list[Future[Any]] = []

    def write() -> None:
        answers.extend(once(known, number + 1, one) for number, one in enumerate(pending))

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    writer.join(20)
    assert not writer.is_alive(), "it looks for ever for one that it could forget"
    assert once(known, 7, Future()) is answers[6]
    for one in pending:
        one.set_result("done")
    assert [one.result(1) for one in answers] == ["done"] * 12


def test_what_is_settled_is_forgotten_and_a_doubtful_write_of_then_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written, "MOST_REMEMBERED", 4)
    known = Written()
    for number in range(1, 40):
        done: Future[Any] = Future()
        done.set_result(number)
        once(known, number, done)
    assert len(known._known) <= 4
    with pytest.raises(UnknownOutcome):
        once(known, 3, Future(), doubtful=True)
    assert once(known, 39, Future()).result(1) == 39


def test_those_that_waited_are_forgotten_when_they_are_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written, "MOST_REMEMBERED", 4)
    known, pending = Written(), [Future[Any]() for _ in range(30)]
    for number, one in enumerate(pending):
        once(known, number + 1, one)
    assert len(known._known) == 30
    for one in pending:
        one.set_result(None)
    for number in range(100, 110):
        once(known, number, Future())
    assert len(known._known) <= 12


def test_a_doubtful_write_that_was_sent_after_everything_before_the_checkpoint_is_done_or_known() -> None:
    known = Written()
    known.begin(10)
    known.replayed(RecordHeader(INSERT, 12, 1, (), (12).to_bytes(8, "big")), 1)
    done: Future[Any] = Future()
    done.set_result("done")
    assert once(known, 11, done, doubtful=True).result(1) == "done"
    assert once(known, 12, Future(), doubtful=True).result(1).timestamp == 12
    with pytest.raises(UnknownOutcome):
        once(known, 10, Future(), doubtful=True)
