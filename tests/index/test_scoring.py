"""Scores of pairs: right, and the same whichever way a row is come upon."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from redkite.index.base import NO_ROW
from redkite.index.dense import FloatColumn, HalfColumn
from redkite.index.scoring import best_alone, best_of, pair_scores
from redkite.model.types import Metric

METRICS = [Metric.L2, Metric.IP, Metric.COSINE]


def some(rows: int, dim: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dim", [1, 7, 33, 128])
def test_a_rows_score_does_not_depend_on_what_is_asked_beside_it(metric: Metric, dim: int) -> None:
    data, queries = some(300, dim), some(30, dim, 1)
    rows = np.random.default_rng(2).integers(0, 300, (30, 12))
    together = pair_scores(data, queries, rows, metric)
    for query, own, scores in zip(queries, rows, together, strict=True):
        scanned = FloatColumn(data).scores(query[None], metric)
        np.testing.assert_array_equal(scanned[own], scores)
        for row, score in zip(own, scores, strict=True):
            assert pair_scores(data, query[None], np.array([[row]]), metric)[0, 0] == score


@pytest.mark.parametrize("metric", METRICS)
def test_a_matrix_of_one_row_repeated_is_scored_as_any_other(metric: Metric) -> None:
    row, query = some(1, 8), some(1, 8, 1)
    repeated = np.broadcast_to(row, (5, 8))
    rows = np.array([[4, 0, 2]])
    expected = pair_scores(np.ascontiguousarray(repeated), query, rows, metric)
    np.testing.assert_array_equal(pair_scores(repeated, query, rows, metric), expected)


@pytest.mark.parametrize("metric", METRICS)
def test_views_that_are_not_in_one_piece_are_scored_too(metric: Metric) -> None:
    data, queries, rows = some(50, 6), some(8, 6, 1), np.arange(32).reshape(8, 4)
    expected = pair_scores(data, queries[::2].copy(), rows[::2].copy(), metric)
    np.testing.assert_array_equal(pair_scores(data, queries[::2], rows[::2], metric), expected)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("nq", [1, 3])
@pytest.mark.parametrize("k", [2, 4, 6])
def test_no_row_is_never_among_the_best(metric: Metric, nq: int, k: int) -> None:
    """Wherever it stands among the candidates, and whatever the last row of the column holds."""
    data, queries = some(20, 6), some(nq, 6, 1)
    data[-1] = queries[0]
    for column in (FloatColumn(data), HalfColumn(data.astype(np.float16))):
        _, rows = column.ranked(queries, np.tile([[3, NO_ROW, 5, 7]], (nq, 1)), k, metric)
        assert {int(row) for row in rows[0, :3] if row != NO_ROW} <= {3, 5, 7}
        assert (rows[:, 3:] == NO_ROW).all()
        assert (np.sort(rows, axis=1)[:, -min(k, 3) :] > 0).all()


@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 12), st.sampled_from(METRICS), st.randoms())
@settings(max_examples=60, deadline=None)
def test_the_best_come_first_and_equal_ones_stay_in_order(nq: int, width: int, k: int, metric: Metric, random) -> None:
    scores = np.array([[random.choice([0.5, 1.0, 1.5]) for _ in range(width)] for _ in range(nq)], np.float32)
    rows = np.array([[random.choice([NO_ROW, at, at, at]) for at in range(width)] for _ in range(nq)])
    scores[rows == NO_ROW] = -np.inf if metric.larger_is_closer else np.inf
    best_scores, best_rows = best_of(scores, rows, k, metric)
    assert best_scores.shape == best_rows.shape == (nq, k)
    for own_scores, own_rows, found_scores, found_rows in zip(scores, rows, best_scores, best_rows, strict=True):
        sign = -1 if metric.larger_is_closer else 1
        present = [(sign * s, at, r) for at, (s, r) in enumerate(zip(own_scores, own_rows, strict=True)) if r >= 0]
        wanted = sorted(present)[:k]
        assert found_rows.tolist() == [r for _, _, r in wanted] + [NO_ROW] * (k - len(wanted))
        assert found_scores[: len(wanted)].tolist() == [sign * s for s, _, _ in wanted]


ODD = np.array([-np.inf, -3, -1e-40, -0.0, 0.0, 1e-40, 2, 2.0000002, np.inf, np.nan, -np.nan], np.float32)


@given(
    st.integers(1, 3), st.sampled_from([1, 2, 40, 384, 385, 900]), st.sampled_from([1, 7, 40, 900]),
    st.sampled_from(METRICS), st.integers(0, 2**32 - 1), st.booleans(),
)  # fmt: skip
@example(1, 900, 900, Metric.IP, 0, True)
@example(2, 40, 40, Metric.IP, 0, True)
@example(2, 40, 40, Metric.L2, 0, True)
@settings(max_examples=80, deadline=None)
def test_the_best_are_those_of_a_stable_order(
    nq: int, width: int, k: int, metric: Metric, seed: int, odd: bool
) -> None:
    """However many candidates there are; numbers of either sign, both zeros, infinity, and behind them what is no
    number."""
    rng = np.random.default_rng(seed)
    scores = rng.choice(ODD, (nq, width)) if odd else rng.normal(size=(nq, width)).astype(np.float32).round(1)
    rows = rng.permutation(nq * width).reshape(nq, width)
    k = min(k, width)
    order = np.argsort(-scores if metric.larger_is_closer else scores, axis=1, kind="stable")[:, :k]
    best_scores, best_rows = best_of(scores, rows, k, metric)
    np.testing.assert_array_equal(best_rows, np.take_along_axis(rows, order, 1))
    np.testing.assert_array_equal(best_scores, np.take_along_axis(scores, order, 1))
    for query in range(nq):
        own_scores, own_rows = best_alone(scores[query], rows[query], k, metric)
        np.testing.assert_array_equal(own_rows, best_rows[query])
        np.testing.assert_array_equal(own_scores, best_scores[query])


@pytest.mark.parametrize("nq", [1, 3])
def test_where_there_are_no_candidates_nothing_is_found(nq: int) -> None:
    nothing = np.empty((nq, 0), np.float32), np.empty((nq, 0), np.int64)
    assert (best_of(*nothing, 4, Metric.L2)[1] == NO_ROW).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e-20, 1e-9, 1.0, 1e9, 1e19, 1e30, 1e37])
def test_the_angle_between_vectors_does_not_depend_on_how_long_they_are(scale: float) -> None:
    """Squared lengths of such vectors are beyond single precision."""
    data, queries = some(40, 8), some(3, 8, 1)
    wide, asked = data.astype(np.float64), queries.astype(np.float64)
    expected = (asked @ wide.T) / (np.linalg.norm(asked, axis=1)[:, None] * np.linalg.norm(wide, axis=1))
    data[::2] *= np.float32(scale)
    for longer in (np.float32(1), np.float32(scale)):
        column = FloatColumn(data)
        found, rows = column.search(queries * longer, 40, Metric.COSINE, None)
        # The smallest numbers of single precision have few digits.
        tolerance = 1e-2 if scale < 1e-36 else 1e-5
        np.testing.assert_allclose(found, np.take_along_axis(expected, rows, 1), atol=tolerance)
        np.testing.assert_allclose(np.sort(found), np.sort(expected), atol=tolerance)
        for number in range(3):
            alone = column.scores(queries[number][None] * longer, Metric.COSINE)
            np.testing.assert_array_equal(alone[rows[number]], found[number])
