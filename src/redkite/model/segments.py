"""What is recorded about segments, channels, indexes and load states: the catalog's structs."""

from __future__ import annotations

import msgspec

from redkite.model.schema import DEFAULT_RESOURCE_GROUP, META_FIELD
from redkite.model.types import DataType, Metric

MATCH = "MATCH"
"""The type of an index over the words of a field with `enable_match`: nobody asks for it, and nobody sees it."""


class IndexSpec(msgspec.Struct, frozen=True, kw_only=True):
    """An index as resolved from user parameters. `build` holds the type's own parameters (`M`, `nlist`, `refine` …)."""

    index_type: str
    metric: Metric | None = None
    build: dict[str, int | float | str | bool] = {}
    kind: str = ""
    """The type built for this one, when that is another; empty for AUTOINDEX is the graph over dense vectors."""

    @property
    def is_scalar(self) -> bool:
        """Whether it is an index over values, not over vectors: those have a metric."""
        return self.metric is None

    @property
    def path(self) -> tuple[str | int, ...] | None:
        """The keys below a JSON field that it reads; None for other fields."""
        text = self.build.get("json_path")
        return None if text is None else tuple(msgspec.json.decode(str(text), type=list[int | str]))


class IndexMeta(msgspec.Struct, frozen=True, kw_only=True):
    index_id: int
    collection_id: int
    field_id: int
    field: str
    name: str
    params: dict[str, str]
    """As the user sent them."""
    spec: IndexSpec
    created_timestamp: int

    @property
    def shown_field(self) -> str:
        """The field it is over, or the key of the dynamic field."""
        path = self.spec.path
        return str(path[0]) if self.field == META_FIELD and path else self.field

    @property
    def is_implied(self) -> bool:
        """Whether the schema brought it with it, and no user made it."""
        return self.spec.index_type == MATCH

    def stands_on(self, field: str) -> bool:
        """Whether it is over this field, or over this key of the dynamic field."""
        return field in (self.field, self.shown_field)


class IndexFile(msgspec.Struct, frozen=True, kw_only=True):
    """One index over one sealed segment."""

    index_id: int
    object: str
    size: int
    crc: int
    rows: int
    """Rows in it: those with a vector, of an index over vectors."""


class FieldRange(msgspec.Struct, frozen=True, array_like=True):
    """Between which values a number or string field lies in one segment; nulls aside. Bounds may be wider than what is
    there, never narrower."""

    field_id: int
    low: int | float | str
    high: int | float | str


class DeletesFile(msgspec.Struct, frozen=True, kw_only=True):
    """The stored deletes of one sealed segment."""

    object: str
    size: int
    crc: int
    rows: int
    """How many are deleted."""


class LateBytes(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a rows file whose checksums are in the file itself, one for each piece."""

    start: int
    size: int
    before: int
    """CRC-32 of what lies before it, …"""
    behind: int
    """… and of what lies behind it."""


class SegmentMeta(msgspec.Struct, frozen=True, kw_only=True):
    """One sealed segment: an immutable `rows` file, its deletes so far, its indexes."""

    segment_id: int
    collection_id: int
    partition_id: int
    channel: str
    rows: int
    size: int
    rows_object: str
    rows_crc: int
    order_object: str = ""
    """Row numbers in primary-key order; empty when the rows are already in that order."""
    min_key: int | str = 0
    max_key: int | str = 0
    key_type: DataType = DataType.INT64
    min_timestamp: int = 0
    max_timestamp: int = 0
    deletes_object: str = ""
    """Deletes up to the channel's checkpoint; empty when there are none."""
    deleted_rows: int = 0
    indexes: tuple[IndexFile, ...] = ()
    level: int = 1
    """1: rows as they were written; 2: split by ranges of the clustering key."""
    ranges: tuple[FieldRange, ...] = ()
    """Of scalar fields; what is not listed may hold anything."""
    order_crc: int = 0
    """CRC-32 of the order object, whose size is four bytes a row."""
    deletes_size: int = 0
    deletes_crc: int = 0
    late: LateBytes | None = None
    """The numbers of the largest vector column, where they are many."""
    stamp: int = 0
    """All rows are of this timestamp, whatever their file says, which is older than it. 0: the file says."""

    def index(self, index_id: int) -> IndexFile | None:
        return next((f for f in self.indexes if f.index_id == index_id), None)

    def with_deletes(self, file: DeletesFile) -> SegmentMeta:
        return msgspec.structs.replace(
            self, deletes_object=file.object, deletes_size=file.size, deletes_crc=file.crc, deleted_rows=file.rows
        )

    def stamped(self, timestamp: int) -> SegmentMeta:
        """The same rows, written at this timestamp."""
        return msgspec.structs.replace(self, stamp=timestamp, min_timestamp=timestamp, max_timestamp=timestamp)

    @property
    def objects(self) -> tuple[str, ...]:
        """Every object of the store that this segment is made of."""
        named = (self.rows_object, self.order_object, self.deletes_object, *(f.object for f in self.indexes))
        return tuple(name for name in named if name)


class ChannelState(msgspec.Struct, frozen=True, kw_only=True):
    """Where recovery of a channel starts: rows of earlier records are in sealed segments."""

    checkpoint: int = 0
    readable_from: int = 0
    """Rows deleted or expired before this timestamp may be gone: no read goes further back."""
    end: int = 0
    """The log reached this position when it was last closed: one that ends before has lost its end."""
    replaced: int = 0
    """How often segments were replaced by others: whoever does not know of the last time has other ones than these."""
    newest: int = 0
    """The timestamp of the last record before the checkpoint. It may be of a delete that changed nothing: no row tells
    of that, and who writes next may have a clock that is behind."""

    @property
    def known_end(self) -> int:
        """The log cannot end before this position."""
        return max(self.checkpoint, self.end)


class ReplicaRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One copy of a loaded collection, and the resource group it lives in."""

    replica_id: int
    group: str
    nodes: tuple[int, ...] = ()
    """Those of its group that it has, where the collection has several replicas there; empty: nobody has said."""


class LoadEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A loaded collection: all partitions (also later ones) when `partitions` is None."""

    collection_id: int
    partitions: tuple[int, ...] | None = None
    replicas: int = 1
    placed: tuple[ReplicaRecord, ...] = ()
    """Its replicas; empty: one in the default group."""
    fields: tuple[int, ...] | None = None
    """Ids of the fields that are loaded; None: all, also later ones."""

    def covers(self, partition_id: int) -> bool:
        return self.partitions is None or partition_id in self.partitions

    def covers_all(self, partition_ids: frozenset[int] | None) -> bool:
        """None: whatever partitions there are."""
        return self.partitions is None or (partition_ids is not None and partition_ids.issubset(self.partitions))

    @property
    def copies(self) -> tuple[ReplicaRecord, ...]:
        """Its replicas, at least one."""
        return self.placed or (ReplicaRecord(replica_id=self.collection_id, group=DEFAULT_RESOURCE_GROUP),)
