"""What can be asked of rows that are there: the read requests of the waist, which `requests.py` re-exports."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.errors import InvalidParameter
from redkite.model.highlighting import Highlighter
from redkite.model.request import Request
from redkite.model.scoring import FunctionChain, FunctionScore
from redkite.model.sparse import SparseRows
from redkite.model.tuning import Explain, Tuning
from redkite.model.types import ConsistencyLevel, DataType


class Queries(msgspec.Struct, frozen=True, kw_only=True):
    """Query vectors of one search. `vectors`: (nq, dim) float32 for FLOAT_VECTOR; for other types, and for lists of
    vectors, the raw values, one `bytes` per query, in `raw`."""

    data_type: DataType
    vectors: npt.NDArray[np.float32] | None = None
    raw: tuple[bytes, ...] = ()
    sparse: SparseRows | None = None
    """Sparse vectors that the engine made itself, in place of `raw`."""
    ids: pa.Array | None = None
    """Primary keys of the rows whose vectors are the queries; `data_type` is NONE then."""
    are_lists: bool = False
    """Each query is a list of vectors of `data_type`, one behind another, never none."""
    of_elements: bool = False
    """These vectors are meant for the elements of arrays, each by itself. Nobody has to say so."""

    @property
    def nq(self) -> int:
        if self.ids is not None:
            return len(self.ids)
        if self.sparse is not None:
            return len(self.sparse)
        return len(self.raw) if self.vectors is None else len(self.vectors)


class Grouping(msgspec.Struct, frozen=True, kw_only=True):
    """One hit, or a few, of each value of some fields. `limit` and `offset` of the search then count groups."""

    fields: tuple[str, ...]
    """Names of fields or dynamic keys, or JSON paths such as `meta["a"]`."""
    size: int = 1
    """Hits of a group at most; 0 as 1."""
    strict: bool = False
    """Fill every group as far as there are rows."""
    json_path: str = ""
    """Below the (only) field: `/a/b` or `meta["a"]["b"]`."""
    json_type: str = ""
    """What the values at a path are cast to: `Int8` to `Int64`, `Bool`, `VarChar`; empty: nothing."""
    strict_cast: bool = False
    """A value of another type counts as null; without it, one that can be converted is."""


def check_ungrouped(size: int, strict: bool) -> None:
    """A search that names no field to group by must ask nothing of groups. Raises InvalidParameter."""
    if size not in (0, 1) or strict:
        asked = "strict_group_size" if strict else f"group_size [{size}]"
        raise InvalidParameter(f"{asked} has no effect without group_by_field: name the field, or leave it out")


class Ordering(msgspec.Struct, frozen=True, kw_only=True):
    """One key to sort by: a field, a dynamic key, a JSON path; `_score`, or an aggregate, where there is one."""

    field: str
    descending: bool = False
    nulls_last: bool = False


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One number about the rows of a bucket, shown as `alias`."""

    alias: str
    op: str
    """count, sum, avg, min or max."""
    field: str
    """`*` for count, `_score` for the others, or a field."""


class TopHits(msgspec.Struct, frozen=True, kw_only=True):
    """The hits that are shown of a bucket."""

    size: int
    sort: tuple[Ordering, ...] = ()
    """Without one: the closest first."""


class Aggregation(msgspec.Struct, frozen=True, kw_only=True):
    """One level of buckets that the hits of a search are put in."""

    fields: tuple[str, ...]
    """Whose values make the key of a bucket."""
    size: int
    """Buckets shown, at most."""
    measures: tuple[Measure, ...] = ()
    order: tuple[Ordering, ...] = ()
    """By aliases of measures, `_count` or `_key`; without one: the bucket of the closest hit first."""
    top_hits: TopHits | None = None
    below: Aggregation | None = None
    """Within each bucket of this level."""
    search_size: int = 0
    """Groups that are looked for at this level; 0: `size`."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Which page of a search iterator: `limit` is its size. Pages after the first are read as of the first one's
    `session_timestamp`."""

    token: str = ""
    """As the first page told; empty for the first."""
    last_bound: float | None = None
    """The score of the last hit of the page before."""


class Search(Request, frozen=True):
    """-> Hits. `params` are the index's search parameters as given (`ef`, `nprobe`, `radius` …)."""

    collection: str
    queries: Queries
    limit: int
    anns_field: str = ""
    """May be empty when the collection has one vector field."""
    filter: str = ""
    filter_params: dict[str, Any] = {}
    output_fields: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()
    offset: int = 0
    metric: str = ""
    """Empty: the index's metric."""
    params: dict[str, Any] = {}
    round_decimal: int = -1
    ignore_growing: bool = False
    consistency_level: ConsistencyLevel | None = None
    """None: the collection's own level."""
    guarantee_timestamp: int = 0
    as_of: int = 0
    """Read the rows as they were at this hybrid timestamp; 0: the newest."""
    collection_id: int = 0
    """Refuse if the name stands for another collection by now; 0: any."""
    timezone: str = ""
    """IANA name: times are shown as they are there; empty: the collection's."""
    time_fields: tuple[str, ...] = ()
    """Show times as lists of these parts (`moments.TIME_PARTS`); empty: as texts."""
    page: Page | None = None
    """One query, no offset: the rows behind the page before, in order, none left out."""
    in_order: bool = False
    """Compare every row, so that searches with another limit, offset or range continue this one without a gap."""
    hints: str = ""
    """`iterative_filter`: look at rows in the order of their closeness and filter those; empty: as it seems best."""
    grouping: Grouping | None = None
    order_by: tuple[Ordering, ...] = ()
    """Show the hits of each query, or its groups, in this order."""
    aggregation: Aggregation | None = None
    """Answer buckets instead of hits; `limit` is not looked at."""
    tuning: Tuning | None = None
    function_score: FunctionScore | None = None
    """Functions that score the hits anew."""
    function_chains: tuple[FunctionChain, ...] = ()
    """Steps that score and order the hits anew."""
    highlighter: Highlighter | None = None
    """Mark words in the hits' texts."""


class Query(Request, frozen=True):
    """-> Rows. `output_fields` may be names, `*`, dynamic keys; or aggregates such as `count(*)` and `avg(price)`,
    beside the names of `group_by`. `limit` None means no limit."""

    collection: str
    filter: str = ""
    filter_params: dict[str, Any] = {}
    output_fields: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()
    limit: int | None = None
    offset: int = 0
    ignore_growing: bool = False
    consistency_level: ConsistencyLevel | None = None
    guarantee_timestamp: int = 0
    as_of: int = 0
    """Read the rows as they were at this hybrid timestamp; 0: the newest."""
    collection_id: int = 0
    """Refuse if the name stands for another collection by now; 0: any."""
    timezone: str = ""
    """IANA name: times are shown as they are there; empty: the collection's."""
    time_fields: tuple[str, ...] = ()
    """Show times as lists of these parts (`moments.TIME_PARTS`); empty: as texts."""
    order_by: tuple[Ordering, ...] = ()
    """Wants a limit. Rows that are equal, and all rows without it, are in the order of their primary keys."""
    group_by: tuple[str, ...] = ()
    """One row for each value of these fields."""
    explain: Explain = ""
