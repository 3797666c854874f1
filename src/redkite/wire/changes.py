"""Change feeds: Redkite's own service. Rows travel as Arrow."""

from __future__ import annotations

from typing import Any

import msgspec
import pyarrow as pa

from redkite.errors import WireError
from redkite.model.changes import (
    AcknowledgeFeed,
    Change,
    Changes,
    DropFeed,
    FeedInfo,
    Feeds,
    ListFeeds,
    ReadChanges,
    Step,
)
from redkite.model.decoding import from_msgpack
from redkite.wire.codec import COLLECTION, Codec, Names, codec, command, question

_KEY = "key"
_READ = Names(
    ReadChanges,
    {name: name for name in ("position", "start", "name", "max_rows", "max_bytes", "wait_ms", "reader")} | COLLECTION,
)


def _decode_read(message: Any, database: str) -> ReadChanges:
    request = _READ.decode(message, database)
    default = ReadChanges()
    return msgspec.structs.replace(
        request,
        start=request.start or default.start,
        max_rows=request.max_rows or default.max_rows,
        max_bytes=request.max_bytes or default.max_bytes,
    )


def _stream(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _batch(data: bytes) -> pa.RecordBatch:
    try:
        return pa.ipc.open_stream(pa.py_buffer(data)).read_next_batch()
    except (pa.ArrowInvalid, OSError, StopIteration) as error:
        raise WireError(f"the rows of a change cannot be read: {error}") from None


def _encode(message: Any, result: Changes) -> None:
    message.position, message.end, message.more = result.position, result.end, result.more
    message.timestamp = result.timestamp
    for change in result.changes:
        one = message.changes.add()
        one.kind, one.timestamp = change.kind, change.timestamp
        one.db_name, one.collection_name = change.database, change.collection
        one.collection_id, one.schema_version = change.collection_id, change.schema_version
        if change.rows is not None:
            one.rows, one.primary_field = _stream(change.rows), change.primary
        elif change.keys is not None:
            one.keys = _stream(pa.RecordBatch.from_arrays([change.keys], [_KEY]))
        for name, rows in change.partitions:
            one.partitions.add(partition_name=name, rows=rows)
        one.detail.update(change.detail)
        one.step = msgspec.msgpack.encode(change.step)


def _unpack(message: Any) -> Changes:
    return Changes(
        changes=tuple(_change(one) for one in message.changes), position=message.position, end=message.end,
        more=message.more, timestamp=message.timestamp,
    )  # fmt: skip


def _change(one: Any) -> Change:
    rows = _batch(one.rows) if one.rows else None
    keys = _batch(one.keys).column(0) if one.keys else None
    if rows is not None:
        try:
            keys = rows.column(one.primary_field)
        except KeyError:
            raise WireError(f"the rows of a change have no column '{one.primary_field}'") from None
    try:
        step = from_msgpack(one.step, Step) if one.step else Step()
    except msgspec.DecodeError as error:
        raise WireError(f"the step of a change cannot be read: {error}") from None
    return Change(
        kind=one.kind, timestamp=one.timestamp, database=one.db_name, collection=one.collection_name,
        collection_id=one.collection_id, schema_version=one.schema_version, rows=rows, keys=keys,
        primary=one.primary_field, partitions=tuple((p.partition_name, p.rows) for p in one.partitions),
        detail=dict(one.detail), step=step,
    )  # fmt: skip


_PLAIN = ("name", "created_ms", "acknowledged_ms", "position", "lag_seconds", "pending_bytes", "lost")


def _encode_feeds(message: Any, result: Feeds) -> None:
    for feed in result.feeds:
        one = message.feeds.add(db_name=feed.database, collection_name=feed.collection)
        for name in _PLAIN:
            setattr(one, name, getattr(feed, name))


def _unpack_feeds(message: Any) -> Feeds:
    return Feeds(
        feeds=tuple(
            FeedInfo(
                database=one.db_name, collection=one.collection_name, **{name: getattr(one, name) for name in _PLAIN}
            )
            for one in message.feeds
        )
    )


CODECS: tuple[Codec[Any, Any], ...] = (
    codec("ReadChanges", ReadChanges, Changes, decode=_decode_read, pack=_READ.pack, encode=_encode, unpack=_unpack),
    question("ListChangeFeeds", ListFeeds, Feeds, COLLECTION, encode=_encode_feeds, unpack=_unpack_feeds),
    command("DropChangeFeed", DropFeed, COLLECTION | {"name": "name"}),
    command("AcknowledgeChanges", AcknowledgeFeed, COLLECTION | {"name": "name", "position": "position"}),
)
