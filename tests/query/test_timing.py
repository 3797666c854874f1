"""How long reads took: whatever is counted later is counted as it would have been at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from redkite.query.timing import BOUNDS, Bins, ReadTimes
from redkite.realenv import RealClock

NOW = 100.0
SECONDS = st.floats(0, 1e6) | st.sampled_from([2.0**power / 1000 for power in range(-3, BOUNDS + 3)])


class Standing(RealClock):
    """A clock that stands."""

    monotonic = staticmethod(lambda: NOW)


@given(st.lists(SECONDS, max_size=60))
def test_durations_that_are_added_together_are_told_apart_as_those_that_come_one_by_one(every: list[float]) -> None:
    together, singly = Bins(), Bins()
    together.add_all(np.array(every))
    for seconds in every:
        singly.add(seconds)
    assert together.bins == singly.bins
    assert together.total == len(every)
    np.testing.assert_allclose(together.milliseconds, singly.milliseconds, rtol=1e-9, atol=1e-9)


def test_each_search_is_counted_once_whoever_counts_and_however_many_threads_search() -> None:
    times = ReadTimes(Standing())

    def search(_: int) -> int:
        for _ in range(2_500):
            times.went_straight(NOW - 0.003, NOW - 0.001)
        return times.straight.total

    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(search, range(4)))
    assert times.straight.total == times.segments.total == times.reductions.total == 10_000
    assert max(seen) <= 10_000
    assert times.segments.bins[1] == 10_000, "2 ms"
    np.testing.assert_allclose(times.segments.milliseconds, 20_000, rtol=1e-3)
    assert times.straight.bins[2] == 10_000, "3 ms"
