"""Codes: vectors made small, for indexes that rank by them, and finer ones to compare the candidates once more."""

from __future__ import annotations

from typing import Any

from redkite.index.building import Build, log, metric_code, whole
from redkite.index.threads import faiss
from redkite.model.segments import IndexSpec

_faiss: Any = faiss
STORED = "FP32"
"""The refinement that needs no codes: the vectors of the segment are read."""
TRAINING_ROWS = 65_536
LEAST_TRAINING_ROWS = 1_024
TRAINING_ROUNDS = 12
ROWS_PER_CENTRE = 4
"""Codes of so many bits only as leave so many rows to each of their centres."""
MAX_DEFAULT_PARTS = 32
_LOAD = 32
_PLACES = 32
"""That are tried at most."""

_SCALAR = {
    "SQ4U": "QT_4bit_uniform", "SQ6": "QT_6bit", "SQ8": "QT_8bit", "FP16": "QT_fp16", "BF16": "QT_bf16",
}  # fmt: skip
_CANDIDATES = {"IVF_SQ8": 2.0, "IVF_PQ": 8.0, "HNSW_PQ": 8.0, "HNSW_PRQ": 16.0}
_CANDIDATES_SCALAR = {"SQ4U": 6.0, "SQ6": 3.0, "SQ8": 2.0, "BF16": 2.0, "FP16": 1.0}
_CANDIDATES_RABITQ = 10.0
"""Divided by the bits of a number."""


def scalar_kind(name: str) -> int:
    """faiss's number of a scalar quantiser."""
    return int(getattr(faiss.ScalarQuantizer, _SCALAR[name]))


def keeps_codes(spec: IndexSpec) -> bool:
    """Whether the index has finer codes of its own to refine by."""
    return spec.build.get("refine") is True and spec.build.get("refine_type", STORED) != STORED


def candidates_each(spec: IndexSpec) -> float:
    """How many candidates are compared once more for each row asked, unless the search says so: the more, the coarser
    the codes are. Only one where the index was made with refine=false."""
    if spec.build.get("refine") is False:
        return 1.0
    if spec.index_type == "HNSW_SQ":
        return _CANDIDATES_SCALAR[str(spec.build["sq_type"])]
    if spec.index_type == "IVF_RABITQ":
        return max(2.0, _CANDIDATES_RABITQ / whole(spec.build, "rbq_bits", 1))
    return _CANDIDATES.get(spec.index_type, 1.0)


def with_refinement(build: Build, index: Any) -> Any:
    """The index, with finer codes beside it when they are wanted."""
    if not keeps_codes(build.spec):
        return index
    kind = scalar_kind(str(build.spec.build["refine_type"]))
    finer = _faiss.IndexScalarQuantizer(build.dim, kind, metric_code(build.metric))
    fill(build, finer)
    return _faiss.IndexRefine(index, finer)


def fill(build: Build, index: Any) -> None:
    """Train an index and add all rows. Raises StorageError where that cannot be."""
    if not index.is_trained:
        build.check_measurable()
        sample = build.sample(TRAINING_ROWS, max(LEAST_TRAINING_ROWS, build.dim))
        build.begin()
        index.train(sample)
    for block in build.blocks():
        index.add(block)


def bits_for(build: Build, wanted: int) -> int:
    """How wide the codes may be for so many rows."""
    most = max(1, (build.rows // ROWS_PER_CENTRE).bit_length() - 1)
    if wanted > most:
        log.info("codes of %d bits instead of %d for %d rows", most, wanted, build.rows)
    return min(wanted, most)


def parts_for(build: Build) -> int:
    """How many pieces a vector is cut into: as asked, else the most up to 32 that are all of one length."""
    asked = build.whole("m")
    return asked or max(m for m in range(1, MAX_DEFAULT_PARTS + 1) if build.dim % m == 0)


def modest(training: Any) -> None:
    """Settings of a k-means inside the library: it neither warns of few rows nor goes on for ever."""
    training.min_points_per_centroid = 1
    training.niter = TRAINING_ROUNDS


def in_line(index: Any) -> None:
    """Have what the scalar quantisers of an index have learnt begin where a line of the cache can hold a wide load. It
    is read along with every code, and loads that lie across two lines take an eighth of a search's time."""
    if isinstance(index, _faiss.IndexRefine):
        in_line(_faiss.downcast_index(index.refine_index))
        in_line(_faiss.downcast_index(index.base_index))
    elif isinstance(index, _faiss.IndexPreTransform):
        in_line(_faiss.downcast_index(index.index))
    elif isinstance(index, _faiss.IndexHNSW):
        in_line(_faiss.downcast_index(index.storage))
    elif isinstance(index, _faiss.IndexScalarQuantizer | _faiss.IndexIVFScalarQuantizer):
        _move(index.sq.trained)


def _move(vector: Any) -> None:
    """Put the numbers of a native vector where loads of `_LOAD` bytes want them, if a place is found."""
    numbers = _faiss.vector_to_array(vector)
    tried: list[Any] = []
    while len(numbers) and _address(vector) % _LOAD and len(tried) < _PLACES:
        other = _faiss.Float32Vector()
        other.resize(len(numbers))
        tried.append(other)  # kept, so that the next one is elsewhere
        if _address(other) % _LOAD == 0:
            _faiss.copy_array_to_vector(numbers, other)
            vector.swap(other)


def _address(vector: Any) -> int:
    address: int = _faiss.rev_swig_ptr(vector.data(), vector.size()).ctypes.data
    return address
