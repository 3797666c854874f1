"""What a proxy counts of its searches and queries."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from redkite.node.querying import QueryNode
from redkite.node.tallies import Durations
from redkite.node.topology import Topology
from redkite.query.timing import ReadTimes
from redkite.storage.objects import ObjectStore

T = TypeVar("T")


class ReadCounts:
    """Safe from any thread."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self.plans = 0
        """Searches that wanted a plan that may be known. About, when they run side by side."""
        self.planning = Durations(topology.env.clock)
        """Of those whose plan was not."""
        self.times = ReadTimes(topology.env.clock)
        """Of all shards that a read asks, together; searches that went the straight way are counted by its node."""

    def planned(self, plan: Callable[[], T]) -> T:
        """The plan that has to be made."""
        with self.planning.timed():
            return plan()

    def queried(self, ask: Callable[[], Iterable[T]]) -> list[T]:
        """What the shards of a query answer."""
        begun = self.times.now()
        answers = list(ask())
        self.times.took(self.times.queries, begun)
        return answers

    @property
    def nodes(self) -> list[QueryNode]:
        """The query nodes of this process."""
        return [node for node in self._topology.querying if isinstance(node, QueryNode)]

    @property
    def store(self) -> ObjectStore:
        """Where sealed segments are."""
        return self._topology.store

    @property
    def has_shards(self) -> bool:
        """Whether the shards that are asked are of this process: else their nodes count."""
        return self._topology.streaming.are_here
