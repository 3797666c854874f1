"""The oracle: one strictly increasing sequence of 64-bit numbers, used as hybrid timestamps and as ids.

A durable upper bound runs ahead of the sequence. Numbers below it are handed out from memory; a restart continues
above it, so no number is ever given twice, whatever the clock does. A number follows the clock to the microsecond, so
that a time that a person noted between two writes lies between their timestamps.
"""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

from redkite.env import Clock
from redkite.errors import Corruption, ReadOnlyDatabase
from redkite.model.timestamps import at_us, compose

if TYPE_CHECKING:
    from redkite.storage.catalog import Catalog

_KEY = "root/oracle"
_WIDTH = 8
WINDOW_MS = 1_000
"""How far ahead of the clock the durable bound is set. After a process was killed its successor's numbers are ahead of
the clock by what is left of this, and a time that a person notes meanwhile lies before writes that came before it."""
_SLACK_MS = 10
"""How far the bound is moved when the sequence is already ahead of the clock, some millions of numbers: less than a
restart takes, so that restarts do not pile up."""
_OBSERVED_MS = 100
"""The same when it is ahead because of what others hand out, who go on."""


class TimestampOracle:
    """Safe from any thread. A call takes about a microsecond, except one commit to the catalog in every window."""

    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._now_us = clock.now_us
        self._lock = threading.Lock()
        self._bound = self._last = _load(catalog)
        self.given_ids = 0
        """Ids handed out since the start."""

    @property
    def last(self) -> int:
        """The newest number handed out (after a restart: one that none handed out exceeds)."""
        return self._last

    def allocate(self, n: int = 1) -> int:
        """The first of `n` consecutive numbers, all above every number handed out before."""
        if n < 1:
            raise ValueError(f"cannot allocate {n} timestamps")
        now = at_us(self._now_us())
        with self._lock:
            first = self._last + 1
            if first < now:
                first = now
            last = first + n - 1
            if last >= self._bound:
                self._extend(last)
            self._last = last
        return first

    def now(self) -> int:
        """A timestamp to read at: none handed out later is as small, and none before exceeds it. Costs no commit."""
        now, lock = at_us(self._now_us()) - 1, self._lock
        lock.acquire()  # `with` takes twice as long, which every small search would feel
        try:
            if now > self._last:
                self._last = now
            return self._last
        finally:
            lock.release()

    def allocate_ids(self, n: int) -> int:
        """The first of `n` consecutive ids. They share the sequence of the timestamps."""
        first = self.allocate(n)
        with self._lock:
            self.given_ids += n
        return first

    def observe(self, timestamp: int) -> None:
        """Something has this timestamp that another handed out: what is handed out here from now on is larger."""
        with self._lock:
            if timestamp > self._last:
                if timestamp >= self._bound:
                    self._extend(timestamp, _OBSERVED_MS)
                self._last = timestamp

    def close(self) -> None:
        """Give back the unused window, so that a clean restart continues where this oracle stopped."""
        with self._lock:
            self._commit(self._last + 1)

    def _extend(self, last: int, slack_ms: int = _SLACK_MS) -> None:
        self._commit(max(at_us(self._now_us()) + compose(WINDOW_MS), last + compose(slack_ms)))

    def _commit(self, bound: int) -> None:
        self._catalog.commit({_KEY: bound.to_bytes(_WIDTH, "big")})
        self._bound = bound


class FollowingOracle(TimestampOracle):
    """Of a database that another process writes: it reads the clock and hands out nothing that is stored."""

    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        super().__init__(catalog, clock)
        self._ids = itertools.count(1)

    def now(self) -> int:
        return max(at_us(self._now_us() + 1) - 1, self._last)

    def observe(self, timestamp: int) -> None:
        """Something was written then. The writer's numbers may be ahead of the clock."""
        with self._lock:
            self._last = max(self._last, timestamp)

    def allocate(self, n: int = 1) -> int:  # noqa: ARG002  refused whatever it is
        raise ReadOnlyDatabase("no timestamps are handed out: the database was opened with read_only=True")

    def allocate_ids(self, n: int) -> int:
        """Numbers of this process only."""
        return next(self._ids) if n == 1 else self.allocate(n)

    def close(self) -> None:
        """The writer's oracle is elsewhere."""


def _load(catalog: Catalog) -> int:
    data = catalog.get(_KEY)
    if data is None:
        return 0
    if len(data) != _WIDTH:
        raise Corruption(f"catalog entry {_KEY} has {len(data)} bytes, not {_WIDTH}")
    return int.from_bytes(data, "big")
