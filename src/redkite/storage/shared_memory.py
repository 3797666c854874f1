"""What etcd does, in memory, for processes of one test or of a simulation: revisions, watches, leases, claims, fences.

`SharedMemory` is the server, with a clock of its own. `memory_connection.py` is what a process has of it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from redkite.env import Env
from redkite.errors import Unavailable
from redkite.storage.catalog import check_expected
from redkite.storage.coordination import Fence, Fenced
from redkite.storage.followed import Change

DATA: Final = "data/"
"""Below it are the keys of the catalog, …"""
LIVE: Final = "live/"
"""… and below this those that last as long as a lease."""
_LOOK_SECONDS: Final = 0.05
"""How often the server looks for leases that have ended."""


class _Pair(NamedTuple):
    value: bytes
    created: int
    changed: int
    lease: int


@dataclass
class _Lease:
    seconds: float
    until: float
    keys: set[str] = field(default_factory=set)


class SharedMemory:
    """Safe from any thread. The last `history` revisions are kept: a watch that wants older ones is told so."""

    def __init__(self, env: Env, history: int = 10_000) -> None:
        self._env = env
        self._lock = threading.Lock()
        self._pairs: dict[str, _Pair] = {}
        self._events: deque[tuple[int, tuple[Change, ...]]] = deque(maxlen=history)
        self._leases: dict[int, _Lease] = {}
        self._last_lease = 0
        self._watchers: tuple[Callable[[], None], ...] = ()
        self.revision = self._told = 1
        self._timer = env.tasks.every(_LOOK_SECONDS, self._look, "leases")

    def compact(self, revision: int = 1 << 62) -> None:
        """Forget the revisions before this one; by default, all."""
        with self._lock:
            while self._events and self._events[0][0] < revision:
                self._events.popleft()

    def close(self) -> None:
        self._timer.cancel()

    # -- what connections ask -------------------------------------------------------------------
    def change(
        self,
        puts: Mapping[str, bytes],
        deletes: Iterable[str],
        expect: Mapping[str, bytes | None],
        fence: Fence | None,
        lease: int = 0,
    ) -> int:
        """One transaction; its revision. Raises Conflict, Fenced."""
        with self._lock:
            self._end_leases()
            if fence is not None:
                holder = self._pairs.get(fence.key.decode())
                if holder is None or holder.created != fence.revision:
                    raise Fenced("another coordinator leads: this one may not change the catalog any more")
            for key, value in expect.items():
                found = self._pairs.get(key)
                check_expected(key.removeprefix(DATA), value, None if found is None else found.value)
            if lease and lease not in self._leases:
                raise Unavailable("the lease has ended")
            revision = self._put(puts, deletes, lease)
        self._wake()
        return revision

    def claim(self, key: str, value: bytes, lease: int) -> int | None:
        with self._lock:
            self._end_leases()
            found = self._pairs.get(key)
            if found is not None:
                return found.created if found.lease == lease and found.value == value else None
            if lease not in self._leases:
                raise Unavailable("the lease has ended")
            revision = self._put({key: value}, (), lease)
        self._wake()
        return revision

    def _put(self, puts: Mapping[str, bytes], deletes: Iterable[str], lease: int) -> int:
        self.revision += 1
        revision, changes = self.revision, []
        for key, value in puts.items():
            old = self._pairs.get(key)
            self._unbind(key, old)
            self._pairs[key] = _Pair(bytes(value), revision if old is None else old.created, revision, lease)
            if lease:
                self._leases[lease].keys.add(key)
            changes.append(Change(key, bytes(value), revision))
        for key in deletes:
            old = self._pairs.pop(key, None)
            self._unbind(key, old)
            if old is not None:
                changes.append(Change(key, None, revision))
        self._events.append((revision, tuple(changes)))
        return revision

    def _unbind(self, key: str, pair: _Pair | None) -> None:
        if pair is not None and pair.lease in self._leases:
            self._leases[pair.lease].keys.discard(key)

    def pairs(self, prefix: str) -> tuple[int, list[Change]]:
        """Everything below a prefix, and the revision at which that is."""
        with self._lock:
            self._end_leases()
            found = [Change(k, p.value, p.changed) for k, p in self._pairs.items() if k.startswith(prefix)]
            return self.revision, sorted(found)

    def next_after(self, revision: int) -> tuple[int, tuple[Change, ...]] | None:
        """What the first commit behind a revision changed, and its own; the same revision and nothing when there is
        none. None when it is not kept any more."""
        with self._lock:
            if revision >= self.revision:
                return revision, ()
            if not self._events or self._events[0][0] > revision + 1:
                return None
            return self._events[revision - self.revision]  # each revision is one event

    # -- leases ---------------------------------------------------------------------------------
    def grant(self, seconds: float) -> int:
        with self._lock:
            self._last_lease += 1
            self._leases[self._last_lease] = _Lease(seconds, self._env.clock.monotonic() + seconds)
            return self._last_lease

    def renew(self, lease: int) -> float:
        with self._lock:
            self._end_leases()
            found = self._leases.get(lease)
            if found is None:
                return 0.0
            found.until = self._env.clock.monotonic() + found.seconds
            return found.seconds

    def revoke(self, lease: int) -> None:
        with self._lock:
            self._end([lease])
        self._wake()

    def _look(self) -> None:
        with self._lock:
            self._end_leases()
        if self._told != self.revision:  # also where a call has found that a lease had ended
            self._wake()

    def _end_leases(self) -> None:
        now = self._env.clock.monotonic()
        self._end([number for number, lease in self._leases.items() if lease.until <= now])

    def _end(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            lease = self._leases.pop(number, None)
            if lease is not None and lease.keys:
                self._put({}, sorted(lease.keys), 0)

    # -- watches --------------------------------------------------------------------------------
    def add_watcher(self, wake: Callable[[], None]) -> None:
        """Call this, from any thread, whenever something may have happened. It must be quick."""
        with self._lock:
            self._watchers = (*self._watchers, wake)

    def remove_watcher(self, wake: Callable[[], None]) -> None:
        with self._lock:
            self._watchers = tuple(other for other in self._watchers if other != wake)

    def _wake(self) -> None:
        self._told = self.revision
        for wake in self._watchers:
            wake()
