"""What has happened to the rows of one shard, from a place on: its log, the notes beside it, and sealed rows.

A write is one record of the log, given as it lies there. Rows that were never in the log (imports, restored
collections) and those that were there before a feed began are read from sealed segments in the order of their primary
keys, so that a reader goes on behind the last key whatever compaction has made of the segments meanwhile.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol, runtime_checkable

import msgspec

from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.meta import CollectionMeta
from redkite.env import Buffer
from redkite.errors import ChangesGone, ObjectNotFound, Unavailable
from redkite.model.changes import ChannelPlace, Scan
from redkite.model.replication import ReplicationItem
from redkite.model.segments import SegmentMeta
from redkite.node import records
from redkite.node.feed_scan import scan_rows
from redkite.storage.change_notes import ADMITTED, TRUNCATED, ChannelNote
from redkite.storage.log import EARLIEST, At, Topic
from redkite.storage.objects import ObjectStore

RECORD, ROWS, TRUNCATION = 1, 2, 3
"""Kinds of entries: a record of the log; rows of sealed segments; all rows went."""
_TRIES: Final = 100
_GROUP: Final = "feed."
"""Begins the names of the groups of a log's topic that belong to feeds."""


@runtime_checkable
class Sized(Protocol):
    """A topic that knows how large it is."""

    def kept_bytes(self, position: int) -> int:
        """Bytes that are kept from a position on, about."""
        ...


class KeptChanges(msgspec.Struct, frozen=True, array_like=True):
    """What is kept for a feed."""

    position: int
    oldest: int
    """The timestamp of the first write that is kept for it; 0: it has acknowledged all of them."""
    size: int
    """Bytes, about; 0 where nobody can tell."""


class FeedEntry(msgspec.Struct, frozen=True, array_like=True):
    """One thing that happened. `payload` is a record as `node.records` has it; empty for a truncation."""

    kind: int
    timestamp: int
    payload: bytes
    place: ChannelPlace
    """Behind it."""
    is_first: bool = False
    """Rows that were there before the feed began."""


class FeedPage(msgspec.Struct, frozen=True, array_like=True):
    """What a shard gives at once. `more`: there is more now; else `place` is the end of what there is."""

    entries: tuple[FeedEntry, ...]
    place: ChannelPlace
    more: bool


@runtime_checkable
class FeedFace(Protocol):
    """A shard, as feeds see it, here or on another machine. See `Feeding`."""

    channel: str

    def changes_end(self) -> ChannelPlace: ...

    def changes_after(self, timestamp: int) -> ChannelPlace: ...

    def has_changes(self, place: ChannelPlace) -> bool: ...

    def keep_changes(self, feed: str, place: ChannelPlace | None) -> None: ...

    def forget_changes(self, feed: str) -> None: ...

    def kept_changes(self, feed: str) -> KeptChanges | None: ...

    def read_changes(self, place: ChannelPlace, max_rows: int, max_bytes: int) -> FeedPage: ...

    def take_changes(self, items: Sequence[ReplicationItem]) -> list[SegmentMeta]: ...

    def count_changes(self, timestamp: int) -> tuple[int, int]: ...


