"""When a search of several segments is shared out over the cores."""

from __future__ import annotations

from collections.abc import Sequence

from redkite.index.threads import LARGE_CALL

WORTH_A_THREAD = 600_000
"""Multiply-adds of a search that take longer than handing it to another thread."""


def pays_to_share(works: Sequence[int]) -> bool:
    """Whether other threads are to search some of the segments, each so many multiply-adds: two at least must be worth
    waking a thread, and none so much that its index takes all cores itself."""
    return max(works, default=0) < LARGE_CALL and sum(work >= WORTH_A_THREAD for work in works) > 1
