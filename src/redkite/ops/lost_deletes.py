"""Which deletes of a segment follow from the other rows: those of rows that a newer one of equal key replaced."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from redkite.coordinator.meta import CollectionMeta
from redkite.errors import MilvusException
from redkite.model.segments import SegmentMeta
from redkite.model.timestamps import NEVER
from redkite.ops.folder import Folder
from redkite.segment.deletes import Deletes
from redkite.segment.files import open_stored

Stamps = npt.NDArray[np.uint64]


def derive_deletes(folder: Folder, meta: SegmentMeta, collection: CollectionMeta) -> Deletes:
    """Each row of the segment that is older than another row of its key is deleted when the next such row was written.
    Rows in the log are not looked at: recovery applies them. Deletes by id or by a filter are not found."""
    keys, stamps = _keys_and_times(folder, meta, collection)
    if keys is None:
        return Deletes()
    all_keys, all_stamps, owners = [keys], [stamps], [np.arange(meta.rows)]
    for other in folder.segments:
        if other.channel == meta.channel and other.segment_id != meta.segment_id:
            found, times = _keys_and_times(folder, other, collection)
            if found is not None:
                here = pc.is_in(found, keys).to_numpy(zero_copy_only=False)
                all_keys.append(found.filter(pa.array(here)))
                all_stamps.append(times[here])
                owners.append(np.full(int(here.sum()), -1))
    return _replaced(pa.concat_arrays(all_keys), np.concatenate(all_stamps), np.concatenate(owners), meta.rows)


def _keys_and_times(folder: Folder, meta: SegmentMeta, collection: CollectionMeta) -> tuple[pa.Array | None, Stamps]:
    try:
        batch, stamps = open_stored(folder.objects, meta)
    except MilvusException:
        return None, np.empty(0, np.uint64)  # damaged as well: nothing follows from it
    return batch.column(str(collection.schema.primary.field_id)), stamps.to_numpy()


def _replaced(keys: pa.Array, stamps: Stamps, owners: npt.NDArray[np.int64], rows: int) -> Deletes:
    """`owners`: the row in the segment, or -1. Rows of equal key and time stand in the order they were written."""
    codes = keys.dictionary_encode().indices.to_numpy()
    order = np.lexsort((np.arange(len(codes)), stamps, codes))
    deleted = np.full(rows, NEVER, np.uint64)
    for row, after in pairwise(order.tolist()):
        if codes[row] == codes[after] and owners[row] >= 0:
            deleted[owners[row]] = stamps[after]
    marked = np.flatnonzero(deleted != np.uint64(NEVER))
    return Deletes.from_entries(marked, deleted[marked], rows)
