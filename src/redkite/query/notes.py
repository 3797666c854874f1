"""What a node notes about how it answers, when the request wants to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from redkite.model.explain import SegmentReport, Step
from redkite.query.allowed import allowed_rows
from redkite.query.plan import QueryPlan, SearchPlan
from redkite.segment.base import Segment


@dataclass(slots=True)
class Notes:
    """Of one request on one node, in one thread."""

    reports: list[SegmentReport] = field(default_factory=list)
    _steps: list[Step] = field(default_factory=list)

    def add(self, how: str, queries: int, compared: int = 0) -> None:
        self._steps.append(Step(how, queries, compared))

    def close(self, segment: Segment, plan: SearchPlan | QueryPlan, timestamp: int) -> None:
        """What was added belongs to this segment."""
        name = plan.field if isinstance(plan, SearchPlan) else ""
        index = segment.index(name) if name else None
        self.reports.append(
            SegmentReport(
                segment_id=segment.segment_id,
                partition_id=segment.partition_id,
                state="growing" if segment.cache is None else "sealed",
                rows=segment.rows_at(timestamp),
                allowed=count_allowed(segment, plan, timestamp),
                field=name,
                index="" if index is None else type(index).__name__.removesuffix("Index"),
                steps=tuple(self._steps),
            )
        )
        self._steps.clear()


def count_allowed(segment: Segment, plan: SearchPlan | QueryPlan, timestamp: int) -> int:
    """Rows that are alive, pass the filter and have a vector."""
    rows = segment.rows_at(timestamp)
    nullable = ""
    if isinstance(plan, SearchPlan) and segment.vectors(plan.field, rows)[1] is not None:
        nullable = plan.field
    allowed = allowed_rows(segment, plan.filter, nullable, timestamp, plan.expiry)
    return rows if allowed is None else allowed.count


def noted(segments: Sequence[Segment], plan: SearchPlan | QueryPlan, timestamp: int, how: str, nq: int) -> Notes:
    """Notes of a read that treats every segment alike."""
    notes = Notes()
    for segment in segments:
        scanned = segment.rows_at(timestamp) if isinstance(plan, QueryPlan) else count_allowed(segment, plan, timestamp)
        compared = scanned if nq else 0
        notes.add(how, max(nq, 1), compared * nq)
        notes.close(segment, plan, timestamp)
    return notes
