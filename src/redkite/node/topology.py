"""The nodes of one Redkite and who owns which channel. Nodes do not know where they run; this does."""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.loads import QueryCoordinator
from redkite.coordinator.meta import CollectionMeta
from redkite.coordinator.root import RootCoordinator
from redkite.env import Env, Executor
from redkite.model.limits import Limits
from redkite.node.data import DataNode
from redkite.node.querying import QueryNode
from redkite.node.shard import Shard
from redkite.node.streaming import StreamingNode
from redkite.storage.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class Topology:
    env: Env
    limits: Limits
    store: ObjectStore
    root: RootCoordinator
    data: DataCoordinator
    loads: QueryCoordinator
    streaming: tuple[StreamingNode, ...]
    querying: tuple[QueryNode, ...]
    data_nodes: tuple[DataNode, ...]
    scans: Executor
    """Threads that share long scans with the reader's own."""

    def owner(self, channel: str) -> StreamingNode:
        """The streaming node of a channel."""
        if len(self.streaming) == 1:
            return self.streaming[0]
        # Names end in `<collection id>v<shard>`: the shards of one collection go round the nodes.
        collection, _, shard = channel.rpartition("v")
        return self.streaming[(crc32(collection.encode()) + int(shard)) % len(self.streaming)]

    def shards(self, collection: CollectionMeta) -> list[Shard]:
        """The shards of a collection, opened."""
        return [self.owner(channel).shard(collection, channel) for channel in collection.channels]

    def open_shards(self, collection: CollectionMeta) -> list[Shard]:
        """Those that are open already."""
        found = (self.owner(channel).open_shard(channel) for channel in collection.channels)
        return [shard for shard in found if shard is not None]

    def close(self) -> None:
        """Stop background work, finish writes under way. Growing rows stay in the log."""
        for node in self.data_nodes:
            node.close()
        for owner in self.streaming:
            owner.close()
        self.scans.shutdown()
        self.root.close()
