"""Who decides what is loaded, and which query node holds which sealed segment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from threading import Lock

import msgspec

from redkite.errors import Corruption
from redkite.model.segments import LoadEntry
from redkite.storage.catalog import Catalog


class QueryCoordinator:
    """Load states survive restarts. Placement does not: segments are placed anew when a shard opens."""

    def __init__(self, catalog: Catalog, nodes: Sequence[int]) -> None:
        self._catalog = catalog
        self._lock = Lock()
        self._rows_on = dict.fromkeys(nodes, 0)
        self._loaded: dict[int, LoadEntry] = {}
        self.reload()

    def reload(self) -> None:
        """Read everything from the catalog."""
        try:
            found = [msgspec.json.decode(value, type=LoadEntry) for _, value in self._catalog.scan("load/")]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Corruption(f"the catalog's entries under load/ cannot be read: {error}") from error
        self._loaded = {entry.collection_id: entry for entry in found}

    def entry(self, collection_id: int) -> LoadEntry | None:
        return self._loaded.get(collection_id)

    def loaded_partitions(self, collection_id: int, existing: Iterable[int]) -> frozenset[int]:
        entry = self.entry(collection_id)
        return frozenset(p for p in existing if entry is not None and entry.covers(p))

    def load(self, collection_id: int, partitions: Iterable[int] | None, replicas: int = 1) -> LoadEntry:
        """Load all partitions (None) or some more of them."""
        with self._lock:
            old = self.entry(collection_id)
            if partitions is None or (old is not None and old.partitions is None):
                wanted = None
            else:
                wanted = tuple(sorted({*(old.partitions or () if old else ()), *partitions}))
            return self._save(LoadEntry(collection_id=collection_id, partitions=wanted, replicas=replicas))

    def release(
        self, collection_id: int, partitions: Iterable[int] | None, existing: Iterable[int]
    ) -> LoadEntry | None:
        """Release all partitions (None) or some; returns what is left, None when nothing is."""
        with self._lock:
            old = self.entry(collection_id)
            if old is None:
                return None
            left = (
                () if partitions is None else tuple(p for p in existing if old.covers(p) and p not in set(partitions))
            )
            if not left:
                self._catalog.commit({}, [f"load/{collection_id}"])
                self._loaded = {c: e for c, e in self._loaded.items() if c != collection_id}
                return None
            return self._save(msgspec.structs.replace(old, partitions=left))

    def _save(self, entry: LoadEntry) -> LoadEntry:
        self._catalog.commit({f"load/{entry.collection_id}": msgspec.json.encode(entry)})
        self._loaded = {**self._loaded, entry.collection_id: entry}
        return entry

    def place(self, rows: int) -> int:
        """The query node for a segment of so many rows: the one that holds the fewest."""
        with self._lock:
            node = min(self._rows_on, key=self._rows_on.__getitem__)
            self._rows_on[node] += rows
            return node

    def unplace(self, node: int, rows: int) -> None:
        with self._lock:
            self._rows_on[node] -= rows
