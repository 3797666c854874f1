"""Indexes on fields."""

from __future__ import annotations

from typing import Any

from redkite.errors import InvalidParameter
from redkite.model import requests, results
from redkite.model.types import IndexState
from redkite.wire.codec import Codec, codec, command, done, nothing, question
from redkite.wire.params import read_index_params
from redkite.wire.schemas import read_pairs, write_pairs

_INDEX = {"collection": "collection_name", "index_name": "index_name", "field": "field_name"}


def _decode_create(message: Any, database: str) -> requests.CreateIndex:
    return requests.CreateIndex(
        database=database,
        collection=message.collection_name,
        field=message.field_name,
        index_name=message.index_name,
        params=read_index_params(read_pairs(message.extra_params)),
    )


def _pack_create(message: Any, request: requests.CreateIndex) -> None:
    message.collection_name = request.collection
    message.field_name = request.field
    message.index_name = request.index_name
    write_pairs(message.extra_params, request.params)


def _encode_indexes(message: Any, result: results.Indexes) -> None:
    for index in result.indexes:
        out = message.index_descriptions.add()
        out.index_name = index.index_name
        out.indexID = index.index_id
        out.field_name = index.field
        write_pairs(out.params, index.params)
        out.total_rows = index.total_rows
        out.indexed_rows = index.indexed_rows
        out.pending_index_rows = index.pending_rows
        out.state = int(index.state)
        out.index_state_fail_reason = index.fail_reason


def _unpack_indexes(message: Any) -> results.Indexes:
    return results.Indexes(indexes=tuple(_unpack_index(index) for index in message.index_descriptions))


def _unpack_index(index: Any) -> results.IndexInfo:
    try:
        state = IndexState(index.state)
    except ValueError:
        raise InvalidParameter(f"index state {index.state} is not known") from None
    return results.IndexInfo(
        index_name=index.index_name,
        index_id=index.indexID,
        field=index.field_name,
        params=read_pairs(index.params),
        total_rows=index.total_rows,
        indexed_rows=index.indexed_rows,
        pending_rows=index.pending_index_rows,
        state=state,
        fail_reason=index.index_state_fail_reason,
    )


CODECS: tuple[Codec[Any, Any], ...] = (
    codec(
        "CreateIndex", requests.CreateIndex, results.Done, decode=_decode_create, pack=_pack_create,
        encode=nothing, unpack=done,
    ),
    # DescribeIndexRequest.timestamp asks to leave out newer rows from the counts, so that a client may wait for its
    # own rows only. The counts here are of all rows: such a client waits for its own rows, and at most for more.
    question(
        "DescribeIndex", requests.DescribeIndex, results.Indexes, _INDEX,
        encode=_encode_indexes, unpack=_unpack_indexes,
    ),
    command("DropIndex", requests.DropIndex, _INDEX),
)  # fmt: skip
