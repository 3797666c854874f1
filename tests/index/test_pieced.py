"""Vectors that lie in several places are searched as if they lay in one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.env import Env
from redkite.index import pieced
from redkite.index.base import NO_ROW, RowNumbers, Scores
from redkite.index.dense import DenseColumn, FloatColumn, HalfColumn
from redkite.index.pieced import PiecedColumn
from redkite.model.types import Metric

METRICS = (Metric.L2, Metric.IP, Metric.COSINE)


def columns(cuts: list[int], kind: type[DenseColumn], seed: int) -> tuple[DenseColumn, PiecedColumn]:
    """The same vectors, some of them equal, in one place and in several."""
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-3, 4, (sum(cuts), 5)).astype(np.float16 if kind is HalfColumn else np.float32)
    starts = np.cumsum([0, *cuts]).tolist()
    return kind(matrix), PiecedColumn([kind(matrix[a:b].copy()) for a, b in pairwise(starts)])


def alike(mine: tuple[Scores, RowNumbers], theirs: tuple[Scores, RowNumbers]) -> None:
    """The same rows, but that those of equal score may be in any order and at the end in any choice."""
    np.testing.assert_array_equal(mine[1] == NO_ROW, theirs[1] == NO_ROW)
    there = mine[1] != NO_ROW
    np.testing.assert_allclose(mine[0][there], theirs[0][there], rtol=1e-5, atol=1e-5)
    for own, other, scores in zip(mine[1], theirs[1], theirs[0], strict=True):
        surely = np.abs(scores - scores[(other != NO_ROW).nonzero()[0][-1:]].sum()) > 1e-4
        assert set(other[surely & (other != NO_ROW)].tolist()) <= set(own.tolist())


@settings(max_examples=60)
@given(
    cuts=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    kind=st.sampled_from([FloatColumn, HalfColumn]),
    metric=st.sampled_from(METRICS),
    k=st.integers(1, 40),
    nq=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_every_question_has_the_answer_that_one_column_gives(
    cuts: list[int], kind: type[DenseColumn], metric: Metric, k: int, nq: int, seed: int
) -> None:
    one, several = columns(cuts, kind, seed)
    rng = np.random.default_rng(seed + 1)
    queries = rng.normal(size=(nq, 5)).astype(np.float32)
    assert (several.rows, len(several), several.width, several.nbytes) == (one.rows, len(one), one.width, one.nbytes)
    alike(several.search(queries, k, metric, None), one.search(queries, k, metric, None))
    found = np.sort(rng.integers(NO_ROW, one.rows, (nq, 2 * k)))[:, ::-1]  # NO_ROW comes last
    alike(several.ranked(queries, found, k, metric), one.ranked(queries, found, k, metric))
    rows = rng.integers(0, one.rows, 7)
    np.testing.assert_array_equal(several.gather(rows).matrix, one.gather(rows).matrix)
    for some in (None, rows):
        np.testing.assert_allclose(
            several.scores(queries[:1], metric, some), one.scores(queries[:1], metric, some), rtol=1e-6
        )
    head = int(rng.integers(1, one.rows + 1))
    alike(several.head(head).search(queries, k, metric, None), one.head(head).search(queries, k, metric, None))


def test_candidates_that_are_none_give_none() -> None:
    _, several = columns([3, 4], FloatColumn, 1)
    scores, rows = several.ranked(np.zeros((2, 5), np.float32), np.full((2, 4), NO_ROW), 3, Metric.L2)
    assert (scores.shape, rows.tolist()) == ((2, 3), [[NO_ROW] * 3] * 2)


def test_a_long_search_is_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieced, "LARGE_CALL", 1)
    one, several = columns([40, 7, 90, 3, 60], FloatColumn, 3)
    pool = Env.real().tasks.executor("scan", 2)
    queries = np.random.default_rng(2).normal(size=(2, 5)).astype(np.float32)
    for metric in METRICS:
        mine, theirs = several.search(queries, 9, metric, pool), one.search(queries, 9, metric, None)
        alike(mine, theirs)
    pool.shutdown()
