"""Who deletes objects that several processes read? The one that leads, when none of the others needs them.

Whoever made objects useless notes it in the catalog: `garbage/<id>` names them. Every node that reads objects looks at
these notes and says which of them do not concern it (`Released`, under its lease); what it still serves or works on
does. The leader deletes what the grace of is over, what all that live have let go, and what nothing names any more.
A node that was taken for dead may come back and miss an object: it is told that the segment is gone, and asks anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from threading import Lock
from typing import Final

import msgspec

from redkite.coordinator.garbage import GRACE_SECONDS, Garbage
from redkite.env import Env, Timer
from redkite.errors import ConnectionClosed, Corruption, MilvusException
from redkite.logs import get_logger
from redkite.model.decoding import from_json
from redkite.storage.catalog import Catalog
from redkite.storage.coordination import Coordination, Lease
from redkite.storage.objects import ObjectStore

log = get_logger(__name__)

PREFIX: Final = "garbage/"
_RELEASED: Final = "reads/"
PAUSED: Final = "garbage-paused"
"""Until when nothing is deleted, in milliseconds since 1970."""
LOOK_SECONDS: Final = 1.0
SWEEP_SECONDS: Final = 3600.0
ORPHAN_SECONDS: Final = 24 * 3600.0
"""What nobody has named for so long, while it was watched, was left behind by a process that died."""


class Discarded(msgspec.Struct, frozen=True):
    """Objects that became useless together."""

    names: tuple[str, ...]
    at_ms: int


class Released(msgspec.Struct, frozen=True):
    """What a node says: these notes do not concern it."""

    notes: tuple[str, ...]


def _notes(catalog: Catalog) -> dict[str, Discarded]:
    try:
        return {key: from_json(value, Discarded) for key, value in catalog.scan(PREFIX)}
    except msgspec.MsgspecError as error:
        raise Corruption(f"the catalog's entries under {PREFIX} cannot be read: {error}") from error


class SharedGarbage(Garbage):
    """A `Garbage` that deletes nothing by itself: what it is told to discard it notes for the one who leads."""

    def __init__(
        self,
        env: Env,
        store: ObjectStore,
        named: Callable[[], Collection[str]],
        catalog: Catalog,
        allocate_id: Callable[[], int],
    ) -> None:
        super().__init__(env, store, named)
        self._catalog = catalog
        self._allocate_id = allocate_id
        self._unsaid: list[str] = []
        """What could not be noted yet."""
        self._saying = Lock()
        self._again: Timer | None = None

    def discard(self, names: Iterable[str]) -> None:
        fresh = [name for name in names if name]
        if not fresh:
            return
        with self._lock:
            self._unsaid += fresh
        self._say()

    def _say(self) -> None:
        """Note what is useless. What the catalog does not take now is tried again later; at worst it is found as an
        orphan."""
        with self._saying:
            with self._lock:
                names, self._unsaid = tuple(dict.fromkeys(self._unsaid)), []
                closed = self._closed
            if not names or closed:
                return
            note = Discarded(names, self._env.clock.now_ms())
            try:
                self._catalog.commit({f"{PREFIX}{self._allocate_id()}": msgspec.json.encode(note)})
            except ConnectionClosed:
                self._stop_saying()  # they are found as orphans
            except MilvusException as error:
                log.warning("%d useless objects could not be noted: %s", len(names), error.message)
                with self._lock:
                    self._unsaid = [*names, *self._unsaid]
                    if self._again is None and not self._closed:
                        self._again = self._env.tasks.every(LOOK_SECONDS, self._say, "useless objects", alone=True)

    @property
    def held(self) -> frozenset[str]:
        """Every object that somebody in this process holds."""
        with self._lock:
            return frozenset().union(*self._held.values())

    @property
    def waiting(self) -> int:
        """Objects that are noted as useless and still there."""
        return sum(len(note.names) for note in _notes(self._catalog).values())

    def release(self, owner: str) -> None:
        with self._lock:
            self._held.pop(owner, None)

    def pause(self, seconds: float) -> None:
        """Nobody deletes anything for so long, whoever leads meanwhile; what is being deleted at this moment goes."""
        self._catalog.commit({PAUSED: b"%d" % (self._env.clock.now_ms() + int(seconds * 1000))})

    def resume(self) -> None:
        self._catalog.commit({}, [PAUSED])

    @property
    def is_paused(self) -> bool:
        until = self._catalog.get(PAUSED)
        return until is not None and self._env.clock.now_ms() < int(until)

    def collect(self) -> int:
        """Nothing: the one who leads does it."""
        return 0

    def sweep(self, prefix: str) -> int:  # noqa: ARG002  others are writing there
        """Nothing: what others are writing looks as if nobody named it."""
        return 0

    def close(self) -> None:
        self._say()
        super().close()
        self._stop_saying()

    def _stop_saying(self) -> None:
        with self._lock:
            again, self._again = self._again, None
        if again is not None:
            again.cancel()


class Releasing:
    """Says, for one node, which notes do not concern it, as long as the node lives. `used` tells the objects that it
    reads or may read."""

    def __init__(
        self,
        env: Env,
        coordination: Coordination,
        catalog: Catalog,
        node_id: int,
        used: Callable[[], Collection[str]],
        lease_seconds: float,
    ) -> None:
        self._coordination, self._catalog = coordination, catalog
        self._key = f"{_RELEASED}{node_id}"
        self._used = used
        self._seconds = lease_seconds
        self._lease: Lease | None = None
        self._said: Released | None = None
        self._lock = Lock()
        # It waits while etcd is away, which nothing else of this node shall.
        self._timer = env.tasks.every(LOOK_SECONDS, self.look, "objects in use", alone=True)

    def look(self) -> None:
        """Say it anew where it has changed."""
        with self._lock:
            notes = _notes(self._catalog)
            used = frozenset(self._used()) if notes else frozenset()
            free = Released(tuple(sorted(key for key, note in notes.items() if used.isdisjoint(note.names))))
            try:
                if self._lease is None or not self._lease.is_held:
                    self._lease = self._coordination.lease(self._seconds)
                    self._said = None
                if free != self._said:
                    self._coordination.put(self._key, msgspec.json.encode(free), self._lease)
                    self._said = free
            except ConnectionClosed:
                self._timer.cancel()  # this node has ended: what it said ends with its lease
            except MilvusException as error:  # then nothing is deleted until it can be said
                log.warning("which objects are in use could not be said: %s", error.message)

    def close(self) -> None:
        """This node reads nothing any more."""
        self._timer.cancel()
        with self._lock:
            lease, self._lease = self._lease, None
        if lease is not None:
            lease.close()


class Collector:
    """Deletes what is noted, for the one who leads. Made when it begins to lead, closed when it ends."""

    def __init__(
        self,
        env: Env,
        store: ObjectStore,
        garbage: SharedGarbage,
        named: Callable[[], Collection[str]],
        catalog: Catalog,
        coordination: Coordination,
        readers: Callable[[], Iterable[int]],
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        """`readers` are the nodes that live and read objects; `catalog` commits only while this one leads."""
        self._env, self._store, self._garbage = env, store, garbage
        self._named, self._catalog, self._coordination = named, catalog, coordination
        self._readers = readers
        self._grace_ms = int(grace_seconds * 1000)
        self._unnamed: dict[str, int] = {}
        """Objects that nobody names, and since when."""
        self._lock = Lock()
        self._timers = [
            env.tasks.every(max(LOOK_SECONDS, min(30.0, grace_seconds / 2)), self._round, "garbage", alone=True),
            env.tasks.every(SWEEP_SECONDS, self._sweep, "orphans", alone=True),
        ]

    def _round(self) -> None:
        try:
            self.collect()
        except ConnectionClosed:
            self.close()
        except MilvusException as error:
            log.warning("garbage is not collected: %s", error.message)

    def collect(self) -> int:
        """Delete what is due and nobody needs; how many objects went."""
        with self._lock:
            notes = _notes(self._catalog)
            now = self._env.clock.now_ms()
            due = {key: note for key, note in notes.items() if note.at_ms + self._grace_ms <= now}
            if not due:
                return 0
            free = self._let_go_by_all()
            named, held = frozenset(self._named()), self._garbage.held
            deleted = 0
            for key, note in due.items():
                if self._garbage.is_paused:
                    break
                if key in free and held.isdisjoint(note.names):
                    # What is named again is not useless after all. The note goes last: who leads next deletes once
                    # more what is gone already.
                    deleted += self._garbage.delete([name for name in note.names if name not in named])
                    self._catalog.commit({}, [key])
            return deleted

    def _let_go_by_all(self) -> frozenset[str]:
        """Notes that concern no node that lives; none while one of them has said nothing."""
        said = self._coordination.present(_RELEASED)
        free: frozenset[str] | None = None
        for node in self._readers():
            data = said.get(f"{_RELEASED}{node}")
            notes = frozenset(from_json(data, Released).notes) if data is not None else frozenset()
            free = notes if free is None else free & notes
        return frozenset(_notes(self._catalog)) if free is None else free

    def _sweep(self) -> None:
        self.sweep()

    def sweep(self, prefix: str = "segments/") -> int:
        """Delete what nobody has named for a day of watching; how many objects went."""
        now = self._env.clock.now_ms()
        with self._lock:
            try:
                there = set(self._store.list(prefix))
                noted = {name for note in _notes(self._catalog).values() for name in note.names}
            except MilvusException as error:
                log.warning("objects could not be listed: %s", error.message)
                return 0
            unnamed = there - noted - frozenset(self._named()) - self._garbage.held
            self._unnamed = {name: self._unnamed.get(name, now) for name in unnamed}
            old = [name for name, since in self._unnamed.items() if now - since >= ORPHAN_SECONDS * 1000]
        if old and not self._garbage.is_paused:
            log.info("deleting %d objects that nobody has named for a day", len(old))
            return self._garbage.delete(old)
        return 0

    def close(self) -> None:
        for timer in self._timers:
            timer.cancel()
