"""Inverted lists: each row is in the list of its nearest centre, and a search looks through the lists near the query.

| type | what the lists hold |
|---|---|
| IVF_FLAT | the vectors: float16 copies where those keep the neighbours of the data, else float32 |
| IVF_SQ8 | one byte for each number |
| IVF_PQ | `m` codes of `nbits` bits |
| IVF_RABITQ | `rbq_bits` bits for each number of the turned vector (Gao and Long, 2024), compared many at a time |
| SCANN | 4 bits for each `sub_dim` numbers, compared many at a time |
| DISKANN | one bit for each number, compared many at a time: small enough for memory where the vectors are not |

Rows go to the centre nearest by distance, whatever the metric, so that lists are of similar length; queries choose
centres by the metric.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, isqrt, sqrt
from typing import Any

from redkite.index.base import Bitmap, RowNumbers, Scores, SearchParams, Vectors
from redkite.index.building import Build, from_bytes, metric_code, to_bytes, whole
from redkite.index.codes import (
    LEAST_TRAINING_ROWS,
    TRAINING_ROWS,
    bits_for,
    candidates_each,
    keeps_codes,
    modest,
    with_refinement,
)
from redkite.index.effort import MEASURED, measured_effort, resolved
from redkite.index.faiss_index import FaissIndex, scaled, with_selector
from redkite.index.hnsw import SAMPLE, half_precision_suffices
from redkite.index.paging import Paging
from redkite.index.scoring import Candidates
from redkite.index.threads import faiss
from redkite.model.segments import IndexSpec
from redkite.model.types import Metric

_faiss: Any = faiss
BLOCK = 32
"""Codes compared at a time by the kernels that take many."""
_BY_QUERY = 11
"""Those kernels' way through the lists: one query after another, its candidates in a reservoir. The library's own
choice brings the queries of a list together first, which costs up to a quarter more, be it one query or thousands."""
DISKANN_SPARE = 48
"""Candidates beside those that a search asks for, and twice the lists beside: codes of one bit are coarse."""
_TURN_SEED = 11
MOST_DEFAULT_LIST = 2_048
BOTH = "nprobe,reorder_k"
REORDERED = 64
"""Candidates of SCANN that are compared once more, with the least effort."""


class IvfIndex(FaissIndex):
    """Built lists. `search` takes `nprobe` from params; `refine_k` over codes, `reorder_k` for SCANN."""

    effort = "nprobe"

    def __init__(self, inner: Any, metric: Metric, factor: float, *, codes_refine: bool) -> None:
        super().__init__(inner, metric, factor, codes_refine=codes_refine)
        lists = _faiss.downcast_index(inner.base_index) if codes_refine else inner
        self._is_turned = isinstance(lists, _faiss.IndexPreTransform)
        self._ivf = _faiss.downcast_index(lists.index) if self._is_turned else lists
        self.lists: int = self._ivf.nlist
        self.least = self._ivf.nprobe

    def go_by_query(self) -> None:
        """Choose the quicker way through lists whose codes are compared many at a time. Called before any search."""
        if isinstance(self._ivf, _faiss.IndexIVFFastScan):
            self._ivf.implem = _BY_QUERY

    def _width(self, k: int, params: SearchParams) -> int:
        if "reorder_k" not in params:
            return super()._width(k, params)
        reordered = whole(params, "reorder_k")
        if params.get(MEASURED) == BOTH:  # coarse codes want more candidates for the same reason as more lists
            reordered = ceil(reordered * self._growth())
        return max(k, reordered)

    def _base_parameters(self, params: SearchParams, selector: Any) -> Any:
        return with_selector(_faiss.SearchParametersIVF, selector, nprobe=self._probed(params))

    def _probed(self, params: SearchParams) -> int:
        return min(resolved(params, "nprobe", self.least), self.lists)

    def _work(self, params: SearchParams) -> int:
        return self.lists + self._probed(params) * self.rows // self.lists

    def widened(self, params: SearchParams, k: int, factor: float) -> SearchParams:
        # Neighbours among fewer rows are farther away, but by much less than there are fewer rows.
        reordered = self._width(k, params)
        wider = scaled(self._chosen(params), "nprobe", 1, sqrt(factor), self.lists)
        return {**wider, "reorder_k": min(reordered, self.rows)} if "reorder_k" in params else wider

    def memory(self) -> int:
        finer = int(_faiss.downcast_index(self.native.refine_index).sa_code_size()) if self._codes_refine else 0
        return int((self._ivf.code_size + finer + 8) * self.rows + self.lists * self.dim * 4)


class RabitqIndex(IvfIndex):
    """Lists of turned vectors. `search` takes `rbq_query_bits` too."""

    def _base_parameters(self, params: SearchParams, selector: Any) -> Any:
        bits = whole(params, "rbq_query_bits")
        inner = with_selector(_faiss.IVFRaBitQSearchParameters, selector, nprobe=self._probed(params), qb=bits)
        return _faiss.SearchParametersPreTransform(index_params=inner)


class DiskannIndex(RabitqIndex):
    """`search` takes `search_list`: so many candidates by code, from as many lists as that wants, are compared with
    their vectors, which may be on disk."""

    effort = "search_list"

    def __init__(self, inner: Any, metric: Metric, factor: float, *, codes_refine: bool) -> None:
        super().__init__(inner, metric, factor, codes_refine=codes_refine)
        self.paging: Paging | None = None
        """Of the vectors that candidates are compared with, where those are mapped."""

    def search(
        self, queries: Vectors, k: int, params: SearchParams, allowed: Bitmap | None
    ) -> tuple[Scores, RowNumbers]:
        found = super().search(queries, k, params, allowed)
        if self.paging is not None:
            self.paging.expect(found[1])
        return found

    def alone(self, params: SearchParams, k: int) -> tuple[int, Callable[[Vectors, Candidates], None]]:
        width, search = super().alone(params, k)

        def near(query: Vectors, found: Candidates) -> None:
            search(query, found)
            if self.paging is not None:
                self.paging.expect(found.rows)

        return width, near

    def _width(self, k: int, params: SearchParams) -> int:
        return max(k, DISKANN_SPARE + resolved(params, "search_list", self.least))

    def _probed(self, params: SearchParams) -> int:
        return min((DISKANN_SPARE + resolved(params, "search_list", self.least)) // 2, self.lists)

    def widened(self, params: SearchParams, k: int, factor: float) -> SearchParams:
        return scaled(self._chosen(params), "search_list", k, factor, max(self.rows, k))


# -- building -----------------------------------------------------------------------------------
def build_ivf(build: Build) -> memoryview:
    """The bytes of an index of any type of the table above. Raises BuildCancelled."""
    count = build.lists(_wanted_lists(build))
    centres = build.centres(count)
    near = _flat(build.dim, faiss.METRIC_L2, centres)
    lists = _MAKE[build.spec.index_type](build, near, count)
    build.begin()
    index = _faiss.downcast_index(lists.index) if isinstance(lists, _faiss.IndexPreTransform) else lists
    lists.train(build.sample(max(TRAINING_ROWS, count), LEAST_TRAINING_ROWS))
    for block in build.blocks():
        lists.add(block)
    chosen = _flat(
        build.dim, metric_code(build.metric), _faiss.vector_to_array(near.codes).view("f4").reshape(count, -1)
    )
    index.quantizer = chosen
    whole_index = with_refinement(build, lists)
    index.nprobe = _effort(build, whole_index, count)
    return to_bytes(whole_index)


def _effort(build: Build, index: Any, count: int) -> int:
    """How far a search looks that does not say it: `nprobe`, or DISKANN's `search_list`."""
    asked = _searched(build.spec, index)
    if build.spec.index_type == "DISKANN":
        return measured_effort(build, asked, {MEASURED: "search_list"}, MOST_DEFAULT_LIST)
    params: SearchParams = {MEASURED: "nprobe"}
    if build.spec.index_type == "SCANN" and build.spec.build.get("with_raw_data") is not False:
        params = {MEASURED: BOTH, "reorder_k": REORDERED}
    return measured_effort(build, asked, params, count)


