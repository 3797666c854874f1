"""The query node: holds sealed segments of any collection for whoever owns their shards, and reads them.

It decides nothing. Owners open segments here and close them; what it holds comes from the store of objects, through a
cache on its disk. A node that is to go says so, keeps answering, and is let go when nobody counts on it any more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar, Final

from redkite.cluster.caching import node_store
from redkite.cluster.config import Role
from redkite.cluster.figures import Figure, Piece, cache_of, read_steps, segments_of
from redkite.cluster.forwarding import reach_handler
from redkite.cluster.held import HeldService
from redkite.cluster.membership import labels_of
from redkite.cluster.roles.node import NodeRole
from redkite.coordinator.shared_garbage import Releasing
from redkite.env import Timer
from redkite.errors import Unavailable
from redkite.model.segments import SegmentMeta
from redkite.node.memory import MemoryBudget
from redkite.node.querying import QueryNode
from redkite.query.allowed import CACHE_BYTES

LOOK_SECONDS: Final = 5.0
"""How often it is looked for segments whose owners are gone."""
DRAIN_SECONDS: Final = 120.0
DRAIN_LOOK_SECONDS: Final = 0.1


class QueryRole(NodeRole):
    """One query node of a cluster."""

    kind: ClassVar[Role] = "query"

    # -- its life -------------------------------------------------------------------------------
    def make(self) -> None:
        """Raises StorageError for a cache that cannot be."""
        self._catalog = self.backends.catalog()
        store, self._cache = node_store(self.config, self.env, self.backends.objects())
        scans = self.env.tasks.executor("scan", max(1, (os.cpu_count() or 2) - 1))
        memory = MemoryBudget(self.env, self.config.settings.memory_limit)
        self.node = QueryNode(self.node_id, store, scans, self.env.clock, memory.cache_bytes(CACHE_BYTES, 1))
        self._service = HeldService(self.env, self.node, self._let_go, self._wanted_soon)
        self._timer: Timer | None = None
        self._releasing: Releasing | None = None

    def start(self) -> None:
        """Answer, and be known to the cluster. Raises Unavailable when nobody says who is in it."""
        self.serve({**self._service.handlers(), **reach_handler(self._catalog)})
        if self._releasing is None:
            self._releasing = Releasing(
                self.env, self.backends.coordination, self._catalog, self.node_id, self._used,
                self.config.lease_seconds,
            )  # fmt: skip
        self.members.register(self.kind, self.address, labels=labels_of(os.environ))
        self._timer = self.env.tasks.every(LOOK_SECONDS, self._look, "owners of segments")

    def _used(self) -> frozenset[str]:
        """The objects of what it holds."""
        return frozenset(name for meta in self._service.metas for name in meta.objects)

    def _wanted_soon(self, meta: SegmentMeta) -> None:
        """Bring the objects of a segment that is about to be opened: what is small and asked first before the rows."""
        if self._cache is not None:
            files = sorted(meta.indexes, key=lambda file: file.size)
            self._cache.fetch_soon([name for name in (meta.order_object, *(f.object for f in files)) if name])
            self._cache.fetch_soon([meta.rows_object])

    def _let_go(self, metas: Iterable[SegmentMeta]) -> None:
        if self._cache is not None:
            for meta in metas:
                self._cache.let_go(meta.objects)

    def _look(self) -> None:
        if self.members.is_alive:  # else it may not know who is there
            self._service.forget_owners(node.node_id for node in self.members.nodes("streaming"))

    # -- how it does ----------------------------------------------------------------------------
    @property
    def held(self) -> tuple[int, ...]:
        """The segments that it holds."""
        return self._service.segment_ids

    def health(self) -> tuple[str, ...]:
        """What is wrong; nothing when all is well."""
        if self._timer is None:
            return (f"query node {self.node_id} is not started",)
        cache = () if self._cache is None else self._cache.health()
        return (*self.members.health(), *cache)

    def figures(self) -> Iterator[Figure]:
        yield from super().figures()
        yield Figure("redkite_segments_held", "Segments that this node serves.", len(self.held))
        held = frozenset(self.held)
        here = [meta for meta in self._service.metas if meta.segment_id in held]
        pieces = (Piece(m.collection_id, m.rows, m.size + sum(file.size for file in m.indexes)) for m in here)
        yield from segments_of(self.node_id, "Sealed", pieces)
        yield Figure("redkite_segments_pruned_total", "Segments that reads left out.", self.node.pruned, (), "counter")
        yield from read_steps(self.node_id, self.node.times)
        if self._cache is not None:
            yield from cache_of(self._cache.figures())

    def drain(self, seconds: float = DRAIN_SECONDS) -> None:
        """Have owners move what is here to other nodes, and come back when nobody counts on it any more. Raises
        Unavailable when that takes longer, as it does for ever where there is no other node. Reads are answered until
        `close`."""
        self.members.drain()
        self._service.refuse(f"query node {self.node_id} is being drained")
        until = self.env.clock.monotonic() + seconds
        while self._service.is_asked_for:
            left = until - self.env.clock.monotonic()
            if left <= 0:
                raise Unavailable(
                    f"query node {self.node_id} still serves {len(self._service.segment_ids)} segments: no other node "
                    f"has taken them within {seconds:g} s"
                )
            self._pause(min(DRAIN_LOOK_SECONDS, left))

    def _pause(self, seconds: float) -> None:
        try:
            self.env.tasks.future().exception(seconds)
        except TimeoutError:
            return

    def ends(self) -> Iterable[Callable[[], object]]:
        """Its record goes first, so that nobody asks it any more."""
        parts: tuple[Callable[[], object] | None, ...] = (
            None if self._timer is None else self._timer.cancel,
            self.members.close,
            self.stop_serving,
            None if self._releasing is None else self._releasing.close,
            self._service.close,
            None if self._cache is None else self._cache.close,
        )
        return [part for part in parts if part is not None]
