"""What others see of a shard and of those that own shards, whether these are here or on another machine.

Whoever reads, writes or looks after a collection asks through these. What has to be done while a shard holds its turn
(`node.shard.Shard.turn`) is only for where the shard is, and asks `Topology.own_shards`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, ClassVar, Protocol, Self, TypeAlias, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from redkite.coordinator.meta import CollectionMeta
from redkite.index.base import Vectors
from redkite.model.schema import CollectionSchema
from redkite.model.segments import IndexMeta, SegmentMeta
from redkite.node import records
from redkite.query.plan import QueryPartial, QueryPlan, SearchPartial, SearchPlan, TextCounts
from redkite.storage.log import Room

R = TypeVar("R")
T = TypeVar("T")

Answer: TypeAlias = Callable[[], T]
"""Waits for what was asked, and gives it or raises its error. Called once."""


class GrowingFacts(msgspec.Struct, frozen=True):
    """A segment that is not sealed yet."""

    segment_id: int
    partition_id: int
    rows: int
    size: int
    """Bytes."""
    memory: int
    """Bytes that it takes, about."""


class ServedSegments(msgspec.Struct, frozen=True):
    """Which sealed segments of a shard one query node answers for."""

    node_id: int
    segment_ids: tuple[int, ...]


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner of a shard says of the time there."""

    newest: int
    """Every write up to it can be read."""
    under_way: int | None
    """No write that is logged and cannot be read yet, nor one that comes, has a smaller timestamp; 0 where that cannot
    be said, None when there is none."""


class ShardFace(Protocol):
    """A shard of a collection."""

    settles_reads: ClassVar[bool]
    """Whether a read at a timestamp waits by itself for the writes before it; else the reader calls `settle`."""

    channel: str

    @property
    def collection(self) -> CollectionMeta: ...

    # -- reads: (the timestamp that was read at, what each node found); None reads the newest ----------------------
    def search(
        self, plan: SearchPlan, queries: Vectors, timestamp: int | None = None
    ) -> tuple[int, list[SearchPartial]]: ...

    def search_soon(
        self, plan: SearchPlan, queries: Vectors, timestamp: int | None = None
    ) -> Answer[tuple[int, list[SearchPartial]]]: ...

    def query(self, plan: QueryPlan, timestamp: int | None = None) -> tuple[int, list[QueryPartial]]: ...

    def query_soon(self, plan: QueryPlan, timestamp: int | None = None) -> Answer[tuple[int, list[QueryPartial]]]: ...

    def count_words(
        self, plan: SearchPlan, dims: npt.NDArray[np.uint32], timestamp: int | None = None
    ) -> tuple[int, list[TextCounts]]:
        """What each node counts for a search by words, of the rows that the statistics are of."""
        ...

    def count_words_soon(
        self, plan: SearchPlan, dims: npt.NDArray[np.uint32], timestamp: int | None = None
    ) -> Answer[tuple[int, list[TextCounts]]]: ...

    @property
    def is_settled(self) -> bool:
        """Whether every write that has its timestamp is known to be applied. Costs nothing; False where it would."""
        ...

    def settle(self) -> None:
        """Wait until every write that has its timestamp by now is applied; nothing where `settles_reads`."""
        ...

    def hear_soon(self) -> Answer[Heard]:
        """Have the clock of this process see every timestamp that the owner has given by now: answers carry them."""
        ...

    def lenient(self, lapse: float) -> Self:
        """The same shard for reads that its owner may answer for so many seconds after it has lost the right to say
        that it is the owner. Nothing else is asked of it."""
        ...

    @property
    def newest(self) -> int | None:
        """Every write up to it can be read; None where asking would cost a call."""
        ...

    @property
    def readable_from(self) -> int:
        """No read goes further back."""
        ...

    # -- counts ---------------------------------------------------------------------------------------------------
    def rows(self, partitions: frozenset[int] | None = None) -> int:
        """Rows alive, exactly."""
        ...

    @property
    def row_slots(self) -> int:
        """Rows held, deleted ones included."""
        ...

    def unindexed_rows(self) -> int:
        """Rows that a search has to compare one by one."""
        ...

    @property
    def growing_rows(self) -> int:
        """Rows that are not sealed yet, deleted ones included."""
        ...

    def growing(self) -> tuple[GrowingFacts, ...]:
        """The segments that are not sealed yet and have rows, oldest first."""
        ...

    def served(self) -> tuple[ServedSegments, ...]:
        """Which query nodes serve what is sealed and loaded."""
        ...

    def segments(self) -> list[SegmentMeta]:
        """The sealed ones, as the catalog has them."""
        ...

    # -- writes ---------------------------------------------------------------------------------------------------
    def insert(
        self,
        parts: records.Parts,
        rows: records.Rows,
        allocate: Callable[[], int],
        answer: Callable[[int], R],
        schema: CollectionSchema | None = None,
    ) -> Future[R]:
        """Write rows (columns as the schema has them that they were checked by; None: the shard's own). The future is
        `answer(timestamp)`, asked for when they are durable and visible."""
        ...

    # -- upkeep ---------------------------------------------------------------------------------------------------
    def flush(self, allocate: Callable[[], int]) -> tuple[int, list[SegmentMeta]]:
        """Seal everything written so far. A timestamp that no sealed row exceeds, and the new segments."""
        ...

    def reload(self) -> None:
        """Follow the collection's load state: place what is loaded, take away what is not."""
        ...

    def clear_node(self, source: int, targets: tuple[int, ...], segments: tuple[int, ...]) -> int:
        """Have others of its replica (empty `targets`: any) serve segments (empty: all) that a query node serves; how
        many were moved."""
        ...

    def follow(self, current: Callable[[], CollectionMeta]) -> None:
        """Take over what the collection is now."""
        ...

    def forget(self, partitions: Iterable[int] | None = None) -> None:
        """Drop the rows of some partitions (None: all)."""
        ...

    def truncate(self, allocate: Callable[[], int]) -> list[SegmentMeta]:
        """Drop every row written so far, durably; the segments whose objects may be deleted."""
        ...

    def build_all(self) -> None:
        """Queue the builds of indexes that sealed segments still want."""
        ...

    def drop_index(self, index: IndexMeta) -> None:
        """Serve searches without an index that the catalog does not have any more."""
        ...


