"""A log read by one process while another writes it: only what is durable is shown, nothing is changed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redkite.env import Env
from redkite.errors import Corruption, MilvusException, ObjectNotFound, StorageError
from redkite.simulated import SimulatedCrash, SimulatedEnv, simulated_env
from redkite.storage.local_log import LocalLog
from redkite.storage.local_topic import LocalTopic
from redkite.storage.log import LogSettings, Topic
from redkite.storage.log_follow import FollowedTopic

PAGES = LogSettings(page_bytes=400)


def payload(number: int) -> bytes:
    return b"%05d" % number * 20


def append(topic: Topic, first: int, count: int) -> None:
    for future in [topic.append([payload(number)]) for number in range(first, first + count)]:
        future.result()


def follower(env: Env) -> Topic:
    return LocalLog(env, "/data", read_only=True).topic("t")


def seen(topic: Topic, position: int = 0) -> list[int]:
    topic.refresh()
    found = []
    for record in topic.read(position):
        assert bytes(record.payload) == payload(record.position)
        found.append(record.position)
    return found


def test_a_follower_sees_what_was_there_at_its_last_look() -> None:
    env = simulated_env(1)
    log = LocalLog(env, "/data", PAGES)
    reader = follower(env)
    assert (reader.start, reader.end, seen(reader)) == (0, 0, [])
    append(log.topic("t"), 0, 3)
    env.run_until_idle()
    assert reader.end == 0
    assert reader.refresh() == 3
    assert seen(reader, 1) == [1, 2]
    for first in range(3, 30):
        append(log.topic("t"), first, 1)
        env.run_until_idle()
        assert seen(reader, first) == [first]
    log.close()
    assert seen(reader) == list(range(30))


def test_a_follower_sees_that_pages_were_removed() -> None:
    env = simulated_env(1)
    topic = LocalLog(env, "/data", PAGES).topic("t")
    for number in range(20):
        append(topic, number, 1)
    env.run_until_idle()
    reader = follower(env)
    assert reader.start == 0
    late = reader.read()
    assert next(late).position == 0
    topic.truncate(20)
    with pytest.raises(ObjectNotFound):
        list(late)
    assert (reader.refresh(), reader.start, seen(reader)) == (20, 20, [])


def test_what_is_not_durable_yet_is_not_shown_and_may_be_taken_back() -> None:
    env = simulated_env(1)
    topic = LocalLog(env, "/data").topic("t")
    append(topic, 0, 2)
    env.run_until_idle()
    reader = follower(env)
    assert reader.end == 2
    env.disk.fail_at(env.disk.operations + 2, "enospc")  # the sync of the next commit
    lost = topic.append([b"never acknowledged"])
    with pytest.raises(StorageError):
        lost.result()
    assert reader.refresh() == 2
    assert [bytes(r.payload) for r in reader.read()] == [payload(0), payload(1)]


def test_pages_that_changed_without_a_commit_are_found_at_the_next_look() -> None:
    env = simulated_env(1)
    topic = LocalLog(env, "/data", LogSettings(page_bytes=300)).topic("t")
    assert isinstance(topic, LocalTopic)
    published: list[int] = []
    topic.on_commit = published.append
    append(topic, 0, 2)
    append(topic, 2, 1)
    env.run_until_idle()
    reader = FollowedTopic(env.files, "/data/t", lambda: published[-1])
    assert seen(reader) == [0, 1, 2]
    topic.truncate(2)  # the first page goes
    with pytest.raises(ObjectNotFound):
        seen(reader)
    assert seen(reader, 2) == seen(reader) == [2]
    assert reader.start == 2


def test_a_torn_end_is_no_error_and_nothing_is_repaired() -> None:
    env = simulated_env(1)
    log = LocalLog(env, "/data")
    append(log.topic("t"), 0, 3)
    log.close()
    path = "/data/t/00000000000000000000.log"
    whole = env.files.read(path)
    for size in range(32, len(whole)):
        copy = simulated_env(size)
        copy.files.make_dirs("/data/t")
        copy.files.write_new(path, [whole[:size], bytes(size % 100)])
        operations = copy.disk.operations
        reader = follower(copy)
        found = seen(reader)
        assert found == list(range(len(found)))
        copy.files.write_new(path, [whole])
        assert seen(reader) == [0, 1, 2]
        assert copy.disk.operations - operations < 60
    assert copy.files.list("/data/t") == ["00000000000000000000.log"]


def test_damage_before_the_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    env = simulated_env(1)
    topic = LocalLog(env, "/data").topic("t")
    for number in range(3):
        append(topic, number, 1)
    env.run_until_idle()
    path = "/data/t/00000000000000000000.log"
    data = bytearray(env.files.read(path))
    data[32 + 40] ^= 1
    env.files.write_new(path, [data])
    with pytest.raises(Corruption, match="damaged at byte 32"):
        follower(env).refresh()


def test_a_follower_refuses_to_change_anything() -> None:
    env = simulated_env(1)
    append(LocalLog(env, "/data").topic("t"), 0, 1)
    LocalLog(env, "/data").topic("t").group("g")
    log = LocalLog(env, "/data", read_only=True)
    topic = log.topic("t")
    for refused in (
        lambda: topic.append([b"x"]),
        lambda: topic.truncate(0),
        lambda: topic.group("h"),
        lambda: topic.drop_group("g"),
        lambda: log.drop("t"),
    ):
        with pytest.raises(StorageError, match="reading only"):
            refused()
    assert topic.groups() == ["g"]
    assert log.topics() == ["t"]
    log.close()
    with pytest.raises(StorageError, match="closed"):
        _ = topic.end


def test_a_log_that_is_not_there_is_not_created_by_reading(tmp_path: Path) -> None:
    log = LocalLog(Env.real(), str(tmp_path / "none"), read_only=True)
    assert log.topics() == []
    assert log.topic("t").end == 0
    log.close()
    assert list(tmp_path.iterdir()) == []


actions = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 4)),
        st.tuples(st.just("truncate"), st.floats(0, 1)),
        st.tuples(st.sampled_from(["close", "kill", "fail"]), st.integers(1, 9)),
        st.tuples(st.just("look"), st.none()),
    ),
    max_size=30,
)


class Play:
    """A writer that meets faults, and a follower that notes what it was ever shown."""

    def __init__(self, seed: int) -> None:
        self.env: SimulatedEnv = simulated_env(seed)
        self.env.files.make_dirs("/data/t")
        self.log = LocalLog(self.env, "/data", PAGES)
        self.reader = follower(self.env)
        self.shown: dict[int, bytes] = {}
        self.number = 0

    def append(self, count: int) -> None:
        topic = self.log.topic("t")
        first, self.number = self.number, self.number + count
        for future in [topic.append([b"%d" % n * 30]) for n in range(first, first + count)]:
            future.result()

    def truncate(self, share: float) -> None:
        topic = self.log.topic("t")
        topic.truncate(int(share * topic.end))

    def close(self, _: int) -> None:
        self.log.topic("t").close()

    def kill(self, _: int) -> None:
        self.env.run_until_idle()
        self.log = LocalLog(self.env, "/data", PAGES)

    def fail(self, value: int) -> None:
        self.env.disk.fail_at(self.env.disk.operations + value, ("eio", "enospc", "short")[value % 3])

    def look(self, _: None) -> None:
        self.reader.refresh()
        found = {record.position: bytes(record.payload) for record in self.reader.read()}
        assert list(found) == list(range(self.reader.start, self.reader.end))
        assert self.reader.end >= max(self.shown, default=-1) + 1
        for position, data in found.items():
            assert self.shown.setdefault(position, data) == data
        assert self.reader.end <= self.log.topic("t").end


@given(actions=actions, seed=st.integers(0, 1000))
def test_a_follower_sees_a_prefix_of_what_is_durable_whatever_the_writer_does(actions: Any, seed: int) -> None:
    """Every record is distinct, so one that was shown and then replaced would be noticed."""
    play = Play(seed)
    for action, value in [*actions, ("look", None)]:
        try:
            getattr(play, action)(value)
        except MilvusException as error:
            assert not isinstance(error, Corruption)
            if action in ("append", "truncate"):
                play.log.topic("t").close()


def test_after_a_power_cut_at_any_operation_what_was_shown_is_there() -> None:
    for operation in range(1, 70):
        env = simulated_env(operation)
        env.disk.crash_at(operation)
        shown = 0
        try:
            log = LocalLog(env, "/data", PAGES)
            reader = follower(env)
            for number in range(12):
                append(log.topic("t"), number, 1)
                shown = max(shown, reader.refresh())
                if number == 7:
                    log.close()
                    log = LocalLog(env, "/data", PAGES)
        except SimulatedCrash:
            pass
        env.disk.restart(random.Random(operation))
        env = simulated_env(operation, env.disk)
        assert LocalLog(env, "/data", PAGES).topic("t").end >= shown


WRITER = """
import sys
from redkite.env import Env
from redkite.storage.local_log import LocalLog
from redkite.storage.log import LogSettings