def _wanted_lists(build: Build) -> int:
    if build.spec.index_type == "DISKANN":
        return max(1, 2 * isqrt(build.rows))
    return build.whole("nlist")


def _flat(dim: int, metric: int, centres: Vectors) -> Any:
    found = _faiss.IndexFlat(dim, metric)
    found.add(centres)
    return found


def _plain(build: Build, near: Any, count: int) -> Any:
    kind = metric_code(build.metric)
    if half_precision_suffices(build.sample(8 * SAMPLE), build.metric):
        half = faiss.ScalarQuantizer.QT_fp16
        return _faiss.IndexIVFScalarQuantizer(near, build.dim, count, half, kind, False)
    return _faiss.IndexIVFFlat(near, build.dim, count, kind)


def _bytes(build: Build, near: Any, count: int) -> Any:
    kind = faiss.ScalarQuantizer.QT_8bit
    return _faiss.IndexIVFScalarQuantizer(near, build.dim, count, kind, metric_code(build.metric), True)


def _products(build: Build, near: Any, count: int) -> Any:
    bits = bits_for(build, build.whole("nbits"))
    index = _faiss.IndexIVFPQ(near, build.dim, count, build.whole("m"), bits, metric_code(build.metric))
    modest(index.pq.cp)
    return index


def _scann(build: Build, near: Any, count: int) -> Any:
    parts = build.dim // build.whole("sub_dim")
    index = _faiss.IndexIVFPQFastScan(near, build.dim, count, parts, 4, metric_code(build.metric), BLOCK)
    modest(index.pq.cp)
    return index


