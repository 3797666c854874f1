"""Partitions, and what of a collection is in memory."""

from __future__ import annotations

from typing import Any

import msgspec

from redkite.errors import InvalidParameter, Unimplemented
from redkite.model import requests, results
from redkite.model.timestamps import physical_ms
from redkite.model.types import LoadPriority, LoadState
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
from redkite.wire.collection import IN_MEMORY, read_row_count, side_by_side, write_row_count
from redkite.wire.session import read_flag, write_flag


# -- partitions ---------------------------------------------------------------------------------
def _decode_show(message: Any, database: str) -> requests.ShowPartitions:
    return requests.ShowPartitions(
        database=database,
        collection=message.collection_name,
        collection_id=message.collectionID,
        names=tuple(message.partition_names),
        loaded_only=message.type == IN_MEMORY,
    )


def _pack_show(message: Any, request: requests.ShowPartitions) -> None:
    message.collection_name = request.collection
    message.collectionID = request.collection_id
    message.partition_names.extend(request.names)
    message.type = IN_MEMORY if request.loaded_only else 0


def _encode_show(message: Any, result: results.Partitions) -> None:
    for brief in result.partitions:
        message.partition_names.append(brief.name)
        message.partitionIDs.append(brief.partition_id)
        message.created_timestamps.append(brief.created_timestamp)
        message.created_utc_timestamps.append(physical_ms(brief.created_timestamp))
        message.inMemory_percentages.append(brief.loaded_percent)


def _unpack_show(message: Any) -> results.Partitions:
    names = message.partition_names
    rows = side_by_side(names, message.partitionIDs, message.created_timestamps, message.inMemory_percentages)
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


_PRIORITY = "load_priority"
_PRIORITIES = {"": LoadPriority.HIGH, "HIGH": LoadPriority.HIGH, "LOW": LoadPriority.LOW}


def _read_priority(message: Any) -> LoadPriority:
    for key in message.load_params:
        if key != _PRIORITY:
            raise Unimplemented(f"load parameter {key} is not supported in this version")
    value = message.load_params.get(_PRIORITY, "")
    if value.upper() not in _PRIORITIES:
        raise InvalidParameter(f"load priority {value} is not one of HIGH, LOW")
    return _PRIORITIES[value.upper()]


def _decode_load(message: Any, database: str) -> requests.LoadCollection:
    priority = _read_priority(message)
    return msgspec.structs.replace(_LOAD_COLLECTION.decode(message, database), priority=priority)


def _decode_load_partitions(message: Any, database: str) -> requests.LoadPartitions:
    priority = _read_priority(message)
    return msgspec.structs.replace(_LOAD_PARTITIONS.decode(message, database), priority=priority)


def _pack_load(message: Any, request: requests.LoadCollection) -> None:
    _LOAD_COLLECTION.pack(message, request)
    _write_priority(message, request.priority)


def _pack_load_partitions(message: Any, request: requests.LoadPartitions) -> None:
    _LOAD_PARTITIONS.pack(message, request)
    _write_priority(message, request.priority)


def _write_priority(message: Any, priority: LoadPriority) -> None:
    if priority is LoadPriority.LOW:
        message.load_params[_PRIORITY] = priority.name


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
        "LoadCollection", requests.LoadCollection, results.Done, decode=_decode_load, pack=_pack_load,
        encode=nothing, unpack=done,
    ),
    command("ReleaseCollection", requests.ReleaseCollection, COLLECTION),
    codec(
        "LoadPartitions", requests.LoadPartitions, results.Done, decode=_decode_load_partitions,
        pack=_pack_load_partitions, encode=nothing, unpack=done,
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
