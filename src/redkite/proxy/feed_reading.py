"""One page of a change feed: what the shards and the catalog tell, merged by time.

Of one shard the order is exactly that of its writes. Over shards it is the order of timestamps, as far as anybody knows
yet: a write that was under way when the page was read may follow with an older timestamp than another shard's. Changes
of schemas come before every row that was written with the knowledge of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from redkite.coordinator.meta import CollectionMeta
from redkite.errors import ChangesGone, CollectionNotFound, Unavailable
from redkite.functions.derived import is_derived
from redkite.model import changes as ch
from redkite.model.batch import typed_rows
from redkite.model.changes import ChannelPlace, FeedPosition, Step
from redkite.node import records
from redkite.node.feed import ROWS, TRUNCATION, FeedEntry, FeedFace, FeedPage
from redkite.node.topology import Topology
from redkite.proxy.feed_events import Scope, as_of, events, met
from redkite.segment.evolution import conform
from redkite.storage.change_notes import Note

_TRIES: Final = 100
MOST_NOTES: Final = 1_000


class Event(NamedTuple):
    """One thing in the merged order: a note of the catalog, or an entry of a channel."""

    timestamp: int
    note: Note | None
    channel: str
    entry: FeedEntry | None


class Merged(NamedTuple):
    """What a page has, and how far it goes. `ends`: places behind everything, of channels that gave all they had."""

    events: list[Event]
    ends: dict[str, ChannelPlace]
    more: bool
    metas: dict[int, CollectionMeta]
    """The collections of the feed before the first event."""


def shard_of(topology: Topology, meta: CollectionMeta, channel: str) -> FeedFace:
    shard = topology.owner(channel).shard(topology.root.current(meta), channel)
    assert isinstance(shard, FeedFace), "every kind of shard tells its changes"
    return shard


def scope_of(position: FeedPosition) -> Scope:
    return Scope(position.database, position.collection_id)


def notes_behind(topology: Topology, number: int) -> list[Note]:
    """The changes of schemas behind a number. Raises ChangesGone."""
    found = topology.data.notes.notes(number, MOST_NOTES)
    if found is None:
        raise ChangesGone("the changes of schemas behind this position are no longer kept; begin again from a snapshot")
    return found


def gather(topology: Topology, position: FeedPosition, max_rows: int, max_bytes: int) -> Merged:
    """What comes next, in order, a page of each channel at most."""
    for _ in range(_TRIES):
        newest = topology.data.notes.newest()
        notes = notes_behind(topology, position.note)
        metas = as_of(topology.root.all_collections(), notes)
        found = _pages(topology, position, metas, max_rows, max_bytes)
        # A change of a schema that came meanwhile belongs before some of these rows.
        if found is not None and topology.data.notes.newest() == newest:
            return _merged(found, notes, metas, newest)
    raise Unavailable("the collections change faster than they can be read; try again")


def _pages(
    topology: Topology, position: FeedPosition, metas: dict[int, CollectionMeta], max_rows: int, max_bytes: int
) -> dict[str, FeedPage] | None:
    """By channel; None when a collection went while it was read."""
    owners = {channel: meta for meta in metas.values() for channel in meta.channels}
    scope = scope_of(position)
    found = {}
    for channel, place in position.places.items():
        meta = owners.get(channel)
        if meta is None or topology.root.space.collections.get(meta.collection_id) is None:
            continue  # dropped: a note says so
        if not scope.has(meta):
            continue  # positions come from readers, who may see no more than what they asked for
        try:
            shard = shard_of(topology, meta, channel)
            if shard.has_changes(place):
                found[channel] = shard.read_changes(place, max_rows, max_bytes)
        except CollectionNotFound:
            return None
        except ChangesGone:
            if topology.root.space.collections.get(meta.collection_id) is None:
                return None
            raise
    return found


def _merged(pages: dict[str, FeedPage], notes: list[Note], metas: dict[int, CollectionMeta], newest: int) -> Merged:
    found = [Event(entry.timestamp, None, channel, entry) for channel, p in pages.items() for entry in p.entries]
    found += [Event(note.timestamp, note, "", None) for note in notes]
    found.sort(key=lambda event: event.timestamp)  # stable: what one channel has at one timestamp stays in order
    bounds = [_bound(page) for page in pages.values() if page.more]
    if notes and notes[-1].number < newest:
        bounds.append(notes[-1].timestamp)
    cut: set[str] = set()
    if bounds:
        cut = {event.channel for event in found if event.timestamp > min(bounds)}
        found = [event for event in found if event.timestamp <= min(bounds)]
    ends = {channel: page.place for channel, page in pages.items() if channel not in cut}
    return Merged(found, ends, bool(bounds), metas)


def _bound(page: FeedPage) -> int:
    """What comes behind a page is not older than this."""
    if page.place.scan is not None:
        return page.place.scan.timestamp
    return page.entries[-1].timestamp if page.entries else 0


class Telling:
    """Makes changes of what was gathered; `position` is behind all of them at the end."""

    def __init__(self, position: FeedPosition, merged: Merged) -> None:
        self.position = position
        self.is_cut = False
        """Whether something of it was left for the next page."""
        self.entered: list[CollectionMeta] = []
        """Collections that were renamed into the feed: what is there of them comes before anything else."""
        self._has_more_channels = False
        self._scope = scope_of(position)
        self._metas = dict(merged.metas)
        self._merged = merged
        self._by_channel: dict[str, CollectionMeta] = {}
        self._index()

    def _index(self) -> None:
        self._by_channel = {c: meta for meta in self._metas.values() for c in meta.channels}

    def changes(self, most: int) -> list[ch.Change]:
        """So many rows, or a few more."""
        found: list[ch.Change] = []
        rows = 0
        for event in self._merged.events:
            if rows >= most or self._has_more_channels:
                self.is_cut = True
                return found
            for change in self._noted(event.note) if event.note is not None else self._entered(event):
                rows += 1 if change.keys is None else len(change.keys)
                found.append(change)
                self.position = self.position.moved(change.step)
        places = {c: place for c, place in self._merged.ends.items() if c in self.position.places}
        self.position = self.position.moved(Step(places=places))
        if found:
            last = found[-1]
            kept = {c: place for c, place in places.items() if c not in last.step.gone}
            step = msgspec.structs.replace(last.step, places={**last.step.places, **kept})
            found[-1] = msgspec.structs.replace(last, step=step)
        return found

    def raw(self) -> Iterator[Event]:
        """What was gathered, as it is; the position moves along."""
        for event in self._merged.events:
            if self._has_more_channels:
                self.is_cut = True
                return
            if event.note is not None:
                for change in self._noted(event.note):
                    self.position = self.position.moved(change.step)
                yield event
            elif event.entry is not None and event.channel in self.position.places:
                self.position = self.position.moved(Step(places={event.channel: event.entry.place}))
                yield event
        places = {c: place for c, place in self._merged.ends.items() if c in self.position.places}
        self.position = self.position.moved(Step(places=places))

    # -- notes ----------------------------------------------------------------------------------
    def _noted(self, note: Note) -> Iterator[ch.Change]:
        places: dict[str, ChannelPlace] = {}
        gone: list[str] = []
        for one in met(note):
            was, now = self._scope.has(one.before), self._scope.has(one.after)
            if one.after is not None and now and not was:
                if one.before is None:
                    places |= dict.fromkeys(one.after.channels, ChannelPlace())
                else:
                    self.entered.append(one.after)
                self._has_more_channels = self.is_cut = True  # what is in them comes before what follows
            elif one.before is not None and was and not now:
                gone += one.before.channels
            if one.after is None:
                self._metas.pop(one.collection_id, None)
            else:
                self._metas[one.collection_id] = one.after
        self._index()
        step = Step(note.number, places, tuple(gone))
        told = events(note, self._scope)
        before = self.position.told
        for at, change in enumerate(told[before:], before + 1):
            yield msgspec.structs.replace(change, step=step if at == len(told) else Step(told=at))
        if len(told) <= before:
            self.position = self.position.moved(step)

    # -- rows -----------------------------------------------------------------------------------
    def _entered(self, event: Event) -> Iterator[ch.Change]:
        entry = event.entry
        meta = self._by_channel.get(event.channel)
        assert entry is not None, "what is no note is of a channel"
        if meta is None or event.channel not in self.position.places:
            return  # the collection was dropped: what was still to be read of it counts no more
        step = Step(places={event.channel: entry.place})
        common = ch.Change(
            kind=ch.TRUNCATED, timestamp=entry.timestamp, database=meta.database, collection=meta.name,
            collection_id=meta.collection_id, schema_version=meta.update_timestamp, step=step,
        )  # fmt: skip
        yield common if entry.kind == TRUNCATION else _with_rows(common, entry, meta)


def _with_rows(change: ch.Change, entry: FeedEntry, meta: CollectionMeta) -> ch.Change:
    header, batch = records.decode_record(entry.payload)
    if header.kind == records.DELETE:
        return msgspec.structs.replace(change, kind=ch.DELETE, keys=batch.column(0))
    schema = meta.schema
    rows = conform(batch, schema)
    kind = ch.UPSERT
    if entry.kind == ROWS:
        kind = ch.SNAPSHOT if entry.is_first else ch.IMPORT
    shown = [f.name for f in schema.fields if not is_derived(schema, f)]
    partitions = tuple(
        ("" if (found := meta.partition_by_id(partition)) is None else found.name, count)
        for partition, count in header.parts
    )
    return msgspec.structs.replace(
        change, kind=kind, rows=typed_rows(rows.select(shown), schema), keys=rows.column(schema.primary.name),
        primary=schema.primary.name, partitions=partitions,
    )  # fmt: skip
