"""Who decides about data: which segments, channel checkpoints and indexes exist. Every change is one catalog commit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from redkite.coordinator.data_records import CHANNEL, PREFIXES, DataRecords, Record, channel_key, index_key, segment_key
from redkite.errors import Conflict, IndexNotFound, InvalidParameter, MilvusException, StorageError
from redkite.index.registry import needs_build
from redkite.model.limits import Limits
from redkite.model.rules.text_rules import enables_match
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.segments import MATCH, ChannelState, DeletesFile, IndexFile, IndexMeta, IndexSpec, SegmentMeta
from redkite.storage.catalog import Catalog
from redkite.storage.change_notes import RESTORED, change_notes
from redkite.storage.followed import FollowedCatalog

R = TypeVar("R")
_NO_NOTES: Final[Mapping[str, Any]] = {}
_TRIES: Final = 10
_FEW: Final = 64
"""So many records are changed by one commit, where more can be changed one after another."""
_MOST_EXPECTED: Final = 90
"""So many are expected to be what they were when a commit changes them; more would not fit into one."""


class Parted(StorageError):
    """A channel has another state in the catalog than its shard knows: a commit of which the shard was never told how
    it ended has happened, or the channel is another's by now. The shard has to be opened anew."""

    default_code = 2700


class Implied(NamedTuple):
    """How the indexes that a schema brings with it have changed."""

    made: tuple[IndexMeta, ...]
    gone: tuple[IndexMeta, ...]
    """Those whose fields do not want them any more: to be dropped."""


