"""How a sealed segment lies in the object store, and how it is written and opened.

    segments/<collection>/<segment>/rows.arrow       Arrow IPC file, one record batch: `0` row timestamps (uint64), then
                                                     every schema field, columns named by field id, then paths of
                                                     JSON fields as `shredding.py` names them
    segments/<collection>/<segment>/order.u32        row numbers in primary-key order, when that differs
                                                     (`rows-<n>.arrow` and `order-<n>.u32` where a data node of a
                                                     cluster wrote them: each of its tries has another n)
    segments/<collection>/<segment>/deletes-<t>-<n>.arrow  row numbers and timestamps of n deletes up to a checkpoint
    segments/<collection>/<segment>/index-<id>       one index; `-<n>` behind it when it had to be built again

An object never changes: other content has another name. Its size and CRC-32 are in the catalog, and nothing makes sense
of its bytes before they were compared (`ObjectStore.verify`).

Arrow's file layout is the mapped raw array: opening costs microseconds, taking rows touches only their pages.
"""

from __future__ import annotations

import io
import itertools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.env import Buffer
from redkite.errors import Corruption
from redkite.logs import get_logger
from redkite.model.batch import arrow_to_numbers, numbers_to_arrow
from redkite.model.schema import CollectionSchema
from redkite.model.segments import DeletesFile, SegmentMeta
from redkite.segment.deletes import Deletes
from redkite.segment.evolution import conform
from redkite.segment.growing import GrowingSegment
from redkite.segment.keys import SealedKeys, key_order
from redkite.segment.late import PIECES, LateCheck, check_around, checksums_of, late_bytes, late_column
from redkite.segment.ranges import field_ranges
from redkite.segment.shredding import shredded_columns
from redkite.storage.objects import ObjectStore

log = get_logger(__name__)

TIMESTAMPS = "0"


def segment_prefix(collection_id: int, segment_id: int) -> str:
    return f"segments/{collection_id}/{segment_id}/"


def index_object(store: ObjectStore, meta: SegmentMeta, index_id: int) -> str:
    """A free name for an index over this segment."""
    return free_name(store, first_index_object(meta.collection_id, meta.segment_id, index_id))


def first_index_object(collection_id: int, segment_id: int, index_id: int) -> str:
    """The name of an index over a segment that nobody has yet: what else has it is of a try that failed."""
    return f"{segment_prefix(collection_id, segment_id)}index-{index_id}"


def free_name(store: ObjectStore, stem: str, suffix: str = "") -> str:
    """The stem and suffix, with a number between them when there is such an object already."""
    names = (f"{stem}{suffix}" if n == 0 else f"{stem}-{n}{suffix}" for n in itertools.count())
    return next(name for name in names if not store.exists(name))


class Place(NamedTuple):
    """Where rows belong that become a sealed segment."""

    collection_id: int
    partition_id: int
    channel: str
    segment_id: int


def write_segment(store: ObjectStore, collection_id: int, channel: str, segment: GrowingSegment) -> SegmentMeta:
    """Write the rows of a segment that takes no more writes. Deletes are written apart: they go on."""
    place = Place(collection_id, segment.partition_id, channel, segment.segment_id)
    return write_rows(store, place, segment.schema, segment.batch(segment.rows), segment.timestamps(segment.rows))


def write_rows(
    store: ObjectStore,
    place: Place,
    schema: CollectionSchema,
    batch: pa.RecordBatch,
    stamps: npt.NDArray[np.uint64],
    number: int = 0,
) -> SegmentMeta:
    """Write a sealed segment: at least one row, one column per schema field, in order of their timestamps. `number`: of
    the try, where there may be several at once; 0: there are not."""
    shredded = shredded_columns(batch, schema)
    ids = [TIMESTAMPS, *(str(f.field_id) for f in schema.fields), *(name for name, _ in shredded)]
    columns = [numbers_to_arrow(stamps), *batch.columns, *(column for _, column in shredded)]
    table = pa.RecordBatch.from_arrays(columns, ids)
    prefix = segment_prefix(place.collection_id, place.segment_id)
    mark = f"-{number}" if number else ""
    rows_object, order_object = f"{prefix}rows{mark}.arrow", f"{prefix}order{mark}.u32"
    vectors = late_column(table)
    file = _ipc_file(table, None if vectors is None else {PIECES: checksums_of(vectors)})
    stored = store.put(rows_object, file)
    keys = batch.column(schema.primary.name)
    order = key_order(keys)
    order_crc = 0 if order is None else store.put(order_object, [order.data]).crc32
    return SegmentMeta(
        segment_id=place.segment_id,
        collection_id=place.collection_id,
        partition_id=place.partition_id,
        channel=place.channel,
        rows=len(stamps),
        size=stored.size,
        rows_object=rows_object,
        rows_crc=stored.crc32,
        order_object="" if order is None else order_object,
        min_key=keys[0 if order is None else int(order[0])].as_py(),
        max_key=keys[-1 if order is None else int(order[-1])].as_py(),
        key_type=schema.primary.data_type,
        min_timestamp=int(stamps[0]),
        max_timestamp=int(stamps[-1]),
        ranges=field_ranges(batch, schema),
        order_crc=order_crc,
        late=None if vectors is None else late_bytes(file, vectors),
    )


