"""Searches for words in one call, against the scores of all rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.index.sparse_vectors import sparse_of

from redkite.index.bm25 import Bm25, document_frequencies
from redkite.index.sparse import SparseColumn
from redkite.index.sparse_lists import SparseLists
from redkite.index.word_search import search_words
from redkite.model.sparse import SparseRows
from redkite.model.types import Metric


@pytest.mark.parametrize("words", [1, 2])
@given(
    seed=st.integers(0, 2**31), rows=st.sampled_from([1, 63, 65, 700]), k=st.sampled_from([1, 3, 10, 800]),
    b=st.sampled_from([0.0, 0.75, 1.0]), often=st.sampled_from([1, 3, 60]),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_the_best_rows_have_the_scores_of_all_rows_to_the_bit_and_equal_ones_come_in_order(
    words: int, seed: int, rows: int, k: int, b: float, often: int
) -> None:
    rng = np.random.default_rng(seed)
    # Blocks that differ, so that some may be passed over; few values, so that many scores are equal.
    frequencies = rng.integers(0, often + 1, (rows, 4)) * (rng.random((rows, 1)) < np.linspace(1, 0.1, rows)[:, None])
    frequencies[0] = 1
    vectors = sparse_of(frequencies.astype(np.float32))
    lists = SparseLists.build(vectors, sums=True)
    scoring = Bm25(rows, float(lists.sums.mean()), 1.2, b)
    column = SparseColumn(vectors).scored_by(scoring, lists)
    dims, counts = np.arange(words, dtype=np.uint32), np.ones(words, np.float32)
    weights = scoring.weights(counts, document_frequencies(lists, dims))
    want = column.scores(SparseRows(np.array([0, words]), dims, weights), Metric.BM25)
    order = [row for row in np.lexsort((np.arange(rows), -want)).tolist() if want[row] > 0][:k]
    norms = column.norms
    scores, found = np.zeros(k, np.float32), np.full(k, -1, np.int64)
    held = (
        lists.dims, lists.starts, lists.rows, lists.values, lists.block_starts, lists.block_bounds, norms.lengths,
    )  # fmt: skip
    formula = rows, scoring.k1, norms.base, norms.slope, norms.least
    count = search_words(*held, dims, counts, *formula, scores, found)
    assert found[:count].tolist() == order
    assert scores[:count].tobytes() == want[order].tobytes()


def test_words_that_no_row_has_find_nothing() -> None:
    lists = SparseLists.build(sparse_of(np.ones((3, 2), np.float32)), sums=True)
    held = (
        lists.dims, lists.starts, lists.rows, lists.values, lists.block_starts, lists.block_bounds, lists.sums,
    )  # fmt: skip
    for asked in ([], [7], [7, 2**32 - 2]):
        dims, best = np.array(asked, np.uint32), (np.zeros(2, np.float32), np.zeros(2, np.int64))
        assert search_words(*held, dims, np.ones(len(dims), np.float32), 3, 1.2, 0.3, 0.4, 1.1, *best) == 0
