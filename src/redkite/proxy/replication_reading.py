"""What a follower needs next: a change feed of everything, as the catalog and the logs have it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Final

import msgspec

from redkite.coordinator.file_resources import CONTENTS, FileMeta
from redkite.errors import InvalidParameter
from redkite.model import replication as rp
from redkite.model import results as rs
from redkite.model.changes import BEGINNING, FeedPosition, ReadChanges
from redkite.model.replication import ReplicationItem, ReplicationPage
from redkite.node.feed import ROWS, TRUNCATION
from redkite.node.topology import Topology
from redkite.proxy.feed import EVERYTHING, ChangeFeeds, Paged
from redkite.proxy.feed_reading import Merged, Telling
from redkite.storage.change_notes import NOTED, KeyChange, Note

RESUME: Final = "resume"
_FILES: Final = "files/name/"
_KINDS: Final = {ROWS: rp.ROWS, TRUNCATION: rp.TRUNCATION}
_ROWS: Final = 100_000


def read_page(topology: Topology, feeds: ChangeFeeds, request: rp.ReadReplication) -> Future[rs.Result]:
    """In a thread of the feeds; waits as they do."""
    if not 1 <= request.max_bytes <= rp.MAX_PAGE_BYTES:
        raise InvalidParameter(f"max_bytes is {request.max_bytes}, not between 1 and {rp.MAX_PAGE_BYTES}")
    is_new = not request.position and request.start != RESUME
    if is_new and request.name:
        feeds.forget_everything(request.name)
    asked = ReadChanges(
        database=EVERYTHING, name=request.name, position=request.position, start=BEGINNING, max_rows=_ROWS,
        max_bytes=request.max_bytes, wait_ms=request.wait_ms,
    )  # fmt: skip
    return feeds.read_as(asked, partial(_page, topology, is_new))


def _page(topology: Topology, is_new: bool, position: FeedPosition, merged: Merged) -> Paged:
    """What was gathered behind a position, as it is sent."""
    telling = Telling(position, merged)
    items = [_state(topology)] if is_new else []
    for event in telling.raw():
        if event.note is not None:
            items.append(_note(topology, event.note))
        elif event.entry is not None:
            entry = event.entry
            kind = _KINDS.get(entry.kind, rp.RECORD)
            items.append(ReplicationItem(kind, entry.timestamp, entry.payload, event.channel))
    more = merged.more or telling.is_cut
    page = ReplicationPage(
        items=tuple(items), end=telling.position.to_text(), more=more, timestamp=topology.root.oracle.now()
    )
    return Paged(page, telling.position, not items, more)


def _state(topology: Topology) -> ReplicationItem:
    """Everything that describes something."""
    catalog = topology.data.notes
    changes = [KeyChange(key, None, value) for prefix in NOTED for key, value in catalog.scan(prefix)]
    return _item(topology, rp.STATE, Note(0, 0, tuple(changes)))


def _note(topology: Topology, note: Note) -> ReplicationItem:
    catalog = topology.data.notes
    changes = tuple(
        KeyChange(c.key, None, catalog.get(c.key)) if c.is_large else KeyChange(c.key, None, c.after)
        for c in note.changes
    )
    return _item(topology, rp.NOTE, Note(note.number, note.timestamp, changes))


def _item(topology: Topology, kind: int, note: Note) -> ReplicationItem:
    more = tuple(_contents(topology, note.changes))
    whole = Note(note.number, note.timestamp, (*note.changes, *more))
    return ReplicationItem(kind, note.timestamp, msgspec.msgpack.encode(whole))


def _contents(topology: Topology, changes: Iterable[KeyChange]) -> Iterator[KeyChange]:
    """The bytes of registered files, which stand under keys of their own."""
    for change in changes:
        if change.key.startswith(_FILES) and change.after is not None:
            key = f"{CONTENTS}{FileMeta.from_bytes(change.after).resource_id}"
            yield KeyChange(key, None, topology.data.notes.get(key))
