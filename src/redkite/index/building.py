"""What every builder of an index needs: the rows a block at a time, a sample of them, and to be told to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from redkite.errors import StorageError
from redkite.index.base import VectorColumn, Vectors, normalized
from redkite.index.binary import BinaryColumn
from redkite.index.dense import DenseColumn
from redkite.index.threads import faiss
from redkite.logs import get_logger
from redkite.model.segments import IndexSpec
from redkite.model.types import Metric

log = get_logger(__name__)

_faiss: Any = faiss
BUILD_STEP = 8_192
"""Rows added between two looks at whether the build is still wanted."""
SERIALIZE_STEP = 1 << 20
ROWS_PER_LIST = 39
"""With fewer rows to each list, centres are noise: there are fewer lists then."""
SAMPLE_PER_LIST = 48
LEAST_SAMPLE = 16_384
ROUNDS = 8
_SEED = 7
MOST_SQUARED = 5e37
"""The length of a vector, squared: two so long are at most twice as far apart, which single precision still holds."""


class BuildCancelled(Exception):
    """The builder was told to stop."""


@dataclass(frozen=True, slots=True)
class Build:
    """One index to be built over all rows of `column`. `threads` native threads may be used."""

    spec: IndexSpec
    column: VectorColumn
    wanted: Callable[[], bool]
    threads: int

    @property
    def metric(self) -> Metric:
        return self.spec.metric or Metric.COSINE

    @property
    def rows(self) -> int:
        return self.column.rows

    @property
    def dense(self) -> DenseColumn:
        if not isinstance(self.column, DenseColumn):
            raise StorageError(f"index type {self.spec.index_type} is not built over {type(self.column).__name__}")
        return self.column

    @property
    def binary(self) -> BinaryColumn:
        if not isinstance(self.column, BinaryColumn):
            raise StorageError(f"index type {self.spec.index_type} is not built over {type(self.column).__name__}")
        return self.column

    @property
    def dim(self) -> int:
        """Numbers of a dense vector."""
        return self.dense.width

    def whole(self, name: str, default: int = 0) -> int:
        """An integer among the index's parameters."""
        return whole(self.spec.build, name, default)

    def check(self) -> None:
        """Raises BuildCancelled when the index is no longer wanted."""
        if not self.wanted():
            raise BuildCancelled

    def begin(self) -> None:
        """To be called before each long native call: it may use the threads given."""
        self.check()
        faiss.omp_set_num_threads(self.threads)

    def blocks(self) -> Iterator[Vectors]:
        """All rows in order, as they are compared: (some, dim) float32, of length 1 for COSINE."""
        for at in range(0, self.rows, BUILD_STEP):
            self.begin()
            yield self._as_compared(self.dense.floats(slice(at, at + BUILD_STEP)))

    def is_measurable(self) -> bool:
        """Whether all rows are a finite distance apart. Others are of no cluster, which ends the process that looks for
        clusters."""
        return all(is_measurable(block) for block in self.blocks())

    def check_measurable(self) -> None:
        """Raises StorageError where no clusters can be found."""
        if not self.is_measurable():
            raise StorageError(
                f"index type {self.spec.index_type} cannot be built: numbers are so large that single precision does "
                "not hold their squares"
            )

    def sample(self, most: int, least: int = 1) -> Vectors:
        """Rows spread evenly over the column, as they are compared: at most about so many. Where there are fewer than
        `least`, which what is trained may want, they come again and again."""
        step = max(1, self.rows // max(1, most))
        rows = self._as_compared(self.dense.floats(np.arange(0, self.rows, step)))
        return rows if len(rows) >= least else np.resize(rows, (least, rows.shape[1]))

    def _as_compared(self, vectors: Vectors) -> Vectors:
        if self.metric is Metric.COSINE:
            return normalized(vectors)
        return np.ascontiguousarray(vectors, np.float32)

    def lists(self, wanted: int) -> int:
        """How many lists these rows are worth."""
        count = max(1, min(wanted, self.rows // ROWS_PER_LIST))
        if count < wanted:
            log.info("%d lists instead of %d for %d rows", count, wanted, self.rows)
        return count

    def centres(self, count: int) -> Vectors:
        """(count, dim) centres of the rows by k-means over a sample; of length 1 for COSINE. Raises StorageError."""
        self.check_measurable()
        sample = self.sample(max(LEAST_SAMPLE, count * SAMPLE_PER_LIST))
        centres: Vectors | None = None
        if len(sample) <= count:
            return np.resize(sample, (count, sample.shape[1]))
        for _ in range(ROUNDS):
            self.begin()
            means = faiss.Kmeans(
                sample.shape[1], count, niter=1, min_points_per_centroid=1, max_points_per_centroid=1 << 30,
                seed=_SEED, spherical=self.metric is Metric.COSINE,
            )  # fmt: skip
            means.train(sample, init_centroids=centres)
            centres = np.asarray(means.centroids, np.float32)
        assert centres is not None
        return centres


def is_measurable(vectors: Vectors) -> bool:
    """Whether single precision holds the squared distances of these rows."""
    with np.errstate(over="ignore"):
        return bool(np.vecdot(vectors, vectors).max(initial=0) <= MOST_SQUARED)


def whole(params: Mapping[str, Any], name: str, default: int = 0) -> int:
    """An integer parameter."""
    return int(params.get(name, default))


def metric_code(metric: Metric) -> int:
    """faiss's name of it. COSINE is the inner product of vectors of length 1."""
    return int(faiss.METRIC_L2 if metric is Metric.L2 else faiss.METRIC_INNER_PRODUCT)


# -- bytes --------------------------------------------------------------------------------------
def to_bytes(index: Any) -> memoryview:
    """A native index as it is stored. Piece by piece: faiss's own serialisation holds the index four times."""
    data = bytearray()
    writer = _faiss.PyCallbackIOWriter(data.extend, SERIALIZE_STEP)
    if isinstance(index, _faiss.IndexBinary):
        _faiss.write_index_binary(index, writer)
    else:
        _faiss.write_index(index, writer)
    return memoryview(data)


def from_bytes(path: str | None, data: memoryview, *, binary: bool = False) -> Any:
    """A stored native index: mapped from its file, or copied from the bytes where there is none. Raises RuntimeError
    for what is no index."""
    if binary:
        if path is not None:
            return _faiss.read_index_binary(path, faiss.IO_FLAG_MMAP_IFC)
        return _faiss.deserialize_index_binary(_numbers(data))
    if path is not None:
        return faiss.read_index(path, faiss.IO_FLAG_MMAP_IFC)
    return faiss.deserialize_index(_numbers(data))


def _numbers(data: memoryview) -> npt.NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8)
