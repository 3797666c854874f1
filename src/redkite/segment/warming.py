"""What is read when a segment is opened, so that no search waits for the disk.

A field says so by its parameter `warmup`, an index by its property, and a collection for all that say nothing:
`warmup.vectorField`, `warmup.scalarField`, `warmup.vectorIndex`, `warmup.scalarIndex`. `sync` reads before the segment
is used, `async` asks the system to read meanwhile, `disable` reads what is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
import pyarrow as pa

from redkite.index.paging import bring_all
from redkite.index.registry import touch
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.segments import IndexMeta

WARMUP = "warmup"
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


def warmed(index: IndexMeta, properties: Mapping[str, str]) -> IndexMeta:
    """The index, with what its collection says where itself says nothing."""
    kind = "scalarIndex" if index.spec.is_scalar else "vectorIndex"
    how = properties.get(f"{WARMUP}.{kind}")
    if how is None or WARMUP in index.params:
        return index
    return msgspec.structs.replace(index, params={**index.params, WARMUP: how})
