"""How a read was answered, or would be: told by segments, shown as text."""

from __future__ import annotations

import msgspec

from redkite.model.plan_html import plan_html


class Step(msgspec.Struct, frozen=True):
    """Something that was done for some queries in one segment."""

    how: str
    queries: int
    compared: int = 0
    """Rows whose vectors or values were looked at one by one, over all queries, where that is known."""


class SegmentReport(msgspec.Struct, frozen=True, kw_only=True):
    segment_id: int
    partition_id: int
    state: str
    """`growing` or `sealed`."""
    rows: int
    """That could be seen at the moment of the read, deleted ones included."""
    allowed: int
    """Of them, alive and passing the filter."""
    field: str = ""
    """The vector field, of a search."""
    index: str = ""
    """What the field is indexed by in this segment; empty: nothing."""
    steps: tuple[Step, ...] = ()


class WordStatistics(msgspec.Struct, frozen=True):
    """What was gathered of a whole collection before a search by BM25."""

    field: str
    rows: int
    """That are alive and have a text."""
    average: float
    """Words in each."""
    terms: int
    """Distinct ones in the queries …"""
    known: int
    """… and how many of them are in some row."""


class Stage(msgspec.Struct, frozen=True):
    """What ranking did with what the searches of a request had found."""

    how: str
    given: int = 0
    """Hits, over all queries, where it was run …"""
    left: int = 0
    """… and how many of them went on."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Of one request. Seconds are 0 when nothing was run."""

    kind: str
    """`search`, `hybrid` or `query`."""
    analyzed: bool
    """Whether it was run, too."""
    collection: str
    fields: tuple[str, ...] = ()
    index_type: str = ""
    metric: str = ""
    params: dict[str, int | float | str | bool] = {}
    """Of the index, as resolved."""
    filter: str = ""
    partitions: int | None = None
    """How many were asked for; None: all."""
    shards: int = 1
    pruned: int = 0
    """Sealed segments that the ranges of their fields rule out."""
    segments: tuple[SegmentReport, ...] = ()
    plan_seconds: float = 0.0
    read_seconds: float = 0.0
    statistics: tuple[WordStatistics, ...] = ()
    """Of each search by BM25."""
    stages: tuple[Stage, ...] = ()
    """Of rankers, functions and chains, in their order."""
    recalls: tuple[float, ...] = ()
    """Of each query, against an exact search: the part of the true neighbours among its hits."""

    @property
    def rows(self) -> int:
        return sum(s.rows for s in self.segments)

    @property
    def allowed(self) -> int:
        return sum(s.allowed for s in self.segments)

    @property
    def selectivity(self) -> float:
        """The part of the rows that were allowed; of nothing, all."""
        return self.allowed / self.rows if self.rows else 1.0

    @property
    def compared(self) -> int:
        """Rows looked at one by one, where that is known."""
        return sum(step.compared for s in self.segments for step in s.steps)

    def _repr_html_(self) -> str:
        return plan_html(str(self))

    def __str__(self) -> str:
        head = f"{self.kind} of {self.collection}"
        if self.fields:
            head += f" by {', '.join(self.fields)}"
        if self.index_type:
            params = ", ".join(f"{key}={value}" for key, value in self.params.items())
            head += f": {self.index_type}({params}), {self.metric}"
        lines = [head]
        if self.filter:
            lines.append(f"  filter {self.filter}")
        if self.partitions is not None:
            lines.append(f"  in {self.partitions} partitions")
        lines.append(
            f"  {self.shards} shards, {len(self.segments)} segments, {self.pruned} ruled out; "
            f"{self.allowed:,} of {self.rows:,} rows allowed ({self.selectivity:.1%}), {self.compared:,} compared"
        )
        lines += [
            f"  statistics gathered by {told.field}: {told.rows:,} rows with a text, {told.average:.1f} words each; "
            f"{told.known} of {told.terms} terms known"
            for told in self.statistics
        ]
        lines += [line for segment in self.segments for line in _lines(segment)]
        hits = ": {0.given:,} hits in, {0.left:,} out" if self.analyzed else ""
        lines += [f"  then {stage.how}{hits.format(stage)}" for stage in self.stages]
        if self.analyzed:
            lines.append(f"  planned in {self.plan_seconds * 1e3:.2f} ms, read in {self.read_seconds * 1e3:.2f} ms")
        if self.recalls:
            lines.append(f"  recall {sum(self.recalls) / len(self.recalls):.4f} over {len(self.recalls)} queries")
        return "\n".join(lines)


def _lines(segment: SegmentReport) -> list[str]:
    index = f", {segment.index}" if segment.index else ""
    field = f" {segment.field}:" if segment.field else ""
    lines = [f"  {segment.state} {segment.segment_id}:{field} {segment.allowed:,} of {segment.rows:,} rows{index}"]
    for step in segment.steps:
        compared = f", {step.compared:,} rows compared" if step.compared else ""
        asked = f" for {step.queries} queries" if step.queries > 1 else ""
        lines.append(f"    {step.how}{asked}{compared}")
    return lines
