"""What the logs keep for change feeds: for named ones until they acknowledge it, for others while they are read.

A named feed is remembered in the catalog, with the position that it acknowledged last. What is kept for it is bounded:
one that has not acknowledged for too long, or holds back too much, is told when it comes back that its place is gone.

The logs may be other nodes' to keep, and a node may be gone: while it is asked, only what the same feed, or readers of
the same channel, want of the logs waits.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple

import msgspec

from redkite.coordinator.meta import CollectionMeta
from redkite.env import Timer
from redkite.errors import ChangesGone, Corruption, InvalidParameter, LimitReached, MilvusException, Unavailable
from redkite.logs import get_logger
from redkite.model.changes import ChannelPlace, FeedInfo, FeedPosition
from redkite.model.decoding import from_json
from redkite.model.timestamps import physical_ms
from redkite.node.feed import FeedFace
from redkite.node.topology import Topology
from redkite.proxy.feed_events import Scope
from redkite.proxy.feed_reading import shard_of

log = get_logger(__name__)

LIVE: Final = "live"
"""The one feed that keeps what readers without a name still want."""
LIVE_SECONDS: Final = 60.0
"""A reader without a name that has not asked for so long has gone."""
_FEEDS: Final = "feed/name/"
_LIVE_KEY: Final = "feed/live"
_ENDING: Final = b"0"
_MARK_SECONDS: Final = 1.0
"""How often what a reader has behind it is given up, at most: each time costs a commit of every channel."""
_CHECK_SECONDS: Final = 15.0
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")
MAX_FEEDS: Final = 256
MAX_READERS: Final = 1024
"""Readers without a name at a time; of those that have no number either, the last places of so many are kept."""
MAX_PLACES: Final = 1 << 20
"""Channels of all positions of such readers together."""


class FeedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A named feed, as the catalog has it."""

    name: str
    database: str
    collection_id: int = 0
    created_ms: int = 0
    acknowledged_ms: int = 0
    position: str = ""
    """Empty: it has not begun."""
    lost: str = ""

    @property
    def scope(self) -> Scope:
        return Scope(self.database, self.collection_id)

    @property
    def key(self) -> str:
        return f"{_FEEDS}{self.database}/{self.name}"

    @property
    def group(self) -> str:
        """What its groups of the logs are called."""
        return f"{self.database}.{self.name}"


class _Reader(NamedTuple):
    places: dict[str, ChannelPlace]
    seen: float


