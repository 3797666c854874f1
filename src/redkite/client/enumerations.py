"""Enumerations that programs written for Milvus's SDK name. Redkite's own methods take and give texts, or the same
numbers."""

from __future__ import annotations

from enum import IntEnum


class IndexType(IntEnum):
    """Kinds of indexes, as far as Milvus's SDK numbers them; `add_index` takes one of these or any type's name."""

    INVALID = 0
    FLAT = 1
    IVFLAT = 2
    IVF_SQ8 = 3
    RNSG = 4
    IVF_SQ8H = 5
    IVF_PQ = 6
    HNSW = 11
    ANNOY = 12

    @property
    def type_name(self) -> str:
        """The name of the type, as servers know it."""
        return "IVF_FLAT" if self is IndexType.IVFLAT else self.name


class CompactionType(IntEnum):
    """What a compaction is about: the `kind` of a plan has these numbers."""

    UndefinedCompaction = 0
    MergeCompaction = 2
    MixCompaction = 3
    SingleCompaction = 4
    MinorCompaction = 5
    MajorCompaction = 6
    Level0DeleteCompaction = 7
    ClusteringCompaction = 8
    SortCompaction = 9
    PartitionKeySortCompaction = 10
    ClusteringPartitionKeySortCompaction = 11
    BumpSchemaVersionCompaction = 12


class CompactionTaskState(IntEnum):
    """How far a plan is: its `state` has these numbers."""

    Unknown = 0
    Executing = 1
    Pipelining = 2
    Completed = 3
    Failed = 4
    Timeout = 5
    Analyzing = 6
    Indexing = 7
    Cleaned = 8
    MetaSaved = 9
    Statistic = 10
