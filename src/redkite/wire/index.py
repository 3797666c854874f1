"""Indexes on fields."""

from __future__ import annotations

from typing import Any

import msgspec

from redkite.errors import InvalidParameter
from redkite.model import requests, results
from redkite.model.types import IndexState
from redkite.wire.codec import Codec, codec, command, done, nothing, question
from redkite.wire.params import read_index_params
from redkite.wire.schemas import read_pairs, write_pairs

_INDEX = {"collection": "collection_name", "index_name": "index_name", "field": "field_name"}


_PROPERTIES = ("mmap.enabled", "warmup")
"""What segments look up by itself, wherever it came."""


def _decode_create(message: Any, database: str) -> requests.CreateIndex:
    pairs = read_pairs(message.extra_params)
    params = read_index_params(pairs)
    lifted = {key: params[key] for key in _PROPERTIES if key in params}
    return requests.CreateIndex(
        database=database,
        collection=message.collection_name,
        field=message.field_name,
        index_name=message.index_name,
        params=params,
        as_sent=pairs | lifted if "params" in pairs else {},
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


def _state(number: int) -> IndexState:
    try:
        return IndexState(number)
    except ValueError:
        raise InvalidParameter(f"index state {number} is not known") from None


def _unpack_index(index: Any) -> results.IndexInfo:
    return results.IndexInfo(
        index_name=index.index_name,
        index_id=index.indexID,
        field=index.field_name,
        params=read_pairs(index.params),
        total_rows=index.total_rows,
        indexed_rows=index.indexed_rows,
        pending_rows=index.pending_index_rows,
        state=_state(index.state),
        fail_reason=index.index_state_fail_reason,
    )


def _decode_alter(message: Any, database: str) -> requests.AlterIndex:
    return requests.AlterIndex(
        database=database,
        collection=message.collection_name,
        index_name=message.index_name,
        properties=read_pairs(message.extra_params),
        delete_keys=tuple(message.delete_keys),
    )


def _pack_alter(message: Any, request: requests.AlterIndex) -> None:
    message.collection_name = request.collection
    message.index_name = request.index_name
    write_pairs(message.extra_params, request.properties)
    message.delete_keys.extend(request.delete_keys)


def _encode_state(message: Any, result: results.Indexes) -> None:
    index = result.indexes[0]
    message.state = int(index.state)
    message.fail_reason = index.fail_reason


def _unpack_state(message: Any) -> results.Indexes:
    return results.Indexes(indexes=(_bare(_state(message.state), message.fail_reason),))


def _encode_progress(message: Any, result: results.Indexes) -> None:
    index = result.indexes[0]
    message.indexed_rows = index.indexed_rows
    message.total_rows = index.total_rows


def _unpack_progress(message: Any) -> results.Indexes:
    left = message.total_rows - message.indexed_rows
    made = msgspec.structs.replace(
        _bare(state=IndexState.IN_PROGRESS if left else IndexState.FINISHED),
        total_rows=message.total_rows, indexed_rows=message.indexed_rows, pending_rows=left,
    )  # fmt: skip
    return results.Indexes(indexes=(made,))


def _bare(state: IndexState, fail_reason: str = "") -> results.IndexInfo:
    """An index of which nothing else is known."""
    return results.IndexInfo(
        index_name="", index_id=0, field="", params={}, total_rows=0, indexed_rows=0, pending_rows=0, state=state,
        fail_reason=fail_reason,
    )  # fmt: skip


def _encode_segments(message: Any, result: results.SegmentNumbers) -> None:
    message.segmentIDs.extend(result.segment_ids)


def _unpack_segments(message: Any) -> results.SegmentNumbers:
    return results.SegmentNumbers(segment_ids=tuple(message.segmentIDs))


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
    question(
        "GetIndexState", requests.GetIndexState, results.Indexes, _INDEX, encode=_encode_state, unpack=_unpack_state,
    ),
    question(
        "GetIndexBuildProgress", requests.GetIndexBuildProgress, results.Indexes, _INDEX,
        encode=_encode_progress, unpack=_unpack_progress,
    ),
    question(
        "GetIndexStatistics", requests.GetIndexStatistics, results.Indexes,
        {"collection": "collection_name", "index_name": "index_name"}, encode=_encode_indexes, unpack=_unpack_indexes,
    ),
    question(
        "ListIndexedSegment", requests.ListIndexedSegments, results.SegmentNumbers,
        {"collection": "collection_name", "index_name": "index_name"},
        encode=_encode_segments, unpack=_unpack_segments,
    ),
    codec(
        "AlterIndex", requests.AlterIndex, results.Done, decode=_decode_alter, pack=_pack_alter,
        encode=nothing, unpack=done,
    ),
    command("DropIndex", requests.DropIndex, _INDEX),
)  # fmt: skip
