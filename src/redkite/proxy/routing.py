"""Which rows belong to which partition and shard."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.coordinator.meta import CollectionMeta


def hashes(keys: pa.Array) -> npt.NDArray[np.uint64]:
    """A well-mixed hash of each int64 or string key, equal across processes and machines."""
    if pa.types.is_string(keys.type):
        encoded = map(str.encode, keys.to_pylist(), repeat("utf-8"))
        return np.fromiter(map(crc32, encoded), np.uint64, len(keys))
    mixed: npt.NDArray[np.uint64] = keys.to_numpy().astype(np.int64).view(np.uint64).copy()
    # The finaliser of splitmix64 (Steele, Lea and Flood, 2014): every input bit reaches every output bit.
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def partition_numbers(meta: CollectionMeta, key_column: pa.Array) -> npt.NDArray[np.int64]:
    """For a collection with a partition key: the ordinal of each row's partition."""
    return (hashes(key_column) % np.uint64(len(meta.partitions))).astype(np.int64)


def pieces(
    meta: CollectionMeta, rows: pa.RecordBatch, partition_id: int | None
) -> Iterator[tuple[int, int, pa.RecordBatch]]:
    """(shard number, partition id, rows) of one write. `partition_id` None: by the partition key."""
    keys = rows.column(meta.schema.primary.name)
    if meta.shards == 1 and partition_id is not None:
        yield 0, partition_id, rows
        return
    shard = (hashes(keys) % np.uint64(meta.shards)).astype(np.int64)
    if partition_id is None:
        assert meta.schema.partition_key is not None
        partition = partition_numbers(meta, rows.column(meta.schema.partition_key.name))
    else:
        partition = np.zeros(rows.num_rows, np.int64)
    groups = shard * len(meta.partitions) + partition
    for group in np.unique(groups):
        number, ordinal = divmod(int(group), len(meta.partitions))
        owner = meta.partitions[ordinal].partition_id if partition_id is None else partition_id
        yield number, owner, rows.take(pa.array(np.flatnonzero(groups == group)))


def shard_keys(meta: CollectionMeta, keys: pa.Array) -> Iterator[tuple[int, pa.Array]]:
    """Primary keys by the number of their shard."""
    if meta.shards == 1:
        yield 0, keys
        return
    shard = hashes(keys) % np.uint64(meta.shards)
    for number in np.unique(shard):
        yield int(number), keys.take(pa.array(np.flatnonzero(shard == number)))
