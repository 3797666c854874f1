"""What is read when a segment is opened, so that no search waits for the disk.

A field says so by its parameter `warmup`, an index by its property, and a collection for all that say nothing:
`warmup.vectorField`, `warmup.scalarField`, `warmup.vectorIndex`, `warmup.scalarIndex`. `sync` reads before the segment
is used, `async` asks the system to read meanwhile, `disable` reads what is looked at.

What has `mmap.enabled` false, or whose collection has, is read into private memory instead, where the system cannot
take it away for something else.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
import pyarrow as pa

from redkite.index.paging import bring_all
from redkite.index.registry import is_mapped, touch
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.segments import IndexMeta

WARMUP, MMAP = "warmup", "mmap.enabled"
ASYNC, DISABLE, SYNC = "async", "disable", "sync"


def field_warmup(field: FieldSchema, properties: Mapping[str, str]) -> str:
    """How a field is read when a segment is opened."""
    kind = "vectorField" if field.data_type.is_vector else "scalarField"
    return field.params.get(WARMUP) or properties.get(f"{WARMUP}.{kind}", DISABLE)


def warm_fields(rows: pa.RecordBatch, schema: CollectionSchema) -> None:
    """Read those of the stored columns, named by field id, that are to be read."""
    for field in schema.fields:
        how = field_warmup(field, schema.properties)
        place = rows.schema.get_field_index(str(field.field_id)) if how != DISABLE else -1
        if place < 0:
            continue
        for buffer in rows.column(place).buffers():
            if buffer is None or not buffer.size:
                continue
            if how == SYNC:
                touch(memoryview(buffer))
            else:
                bring_all(np.frombuffer(buffer, np.uint8))


def in_memory(rows: pa.RecordBatch, schema: CollectionSchema) -> tuple[pa.RecordBatch, int]:
    """The stored columns, named by field id, those in private memory that are to be there; and how many bytes that
    takes: 0 where all of them stay mapped."""
    columns, taken = list(rows.columns), 0
    for field in schema.fields:
        place = rows.schema.get_field_index(str(field.field_id))
        if place < 0 or _stays_mapped(field, schema):
            continue
        columns[place] = _copied(columns[place])
        taken += columns[place].nbytes
    return (pa.RecordBatch.from_arrays(columns, schema=rows.schema) if taken else rows), taken


def _stays_mapped(field: FieldSchema, schema: CollectionSchema) -> bool:
    """What the field says, else the struct that it is part of, else the collection."""
    struct = schema.struct(field.name.partition("[")[0])
    said = (field.params, {} if struct is None else struct.params, schema.properties)
    return is_mapped(next((params for params in said if MMAP in params), {}))


def _copied(column: pa.Array) -> pa.Array:
    sink = pa.BufferOutputStream()
    batch = pa.RecordBatch.from_arrays([column], ["column"])
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return pa.ipc.open_stream(sink.getvalue()).read_next_batch().column(0)


def warmed(index: IndexMeta, properties: Mapping[str, str]) -> IndexMeta:
    """The index, with what its collection says where itself says nothing."""
    kind = "scalarIndex" if index.spec.is_scalar else "vectorIndex"
    said = ((WARMUP, properties.get(f"{WARMUP}.{kind}")), (MMAP, properties.get(MMAP)))
    more = {key: value for key, value in said if value is not None and key not in index.params}
    return msgspec.structs.replace(index, params={**index.params, **more}) if more else index