class ChannelOwner(Protocol):
    """A streaming node, as others see it."""

    node_id: int

    def shard(self, collection: CollectionMeta, channel: str) -> ShardFace:
        """The shard of a channel, open or opened by this."""
        ...

    def open_shard(self, channel: str) -> ShardFace | None:
        """The shard if it can be asked without opening it."""
        ...

    def reserve(self, sizes: Mapping[str, int]) -> Room:
        """Room in the log for a record of so many bytes of each of these channels, or of none. In a turn of theirs."""
        ...

    def seal_if_full(self, shard: Any) -> None:
        """Called after writes that this process made: seal in the background when a segment is full."""
        ...

    def drop_channel(self, channel: str) -> None:
        """The collection is gone, and its log with it."""
        ...

    def close(self) -> None: ...


class Owners(Protocol):
    """Those that own channels, as they are now."""

    are_here: ClassVar[bool]
    """Whether they are of this process, which then knows what every shard holds."""

    def owner(self, channel: str) -> ChannelOwner:
        """The owner of a channel."""
        ...

    def __iter__(self) -> Iterator[ChannelOwner]: ...

    def __len__(self) -> int: ...


class ServingNode(Protocol):
    """A query node, as who reports about all of them sees it."""

    @property
    def node_id(self) -> int: ...

    @property
    def address(self) -> str:
        """Where others ask it; empty for one of this process."""
        ...

    @property
    def pruned(self) -> int:
        """Segments that filters spared it."""
        ...


def time_of_all(shards: Iterable[ShardFace], now: Callable[[], int]) -> int:
    """A timestamp that no write exceeds which any of the shards has answered by now. The clocks of their owners may be
    ahead of the one here until they are heard of."""
    _each_heard(shards)
    return now()


def _each_heard(shards: Iterable[ShardFace]) -> list[Heard]:
    return [heard() for heard in [shard.hear_soon() for shard in shards]]


def moment_of_all(shards: Iterable[ShardFace], now: Callable[[], int], least: int) -> int:
    """The moment that reads at Strong read all shards at; see `moment_after`."""
    heard = _each_heard(shards)
    return moment_after(heard, now(), least)


def moment_after(heard: Iterable[Heard], now: int, least: int) -> int:
    """A moment behind everything that the shards have answered by the time they were heard, and not before `least`.
    Before what is under way, where that can be: so nobody waits for a log that is slow, or away. `now`: of a clock that
    has observed theirs."""
    told = [*heard]
    open_since = min((one.under_way for one in told if one.under_way is not None), default=None)
    if open_since is not None and open_since > max([least, *(one.newest for one in told)]):
        return open_since - 1
    return max(now, least)


def newest_of_all(shards: Sequence[ShardFace], now: int) -> int | None:
    """A moment up to which all shards can be read at once; None where they are far, and each had better be read at its
    own newest."""
    moments = [now if shard.is_settled else shard.newest for shard in shards]
    return None if None in moments else min(moment for moment in moments if moment is not None)


def search_all(
    shards: Iterable[ShardFace], plan: SearchPlan, queries: Vectors, timestamp: int | None
) -> Iterator[tuple[int, list[SearchPartial]]]:
    """What each shard finds; those of other machines search side by side."""
    some = [*shards]
    if len(some) == 1:  # its answer is waited for right here: no other thread has to
        return iter((some[0].search(plan, queries, timestamp),))
    return _each([shard.search_soon(plan, queries, timestamp) for shard in some])


def query_all(
    shards: Iterable[ShardFace], plan: QueryPlan, timestamp: int | None
) -> Iterator[tuple[int, list[QueryPartial]]]:
    some = [*shards]
    if len(some) == 1:
        return iter((some[0].query(plan, timestamp),))
    return _each([shard.query_soon(plan, timestamp) for shard in some])


def count_words_all(
    shards: Iterable[ShardFace], plan: SearchPlan, dims: npt.NDArray[np.uint32], timestamp: int | None
) -> Iterator[tuple[int, list[TextCounts]]]:
    return _each([shard.count_words_soon(plan, dims, timestamp) for shard in shards])


def _each(waiting: list[Answer[T]]) -> Iterator[T]:
    return (answer() for answer in waiting)
