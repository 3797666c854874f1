"""Change feeds: requests that read them, and those about the ones that have a name.

Reading never runs in the caller's thread: a page may take milliseconds, and a reader that is at the end may wait for
what comes. Who waits costs no thread; whether there is something new is looked at a few times in a tenth of a second,
which costs one comparison for each channel.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from redkite.backup.capture import capture
from redkite.coordinator.meta import CollectionMeta
from redkite.env import Timer
from redkite.errors import ChangesGone, InvalidParameter, MilvusException, PermissionDenied, Unavailable
from redkite.logs import get_logger
from redkite.model import changes as ch
from redkite.model import results as rs
from redkite.model.changes import FeedPosition, Scan
from redkite.model.request import Request
from redkite.model.requests import CreateCollection
from redkite.node.topology import Topology
from redkite.proxy.feed_events import Scope, as_of
from redkite.proxy.feed_keeping import Keeping
from redkite.proxy.feed_reading import Merged, Telling, gather, scope_of, shard_of
from redkite.storage.change_notes import Note

log = get_logger(__name__)

EVERYTHING: Final = "*"
"""In the place of a database's name: all of them."""
_THREADS: Final = 16
"""They are there only while there is something to do; whoever reads of a node that is gone holds one for seconds."""
_SHOWN_SECONDS: Final = 0.002
_SHOWN_LIMIT: Final = 10.0
"""Who makes or drops a collection shows that within this many seconds of the commit, or something is wrong."""
_LOOK_SECONDS: Final = 0.02
MAX_WAIT_MS: Final = 60_000
MAX_ROWS: Final = 1_000_000
MAX_BYTES: Final = 64 << 20
_IDENTITY: Final = "feed/identity"


class Paged(NamedTuple):
    """A page as its reader wants it, and what it says of itself."""

    result: rs.Result
    end: FeedPosition
    is_empty: bool
    more: bool


Maker = Callable[[FeedPosition, Merged], Paged]
"""Makes a page of what was gathered behind a position."""


class _Waiting(NamedTuple):
    request: ch.ReadChanges
    make: Maker
    position: FeedPosition
    until: float
    future: Future[rs.Result]


