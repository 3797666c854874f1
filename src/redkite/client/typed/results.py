"""What typed reads return: rows and hits as objects of a model, made when they are first looked into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy.typing as npt
import pyarrow as pa

from redkite.client.results import HybridHits, QueryResult, SearchResult
from redkite.client.typed.shape import Shape
from redkite.client.typed.structs import columns_of
from redkite.client.views import View
from redkite.model.explain import Explanation

if TYPE_CHECKING:
    import pandas as pd

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class TypedHit(Generic[M]):
    """One hit of a search."""

    id: int | str
    """The primary key."""
    distance: float
    """The distance or similarity, by the metric of the search."""
    entity: M
    """The row."""
    highlight: dict[str, Any] | None = None
    """Of a search that marks words: for each field its marked `fragments`."""

    @property
    def score(self) -> float:
        """Another name of `distance`."""
        return self.distance


class TypedRows(View[M]):
    """The rows of a query as objects of a model."""

    __slots__ = ("_found", "_shape")

    def __init__(self, shape: Shape, found: QueryResult) -> None:
        super().__init__(found.batch.num_rows)
        self._shape = shape
        self._found = found

    def _origin(self) -> tuple[Any, ...]:
        return self._shape, self._found

    def _make(self) -> list[M]:
        rows = self._found._rows.rows
        return self._shape.objects(columns_of(rows), rows.num_rows)

    @property
    def session_timestamp(self) -> int:
        """The hybrid timestamp of the snapshot that was read."""
        return self._found.session_timestamp

    def to_arrow(self) -> pa.Table:
        """The rows as a table, without making objects."""
        return self._found.to_arrow()

    def to_numpy(self) -> dict[str, npt.NDArray[Any]]:
        """The columns of `to_arrow` as numpy arrays; a vector field is a (rows, dim) matrix."""
        return self._found.to_numpy()

    def to_pandas(self) -> pd.DataFrame:
        """The columns of `to_arrow` as a data frame. Wants pandas."""
        return self._found.to_pandas()

    def __repr__(self) -> str:
        return repr(list(self))


class TypedHits(View[TypedHit[M]]):
    """The hits of one query, closest first."""

    __slots__ = ("_found", "_hits", "_shape")

    def __init__(self, shape: Shape, found: SearchResult, hits: HybridHits) -> None:
        super().__init__(len(hits))
        self._shape = shape
        self._found = found
        self._hits = hits

    def _origin(self) -> tuple[Any, ...]:
        return self._shape, self._found, self._hits

    def _make(self) -> list[TypedHit[M]]:
        return typed_hits(self._shape, self._hits)

    @property
    def ids(self) -> list[int] | list[str]:
        """Primary keys, without making objects."""
        return self._hits.ids

    @property
    def distances(self) -> list[float]:
        """Distances or similarities, without making objects."""
        return self._hits.distances

    @property
    def entities(self) -> list[M]:
        """The rows alone."""
        return [hit.entity for hit in self]

    @property
    def explanation(self) -> Explanation | None:
        """How the search was answered, or would be, when it asked to explain or analyze."""
        return self._found.explanation

    @property
    def recalls(self) -> list[float] | None:
        """The measured recall of each query, when the search asked for it."""
        return self._found.recalls

    def __repr__(self) -> str:
        return repr(list(self))


def typed_hits(shape: Shape, hits: HybridHits) -> list[TypedHit[Any]]:
    """The hits of one query with their rows as objects."""
    whole, start, count = hits._hits, hits._start, hits._stop - hits._start
    keys = {whole.primary_field: whole.ids.slice(start, count)}
    columns = columns_of(whole.rows.slice(start, count)) if whole.rows.num_columns else {}
    objects = shape.objects(keys | columns, count)
    if not whole.highlights:
        return list(map(TypedHit, hits.ids, hits.distances, objects))
    return [TypedHit(hit.id, hit.distance, entity, hit.highlight) for hit, entity in zip(hits, objects, strict=True)]
