"""What a node keeps of what it derived from sealed segments, within a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Any, Generic, TypeVar

V = TypeVar("V")
Key = tuple[Any, ...]
"""The first part is the id of the segment."""


class Kept(Generic[V]):
    """Values by key, least recently used out first. Safe from any thread."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held = 0
        """Bytes."""
        self._lock = Lock()
        self._values: OrderedDict[Key, tuple[V, int]] = OrderedDict()

    def get(self, key: Key) -> V | None:
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: Key, value: V, size: int) -> None:
        """Keep a value of so many bytes, and forget others for it. One that is larger than all may be stays alone,
        until the next one comes: whoever made it is about to ask for it again."""
        with self._lock:
            self._drop(key)
            self._values[key] = (value, size)
            self.held += size
            while self.held > self.capacity and len(self._values) > 1:
                _, (_, oldest) = self._values.popitem(last=False)
                self.held -= oldest

    def forget(self, segment_id: int) -> None:
        """The segment is gone."""
        with self._lock:
            for key in [k for k in self._values if k[0] == segment_id]:
                self._drop(key)

    def _drop(self, key: Key) -> None:
        known = self._values.pop(key, None)
        if known is not None:
            self.held -= known[1]
