"""How much a shard holds."""

from __future__ import annotations

from threading import Lock

from redkite.model.timestamps import LOGICAL_BITS
from redkite.node.face import GrowingFacts, ServedSegments
from redkite.node.holdings import Holdings
from redkite.node.view import ShardView
from redkite.segment.growing import GrowingSegment


class Measured:
    """What can be counted of a shard: its growing segments by partition, and its sealed ones."""

    view: ShardView
    unflushed_since_ms: int | None
    _apply: Lock
    _growing: dict[int, GrowingSegment]
    _frozen: list[GrowingSegment]
    _sealed: Holdings

    def _growing_now(self) -> tuple[GrowingSegment, ...]:
        return (*self._frozen, *self._growing.values())

    def rows(self, partitions: frozenset[int] | None = None) -> int:
        """Rows alive, exactly."""
        with self._apply:
            growing = [(g.partition_id, g.rows, g.deletes) for g in self._growing_now()]
            sealed = [(h.meta.partition_id, h.meta.rows, h.deletes) for h in self._sealed]
            counted = (*growing, *sealed)
            return sum(rows - d.count for p, rows, d in counted if partitions is None or p in partitions)

    def unindexed_rows(self) -> int:
        """Rows that a search has to compare one by one."""
        return self._sealed.unindexed + self.growing_rows

    @property
    def row_slots(self) -> int:
        """Rows held, deleted ones included: what a filter has to look at."""
        return self._sealed.sealed_rows + self.growing_rows

    @property
    def growing_rows(self) -> int:
        return sum(g.rows for g in self.view.growing)

    def buffers(self) -> tuple[GrowingSegment, ...]:
        """The segments that are not sealed yet, oldest first, each with its `state`."""
        return self.view.growing

    def growing(self) -> tuple[GrowingFacts, ...]:
        """The segments that are not sealed yet and have rows, oldest first."""
        return tuple(
            GrowingFacts(g.segment_id, g.partition_id, g.rows, g.size, g.memory()) for g in self.view.growing if g.rows
        )

    def served(self) -> tuple[ServedSegments, ...]:
        """Which query nodes serve what is sealed and loaded."""
        placements = self.view.placements
        return tuple(ServedSegments(p.peer.node_id, p.all_ids) for p in placements if p.peer is not None)

    @property
    def newest(self) -> int:
        """Every write up to it can be read."""
        return self.view.timestamp

    @property
    def readable_from(self) -> int:
        """No read goes further back."""
        return self.view.readable_from

    def sealed_until(self, now_ms: int) -> int | None:
        """Milliseconds since 1970: what was written before is in sealed segments. None where that is not known, as of
        deletes that were read from the log at the start."""
        with self._apply:
            oldest = [int(g.timestamps(1)[0]) >> LOGICAL_BITS for g in self._growing_now() if g.rows]
            since, saved = self.unflushed_since_ms, self._sealed.all_saved()
        if since is None and not saved:
            return None
        return min([now_ms, *oldest, *([] if since is None else [since])])

    def growing_bytes(self) -> int:
        """Memory of the rows that are not sealed yet, about."""
        return sum(growing.memory() for growing in self.view.growing)

    def largest_growing(self) -> tuple[int, int]:
        """(rows, bytes) of the fullest segment that takes writes."""
        return max(((g.rows, g.size) for g in list(self._growing.values())), default=(0, 0))
