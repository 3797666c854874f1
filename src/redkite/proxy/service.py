"""The proxy: one method per request class, behind one door."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from redkite.errors import MilvusException, Unimplemented
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.version import PROTOCOL_VERSION
from redkite.node.topology import Topology
from redkite.proxy.definitions import Definitions
from redkite.proxy.reads import Reads
from redkite.proxy.writes import Writes

_WRITES = (rq.Insert, rq.Upsert)
_READS = (rq.Search, rq.Query)
_LIGHT = (
    rq.Connect, rq.GetVersion, rq.CheckHealth, rq.GetComponentStates, rq.AllocTimestamp, rq.ListDatabases,
    rq.DescribeDatabase, rq.HasCollection, rq.DescribeCollection, rq.ShowCollections, rq.HasPartition,
    rq.ShowPartitions, rq.DescribeAlias, rq.ListAliases, rq.GetLoadingProgress, rq.GetLoadState, rq.DescribeIndex,
    rq.GetFlushState, rq.GetFlushAllState,
)  # fmt: skip


class Proxy:
    """Implements `model.service.Service` over a topology of nodes."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._reads = Reads(topology)
        self._writes = Writes(topology)
        self._methods = self._table(Definitions(topology, self._reads.forget_plans))

    def _table(self, d: Definitions) -> dict[type[rq.Request], Callable[[Any], rs.Result | Future[rs.Result]]]:
        return {
            rq.Connect: self._connect,
            rq.GetVersion: lambda _: rs.Version(version=PROTOCOL_VERSION),
            rq.CheckHealth: lambda _: rs.Health(healthy=True),
            rq.GetComponentStates: lambda _: rs.Health(healthy=True),
            rq.AllocTimestamp: lambda _: rs.Timestamp(timestamp=self._topology.root.oracle.allocate()),
            rq.CreateDatabase: d.create_database,
            rq.DropDatabase: d.drop_database,
            rq.ListDatabases: d.list_databases,
            rq.DescribeDatabase: d.describe_database,
            rq.CreateCollection: d.create_collection,
            rq.DropCollection: d.drop_collection,
            rq.HasCollection: d.has_collection,
            rq.DescribeCollection: d.describe_collection,
            rq.ShowCollections: d.show_collections,
            rq.RenameCollection: d.rename_collection,
            rq.TruncateCollection: d.truncate_collection,
            rq.GetCollectionStatistics: d.collection_statistics,
            rq.CreatePartition: d.create_partition,
            rq.DropPartition: d.drop_partition,
            rq.HasPartition: d.has_partition,
            rq.ShowPartitions: d.show_partitions,
            rq.GetPartitionStatistics: d.partition_statistics,
            rq.CreateAlias: d.create_alias,
            rq.DropAlias: d.drop_alias,
            rq.AlterAlias: d.alter_alias,
            rq.DescribeAlias: d.describe_alias,
            rq.ListAliases: d.list_aliases,
            rq.LoadCollection: d.load_collection,
            rq.ReleaseCollection: d.release_collection,
            rq.LoadPartitions: d.load_partitions,
            rq.ReleasePartitions: d.release_partitions,
            rq.GetLoadingProgress: d.loading_progress,
            rq.GetLoadState: d.load_state,
            rq.CreateIndex: d.create_index,
            rq.DescribeIndex: d.describe_index,
            rq.DropIndex: d.drop_index,
            rq.Insert: self._writes.insert,
            rq.Upsert: self._writes.upsert,
            rq.Delete: self._writes.delete,
            rq.Flush: self._writes.flush,
            rq.GetFlushState: self._writes.flush_state,
            rq.FlushAll: self._writes.flush_all,
            rq.GetFlushAllState: lambda _: rs.Flag(value=True),
            rq.Search: self._reads.search,
            rq.Query: self._reads.query,
        }

    def call(self, request: rq.Request) -> rs.Result | Future[rs.Result]:
        method = self._methods.get(type(request))
        if method is None:
            raise Unimplemented(f"{type(request).__name__} is not built in this version")
        return method(request)

    def is_quick(self, request: rq.Request) -> bool:
        if isinstance(request, _LIGHT):
            return True
        try:
            if isinstance(request, _READS):
                return self._reads.is_quick(request)
            if isinstance(request, _WRITES):
                meta = self._topology.root.find(request.database, request.collection)
                return len(self._topology.open_shards(meta)) == meta.shards
        except MilvusException:
            return True  # the call itself says what is wrong, at once
        return False

    def _connect(self, request: rq.Connect) -> rs.ServerInfo:
        self._topology.root.describe_database(request.database)
        return rs.ServerInfo(version=PROTOCOL_VERSION, identifier=self._topology.root.oracle.allocate_ids(1))
