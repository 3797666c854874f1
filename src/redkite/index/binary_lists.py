"""BIN_IVF_FLAT: binary vectors in lists of what is near some centres.

HAMMING fits the centres by k-means and searches the lists natively. The library compares by Hamming distance alone and
knows no selector here: for JACCARD, and under a filter, the rows of the chosen lists are compared by their column.
Where JACCARD has other neighbours than HAMMING the centres are rows, because the mean of small sets is the empty one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from redkite.index.base import NO_ROW, Bitmap, RowNumbers, Scores, SearchParams, VectorColumn
from redkite.index.binary import BinaryColumn
from redkite.index.binary_graph import hamming_suffices
from redkite.index.building import BUILD_STEP, LEAST_SAMPLE, SAMPLE_PER_LIST, Build, from_bytes, to_bytes
from redkite.index.codes import modest
from redkite.index.effort import MEASURED, measured_effort, resolved, settled
from redkite.index.faiss_index import scaled
from redkite.index.threads import faiss, use_threads
from redkite.model.segments import IndexSpec
from redkite.model.types import Metric

_faiss: Any = faiss
Bits = npt.NDArray[np.uint8]
CANDIDATES_AT_ONCE = 4_000_000
"""Row numbers gathered at a time for many queries."""
_BITS_AT_ONCE = 64


class BinaryLists:
    """Built lists. `search` takes `nprobe` from params."""

    approximate = True
    takes_bitmap = True
    effort = "nprobe"

    def __init__(self, inner: Any, metric: Metric, column: VectorColumn | None) -> None:
        self._inner = inner
        self.metric = metric
        self.rows: int = inner.ntotal
        self.lists: int = inner.nlist
        self.least: int = inner.nprobe
        self._column = column
        centres = _faiss.downcast_IndexBinary(inner.quantizer)
        self._bytes: int = inner.code_size
        self._centres = BinaryColumn(_faiss.vector_to_array(centres.xb).reshape(-1, self._bytes))
        # Rows went to their centres by Hamming distance, unless the index says otherwise: queries go the same way.
        by_rows = inner.metric_type == _faiss.METRIC_Jaccard
        self._nearness = Metric.JACCARD if by_rows else Metric.HAMMING
        self._sizes = np.array([inner.invlists.list_size(at) for at in range(self.lists)], np.int64)

    def search(self, queries: Bits, k: int, params: SearchParams, allowed: Bitmap | None) -> tuple[Scores, RowNumbers]:
        queries = np.ascontiguousarray(queries)
        probed = min(resolved(params, "nprobe", self.least), self.lists)
        if self.metric is Metric.HAMMING and allowed is None:
            return self._native(queries, k, probed)
        assert self._column is not None, "an index that is searched has its column"
        _, near = self._centres.search(queries, probed, self._nearness, None)
        scores = np.zeros((len(queries), k), np.float32)
        rows = np.full((len(queries), k), NO_ROW, np.int64)
        most = int(np.sort(self._sizes)[-probed:].sum())
        step = max(1, CANDIDATES_AT_ONCE // max(1, most))
        for at in range(0, len(queries), step):
            block = slice(at, at + step)
            found = self._candidates(near[block], allowed)
            scores[block], rows[block] = self._column.ranked(queries[block], found, k, self.metric)
        return scores, rows

    def _native(self, queries: Bits, k: int, probed: int) -> tuple[Scores, RowNumbers]:
        nq = len(queries)
        distances, rows = np.empty((nq, k), np.int32), np.empty((nq, k), np.int64)
        work = self.lists + probed * self.rows // self.lists
        use_threads(nq * work * self._bytes * 8 // _BITS_AT_ONCE if nq > 1 else 0)
        settings = _faiss.SearchParametersIVF(nprobe=probed)
        self._inner.search_c(nq, faiss.swig_ptr(queries), k, faiss.swig_ptr(distances), faiss.swig_ptr(rows), settings)
        return distances.astype(np.float32), rows

    def _candidates(self, near: RowNumbers, allowed: Bitmap | None) -> RowNumbers:
        """(nq, as many as the longest needs) rows of the chosen lists of each query."""
        each = []
        for chosen in near.tolist():
            rows = np.concatenate([self._members(at) for at in chosen if at >= 0])
            if allowed is not None:
                rows = rows[(allowed[rows >> 3] >> (rows & 7).astype(np.uint8)) & 1 == 1]
            each.append(rows)
        found = np.full((len(each), max(1, *map(len, each))), NO_ROW, np.int64)
        for at, rows in enumerate(each):
            found[at, : len(rows)] = rows
        return found

    def _members(self, at: int) -> RowNumbers:
        size = int(self._sizes[at])
        if not size:
            return np.empty(0, np.int64)
        members: RowNumbers = faiss.rev_swig_ptr(self._inner.invlists.get_ids(at), size)
        return members

    def widened(self, params: SearchParams, k: int, factor: float) -> SearchParams:
        del k
        return scaled(settled(params, "nprobe", self.least), "nprobe", 1, factor, self.lists)

    def memory(self) -> int:
        return (self._bytes + 8) * self.rows + self._bytes * self.lists


def build_lists(build: Build) -> memoryview:
    """The bytes of the lists. Raises BuildCancelled."""
    matrix = build.binary.matrix
    dim, count = matrix.shape[1] * 8, build.lists(build.whole("nlist"))
    centres = _faiss.IndexBinaryFlat(dim)
    index = _faiss.IndexBinaryIVF(centres, dim, count)
    by_rows = build.metric is Metric.JACCARD and not hamming_suffices(matrix)
    if by_rows:
        spots = np.linspace(0, build.rows - 1, count).astype(np.int64)
        centres.add(np.ascontiguousarray(matrix[spots]))
        index.is_trained = True
        index.metric_type = _faiss.METRIC_Jaccard
        chosen = BinaryColumn(np.ascontiguousarray(matrix[spots]))
    else:
        modest(index.cp)
        step = max(1, build.rows // max(LEAST_SAMPLE, count * SAMPLE_PER_LIST))
        build.begin()
        index.train(np.ascontiguousarray(matrix[::step]))
    for at in range(0, build.rows, BUILD_STEP):
        build.begin()
        block = np.ascontiguousarray(matrix[at : at + BUILD_STEP])
        if not by_rows:
            index.add(block)
            continue
        lists = np.ascontiguousarray(chosen.search(block, 1, build.metric, None)[1][:, 0])
        index.add_core(len(block), faiss.swig_ptr(block), None, faiss.swig_ptr(lists))
    asked = BinaryLists(index, build.metric, build.column)
    index.nprobe = measured_effort(build, asked, {MEASURED: "nprobe"}, count)
    return to_bytes(index)


def open_lists(spec: IndexSpec, path: str | None, data: memoryview, column: VectorColumn | None) -> BinaryLists:
    return BinaryLists(from_bytes(path, data, binary=True), spec.metric or Metric.HAMMING, column)


def build_bytes(_: IndexSpec, rows: int, width: int) -> int:
    """Memory that building and storing takes at most, about. `width` is in bytes."""
    return 3 * rows * (width + 8) + 4 * 8 * width * min(rows, LEAST_SAMPLE * 4)
