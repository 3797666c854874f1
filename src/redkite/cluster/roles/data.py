"""The data node: writes segments, builds indexes, compacts and imports for others, and keeps nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import ClassVar, Final

from redkite.cluster.config import Role
from redkite.cluster.figures import Figure
from redkite.cluster.import_work import reader_of
from redkite.cluster.roles.node import NodeRole
from redkite.cluster.work_node import WorkNode
from redkite.cluster.workbench import Workbench
from redkite.errors import Unavailable
from redkite.node.memory import MemoryBudget

DRAIN_SECONDS: Final = 600.0
"""How long a node that is drained goes on with what it has begun."""
_LOOK_SECONDS: Final = 0.1
_HANDS: Final = 2
"""Pieces of work at a time: a long one does not keep a short one waiting."""


class DataRole(NodeRole):
    """One data node. Others find it by its record, and send work while it has no wish to leave."""

    kind: ClassVar[Role] = "data"

    def make(self) -> None:
        env, settings = self.env, self.config.settings
        self.memory = MemoryBudget(env, settings.memory_limit, settings.memory_wait_seconds)
        threads = settings.threads or os.cpu_count() or 1
        store = self.backends.objects()
        reader = reader_of(env, store, self.memory, settings)
        self._node = WorkNode(self.node_id, env, store, threads, self.memory, self.network, reader)
        self.bench = Workbench(env, self.node_id, self._node.do, self._is_there, _HANDS)
        """What it does. Its `place` may be another than here."""

    def start(self) -> None:
        """Raises Unavailable when the address is taken, or nobody says who else there is."""
        self.join(self.bench.handlers())

    def _is_there(self, node_id: int) -> bool:
        return self.members.node(node_id) is not None

    def figures(self) -> Iterator[Figure]:
        yield from super().figures()
        yield Figure("redkite_work_pieces", "Pieces of work that were begun.", self.bench.pieces)

    def drain(self) -> None:
        """Take nothing new; come back when what was begun is done. Raises Unavailable when that takes too long."""
        self.members.drain()
        deadline = self.env.clock.monotonic() + DRAIN_SECONDS
        while pieces := self.bench.pieces:
            if self.env.clock.monotonic() >= deadline:
                raise Unavailable(
                    f"data node {self.node_id} still has {pieces} pieces of work after {DRAIN_SECONDS:g} s; others do "
                    "them again when it ends"
                )
            with suppress(TimeoutError):
                self.env.tasks.future().result(_LOOK_SECONDS)

    def ends(self) -> Iterable[Callable[[], object]]:
        """Stop what runs: whoever waits for it asks elsewhere."""
        return (self.bench.close, self._node.close, self.memory.close, self.members.close, self.stop_serving)
