"""What is said about compactions and segments. Numbers are Milvus's wire numbers."""

from __future__ import annotations

from enum import IntEnum

import msgspec


class CompactionKind(IntEnum):
    MIX = 3
    LEVEL0 = 7
    CLUSTERING = 8


class PlanState(IntEnum):
    UNKNOWN = 0
    EXECUTING = 1
    COMPLETED = 3
    FAILED = 4


class CompactionState(IntEnum):
    """Of a job. The name of 0 is spelled as the protocol spells it."""

    UndefiedState = 0
    Executing = 1
    Completed = 2


class SegmentState(IntEnum):
    """The second names are those of Milvus's SDK."""

    NONE = 0
    NOT_EXIST = 1
    GROWING = 2
    SEALED = 3
    FLUSHED = 4
    FLUSHING = 5
    DROPPED = 6
    IMPORTING = 7
    SegmentStateNone = 0
    NotExist = 1
    Growing = 2
    Sealed = 3
    Flushed = 4
    Flushing = 5
    Dropped = 6
    Importing = 7


class SegmentLevel(IntEnum):
    LEGACY = 0
    L0 = 1
    L1 = 2
    L2 = 3


class CompactionPlanInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Some segments, and those that take their place."""

    plan_id: int
    job_id: int
    kind: CompactionKind
    state: PlanState
    collection_id: int
    partition_id: int
    channel: str
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    """Empty until it is done, and when no row was left."""
    failure_reason: str = ""


class SegmentInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One segment as it is listed."""

    segment_id: int
    collection_id: int
    partition_id: int
    num_rows: int
    """Deleted ones included, until compaction drops them."""
    state: SegmentState
    level: SegmentLevel
    is_sorted: bool
    """The rows lie in the order of their primary keys."""
    storage_version: int
    insert_channel: str = ""
    index_name: str = ""
    """This and what follows: only of loaded segments."""
    index_id: int = 0
    node_ids: tuple[int, ...] = ()
    mem_size: int = 0
    """Bytes mapped: the rows and the indexes."""
    collection_name: str = ""
    """As it was asked for."""
