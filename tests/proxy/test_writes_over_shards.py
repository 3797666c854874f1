"""A write over several shards: refused by all or by none; where a disk fails under one of them, that is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.engine import DIM, Engine

from redkite.errors import DiskLimitExceeded, PartlyWritten, RateLimited
from redkite.model.results import Mutation
from redkite.simulated import SimulatedDisk, simulated_env
from redkite.simulated.files import SimulatedAppendFile
from redkite.storage.log import LogSettings
from redkite.storage.log_backlog import Backlog, Place
from redkite.storage.log_room import LocalRoom
from redkite.wire.methods import encode_error, find_method, message_class, parse

IDS = list(range(1, 25))
ROWS = np.random.default_rng(3).random((len(IDS), DIM), np.float32)

Write = Callable[[Engine], Any]


def inserted(engine: Engine) -> Mutation:
    return engine.insert(IDS, ROWS, IDS)


def deleted_by_keys(engine: Engine) -> Mutation:
    return engine.delete("id in [100, 101, 102, 103, 104, 105]")


def deleted_by_filter(engine: Engine) -> Mutation:
    return engine.delete("number == 7")


WRITES = [inserted, deleted_by_keys, deleted_by_filter]


def engine_of_two_shards() -> Engine:
    engine = Engine("db", simulated_env(5, SimulatedDisk(5)))
    engine.create(index="FLAT", shards=2)
    there = range(100, 106)
    engine.insert(list(there), ROWS[:6], [7] * 6)
    return engine


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("which", [1, 2])
def test_a_write_that_the_queue_has_no_room_for_is_in_no_shard(
    write: Write, which: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of_two_shards()
    before = engine.numbers()
    asked, enter = 0, Backlog.enter

    def refuses_one(backlog: Backlog, size: int, place: Place) -> None:
        nonlocal asked
        asked += 1
        if asked == which:
            raise RateLimited("rate limit exceeded")
        enter(backlog, size, place)

    monkeypatch.setattr(Backlog, "enter", refuses_one)
    if which == 1:
        with pytest.raises(RateLimited):
            write(engine)
        assert engine.numbers() == before
    else:  # all of it was asked for at once
        write(engine)
        assert asked == 1
    monkeypatch.undo()
    engine.insert([200], ROWS[:1], [200])
    engine.close()


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("full", [0, 1])
def test_a_write_that_the_disk_has_no_room_for_is_in_no_shard(
    write: Write, full: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of_two_shards()
    before = engine.numbers()
    reserve, write_to = SimulatedAppendFile.reserve, SimulatedAppendFile.write
    engine.reopen()  # no room has been set aside yet

    def no_room(file: SimulatedAppendFile, size: int) -> bool:
        if f"v{full}/" in file._path:
            raise DiskLimitExceeded("No space left on device")
        return reserve(file, size)

    def fails(file: SimulatedAppendFile, buffers: Any) -> int:
        if f"v{full}/" in file._path:
            raise DiskLimitExceeded("No space left on device")
        return write_to(file, buffers)

    with monkeypatch.context() as patch:
        patch.setattr(SimulatedAppendFile, "reserve", no_room)
        patch.setattr(SimulatedAppendFile, "write", fails)
        with pytest.raises(DiskLimitExceeded):
            write(engine)
    assert engine.numbers() == before
    write(engine)
    assert engine.numbers() != before
    engine.close()


@pytest.mark.parametrize("write", WRITES)
def test_of_a_write_whose_disk_fails_under_one_shard_it_is_said_which_rows_are_in(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of_two_shards()
    before = engine.numbers()
    sync = SimulatedAppendFile.sync

    def fails(file: SimulatedAppendFile) -> None:
        if "v1/" in file._path:
            raise DiskLimitExceeded("No space left on device")
        sync(file)

    with monkeypatch.context() as patch:
        patch.setattr(SimulatedAppendFile, "sync", fails)
        with pytest.raises(PartlyWritten) as caught:
            write(engine)
    error = caught.value
    after = engine.numbers()
    changed = before.keys() ^ after.keys()
    assert len(changed) == len(error.written) > 0
    keys = IDS if write is inserted else [100, 101, 102, 103, 104, 105]
    if write is not deleted_by_filter:  # its rows come in any order
        assert changed == {keys[number] for number in error.written}
    assert sorted((*error.written, *error.failed)) == list(range(len(keys)))
    assert f"{len(error.written)} of {len(keys)} rows" in error.message
    reply = parse(message_class(find_method("Insert").output_type), encode_error("Insert", error))
    assert (list(reply.succ_index), list(reply.err_index)) == (list(error.written), list(error.failed))
    assert reply.status.code == error.code
    write(engine)
    assert len(engine.numbers()) == (len(IDS) + 6 if write is inserted else 0)
    engine.close()


def test_a_write_whose_second_shard_has_just_failed_is_told_as_partly_written(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of_two_shards()
    use = LocalRoom.use
    asked = 0

    def breaks_the_second(room: LocalRoom, topic: Any, length: int, place: Place) -> bool:
        nonlocal asked
        asked += 1
        kept = use(room, topic, length, place)
        if asked == 2:
            topic.unapplied = "a write before could not be applied"
        return kept

    monkeypatch.setattr(LocalRoom, "use", breaks_the_second)
    with pytest.raises(PartlyWritten, match="could not be applied"):
        inserted(engine)
    monkeypatch.undo()
    found = len(engine.numbers())
    assert 6 < found < 6 + len(IDS)
    inserted(engine)
    assert len(engine.numbers()) == 6 + len(IDS)
    engine.close()


def test_writes_over_shards_go_on_over_many_pages_of_the_log() -> None:
    options = {"log_settings": LogSettings(page_bytes=4096)}
    engine = Engine("db", simulated_env(5, SimulatedDisk(5)), options)
    engine.create(index="FLAT", shards=2)
    for number in range(12):
        engine.insert([i + 100 * number for i in IDS], ROWS, IDS)
    engine.reopen()
    assert engine.count() == 12 * len(IDS)
    engine.close()
