"""The proxy: one method per request class, behind one door."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from redkite.backup.backups import Backups
from redkite.backup.exchange import Exchange
from redkite.backup.snapshots import Snapshots
from redkite.env import attach
from redkite.errors import MilvusException, Unimplemented
from redkite.functions.base import Services
from redkite.functions.models import Models
from redkite.functions.registry import Functions
from redkite.model import analysis as an
from redkite.model import placement as pl
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.access import CreateRowPolicy, DropRowPolicy, ListRowPolicies
from redkite.model.advice import AdviseIndex, MeasureRecall
from redkite.model.calling import ModelSettings
from redkite.model.changes import ReadChanges
from redkite.model.describing import BatchDescribeCollection
from redkite.model.embeddings import RegisterEmbedding
from redkite.model.exchange import ExportSnapshot, GetExportSnapshotState, RestoreExternalSnapshot
from redkite.model.inspection import GetMetrics, ListBackupJobs
from redkite.model.quotas import QUOTAS, Quotas
from redkite.model.replication import DEFAULT_CLUSTER
from redkite.model.version import PROTOCOL_VERSION
from redkite.node.memory import nothing
from redkite.node.topology import Topology
from redkite.proxy.access import Access
from redkite.proxy.advisor import Advisor
from redkite.proxy.analysis import Analysis
from redkite.proxy.backfill import Backfills
from redkite.proxy.definitions import Definitions
from redkite.proxy.evolution import Evolution
from redkite.proxy.feed import ChangeFeeds
from redkite.proxy.highlighting import Highlighting
from redkite.proxy.import_reading import MakeSegments, itself
from redkite.proxy.imports import Imports
from redkite.proxy.indexes import Indexes
from redkite.proxy.inspection import Inspection
from redkite.proxy.legacy import Legacy
from redkite.proxy.load_queue import LoadQueue
from redkite.proxy.loading import Loading
from redkite.proxy.placement import Placement
from redkite.proxy.policies import Policies
from redkite.proxy.quotas import Gate
from redkite.proxy.ranking import Rankings
from redkite.proxy.reads import Reads
from redkite.proxy.repeats import Repeats
from redkite.proxy.replication import CHANGES, Replication
from redkite.proxy.upkeep import Upkeep
from redkite.proxy.writes import Writes, delete_bytes
from redkite.segment.evolution import SchemaMoved
from redkite.spans import traced

Q = TypeVar("Q", bound=rq.Request)
_WRITES = (rq.Insert, rq.Upsert)
_READS = (rq.Search, rq.Query, rq.HybridSearch)
_LIGHT = frozenset({
    rq.Connect, rq.GetVersion, rq.CheckHealth, rq.GetComponentStates, rq.AllocTimestamp, rq.ListDatabases,
    rq.DescribeDatabase, rq.HasCollection, rq.DescribeCollection, rq.ShowCollections, rq.HasPartition,
    rq.ShowPartitions, rq.DescribeAlias, rq.ListAliases, rq.GetLoadingProgress, rq.GetLoadState, rq.DescribeIndex,
    rq.GetIndexState, rq.GetIndexBuildProgress, rq.GetIndexStatistics, rq.ListIndexedSegments,
    rq.GetFlushState, rq.GetFlushAllState, rq.GetCompactionState, rq.GetCompactionPlans, ReadChanges,
})  # fmt: skip
"""Each by its own class: a subclass is another request."""


_REPLANS = 100
"""How often in a row a read may meet a schema newer than its plan. Each time somebody's change was stored meanwhile."""


