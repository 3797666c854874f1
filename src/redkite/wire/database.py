"""Databases."""

from __future__ import annotations

from typing import Any

from redkite.model import requests, results
from redkite.wire.codec import Codec, codec, command, done, nothing, question
from redkite.wire.schemas import read_pairs, write_pairs


def _decode_create(message: Any, database: str) -> requests.CreateDatabase:
    return requests.CreateDatabase(database=database, properties=read_pairs(message.properties))


def _pack_create(message: Any, request: requests.CreateDatabase) -> None:
    write_pairs(message.properties, request.properties)


def _encode_list(message: Any, result: results.Databases) -> None:
    message.db_names.extend(result.names)
    message.db_ids.extend(result.ids)
    message.created_timestamp.extend(result.created_timestamps)


def _unpack_list(message: Any) -> results.Databases:
    return results.Databases(
        names=tuple(message.db_names), ids=tuple(message.db_ids), created_timestamps=tuple(message.created_timestamp)
    )


def _encode_info(message: Any, result: results.DatabaseInfo) -> None:
    message.db_name = result.name
    message.dbID = result.database_id
    message.created_timestamp = result.created_timestamp
    write_pairs(message.properties, result.properties)


def _unpack_info(message: Any) -> results.DatabaseInfo:
    return results.DatabaseInfo(
        name=message.db_name, database_id=message.dbID, created_timestamp=message.created_timestamp,
        properties=read_pairs(message.properties),
    )  # fmt: skip


CODECS: tuple[Codec[Any, Any], ...] = (
    codec(
        "CreateDatabase", requests.CreateDatabase, results.Done, decode=_decode_create, pack=_pack_create,
        encode=nothing, unpack=done, own_database=True,
    ),
    command("DropDatabase", requests.DropDatabase, own_database=True),
    question("ListDatabases", requests.ListDatabases, results.Databases, encode=_encode_list, unpack=_unpack_list),
    question(
        "DescribeDatabase", requests.DescribeDatabase, results.DatabaseInfo,
        encode=_encode_info, unpack=_unpack_info, own_database=True,
    ),
)  # fmt: skip
