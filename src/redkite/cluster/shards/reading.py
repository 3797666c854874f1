"""Reads of a shard that another node owns."""

from __future__ import annotations

from copy import copy
from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt

from redkite.cluster.network import Message
from redkite.cluster.shards.calling import CalledShard
from redkite.index.base import Queries
from redkite.node.face import Answer, Heard
from redkite.query.plan import QueryPartial, QueryPlan, SearchPartial, SearchPlan, TextCounts


class ShardRead(Message, frozen=True):
    """A read of the shard of a channel. `timestamp`: it waits until every write up to it can be read, and the owner
    gives no smaller one to a write from then on. None: the newest that can be read."""

    idempotent: ClassVar[bool] = True

    channel: str
    timestamp: int | None = None
    lapse: float | None = None
    """Of a read that needs no owner: for so many seconds after its lease a node may answer it that was the owner, when
    it does not know of another. None: only the owner may."""


class SearchShard(ShardRead, frozen=True, kw_only=True):
    """-> (timestamp, list[SearchPartial])"""

    plan: SearchPlan
    queries: Any
    """Of any kind that an index takes."""


class QueryShard(ShardRead, frozen=True, kw_only=True):
    """-> (timestamp, list[QueryPartial])"""

    plan: QueryPlan


class CountWords(ShardRead, frozen=True, kw_only=True):
    """-> (timestamp, list[TextCounts])"""

    plan: SearchPlan
    dims: npt.NDArray[np.uint32]


class CountShard(Message, frozen=True):
    """-> ShardCounts"""

    idempotent: ClassVar[bool] = True

    channel: str
    partitions: frozenset[int] | None = None
    """Whose living rows are counted; None: all. Empty: none are, which costs less."""


class ShardCounts(Heard, frozen=True, kw_only=True):
    rows: int
    """Alive, of the partitions that were asked for."""
    slots: int
    """Rows held, deleted ones included."""
    unindexed: int
    growing: int
    """Rows that are not sealed yet, deleted ones included."""
    readable_from: int


_NO_PARTITIONS: frozenset[int] = frozenset()
READ_SECONDS: Final = 60.0
"""How long an owner may read. One that is gone is noticed sooner, by its lease."""


class RemoteReads(CalledShard):
    """What is asked of a shard's owner, once for each call: it reads all nodes that hold rows of the shard."""

    settles_reads: ClassVar[bool] = True
    lapse: float | None = None
    """Of its reads: see `ShardRead`."""

    def lenient(self, lapse: float) -> Self:
        found = copy(self)
        found.lapse = lapse
        return found

    def search(
        self, plan: SearchPlan, queries: Queries, timestamp: int | None = None
    ) -> tuple[int, list[SearchPartial]]:
        found: tuple[int, list[SearchPartial]] = self.ask(
            SearchShard(channel=self.channel, timestamp=timestamp, lapse=self.lapse, plan=plan, queries=queries),
            READ_SECONDS,
        )
        return found

    def search_soon(
        self, plan: SearchPlan, queries: Queries, timestamp: int | None = None
    ) -> Answer[tuple[int, list[SearchPartial]]]:
        message = SearchShard(channel=self.channel, timestamp=timestamp, lapse=self.lapse, plan=plan, queries=queries)
        return self.ask_soon(message, READ_SECONDS)

    def query(self, plan: QueryPlan, timestamp: int | None = None) -> tuple[int, list[QueryPartial]]:
        found: tuple[int, list[QueryPartial]] = self.ask(
            QueryShard(channel=self.channel, timestamp=timestamp, lapse=self.lapse, plan=plan), READ_SECONDS
        )
        return found

    def query_soon(self, plan: QueryPlan, timestamp: int | None = None) -> Answer[tuple[int, list[QueryPartial]]]:
        return self.ask_soon(
            QueryShard(channel=self.channel, timestamp=timestamp, lapse=self.lapse, plan=plan), READ_SECONDS
        )

    def count_words(
        self, plan: SearchPlan, dims: npt.NDArray[np.uint32], timestamp: int | None = None
    ) -> tuple[int, list[TextCounts]]:
        found: tuple[int, list[TextCounts]] = self.ask(
            CountWords(channel=self.channel, timestamp=timestamp, lapse=self.lapse, plan=plan, dims=dims), READ_SECONDS
        )
        return found

    def count_words_soon(
        self, plan: SearchPlan, dims: npt.NDArray[np.uint32], timestamp: int | None = None
    ) -> Answer[tuple[int, list[TextCounts]]]:
        return self.ask_soon(
            CountWords(channel=self.channel, timestamp=timestamp, lapse=self.lapse, plan=plan, dims=dims), READ_SECONDS
        )

    # -- time -----------------------------------------------------------------------------------
    @property
    def is_settled(self) -> bool:
        """Only the owner knows, and reads ask it anyway."""
        return False

    def settle(self) -> None:
        """Reads at a timestamp wait by themselves."""

    def hear_soon(self) -> Answer[Heard]:
        return self.ask_soon(CountShard(channel=self.channel, partitions=_NO_PARTITIONS))

    @property
    def newest(self) -> int | None:
        """Asking costs a call: a read that names no timestamp is told which it was."""
        return None

    @property
    def readable_from(self) -> int:
        return self.counts(_NO_PARTITIONS).readable_from

    # -- counts ---------------------------------------------------------------------------------
    def rows(self, partitions: frozenset[int] | None = None) -> int:
        return self.counts(partitions).rows

    @property
    def row_slots(self) -> int:
        return self.counts(_NO_PARTITIONS).slots

    def unindexed_rows(self) -> int:
        return self.counts(_NO_PARTITIONS).unindexed

    @property
    def growing_rows(self) -> int:
        return self.counts(_NO_PARTITIONS).growing

    def counts(self, partitions: frozenset[int] | None = None) -> ShardCounts:
        """All of them by one call."""
        found: ShardCounts = self.ask(CountShard(channel=self.channel, partitions=partitions))
        return found
