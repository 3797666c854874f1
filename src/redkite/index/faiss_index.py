"""An index of faiss behind the face of `base.VectorIndex`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import ceil
from typing import Any, TypeVar

import numpy as np

from redkite.index.base import Bitmap, RowNumbers, Scores, SearchParams, Vectors, normalized
from redkite.index.building import whole
from redkite.index.codes import in_line
from redkite.index.effort import LEAST, MEASURED, settled
from redkite.index.locality import parted
from redkite.index.scoring import Candidates
from redkite.index.threads import faiss, native, native_method, native_object, use_threads
from redkite.model.types import Metric

_faiss: Any = faiss
"""For the classes that faiss's type stubs describe wrongly or not at all."""
S = TypeVar("S")
MAX_SETTINGS = 64
_pointer = native("swig_ptr")


class FaissIndex(ABC):
    """What the families have in common. The index is never changed once it is here: it may be searched from any thread,
    and nothing may be added to an index while it is searched.

    `factor` says how many candidates codes give for each row asked, when the search does not say; they are compared
    once more by whoever asked. `codes_refine`: the index itself does that, by finer codes that it keeps. `stored` may
    have its rows in an order of its own.
    """

    approximate = True
    takes_bitmap = True
    effort = "ef"
    """The parameter that says how far it looks."""

    def __init__(self, stored: Any, metric: Metric, factor: float = 1.0, *, codes_refine: bool = False) -> None:
        self._stored = stored
        self.native, self._order = parted(stored)
        in_line(self.native)
        self._search = native_method(self.native, "search_c")
        self.metric = metric
        self.rows: int = stored.ntotal
        self.dim: int = stored.d
        self._factor = factor
        self._codes_refine = codes_refine
        self.least = 0
        """The default effort that building has shown to be needed."""
        self._settings: dict[tuple[Any, ...], tuple[int, int, Any]] = {}

    def search(
        self, queries: Vectors, k: int, params: SearchParams, allowed: Bitmap | None
    ) -> tuple[Scores, RowNumbers]:
        nq = len(queries)
        if self.metric is Metric.COSINE:
            queries = normalized(queries)
        elif not queries.flags.c_contiguous:
            queries = np.ascontiguousarray(queries)
        width, work, settings = remembered(self._settings, params, k, self.settled)
        if allowed is not None:
            selector = self._selector(allowed)
            settings = self._parameters(params, k, selector)
        scores = np.empty((nq, width), np.float32)
        rows = np.empty((nq, width), np.int64)
        use_threads(nq * work if nq > 1 else 0)
        self._search(nq, _pointer(queries), width, _pointer(scores), _pointer(rows), native_object(settings))
        return scores, rows if self._order is None else self._order.rows(rows)

    def alone(self, params: SearchParams, k: int) -> tuple[int, Callable[[Vectors, Candidates], None]]:
        """`search` of all rows for one (1, dim) query in one piece, prepared: how many candidates it gives, `k` or
        more, and what finds their rows, NO_ROW behind all others. It uses as many threads as `use_threads` has said
        last. Whoever calls it keeps this index meanwhile."""
        width, _, settings = self.settled(params, k)
        search, order, turns = self._search, self._order, self.metric is Metric.COSINE
        given = native_object(settings), settings  # what it refers to stays

        def near(query: Vectors, found: Candidates) -> None:
            if turns:
                query = normalized(query)
            search(1, _pointer(query), width, found.to_scores, found.to_rows, given[0])
            if order is not None:
                order.turn(found.rows)

        return width, near

    def _selector(self, allowed: Bitmap) -> Any:
        if self._order is not None:
            return self._order.selector(allowed)
        return faiss.IDSelectorBitmap(len(allowed), _pointer(allowed))

    def settled(self, params: SearchParams, k: int) -> tuple[int, int, Any]:
        """What is the same for all queries: how many candidates are wanted, about how many numbers are compared for
        each, and the native settings of a search of all rows."""
        width = k if self._codes_refine else min(self._width(k, params), self.rows)
        return width, self._work(params) * self.dim, self._parameters(params, k, None)

    def work(self, queries: int, params: SearchParams) -> int:
        """Multiply-adds of a search, about."""
        return queries * self._work(params) * self.dim

    def _width(self, k: int, params: SearchParams) -> int:
        """How many candidates are wanted for `k` rows."""
        return ceil(k * self._refined(params))

    def _refined(self, params: SearchParams) -> float:
        """Candidates for each row asked. Where codes need more lists or links than usual, they need more of those."""
        given = params.get("refine_k")
        if given is not None:
            return float(given)
        return self._factor * self._growth() if MEASURED in params and self._factor > 1 else self._factor

    def _growth(self) -> float:
        return max(1.0, self.least / LEAST[self.effort])

    def _chosen(self, params: SearchParams) -> SearchParams:
        """The parameters with the defaults that they come to, which may be changed then."""
        if MEASURED not in params:
            return params
        refined = {"refine_k": self._refined(params)} if self._factor > 1 else {}
        return {**settled(params, self.effort, self.least), **refined}

    def _parameters(self, params: SearchParams, k: int, selector: Any) -> Any:
        """Settings of one native call."""
        base = self._base_parameters(params, selector)
        if not self._codes_refine:
            return base
        factor = self._refined(params)
        return _faiss.IndexRefineSearchParameters(k_factor=min(factor, max(1.0, self.rows / k)), base_index_params=base)

    @abstractmethod
    def _base_parameters(self, params: SearchParams, selector: Any) -> Any:
        """Native settings that the parameters stand for; `selector` says which rows are allowed, None: all."""

    @abstractmethod
    def _work(self, params: SearchParams) -> int:
        """Vectors compared for one query, about."""

    @abstractmethod
    def memory(self) -> int:
        """See `VectorIndex.memory`."""


def remembered(
    kept: dict[tuple[Any, ...], S], params: SearchParams, k: int, settle: Callable[[SearchParams, int], S]
) -> S:
    """What is the same for all searches for `k` rows by these parameters, settled when the first one comes."""
    key = (k, *params.items())
    known = kept.get(key)
    if known is None:
        if len(kept) >= MAX_SETTINGS:
            kept.clear()
        known = kept[key] = settle(params, k)
    return known


def with_selector(kind: Any, selector: Any, **settings: Any) -> Any:
    """Native search parameters; the library tells no selector from one that is None."""
    return kind(**settings) if selector is None else kind(sel=selector, **settings)


def scaled(params: SearchParams, name: str, least: int, factor: float, most: int) -> SearchParams:
    """The same parameters with one of them multiplied; at least and at most so much."""
    wanted = ceil(whole(params, name) * factor)
    return {**params, name: min(max(wanted, least), most)}
