"""A database that another process writes, opened for reading: any number of processes beside the one that writes.

It takes no lock and changes no file. Before each request it looks whether the writer committed or logged something,
which costs some microseconds when it did not. A reader is some milliseconds behind: of the newest writes it sees those
that the files prove to be durable. One that shares a board with the writer is not behind.
"""

from __future__ import annotations

import itertools
import os
from threading import Lock

from redkite.coordinator.access import AccessCoordinator, AccessRules
from redkite.coordinator.compaction import CompactionPolicy
from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.file_resources import FileResourceCoordinator
from redkite.coordinator.garbage import Garbage
from redkite.coordinator.imports import ImportJobs
from redkite.coordinator.jobs import JobRecords
from redkite.coordinator.loads import QueryCoordinator
from redkite.coordinator.restores import RestoreJobs
from redkite.coordinator.root import RootCoordinator
from redkite.coordinator.snapshots import SnapshotCoordinator
from redkite.coordinator.standing import Standing
from redkite.coordinator.tso import FollowingOracle
from redkite.env import Env
from redkite.errors import MilvusException, ObjectNotFound, ReadOnlyDatabase, SegmentGone, StorageError
from redkite.model import analysis as an
from redkite.model import placement as pl
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.calling import ModelSettings
from redkite.model.describing import BatchDescribeCollection
from redkite.model.embeddings import RegisterEmbedding
from redkite.model.limits import LIMITS, Limits
from redkite.model.quotas import QUOTAS, Quotas
from redkite.model.replication import DEFAULT_CLUSTER
from redkite.model.service import Service
from redkite.node.compactor import Compactor
from redkite.node.counted_objects import CountedObjects
from redkite.node.data import DataNode
from redkite.node.following import FollowingNode
from redkite.node.memory import MemoryBudget
from redkite.node.peers import QueryPeer
from redkite.node.querying import QueryNode
from redkite.node.topology import LocalOwners, Topology
from redkite.proxy.service import Proxy
from redkite.storage.board import CATALOG, Board
from redkite.storage.catalog import MemoryCatalog
from redkite.storage.catalog_follow import FollowedCatalog
from redkite.storage.checksums import READERS
from redkite.storage.local_log import LocalLog
from redkite.storage.objects import FolderObjects

SERVED = frozenset({
    rq.Connect, rq.GetVersion, rq.CheckHealth, rq.GetComponentStates, rq.ListDatabases, rq.DescribeDatabase,
    rq.HasCollection, rq.DescribeCollection, rq.ShowCollections, rq.GetCollectionStatistics, rq.HasPartition,
    rq.ShowPartitions, rq.GetPartitionStatistics, rq.DescribeAlias, rq.ListAliases, rq.GetLoadingProgress,
    rq.GetLoadState, rq.DescribeIndex, rq.Search, rq.HybridSearch, rq.Query,
    BatchDescribeCollection, pl.GetReplicas, pl.ListResourceGroups, pl.DescribeResourceGroup,
    RegisterEmbedding, an.RunAnalyzer, an.ComputePhraseMatchSlop, an.ListFileResources,
})  # fmt: skip
TRIES = 50
"""How often one request may find that the writer moved something between two looks."""


class ReadOnlyService:
    """Answers reads by what the writer has made durable; refuses the rest."""

    def __init__(
        self,
        proxy: Proxy,
        topology: Topology,
        oracle: FollowingOracle,
        node: FollowingNode,
        catalog: FollowedCatalog,
        board: Board | None,
    ) -> None:
        self._proxy = proxy
        self.reads = proxy.reads
        self._topology = topology
        self._oracle = oracle
        self._node = node
        self._catalog = catalog
        self._board = board
        self._seen: dict[str, int] = {}
        """What was on the board when this was last brought up to date."""
        self._lock = Lock()

    def call(self, request: rq.Request) -> rs.Result:
        if type(request) not in SERVED:
            name = type(request).__name__
            raise ReadOnlyDatabase(f"{name} is not for a database that was opened with read_only=True")
        for _ in range(TRIES):
            try:
                if self._is_behind(request):
                    self._catch_up(request)
                answer = self._proxy.call(request)
            except (SegmentGone, ObjectNotFound):
                self._seen = {}
                continue
            assert isinstance(answer, rs.Result)
            return answer
        raise StorageError("the database changes faster than it can be followed: try again")

    def close(self) -> None:
        self._proxy.close()

    def is_quick(self, request: rq.Request) -> bool:
        return type(request) in SERVED and not self._is_behind(request) and self._proxy.is_quick(request)

    def follow(self) -> None:
        """Take over what was committed to the catalog since the last look."""
        if self._board is None or self._board.read(CATALOG) != self._seen.get(CATALOG, -1):
            self._catch_up(rq.GetVersion())

    def _is_behind(self, request: rq.Request) -> bool:
        """Whether files have to be looked at before the answer."""
        board, seen = self._board, self._seen
        if board is None or board.read(CATALOG) != seen.get(CATALOG, -1):
            return True
        return any(board.read(channel) != seen.get(channel, -1) for channel in self._channels(request))

    def _channels(self, request: rq.Request) -> tuple[str, ...]:
        root, name = self._topology.root, getattr(request, "collection", "")
        return root.find(request.database, name).channels if name and root.exists(request.database, name) else ()

    def _catch_up(self, request: rq.Request) -> None:
        topology, board = self._topology, self._board
        reads = isinstance(request, rq.Search | rq.HybridSearch | rq.Query)
        with self._lock:
            # Before the look: what was published by now is found by it.
            told = {CATALOG: 0 if board is None else board.read(CATALOG)}
            if told[CATALOG] == self._seen.get(CATALOG):
                told = self._seen
            if self._catalog.refresh():
                topology.root.reload()
                topology.data.reload()
                topology.loads.reload()
                topology.access.reload()
                topology.files.reload()
                self._proxy.forget_plans()
                kept = {channel for meta in topology.root.all_collections() for channel in meta.channels}
                for channel in self._node.channels():
                    if channel not in kept:
                        self._node.drop_channel(channel)
            name = getattr(request, "collection", "")
            if name and topology.root.exists(request.database, name):
                meta = topology.root.find(request.database, name)
                for channel in meta.channels:
                    number = 0 if board is None else board.read(channel)
                    shard = self._node.shard(meta, channel) if reads else self._node.open_shard(channel)
                    if shard is not None:
                        shard.catch_up(meta)
                        self._oracle.observe(shard.view.timestamp)
                        told = {**told, channel: number}
            self._seen = told