class _Buffers(io.RawIOBase):
    """A file that only remembers what is written to it: the columns themselves, not copies."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[Buffer] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        part = memoryview(data)
        self.parts.append(part)
        self._size += part.nbytes
        return part.nbytes

    def tell(self) -> int:
        return self._size


def _ipc_file(batch: pa.RecordBatch, beside: dict[bytes, bytes] | None = None) -> list[Buffer]:
    sink = _Buffers()
    with pa.ipc.new_file(pa.PythonFile(sink, mode="w"), batch.schema) as writer:
        writer.write_batch(batch, custom_metadata=beside)
    return sink.parts


def _read_ipc(store: ObjectStore, name: str, size: int, crc: int) -> pa.RecordBatch:
    """The batch of an Arrow file, mapped. Arrow's reader is made for sound bytes, so they are checked before."""
    store.verify(name, size, crc)
    try:
        return pa.ipc.open_file(pa.py_buffer(store.map(name))).get_batch(0)
    except (pa.ArrowInvalid, OSError) as error:
        raise Corruption(f"object {name} is not a readable segment file: {error}") from error


def open_late(store: ObjectStore, meta: SegmentMeta) -> tuple[pa.RecordBatch, LateCheck | None]:
    """The mapped columns as they are stored; with a check, the numbers of the largest vector column are to be looked at
    through it."""
    late = meta.late
    if late is None or store.background is None:
        return _read_ipc(store, meta.rows_object, meta.size, meta.rows_crc), None
    check_around(store, meta, late)
    try:
        mapped = pa.py_buffer(store.map(meta.rows_object))
        batch, beside = pa.ipc.open_file(mapped).get_batch_with_custom_metadata(0)
    except (pa.ArrowInvalid, OSError) as error:
        raise Corruption(f"object {meta.rows_object} is not a readable segment file: {error}") from error
    return batch, LateCheck(store, meta, late, mapped, (beside or {}).get(PIECES, b""))


def open_stored(store: ObjectStore, meta: SegmentMeta) -> tuple[pa.RecordBatch, pa.Array]:
    """The mapped columns as they are stored, named by field id, and the row timestamps."""
    return _stamped(meta, _read_ipc(store, meta.rows_object, meta.size, meta.rows_crc))


def open_stored_late(store: ObjectStore, meta: SegmentMeta) -> tuple[pa.RecordBatch, pa.Array, LateCheck | None]:
    """The same, and how the largest vector column is to be looked at, if so; see `open_late`."""
    batch, late = open_late(store, meta)
    return (*_stamped(meta, batch), late)


def _stamped(meta: SegmentMeta, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.Array]:
    if batch.num_rows != meta.rows:
        raise Corruption(f"object {meta.rows_object} has {batch.num_rows} rows, the catalog says {meta.rows}")
    if meta.stamp:
        return batch, numbers_to_arrow(np.full(meta.rows, meta.stamp, np.uint64))
    return batch, batch.column(TIMESTAMPS)


def open_rows(store: ObjectStore, meta: SegmentMeta, schema: CollectionSchema) -> tuple[pa.RecordBatch, pa.Array]:
    """One column per field of the schema, mapped where it is stored, and the row timestamps."""
    stored, stamps = open_stored(store, meta)
    return conform(stored, schema), stamps


def open_keys(store: ObjectStore, meta: SegmentMeta, schema: CollectionSchema) -> SealedKeys:
    keys = open_late(store, meta)[0].column(str(schema.primary.field_id))
    return SealedKeys(keys, _open_order(store, meta, keys), meta.min_key, meta.max_key)


def _open_order(store: ObjectStore, meta: SegmentMeta, keys: pa.Array) -> npt.NDArray[np.uint32] | None:
    """The order of the keys; found again from the keys themselves when its object is damaged."""
    if not meta.order_object:
        return None
    try:
        store.verify(meta.order_object, order_bytes(meta), meta.order_crc)
    except Corruption as error:
        log.warning("%s; the order is made anew from the rows, in memory", error.message)
        return key_order(keys)
    return np.frombuffer(store.map(meta.order_object), np.uint32)


def order_bytes(meta: SegmentMeta) -> int:
    """Size of a segment's order object."""
    return meta.rows * np.dtype(np.uint32).itemsize


def write_deletes(store: ObjectStore, meta: SegmentMeta, deletes: Deletes) -> DeletesFile:
    """Write all deletes of a segment as one new object. The caller discards the old one."""
    rows, stamps = deletes.entries()
    name = f"{segment_prefix(meta.collection_id, meta.segment_id)}deletes-{deletes.newest}-{len(rows)}.arrow"
    batch = pa.RecordBatch.from_arrays([pa.array(rows), pa.array(stamps)], ["row", "timestamp"])
    stored = store.put(name, _ipc_file(batch))
    return DeletesFile(object=name, size=stored.size, crc=stored.crc32, rows=len(rows))


def open_deletes(store: ObjectStore, meta: SegmentMeta) -> Deletes:
    if not meta.deletes_object:
        return Deletes()
    batch = _read_ipc(store, meta.deletes_object, meta.deletes_size, meta.deletes_crc)
    rows, stamps = arrow_to_numbers(batch.column("row")), arrow_to_numbers(batch.column("timestamp"))
    if len(rows) and not 0 <= rows.min() <= rows.max() < meta.rows:
        raise Corruption(f"object {meta.deletes_object} deletes rows that its segment of {meta.rows} does not have")
    return Deletes.from_entries(rows, stamps, meta.rows)
