"""Timestamps and ids of one node of a cluster, without asking anybody for most of them.

Timestamps are hybrid: never behind the node's clock, and above every timestamp that has come to the node in a message.
So whatever happens after something else, through however many nodes, has the larger one. Ids come in ranges that the
catalog gives out, each once and to one node.
"""

from __future__ import annotations

import threading
from typing import Final, Protocol

from redkite.coordinator.tso import TimestampOracle
from redkite.env import Clock, Executor, Tasks
from redkite.errors import Conflict, Corruption, MilvusException, Unavailable
from redkite.logs import get_logger
from redkite.model.timestamps import at_us
from redkite.storage.catalog import Catalog, MemoryCatalog

log = get_logger(__name__)

NEXT_ID: Final = "ids/next"
RANGE: Final = 1 << 18
"""Ids that are taken at a time; more are fetched when half of them are used."""
_TRIES: Final = 100


class SharedCatalog(Catalog, Protocol):
    def refresh(self) -> int:
        """Have everything here that anybody has committed."""
        ...


class NodeOracle(TimestampOracle):
    """Safe from any thread."""

    def __init__(self, catalog: SharedCatalog, clock: Clock, tasks: Tasks) -> None:
        super().__init__(MemoryCatalog(), clock)
        self._ids_of = catalog
        self._ids = threading.Lock()
        self.given_ids = 0
        """Ids handed out since the start."""
        self._ranges: list[tuple[int, int]] = []
        """Half open, to be given out in this order."""
        self._fetching = False
        self._fetcher: Executor = tasks.executor("ids", 1)
        self._closed = False

    def observe(self, timestamp: int) -> None:
        """Hand out only larger ones from now on."""
        if timestamp > self._last:
            with self._lock:
                self._last = max(self._last, timestamp)

    def allocate(self, n: int = 1) -> int:
        if n < 1:
            raise ValueError(f"cannot allocate {n} timestamps")
        now = at_us(self._now_us())
        with self._lock:
            first = max(self._last + 1, now)
            self._last = first + n - 1
        return first

    def allocate_ids(self, n: int) -> int:
        """The first of `n` consecutive ids that nobody else of the cluster has. Raises Unavailable when there are none
        left here and the catalog does not answer."""
        if n < 1:
            raise ValueError(f"cannot allocate {n} ids")
        with self._ids:
            found = self._take(n)
            if found is None:
                # Whoever needs them waits for them here; others are behind the lock and need them, too.
                self._ranges.append(self._fetch(max(n, RANGE)))
                found = self._take(n)
                assert found is not None, "a range that was fetched for this is long enough"
            self.given_ids += n
            if sum(end - start for start, end in self._ranges) < RANGE // 2 and not self._fetching:
                self._fetching = True
                self._fetcher.submit(self._fetch_ahead)
        return found

    def _take(self, n: int) -> int | None:
        for at, (start, end) in enumerate(self._ranges):
            if end - start >= n:
                self._ranges[at] = start + n, end
                self._ranges = [pair for pair in self._ranges if pair[0] < pair[1]]
                return start
        return None

    def _fetch_ahead(self) -> None:
        try:
            found = self._fetch(RANGE)
        except MilvusException as error:
            log.warning("no ids could be fetched, and some are left: %s", error.message)
            with self._ids:
                self._fetching = False
            return
        with self._ids:
            self._ranges.append(found)
            self._fetching = False

    def _fetch(self, n: int) -> tuple[int, int]:
        for _ in range(_TRIES):
            data = self._ids_of.get(NEXT_ID)
            first = at_us(self._now_us()) if data is None else _number(data)
            try:
                self._ids_of.commit({NEXT_ID: str(first + n).encode()}, expect={NEXT_ID: data})
            except Conflict:
                self._ids_of.refresh()
                continue
            return first, first + n
        raise Unavailable("so many nodes ask for ids that none were found: try again")

    def close(self) -> None:
        """What is left of the ranges is given to nobody."""
        if not self._closed:
            self._closed = True
            self._fetcher.shutdown(wait=False)


def _number(data: bytes) -> int:
    try:
        return int(data)
    except ValueError:
        raise Corruption(f"catalog entry {NEXT_ID} is not a number") from None
