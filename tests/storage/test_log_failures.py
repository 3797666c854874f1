"""Whatever goes wrong between two commits of the log, nobody waits for ever and nothing acknowledged is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from redkite.env import Env
from redkite.errors import StorageError
from redkite.simulated import SimulatedDisk, simulated_env
from redkite.simulated.files import SimulatedAppendFile
from redkite.storage.local_log import LocalLog
from redkite.storage.local_topic import LocalTopic
from redkite.storage.log_writer import MARK_BYTES

Break = Callable[[SimulatedAppendFile, Sequence[bytes]], int]


def tearing(monkeypatch: pytest.MonkeyPatch, error: BaseException, share: float) -> None:
    """The next mark is written in part, then something is thrown."""
    write = SimulatedAppendFile.write

    def torn(file: SimulatedAppendFile, buffers: Sequence[bytes]) -> int:
        if sum(map(len, buffers)) != MARK_BYTES:
            return write(file, buffers)
        monkeypatch.setattr(SimulatedAppendFile, "write", write)
        (mark,) = buffers
        write(file, [mark[: int(share * MARK_BYTES)]])
        raise error

    monkeypatch.setattr(SimulatedAppendFile, "write", torn)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError("no room"), StorageError("broken")])
@pytest.mark.parametrize("is_led", [False, True])
def test_a_mark_that_is_torn_loses_nothing_and_the_next_append_is_written(
    error: BaseException, share: float, is_led: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SimulatedDisk(3)
    env = simulated_env(3, disk)
    log = LocalLog(env, "/data")
    topic = log.topic("t")
    assert isinstance(topic, LocalTopic)
    futures = [topic.append([b"first"]), topic.append([b"second"])]
    tearing(monkeypatch, error, share)
    if is_led:
        try:
            topic.do_here()
        except (KeyboardInterrupt, MemoryError, StorageError) as thrown:  # whoever leads gets it
            assert thrown is error
    else:
        topic.do_elsewhere()
        try:
            env.run_until_idle()
        except (KeyboardInterrupt, MemoryError, StorageError) as thrown:
            assert thrown is error
    assert [future.result() for future in futures] == [0, 1]
    env.run_until_idle()
    assert topic.append([b"third"]).result() == 2
    assert [bytes(r.payload) for r in topic.read()] == [b"first", b"second", b"third"]
    disk.restart()
    found = LocalLog(simulated_env(4, disk), "/data").topic("t").read()
    assert [bytes(r.payload) for r in found] == [b"first", b"second", b"third"]


@pytest.mark.parametrize("is_led", [False, True])
def test_a_commit_that_cannot_be_published_ends_the_waiting_and_takes_no_more_until_all_is_applied(
    is_led: bool, tmp_path: Path
) -> None:
    log = LocalLog(Env.real(), str(tmp_path))
    topic = log.topic("t")
    assert isinstance(topic, LocalTopic)

    def fails(end: int) -> None:
        raise ValueError(f"no board for {end}")

    topic.on_commit = fails
    future = topic.append([b"first"])
    if is_led:
        topic.do_here()
    else:
        topic.do_elsewhere()
    with pytest.raises(ValueError, match="no board"):
        future.result(30)
    topic.on_commit = None
    with pytest.raises(StorageError, match="could not be applied"):
        topic.append([b"second"])
    topic.resume()
    assert topic.append([b"second"]).result(30) == 1
    assert [bytes(r.payload) for r in topic.read()] == [b"first", b"second"]
    log.close()


def test_a_job_that_stumbles_anywhere_leaves_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LocalLog(Env.real(), str(tmp_path))
    topic = log.topic("t")
    assert isinstance(topic, LocalTopic)
    topic.append([b"0"]).result(30)
    take = LocalTopic._take
    stumbles = 3

    def stumbling(self: LocalTopic) -> Any:
        nonlocal stumbles
        stumbles -= 1
        if stumbles >= 0:
            raise MemoryError("no room for a list")
        return take(self)

    monkeypatch.setattr(LocalTopic, "_take", stumbling)
    futures = [topic.append([b"%d" % number]) for number in range(1, 4)]
    topic.do_elsewhere()
    assert [future.result(30) for future in futures] == [1, 2, 3]
    log.close()


def test_a_job_that_is_over_before_whoever_handed_it_over_goes_on_leaves_no_lead_behind(tmp_path: Path) -> None:
    """As when the thread loses the processor just then: the next append must find that nobody leads."""
    topic = LocalLog(Env.real(), str(tmp_path)).topic("t")
    assert isinstance(topic, LocalTopic)
    executor = topic._executor

    class Quick:
        def submit(self, job: Any) -> Any:
            done = executor.submit(job)
            done.result(30)
            return done

    topic._executor = Quick()  # type: ignore[assignment]
    for number in range(3):
        future = topic.append([b"x"])
        topic.do_elsewhere()
        assert future.result(30) == 2 * number
        assert topic.append([b"y"]).result(30) == 2 * number + 1
