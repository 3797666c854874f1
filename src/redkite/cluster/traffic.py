"""What a node has counted of its messages: by their type, those it asked and those it answered."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final, Literal
from weakref import WeakSet

import msgspec

from redkite.cluster.network import NotReached, Unanswered
from redkite.errors import MilvusException

SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds of the latency histogram, in seconds: those of the server's own."""
Side = Literal["asked", "answered"]
Tallies = dict[tuple[Side, str], "Tally"]


class Tally(msgspec.Struct):
    """Sums over the messages of one type."""

    calls: int = 0
    failed: int = 0
    """With an error of whatever kind."""
    unanswered: int = 0
    """Of them, those that nobody answered."""
    seconds: float = 0.0
    bins: list[int] = msgspec.field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    """Messages by `SECONDS`, those above the last at the end."""


class Traffic:
    """The counters of one node. Sums may be behind by a message while others are counted: no lock is taken."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[Side, str], Tally] = {}
        _COUNTED.add(self)

    def asked(self, message: str, seconds: float, error: BaseException | None) -> None:
        self._count("asked", message, seconds, error)

    def answered(self, message: str, seconds: float, error: MilvusException | None) -> None:
        self._count("answered", message, seconds, error)

    def tallies(self) -> Tallies:
        """A copy of all of them, by side and type of message."""
        return {key: msgspec.structs.replace(tally, bins=tally.bins[:]) for key, tally in [*self._tallies.items()]}

    def _count(self, side: Side, message: str, seconds: float, error: BaseException | None) -> None:
        tally = self._tallies.get((side, message))
        if tally is None:
            tally = self._tallies.setdefault((side, message), Tally())
        tally.calls += 1
        tally.seconds += seconds
        tally.bins[bisect_left(SECONDS, seconds)] += 1
        if error is not None:
            tally.failed += 1
            if isinstance(error, NotReached | Unanswered):
                tally.unanswered += 1


def together(all_of: Iterable[Tallies]) -> Tallies:
    """Their sums."""
    found: Tallies = {}
    for tallies in all_of:
        for key, tally in tallies.items():
            sums = found.setdefault(key, Tally())
            sums.calls += tally.calls
            sums.failed += tally.failed
            sums.unanswered += tally.unanswered
            sums.seconds += tally.seconds
            sums.bins = [a + b for a, b in zip(sums.bins, tally.bins, strict=True)]
    return found


def of_process() -> Tallies:
    """Of all nodes that this process runs: most often one."""
    return together(traffic.tallies() for traffic in [*_COUNTED])


_COUNTED: WeakSet[Traffic] = WeakSet()
