"""Indexes that a schema brings with it: recorded when a collection is first used, and when its fields change."""

from __future__ import annotations

from collections.abc import Iterable

from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.garbage import Garbage
from redkite.coordinator.meta import CollectionMeta
from redkite.node.shard import Shard


def settle_indexes(
    data: DataCoordinator, garbage: Garbage, collection: CollectionMeta, shards: Iterable[Shard] = ()
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
