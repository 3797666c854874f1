"""Who waits for an append writes it, and what happens when that thread is torn away from it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from redkite.env import Env, attach, work_of
from redkite.errors import StorageError, Unavailable
from redkite.realenv import RealFiles
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
    assert threading.active_count() <= threads  # others may end meanwhile


@pytest.mark.parametrize(
    "want",
    [
        lambda future: future.result(30),
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
    assert done.wait(30)
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
    assert (second.result(30), third.result(30)) == (1, 2)
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
            future.result(30)
    with pytest.raises(StorageError, match="could not be applied"):
        topic.append([b"three"])
    assert payloads(topic) == [b"one", b"two"]
    topic.resume()
    assert topic.append([b"three"], applied.append).result() == 2
    assert applied == [2]


class TornState:
    """A topic's lock, whose holder can be torn away as it lets go."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self.tear: Callable[[], bool] = lambda: False

    def __enter__(self) -> Any:
        return self._lock.__enter__()

    def __exit__(self, *args: Any) -> None:
        self._lock.__exit__(*args)
        if self.tear():
            self.tear = lambda: False
            raise Torn


def test_a_thread_torn_away_just_as_it_became_the_leader_leaves_the_lead_to_another(log: LocalLog) -> None:
    topic: Any = log.topic("t")
    topic.append([b"one"]).result()
    topic._state = state = TornState(topic._state)
    second = topic.append([b"two"])
    state.tear = lambda: topic._leader != 0
    with pytest.raises(Torn):
        second.result()
    assert second.result(30) == 1
    assert topic.append([b"three"]).result(30) == 2
    assert payloads(topic) == [b"one", b"two", b"three"]


def test_a_thread_torn_away_when_it_led_no_more_takes_nothing_from_the_next_leader(
    log: LocalLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic: Any = log.topic("t")
    topic.append([b"one"]).result()
    topic._state = state = TornState(topic._state)
    applied: list[int] = []
    positions: list[int] = []
    is_writing, may_write = threading.Event(), threading.Event()
    write = PageWriter._write

    def held(self: PageWriter, records: Any) -> None:
        if threading.current_thread() is other:
            is_writing.set()
            assert may_write.wait(30)
        write(self, records)

    monkeypatch.setattr(PageWriter, "_write", held)

    def follow() -> None:
        positions.append(topic.append([b"three"], applied.append).result())

    def tear() -> bool:
        if threading.current_thread() is other or topic._leader:
            return False
        state.tear = lambda: False
        other.start()  # and leads, before this thread has returned
        return is_writing.wait(10)

    other = threading.Thread(target=follow)
    second = topic.append([b"two"], applied.append)
    state.tear = tear
    with pytest.raises(Torn):
        second.result()
    may_write.set()
    other.join(60)
    assert topic.append([b"four"], applied.append).result(30) == 3
    assert positions == [2]
    assert applied == [1, 2, 3]
    assert payloads(topic) == [b"one", b"two", b"three", b"four"]
    assert topic.unapplied == ""


def test_a_thread_torn_away_as_a_page_is_begun_loses_nothing_that_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LocalLog(Env.real(), str(tmp_path))
    topic: Any = log.topic("t")
    topic.append([b"one"]).result()
    sync_dir = RealFiles.sync_dir

    def torn(self: RealFiles, path: str) -> None:
        monkeypatch.setattr(RealFiles, "sync_dir", sync_dir)
        sync_dir(self, path)
        raise Torn

    monkeypatch.setattr(RealFiles, "sync_dir", torn)
    with pytest.raises(Torn):
        topic.truncate(topic.end)
    assert topic._writer.suspect
    assert [topic.append([word]).result() for word in (b"two", b"three")] == [1, 2]
    assert not topic._writer.suspect
    log.close()
    assert payloads(LocalLog(Env.real(), str(tmp_path)).topic("t")) == [b"one", b"two", b"three"]


def test_an_append_that_no_thread_can_be_started_for_fails_and_the_next_one_is_written(
    log: LocalLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = log.topic("t")
    topic.append([b"one"]).result()
    with monkeypatch.context() as broken:

        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        broken.setattr(threading.Thread, "start", refuse)
        with pytest.raises(Unavailable, match="has no thread"):
            topic.append([b"two"]).result(30)
    assert topic.append([b"three"]).result(30) == 1
    assert payloads(topic) == [b"one", b"three"]


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
