"""A reader sees the deletes up to its timestamp, and none after."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redkite.segment.deletes import Deletes

marks = st.lists(st.lists(st.integers(0, 49), min_size=1, max_size=8), max_size=10)


@given(steps=marks, at=st.integers(0, 12))
def test_alive_rows_are_those_not_deleted_by_then(steps: list[list[int]], at: int) -> None:
    deletes = Deletes()
    when: dict[int, int] = {}
    for timestamp, rows in enumerate(steps, 1):
        fresh = {row for row in rows if row not in when}
        assert deletes.mark(np.unique(rows), timestamp, 50) == len(fresh)
        when |= dict.fromkeys(fresh, timestamp)
    alive = deletes.alive(50, at)
    expected = [when.get(row, 99) > at for row in range(50)]
    assert (alive is None and all(expected)) or alive.tolist() == expected
    assert deletes.count == len(when)
    rows, stamps = deletes.entries()
    again = Deletes.from_entries(rows, stamps, 50)
    second = again.alive(50, at)
    assert (second is None) == (not when)
    if second is not None:
        assert second.tolist() == expected


def test_a_mask_is_kept_until_the_next_delete() -> None:
    deletes = Deletes()
    assert deletes.alive(10, 5) is None
    deletes.mark(np.array([1]), 3, 10)
    first = deletes.alive(10, 5)
    assert deletes.alive(10, 5) is first
    deletes.mark(np.array([2]), 7, 10)
    assert deletes.alive(10, 7).tolist() == [True, False, False, *[True] * 7]
    assert deletes.alive(10, 5).tolist() == first.tolist()


def test_a_segment_that_grows_keeps_its_marks() -> None:
    deletes = Deletes()
    deletes.mark(np.array([0]), 1, 4)
    deletes.mark(np.array([900]), 2, 1000)
    assert np.flatnonzero(~deletes.alive(1000, 2)).tolist() == [0, 900]
    assert deletes.alive(5000, 2).sum() == 4998


class Watched(np.ndarray):
    """Marks that let somebody look just before they are made."""

    looks: list[tuple[int, int, int]]
    deletes: Deletes

    def __setitem__(self, rows: object, stamps: object) -> None:
        self.looks.append((self.deletes.version, self.deletes.newest, len(self.deletes.entries()[0])))
        super().__setitem__(rows, stamps)


@pytest.mark.parametrize("merged", [False, True])
def test_who_looks_while_rows_are_marked_does_not_take_it_for_what_is_there_then(merged: bool) -> None:
    deletes = Deletes()
    deletes.mark(np.array([3]), 5, 50)
    marks = deletes._timestamps.view(Watched)  # type: ignore[union-attr]
    marks.looks, marks.deletes = [], deletes
    deletes._timestamps = marks
    before = deletes.version
    if merged:
        deletes.merge(np.array([7, 8]), np.array([9, 9], np.uint64), 50)
    else:
        deletes.mark(np.array([7, 8]), 9, 50)
    ((version, newest, count),) = marks.looks
    assert before != version != deletes.version
    assert newest == 9
    assert count == 1


def test_how_new_deletes_are_is_known_before_their_version() -> None:
    class Announced(Deletes):
        def __setattr__(self, name: str, value: object) -> None:
            if name == "version" and value:
                assert self.newest == 7
            object.__setattr__(self, name, value)

    Announced().mark(np.array([1]), 7, 50)
    Announced().merge(np.array([1]), np.array([7], np.uint64), 50)
