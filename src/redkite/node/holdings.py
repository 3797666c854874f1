"""The sealed segments of one shard: where their keys are, which of their rows are deleted, which node serves them.

Nothing here locks: the shard calls it under the lock that guards its view.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.loads import QueryCoordinator
from redkite.coordinator.meta import CollectionMeta
from redkite.model.schema import CollectionSchema
from redkite.model.segments import SegmentMeta
from redkite.node.peers import QueryPeer
from redkite.node.view import Placement
from redkite.segment.deletes import Deletes, RowNumbers
from redkite.segment.files import open_deletes, open_keys
from redkite.segment.keys import Key, SealedKeys
from redkite.storage.objects import ObjectStore

if TYPE_CHECKING:
    from redkite.segment.compaction import MadeSegment


class Holding:
    """What the shard keeps of one sealed segment."""

    __slots__ = ("_keys", "deletes", "meta", "peer", "saved_version")

    def __init__(self, meta: SegmentMeta, deletes: Deletes, saved_version: int) -> None:
        self.meta = meta
        self.deletes = deletes
        self.saved_version = saved_version
        """Of the deletes in the object store; another version wants saving."""
        self.peer: QueryPeer | None = None
        self._keys: SealedKeys | None = None

    @property
    def is_saved(self) -> bool:
        return self.deletes.version == self.saved_version

    def find(self, keys: Sequence[Key], store: ObjectStore, schema: CollectionSchema) -> RowNumbers:
        """Rows of these keys, deleted ones included."""
        if self._keys is None:
            self._keys = open_keys(store, self.meta, schema)
        return self._keys.find(keys)


class Holdings:
    """By segment id. `sealed_rows` and `unindexed` are counts that every read asks for."""

    def __init__(
        self, store: ObjectStore, data: DataCoordinator, loads: QueryCoordinator, peers: dict[int, QueryPeer]
    ) -> None:
        self._store = store
        self._data = data
        self._loads = loads
        self._peers = peers
        self._held: dict[int, Holding] = {}
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
            if len(rows) and holding.deletes.mark(rows, timestamp, holding.meta.rows) and holding.peer is not None:
                stamps = np.full(len(rows), timestamp, np.uint64)
                holding.peer.apply_deletes(holding.meta.segment_id, rows, stamps)

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
    def unserved(self) -> list[Holding]:
        """Those that are loaded by now and that no node serves."""
        return [h for h in self._held.values() if h.peer is None and self.is_wanted(h.meta)]

    def unwanted(self) -> list[Holding]:
        """Those that are served although they are not loaded any more."""
        return [h for h in self._held.values() if h.peer is not None and not self.is_wanted(h.meta)]

    def serve_wanted(self, fresh: Iterable[Holding], collection: CollectionMeta) -> None:
        """Open segments on query nodes before the view that names them is published."""
        for holding in fresh:
            if self.is_wanted(holding.meta):
                self.serve(holding, collection)

    def serve(self, holding: Holding, collection: CollectionMeta) -> None:
        """Put a segment on the node that has most room. Deletes that come meanwhile are sent by `catch_up`."""
        peer = self._peers[self._loads.place(holding.meta.rows)]
        indexes = self._data.indexes(collection.collection_id)
        try:
            damaged = peer.load_segment(holding.meta, collection.schema, holding.deletes.entries(), indexes)
        except BaseException:
            self._loads.unplace(peer.node_id, holding.meta.rows)
            raise
        holding.peer = peer
        for file in damaged:
            holding.meta = (
                self._data.forget_index_file(collection.collection_id, holding.meta.segment_id, file) or holding.meta
            )

    def is_wanted(self, meta: SegmentMeta) -> bool:
        entry = self._loads.entry(meta.collection_id)
        return entry is not None and entry.covers(meta.partition_id)

    @staticmethod
    def catch_up(holding: Holding) -> None:
        """Send all deletes once more; those known already are passed over."""
        if holding.peer is not None and holding.deletes.count:
            holding.peer.apply_deletes(holding.meta.segment_id, *holding.deletes.entries())

    def release(self, holdings: Iterable[Holding]) -> None:
        """Take segments from their nodes, after a view without them was published. One that was opened anew on the same
        node meanwhile stays there."""
        for holding in holdings:
            if holding.peer is not None:
                self._loads.unplace(holding.peer.node_id, holding.meta.rows)
                held = self._held.get(holding.meta.segment_id, holding)
                if held is holding or held.peer is not holding.peer:
                    holding.peer.release_segments([holding.meta.segment_id])
                holding.peer = None

    def placements(self) -> tuple[Placement, ...]:
        """Which node serves what, of the segments that are loaded."""
        by_node: dict[int, list[Holding]] = {}
        for holding in self._held.values():
            if holding.peer is not None and self.is_wanted(holding.meta):
                by_node.setdefault(holding.peer.node_id, []).append(holding)
        return tuple(
            Placement(
                self._peers[node],
                tuple((h.meta.partition_id, h.meta.segment_id) for h in held),
                tuple(h.meta.segment_id for h in held),
            )
            for node, held in by_node.items()
        )

    def count(self, collection_id: int) -> None:
        """Bring the counts up to date."""
        ids = [i.index_id for i in self._data.indexes(collection_id) if not i.spec.is_scalar]
        metas = [h.meta for h in self._held.values()]
        self.sealed_rows = sum(m.rows for m in metas)
        self.unindexed = sum(m.rows for m in metas if not any(m.index(i) for i in ids))
