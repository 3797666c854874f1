"""Indexes that a schema brings with it: recorded when a collection is first used, and when its fields change."""

from __future__ import annotations

from collections.abc import Iterable

from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.garbage import Garbage
from redkite.coordinator.meta import CollectionMeta
from redkite.node.face import ShardFace
from redkite.node.shard import Shard
from redkite.segment.files import segment_prefix


def settle_indexes(
    data: DataCoordinator, garbage: Garbage, collection: CollectionMeta, shards: Iterable[ShardFace] = ()
) -> None:
    """Record what is missing and drop what is of fields that are gone. `shards` are those of the collection that are
    open: they begin to build, and serve nothing that was dropped."""
    change = data.imply_indexes(collection.collection_id, collection.schema, collection.update_timestamp)
    opened = list(shards)
    for index in change.gone:
        files = data.drop_index(index)
        for shard in opened:
            shard.drop_index(index)
        garbage.discard(file.object for file in files)
    if change.made:
        for shard in opened:
            shard.build_all()


def drop_gone_partitions(data: DataCoordinator, garbage: Garbage, shard: Shard) -> None:
    """Forget what an open shard has of partitions that its collection does not have any more: one that was dropped
    while the shard was opened was not yet there to be forgotten. What it has sealed of them meanwhile goes as well."""
    # In this order: a partition that comes meanwhile, and rows in it, are not taken for one that went.
    held = {growing.partition_id for growing in shard.growing()} | {one.partition_id for one in shard.held_metas()}
    meta = shard.collection
    gone = {partition for partition in held if meta.partition_by_id(partition) is None}
    if gone:
        shard.forget(gone)
        channel = shard.channel
        removed = data.remove_segments(meta.collection_id, lambda s: s.channel == channel and s.partition_id in gone)
        for segment in removed:
            garbage.discard_prefix(segment_prefix(segment.collection_id, segment.segment_id))
