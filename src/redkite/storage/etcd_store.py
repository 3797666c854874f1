"""The catalog in etcd as `followed.Store`: read whole, then followed by a watch that hides commits half applied."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from redkite.env import Env
from redkite.errors import MilvusException, Unavailable
from redkite.logs import get_logger
from redkite.storage.coordination import Fence
from redkite.storage.etcd import Compacted, Etcd, Event, Watch, after_prefix
from redkite.storage.etcd_catalog import EtcdCatalog
from redkite.storage.followed import Change, Committed

log = get_logger(__name__)

_PAUSE_SECONDS: Final = 0.5


class EtcdStore:
    """Safe from any thread."""

    def __init__(self, etcd: Etcd, env: Env) -> None:
        self._etcd, self._env = etcd, env
        self._catalog = EtcdCatalog(etcd, env)

    def writer(self, fence: Fence | None) -> EtcdWriter:
        return EtcdWriter(EtcdCatalog(self._etcd, self._env, fence))

    def everything(self) -> tuple[int, list[Change]]:
        return self._catalog.everything()

    def forget_before(self, revision: int) -> None:
        request = self._etcd.messages.CompactionRequest(revision=revision)
        try:
            self._etcd.call("KV", "Compact", request)
        except Compacted:
            return  # somebody else was quicker

    def newest(self) -> int:
        return self._catalog.newest()

    def watch(self, revision: int, tell: Callable[[int, Sequence[Change]], None], lost: Callable[[], None]) -> EtcdFeed:
        return EtcdFeed(self._etcd, self._env, self._catalog, revision, tell, lost)


class EtcdWriter:
    """Commits under one fence, or none."""

    def __init__(self, catalog: EtcdCatalog) -> None:
        self._catalog = catalog

    def write(
        self, puts: Mapping[str, bytes], deletes: Iterable[str], expect: Mapping[str, bytes | None] | None
    ) -> Committed:
        return self._catalog.write(puts, deletes, expect)

    def settle(self) -> None:
        self._catalog.overtake()

    def tidy(self) -> None:
        self._catalog.settle()


class EtcdFeed:
    """Follows everything below the root with one watch, so that it sees in order what belongs together: while a large
    commit is decided and not applied, its parts are kept back, and told at once when the last is there."""

    def __init__(
        self,
        etcd: Etcd,
        env: Env,
        catalog: EtcdCatalog,
        revision: int,
        tell: Callable[[int, Sequence[Change]], None],
        lost: Callable[[], None],
    ) -> None:
        self._etcd, self._catalog = etcd, catalog
        self._tell, self._lost = tell, lost
        self._next = revision + 1
        self._kept: list[Change] | None = None
        """What a large commit has changed so far; None while none is under way."""
        self._done = threading.Event()
        self._telling = threading.RLock()
        self._watch: Watch | None = None
        self._pool = env.tasks.executor("etcd catalog watch", 1)
        self._pool.submit(self._follow)

    def _follow(self) -> None:
        root = self._etcd.settings.root.encode()
        while not self._done.is_set() and not self._etcd.closed.is_set():
            try:
                watch = self._watch = self._etcd.watch(root, after_prefix(root), self._next)
                if self._done.is_set():
                    watch.close()
                for revision, events in watch:
                    self._take(revision, events)
            except Compacted:
                if not self._done.is_set():
                    self._lost()
                return
            except Unavailable:
                if self._etcd.closed.is_set():
                    return
                self._done.wait(_PAUSE_SECONDS)
            except MilvusException as error:
                log.warning("following the catalog in etcd: %s", error.message)
                self._done.wait(_PAUSE_SECONDS)

    def _take(self, revision: int, events: Sequence[Event]) -> None:
        with self._telling:
            if self._done.is_set():
                return
            ready: list[Change] = []
            reached = 0
            for event in events:
                change = self._catalog.change_of(event)
                if change is not None:
                    (ready if self._kept is None else self._kept).append(change)
                elif self._catalog.is_pending(event):
                    if event.value is not None:
                        self._kept, reached = [], event.revision - 1
                    elif self._kept is not None:
                        ready += self._kept
                        self._kept = None
            self._next = revision + 1
            if self._kept is None:
                reached = revision
            if reached:
                self._tell(reached, ready)

    def close(self) -> None:
        self._done.set()
        with self._telling:  # whatever was being told has been
            pass
        if self._watch is not None:
            self._watch.close()
        self._pool.shutdown(wait=False)
