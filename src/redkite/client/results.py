"""What reads and writes return: views on Arrow columns that become Python objects only where they are looked at.

They are lists and dicts as Milvus's SDK has them, and also give `.to_arrow()`, `.to_numpy()` and `.to_pandas()`, of
what was read: changes of the list do not show there.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.client import display
from redkite.client.values import arrow_columns, is_matrix, kind_of, numpy_column, python_values, row_dicts
from redkite.client.views import UNMADE, View
from redkite.model.explain import Explanation
from redkite.model.reach import Reach
from redkite.model.results import Hits, Rows

if TYPE_CHECKING:
    import pandas as pd

    from redkite.client.aggregation import AggregationBucket

SHOWN = 10
"""Rows that a repr shows."""


class OmitZeroDict(dict[str, Any]):
    """A dict that leaves out what is zero or empty when it is printed."""

    def __str__(self) -> str:
        return str({key: value for key, value in self.items() if value})

    def omit_zero_len(self) -> int:
        """How many entries printing shows."""
        return sum(map(bool, self.values()))


class Hit(dict[str, Any]):
    """One hit: `{<primary key's name>: id, "distance": score, "entity": {field: value}}`; of a search among the
    elements of an array also `"offset"`, where in its row the one that was found stands.

    Fields are also reached directly: `hit["title"]`, `hit.get("title")`, `hit.title`.
    """

    __slots__ = ("_primary",)
    _primary: str

    def __missing__(self, key: str) -> Any:
        return super().__getitem__("entity")[key]

    def get(self, key: str, default: Any = None) -> Any:
        """A field, the id or the distance; `default` when the hit has none of that name."""
        try:
            return self[key]
        except KeyError:
            return default

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the hit has no field {name!r}") from None

    @property
    def id(self) -> int | str:
        """The primary key."""
        key: int | str = self[self._primary]
        return key

    @property
    def pk(self) -> int | str:
        """The primary key."""
        return self.id

    @property
    def distance(self) -> float:
        """The distance or similarity, by the metric of the search."""
        score: float = self["distance"]
        return score

    @property
    def score(self) -> float:
        """Another name of `distance`."""
        return self.distance

    @property
    def entity(self) -> Hit:
        """The hit itself, as `hit.entity.get("title")` of Milvus's SDK expects."""
        return self

    @property
    def highlight(self) -> Any:
        """Of a search that marks words: for each field its marked `fragments`."""
        return self.get("highlight")

    @property
    def fields(self) -> dict[str, Any]:
        """The output fields."""
        entity: dict[str, Any] = super().__getitem__("entity")
        return entity

    def to_dict(self) -> dict[str, Any]:
        """A plain dict."""
        return dict(self)

    def __reduce__(self) -> tuple[Any, ...]:
        more = [(key, value) for key, value in self.items() if key not in (self._primary, "distance", "entity")]
        return _hit, (self._primary, self.id, self.distance, self.fields), None, None, iter(more)


def _hit(primary: str, key: Any, distance: float, entity: dict[str, Any]) -> Hit:
    """A hit. A constructor of its own would take half as long again."""
    hit = Hit()
    hit[primary] = key
    hit["distance"] = distance
    hit["entity"] = entity
    hit._primary = primary
    return hit


class Values(list[Any]):
    """A list that may be called for itself: pages of pymilvus's search iterators have `ids()` where hits have `ids`."""

    def __call__(self) -> list[Any]:
        return list(self)


def _extra(reach: Reach | None) -> dict[str, Any]:
    return OmitZeroDict({} if reach is None else reach.said)


