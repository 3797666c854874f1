"""How much of what a read was to look at it could look at."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Reach(msgspec.Struct, frozen=True):
    """Of the sealed rows that a read concerns, deleted ones included; those of segments that its filter rules out by
    their least and greatest values are not among them. Rows that are not sealed yet are always reached."""

    rows: int
    left_out_rows: int
    """Of them: those that no node served."""
    left_out_segments: int

    @property
    def data_ratio(self) -> float:
        """The part of the rows that was reached, 0 to 1."""
        return 1 - self.left_out_rows / self.rows if self.rows else 1.0

    @property
    def said(self) -> dict[str, float | int]:
        """As answers show it."""
        return {
            "data_ratio": self.data_ratio,
            "data_rows": self.rows,
            "left_out_rows": self.left_out_rows,
            "left_out_segments": self.left_out_segments,
        }


def reach_of_all(parts: Iterable[Reach | None]) -> Reach | None:
    """Of a read of several shards; None where none of them may leave rows out."""
    known = [part for part in parts if part is not None]
    if not known:
        return None
    return Reach(
        sum(p.rows for p in known), sum(p.left_out_rows for p in known), sum(p.left_out_segments for p in known)
    )


def shorter(first: Reach | None, second: Reach | None) -> Reach | None:
    """Of a request that reads the same rows more than once: of the read that reached least, if any left rows out."""
    left = [reach for reach in (first, second) if reach is not None and reach.left_out_segments]
    return min(left, key=lambda reach: reach.data_ratio, default=None)
