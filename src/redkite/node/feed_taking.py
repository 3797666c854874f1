"""A shard takes what another has logged, at the times that it has there; and counts what it has, to be compared."""

from __future__ import annotations

import zlib
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.model.changes import Scan
from redkite.model.replication import RECORD, TRUNCATION, ReplicationItem
from redkite.model.segments import SegmentMeta
from redkite.node import records
from redkite.node.feed_scan import scan_rows
from redkite.node.shard import Shard
from redkite.segment.evolution import conform

_ROWS: Final = 20_000
_BYTES: Final = 64 << 20
_PRIME: Final = np.uint64(0x9E3779B97F4A7C15)
_OTHER: Final = np.uint64(0xC2B2AE3D27D4EB4F)
_NULL: Final = np.uint64(0x165667B19E3779F9)
Hashes = npt.NDArray[np.uint64]


def take_change(shard: Shard, item: ReplicationItem) -> list[SegmentMeta]:
    """Durable when it returns. Whoever calls has seen to it that no smaller timestamp is given out from now on. What
    came before is passed over; the segments of a truncation are returned: their objects may be deleted."""
    newest = max(shard.view.timestamp, shard.readable_from)
    if item.kind == TRUNCATION:
        return shard.truncate(lambda: item.timestamp) if item.timestamp > newest else []
    # Rows that are in no log come in several pieces of one time, each of which may come again.
    if item.timestamp < newest or (item.timestamp == newest and item.kind == RECORD):
        return []
    header, batch = records.decode_record(item.payload)
    with shard.turn(settled=True):
        if header.kind == records.DELETE:
            logged = shard.log_keys(batch.column(0), item.timestamp)
        else:
            schema = shard.collection.schema
            logged = shard.log_rows(header.parts, conform(batch, schema), item.timestamp, schema)
    logged.result()
    return []


def count_shard(shard: Shard, timestamp: int, now: int) -> tuple[int, int]:
    """Rows and their checksum as of a timestamp (0: `now`). What grows is sealed first."""
    shard.flush(lambda: now)
    scan = Scan(timestamp or now, 0)
    rows = checksum = 0
    while True:
        page = scan_rows(shard.objects, shard.segments(), shard.collection, scan, _ROWS, _BYTES)
        if page.payload:
            batch = conform(records.decode_record(page.payload)[1], shard.collection.schema)
            rows += batch.num_rows
            checksum = (checksum + checksum_of(batch)) % (1 << 63)
        if page.last_key is None:
            return rows, checksum
        scan = msgspec.structs.replace(scan, key=page.last_key)


def checksum_of(rows: pa.RecordBatch) -> int:
    """A number that is the same in whatever order the rows come, and another one when a value is another."""
    mixed = np.zeros(rows.num_rows, np.uint64)
    with np.errstate(over="ignore"):
        for name, column in zip(rows.schema.names, rows.columns, strict=True):
            mixed = mixed * _PRIME + _hashes(column) * (np.uint64(zlib.crc32(name.encode())) | np.uint64(1))
        mixed ^= mixed >> np.uint64(29)
        mixed *= _OTHER
        mixed ^= mixed >> np.uint64(32)
        return int(mixed.sum(dtype=np.uint64)) % (1 << 63)


def _hashes(column: pa.Array) -> Hashes:
    """A number for each value."""
    kind = column.type
    found: Hashes
    if pa.types.is_fixed_size_list(kind) and not column.null_count:
        found = _of_bytes(column.flatten(), len(column), kind.list_size)
    elif (pa.types.is_integer(kind) or pa.types.is_floating(kind)) and not column.null_count:
        found = _of_bytes(column, len(column), 1)
    else:
        values: list[Any] = column.to_pylist()
        found = np.fromiter((zlib.crc32(_bytes(v)) for v in values), np.uint64, len(values))
    if column.null_count:
        nulls = column.is_null().to_numpy(zero_copy_only=False)
        found = np.where(nulls, _NULL, found)
    return found


def _of_bytes(numbers: pa.Array, rows: int, width: int) -> Hashes:
    """Of so many numbers a row."""
    matrix = np.ascontiguousarray(numbers.to_numpy(zero_copy_only=False)).reshape(rows, width)
    octets = matrix.view(np.uint8).reshape(rows, -1).astype(np.uint64)
    weights = np.arange(1, octets.shape[1] + 1, dtype=np.uint64) * _PRIME | np.uint64(1)
    return octets @ weights


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else repr(value).encode()
