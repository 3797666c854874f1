"""The waist, going up: what each request answers, as frozen structs; rows are Arrow."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.model.batch import Keys, key_column
from redkite.model.buckets import Bucket
from redkite.model.explain import Explanation
from redkite.model.highlighting import Highlighted
from redkite.model.reach import Reach
from redkite.model.schema import CollectionSchema
from redkite.model.types import ConsistencyLevel, IndexState, JobState, LoadState
from redkite.model.upkeep import CompactionPlanInfo, CompactionState, SegmentInfo


class Result(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Done(Result, frozen=True):
    """Success, nothing to say."""


class Flag(Result, frozen=True):
    value: bool


class Timestamp(Result, frozen=True):
    timestamp: int


class RowCount(Result, frozen=True):
    rows: int


class Version(Result, frozen=True):
    version: str


class ServerInfo(Result, frozen=True):
    """Answer to Connect. `identifier` is echoed by the client in its metadata."""

    version: str
    identifier: int
    build_time: str = ""
    git_commit: str = ""
    deploy_mode: str = "STANDALONE"


class Health(Result, frozen=True):
    healthy: bool
    reasons: tuple[str, ...] = ()
    quota_states: tuple[int, ...] = ()
    """Milvus's numbers: 2 reads are limited, 3 writes are; 4, 5, 6: reads, writes, changes are denied."""


class Databases(Result, frozen=True):
    names: tuple[str, ...]
    ids: tuple[int, ...]
    created_timestamps: tuple[int, ...]


class DatabaseInfo(Result, frozen=True):
    name: str
    database_id: int
    created_timestamp: int
    properties: dict[str, str] = {}


class CollectionInfo(Result, frozen=True):
    """`schema` hides the `$meta` field. Timestamps are hybrid; `update_timestamp` is the schema's version."""

    schema: CollectionSchema
    """Its `name` is the real name, also when asked by alias."""
    collection_id: int
    database: str
    shards: int
    partitions: int
    aliases: tuple[str, ...]
    consistency_level: ConsistencyLevel
    created_timestamp: int
    update_timestamp: int
    properties: dict[str, str] = {}
    virtual_channels: tuple[str, ...] = ()
    physical_channels: tuple[str, ...] = ()


