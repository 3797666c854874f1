"""Groups of consumers, and which pages of the log they, recovery and retention keep."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from redkite.errors import Corruption, InvalidParameter, StorageError
from redkite.simulated import SimulatedDisk, simulated_env
from redkite.storage.local_log import SWEEP_SECONDS, LocalLog
from redkite.storage.log import LogSettings, Topic

PAGES = LogSettings(page_bytes=400)


def payload(number: int) -> bytes:
    return b"%05d" % number * 20


def fill(topic: Topic, first: int, count: int) -> None:
    for future in [topic.append([payload(number)]) for number in range(first, first + count)]:
        future.result()


def fill_one_by_one(topic: Topic, first: int, count: int) -> None:
    for number in range(first, first + count):
        topic.append([payload(number)]).result()


def polled(group: Any, **limits: int) -> list[int]:
    records = group.poll(**limits)
    assert all(bytes(record.payload) == payload(record.position) for record in records)
    return [record.position for record in records]


def pages(env: Any) -> int:
    return sum(name.endswith(".log") for name in env.files.list("/data/t"))


def test_each_group_reads_every_record_once_in_order_at_its_own_pace() -> None:
    topic = LocalLog(simulated_env(1), "/data", PAGES).topic("t")
    fill(topic, 0, 30)
    one, two = topic.group("one"), topic.group("two")
    assert polled(one, max_records=7) == list(range(7))
    assert polled(two, max_records=20) == list(range(20))
    assert polled(one) == list(range(7, 30))
    assert polled(one) == []
    fill(topic, 30, 2)
    assert polled(one) == [30, 31]
    assert polled(two) == list(range(20, 32))
    assert topic.group("one") is one
    assert topic.groups() == ["one", "two"]


def test_a_poll_is_bounded_in_bytes_but_gives_a_long_record_alone() -> None:
    topic = LocalLog(simulated_env(1), "/data").topic("t")
    fill(topic, 0, 5)
    group = topic.group("g")
    assert polled(group, max_bytes=250) == [0, 1]
    assert polled(group, max_bytes=10) == [2]
    with pytest.raises(InvalidParameter, match="max_records"):
        group.poll(max_records=0)


@pytest.mark.parametrize(("at", "first"), [("earliest", 0), ("latest", 10), (4, 4), (10, 10)])
def test_a_group_begins_where_it_was_created(at: Any, first: int) -> None:
    topic = LocalLog(simulated_env(1), "/data").topic("t")
    fill(topic, 0, 10)
    group = topic.group("g", at)
    fill(topic, 10, 2)
    assert (group.position, group.acknowledged) == (first, first)
    assert polled(group) == list(range(first, 12))


@pytest.mark.parametrize("at", [-1, 11, "middle"])
def test_a_group_outside_of_the_topic_is_refused(at: Any) -> None:
    topic = LocalLog(simulated_env(1), "/data").topic("t")
    fill(topic, 0, 10)
    with pytest.raises(InvalidParameter, match="cannot be at"):
        topic.group("g", at)
    with pytest.raises(InvalidParameter, match="cannot be at"):
        topic.group("h").seek(at)
    with pytest.raises(InvalidParameter, match="ends at 10"):
        topic.group("h").acknowledge(10)


@pytest.mark.parametrize("name", ["", "a/b", "..", "x" * 201])
def test_a_group_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidParameter, match="no name for a log group"):
        LocalLog(simulated_env(1), "/data").topic("t").group(name)


@pytest.mark.parametrize("power_cut", [True, False])
def test_after_a_restart_a_group_goes_on_behind_what_it_acknowledged(power_cut: bool) -> None:
    env = simulated_env(1)
    log = LocalLog(env, "/data", PAGES)
    fill(log.topic("t"), 0, 20)
    group = log.topic("t").group("g")
    polled(group, max_records=15)
    group.acknowledge(9)
    group.acknowledge(4)
    assert group.acknowledged == 10
    if power_cut:
        env.disk.restart()
        env = simulated_env(2, env.disk)
    else:
        log.close()
    again = LocalLog(env, "/data", PAGES).topic("t").group("g", "latest")
    assert polled(again) == list(range(10, 20))


def test_seeking_is_remembered_in_both_directions() -> None:
    env = simulated_env(1)
    log = LocalLog(env, "/data")
    fill(log.topic("t"), 0, 20)
    group = log.topic("t").group("g")
    group.seek("latest")
    assert (polled(group), group.acknowledged) == ([], 20)
    group.seek(5)
    assert (polled(group, max_records=2), group.acknowledged) == ([5, 6], 5)
    log.close()
    assert LocalLog(env, "/data").topic("t").group("g").position == 5


def test_a_dropped_group_is_gone_and_its_consumer_is_told() -> None:
    env = simulated_env(1)
    log = LocalLog(env, "/data", PAGES)
    fill_one_by_one(log.topic("t"), 0, 20)
    group = log.topic("t").group("g")
    log.topic("t").truncate(20)
    kept = pages(env)
    log.topic("t").drop_group("g")
    log.topic("t").drop_group("never there")
    assert pages(env) == 1 < kept
    with pytest.raises(InvalidParameter, match="no group 'g'"):
        group.acknowledge(3)
    log.close()
    assert LocalLog(env, "/data").topic("t").groups() == []


def test_a_group_of_a_closed_topic_says_so() -> None:
    log = LocalLog(simulated_env(1), "/data")
    fill(log.topic("t"), 0, 3)
    group = log.topic("t").group("g")
    log.close()
    with pytest.raises(StorageError, match="closed"):
        group.acknowledge(1)


def test_a_damaged_state_file_is_named() -> None:
    env = simulated_env(1)
    log = LocalLog(env, "/data")
    fill(log.topic("t"), 0, 3)
    log.topic("t").group("g").acknowledge(1)
    log.close()
    good = env.files.read("/data/t/state")
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 1 << at % 8
        env.files.write_new("/data/t/state", [bad])
        with pytest.raises(Corruption, match="/data/t/state"):
            LocalLog(env, "/data").topic("t").groups()
    for size in range(len(good)):
        env.files.write_new("/data/t/state", [good[:size]])
        with pytest.raises(Corruption, match="/data/t/state"):
            LocalLog(env, "/data").topic("t").groups()


# -- what is kept -------------------------------------------------------------------------------
def test_pages_stay_until_recovery_and_every_group_are_done_with_them() -> None:
    env = simulated_env(1)
    topic = LocalLog(env, "/data", PAGES).topic("t")
    slow, fast = topic.group("slow"), topic.group("fast")
    fill_one_by_one(topic, 0, 20)
    everything = pages(env)
    fast.acknowledge(19)
    slow.acknowledge(19)
    assert pages(env) == everything, "recovery still needs them"
    slow.seek("earliest")
    topic.truncate(20)
    assert topic.start == 0
    slow.acknowledge(9)
    assert 0 < topic.start <= 10
    slow.acknowledge(19)
    assert (topic.start, pages(env)) == (20, 1)


def test_retention_by_size_keeps_the_newest_pages_that_fit() -> None:
    env = simulated_env(1)
    topic = LocalLog(env, "/data", LogSettings(page_bytes=400, retention_bytes=1_000)).topic("t")
    fill_one_by_one(topic, 0, 30)
    topic.truncate(30)
    unwanted = sorted(name for name in env.files.list("/data/t") if name.endswith(".log"))[:-1]
    sizes = [env.files.size(f"/data/t/{name}") for name in unwanted]
    assert 0 < sum(sizes) <= 1_000
    assert sum(sizes) + max(sizes) > 1_000, "one more page would not have fitted"
    assert [record.position for record in topic.read()] == list(range(topic.start, 30))


@pytest.mark.parametrize("restart", [False, True])
def test_retention_by_time_counts_from_when_a_page_is_wanted_no_more(restart: bool) -> None:
    env = simulated_env(1)
    keep = LogSettings(page_bytes=400, retention_seconds=3_600)
    log = LocalLog(env, "/data", keep)
    fill_one_by_one(log.topic("t"), 0, 10)
    env.advance(10_000)
    log.topic("t").truncate(10)
    assert log.topic("t").start == 0
    env.advance(1_800)
    fill_one_by_one(log.topic("t"), 10, 10)
    log.topic("t").truncate(20)
    if restart:
        log.close()
        log = LocalLog(env, "/data", keep)
        assert log.topic("t").start == 0
    env.advance(1_800 + SWEEP_SECONDS)
    assert log.topic("t").start == 10
    env.advance(1_800)
    assert log.topic("t").start == 20
    assert pages(env) == 1


def test_with_both_limits_whatever_comes_first_removes_a_page() -> None:
    env = simulated_env(1)
    settings_ = LogSettings(page_bytes=400, retention_seconds=100, retention_bytes=1_000)
    topic = LocalLog(env, "/data", settings_).topic("t")
    fill_one_by_one(topic, 0, 30)
    topic.truncate(30)
    assert 0 < topic.start < 30
    env.advance(100 + SWEEP_SECONDS)
    assert topic.start == 30


def test_a_clock_that_was_set_back_does_not_keep_pages_longer() -> None:
    env = simulated_env(1)
    keep = LogSettings(page_bytes=400, retention_seconds=60)
    env.advance(1_000_000)
    log = LocalLog(env, "/data", keep)
    fill_one_by_one(log.topic("t"), 0, 10)
    log.topic("t").truncate(10)
    log.close()
    env = simulated_env(2, env.disk)  # whose clock begins anew
    log = LocalLog(env, "/data", keep)
    log.topic("t").sweep()
    env.advance(60 + SWEEP_SECONDS)
    assert log.topic("t").start == 10


# -- against a model ----------------------------------------------------------------------------
class LogMachine(RuleBasedStateMachine):
    """A topic with groups on a disk that loses power, beside lists and numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = SimulatedDisk(5)
        self.lives = 0
        self.records = 0
        self.truncated = 0
        self.acknowledged: dict[str, int] = {}
        self.position: dict[str, int] = {}
        self.settings = PAGES
        self.open()

    def open(self) -> None:
        self.lives += 1
        self.env = simulated_env(self.lives, self.disk)
        self.log = LocalLog(self.env, "/data", self.settings)
        self.topic = self.log.topic("t")
        self.position = dict(self.acknowledged)

    @rule(count=st.integers(1, 6), together=st.booleans())
    def append(self, count: int, together: bool) -> None:
        (fill if together else fill_one_by_one)(self.topic, self.records, count)
        self.records += count

    @rule(name=st.sampled_from("abc"), share=st.floats(0, 1))
    def join(self, name: str, share: float) -> None:
        at = max(int(share * self.records), self.topic.start)
        group = self.topic.group(name, at)
        if name not in self.acknowledged:
            self.acknowledged[name] = self.position[name] = at
        assert group.acknowledged == self.acknowledged[name]

    @precondition(lambda self: self.acknowledged)
    @rule(data=st.data(), count=st.integers(1, 9))
    def poll(self, data: Any, count: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.acknowledged)))
        first = self.position[name]
        found = polled(self.topic.group(name), max_records=count)
        assert found == list(range(first, min(first + count, self.records)))
        self.position[name] += len(found)

    @precondition(lambda self: self.acknowledged and self.records)
    @rule(data=st.data(), share=st.floats(0, 1))
    def acknowledge(self, data: Any, share: float) -> None:
        name = data.draw(st.sampled_from(sorted(self.acknowledged)))
        at = int(share * (self.records - 1))
        self.topic.group(name).acknowledge(at)
        self.acknowledged[name] = max(self.acknowledged[name], at + 1)
        self.position[name] = max(self.position[name], at + 1)

    @precondition(lambda self: self.acknowledged)
    @rule(data=st.data(), share=st.floats(0, 1))
    def seek(self, data: Any, share: float) -> None:
        name = data.draw(st.sampled_from(sorted(self.acknowledged)))
        at = max(int(share * self.records), self.topic.start)
        self.topic.group(name).seek(at)
        self.acknowledged[name] = self.position[name] = at

    @precondition(lambda self: self.acknowledged)
    @rule(data=st.data())
    def leave(self, data: Any) -> None:
        name = data.draw(st.sampled_from(sorted(self.acknowledged)))
        self.topic.drop_group(name)
        del self.acknowledged[name], self.position[name]

    @rule(share=st.floats(0, 1))
    def truncate(self, share: float) -> None:
        at = int(share * self.records)
        self.topic.truncate(at)
        self.truncated = max(self.truncated, at)

    @rule(
        kind=st.sampled_from(["close", "cut"]),
        seed=st.integers(0, 99),
        retention=st.sampled_from([-1, 0, 800]),
    )
    def restart(self, kind: str, seed: int, retention: int) -> None:
        if kind == "close":
            self.log.close()
        else:
            self.disk.restart(random.Random(seed))
        self.settings = LogSettings(page_bytes=400, retention_bytes=retention)
        self.open()

    @invariant()
    def everything_wanted_is_there(self) -> None:
        wanted = min([self.truncated, *self.acknowledged.values()])
        assert self.topic.end == self.records
        assert self.topic.start <= wanted
        assert self.topic.groups() == sorted(self.acknowledged)
        found = [record.position for record in self.topic.read()]
        assert found == list(range(self.topic.start, self.records))
        for name, at in self.acknowledged.items():
            group = self.topic.group(name)
            assert (group.acknowledged, group.position) == (at, self.position[name])


LogMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestLogMachine = LogMachine.TestCase


@pytest.mark.parametrize("operation", range(1, 60))
def test_a_crash_at_any_operation_leaves_a_group_where_it_was_or_where_it_was_going(operation: int) -> None:
    from redkite.simulated import SimulatedCrash

    disk = SimulatedDisk(operation)
    env = simulated_env(1, disk)
    log = LocalLog(env, "/data", LogSettings(page_bytes=400, retention_bytes=600))
    fill_one_by_one(log.topic("t"), 0, 12)
    group = log.topic("t").group("g")
    steps = [
        (lambda: group.acknowledge(5), {6}),
        (lambda: log.topic("t").truncate(8), {6}),
        (lambda: group.acknowledge(9), {10}),
        (lambda: group.seek(8), {8}),
        (lambda: log.topic("t").group("h", 8), {8}),
        (lambda: group.acknowledge(11), {12}),
    ]
    disk.crash_at(disk.operations + operation)
    before, after = {0}, {0}
    try:
        for step, reached in steps:
            before, after = after, reached
            step()
    except SimulatedCrash:
        pass
    else:
        before = after
    disk.restart(random.Random(operation))
    topic = LocalLog(simulated_env(2, disk), "/data").topic("t")
    assert topic.group("g").acknowledged in before | after
    assert topic.start <= topic.group("g").acknowledged
    assert [record.position for record in topic.read()] == list(range(topic.start, 12))
