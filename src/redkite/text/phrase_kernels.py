"""The loop of a phrase search: the posting lists of its words, walked side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import boolean, int64, types, uint16, uint32

from redkite.native import array, helper, kernel


def _signature(item: Any) -> Any:
    lists = [array(int64)] * 3
    return types.void(array(uint32), array(item), *lists, int64, array(boolean, written=True))


@helper
def _row_from(rows: npt.NDArray[np.uint32], at: int, end: int, row: int) -> int:
    """The first place from `at` on whose row is not below `row`; `end` when there is none."""
    step = 1
    low = at
    while at < end and rows[at] < row:
        low = at + 1
        at += step
        step *= 2
    high = min(at, end)
    while low < high:
        middle = (low + high) // 2
        if rows[middle] < row:
            low = middle + 1
        else:
            high = middle
    return low


@helper
def _position_from(positions: npt.NDArray[Any], at: int, end: int, position: int) -> int:
    """The same of positions."""
    step = 1
    low = at
    while at < end and np.int64(positions[at]) < position:
        low = at + 1
        at += step
        step *= 2
    high = min(at, end)
    while low < high:
        middle = (low + high) // 2
        if np.int64(positions[middle]) < position:
            low = middle + 1
        else:
            high = middle
    return low


@helper
def _is_near(
    positions: npt.NDArray[Any],
    at: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    slop: int,
) -> bool:
    """Whether there is one position of each list whose moves differ by at most `slop`. List j is at `at[j]`, and no
    position before that can be one of them; `at` goes on."""
    count = len(at)
    most = np.int64(positions[at[0]]) - places[0]
    for j in range(1, count):
        most = max(most, np.int64(positions[at[j]]) - places[j])
    while True:
        # Whatever the answer is, its greatest move is not below the greatest of the least ones that are left.
        least = most - slop
        moved = most
        for j in range(count):
            at[j] = _position_from(positions, at[j], ends[j], least + places[j])
            if at[j] == ends[j]:
                return False
            moved = max(moved, np.int64(positions[at[j]]) - places[j])
        if moved == most:
            return True
        most = moved


def _find_phrases(
    rows: npt.NDArray[np.uint32],
    positions: npt.NDArray[Any],
    starts: npt.NDArray[np.int64],
    stops: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    slop: int,
    mask: npt.NDArray[np.bool_],
) -> None:
    """List j is `rows[starts[j]:stops[j]]` with its positions, of a word that the phrase has at `places[j]`. Sets the
    rows that are in all lists and hold the phrase; the first list is the shortest."""
    count = len(starts)
    cursor = starts.copy()
    at = np.empty(count, np.int64)
    ends = np.empty(count, np.int64)
    while cursor[0] < stops[0]:
        row = rows[cursor[0]]
        everywhere = True
        for j in range(count):
            cursor[j] = _row_from(rows, cursor[j], stops[j], row)
            if cursor[j] == stops[j]:
                return
            if rows[cursor[j]] != row:
                # No row before the next of this list can be in all.
                cursor[0] = _row_from(rows, cursor[0], stops[0], rows[cursor[j]])
                everywhere = False
                break
        if not everywhere:
            continue
        for j in range(count):
            at[j] = cursor[j]
            ends[j] = _row_from(rows, cursor[j], stops[j], row + 1)
        if _is_near(positions, at, ends, places, slop):
            mask[row] = True
        cursor[0] = _row_from(rows, cursor[0], stops[0], row + 1)


find_narrow = kernel(_signature(uint16))(_find_phrases)
"""Of positions below 2¹⁶."""
find_wide = kernel(_signature(uint32))(_find_phrases)
