"""Hybrid timestamps: `(unix_ms << 18) | logical`, one increasing order for every write and read."""

from __future__ import annotations

LOGICAL_BITS = 18
MAX_LOGICAL = (1 << LOGICAL_BITS) - 1
NEVER = (1 << 64) - 1
"""The delete timestamp of a row that is alive."""

STRONG, EVENTUALLY, BOUNDED = 0, 1, 2
"""Sentinels of `guarantee_timestamp`."""


def compose(physical_ms: int, logical: int = 0) -> int:
    return (physical_ms << LOGICAL_BITS) | logical


def at_us(us: int) -> int:
    """The first timestamp of a microsecond since the Unix epoch: its fraction of the millisecond is logical."""
    return (us << LOGICAL_BITS) // 1000


def physical_ms(timestamp: int) -> int:
    return timestamp >> LOGICAL_BITS


def logical(timestamp: int) -> int:
    return timestamp & MAX_LOGICAL