class HybridHits(View[Hit]):
    """The hits of one query vector, closest first."""

    __slots__ = ("_hits", "_round", "_start", "_stop")

    def __init__(self, hits: Hits, start: int, stop: int, round_decimal: int) -> None:
        list.__init__(self, UNMADE * (stop - start))  # as View does, a call less
        self._is_made = False
        self._hits = hits
        self._start = start
        self._stop = stop
        self._round = round_decimal

    def _origin(self) -> tuple[Any, ...]:
        return self._hits, self._start, self._stop, self._round

    @property
    def ids(self) -> Values:
        """Primary keys."""
        return Values(self._keys())

    @property
    def distances(self) -> Values:
        """Distances or similarities."""
        return Values(self._distances())

    def _keys(self) -> list[Any]:
        keys = self._hits.keys
        if self._stop - self._start < len(keys):
            keys = keys[self._start : self._stop]
        return keys.tolist() if isinstance(keys, np.ndarray) else python_values(keys)

    def _distances(self) -> list[float]:
        scores = self._hits.scores
        if self._stop - self._start < len(scores):
            scores = scores[self._start : self._stop]
        numbers: list[float] = scores.tolist()
        return [round(number, self._round) for number in numbers] if self._round > 0 else numbers

    @property
    def reach(self) -> Reach | None:
        """None: every row was looked at. Else how much was, where a cluster may leave rows out."""
        return self._hits.reach

    def _make(self) -> list[Hit]:
        hits = self._hits
        count, primary = self._stop - self._start, hits.primary_field
        distances = self._distances()
        near = enumerate(self._keys())
        if hits.rows.num_columns:
            entities = row_dicts(hits.rows.slice(self._start, count), hits.output_fields)
            made = [_hit(primary, key, distances[at], entities[at]) for at, key in near]
        else:
            made = [_hit(primary, key, distances[at], {}) for at, key in near]
        if hits.element_indices is not None:
            for hit, offset in zip(made, hits.element_indices[self._start : self._stop].tolist(), strict=True):
                hit["offset"] = offset
        for found in hits.highlights:
            for hit, shown in zip(made, found.shown(self._start, count), strict=True):
                hit.setdefault("highlight", {})[found.field] = shown
        return made

    def __repr__(self) -> str:
        rest = f" ... and {len(self) - SHOWN} entities remaining" if len(self) > SHOWN else ""
        return f"{self[:SHOWN]}{rest}"

    def _repr_html_(self) -> str:
        return display.rows_html(display.hits_rows(self[:SHOWN]), len(self), "hits")


class SearchResult(View[HybridHits]):
    """The answer to a search: one `HybridHits` for each query vector.

    Attributes:
        extra: What the server says about the search beside the hits.
    """

    __slots__ = ("_extra", "_hits", "_round")

    def __init__(self, hits: Hits, round_decimal: int = -1) -> None:
        if len(hits.topks) == 1:  # a quick search would feel the way round
            list.__init__(self, (HybridHits(hits, 0, hits.topks.item(0), round_decimal),))
            self._is_made = True
        else:
            super().__init__(len(hits.topks))
        self._hits = hits
        self._round = round_decimal
        self._extra: dict[str, Any] | None = None

    @property
    def extra(self) -> dict[str, Any]:
        if self._extra is None:
            self._extra = _extra(self._hits.reach)
        return self._extra

    @extra.setter
    def extra(self, said: dict[str, Any]) -> None:
        self._extra = said

    def _origin(self) -> tuple[Any, ...]:
        return self._hits, self._round

    def _make(self) -> list[HybridHits]:
        hits, digits = self._hits, self._round
        bounds = accumulate(hits.topks.tolist(), initial=0)
        return [HybridHits(hits, start, stop, digits) for start, stop in pairwise(bounds)]

    def materialize(self) -> None:
        """Make every Python object now."""
        for hits in self:
            hits.materialize()

    @property
    def recalls(self) -> list[float] | None:
        """The measured recall of each query, when the search asked for it."""
        return list(self._hits.recalls) or None

    @property
    def explanation(self) -> Explanation | None:
        """How it was answered, or would be, when the search asked to explain or analyze; `print` it."""
        return self._hits.explanation

    @property
    def reach(self) -> Reach | None:
        """None: every row was looked at. Else how much was, where a cluster may leave rows out."""
        return self._hits.reach

    @property
    def agg_buckets(self) -> list[list[AggregationBucket]]:
        """Of a search with `search_aggregation`: the buckets of each query; else empty."""
        from redkite.client.aggregation import AggregationBucket

        return [[AggregationBucket(bucket) for bucket in buckets] for buckets in self._hits.buckets or ()]

    @property
    def session_timestamp(self) -> int:
        """The hybrid timestamp of the snapshot that was read."""
        return self._hits.session_timestamp

    def _columns(self) -> dict[str, pa.Array]:
        hits = self._hits
        queries = np.repeat(np.arange(len(hits.topks), dtype=np.int64), hits.topks)
        columns = {"query": pa.array(queries), hits.primary_field: hits.ids, "distance": pa.array(hits.scores)}
        fields = arrow_columns(hits.rows, hits.output_fields) if hits.rows.num_columns else {}
        if hits.element_indices is not None:
            columns["offset"] = pa.array(hits.element_indices)
        return columns | {name: column for name, column in fields.items() if name not in columns}

    def to_arrow(self) -> pa.Table:
        """All hits as one table: `query` (which vector), the primary key, `distance`, then the output fields."""
        return pa.table(self._columns())

    def to_numpy(self) -> dict[str, npt.NDArray[Any]]:
        """The columns of `to_arrow` as numpy arrays; a vector field is a (hits, dim) matrix."""
        return _numpy_columns(self._columns(), self._hits.rows)

    def to_pandas(self) -> pd.DataFrame:
        """The columns of `to_arrow` as a data frame. Wants pandas."""
        return _data_frame(self._columns(), self._hits.rows)

    def __repr__(self) -> str:
        recalls = f",recalls: {self.recalls[:SHOWN]}" if self.recalls else ""
        rest = f" ... and {len(self) - SHOWN} results remaining" if len(self) > SHOWN else ""
        extra = f",{self.extra}" if self.extra else ""
        return f"data: {self[:SHOWN]}{recalls}{rest}{extra}"

    def _repr_html_(self) -> str:
        several = len(self) > 1
        shown = [(f"<p>query {at}</p>" if several else "") + hits._repr_html_() for at, hits in enumerate(self[:SHOWN])]
        more = f"<p>and {len(self) - SHOWN:,} more queries</p>" if len(self) > SHOWN else ""
        return "".join(shown) + more


