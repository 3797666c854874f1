"""What a database holds in memory and on disk, by collection."""

from __future__ import annotations

import msgspec

MEMORY_METRICS = "memory_report"
STORAGE_METRICS = "storage_report"
"""Kinds of metrics that Redkite adds to `GetMetrics`: their answers are a `MemoryReport` and a `StorageReport`."""


class CollectionMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What reads of one loaded collection hold and look at. Sizes in bytes."""

    database: str
    collection: str
    growing_rows: int
    """Rows that are not sealed yet."""
    growing_bytes: int
    """Private memory they take, about."""
    mapped_rows: int
    """Rows of the sealed segments that are loaded, deleted ones included; once for each replica."""
    mapped_bytes: int
    """Columns and indexes of these segments. They are mapped: the system reads what is used, and takes it back when
    something else wants the memory."""


class MemoryReport(msgspec.Struct, frozen=True, kw_only=True):
    limit: int
    """`memory_limit` in bytes; 0 for none."""
    used: int
    """Private memory that counts towards it."""
    holders: dict[str, int]
    """The same by what holds it."""
    collections: tuple[CollectionMemory, ...]


class CollectionStorage(msgspec.Struct, frozen=True, kw_only=True):
    """What one collection has on disk, its log aside. Sizes in bytes."""

    database: str
    collection: str
    segments: int
    """Sealed ones."""
    rows: int
    """Rows of these, deleted ones included."""
    deleted_rows: int
    """Those that are deleted, as far as it was noted when rows were last flushed or compacted."""
    column_bytes: int
    index_bytes: int
    delete_bytes: int
    reclaimable_bytes: int
    """About what compaction gives back of the columns, once deleted rows are no longer kept for reads of the past."""


class StorageReport(msgspec.Struct, frozen=True, kw_only=True):
    collections: tuple[CollectionStorage, ...]
    garbage_objects: int
    """Files of any collection that nothing needs any more, and that go when nobody reads them."""
