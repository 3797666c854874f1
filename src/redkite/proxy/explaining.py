"""Reads that tell how they were answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from redkite.model import results as rs
from redkite.model.explain import Explanation, SegmentReport, Stage, WordStatistics
from redkite.node.topology import Topology
from redkite.query.plan import QueryPlan, SearchPlan


class Stopwatch:
    """What explaining one request needs to know of before and after."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._clock = topology.env.clock.monotonic
        self._pruned = self._pruned_now()
        self._began = self._planned = self._clock()
        self._stages: list[Stage] = []

    def planned(self) -> None:
        """From here on it is read."""
        self._planned = self._clock()

    def ranked(self, how: str, given: int, left: int) -> None:
        """What the searches had found was ranked, or cut."""
        self._stages.append(Stage(how, given, left))

    def _pruned_now(self) -> int:
        return sum(node.pruned for node in self._topology.querying)

    def explanation(
        self,
        kind: str,
        collection: str,
        plans: Sequence[SearchPlan | QueryPlan],
        reports: Sequence[SegmentReport],
        shards: int,
        index_type: str = "",
        text: str = "",
        recalls: tuple[float, ...] = (),
        statistics: Sequence[WordStatistics] = (),
    ) -> Explanation:
        """Of a request that had these plans; `text` is its filter."""
        first = plans[0]
        searches = [plan for plan in plans if isinstance(plan, SearchPlan)]
        analyzed = first.explain == "analyze"
        return Explanation(
            kind=kind,
            analyzed=analyzed,
            collection=collection,
            fields=tuple(plan.field for plan in searches),
            index_type=index_type,
            metric=str(searches[0].metric) if len(searches) == 1 else "",
            params=searches[0].params if len(searches) == 1 else {},
            filter=text,
            partitions=None if first.partitions is None else len(first.partitions),
            shards=shards,
            pruned=self._pruned_now() - self._pruned,
            segments=tuple(reports),
            plan_seconds=self._planned - self._began if analyzed else 0.0,
            read_seconds=self._clock() - self._planned if analyzed else 0.0,
            statistics=tuple(statistics),
            stages=tuple(self._stages),
            recalls=recalls,
        )


def recalls_of(found: rs.Hits, exact: rs.Hits, *, larger: bool) -> tuple[float, ...]:
    """The part of each query's true neighbours that were found, of equal scores any; all of none."""
    sign = -1 if larger else 1
    told = []
    ends, true_ends = np.cumsum(found.topks), np.cumsum(exact.topks)
    for end, count, true_end, true_count in zip(ends, found.topks, true_ends, exact.topks, strict=True):
        if not true_count:
            told.append(1.0)
            continue
        farthest = sign * exact.scores[true_end - 1]
        near = np.count_nonzero(sign * found.scores[end - count : end] <= farthest)
        told.append(min(1.0, int(near) / int(true_count)))
    return tuple(told)


def measured(search: Callable[[SearchPlan], rs.Hits], plan: SearchPlan, *, comparable: bool) -> tuple[float, ...]:
    """The recall of each query of a plan, from searching twice; nothing where hits are no plain list."""
    if not comparable or plan.explain != "analyze" or plan.grouping is not None or plan.after is not None:
        return ()
    plain = msgspec.structs.replace(plan, explain="", columns=())
    exact = search(msgspec.structs.replace(plain, exact=True, params={}))
    return recalls_of(search(plain), exact, larger=plan.metric.larger_is_closer)
