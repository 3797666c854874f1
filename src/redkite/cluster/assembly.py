"""What every node that runs requests is made of: its metadata, and ways to those that have the rows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from redkite.config import Settings, import_places, model_settings
from redkite.coordinator.access import AccessCoordinator
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
from redkite.env import Env, Executor
from redkite.node.compactor import Compactor
from redkite.node.data import DataNode
from redkite.node.face import Owners, ServingNode
from redkite.node.memory import MemoryBudget
from redkite.node.shard import Shard
from redkite.node.topology import Topology
from redkite.storage.catalog import Catalog, MemoryCatalog
from redkite.storage.objects import ObjectStore


class Known(Protocol):
    """What a node knows of a cluster's metadata; kept new by somebody."""

    root: RootCoordinator
    data: DataCoordinator
    loads: QueryCoordinator
    access: AccessCoordinator
    files: FileResourceCoordinator


def topology_over(
    env: Env,
    settings: Settings,
    known: Known,
    store: ObjectStore,
    garbage: Garbage,
    streaming: Owners,
    *,
    querying: Sequence[ServingNode] = (),
    data_nodes: Iterable[DataNode] = (),
    compactor: Compactor | None = None,
    memory: MemoryBudget | None = None,
    scans: Executor | None = None,
    decides: Catalog | None = None,
) -> Topology:
    """`decides`: the catalog, of a node that keeps jobs and snapshots; None: another does, and these are not asked."""
    memory = memory or MemoryBudget(env)
    scans = scans or env.tasks.executor("scan", max(1, (os.cpu_count() or 2) - 1))
    kept: Catalog = MemoryCatalog() if decides is None else decides
    snapshots = SnapshotCoordinator(kept, garbage, env.clock.now_ms)
    if compactor is None:
        compactor = idle_compactor(env, store, known, garbage, memory, snapshots)
    return Topology(
        env, settings.limits, store, garbage, known.root, known.data, known.loads, streaming, querying,
        tuple(data_nodes), compactor, snapshots,
        RestoreJobs(kept, env.clock.now_ms, resumes=decides is not None),
        JobRecords(kept, "backup", resumes=decides is not None),
        ImportJobs(
            kept, garbage, env.clock.now_ms, settings.limits.max_import_jobs, resumes=decides is not None
        ), scans, memory, known.access,
        known.files, Standing(env.tasks, known.data.notes),
    )  # fmt: skip


def idle_compactor(
    env: Env, store: ObjectStore, known: Known, garbage: Garbage, memory: MemoryBudget, snapshots: SnapshotCoordinator
) -> Compactor:
    """Of a node whose shards are elsewhere: it has nothing to compact."""

    def no_shard(_channel: str) -> Shard | None:
        return None

    return Compactor(
        env, store, known.root, known.data, garbage, DataNode(0, env, store, 1, memory), no_shard,
        CompactionPolicy(enabled=False), snapshots.protected_segments, JobRecords(MemoryCatalog(), "compaction"),
    )  # fmt: skip


def proxy_arguments(settings: Settings) -> dict[str, Any]:
    """What a `Proxy` is told by settings."""
    return {
        "backups": settings.backups or f"{settings.data.rstrip('/')}-backups",
        "models": model_settings(settings),
        "quotas": settings.quotas,
        "imports": import_places(settings),
        "cluster_id": settings.cluster_id,
    }
