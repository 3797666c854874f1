"""Lists and vectors as one index answer what the two do one after another."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from tests.index.test_alone import KINDS, ROWS, opened
from tests.index.vectors import clustered, near

from redkite.index.alone import alone
from redkite.index.dense import FloatColumn, HalfColumn
from redkite.index.refined import refined
from redkite.index.registry import build, open_index
from redkite.index.scoring import pair_scores
from redkite.model.segments import IndexSpec
from redkite.model.types import Metric

LISTS = [kind for kind in KINDS if kind.startswith(("IVF", "SCANN"))]


@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP])
@pytest.mark.parametrize("kind", LISTS)
def test_both_as_one_find_the_best_of_the_same_candidates(kind: str, metric: Metric) -> None:
    """Scores to the last bit, one query or many; of equal ones at the end either row may be there."""
    data = clustered(ROWS)
    data[1500:1504] = data[100:104]
    column, params = FloatColumn(data), KINDS[kind][2]
    index = opened(kind, metric, column)
    queries = np.concatenate([near(data, 60), data[100:104]])
    both = refined(index, column, metric)
    assert both is not None
    for k in (1, 10, 70):
        expected, their_rows = column.ranked(queries, index.search(queries, k, params, None)[1], k, metric)
        scores, rows = both.search(queries, k, params)
        np.testing.assert_array_equal(rows < 0, their_rows < 0)
        there = rows >= 0
        np.testing.assert_array_equal(scores[there], expected[there])
        again = pair_scores(data, queries, rows, metric)
        np.testing.assert_array_equal(again[there], scores[there], "each row has its own score")
        assert all(len(set(own[own >= 0].tolist())) == (own >= 0).sum() for own in rows), "a row is there once"
        one = alone(index, column, metric, params, k, both)
        assert one is not None
        for at, query in enumerate(queries):
            found = one.search(query[None])
            if not there[at].all():
                assert found is None, "too few"
                continue
            assert found is not None
            np.testing.assert_array_equal(found[0], scores[at])
            assert found[2] or len(set(scores[at].tolist())) == k, "equal scores, and nobody is told"


def test_codes_that_refine_themselves_are_compared_with_the_vectors_too() -> None:
    data = clustered(ROWS)
    column = FloatColumn(data)
    params = {"nlist": 8, "refine": True, "refine_type": "FP16"}
    spec = IndexSpec(index_type="IVF_SQ8", kind="IVF_SQ8", metric=Metric.L2, build=params)
    both = refined(open_index(spec, None, build(spec, column, lambda: True, 1), column), column, Metric.L2)
    assert both is not None
    scores, rows = both.search(data[:20], 5, {"nprobe": 8, "refine_k": 4})
    np.testing.assert_array_equal(rows[:, 0], np.arange(20))
    np.testing.assert_array_equal(scores, pair_scores(data, data[:20], rows, Metric.L2))


def test_what_the_library_cannot_compare_stays_two() -> None:
    data = clustered(ROWS)
    column = FloatColumn(data)
    lists, graph, disk = (opened(kind, Metric.L2, column) for kind in ("IVF_FLAT", "HNSW", "DISKANN"))
    assert refined(lists, column, Metric.L2) is not None
    assert refined(lists, column, Metric.COSINE) is None
    assert refined(lists, HalfColumn(data.astype(np.float16)), Metric.L2) is None
    assert refined(lists, FloatColumn(np.broadcast_to(data[:1], data.shape)), Metric.L2) is None
    assert refined(graph, column, Metric.L2) is None
    assert refined(disk, column, Metric.L2) is None


def test_the_vectors_live_as_long_as_somebody_searches_them() -> None:
    data = clustered(ROWS)
    asked = data[:30].copy()
    column = FloatColumn(data.copy())
    both = refined(opened("SCANN", Metric.L2, column), column, Metric.L2)
    assert both is not None
    expected = both.search(asked, 3, KINDS["SCANN"][2])
    del column
    gc.collect()
    _ = [np.full_like(data, 9) for _ in range(8)]  # whatever was given back is written over
    for mine, theirs in zip(both.search(asked, 3, KINDS["SCANN"][2]), expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)
