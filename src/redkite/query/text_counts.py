"""What BM25 wants to know of a collection, of the segments of one node: how many rows have a text, how many words they
have, and in how many rows each word of a query is. Only rows count that are alive at the moment of the read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from redkite.index.sparse import SparseColumn
from redkite.model.schema import CollectionSchema
from redkite.query.allowed import Allowed, allowed_rows
from redkite.query.comparing import lists_of
from redkite.query.plan import SearchPlan, TextCounts
from redkite.segment.base import Segment

Dims = npt.NDArray[np.uint32]


def count_segments(segments: Sequence[Segment], plan: SearchPlan, dims: Dims, timestamp: int) -> TextCounts:
    """Of all rows of these segments, whatever the plan's filter. `dims` ascend."""
    rows, tokens, having = 0, 0.0, np.zeros(len(dims), np.int64)
    for held in segments:
        segment = held.under(plan.schema)
        found = segment.rows_at(timestamp)
        if not found:
            continue
        column = segment.vectors(plan.field, found).column
        assert isinstance(column, SparseColumn), "words are sparse vectors"
        alive = allowed_rows(segment, None, "", timestamp, plan.expiry)
        mask = None if alive is None else alive.mask
        lists = lists_of(column, segment.index(plan.field))
        counted = column.facts.count(column.vectors, dims, mask, alive, lists)
        rows += _with_text(segment, plan, found, alive)
        tokens += counted.tokens
        having += counted.having
    return TextCounts(rows, tokens, having)


def _with_text(segment: Segment, plan: SearchPlan, rows: int, alive: Allowed | None) -> int:
    """Rows that are alive and whose text is not null."""
    name = text_field(plan.schema, plan.field)
    field = plan.schema.field(name)
    valid: Any = segment.columns(rows).is_valid(name) if field is not None and field.nullable else None
    if valid is None:
        return rows if alive is None else alive.count
    return int(np.count_nonzero(valid if alive is None else valid & alive.mask))


def text_field(schema: CollectionSchema, output: str) -> str:
    """The field whose words a field holds."""
    return next(f.input_field_names[0] for f in schema.functions if output in f.output_field_names)
