"""The nodes of one Redkite and who owns which channel. Nodes do not know where they run; this does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar
from zlib import crc32

from redkite.coordinator.access import AccessCoordinator
from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.file_resources import FileResourceCoordinator
from redkite.coordinator.garbage import Garbage
from redkite.coordinator.imports import ImportJobs
from redkite.coordinator.jobs import JobRecords
from redkite.coordinator.loads import QueryCoordinator
from redkite.coordinator.meta import CollectionMeta
from redkite.coordinator.restores import RestoreJobs
from redkite.coordinator.root import RootCoordinator
from redkite.coordinator.snapshots import SnapshotCoordinator
from redkite.coordinator.standing import Standing
from redkite.env import Env, Executor
from redkite.model.limits import Limits
from redkite.node.compactor import Compactor
from redkite.node.data import DataNode
from redkite.node.face import ChannelOwner, Owners, ServingNode, ShardFace
from redkite.node.implied import drop_gone_partitions, settle_indexes
from redkite.node.importing import Admit, admit
from redkite.node.memory import MemoryBudget
from redkite.node.shard import Shard
from redkite.storage.objects import ObjectStore


class LocalOwners:
    """Streaming nodes of this process, which share all channels."""

    are_here: ClassVar[bool] = True

    def __init__(self, nodes: Sequence[ChannelOwner]) -> None:
        self._nodes = tuple(nodes)
        self._only = self._nodes[0] if len(self._nodes) == 1 else None

    def owner(self, channel: str) -> ChannelOwner:
        if self._only is not None:
            return self._only
        # Names end in `<collection id>v<shard>`: the shards of one collection go round the nodes.
        collection, _, shard = channel.rpartition("v")
        return self._nodes[(crc32(collection.encode()) + int(shard)) % len(self._nodes)]

    def __iter__(self) -> Iterator[ChannelOwner]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)


@dataclass(frozen=True, slots=True)
class Topology:
    env: Env
    limits: Limits
    store: ObjectStore
    garbage: Garbage
    root: RootCoordinator
    data: DataCoordinator
    loads: QueryCoordinator
    streaming: Owners
    querying: Sequence[ServingNode]
    data_nodes: tuple[DataNode, ...]
    compactor: Compactor
    snapshots: SnapshotCoordinator
    restores: RestoreJobs
    backup_jobs: JobRecords
    imports: ImportJobs
    scans: Executor
    """Threads that share long scans with the reader's own."""
    memory: MemoryBudget
    access: AccessCoordinator
    files: FileResourceCoordinator
    standing: Standing
    """Whether anything may be changed, and what is being changed in this process."""
    admit: Admit = admit
    """How segments that were written elsewhere become rows of shards."""

    def owner(self, channel: str) -> ChannelOwner:
        """The streaming node of a channel."""
        return self.streaming.owner(channel)

    def shards(self, collection: CollectionMeta) -> list[ShardFace]:
        """The shards of a collection, opened, and as new as the collection is now."""
        current, owner = self.root.current(collection), self.streaming.owner
        shards = [owner(channel).shard(current, channel) for channel in collection.channels]
        latest = self.root.current(current)  # it may have changed while a log was read
        for shard in shards:
            if shard.collection is not latest:
                shard.follow(partial(self.root.current, current))
                if isinstance(shard, Shard):
                    drop_gone_partitions(self.data, self.garbage, shard)
        return shards

    def own_shards(self, collection: CollectionMeta) -> list[Shard]:
        """The same, for what is done while they hold their turns: all of them are of this process."""
        own = []
        for shard in self.shards(collection):
            assert isinstance(shard, Shard), "what holds the turn of a shard runs where the shard is"
            own.append(shard)
        return own

    def follow(self, collection: CollectionMeta) -> None:
        """Tell the open shards of a collection what it looks like now."""
        shards = self.open_shards(collection)
        for shard in shards:
            shard.follow(partial(self.root.current, collection))
        settle_indexes(self.data, self.garbage, self.root.current(collection), shards)

    def open_shards(self, collection: CollectionMeta) -> list[ShardFace]:
        """Those that are open already."""
        found = (self.streaming.owner(channel).open_shard(channel) for channel in collection.channels)
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
