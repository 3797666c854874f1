"""Which privilege each request takes, and over what.

A request that is in none of the tables takes the role `admin`: what was forgotten here is refused, not open.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from redkite.model import access as ac
from redkite.model import analysis as an
from redkite.model import external as ex
from redkite.model import imports as im
from redkite.model import legacy as lg
from redkite.model import placement as pl
from redkite.model import replication as rp
from redkite.model import requests as rq
from redkite.model.advice import AdviseIndex, MeasureRecall
from redkite.model.changes import AcknowledgeFeed, DropFeed, ListFeeds, ReadChanges
from redkite.model.describing import BatchDescribeCollection
from redkite.model.exchange import ExportSnapshot, GetExportSnapshotState, RestoreExternalSnapshot
from redkite.model.inspection import GetMetrics

Scope = Literal["cluster", "database", "collection", "collections", "user"]


class Needs(NamedTuple):
    privilege: str
    scope: Scope
    """`collection`: the one that `.collection` names; `collections`: each that `.collections` names."""
    name: str = "collection"
    """The attribute with the name of the collection, an alias of it, or the user."""


OPEN: Final = frozenset(
    {
        rq.Connect, rq.GetVersion, rq.CheckHealth, rq.GetComponentStates, rq.AllocTimestamp, rq.HasCollection,
        rq.ShowCollections, rq.ListDatabases, rq.GetFlushAllState, rq.GetCompactionState, rq.GetCompactionPlans,
        rq.ListPersistentSegments, rq.ListLoadedSegments, rq.GetRestoreSnapshotState, an.RunAnalyzer,
        an.ComputePhraseMatchSlop, GetMetrics, pl.GetReplicas,
        lg.CalcDistance, lg.ReplicateMessage, lg.RegisterLink, lg.Dummy, ex.GetRefreshProgress, ex.ListRefreshJobs,
    }
)  # fmt: skip
"""What any user may; lists show only what a grant names."""

_COLLECTION: Final[dict[str, tuple[type[rq.Request], ...]]] = {
    "Load": (rq.LoadCollection, rq.LoadPartitions),
    "Release": (rq.ReleaseCollection, rq.ReleasePartitions),
    "GetLoadState": (rq.GetLoadState, rq.GetLoadingProgress),
    "GetStatistics": (rq.GetCollectionStatistics, rq.GetPartitionStatistics),
    "CreatePartition": (rq.CreatePartition,),
    "DropPartition": (rq.DropPartition,),
    "ShowPartitions": (rq.ShowPartitions,),
    "HasPartition": (rq.HasPartition,),
    "CreateIndex": (rq.CreateIndex, rq.AlterIndex),
    "DropIndex": (rq.DropIndex,),
    "IndexDetail": (
        rq.DescribeIndex,
        rq.GetIndexState,
        rq.GetIndexBuildProgress,
        rq.GetIndexStatistics,
        rq.ListIndexedSegments,
    ),
    "Insert": (rq.Insert,),
    "Upsert": (rq.Upsert,),
    "Delete": (rq.Delete,),
    "Search": (rq.Search, rq.HybridSearch, MeasureRecall, AdviseIndex),
    "Query": (rq.Query, ReadChanges, ListFeeds, DropFeed, AcknowledgeFeed),
    "Compaction": (rq.Compact,),
    "AddCollectionField": (rq.AddCollectionField, rq.AddCollectionStructField),
    "RefreshExternalCollection": (ex.RefreshExternalCollection,),
    "AlterCollectionSchema": (rq.DropCollectionField, rq.AddFunctionField, rq.DropFunctionField),
    "CreateSnapshot": (rq.CreateSnapshot,),
    "DropSnapshot": (rq.DropSnapshot,),
    "DescribeSnapshot": (rq.DescribeSnapshot,),
    "ListSnapshots": (rq.ListSnapshots,),
    "RestoreSnapshot": (rq.RestoreSnapshot, rq.ListRestoreSnapshotJobs),
    "DescribeCollection": (rq.DescribeCollection,),
    "GetFlushState": (rq.GetFlushState,),
    "Import": (im.Import, im.ImportFiles, im.CommitImport, im.AbortImport),
    "GetImportProgress": (im.GetImportState, im.DescribeImport),
    "ListImport": (im.ListImportTasks, im.ListImports),
    "LoadBalance": (pl.LoadBalance,),
}
_DATABASE: Final[dict[str, tuple[type[rq.Request], ...]]] = {
    "CreateCollection": (
        rq.CreateCollection,
        rq.AlterCollection,
        rq.AlterCollectionField,
        rq.AlterFunction,
        lg.AddCollectionFunction,
        lg.DropCollectionFunction,
    ),
    "DropCollection": (rq.DropCollection, rq.TruncateCollection),
    "RenameCollection": (rq.RenameCollection,),
    "CreateAlias": (rq.CreateAlias, rq.AlterAlias),
    "DropAlias": (rq.DropAlias,),
    "DescribeAlias": (rq.DescribeAlias,),
    "ListAliases": (rq.ListAliases,),
    "AlterDatabase": (rq.AlterDatabase,),
    "DescribeDatabase": (rq.DescribeDatabase,),
}
_CLUSTER: Final[dict[str, tuple[type[rq.Request], ...]]] = {
    "CreateDatabase": (rq.CreateDatabase,),
    "DropDatabase": (rq.DropDatabase,),
    "FlushAll": (rq.FlushAll,),
    "ExportSnapshot": (ExportSnapshot, GetExportSnapshotState),
    "RestoreExternalSnapshot": (RestoreExternalSnapshot,),
    "PinSnapshotData": (rq.PinSnapshotData,),
    "UnpinSnapshotData": (rq.UnpinSnapshotData,),
    "CreateOwnership": (ac.CreateUser, ac.CreateRole, ac.AlterRole),
    "DropOwnership": (ac.DropUser, ac.DropRole),
    "SelectOwnership": (ac.ListUsers, ac.SelectRoles, ac.SelectGrants),
    "ManageOwnership": (ac.BindRole, ac.OperatePrivilege, ac.OperatePrivilegeV2),
    "CreatePrivilegeGroup": (ac.CreatePrivilegeGroup,),
    "DropPrivilegeGroup": (ac.DropPrivilegeGroup,),
    "ListPrivilegeGroups": (ac.ListPrivilegeGroups,),
    "OperatePrivilegeGroup": (ac.ChangePrivilegeGroup,),
    "BackupRBAC": (ac.BackupAccess,),
    "RestoreRBAC": (ac.RestoreAccess,),
    "CreateResourceGroup": (pl.CreateResourceGroup,),
    "UpdateResourceGroups": (pl.UpdateResourceGroups,),
    "DropResourceGroup": (pl.DropResourceGroup,),
    "ListResourceGroups": (pl.ListResourceGroups,),
    "DescribeResourceGroup": (pl.DescribeResourceGroup,),
    "TransferNode": (pl.TransferNode,),
    "TransferReplica": (pl.TransferReplica,),
    "AddFileResource": (an.AddFileResource,),
    "RemoveFileResource": (an.RemoveFileResource,),
    "ListFileResources": (an.ListFileResources,),
    "UpdateReplicateConfiguration": (
        rp.UpdateReplicateConfiguration,
        rp.ReadReplication,
        rp.ApplyReplication,
        rp.FreezeWrites,
        rp.CountEverything,
    ),
    "GetReplicateConfiguration": (rp.GetReplicateConfiguration, rp.GetReplicateInfo),
}


def _table() -> dict[type[rq.Request], Needs]:
    scopes: tuple[tuple[dict[str, tuple[type[rq.Request], ...]], Scope], ...] = (
        (_COLLECTION, "collection"), (_DATABASE, "database"), (_CLUSTER, "cluster"),
    )  # fmt: skip
    found = {
        kind: Needs(privilege, scope)
        for groups, scope in scopes
        for privilege, kinds in groups.items()
        for kind in kinds
    }
    found[rq.Flush] = Needs("Flush", "collections", "collections")
    found[rq.DropAlias] = Needs("DropAlias", "database", "alias")
    found[rq.DescribeAlias] = Needs("DescribeAlias", "database", "alias")
    found[BatchDescribeCollection] = Needs("DescribeCollection", "collections", "collections")
    found[ac.UpdateUser] = Needs("UpdateUser", "user", "name")
    found[ac.SelectUsers] = Needs("SelectUser", "user", "name")
    return found


NEEDS: Final = _table()
