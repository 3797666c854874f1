"""Rows of a growing segment on their way to the data node that writes them.

Who writes asks for them, a piece at a time: so there is one piece on its way of each segment, and a data node that is
busy holds none. Who has them gives them for as long as it wants the segment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.cluster.network import Message, Remote, Unanswered
from redkite.cluster.work_messages import GivenRows, GiveRows, WriteSegment
from redkite.errors import Unavailable
from redkite.model.schema import CollectionSchema
from redkite.model.segments import SegmentMeta
from redkite.node.memory import MemoryBudget
from redkite.segment.keys import SealedKeys, key_order

PIECE_BYTES: Final = 8 << 20
"""About, of one answer; a row that is larger goes alone."""
COPIES: Final = 3
"""A piece is in memory as what Arrow writes, as the frame it goes in, and as what the connection has not sent yet."""
GIVE_SECONDS: Final = 10.0
_TRIES: Final = 3
KEYS_SHARE: Final = 1 / 16
"""The keys of sealed segments take no more of the memory limit."""

Stamps = npt.NDArray[np.uint64]


class Offer:
    """The rows of one segment, and who may ask for them."""

    def __init__(self, batch: pa.RecordBatch, stamps: Stamps) -> None:
        self.batch, self.stamps = batch, stamps
        self.size = max(1, batch.nbytes + stamps.nbytes)
        self.tries: list[int] = []

    def piece(self, first: int) -> GivenRows:
        """As many rows as one answer holds, from the first on."""
        count = max(1, PIECE_BYTES * self.batch.num_rows // self.size)
        some = self.batch.slice(first, count)
        while some.num_rows > 1 and some.nbytes > 2 * PIECE_BYTES:  # these are larger than most
            some = some.slice(0, some.num_rows // 2)
        return GivenRows(some, self.stamps[first : first + some.num_rows])


class RowsGiven:
    """What one node gives to others. Safe from any thread."""

    def __init__(self, memory: MemoryBudget) -> None:
        self._lock = Lock()
        self._offers: dict[int, Offer] = {}
        """By work id."""
        memory.watch("rows on their way", self._bytes)

    def _bytes(self) -> int:
        with self._lock:
            offers = set(self._offers.values())
        return sum(min(COPIES * PIECE_BYTES, offer.size) for offer in offers)

    @contextmanager
    def offered(self, batch: pa.RecordBatch, stamps: Stamps) -> Iterator[Offer]:
        """Rows that are given meanwhile to whoever has a work id that was `promised`."""
        offer = Offer(batch, stamps)
        try:
            yield offer
        finally:
            with self._lock:
                for number in offer.tries:
                    self._offers.pop(number, None)

    def promise(self, offer: Offer, work_id: int) -> None:
        """Whoever does this try may ask."""
        with self._lock:
            offer.tries.append(work_id)
            self._offers[work_id] = offer

    def give(self, message: GiveRows) -> GivenRows:
        """Answers `GiveRows`. Raises Unavailable when nobody wants the segment any more."""
        with self._lock:
            offer = self._offers.get(message.work_id)
        if offer is None or not 0 <= message.first < offer.batch.num_rows:
            raise Unavailable(f"there are no rows for piece of work {message.work_id} from row {message.first} on")
        return offer.piece(message.first)


def taken(remote: Remote, work: WriteSegment, wanted: Callable[[], bool]) -> tuple[pa.RecordBatch, Stamps] | None:
    """All rows of a segment, from the node that has them; None when it is not wanted any more. Raises what asking
    raises."""
    batches, stamps = list[pa.RecordBatch](), list[Stamps]()
    rows = 0
    while rows < work.rows:
        if not wanted():
            return None
        given: GivenRows = asked_back(remote, GiveRows(work_id=work.work_id, first=rows))
        batches.append(given.rows)
        stamps.append(given.stamps)
        rows += given.rows.num_rows
    if len(batches) == 1:
        return batches[0], stamps[0]
    return pa.concat_batches(batches), np.concatenate(stamps)


def asked_back(remote: Remote, message: Message) -> Any:
    """What whoever wants the work answers to a message that may be asked again. Raises what asking raises."""
    for tries_left in reversed(range(_TRIES)):
        try:
            return remote.ask(message, GIVE_SECONDS)
        except Unanswered:
            if not tries_left:
                raise
    raise AssertionError("the last try has an end")


class KeptKeys:
    """The keys of segments that others have written, kept in memory as far as there is room: where the store is far,
    the next write would else have to fetch the whole segment to look for its own keys."""

    def __init__(self, memory: MemoryBudget) -> None:
        self._most = int(memory.limit * KEYS_SHARE) if memory.limit else None
        self._lock = Lock()
        self._kept: WeakKeyDictionary[SealedKeys, int] = WeakKeyDictionary()
        memory.watch("keys of sealed segments", self._bytes)

    def _bytes(self) -> int:
        with self._lock:
            return sum(self._kept.values())

    def of(self, batch: pa.RecordBatch, schema: CollectionSchema, meta: SegmentMeta) -> SealedKeys | None:
        """None when there is no room."""
        column = batch.column(schema.primary.name)
        order = key_order(column)
        size = column.nbytes if order is None else 2 * column.nbytes + order.nbytes
        if self._most is not None and self._bytes() + size > self._most:
            return None
        own = column.take(pa.array(np.arange(len(column))))  # what it is a part of may be large
        made = SealedKeys(own, order, meta.min_key, meta.max_key)
        with self._lock:
            self._kept[made] = size
        return made
