"""Is a sealed segment what the catalog says it is? Everything in it is read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.coordinator.meta import CollectionMeta
from redkite.errors import Corruption, MilvusException
from redkite.model.batch import arrow_type
from redkite.model.segments import IndexFile, IndexMeta, SegmentMeta
from redkite.ops.report import Finding, Kind
from redkite.segment.evolution import conform
from redkite.segment.files import open_deletes, open_stored, order_bytes
from redkite.segment.indexes import open_vector_index
from redkite.segment.keys import key_order
from redkite.segment.ranges import field_ranges
from redkite.segment.scalars import open_scalar_file
from redkite.segment.vectors import vectors_of
from redkite.storage.objects import ObjectStore


class SegmentCheck:
    """One look at one segment. `findings` yields what is wrong."""

    def __init__(
        self, store: ObjectStore, meta: SegmentMeta, collection: CollectionMeta | None, indexes: dict[int, IndexMeta]
    ) -> None:
        self._store = store
        self._meta = meta
        self._collection = collection
        self._indexes = indexes
        self._where = f"{collection.database}.{collection.name}" if collection else ""

    def findings(self) -> Iterator[Finding]:
        meta = self._meta
        try:
            batch, stamps = open_stored(self._store, meta)
        except MilvusException as error:
            yield self._finding(Kind.ROWS, meta.rows_object, error.message)
            batch = None
            yield from self._order(None)
            yield from self._deletes(None)
        else:
            times: npt.NDArray[np.uint64] = stamps.to_numpy()
            yield from self._rows(batch, times)
            yield from self._order(self._keys(batch))
            yield from self._deletes(times)
        for file in meta.indexes:
            yield from self._index(file, batch)

    # -- rows -----------------------------------------------------------------------------------
    def _rows(self, batch: pa.RecordBatch, times: npt.NDArray[np.uint64]) -> Iterator[Finding]:
        meta = self._meta
        try:
            batch.validate(full=True)
        except (pa.ArrowInvalid, pa.ArrowException) as error:
            yield self._wrong(f"its columns are not valid: {error}")
            return
        if bool((times[1:] < times[:-1]).any()):
            yield self._wrong("its rows are not in the order of their timestamps")
        if (int(times[0]), int(times[-1])) != (meta.min_timestamp, meta.max_timestamp):
            yield self._wrong(
                f"its rows are of {int(times[0])} to {int(times[-1])}, "
                f"the catalog says {meta.min_timestamp} to {meta.max_timestamp}"
            )
        if self._collection is not None:
            yield from self._columns(batch, self._collection)

    def _columns(self, batch: pa.RecordBatch, collection: CollectionMeta) -> Iterator[Finding]:
        schema = collection.schema
        for field in schema.fields:
            at = batch.schema.get_field_index(str(field.field_id))
            if at < 0:
                continue  # older than the field
            kind, wanted = batch.schema.field(at).type, arrow_type(field)
            if kind != wanted:
                yield self._wrong(f"field {field.name} is stored as {kind} instead of {wanted}")
                return
        stored = {r.field_id: r for r in self._meta.ranges}
        for found in field_ranges(conform(batch, schema), schema):
            known = stored.get(found.field_id)
            inside = known is None or (_least(known.low, found.low) and _least(found.high, known.high))
            if not inside:
                yield self._wrong(f"values of field {found.field_id} lie outside of the range in the catalog")

    def _keys(self, batch: pa.RecordBatch) -> pa.Array | None:
        if self._collection is None:
            return None
        at = batch.schema.get_field_index(str(self._collection.schema.primary.field_id))
        return batch.column(at) if at >= 0 else None

    # -- what lies beside them ------------------------------------------------------------------
    def _order(self, keys: pa.Array | None) -> Iterator[Finding]:
        meta = self._meta
        order: npt.NDArray[np.uint32] | None = None
        if meta.order_object:
            try:
                self._store.verify(meta.order_object, order_bytes(meta), meta.order_crc)
            except MilvusException as error:
                yield self._finding(Kind.ORDER, meta.order_object, error.message)
                return
            order = np.frombuffer(self._store.map(meta.order_object), np.uint32)
            if not np.array_equal(np.sort(order), np.arange(meta.rows, dtype=np.uint32)):
                yield self._finding(Kind.ORDER, meta.order_object, "it does not name each row once")
                return
        if keys is None:
            return
        ordered = keys if order is None else keys.take(pa.array(order))
        if key_order(ordered) is not None:
            if order is None:
                yield self._wrong("its rows are not in the order of their keys, and it has no order object")
            else:
                yield self._finding(Kind.ORDER, meta.order_object, "it is not the order of the keys")
        elif (ordered[0].as_py(), ordered[-1].as_py()) != (meta.min_key, meta.max_key):
            yield self._wrong(f"its keys are not those from {meta.min_key!r} to {meta.max_key!r}, as the catalog says")

    def _deletes(self, times: npt.NDArray[np.uint64] | None) -> Iterator[Finding]:
        meta = self._meta
        if not meta.deletes_object:
            if meta.deleted_rows:
                yield self._wrong(f"the catalog says {meta.deleted_rows} rows are deleted and names no object for that")
            return
        try:
            rows, stamps = open_deletes(self._store, meta).entries()
        except (MilvusException, IndexError) as error:
            yield self._finding(Kind.DELETES, meta.deletes_object, _text(error))
            return
        if len(rows) != meta.deleted_rows:
            yield self._finding(
                Kind.CONTENT, meta.deletes_object, f"it deletes {len(rows)} rows, the catalog says {meta.deleted_rows}"
            )
        if times is not None and len(rows) and bool((stamps < times[rows]).any()):
            yield self._finding(Kind.CONTENT, meta.deletes_object, "it deletes rows before they were written")

    def _index(self, file: IndexFile, batch: pa.RecordBatch | None) -> Iterator[Finding]:
        meta, index = self._meta, self._indexes.get(file.index_id)
        try:
            self._store.verify(file.object, file.size, file.crc)
            if index is not None and index.spec.is_scalar:
                open_scalar_file(self._store, index, file)
            elif index is not None and self._collection is not None and batch is not None:
                field = self._collection.schema.field_by_id(index.field_id)
                if field is not None:
                    vectors = vectors_of(batch, field)
                    found = open_vector_index(self._store, index, file, vectors)
                    if found.rows != meta.rows:
                        raise Corruption(f"object '{file.object}' indexes {found.rows} rows of {meta.rows}")
        except MilvusException as error:
            yield self._finding(Kind.INDEX, file.object, _text(error), file.index_id)

    # -- saying it ------------------------------------------------------------------------------
    def _wrong(self, text: str) -> Finding:
        return self._finding(Kind.CONTENT, self._meta.rows_object, text)

    def _finding(self, kind: Kind, name: str, text: str, index_id: int = 0) -> Finding:
        return Finding(
            kind=kind,
            name=name,
            text=text,
            collection=self._where,
            segment_id=self._meta.segment_id,
            index_id=index_id,
            channel=self._meta.channel,
        )


def _least(low: int | float | str, high: int | float | str) -> bool:
    if isinstance(low, str) or isinstance(high, str):
        return str(low) <= str(high)
    return low <= high


def _text(error: Exception) -> str:
    return error.message if isinstance(error, MilvusException) else str(error)
