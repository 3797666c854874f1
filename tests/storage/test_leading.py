"""Who waits for an append writes it, and what happens when that thread is torn away from it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from redkite.env import Env, attach, work_of
from redkite.errors import StorageError
from redkite.storage.local_log import LocalLog
from redkite.storage.log import LogSettings, Topic
from redkite.storage.log_writer import PageWriter


def payloads(topic: Topic) -> list[bytes]:
    return [bytes(record.payload) for record in topic.read()]


@pytest.fixture
def log(tmp_path: Path) -> LocalLog:
    return LocalLog(Env.real(), str(tmp_path / "log"))


def test_a_lone_writer_needs_no_other_thread(log: LocalLog) -> None:
    topic = log.topic("t")
    writers: set[str] = set()
    threads = threading.active_count()
    for number in range(20):
        future = topic.append([b"%d" % number], lambda _: writers.add(threading.current_thread().name))
        assert not future.done()
        assert future.result() == number
    assert writers == {threading.current_thread().name}
    assert threading.active_count() == threads


@pytest.mark.parametrize(
    "want",
    [
        lambda future: future.result(10),
        lambda future: future.exception(10),
        lambda future: future.add_done_callback(lambda _: None),
    ],
)
def test_who_does_not_wait_for_as_long_as_it_takes_has_it_written_by_another_thread(
    want: Callable[[Future[Any]], object], log: LocalLog
) -> None:
    topic = log.topic("t")
    writers: list[str] = []
    done = threading.Event()
    future = topic.append([b"one"], lambda _: writers.append(threading.current_thread().name))
    attach(future, lambda _: done.set())
    assert not future.done()
    want(future)
    assert done.wait(10)
    assert writers != [threading.current_thread().name]


def test_an_append_that_nobody_waits_for_is_written_with_the_next_one_and_at_the_end(log: LocalLog) -> None:
    topic = log.topic("t")
    first = topic.append([b"one"])
    assert topic.append([b"two"]).result() == 1
    assert first.done()
    last = topic.append([b"three"])
    topic.close()
    assert last.done()
    assert payloads(log.topic("t")) == [b"one", b"two", b"three"]


def test_an_append_that_waits_for_room_has_that_of_another_topic_written(tmp_path: Path) -> None:
    log = LocalLog(Env.real(), str(tmp_path), LogSettings(queue_bytes=1_000, queue_seconds=10))
    first = log.topic("a").append([b"x" * 900])
    second = log.topic("b").append([b"y" * 900])
    assert first.done()
    assert second.result() == 0


def test_the_answer_is_asked_for_when_the_record_is_applied_and_its_error_is_its_waiters_alone(log: LocalLog) -> None:
    topic = log.topic("t")
    applied: list[int] = []
    assert topic.append([b"one"], applied.append, lambda: list(applied)).result() == [0]

    def fail() -> None:
        raise ValueError("no answer")

    with pytest.raises(ValueError, match="no answer"):
        topic.append([b"two"], applied.append, fail).result()
    assert topic.append([b"three"], applied.append).result() == 2
    assert applied == [0, 1, 2]


def test_only_a_future_of_work_has_work(log: LocalLog) -> None:
    assert work_of(Future()) is None
    assert work_of(log.topic("t").append([b"one"])) is log.topic("t")


class Torn(BaseException):
    """Thrown into a thread from outside, as KeyboardInterrupt is."""


@pytest.mark.parametrize("when", ["before the write", "behind the write"])
def test_a_commit_whose_thread_is_torn_away_is_finished_by_another(
    when: str, log: LocalLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = log.topic("t")
    topic.append([b"one"]).result()
    write = PageWriter._write

    def torn(self: PageWriter, records: Any) -> None:
        monkeypatch.setattr(PageWriter, "_write", write)
        if when == "behind the write":
            end = self.end
            write(self, records)
            self.end = end  # torn away just before it was noted
        raise Torn

    monkeypatch.setattr(PageWriter, "_write", torn)
    applied: list[int] = []
    second, third = topic.append([b"two"], applied.append), topic.append([b"three"], applied.append)
    with pytest.raises(Torn):
        second.result()
    assert (second.result(10), third.result(10)) == (1, 2)
    assert topic.append([b"four"], applied.append).result() == 3
    assert applied == [1, 2, 3]
    topic.close()
    assert payloads(log.topic("t")) == [b"one", b"two", b"three", b"four"]


def test_a_thread_torn_away_while_it_applies_leaves_no_waiter_behind_and_nothing_applied_twice(log: LocalLog) -> None:
    topic = log.topic("t")
    applied: list[int] = []

    def torn(position: int) -> None:
        raise Torn

    first, second = topic.append([b"one"], torn), topic.append([b"two"], applied.append)
    with pytest.raises(Torn):
        first.result()
    for future in (first, second):
        with pytest.raises(StorageError, match="interrupted"):
            future.result(10)
    with pytest.raises(StorageError, match="could not be applied"):
        topic.append([b"three"])
    assert payloads(topic) == [b"one", b"two"]
    topic.resume()
    assert topic.append([b"three"], applied.append).result() == 2
    assert applied == [2]


def test_many_writers_are_written_together(log: LocalLog, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = log.topic("t")
    commits: list[int] = []
    write = PageWriter.write

    def counted(self: PageWriter, records: Any) -> None:
        commits.append(len(records))
        write(self, records)

    monkeypatch.setattr(PageWriter, "write", counted)
    found: list[int] = []

    def work() -> None:
        found.extend([topic.append([b"x"]).result() for _ in range(40)])

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(640))
    assert sum(commits) == 640
    assert len(commits) < 400
