"""The nodes of one Redkite and who owns which channel. Nodes do not know where they run; this does."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Protocol
from zlib import crc32

from redkite.coordinator.access import AccessCoordinator
from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.file_resources import FileResourceCoordinator
from redkite.coordinator.garbage import Garbage
from redkite.coordinator.jobs import JobRecords
from redkite.coordinator.loads import QueryCoordinator
from redkite.coordinator.meta import CollectionMeta
from redkite.coordinator.restores import RestoreJobs
from redkite.coordinator.root import RootCoordinator
from redkite.coordinator.snapshots import SnapshotCoordinator
from redkite.env import Env, Executor
from redkite.model.limits import Limits
from redkite.node.compactor import Compactor
from redkite.node.data import DataNode
from redkite.node.implied import settle_indexes
from redkite.node.memory import MemoryBudget
from redkite.node.querying import QueryNode
from redkite.node.shard import Shard
from redkite.storage.objects import ObjectStore


class ChannelOwner(Protocol):
    """A streaming node, as the topology sees it."""

    def shard(self, collection: CollectionMeta, channel: str) -> Shard: ...

    def open_shard(self, channel: str) -> Shard | None: ...

    def seal_if_full(self, shard: Shard) -> None: ...

    def drop_channel(self, channel: str) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Topology:
    env: Env
    limits: Limits
    store: ObjectStore
    garbage: Garbage
    root: RootCoordinator
    data: DataCoordinator
    loads: QueryCoordinator
    streaming: tuple[ChannelOwner, ...]
    querying: tuple[QueryNode, ...]
    data_nodes: tuple[DataNode, ...]
    compactor: Compactor
    snapshots: SnapshotCoordinator
    restores: RestoreJobs
    backup_jobs: JobRecords
    scans: Executor
    """Threads that share long scans with the reader's own."""
    memory: MemoryBudget
    access: AccessCoordinator
    files: FileResourceCoordinator

    def owner(self, channel: str) -> ChannelOwner:
        """The streaming node of a channel."""
        if len(self.streaming) == 1:
            return self.streaming[0]
        # Names end in `<collection id>v<shard>`: the shards of one collection go round the nodes.
        collection, _, shard = channel.rpartition("v")
        return self.streaming[(crc32(collection.encode()) + int(shard)) % len(self.streaming)]

    def shards(self, collection: CollectionMeta) -> list[Shard]:
        """The shards of a collection, opened, and as new as the collection is now."""
        current = self.root.current(collection)
        shards = [self.owner(channel).shard(current, channel) for channel in collection.channels]
        for shard in shards:
            if shard.collection is not current:
                shard.follow(partial(self.root.current, current))
        return shards

    def follow(self, collection: CollectionMeta) -> None:
        """Tell the open shards of a collection what it looks like now."""
        shards = self.open_shards(collection)
        for shard in shards:
            shard.follow(partial(self.root.current, collection))
        settle_indexes(self.data, self.garbage, self.root.current(collection), shards)

    def open_shards(self, collection: CollectionMeta) -> list[Shard]:
        """Those that are open already."""
        found = (self.owner(channel).open_shard(channel) for channel in collection.channels)
        return [shard for shard in found if shard is not None]

    def close(self) -> None:
        """Stop background work, finish writes under way. Growing rows stay in the log."""
        self.memory.close()
        self.garbage.close()
        self.compactor.close()
        for node in self.data_nodes:
            node.close()
        for owner in self.streaming:
            owner.close()
        self.scans.shutdown()
        self.root.close()
