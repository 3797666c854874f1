"""A search that is prepared for single queries answers what the one for any number of them does, to the last bit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tests.index.vectors import clustered, near

from redkite.index.alone import alone
from redkite.index.base import SearchParams, VectorIndex
from redkite.index.dense import FloatColumn, HalfColumn
from redkite.index.refined import refined
from redkite.index.registry import build, open_index
from redkite.index.scoring import pair_scores
from redkite.model.segments import IndexSpec
from redkite.model.types import Metric

ROWS = 2000
KINDS: dict[str, tuple[str, SearchParams, SearchParams]] = {
    "HNSW": ("HNSW", {"M": 8, "efConstruction": 60}, {"ef": 40}),
    "HNSW_SQ": ("HNSW_SQ", {"M": 8, "efConstruction": 60, "sq_type": "SQ8"}, {"ef": 40, "refine_k": 3}),
    "IVF_FLAT": ("IVF_FLAT", {"nlist": 16}, {"nprobe": 4}),
    "IVF_SQ8": ("IVF_SQ8", {"nlist": 32}, {"nprobe": 1}),
    "IVF_PQ": ("IVF_PQ", {"nlist": 32, "m": 8, "nbits": 4}, {"nprobe": 1}),
    "IVF_RABITQ": ("IVF_RABITQ", {"nlist": 32, "rbq_bits": 1}, {"nprobe": 1, "rbq_query_bits": 0}),
    "IVF_RABITQ of more bits": ("IVF_RABITQ", {"nlist": 16, "rbq_bits": 3}, {"nprobe": 2, "rbq_query_bits": 0}),
    "SCANN": ("SCANN", {"nlist": 32, "sub_dim": 2, "with_raw_data": True}, {"nprobe": 1, "reorder_k": 90}),
    "SCANN of many": ("SCANN", {"nlist": 4, "sub_dim": 2, "with_raw_data": True}, {"nprobe": 4, "reorder_k": 600}),
    "DISKANN": ("DISKANN", {}, {"search_list": 20}),
}
"""Index type, how it is built, how it is searched."""


def opened(kind: str, metric: Metric, column: FloatColumn) -> VectorIndex:
    name, params, _ = KINDS[kind]
    spec = IndexSpec(index_type=name, kind=name, metric=metric, build=params)
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
    column, params = FloatColumn(data), KINDS[kind][2]
    index = opened(kind, metric, column)
    queries = np.concatenate([near(data, 20), data[100:104]])
    for k in (1, 10, 70):
        search = alone(index, column, metric, params, k, None)
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
            np.testing.assert_array_equal(rows[0], best_by_numpy(data, query, candidates[0], k, metric))


def best_by_numpy(data: np.ndarray, query: np.ndarray, candidates: np.ndarray, k: int, metric: Metric) -> np.ndarray:
    """The best of some rows. What is equal in single precision stays in its order."""
    rows = candidates[candidates >= 0]
    own, asked = data[rows].astype(np.float64), query.astype(np.float64)
    if metric is Metric.L2:
        far = ((own - asked) ** 2).sum(axis=1)
    else:
        far = -(own @ asked)
        if metric is Metric.COSINE:
            far /= np.linalg.norm(own, axis=1) * np.linalg.norm(asked)
    exact = pair_scores(data, query[None], rows[None], metric)[0]
    np.testing.assert_allclose(exact if metric is Metric.L2 else -exact, far, rtol=1e-4, atol=1e-3)
    return rows[np.argsort(exact if metric is Metric.L2 else -exact, kind="stable")[:k]]


@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP, Metric.COSINE])
@pytest.mark.parametrize("kind", ["IVF_RABITQ", "IVF_RABITQ of more bits", "SCANN", "SCANN of many", "DISKANN"])
def test_codes_compared_many_at_a_time_are_found_as_the_library_finds_them_by_itself(
    kind: str, metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equally good candidates, and only allowed ones; if there are too few, no row stands before one."""
    data = clustered(ROWS)
    column, params = FloatColumn(data), KINDS[kind][2]
    index = opened(kind, metric, column)
    monkeypatch.setattr("redkite.index.ivf.IvfIndex.go_by_query", lambda _: None)
    plain = opened(kind, metric, column)
    queries = near(data, 40)
    allowed = np.random.default_rng(3).random(ROWS) < 0.3
    for bitmap in (None, np.packbits(allowed, bitorder="little")):
        for k in (1, 30, 100):
            scores, rows = index.search(queries, k, params, bitmap)
            expected, their_rows = plain.search(queries, k, params, bitmap)
            present = rows >= 0
            np.testing.assert_array_equal(present, np.sort(present, axis=1)[:, ::-1])
            np.testing.assert_array_equal(present.sum(axis=1), (their_rows >= 0).sum(axis=1))
            if kind == "IVF_RABITQ of more bits":  # the others are looked at only in rows that seem near by the first
                assert (np.isin(scores[present], expected[present])).mean() >= 0.98
            else:
                np.testing.assert_array_equal(scores[present], expected[present])
            assert bitmap is None or allowed[rows[present]].all()


def test_a_query_that_is_not_in_one_piece_is_read_as_it_is() -> None:
    data = clustered(ROWS)
    column = FloatColumn(data)
    search = alone(opened("HNSW", Metric.L2, column), column, Metric.L2, {"ef": 40}, 5, None)
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
    assert alone(index, HalfColumn(data.astype(np.float16)), Metric.L2, {"ef": 40}, 5, None) is None
    assert alone(index, column, Metric.L2, {"ef": 40}, ROWS + 1, None) is None


@pytest.mark.parametrize("kind", ["HNSW", "SCANN"])
def test_searches_side_by_side_write_to_places_of_their_own(kind: str) -> None:
    data = clustered(ROWS)
    column = FloatColumn(data)
    index = opened(kind, Metric.L2, column)
    search = alone(index, column, Metric.L2, KINDS[kind][2], 10, refined(index, column, Metric.L2))
    assert search is not None
    queries = [query[None] for query in near(data, 50)]
    expected = [search.search(query) for query in queries]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(search.search, queries * 20))
    for at, answer in enumerate(found):
        wanted = expected[at % len(queries)]
        assert answer is not None and wanted is not None
        np.testing.assert_array_equal(answer[0], wanted[0])
        np.testing.assert_array_equal(answer[1], wanted[1])
