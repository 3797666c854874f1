"""Collections and their other names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from redkite.errors import InvalidParameter, MilvusException, WireError
from redkite.model import requests, results
from redkite.model.describing import BatchDescribeCollection, CollectionInfos
from redkite.model.timestamps import physical_ms
from redkite.model.types import ConsistencyLevel
from redkite.wire.codec import COLLECTION, Codec, codec, command, done, nothing, question
from redkite.wire.messages import parse, schema
from redkite.wire.schemas import read_pairs, read_schema, with_full_names, write_pairs, write_schema
from redkite.wire.session import read_flag, write_flag
from redkite.wire.status import raise_for_status, write_status

IN_MEMORY = 1
_ROW_COUNT = "row_count"


def read_level(number: int) -> ConsistencyLevel:
    """A consistency level's number on the wire."""
    try:
        return ConsistencyLevel(number)
    except ValueError:
        raise InvalidParameter(f"Invalid consistency level: {number}") from None


# -- create and describe ------------------------------------------------------------------------
def _decode_create(message: Any, database: str) -> requests.CreateCollection:
    definition = parse(schema.CollectionSchema, message.schema)
    name = message.collection_name
    if definition.name and name and definition.name != name:
        raise InvalidParameter(f"collection name {name} does not match the schema's name {definition.name}")
    definition.name = name or definition.name
    return requests.CreateCollection(
        database=database,
        schema=read_schema(definition),
        shards=message.shards_num,
        partitions=message.num_partitions,
        consistency_level=read_level(message.consistency_level),
        properties=read_pairs(message.properties),
    )


def _pack_create(message: Any, request: requests.CreateCollection) -> None:
    definition = schema.CollectionSchema()
    write_schema(definition, request.schema)
    message.collection_name = request.schema.name
    message.schema = definition.SerializeToString()
    message.shards_num = request.shards
    message.num_partitions = request.partitions
    message.consistency_level = int(request.consistency_level)
    write_pairs(message.properties, request.properties)


def _encode_info(message: Any, result: results.CollectionInfo) -> None:
    write_schema(message.schema, result.schema)
    message.schema.dbName = result.database
    message.collection_name = result.schema.name
    message.db_name = result.database
    message.collectionID = result.collection_id
    message.shards_num = result.shards
    message.num_partitions = result.partitions
    message.aliases.extend(result.aliases)
    message.consistency_level = int(result.consistency_level)
    message.created_timestamp = result.created_timestamp
    message.created_utc_timestamp = physical_ms(result.created_timestamp)
    message.update_timestamp = result.update_timestamp
    message.update_timestamp_str = str(result.update_timestamp)
    message.virtual_channel_names.extend(result.virtual_channels)
    message.physical_channel_names.extend(result.physical_channels)
    write_pairs(message.properties, result.properties)


def _unpack_info(message: Any) -> results.CollectionInfo:
    return results.CollectionInfo(
        schema=with_full_names(read_schema(message.schema)),
        collection_id=message.collectionID,
        database=message.db_name,
        shards=message.shards_num,
        partitions=message.num_partitions,
        aliases=tuple(message.aliases),
        consistency_level=read_level(message.consistency_level),
        created_timestamp=message.created_timestamp,
        update_timestamp=message.update_timestamp,
        properties=read_pairs(message.properties),
        virtual_channels=tuple(message.virtual_channel_names),
        physical_channels=tuple(message.physical_channel_names),
    )


def _decode_batch(message: Any, database: str) -> BatchDescribeCollection:
    names, ids = tuple(message.collection_name), tuple(message.collectionID)
    if names and ids:
        raise InvalidParameter("either names or ids of collections are to be given")
    return BatchDescribeCollection(database=database, collections=names, collection_ids=ids)


def _pack_batch(message: Any, request: BatchDescribeCollection) -> None:
    message.collection_name.extend(request.collections)
    message.collectionID.extend(request.collection_ids)


def _encode_batch(message: Any, result: CollectionInfos) -> None:
    for found in result.found:
        out = message.responses.add()
        out.status.SetInParent()
        if isinstance(found, MilvusException):
            write_status(out.status, found)
        else:
            _encode_info(out, found)


def _unpack_batch(message: Any) -> CollectionInfos:
    return CollectionInfos(found=tuple(_one_of_batch(response) for response in message.responses))


def _one_of_batch(message: Any) -> results.CollectionInfo | MilvusException:
    try:
        raise_for_status(message.status)
    except MilvusException as error:
        return error
    return _unpack_info(message)


# -- lists and counts ---------------------------------------------------------------------------
def _decode_show(message: Any, database: str) -> requests.ShowCollections:
    return requests.ShowCollections(
        database=database, loaded_only=message.type == IN_MEMORY, names=tuple(message.collection_names)
    )


