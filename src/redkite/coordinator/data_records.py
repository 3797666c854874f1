"""What the catalog has of segments, indexes and channels, in memory: changed key by key, read without waiting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Final, TypeVar

import msgspec

from redkite.errors import Corruption
from redkite.model.decoding import from_json
from redkite.model.segments import ChannelState, IndexMeta, SegmentMeta
from redkite.storage.catalog import Catalog
from redkite.storage.followed import FollowedCatalog

T = TypeVar("T")
Record = SegmentMeta | IndexMeta | ChannelState
SEGMENT: Final = "segment/"
INDEX: Final = "index/"
CHANNEL: Final = "channel/"
PREFIXES: Final = (SEGMENT, INDEX, CHANNEL)


def segment_key(segment: SegmentMeta) -> str:
    return f"{SEGMENT}{segment.collection_id}/{segment.segment_id}"


def index_key(index: IndexMeta) -> str:
    return f"{INDEX}{index.collection_id}/{index.index_id}"


def channel_key(channel: str) -> str:
    return CHANNEL + channel


class _Segments:
    """Of one collection, in the order in which they came."""

    __slots__ = ("by_channel", "by_id", "listed")

    def __init__(self) -> None:
        self.by_id: dict[int, SegmentMeta] = {}
        self.by_channel: dict[str, dict[int, SegmentMeta]] = {}
        self.listed: tuple[SegmentMeta, ...] | None = None
        """All of them; None until they are wanted again."""

    def take(self, segment_id: int, segment: SegmentMeta | None) -> None:
        old = self.by_id.get(segment_id)
        if old is not None and (segment is None or old.channel != segment.channel):
            of_channel = self.by_channel[old.channel]
            del of_channel[segment_id]
            if not of_channel:
                del self.by_channel[old.channel]
        if segment is None:
            self.by_id.pop(segment_id, None)
        else:
            self.by_id[segment_id] = segment
            self.by_channel.setdefault(segment.channel, {})[segment_id] = segment
        self.listed = None


class DataRecords:
    """Safe from any thread: each call sees every batch that was taken over whole, or not at all."""

    def __init__(self, catalog: Catalog, followed: FollowedCatalog | None) -> None:
        """`followed`: the catalog, where others commit to it as well."""
        self._catalog, self._followed = catalog, followed
        self._lock = Lock()
        self._segments: dict[int, _Segments] = {}
        self._indexes: dict[int, tuple[IndexMeta, ...]] = {}
        self._channels: dict[str, ChannelState] = {}
        self._raw: dict[str, bytes] = {}
        """What each record here was read from, where others commit as well."""
        self.reload()

    def reload(self) -> None:
        """Read everything from the catalog."""
        with self._lock:
            self._segments, self._indexes, self._channels, self._raw = {}, {}, {}, {}
            for prefix in PREFIXES:
                for key, value in self._catalog.scan(prefix):
                    self._put(key, _decoded(key, value), value)

    # -- reading --------------------------------------------------------------------------------
    def segments(self, collection_id: int) -> tuple[SegmentMeta, ...]:
        found = self._segments.get(collection_id)
        if found is None:
            return ()
        listed = found.listed
        if listed is None:
            with self._lock:
                listed = found.listed = tuple(found.by_id.values())
        return listed

    def segments_of(self, collection_id: int, channel: str) -> list[SegmentMeta]:
        with self._lock:
            found = self._segments.get(collection_id)
            return [] if found is None else list(found.by_channel.get(channel, {}).values())

    def channels_of(self, collection_id: int) -> set[str]:
        """Those that have segments."""
        with self._lock:
            found = self._segments.get(collection_id)
            return set() if found is None else set(found.by_channel)

    def segment(self, collection_id: int, segment_id: int) -> SegmentMeta | None:
        found = self._segments.get(collection_id)
        return None if found is None else found.by_id.get(segment_id)

    def indexes(self, collection_id: int) -> tuple[IndexMeta, ...]:
        return self._indexes.get(collection_id, ())

    def state(self, channel: str) -> ChannelState | None:
        return self._channels.get(channel)

    def collections(self) -> set[int]:
        """Those that anything is recorded about."""
        with self._lock:
            return {*self._segments, *self._indexes}

    def object_names(self) -> frozenset[str]:
        with self._lock:
            listed = [tuple(found.by_id.values()) for found in self._segments.values()]
        return frozenset(name for segments in listed for segment in segments for name in segment.objects)

    def basis(self, keys: Iterable[str]) -> dict[str, bytes]:
        """What those of these records that are here were read from, which whoever changes them expects to be there.
        Nothing where nobody else commits."""
        with self._lock:
            return {key: self._raw[key] for key in keys if key in self._raw}

    # -- changing -------------------------------------------------------------------------------
    def committed(self, puts: Mapping[str, Record], gone: Iterable[str]) -> None:
        """These were committed by this process. Where others commit as well, the catalog says what is there by now."""
        with self._lock:
            if self._followed is None:
                for key, record in puts.items():
                    self._put(key, record, None)
                for key in gone:
                    self._drop(key)
            else:
                self._read(self._followed, [*puts, *gone], puts)

    def settle(self, keys: Iterable[str]) -> None:
        """It is not known whether these were committed by this process: take over what the catalog has."""
        with self._lock:
            catalog = self._catalog if self._followed is None else self._followed
            self._read(catalog, [key for key in keys if key.startswith(PREFIXES)], {})

    def absorb(self, keys: Iterable[str]) -> None:
        """Somebody has changed these keys of the catalog."""
        with self._lock:
            if self._followed is not None:
                self._read(self._followed, keys, {})

    def recheck(self) -> None:
        """Take over everything that the catalog has by now and that nobody has told yet."""
        if self._followed is None:
            return
        with self._lock:
            raw = self._raw
            there = {key: value for prefix in PREFIXES for key, value in self._followed.scan(prefix)}
            changed = [key for key, value in there.items() if raw.get(key) is not value]
            self._read(self._followed, [*changed, *(key for key in raw if key not in there)], {})

    def _read(self, catalog: Catalog, keys: Iterable[str], made: Mapping[str, Record]) -> None:
        """`made` are records whose bytes need not be decoded, if they are those that are there."""
        for key in keys:
            value = catalog.get(key)
            if value is None:
                self._drop(key)
            elif value != self._raw.get(key):
                record = made.get(key)
                if record is None or msgspec.json.encode(record) != value:
                    record = _decoded(key, value)
                self._put(key, record, value)

    def _put(self, key: str, record: Record, raw: bytes | None) -> None:
        if self._followed is not None and raw is not None:
            self._raw[key] = raw
        if isinstance(record, SegmentMeta):
            self._segments.setdefault(record.collection_id, _Segments()).take(record.segment_id, record)
        elif isinstance(record, IndexMeta):
            known = self._indexes.get(record.collection_id, ())
            if any(index.index_id == record.index_id for index in known):
                made = tuple(record if index.index_id == record.index_id else index for index in known)
            else:
                made = (*known, record)
            self._indexes = {**self._indexes, record.collection_id: made}
        else:
            self._channels[key.removeprefix(CHANNEL)] = record

    def _drop(self, key: str) -> None:
        self._raw.pop(key, None)
        if key.startswith(CHANNEL):
            self._channels.pop(key.removeprefix(CHANNEL), None)
            return
        kind, collection, number = key.split("/")
        collection_id, wanted = int(collection), int(number)
        if kind == "segment":
            found = self._segments.get(collection_id)
            if found is not None:
                found.take(wanted, None)
                if not found.by_id:
                    self._segments = {c: s for c, s in self._segments.items() if c != collection_id}
        else:
            left = tuple(index for index in self._indexes.get(collection_id, ()) if index.index_id != wanted)
            others = {c: i for c, i in self._indexes.items() if c != collection_id}
            self._indexes = {**others, collection_id: left} if left else others


def _decoded(key: str, value: bytes) -> Record:
    kind: type[Record] = (
        SegmentMeta if key.startswith(SEGMENT) else IndexMeta if key.startswith(INDEX) else ChannelState
    )
    try:
        return from_json(value, kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        prefix = key.partition("/")[0]
        raise Corruption(f"the catalog's entries under {prefix}/ cannot be read: {error}") from error
