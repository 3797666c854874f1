"""Which segments can hold a row that passes a filter."""

from __future__ import annotations

from collections.abc import Sequence

from redkite.filter import Filter
from redkite.model.schema import CollectionSchema
from redkite.segment.sealed import SealedSegment


def possible_segments(
    segments: Sequence[SealedSegment], condition: Filter, schema: CollectionSchema
) -> list[SealedSegment]:
    """Those that the ranges of their fields do not rule out."""
    names = {f.field_id: f.name for f in schema.fields if f.name in condition.fields}
    kept = []
    for segment in segments:
        ranges = {names[r.field_id]: (r.low, r.high) for r in segment.meta.ranges if r.field_id in names}
        if condition.may_match(ranges):
            kept.append(segment)
    return kept
