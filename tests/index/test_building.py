"""What keeps an index from being built."""

from __future__ import annotations

import numpy as np
import pytest

from redkite.errors import StorageError
from redkite.index.building import Build, is_measurable
from redkite.index.dense import FloatColumn
from redkite.index.locality import near_order
from redkite.index.registry import build
from redkite.model.segments import IndexSpec
from redkite.model.types import Metric

MORE: dict[str, dict[str, int | float | str | bool]] = {
    "IVF_FLAT": {"nlist": 16}, "IVF_SQ8": {"nlist": 16}, "IVF_PQ": {"nlist": 16, "m": 4, "nbits": 4},
    "HNSW": {"M": 8, "efConstruction": 32}, "HNSW_PQ": {"M": 8, "efConstruction": 32, "m": 4, "nbits": 4},
}  # fmt: skip


def spec(kind: str, metric: Metric) -> IndexSpec:
    return IndexSpec(index_type=kind, kind=kind, metric=metric, build=MORE[kind])


def with_one(number: float) -> FloatColumn:
    """Usual rows, and one of such numbers."""
    vectors = np.random.default_rng(1).normal(size=(1000, 8)).astype(np.float32)
    vectors[777] = number
    return FloatColumn(vectors)


@pytest.mark.parametrize("kind", ["IVF_FLAT", "IVF_SQ8", "IVF_PQ", "HNSW_PQ"])
@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP])
def test_clusters_of_rows_that_are_infinitely_far_apart_are_refused(kind: str, metric: Metric) -> None:
    """The library would end the process."""
    with pytest.raises(StorageError, match=f"{kind} cannot be built: numbers are so large that single precision"):
        build(spec(kind, metric), with_one(1e25), lambda: True, 1)


def test_others_are_built_over_any_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(build(spec("IVF_FLAT", Metric.COSINE), with_one(1e25), lambda: True, 1))
    assert len(build(spec("IVF_FLAT", Metric.L2), with_one(1e17), lambda: True, 1))
    monkeypatch.setattr("redkite.index.locality.LEAST_BYTES", 0)
    assert len(build(spec("HNSW", Metric.L2), with_one(1e25), lambda: True, 1))
    assert near_order(Build(spec("HNSW", Metric.L2), with_one(1e25), lambda: True, 1)) is None
    assert near_order(Build(spec("HNSW", Metric.L2), with_one(1e17), lambda: True, 1)) is not None


def test_rows_that_are_measured_are_no_farther_apart_than_single_precision_holds() -> None:
    longest = np.float32(np.sqrt(4e37))
    rows = np.array([[longest], [-longest]], np.float32)
    assert is_measurable(rows)
    assert np.isfinite(np.square(rows[0] - rows[1])).all()
    assert not is_measurable(2 * rows)
