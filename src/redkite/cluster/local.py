"""All nodes in one process, over one folder.

<path>/LOCK       who writes this path
<path>/catalog    what exists (SQLite)
<path>/log/       what was acknowledged and is not sealed yet
<path>/objects/   sealed segments and indexes
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import msgspec

from redkite.coordinator.access import AccessCoordinator, AccessRules
from redkite.coordinator.compaction import CompactionPolicy
from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.file_resources import FileResourceCoordinator
from redkite.coordinator.garbage import GRACE_SECONDS, Garbage
from redkite.coordinator.imports import ImportJobs
from redkite.coordinator.jobs import JobRecords
from redkite.coordinator.loads import QueryCoordinator
from redkite.coordinator.restores import RestoreJobs
from redkite.coordinator.root import RootCoordinator
from redkite.coordinator.snapshots import SnapshotCoordinator
from redkite.coordinator.standing import Standing
from redkite.env import Env, FileLock
from redkite.logs import get_logger
from redkite.model.calling import ModelSettings
from redkite.model.limits import LIMITS, Limits
from redkite.model.quotas import QUOTAS, Quotas
from redkite.model.replication import DEFAULT_CLUSTER
from redkite.model.service import Service
from redkite.node.compactor import Compactor
from redkite.node.counted_objects import CountedObjects
from redkite.node.data import DataNode
from redkite.node.memory import MemoryBudget
from redkite.node.peers import QueryPeer
from redkite.node.querying import QueryNode
from redkite.node.shard import Shard
from redkite.node.streaming import SealPolicy, StreamingNode
from redkite.node.topology import LocalOwners, Topology
from redkite.proxy.definitions import drop_data
from redkite.proxy.service import Proxy
from redkite.query.allowed import CACHE_BYTES
from redkite.storage.board import Board, PublishedCatalog
from redkite.storage.catalog import Catalog, open_catalog
from redkite.storage.change_notes import ChangeNotes
from redkite.storage.checksums import READERS
from redkite.storage.local_log import LocalLog
from redkite.storage.lock import lock_path
from redkite.storage.log import LogSettings
from redkite.storage.objects import FolderObjects, ObjectStore

log = get_logger(__name__)


class Database:
    """An open database. `service` answers requests; `close` gives the path back."""

    def __init__(
        self,
        topology: Topology,
        catalog: Catalog,
        log_: LocalLog,
        lock: FileLock,
        backups: str | None = None,
        models: ModelSettings | None = None,
        quotas: Quotas = QUOTAS,
        imports: tuple[str, ...] | None = None,
        cluster_id: str = DEFAULT_CLUSTER,
    ) -> None:
        self.topology = topology
        self.access = topology.access
        self._proxy = Proxy(topology, backups, models, quotas, imports, cluster_id=cluster_id)
        self.replication = self._proxy.replication
        self.service: Service = self._proxy
        self._catalog = catalog
        self._log = log_
        self._lock = lock
        self._closed = False

    def follow(self) -> None:
        """Take over what others have committed: nobody else does."""

    def close(self) -> None:
        """Finish writes under way, stop background work, release the path. Twice is once."""
        if self._closed:
            return
        self._closed = True
        try:
            self._proxy.close()
            self.topology.close()
            self._log.close()
            self._catalog.close()
        finally:
            self._lock.release()


def open_database(
    path: str,
    *,
    env: Env | None = None,
    limits: Limits = LIMITS,
    policy: SealPolicy | None = None,
    streaming_nodes: int = 1,
    query_nodes: int = 1,
    threads: int = 0,
    compaction: CompactionPolicy | None = None,
    garbage_seconds: float = GRACE_SECONDS,
    verify: bool = True,
    log_settings: LogSettings | None = None,
    backups: str | None = None,
    memory_limit: int = 0,
    memory_wait_seconds: float = 10.0,
    board: Board | None = None,
    access: AccessRules | None = None,
    models: ModelSettings | None = None,
    analyzer_files: str | None = None,
    quotas: Quotas = QUOTAS,
    imports: tuple[str, ...] | None = None,
    cluster_id: str = DEFAULT_CLUSTER,
) -> Database:
    """Open or create the database in folder `path`.

    `threads` build indexes (0: one a core). Compacted segments become as large as sealed ones unless `compaction` says
    otherwise. Objects that nothing needs any more are deleted after `garbage_seconds`. `verify` compares the checksum
    of a segment or index before its first use. `backups` is the folder or URL below which backups may be made (None:
    anywhere). `memory_limit` bounds the private memory of this database, in bytes (0: not at all); a write that finds
    no room in it for `memory_wait_seconds` raises MemoryLimitExceeded. Readers that share the `board` see each write at
    once. `access` says how users are told and what they may, `models` how functions ask models. Analyzers read files
    below `analyzer_files` (None: anywhere). `quotas` limits what may be asked. `imports`
    are the folders and URLs below which files of imports may lie (None: anywhere). `cluster_id` is what this is called
    where clusters replicate. Raises PathLocked when
    another process has the path, Corruption when what is there cannot be read.
    """
    env = env or Env.real()
    root = os.path.abspath(path) if env.files.local_path(path) is not None else path
    env.files.make_dirs(f"{root}/log", f"{root}/objects")  # with one wait for the disk
    lock = lock_path(env.files, env.clock, root, os.getpid(), " ".join(sys.argv[:2]) or "python")
    opened: list[Callable[[], None]] = []
    try:
        catalog = open_catalog(env.files, f"{root}/catalog")
        opened.append(catalog.close)
        if board is not None:
            catalog = PublishedCatalog(catalog, board)
        catalog = ChangeNotes(catalog)
        memory = MemoryBudget(env, memory_limit, memory_wait_seconds)
        local_log = LocalLog(env, f"{root}/log", (log_settings or LogSettings()).within(memory_limit), board=board)
        memory.watch("log queue", lambda: local_log.backlog.size)
        memory.tight_when(lambda: local_log.backlog.is_full)
        opened.append(local_log.close)
        readers = env.tasks.executor("checksums", READERS)
        opened.append(readers.shutdown)
        store = CountedObjects(FolderObjects(env.files, f"{root}/objects", verify=verify, readers=readers), env.clock)
        policy = (policy or SealPolicy()).within(memory_limit)
        compaction = compaction or CompactionPolicy(rows=policy.rows, bytes=policy.bytes)
        if memory_limit:
            compaction = msgspec.structs.replace(compaction, bytes=min(compaction.bytes, policy.bytes))
        topology = _topology(
            env, root, analyzer_files, limits, catalog, local_log, store, policy, streaming_nodes, query_nodes,
            threads, compaction, garbage_seconds, memory, AccessCoordinator(catalog, env, limits, access),
        )  # fmt: skip
        _sweep(topology, local_log)
        return Database(topology, catalog, local_log, lock, backups, models, quotas, imports, cluster_id)
    except BaseException:
        for close in reversed(opened):
            close()
        lock.release()
        raise


def _topology(
    env: Env,
    folder: str,
    analyzer_files: str | None,
    limits: Limits,
    catalog: Catalog,
    log_: LocalLog,
    store: ObjectStore,
    policy: SealPolicy,
    streaming_nodes: int,
    query_nodes: int,
    threads: int,
    compaction: CompactionPolicy,
    garbage_seconds: float,
    memory: MemoryBudget,
    access: AccessCoordinator,
) -> Topology:
    root = RootCoordinator(catalog, env, limits)
    if isinstance(catalog, ChangeNotes):
        catalog.stamp_with(root.oracle.allocate)
    data = DataCoordinator(catalog, lambda: root.oracle.allocate_ids(1), limits)
    scans = env.tasks.executor("scan", max(1, (os.cpu_count() or 2) - 1))
    cache_bytes = memory.cache_bytes(CACHE_BYTES, query_nodes)
    querying = tuple(QueryNode(number, store, scans, env.clock, cache_bytes) for number in range(1, query_nodes + 1))
    loads = QueryCoordinator(catalog, [node.node_id for node in querying], lambda: root.oracle.allocate_ids(1))
    peers: dict[int, QueryPeer] = {node.node_id: node for node in querying}
    data_node = DataNode(1, env, store, threads or os.cpu_count() or 1, memory)
    garbage = Garbage(env, store, data.object_names, garbage_seconds)
    streaming = tuple(
        StreamingNode(
            number,
            env,
            log_,
            store,
            garbage,
            data,
            loads,
            peers,
            data_node,
            scans,
            root.oracle.allocate,
            policy,
            memory,
        )
        for number in range(1, streaming_nodes + 1)
    )
    memory.watch("growing segments", lambda: sum(node.growing_bytes() for node in streaming))
    memory.watch("caches", lambda: sum(node.private_bytes() for node in querying))

    def relieve(excess: int) -> None:
        for node in streaming:
            node.seal_for_memory(excess // len(streaming))

    memory.relieve_with(relieve)

    def open_shard(channel: str) -> Shard | None:
        return next((shard for node in streaming if (shard := node.open_shard(channel)) is not None), None)

    snapshots = SnapshotCoordinator(catalog, garbage, env.clock.now_ms)
    compactor = Compactor(
        env, store, root, data, garbage, data_node, open_shard, compaction, snapshots.protected_segments,
        JobRecords(catalog, "compaction"),
    )  # fmt: skip
    restores = RestoreJobs(catalog, env.clock.now_ms)
    return Topology(
        env, limits, store, garbage, root, data, loads, LocalOwners(streaming), querying, (data_node,), compactor,
        snapshots, restores, JobRecords(catalog, "backup"),
        ImportJobs(catalog, garbage, env.clock.now_ms, limits.max_import_jobs), scans, memory, access,
        FileResourceCoordinator(catalog, env.files, folder, analyzer_files, lambda: root.oracle.allocate_ids(1)),
        Standing(env.tasks, data.notes),
    )  # fmt: skip


def _sweep(topology: Topology, log_: LocalLog) -> None:
    """Remove what a crash left behind: data of dropped collections, objects that no commit names."""
    existing = {meta.collection_id: meta for meta in topology.root.all_collections()}
    channels = {channel for meta in existing.values() for channel in meta.channels}
    for channel in log_.topics():
        if channel not in channels:
            log_.drop(channel)
    for collection_id in {*topology.data.collections(), *topology.snapshots.collections()}:
        if collection_id not in existing:
            log.info("removing what is left of dropped collection %d", collection_id)
            drop_data(topology, collection_id, topology.data.channels_of(collection_id))
    topology.imports.fail_cut_off(existing.__contains__)
    topology.garbage.sweep("segments/")
