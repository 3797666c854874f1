"""One process's connection to a `SharedMemory`: it can be cut off, held back, made to lose replies, and abandoned as a
killed process leaves it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from redkite.env import Env
from redkite.errors import ConnectionClosed, Unavailable
from redkite.logs import get_logger
from redkite.storage.coordination import Fence, Lease
from redkite.storage.followed import Change, Committed
from redkite.storage.leases import RenewedLease
from redkite.storage.shared_memory import DATA, LIVE, SharedMemory

log = get_logger(__name__)


class MemoryConnection:
    """`store` is the catalog's, `coordination` says who is alive. Both fail as the connection does."""

    def __init__(self, shared: SharedMemory, env: Env, name: str = "") -> None:
        self._shared, self.env, self.name = shared, env, name
        self.pool = env.tasks.executor(f"shared memory {name}", 1)
        self.store = MemoryStore(self)
        self.coordination = MemoryCoordination(self)
        self._feeds: tuple[Feed, ...] = ()
        self._leases: list[RenewedLease] = []
        self._is_cut = self._is_held = self.closed = False
        self._lose = 0
        self.calls = 0
        """Calls that reached the server."""

    # -- what befalls it ------------------------------------------------------------------------
    def cut(self) -> None:
        """Nothing comes through, either way, until `mend`."""
        self._is_cut = True

    def mend(self) -> None:
        self._is_cut = False
        self._wake()

    def hold(self) -> None:
        """Calls come through, but what is watched is not told until `let_go`."""
        self._is_held = True

    def let_go(self) -> None:
        self._is_held = False
        self._wake()

    def lose_replies(self, count: int = 1) -> None:
        """The next so many calls that change something are done, and then fail."""
        self._lose = count

    def abandon(self) -> None:
        """The process is gone: nothing more is sent or told, and its leases end when their time is over."""
        self.closed = True
        for lease in self._leases:
            lease.abandon()
        for feed in self._feeds:
            feed.abandon()

    @property
    def tells(self) -> bool:
        """Whether what is watched comes through."""
        return not (self._is_cut or self._is_held or self.closed)

    def _wake(self) -> None:
        for feed in self._feeds:
            feed.wake()

    # -- for its two halves ---------------------------------------------------------------------
    def reach(self) -> SharedMemory:
        """The server, or Unavailable."""
        if self.closed:
            raise ConnectionClosed("the connection to etcd is closed")
        if self._is_cut:
            raise Unavailable("etcd does not answer")
        self.calls += 1
        return self._shared

    def reply(self) -> None:
        """Called when something is done: whoever asked may never hear of it."""
        if self._lose:
            self._lose -= 1
            raise Unavailable("etcd does not answer")

    def feed(
        self, prefix: str, revision: int, tell: Callable[[int, Sequence[Change]], None], lost: Callable[[], None]
    ) -> Feed:
        feed = Feed(self._shared, self, prefix, revision, tell, lost)
        self._feeds = (*self._feeds, feed)
        self._shared.add_watcher(feed.wake)
        feed.wake()
        return feed

    def end(self, feed: Feed) -> None:
        self._shared.remove_watcher(feed.wake)
        self._feeds = tuple(other for other in self._feeds if other is not feed)

    def lease(self, seconds: float) -> RenewedLease:
        asked = self.env.clock.monotonic()
        number = self.reach().grant(seconds)

        def renew(_: float) -> float:
            return self.reach().renew(number)

        lease = RenewedLease(self.env, number, asked, seconds, renew, lambda: self.reach().revoke(number))
        self._leases.append(lease)
        return lease

    def close(self) -> None:
        """Give up the leases and tell nothing more."""
        if self.closed:
            return
        for lease in self._leases:
            lease.close()
        self.closed = True
        for feed in self._feeds:
            feed.close()
        self.pool.shutdown(wait=False)


class MemoryStore:
    """See `followed.Store`."""

    def __init__(self, connection: MemoryConnection) -> None:
        self._connection = connection

    def writer(self, fence: Fence | None) -> MemoryWriter:
        return MemoryWriter(self._connection, fence)

    def everything(self) -> tuple[int, list[Change]]:
        revision, found = self._connection.reach().pairs(DATA)
        return revision, [_plain(change) for change in found]

    def forget_before(self, revision: int) -> None:
        self._connection.reach().compact(revision)

    def newest(self) -> int:
        return self._connection.reach().revision

    def watch(self, revision: int, tell: Callable[[int, Sequence[Change]], None], lost: Callable[[], None]) -> Feed:
        def tell_plain(reached: int, changes: Sequence[Change]) -> None:
            tell(reached, [_plain(change) for change in changes])

        return self._connection.feed(DATA, revision, tell_plain, lost)


def _plain(change: Change) -> Change:
    return Change(change.key[len(DATA) :], change.value, change.revision)


class MemoryWriter:
    """Commits under one fence, or none."""

    def __init__(self, connection: MemoryConnection, fence: Fence | None) -> None:
        self._connection, self._fence = connection, fence

    def write(
        self, puts: Mapping[str, bytes], deletes: Iterable[str], expect: Mapping[str, bytes | None] | None
    ) -> Committed:
        expected = {DATA + key: value for key, value in (expect or {}).items()}
        named = {DATA + key: value for key, value in puts.items()}
        server = self._connection.reach()
        revision = server.change(named, [DATA + key for key in deletes], expected, self._fence)
        self._connection.reply()
        return Committed(revision, exact=True)

    def settle(self) -> None:
        """A commit that fails here is done by then, or never."""
        self._connection.reach()

    def tidy(self) -> None:
        """Nothing is ever half done here."""
        self._connection.reach()


