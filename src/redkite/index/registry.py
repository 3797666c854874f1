"""Which index types this version builds, and how each is built and opened."""

from __future__ import annotations

from collections.abc import Callable

from redkite.errors import Unimplemented
from redkite.index.base import VectorIndex, Vectors
from redkite.index.hnsw import HnswIndex, build_hnsw
from redkite.model.segments import IndexSpec
from redkite.model.types import Metric

HNSW_TYPES = frozenset({"HNSW", "AUTOINDEX"})
AUTO_M, AUTO_EF_CONSTRUCTION = 18, 240
"""What AUTOINDEX stands for."""


def needs_build(spec: IndexSpec) -> bool:
    """False for FLAT: the rows themselves are the index."""
    return spec.index_type != "FLAT"


def build(spec: IndexSpec, vectors: Vectors, wanted: Callable[[], bool], threads: int) -> memoryview:
    """Build over all rows of a segment; returns the bytes to store. Raises BuildCancelled when no longer wanted."""
    if spec.index_type not in HNSW_TYPES:
        raise Unimplemented(f"index type {spec.index_type} cannot be built in this version")
    m, ef_construction = spec.build.get("M", AUTO_M), spec.build.get("efConstruction", AUTO_EF_CONSTRUCTION)
    return build_hnsw(vectors, spec.metric or Metric.COSINE, m, ef_construction, wanted, threads).serialize()


def build_bytes(spec: IndexSpec, rows: int, dim: int) -> int:
    """Memory that building and storing an index takes at most, about: codes and links, and all of it again as bytes."""
    links = 10 * spec.build.get("M", AUTO_M)
    return 2 * rows * (4 * dim + links + 64)


def open_index(spec: IndexSpec, path: str | None, data: memoryview) -> VectorIndex:
    if spec.index_type not in HNSW_TYPES:
        raise Unimplemented(f"index type {spec.index_type} cannot be opened in this version")
    return HnswIndex.open(path, data, spec.metric or Metric.COSINE)
