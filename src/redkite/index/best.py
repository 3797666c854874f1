"""The best rows of a search, as a heap that kernels fill.

`best_scores` and `best_rows` have room for k; `size` places are filled, the worst first. Larger scores are better, and
of equal ones the row with the smaller number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, int64, types

from redkite.native import array, helper, kernel

Array = Any
Number = Any
"""numba infers the types of helpers."""
BEST = (array(float32, written=True), array(int64, written=True), int64)
"""The heap's types in a kernel's signature."""


@helper
def _worse(score: Number, row: Number, than: Number, than_row: Number) -> Number:
    return score < than or (score == than and row > than_row)


@helper
def offer(best_scores: Array, best_rows: Array, size: Number, score: Number, row: Number) -> Number:
    """Take a row among the best if it belongs there; how many there are now."""
    k = len(best_scores)
    if size < k:
        at = size
        while at > 0:
            up = (at - 1) >> 1
            if not _worse(score, row, best_scores[up], best_rows[up]):
                break
            best_scores[at], best_rows[at] = best_scores[up], best_rows[up]
            at = up
        best_scores[at], best_rows[at] = score, row
        return size + 1
    if _worse(best_scores[0], best_rows[0], score, row):
        _sink(best_scores, best_rows, k, score, row)
    return size


@helper
def _sink(best_scores: Array, best_rows: Array, size: Number, score: Number, row: Number) -> None:
    """Put a row in place of the worst one."""
    at = 0
    while True:
        down = 2 * at + 1
        if down >= size:
            break
        other = down + 1
        if other < size and _worse(best_scores[other], best_rows[other], best_scores[down], best_rows[down]):
            down = other
        if _worse(score, row, best_scores[down], best_rows[down]):
            break
        best_scores[at], best_rows[at] = best_scores[down], best_rows[down]
        at = down
    best_scores[at], best_rows[at] = score, row


@helper
def least_of(best_scores: Array, size: Number) -> Number:
    """What a positive score must exceed to get among the best."""
    return best_scores[0] if size == len(best_scores) else np.float32(0)


@helper
def put_in_order(best_scores: Array, best_rows: Array, size: Number) -> None:
    """Best first."""
    for last in range(size - 1, 0, -1):
        score, row = best_scores[last], best_rows[last]
        best_scores[last], best_rows[last] = best_scores[0], best_rows[0]
        _sink(best_scores, best_rows, last, score, row)


@kernel(types.void(*BEST))
def sort_best(best_scores: Array, best_rows: Array, size: int) -> None:
    """Best first."""
    put_in_order(best_scores, best_rows, size)