class Proxy:
    """Implements `model.service.Service` over a topology of nodes."""

    def __init__(
        self,
        topology: Topology,
        backups: str | None = None,
        models: ModelSettings | None = None,
        quotas: Quotas = QUOTAS,
        imports: tuple[str, ...] | None = None,
        *,
        writes: bool = True,
        cluster_id: str = DEFAULT_CLUSTER,
        writer: Callable[[Topology, Reads, Functions], Writes] = Writes,
        import_by: Callable[[MakeSegments], MakeSegments] = itself,
    ) -> None:
        """`backups`: the folder or URL below which backups may be made; None: anywhere. `models`: how to ask models.
        `imports`: folders and URLs below which files of imports may lie; None: anywhere. `writes` False: somebody else
        writes this database. `cluster_id`: what this is called where clusters replicate. `writer` makes what answers
        writes. `import_by`: who makes segments of files, given who does here."""
        self._topology = topology
        self._models = Models(topology.env, models)
        self._functions = Functions(Services(topology.env, self._models))
        self._reads = Reads(topology, self._functions)
        self._advisor = Advisor(topology, self._reads)
        self._rankings = Rankings(topology, self._reads, self._models)
        self._writes = writer(topology, self._reads, self._functions)
        self._snapshots = Snapshots(topology)
        self._backups = Backups(topology, backups)
        self._exchange = Exchange(topology, backups, self._backups.jobs)
        self._gate = Gate(topology, quotas)
        self.again = Repeats(topology, self._reads, self._gate).search
        self._imports = Imports(topology, self._functions, imports, self._gate.pace, import_by)
        self._access = Access(topology.access, topology.root)
        self._policies = Policies(topology, self._reads)
        self._feeds = ChangeFeeds(topology, writes=writes)
        self.replication = Replication(topology, self._feeds, self._reads.forget_plans, cluster_id)
        self._backfills = Backfills(
            topology, self._reads, self._writes, self._functions, self._reads.forget_plans, writes=writes
        )
        self._load_queue = LoadQueue(topology.env)
        self._methods = self._table()

    def _table(self) -> dict[type[rq.Request], Callable[[Any], rs.Result | Future[rs.Result]]]:
        topology, changed = self._topology, self._reads.forget_plans
        d, indexes = Definitions(topology, changed, self._functions), Indexes(topology, changed, self._backfills)
        evolution = Evolution(topology, changed, self._functions, indexes, self._backfills)
        rankings, access = self._rankings, self._access
        highlighting = Highlighting(topology, self._models)
        return {
            rq.Connect: self._connect,
            rq.GetVersion: lambda _: rs.Version(version=PROTOCOL_VERSION),
            rq.CheckHealth: lambda _: rs.Health(healthy=True, quota_states=self._gate.states()),
            rq.GetComponentStates: lambda _: rs.Health(healthy=True),
            rq.AllocTimestamp: lambda _: rs.Timestamp(timestamp=self._topology.root.oracle.allocate()),
            GetMetrics: Inspection(topology, self._gate.described).metrics,
            rq.CreateDatabase: d.create_database,
            rq.DropDatabase: d.drop_database,
            rq.ListDatabases: lambda request: access.shown_databases(request, d.list_databases(request)),
            rq.DescribeDatabase: d.describe_database,
            rq.CreateCollection: lambda request: self._feeds.kept(request, d.create_collection),
            rq.DropCollection: d.drop_collection,
            rq.HasCollection: d.has_collection,
            rq.DescribeCollection: d.describe_collection,
            BatchDescribeCollection: d.describe_collections,
            rq.ShowCollections: lambda request: access.shown_collections(request, d.show_collections(request)),
            rq.RenameCollection: d.rename_collection,
            rq.TruncateCollection: d.truncate_collection,
            rq.AddCollectionField: evolution.add_field,
            rq.AddCollectionStructField: evolution.add_struct,
            rq.DropCollectionField: evolution.drop_field,
            rq.AddFunctionField: evolution.add_function,
            rq.DropFunctionField: evolution.drop_function,
            rq.AlterFunction: evolution.alter_function,
            rq.AlterCollectionField: evolution.alter_field,
            rq.AlterCollection: evolution.alter_collection,
            rq.AlterDatabase: evolution.alter_database,
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
            rq.Insert: lambda request: self._admitted(self._writes.insert, request, request.rows.nbytes),
            rq.Upsert: lambda request: self._admitted(self._writes.upsert, request, request.rows.nbytes),
            rq.Delete: lambda request: self._admitted(self._writes.delete, request, delete_bytes(request)),
            rq.Flush: self._writes.flush,
            rq.GetFlushState: self._writes.flush_state,
            rq.FlushAll: self._writes.flush_all,
            rq.GetFlushAllState: lambda _: rs.Flag(value=True),
            **self._upkeep(),
            **self._keeping(),
            **access.table(),
            CreateRowPolicy: self._policies.create,
            DropRowPolicy: self._policies.drop,
            ListRowPolicies: self._policies.listed,
            **self._words(),
            **Legacy(topology).table(),
            **self._feeds.table(),
            **self.replication.table(),
            rq.Search: highlighting.around(rankings.search),
            rq.HybridSearch: highlighting.around(rankings.hybrid),
            rq.Query: self._reads.query,
        }

    def _upkeep(self) -> dict[type[rq.Request], Callable[[Any], rs.Result | Future[rs.Result]]]:
        topology, changed = self._topology, self._reads.forget_plans
        loading, upkeep = Loading(topology, changed, self._load_queue, self._again), Upkeep(topology)
        indexes = Indexes(topology, changed, self._backfills)
        placement = Placement(topology, changed)
        return {
            pl.CreateResourceGroup: placement.create_group,
            pl.UpdateResourceGroups: placement.update_groups,
            pl.DropResourceGroup: placement.drop_group,
            pl.ListResourceGroups: placement.list_groups,
            pl.DescribeResourceGroup: placement.describe_group,
            pl.TransferNode: placement.transfer_node,
            pl.TransferReplica: placement.transfer_replica,
            pl.GetReplicas: placement.replicas,
            pl.LoadBalance: placement.balance,
            rq.LoadCollection: self._then_filled(loading.load_collection),
            rq.ReleaseCollection: loading.release_collection,
            rq.LoadPartitions: self._then_filled(loading.load_partitions),
            rq.ReleasePartitions: loading.release_partitions,
            rq.GetLoadingProgress: loading.loading_progress,
            rq.GetLoadState: loading.load_state,
            rq.CreateIndex: indexes.create_index,
            rq.DescribeIndex: indexes.describe_index,
            rq.GetIndexState: indexes.describe_index,
            rq.GetIndexBuildProgress: indexes.describe_index,
            rq.GetIndexStatistics: indexes.describe_index,
            rq.ListIndexedSegments: indexes.indexed_segments,
            rq.AlterIndex: indexes.alter_index,
            rq.DropIndex: indexes.drop_index,
            rq.Compact: upkeep.compact,
            rq.GetCompactionState: upkeep.compaction_state,
            rq.GetCompactionPlans: upkeep.compaction_plans,
            rq.ListPersistentSegments: upkeep.persistent_segments,
            rq.ListLoadedSegments: upkeep.loaded_segments,
        }

    def _keeping(self) -> dict[type[rq.Request], Callable[[Any], rs.Result | Future[rs.Result]]]:
        snapshots, backups, exchange = self._snapshots, self._backups, self._exchange
        return {
            rq.CreateSnapshot: snapshots.create,
            rq.DropSnapshot: snapshots.drop,
            rq.ListSnapshots: snapshots.names,
            rq.DescribeSnapshot: snapshots.describe,
            rq.RestoreSnapshot: snapshots.restore,
            rq.GetRestoreSnapshotState: snapshots.restore_state,
            rq.ListRestoreSnapshotJobs: snapshots.restore_jobs,
            rq.PinSnapshotData: snapshots.pin,
            rq.UnpinSnapshotData: snapshots.unpin,
            ExportSnapshot: exchange.export,
            GetExportSnapshotState: exchange.export_state,
            RestoreExternalSnapshot: exchange.restore,
            **self._imports.table(),
            rq.CreateBackup: backups.create,
            rq.RestoreBackup: backups.restore,
            rq.VerifyBackup: backups.verify,
            rq.DeleteBackup: backups.delete,
            rq.ListBackups: backups.whole,
            rq.GetBackupJob: backups.job,
            ListBackupJobs: backups.all_jobs,
            RegisterEmbedding: self._register,
            MeasureRecall: self._advisor.measure_recall,
            AdviseIndex: self._advisor.advise,
        }

    def _words(self) -> dict[type[rq.Request], Callable[[Any], rs.Result]]:
        analysis = Analysis(self._topology)
        return {
            an.RunAnalyzer: analysis.run,
            an.ComputePhraseMatchSlop: analysis.slops,
            an.AddFileResource: analysis.add_file,
            an.RemoveFileResource: analysis.remove_file,
            an.ListFileResources: analysis.files,
        }

    def _register(self, request: RegisterEmbedding) -> rs.Done:
        """Python code of this process, for functions to call."""
        self._models.register(request.name, request)
        return rs.Done()

    def _again(self, request: rq.Request) -> rs.Result:
        """Answer a request that was let in before, and waited since."""
        answer = self._do(self._methods[type(request)], request)
        return answer.result() if isinstance(answer, Future) else answer

    def share_rates(self, sharers: Callable[[], int]) -> None:
        """So many processes, this one included, take requests: rates of reads and writes are divided among them."""
        self._gate.share(sharers)

    @property
    def reads(self) -> Reads:
        """What answers searches and queries."""
        return self._reads

    def answer_with(self, kind: type[Q], method: Callable[[Q], rs.Result | Future[rs.Result]]) -> None:
        """Have requests of a class answered by another method, after everything that is looked at before."""
        self._methods[kind] = method

    def method(self, kind: type[Q]) -> Callable[[Q], rs.Result | Future[rs.Result]]:
        """What answers requests of a class."""
        return self._methods[kind]

    def forget_plans(self) -> None:
        """What reads were planned by has changed elsewhere."""
        self._reads.forget_plans()

    def resume(self) -> None:
        """Go on with what another process was asked to do in the background, and did not finish."""
        self._imports.resume()
        self._snapshots.resume()
        self._backups.resume()

    def close(self) -> None:
        """Stop what runs in the background on somebody's request."""
        self.replication.close()
        self._feeds.close()
        self._backfills.close()
        self._snapshots.close()
        self._exchange.close()
        self._imports.close()
        self._backups.close()
        self._load_queue.close()
        self._models.close()

    @traced("proxy", lambda _, request: {"redkite.request": type(request).__name__})
    def call(self, request: rq.Request) -> rs.Result | Future[rs.Result]:
        if request.cluster:
            self.replication.check_meant(request.cluster)
        if request.user:
            request = self._imports.named(request)
            self._access.check(request)
            request = self._policies.narrowed(request)
        self._gate.check(request)
        method = self._methods.get(type(request))
        if method is None:
            raise Unimplemented(f"{type(request).__name__} is not built in this version")
        return self._do(method, request)

    def _do(
        self, method: Callable[[Any], rs.Result | Future[rs.Result]], request: rq.Request
    ) -> rs.Result | Future[rs.Result]:
        if type(request) in CHANGES:
            return self.replication.changing(partial(self._done, method), request)
        try:
            return method(request)
        except SchemaMoved:  # hardly ever
            return self._done(method, request)

    @staticmethod
    def _done(
        method: Callable[[Any], rs.Result | Future[rs.Result]], request: rq.Request
    ) -> rs.Result | Future[rs.Result]:
        for _ in range(_REPLANS):
            try:
                return method(request)
            except SchemaMoved:
                continue  # the schema changed after the read was planned, and before anything was done
        return method(request)

    def _then_filled(self, load: Callable[[Q], rs.Result]) -> Callable[[Q], rs.Result]:
        """Loads, and has the functions go on that wait for that."""

        def loaded(request: Q) -> rs.Result:
            done = load(request)
            self._backfills.resume()
            return done

        return loaded

    def _admitted(self, write: Callable[[Q], Future[rs.Result]], request: Q, size: int) -> Future[rs.Result]:
        """A write of so many bytes, within the memory there is for it until it is applied."""
        done = self._topology.memory.admit(size)
        try:
            future = write(request)
        except BaseException:
            done()
            raise
        if done is not nothing:
            attach(future, lambda _: done())
        return future

    def is_bound(self, request: rq.Request) -> bool:
        """Whether a policy narrows what its user may see: filters of policies may be anything."""
        return bool(request.user) and self._policies.binds(request)

    def is_quick(self, request: rq.Request) -> bool:
        if type(request) in _LIGHT:
            return True
        try:
            if request.user and self._policies.binds(request):
                return False  # their filters may be anything
            if isinstance(request, _READS):
                return self._rankings.is_quick(request)
            if isinstance(request, rq.Upsert) and (request.partial or request.condition is not None):
                return False  # it waits for the writes before it
            if isinstance(request, _WRITES):
                meta = self._topology.root.find(request.database, request.collection)
                if meta.schema.functions and not self._functions.is_quick(meta.schema, request.rows.nbytes):
                    return False
                return not self._topology.memory.is_tight and self._writes.is_quick(meta)
        except MilvusException:
            return True  # the call itself says what is wrong, at once
        return False

    def _connect(self, request: rq.Connect) -> rs.ServerInfo:
        self._topology.root.describe_database(request.database)
        return rs.ServerInfo(version=PROTOCOL_VERSION, identifier=self._topology.root.oracle.allocate_ids(1))
