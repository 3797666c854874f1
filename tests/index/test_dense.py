"""Columns of dense vectors of every width, against numpy in double precision."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.index import dense, exact
from redkite.index.base import NO_ROW
from redkite.index.dense import ByteColumn, DenseColumn, FloatColumn, HalfColumn
from redkite.model.halves import to_bfloat16
from redkite.model.types import Metric

METRICS = (Metric.L2, Metric.IP, Metric.COSINE)
KINDS = ("float", "half", "brain", "byte")


def column(kind: str, rows: int, dim: int, seed: int) -> DenseColumn:
    """Some vectors, the first of them zero."""
    rng = np.random.default_rng(seed)
    if kind == "byte":
        matrix = rng.integers(-128, 128, (rows, dim)).astype(np.int8)
        matrix[:1] = 0
        return ByteColumn(matrix)
    floats = rng.normal(size=(rows, dim)).astype(np.float32)
    floats[:1] = 0
    if kind == "float":
        return FloatColumn(floats)
    return HalfColumn(floats.astype(np.float16) if kind == "half" else to_bfloat16(floats))


def questions(kind: str, count: int, dim: int, seed: int) -> np.ndarray:
    return column(kind, count + 1, dim, seed + 1000).floats(slice(1, None)).copy()


def expected(vectors: np.ndarray, query: np.ndarray, metric: Metric) -> np.ndarray:
    some, asked = vectors.astype(np.float64), query.astype(np.float64)
    if metric is Metric.L2:
        return np.asarray(((some - asked) ** 2).sum(axis=1))
    products = some @ asked
    if metric is Metric.IP:
        return np.asarray(products)
    lengths = np.linalg.norm(some, axis=1) * np.linalg.norm(asked)
    return np.asarray(products / np.where(lengths == 0, 1, lengths))


def check(found: tuple[np.ndarray, np.ndarray], wanted: np.ndarray, k: int, metric: Metric) -> None:
    """One query's answer: its scores are the best ones, and each is that of its row."""
    scores, rows = found
    best = np.sort(-wanted if metric.larger_is_closer else wanted)[:k]
    count = min(k, len(wanted))
    tolerance = 1e-5 * max(1.0, float(np.abs(wanted).max(initial=0)))
    assert (rows[count:] == NO_ROW).all()
    assert len(set(rows[:count].tolist())) == count
    np.testing.assert_allclose(-scores[:count] if metric.larger_is_closer else scores[:count], best, atol=tolerance)
    np.testing.assert_allclose(scores[:count], wanted[rows[:count]], atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(
    rows=st.integers(1, 70), dim=st.integers(2, 20), k=st.integers(1, 90), nq=st.sampled_from([1, 3, 25]),
    metric=st.sampled_from(METRICS), seed=st.integers(0, 99), block=st.sampled_from([40, 300, 4_000_000]),
)  # fmt: skip
def test_a_search_finds_the_best_rows_with_their_exact_scores(
    kind: str, rows: int, dim: int, k: int, nq: int, metric: Metric, seed: int, block: int
) -> None:
    some, queries = column(kind, rows, dim, seed), questions(kind, nq, dim, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dense, "CACHED_FLOATS", block)
        patch.setattr(exact, "BLOCK_FLOATS", block)
        scores, found = some.search(queries, k, metric, None)
        everything = np.broadcast_to(np.append(np.arange(rows), NO_ROW), (nq, rows + 1))
        again = some.ranked(queries, everything, k, metric)
    assert scores.shape == found.shape == (nq, k)
    assert scores.dtype == np.float32
    floats = some.floats(np.arange(rows))
    for at in range(nq):
        wanted = expected(floats, queries[at], metric)
        check((scores[at], found[at]), wanted, k, metric)
        check((again[0][at], again[1][at]), wanted, k, metric)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", METRICS)
def test_a_row_has_the_same_score_wherever_it_stands(
    kind: str, metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dense, "CACHED_FLOATS", 100)
    some, (query,) = column(kind, 50, 9, 3), questions(kind, 1, 9, 3)
    everything = some.scores(query[None], metric)
    np.testing.assert_allclose(everything, expected(some.floats(slice(None)), query, metric), rtol=1e-4, atol=1e-4)
    rows = np.array([49, 3, 3, 0])
    np.testing.assert_array_equal(some.scores(query[None], metric, rows), everything[rows])
    np.testing.assert_array_equal(some.gather(rows).scores(query[None], metric), everything[rows])
    np.testing.assert_array_equal(some.head(7).scores(query[None], metric), everything[:7])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", METRICS)
def test_a_long_scan_is_split_over_threads(kind: str, metric: Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (dense, exact):
        monkeypatch.setattr(module, "LARGE_CALL", 100)
        monkeypatch.setattr(module, "CORES", 3)
    some, queries = column(kind, 400, 9, 3), questions(kind, 2, 9, 3)
    with ThreadPoolExecutor(3) as pool:
        scores, rows = some.search(queries, 12, metric, pool)
    for at in range(2):
        check((scores[at], rows[at]), expected(some.floats(slice(None)), queries[at], metric), 12, metric)


@pytest.mark.parametrize("kind", KINDS)
def test_the_parts_of_a_column_know_what_the_whole_knows(kind: str) -> None:
    some = column(kind, 20, 6, 1)
    assert len(some) == some.rows == 20
    assert some.width == 6
    assert some.nbytes == some.matrix.nbytes
    lengths = np.linalg.norm(some.floats(slice(None)), axis=1)
    lengths[0] = 1
    np.testing.assert_allclose(some.lengths, lengths, rtol=1e-6)
    np.testing.assert_array_equal(some.head(5).lengths, some.lengths[:5])
    assert np.shares_memory(some.head(5).matrix, some.matrix)
    rows = np.array([4, 19, 4])
    np.testing.assert_array_equal(some.gather(rows).lengths, some.lengths[rows])
    np.testing.assert_array_equal(some.floats(rows[None]), some.floats(slice(None))[rows[None]])


def test_lengths_that_somebody_knows_are_asked_for_once_and_only_when_needed() -> None:
    asked = []

    def lengths() -> np.ndarray:
        asked.append(1)
        return np.full(3, 2, np.float32)

    some = FloatColumn(np.ones((3, 4), np.float32), lengths)
    some.search(np.ones((1, 4), np.float32), 1, Metric.L2, None)
    assert not asked
    for _ in range(2):
        some.search(np.ones((1, 4), np.float32), 1, Metric.COSINE, None)
    assert len(asked) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_found_where_nothing_is(kind: str) -> None:
    scores, rows = column(kind, 0, 4, 1).search(questions(kind, 2, 4, 1), 3, Metric.IP, None)
    assert rows.tolist() == [[NO_ROW] * 3] * 2
    assert scores.shape == (2, 3)


def test_a_large_column_of_halves_is_widened_by_the_kernel_to_the_very_same_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finite = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = finite[np.isfinite(finite)][:63_488].reshape(-1, 512)
    monkeypatch.setattr(dense, "NATIVE_FLOATS", 0)
    some = HalfColumn(finite)
    np.testing.assert_array_equal(some.floats(slice(None)).view(np.uint32), finite.astype(np.float32).view(np.uint32))
    np.testing.assert_array_equal(some.floats(np.array([5, 0])), finite[[5, 0]].astype(np.float32))
    strided = HalfColumn(finite[:, ::2])
    np.testing.assert_array_equal(strided.floats(slice(3)), finite[:3, ::2].astype(np.float32))