class CollectionBrief(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    collection_id: int
    created_timestamp: int
    shards: int
    loaded_percent: int
    """0..100; 0 when not loaded."""


class Collections(Result, frozen=True):
    collections: tuple[CollectionBrief, ...]


class PartitionBrief(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    partition_id: int
    created_timestamp: int
    loaded_percent: int = 0


class Partitions(Result, frozen=True):
    partitions: tuple[PartitionBrief, ...]


class AliasInfo(Result, frozen=True):
    alias: str
    collection: str
    database: str


class Aliases(Result, frozen=True):
    aliases: tuple[str, ...]
    collection: str
    database: str


class LoadProgress(Result, frozen=True):
    percent: int
    refresh_percent: int = 100


class LoadStateInfo(Result, frozen=True):
    state: LoadState


class IndexInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One index. `params` are the user's own (with index_type and metric_type)."""

    index_name: str
    index_id: int
    field: str
    params: dict[str, str]
    total_rows: int
    indexed_rows: int
    pending_rows: int
    state: IndexState
    fail_reason: str = ""


class Indexes(Result, frozen=True):
    indexes: tuple[IndexInfo, ...]


class Written(Result, frozen=True):
    """`count` rows by one write, whose hybrid timestamp this is."""

    count: int
    timestamp: int


class Mutation(Written, frozen=True):
    """`ids`: int64 or string array of the rows written (empty for Delete)."""

    ids: pa.Array


class FlushedCollection(msgspec.Struct, frozen=True, kw_only=True):
    collection: str
    segment_ids: tuple[int, ...]
    """Segments sealed by this flush."""
    flushed_ids: tuple[int, ...]
    """Segments already on disk."""
    seal_time: int
    """Unix seconds."""
    flush_timestamp: int


class Flushed(Result, frozen=True):
    collections: tuple[FlushedCollection, ...]


class PageEnd(msgspec.Struct, frozen=True, kw_only=True):
    """Where a page of a search iterator ended."""

    token: str
    last_bound: float


class Hits(Result, frozen=True):
    """Flat over all queries: query i owns `topks[i]` consecutive entries of keys, scores and rows."""

    topks: npt.NDArray[np.int64]
    keys: Keys
    scores: npt.NDArray[np.float32]
    rows: pa.RecordBatch
    """The output fields, one column each (dynamic keys arrive as `$meta`); may have no columns."""
    output_fields: tuple[str, ...]
    """As the client should show them (`*` expanded; dynamic keys by name)."""
    primary_field: str
    collection: str
    session_timestamp: int
    explanation: Explanation | None = None
    recalls: tuple[float, ...] = ()
    page: PageEnd | None = None
    groups: pa.RecordBatch | None = None
    """Of a search by groups: the group of each hit, one column for each field."""
    buckets: tuple[tuple[Bucket, ...], ...] | None = None
    """Of a search that aggregates, which has no hits: the buckets of each query."""
    highlights: tuple[Highlighted, ...] = ()
    """Of a search that marks words: each field's, for all hits."""
    element_indices: npt.NDArray[np.int64] | None = None
    """Of a search among the elements of an array: where in its row the one of each hit stands."""
    reach: Reach | None = None
    """None: of every row. Else rows were left out that no node served."""

    @property
    def ids(self) -> pa.Array:
        """The keys as a column: int64 or string."""
        return key_column(self.keys)


class Rows(Result, frozen=True):
    """Answer to Query. `rows` always has at least one column, also for zero rows."""

    rows: pa.RecordBatch
    output_fields: tuple[str, ...]
    primary_field: str
    collection: str
    session_timestamp: int
    explanation: Explanation | None = None
    reach: Reach | None = None
    """As `Hits.reach`."""


# -- compaction and segments --------------------------------------------------------------------
class CompactionJob(Result, frozen=True):
    """`job_id` is -1 when there is nothing to do."""

    job_id: int
    plans: int


class CompactionProgress(Result, frozen=True):
    state: CompactionState
    executing: int = 0
    completed: int = 0
    failed: int = 0


class CompactionPlans(Result, frozen=True):
    state: CompactionState
    plans: tuple[CompactionPlanInfo, ...]


class Segments(Result, frozen=True):
    segments: tuple[SegmentInfo, ...]


class SegmentNumbers(Result, frozen=True):
    segment_ids: tuple[int, ...]


# -- named snapshots ----------------------------------------------------------------------------
class Snapshots(Result, frozen=True):
    names: tuple[str, ...]
    """In order of creation."""


class SnapshotInfo(Result, frozen=True):
    name: str
    description: str
    collection: str
    partitions: tuple[str, ...]
    created_ms: int
    location: str
    """Where the catalog keeps it."""
    timestamp: int = 0
    """Hybrid: the snapshot holds the rows of this moment."""


class JobStarted(Result, frozen=True):
    job_id: int


class RestoreJobInfo(Result, frozen=True):
    """`database` and `collection` are the target's; `progress` in percent; `reason` why it failed."""

    job_id: int
    snapshot: str
    database: str
    collection: str
    state: JobState
    progress: int
    reason: str
    started_ms: int
    took_ms: int


class RestoreJobInfos(Result, frozen=True):
    jobs: tuple[RestoreJobInfo, ...]


class PinId(Result, frozen=True):
    pin_id: int


# -- backups ------------------------------------------------------------------------------------
class BackupCollection(msgspec.Struct, frozen=True, kw_only=True):
    database: str
    name: str
    rows: int
    """Rows that are not deleted."""
    bytes: int


class BackupInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One whole backup."""

    name: str
    created_ms: int
    timestamp: int
    """Hybrid: every collection is as it was at this moment."""
    collections: tuple[BackupCollection, ...]
    objects: int
    bytes: int
    copied_objects: int
    """Those that this backup brought; the others were there already."""
    copied_bytes: int


class Backups(Result, frozen=True):
    backups: tuple[BackupInfo, ...]


class SnapshotExport(msgspec.Struct, frozen=True, kw_only=True):
    """What a job copies out of a database."""

    snapshot: str
    database: str
    collection: str
    uri: str
    objects: int


class BackupJobInfo(Result, frozen=True):
    job_id: int
    kind: str
    """`create`, `restore`, `verify` or `export`."""
    state: JobState
    done_bytes: int = 0
    total_bytes: int = 0
    """0 as long as it is not known."""
    reason: str = ""
    """Why it failed."""
    code: int = 0
    """The error's code when it failed."""
    backup: BackupInfo | None = None
    """Of a finished job: the backup made, restored or verified."""
    restored: tuple[str, ...] = ()
    """`database.collection` of each collection that a restore made."""
    done_objects: int = 0
    started_ms: int = 0
    took_ms: int = 0
    export: SnapshotExport | None = None
