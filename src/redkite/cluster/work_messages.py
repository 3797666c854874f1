"""What nodes say to each other about data work: pieces of it, and what comes of them.

Each try of a piece has a work id, which is given out once and makes the names of what it writes.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa

from redkite.cluster.network import Message
from redkite.errors import Unavailable
from redkite.model.imports import ImportedFile, ImportState
from redkite.model.schema import CollectionSchema
from redkite.model.segments import IndexFile, IndexMeta, SegmentMeta
from redkite.node.compaction_work import CompactionWork
from redkite.proxy.import_reading import ImportMade, ImportTask
from redkite.segment.files import Place


# -- pieces of work -----------------------------------------------------------------------------
class WorkMessage(Message, frozen=True, kw_only=True):
    """One try of a piece of work. Whoever does it answers when it is done."""

    idempotent: ClassVar[bool] = True

    work_id: int
    """Who asks again by the same gets the same answer."""


class BuildIndex(WorkMessage, frozen=True, kw_only=True):
    """Build an index over a segment and store it under a name."""

    meta: SegmentMeta
    index: IndexMeta
    schema: CollectionSchema
    name: str


class CompactSegments(WorkMessage, frozen=True, kw_only=True):
    """Make new segments of old ones, under the first of these ids."""

    work: CompactionWork
    segment_ids: tuple[int, ...]
    index_number: int
    """Makes the names of the new segments' indexes."""


class WriteSegment(WorkMessage, frozen=True, kw_only=True):
    """Write rows that grew elsewhere as a sealed segment. They are asked for by `GiveRows`."""

    place: Place
    schema: CollectionSchema
    rows: int
    size: int
    """Bytes of the rows, about."""
    address: str
    """Of the node that has them."""


class ReadFiles(WorkMessage, frozen=True, kw_only=True):
    """Make segments of the files of an import. Its desk is asked by `TellDesk`, `AskPace` and `AskIds`."""

    task: ImportTask
    address: str
    """Of the node that keeps the job."""


Work: TypeAlias = BuildIndex | CompactSegments | WriteSegment | ReadFiles


class WorkLost(Unavailable):
    """The process that did a piece of work is gone, or so it seems: it may be at it still. It can be asked for again
    where it was, under another number."""


# -- what comes of them -------------------------------------------------------------------------
class BuiltIndex(msgspec.Struct, frozen=True):
    """None: it was stopped."""

    file: IndexFile | None

    @property
    def is_stopped(self) -> bool:
        return self.file is None


class MadeThere(msgspec.Struct, frozen=True, kw_only=True):
    """A `MadeSegment`, as it travels."""

    meta: SegmentMeta
    deleted_rows: np.ndarray[Any, Any]
    deleted_at: np.ndarray[Any, Any]
    sources: tuple[int, ...]
    moved: tuple[np.ndarray[Any, Any], ...]
    """For each of the sources, where each of its rows is here, or -1."""


class CompactedThere(msgspec.Struct, frozen=True, kw_only=True):
    """What was made, unless it was stopped."""

    is_stopped: bool = False
    made: tuple[MadeThere, ...] = ()
    newest_dropped: int = 0


class WrittenThere(msgspec.Struct, frozen=True):
    """None: it was stopped, and nothing of it is there."""

    meta: SegmentMeta | None

    @property
    def is_stopped(self) -> bool:
        return self.meta is None


class ImportedThere(msgspec.Struct, frozen=True):
    """None: it was stopped."""

    made: ImportMade | None

    @property
    def is_stopped(self) -> bool:
        return self.made is None


Done: TypeAlias = BuiltIndex | CompactedThere | WrittenThere | ImportedThere


def stopped(work: Work) -> Done:
    """What a piece of work that was stopped is answered with."""
    if isinstance(work, BuildIndex):
        return BuiltIndex(None)
    if isinstance(work, ReadFiles):
        return ImportedThere(None)
    return WrittenThere(None) if isinstance(work, WriteSegment) else CompactedThere(is_stopped=True)


# -- meanwhile ----------------------------------------------------------------------------------
class StopWork(Message, frozen=True, kw_only=True):
    """It is not wanted any more. For work that is not known, nothing."""

    idempotent: ClassVar[bool] = True

    work_id: int


class IsAtWork(Message, frozen=True, kw_only=True):
    """Is this piece waiting there, or being done?"""

    idempotent: ClassVar[bool] = True

    work_id: int


class Known(msgspec.Struct, frozen=True):
    """Whether there is such work."""

    known: bool


class GiveRows(Message, frozen=True, kw_only=True):
    """The rows of a segment that is being written, from the first of these on: as many as one answer holds."""

    idempotent: ClassVar[bool] = True

    work_id: int
    first: int


class GivenRows(msgspec.Struct, frozen=True):
    """Some rows: a column per field of the schema, and their timestamps."""

    rows: pa.RecordBatch
    stamps: np.ndarray[Any, Any]


# -- the desk of an import ----------------------------------------------------------------------
class TellDesk(Message, frozen=True, kw_only=True):
    """How far an import is. Answered with True, or the error for which it has to stop."""

    idempotent: ClassVar[bool] = True

    work_id: int
    files: tuple[ImportedFile, ...]
    state: ImportState
    progress: int
    number: int = 0
    """Of what the desk is told, one after another."""


class AskPace(Message, frozen=True, kw_only=True):
    """So many bytes of rows were read: after how many seconds to go on?"""

    work_id: int
    size: int


class AskIds(Message, frozen=True, kw_only=True):
    """The first of so many ids that nobody else gets."""

    idempotent: ClassVar[bool] = True

    work_id: int
    count: int
    is_segment: bool
    """Of one segment that is about to be written, rather than keys."""


DESK: Final = (TellDesk, AskPace, AskIds)
