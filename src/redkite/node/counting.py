"""What a shard is asked beside its rows: what BM25 wants to know of their words, and the same reads begun at once."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import ClassVar, Self

import msgspec
import numpy as np
import numpy.typing as npt

from redkite.index.base import Vectors
from redkite.node.asked import CountHeld
from redkite.node.face import Answer, Heard
from redkite.node.serving import Serving
from redkite.query.plan import QueryPartial, QueryPlan, SearchPartial, SearchPlan, TextCounts
from redkite.query.text_counts import count_segments


class Counting(Serving):
    """The part of a shard that counts words and answers later."""

    settles_reads: ClassVar[bool] = False

    @abstractmethod
    def search(
        self, plan: SearchPlan, queries: Vectors, timestamp: int | None = None
    ) -> tuple[int, list[SearchPartial]]: ...

    @abstractmethod
    def query(self, plan: QueryPlan, timestamp: int | None = None) -> tuple[int, list[QueryPartial]]: ...

    def lenient(self, lapse: float) -> Self:  # noqa: ARG002  nobody else can own it
        return self

    def hear_soon(self) -> Answer[Heard]:
        """Its clock is the one here."""
        return lambda: Heard(newest=self.view.timestamp, under_way=None)

    def search_soon(
        self, plan: SearchPlan, queries: Vectors, timestamp: int | None = None
    ) -> Answer[tuple[int, list[SearchPartial]]]:
        """Here the work is the caller's, when it asks for the answer."""
        return partial(self.search, plan, queries, timestamp)

    def query_soon(self, plan: QueryPlan, timestamp: int | None = None) -> Answer[tuple[int, list[QueryPartial]]]:
        return partial(self.query, plan, timestamp)

    def count_words_soon(
        self, plan: SearchPlan, dims: npt.NDArray[np.uint32], timestamp: int | None = None
    ) -> Answer[tuple[int, list[TextCounts]]]:
        return partial(self.count_words, plan, dims, timestamp)

    def count_words(
        self, plan: SearchPlan, dims: npt.NDArray[np.uint32], timestamp: int | None = None
    ) -> tuple[int, list[TextCounts]]:
        """The timestamp that was read at (None: the newest), and what each node counts, of the rows that the statistics
        of the plan's collection are of: whatever its filter, in all partitions that are loaded."""
        assert plan.scoring is not None, "only searches by BM25 want statistics"
        whole = msgspec.structs.replace(plan, partitions=plan.scoring.partitions, ignore_growing=False)
        return self.read_view(
            whole,
            timestamp,
            lambda segments, at: count_segments(segments, whole, dims, at),
            lambda ids, at: CountHeld(ids, whole, dims, at),
        )
