"""The waist, going down: everything that can be asked of Redkite, as frozen structs.

Each class names its result in `results.py` where it has one; the others answer `Done`. Front ends only translate to
these and back. An empty `database` means `default`. A collection may be named by an alias, except where noted.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pyarrow as pa

from redkite.model.advice import AdviseIndex as AdviseIndex
from redkite.model.advice import MeasureRecall as MeasureRecall
from redkite.model.function_changes import AddFunctionField as AddFunctionField
from redkite.model.function_changes import AlterFunction as AlterFunction
from redkite.model.function_changes import DropFunctionField as DropFunctionField
from redkite.model.one_row import LooseRow, OneRow
from redkite.model.ranking import HybridSearch as HybridSearch
from redkite.model.reading import Aggregation as Aggregation
from redkite.model.reading import Grouping as Grouping
from redkite.model.reading import Measure as Measure
from redkite.model.reading import Ordering as Ordering
from redkite.model.reading import Page as Page
from redkite.model.reading import Queries as Queries
from redkite.model.reading import Query as Query
from redkite.model.reading import Search as Search
from redkite.model.reading import TopHits as TopHits
from redkite.model.request import Request as Request
from redkite.model.schema import CollectionSchema, FieldSchema, StructFieldSchema
from redkite.model.types import ConsistencyLevel, FieldOp, LoadPriority


# -- session ------------------------------------------------------------------------------------
class Connect(Request, frozen=True):
    """-> ServerInfo. A missing database is an error (800)."""

    client: dict[str, str] = {}


class GetVersion(Request, frozen=True):
    """-> Version"""


class CheckHealth(Request, frozen=True):
    """-> Health"""


class GetComponentStates(Request, frozen=True):
    """-> Health"""


class AllocTimestamp(Request, frozen=True):
    """-> Timestamp"""


# -- databases ----------------------------------------------------------------------------------
class CreateDatabase(Request, frozen=True):
    """`database` is the new name. Properties are refused in this version."""

    properties: dict[str, str] = {}


class DropDatabase(Request, frozen=True):
    pass


class ListDatabases(Request, frozen=True):
    """-> Databases"""


class DescribeDatabase(Request, frozen=True):
    """-> DatabaseInfo"""


# -- collections --------------------------------------------------------------------------------
class CreateCollection(Request, frozen=True):
    schema: CollectionSchema
    shards: int = 0
    """0 means 1."""
    partitions: int = 0
    """Only with a partition key; 0 means the default number."""
    consistency_level: ConsistencyLevel = ConsistencyLevel.Bounded
    properties: dict[str, str] = {}


class DropCollection(Request, frozen=True):
    """Real name only, no alias. Missing is success."""

    collection: str


class HasCollection(Request, frozen=True):
    """-> Flag"""

    collection: str


class DescribeCollection(Request, frozen=True):
    """-> CollectionInfo. By name or alias, else by id."""

    collection: str = ""
    collection_id: int = 0


class ShowCollections(Request, frozen=True):
    """-> Collections. Of these names, which must exist; none means all."""

    loaded_only: bool = False
    names: tuple[str, ...] = ()


class RenameCollection(Request, frozen=True):
    """Real name only, no alias."""

    collection: str
    new_name: str
    new_database: str = ""


class TruncateCollection(Request, frozen=True):
    collection: str


class AddCollectionField(Request, frozen=True):
    """The rows that are there have the field's default, else null."""

    collection: str
    field: FieldSchema


class AddCollectionStructField(Request, frozen=True):
    """An array of structs, which is null in the rows that are there."""

    collection: str
    field: StructFieldSchema


class DropCollectionField(Request, frozen=True):
    """By name, or without one by id."""

    collection: str
    field: str = ""
    field_id: int = 0


class AlterCollectionField(Request, frozen=True):
    """Either sets params of a field or deletes some. Stored values stay as they are."""

    collection: str
    field: str
    properties: dict[str, str] = {}
    delete_keys: tuple[str, ...] = ()


class AlterCollection(Request, frozen=True):
    """Either sets properties or deletes some."""

    collection: str
    properties: dict[str, str] = {}
    delete_keys: tuple[str, ...] = ()


class AlterDatabase(Request, frozen=True):
    """Either sets properties of `database` or deletes some."""

    properties: dict[str, str] = {}
    delete_keys: tuple[str, ...] = ()


class GetCollectionStatistics(Request, frozen=True):
    """-> RowCount"""

    collection: str


# -- partitions ---------------------------------------------------------------------------------
class CreatePartition(Request, frozen=True):
    collection: str
    partition: str


class DropPartition(Request, frozen=True):
    collection: str
    partition: str


class HasPartition(Request, frozen=True):
    """-> Flag"""

    collection: str
    partition: str


class ShowPartitions(Request, frozen=True):
    """-> Partitions. Of these names, which must exist; none means all. An empty `collection` is known by its id."""

    collection: str
    collection_id: int = 0
    names: tuple[str, ...] = ()
    loaded_only: bool = False


