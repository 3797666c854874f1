"""Who deletes objects, and when? Nobody but this: an object goes when nothing names it and nothing holds it.

Whoever made objects useless discards their names. They stay for a grace, so that reads under way and other processes
that read the same path finish with them. An object that a holder (a named snapshot, a running backup, a compaction)
has, or that the catalog still names for another collection, stays until it is let go.

What was discarded and is still there when the process ends is found at the next open: `sweep` removes what nobody
names and nobody holds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from threading import Lock

from redkite.env import Env, Timer
from redkite.errors import MilvusException
from redkite.logs import get_logger
from redkite.storage.objects import ObjectStore

log = get_logger(__name__)

GRACE_SECONDS = 60.0
_LONGEST_ROUND = 30.0
_SHORTEST_ROUND = 1.0


class Garbage:
    """Safe from any thread. With a grace of 0 an object that nothing needs is deleted as soon as it is discarded."""

    def __init__(
        self, env: Env, store: ObjectStore, named: Callable[[], Collection[str]], grace_seconds: float = GRACE_SECONDS
    ) -> None:
        """`named` tells the objects that the catalog names now."""
        self._env = env
        self._store = store
        self._named = named
        self._grace_ms = int(grace_seconds * 1000)
        self._lock = Lock()
        self._due: dict[str, int] = {}
        self._held: dict[str, frozenset[str]] = {}
        self._timer: Timer | None = None
        self._paused_until = 0
        self._closed = False

    # -- holders --------------------------------------------------------------------------------
    def hold(self, owner: str, names: Iterable[str]) -> None:
        """Keep objects until `release(owner)`, beside those that this owner holds already. Holds end with the process:
        holders that outlive it hold again before the path is swept."""
        with self._lock:
            self._held[owner] = self._held.get(owner, frozenset()) | frozenset(names)

    def release(self, owner: str) -> None:
        """Let go of everything an owner holds; an unknown owner is no error."""
        with self._lock:
            found = self._held.pop(owner, frozenset())
            waiting = any(name in self._due for name in found)
        if waiting and not self._grace_ms:
            self.collect()

    def holders(self, name: str) -> list[str]:
        """Who holds an object, sorted."""
        with self._lock:
            return sorted(owner for owner, names in self._held.items() if name in names)

    # -- what is to go --------------------------------------------------------------------------
    def discard(self, names: Iterable[str]) -> None:
        """Say that objects are useless; empty names are passed over. Call it after the commit that unnamed them."""
        due = self._env.clock.now_ms() + self._grace_ms
        with self._lock:
            fresh = {name: due for name in names if name and name not in self._due}
            self._due |= fresh
            if fresh and self._grace_ms and self._timer is None and not self._closed:
                seconds = min(max(self._grace_ms / 2000, _SHORTEST_ROUND), _LONGEST_ROUND)
                self._timer = self._env.tasks.every(seconds, self._round, "garbage")
        if fresh and not self._grace_ms:
            self.collect()

    def discard_prefix(self, prefix: str) -> None:
        """Discard every object whose name begins with `prefix`."""
        self.discard(self._store.list(prefix))

    def pause(self, seconds: float) -> None:
        """Delete nothing for so long, whatever is discarded: another program reads the objects."""
        self._paused_until = self._env.clock.now_ms() + int(seconds * 1000)

    def resume(self) -> None:
        """Delete again what is due."""
        self._paused_until = 0
        self.collect()

    @property
    def is_paused(self) -> bool:
        return self._env.clock.now_ms() < self._paused_until

    @property
    def waiting(self) -> int:
        """Discarded objects that are still there."""
        return len(self._due)

    def collect(self) -> int:
        """Delete the discarded objects whose grace is over and that nothing needs; returns how many went."""
        now = self._env.clock.now_ms()
        if now < self._paused_until:
            return 0
        with self._lock:
            due = [name for name, at in self._due.items() if at <= now]
            if not due:
                return 0
            needed = self._needed()
            gone = [name for name in due if name not in needed]
            # Named again means not useless after all; held ones wait for their holder.
            held = frozenset().union(*self._held.values())
            for name in due:
                if name not in needed or name not in held:
                    del self._due[name]
        return self.delete(gone)

    def sweep(self, prefix: str) -> int:
        """Delete everything under `prefix` that nothing names and nothing holds. Only for a path just opened, before
        anything is written to it."""
        with self._lock:
            needed = self._needed()
        return self.delete([name for name in self._store.list(prefix) if name not in needed])

    def close(self) -> None:
        """Stop collecting. What waits is swept when the path is opened next."""
        with self._lock:
            self._closed = True
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _needed(self) -> frozenset[str]:
        return frozenset(self._named()).union(*self._held.values())

    def _round(self) -> None:
        self.collect()

    def delete(self, names: list[str]) -> int:
        """Delete objects now, for who knows that nothing needs them; returns how many went."""
        deleted = 0
        for name in names:
            try:
                self._store.delete(name)
                deleted += 1
            except MilvusException:
                # It is garbage either way: the next open finds it.
                log.warning("object %s could not be deleted", name, exc_info=True)
        for folder in sorted({name.rpartition("/")[0] for name in names}):
            self._remove_if_empty(folder)
        return deleted

    def _remove_if_empty(self, folder: str) -> None:
        """Folders of segments are never used again: empty ones would only slow down listings."""
        if not folder:
            return
        try:
            if not self._store.list(f"{folder}/"):
                self._store.delete_prefix(f"{folder}/")
        except MilvusException:
            log.warning("folder %s could not be removed", folder, exc_info=True)
