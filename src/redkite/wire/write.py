"""Writing rows and making them durable."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pyarrow as pa

from redkite.errors import InvalidParameter, Unimplemented
from redkite.model import requests, results
from redkite.model.one_row import LooseRow
from redkite.model.types import FieldOp, changes_partly
from redkite.wire.blocks import RowsMessage, parse_rows
from redkite.wire.codec import Buffer, Codec, Names, codec, question
from redkite.wire.column_reader import read_batch, read_ids
from redkite.wire.column_writer import batch_pieces, write_ids
from redkite.wire.messages import message_class, service
from redkite.wire.numbers import counting, packed
from redkite.wire.row_reader import read_values
from redkite.wire.schemas import no_namespace
from redkite.wire.templates import read_templates, write_templates

_SUCC_INDEX_TAG = b"\x1a"
"""Field 3, length-delimited: `MutationResult.succ_index`."""
_INSERT_FIELDS, _UPSERT_FIELDS = (
    message_class(service.methods_by_name[method].input_type).DESCRIPTOR.fields_by_name["fields_data"].number
    for method in ("Insert", "Upsert")
)
_NO_IDS = pa.nulls(0, pa.int64())


def _read_rows(given: RowsMessage) -> pa.RecordBatch:
    message = _with_rows(given)
    return read_batch(message.fields_data, message.num_rows, dense=False, blocks=given.blocks)


def _read_row(given: RowsMessage) -> pa.RecordBatch | LooseRow:
    """Of one row the values, if there is nothing out of the ordinary."""
    message = _with_rows(given)
    found = read_values(message.fields_data, given.blocks) if message.num_rows == 1 else None
    if found is None:
        return _read_rows(given)
    cut = sum(block.nbytes for block in given.blocks.values())
    return LooseRow(*found, message.ByteSize() + cut, partial(_read_rows, given))


def _with_rows(given: RowsMessage) -> Any:
    message = given.message
    if message.namespace:
        raise no_namespace(message.namespace)
    if not message.num_rows:
        raise InvalidParameter("num_rows should be greater than 0", expected="invalid num_rows", actual=0)
    if not message.fields_data:
        raise InvalidParameter("no field data has been passed in")
    return message


def _decode_insert(given: RowsMessage, database: str) -> requests.Insert:
    message = given.message
    return requests.Insert(
        database=database,
        collection=message.collection_name,
        rows=_read_row(given),
        partition=message.partition_name,
        schema_timestamp=message.schema_timestamp,
    )


def _decode_upsert(given: RowsMessage, database: str) -> requests.Upsert:
    message = given.message
    ops = {operation.field_name: _read_op(operation) for operation in message.field_ops}
    partial, condition = message.partial_update or changes_partly(ops.values()), _read_condition(message)
    return requests.Upsert(
        database=database,
        collection=message.collection_name,
        rows=_read_rows(given) if partial or condition is not None else _read_row(given),
        partition=message.partition_name,
        schema_timestamp=message.schema_timestamp,
        partial=partial,
        field_ops=ops,
        condition=condition,
    )


def _read_op(operation: Any) -> FieldOp:
    try:
        return FieldOp(operation.op)
    except ValueError:
        raise InvalidParameter(f"field_ops of field {operation.field_name}: {operation.op} is no operation") from None


def _read_condition(message: Any) -> requests.Condition | None:
    if not message.HasField("condition"):
        return None
    given = message.condition
    return requests.Condition(
        versions=tuple(given.versions), where=given.where, where_params=read_templates(given.where_values)
    )


def _write_condition(message: Any, condition: requests.Condition | None) -> None:
    if condition is not None:
        message.condition.SetInParent()
        message.condition.versions.extend(condition.versions)
        message.condition.where = condition.where
        write_templates(message.condition.where_values, condition.where_params)


def _pack_rows(message: Any, request: requests.Insert | requests.Upsert) -> None:
    message.collection_name = request.collection
    message.partition_name = request.partition
    message.schema_timestamp = request.schema_timestamp
    message.num_rows = request.rows.num_rows


def _pack_upsert(message: Any, request: requests.Upsert) -> None:
    _pack_rows(message, request)
    message.partial_update = request.partial
    for name, op in request.field_ops.items():
        message.field_ops.add(field_name=name, op=int(op))
    _write_condition(message, request.condition)


def _columns(number: int) -> Callable[[requests.Insert | requests.Upsert, int], list[Buffer]]:
    """The rows, which `_pack_rows` leaves out: entries of the repeated field `number`, in order."""

    def tail(request: requests.Insert | requests.Upsert, before: int) -> list[Buffer]:
        rows = request.rows if isinstance(request.rows, pa.RecordBatch) else request.rows.batch()
        return batch_pieces(number, rows, before)

    return tail


def _decode_delete(message: Any, database: str) -> requests.Delete:
    # The consistency level is not read: a delete by filter always looks at everything written before it.
    if message.namespace:
        raise no_namespace(message.namespace)
    return requests.Delete(
        database=database,
        collection=message.collection_name,
        filter=message.expr,
        partition=message.partition_name,
        filter_params=read_templates(message.expr_template_values),
        condition=_read_condition(message),
    )


def _pack_delete(message: Any, request: requests.Delete) -> None:
    message.collection_name = request.collection
    message.expr = request.filter
    message.partition_name = request.partition
    write_templates(message.expr_template_values, request.filter_params)
    _write_condition(message, request.condition)


def _written(count: str) -> tuple[Callable[[Any, results.Mutation], None], Callable[[Any], results.Mutation]]:
    """Encode and unpack a MutationResult of written rows, whose number is in the field `count`."""

    def encode(message: Any, result: results.Mutation) -> None:
        message.timestamp = result.timestamp
        setattr(message, count, result.count)
        write_ids(message.IDs, result.ids)
        if len(result.ids):
            message.MergeFromString(packed(_SUCC_INDEX_TAG, counting(len(result.ids))))

    def unpack(message: Any) -> results.Mutation:
        return results.Mutation(ids=read_ids(message.IDs), count=getattr(message, count), timestamp=message.timestamp)

    return encode, unpack


def _encode_deleted(message: Any, result: results.Mutation) -> None:
    message.timestamp = result.timestamp
    message.delete_cnt = result.count


def _unpack_deleted(message: Any) -> results.Mutation:
    return results.Mutation(ids=_NO_IDS, count=message.delete_cnt, timestamp=message.timestamp)


_encode_inserted, _unpack_inserted = _written("insert_cnt")
_encode_upserted, _unpack_upserted = _written("upsert_cnt")


# -- flush --------------------------------------------------------------------------------------
def _encode_flushed(message: Any, result: results.Flushed) -> None:
    for flushed in result.collections:
        name = flushed.collection
        message.coll_segIDs[name].data.extend(flushed.segment_ids)
        message.flush_coll_segIDs[name].data.extend(flushed.flushed_ids)
        message.coll_seal_times[name] = flushed.seal_time
        message.coll_flush_ts[name] = flushed.flush_timestamp


def _unpack_flushed(message: Any) -> results.Flushed:
    return results.Flushed(
        collections=tuple(
            results.FlushedCollection(
                collection=name,
                segment_ids=tuple(ids.data),
                flushed_ids=tuple(message.flush_coll_segIDs[name].data),
                seal_time=message.coll_seal_times[name],
                flush_timestamp=message.coll_flush_ts[name],
            )
            for name, ids in message.coll_segIDs.items()
        )
    )


def _write_flushed_flag(message: Any, result: results.Flag) -> None:
    message.flushed = result.value


def _read_flushed_flag(message: Any) -> results.Flag:
    return results.Flag(value=message.flushed)


def _decode_flush_all(message: Any, database: str) -> requests.FlushAll:
    _refuse_targets(message)
    return requests.FlushAll(database=database)


def _decode_flush_all_state(message: Any, database: str) -> requests.GetFlushAllState:
    _refuse_targets(message)
    if message.flush_all_tss:
        raise Unimplemented("flush_all_tss of GetFlushAllState is not supported in this version")
    return requests.GetFlushAllState(database=database, timestamp=message.flush_all_ts)


def _refuse_targets(message: Any) -> None:
    if message.flush_targets:
        raise Unimplemented("flush_targets is not supported in this version")


def _encode_flush_all(message: Any, result: results.Timestamp) -> None:
    message.flush_all_ts = result.timestamp


def _unpack_flush_all(message: Any) -> results.Timestamp:
    return results.Timestamp(timestamp=message.flush_all_ts)


CODECS: tuple[Codec[Any, Any], ...] = (
    codec(
        "Insert", requests.Insert, results.Mutation, decode=_decode_insert, pack=_pack_rows,
        encode=_encode_inserted, unpack=_unpack_inserted, tail=_columns(_INSERT_FIELDS),
        parse=partial(parse_rows, number=_INSERT_FIELDS),
    ),
    codec(
        "Upsert", requests.Upsert, results.Mutation, decode=_decode_upsert, pack=_pack_upsert,
        encode=_encode_upserted, unpack=_unpack_upserted, tail=_columns(_UPSERT_FIELDS),
        parse=partial(parse_rows, number=_UPSERT_FIELDS),
    ),
    codec(
        "Delete", requests.Delete, results.Mutation, decode=_decode_delete, pack=_pack_delete,
        encode=_encode_deleted, unpack=_unpack_deleted,
    ),
    question(
        "Flush", requests.Flush, results.Flushed, None, {"collections": "collection_names"},
        encode=_encode_flushed, unpack=_unpack_flushed,
    ),
    question(
        "GetFlushState", requests.GetFlushState, results.Flag,
        {"collection": "collection_name", "flush_timestamp": "flush_ts"}, {"segment_ids": "segmentIDs"},
        encode=_write_flushed_flag, unpack=_read_flushed_flag,
    ),
    codec(
        "FlushAll", requests.FlushAll, results.Timestamp, decode=_decode_flush_all,
        pack=Names(requests.FlushAll).pack, encode=_encode_flush_all, unpack=_unpack_flush_all, own_database=True,
    ),
    codec(
        "GetFlushAllState", requests.GetFlushAllState, results.Flag, decode=_decode_flush_all_state,
        pack=Names(requests.GetFlushAllState, {"timestamp": "flush_all_ts"}).pack,
        encode=_write_flushed_flag, unpack=_read_flushed_flag, own_database=True,
    ),
)  # fmt: skip
