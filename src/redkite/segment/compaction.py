"""Sealed segments made into fewer, or into ones split by a key: rows without those that are gone for good.

Everything here is a function of immutable segments. Rows of a new segment are in timestamp order and keep their
timestamps; delete marks that somebody may still read behind are kept, older ones take their rows with them. Columns are
gathered one by one, so that what is in memory is the new segment once and one column more.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from redkite.model.batch import arrow_to_numbers, data_type_of, matrix_of, matrix_to_arrow, numbers_to_arrow
from redkite.model.schema import CollectionSchema
from redkite.model.segments import SegmentMeta
from redkite.model.timestamps import NEVER
from redkite.segment.deletes import Deletes, RowNumbers
from redkite.segment.files import Place, open_deletes, open_rows, write_rows
from redkite.storage.objects import ObjectStore

Stamps = npt.NDArray[np.uint64]
Expired = Callable[[pa.RecordBatch, Stamps], "npt.NDArray[np.bool_] | None"]
"""Which rows of a segment (columns by field name, row timestamps) expired before the horizon; None: none."""


@dataclass(frozen=True, slots=True)
class MadeSegment:
    """A segment that takes the place of others. Its rows are written, `deletes` are the marks it begins with."""

    meta: SegmentMeta
    deletes: Deletes
    origin: list[tuple[int, RowNumbers]]
    """(source segment id, for each of its rows the row here, or -1 when it is not here)"""


@dataclass(frozen=True, slots=True)
class Source:
    """A sealed segment, open to be compacted."""

    meta: SegmentMeta
    batch: pa.RecordBatch
    """One column per field of the present schema."""
    stamps: Stamps
    deleted: Stamps
    """Delete timestamps by row, NEVER for those alive."""


class Part(NamedTuple):
    """Some rows of a source, ascending."""

    source: Source
    rows: RowNumbers


def open_source(store: ObjectStore, meta: SegmentMeta, schema: CollectionSchema) -> Source:
    """Map a segment and read the deletes saved for it."""
    batch, stamps = open_rows(store, meta, schema)
    deleted = np.full(meta.rows, NEVER, np.uint64)
    rows, timestamps = open_deletes(store, meta).entries()
    deleted[rows] = timestamps
    return Source(meta, batch, arrow_to_numbers(stamps), deleted)


def survivors(source: Source, horizon: int, expired: Expired | None = None) -> Part:
    """The rows that a read at `horizon` or later may still want."""
    kept = source.deleted > np.uint64(horizon)
    gone = None if expired is None else expired(source.batch, source.stamps)
    if gone is not None:
        kept &= ~gone
    return Part(source, np.flatnonzero(kept))


# -- writing ------------------------------------------------------------------------------------
def merge(
    store: ObjectStore, schema: CollectionSchema, parts: Sequence[Part], segment_id: int, level: int = 1
) -> MadeSegment:
    """Write one segment of all rows of `parts`: at least one row, of one channel and one partition."""
    parts = [p for p in parts if len(p.rows)]
    first = parts[0].source.meta
    places = {(p.source.meta.channel, p.source.meta.partition_id) for p in parts}
    assert len(places) == 1, "rows of several channels or partitions do not go into one segment"
    stamps = np.concatenate([p.source.stamps[p.rows] for p in parts])
    order = _time_order(stamps)
    columns = [_gather([p.source.batch.column(f.name) for p in parts], parts, order) for f in schema.fields]
    batch = pa.RecordBatch.from_arrays(columns, [f.name for f in schema.fields])
    place = Place(first.collection_id, first.partition_id, first.channel, segment_id)
    meta = write_rows(store, place, schema, batch, stamps if order is None else stamps[order])
    deletes, origin = _marks_and_origin(parts, order, meta.rows)
    return MadeSegment(msgspec.structs.replace(meta, level=level), deletes, origin)


def _time_order(stamps: Stamps) -> RowNumbers | None:
    """Where each row of the new segment comes from; None when they are in order as they stand."""
    if bool((stamps[1:] >= stamps[:-1]).all()):
        return None
    return np.argsort(stamps, kind="stable")


def _places(order: RowNumbers | None, rows: int) -> RowNumbers:
    """Where each row goes: the inverse of `order`."""
    places = np.arange(rows)
    if order is not None:
        places[order] = np.arange(rows)
    return places


def _marks_and_origin(
    parts: Sequence[Part], order: RowNumbers | None, rows: int
) -> tuple[Deletes, list[tuple[int, RowNumbers]]]:
    places = _places(order, rows)
    deleted = np.empty(rows, np.uint64)
    origin = []
    at = 0
    for source, kept in parts:
        here = places[at : at + len(kept)]
        deleted[here] = source.deleted[kept]
        moved = np.full(source.meta.rows, -1, np.int64)
        moved[kept] = here
        origin.append((source.meta.segment_id, moved))
        at += len(kept)
    marked = np.flatnonzero(deleted != np.uint64(NEVER))
    return Deletes.from_entries(marked, deleted[marked], rows), origin


def _gather(columns: Sequence[pa.Array], parts: Sequence[Part], order: RowNumbers | None) -> pa.Array:
    kind = columns[0].type
    if pa.types.is_fixed_size_list(kind) or pa.types.is_fixed_size_binary(kind):
        return _gather_vectors(columns, parts, order)
    taken = [_take(column, part.rows) for column, part in zip(columns, parts, strict=True)]
    whole = taken[0] if len(taken) == 1 else pa.concat_arrays(taken)
    return whole if order is None else whole.take(numbers_to_arrow(order))


def _take(column: pa.Array, rows: RowNumbers) -> pa.Array:
    return column if len(rows) == len(column) else column.take(numbers_to_arrow(rows))


def _gather_vectors(columns: Sequence[pa.Array], parts: Sequence[Part], order: RowNumbers | None) -> pa.Array:
    """Straight into the new matrix, so that no vector is in memory twice."""
    kind = data_type_of(pa.field("vector", columns[0].type))
    total = sum(len(p.rows) for p in parts)
    places = None if order is None else _places(order, total)
    out: npt.NDArray[Any] | None = None
    valid = np.ones(total, np.bool_) if any(column.null_count for column in columns) else None
    at = 0
    for column, part in zip(columns, parts, strict=True):
        vectors = matrix_of(column, kind)
        if out is None:
            out = np.empty((total, vectors.shape[1]), vectors.dtype)
        end = at + len(part.rows)
        here = slice(at, end) if places is None else places[at:end]
        out[here] = vectors[part.rows]
        if valid is not None and column.null_count:
            valid[here] = column.is_valid().to_numpy(zero_copy_only=False)[part.rows]
        at = end
    assert out is not None, "there are parts"
    return matrix_to_arrow(out, kind, valid)


# -- splitting ----------------------------------------------------------------------------------
def split_in_order(parts: Sequence[Part], most_rows: int) -> list[list[Part]]:
    """The rows as they stand, in groups of at most `most_rows` and about equal size."""
    total = sum(len(p.rows) for p in parts)
    size = -(-total // max(1, -(-total // most_rows)))
    groups: list[list[Part]] = [[] for _ in range(-(-total // size))]
    at = 0
    for source, rows in parts:
        first = 0
        while first < len(rows):
            some = rows[first : first + size - at % size]
            groups[at // size].append(Part(source, some))
            first, at = first + len(some), at + len(some)
    return groups


# -- splitting by a key -------------------------------------------------------------------------
def split_by_key(parts: Sequence[Part], field: str, most_rows: int) -> list[list[Part]]:
    """The rows in groups of at most `most_rows` by ranges of a field, nulls last. Rows of equal key stay
    together where they fit."""
    keys = pa.chunked_array([_take(p.source.batch.column(field), p.rows) for p in parts])
    by_key = arrow_to_numbers(pc.sort_indices(keys)).astype(np.int64)
    ends = np.cumsum([len(p.rows) for p in parts])
    groups = []
    cuts = _cuts(keys, by_key, most_rows)
    for begin, end in pairwise(cuts):
        chosen = np.sort(by_key[begin:end])
        limits = np.searchsorted(chosen, ends)
        starts = [0, *limits[:-1].tolist()]
        groups.append([
            Part(part.source, part.rows[chosen[low:high] - (last - len(part.rows))])
            for part, low, high, last in zip(parts, starts, limits.tolist(), ends.tolist(), strict=True)
            if high > low
        ])  # fmt: skip
    return groups


def _cuts(keys: pa.ChunkedArray, by_key: RowNumbers, most_rows: int) -> list[int]:
    """Bounds of groups of about equal size, moved to where a key begins if the groups stay small enough."""
    rows = len(by_key)
    count = max(1, -(-rows // most_rows))
    size = -(-rows // count)

    def rank(at: int) -> tuple[bool, Any]:
        value = keys[int(by_key[at])].as_py()
        return value is None, value

    cuts = [0]
    while rows - cuts[-1] > size:
        cut = cuts[-1] + size
        begin = bisect_left(range(rows), rank(cut), lo=cuts[-1], hi=cut, key=rank)
        cuts.append(begin if begin > cuts[-1] else cut)
    return [*cuts, rows]
