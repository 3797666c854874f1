"""SPARSE_INVERTED_INDEX and SPARSE_WAND: inverted lists over the sparse vectors of a sealed segment.

Every algorithm is exact; they differ in what they read. Answers become approximate only where it is asked for: by
dropping small values when the index is built, small weights of a query, or by bounds below the largest values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from redkite.env import Buffer
from redkite.errors import StorageError
from redkite.index.base import NO_ROW, Bitmap, RowNumbers, Scores, SearchParams
from redkite.index.bm25 import NO_NORMS, Norms
from redkite.index.building import Build
from redkite.index.sparse import PAIR_COST, SparseColumn
from redkite.index.sparse_lists import SparseLists
from redkite.model.segments import IndexSpec
from redkite.model.sparse import SparseRows
from redkite.model.types import Metric

ALGORITHMS = ("DAAT_MAXSCORE", "DAAT_WAND", "TAAT_NAIVE", "BLOCK_MAX_WAND", "BLOCK_MAX_MAXSCORE", "SINDI")
"""The first is what an index uses that names none."""
SCORE_RATIO = 1.05
"""By how much upper bounds are raised, where a search does not say."""
SPARE = 16
"""Rows more than asked for that are compared exactly, because algorithms add products in different orders."""
_ALL = np.empty(0, np.uint8)
PAIR_BYTES = 8


class SparseIndex:
    """`search` takes `drop_ratio_search`, `refine_factor` and `dim_max_score_ratio` from params."""

    takes_bitmap = True

    def __init__(
        self, lists: SparseLists, metric: Metric, algorithm: str, *, approximate: bool = False, norms: Norms = NO_NORMS
    ) -> None:
        self.lists = lists
        self._norms = norms
        self.metric = metric
        self.rows = lists.count
        self.algorithm = algorithm
        self.approximate = approximate
        self._kernel: tuple[Callable[..., int], Callable[..., Any], Callable[..., None], Any] | None = None

    def search(
        self, queries: SparseRows, k: int, params: SearchParams, allowed: Bitmap | None
    ) -> tuple[Scores, RowNumbers]:
        drop = float(params.get("drop_ratio_search", 0.0))
        ratio = float(params.get("dim_max_score_ratio", SCORE_RATIO))
        wide = min(self.rows, k * (int(params.get("refine_factor", 1)) if drop else 1) + SPARE)
        scores = np.zeros((len(queries), max(wide, k)), np.float32)
        rows = np.full((len(queries), max(wide, k)), NO_ROW, np.int64)
        bitmap = _ALL if allowed is None else allowed
        for at in range(len(queries)):
            asked, weights = queries.row(at)
            kept = _largest(weights, drop)
            found = self._best(asked[kept], weights[kept], bitmap, ratio, scores[at, :wide], rows[at, :wide])
            if drop and found < k:
                # What is left of the query meets too few rows: those that only the rest of it meets count, too.
                self._best(asked, weights, bitmap, ratio, scores[at, :wide], rows[at, :wide])
        return scores, rows

    def _best(
        self, asked: npt.NDArray[np.uint32], weights: Scores, allowed: Bitmap, ratio: float, scores: Scores,
        rows: RowNumbers,
    ) -> int:  # fmt: skip
        """Fill one query's best rows in; returns how many there are."""
        run, asked_of, sort_best, lists = self._kernel or self._ready()
        scores[:], rows[:] = 0, NO_ROW
        found = run(lists, asked_of(asked, weights, self._norms, allowed, 0, self.rows, ratio), scores, rows, 0)
        sort_best(scores, rows, found)
        return found

    def scored_by(self, norms: Norms) -> SparseIndex:
        """The same lists, whose values are frequencies of terms in rows of these norms."""
        found = SparseIndex(self.lists, self.metric, self.algorithm, approximate=self.approximate, norms=norms)
        found._kernel = self._kernel or self._ready()
        return found

    def _ready(self) -> tuple[Callable[..., int], Callable[..., Any], Callable[..., None], Any]:
        """What a search needs of the kernels, which are imported for the first one; and the lists as they take them."""
        from redkite.index import best, sparse_kernels

        run: Callable[..., int] = getattr(sparse_kernels, self.algorithm.lower())
        lists = sparse_kernels.lists_of(self.lists.arrays)
        self._kernel = run, sparse_kernels.asked_of, best.sort_best, lists
        return self._kernel

    def widened(self, params: SearchParams, k: int, factor: float) -> SearchParams:  # noqa: ARG002  one width for all k
        return {**params, "refine_factor": max(1, int(int(params.get("refine_factor", 1)) * factor))}

    def memory(self) -> int:
        return self.lists.nbytes


def build_sparse(build: Build) -> memoryview:
    """Inverted lists over all rows, as they are stored."""
    if not isinstance(build.column, SparseColumn):
        raise StorageError(f"index type {build.spec.index_type} is not built over {type(build.column).__name__}")
    build.check()
    dropped = float(build.spec.build.get("drop_ratio_build", 0.0))
    lists = SparseLists.build(build.column.vectors, dropped, sums=build.spec.metric is Metric.BM25)
    build.check()
    return _joined(lists)


def open_sparse(spec: IndexSpec, data: Buffer) -> SparseIndex:
    """A stored index, whose lists stay where `data` is."""
    dropped = float(spec.build.get("drop_ratio_build", 0.0)) > 0
    return SparseIndex(SparseLists.open(data), spec.metric or Metric.IP, algorithm_of(spec), approximate=dropped)


def build_bytes(spec: IndexSpec, rows: int, width: int) -> int:  # noqa: ARG001  the same for every algorithm
    """Pairs by dimension, their numbers, and all of it again as bytes."""
    return rows * (width // PAIR_COST * (2 * PAIR_BYTES + 4) + 64)


def algorithm_of(spec: IndexSpec) -> str:
    """What an index is searched with."""
    if spec.index_type == "SPARSE_WAND":
        return "DAAT_WAND"
    return str(spec.build.get("inverted_index_algo", ALGORITHMS[0]))


def _joined(lists: SparseLists) -> memoryview:
    return memoryview(b"".join(lists.serialize()))


def _largest(weights: Scores, drop: float) -> npt.NDArray[Any]:
    """Which weights of a query stay when the smallest, a part of `drop` of them, are left out."""
    dropped = int(drop * len(weights))
    if dropped == 0:
        return np.ones(len(weights), np.bool_)
    sizes = np.abs(weights)
    kept: npt.NDArray[np.bool_] = sizes >= np.partition(sizes, dropped)[dropped]
    return kept
