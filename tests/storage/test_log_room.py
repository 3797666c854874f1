"""Room that the log keeps for records that belong together."""

from __future__ import annotations

import threading
import time

import pytest

from redkite.errors import DiskLimitExceeded, ParameterTooLarge, RateLimited, StorageError
from redkite.simulated import SimulatedDisk, simulated_env
from redkite.simulated.files import SimulatedAppendFile
from redkite.storage.local_log import LocalLog
from redkite.storage.local_topic import LocalTopic
from redkite.storage.log import LogSettings
from redkite.storage.log_room import APPEND_BYTES


def log_of(disk: SimulatedDisk, **settings: float) -> LocalLog:
    return LocalLog(simulated_env(1, disk), "/log", LogSettings(**settings))


def test_room_is_given_back_once_and_what_a_record_does_not_need_at_once() -> None:
    log = log_of(SimulatedDisk(1))
    room = log.reserve({"a": 1000, "b": 500})
    assert log.backlog.size == 1500 + 2 * APPEND_BYTES
    future = log.topic("a").append([b"x" * 10], room=room)
    assert log.backlog.size == 510 + 2 * APPEND_BYTES
    room.give_back()
    room.give_back()
    assert log.backlog.size == 10 + APPEND_BYTES
    future.result()
    assert log.backlog.size == 0
    log.close()


def test_what_cannot_be_kept_for_one_is_kept_for_none() -> None:
    log = log_of(SimulatedDisk(1), queue_seconds=0.0, queue_bytes=2000)
    with pytest.raises(ParameterTooLarge):
        log.reserve({"a": 10, "b": 2 << 30})
    held = log.reserve({"a": 1500})
    with pytest.raises(RateLimited):
        log.reserve({"b": 300, "c": 300})
    held.give_back()
    log.topic("b").close()
    assert log.backlog.size == 0
    topic = log.topic("c")
    topic.unapplied = "something"  # type: ignore[misc]
    with pytest.raises(StorageError):
        log.reserve({"a": 10, "c": 10})
    assert log.backlog.size == 0
    log.close()


def test_records_with_room_do_not_fail_with_those_behind_them_that_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SimulatedDisk(1)
    log = log_of(disk)
    topic = log.topic("a")
    topic.append([b"first"]).result()
    room = log.reserve({"a": 600_000})  # more than is set aside by itself
    capacity = disk.inode("/log/a/00000000000000000000.log").size()  # type: ignore[union-attr]
    write = SimulatedAppendFile.write

    def full(file: SimulatedAppendFile, buffers: list[bytes]) -> int:
        if file.size() + sum(map(len, buffers)) > capacity:
            raise DiskLimitExceeded("No space left on device")
        return write(file, buffers)

    def no_room(file: SimulatedAppendFile, size: int) -> bool:
        raise DiskLimitExceeded("No space left on device")

    monkeypatch.setattr(SimulatedAppendFile, "write", full)
    monkeypatch.setattr(SimulatedAppendFile, "reserve", no_room)
    kept = topic.append([b"k" * 600_000], room=room)
    behind = topic.append([b"b" * 600_000])
    assert kept.result() == 1
    with pytest.raises(DiskLimitExceeded):
        behind.result()
    assert [len(r.payload) for r in topic.read()] == [5, 600_000]
    log.close()


def test_a_page_that_room_was_promised_in_is_not_left_before_the_record_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = SimulatedDisk(1)
    log = log_of(disk, page_bytes=4096)
    topic = log.topic("a")
    for _ in range(3):
        topic.append([b"x" * 1500])  # together they fill the page
        room = log.reserve({"a": 3000})
        monkeypatch.setattr(SimulatedAppendFile, "reserve", lambda *_: False)  # nothing more is set aside
        position = topic.append([b"y" * 3000], room=room).result()
        monkeypatch.undo()
        topic.truncate(position)
    assert topic.end == 6
    assert [len(r.payload) for r in topic.read(4)] == [1500, 3000]
    log.close()


def test_room_that_nobody_used_does_not_keep_pages_from_being_forgotten() -> None:
    log = log_of(SimulatedDisk(1), page_bytes=4096)
    topic = log.topic("a")
    topic.append([b"x" * 100]).result()
    log.reserve({"a": 300}).give_back()
    topic.truncate(1)
    assert topic.start == topic.end == 1
    log.close()


def test_room_given_back_does_not_end_the_promise_of_a_record_that_is_being_written() -> None:
    disk = SimulatedDisk(1)
    log = log_of(disk, page_bytes=4096)
    topic = log.topic("a")
    assert isinstance(topic, LocalTopic)
    topic.append([b"x" * 3000]).result()
    before = len(disk.below("/log/a"))
    room = log.reserve({"a": 3000})
    topic.append([b"x" * 1200]).result()  # fills the page; what there is room for goes there all the same
    small = topic.append([b"y" * 10], room=room)
    with topic._io:
        writing = threading.Thread(target=small.result)
        writing.start()
        while not topic._taken[1]:
            time.sleep(0.001)
        log.reserve({"a": 10}).give_back()
    writing.join()
    assert len(disk.below("/log/a")) == before
    log.close()
