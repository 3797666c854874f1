"""Vectors whose checksums are compared when somebody looks at them, rather than when their segment is opened.

The vectors are most of a segment's file, and a search through an index looks at a few of them. So the file has a
checksum for each piece of its largest vector column, beside those of what comes before and behind it. The latter are
compared when the segment is opened, a piece when a row of it is first wanted. The rest follows in the background as
soon as anything was wanted. No vector is compared with a query, or given to anybody, before its piece was found good.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.env import Buffer, Executor
from redkite.errors import Corruption, MilvusException
from redkite.index.base import NO_ROW, Queries, RowNumbers, Scores, VectorColumn
from redkite.logs import get_logger
from redkite.model.segments import LateBytes, SegmentMeta
from redkite.model.types import Metric
from redkite.storage.checksums import crc32, crc32_of
from redkite.storage.objects import FilePart, ObjectStore

log = get_logger(__name__)

LATE_BYTES: Final = 8 << 20
"""Columns of less are compared with the rest of their file."""
PIECE_BYTES: Final = 64 << 10
TOGETHER: Final = 3
"""Pieces that the background compares at a time: so few that it compares them itself, and waits for no other thread of
the pool that it runs on."""
PIECES: Final = b"pieces"
"""Where a file has the checksums of its pieces: in the metadata of its batch, CRC-32 as u32 each, in base64."""


# -- writing ------------------------------------------------------------------------------------
def late_column(batch: pa.RecordBatch) -> pa.Buffer | None:
    """The numbers of the largest column of dense float vectors, when it is worth checksums of its own."""
    dense = [c for c in batch.columns if pa.types.is_fixed_size_list(c.type) and pa.types.is_float32(c.type.value_type)]
    numbers = [c.values.buffers()[1] for c in dense if c.offset == 0 and c.values.offset == 0]
    largest = max((b for b in numbers if b is not None), key=lambda b: int(b.size), default=None)
    return largest if largest is not None and largest.size >= LATE_BYTES else None


def checksums_of(column: pa.Buffer) -> bytes:
    """As they are written beside the batch."""
    data = memoryview(column)
    sums = [crc32(data[at : at + PIECE_BYTES]) for at in range(0, data.nbytes, PIECE_BYTES)]
    return base64.b64encode(np.array(sums, "<u4").tobytes())


def late_bytes(parts: Sequence[Buffer], column: pa.Buffer) -> LateBytes | None:
    """Where the column lies in a file made of these parts; None when it was copied on its way there."""
    at = 0
    for number, part in enumerate(parts):
        view = memoryview(part)
        if view.nbytes == column.size and np.frombuffer(view, np.uint8).ctypes.data == column.address:
            before, behind = crc32_of(parts[:number]), crc32_of(parts[number + 1 :])
            return LateBytes(start=at, size=column.size, before=before[1], behind=behind[1])
        at += view.nbytes
    return None


# -- reading ------------------------------------------------------------------------------------
def check_around(store: ObjectStore, meta: SegmentMeta, late: LateBytes) -> None:
    """Compare what is before the late column and behind it. Raises Corruption."""
    end = late.start + late.size
    parts = [FilePart(0, late.start, late.before), FilePart(end, meta.size - end, late.behind)]
    store.verify_parts(meta.rows_object, meta.size, parts)


class LateCheck:
    """What is known of the vectors of one segment. Safe from any thread."""

    def __init__(self, store: ObjectStore, meta: SegmentMeta, late: LateBytes, mapped: pa.Buffer, sums: bytes) -> None:
        """`mapped`: the whole file."""
        try:
            self._sums = np.frombuffer(base64.b64decode(sums, validate=True), "<u4")
        except (binascii.Error, ValueError) as error:
            raise Corruption(f"object {meta.rows_object} has no readable checksums of its vectors: {error}") from error
        if len(self._sums) != -(-late.size // PIECE_BYTES):
            raise Corruption(f"object {meta.rows_object} has checksums of {len(self._sums)} pieces of its vectors")
        self._store = store
        self._meta = meta
        self._late = late
        self._address = mapped.address + late.start
        self._row_bytes = late.size // meta.rows
        self._good: npt.NDArray[np.bool_] = np.zeros(len(self._sums), np.bool_)
        self._lock = Lock()
        self._begun = False
        self.is_done = False

    def covers(self, column: pa.Array) -> bool:
        """Is this the column, as it is mapped, that is to be looked at through this?"""
        if self.is_done or not pa.types.is_fixed_size_list(column.type):
            return False
        numbers = column.values.buffers()[1]
        return numbers is not None and numbers.address == self._address

    def rows(self, rows: RowNumbers) -> None:
        """Compare the pieces that hold these rows (NO_ROW: none). Raises Corruption."""
        if self.is_done:
            return
        wanted = rows[rows != NO_ROW]
        first = wanted * self._row_bytes // PIECE_BYTES
        last = ((wanted + 1) * self._row_bytes - 1) // PIECE_BYTES
        across = int((last - first).max(initial=0)) + 1
        pieces = np.unique(np.concatenate([np.minimum(first + step, last) for step in range(across)]))
        self._compare(pieces[~self._good[pieces]])
        self._begin()

    def all(self) -> None:
        """Compare what was not compared yet. Raises Corruption."""
        if not self.is_done:
            self._compare(np.flatnonzero(~self._good))
            self._end()

    def _compare(self, pieces: npt.NDArray[np.int64]) -> None:
        if not len(pieces):
            return
        start, size = self._late.start, self._late.size
        parts = [
            FilePart(start + at * PIECE_BYTES, min(PIECE_BYTES, size - at * PIECE_BYTES), crc)
            for at, crc in zip(pieces.tolist(), self._sums[pieces].tolist(), strict=True)
        ]
        self._store.verify_parts(self._meta.rows_object, self._meta.size, parts)
        self._good[pieces] = True

    def _begin(self) -> None:
        """Have the rest compared in the background, once."""
        with self._lock:
            if self._begun:
                return
            self._begun = True
        background: Executor | None = self._store.background
        if background is not None:
            with suppress(MilvusException):  # the database is being closed
                background.submit(self._finish)

    def _finish(self) -> None:
        try:
            while len(left := np.flatnonzero(~self._good)):
                self._compare(left[:TOGETHER])
            self._end()
        except MilvusException as error:  # whoever wants the damaged piece is told; others need not know
            log.error("segment %d: %s", self._meta.segment_id, error.message)

    def _end(self) -> None:
        self.is_done = True
        self._store.vouch(self._meta.rows_object, self._meta.size, self._meta.rows_crc)


class LateColumn:
    """A column of vectors that are found good before they are looked at. See `VectorColumn`."""

    def __init__(self, column: VectorColumn, check: LateCheck) -> None:
        self._column = column
        self._check = check

    @property
    def behind(self) -> VectorColumn:
        """The column, whose bytes may be other than they were."""
        return self._column

    @property
    def rows(self) -> int:
        return self._column.rows

    @property
    def nbytes(self) -> int:
        return self._column.nbytes

    @property
    def width(self) -> int:
        return self._column.width

    def __len__(self) -> int:
        return len(self._column)

    def search(self, queries: Queries, k: int, metric: Metric, pool: Executor | None) -> tuple[Scores, RowNumbers]:
        self._check.all()
        return self._column.search(queries, k, metric, pool)

    def ranked(self, queries: Queries, found: RowNumbers, k: int, metric: Metric) -> tuple[Scores, RowNumbers]:
        self._check.rows(found.reshape(-1))
        return self._column.ranked(queries, found, k, metric)

    def scores(self, query: Queries, metric: Metric, rows: RowNumbers | None = None) -> Scores:
        if rows is None:
            self._check.all()
        else:
            self._check.rows(rows)
        return self._column.scores(query, metric, rows)

    def gather(self, rows: RowNumbers) -> VectorColumn:
        self._check.rows(rows)
        return self._column.gather(rows)

    def head(self, rows: int) -> VectorColumn:
        self._check.all()
        return self._column.head(rows)
