"""The catalog of a cluster as one process sees it: a copy in memory that follows the store.

Reads are local. A commit goes to the store and is here when it returns. What others commit is brought by a watch, some
milliseconds later, each commit whole; `refresh` waits for what is there by now. Every key carries the revision that
changed it last: a change that arrives late, behind a newer one, is passed over.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

from redkite.env import Env, Timer, away
from redkite.errors import ConnectionClosed, MilvusException, Unavailable
from redkite.logs import get_logger
from redkite.storage.catalog import checked_deletes
from redkite.storage.coordination import Fence, Watched

log = get_logger(__name__)

WAIT_SECONDS: Final = 5.0
"""How long the store may take to bring what it has."""
_WATCH_SECONDS: Final = 0.5
"""What the watch has not brought by then is read."""
_RETRY_SECONDS: Final = 0.25
_FEW: Final = 64
"""So many new keys are sorted in one at a time."""


class Change(NamedTuple):
    """A key was put, or deleted (`value` is None), by the commit of a revision."""

    key: str
    value: bytes | None
    revision: int


class Committed(NamedTuple):
    """A commit that happened."""

    revision: int
    exact: bool
    """Whether it is the commit's own: else it happened at this revision or before, and others may have come between."""


class Writer(Protocol):
    """What commits."""

    def write(
        self, puts: Mapping[str, bytes], deletes: Iterable[str], expect: Mapping[str, bytes | None] | None
    ) -> Committed:
        """As `Catalog.commit`; also raises Fenced."""
        ...

    def settle(self) -> None:
        """Make sure that what failed with an unknown outcome has happened, or never will. Raises Unavailable."""
        ...

    def tidy(self) -> None:
        """Finish or remove what others left half done: for whoever begins to lead. Raises Fenced, Unavailable."""
        ...


class Store(Protocol):
    """Where the catalog is, as one connection to it. Revisions grow with every commit. Safe from any thread."""

    def writer(self, fence: Fence | None) -> Writer: ...

    def everything(self) -> tuple[int, list[Change]]:
        """All pairs at one revision, at which no commit is half done."""
        ...

    def forget_before(self, revision: int) -> None:
        """Keep no revision before this one: who has missed some of them reads everything again."""
        ...

    def newest(self) -> int:
        """A revision that no commit which ended before this call exceeds."""
        ...

    def watch(self, revision: int, tell: Callable[[int, Sequence[Change]], None], lost: Callable[[], None]) -> Watched:
        """Tell every commit behind a revision, whole and in order: up to which revision, and what changed. `lost` is
        called, and nothing more told, when some are not kept any more. Both are called from one thread at a time, and
        never before this returns within the same call."""
        ...


class _Waiter(NamedTuple):
    revision: int
    told: bool
    """Whether those who listen are to know it too."""
    future: Future[None]


