"""What is known of the words of a column, as it grows and its rows die."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.index.sparse_vectors import sparse_of

from redkite.index.bm25 import Bm25
from redkite.index.sparse import PIECE, SMALL, SparseColumn, SparsePieces
from redkite.index.sparse_lists import SparseLists
from redkite.index.word_facts import WordFacts, WordTable
from redkite.model.types import Metric

DIMS = np.arange(12, dtype=np.uint32)


@given(seed=st.integers(0, 2**31), steps=st.lists(st.sampled_from(["grow", "kill", "look", "back"]), max_size=12))
@settings(max_examples=60, deadline=None)
def test_the_counts_are_those_of_the_rows_that_are_alive(seed: int, steps: list[str]) -> None:
    rng = np.random.default_rng(seed)
    dense = (rng.poisson(0.5, (60, 10)) * (rng.random((60, 10)) < 0.6)).astype(np.float64)
    facts, rows, dead = WordFacts(), 20, np.zeros(60, np.bool_)
    for step in [*steps, "look"]:
        if step == "grow":
            rows = min(60, rows + int(rng.integers(0, 15)))
        elif step == "kill":
            dead[rng.integers(0, rows, 4)] = True
        seen = int(rng.integers(1, rows + 1)) if step == "back" else rows
        alive = ~dead[:seen]
        counted = facts.count(sparse_of(dense[:seen]), DIMS, None if alive.all() else alive, None)
        held = dense[:seen][alive]
        assert counted.tokens == held.sum()
        assert counted.having.tolist() == [*(held > 0).sum(axis=0).tolist(), 0, 0]


def test_lists_of_all_rows_are_asked_instead_of_counting() -> None:
    dense = np.array([[1.0, 0, 2], [0, 0, 1], [3, 0, 0]])
    vectors = sparse_of(dense)
    facts, lists = WordFacts(), SparseLists.build(vectors, sums=True)
    alive = np.array([True, False, True])
    state = object()
    for _ in range(2):
        counted = facts.count(vectors, DIMS[:3], alive, state, lists)
        assert (counted.tokens, counted.having.tolist()) == (6.0, [2, 0, 1])
    assert facts.nbytes < 50_000  # only the dead row was counted
    assert facts.count(vectors, DIMS[:3], None, None, lists).having.tolist() == [2, 0, 2]


def test_rows_that_come_alive_again_were_read_at_an_earlier_time() -> None:
    vectors = sparse_of(np.array([[1.0, 1], [1, 0], [0, 1]]))
    facts = WordFacts()
    assert facts.count(vectors, DIMS[:2], np.array([True, False, False]), None).having.tolist() == [1, 1]
    assert facts.count(vectors, DIMS[:2], np.array([True, True, False]), None).having.tolist() == [2, 1]
    assert facts.count(vectors, DIMS[:2], np.array([True, False, False]), None).having.tolist() == [1, 1]


def test_a_table_grows_with_what_is_counted() -> None:
    table = WordTable()
    wide = np.zeros((3, 40_000))
    wide[0, ::2], wide[1, 1::2], wide[2] = 1, 2, 3
    table.add(sparse_of(wide))
    assert table.having(np.array([0, 1, 39_999, 40_000], np.uint32)).tolist() == [2, 2, 2, 0]


@pytest.mark.parametrize("metric", [Metric.IP, Metric.BM25])
def test_lists_in_pieces_find_what_looking_at_every_row_finds(metric: Metric) -> None:
    rng = np.random.default_rng(3)
    dense = (rng.poisson(0.4, (PIECE + 3 * SMALL + 77, 40)) * (rng.random((PIECE + 3 * SMALL + 77, 40)) < 0.3)).astype(
        np.float64
    )
    vectors, pieces = sparse_of(dense), SparsePieces()
    asked = sparse_of(rng.random((3, 40)) * (rng.random((3, 40)) < 0.2))
    for rows in (500, SMALL, 3 * SMALL + 5, 3 * SMALL + 5, PIECE - 1, PIECE, len(dense), len(dense), 2 * SMALL, PIECE):
        column = SparseColumn(vectors[:rows], pieces)
        plain = SparseColumn(vectors[:rows])
        if metric is Metric.BM25:
            scoring = Bm25(rows, 5.0)
            column, plain = column.scored_by(scoring), plain.scored_by(scoring)
        for _ in range(2):
            scores, found = column.search(asked, 9, metric)
            for at in range(3):
                want = plain.scores(asked[at : at + 1], metric)
                best = np.lexsort((np.arange(rows), -want))[:9]
                assert found[at].tolist() == best.tolist()
                np.testing.assert_array_equal(scores[at], want[best])
    assert [piece.first for piece in pieces.of(vectors)] == [0, PIECE, PIECE + SMALL, PIECE + 2 * SMALL]