def _pack_show(message: Any, request: requests.ShowCollections) -> None:
    message.type = IN_MEMORY if request.loaded_only else 0
    message.collection_names.extend(request.names)


def _encode_show(message: Any, result: results.Collections) -> None:
    for brief in result.collections:
        message.collection_names.append(brief.name)
        message.collection_ids.append(brief.collection_id)
        message.created_timestamps.append(brief.created_timestamp)
        message.created_utc_timestamps.append(physical_ms(brief.created_timestamp))
        message.inMemory_percentages.append(brief.loaded_percent)
        message.query_service_available.append(brief.loaded_percent == 100)
        message.shards_num.append(brief.shards)


def _unpack_show(message: Any) -> results.Collections:
    names = message.collection_names
    others = (message.collection_ids, message.created_timestamps, message.shards_num, message.inMemory_percentages)
    rows = side_by_side(names, *others)
    return results.Collections(
        collections=tuple(
            results.CollectionBrief(name=n, collection_id=i, created_timestamp=t, shards=s, loaded_percent=p)
            for n, i, t, s, p in rows
        )
    )


def side_by_side(names: Sequence[str], *numbers: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    """Parallel lists of a reply as rows. Servers leave out lists of numbers that they do not fill, older ones some and
    milvus-lite most: those are zeros."""
    columns = (names, *(column or [0] * len(names) for column in numbers))
    if len({len(column) for column in columns}) > 1:
        raise WireError(f"parallel lists of a reply differ in length: {[len(column) for column in columns]}")
    return zip(*columns, strict=True)


def write_row_count(message: Any, result: results.RowCount) -> None:
    """RowCount -> the `row_count` statistic."""
    write_pairs(message.stats, {_ROW_COUNT: str(result.rows)})


def read_row_count(message: Any) -> results.RowCount:
    """The `row_count` statistic -> RowCount."""
    text = read_pairs(message.stats).get(_ROW_COUNT, "0")
    if not text.isdecimal():
        raise InvalidParameter(f"row_count [{text[:20]}] is not a number")
    return results.RowCount(rows=int(text))


# -- aliases ------------------------------------------------------------------------------------
def _encode_alias(message: Any, result: results.AliasInfo) -> None:
    message.alias = result.alias
    message.collection = result.collection
    message.db_name = result.database


def _unpack_alias(message: Any) -> results.AliasInfo:
    return results.AliasInfo(alias=message.alias, collection=message.collection, database=message.db_name)


def _encode_aliases(message: Any, result: results.Aliases) -> None:
    message.aliases.extend(result.aliases)
    message.collection_name = result.collection
    message.db_name = result.database


def _unpack_aliases(message: Any) -> results.Aliases:
    return results.Aliases(aliases=tuple(message.aliases), collection=message.collection_name, database=message.db_name)


CODECS: tuple[Codec[Any, Any], ...] = (
    codec(
        "CreateCollection", requests.CreateCollection, results.Done, decode=_decode_create, pack=_pack_create,
        encode=nothing, unpack=done,
    ),
    command("DropCollection", requests.DropCollection, COLLECTION),
    question(
        "HasCollection", requests.HasCollection, results.Flag, COLLECTION, encode=write_flag, unpack=read_flag
    ),
    question(
        "DescribeCollection", requests.DescribeCollection, results.CollectionInfo,
        {"collection": "collection_name", "collection_id": "collectionID"}, encode=_encode_info, unpack=_unpack_info,
    ),
    codec(
        "BatchDescribeCollection", BatchDescribeCollection, CollectionInfos, decode=_decode_batch, pack=_pack_batch,
        encode=_encode_batch, unpack=_unpack_batch,
    ),
    codec(
        "ShowCollections", requests.ShowCollections, results.Collections, decode=_decode_show, pack=_pack_show,
        encode=_encode_show, unpack=_unpack_show,
    ),
    command(
        "RenameCollection", requests.RenameCollection,
        {"collection": "oldName", "new_name": "newName", "new_database": "newDBName"},
    ),
    command("TruncateCollection", requests.TruncateCollection, COLLECTION),
    question(
        "GetCollectionStatistics", requests.GetCollectionStatistics, results.RowCount, COLLECTION,
        encode=write_row_count, unpack=read_row_count,
    ),
    command("CreateAlias", requests.CreateAlias, {"collection": "collection_name", "alias": "alias"}),
    command("DropAlias", requests.DropAlias, {"alias": "alias"}),
    command("AlterAlias", requests.AlterAlias, {"collection": "collection_name", "alias": "alias"}),
    question(
        "DescribeAlias", requests.DescribeAlias, results.AliasInfo, {"alias": "alias"},
        encode=_encode_alias, unpack=_unpack_alias,
    ),
    question(
        "ListAliases", requests.ListAliases, results.Aliases, COLLECTION,
        encode=_encode_aliases, unpack=_unpack_aliases,
    ),
)  # fmt: skip
