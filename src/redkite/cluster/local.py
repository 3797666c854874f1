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

from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.loads import QueryCoordinator
from redkite.coordinator.root import RootCoordinator
from redkite.env import Env, FileLock
from redkite.logs import get_logger
from redkite.model.limits import LIMITS, Limits
from redkite.model.service import Service
from redkite.node.data import DataNode
from redkite.node.peers import QueryPeer
from redkite.node.querying import QueryNode
from redkite.node.streaming import SealPolicy, StreamingNode
from redkite.node.topology import Topology
from redkite.proxy.definitions import drop_data
from redkite.proxy.service import Proxy
from redkite.storage.catalog import Catalog, open_catalog
from redkite.storage.local_log import LocalLog
from redkite.storage.lock import lock_path
from redkite.storage.objects import FolderObjects

log = get_logger(__name__)


class Database:
    """An open database. `service` answers requests; `close` gives the path back."""

    def __init__(self, topology: Topology, catalog: Catalog, log_: LocalLog, lock: FileLock) -> None:
        self.topology = topology
        self.service: Service = Proxy(topology)
        self._catalog = catalog
        self._log = log_
        self._lock = lock
        self._closed = False

    def close(self) -> None:
        """Finish writes under way, stop background work, release the path. Twice is once."""
        if self._closed:
            return
        self._closed = True
        try:
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
) -> Database:
    """Open or create the database in folder `path`.

    `threads` build indexes (0: one a core). Raises PathLocked when another process has the path, Corruption when what
    is there cannot be read.
    """
    env = env or Env.real()
    root = os.path.abspath(path) if env.files.local_path(path) is not None else path
    lock = lock_path(env.files, env.clock, root, os.getpid(), " ".join(sys.argv[:2]) or "python")
    opened: list[Callable[[], None]] = []
    try:
        catalog = open_catalog(env.files, f"{root}/catalog")
        opened.append(catalog.close)
        local_log = LocalLog(env, f"{root}/log")
        opened.append(local_log.close)
        store = FolderObjects(env.files, f"{root}/objects")
        topology = _topology(
            env, limits, catalog, local_log, store, policy or SealPolicy(), streaming_nodes, query_nodes, threads
        )
        _sweep(topology, local_log, store)
        return Database(topology, catalog, local_log, lock)
    except BaseException:
        for close in reversed(opened):
            close()
        lock.release()
        raise


def _topology(
    env: Env,
    limits: Limits,
    catalog: Catalog,
    log_: LocalLog,
    store: FolderObjects,
    policy: SealPolicy,
    streaming_nodes: int,
    query_nodes: int,
    threads: int,
) -> Topology:
    root = RootCoordinator(catalog, env, limits)
    data = DataCoordinator(catalog, lambda: root.oracle.allocate_ids(1), limits)
    scans = env.tasks.executor("scan", max(1, (os.cpu_count() or 2) - 1))
    querying = tuple(QueryNode(number, store, scans) for number in range(1, query_nodes + 1))
    loads = QueryCoordinator(catalog, [node.node_id for node in querying])
    peers: dict[int, QueryPeer] = {node.node_id: node for node in querying}
    data_node = DataNode(1, env, store, threads or os.cpu_count() or 1)
    streaming = tuple(
        StreamingNode(number, env, log_, store, data, loads, peers, data_node, scans, root.oracle.allocate, policy)
        for number in range(1, streaming_nodes + 1)
    )
    return Topology(env, limits, store, root, data, loads, streaming, querying, (data_node,), scans)


def _sweep(topology: Topology, log_: LocalLog, store: FolderObjects) -> None:
    """Remove what a crash left behind: data of dropped collections, objects that no commit names."""
    existing = {meta.collection_id: meta for meta in topology.root.all_collections()}
    channels = {channel for meta in existing.values() for channel in meta.channels}
    for channel in log_.topics():
        if channel not in channels:
            log_.drop(channel)
    named: set[str] = set()
    for collection_id in topology.data.collections():
        if collection_id not in existing:
            log.info("removing what is left of dropped collection %d", collection_id)
            drop_data(topology, collection_id, topology.data.channels_of(collection_id))
            continue
        for segment in topology.data.segments(collection_id):
            named.update((segment.rows_object, segment.order_object, segment.deletes_object))
            named.update(file.object for file in segment.indexes)
    for name in store.list("segments/"):
        if name not in named:
            store.delete(name)