log = LocalLog(Env.real(), sys.argv[1], LogSettings(page_bytes=30_000))
topic = log.topic("t")
number = topic.end
print("open", flush=True)
while True:
    topic.append([b"%05d" % (number % 100_000) * 20]).result()
    number += 1
    if number % 400 == 0:
        topic.truncate(number - 100)
"""


def test_a_process_follows_another_one_that_appends_truncates_and_is_killed(tmp_path: Path) -> None:
    source = str(Path(__file__).resolve().parents[2] / "src")
    reader = LocalLog(Env.real(), str(tmp_path / "log"), read_only=True).topic("t")
    next_position = 0
    for turn in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "log")],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": source},
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        until = time.monotonic() + 0.6
        while time.monotonic() < until or (next_position <= 100 * (turn + 1) and time.monotonic() < until + 30):
            reader.refresh()
            next_position = max(next_position, reader.start)
            try:
                for record in reader.read(next_position):
                    assert record.position == next_position
                    assert bytes(record.payload) == payload(record.position % 100_000)
                    next_position += 1
            except ObjectNotFound:
                continue
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
    assert next_position > 300
    assert isinstance(LocalLog(Env.real(), str(tmp_path / "log")).topic("t"), LocalTopic)


class Words(dict[str, int]):
    """A board of one process."""

    def publish(self, name: str, number: int) -> None:
        self[name] = number

    def read(self, name: str) -> int:
        return self.get(name, 0)


def test_with_a_board_a_follower_sees_each_record_as_soon_as_its_append_is_done(tmp_path: Path) -> None:
    board = Words()
    log = LocalLog(Env.real(), str(tmp_path), PAGES, board=board)
    reader = LocalLog(Env.real(), str(tmp_path), read_only=True, board=board).topic("t")
    topic = log.topic("t")
    for number in range(300):
        topic.append([payload(number)]).result()
        assert reader.refresh() == number + 1
    topic.truncate(200)
    append(topic, 300, 5)
    assert seen(reader, 250) == list(range(250, 305))
    log.close()


def test_what_a_board_tells_is_not_looked_for_again_while_it_says_the_same(tmp_path: Path) -> None:
    board = Words()
    log = LocalLog(Env.real(), str(tmp_path), board=board)
    reader = LocalLog(Env.real(), str(tmp_path), read_only=True, board=board).topic("t")
    append(log.topic("t"), 0, 3)
    assert reader.refresh() == 3
    log.close()
    (tmp_path / "t").rename(tmp_path / "elsewhere")
    assert reader.refresh() == 3
    board.publish("t", 4)
    with pytest.raises(MilvusException):
        list(reader.read(0))
