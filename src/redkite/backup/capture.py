"""Collections as they are at one timestamp, while writers go on.

Writers wait only while the timestamp is drawn and the growing segments are exchanged for new ones. What was written
before is then sealed, and the objects are held before anything can replace them.

Shards of other machines are not made to wait for each other. They are told a timestamp that is a moment ahead: each
gives larger ones from then on and exchanges its growing segments, or says that it has passed the timestamp already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, cast

import msgspec

from redkite.coordinator.meta import CollectionMeta
from redkite.coordinator.snapshots import CollectionImage
from redkite.errors import MilvusException, Unavailable
from redkite.model.timestamps import compose
from redkite.node.face import ShardFace
from redkite.node.shard import Shard
from redkite.node.topology import Topology
from redkite.node.turns import turns
from redkite.node.view import ShardImage

_TRIES = 16
"""Each is spoiled only by a compaction, a truncation or a change of schema that ends in its middle."""

_LEAST_AHEAD_MS = 20
_MOST_AHEAD_MS = 640
"""How far ahead of the clock the timestamp for shards of other machines is: more each time that one has passed it."""

Hold = Callable[[Iterable[str]], None]


class _Wanted(NamedTuple):
    collection: CollectionMeta
    shards: list[ShardFace]


class RolledShard(Protocol):
    """What a shard of another machine says when it is told to give only timestamps above one from now on."""

    newest: int
    """The newest of its rows that were written before."""
    in_time: bool
    """Whether that is no newer than the timestamp. Else nothing was done."""


class ImagedShard(Protocol):
    image: ShardImage | None
    readable_from: int


class DistantShard(Protocol):
    """A shard that is captured where it is."""

    channel: str

    def roll_at(self, timestamp: int) -> Callable[[], RolledShard]: ...

    def image_at(self, timestamp: int) -> Callable[[], ImagedShard]: ...


def capture(topology: Topology, collections: Sequence[CollectionMeta], hold: Hold) -> tuple[int, list[CollectionImage]]:
    """The timestamp and an image of each collection at it. `hold` is given the names of objects that must stay.

    Raises CollectionNotFound when one is dropped meanwhile, Unavailable when they do not come to rest.
    """
    ahead = _LEAST_AHEAD_MS
    for _ in range(_TRIES):
        current = [topology.root.find_by_id(meta.collection_id) for meta in collections]
        wanted = [_Wanted(meta, topology.shards(meta)) for meta in current]
        own = [shard for w in wanted for shard in w.shards if isinstance(shard, Shard)]
        if len(own) == sum(len(w.shards) for w in wanted):
            with turns(own, settled=True):
                for shard in own:
                    shard.roll()
                timestamp = topology.root.oracle.allocate()
                same = all(topology.root.find_by_id(m.collection_id) is m for m in current)
        else:
            timestamp = topology.root.oracle.now() + compose(ahead)
            ahead = min(2 * ahead, _MOST_AHEAD_MS)
            same = _rolled_at(topology, wanted, timestamp) and all(_unchanged(topology, m) for m in current)
        images = _images(topology, wanted, timestamp, hold) if same else None
        if images is not None:
            return timestamp, images
    raise Unavailable("the collections change too fast to be copied at one moment; try again")


def _rolled_at(topology: Topology, wanted: Sequence[_Wanted], timestamp: int) -> bool:
    """Whether no shard has a row of a later time, or will ever get one of an earlier."""
    asked = [_distant(shard).roll_at(timestamp) for w in wanted for shard in w.shards]
    rolled = [answer() for answer in asked]
    observe: Callable[[int], None] | None = getattr(topology.root.oracle, "observe", None)
    if observe is not None:
        observe(timestamp)
    return all(one.in_time for one in rolled)


def _distant(shard: ShardFace) -> DistantShard:
    assert not isinstance(shard, Shard), "shards of one collection are all here, or all elsewhere"
    return cast(DistantShard, shard)


def _images(topology: Topology, wanted: Sequence[_Wanted], timestamp: int, hold: Hold) -> list[CollectionImage] | None:
    """None when what was written later, or taken away, got into it."""
    found = []
    for collection, shards in wanted:
        indexes = topology.data.indexes(collection.collection_id)
        known = {index.index_id for index in indexes}
        partitions = {partition.partition_id for partition in collection.partitions}
        segments, readable = [], {}
        for channel, image, readable_from in _taken(shards, timestamp, hold):
            if image is None:
                return None
            segments += [
                msgspec.structs.replace(s, indexes=tuple(f for f in s.indexes if f.index_id in known))
                for s in image.segments
                if s.partition_id in partitions
            ]
            readable[channel] = readable_from
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


def _taken(shards: Sequence[ShardFace], timestamp: int, hold: Hold) -> Iterator[tuple[str, ShardImage | None, int]]:
    """Channel, image and how far back it can be read, of each shard. What the images are made of is held."""

    def held(image: ShardImage) -> None:
        hold(name for segment in image.segments for name in segment.objects)

    asked = [(shard, None if isinstance(shard, Shard) else _distant(shard).image_at(timestamp)) for shard in shards]
    for shard, answer in asked:
        if answer is None:
            assert isinstance(shard, Shard), "others were asked"
            yield shard.channel, shard.image(timestamp, held), shard.readable_from
        else:
            found = answer()
            if found.image is not None:
                held(found.image)
            yield shard.channel, found.image, found.readable_from


def _unchanged(topology: Topology, collection: CollectionMeta) -> bool:
    """Whether it still has the fields and partitions that it had."""
    try:
        now = topology.root.find_by_id(collection.collection_id)
    except MilvusException:
        return False  # dropped: the next try says so
    return now.schema == collection.schema and now.partitions == collection.partitions