class ChangeFeeds:
    """Safe from any thread."""

    def __init__(self, topology: Topology, *, writes: bool = True) -> None:
        """`writes` False: somebody else writes this database, and keeps what feeds want."""
        self._topology = topology
        self._catalog = topology.data.notes
        self._clock = topology.env.clock
        self.keeping = Keeping(topology, writes=writes)
        self._lock = threading.Lock()
        self._threads = topology.env.tasks.executor("change-feeds", _THREADS)
        self._looker = topology.env.tasks.executor("change-feed-readers", 1)
        self._looks = False
        self._waiting: list[_Waiting] = []
        self._timer: Timer | None = None
        self._closed = False
        self._identity = 0

    def close(self) -> None:
        """Whoever waits hears that there is nothing new."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, []
            if self._timer is not None:
                self._timer.cancel()
        for one in waiting:
            one.future.set_result(one.make(one.position, Merged([], {}, False, {})).result)
        self._looker.shutdown(wait=False)
        self._threads.shutdown()
        self.keeping.close()

    @property
    def identity(self) -> int:
        """Of this database: positions in others mean nothing here."""
        if not self._identity:
            with self._lock:
                known = self._catalog.get(_IDENTITY)
                if known is None:
                    known = self._topology.env.random.getrandbits(63).to_bytes(8, "big")
                    self._catalog.commit({_IDENTITY: known})
                self._identity = int.from_bytes(known, "big")
        return self._identity

    # -- requests -------------------------------------------------------------------------------
    def table(self) -> dict[type[Request], Callable[[Any], rs.Result | Future[rs.Result]]]:
        """One method for each class of request."""
        return {
            ch.ReadChanges: self.read,
            ch.ListFeeds: self.listed,
            ch.DropFeed: self.drop,
            ch.AcknowledgeFeed: self.acknowledge,
        }

    def kept(self, request: CreateCollection, create: Callable[[CreateCollection], rs.Done]) -> rs.Done:
        """Make a collection; what will be written to it is kept for the feeds of its database."""
        done = create(request)
        self.keeping.covered(self._topology.root.find(request.database, request.schema.name))
        return done

    def read(self, request: ch.ReadChanges) -> Future[rs.Result]:
        """Errors come in the future, too."""
        return self.read_as(request, partial(self._changes, request.max_rows))

    def read_as(self, request: ch.ReadChanges, make: Maker) -> Future[rs.Result]:
        """The same, for a reader that wants something else made of it."""
        _check_size(request)
        future: Future[rs.Result] = self._topology.env.tasks.future()
        until = self._clock.monotonic() + min(request.wait_ms, MAX_WAIT_MS) / 1000
        self._threads.submit(self._answer, request, make, None, until, future)
        return future

    def begin_everything(self, name: str) -> None:
        """A feed of everything that begins here."""
        self.forget_everything(name)
        scope = Scope("", 0)
        record = self.keeping.begin(scope, name)
        self.keeping.acknowledge(record, self._now(scope))

    def forget_everything(self, name: str) -> None:
        """Forget a feed of everything."""
        self.keeping.drop(Scope("", 0), name)

    def listed(self, request: ch.ListFeeds) -> ch.Feeds:
        return ch.Feeds(feeds=self.keeping.listed(self._scope(request)))

    def drop(self, request: ch.DropFeed) -> rs.Done:
        self.keeping.drop(self._scope(request), request.name)
        return rs.Done()

    def acknowledge(self, request: ch.AcknowledgeFeed) -> rs.Done:
        scope = self._scope(request)
        record = self.keeping.find(scope, request.name)
        if record is None:
            raise InvalidParameter(f"there is no change feed '{request.name}'")
        self.keeping.acknowledge(record, self._decoded(request.position, scope))
        return rs.Done()

    def _scope(self, request: ch.ReadChanges | ch.ListFeeds | ch.DropFeed | ch.AcknowledgeFeed) -> Scope:
        if request.collection:
            meta = self._topology.root.find(request.database, request.collection)
            return Scope(meta.database, meta.collection_id)
        if request.database == EVERYTHING:
            self._check_unbound(request.user, Scope("", 0))
            return Scope("", 0)
        found = Scope(self._topology.root.describe_database(request.database).name, 0)
        self._check_unbound(request.user, found)
        return found

    def _check_unbound(self, user: str, scope: Scope) -> None:
        """Raise PermissionDenied for a user to whom policies show only some rows of what a feed is about."""
        access = self._topology.access
        if not user or access.permissions(user).everything:
            return
        bound = access.picture.policies
        for meta in self._topology.root.all_collections() if bound else ():
            if scope.has(meta) and bound.get(meta.collection_id):
                raise PermissionDenied(
                    f"ReadChanges: permission deny to {user}: collection {meta.name} has row policies: a feed that it "
                    "is part of takes the role admin"
                )

    # -- reading --------------------------------------------------------------------------------
    def _answer(
        self,
        request: ch.ReadChanges,
        make: Maker,
        position: FeedPosition | None,
        until: float,
        future: Future[rs.Result],
    ) -> None:
        """In a thread of the feeds."""
        try:
            begun = self._begun(request) if position is None else position
            if not request.name:
                self.keeping.reads(_reader_of(request, request.position), begun.places)
            merged = gather(self._topology, begun, request.max_rows, request.max_bytes)
            found = make(begun, merged)
            waits = found.is_empty and not found.more and self._clock.monotonic() < until
            if waits and self._wait(_Waiting(request, make, found.end, until, future)):
                return
        except Exception as error:  # noqa: BLE001  whatever it was, it is what the reader hears
            future.set_exception(error)
        else:
            future.set_result(found.result)

    def _changes(self, max_rows: int, position: FeedPosition, merged: Merged) -> Paged:
        telling = Telling(position, merged)
        found = telling.changes(max_rows)
        end = telling.position
        if telling.entered:
            end = self._with_rows(end, [self._topology.root.current(meta) for meta in telling.entered])
        more = merged.more or telling.is_cut
        changes = ch.Changes(
            changes=tuple(found), position=position.to_text(), end=end.to_text(), more=more,
            timestamp=self._topology.root.oracle.now(),
        )  # fmt: skip
        return Paged(changes, end, not found, more)

    # -- where a feed begins --------------------------------------------------------------------
    def _begun(self, request: ch.ReadChanges) -> FeedPosition:
        scope = self._scope(request)
        record = self.keeping.find(scope, request.name) if request.name else None
        if record is not None and record.lost:
            raise ChangesGone(record.lost)
        if request.position:
            position = self._decoded(request.position, scope)
            if request.name:
                record = record or self.keeping.begin(scope, request.name)
                self.keeping.acknowledge(record, position, at_once=False)
            return position
        if record is not None and record.position:
            return self._decoded(record.position, scope)
        return self._started(request, scope)

    def _decoded(self, text: str, scope: Scope) -> FeedPosition:
        position = FeedPosition.from_text(text)
        if position.identity != self.identity:
            raise InvalidParameter("this is a position in a change feed of another database")
        if scope_of(position) != scope:
            raise InvalidParameter("this is a position in a change feed of something else")
        return position

    def _started(self, request: ch.ReadChanges, scope: Scope) -> FeedPosition:
        """A feed that has no position yet."""
        record = self.keeping.begin(scope, request.name) if request.name else None
        if request.start not in (ch.NOW, ch.BEGINNING):
            position = self._since(scope, _timestamp(request.start))
        else:
            position = self._now(scope)
        if record is None:
            self.keeping.reads(_reader_of(request, position.to_text()), position.places)
        if request.start == ch.BEGINNING:
            position = self._with_rows(position, self._collections(scope))
        if record is not None:
            self.keeping.acknowledge(record, position)
        return position

    def _collections(self, scope: Scope) -> list[CollectionMeta]:
        return [meta for meta in self._topology.root.all_collections() if scope.has(meta)]

    def _now(self, scope: Scope) -> FeedPosition:
        topology = self._topology
        until = self._clock.monotonic() + _SHOWN_LIMIT
        while True:
            newest = topology.data.notes.newest()
            if not topology.root.is_current:  # a collection that was made up to there would never be looked at
                if self._clock.monotonic() > until:
                    raise Unavailable("a collection that has been made or dropped is not shown here yet: try again")
                with suppress(TimeoutError):
                    topology.env.tasks.future().result(_SHOWN_SECONDS)
                continue
            places = {
                channel: shard_of(topology, meta, channel).changes_end()
                for meta in self._collections(scope)
                for channel in meta.channels
            }
            if topology.data.notes.newest() == newest:
                return FeedPosition(self.identity, scope.database, scope.collection_id, newest, places)

    def _since(self, scope: Scope, timestamp: int) -> FeedPosition:
        """Behind everything that was written up to a timestamp."""
        topology, notes = self._topology, self._topology.data.notes
        number = notes.newest()
        later: list[Note] = []
        while number:
            found = notes.notes(number - 1, 1)
            if found is None:
                raise ChangesGone(f"the changes of schemas since {timestamp} are no longer kept")
            if found[0].timestamp <= timestamp:
                break
            later.insert(0, found[0])
            number -= 1
        present = topology.root.space.collections
        metas = [m for m in as_of(present.values(), later).values() if scope.has(m) and m.collection_id in present]
        places = {
            channel: shard_of(topology, meta, channel).changes_after(timestamp)
            for meta in metas
            for channel in meta.channels
        }
        return FeedPosition(self.identity, scope.database, scope.collection_id, number, places)

    def _with_rows(self, position: FeedPosition, metas: list[CollectionMeta]) -> FeedPosition:
        """The position from which the rows of some collections come first, as they are at one moment from now."""
        topology = self._topology
        for meta in metas:
            if any(channel not in position.places for channel in meta.channels):
                known = {c: shard_of(topology, meta, c).changes_end() for c in meta.channels}
                position = msgspec.structs.replace(position, places={**position.places, **known})
        timestamp, _ = capture(topology, metas, lambda _names: None) if metas else (0, [])
        rows = Scan(timestamp, 0, None, is_first=True)
        places = {
            channel: msgspec.structs.replace(position.places[channel], scan=rows, after=timestamp)
            for meta in metas
            for channel in meta.channels
        }
        return msgspec.structs.replace(position, places={**position.places, **places})

    # -- waiting --------------------------------------------------------------------------------
    def _wait(self, waiting: _Waiting) -> bool:
        """Look again until there is something; False when everything is being closed."""
        with self._lock:
            if self._closed:
                return False
            self._waiting.append(waiting)
            if self._timer is None:
                self._timer = self._topology.env.tasks.every(_LOOK_SECONDS, self._look_soon, "change-feed-readers")
            return True

    def _look_soon(self) -> None:
        """Not in the thread of timers: whoever has the shards may be far away, or gone."""
        with self._lock:
            if self._looks or self._closed:
                return
            self._looks = True
            self._looker.submit(self._look)

    def _look(self) -> None:
        with self._lock:
            self._looks = False
            waiting = list(self._waiting)
            if not waiting and self._timer is not None:
                self._timer.cancel()
                self._timer = None
        now = self._clock.monotonic()
        ready = [one for one in waiting if one.future.cancelled() or now >= one.until or self._has_news(one.position)]
        with self._lock:
            gone = {id(one) for one in ready}
            mine = [one for one in self._waiting if id(one) in gone]
            self._waiting = [one for one in self._waiting if id(one) not in gone]
        for one in mine:
            self._threads.submit(self._answer, one.request, one.make, one.position, one.until, one.future)

    def _has_news(self, position: FeedPosition) -> bool:
        """Whether there may be something behind a position."""
        topology = self._topology
        if topology.data.notes.newest() > position.note:
            return True
        try:
            for meta in self._collections(scope_of(position)):
                for channel in meta.channels:
                    place = position.places.get(channel)
                    if place is not None and shard_of(topology, meta, channel).has_changes(place):
                        return True
        except MilvusException:
            return True  # reading says what is wrong
        return False


def _reader_of(request: ch.ReadChanges, position: str) -> int:
    """The number of a reader without a name: its own, else one of the place that it reads from, less than 0."""
    return request.reader or ~zlib.crc32(position.encode())


def _check_size(request: ch.ReadChanges) -> None:
    if not 1 <= request.max_rows <= MAX_ROWS:
        raise InvalidParameter(f"max_rows is {request.max_rows}, not between 1 and {MAX_ROWS}")
    if not 1 <= request.max_bytes <= MAX_BYTES:
        raise InvalidParameter(f"max_bytes is {request.max_bytes}, not between 1 and {MAX_BYTES}")
    if request.wait_ms < 0:
        raise InvalidParameter(f"wait_ms is {request.wait_ms}, which is less than 0")
    if request.reader < 0:
        raise InvalidParameter(f"reader is {request.reader}, which is less than 0")


def _timestamp(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) >= 1 << 63:
        raise InvalidParameter(
            f"a change feed cannot begin at {text[:40]!r}",
            expected="now, snapshot or a hybrid timestamp",
            actual=text[:40],
        )
    return int(text)
