"""What a read asks of segments, resolved against a schema: names bound, limits checked, parameters typed."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.filter import Filter
from redkite.model.batch import Keys, key_column
from redkite.model.explain import SegmentReport
from redkite.model.reach import Reach
from redkite.model.schema import CollectionSchema
from redkite.model.tuning import Explain
from redkite.model.types import Metric
from redkite.query.sources import Source
from redkite.segment.expiry import Expiry


class After(msgspec.Struct, frozen=True):
    """Where the last page of an iterator ended. No score: at the start. No key: rows of equal score are left out."""

    score: float | None = None
    key: int | str | None = None
    offset: int | None = None
    """Of a search among elements: that of the last one."""


class Range(msgspec.Struct, frozen=True):
    """Scores that count: those nearer than `radius`, and no nearer than `inner` (None: as near as can be)."""

    radius: float
    inner: float | None = None


class GroupPlan(msgspec.Struct, frozen=True):
    """Hits by groups: `limit` of the plan counts groups."""

    sources: tuple[Source, ...]
    """Whose values make a group."""
    size: int
    """Hits of a group at most."""
    strict: bool
    """Go on until every group is full, or there are no more rows."""
    wanted: pa.RecordBatch | None = None
    """Only these groups, one row each with a column for each source; of a search for one query. None: the best ones."""


class TextScoring(msgspec.Struct, frozen=True):
    """How rows of words are scored. The queries of a plan whose statistics are known hold weights; before, how often
    each term is asked for."""

    k1: float
    b: float
    partitions: frozenset[int] | None
    """What the statistics are of; None: all."""
    average: float = 0.0
    """Length of the rows."""
    rows: int = -1
    """Rows with a text; negative: nobody has asked."""


class SearchPlan(msgspec.Struct, frozen=True, kw_only=True):
    collection_id: int
    schema: CollectionSchema
    field: str
    metric: Metric
    params: dict[str, int | float | str | bool]
    """Of the index (`ef`, `nprobe` …); empty for exact search."""
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
    in_order: bool = False
    """Compare every row, each alike, so that the next search can begin where this one ends."""
    within: Range | None = None
    explain: Explain = ""
    lazy_filter: bool = False
    """Filter rows as they are found, the closest first."""
    grouping: GroupPlan | None = None
    elements: bool = False
    """Each element of the field, an array of vectors, is found by itself; OFFSET_FIELD is among the columns."""
    scoring: TextScoring | None = None
    """Of a search by BM25."""


class SortKey(msgspec.Struct, frozen=True):
    source: Source
    descending: bool = False
    nulls_last: bool = False


class Aggregate(msgspec.Struct, frozen=True):
    """One number about the rows of a group."""

    name: str
    """As it was asked for: `Avg(price)`."""
    op: str
    """count, sum, min, max or avg."""
    field: str
    """Empty: `count(*)`."""


class AggregatePlan(msgspec.Struct, frozen=True):
    keys: tuple[str, ...]
    """Fields whose values make a group; none: all rows are one."""
    aggregates: tuple[Aggregate, ...]
    max_groups: int

    @property
    def fields(self) -> tuple[str, ...]:
        """The columns that are read."""
        return tuple(dict.fromkeys([*self.keys, *(a.field for a in self.aggregates if a.field)]))


class QueryPlan(msgspec.Struct, frozen=True, kw_only=True):
    collection_id: int
    schema: CollectionSchema
    filter: Filter | None
    partitions: frozenset[int] | None
    limit: int | None
    """Rows, the skipped ones included."""
    columns: tuple[str, ...]
    explain: Explain = ""
    count: bool = False
    """Only count; no rows."""
    order: tuple[SortKey, ...] = ()
    """Instead of by primary key; the columns it needs are among `columns`."""
    aggregates: AggregatePlan | None = None
    """Answer numbers about the rows instead of rows."""
    ignore_growing: bool = False
    expiry: Expiry | None = None
    """What has expired at the moment of this read; None: nothing does."""
    whole: bool = False
    """Of a read by which something is decided: rows that cannot be reached are an error, whatever reads of users may
    leave out."""


class SearchPartial(msgspec.Struct, frozen=True):
    """Winners of one node: flat over queries, best first; query i owns `topks[i]` entries."""

    topks: npt.NDArray[np.int64]
    keys: Keys
    scores: npt.NDArray[np.float32]
    rows: pa.RecordBatch
    groups: pa.RecordBatch | None = None
    """Of a search by groups: the group of each hit, one column for each source."""
    reports: tuple[SegmentReport, ...] = ()
    """Of a plan that explains."""
    reach: Reach | None = None
    """Of all nodes of its shard, told by one of them; None: nothing may be left out."""

    @property
    def ids(self) -> pa.Array:
        """The keys as a column."""
        return key_column(self.keys)


class TextCounts(msgspec.Struct, frozen=True):
    """What one node knows of the words of its rows."""

    rows: int
    """That are alive and have a text."""
    tokens: float
    """In all of them."""
    having: npt.NDArray[np.int64]
    """In how many of them each of the terms is that were asked for."""
    reach: Reach | None = None
    """As `SearchPartial.reach`."""


class QueryPartial(msgspec.Struct, frozen=True):
    """Matching rows of one node by ascending primary key, or only their `count`."""

    count: int
    ids: pa.Array | None = None
    rows: pa.RecordBatch | None = None
    """Of a plan with aggregates: what was gathered of each group, without `ids`."""
    reports: tuple[SegmentReport, ...] = ()
    """Of a plan that explains."""
    reach: Reach | None = None
    """As `SearchPartial.reach`."""
