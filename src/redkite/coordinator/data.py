"""Who decides about data: which segments, channel checkpoints and indexes exist. Every change is one catalog commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import NamedTuple, TypeVar

import msgspec

from redkite.errors import Corruption, IndexNotFound, InvalidParameter
from redkite.index.registry import needs_build
from redkite.model.limits import Limits
from redkite.model.rules.text_rules import enables_match
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.segments import MATCH, ChannelState, DeletesFile, IndexFile, IndexMeta, IndexSpec, SegmentMeta
from redkite.storage.catalog import Catalog

T = TypeVar("T")


def _load(catalog: Catalog, prefix: str, kind: type[T]) -> list[tuple[str, T]]:
    try:
        return [(key, msgspec.json.decode(value, type=kind)) for key, value in catalog.scan(prefix)]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corruption(f"the catalog's entries under {prefix} cannot be read: {error}") from error


class Implied(NamedTuple):
    """How the indexes that a schema brings with it have changed."""

    made: tuple[IndexMeta, ...]
    gone: tuple[IndexMeta, ...]
    """Those whose fields do not want them any more: to be dropped."""


class DataCoordinator:
    """Readers take immutable tuples and never lock; changes are serialised and durable before they are seen."""

    def __init__(self, catalog: Catalog, allocate_id: Callable[[], int], limits: Limits) -> None:
        self._catalog = catalog
        self._allocate_id = allocate_id
        self._limits = limits
        self._lock = Lock()
        self._segments: dict[int, tuple[SegmentMeta, ...]] = {}
        self._indexes: dict[int, tuple[IndexMeta, ...]] = {}
        self._channels: dict[str, ChannelState] = {}
        self._flushed: Callable[[int, str], None] | None = None
        self.reload()

    def reload(self) -> None:
        """Read everything from the catalog."""
        segments: dict[int, tuple[SegmentMeta, ...]] = {}
        for _, segment in _load(self._catalog, "segment/", SegmentMeta):
            segments[segment.collection_id] = (*segments.get(segment.collection_id, ()), segment)
        indexes: dict[int, tuple[IndexMeta, ...]] = {}
        for _, index in _load(self._catalog, "index/", IndexMeta):
            indexes[index.collection_id] = (*indexes.get(index.collection_id, ()), index)
        states = {k.removeprefix("channel/"): state for k, state in _load(self._catalog, "channel/", ChannelState)}
        self._segments, self._indexes, self._channels = segments, indexes, states

    def when_flushed(self, call: Callable[[int, str], None]) -> None:
        """Call this with collection id and channel whenever segments were sealed; it must be quick."""
        self._flushed = call

    def allocate_id(self) -> int:
        return self._allocate_id()

    # -- segments -------------------------------------------------------------------------------
    def segments(self, collection_id: int) -> tuple[SegmentMeta, ...]:
        return self._segments.get(collection_id, ())

    def collections(self) -> list[int]:
        """Ids of the collections anything is recorded about."""
        return sorted({*self._segments, *self._indexes})

    def object_names(self) -> frozenset[str]:
        """Every object that a segment is made of."""
        return frozenset(name for segments in self._segments.values() for s in segments for name in s.objects)

    def channels_of(self, collection_id: int) -> set[str]:
        return {s.channel for s in self.segments(collection_id)}

    def segments_of(self, collection_id: int, channel: str) -> list[SegmentMeta]:
        return [s for s in self.segments(collection_id) if s.channel == channel]

    def channel_state(self, channel: str) -> ChannelState:
        return self._channels.get(channel, ChannelState())

    def note_end(self, channel: str, end: int) -> None:
        """Remember where the log of a channel ended when it was closed: a witness beside the log itself."""
        with self._lock:
            state = self.channel_state(channel)
            if end > state.known_end:
                state = msgspec.structs.replace(state, end=end)
                self._catalog.commit({f"channel/{channel}": msgspec.json.encode(state)})
                self._channels = {**self._channels, channel: state}

    def commit_flush(
        self,
        collection_id: int,
        channel: str,
        state: ChannelState,
        added: Iterable[SegmentMeta],
        deletes: Mapping[int, DeletesFile],
    ) -> None:
        """In one commit: sealed segments, their stored deletes by segment id, the new checkpoint."""
        fresh = tuple(added)
        with self._lock:
            kept = [
                s.with_deletes(deletes[s.segment_id]) if s.segment_id in deletes else s
                for s in (*self.segments(collection_id), *fresh)
            ]
            known = set(self.segments(collection_id))
            puts = {_segment_key(s): msgspec.json.encode(s) for s in kept if s not in known}
            puts[f"channel/{channel}"] = msgspec.json.encode(state)
            self._catalog.commit(puts)
            self._segments = {**self._segments, collection_id: tuple(kept)}
            self._channels = {**self._channels, channel: state}
        if fresh and self._flushed is not None:
            self._flushed(collection_id, channel)

    def commit_replace(
        self,
        collection_id: int,
        channel: str,
        state: ChannelState,
        gone: Iterable[int],
        added: Iterable[SegmentMeta],
    ) -> None:
        """In one commit: segments leave, others come in their place, and the channel's state changes. Files of an index
        that was dropped meanwhile are not recorded: their objects are garbage."""
        with self._lock:
            out = set(gone)
            removed = [s for s in self.segments(collection_id) if s.segment_id in out]
            known = {i.index_id for i in self.indexes(collection_id)}
            made = tuple(
                msgspec.structs.replace(s, indexes=tuple(f for f in s.indexes if f.index_id in known)) for s in added
            )
            puts = {_segment_key(s): msgspec.json.encode(s) for s in made}
            puts[f"channel/{channel}"] = msgspec.json.encode(state)
            self._catalog.commit(puts, [_segment_key(s) for s in removed])
            kept = tuple(s for s in self.segments(collection_id) if s.segment_id not in out)
            self._segments = {**self._segments, collection_id: (*kept, *made)}
            self._channels = {**self._channels, channel: state}

    def adopt(
        self,
        collection_id: int,
        states: Mapping[str, ChannelState],
        segments: Iterable[SegmentMeta],
        indexes: Iterable[IndexMeta],
    ) -> None:
        """In one commit: everything about a collection that was made elsewhere, and that nobody knows yet."""
        segments, indexes = tuple(segments), tuple(indexes)
        puts = {_segment_key(s): msgspec.json.encode(s) for s in segments}
        puts |= {_index_key(i): msgspec.json.encode(i) for i in indexes}
        puts |= {f"channel/{c}": msgspec.json.encode(state) for c, state in states.items()}
        with self._lock:
            self._catalog.commit(puts)
            self._segments = {**self._segments, collection_id: segments}
            self._indexes = {**self._indexes, collection_id: indexes}
            self._channels = {**self._channels, **states}

    def remove_segments(self, collection_id: int, gone: Callable[[SegmentMeta], bool]) -> list[SegmentMeta]:
        """Forget segments; returns them, so that their objects can be deleted afterwards."""
        with self._lock:
            removed = [s for s in self.segments(collection_id) if gone(s)]
            if removed:
                self._catalog.commit({}, [_segment_key(s) for s in removed])
                kept = tuple(s for s in self.segments(collection_id) if s not in removed)
                self._segments = {**self._segments, collection_id: kept}
            return removed

    def drop_collection(self, collection_id: int, channels: Iterable[str]) -> None:
        with self._lock:
            gone = [_segment_key(s) for s in self.segments(collection_id)]
            gone += [_index_key(i) for i in self.indexes(collection_id)]
            gone += [f"channel/{c}" for c in channels]
            self._catalog.commit({}, gone)
            self._segments = {c: s for c, s in self._segments.items() if c != collection_id}
            self._indexes = {c: i for c, i in self._indexes.items() if c != collection_id}
            self._channels = {c: s for c, s in self._channels.items() if c not in set(channels)}

    # -- indexes --------------------------------------------------------------------------------
    def indexes(self, collection_id: int) -> tuple[IndexMeta, ...]:
        return self._indexes.get(collection_id, ())

    def made_indexes(self, collection_id: int) -> tuple[IndexMeta, ...]:
        """Those that users made: without the ones that the schema implies."""
        return tuple(i for i in self.indexes(collection_id) if not i.is_implied)

    def index_of(self, collection_id: int, field: str) -> IndexMeta | None:
        return next((i for i in self.made_indexes(collection_id) if i.field == field), None)

    def create_index(
        self, collection_id: int, field: FieldSchema, name: str, params: dict[str, str], spec: IndexSpec, timestamp: int
    ) -> IndexMeta:
        """Record an index; an identical one is returned as it is."""
        name = name or field.name
        with self._lock:
            for index in self.made_indexes(collection_id):
                if index.field == field.name and index.name == name and index.spec == spec:
                    return index
                if index.name == name:
                    raise InvalidParameter("at most one distinct index is allowed per field")
                if index.field == field.name and (index.spec.path is None or index.spec.path == spec.path):
                    raise InvalidParameter(
                        "CreateIndex failed: creating multiple indexes on same field is not supported"
                    )
            made = IndexMeta(
                index_id=self._allocate_id(),
                collection_id=collection_id,
                field_id=field.field_id,
                field=field.name,
                name=name,
                params=params,
                spec=spec,
                created_timestamp=timestamp,
            )
            self._catalog.commit({_index_key(made): msgspec.json.encode(made)})
            self._indexes = {**self._indexes, collection_id: (*self.indexes(collection_id), made)}
            return made

    def alter_index(self, index: IndexMeta, params: dict[str, str]) -> None:
        """Record other parameters of an index, which stays what it is. One that is gone by now stays gone."""
        with self._lock:
            known = self.indexes(index.collection_id)
            if index not in known:
                return
            made = msgspec.structs.replace(index, params=params)
            self._catalog.commit({_index_key(made): msgspec.json.encode(made)})
            kept = tuple(made if i is index or i == index else i for i in known)
            self._indexes = {**self._indexes, index.collection_id: kept}

    def find_indexes(self, collection_id: int, collection: str, name: str, field: str) -> tuple[IndexMeta, ...]:
        """By name, else by field, else all; none at all is an error."""
        found = self.made_indexes(collection_id)
        if name:
            found = tuple(i for i in found if i.name == name)
        if field:
            found = tuple(i for i in found if i.stands_on(field))
        if not found:
            raise IndexNotFound.named(name) if name else IndexNotFound.of_collection(collection)
        return found

    def imply_indexes(self, collection_id: int, schema: CollectionSchema, timestamp: int) -> Implied:
        """Record the indexes that a schema brings with it and that are not there yet."""
        wanted = {f.field_id: f for f in schema.fields if enables_match(f)}
        with self._lock:
            known = {i.field_id: i for i in self.indexes(collection_id) if i.is_implied}
            made = tuple(
                self._implied(collection_id, field, timestamp) for i, field in wanted.items() if i not in known
            )
            if made:
                self._catalog.commit({_index_key(i): msgspec.json.encode(i) for i in made})
                self._indexes = {**self._indexes, collection_id: (*self.indexes(collection_id), *made)}
            return Implied(made, tuple(index for i, index in known.items() if i not in wanted))

    def _implied(self, collection_id: int, field: FieldSchema, timestamp: int) -> IndexMeta:
        return IndexMeta(
            index_id=self._allocate_id(),
            collection_id=collection_id,
            field_id=field.field_id,
            field=field.name,
            name=f"{MATCH}/{field.field_id}",
            params={},
            spec=IndexSpec(index_type=MATCH, kind=MATCH),
            created_timestamp=timestamp,
        )

    def drop_index(self, index: IndexMeta) -> list[IndexFile]:
        """Forget an index and its files; returns the files, to be deleted afterwards."""
        with self._lock:
            collection_id = index.collection_id
            files, kept = [], []
            for segment in self.segments(collection_id):
                files += [f for f in segment.indexes if f.index_id == index.index_id]
                rest = tuple(f for f in segment.indexes if f.index_id != index.index_id)
                kept.append(msgspec.structs.replace(segment, indexes=rest))
            puts = {_segment_key(s): msgspec.json.encode(s) for s in kept}
            self._catalog.commit(puts, [_index_key(index)])
            left = tuple(i for i in self.indexes(collection_id) if i.index_id != index.index_id)
            self._segments = {**self._segments, collection_id: tuple(kept)}
            self._indexes = {**self._indexes, collection_id: left}
            return files

    def add_index_file(self, collection_id: int, segment_id: int, file: IndexFile) -> bool:
        """Record a built index; False when its segment or index is gone by now."""
        with self._lock:
            segments = self.segments(collection_id)
            segment = next((s for s in segments if s.segment_id == segment_id), None)
            if segment is None or all(i.index_id != file.index_id for i in self.indexes(collection_id)):
                return False
            kept = tuple(f for f in segment.indexes if f.index_id != file.index_id)
            made = msgspec.structs.replace(segment, indexes=(*kept, file))
            self._catalog.commit({_segment_key(made): msgspec.json.encode(made)})
            changed = tuple(made if s.segment_id == segment_id else s for s in segments)
            self._segments = {**self._segments, collection_id: changed}
            return True

    def forget_index_file(self, collection_id: int, segment_id: int, file: IndexFile) -> SegmentMeta | None:
        """Take a damaged index file from its segment, so that it is built again; returns the segment, if it exists."""
        with self._lock:
            segments = self.segments(collection_id)
            segment = next((s for s in segments if s.segment_id == segment_id), None)
            if segment is None or file not in segment.indexes:
                return segment
            made = msgspec.structs.replace(segment, indexes=tuple(f for f in segment.indexes if f != file))
            self._catalog.commit({_segment_key(made): msgspec.json.encode(made)})
            changed = tuple(made if s.segment_id == segment_id else s for s in segments)
            self._segments = {**self._segments, collection_id: changed}
            return made

    def wants_build(self, segment: SegmentMeta, index: IndexMeta) -> bool:
        """Whether this index over this segment is still to be built."""
        large = segment.rows >= self._limits.min_rows_to_index
        return large and needs_build(index.spec) and segment.index(index.index_id) is None

    def pending_rows(self, index: IndexMeta) -> int:
        return sum(s.rows for s in self.segments(index.collection_id) if self.wants_build(s, index))


def _segment_key(segment: SegmentMeta) -> str:
    return f"segment/{segment.collection_id}/{segment.segment_id}"


def _index_key(index: IndexMeta) -> str:
    return f"index/{index.collection_id}/{index.index_id}"