class Keeping:
    """Safe from any thread."""

    def __init__(self, topology: Topology, *, writes: bool = True) -> None:
        self._topology = topology
        self._catalog = topology.data.notes
        self._clock = topology.env.clock
        self._lock = threading.RLock()
        """Of what is known here. Never held while a log is asked."""
        self._turns: dict[str, threading.Lock] = {}
        """Who says what the logs keep for a feed, or for readers of a channel: one after another."""
        self._marker = topology.env.tasks.executor("feed-marks", 1)
        self._marks = self._checks = False
        """Whether these are to be done by `_marker`."""
        self._records = {record.key: record for record in self._load()}
        self._marked: dict[str, float] = {}
        """When a feed was last marked in the logs."""
        self._readers: dict[int, _Reader] = {}
        self._live: dict[str, int] = {}
        """Positions that are kept for readers without a name, by channel."""
        self._timer: Timer | None = None
        had_readers = self._catalog.get(_LIVE_KEY) is not None
        self._live_until = self._clock.monotonic() + LIVE_SECONDS * had_readers
        """Those who read without a name from an earlier life of this process, or from another, may come until then."""
        if writes and (self._records or had_readers):
            self._watch()

    def _load(self) -> Iterator[FeedRecord]:
        for key, data in self._catalog.scan(_FEEDS):
            try:
                yield from_json(data, FeedRecord)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise Corruption(f"the catalog's entry {key} cannot be read: {error}") from error

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._marker.shutdown(wait=False)

    def _turn(self, name: str) -> threading.Lock:
        with self._lock:
            return self._turns.setdefault(name, threading.Lock())

    # -- named feeds ----------------------------------------------------------------------------
    def find(self, scope: Scope, name: str) -> FeedRecord | None:
        """The feed of that name. Raises InvalidParameter when it is one of something else, or can be no name."""
        if _NAME.fullmatch(name) is None:
            raise InvalidParameter(
                f"invalid name of a change feed: {name!r}",
                expected="letters, digits, _, - and ., at most 100",
                actual=name[:100],
            )
        found = self._records.get(f"{_FEEDS}{scope.database}/{name}")
        if found is not None and found.collection_id != scope.collection_id:
            raise InvalidParameter(f"the change feed '{name}' is of something else in database {scope.database}")
        return found

    def begin(self, scope: Scope, name: str) -> FeedRecord:
        """A feed of that name that has not begun: from here on what comes is kept for it."""
        self.find(scope, name)
        with self._turn(f"{_FEEDS}{scope.database}/{name}"):
            record = self.find(scope, name)
            if record is None:
                if len(self._records) >= MAX_FEEDS:
                    raise LimitReached(f"there are {MAX_FEEDS} named change feeds already: drop one first", code=1100)
                now = self._clock.now_ms()
                record = FeedRecord(
                    name=name, database=scope.database, collection_id=scope.collection_id, created_ms=now,
                    acknowledged_ms=now,
                )  # fmt: skip
                self._put(record)
            for meta in self._collections(scope):
                for channel in meta.channels:
                    shard_of(self._topology, meta, channel).keep_changes(record.group, None)
        self._watch()
        return record

    def acknowledge(self, record: FeedRecord, position: FeedPosition, *, at_once: bool = True) -> None:
        """Everything before the position is dealt with. Without `at_once` once in a while."""
        turn = self._turn(record.key)
        if not turn.acquire(blocking=at_once):
            return
        try:
            now = self._clock.monotonic()
            if not at_once and now - self._marked.get(record.key, -_MARK_SECONDS) < _MARK_SECONDS:
                return
            present = self._records.get(record.key, record)
            if present.lost:
                raise ChangesGone(present.lost)
            text = position.to_text()
            if present.position == text:
                return
            # First what is wanted, then what is not: a crash in between keeps too much.
            self._put(msgspec.structs.replace(present, position=text, acknowledged_ms=self._clock.now_ms(), lost=""))
            self._mark(record.group, position.places)
            self._marked[record.key] = now
        finally:
            turn.release()

    def drop(self, scope: Scope, name: str) -> None:
        self.find(scope, name)
        with self._turn(f"{_FEEDS}{scope.database}/{name}"):
            record = self.find(scope, name)
            if record is not None:
                self._forget(record.group, self._all_collections(record.scope))
                self._catalog.commit({}, [record.key])
                with self._lock:
                    self._records = {key: r for key, r in self._records.items() if key != record.key}

    def listed(self, scope: Scope) -> tuple[FeedInfo, ...]:
        found = (r for r in self._records.values() if r.database == scope.database)
        wanted = [r for r in found if scope.collection_id in (0, r.collection_id)]
        return tuple(self._info(record) for record in sorted(wanted, key=lambda r: r.name))

    def _info(self, record: FeedRecord) -> FeedInfo:
        size, lag = self._kept(record)
        metas = self._topology.root.space.collections
        meta = metas.get(record.collection_id)
        return FeedInfo(
            name=record.name, database=record.database, collection="" if meta is None else meta.name,
            created_ms=record.created_ms, acknowledged_ms=record.acknowledged_ms, position=record.position,
            lag_seconds=lag, pending_bytes=size, lost=record.lost,
        )  # fmt: skip

    def covered(self, meta: CollectionMeta) -> None:
        """A collection has come, nothing was written to it yet: keep what will be for who reads its database."""
        with self._lock:
            groups = [r.group for r in self._records.values() if r.scope.has(meta) and not r.lost]
            if self._readers or self._expects_readers:
                groups.append(LIVE)
        for channel in meta.channels if groups else ():
            shard = shard_of(self._topology, meta, channel)
            for group in groups:
                shard.keep_changes(group, ChannelPlace())

    # -- readers without a name -----------------------------------------------------------------
    def reads(self, reader: int, places: dict[str, ChannelPlace]) -> None:
        """Somebody reads on from these places: what is behind them is kept while they do. A `reader` below 0 is known
        by nothing but its place. Raises LimitReached when there are too many."""
        now = self._clock.monotonic()
        with self._lock:
            is_new = reader not in self._readers
            if is_new:
                self._check_room(reader, len(places))
            self._readers[reader] = _Reader(places, now)
            is_due = not is_new and self._is_due(now)
        self._watch()
        if is_new:
            with self._turn(LIVE):
                if self._catalog.get(_LIVE_KEY) is None:
                    self._catalog.commit({_LIVE_KEY: b"1"})
            for channel in places:
                self._keep(channel)
        elif is_due:
            self._later("_marks", self._mark_readers)

    def _check_room(self, reader: int, count: int) -> None:
        """For one more. The one of those without a number that has not asked for longest gives place."""
        alike = [number for number in self._readers if (number < 0) == (reader < 0)]
        if len(alike) >= MAX_READERS:
            if reader >= 0:
                raise LimitReached(
                    f"there are {MAX_READERS} readers of change feeds without a name already: give yours a name, or "
                    f"come back when others have not asked for {LIVE_SECONDS:g} s",
                    code=1100,
                )
            del self._readers[min(alike, key=lambda number: self._readers[number].seen)]
        if count + sum(len(known.places) for known in self._readers.values()) > MAX_PLACES:
            raise LimitReached(
                f"readers of change feeds without a name read {MAX_PLACES} channels already: give yours a name",
                code=1100,
            )

    def _keep(self, channel: str) -> None:
        """Have the log of a channel keep what is wanted of it by readers without a name, and no more."""
        with self._turn(f"{LIVE}/{channel}"):
            with self._lock:
                position = self._wanted(channel)
                if position is None or self._live.get(channel) == position:
                    return
            shard = self._open(channel)
            if shard is None or (self._expects_readers and shard.kept_changes(LIVE) is not None):
                return  # it is gone; or what is kept may be for one who is still to come, and is less far
            shard.keep_changes(LIVE, ChannelPlace(position=position))
            with self._lock:
                self._live[channel] = position

    def _mark_readers(self) -> None:
        with self._lock:
            channels = {channel for reader in self._readers.values() for channel in reader.places}
        for channel in sorted(channels):
            try:
                self._keep(channel)
            except MilvusException as error:  # the next time, then
                log.info("channel %s keeps more than is wanted of it: %s", channel, error.message)

    @property
    def _expects_readers(self) -> bool:
        return self._clock.monotonic() < self._live_until

    def _wanted(self, channel: str) -> int | None:
        """The first position of a channel that any reader without a name wants."""
        places = [reader.places.get(channel) for reader in self._readers.values()]
        return min((place.position for place in places if place is not None), default=None)

    def _is_due(self, now: float) -> bool:
        if self._expects_readers or now - self._marked.get(LIVE, 0.0) < _MARK_SECONDS:
            return False
        self._marked[LIVE] = now
        return True

    # -- limits ---------------------------------------------------------------------------------
    def _watch(self) -> None:
        with self._lock:
            if self._timer is None:
                self._timer = self._topology.env.tasks.every(_CHECK_SECONDS, self._check_soon, "change-feeds")

    def _check_soon(self) -> None:
        """Not in the thread of timers: whoever has the logs may be far away, or gone."""
        self._later("_checks", self.check)

    def _later(self, flag: str, work: Callable[[], None]) -> None:
        """Have it done, once for all who ask before it is begun."""

        def do() -> None:
            setattr(self, flag, False)
            try:
                work()
            except MilvusException as error:  # it is done again
                log.warning("what is kept for change feeds could not be looked after: %s", error.message)

        with self._lock:
            if getattr(self, flag):
                return
            setattr(self, flag, True)
        with suppress(Unavailable):  # closed just now
            self._marker.submit(do)

    def check(self) -> None:
        """Keep nothing for readers that have gone, nor for feeds that are over their limits."""
        now = self._clock.monotonic()
        with self._lock:
            self._readers = {i: r for i, r in self._readers.items() if now - r.seen < LIVE_SECONDS}
        if not self._readers and not self._expects_readers and self._catalog.get(_LIVE_KEY) is not None:
            self._catalog.commit({_LIVE_KEY: _ENDING})  # refused where another looks after readers by now
            self._forget_readers()
        limits = self._topology.limits
        for record in list(self._records.values()):
            with self._turn(record.key):
                present = self._records.get(record.key)
                if present is None or present.lost:
                    continue
                self._cover(present)
                size, lag = self._kept(present)
                if size > limits.max_feed_bytes or lag > limits.max_feed_seconds:
                    self._lose(present, size, lag)

    def _forget_readers(self) -> None:
        """Nothing is kept for them any more, but for those that come just now."""
        for meta in self._topology.root.all_collections():
            for channel in meta.channels:
                with self._turn(f"{LIVE}/{channel}"):
                    with self._lock:
                        if self._wanted(channel) is not None:
                            continue
                        self._live.pop(channel, None)
                    self._forget_at(LIVE, meta, channel)
        with self._turn(LIVE):
            if not self._readers:
                self._catalog.commit({}, [_LIVE_KEY])

    def _cover(self, record: FeedRecord) -> None:
        """Collections that came otherwise than by being created (restored ones, say) are kept for it as well."""
        for meta in self._collections(record.scope):
            for shard in self._topology.open_shards(meta):
                if isinstance(shard, FeedFace) and shard.kept_changes(record.group) is None:
                    shard.keep_changes(record.group, None)

    def _lose(self, record: FeedRecord, size: int, lag: float) -> None:
        lost = (
            f"the change feed '{record.name}' held back {size} bytes of the log and was {lag:.0f} s behind; the limits "
            f"are {self._topology.limits.max_feed_bytes} bytes and {self._topology.limits.max_feed_seconds} s: drop it "
            "and begin again from a snapshot"
        )
        log.warning("%s", lost)
        self._put(msgspec.structs.replace(record, lost=lost))
        self._forget(record.group, self._all_collections(record.scope))

    def _kept(self, record: FeedRecord) -> tuple[int, float]:
        """Bytes that are kept, and how many seconds old the oldest of them are, as far as channels are open."""
        size, oldest = 0, 0
        for meta in self._collections(record.scope):
            for shard in self._topology.open_shards(meta):
                kept = shard.kept_changes(record.group) if isinstance(shard, FeedFace) else None
                if kept is not None and kept.oldest:
                    size += kept.size
                    oldest = kept.oldest if not oldest else min(oldest, kept.oldest)
        return size, max(0.0, (self._clock.now_ms() - physical_ms(oldest)) / 1000) if oldest else 0.0

    # -- the logs -------------------------------------------------------------------------------
    def _mark(self, group: str, places: dict[str, ChannelPlace]) -> None:
        for channel, place in places.items():
            shard = self._open(channel)
            if shard is not None:
                shard.keep_changes(group, place)

    def _forget(self, group: str, metas: Iterable[CollectionMeta]) -> None:
        for meta in metas:
            for channel in meta.channels:
                self._forget_at(group, meta, channel)

    def _forget_at(self, group: str, meta: CollectionMeta, channel: str) -> None:
        try:
            shard_of(self._topology, meta, channel).forget_changes(group)
        except MilvusException as error:  # it may be dropped just now
            log.warning("channel %s still keeps what was kept for '%s': %s", channel, group, error.message)

    def _open(self, channel: str) -> FeedFace | None:
        """The shard of a channel; None when its collection is gone."""
        collection_id = channel.rpartition("_")[2].partition("v")[0]
        meta = self._topology.root.space.collections.get(int(collection_id)) if collection_id.isdecimal() else None
        return None if meta is None else shard_of(self._topology, meta, channel)

    def _collections(self, scope: Scope) -> list[CollectionMeta]:
        return [meta for meta in self._topology.root.all_collections() if scope.has(meta)]

    def _all_collections(self, scope: Scope) -> list[CollectionMeta]:
        """Those that a feed may have had a group of: some may have been renamed out of it."""
        return list(self._topology.root.all_collections()) if not scope.collection_id else self._collections(scope)

    def _put(self, record: FeedRecord) -> None:
        self._catalog.commit({record.key: msgspec.json.encode(record)})
        with self._lock:
            self._records = {**self._records, record.key: record}