class QueryResult(View[dict[str, Any]]):
    """The answer to a query: one dict for each row.

    Attributes:
        extra: What the server says about the query beside the rows.
    """

    __slots__ = ("_rows", "extra")

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows.rows.num_rows)
        self._rows = rows
        self.extra = _extra(rows.reach)

    def _origin(self) -> tuple[Any, ...]:
        return (self._rows,)

    def _make(self) -> list[dict[str, Any]]:
        return row_dicts(self._rows.rows, self._rows.output_fields, listed=True)

    @property
    def session_timestamp(self) -> int:
        """The hybrid timestamp of the snapshot that was read."""
        return self._rows.session_timestamp

    @property
    def explanation(self) -> Explanation | None:
        """How it was answered, or would be, when the query asked to explain or analyze; `print` it."""
        return self._rows.explanation

    @property
    def reach(self) -> Reach | None:
        """None: every row was looked at. Else how much was, where a cluster may leave rows out."""
        return self._rows.reach

    @property
    def batch(self) -> pa.RecordBatch:
        """The columns as they came, dynamic keys together as JSON in `$meta`."""
        return self._rows.rows

    def _columns(self) -> dict[str, pa.Array]:
        return arrow_columns(self._rows.rows, self._rows.output_fields)

    def to_arrow(self) -> pa.Table:
        """The rows as a table, dynamic keys as columns."""
        return pa.table(self._columns())

    def to_numpy(self) -> dict[str, npt.NDArray[Any]]:
        """The columns of `to_arrow` as numpy arrays; a vector field is a (rows, dim) matrix."""
        return _numpy_columns(self._columns(), self._rows.rows)

    def to_pandas(self) -> pd.DataFrame:
        """The columns of `to_arrow` as a data frame. Wants pandas."""
        return _data_frame(self._columns(), self._rows.rows)

    def __repr__(self) -> str:
        extra = f",extra_info: {self.extra}" if self.extra else ""
        rest = f" ... and {len(self) - SHOWN} results remaining" if len(self) > SHOWN else ""
        return f"data: {self[:SHOWN]}{rest}{extra}"

    def _repr_html_(self) -> str:
        return display.rows_html(self[:SHOWN], len(self), "rows")


def _numpy_columns(columns: dict[str, pa.Array], rows: pa.RecordBatch) -> dict[str, npt.NDArray[Any]]:
    kinds = {field.name: kind_of(field) for field in rows.schema}
    return {name: numpy_column(column, kinds.get(name)) for name, column in columns.items()}


def _data_frame(columns: dict[str, pa.Array], rows: pa.RecordBatch) -> pd.DataFrame:
    """Vectors become one numpy array per row; everything else what Arrow makes of it."""
    import pandas as pd

    frame = {}
    matrices = _numpy_columns({name: column for name, column in columns.items() if is_matrix(column)}, rows)
    for name, column in columns.items():
        if name in matrices:
            missing = column.is_null().to_numpy(zero_copy_only=False)
            frame[name] = pd.Series(
                [None if gone else row for row, gone in zip(matrices[name], missing, strict=True)], dtype=object
            )
        else:
            frame[name] = column.to_pandas()
    return pd.DataFrame(frame)
