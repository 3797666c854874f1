"""What a read asks of segments, resolved against a schema: names bound, limits checked, parameters typed."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.filter import Filter
from redkite.model.schema import CollectionSchema
from redkite.model.types import Metric
from redkite.segment.expiry import Expiry


class After(msgspec.Struct, frozen=True):
    """Where the last page of an iterator ended. No score: at the start. No key: rows of equal score are left out."""

    score: float | None = None
    key: int | str | None = None


class SearchPlan(msgspec.Struct, frozen=True, kw_only=True):
    collection_id: int
    schema: CollectionSchema
    field: str
    metric: Metric
    params: dict[str, int]
    """Of the index (`ef`); empty for exact search."""
    exact: bool
    """Compare every row although an index may exist."""
    filter: Filter | None
    """None when every row passes."""
    partitions: frozenset[int] | None
    limit: int
    """Rows per query, the skipped ones included."""
    columns: tuple[str, ...]
    ignore_growing: bool = False
    expiry: Expiry | None = None
    """What has expired at the moment of this read; None: nothing does."""
    after: After | None = None
    """Of a page of an iterator."""


class QueryPlan(msgspec.Struct, frozen=True, kw_only=True):
    collection_id: int
    schema: CollectionSchema
    filter: Filter | None
    partitions: frozenset[int] | None
    limit: int | None
    """Rows, the skipped ones included."""
    columns: tuple[str, ...]
    count: bool = False
    """Only count; no rows."""
    ignore_growing: bool = False
    expiry: Expiry | None = None
    """What has expired at the moment of this read; None: nothing does."""


class SearchPartial(msgspec.Struct, frozen=True):
    """Winners of one node: flat over queries, best first; query i owns `topks[i]` entries."""

    topks: npt.NDArray[np.int64]
    ids: pa.Array
    scores: npt.NDArray[np.float32]
    rows: pa.RecordBatch


class QueryPartial(msgspec.Struct, frozen=True):
    """Matching rows of one node by ascending primary key, or only their `count`."""

    count: int
    ids: pa.Array | None = None
    rows: pa.RecordBatch | None = None
