"""Interrupts at every point of an append and of a commit to the catalog: the next one finds nothing half done."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from tests.interrupts import PATIENCE, Interrupted, elsewhere

from redkite.env import Env
from redkite.errors import MilvusException, StorageError
from redkite.realenv import RealFiles
from redkite.storage.local_log import LocalLog
from redkite.storage.local_topic import LEAD_BYTES, LocalTopic
from redkite.storage.log import LogSettings, Topic
from redkite.storage.log_backlog import Backlog, Place
from redkite.storage.sqlite_catalog import SqliteCatalog


class Keeper:
    """Applies what is durable, and all of it anew where that was left half done, as a shard does."""

    def __init__(self, topic: Topic) -> None:
        self._topic = topic
        self.applied: list[int] = []

    def append(self, payload: bytes) -> int:
        if self._topic.unapplied:
            self.applied = [record.position for record in self._topic.read()]
            self._topic.resume()
        position: int = self._topic.append([payload], self.applied.append).result()
        return position


@pytest.mark.parametrize(("size", "points"), [(40, 100), (LEAD_BYTES + 1, 60)], ids=["written here", "elsewhere"])
@pytest.mark.parametrize(("follower", "first"), [("the same thread", 1), ("another", 2)])
def test_after_an_append_that_was_interrupted_anywhere_the_next_one_is_written(
    size: int, points: int, follower: str, first: int, tmp_path: Path
) -> None:
    payload = b"x" * size
    for at in range(first, 1_000, 2):
        log = LocalLog(Env.real(), str(tmp_path / f"{at}"))
        topic = log.topic("t")
        keeper = Keeper(topic)
        keeper.append(b"before")
        interrupted = Interrupted(at)
        # The standard library has places of its own where an interrupt comes out as a RuntimeError.
        with contextlib.suppress(KeyboardInterrupt, RuntimeError, MilvusException):
            interrupted.run(lambda keeper=keeper: keeper.append(payload))
        if interrupted.points < at:
            assert at > points
            log.close()
            return
        work = lambda keeper=keeper: keeper.append(b"after")
        end = work() if follower == "the same thread" else elsewhere(work)
        found = [bytes(record.payload) for record in topic.read()]
        assert found in ([b"before", b"after"], [b"before", payload, b"after"]), interrupted.place
        assert end == len(found) - 1
        assert keeper.applied == list(range(len(found))), interrupted.place
        assert log.backlog.size == 0, interrupted.place
        elsewhere(log.close)
    raise AssertionError("it never came to an end")


def test_an_interrupted_append_leaves_those_of_others_that_were_to_be_written_with_it(tmp_path: Path) -> None:
    for at in range(1, 1_000, 5):
        log = LocalLog(Env.real(), str(tmp_path / f"{at}"))
        topic = log.topic("t")
        others = [topic.append([b"other"]) for _ in range(2)]
        interrupted = Interrupted(at)
        with contextlib.suppress(KeyboardInterrupt):
            interrupted.run(lambda topic=topic: topic.append([b"mine"]).result())
        if interrupted.points < at:
            log.close()
            return
        for future in others:  # written, or told that it is not known what became of it
            with contextlib.suppress(StorageError):
                elsewhere(future.result)
            assert future.done()
        assert [bytes(record.payload) for record in topic.read()][:2] == [b"other"] * 2, interrupted.place
        assert log.backlog.size == 0, interrupted.place
        elsewhere(log.close)
    raise AssertionError("it never came to an end")


class InterruptedExecutor:
    """Whoever hands work to it is interrupted so many times: before it has it, or when it has."""

    def __init__(self, executor: Any, times: int, *, is_behind: bool) -> None:
        self._executor = executor
        self._is_behind = is_behind
        self.times = times

    def submit(self, fn: Callable[..., Any], *arguments: Any) -> Any:
        if not self.times:
            return self._executor.submit(fn, *arguments)
        self.times -= 1
        if self._is_behind:
            self._executor.submit(fn, *arguments)
        raise KeyboardInterrupt

    def __getattr__(self, name: str) -> Any:
        return getattr(self._executor, name)


@pytest.mark.parametrize("is_behind", [False, True])
@pytest.mark.parametrize("times", [1, 3])
def test_who_is_interrupted_as_he_hands_work_over_does_it_all_the_same(
    times: int, is_behind: bool, tmp_path: Path
) -> None:
    log = LocalLog(Env.real(), str(tmp_path))
    topic: Any = log.topic("t")
    topic._executor = executor = InterruptedExecutor(topic._executor, times, is_behind=is_behind)
    future = topic.append([b"one"])
    with pytest.raises(KeyboardInterrupt):
        topic.do_elsewhere()
    assert executor.times == 0
    assert Future.result(future, PATIENCE) == 0  # without doing it here
    until = time.monotonic() + PATIENCE
    while topic._leader:  # it says yet, in the log, that all is durable
        assert time.monotonic() < until
        time.sleep(0.001)
    executor.times = times
    large = topic.append([b"x" * (LEAD_BYTES + 1)])
    with pytest.raises(KeyboardInterrupt):
        large.result()
    assert Future.result(large, PATIENCE) == 1
    assert topic.append([b"three"]).result() == 2
    elsewhere(log.close)


def test_a_lead_that_a_thread_was_torn_away_from_twice_is_taken_up_by_its_next_append(tmp_path: Path) -> None:
    log = LocalLog(Env.real(), str(tmp_path))
    topic = log.topic("t")
    assert isinstance(topic, LocalTopic)
    topic._leader = threading.get_ident()  # and nobody has it
    assert elsewhere(lambda: topic.append([b"waits"]).done()) is False
    assert topic.append([b"one"]).result() == 1
    assert [bytes(record.payload) for record in topic.read()] == [b"waits", b"one"]
    log.close()


def test_an_append_of_whoever_is_told_of_another_does_not_write_it_there_and_then(tmp_path: Path) -> None:
    log = LocalLog(Env.real(), str(tmp_path))
    topic = log.topic("t")
    inner: list[Future[Any]] = []

    def told(_: int) -> None:
        inner.append(topic.append([b"two"]))
        inner[0].work.do_here()  # type: ignore[attr-defined]
        assert not inner[0].done()

    assert topic.append([b"one"], told).result() == 0
    assert inner[0].result() == 1
    log.close()


def test_room_is_left_once_however_often_it_is_tried_and_who_was_let_in_is_told_the_next_time() -> None:
    backlog = Backlog(Env.real().tasks, 100, 0.05, lambda: None)
    first, second, third = Place(), Place(), Place()
    backlog.enter(90, first)
    backlog.pass_on(first, second, 50, 30)
    assert (backlog.size, first.size, second.size) == (60, 10, 50)
    for _ in range(2):
        backlog.leave(first)
        backlog.leave(second, first)
    assert backlog.size == 0
    backlog.enter(90, first)
    turn: Future[None] = Future()
    backlog._waiting.append((third, 80, turn))
    backlog.size, third.size = 80, 80  # somebody was torn away between letting it in and telling it
    first.size = 0
    backlog.leave(first)
    assert turn.done()
    assert not backlog._waiting
    assert backlog.size == 80


def test_a_record_longer_than_all_the_room_still_goes_after_interrupts(tmp_path: Path) -> None:
    log = LocalLog(Env.real(), str(tmp_path), LogSettings(queue_bytes=500, queue_seconds=0.5))
    topic = log.topic("t")
    for at in range(1, 60):
        with contextlib.suppress(KeyboardInterrupt, RuntimeError):
            Interrupted(at).run(lambda: topic.append([b"x" * 90]).result())
    assert topic.append([b"y" * 5_000]).result() > 0
    log.close()


def test_after_a_commit_that_was_interrupted_anywhere_the_catalog_takes_the_next_one(tmp_path: Path) -> None:
    catalog = SqliteCatalog(str(tmp_path / "catalog"), RealFiles())
    for at in range(1, 1_000):
        interrupted = Interrupted(at)
        try:
            interrupted.run(lambda at=at: catalog.commit({"a": b"%d" % at, "b": b"%d" % at}, ["c"]))
        except KeyboardInterrupt as kept:
            assert elsewhere(lambda: catalog.get("a")) == catalog.get("b"), kept
            catalog.commit({"c": b"there"})
        if interrupted.points < at:
            break
        assert dict(catalog.scan())["c"] == b"there"
    assert at > 50
    catalog.close()
    again = SqliteCatalog(str(tmp_path / "catalog"), RealFiles())
    assert again.get("a") == again.get("b") == b"%d" % at
    again.close()
