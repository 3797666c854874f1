"""Change feeds: what has happened to a collection or a database, in order, from a position on.

A position says for each channel how far its log and the notes beside it have been read. It is opaque to users, who get
it as text; here is what is in it. Reading on from it gives each later change once, and none again.
"""

from __future__ import annotations

import base64
import binascii
import zlib

import msgspec
import pyarrow as pa

from redkite.errors import InvalidParameter
from redkite.model.decoding import from_msgpack
from redkite.model.request import Request
from redkite.model.results import Result

UPSERT, DELETE, SNAPSHOT, IMPORT = "upsert", "delete", "snapshot", "import"
"""Kinds of changes that bring rows or keys."""
TRUNCATED = "truncated"
COLLECTION_CREATED, COLLECTION_DROPPED = "collection_created", "collection_dropped"
COLLECTION_RENAMED, SCHEMA_CHANGED = "collection_renamed", "schema_changed"
PROPERTIES_CHANGED, ALIASES_CHANGED = "properties_changed", "aliases_changed"
PARTITION_CREATED, PARTITION_DROPPED = "partition_created", "partition_dropped"
DATABASE_CREATED, DATABASE_DROPPED, DATABASE_CHANGED = "database_created", "database_dropped", "database_changed"

NOW, BEGINNING = "now", "snapshot"
"""Where a feed without a position begins: at what comes next, or with the rows that are there."""
_VERSION = 1
MAX_POSITION_CHARS = 4 << 20


class Scan(msgspec.Struct, frozen=True, array_like=True):
    """Rows that lie in sealed segments and are given in the order of their primary keys."""

    timestamp: int
    """Rows are given as they were at this time; …"""
    low: int
    """… only those that were written after this one."""
    key: int | str | None = None
    """The last that was given; None: none yet."""
    is_first: bool = False
    """The rows that were there before the feed began, not ones that a note of the channel brings."""


class ChannelPlace(msgspec.Struct, frozen=True, array_like=True):
    """How far one channel has been read."""

    position: int = 0
    """The log is read on from here."""
    note: int = 0
    """The last note beside the log that was taken."""
    scan: Scan | None = None
    """What is still to be given before anything else."""
    after: int = 0
    """Only what was written after this timestamp counts."""


class FeedPosition(msgspec.Struct, frozen=True, array_like=True):
    """How far a feed has been read."""

    identity: int
    """Of the database that it is a position in."""
    database: str
    collection_id: int
    """0: of the whole database; with an empty name of it, of all of them."""
    note: int
    """The last change of a schema that was taken: rows are as the collection was then."""
    places: dict[str, ChannelPlace]
    """By channel."""
    told: int = 0
    """So many events of the next change of a schema were taken, too."""

    def to_text(self) -> str:
        data = bytes((_VERSION,)) + msgspec.msgpack.encode(self)
        return base64.urlsafe_b64encode(data + zlib.crc32(data).to_bytes(4, "big")).decode().rstrip("=")

    @classmethod
    def from_text(cls, text: str) -> FeedPosition:
        """Raises InvalidParameter for a text that is no position."""
        if len(text) > MAX_POSITION_CHARS:
            raise InvalidParameter("the position of a change feed is too long to be one")
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            data, crc = raw[:-4], raw[-4:]
            if len(raw) < 6 or data[0] != _VERSION or zlib.crc32(data).to_bytes(4, "big") != crc:
                raise ValueError
            return from_msgpack(data[1:], cls)
        except (ValueError, binascii.Error, msgspec.DecodeError) as error:
            raise InvalidParameter(
                "this is not the position of a change feed",
                expected="the text that a change feed gave",
                actual=text if len(text) <= 40 else text[:40] + "…",
            ) from error

    def moved(self, step: Step) -> FeedPosition:
        """The position behind a change."""
        places = self.places
        if step.places or step.gone:
            places = {c: place for c, place in places.items() if c not in step.gone} | step.places
        told = 0 if step.note > self.note else max(self.told, step.told)
        return msgspec.structs.replace(self, note=max(self.note, step.note), places=places, told=told)


class Step(msgspec.Struct, frozen=True, array_like=True):
    """How a position moves over one change."""

    note: int = 0
    places: dict[str, ChannelPlace] = {}
    gone: tuple[str, ...] = ()
    """Channels that are read no more."""
    told: int = 0
    """Events of the next change of a schema that are behind this."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change: a write as it was made (of one shard), a piece of rows that were there, or an event."""

    kind: str
    timestamp: int
    """Hybrid. Of rows that were there: when they were looked at."""
    database: str
    collection: str = ""
    """Empty of what concerns a database."""
    collection_id: int = 0
    schema_version: int = 0
    """`update_timestamp` of the schema that the rows are by."""
    rows: pa.RecordBatch | None = None
    """A column for each field. Rows of `upsert` and `import` take the place of those with their keys."""
    keys: pa.Array | None = None
    """Primary keys: of the rows, or those that were deleted."""
    primary: str = ""
    """The field that they are in, where there are rows."""
    partitions: tuple[tuple[str, int], ...] = ()
    """(partition, how many of the rows, in their order); a name is empty where the partition is gone by now."""
    detail: dict[str, str] = {}
    """Of an event: what has changed, by name."""
    step: Step = Step()


class ReadChanges(Request, frozen=True):
    """-> Changes. Without a collection those of the whole `database` (default: `default`)."""

    collection: str = ""
    position: str = ""
    """Go on here. Empty: of a named feed where it was acknowledged last, else as `start` says."""
    start: str = NOW
    """`now`, `snapshot` (first the rows that are there), or a hybrid timestamp in digits: what was written after it."""
    name: str = ""
    """A named feed: what it has not read yet is kept for it, and `position` counts as acknowledged. Made at its first
    use."""
    max_rows: int = 10_000
    """So many at most, unless a single write has more."""
    max_bytes: int = 8 << 20
    wait_ms: int = 0
    """When there is nothing, wait so long for something."""
    reader: int = 0
    """A number that a reader of a feed without a name has made up: what it has not read is kept while it asks at least
    once a minute."""


class Changes(Result, frozen=True):
    """`position` is before the first change; `position.moved(change.step)` behind it, and so on."""

    changes: tuple[Change, ...]
    position: str
    end: str
    """Behind the last one."""
    more: bool
    """Whether there is more to read at once."""
    timestamp: int
    """When this was read."""


class ListFeeds(Request, frozen=True):
    """-> Feeds. The named feeds of a database, or of a collection."""

    collection: str = ""


class DropFeed(Request, frozen=True):
    """Forget a named feed: what it has not read is kept no longer. A missing one is no error."""

    name: str
    collection: str = ""


class AcknowledgeFeed(Request, frozen=True):
    """Everything before a position has been dealt with: a named feed goes on there. Durable when it returns."""

    name: str
    position: str
    collection: str = ""


class FeedInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A named feed."""

    name: str
    database: str
    collection: str = ""
    """Empty: the whole database."""
    created_ms: int = 0
    acknowledged_ms: int = 0
    """When it was acknowledged last."""
    position: str = ""
    lag_seconds: float = 0.0
    """The age of the oldest change that it has not acknowledged."""
    pending_bytes: int = 0
    """Of the logs, what is there at least partly because it has not acknowledged it; 0 where nobody can tell."""
    lost: str = ""
    """Why nothing is kept for it any more."""


class Feeds(Result, frozen=True):
    feeds: tuple[FeedInfo, ...]
