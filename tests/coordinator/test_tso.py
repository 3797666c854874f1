from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redkite.coordinator.tso import WINDOW_MS, TimestampOracle
from redkite.errors import Corruption, StorageError
from redkite.model.timestamps import at_us, compose, physical_ms
from redkite.storage.catalog import MemoryCatalog

NOW = 1_800_000_000_000


class HandClock:
    """A wall clock that stands where it was put."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now
        self.us = 0

    def now_ms(self) -> int:
        return self.now

    def now_us(self) -> int:
        return self.now * 1000 + self.us

    def monotonic(self) -> float:
        return 0.0


class CountingCatalog(MemoryCatalog):
    commits = 0

    def commit(self, *args, **kwargs) -> None:
        self.commits += 1
        super().commit(*args, **kwargs)


def test_a_timestamp_tells_the_time_of_day() -> None:
    assert physical_ms(TimestampOracle(MemoryCatalog(), HandClock()).allocate()) == NOW


@given(st.integers(0, 998))
def test_a_microsecond_between_two_numbers_lies_between_them(us: int) -> None:
    clock = HandClock()
    oracle = TimestampOracle(MemoryCatalog(), clock)
    clock.us = us
    before = oracle.allocate()
    noted = at_us(clock.now_us() + 1) - 1
    clock.us += 1
    assert before <= noted < oracle.allocate()


def test_timestamps_only_grow_when_the_clock_steps_back() -> None:
    clock = HandClock()
    oracle = TimestampOracle(MemoryCatalog(), clock)
    before = oracle.allocate()
    clock.now -= 3_600_000
    assert oracle.allocate() > before


@given(st.lists(st.one_of(st.integers(-20_000, 20_000), st.sampled_from(["restart", "close"])), max_size=30))
def test_no_number_is_given_twice_whatever_clock_and_restarts_do(steps: list[int | str]) -> None:
    clock, catalog = HandClock(), MemoryCatalog()
    oracle, last = TimestampOracle(catalog, clock), 0
    for step in steps:
        if isinstance(step, int):
            clock.now += step
        else:
            if step == "close":
                oracle.close()
            oracle = TimestampOracle(catalog, clock)
        first = oracle.allocate(3)
        assert first > last
        last = first + 2
        assert oracle.last == last


def test_a_range_reserves_all_its_numbers() -> None:
    oracle = TimestampOracle(MemoryCatalog(), HandClock())
    first = oracle.allocate_ids(1_000)
    assert oracle.allocate() == first + 1_000


def test_the_catalog_is_written_once_in_a_window() -> None:
    clock, catalog = HandClock(), CountingCatalog()
    oracle = TimestampOracle(catalog, clock)
    for _ in range(1_000):
        oracle.allocate()
        clock.now += WINDOW_MS // 2_000
    assert catalog.commits == 1
    clock.now += WINDOW_MS
    oracle.allocate()
    assert catalog.commits == 2


def test_restarts_in_quick_succession_do_not_run_away_from_the_clock() -> None:
    clock, catalog = HandClock(), MemoryCatalog()
    for _ in range(20):
        stamp = TimestampOracle(catalog, clock).allocate()
    assert physical_ms(stamp) - clock.now < 2 * WINDOW_MS


def test_after_a_kill_numbers_are_ahead_of_the_clock_by_a_second_at_most_and_then_no_more() -> None:
    clock, catalog = HandClock(), MemoryCatalog()
    for _ in range(100):
        TimestampOracle(catalog, clock).allocate()
        clock.now += 50
    following = TimestampOracle(catalog, clock)
    assert 0 < physical_ms(following.allocate()) - clock.now <= 1_000
    clock.now += 1_000
    assert physical_ms(following.allocate()) == clock.now


def test_a_clean_close_gives_the_unused_window_back() -> None:
    clock, catalog = HandClock(), MemoryCatalog()
    oracle = TimestampOracle(catalog, clock)
    last = oracle.allocate()
    oracle.close()
    assert TimestampOracle(catalog, clock).allocate() <= last + 3


def test_a_failed_commit_hands_out_nothing() -> None:
    class FailingCatalog(MemoryCatalog):
        def commit(self, *args, **kwargs) -> None:
            raise StorageError("disk gone")

    oracle = TimestampOracle(FailingCatalog(), HandClock())
    with pytest.raises(StorageError):
        oracle.allocate()
    assert oracle.last == 0


def test_a_damaged_bound_is_reported() -> None:
    catalog = MemoryCatalog()
    catalog.commit({"root/oracle": b"short"})
    with pytest.raises(Corruption):
        TimestampOracle(catalog, HandClock())


def test_threads_never_share_a_number() -> None:
    oracle = TimestampOracle(MemoryCatalog(), HandClock())
    taken: list[list[int]] = [[] for _ in range(4)]

    def take(into: list[int]) -> None:
        into.extend(oracle.allocate() for _ in range(2_000))

    threads = [threading.Thread(target=take, args=(into,)) for into in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({number for into in taken for number in into}) == 8_000


def test_nothing_can_be_allocated_in_empty_ranges() -> None:
    with pytest.raises(ValueError):
        TimestampOracle(MemoryCatalog(), HandClock()).allocate(0)


def test_numbers_are_of_the_scale_that_clients_know() -> None:
    assert TimestampOracle(MemoryCatalog(), HandClock()).allocate_ids(1) >= compose(NOW)