class GetPartitionStatistics(Request, frozen=True):
    """-> RowCount"""

    collection: str
    partition: str


# -- aliases ------------------------------------------------------------------------------------
class CreateAlias(Request, frozen=True):
    collection: str
    alias: str


class DropAlias(Request, frozen=True):
    alias: str


class AlterAlias(Request, frozen=True):
    collection: str
    alias: str


class DescribeAlias(Request, frozen=True):
    """-> AliasInfo"""

    alias: str


class ListAliases(Request, frozen=True):
    """-> Aliases"""

    collection: str = ""


# -- load state ---------------------------------------------------------------------------------
class LoadCollection(Request, frozen=True):
    """Returns at once; progress by GetLoadingProgress. `replicas` 0: as the collection's or its database's properties
    say, else one."""

    collection: str
    replicas: int = 0
    refresh: bool = False
    load_fields: tuple[str, ...] = ()
    skip_dynamic_field: bool = False
    resource_groups: tuple[str, ...] = ()
    priority: LoadPriority = LoadPriority.HIGH


class ReleaseCollection(Request, frozen=True):
    collection: str


class LoadPartitions(Request, frozen=True):
    collection: str
    partitions: tuple[str, ...]
    replicas: int = 0
    refresh: bool = False
    load_fields: tuple[str, ...] = ()
    skip_dynamic_field: bool = False
    resource_groups: tuple[str, ...] = ()
    priority: LoadPriority = LoadPriority.HIGH


class ReleasePartitions(Request, frozen=True):
    collection: str
    partitions: tuple[str, ...]


class GetLoadingProgress(Request, frozen=True):
    """-> LoadProgress. Not loaded: error 101."""

    collection: str
    partitions: tuple[str, ...] = ()


class GetLoadState(Request, frozen=True):
    """-> LoadStateInfo. A missing collection answers NotExist."""

    collection: str
    partitions: tuple[str, ...] = ()


# -- indexes ------------------------------------------------------------------------------------
class CreateIndex(Request, frozen=True):
    """Builds in the background; state by DescribeIndex. `params` (index_type, metric_type, M …) are all text."""

    collection: str
    field: str
    index_name: str = ""
    params: dict[str, str] = {}
    as_sent: dict[str, str] = {}
    """How `params` are shown, where some came as one JSON object under `params`; empty: as they are."""


class DescribeIndex(Request, frozen=True):
    """-> Indexes. Empty `index_name` means all (or those of `field`); none at all is error 700."""

    collection: str
    index_name: str = ""
    field: str = ""


class AlterIndex(Request, frozen=True):
    """Either sets properties of an index (`mmap.enabled`, `warmup`) or deletes some. The collection is not loaded."""

    collection: str
    index_name: str
    properties: dict[str, str] = {}
    delete_keys: tuple[str, ...] = ()


class GetIndexState(DescribeIndex, frozen=True):
    """-> Indexes, of which the first one counts."""


class GetIndexBuildProgress(DescribeIndex, frozen=True):
    """-> Indexes, of which the first one counts."""


class GetIndexStatistics(DescribeIndex, frozen=True):
    """-> Indexes"""


class ListIndexedSegments(DescribeIndex, frozen=True):
    """-> SegmentNumbers"""


class DropIndex(Request, frozen=True):
    """By index name or field. Missing is success."""

    collection: str
    index_name: str = ""
    field: str = ""


# -- data ---------------------------------------------------------------------------------------
class Insert(Request, frozen=True):
    """-> Mutation, or Written for a row taken apart. `rows` has one column per given field, named by it, typed by
    `batch.arrow_type`; null is a null or the default. Dynamic values are one `$meta` binary column of JSON objects."""

    collection: str
    rows: pa.RecordBatch | OneRow | LooseRow
    partition: str = ""
    schema_timestamp: int = 0
    """`update_timestamp` of the schema the client used; 0 = unknown. Older than the collection's: error 109."""


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """What must hold of every row that a write names, or nothing is written (Conflict)."""

    versions: tuple[int, ...] = ()
    """The version (`$version`) each row must have, or one for all; 0: there must be no such row. Empty: any."""
    where: str = ""
    """A filter that each row must be there for and pass."""
    where_params: dict[str, Any] = {}
    or_absent: bool = False
    """Of `where`: a row that is not there is fine, too. Nobody sends it: policies about rows ask so."""


class Upsert(Request, frozen=True):
    """-> Mutation, or Written for a row taken apart. Replaces rows of equal primary key. `partial`: only the given
    fields change; a key that is not there yet is inserted."""

    collection: str
    rows: pa.RecordBatch | OneRow | LooseRow
    """With `partial` or a condition always a batch."""
    partition: str = ""
    """With `partial` and none named, rows stay in the partition they are in."""
    schema_timestamp: int = 0
    partial: bool = False
    field_ops: dict[str, FieldOp] = {}
    """Of array fields, with `partial`."""
    condition: Condition | None = None


