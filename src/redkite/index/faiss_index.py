"""An index of faiss behind the face of `base.VectorIndex`."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np

from redkite.index.base import Bitmap, RowNumbers, Scores, SearchParams, Vectors, normalized
from redkite.index.building import whole
from redkite.index.threads import faiss, use_threads
from redkite.model.types import Metric

_faiss: Any = faiss
"""For the classes that faiss's type stubs describe wrongly or not at all."""
MAX_SETTINGS = 64


class FaissIndex:
    """What the families have in common. `inner` is never changed once it is here: it may be searched from any thread,
    and nothing may be added to an index while it is searched.

    `factor` says how many candidates codes give for each row asked, when the search does not say; they are compared
    once more by whoever asked. `codes_refine`: the index itself does that, by finer codes that it keeps.
    """

    approximate = True
    takes_bitmap = True

    def __init__(self, inner: Any, metric: Metric, factor: float = 1.0, *, codes_refine: bool = False) -> None:
        self._inner = inner
        self.metric = metric
        self.rows: int = inner.ntotal
        self._dim: int = inner.d
        self._factor = factor
        self._codes_refine = codes_refine
        self._settings: dict[tuple[Any, ...], Any] = {}

    def search(
        self, queries: Vectors, k: int, params: SearchParams, allowed: Bitmap | None
    ) -> tuple[Scores, RowNumbers]:
        nq = len(queries)
        if self.metric is Metric.COSINE:
            queries = normalized(queries)
        elif not queries.flags.c_contiguous:
            queries = np.ascontiguousarray(queries)
        width = k if self._codes_refine else min(self._width(k, params), self.rows)
        scores = np.empty((nq, width), np.float32)
        rows = np.empty((nq, width), np.int64)
        if allowed is None:
            key = (width, *params.values())
            settings = self._settings.get(key)
            if settings is None:
                if len(self._settings) >= MAX_SETTINGS:
                    self._settings = {}
                settings = self._settings[key] = self._parameters(params, k, None)
        else:
            selector = faiss.IDSelectorBitmap(len(allowed), faiss.swig_ptr(allowed))
            settings = self._parameters(params, k, selector)
        use_threads(nq * self._work(params) * self._dim if nq > 1 else 0)
        self._inner.search_c(nq, faiss.swig_ptr(queries), width, faiss.swig_ptr(scores), faiss.swig_ptr(rows), settings)
        return scores, rows

    def _width(self, k: int, params: SearchParams) -> int:
        """How many candidates are wanted for `k` rows."""
        return ceil(k * float(params.get("refine_k", self._factor)))

    def _parameters(self, params: SearchParams, k: int, selector: Any) -> Any:
        """Settings of one native call."""
        base = self._base_parameters(params, selector)
        if not self._codes_refine:
            return base
        factor = float(params.get("refine_k", self._factor))
        return _faiss.IndexRefineSearchParameters(k_factor=min(factor, max(1.0, self.rows / k)), base_index_params=base)

    def _base_parameters(self, params: SearchParams, selector: Any) -> Any:
        raise NotImplementedError

    def _work(self, params: SearchParams) -> int:
        """Vectors compared for one query, about."""
        raise NotImplementedError

    def memory(self) -> int:
        raise NotImplementedError


def with_selector(kind: Any, selector: Any, **settings: Any) -> Any:
    """Native search parameters; the library tells no selector from one that is None."""
    return kind(**settings) if selector is None else kind(sel=selector, **settings)


def scaled(params: SearchParams, name: str, least: int, factor: float, most: int) -> SearchParams:
    """The same parameters with one of them multiplied; at least and at most so much."""
    wanted = ceil(whole(params, name) * factor)
    return {**params, name: min(max(wanted, least), most)}