class Copy:
    """The pairs in memory, shared by all catalogs of one process. `revision`: every commit up to it is here, and has
    been told."""

    def __init__(self, store: Store, env: Env) -> None:
        self._store, self._env = store, env
        self._lock = threading.Lock()
        self._values: dict[str, bytes] = {}
        self._revisions: dict[str, int] = {}
        """Of every key."""
        self._gone: dict[str, int] = {}
        """Deleted keys whose deletion the watch has not brought yet, and when that was."""
        self._order: list[str] | None = []
        """The keys, sorted; None until they are wanted again."""
        self._applied = self.revision = self.own = 0
        self._listeners: list[Callable[[Mapping[str, bytes | None]], None]] = []
        self._untold: dict[str, bytes | None] = {}
        self._awake = False
        self._waiting: list[_Waiter] = []
        self._closed = False
        self._watched: Watched | None = None
        self._retries: Timer | None = None
        self._teller = env.tasks.executor("catalog changes", 1)
        self._restarts = env.tasks.executor("catalog", 1)
        self._start()

    def _start(self) -> None:
        revision, found = self._store.everything()
        self._replace(revision, found)
        watched = self._store.watch(revision, self._arrived, self._lost)
        with self._lock:
            if not self._closed:
                self._watched = watched
                return
        watched.close()

    def _lost(self) -> None:
        """The store has forgotten what this copy misses: everything is read again."""
        if not self._closed:
            with suppress(Unavailable):  # closed just now
                self._restarts.submit(self._start_again)

    def _start_again(self) -> None:
        try:
            if not self._closed:
                self._start()
        except ConnectionClosed:
            self._stop_retrying()
        except MilvusException as error:
            log.warning("the catalog cannot be followed: %s", error.message)
            with self._lock:
                if self._retries is None and not self._closed:
                    self._retries = self._env.tasks.every(_RETRY_SECONDS, self._lost, "catalog")
        else:
            self._stop_retrying()

    def _stop_retrying(self) -> None:
        with self._lock:
            retries, self._retries = self._retries, None
        if retries is not None:
            retries.cancel()

    # -- reading --------------------------------------------------------------------------------
    def get(self, key: str) -> bytes | None:
        return self._values.get(key)

    def scan(self, prefix: str) -> list[tuple[str, bytes]]:
        with self._lock:
            if self._order is None:
                self._order = sorted(self._values)
            order, values = self._order, self._values
            found = []
            for at in range(bisect_left(order, prefix), len(order)):
                key = order[at]
                if not key.startswith(prefix):
                    break
                found.append((key, values[key]))
            return found

    # -- changing -------------------------------------------------------------------------------
    def _arrived(self, revision: int, changes: Sequence[Change]) -> None:
        """What the watch brings."""
        with self._lock:
            if self._closed:
                return
            if revision > self._applied:  # else everything was read meanwhile: what is gone since must not come back
                self._apply(changes)
            ready = self._reached(revision)
        self._release(ready)

    def committed(self, revision: int, puts: Mapping[str, bytes], deletes: Iterable[str]) -> None:
        """A commit of this process happened: the watch may be behind it."""
        with self._lock:
            if revision <= self._applied:
                return  # the watch was quicker
            changes = [Change(key, bytes(value), revision) for key, value in puts.items()]
            self._apply([*changes, *(Change(key, None, revision) for key in deletes)])
        self._release([])

    def _replace(self, revision: int, found: list[Change]) -> None:
        """What was read at a revision, which holds for every key that is not newer here."""
        with self._lock:
            if revision < self._applied:
                return
            there = {change.key for change in found}
            gone = [Change(key, None, revision) for key in self._values if key not in there]
            self._apply([*found, *gone])
            ready = self._reached(revision)
        self._release(ready)

    def _apply(self, changes: Sequence[Change]) -> None:
        values, revisions, gone = self._values, self._revisions, self._gone
        fresh: list[str] = []
        stale = False
        for key, value, revision in changes:
            if revisions.get(key, -1) >= revision or gone.get(key, -1) >= revision:
                continue
            if value is None:
                gone[key] = revision
                revisions.pop(key, None)
                if values.pop(key, None) is None:
                    continue
                stale = True
            else:
                gone.pop(key, None)
                revisions[key] = revision
                if key not in values:
                    fresh.append(key)
                elif values[key] == value:
                    continue
                values[key] = value
            self._untold[key] = value
        if stale or len(fresh) > _FEW:
            self._order = None
        elif self._order is not None:
            for key in fresh:
                insort(self._order, key)

    def _reached(self, revision: int) -> list[Future[None]]:
        self._applied = max(self._applied, revision)
        if self._gone:  # nothing older than this arrives any more
            self._gone = {key: at for key, at in self._gone.items() if at > self._applied}
        return self._waited(self._applied, told=False)

    def _waited(self, revision: int, told: bool) -> list[Future[None]]:
        """Those who waited for no more than this, who wait no longer."""
        ready = [w for w in self._waiting if w.revision <= revision and w.told is told]
        if ready:
            self._waiting = [w for w in self._waiting if w not in ready]
        return [waiter.future for waiter in ready]

    def _release(self, ready: Iterable[Future[None]]) -> None:
        """Let those go on, and have what is new told by the thread for that: listeners may take locks that are held by
        whoever waits here."""
        for future in ready:
            future.set_result(None)
        with self._lock:
            if self._awake or self._closed or not (self._untold or self._applied > self.revision):
                return
            self._awake = True
        with suppress(Unavailable):  # closed just now
            self._teller.submit(self._tell)

    def _tell(self) -> None:
        with self._lock:
            self._awake = False
            untold, self._untold = self._untold, {}
            until, listeners = self._applied, list(self._listeners)
        for listener in listeners if untold else ():
            try:
                listener(untold)
            except Exception:  # theirs; others are told all the same
                log.exception("what changed in the catalog was not taken")
        with self._lock:
            self.revision = max(self.revision, until)
            ready = self._waited(self.revision, told=True)
        for future in ready:
            future.set_result(None)

    def when_changed(self, tell: Callable[[Mapping[str, bytes | None]], None]) -> None:
        with self._lock:
            self._listeners.append(tell)

    def forget(self, tell: Callable[[Mapping[str, bytes | None]], None]) -> None:
        with self._lock:
            self._listeners = [listener for listener in self._listeners if listener != tell]

    # -- waiting --------------------------------------------------------------------------------
    def _is_at(self, revision: int, told: bool) -> bool:
        return (self.revision if told else self._applied) >= revision

    def wait_for(self, revision: int, seconds: float, *, told: bool = True) -> bool:
        """Whether everything up to a revision was here in time, and told if that matters."""
        future: Future[None] = self._env.tasks.future()
        with self._lock:
            if self._is_at(revision, told):
                return True
            self._waiting.append(_Waiter(revision, told, future))
        try:
            with away():
                future.result(seconds)
        except TimeoutError:
            with self._lock:
                self._waiting = [waiter for waiter in self._waiting if waiter.future is not future]
                return self._is_at(revision, told)
        return True

    def catch_up(self, revision: int, *, told: bool = True) -> None:
        """Have everything up to a revision here: brought by the watch, or read where that does not come."""
        if self.wait_for(revision, _WATCH_SECONDS, told=told):
            return
        if not self._is_at(revision, told=False):
            self._replace(*self._store.everything())
        if not self.wait_for(revision, WAIT_SECONDS, told=told):
            raise Unavailable(f"the catalog is behind: it is at revision {self.revision}, not at {revision}")

    def close(self) -> None:
        with self._lock:
            self._closed = True
            watched, self._watched = self._watched, None
        self._stop_retrying()
        if watched is not None:
            watched.close()
        self._restarts.shutdown(wait=False)
        self._teller.shutdown(wait=False)


