"""Rows of sealed segments as they were at one time, in the order of their primary keys, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from redkite.coordinator.meta import CollectionMeta
from redkite.model.batch import arrow_to_numbers, numbers_to_arrow
from redkite.model.changes import Scan
from redkite.model.segments import SegmentMeta
from redkite.model.timestamps import NEVER
from redkite.node import records
from redkite.segment.deletes import RowNumbers
from redkite.segment.files import open_deletes, open_rows
from redkite.segment.keys import Key, key_order
from redkite.storage.objects import ObjectStore

_MOST_ROWS: Final = 100_000


class Scanned(NamedTuple):
    """One page. `payload` is an insert as the log would have it, empty when there are no rows; `last_key` is None when
    there are none behind it."""

    payload: bytes
    last_key: Key | None


class _Picked(NamedTuple):
    """Rows of one segment, in the order of their keys, none between them left out."""

    meta: SegmentMeta
    batch: pa.RecordBatch
    rows: RowNumbers
    keys: pa.Array
    complete: bool
    """Whether these are all that are left."""


def scan_rows(
    store: ObjectStore,
    segments: Sequence[SegmentMeta],
    collection: CollectionMeta,
    scan: Scan,
    max_rows: int,
    max_bytes: int,
) -> Scanned:
    """The rows that were alive at `scan.timestamp` and written after `scan.low`, behind `scan.key`. Raises
    ObjectNotFound when a segment has just gone."""
    near = [m for m in segments if _may_have(m, scan)]
    if not near:
        return Scanned(b"", None)
    row_bytes = max(1, sum(m.size for m in near) // max(1, sum(m.rows for m in near)))
    wanted = max(1, min(max_rows, max_bytes // row_bytes, _MOST_ROWS))
    picked = [_pick(store, meta, collection, scan, wanted) for meta in near]
    keys = pa.concat_arrays([p.keys for p in picked])
    origin = np.repeat(np.arange(len(picked)), [len(p.rows) for p in picked])
    rows = np.concatenate([p.rows for p in picked])
    order = key_order(keys)
    first = (np.arange(len(keys)) if order is None else order.astype(np.int64))[:wanted]
    if not len(first):
        return Scanned(b"", None)
    last: Key = keys[int(first[-1])].as_py()
    done = len(first) == len(keys) and all(p.complete for p in picked)
    return Scanned(_encoded(collection, scan, picked, origin[first], rows[first]), None if done else last)


def _may_have(meta: SegmentMeta, scan: Scan) -> bool:
    if meta.min_timestamp > scan.timestamp or meta.max_timestamp <= scan.low:
        return False
    if scan.key is None:
        return True
    most = meta.max_key
    return int(most) > int(scan.key) if isinstance(most, int) else str(most) > str(scan.key)


def _pick(store: ObjectStore, meta: SegmentMeta, collection: CollectionMeta, scan: Scan, wanted: int) -> _Picked:
    batch, stamps = open_rows(store, meta, collection.schema)
    keys = batch.column(collection.schema.primary.name)
    alive = _alive(store, meta, arrow_to_numbers(stamps), scan)
    rows = np.flatnonzero(alive)
    if scan.key is not None:
        behind = pc.greater(keys.take(numbers_to_arrow(rows)), pa.scalar(scan.key, keys.type))
        rows = rows[arrow_to_numbers(behind.cast(pa.int8())).astype(bool)]
    own = keys.take(numbers_to_arrow(rows))
    order = key_order(own)
    if order is not None:
        rows = rows[order]
    total = len(rows)
    rows = rows[:wanted]
    return _Picked(meta, batch, rows, keys.take(numbers_to_arrow(rows)), total <= wanted)


def _alive(store: ObjectStore, meta: SegmentMeta, stamps: npt.NDArray[np.uint64], scan: Scan) -> npt.NDArray[np.bool_]:
    """Which rows a read at the scan's time finds, of those that were written after `low`."""
    alive: npt.NDArray[np.bool_] = (stamps <= np.uint64(scan.timestamp)) & (stamps > np.uint64(scan.low))
    if meta.deletes_object:
        deleted = np.full(meta.rows, NEVER, np.uint64)
        rows, marks = open_deletes(store, meta).entries()
        deleted[rows] = marks
        alive &= deleted > np.uint64(scan.timestamp)
    return alive


def _encoded(
    collection: CollectionMeta,
    scan: Scan,
    picked: Sequence[_Picked],
    origin: npt.NDArray[np.int64],
    rows: RowNumbers,
) -> bytes:
    """The rows as an insert of the log has them: those of one partition one behind the other."""
    taken: dict[int, list[pa.RecordBatch]] = {}
    for number, one in enumerate(picked):
        own = rows[origin == number]
        if len(own):
            taken.setdefault(one.meta.partition_id, []).append(one.batch.take(numbers_to_arrow(np.sort(own))))
    parts = tuple((partition, sum(b.num_rows for b in batches)) for partition, batches in taken.items())
    table = pa.Table.from_batches([batch for batches in taken.values() for batch in batches])
    (whole,) = table.combine_chunks().to_batches(max_chunksize=None)
    header = records.RecordHeader(records.INSERT, scan.timestamp, collection.collection_id, parts)
    return b"".join(records.with_header(header, records.encode_rows(whole, collection.schema)))
