"""What may be allowed: the names of Milvus's privileges, the objects they are about, and the groups they come in."""

from __future__ import annotations

from typing import Final

COLLECTION, GLOBAL, USER = "Collection", "Global", "User"
OBJECTS: Final = (COLLECTION, GLOBAL, USER)
ALL: Final = "All"
"""Every privilege over an object type; `*` in a grant."""
ANY: Final = "*"
ADMIN, PUBLIC = "admin", "public"
DEFAULT_ROLES: Final = (ADMIN, PUBLIC)
ROOT: Final = "root"
CLUSTER_LEVEL, DATABASE_LEVEL, COLLECTION_LEVEL = "Cluster", "Database", "Collection"

_COLLECTION_READ = (
    "Query Search IndexDetail GetFlushState GetLoadState GetLoadingProgress HasPartition ShowPartitions "
    "DescribeCollection DescribeAlias GetStatistics ListAliases GetImportProgress ListImport DescribeSnapshot "
    "ListSnapshots"
).split()
_COLLECTION_WRITE = (
    "Load Release Insert Delete Upsert Import Flush Compaction LoadBalance CreateIndex DropIndex CreatePartition "
    "DropPartition AddCollectionField AlterCollectionSchema RefreshExternalCollection CreateSnapshot DropSnapshot"
).split()
_COLLECTION_ADMIN = ["CreateAlias", "DropAlias", "RestoreSnapshot"]
_DATABASE_READ = ["ShowCollections", "DescribeDatabase"]
_DATABASE_WRITE = ["AlterDatabase"]
_DATABASE_ADMIN = ["CreateCollection", "DropCollection", "RenameCollection"]
_CLUSTER_READ = (
    "ListDatabases SelectOwnership SelectUser DescribeResourceGroup ListResourceGroups ListPrivilegeGroups "
    "GetReplicateConfiguration ListFileResources"
).split()
_CLUSTER_WRITE = (
    "FlushAll TransferNode TransferReplica UpdateResourceGroups AddFileResource RemoveFileResource PinSnapshotData "
    "UnpinSnapshotData"
).split()
_CLUSTER_ADMIN = (
    "BackupRBAC RestoreRBAC CreateDatabase DropDatabase CreateOwnership DropOwnership ManageOwnership "
    "CreateResourceGroup DropResourceGroup UpdateUser CreatePrivilegeGroup DropPrivilegeGroup OperatePrivilegeGroup "
    "UpdateReplicateConfiguration Expr RestoreExternalSnapshot ExportSnapshot"
).split()

GROUPS: Final[dict[str, frozenset[str]]] = {}
"""The built-in groups. Of one level, each contains the one before."""
for _level, _steps in (
    (COLLECTION_LEVEL, (_COLLECTION_READ, _COLLECTION_WRITE, _COLLECTION_ADMIN)),
    (DATABASE_LEVEL, (_DATABASE_READ, _DATABASE_WRITE, _DATABASE_ADMIN)),
    (CLUSTER_LEVEL, (_CLUSTER_READ, _CLUSTER_WRITE, _CLUSTER_ADMIN)),
):
    _members: list[str] = []
    for _name, _more in zip(("ReadOnly", "ReadWrite", "Admin"), _steps, strict=True):
        _members += _more
        GROUPS[_level + _name] = frozenset(_members)

LEVELS: Final = {
    name: level for level in (COLLECTION_LEVEL, DATABASE_LEVEL, CLUSTER_LEVEL) for name in GROUPS[f"{level}Admin"]
}
"""Privilege -> the level of what it is about."""

_COLLECTION_OBJECTS = frozenset(
    (
        "CreateIndex DropIndex IndexDetail Load Release Insert Upsert Delete Search Query Flush GetFlushState "
        "LoadBalance Compaction Import GetLoadState GetLoadingProgress GetStatistics CreatePartition DropPartition "
        "ShowPartitions HasPartition AddCollectionField AlterCollectionSchema RefreshExternalCollection CreateSnapshot "
        "DropSnapshot DescribeSnapshot ListSnapshots RestoreSnapshot"
    ).split()
)
_USER_OBJECTS = frozenset(("UpdateUser", "SelectUser"))
OBJECT_OF: Final = {
    name: COLLECTION if name in _COLLECTION_OBJECTS else USER if name in _USER_OBJECTS else GLOBAL for name in LEVELS
}
"""Privilege -> the type of object that it is granted on."""

OLD_GROUPS: Final = {
    (COLLECTION, "ReadOnly"): GROUPS["CollectionReadOnly"],
    (COLLECTION, "ReadWrite"): GROUPS["CollectionReadWrite"],
    (GLOBAL, "Admin"): frozenset(LEVELS),
}
"""(object type, group) as grants of the first kind name them."""

PUBLIC_PRIVILEGES: Final = ("DescribeCollection", "ListAliases", "IndexDetail")
"""What everybody may, on everything, unless that is switched off."""

IMPLIED: Final = {"Load": ("GetLoadState", "GetLoadingProgress"), "Flush": ("GetFlushState",)}
"""Granted along."""


def members(object_type: str, privilege: str, custom: dict[str, tuple[str, ...]]) -> frozenset[str]:
    """The single privileges that a granted name stands for. `custom` are the groups that users defined."""
    if privilege in (ALL, ANY):
        return frozenset(name for name, kind in OBJECT_OF.items() if kind == object_type)
    old = OLD_GROUPS.get((object_type, privilege))
    if privilege in custom and old is None and privilege not in GROUPS and privilege not in OBJECT_OF:
        return frozenset(name for member in custom[privilege] for name in members(object_type, member, {}))
    found = old or GROUPS.get(privilege) or frozenset((privilege,))
    return found | {more for name in found for more in IMPLIED.get(name, ())}