class FollowedCatalog:
    """A `Catalog`: a face of the process's copy that commits under one fence, or none."""

    def __init__(self, copy: Copy, store: Store, fence: Fence | None = None) -> None:
        self._copy, self._store = copy, store
        self.fence = fence
        self._face: FollowedCatalog | None = None
        """The last one that was made of this."""
        self._writer = store.writer(fence)
        self._unsure = False
        """Whether a commit has failed of which nobody knows whether it happened."""

    def fenced(self, fence: Fence | None) -> FollowedCatalog:
        """The same copy, committing only as long as a fence holds."""
        face = self._face
        if face is None or face.fence != fence:
            face = self._face = FollowedCatalog(self._copy, self._store, fence)
        return face

    @property
    def revision(self) -> int:
        """Every commit up to it is here, and those who listen have been told."""
        return self._copy.revision

    @property
    def own_revision(self) -> int:
        """Whoever is to know what this process has committed waits for it: it may be ahead of `revision`."""
        return max(self._copy.revision, self._copy.own)

    def get(self, key: str) -> bytes | None:
        return self._copy.get(key)

    def scan(self, prefix: str = "") -> list[tuple[str, bytes]]:
        return self._copy.scan(prefix)

    def commit(
        self,
        puts: Mapping[str, bytes],
        deletes: Iterable[str] = (),
        expect: Mapping[str, bytes | None] | None = None,
    ) -> None:
        """See `Catalog`. Raises Fenced when the fence does not hold; nothing was committed then. Behind a commit with
        an unknown outcome, everything fails with Unavailable until that is known: what the caller has decided was
        decided without knowing it."""
        gone = checked_deletes(puts, deletes)
        if self._unsure:
            self._settle()
            raise Unavailable("the outcome of the commit before was not known until now: try again")
        try:
            with away():
                done = self._writer.write(puts, gone, expect)
        except Unavailable:
            self._unsure = True
            with suppress(Unavailable):
                self._settle()
            raise
        self._copy.own = max(self._copy.own, done.revision)
        if done.exact:
            self._copy.committed(done.revision, puts, gone)
        else:
            self._copy.catch_up(done.revision, told=False)

    def _settle(self) -> None:
        with away():
            self._writer.settle()
            newest = self._store.newest()
        self._copy.catch_up(newest, told=False)
        self._unsure = False

    def refresh(self, *, told: bool = True) -> int:
        """Everything that anybody committed before this call is here when it returns, and those who listen have been
        told unless that does not matter: the revision. Raises Unavailable when the store does not answer."""
        if self._unsure:
            self._settle()
        with away():
            newest = self._store.newest()
        self._copy.catch_up(newest, told=told)
        return newest

    def tidy(self) -> None:
        """Finish or remove what others left half done in the store: for whoever begins to lead."""
        with away():
            self._writer.tidy()

    def forget_before(self, revision: int) -> None:
        """Let the store forget how it came to a revision: for whoever leads."""
        with away():
            self._store.forget_before(revision)

    def wait_for(self, revision: int, seconds: float) -> None:
        """Wait for what another process has committed. Raises Unavailable."""
        if not self._copy.wait_for(revision, seconds):
            raise Unavailable(f"the catalog is behind: it is at revision {self.revision}, not at {revision}")

    def when_changed(self, tell: Callable[[Mapping[str, bytes | None]], None]) -> None:
        """Call `tell` with the keys that changed and their values (None: deleted), one call after another. Several
        commits may come in one call. A process is told of its own commits as well."""
        self._copy.when_changed(tell)

    def forget_listener(self, tell: Callable[[Mapping[str, bytes | None]], None]) -> None:
        self._copy.forget(tell)

    def close(self) -> None:
        """The copy is its owner's."""


def follow(store: Store, env: Env) -> tuple[Copy, FollowedCatalog]:
    """Begin to follow a store. Raises Unavailable when it does not answer."""
    copy = Copy(store, env)
    return copy, FollowedCatalog(copy, store)
