"""A search that is prepared for single queries answers what the one for any number of them does, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from tests.index.vectors import clustered, near

from redkite.index.alone import alone
from redkite.index.base import SearchParams, VectorIndex
from redkite.index.dense import FloatColumn, HalfColumn
from redkite.index.registry import build, open_index
from redkite.model.segments import IndexSpec
from redkite.model.types import Metric

ROWS = 2000
KINDS: dict[str, tuple[SearchParams, SearchParams]] = {
    "HNSW": ({"M": 8, "efConstruction": 60}, {"ef": 40}),
    "HNSW_SQ": ({"M": 8, "efConstruction": 60, "sq_type": "SQ8"}, {"ef": 40, "refine_k": 3}),
    "IVF_FLAT": ({"nlist": 16}, {"nprobe": 4}),
    "DISKANN": ({}, {"search_list": 20}),
}
"""Index type -> how it is built, how it is searched."""


def opened(kind: str, metric: Metric, column: FloatColumn) -> VectorIndex:
    spec = IndexSpec(index_type=kind, kind=kind, metric=metric, build=KINDS[kind][0])
    return open_index(spec, None, build(spec, column, lambda: True, 1), column)


@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP, Metric.COSINE])
@pytest.mark.parametrize("kind", KINDS)
def test_the_prepared_search_answers_as_the_general_one(
    kind: str, metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the rows of the index stand in an order of their own, and where scores are equal."""
    monkeypatch.setattr("redkite.index.locality.LEAST_BYTES", 0)
    data = clustered(ROWS)
    data[1500:1504] = data[100:104]
    column, params = FloatColumn(data), KINDS[kind][1]
    index = opened(kind, metric, column)
    queries = np.concatenate([near(data, 20), data[100:104]])
    for k in (1, 10, 70):
        search = alone(index, column, metric, params, k)
        assert search is not None
        for query in queries:
            _, candidates = index.search(query[None], k, params, None)
            scores, rows = column.ranked(query[None], candidates, k, metric)
            found = search.search(query[None])
            if rows[0, -1] < 0:
                assert found is None, "too few"
                continue
            assert found is not None
            np.testing.assert_array_equal(found[1], rows[0])
            np.testing.assert_array_equal(found[0], scores[0])
            assert found[2] or len(set(scores[0].tolist())) == k, "equal scores, and nobody is told"


def test_a_query_that_is_not_in_one_piece_is_read_as_it_is() -> None:
    data = clustered(ROWS)
    column = FloatColumn(data)
    search = alone(opened("HNSW", Metric.L2, column), column, Metric.L2, {"ef": 40}, 5)
    assert search is not None
    apart = np.zeros((1, 2 * data.shape[1]), np.float32)
    apart[:, ::2] = data[7]
    found = search.search(apart[:, ::2])
    assert found is not None
    assert found[1][0] == 7
    assert found[0][0] == 0


def test_only_columns_of_single_precision_are_prepared() -> None:
    data = clustered(ROWS)
    column = FloatColumn(data)
    index = opened("HNSW", Metric.L2, column)
    assert alone(index, HalfColumn(data.astype(np.float16)), Metric.L2, {"ef": 40}, 5) is None
    assert alone(index, column, Metric.L2, {"ef": 40}, ROWS + 1) is None