class MemoryCoordination:
    """See `coordination.Coordination`."""

    def __init__(self, connection: MemoryConnection) -> None:
        self._connection = connection

    def lease(self, seconds: float) -> RenewedLease:
        return self._connection.lease(seconds)

    def claim(self, key: str, value: bytes, lease: Lease) -> int | None:
        term = self._connection.reach().claim(LIVE + key, value, lease.number)
        self._connection.reply()
        return term

    def fence(self, key: str, term: int) -> Fence:
        return Fence((LIVE + key).encode(), term)

    def put(self, key: str, value: bytes, lease: Lease) -> None:
        self._connection.reach().change({LIVE + key: value}, (), {}, None, lease.number)
        self._connection.reply()

    def remove(self, key: str) -> None:
        self._connection.reach().change({}, [LIVE + key], {}, None)
        self._connection.reply()

    def present(self, prefix: str) -> dict[str, bytes]:
        return self.present_at(prefix)[1]

    def present_at(self, prefix: str) -> tuple[int, dict[str, bytes]]:
        """What is there, and since which revision at the latest."""
        revision, found = self._connection.reach().pairs(LIVE + prefix)
        return revision, {change.key[len(LIVE) :]: change.value for change in found if change.value is not None}

    def watch(self, prefix: str, tell: Callable[[Mapping[str, bytes]], None]) -> Presence:
        return Presence(self, self._connection, prefix, tell)


class Feed:
    """What happens below a prefix behind a revision, told by the connection's one thread."""

    def __init__(
        self,
        shared: SharedMemory,
        connection: MemoryConnection,
        prefix: str,
        revision: int,
        tell: Callable[[int, Sequence[Change]], None],
        lost: Callable[[], None],
    ) -> None:
        self._shared, self._connection, self._prefix = shared, connection, prefix
        self._reached = revision
        self._tell, self._lost = tell, lost
        self._lock = threading.Lock()
        self._awake = self._closed = False
        self.telling = threading.RLock()
        """Held while something is told: who has it knows that nothing is."""

    def wake(self) -> None:
        with self._lock:
            if self._awake or self._closed:
                return
            self._awake = True
        try:
            self._connection.pool.submit(self._run)
        except Unavailable:  # closed just now
            return

    def _run(self) -> None:
        with self._lock:
            self._awake = False
        with self.telling:
            if self._closed or not self._connection.tells:
                return
            found = self._next()
            if found is None:
                self.abandon()
                self._lost()
                return
            reached, changes = found
            if reached == self._reached:
                return
            self._reached = reached
            if changes or self._prefix == DATA:  # the catalog is told how far it is
                self._tell(reached, changes)
        if self._shared.revision > reached:
            self.wake()  # one commit at a time, so that others may come between

    def _next(self) -> tuple[int, list[Change]] | None:
        """The next commit that concerns this, or the last one there is; None when it is not kept any more."""
        reached = self._reached
        while True:
            found = self._shared.next_after(reached)
            if found is None:
                return None
            changes = [change for change in found[1] if change.key.startswith(self._prefix)]
            if changes or found[0] == reached:
                return found[0], changes
            reached = found[0]

    def abandon(self) -> None:
        """Tell nothing more; what is just being told is not waited for."""
        self._closed = True
        self._connection.end(self)

    def close(self) -> None:
        self.abandon()
        with self.telling:  # whatever was being told has been
            pass


class Presence:
    """Tells what is there below a prefix, whenever it changes."""

    def __init__(
        self,
        source: MemoryCoordination,
        connection: MemoryConnection,
        prefix: str,
        tell: Callable[[Mapping[str, bytes]], None],
    ) -> None:
        self._source, self._connection, self._prefix, self._tell = source, connection, prefix, tell
        self._present: dict[str, bytes] = {}
        self._feed: Feed | None = None
        self._closed = False
        connection.pool.submit(self._start)

    def _start(self) -> None:
        if self._closed:
            return
        try:
            revision, self._present = self._source.present_at(self._prefix)
        except Unavailable:
            revision, self._present = 0, {}  # it begins when the connection is there again
        else:
            self._say()
        feed = self._feed = self._connection.feed(LIVE + self._prefix, revision, self._changed, self._lost)
        if self.is_closed:  # meanwhile
            feed.close()

    @property
    def is_closed(self) -> bool:
        return self._closed

    def _lost(self) -> None:
        self._connection.pool.submit(self._start)

    def _changed(self, _: int, changes: Sequence[Change]) -> None:
        for change in changes:
            name = change.key[len(LIVE) :]
            if change.value is None:
                self._present.pop(name, None)
            else:
                self._present[name] = change.value
        if changes:
            self._say()

    def _say(self) -> None:
        try:
            self._tell(dict(self._present))
        except Exception:  # theirs; the next change is told all the same
            log.exception("what changed below '%s' was not taken", self._prefix)

    def close(self) -> None:
        self._closed = True
        if self._feed is not None:
            self._feed.close()
