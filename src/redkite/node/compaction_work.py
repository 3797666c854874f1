"""What it takes to make new segments of old ones, wherever that is done: everything comes with the work, everything it
makes goes to the object store, and whoever asked swaps it in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import NamedTuple

import msgspec

from redkite.coordinator.compaction import MEMORY_SHARE
from redkite.model.schema import CollectionSchema
from redkite.model.segments import IndexMeta, SegmentMeta
from redkite.model.upkeep import CompactionKind
from redkite.segment.compaction import (
    Expired,
    MadeSegment,
    Part,
    open_source,
    split_by_key,
    split_in_order,
    survivors,
)
from redkite.segment.expiry import expired_rows, expiry_at
from redkite.storage.objects import ObjectStore


class CompactionWork(msgspec.Struct, frozen=True, kw_only=True):
    """Some segments of one channel and partition, and what is to become of them."""

    kind: CompactionKind
    schema: CollectionSchema
    properties: dict[str, str]
    """Of the collection: whether its rows expire."""
    horizon: int
    """Rows deleted or expired up to this timestamp are left out."""
    sources: tuple[SegmentMeta, ...]
    most_bytes: int
    most_rows: int
    """Of a new segment."""
    indexes: tuple[IndexMeta, ...]
    """Those of the collection: new segments have them from the start, so that no search gets slower by the swap."""
    least_indexed_rows: int
    """Smaller segments have none."""


class Compacted(NamedTuple):
    """What was made, and is not swapped in yet."""

    made: list[MadeSegment]
    newest_dropped: int
    """Reads from this timestamp on miss nothing of what was left out."""


def parts_of(store: ObjectStore, work: CompactionWork) -> list[Part]:
    """The rows of every source that stay."""
    expired = expired_until(work.properties, work.horizon)
    return [survivors(open_source(store, meta, work.schema), work.horizon, expired) for meta in work.sources]


def expired_until(properties: Mapping[str, str], horizon: int) -> Expired | None:
    """Which rows had expired at the horizon; None when rows of such a collection do not expire."""
    if expiry_at(properties, horizon) is None:
        return None
    return lambda batch, stamps: expired_rows(batch, stamps, properties, horizon)


def groups_of(work: CompactionWork, parts: Sequence[Part], limit: int) -> list[tuple[Sequence[Part], int]]:
    """What goes into which new segment, and the level of each, where memory is limited to so many bytes (0: not)."""
    kept = [p for p in parts if len(p.rows)]
    if not kept:
        return []
    room = work.most_bytes
    if limit:  # sources may be from a time when the limit was a larger one
        room = min(room, int(limit * MEMORY_SHARE))
    width = max(1.0, sum(p.source.meta.size for p in kept) / sum(p.source.meta.rows for p in kept))
    most = max(1, min(work.most_rows, ceil(room / width)))
    key = next((f.name for f in work.schema.fields if f.is_clustering_key), None)
    if work.kind is CompactionKind.CLUSTERING and key is not None:
        return [(group, 2) for group in split_by_key(kept, key, most)]
    level = kept[0].source.meta.level
    if not limit:
        return [(kept, level)]
    return [(group, level) for group in split_in_order(kept, most)]


def bytes_of(parts: Sequence[Part]) -> int:
    """What merging them takes in memory, about."""
    return int(2 * sum(p.source.meta.size * len(p.rows) / max(1, p.source.meta.rows) for p in parts))


def newest_dropped(parts: Iterable[Part], horizon: int) -> int:
    """From when on a read misses nothing of what is left out: the newest delete among it, the horizon where a row had
    expired."""
    newest = 0
    for source, kept in parts:
        if len(kept) < source.meta.rows:
            dropped = source.deleted.copy()
            dropped[kept] = 0
            newest = max(newest, min(int(dropped.max()), horizon))
    return newest