def _rabitq(build: Build, near: Any, count: int) -> Any:
    """Also what DISKANN keeps in memory, with one bit for each number."""
    bits = build.whole("rbq_bits", 1)
    index = _faiss.IndexIVFRaBitQFastScan(near, build.dim, count, metric_code(build.metric), BLOCK, True, bits)
    return _turned(build, index)


def _turned(build: Build, index: Any) -> Any:
    """An index that turns all vectors first, so that every number says about as much as any other."""
    turn = _faiss.RandomRotationMatrix(build.dim, build.dim)
    turn.init(_TURN_SEED)
    near = _faiss.downcast_index(index.quantizer)
    centres = _faiss.vector_to_array(near.codes).view("f4").reshape(-1, build.dim)
    near.reset()
    near.add(turn.apply(centres))
    return _faiss.IndexPreTransform(turn, index)


_MAKE: dict[str, Callable[[Build, Any, int], Any]] = {
    "IVF_FLAT": _plain,
    "IVF_SQ8": _bytes,
    "IVF_PQ": _products,
    "IVF_RABITQ": _rabitq,
    "SCANN": _scann,
    "DISKANN": _rabitq,
}


# -- storing ------------------------------------------------------------------------------------
def open_ivf(spec: IndexSpec, path: str | None, data: memoryview) -> IvfIndex:
    """From a file, mapped; or from bytes where there is no file."""
    index = _searched(spec, from_bytes(path, data))
    index.go_by_query()
    return index


def _searched(spec: IndexSpec, index: Any) -> IvfIndex:
    kinds = {"IVF_RABITQ": RabitqIndex, "DISKANN": DiskannIndex}
    kind = kinds.get(spec.index_type, IvfIndex)
    return kind(index, spec.metric or Metric.COSINE, candidates_each(spec), codes_refine=keeps_codes(spec))


def build_bytes(spec: IndexSpec, rows: int, width: int) -> int:
    """Memory that building and storing takes at most, about: the lists twice, and the sample."""
    codes = _code_bytes(spec, width) + 8 + (4 * width if keeps_codes(spec) else 0)
    return 3 * rows * codes + 8 * min(rows, TRAINING_ROWS) * width


def _code_bytes(spec: IndexSpec, dim: int) -> int:
    """Of one row, about."""
    match spec.index_type:
        case "IVF_SQ8":
            return dim
        case "IVF_PQ":
            return 3 * whole(spec.build, "m")
        case "SCANN":
            return dim // (2 * whole(spec.build, "sub_dim", 2)) + 8
        case "IVF_RABITQ" | "DISKANN":
            return dim * whole(spec.build, "rbq_bits", 1) // 8 + 24
        case _:
            return 4 * dim
