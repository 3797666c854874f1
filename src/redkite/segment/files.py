"""How a sealed segment lies in the object store, and how it is written and opened.

    segments/<collection>/<segment>/rows.arrow       Arrow IPC file, one record batch: `0` row timestamps (uint64), then
                                                     every schema field, columns named by field id
    segments/<collection>/<segment>/order.u32        row numbers in primary-key order, when that differs
    segments/<collection>/<segment>/deletes-<n>.arrow  row numbers and delete timestamps up to a checkpoint
    segments/<collection>/<segment>/index-<id>       one index

Arrow's file layout is the mapped raw array: opening costs microseconds, taking rows touches only their pages.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.errors import Corruption
from redkite.model.schema import CollectionSchema
from redkite.model.segments import SegmentMeta
from redkite.segment.deletes import Deletes
from redkite.segment.growing import GrowingSegment
from redkite.segment.keys import SealedKeys, key_order
from redkite.storage.objects import ObjectStore

TIMESTAMPS = "0"


def segment_prefix(collection_id: int, segment_id: int) -> str:
    return f"segments/{collection_id}/{segment_id}/"


def write_segment(store: ObjectStore, collection_id: int, channel: str, segment: GrowingSegment) -> SegmentMeta:
    """Write the rows of a segment that takes no more writes. Deletes are written apart: they go on."""
    rows = segment.rows
    batch = segment.batch(rows)
    stamps = segment.timestamps(rows)
    ids = [TIMESTAMPS, *(str(f.field_id) for f in segment.schema.fields)]
    table = pa.RecordBatch.from_arrays([pa.array(stamps), *batch.columns], ids)
    payload = _ipc_file(table)
    prefix = segment_prefix(collection_id, segment.segment_id)
    rows_object = prefix + "rows.arrow"
    stored = store.put(rows_object, [payload])
    primary = segment.schema.primary
    keys = batch.column(primary.name)
    order = key_order(keys)
    if order is not None:
        store.put(prefix + "order.u32", [order.tobytes()])
    return SegmentMeta(
        segment_id=segment.segment_id,
        collection_id=collection_id,
        partition_id=segment.partition_id,
        channel=channel,
        rows=rows,
        size=len(payload),
        rows_object=rows_object,
        rows_crc=stored.crc32,
        order_object="" if order is None else prefix + "order.u32",
        min_key=keys[0 if order is None else int(order[0])].as_py(),
        max_key=keys[-1 if order is None else int(order[-1])].as_py(),
        key_type=primary.data_type,
        min_timestamp=int(stamps[0]),
        max_timestamp=int(stamps[-1]),
    )


def _ipc_file(batch: pa.RecordBatch) -> memoryview:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return memoryview(sink.getvalue())


def _read_ipc(store: ObjectStore, name: str) -> pa.RecordBatch:
    try:
        return pa.ipc.open_file(pa.py_buffer(store.map(name))).get_batch(0)
    except (pa.ArrowInvalid, OSError) as error:
        raise Corruption(f"object {name} is not a readable segment file: {error}") from error


def open_rows(store: ObjectStore, meta: SegmentMeta, schema: CollectionSchema) -> tuple[pa.RecordBatch, pa.Array]:
    """The mapped columns by field name, and the row timestamps."""
    batch = _read_ipc(store, meta.rows_object)
    if batch.num_rows != meta.rows:
        raise Corruption(f"object {meta.rows_object} has {batch.num_rows} rows, the catalog says {meta.rows}")
    columns = [batch.column(str(f.field_id)) for f in schema.fields]
    return pa.RecordBatch.from_arrays(columns, [f.name for f in schema.fields]), batch.column(TIMESTAMPS)


def open_keys(store: ObjectStore, meta: SegmentMeta, schema: CollectionSchema) -> SealedKeys:
    keys = _read_ipc(store, meta.rows_object).column(str(schema.primary.field_id))
    order: npt.NDArray[np.uint32] | None = None
    if meta.order_object:
        order = np.frombuffer(store.map(meta.order_object), np.uint32)
        if len(order) != meta.rows:
            raise Corruption(f"object {meta.order_object} has {len(order)} rows, the catalog says {meta.rows}")
    return SealedKeys(keys, order, meta.min_key, meta.max_key)


def write_deletes(store: ObjectStore, meta: SegmentMeta, deletes: Deletes) -> str:
    """Write all deletes of a segment as one new object; returns its name. The caller drops the old one."""
    rows, stamps = deletes.entries()
    name = f"{segment_prefix(meta.collection_id, meta.segment_id)}deletes-{deletes.newest}.arrow"
    store.put(name, [_ipc_file(pa.RecordBatch.from_arrays([pa.array(rows), pa.array(stamps)], ["row", "timestamp"]))])
    return name


def open_deletes(store: ObjectStore, meta: SegmentMeta) -> Deletes:
    if not meta.deletes_object:
        return Deletes()
    batch = _read_ipc(store, meta.deletes_object)
    return Deletes.from_entries(batch.column("row").to_numpy(), batch.column("timestamp").to_numpy(), meta.rows)
