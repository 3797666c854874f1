"""Appends that wait to be written are bounded; whoever waits too long is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from redkite.env import AppendFile, Buffer, Env
from redkite.errors import RateLimited
from redkite.simulated import simulated_env
from redkite.storage.local_log import LocalLog
from redkite.storage.log import LogSettings
from redkite.storage.log_backlog import Backlog, Place


class SlowFile:
    """A disk whose syncs wait for a gate."""

    def __init__(self, file: AppendFile, gate: threading.Event) -> None:
        self._file = file
        self._gate = gate

    def sync(self) -> None:
        assert self._gate.wait(30)
        self._file.sync()

    def write(self, buffers: Sequence[Buffer]) -> int:
        return self._file.write(buffers)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class SlowFiles:
    def __init__(self, files: Any, gate: threading.Event) -> None:
        self._files = files
        self._gate = gate

    def append(self, path: str) -> Any:
        return SlowFile(self._files.append(path), self._gate)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)


def slow_log(path: Path, settings: LogSettings) -> tuple[LocalLog, threading.Event]:
    gate = threading.Event()
    env = Env.real()
    files: Any = SlowFiles(env.files, gate)
    return LocalLog(replace(env, files=files), str(path), settings), gate


def test_an_append_that_finds_no_room_in_time_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    log, gate = slow_log(tmp_path / "log", LogSettings(queue_bytes=10_000, queue_seconds=0.1))
    topic = log.topic("t")
    first = [topic.append([b"a" * 2_000]) for _ in range(4)]
    started = time.monotonic()
    with pytest.raises(RateLimited, match=r"rate limit exceeded: .* the limit is 10000; no room came within 0\.1 s"):
        topic.append([b"b" * 5_000])
    assert time.monotonic() - started >= 0.1
    assert log.backlog.is_full is False
    gate.set()
    assert [future.result(30) for future in first] == [0, 1, 2, 3]
    assert topic.append([b"b" * 5_000]).result(30) == 4
    assert log.backlog.size == 0
    log.close()


def test_who_waits_goes_on_when_there_is_room_first_come_first_served(tmp_path: Path) -> None:
    log, gate = slow_log(tmp_path / "log", LogSettings(queue_bytes=10_000, queue_seconds=20))
    topic = log.topic("t")
    topic.append([b"a" * 9_000])
    done: list[int] = []

    def work(number: int) -> None:
        topic.append([b"%d" % number * 9_000]).result(30)  # only one of them has room at a time
        done.append(number)

    threads = []
    for number in range(5):
        threads.append(threading.Thread(target=work, args=(number,)))
        threads[-1].start()
        while len(log.backlog._waiting) <= number:
            time.sleep(0.001)
    assert done == []
    assert log.backlog.is_full
    gate.set()
    for thread in threads:
        thread.join(60)
    assert sorted(done) == list(range(5))
    assert [bytes(record.payload[:1]) for record in topic.read(1)] == [b"0", b"1", b"2", b"3", b"4"]
    log.close()


def test_a_record_larger_than_all_the_room_goes_alone() -> None:
    log = LocalLog(simulated_env(1), "/data", LogSettings(queue_bytes=1_000))
    topic = log.topic("t")
    futures = [topic.append([b"x" * 5_000]) for _ in range(3)]
    assert [future.result() for future in futures] == [0, 1, 2]
    assert log.backlog.size == 0


def test_an_append_made_while_another_is_applied_never_waits() -> None:
    log = LocalLog(simulated_env(1), "/data", LogSettings(queue_bytes=1_000, queue_seconds=0))
    one, two = log.topic("one"), log.topic("two")
    inner: list[Any] = []
    outer = one.append([b"x" * 900], lambda _: inner.extend(two.append([b"y" * 900]) for _ in range(3)))
    assert outer.result() == 0
    assert [future.result() for future in inner] == [0, 1, 2]
    assert log.backlog.size == 0


def test_failed_and_refused_appends_give_their_room_back() -> None:
    env = simulated_env(1)
    log = LocalLog(env, "/data")
    topic = log.topic("t")
    topic.append([b"first"]).result()
    for offset in (1, 2):  # a failed write, then a failed sync
        env.run_until_idle()
        env.disk.fail_at(env.disk.operations + offset, "eio")
        with pytest.raises(OSError, match="Input/output"):
            topic.append([b"x"]).result()
        env.run_until_idle()
        assert log.backlog.size == 0
        topic = log.topic("t")
        topic.append([b"y"]).result()
    assert log.backlog.size == 0
    topic.close()
    with pytest.raises(OSError, match="closed"):
        topic.append([b"z"])
    assert log.backlog.size == 0


class Torn(BaseException):
    """Thrown into a thread from outside, as KeyboardInterrupt is."""


class TornWait(Future[None]):
    """Whoever waits for it is torn away."""

    def result(self, timeout: float | None = None) -> None:
        raise Torn


@pytest.mark.parametrize("granted", [False, True])
def test_who_is_torn_away_from_the_queue_or_as_its_turn_has_come_leaves_the_room_to_others(granted: bool) -> None:
    tasks: Any = SimpleNamespace(future=TornWait)
    backlog: Backlog

    first, second = Place(), Place()

    def begin() -> None:
        if granted:
            backlog.leave(first)

    backlog = Backlog(tasks, 1_000, 20, begin)
    backlog.enter(900, first)
    with pytest.raises(Torn):
        backlog.enter(800, second)
    backlog.leave(second)
    if not granted:
        assert backlog.size == 900
        backlog.leave(first)
    assert backlog.size == 0
    assert not backlog.is_full


def test_many_threads_under_a_tight_limit_all_get_through(tmp_path: Path) -> None:
    log = LocalLog(Env.real(), str(tmp_path / "log"), LogSettings(queue_bytes=3_000, queue_seconds=60))
    applied: dict[str, list[int]] = {name: [] for name in "abc"}

    def work(name: str, seed: int) -> None:
        for number in range(60):
            log.topic(name).append([bytes(100 + 37 * ((seed + number) % 60))], applied[name].append).result(60)

    threads = [threading.Thread(target=work, args=("abc"[seed % 3], seed)) for seed in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {name: len(positions) for name, positions in applied.items()} == dict.fromkeys("abc", 180)
    assert all(positions == list(range(180)) for positions in applied.values())
    assert log.backlog.size == 0
    log.close()
