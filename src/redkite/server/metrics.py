"""What a running server has counted: one row of numbers for each kind of call, from which every metric is read off.

A call adds to one row, once, when it is answered. Which metrics that makes is decided when somebody asks for them
(`exposition.py`), so that a further metric costs a call nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import zip_longest
from typing import Final, NamedTuple

import msgspec

from redkite.cluster.figures import Figure, Labels

SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds of Redkite's own latency histogram, in seconds."""
MILLISECONDS: Final = tuple(2**power for power in range(18))
"""Upper bounds of Milvus's histograms, in milliseconds."""
EDGES: Final = tuple(sorted({*SECONDS, *(bound / 1000 for bound in MILLISECONDS)}))
"""Upper bounds of what is counted, in seconds: those of both."""
SIZES: Final = tuple(2**power for power in range(18))
"""Upper bounds of how many queries, and how many hits of each, a search asks."""
MOST_SERIES: Final = 4_000
"""Kinds of calls that are told apart. Names of collections come from clients, who can think of many; calls about
further ones are counted without a name."""

OK, USER, SYSTEM, CANCEL = range(4)
"""How a call ended: well, or failed by its caller's fault, by the server's, because the caller went away."""


class Kind(NamedTuple):
    """What calls have in common that are counted together."""

    protocol: str
    """`grpc` or `rest`."""
    method: str
    """The RPC, or the path below `/v2/vectordb/`."""
    rpc: str
    """The RPC that does the same; empty where a call failed before that was known."""
    database: str
    collection: str


class Counts(msgspec.Struct):
    """Sums over the calls of one kind. Only the event loop's thread writes them."""

    ends: list[int] = msgspec.field(default_factory=lambda: [0, 0, 0, 0])
    """Calls by how they ended: `OK`, `USER`, `SYSTEM`, `CANCEL`."""
    seconds: float = 0.0
    bins: list[int] = msgspec.field(default_factory=lambda: [0] * (len(EDGES) + 1))
    """Calls by `EDGES`, those above the last at the end."""
    queries: int = 0
    """Of searches."""
    rows: int = 0
    """Asked to be written, …"""
    done: int = 0
    """… rows written or deleted, and queries answered."""
    received: int = 0
    """Bytes of requests, without what HTTP adds."""
    sent: int = 0
    slow: int = 0
    """Reads over the limit of the slow-query log."""
    refused: int = 0
    """Calls that a rate or a quota did not let pass."""
    nqs: list[int] = []
    """Searches by their number of queries, by `SIZES`, those above the last at the end; empty where there are none."""
    limits: list[int] = []
    """Searches by how many hits they want of each query, in the same way, …"""
    wanted: int = 0
    """… and the sum of that."""

    @property
    def total(self) -> int:
        return sum(self.ends)

    @property
    def failed(self) -> int:
        return self.total - self.ends[OK]

    def observe(self, seconds: float, end: int, received: int = 0, sent: int = 0) -> None:
        self.ends[end] += 1
        self.seconds += seconds
        self.bins[bisect_left(EDGES, seconds)] += 1
        self.received += received
        self.sent += sent

    def observe_search(self, queries: int, limit: int) -> None:
        """How much a search asks."""
        if not self.nqs:
            self.nqs, self.limits = [0] * (len(SIZES) + 1), [0] * (len(SIZES) + 1)
        self.nqs[_size(queries)] += 1
        self.limits[_size(limit)] += 1
        self.wanted += limit

    def copy(self) -> Counts:
        return msgspec.structs.replace(
            self, ends=self.ends[:], bins=self.bins[:], nqs=self.nqs[:], limits=self.limits[:]
        )

    def add(self, other: Counts) -> None:
        self.ends = [a + b for a, b in zip(self.ends, other.ends, strict=True)]
        self.bins = [a + b for a, b in zip(self.bins, other.bins, strict=True)]
        self.nqs = [a + b for a, b in zip_longest(self.nqs, other.nqs, fillvalue=0)]
        self.limits = [a + b for a, b in zip_longest(self.limits, other.limits, fillvalue=0)]
        for name in ("seconds", "queries", "rows", "done", "received", "sent", "slow", "refused", "wanted"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


def _size(value: int) -> int:
    """Where in `SIZES` a number is: the first bound that is not below it."""
    return min(max(value - 1, 0).bit_length(), len(SIZES))


class Counted(msgspec.Struct):
    """What one process has counted, as it goes to another."""

    calls: list[tuple[Kind, Counts]] = []
    audit_lost: int = 0
    """Lines that the audit log could not keep."""
    users: dict[str, int] = {}
    """Calls by who made them, where that is known."""
    engine: list[Figure] = []
    """What the engine counts of its reads: none of them goes down."""

    def add(self, other: Counted) -> None:
        """Take the sums of another process in."""
        mine = dict(self.calls)
        for kind, counts in other.calls:
            mine.setdefault(kind, Counts()).add(counts)
        self.calls = list(mine.items())
        self.audit_lost += other.audit_lost
        for user, calls in other.users.items():
            self.users[user] = self.users.get(user, 0) + calls
        figures: dict[tuple[str, Labels], Figure] = {}
        for one in (*self.engine, *other.engine):
            known = figures.get((one.name, one.labels))
            figures[one.name, one.labels] = one if known is None else one._replace(value=known.value + one.value)
        self.engine = list(figures.values())


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self._calls: dict[Kind | tuple[str, str, str, str, str], Counts] = {}
        self._users: dict[str, int] = {}

    def of(self, protocol: str, method: str, rpc: str = "", database: str = "", collection: str = "") -> Counts:
        """The counters of one kind of calls, made on first use."""
        found = self._calls.get((protocol, method, rpc, database, collection))
        if found is None:
            if len(self._calls) >= MOST_SERIES and (database or collection):
                return self.of(protocol, method, rpc)
            found = self._calls[Kind(protocol, method, rpc, database, collection)] = Counts()
        return found

    def called_by(self, user: str) -> None:
        """A known user has made a call. There are no more of them than an administrator has made."""
        self._users[user] = self._users.get(user, 0) + 1

    def counted(self) -> Counted:
        """A copy of all of them."""
        calls = [(Kind(*kind), counts.copy()) for kind, counts in self._calls.items()]
        return Counted(calls=calls, users=dict(self._users))
