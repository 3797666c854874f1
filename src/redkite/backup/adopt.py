"""A new collection out of an image: the same segments under new ids. No row is inserted again.

First every object is brought and checked, then two commits make it known: the segments, then the collection's name. A
crash before the second leaves what the next open sweeps away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np

from redkite.backup.pieces import Piece, move, pieces_of
from redkite.coordinator.creation import virtual_channels
from redkite.coordinator.meta import CollectionMeta, PartitionMeta
from redkite.coordinator.snapshots import CollectionImage
from redkite.errors import MilvusException
from redkite.logs import get_logger
from redkite.model.segments import ChannelState, IndexMeta, SegmentMeta
from redkite.node.topology import Topology
from redkite.segment.deletes import Deletes
from redkite.segment.files import open_deletes, write_deletes

log = get_logger(__name__)

Fetch = Callable[[Piece, str], None]
"""Bring a piece under a name into the database's store. Raises Corruption when its bytes are not what they were."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """A collection whose objects are here and which nobody knows yet."""

    collection: CollectionMeta
    states: dict[str, ChannelState]
    segments: tuple[SegmentMeta, ...]
    indexes: tuple[IndexMeta, ...]


def image_bytes(image: CollectionImage) -> int:
    """What `bring` will fetch."""
    return sum(piece.size for segment in image.segments for piece in pieces_of(segment))


def bring(topology: Topology, image: CollectionImage, database: str, name: str, fetch: Fetch) -> Adoption:
    """Fetch the objects of a collection to be. After an error nothing of it is left."""
    collection = _renewed(topology, image.collection, database, name)
    indexes = _renewed_indexes(topology, image, collection)
    try:
        segments = tuple(_bring_segment(topology, image, collection, indexes, s, fetch) for s in image.segments)
    except BaseException:
        forget(topology, collection.collection_id)
        raise
    states = {
        new: ChannelState(readable_from=image.readable_from.get(old, 0))
        for old, new in zip(image.collection.channels, collection.channels, strict=True)
    }
    return Adoption(collection, states, segments, tuple(indexes.values()))


def commit(topology: Topology, made: Adoption) -> None:
    """Make the collection known. After an error nothing of it is left; raises StandbyMode where nothing may be changed
    any more."""
    collection = made.collection
    try:
        with topology.standing.change():
            topology.data.adopt(
                collection.collection_id, made.states, made.segments, made.indexes, collection.created_timestamp
            )
            topology.root.adopt_collection(collection)
    except MilvusException:
        topology.data.drop_collection(collection.collection_id, collection.channels)
        forget(topology, collection.collection_id)
        raise


def forget(topology: Topology, collection_id: int) -> None:
    """Remove the objects of a collection that did not come to be."""
    try:
        topology.store.delete_prefix(f"segments/{collection_id}/")
    except MilvusException:
        log.warning("objects of collection %d wait for the next open to be removed", collection_id, exc_info=True)


def _renewed(topology: Topology, old: CollectionMeta, database: str, name: str) -> CollectionMeta:
    oracle = topology.root.oracle
    collection_id = oracle.allocate_ids(1 + len(old.partitions))
    now = oracle.allocate()
    return msgspec.structs.replace(
        old,
        collection_id=collection_id,
        database=database,
        schema=msgspec.structs.replace(old.schema, name=name),
        channels=virtual_channels(collection_id, topology.root.pick_channels(len(old.channels))),
        partitions=tuple(
            PartitionMeta(name=p.name, partition_id=collection_id + 1 + i, created_timestamp=now)
            for i, p in enumerate(old.partitions)
        ),
        aliases=(),
        created_timestamp=now,
        update_timestamp=now,
    )


def _renewed_indexes(topology: Topology, image: CollectionImage, collection: CollectionMeta) -> dict[int, IndexMeta]:
    """By the old index id."""
    return {
        index.index_id: msgspec.structs.replace(
            index,
            index_id=topology.data.allocate_id(),
            collection_id=collection.collection_id,
            created_timestamp=collection.created_timestamp,
        )
        for index in image.indexes
    }


def _bring_segment(
    topology: Topology,
    image: CollectionImage,
    collection: CollectionMeta,
    indexes: dict[int, IndexMeta],
    segment: SegmentMeta,
    fetch: Fetch,
) -> SegmentMeta:
    moved = move(
        segment,
        topology.data.allocate_id(),
        collection.collection_id,
        collection.channels[image.collection.channels.index(segment.channel)],
        {
            old.partition_id: new.partition_id
            for old, new in zip(image.collection.partitions, collection.partitions, strict=True)
        },
        {old: index.index_id for old, index in indexes.items()},
    )
    for piece, name in moved.names:
        fetch(piece, name)
    return _without_later_deletes(topology, moved.segment, image.timestamp)


def _without_later_deletes(topology: Topology, segment: SegmentMeta, timestamp: int) -> SegmentMeta:
    """Deletes newer than the image are undone: their rows were alive at its moment."""
    deletes = open_deletes(topology.store, segment)
    if deletes.newest <= timestamp:
        return segment
    rows, stamps = deletes.entries()
    kept = stamps <= np.uint64(timestamp)
    topology.store.delete(segment.deletes_object)
    if not kept.any():
        return msgspec.structs.replace(segment, deletes_object="", deletes_size=0, deletes_crc=0, deleted_rows=0)
    earlier = Deletes.from_entries(rows[kept], stamps[kept], segment.rows)
    return segment.with_deletes(write_deletes(topology.store, segment, earlier))