class DataCoordinator:
    """Readers take immutable tuples and never lock; changes are serialised and durable before they are seen."""

    def __init__(
        self,
        catalog: Catalog,
        allocate_id: Callable[[], int],
        limits: Limits,
        followed: FollowedCatalog | None = None,
    ) -> None:
        """`followed`: the catalog below `catalog`, where others commit to it as well."""
        self._catalog = catalog
        self.notes = change_notes(catalog)
        """What happened to rows beside the logs."""
        self._allocate_id = allocate_id
        self._limits = limits
        self._lock = Lock()
        self._followed = followed
        self._records = DataRecords(catalog, followed)
        self._flushed: Callable[[int, str], None] | None = None

    def reload(self) -> None:
        """Read everything from the catalog."""
        self._records.reload()

    def absorb(self, changes: Iterable[str]) -> None:
        """Take over what others have committed: the keys that changed. Waits for nobody."""
        self._records.absorb(key for key in changes if key.startswith(PREFIXES))

    def _changing(self, change: Callable[[], R]) -> R:
        """One change at a time, made again on what is there by then if another process was quicker."""
        with self._lock:
            tries = 0
            while True:
                try:
                    return change()
                except Conflict:
                    tries += 1
                    if self._followed is None or tries == _TRIES:
                        raise
                    self._followed.refresh(told=False)
                    self._records.recheck()

    def _commit(
        self,
        puts: Mapping[str, Record],
        gone: Iterable[str] = (),
        notes: Mapping[str, bytes] = _NO_NOTES,
        expect: Mapping[str, bytes | None] = _NO_NOTES,
        state_of: str = "",
    ) -> None:
        """Records that are there are changed as they were here, unless there are too many: else another process has
        changed one meanwhile. The state of the channel `state_of` is always expected to be what is known here, and so
        is `expect`."""
        gone = list(gone)
        keys = [key for key in (*puts, *gone) if not key.startswith(CHANNEL)]
        basis: dict[str, bytes | None] = dict(expect)
        known = self._records.basis(keys)
        if len(known) <= _MOST_EXPECTED:
            basis.update(known)
        if state_of and self._followed is not None:
            key = channel_key(state_of)
            basis[key] = self._records.basis([key]).get(key)
        encoded = {key: msgspec.json.encode(record) for key, record in puts.items()}
        try:
            self._catalog.commit({**notes, **encoded}, gone, basis or None)
            self._records.committed(puts, (key for key in gone if key.startswith(PREFIXES)))
        except Exception:
            raise
        except BaseException:  # an interrupt: whether it was committed only the catalog knows
            with contextlib.suppress(MilvusException):
                self._records.settle([*puts, *gone])
            raise

    def when_flushed(self, call: Callable[[int, str], None]) -> None:
        """Call this with collection id and channel whenever segments were sealed; it must be quick."""
        self._flushed = call

    def allocate_id(self) -> int:
        return self._allocate_id()

    # -- segments -------------------------------------------------------------------------------
    def segments(self, collection_id: int) -> tuple[SegmentMeta, ...]:
        return self._records.segments(collection_id)

    def collections(self) -> list[int]:
        """Ids of the collections anything is recorded about."""
        return sorted(self._records.collections())

    def object_names(self) -> frozenset[str]:
        """Every object that a segment is made of."""
        return self._records.object_names()

    def channels_of(self, collection_id: int) -> set[str]:
        return self._records.channels_of(collection_id)

    def segments_of(self, collection_id: int, channel: str) -> list[SegmentMeta]:
        return self._records.segments_of(collection_id, channel)

    def channel_state(self, channel: str) -> ChannelState:
        return self._records.state(channel) or ChannelState()

    def check_state(self, channel: str, before: ChannelState | None) -> None:
        """Raises Parted unless this is the state of a channel. None: whatever it is."""
        if before is not None and self.channel_state(channel) != before:
            raise Parted(f"channel '{channel}' was sealed by a commit that nobody has heard of")

    def note_end(self, channel: str, end: int) -> None:
        """Remember where the log of a channel ended when it was closed: a witness beside the log itself."""

        def change() -> None:
            state = self.channel_state(channel)
            if end > state.known_end:
                self._commit({channel_key(channel): msgspec.structs.replace(state, end=end)})

        self._changing(change)

    def _with_deletes(self, collection_id: int, deletes: Mapping[int, DeletesFile]) -> list[SegmentMeta]:
        """The segments that these files of deletes are of, with them."""
        found = ((self._records.segment(collection_id, number), file) for number, file in deletes.items())
        return [segment.with_deletes(file) for segment, file in found if segment is not None]

    def _with_known_indexes(self, collection_id: int, segments: Iterable[SegmentMeta]) -> list[SegmentMeta]:
        """Files of an index that was dropped meanwhile are not recorded: their objects are garbage."""
        known = {i.index_id for i in self.indexes(collection_id)}
        return [
            msgspec.structs.replace(s, indexes=tuple(f for f in s.indexes if f.index_id in known)) for s in segments
        ]

    def commit_flush(
        self,
        collection_id: int,
        channel: str,
        state: ChannelState,
        added: Iterable[SegmentMeta],
        deletes: Mapping[int, DeletesFile],
        before: ChannelState | None = None,
    ) -> None:
        """In one commit: sealed segments, their stored deletes by segment id, the new checkpoint. Where others commit
        as well, the deletes of many segments go before, some at a time: nothing is forgotten by that, and each record
        is changed only as it is known here. Raises Parted when the channel's state is not the one of `before`. Files of
        an index that was dropped meanwhile are not recorded: their objects are garbage."""
        fresh = tuple(s.with_deletes(deletes[s.segment_id]) if s.segment_id in deletes else s for s in added)

        def change() -> None:
            self.check_state(channel, before)
            old = self._with_deletes(collection_id, deletes)
            changed = [s for s in old if s != self._records.segment(collection_id, s.segment_id)]
            while self._followed is not None and len(changed) > _FEW:
                part, changed = changed[:_FEW], changed[_FEW:]
                self._commit({segment_key(s): s for s in part}, state_of=channel)
            made = self._with_known_indexes(collection_id, fresh)
            puts: dict[str, Record] = {segment_key(s): s for s in (*changed, *made)}
            self._commit({**puts, channel_key(channel): state}, state_of=channel)

        self._changing(change)
        if fresh and self._flushed is not None:
            self._flushed(collection_id, channel)

    def commit_replace(
        self,
        collection_id: int,
        channel: str,
        state: ChannelState,
        gone: Iterable[int],
        added: Iterable[SegmentMeta],
        notes: Mapping[str, bytes] = _NO_NOTES,
        before: ChannelState | None = None,
    ) -> None:
        """In one commit: segments leave, others come in their place, the channel's state changes, and what somebody
        notes of it is in the catalog. Raises Parted when the channel's state is not the one of `before`. Files of an
        index that was dropped meanwhile are not recorded: their objects are garbage."""
        out, fresh = set(gone), tuple(added)

        def change() -> None:
            self.check_state(channel, before)
            there = (self._records.segment(collection_id, number) for number in out)
            made = self._with_known_indexes(collection_id, fresh)
            puts: dict[str, Record] = {segment_key(s): s for s in made}
            removed = [segment_key(s) for s in there if s is not None]
            self._commit({**puts, channel_key(channel): state}, removed, notes, state_of=channel)

        self._changing(change)

    def commit_admission(
        self,
        collection_id: int,
        added: Iterable[SegmentMeta],
        deletes: Mapping[int, DeletesFile],
        notes: Mapping[str, bytes],
        expect: Mapping[str, bytes | None] = _NO_NOTES,
        gone: Iterable[str] = (),
    ) -> None:
        """In one commit: segments of any channels, the stored deletes of others by segment id, and `notes`, what else
        is to be recorded. `expect`: only if the catalog has these, of which `gone` go with the commit."""
        given, ended = tuple(added), tuple(gone)

        def change() -> None:
            fresh = self._with_known_indexes(collection_id, given)
            old = self._with_deletes(collection_id, deletes)
            self._commit({segment_key(s): s for s in (*fresh, *old)}, ended, notes, expect)

        self._changing(change)
        if self._flushed is not None:
            for channel in {s.channel for s in given}:
                self._flushed(collection_id, channel)

    def adopt(
        self,
        collection_id: int,  # noqa: ARG002  every record says it
        states: Mapping[str, ChannelState],
        segments: Iterable[SegmentMeta],
        indexes: Iterable[IndexMeta],
        timestamp: int = 0,
    ) -> None:
        """In one commit: everything about a collection that was made elsewhere, and that nobody knows yet. Its rows and
        their deletes are all older than `timestamp`, and what will be written to it newer."""
        segments, indexes = tuple(segments), tuple(indexes)
        puts: dict[str, Record] = {segment_key(s): s for s in segments}
        puts |= {index_key(i): i for i in indexes}
        puts |= {channel_key(c): state for c, state in states.items()}
        notes: dict[str, bytes] = {}
        for channel in {s.channel for s in segments}:
            notes |= self.notes.noted(channel, RESTORED, timestamp)
        self._changing(lambda: self._commit(puts, (), notes))

    def remove_segments(self, collection_id: int, gone: Callable[[SegmentMeta], bool]) -> list[SegmentMeta]:
        """Forget segments; returns them, so that their objects can be deleted afterwards. Where others commit as well,
        some at a time."""
        removed: list[SegmentMeta] = []

        def change() -> bool:
            found = [s for s in self.segments(collection_id) if gone(s)]
            part = found if self._followed is None else found[:_FEW]
            if part:
                self._commit({}, [segment_key(s) for s in part])
                removed.extend(part)
            return len(part) < len(found)

        while self._changing(change):
            continue
        return removed

    def drop_collection(self, collection_id: int, channels: Iterable[str]) -> None:
        ended = [channel_key(c) for c in channels]

        def change() -> None:
            gone = [segment_key(s) for s in self.segments(collection_id)]
            gone += [index_key(i) for i in self.indexes(collection_id)]
            self._commit({}, [*gone, *ended])

        self._changing(change)

    # -- indexes --------------------------------------------------------------------------------
    def indexes(self, collection_id: int) -> tuple[IndexMeta, ...]:
        return self._records.indexes(collection_id)

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

        def change() -> IndexMeta:
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
            self._commit({index_key(made): made})
            return made

        return self._changing(change)

    def alter_index(self, index: IndexMeta, params: dict[str, str]) -> None:
        """Record other parameters of an index, which stays what it is. One that is gone by now stays gone."""

        def change() -> None:
            if index in self.indexes(index.collection_id):
                self._commit({index_key(index): msgspec.structs.replace(index, params=params)})

        self._changing(change)

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

        def change() -> Implied:
            known = {i.field_id: i for i in self.indexes(collection_id) if i.is_implied}
            made = tuple(
                self._implied(collection_id, field, timestamp) for i, field in wanted.items() if i not in known
            )
            if made:
                self._commit({index_key(i): i for i in made})
            return Implied(made, tuple(index for i, index in known.items() if i not in wanted))

        return self._changing(change)

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
        """Forget an index and its files; returns the files, to be deleted afterwards. Where others commit as well, the
        index first, then its files of some segments at a time."""
        collection_id, files = index.collection_id, list[IndexFile]()

        def change() -> bool:
            having = [s for s in self.segments(collection_id) if s.index(index.index_id) is not None]
            part = having if self._followed is None else having[: _FEW - 1]
            puts = {segment_key(s): _without(s, index.index_id) for s in part}
            known = any(i.index_id == index.index_id for i in self.indexes(collection_id))
            if puts or known:
                self._commit(puts, [index_key(index)] if known else [])
            files.extend(f for s in part for f in s.indexes if f.index_id == index.index_id)
            return len(part) < len(having)

        while self._changing(change):
            continue
        return files

    def add_index_file(self, collection_id: int, segment_id: int, file: IndexFile) -> bool:
        """Record a built index; False when its segment or index is gone by now."""

        def change() -> bool:
            segment = self._records.segment(collection_id, segment_id)
            if segment is None or all(i.index_id != file.index_id for i in self.indexes(collection_id)):
                return False
            kept = _without(segment, file.index_id).indexes
            self._commit({segment_key(segment): msgspec.structs.replace(segment, indexes=(*kept, file))})
            return True

        return self._changing(change)

    def forget_index_file(self, collection_id: int, segment_id: int, file: IndexFile) -> SegmentMeta | None:
        """Take a damaged index file from its segment, so that it is built again; returns the segment, if it exists."""

        def change() -> SegmentMeta | None:
            segment = self._records.segment(collection_id, segment_id)
            if segment is None or file not in segment.indexes:
                return segment
            made = msgspec.structs.replace(segment, indexes=tuple(f for f in segment.indexes if f != file))
            self._commit({segment_key(made): made})
            return made

        return self._changing(change)

    def wants_build(self, segment: SegmentMeta, index: IndexMeta) -> bool:
        """Whether this index over this segment is still to be built."""
        large = segment.rows >= self._limits.min_rows_to_index
        return large and needs_build(index.spec) and segment.index(index.index_id) is None

    @property
    def least_indexed_rows(self) -> int:
        """Smaller segments have no index."""
        return self._limits.min_rows_to_index

    def pending_rows(self, index: IndexMeta) -> int:
        return sum(s.rows for s in self.segments(index.collection_id) if self.wants_build(s, index))


def _without(segment: SegmentMeta, index_id: int) -> SegmentMeta:
    return msgspec.structs.replace(segment, indexes=tuple(f for f in segment.indexes if f.index_id != index_id))
