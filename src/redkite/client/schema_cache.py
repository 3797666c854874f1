"""Which schema a collection had when this process last asked."""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redkite.client.rows import RowPlan

MAX_SCHEMAS = 4096

Key = tuple[str, str, str]
"""(endpoint, database, collection or alias)"""


class SchemaCache:
    """Row plans by name, the oldest forgotten first. Safe from any thread.

    An entry may be stale: a write carries the plan's timestamp and is refused with code 109 when the collection's
    schema is newer.
    """

    def __init__(self, capacity: int = MAX_SCHEMAS) -> None:
        self._plans: dict[Key, RowPlan] = {}
        self._capacity = capacity
        self._lock = Lock()

    def get(self, key: Key) -> RowPlan | None:
        return self._plans.get(key)

    def put(self, key: Key, plan: RowPlan) -> None:
        with self._lock:
            self._plans.pop(key, None)
            self._plans[key] = plan
            if len(self._plans) > self._capacity:
                del self._plans[next(iter(self._plans))]

    def drop(self, key: Key) -> None:
        with self._lock:
            self._plans.pop(key, None)

    def forget_holder(self) -> None:
        """In a forked child, where the thread that had the lock is not."""
        self._lock = Lock()


SHARED = SchemaCache()
"""The cache of this process."""
os.register_at_fork(after_in_child=SHARED.forget_holder)
