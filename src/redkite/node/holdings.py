"""The sealed segments of one shard: where their keys are, which of their rows are deleted, which nodes serve them.

The shard calls what changes them under the lock that guards its view. Opening segments on nodes takes long and is done
outside of it; `placing` is held by who does that with segments that are held already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.loads import QueryCoordinator
from redkite.coordinator.meta import CollectionMeta
from redkite.coordinator.placing import Move, Piece, cost_of, placed
from redkite.env import away
from redkite.errors import MilvusException, Unavailable
from redkite.logs import get_logger
from redkite.model.schema import CollectionSchema
from redkite.model.segments import IndexFile, LoadEntry, SegmentMeta
from redkite.node.copies import Copies, DistantPeer, DistantPeers, Local, Placement
from redkite.node.face import Answer
from redkite.node.peers import QueryPeer
from redkite.segment.deletes import Deletes, RowNumbers
from redkite.segment.files import open_deletes, open_keys
from redkite.segment.keys import Key, SealedKeys
from redkite.storage.objects import ObjectStore

if TYPE_CHECKING:
    from redkite.segment.compaction import MadeSegment


log = get_logger(__name__)


class Copy(NamedTuple):
    """A segment as one node serves it for one replica."""

    peer: QueryPeer
    cost: int
    """What it was counted as when it was placed."""


class Holding:
    """What the shard keeps of one sealed segment."""

    __slots__ = ("_keys", "copies", "deletes", "meta", "saved_version")

    def __init__(self, meta: SegmentMeta, deletes: Deletes, saved_version: int, keys: SealedKeys | None = None) -> None:
        """`keys`: where they are, if that is known; else the store is asked when somebody wants to know."""
        self.meta = meta
        self.deletes = deletes
        self.saved_version = saved_version
        """Of the deletes in the object store; another version wants saving."""
        self.copies: Mapping[int, Copy] = {}
        """By replica; replaced as a whole, so that it can be looked at without a lock."""
        self._keys = keys

    @property
    def peers(self) -> list[QueryPeer]:
        """The nodes that serve it."""
        return [copy.peer for copy in self.copies.values()]

    @property
    def piece(self) -> Piece:
        """It as placement sees it."""
        on = {replica: copy.peer.node_id for replica, copy in self.copies.items()}
        return Piece(self.meta.segment_id, cost_of(self.meta), on)

    @property
    def is_saved(self) -> bool:
        return self.deletes.version == self.saved_version

    def find(self, keys: Sequence[Key], store: ObjectStore, schema: CollectionSchema) -> RowNumbers:
        """Rows of these keys, deleted ones included."""
        if self._keys is None:
            self._keys = open_keys(store, self.meta, schema)
        return self._keys.find(keys)


@dataclass(slots=True)
class Opening:
    """A segment that is opened on a node, and the one that served it until then."""

    holding: Holding
    replica: int
    node: int
    meta: SegmentMeta
    """As it is opened; indexes may come meanwhile."""
    copy: Copy | None = None
    """Once it is open."""

    @property
    def key(self) -> tuple[int, int]:
        """(segment, replica)"""
        return self.meta.segment_id, self.replica


class Holdings:
    """By segment id. `sealed_rows` and `unindexed` are counts that every read asks for."""

    def __init__(
        self, store: ObjectStore, data: DataCoordinator, loads: QueryCoordinator, peers: Mapping[int, QueryPeer]
    ) -> None:
        self._store = store
        self._data = data
        self._loads = loads
        self._peers = peers
        self._held: dict[int, Holding] = {}
        self.placing = Lock()
        """Held by who decides which nodes serve what is held."""
        self._flying: dict[tuple[int, int], Future[None] | None] = {}
        """(segment, replica) of what is being opened, and who tells when it was; under `placing`."""
        self.sealed_rows = 0
        self.unindexed = 0

    def recover(self, metas: Iterable[SegmentMeta]) -> None:
        for meta in metas:
            deletes = open_deletes(self._store, meta)
            self._held[meta.segment_id] = Holding(meta, deletes, deletes.version)

    def __iter__(self) -> Iterator[Holding]:
        return iter(self._held.values())

    def __contains__(self, segment_id: int) -> bool:
        return segment_id in self._held

    def get(self, segment_id: int) -> Holding | None:
        return self._held.get(segment_id)

    def ids(self) -> list[int]:
        return list(self._held)

    def add(self, holding: Holding) -> None:
        self._held = {**self._held, holding.meta.segment_id: holding}

    def remove(self, segment_ids: Iterable[int]) -> list[Holding]:
        """Forget segments. Their nodes still serve them: `release` them once no new read can ask for them."""
        gone = set(segment_ids)
        removed = [h for i, h in self._held.items() if i in gone]
        self._held = {i: h for i, h in self._held.items() if i not in gone}
        return removed

    def refresh(self, metas: Iterable[SegmentMeta]) -> None:
        """Take over what the catalog says now of the segments held."""
        for meta in metas:
            holding = self._held.get(meta.segment_id)
            if holding is not None:
                holding.meta = meta

    # -- deletes --------------------------------------------------------------------------------
    def delete(self, keys: list[Key], timestamp: int, schema: CollectionSchema) -> None:
        """Mark the rows of these keys deleted, here and on the nodes that serve them."""
        for holding in self._held.values():
            rows = holding.find(keys, self._store, schema)
            if len(rows) and holding.deletes.mark(rows, timestamp, holding.meta.rows) and holding.copies:
                stamps = np.full(len(rows), timestamp, np.uint64)
                for peer in holding.peers:
                    peer.apply_deletes(holding.meta.segment_id, rows, stamps)

    def carry_deletes(self, made: MadeSegment) -> None:
        """Mark in a segment that was made of others what has been deleted in those."""
        for source, moved in made.origin:
            holding = self.get(source)
            if holding is not None:
                rows, stamps = holding.deletes.entries()
                places = moved[rows]
                kept = places >= 0
                made.deletes.merge(places[kept], stamps[kept], made.meta.rows)

    def all_saved(self) -> bool:
        return all(h.is_saved for h in self._held.values())

    # -- placement ------------------------------------------------------------------------------
    @property
    def peers(self) -> Mapping[int, QueryPeer]:
        """The query nodes there are."""
        return self._peers

    def entry(self, collection_id: int) -> LoadEntry | None:
        """What is loaded of the collection, and where."""
        return self._loads.entry(collection_id)

    @property
    def weights(self) -> Mapping[int, int]:
        """What each node serves, as costs of segments."""
        return self._loads.weights

    @property
    def sizes(self) -> Mapping[int, float]:
        """How much larger each node is than others."""
        return self._loads.sizes

    def replicas_of(self, collection_id: int) -> Mapping[int, tuple[int, ...]]:
        """The nodes of each replica."""
        return self._loads.replicas_for(collection_id)

    def is_wanted(self, meta: SegmentMeta) -> bool:
        entry = self._loads.entry(meta.collection_id)
        return entry is not None and entry.covers(meta.partition_id)

    def unserved(self) -> list[Holding]:
        """Those that are loaded by now and that no node serves."""
        return [h for h in self._held.values() if not h.copies and self.is_wanted(h.meta)]

    def unwanted(self) -> list[Holding]:
        """Those that are served although they are not loaded any more."""
        return [h for h in self._held.values() if h.copies and not self.is_wanted(h.meta)]

    def serve_wanted(self, fresh: Iterable[Holding], collection: CollectionMeta) -> None:
        """Open segments that no node serves yet, before the view that names them is published."""
        openings, _ = self._planned([h for h in fresh if self.is_wanted(h.meta)], collection.collection_id)
        failed = self.open(openings, collection)
        for opening in openings:
            if opening.copy is not None:
                opening.holding.copies = {**opening.holding.copies, opening.replica: opening.copy}
        if failed is not None:
            if not isinstance(self._peers, DistantPeers):
                raise failed
            # Another machine's trouble is no reason to fail a flush. Readers are told until it is placed.
            log.warning("segments are not served yet: %s", failed.message)

    def changes(self, collection_id: int) -> tuple[list[Opening], list[tuple[Holding, int]]]:
        """What is to be opened so that every segment that is loaded is served for every replica, and the copies (their
        replicas) that nothing comes in the place of. What is being opened is left out; what is opened now counts as
        that until `landed`."""
        openings, closed = self._planned([h for h in self._held.values() if self.is_wanted(h.meta)], collection_id)
        mine = [opening for opening in openings if opening.key not in self._flying]
        self._take_off(mine)
        return mine, closed

    def _take_off(self, openings: Sequence[Opening]) -> None:
        landing = self._peers.env.tasks.future() if isinstance(self._peers, DistantPeers) else None
        self._flying.update({opening.key: landing for opening in openings})

    def wait_landed(self) -> None:
        """Wait for what others are opening, so that what is loaded is served as far as it can be; not for ever."""
        if not isinstance(self._peers, DistantPeers):
            return  # nobody places but who holds the shard's locks
        with self.placing:
            landings = {landing for landing in self._flying.values() if landing is not None}
        for landing in landings:
            with suppress(TimeoutError), away():
                landing.exception(self._peers.policy.seconds)

    def landed(self, openings: Iterable[Opening]) -> None:
        """These were opened, or were not."""
        with self.placing:
            ended = {future for opening in openings if (future := self._flying.pop(opening.key, None)) is not None}
        for landing in ended:
            landing.set_result(None)

    def _planned(
        self, wanted: Sequence[Holding], collection_id: int
    ) -> tuple[list[Opening], list[tuple[Holding, int]]]:
        if not wanted:
            return [], []
        loads, pieces = self._loads, [holding.piece for holding in wanted]
        plan = placed(pieces, loads.replicas_for(collection_id), loads.weights, loads.sizes)
        if plan.is_empty:
            return [], []
        by_id = {h.meta.segment_id: h for h in wanted}
        openings = [
            Opening(by_id[segment], replica, node, by_id[segment].meta)
            for segment, nodes in plan.opened.items()
            for replica, node in nodes.items()
        ]
        # What is opened anew for the same replica takes the place of the old copy by itself.
        closed = [
            (by_id[segment], replica)
            for segment, nodes in plan.closed.items()
            for replica in nodes
            if replica not in plan.opened.get(segment, {})
        ]
        return openings, closed

    def moves(self, moves: Iterable[Move]) -> list[Opening]:
        """What is to be opened for moves of segments that are still held, and served where they are said to be. It
        counts as being opened until `landed`."""
        found = []
        for move in moves:
            holding = self._held.get(move.segment_id)
            copy = None if holding is None else holding.copies.get(move.replica)
            if holding is None or copy is None or copy.peer.node_id != move.source:
                continue
            opening = Opening(holding, move.replica, move.target, holding.meta)
            free = all(peer.node_id != move.target for peer in holding.peers) and move.target in self._peers
            if free and opening.key not in self._flying:
                found.append(opening)
        self._take_off(found)
        return found

    def open(self, openings: Sequence[Opening], collection: CollectionMeta) -> MilvusException | None:
        """Open segments on the nodes they are to be on, on several nodes at once. One that cannot be reached is passed
        over. Deletes that come meanwhile are sent by `take` or `catch_up`. Returns what one of the others raised."""
        indexes = self._data.indexes(collection.collection_id)
        begun: list[tuple[Opening, Copy, Answer[list[IndexFile]]]] = []
        failed: MilvusException | None = None
        for opening in openings:
            peer = self._peers.get(opening.node)
            if peer is None:
                continue  # gone since it was chosen
            copy = Copy(peer, cost_of(opening.meta))
            self._loads.add(opening.node, copy.cost)
            entries = opening.holding.deletes.entries()
            begun.append((opening, copy, peer.load_soon(opening.meta, collection.schema, entries, indexes)))
        try:
            while begun:
                opening, copy, answer = begun.pop(0)
                failed = self._opened(opening, copy, answer) or failed
        except BaseException:
            for opening, copy, _ in begun:
                self._loads.add(opening.node, -copy.cost)
            raise
        return failed

    def _opened(self, opening: Opening, copy: Copy, answer: Answer[list[IndexFile]]) -> MilvusException | None:
        """Note how an opening ended; the error that it ended with."""
        try:
            damaged = answer()
        except Unavailable as error:
            self._loads.add(opening.node, -copy.cost)
            log.warning("segment %d is not served by node %d: %s", opening.meta.segment_id, opening.node, error.message)
            if isinstance(self._peers, DistantPeers) and isinstance(copy.peer, DistantPeer):
                self._peers.has_failed(copy.peer, error)
            return None
        except MilvusException as error:
            self._loads.add(opening.node, -copy.cost)
            return error
        except BaseException:
            self._loads.add(opening.node, -copy.cost)
            raise
        opening.copy = copy
        holding, collection_id = opening.holding, opening.meta.collection_id
        for file in damaged:
            known = self._data.forget_index_file(collection_id, holding.meta.segment_id, file)
            holding.meta = known or holding.meta
        return None

    def take(self, openings: Iterable[Opening]) -> list[tuple[Holding, Copy]]:
        """Have what was opened serve from now on, brought up to date; the copies that it takes the place of, those of
        segments that are not held any more, and those of nodes that went meanwhile: who comes again under the number of
        one is somebody else."""
        gone = []
        for opening in openings:
            copy, holding = opening.copy, opening.holding
            if copy is None:
                continue
            is_held = self._held.get(holding.meta.segment_id) is holding and self.is_wanted(holding.meta)
            if not is_held or self._peers.get(copy.peer.node_id) is not copy.peer:
                gone.append((holding, copy))
                continue
            if holding.deletes.count:
                copy.peer.apply_deletes(holding.meta.segment_id, *holding.deletes.entries())
            self._attach_newer(opening, copy.peer)
            before = holding.copies.get(opening.replica)
            if before is not None:
                gone.append((holding, before))
            holding.copies = {**holding.copies, opening.replica: copy}
        return gone

    def drop_copies(self, closed: Iterable[tuple[Holding, int]]) -> list[tuple[Holding, Copy]]:
        """Have replicas served no more; the copies."""
        gone = []
        for holding, replica in closed:
            copy = holding.copies.get(replica)
            if copy is not None:
                gone.append((holding, copy))
                holding.copies = {r: c for r, c in holding.copies.items() if r != replica}
        return gone

    def lose(self, node: int, former: QueryPeer | None = None) -> bool:
        """A node is gone, and its copies with it; whether there were any. `former`: only those of this one, of which
        another may have the number by now."""
        lost = False
        for holding in self._held.values():
            of_node = {r: c for r, c in holding.copies.items() if c.peer.node_id == node}
            gone = {r: c for r, c in of_node.items() if former is None or c.peer is former}
            for copy in gone.values():
                self._loads.add(node, -copy.cost)
            if gone:
                lost = True
                holding.copies = {r: c for r, c in holding.copies.items() if r not in gone}
        return lost

    def forget_copies(self, node: int, segment_ids: Iterable[int]) -> bool:
        """A node says that it does not hold these segments; whether it was thought to."""
        lost = False
        for segment_id in segment_ids:
            holding = self._held.get(segment_id)
            for replica, copy in dict({} if holding is None else holding.copies).items():
                if copy.peer.node_id == node and holding is not None:
                    lost = True
                    self._loads.add(node, -copy.cost)
                    holding.copies = {r: c for r, c in holding.copies.items() if r != replica}
        return lost

    def _attach_newer(self, opening: Opening, peer: QueryPeer) -> None:
        """Indexes that were built while the segment was opened."""
        now = opening.holding.meta
        known = {i.index_id: i for i in self._data.indexes(now.collection_id)}
        for file in now.indexes:
            if file not in opening.meta.indexes and file.index_id in known:
                peer.attach_index(now.segment_id, known[file.index_id], file)

    @staticmethod
    def catch_up(holding: Holding) -> None:
        """Send all deletes once more; those known already are passed over."""
        if holding.deletes.count:
            for peer in holding.peers:
                peer.apply_deletes(holding.meta.segment_id, *holding.deletes.entries())

    def release(self, holdings: Iterable[Holding]) -> None:
        """Take segments from their nodes, after a view without them was published."""
        gone = []
        for holding in holdings:
            copies, holding.copies = holding.copies, {}
            gone += [(holding, copy) for copy in copies.values()]
        self.close(gone)

    def close(self, gone: Iterable[tuple[Holding, Copy]]) -> None:
        """Take copies from their nodes, after a view without them was published. What is served by the same node
        otherwise stays there."""
        by_peer: dict[int, tuple[QueryPeer, list[int]]] = {}
        for holding, copy in gone:
            self._loads.add(copy.peer.node_id, -copy.cost)
            held = self._held.get(holding.meta.segment_id)
            if held is None or all(peer is not copy.peer for peer in held.peers):
                by_peer.setdefault(copy.peer.node_id, (copy.peer, []))[1].append(holding.meta.segment_id)
        for peer, segment_ids in by_peer.values():
            peer.release_segments(segment_ids)

    def placements(self, collection_id: int) -> Local | Copies:
        """Which node serves what, of the segments that are loaded."""
        entry = self._loads.entry(collection_id)  # looked at first: what changes meanwhile is noticed by the next read
        wanted = [h for h in self._held.values() if self.is_wanted(h.meta)]
        if isinstance(self._peers, DistantPeers):
            return Copies(self._peers, entry, [(h.meta, tuple(h.peers)) for h in wanted])
        by_peer: dict[QueryPeer | None, list[Holding]] = {}
        for holding in wanted:
            by_peer.setdefault(next((copy.peer for copy in holding.copies.values()), None), []).append(holding)
        return Local(
            entry,
            [
                Placement(
                    peer,
                    tuple((h.meta.partition_id, h.meta.segment_id) for h in held),
                    tuple(h.meta.segment_id for h in held),
                )
                for peer, held in by_peer.items()
            ],
        )

    def count(self, collection_id: int) -> None:
        """Bring the counts up to date."""
        ids = [i.index_id for i in self._data.indexes(collection_id) if not i.spec.is_scalar]
        metas = [h.meta for h in self._held.values()]
        self.sealed_rows = sum(m.rows for m in metas)
        self.unindexed = sum(m.rows for m in metas if not any(m.index(i) for i in ids))
