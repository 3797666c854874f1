"""Indexes over the vectors of a sealed segment, as they lie in the object store.

Rows whose vector is null are in none of them. A segment without any vector has an empty object as its index.
"""

from __future__ import annotations

from redkite.errors import Corruption, MilvusException
from redkite.index.base import VectorIndex
from redkite.index.dense import DenseColumn
from redkite.index.ivf import DiskannIndex
from redkite.index.paging import Paging
from redkite.index.partial import PartialIndex
from redkite.index.registry import is_mapped, needs_column, open_index, warm
from redkite.model.segments import IndexFile, IndexMeta
from redkite.model.types import Metric
from redkite.segment.late import LateColumn
from redkite.segment.vectors import Vectored
from redkite.storage.objects import ObjectStore


def open_vector_index(store: ObjectStore, index: IndexMeta, file: IndexFile, vectors: Vectored) -> VectorIndex:
    """The index over all vectors of a segment, mapped; or read into private memory where its parameters say so. Raises
    Corruption. Only sound bytes reach the index's reader, which is native code."""
    store.verify(file.object, file.size, file.crc)
    path, data = store.local_path(file.object), store.map(file.object)
    if not is_mapped(index.params):
        path, data = None, memoryview(bytes(data))
    warm(data, index.params, index.spec.index_type)
    column, held = vectors.column, vectors.held()
    if held is not None and not len(held):
        return PartialIndex(None, index.spec.metric or Metric.COSINE, held, len(column))
    if held is not None and needs_column(index.spec):
        column = column.gather(held)
    try:
        found = open_index(index.spec, path, data, column)
    except MilvusException:
        raise  # sound, but of no use on this machine
    except RuntimeError as error:
        raise Corruption(f"object '{file.object}' is no index that can be read: {error}") from error
    if isinstance(found, DiskannIndex):
        found.paging = _paging(vectors)
    if found.rows != file.rows:
        raise Corruption(f"object '{file.object}' has {found.rows} rows, the catalog says {file.rows}")
    return found if held is None else PartialIndex(found, found.metric, held, len(vectors.column))


def _paging(vectors: Vectored) -> Paging | None:
    """How the vectors of candidates are read."""
    column = vectors.column.behind if isinstance(vectors.column, LateColumn) else vectors.column
    return Paging(column.matrix, vectors.held()) if isinstance(column, DenseColumn) else None