class ReadOnlyView:
    """An open database that is only read. `service` answers requests; `close` gives back files and memory."""

    def __init__(self, service: ReadOnlyService, topology: Topology, catalog: FollowedCatalog, log_: LocalLog) -> None:
        self.service: Service = service
        self._reads = service
        self.reads = service.reads
        self.topology = topology
        self._catalog = catalog
        self._log = log_
        self._closed = False

    def follow(self) -> None:
        """Take over what the writer has committed."""
        self._reads.follow()

    def close(self) -> None:
        """Twice is once."""
        if not self._closed:
            self._closed = True
            self._reads.close()
            self.topology.close()
            self._log.close()
            self._catalog.close()


def open_for_reading(
    path: str,
    *,
    env: Env | None = None,
    limits: Limits = LIMITS,
    verify: bool = True,
    board: Board | None = None,
    access: AccessRules | None = None,
    models: ModelSettings | None = None,
    analyzer_files: str | None = None,
    quotas: Quotas = QUOTAS,
    cluster_id: str = DEFAULT_CLUSTER,
) -> ReadOnlyView:
    """Open the database in folder `path` beside the process that writes it, or while none does.

    Collections are loaded as the writer has them loaded. With the `board` of the writer it sees what was acknowledged
    before each request. Raises StorageError when there is no database, Corruption when
    what is there cannot be read.
    """
    env = env or Env.real()
    root_path = os.path.abspath(path)
    if not env.files.exists(f"{root_path}/catalog"):
        raise StorageError(f"there is no database at {root_path} to open with read_only=True")
    catalog = FollowedCatalog(f"{root_path}/catalog")
    try:
        log_ = LocalLog(env, f"{root_path}/log", read_only=True, board=board)
        readers = env.tasks.executor("checksums", READERS)
        objects = FolderObjects(env.files, f"{root_path}/objects", verify=verify, writes=False, readers=readers)
        store = CountedObjects(objects, env.clock)
        oracle = FollowingOracle(catalog, env.clock)
        root = RootCoordinator(catalog, env, limits, oracle)
        numbers = itertools.count(1)
        data = DataCoordinator(catalog, lambda: -next(numbers), limits)
        scans = env.tasks.executor("scan", max(1, (os.cpu_count() or 2) - 1))
        querying = QueryNode(1, store, scans, env.clock)
        loads = QueryCoordinator(catalog, [querying.node_id])
        peers: dict[int, QueryPeer] = {querying.node_id: querying}
        memory = MemoryBudget(env)
        data_node = DataNode(1, env, store, 1, memory)
        garbage = Garbage(env, store, data.object_names)
        node = FollowingNode(env, log_, store, garbage, data, loads, peers, data_node, scans)
        snapshots = SnapshotCoordinator(catalog, garbage, env.clock.now_ms)
        policy = CompactionPolicy(enabled=False)
        compactor = Compactor(
            env, store, root, data, garbage, data_node, node.open_shard, policy, snapshots.protected_segments,
            JobRecords(MemoryCatalog(), "compaction"),
        )  # fmt: skip
        restores = RestoreJobs(MemoryCatalog(), env.clock.now_ms)
        topology = Topology(
            env, limits, store, garbage, root, data, loads, LocalOwners([node]), (querying,), (data_node,), compactor,
            snapshots, restores, JobRecords(MemoryCatalog(), "backup"),
            ImportJobs(MemoryCatalog(), garbage, env.clock.now_ms, limits.max_import_jobs), scans, memory,
            AccessCoordinator(catalog, env, limits, access),
            FileResourceCoordinator(catalog, env.files, root_path, analyzer_files, lambda: -next(numbers)),
            Standing(env.tasks, data.notes),
        )  # fmt: skip
        service = ReadOnlyService(
            Proxy(topology, models=models, quotas=quotas, writes=False, cluster_id=cluster_id),
            topology, oracle, node, catalog, board,
        )  # fmt: skip
        return ReadOnlyView(service, topology, catalog, log_)
    except MilvusException:
        catalog.close()
        raise
