"""How a shard takes in sealed segments whose rows never were in its log: written elsewhere, seen all at once.

They become rows as one write does, at the timestamp of their admission: what is older and has a primary key of theirs
is replaced. Everything that takes long (looking for such rows, building indexes) is done before writers have to wait.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import NamedTuple

import numpy as np

from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.garbage import Garbage
from redkite.coordinator.meta import CollectionMeta
from redkite.model.segments import ChannelState, DeletesFile, SegmentMeta
from redkite.node.holdings import Holding
from redkite.node.measured import Measured
from redkite.segment.deletes import Deletes, RowNumbers
from redkite.segment.files import open_keys, write_deletes
from redkite.segment.keys import Key
from redkite.storage.objects import ObjectStore


class Made(NamedTuple):
    """A segment to be admitted, and which of its rows a later one of the same import replaces."""

    meta: SegmentMeta
    replaced: RowNumbers


@dataclass(slots=True)
class Replaced:
    """Rows of segments that were there before, by segment id, which have keys of segments to be admitted. Segments
    never change, so what was looked at once need not be again."""

    rows: dict[int, RowNumbers] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Admission:
    """What one shard is about to take in. Nobody sees it before `Admitting.admit`."""

    timestamp: int
    fresh: list[Holding]
    deletes: dict[int, DeletesFile]
    """Of segments that were there before."""
    replaced: Replaced


class Admitting(Measured):
    """The part of a shard that takes in segments."""

    channel: str
    collection: CollectionMeta
    _store: ObjectStore
    _data: DataCoordinator
    _garbage: Garbage
    _flushing: Lock
    _state: ChannelState

    @abstractmethod
    def _flush(self, *, to_the_end: bool = False) -> tuple[int, list[SegmentMeta]]: ...

    @abstractmethod
    def _publish(self, timestamp: int | None = None) -> None: ...

    @contextmanager
    def still(self) -> Iterator[None]:
        """Nobody moves rows to sealed segments meanwhile, nor changes those. Taken after the turn."""
        with self._flushing:
            yield

    def look_for(self, made: Sequence[Made], known: Replaced) -> None:
        """Find the rows that these segments will replace, in those that were not looked at yet."""
        fresh = {h.meta.segment_id: h for h in self._sealed if h.meta.segment_id not in known.rows}
        found: dict[int, list[RowNumbers]] = {segment_id: [] for segment_id in fresh}
        for one in made:
            near = [holding for holding in fresh.values() if _may_meet(one.meta, holding.meta)]
            keys = segment_keys(self._store, one.meta, self.collection) if near else []
            for holding in near:
                found[holding.meta.segment_id].append(holding.find(keys, self._store, self.collection.schema))
        for segment_id, rows in found.items():
            known.rows[segment_id] = np.unique(np.concatenate(rows)) if rows else np.empty(0, np.int64)

    def prepare(self, made: Sequence[Made], known: Replaced, timestamp: int) -> Admission:
        """Within a turn and `still`: write what the admission at this timestamp needs, and open it for reads, so that
        what fails, fails before anything is committed. What is not committed is to be given up."""
        # A delete that found nothing would find the admitted rows, which came after it, when the log is read again.
        self._flush(to_the_end=True)
        self.look_for(made, known)
        deletes = {}
        for holding in self._sealed:
            rows = known.rows[holding.meta.segment_id]
            if len(rows):
                total = holding.meta.rows
                after = Deletes.from_entries(*holding.deletes.entries(), total)
                if after.mark(rows, timestamp, total):
                    deletes[holding.meta.segment_id] = write_deletes(self._store, holding.meta, after)
        admission = Admission(timestamp, [self._held(one, timestamp) for one in made], deletes, known)
        try:
            self._sealed.serve_wanted(admission.fresh, self.collection)
        except BaseException:
            self.give_up(admission)
            raise
        return admission

    def give_up(self, admission: Admission) -> None:
        """It has not been committed, and never will be."""
        self._sealed.release(admission.fresh)

    def _held(self, made: Made, timestamp: int) -> Holding:
        meta = made.meta.stamped(timestamp)
        marks = np.full(len(made.replaced), timestamp, np.uint64)
        deletes = Deletes.from_entries(made.replaced, marks, meta.rows)
        if deletes.count:
            meta = meta.with_deletes(write_deletes(self._store, meta, deletes))
        return Holding(meta, deletes, deletes.version)

    def admit(self, admission: Admission) -> None:
        """Show what has been committed. Still within the turn and `still`."""
        known = {m.segment_id: m for m in self._data.segments_of(self.collection.collection_id, self.channel)}
        for holding in admission.fresh:
            holding.meta = known.get(holding.meta.segment_id, holding.meta)
        stale = []
        with self._apply:
            for holding in self._sealed:
                if holding.meta.segment_id in admission.deletes:
                    stale.append(holding.meta.deletes_object)
                    self._replace_rows(holding, admission)
                    holding.meta = known[holding.meta.segment_id]
            for holding in admission.fresh:
                self._sealed.add(holding)
                self._sealed.catch_up(holding)
            self._publish(admission.timestamp)
        self._garbage.discard(stale)

    @staticmethod
    def _replace_rows(holding: Holding, admission: Admission) -> None:
        rows = admission.replaced.rows[holding.meta.segment_id]
        holding.deletes.mark(rows, admission.timestamp, holding.meta.rows)
        holding.saved_version = holding.deletes.version
        stamps = np.full(len(rows), admission.timestamp, np.uint64)
        for peer in holding.peers:
            peer.apply_deletes(holding.meta.segment_id, rows, stamps)


def _may_meet(one: SegmentMeta, other: SegmentMeta) -> bool:
    """Whether the ranges of their keys overlap."""
    if isinstance(one.min_key, int) and isinstance(other.min_key, int):
        return int(one.min_key) <= int(other.max_key) and int(other.min_key) <= int(one.max_key)
    return str(one.min_key) <= str(other.max_key) and str(other.min_key) <= str(one.max_key)


def segment_keys(store: ObjectStore, meta: SegmentMeta, collection: CollectionMeta) -> list[Key]:
    """Every primary key of a segment, in the order of its rows."""
    keys: list[Key] = open_keys(store, meta, collection.schema).column().to_pylist()
    return keys


def replaced_within(
    store: ObjectStore, segments: Sequence[SegmentMeta], collection: CollectionMeta
) -> Mapping[int, RowNumbers]:
    """Of segments that are admitted together, in the order that they were written: which rows have a key that a later
    row has too, by segment id. A row that comes later replaces one that came before."""
    found: dict[int, list[RowNumbers]] = {}
    for at, meta in enumerate(segments):
        held = open_keys(store, meta, collection.schema)
        rows = [held.repeated()]
        rows += [
            held.find(segment_keys(store, later, collection))
            for later in segments[at + 1 :]
            if later.channel == meta.channel and _may_meet(meta, later)
        ]
        found[meta.segment_id] = rows
    return {i: np.unique(np.concatenate(rows)) for i, rows in found.items()}
