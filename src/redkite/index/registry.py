"""Which index types this version builds, and how each is built and opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np

from redkite.errors import MilvusException, StorageError, Unimplemented
from redkite.index import binary_graph, binary_lists, gpu, hnsw, ivf, minhash, sparse_index
from redkite.index.base import VectorColumn, VectorIndex
from redkite.index.building import Build, BuildCancelled
from redkite.index.list_index import ListIndex
from redkite.index.lists import ListColumn
from redkite.index.paging import bring_all
from redkite.model.segments import IndexSpec
from redkite.model.types import Metric

__all__ = [
    "KINDS", "BuildCancelled", "IndexKind", "Stored", "build", "build_bytes", "is_light", "is_mapped", "kind_of",
    "needs_build", "needs_column", "open_index", "require", "warm",
]  # fmt: skip


PAGE = 4096


@dataclass(frozen=True, slots=True)
class Stored:
    """A built index in the object store, and the vectors it was built over."""

    spec: IndexSpec
    path: str | None
    """A file that may be mapped; None where there is none or where the index shall be in private memory."""
    data: memoryview
    column: VectorColumn | None


def _no_bytes(_spec: IndexSpec, _rows: int, _width: int) -> int:
    return 0


def _needs_nothing(_spec: IndexSpec) -> None:
    """Can be made on any machine."""


@dataclass(frozen=True, slots=True)
class IndexKind:
    """How one index type works. Without functions to build and open it, the rows themselves are the index."""

    build: Callable[[Build], memoryview] | None = None
    open: Callable[[Stored], VectorIndex] | None = None
    build_bytes: Callable[[IndexSpec, int, int], int] = _no_bytes
    needs_column: bool = False
    """Whether it cannot be searched without the vectors it was built over."""
    require: Callable[[IndexSpec], None] = _needs_nothing
    """Raises Unimplemented where it cannot be made on this machine."""
    is_light: bool = False
    """Whether it is made in about the time that its rows take to be written."""


_GRAPH = IndexKind(hnsw.build_hnsw, lambda s: hnsw.open_hnsw(s.spec, s.path, s.data), hnsw.build_bytes)
_LISTS = IndexKind(ivf.build_ivf, lambda s: ivf.open_ivf(s.spec, s.path, s.data), ivf.build_bytes)
_BIT_GRAPH = IndexKind(
    binary_graph.build_graph, lambda s: binary_graph.open_graph(s.spec, s.path, s.data), binary_graph.build_bytes
)
_BIT_LISTS = IndexKind(
    binary_lists.build_lists,
    lambda s: binary_lists.open_lists(s.spec, s.path, s.data, s.column),
    binary_lists.build_bytes,
    needs_column=True,
)
_DEVICE = IndexKind(
    gpu.build_gpu, lambda s: gpu.open_gpu(s.spec, s.data, s.column), needs_column=True, require=gpu.require
)
_SPARSE = IndexKind(
    sparse_index.build_sparse,
    lambda s: sparse_index.open_sparse(s.spec, s.data),
    sparse_index.build_bytes,
    is_light=True,
)
_BANDS = IndexKind(minhash.build_minhash, lambda s: minhash.open_minhash(s.spec, s.data), minhash.build_bytes)
BINARY_METRICS = frozenset({Metric.HAMMING, Metric.JACCARD, Metric.SUBSTRUCTURE, Metric.SUPERSTRUCTURE})

KINDS: dict[str, IndexKind] = {
    "FLAT": IndexKind(),
    "BIN_FLAT": IndexKind(),
    "BIN_HNSW": _BIT_GRAPH,
    "BIN_IVF_FLAT": _BIT_LISTS,
    **dict.fromkeys(("SPARSE_INVERTED_INDEX", "SPARSE_WAND"), _SPARSE),
    "MINHASH_LSH": _BANDS,
    "ANNOY": _GRAPH,
    **dict.fromkeys(("GPU_BRUTE_FORCE", "GPU_IVF_FLAT", "GPU_IVF_PQ", "GPU_CAGRA"), _DEVICE),
    **dict.fromkeys(("HNSW", "HNSW_SQ", "HNSW_PQ", "HNSW_PRQ"), _GRAPH),
    **dict.fromkeys(("IVF_FLAT", "IVF_SQ8", "IVF_PQ", "IVF_RABITQ", "SCANN", "DISKANN"), _LISTS),
}


def kind_of(spec: IndexSpec) -> IndexKind:
    """What serves an index; for AUTOINDEX, and for HNSW over bits, that goes by another name."""
    name = spec.kind or ("HNSW" if spec.index_type == "AUTOINDEX" else spec.index_type)
    if name == "HNSW" and spec.metric is not None and spec.metric.of_elements in BINARY_METRICS:
        name = "BIN_HNSW"
    kind = KINDS.get(name)
    if kind is None:
        raise Unimplemented(f"index type {spec.index_type} cannot be built in this version")
    return kind


def require(spec: IndexSpec) -> None:
    """Raises Unimplemented where an index cannot be made on this machine."""
    if not spec.is_scalar:
        kind_of(spec).require(spec)


def needs_column(spec: IndexSpec) -> bool:
    """Whether an index cannot be searched without the vectors it was built over."""
    return kind_of(spec).needs_column


def needs_build(spec: IndexSpec) -> bool:
    """False for FLAT and its like: the rows themselves are the index."""
    return spec.is_scalar or kind_of(spec).build is not None


def is_light(spec: IndexSpec) -> bool:
    """Whether an index over vectors is made in about the time that its rows take to be written."""
    return not spec.is_scalar and kind_of(spec).is_light


def build(spec: IndexSpec, column: VectorColumn, wanted: Callable[[], bool], threads: int) -> memoryview:
    """Build over all rows of a segment; returns the bytes to store. Raises BuildCancelled when no longer wanted, and
    StorageError when the library under it fails."""
    if isinstance(column, ListColumn):
        return build(_of_elements(spec), column.flat, wanted, threads) if column.elements else memoryview(b"")
    make = kind_of(spec).build
    assert make is not None, "an index that is built has a builder"
    try:
        return make(Build(spec, column, wanted, threads))
    except MilvusException:
        raise
    except RuntimeError as error:
        raise StorageError(f"index type {spec.index_type} could not be built: {error}") from error


def build_bytes(spec: IndexSpec, rows: int, width: int) -> int:
    """Memory that building and storing an index takes at most, about."""
    return kind_of(spec).build_bytes(spec, rows, width)


def is_mapped(params: Mapping[str, str]) -> bool:
    """Whether an index with these parameters and properties stays in its file, or is read into private memory."""
    return params.get("mmap.enabled", "true").lower() != "false"


def warm(data: memoryview, params: Mapping[str, str], index_type: str = "") -> None:
    """Read every page of a mapped index, where its properties ask for that, so that no search waits for the disk:
    before it is used, or meanwhile. What DISKANN keeps is meant to be in memory."""
    how = params.get("warmup", "async" if index_type == "DISKANN" else "disable")
    if how == "sync":
        touch(data)
    elif how == "async" and len(data):
        bring_all(np.frombuffer(data, np.uint8))


def touch(data: memoryview) -> None:
    """Read one byte of each page."""
    int(np.frombuffer(data, np.uint8)[::PAGE].sum(dtype=np.int64))


def open_index(spec: IndexSpec, path: str | None, data: memoryview, column: VectorColumn | None = None) -> VectorIndex:
    """A stored index over the vectors of a segment, which some kinds cannot be searched without. Raises RuntimeError
    for bytes that are no index."""
    if isinstance(column, ListColumn):
        inner = open_index(_of_elements(spec), path, data, column.flat) if column.elements else None
        if inner is not None and inner.rows != column.elements:
            raise RuntimeError(f"it is over {inner.rows} vectors, there are {column.elements}")
        return ListIndex(inner, column, spec.metric or Metric.MAX_SIM_COSINE)
    make = kind_of(spec).open
    assert make is not None, "an index that was built can be opened"
    return make(Stored(spec, path, data, column))


def _of_elements(spec: IndexSpec) -> IndexSpec:
    """What is built over the vectors of lists, one by one."""
    return msgspec.structs.replace(spec, metric=None if spec.metric is None else spec.metric.of_elements)
