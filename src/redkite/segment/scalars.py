"""Indexes over values, as they lie in the object store."""

from __future__ import annotations

from redkite.errors import Corruption
from redkite.index.registry import is_mapped, warm
from redkite.index.scalar.family import ScalarIndex, open_scalar
from redkite.model.segments import IndexFile, IndexMeta
from redkite.storage.objects import ObjectStore


def open_scalar_file(store: ObjectStore, index: IndexMeta, file: IndexFile) -> ScalarIndex:
    """An index over one segment, mapped; or read into private memory where its parameters say so. Raises Corruption for
    a file that is damaged."""
    store.verify(file.object, file.size, file.crc)
    data = store.map(file.object)
    if not is_mapped(index.params):
        data = memoryview(bytes(data))
    warm(data, index.params)
    found = open_scalar(index.spec, data, index.params)
    if found.rows != file.rows:
        raise Corruption(f"object '{file.object}' has {found.rows} rows, the catalog says {file.rows}")
    return found
