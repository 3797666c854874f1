"""Who takes how much memory, and how much disk? Tells a user of the collections that it may see."""

from __future__ import annotations

from collections.abc import Iterator

from redkite.coordinator.meta import CollectionMeta
from redkite.model.usage import CollectionMemory, CollectionStorage, MemoryReport, StorageReport
from redkite.node.topology import Topology


class Usage:
    """Opens nothing: of a collection whose shards are closed it tells what the catalog knows."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology

    def memory(self, user: str) -> MemoryReport:
        memory = self._topology.memory
        holders = memory.usage()
        collections = tuple(self._loaded(user))
        return MemoryReport(limit=memory.limit, used=sum(holders.values()), holders=holders, collections=collections)

    def storage(self, user: str) -> StorageReport:
        collections = tuple(self._stored(meta) for meta in self._seen(user))
        return StorageReport(collections=collections, garbage_objects=self._topology.garbage.waiting)

    def _seen(self, user: str) -> Iterator[CollectionMeta]:
        metas = self._topology.root.all_collections()
        if not user or (permissions := self._topology.access.permissions(user)).everything:
            yield from metas
        else:
            yield from (meta for meta in metas if permissions.sees(meta.database, meta.name))

    def _loaded(self, user: str) -> Iterator[CollectionMemory]:
        topology = self._topology
        for meta in self._seen(user):
            if topology.loads.entry(meta.collection_id) is None:
                continue
            shards = topology.open_shards(meta)
            growing = [facts for shard in shards for facts in shard.growing()]
            mapped = []
            for shard in shards:
                held = {segment.segment_id: segment for segment in shard.segments()}
                mapped += [held[i] for served in shard.served() for i in served.segment_ids if i in held]
            yield CollectionMemory(
                database=meta.database,
                collection=meta.name,
                growing_rows=sum(facts.rows for facts in growing),
                growing_bytes=sum(facts.memory for facts in growing),
                mapped_rows=sum(segment.rows for segment in mapped),
                mapped_bytes=sum(segment.size + sum(file.size for file in segment.indexes) for segment in mapped),
            )

    def _stored(self, meta: CollectionMeta) -> CollectionStorage:
        segments = self._topology.data.segments(meta.collection_id)
        return CollectionStorage(
            database=meta.database,
            collection=meta.name,
            segments=len(segments),
            rows=sum(segment.rows for segment in segments),
            deleted_rows=sum(segment.deleted_rows for segment in segments),
            column_bytes=sum(segment.size for segment in segments),
            index_bytes=sum(file.size for segment in segments for file in segment.indexes),
            delete_bytes=sum(segment.deletes_size for segment in segments),
            reclaimable_bytes=sum(s.size * s.deleted_rows // max(s.rows, 1) for s in segments),
        )
