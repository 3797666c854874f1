"""Collections as they are at one timestamp, while writers go on.

Writers wait only while the timestamp is drawn and the growing segments are exchanged for new ones. What was written
before is then sealed, and the objects are held before anything can replace them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from redkite.coordinator.meta import CollectionMeta
from redkite.coordinator.snapshots import CollectionImage
from redkite.errors import MilvusException, Unavailable
from redkite.node.shard import Shard
from redkite.node.topology import Topology
from redkite.node.turns import turns

_TRIES = 16
"""Each is spoiled only by a compaction, a truncation or a change of schema that ends in its middle."""

Hold = Callable[[Iterable[str]], None]


class _Wanted(NamedTuple):
    collection: CollectionMeta
    shards: list[Shard]


def capture(topology: Topology, collections: Sequence[CollectionMeta], hold: Hold) -> tuple[int, list[CollectionImage]]:
    """The timestamp and an image of each collection at it. `hold` is given the names of objects that must stay.

    Raises CollectionNotFound when one is dropped meanwhile, Unavailable when they do not come to rest.
    """
    for _ in range(_TRIES):
        current = [topology.root.find_by_id(meta.collection_id) for meta in collections]
        wanted = [_Wanted(meta, topology.shards(meta)) for meta in current]
        with turns((shard for w in wanted for shard in w.shards), settled=True):
            for w in wanted:
                for shard in w.shards:
                    shard.roll()
            timestamp = topology.root.oracle.allocate()
            same = all(topology.root.find_by_id(m.collection_id) is m for m in current)
        images = _images(topology, wanted, timestamp, hold) if same else None
        if images is not None:
            return timestamp, images
    raise Unavailable("the collections change too fast to be copied at one moment; try again")


def _images(topology: Topology, wanted: Sequence[_Wanted], timestamp: int, hold: Hold) -> list[CollectionImage] | None:
    """None when what was written later, or taken away, got into it."""
    found = []
    for collection, shards in wanted:
        indexes = topology.data.indexes(collection.collection_id)
        known = {index.index_id for index in indexes}
        partitions = {partition.partition_id for partition in collection.partitions}
        segments, readable = [], {}
        for shard in shards:
            image = shard.image(timestamp, lambda i: hold(name for s in i.segments for name in s.objects))
            if image is None:
                return None
            segments += [
                msgspec.structs.replace(s, indexes=tuple(f for f in s.indexes if f.index_id in known))
                for s in image.segments
                if s.partition_id in partitions
            ]
            readable[shard.channel] = shard.view.readable_from
        if not _unchanged(topology, collection):
            return None
        found.append(
            CollectionImage(
                timestamp=timestamp,
                collection=collection,
                indexes=indexes,
                segments=tuple(segments),
                readable_from=readable,
            )
        )
    return found


def _unchanged(topology: Topology, collection: CollectionMeta) -> bool:
    """Whether it still has the fields and partitions that it had."""
    try:
        now = topology.root.find_by_id(collection.collection_id)
    except MilvusException:
        return False  # dropped: the next try says so
    return now.schema == collection.schema and now.partitions == collection.partitions