class Feeding:
    """The part of a shard that tells what has happened. Safe from any thread; takes no turn."""

    channel: str
    collection: CollectionMeta
    _topic: Topic
    _data: DataCoordinator
    _store: ObjectStore

    # -- places ---------------------------------------------------------------------------------
    def changes_end(self) -> ChannelPlace:
        """Behind everything that is there."""
        note = self._data.notes.newest_of(self.channel)
        return ChannelPlace(position=self._topic.refresh(), note=note)

    def changes_after(self, timestamp: int) -> ChannelPlace:
        """Behind what was written up to a timestamp. Raises ChangesGone when the log does not go back so far."""
        self._topic.refresh()
        start = self._topic.start
        if start > 0:
            # What was there before the first record that is left is unknown: only its own time is sure.
            first = next((records.decode_header(r.payload).timestamp for r in self._topic.read(start)), None)
            known = self._data.channel_state(self.channel).readable_from if first is None else first - 1
            newest = max((s.max_timestamp for s in self._data.segments_of(self._id, self.channel)), default=0)
            if timestamp < (max(known, newest) if first is None else known):
                raise self._gone(f"the changes since {timestamp}")
        return ChannelPlace(position=start, after=timestamp)

    def has_changes(self, place: ChannelPlace) -> bool:
        """Whether there is anything behind a place. Costs next to nothing."""
        if place.scan is not None or self._data.notes.newest_of(self.channel) > place.note:
            return True
        return self._topic.refresh() > place.position

    # -- what is kept ---------------------------------------------------------------------------
    def keep_changes(self, feed: str, place: ChannelPlace | None) -> None:
        """Keep what is behind a place (None: everything that is still there) for a feed, durably; what it has kept
        before that goes."""
        name = _GROUP + feed
        self._topic.refresh()
        if name not in self._topic.groups():
            at: At = EARLIEST if place is None else min(place.position, self._topic.end)
            self._topic.group(name, at)
            return
        group = self._topic.group(name)
        wanted = 0 if place is None else min(place.position, self._topic.end)
        if wanted > group.acknowledged:
            group.acknowledge(wanted - 1)

    def forget_changes(self, feed: str) -> None:
        """Keep nothing for a feed any more."""
        self._topic.drop_group(_GROUP + feed)

    def kept_changes(self, feed: str) -> KeptChanges | None:
        """What is kept for a feed; None: nothing is."""
        name = _GROUP + feed
        if name not in self._topic.groups():
            return None
        at = self._topic.group(name).acknowledged
        oldest = next((records.decode_header(r.payload).timestamp for r in self._topic.read(at)), 0)
        return KeptChanges(at, oldest, self._topic.kept_bytes(at) if isinstance(self._topic, Sized) else 0)

    # -- reading --------------------------------------------------------------------------------
    def read_changes(self, place: ChannelPlace, max_rows: int, max_bytes: int) -> FeedPage:
        """The next changes, at least one if there is one: so many rows or bytes, or a few more. Raises ChangesGone."""
        if place.scan is not None:
            return self._scanned(place, place.scan, max_rows, max_bytes)
        notes, end = self._notes_and_end(place)
        found: list[FeedEntry] = []
        for record in self._topic.read(place.position):
            if record.position >= end:
                break
            header, count = _measured(record.payload)
            while notes and notes[0].timestamp < header.timestamp:
                place = _noted(place, notes.popleft(), found)
                if place.scan is not None:
                    return FeedPage(tuple(found), place, more=True)
            behind = msgspec.structs.replace(place, position=record.position + 1)
            if count and header.timestamp > place.after:
                max_rows -= count
                max_bytes -= len(record.payload)
                if found and min(max_rows, max_bytes) < 0:
                    return FeedPage(tuple(found), place, more=True)
                found.append(FeedEntry(RECORD, header.timestamp, bytes(record.payload), behind))
            place = behind
        while notes:
            place = _noted(place, notes.popleft(), found)
            if place.scan is not None:
                return FeedPage(tuple(found), place, more=True)
        return FeedPage(tuple(found), msgspec.structs.replace(place, position=max(place.position, end)), more=False)

    def _notes_and_end(self, place: ChannelPlace) -> tuple[deque[ChannelNote], int]:
        """The notes behind a place, and an end of the log such that every record before it that is newer than one of
        the notes is behind that note, and no note is missing that lies between them."""
        notes = self._data.notes
        for _ in range(_TRIES):
            newest = notes.newest_of(self.channel)
            end = self._topic.refresh()
            if notes.newest_of(self.channel) == newest:
                break
        else:
            raise Unavailable(f"channel {self.channel} changes faster than it can be read; try again")
        behind = notes.notes_of(self.channel, place.note, newest - place.note) if newest >= place.note else None
        if behind is None or place.position > end or self._is_forgotten(place.position):
            raise self._gone("what this feed would have to read next")
        return deque(behind), end

    def _is_forgotten(self, position: int) -> bool:
        """Whether a record may be missing from a position on. Positions need not be dense, so the first one that is
        left may lie behind it although nothing is missing, which whoever is kept something for can tell."""
        if self._topic.start <= position or self._data.channel_state(self.channel).checkpoint <= position:
            return False
        names = [name for name in self._topic.groups() if name.startswith(_GROUP)]
        return all(self._topic.group(name).acknowledged > position for name in names)

    def _scanned(self, place: ChannelPlace, scan: Scan, max_rows: int, max_bytes: int) -> FeedPage:
        for _ in range(_TRIES):
            try:
                found = scan_rows(self._store, self.segments(), self.collection, scan, max_rows, max_bytes)
                break
            except ObjectNotFound:
                continue  # compaction has made others of them
        else:
            raise Unavailable(f"the segments of channel {self.channel} change faster than they can be read; try again")
        behind = None if found.last_key is None else msgspec.structs.replace(scan, key=found.last_key)
        place = msgspec.structs.replace(place, scan=behind)
        if not found.payload:
            return FeedPage((), place, more=True)
        return FeedPage((FeedEntry(ROWS, scan.timestamp, found.payload, place, scan.is_first),), place, more=True)

    # -- what another has logged ----------------------------------------------------------------
    def take_changes(self, items: Sequence[ReplicationItem]) -> list[SegmentMeta]:
        """Log what another shard has logged, at the times it has there; see `feed_taking`."""
        from redkite.node.feed_taking import take_change
        from redkite.node.shard import Shard

        assert isinstance(self, Shard), "this is a part of it"
        return [segment for item in items for segment in take_change(self, item)]

    def count_changes(self, timestamp: int) -> tuple[int, int]:
        """Rows and their checksum as of a timestamp (0: the newest)."""
        from redkite.node.feed_taking import count_shard
        from redkite.node.shard import Shard

        assert isinstance(self, Shard), "this is a part of it"
        # Never later than its own newest: what comes with an older time would be taken for something that is here.
        return count_shard(self, timestamp, self.view.timestamp)

    @property
    def objects(self) -> ObjectStore:
        """Where its sealed rows are."""
        return self._store

    @abstractmethod
    def segments(self) -> list[SegmentMeta]: ...

    @property
    def _id(self) -> int:
        return self.collection.collection_id

    def _gone(self, what: str) -> ChangesGone:
        return ChangesGone(
            f"{what} is no longer kept in channel {self.channel} of collection {self.collection.name}: a feed with a "
            "name keeps what it has not read; begin again from a snapshot"
        )


def _measured(payload: Buffer) -> tuple[records.RecordHeader, int]:
    """The header of a record, and how many rows or keys it has."""
    header = records.decode_header(payload)
    if header.kind == records.INSERT:
        return header, sum(rows for _, rows in header.parts)
    return header, records.decode_record(payload)[1].num_rows


def _noted(place: ChannelPlace, note: ChannelNote, found: list[FeedEntry]) -> ChannelPlace:
    """The place behind a note, which may have an entry, or rows to be read first."""
    place = msgspec.structs.replace(place, note=note.number)
    if note.timestamp <= place.after:
        return place
    if note.kind == TRUNCATED:
        found.append(FeedEntry(TRUNCATION, note.timestamp, b"", place))
        return place
    low = note.timestamp - 1 if note.kind == ADMITTED else 0
    return msgspec.structs.replace(place, scan=Scan(note.timestamp, low))
