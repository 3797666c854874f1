"""Which rows belong to which partition and shard."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.coordinator.meta import CollectionMeta
from redkite.errors import InvalidParameter
from redkite.filter import Filter
from redkite.model.batch import arrow_to_numbers
from redkite.model.rules.property_rules import is_isolated
from redkite.node.records import Parts


def hashes(keys: pa.Array) -> npt.NDArray[np.uint64]:
    """A well-mixed hash of each int64 or string key, equal across processes and machines."""
    if pa.types.is_string(keys.type):
        encoded = map(str.encode, keys.to_pylist(), repeat("utf-8"))
        return np.fromiter(map(crc32, encoded), np.uint64, len(keys))
    mixed: npt.NDArray[np.uint64] = arrow_to_numbers(keys).astype(np.int64).view(np.uint64).copy()
    # The finaliser of splitmix64 (Steele, Lea and Flood, 2014): every input bit reaches every output bit.
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def partition_numbers(meta: CollectionMeta, key_column: pa.Array) -> npt.NDArray[np.int64]:
    """For a collection with a partition key: the ordinal of each row's partition."""
    return (hashes(key_column) % np.uint64(len(meta.partitions))).astype(np.int64)


def holding_partitions(
    meta: CollectionMeta, condition: Filter | None, partitions: frozenset[int] | None
) -> frozenset[int] | None:
    """Of these partitions (None: all) those that can hold rows which pass: under a partition key, the ones of the keys
    that the filter names."""
    key = meta.schema.partition_key
    values = None if key is None or condition is None else condition.possible_values(key.name)
    if key is None or values is None:
        return partitions
    kind, fitting = (str, values) if key.data_type.is_string else (int, {v for v in values if _is_whole(v)})
    numbers = partition_numbers(meta, pa.array([kind(v) for v in fitting], pa.string() if kind is str else pa.int64()))
    holding = frozenset(meta.partitions[number].partition_id for number in numbers.tolist())
    return holding if partitions is None else partitions & holding


def searched_partitions(
    meta: CollectionMeta, condition: Filter | None, partitions: frozenset[int] | None
) -> frozenset[int] | None:
    """`holding_partitions` of a search. Raises InvalidParameter where the collection wants each search to be for one
    value of its partition key, and this one is not."""
    key = meta.schema.partition_key
    if key is not None and is_isolated(meta.properties):
        values = None if condition is None else condition.possible_values(key.name)
        if values is None:
            raise InvalidParameter(
                "partition key not found in expr or the expr is invalid when validating partition key isolation: "
                f"the filter must say {key.name} == a value"
            )
        if len(values) > 1:
            raise InvalidParameter(
                f"partition key isolation does not support more than one value of {key.name}, got {len(values)}"
            )
    return holding_partitions(meta, condition, partitions)


def _is_whole(value: float | str) -> bool:
    return not isinstance(value, str) and abs(value) < 1 << 63 and value == int(value)


Partition = int | npt.NDArray[np.int64] | None
"""Where rows go: one partition, one for each row, or None: by the partition key."""


def pieces(
    meta: CollectionMeta, rows: pa.RecordBatch, partition: Partition
) -> Iterator[tuple[int, Parts, pa.RecordBatch]]:
    """(shard number, parts, rows) of one write: the rows of a shard, partition by partition."""
    if meta.shards == 1 and isinstance(partition, int):
        yield 0, ((partition, rows.num_rows),), rows
        return
    if partition is None:
        rows = _last_of_each_key(rows, meta.schema.primary.name)
    owners = _owners(meta, rows, partition)
    shard = shard_numbers(meta, rows.column(meta.schema.primary.name))
    for number in np.unique(shard):
        here = np.flatnonzero(shard == number)
        here = here[np.argsort(owners[here], kind="stable")]
        ids, counts = np.unique(owners[here], return_counts=True)
        yield int(number), tuple(zip(ids.tolist(), counts.tolist(), strict=True)), rows.take(pa.array(here))


def _owners(meta: CollectionMeta, rows: pa.RecordBatch, partition: Partition) -> npt.NDArray[np.int64]:
    """The partition id of each row."""
    if isinstance(partition, int):
        return np.full(rows.num_rows, partition)
    if partition is not None:
        return partition
    assert meta.schema.partition_key is not None
    ids = np.array([p.partition_id for p in meta.partitions])
    owners: npt.NDArray[np.int64] = ids[partition_numbers(meta, rows.column(meta.schema.partition_key.name))]
    return owners


def _last_of_each_key(rows: pa.RecordBatch, primary: str) -> pa.RecordBatch:
    """Without rows that a later one of the same batch replaces: sorted by partition, they would not stand before it."""
    keys = rows.column(primary).to_pylist()
    last = dict(zip(keys, range(len(keys)), strict=True))
    if len(last) == len(keys):
        return rows
    return rows.take(pa.array(sorted(last.values())))


def shard_numbers(meta: CollectionMeta, keys: pa.Array) -> npt.NDArray[np.int64]:
    """The shard of each primary key."""
    return (hashes(keys) % np.uint64(meta.shards)).astype(np.int64)


def shards_of(meta: CollectionMeta, keys: pa.Array) -> list[int]:
    """The shards that hold rows of these primary keys."""
    if meta.shards == 1:
        return [0]
    numbers: list[int] = np.unique(shard_numbers(meta, keys)).tolist()
    return numbers


def shard_keys(meta: CollectionMeta, keys: pa.Array) -> Iterator[tuple[int, pa.Array]]:
    """Primary keys by the number of their shard."""
    if meta.shards == 1:
        yield 0, keys
        return
    shard = shard_numbers(meta, keys)
    for number in np.unique(shard):
        yield int(number), keys.take(pa.array(np.flatnonzero(shard == number)))
