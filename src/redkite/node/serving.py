"""How a shard has its sealed segments served: placed on query nodes, read there, moved, placed anew."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from math import inf
from threading import Lock

from redkite.coordinator.meta import CollectionMeta
from redkite.coordinator.placing import Move, Piece, placed
from redkite.env import away
from redkite.errors import CollectionNotLoaded, MilvusException, SegmentGone, Unavailable
from redkite.logs import get_logger
from redkite.model.segments import ChannelState, SegmentMeta
from redkite.node.asked import Held, P
from redkite.node.copies import DistantPeer, DistantPeers, NotServed
from redkite.node.holdings import Holdings, Opening
from redkite.node.measured import Measured
from redkite.node.view import ShardView
from redkite.query.plan import QueryPlan, SearchPlan
from redkite.segment.growing import GrowingSegment

log = get_logger(__name__)

TOGETHER = 64
"""Segments that are opened at a time."""
PAUSE_SECONDS = 0.1
"""Between two looks for nodes that can serve what nobody serves."""


class Serving(Measured):
    """The part of a shard that knows query nodes."""

    collection: CollectionMeta
    _apply: Lock
    _flushing: Lock
    _state: ChannelState
    _sealed: Holdings
    _dropped: bool
    _mending: bool
    """The log is being applied anew: what is growing is not whole meanwhile."""
    trouble: str = ""
    """Why segments could not be opened the last time; empty: they could, or their nodes did not answer."""

    @abstractmethod
    def build_all(self) -> None: ...

    # -- placement ------------------------------------------------------------------------------
    def reload(self) -> None:
        """Follow the collection's load state: place what is loaded, take away what is not."""
        with self._flushing:
            self.place()
        self._sealed.wait_landed()
        self.build_all()

    def place(self) -> None:
        """The same without the builds, and also while rows are being sealed: what nodes served that are gone is served
        by others afterwards. What somebody else is opening already is left to him. Of a shard that was left nothing is
        opened any more."""
        if self._dropped:
            return
        sealed = self._sealed
        with sealed.placing:
            openings, closed = sealed.changes(self.collection.collection_id)
        with self._apply:
            gone = sealed.drop_copies(closed)
            unwanted = sealed.unwanted()
            self._publish()
        sealed.close(gone)
        sealed.release(unwanted)
        self._bring(openings)

    def _bring(self, openings: Sequence[Opening]) -> None:
        """Open segments, some at a time, and have each lot serve as soon as it is there. Raises the first error when
        all were tried."""
        failed: MilvusException | None = None
        sealed = self._sealed
        try:
            for at in range(0, len(openings), TOGETHER):
                some = openings[at : at + TOGETHER]
                failed = sealed.open(some, self.collection) or failed
                with self._apply:
                    gone = sealed.take(some)
                    self._publish()
                sealed.close(gone)
        finally:
            sealed.landed(openings)
        self.trouble = "" if failed is None else failed.message
        if failed is not None:
            raise failed

    def move(self, moves: Sequence[Move]) -> int:
        """Have other nodes serve segments, without a moment in which none does; returns how many were moved."""
        with self._sealed.placing:
            openings = self._sealed.moves(moves)
        self._bring(openings)
        return sum(opening.copy is not None for opening in openings)

    def clear_node(self, source: int, targets: tuple[int, ...], segments: tuple[int, ...]) -> int:
        """Have others of its replica (empty `targets`: any) serve segments (empty: all) that a query node serves; how
        many were moved."""
        wanted = frozenset(segments)
        pieces = [p for p in self.pieces() if source in p.on.values() and (not wanted or p.segment_id in wanted)]
        replicas = self._sealed.replicas_of(self.collection.collection_id)
        able = {
            replica: tuple(n for n in nodes if n != source and (not targets or n in targets))
            for replica, nodes in replicas.items()
            if source in nodes
        }
        away = [Piece(p.segment_id, p.cost, {r: n for r, n in p.on.items() if r in able}) for p in pieces]
        plan = placed(away, able, self._sealed.weights, self._sealed.sizes)
        moves = [
            Move(segment, replica, source, node)
            for segment, nodes in plan.opened.items()
            for replica, node in nodes.items()
        ]
        return self.move(moves)

    def lose(self, node: int, segment_ids: Iterable[int] | None = None) -> None:
        """A query node is gone, or these segments with it: it is not asked for them any more."""
        with self._apply:
            lost = self._sealed.lose(node) if segment_ids is None else self._sealed.forget_copies(node, segment_ids)
            if lost:
                self._publish()

    def lose_former(self, peer: DistantPeer) -> None:
        """This one is gone, and may be counted on all the same: it went while the shard was being opened."""
        with self._apply:
            if not self._sealed.lose(peer.node_id, peer):
                return
            self._publish()
        if isinstance(self._sealed.peers, DistantPeers):
            self._sealed.peers.place_soon(self)

    def pieces(self) -> list[Piece]:
        """The segments that are served, as placement sees them."""
        with self._apply:
            return [holding.piece for holding in self._sealed if holding.copies]

    def held_metas(self) -> list[SegmentMeta]:
        """The sealed segments, as the shard reads them."""
        with self._apply:
            return [holding.meta for holding in self._sealed]

    def short(self) -> int:
        """Segments that are loaded and lack a node for one of their replicas."""
        with self._apply:
            wanted = len(self._sealed.replicas_of(self.collection.collection_id))
            return sum(len(h.copies) < wanted for h in self._sealed if self._sealed.is_wanted(h.meta))

    def _publish(self, timestamp: int | None = None) -> None:
        """Have reads see what there is now. `timestamp`: of what came just now, when it is in no record of the log."""
        placements = self._sealed.placements(self.collection.collection_id)
        # While the log is applied anew what is growing is not whole: reads keep what they had.
        growing = self.view.growing if self._mending else self._growing_now()
        newest = self.view.timestamp if timestamp is None else timestamp
        self.view = ShardView(newest, growing, placements, self._state.readable_from)
        self._sealed.count(self.collection.collection_id)

    # -- reads ----------------------------------------------------------------------------------
    def read_view(
        self,
        plan: SearchPlan | QueryPlan,
        timestamp: int | None,
        here: Callable[[list[GrowingSegment], int], P],
        there: Callable[[tuple[int, ...], int], Held[P]],
    ) -> tuple[int, list[P]]:
        """Read the newest view; see `ShardView.read`. When segments are swapped or placed anew meanwhile, once more."""
        until: float | None = None
        while True:
            view = self._view_now(plan)
            try:
                return view.read(self.collection.name, plan, timestamp, here, there)
            except SegmentGone:
                if view is self.view:
                    raise CollectionNotLoaded.named(self.collection.name) from None
                # Else segments were swapped for others after the view was taken.
            except NotServed as error:
                until = self._served_again(view, error, until)

    def _view_now(self, plan: SearchPlan | QueryPlan) -> ShardView:
        """The newest view. One that was made when less was loaded is made anew: it would not even know that segments
        are missing. Raises CollectionNotLoaded where what is to be read has been released since the plan was made."""
        view = self.view
        entry = self._sealed.entry(self.collection.collection_id)
        if view.placements.entry is not entry:
            with self._apply:
                self._publish()
            view = self.view
            entry = view.placements.entry
        if entry is None or not entry.covers_all(plan.partitions):
            raise CollectionNotLoaded.named(self.collection.name)
        return view

    def _served_again(self, view: ShardView, error: NotServed, until: float | None) -> float:
        """Come back when it is worth to read again; returns until when that goes on. Raises Unavailable after that."""
        peers = self._sealed.peers
        if not isinstance(peers, DistantPeers):
            if until is not None:
                raise error
            with self._flushing:  # whoever loads them now is waited for
                self.place()  # raises why they cannot be opened
            return inf
        if self._sealed.entry(self.collection.collection_id) is None:
            raise CollectionNotLoaded.named(self.collection.name) from None
        if until is not None:
            peers.pause(PAUSE_SECONDS)  # what was placed since did not help: looking again at once would not, either
        now = peers.env.clock.monotonic()
        until = now + peers.policy.seconds if until is None else until
        if now < until and view is not self.view:
            return until
        if now < until:
            with suppress(TimeoutError), away():
                peers.place_soon(self).exception(until - now)
                return until
        why = f"{error.message}; {self.trouble}" if self.trouble else error.message
        raise Unavailable(f"collection {self.collection.name}: {why}") from None
