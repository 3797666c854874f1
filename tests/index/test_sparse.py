"""Sparse vectors: columns, inverted lists, and every algorithm that reads them, against plain numpy."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.index.sparse_vectors import best_products, sparse_of, texts

from redkite.errors import StorageError
from redkite.index import registry
from redkite.index.sparse import PIECE, SMALL, SparseColumn, SparsePieces
from redkite.index.sparse_index import ALGORITHMS, SparseIndex, open_sparse
from redkite.index.sparse_kernels import BLOCK, WINDOW
from redkite.index.sparse_lists import SparseLists
from redkite.model.segments import IndexSpec
from redkite.model.sparse import SparseRows
from redkite.model.types import Metric

ROWS, DIMS, K = 3_000, 400, 10


def spec_of(algorithm: str, **build: Any) -> IndexSpec:
    return IndexSpec(
        index_type="SPARSE_INVERTED_INDEX", metric=Metric.IP, build={"inverted_index_algo": algorithm, **build}
    )


def built(rows: SparseRows, algorithm: str = ALGORITHMS[0], **build: Any) -> SparseIndex:
    """An index as it comes back from its stored bytes."""
    spec = spec_of(algorithm, **build)
    data = registry.build(spec, SparseColumn(rows), lambda: True, 1)
    index = registry.open_index(spec, None, data)
    assert isinstance(index, SparseIndex)
    return index


def answers(index: SparseIndex, rows: SparseRows, queries: SparseRows, k: int, **params: Any) -> list[np.ndarray]:
    """What a search shows: the scores of the rows that the index found, by their vectors."""
    found = index.search(queries, k, params, None)[1]
    scores, best = SparseColumn(rows).ranked(queries, found, k, Metric.IP)
    return [each[held >= 0] for each, held in zip(scores, best, strict=True)]


@pytest.fixture(scope="module")
def dense() -> np.ndarray:
    return texts(ROWS, DIMS, 30)


@pytest.fixture(scope="module")
def asked() -> np.ndarray:
    return texts(40, DIMS, 12, seed=1)[1:]


# -- columns ----------------------------------------------------------------------------------------
matrices = st.integers(0, 2**31).map(
    lambda seed: np.random.default_rng(seed).integers(0, 4, (int(seed) % 23 + 1, int(seed) % 11 + 1)) * 0.5
)


@given(matrices, st.data())
@settings(max_examples=60, deadline=None)
def test_rows_come_back_from_arrow_and_from_bytes_as_they_went(dense: np.ndarray, data: st.DataObject) -> None:
    rows = sparse_of(dense)
    start = data.draw(st.integers(0, len(dense)))
    column = rows.to_arrow()
    for back, want in (
        (SparseRows.from_arrow(column), dense),
        (SparseRows.from_bytes(column.to_pylist()), dense),
        (SparseRows.from_arrow(column.slice(start)), dense[start:]),
        (rows[start:], dense[start:]),
        (rows[::-2], dense[::-2]),
        (rows[np.arange(len(dense)) >= start], dense[start:]),
    ):
        assert back.tobytes() == sparse_of(want).tobytes()
        assert len(back) == len(want)
        assert back.pairs == np.count_nonzero(want)


def test_a_null_row_is_an_empty_one() -> None:
    pairs = sparse_of(np.array([[1.0, 2.0]])).to_arrow()[0].as_py()
    rows = SparseRows.from_arrow(pa.array([pairs, None, pairs], pa.binary()))
    assert rows.lengths.tolist() == [2, 0, 2]
    assert len(SparseRows.from_arrow(pa.nulls(3, pa.binary()))) == 3
    assert len(SparseRows.from_arrow(pa.array([], pa.binary()))) == 0


def test_bytes_that_stand_anywhere_in_memory_are_read() -> None:
    text = sparse_of(np.array([[1.0, 0.0, 2.0]])).to_arrow()[0].as_py()
    shifted = pa.py_buffer(b"." + text).slice(1)
    offsets = pa.py_buffer(np.array([0, len(text)], np.int32))
    rows = SparseRows.from_arrow(pa.Array.from_buffers(pa.binary(), 1, [None, offsets, shifted]))
    assert rows.indices.tolist() == [0, 2]


@given(matrices, st.integers(0, 2**31), st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_a_column_answers_like_a_matrix_product(dense: np.ndarray, seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    queries = rng.integers(0, 3, (3, dense.shape[1])) * 0.25
    column, some = SparseColumn(sparse_of(dense)), sparse_of(queries)
    products = queries @ dense.T
    scores, rows = column.search(some, k, Metric.IP)
    assert scores.shape == rows.shape == (3, k)
    for each, held, product in zip(scores, rows, products, strict=True):
        order = np.lexsort((np.arange(len(dense)), -product))
        want = order[product[order] > 0][:k]
        assert held[: len(want)].tolist() == want.tolist()
        assert (held[len(want) :] == -1).all()
        np.testing.assert_allclose(each[: len(want)], product[want])
    for at in range(3):
        every = column.scores(some[at : at + 1], Metric.IP)
        np.testing.assert_allclose(every, np.where(products[at] > 0, products[at], -np.inf))
        chosen = rng.permutation(len(dense))[: len(dense) // 2]
        assert column.scores(some[at : at + 1], Metric.IP, chosen).tolist() == every[chosen].tolist()
    gathered = column.gather(np.arange(len(dense))[::-1])
    assert gathered.scores(some[:1], Metric.IP).tolist() == column.scores(some[:1], Metric.IP)[::-1].tolist()


def test_a_column_that_grows_answers_the_same_and_lists_each_piece_once(monkeypatch: pytest.MonkeyPatch) -> None:
    dense, queries = texts(2 * PIECE + 100, 60, 5), texts(5, 60, 4, seed=1)[1:]
    rows, some = sparse_of(dense), sparse_of(queries)
    made: list[int] = []
    build = SparseLists.build
    monkeypatch.setattr(SparseLists, "build", lambda *given: made.append(len(given[0])) or build(*given))
    pieces = SparsePieces()
    with ThreadPoolExecutor(2) as pool:
        for end in (500, PIECE - 1, PIECE, PIECE + 5, PIECE + 6, 2 * PIECE, 2 * PIECE, 2 * PIECE + 100, 700):
            column = SparseColumn(rows[:end], pieces)
            scores, found = column.search(some, K, Metric.IP, pool)
            for each, held, want in zip(scores, found, best_products(dense[:end], queries, K), strict=True):
                np.testing.assert_allclose(each[held >= 0], want, rtol=1e-5)
            assert scores.tolist() == column.ranked(some, found, K, Metric.IP)[0].tolist()
    assert made == [SMALL] * (PIECE // SMALL - 1) + [PIECE, PIECE]
    assert column.nbytes > 8 * rows[:700].pairs + pieces.nbytes > 0


# -- lists ------------------------------------------------------------------------------------------
def test_lists_hold_every_pair_and_the_largest_values(dense: np.ndarray) -> None:
    lists = SparseLists.build(sparse_of(dense), sums=True)
    assert lists.dims.tolist() == np.flatnonzero(dense.any(axis=0)).tolist()
    np.testing.assert_allclose(lists.sums, dense.sum(axis=1), rtol=1e-5)
    for at, dim in enumerate(lists.dims.tolist()):
        held = slice(lists.starts[at], lists.starts[at + 1])
        assert lists.rows[held].tolist() == np.flatnonzero(dense[:, dim]).tolist()
        values = dense[lists.rows[held], dim]
        np.testing.assert_allclose(lists.values[held], values)
        assert lists.bounds[at] == values.astype(np.float32).max()
        blocks = lists.block_bounds[lists.block_starts[at] : lists.block_starts[at + 1]]
        tops = [values[i : i + BLOCK].astype(np.float32).max() for i in range(0, len(values), BLOCK)]
        assert blocks.tolist() == tops


def test_dimensions_may_be_as_large_as_there_are() -> None:
    far = 2**32 - 2
    rng = np.random.default_rng(3)
    dims = np.unique(rng.integers(0, far, 5_000).astype(np.uint32))
    rows = SparseRows(np.arange(len(dims) + 2), np.append(dims, np.uint32(far)), np.ones(len(dims) + 1, np.float32))
    index = built(rows)
    query = SparseRows(np.array([0, 2]), np.array([dims[100], far], np.uint32), np.array([1, 2], np.float32))
    assert index.search(query, 2, {}, None)[1][0, :2].tolist() == [len(dims), 100]
    assert SparseColumn(rows).search(query, 2, Metric.IP)[1].tolist() == [[len(dims), 100]]


def test_stored_lists_are_views_and_what_is_none_is_refused(dense: np.ndarray) -> None:
    lists = SparseLists.build(sparse_of(dense))
    data = b"".join(lists.serialize())
    opened = SparseLists.open(data)
    for name in ("dims", "starts", "rows", "values", "bounds", "block_starts", "block_bounds", "sums"):
        part = getattr(opened, name)
        assert not part.flags.owndata
        assert part.tolist() == getattr(lists, name).tolist()
        assert len(part) == 0 or (part.ctypes.data - np.frombuffer(data, np.uint8).ctypes.data) % 64 == 0
    for broken in (b"", data[:60], data[:-64], b"X" + data[1:]):
        with pytest.raises(StorageError):
            SparseLists.open(broken)


# -- algorithms -------------------------------------------------------------------------------------
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_is_exact(algorithm: str, dense: np.ndarray, asked: np.ndarray) -> None:
    rows, queries = sparse_of(dense), sparse_of(asked)
    index = built(rows, algorithm)
    assert (index.algorithm, index.rows, index.approximate) == (algorithm, ROWS, False)
    for k in (1, K, 500):
        got = answers(index, rows, queries, k)
        for each, want in zip(got, best_products(dense, asked, k), strict=True):
            np.testing.assert_allclose(each, want, rtol=1e-5)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("share", [0.5, 0.02])
def test_every_algorithm_is_exact_under_a_filter(
    algorithm: str, share: float, dense: np.ndarray, asked: np.ndarray
) -> None:
    rows, queries = sparse_of(dense), sparse_of(asked)
    allowed = np.random.default_rng(5).random(ROWS) < share
    found = built(rows, algorithm).search(queries, K, {}, np.packbits(allowed, bitorder="little"))[1]
    assert allowed[found[found >= 0]].all()
    scores, best = SparseColumn(rows).ranked(queries, found, K, Metric.IP)
    for each, held, want in zip(scores, best, best_products(dense, asked, K, allowed), strict=True):
        np.testing.assert_allclose(each[held >= 0], want, rtol=1e-5)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_is_exact_over_several_windows_of_rows(algorithm: str) -> None:
    dense, asked = texts(2 * WINDOW + 77, 80, 6), texts(12, 80, 5, seed=9)[1:]
    rows, queries = sparse_of(dense), sparse_of(asked)
    got = answers(built(rows, algorithm), rows, queries, K)
    for each, want in zip(got, best_products(dense, asked, K), strict=True):
        np.testing.assert_allclose(each, want, rtol=1e-5)


@given(st.sampled_from(ALGORITHMS), matrices, st.integers(0, 2**31), st.integers(1, 30))
@settings(max_examples=150, deadline=None)
def test_small_indexes_of_every_algorithm_answer_like_a_matrix_product(
    algorithm: str, dense: np.ndarray, seed: int, k: int
) -> None:
    queries = np.random.default_rng(seed).integers(0, 3, (3, dense.shape[1])) * 0.25
    rows, some = sparse_of(dense), sparse_of(queries)
    index = SparseIndex(SparseLists.build(rows), Metric.IP, algorithm)
    for each, want in zip(answers(index, rows, some, k), best_products(dense, queries, k), strict=True):
        np.testing.assert_allclose(each, want)


def test_a_query_that_meets_no_row_finds_none(dense: np.ndarray) -> None:
    index = built(sparse_of(dense))
    queries = SparseRows(np.array([0, 0, 1]), np.array([DIMS + 5], np.uint32), np.ones(1, np.float32))
    assert (index.search(queries, 3, {}, None)[1] == -1).all()


def test_an_index_over_no_pairs_finds_nothing() -> None:
    for algorithm in ALGORITHMS:
        index = built(sparse_of(np.zeros((5, 3))), algorithm)
        assert (index.search(sparse_of(np.ones((1, 3))), 3, {}, None)[1] == -1).all()


# -- parameters -------------------------------------------------------------------------------------
def recall(got: list[np.ndarray], dense: np.ndarray, asked: np.ndarray) -> float:
    """The part of the best scores that was found."""
    pairs = [(g, w) for g, w in zip(got, best_products(dense, asked, K), strict=True) if len(w)]
    return float(np.mean([np.isclose(g[:, None], w, rtol=1e-5).any(axis=0).mean() for g, w in pairs]))


def test_dropping_small_weights_of_a_query_loses_rows_and_refining_brings_them_back(
    dense: np.ndarray, asked: np.ndarray
) -> None:
    rows, queries = sparse_of(dense), sparse_of(asked)
    index = built(rows)
    found = {}
    for drop, refine in ((0.0, 1), (0.1, 1), (0.7, 1), (0.7, 8)):
        got = answers(index, rows, queries, K, drop_ratio_search=drop, refine_factor=refine)
        found[drop, refine] = recall(got, dense, asked)
    assert found[0.0, 1] == 1.0
    assert found[0.7, 1] < found[0.7, 8] < 1.0
    assert found[0.7, 1] < found[0.1, 1]


def test_a_query_whose_larger_weights_meet_too_few_rows_is_asked_whole() -> None:
    dense = np.zeros((5, 4))
    dense[:, 0], dense[2, 3] = 1, 1
    query = sparse_of(np.array([[0.1, 0, 0, 9.0]]))
    assert built(sparse_of(dense)).search(query, 5, {"drop_ratio_search": 0.5}, None)[1][0].tolist()[:1] == [2]
    assert (built(sparse_of(dense)).search(query, 5, {"drop_ratio_search": 0.5}, None)[1][0] >= 0).sum() == 5


def test_an_index_built_without_small_values_is_smaller_and_approximate(dense: np.ndarray, asked: np.ndarray) -> None:
    rows, queries = sparse_of(dense), sparse_of(asked)
    whole, less = built(rows), built(rows, drop_ratio_build=0.6)
    assert less.approximate and not whole.approximate
    assert len(less.lists.rows) == len(whole.lists.rows) - int(0.6 * len(whole.lists.rows))
    assert less.memory() < 0.6 * whole.memory()
    assert recall(answers(less, rows, queries, K), dense, asked) < 1


@pytest.mark.parametrize("algorithm", ["DAAT_MAXSCORE", "DAAT_WAND", "BLOCK_MAX_WAND", "BLOCK_MAX_MAXSCORE"])
def test_bounds_below_the_largest_values_pass_rows_over(algorithm: str) -> None:
    dense = np.zeros((WINDOW + 10, 2))
    dense[:, 0], dense[-1] = 1, 0.9
    query = sparse_of(np.ones((1, 2)))
    index = SparseIndex(SparseLists.build(sparse_of(dense)), Metric.IP, algorithm)
    for ratio, best in ((1.3, 1.8), (1.05, 1.8), (1.0, 1.8), (0.5, 1.0)):
        scores, _ = index.search(query, 1, {"dim_max_score_ratio": ratio}, None)
        assert scores[0, 0] == pytest.approx(best)


def test_the_old_name_walks_as_it_always_did(dense: np.ndarray) -> None:
    spec = IndexSpec(index_type="SPARSE_WAND", metric=Metric.IP)
    data = registry.build(spec, SparseColumn(sparse_of(dense)), lambda: True, 1)
    index = registry.open_index(spec, None, data)
    assert isinstance(index, SparseIndex) and index.algorithm == "DAAT_WAND"
    auto = IndexSpec(index_type="AUTOINDEX", kind="SPARSE_INVERTED_INDEX", metric=Metric.IP)
    assert open_sparse(auto, data).algorithm == "DAAT_MAXSCORE"


def test_a_build_that_is_not_wanted_stops(dense: np.ndarray) -> None:
    with pytest.raises(registry.BuildCancelled):
        registry.build(spec_of("SINDI"), SparseColumn(sparse_of(dense)), lambda: False, 1)
    column = SparseColumn(sparse_of(dense))
    assert registry.build_bytes(spec_of("SINDI"), ROWS, column.width) > 2 * 8 * column.vectors.pairs
