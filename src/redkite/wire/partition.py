"""Partitions, and what of a collection is in memory."""

from __future__ import annotations

from typing import Any

from redkite.errors import InvalidParameter, Unimplemented
from redkite.model import requests, results
from redkite.model.timestamps import physical_ms
from redkite.model.types import LoadState
from redkite.wire.codec import (
    COLLECTION,
    PARTITION,
    PARTITIONS,
    Codec,
    Names,
    codec,
    command,
    done,
    nothing,
    question,
)
from redkite.wire.collection import read_row_count, side_by_side, write_row_count
from redkite.wire.session import read_flag, write_flag


# -- partitions ---------------------------------------------------------------------------------
def _decode_show(message: Any, database: str) -> requests.ShowPartitions:
    if message.partition_names or message.type:
        raise Unimplemented("ShowPartitions by names or by load state is not supported in this version")
    if message.collectionID and not message.collection_name:
        raise Unimplemented("ShowPartitions by collectionID is not supported in this version")
    return requests.ShowPartitions(database=database, collection=message.collection_name)


def _pack_show(message: Any, request: requests.ShowPartitions) -> None:
    message.collection_name = request.collection


def _encode_show(message: Any, result: results.Partitions) -> None:
    for brief in result.partitions:
        message.partition_names.append(brief.name)
        message.partitionIDs.append(brief.partition_id)
        message.created_timestamps.append(brief.created_timestamp)
        message.created_utc_timestamps.append(physical_ms(brief.created_timestamp))
        message.inMemory_percentages.append(brief.loaded_percent)


def _unpack_show(message: Any) -> results.Partitions:
    names = message.partition_names
    loaded = list(message.inMemory_percentages) or [0] * len(names)
    rows = side_by_side(names, message.partitionIDs, message.created_timestamps, loaded)
    return results.Partitions(
        partitions=tuple(
            results.PartitionBrief(name=n, partition_id=i, created_timestamp=t, loaded_percent=p) for n, i, t, p in rows
        )
    )


# -- load and release ---------------------------------------------------------------------------
_LOAD = {"refresh": "refresh", "skip_dynamic_field": "skip_load_dynamic_field"}
_LOAD_MANY = {"load_fields": "load_fields", "resource_groups": "resource_groups"}
_LOAD_COLLECTION = Names(requests.LoadCollection, {**COLLECTION, **_LOAD, "replicas": "replica_number"}, _LOAD_MANY)
_LOAD_PARTITIONS = Names(
    requests.LoadPartitions, {**COLLECTION, **_LOAD, "replicas": "replica_number"}, {**_LOAD_MANY, **PARTITIONS}
)


def _check_load(message: Any) -> None:
    if message.load_params:
        raise Unimplemented(f"load parameter {min(message.load_params)} is not supported in this version")
    message.replica_number = message.replica_number or 1


def _decode_load(message: Any, database: str) -> requests.LoadCollection:
    _check_load(message)
    return _LOAD_COLLECTION.decode(message, database)


def _decode_load_partitions(message: Any, database: str) -> requests.LoadPartitions:
    _check_load(message)
    return _LOAD_PARTITIONS.decode(message, database)


def _encode_progress(message: Any, result: results.LoadProgress) -> None:
    message.progress = result.percent
    message.refresh_progress = result.refresh_percent


def _unpack_progress(message: Any) -> results.LoadProgress:
    return results.LoadProgress(percent=message.progress, refresh_percent=message.refresh_progress)


def _encode_state(message: Any, result: results.LoadStateInfo) -> None:
    message.state = int(result.state)


def _unpack_state(message: Any) -> results.LoadStateInfo:
    try:
        return results.LoadStateInfo(state=LoadState(message.state))
    except ValueError:
        raise InvalidParameter(f"load state {message.state} is not known") from None


CODECS: tuple[Codec[Any, Any], ...] = (
    command("CreatePartition", requests.CreatePartition, PARTITION),
    command("DropPartition", requests.DropPartition, PARTITION),
    question("HasPartition", requests.HasPartition, results.Flag, PARTITION, encode=write_flag, unpack=read_flag),
    codec(
        "ShowPartitions", requests.ShowPartitions, results.Partitions, decode=_decode_show, pack=_pack_show,
        encode=_encode_show, unpack=_unpack_show,
    ),
    question(
        "GetPartitionStatistics", requests.GetPartitionStatistics, results.RowCount, PARTITION,
        encode=write_row_count, unpack=read_row_count,
    ),
    codec(
        "LoadCollection", requests.LoadCollection, results.Done, decode=_decode_load, pack=_LOAD_COLLECTION.pack,
        encode=nothing, unpack=done,
    ),
    command("ReleaseCollection", requests.ReleaseCollection, COLLECTION),
    codec(
        "LoadPartitions", requests.LoadPartitions, results.Done, decode=_decode_load_partitions,
        pack=_LOAD_PARTITIONS.pack, encode=nothing, unpack=done,
    ),
    command("ReleasePartitions", requests.ReleasePartitions, COLLECTION, PARTITIONS),
    question(
        "GetLoadingProgress", requests.GetLoadingProgress, results.LoadProgress, COLLECTION, PARTITIONS,
        encode=_encode_progress, unpack=_unpack_progress,
    ),
    question(
        "GetLoadState", requests.GetLoadState, results.LoadStateInfo, COLLECTION, PARTITIONS,
        encode=_encode_state, unpack=_unpack_state,
    ),
)  # fmt: skip
