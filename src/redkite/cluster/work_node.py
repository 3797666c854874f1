"""Who does data work: with the names that messages give, and for as long as somebody wants it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from redkite.cluster.import_work import RemoteDesk
from redkite.cluster.network import Network
from redkite.cluster.rows_given import taken
from redkite.cluster.work_messages import (
    BuildIndex,
    BuiltIndex,
    CompactedThere,
    Done,
    ImportedThere,
    MadeThere,
    ReadFiles,
    Work,
    WriteSegment,
    WrittenThere,
)
from redkite.env import Env
from redkite.errors import MilvusException, Unavailable
from redkite.model.segments import IndexMeta, SegmentMeta
from redkite.node.data import DataNode
from redkite.node.memory import MemoryBudget
from redkite.proxy.import_files import FileMissing
from redkite.proxy.import_reading import ImportReader
from redkite.segment.compaction import MadeSegment
from redkite.segment.files import segment_prefix, write_rows
from redkite.storage.objects import ObjectStore

ROWS_FACTOR = 2
"""The rows of a segment are held in the pieces they came in, and as one."""


class WorkNode(DataNode):
    """Does what messages ask. `network` leads back to whoever asks; `reader` reads files of imports."""

    def __init__(
        self,
        node_id: int,
        env: Env,
        store: ObjectStore,
        threads: int,
        memory: MemoryBudget,
        network: Network,
        reader: ImportReader,
    ) -> None:
        super().__init__(node_id, env, store, threads, memory)
        self._network = network
        self._reader = reader
        self._number = threading.local()

    def index_name(self, meta: SegmentMeta, index: IndexMeta) -> str:
        return index_name(meta, index, self._number.value)

    def do(self, work: Work, wanted: Callable[[], bool]) -> Done:
        """One piece of work, in the caller's thread."""
        if isinstance(work, WriteSegment):
            return self._written(work, lambda: wanted() and not self._closing)
        if isinstance(work, ReadFiles):
            return self._imported(work, lambda: wanted() and not self._closing)
        if isinstance(work, BuildIndex):
            self._number.value = work.work_id
            return BuiltIndex(self.build_here(work.meta, work.index, work.schema, wanted))
        self._number.value = work.index_number
        done = self.compact(work.work, wanted, iter(work.segment_ids).__next__)
        if done is None:
            return CompactedThere(is_stopped=True)
        return CompactedThere(made=tuple(map(_as_sent, done.made)), newest_dropped=done.newest_dropped)

    def _written(self, work: WriteSegment, wanted: Callable[[], bool]) -> WrittenThere:
        """Raises MemoryLimitExceeded where there is no room at once: whoever asks has others, and itself."""
        with self.memory.room("segments written", ROWS_FACTOR * work.size):
            rows = taken(self._network.connect(work.address), work, wanted)
            if rows is None:
                return WrittenThere(None)
            made = write_rows(self._store, work.place, work.schema, *rows, number=work.work_id)
        if wanted():
            return WrittenThere(made)
        for name in made.objects:  # nobody else has these names
            self._store.delete(name)
        return WrittenThere(None)

    def _imported(self, work: ReadFiles, wanted: Callable[[], bool]) -> ImportedThere:
        """Raises Unavailable for a file that is not here: it may be elsewhere. Whoever keeps the job gave out the ids
        of what was begun, and removes what nobody takes."""
        desk = RemoteDesk(self._network.connect(work.address), work.work_id, wanted)
        try:
            return ImportedThere(self._reader.make(work.task, desk))
        except FileMissing as error:
            raise Unavailable(error.message) from None
        except MilvusException:
            if wanted():
                raise
            return ImportedThere(None)


def index_name(meta: SegmentMeta, index: IndexMeta, number: int) -> str:
    """Of an object that nobody else writes."""
    return f"{segment_prefix(meta.collection_id, meta.segment_id)}index-{index.index_id}-{number}"


def _as_sent(made: MadeSegment) -> MadeThere:
    rows, stamps = made.deletes.entries()
    return MadeThere(
        meta=made.meta, deleted_rows=rows, deleted_at=stamps, sources=tuple(source for source, _ in made.origin),
        moved=tuple(np.ascontiguousarray(rows) for _, rows in made.origin),
    )  # fmt: skip
