"""A secondary takes what its primary sends: the same keys in the catalog, the same records in the logs.

Collections, partitions, fields and indexes have the same ids here and there, and writes the same timestamps. So a
record that comes twice is known by its time, which is not newer than what its shard has, and is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from redkite.coordinator.meta import CollectionMeta, DatabaseMeta
from redkite.errors import WireError
from redkite.model import replication as rp
from redkite.model.schema import DEFAULT_DATABASE
from redkite.model.segments import IndexMeta, LoadEntry
from redkite.node.topology import Topology
from redkite.proxy.definitions import drop_data
from redkite.proxy.feed import ChangeFeeds
from redkite.proxy.feed_events import COLLECTIONS, DATABASES
from redkite.proxy.feed_reading import shard_of
from redkite.segment.files import segment_prefix
from redkite.storage.change_notes import NOTED, KeyChange, Note

_INDEX: Final = "index/"
_LOAD: Final = "load/"
_CONTENT: Final = "files/content/"


class Applying:
    """One page at a time."""

    def __init__(self, topology: Topology, feeds: ChangeFeeds, changed: Callable[[], None]) -> None:
        """`changed`: what reads were planned by is to be forgotten."""
        self._topology = topology
        self._feeds = feeds
        self._changed = changed

    def apply(self, page: rp.ReplicationPage) -> None:
        """Durable when it returns. The same page again changes nothing."""
        self._topology.root.oracle.observe(page.timestamp)
        for item in page.items:
            if item.kind in (rp.NOTE, rp.STATE):
                self._keys(_decoded(item.payload).changes, whole=item.kind == rp.STATE)
            else:
                self._rows(item)

    # -- rows -----------------------------------------------------------------------------------
    def _rows(self, item: rp.ReplicationItem) -> None:
        meta = self._collection(item.channel)
        if meta is None:
            return  # dropped: a note that comes says so
        self._topology.root.oracle.observe(item.timestamp)
        shard = shard_of(self._topology, meta, item.channel)
        for segment in shard.take_changes([item]):
            self._topology.garbage.discard_prefix(segment_prefix(segment.collection_id, segment.segment_id))
        self._topology.streaming.owner(item.channel).seal_if_full(shard)

    def _collection(self, channel: str) -> CollectionMeta | None:
        number = channel.rpartition("_")[2].partition("v")[0]
        return self._topology.root.space.collections.get(int(number)) if number.isdecimal() else None

    # -- keys -----------------------------------------------------------------------------------
    def _keys(self, changes: Iterable[KeyChange], *, whole: bool) -> None:
        """Have in the catalog what these say, then everywhere what follows from it."""
        topology, catalog = self._topology, self._topology.data.notes
        if whole:
            self._empty()
        before = topology.root.space.collections
        puts: dict[str, bytes] = {}
        gone: list[str] = []
        dropped: list[IndexMeta] = []
        for change in changes:
            if not change.key.startswith((*NOTED, _CONTENT)):
                raise WireError(f"the source sends the key '{change.key}', which is not for others")
            if change.after is None:
                if change.key.startswith(_INDEX):
                    dropped += self._index(change.key)
                elif catalog.get(change.key) is not None:
                    gone.append(change.key)
            elif (value := self._mapped(change.key, change.after)) is not None:
                key, data = value
                if catalog.get(key) != data:
                    puts[key] = data
        if whole:
            gone += self._surplus(puts, changes)
        lost = [before[i] for key in gone if (i := _collection_id(key)) in before]
        if puts or gone:
            self._observe(puts)
            catalog.commit(puts, gone)
            self._absorb([*puts, *gone])
        for index in dropped:
            self._drop_index(index)
        for meta in lost:
            drop_data(topology, meta.collection_id, meta.channels)
        self._follow(before, [*puts, *gone])
        self._changed()

    def _empty(self) -> None:
        """Everything comes anew: what an earlier beginning has left may have been deleted at the source since."""
        topology = self._topology
        left = topology.root.all_collections()
        if left:
            keys = [f"{COLLECTIONS}{meta.collection_id}" for meta in left]
            topology.data.notes.commit({}, keys)
            self._absorb(keys)
            for meta in left:
                drop_data(topology, meta.collection_id, meta.channels)

    def _surplus(self, puts: dict[str, bytes], changes: Iterable[KeyChange]) -> list[str]:
        """Users and the like that are here alone, when everything that is there is told."""
        told = {change.key for change in changes}
        here = [key for key, _ in self._topology.data.notes.scan("access/")]
        return [key for key in here if key not in told and key not in puts]

    def _mapped(self, key: str, value: bytes) -> tuple[str, bytes] | None:
        """A key and its value as they are to be here; None: that is a matter of each cluster."""
        if key.startswith(DATABASES):
            meta = DatabaseMeta.from_bytes(value)
            if meta.name == DEFAULT_DATABASE:
                own = self._topology.root.describe_database(DEFAULT_DATABASE)
                made = msgspec.structs.replace(own, properties=meta.properties)
                return f"{DATABASES}{own.database_id}", made.to_bytes()
        elif key.startswith(_INDEX):
            if msgspec.json.decode(value, type=IndexMeta).is_implied:
                return None  # each cluster makes its own
        elif key.startswith(_LOAD):
            entry = msgspec.json.decode(value, type=LoadEntry)
            # Resource groups and their nodes are each cluster's own.
            return key, msgspec.json.encode(msgspec.structs.replace(entry, replicas=1, placed=()))
        return key, value

    def _observe(self, puts: dict[str, bytes]) -> None:
        """Ids and timestamps that are given out here later are larger than those that came."""
        for key, value in puts.items():
            if key.startswith(COLLECTIONS):
                meta = CollectionMeta.from_bytes(value)
                newest = max(meta.collection_id, meta.update_timestamp, *(p.partition_id for p in meta.partitions))
                self._topology.root.oracle.observe(newest)

    def _absorb(self, keys: list[str]) -> None:
        topology = self._topology
        topology.root.absorb([key for key in keys if key.startswith("root/")])
        if any(key.startswith(_INDEX) for key in keys):
            topology.data.reload()
        loads = [key for key in keys if key.startswith(_LOAD)]
        if loads:
            topology.loads.absorb(loads)
        if any(key.startswith("access/") for key in keys):
            topology.access.reload()
        if any(key.startswith("files/") for key in keys):
            topology.files.reload()

    def _follow(self, before: dict[int, CollectionMeta], keys: list[str]) -> None:
        """Shards, and the partitions in them, are what the catalog says."""
        topology = self._topology
        concerned = {i for key in keys if (i := _collection_id(key)) is not None}
        for collection_id in concerned:
            meta = topology.root.space.collections.get(collection_id)
            if meta is None:
                continue
            if collection_id not in before:
                self._feeds.keeping.covered(meta)
            topology.follow(meta)
            old = before.get(collection_id, meta)
            left = {p.partition_id for p in meta.partitions}
            gone = {p.partition_id for p in old.partitions if p.partition_id not in left}
            shards = topology.open_shards(meta)
            for shard in shards:
                if gone:
                    shard.forget(gone)
                shard.reload()
            for segment in topology.data.remove_segments(collection_id, lambda s: s.partition_id in gone):  # noqa: B023
                topology.garbage.discard_prefix(segment_prefix(segment.collection_id, segment.segment_id))

    def _index(self, key: str) -> list[IndexMeta]:
        _, collection, number = key.split("/")
        return [i for i in self._topology.data.indexes(int(collection)) if i.index_id == int(number)]

    def _drop_index(self, index: IndexMeta) -> None:
        files = self._topology.data.drop_index(index)
        meta = self._topology.root.space.collections.get(index.collection_id)
        for shard in self._topology.open_shards(meta) if meta is not None else ():
            shard.drop_index(index)
        self._topology.garbage.discard(file.object for file in files)


def _collection_id(key: str) -> int | None:
    """The collection that a key is about."""
    for prefix in (COLLECTIONS, _INDEX, _LOAD):
        if key.startswith(prefix):
            number = key.removeprefix(prefix).partition("/")[0]
            return int(number) if number.isdecimal() else None
    return None


def _decoded(payload: bytes) -> Note:
    try:
        return msgspec.msgpack.decode(payload, type=Note)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WireError(f"what the source says of its catalog cannot be read: {error}") from error
