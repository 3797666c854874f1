"""Leases, claims and watches in etcd: `<root>live/<key>`, each key bound to the lease of who put it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from redkite.env import Env
from redkite.errors import MilvusException
from redkite.logs import get_logger
from redkite.storage.coordination import Fence, Lease
from redkite.storage.etcd import Compacted, Etcd, Watch, after_prefix, found_in
from redkite.storage.leases import RenewedLease

log = get_logger(__name__)


class EtcdCoordination:
    """Its leases and watches use threads of `env`; each belongs to who asked for it."""

    def __init__(self, etcd: Etcd, env: Env) -> None:
        self._etcd, self._env = etcd, env
        self._root = etcd.settings.root.encode() + b"live/"

    def lease(self, seconds: float) -> EtcdLease:
        return EtcdLease(self._etcd, self._env, seconds)

    def key(self, name: str) -> bytes:
        """Where a key is in etcd: what a `Fence` names."""
        return self._root + name.encode()

    def claim(self, key: str, value: bytes, lease: Lease) -> int | None:
        ask, name = self._etcd, self.key(key)
        put = ask.put(name, value, lease.number)
        reply = ask.transaction([ask.is_created_at(name, 0)], [put], [ask.range(name)])
        if reply.succeeded:
            return int(reply.header.revision)
        found = next(found_in(reply.responses[0].response_range), None)
        # Ours, when the reply to an earlier try was lost: leases are nobody else's.
        ours = found is not None and reply.responses[0].response_range.kvs[0].lease == lease.number
        return found.created if ours and found is not None and found.value == value else None

    def fence(self, key: str, term: int) -> Fence:
        return Fence(self.key(key), term)

    def put(self, key: str, value: bytes, lease: Lease) -> None:
        self._etcd.transaction([], [self._etcd.put(self.key(key), value, lease.number)])

    def remove(self, key: str) -> None:
        self._etcd.transaction([], [self._etcd.delete(self.key(key))])

    def present(self, prefix: str) -> dict[str, bytes]:
        return self._present(prefix)[1]

    def _present(self, prefix: str) -> tuple[int, dict[str, bytes]]:
        ask, start = self._etcd, self.key(prefix)
        end = after_prefix(start)
        reply = ask.transaction([], [ask.range(start, end)])
        revision = reply.header.revision
        pairs = ask.rest_of(reply.responses[0].response_range, start, end, revision)
        return revision, {self._plain(pair.key): pair.value for pair in pairs}

    def _plain(self, key: bytes) -> str:
        return key[len(self._root) :].decode()

    def watch(self, prefix: str, tell: Callable[[Mapping[str, bytes]], None]) -> EtcdWatched:
        return EtcdWatched(self, self._etcd, self._env, prefix, tell)


class EtcdLease(RenewedLease):
    """etcd gives no less than its election timeout and a half: `seconds` is what it gave."""

    def __init__(self, etcd: Etcd, env: Env, seconds: float) -> None:
        asked = env.clock.monotonic()
        granted = etcd.call("Lease", "LeaseGrant", etcd.messages.LeaseGrantRequest(TTL=max(1, round(seconds))))

        def revoke() -> None:
            etcd.call("Lease", "LeaseRevoke", etcd.messages.LeaseRevokeRequest(ID=granted.ID), 2.0)

        super().__init__(
            env, granted.ID, asked, float(granted.TTL), lambda seconds: etcd.renew(granted.ID, seconds), revoke
        )


class EtcdWatched:
    """A copy of the keys below a prefix, kept by a thread of its own."""

    def __init__(
        self, source: EtcdCoordination, etcd: Etcd, env: Env, prefix: str, tell: Callable[[Mapping[str, bytes]], None]
    ) -> None:
        self._source, self._etcd, self._prefix, self._tell = source, etcd, prefix, tell
        self._done = threading.Event()
        self._telling = threading.RLock()
        """Held while something is told: who has it knows that nothing is."""
        self._watch: Watch | None = None
        self._pool = env.tasks.executor(f"etcd watch {prefix}", 1)
        self._pool.submit(self._follow)

    def _follow(self) -> None:
        while not self._done.is_set() and not self._etcd.closed.is_set():
            try:
                self._follow_once()
            except Compacted:
                continue
            except MilvusException as error:
                log.warning("watching '%s' in etcd: %s", self._prefix, error.message)
                self._done.wait(0.5)

    def _follow_once(self) -> None:
        start = self._source.key(self._prefix)
        revision, present = self._source._present(self._prefix)
        self._say(present)
        self._watch = self._etcd.watch(start, after_prefix(start), revision + 1)
        if self._done.is_set():
            self._watch.close()
        for _, events in self._watch:
            for event in events:
                name = self._source._plain(event.key)
                if event.value is None:
                    present.pop(name, None)
                else:
                    present[name] = event.value
            if events:
                self._say(present)

    def _say(self, present: dict[str, Any]) -> None:
        with self._telling:
            if self._done.is_set():
                return
            try:
                self._tell(dict(present))
            except Exception:  # theirs; the next change is told all the same
                log.exception("what changed below '%s' in etcd was not taken", self._prefix)

    def close(self) -> None:
        self._done.set()
        with self._telling:  # whatever was being told has been
            pass
        if self._watch is not None:
            self._watch.close()
        self._pool.shutdown(wait=False)
