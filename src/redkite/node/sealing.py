"""What a shard does to have its rows in sealed segments: freezes them, has them written, and commits that."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from redkite.errors import MilvusException
from redkite.index.registry import is_light
from redkite.model.segments import ChannelState, DeletesFile, IndexMeta, SegmentMeta
from redkite.node.data import WrittenSegment
from redkite.node.holdings import Holding
from redkite.node.indexing import Indexing
from redkite.node.serving import Serving
from redkite.node.view import ShardImage, ShardView
from redkite.segment.base import BufferState
from redkite.segment.compaction import MadeSegment
from redkite.segment.files import write_deletes
from redkite.segment.growing import GrowingSegment
from redkite.spans import traced
from redkite.storage.log import Topic
from redkite.storage.objects import ObjectStore


class Sealing(Indexing, Serving):
    """The part of a shard that moves rows to sealed segments, and changes those."""

    channel: str
    view: ShardView
    unflushed_since_ms: int | None
    _dropped: bool
    _end: int
    _frozen: list[GrowingSegment]
    _growing: dict[int, GrowingSegment]
    _store: ObjectStore
    _topic: Topic

    @abstractmethod
    def _no_collection(self) -> MilvusException: ...

    def roll(self) -> None:
        """What is written from now on goes to new growing segments."""
        with self._apply:
            self._roll()

    def _roll(self) -> None:
        full = [g for g in self._growing.values() if g.rows]
        for growing in full:
            growing.state = BufferState.FULL
        self._frozen = [*self._frozen, *full]
        self._growing = {}

    @traced("flush")
    def flush(self, allocate: Callable[[], int]) -> tuple[int, list[SegmentMeta]]:
        """Seal everything written so far. Returns a timestamp that no sealed row exceeds, and the new segments."""
        with self._flushing:
            timestamp, metas = self._flush()
            return max(timestamp, allocate()) if not metas else timestamp, metas

    def _flush(self, *, to_the_end: bool = False) -> tuple[int, list[SegmentMeta]]:
        """`to_the_end`: nothing applied by now is ever read from the log again, even where it has changed no row."""
        with self._apply:
            if self._dropped:
                raise self._no_collection()
            self._data.check_state(self.channel, self._state)
            # What an earlier flush could not write is still frozen, and tried again.
            self._roll()
            frozen = self._frozen
            self.unflushed_since_ms = None
            timestamp = self.view.timestamp
            state = msgspec.structs.replace(self._state, checkpoint=self._end, newest=timestamp)
        is_behind = to_the_end and self._state.checkpoint < state.checkpoint
        if not frozen and not is_behind and self._sealed.all_saved():
            return timestamp, []
        for growing in frozen:
            growing.state = BufferState.FLUSHING
        try:
            collection_id, wanted = self.collection.collection_id, lambda: not self._dropped
            # They are made while their rows are written, which takes about as long.
            light = [index for index in self._data.indexes(collection_id) if is_light(index.spec)]
            least = self._data.least_indexed_rows
            written = self._data_node.write_segments(collection_id, self.channel, frozen, wanted, light, least)
            metas = self._commit(frozen, written, state, light)
        finally:
            for growing in frozen:
                growing.state = BufferState.FULL if growing in self._frozen else BufferState.FLUSHED
        return timestamp, metas

    def _commit(
        self,
        frozen: list[GrowingSegment],
        written: list[WrittenSegment],
        state: ChannelState,
        light: Sequence[IndexMeta],
    ) -> list[SegmentMeta]:
        """Make new segments, deletes up to the checkpoint, and the checkpoint one catalog commit; then switch.
        `light`: the indexes that the segments may have by now."""
        metas = [made.meta for made in written]
        fresh = [Holding(w.meta, g.deletes, 0, w.keys) for w, g in zip(written, frozen, strict=True)]
        saved: dict[int, DeletesFile] = {}
        versions: dict[int, int] = {}
        stale = []
        for holding in (*self._sealed, *fresh):
            meta, deletes = holding.meta, holding.deletes
            if not holding.is_saved:
                versions[meta.segment_id] = deletes.version
                saved[meta.segment_id] = write_deletes(self._store, meta, deletes)
                stale += [meta.deletes_object] if meta.deletes_object else []
        with self._served(fresh):
            self._data.commit_flush(self.collection.collection_id, self.channel, state, metas, saved, self._state)
        by_id = {m.segment_id: m for m in self.segments()}
        for holding in (*self._sealed, *fresh):
            holding.meta = by_id[holding.meta.segment_id]
            holding.saved_version = versions.get(holding.meta.segment_id, holding.saved_version)
        with self._apply:
            self._state = state
            for holding in fresh:
                self._sealed.add(holding)
                self._sealed.catch_up(holding)
            self._forget_dropped(metas, light)
            self._frozen = [g for g in self._frozen if g not in frozen]
            self._publish()
        for meta in metas:
            self.build_missing(meta.segment_id)
        self._topic.truncate(state.checkpoint)  # while others build
        used = {h.meta.deletes_object for h in self._sealed}
        self._garbage.discard(name for name in stale if name not in used)
        return metas

    def _forget_dropped(self, made: Sequence[SegmentMeta], light: Sequence[IndexMeta]) -> None:
        """Take away indexes that were made with these segments and dropped before the shard had them: who dropped one
        did not find it here. The caller holds the lock that he takes afterwards."""
        known = {index.index_id for index in self._data.indexes(self.collection.collection_id)}
        for index in (index for index in light if index.index_id not in known):
            files = [(meta.segment_id, file) for meta in made if (file := meta.index(index.index_id)) is not None]
            for segment_id, _ in files:
                holding = self._sealed.get(segment_id)
                for peer in () if holding is None else holding.peers:
                    peer.detach_index(segment_id, index)
            self._garbage.discard(file.object for _, file in files)

    @contextmanager
    def _served(self, fresh: Sequence[Holding]) -> Iterator[None]:
        """Open segments for reads before they are committed: one that cannot be opened must not be in the catalog while
        the rows it is made of are still held here, to be written another time."""
        try:
            self._sealed.serve_wanted(fresh, self.collection)
            yield
        except BaseException:
            self._sealed.release(fresh)
            raise

    def segments(self) -> list[SegmentMeta]:
        """The sealed ones, as the catalog has them."""
        return self._data.segments_of(self.collection.collection_id, self.channel)

    def image(self, timestamp: int, hold: Callable[[ShardImage], None]) -> ShardImage | None:
        """Every row up to `timestamp` in sealed segments, their deletes saved; `hold` is called before anything can
        change. The caller took `timestamp` in a turn in which it called `roll`. None when rows of a later time have
        been merged into these segments meanwhile: try again with a new timestamp."""
        with self._flushing:
            self._flush()
            segments = tuple(m for m in self.segments() if m.min_timestamp <= timestamp)
            if self._state.readable_from > timestamp or any(m.max_timestamp > timestamp for m in segments):
                return None
            image = ShardImage(timestamp, self._state.checkpoint, segments)
            hold(image)
            return image

    def replace(
        self, sources: Sequence[int], made: Sequence[MadeSegment], readable_from: int, notes: Mapping[str, bytes]
    ) -> bool:
        """Swap sealed segments for ones made of the same rows, in one catalog commit, `notes` with it, and one view;
        deletes that came meanwhile go along. `readable_from`: rows deleted or expired up to it were left out. False
        when a source is gone by now: the caller discards what it made."""
        with self._flushing:
            if self._dropped or any(self._sealed.get(i) is None for i in sources):
                return False
            readable_from, replaced = max(self._state.readable_from, readable_from), self._state.replaced + 1
            state = msgspec.structs.replace(self._state, readable_from=readable_from, replaced=replaced)
            fresh = []
            for segment in made:
                self._sealed.carry_deletes(segment)
                deletes, meta = segment.deletes, segment.meta
                version = deletes.version
                if deletes.count:
                    meta = meta.with_deletes(write_deletes(self._store, meta, deletes))
                fresh.append(Holding(meta, deletes, version))
            metas, collection_id = [h.meta for h in fresh], self.collection.collection_id
            with self._served(fresh):
                self._data.commit_replace(collection_id, self.channel, state, sources, metas, notes, self._state)
            with self._apply:
                self._state = state
                for segment, holding in zip(made, fresh, strict=True):
                    self._sealed.carry_deletes(segment)
                    self._sealed.catch_up(holding)
                    self._sealed.add(holding)
                gone = self._sealed.remove(sources)
                self._publish()
            self._sealed.release(gone)
        for holding in fresh:
            self.build_missing(holding.meta.segment_id)
        return True