class Delete(Request, frozen=True):
    """-> Mutation (`count`; no ids)."""

    collection: str
    filter: str
    partition: str = ""
    filter_params: dict[str, Any] = {}
    condition: Condition | None = None
    """Only of deletes by primary key."""


class Flush(Request, frozen=True):
    """-> Flushed"""

    collections: tuple[str, ...]


class GetFlushState(Request, frozen=True):
    """-> Flag"""

    collection: str = ""
    segment_ids: tuple[int, ...] = ()
    flush_timestamp: int = 0


class FlushAll(Request, frozen=True):
    """-> Timestamp. Empty database: every database."""


class GetFlushAllState(Request, frozen=True):
    """-> Flag"""

    timestamp: int = 0


# -- compaction and segments --------------------------------------------------------------------
class Compact(Request, frozen=True):
    """-> CompactionJob. By name or id. Flushes first; then merges small segments and drops rows that are gone for good
    (`clustering`: splits by ranges of the clustering key; `level0`: only writes deletes down)."""

    collection: str = ""
    collection_id: int = 0
    clustering: bool = False
    level0: bool = False
    partition_id: int = 0
    channel: str = ""
    segment_ids: tuple[int, ...] = ()
    """Of these three 0 and empty mean all."""
    target_megabytes: int = 0
    """How large segments are to become; 0: as the policy says."""


class GetCompactionState(Request, frozen=True):
    """-> CompactionProgress"""

    job_id: int


class GetCompactionPlans(Request, frozen=True):
    """-> CompactionPlans, of one job, or of a collection (by name or id) when `job_id` is 0."""

    job_id: int = 0
    collection: str = ""
    collection_id: int = 0


class ListPersistentSegments(Request, frozen=True):
    """-> Segments. Without `states`: those that are flushed."""

    collection: str
    states: tuple[int, ...] = ()


class ListLoadedSegments(Request, frozen=True):
    """-> Segments. Not loaded: error 101."""

    collection: str


# -- named snapshots ----------------------------------------------------------------------------
class CreateSnapshot(Request, frozen=True):
    """Keep a collection's rows as they are now under a name that is unique within the collection. Compaction leaves
    their segments alone for the seconds given. Dropping a missing one is success, a pinned one error 2601."""

    collection: str
    name: str
    description: str = ""
    compaction_protection_seconds: int = 0


class DropSnapshot(Request, frozen=True):
    collection: str
    name: str


class ListSnapshots(Request, frozen=True):
    """-> Snapshots, those of the whole database when no collection is named."""

    collection: str = ""


class DescribeSnapshot(Request, frozen=True):
    """-> SnapshotInfo. Missing is error 2600."""

    collection: str
    name: str


class RestoreSnapshot(Request, frozen=True):
    """-> JobStarted. Makes a new collection, with the indexes, not loaded; in the snapshot's own database by default.
    `rewrite_data`: write every byte anew, rather than share files with the snapshot where the store can."""

    collection: str
    name: str
    target_collection: str
    target_database: str = ""
    rewrite_data: bool = False


class GetRestoreSnapshotState(Request, frozen=True):
    """-> RestoreJobInfo"""

    job_id: int


class ListRestoreSnapshotJobs(Request, frozen=True):
    """-> RestoreJobInfos, of one target collection or of all in the database."""

    collection: str = ""


class PinSnapshotData(Request, frozen=True):
    """-> PinId. The snapshot cannot be dropped until it is unpinned or `ttl_seconds` (0: no end) are over."""

    collection: str
    name: str
    ttl_seconds: int = 0


class UnpinSnapshotData(Request, frozen=True):
    pin_id: int


# -- backups ------------------------------------------------------------------------------------
class CreateBackup(Request, frozen=True):
    """-> JobStarted. A copy of collections (names in `database`, or `database.name`) and whole databases, everything
    when neither is given, as they are at one timestamp. `destination`: a folder or a URL; no `name`: made of the time.
    """

    destination: str
    name: str = ""
    databases: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()


class RestoreBackup(Request, frozen=True):
    """-> JobStarted. Makes new collections out of a backup (names as in CreateBackup; none: all), with their indexes,
    not loaded. `renames`: collection in the backup -> new name, either may be `database.name`; `suffix` is added to the
    other names, and `into_database` is where they go (empty: the database they came from)."""

    destination: str
    name: str
    collections: tuple[str, ...] = ()
    renames: dict[str, str] = {}
    suffix: str = ""
    into_database: str = ""


class VerifyBackup(Request, frozen=True):
    """-> JobStarted. Reads a whole backup; the job fails naming every object that is damaged."""

    destination: str
    name: str


class DeleteBackup(Request, frozen=True):
    """Delete a backup and the objects that it alone needs. Missing is error 2701."""

    destination: str
    name: str


class ListBackups(Request, frozen=True):
    """-> Backups, the oldest first; whole ones only."""

    destination: str


class GetBackupJob(Request, frozen=True):
    """-> BackupJobInfo"""

    job_id: int
