"""BM25 scores against the formula, written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.index.sparse_vectors import sparse_of

from redkite.index.bm25 import Bm25, document_frequencies
from redkite.index.sparse import SparseColumn
from redkite.index.sparse_index import ALGORITHMS, SparseIndex
from redkite.index.sparse_lists import SparseLists
from redkite.model.sparse import SparseRows
from redkite.model.types import Metric


def plain(frequencies: np.ndarray, query: np.ndarray, k1: float, b: float) -> list[float]:
    """Score after score, term after term."""
    rows, average = len(frequencies), frequencies.sum() / len(frequencies)
    scores = []
    for row in frequencies:
        total = 0.0
        for term in np.flatnonzero((query > 0) & (row > 0)):
            having = int((frequencies[:, term] > 0).sum())
            rarity = math.log(1 + (rows - having + 0.5) / (having + 0.5))
            below = row[term] + k1 * (1 - b + b * row.sum() / average)
            total += query[term] * rarity * row[term] * (k1 + 1) / below
        scores.append(total)
    return scores


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(seed=st.integers(0, 2**31), k1=st.sampled_from([0.5, 1.2, 3.0]), b=st.sampled_from([0.0, 0.75, 1.0]))
@settings(max_examples=20, deadline=None)
def test_every_algorithm_finds_the_best_by_the_formula(algorithm: str, seed: int, k1: float, b: float) -> None:
    rng = np.random.default_rng(seed)
    frequencies = rng.poisson(0.6, (40, 15)) * (rng.random((40, 15)) < 0.5)
    frequencies[0, 0] = 1
    query = rng.poisson(0.5, 15)
    vectors = sparse_of(frequencies)
    lists = SparseLists.build(vectors, sums=True)
    stats = Bm25(rows=40, average=float(lists.sums.mean()), k1=k1, b=b)
    asked = sparse_of(query[None, :])
    dims, counts = asked.row(0)
    asked = SparseRows(asked.starts, dims, stats.weights(counts, document_frequencies(lists, dims)))
    column = SparseColumn(vectors).scored_by(stats)
    want = np.array(plain(frequencies, query, k1, b))
    scores = column.scores(asked, Metric.BM25)
    np.testing.assert_allclose(np.where(scores > 0, scores, 0), want, rtol=1e-5, atol=1e-7)
    index = SparseIndex(lists, Metric.BM25, algorithm).scored_by(column.norms)
    _, found = index.search(asked, 40, {}, None)
    scores, rows = column.ranked(asked, found, 40, Metric.BM25)
    best = sorted((score for score in want if score > 0), reverse=True)
    np.testing.assert_allclose(scores[rows >= 0], best, rtol=1e-5)
    allowed = rng.random(40) < 0.4
    _, found = index.search(asked, 5, {}, np.packbits(allowed, bitorder="little"))
    scores, rows = column.ranked(asked, found, 5, Metric.BM25)
    best = sorted((score for score, may in zip(want, allowed, strict=True) if score > 0 and may), reverse=True)
    np.testing.assert_allclose(scores[rows >= 0], best[:5], rtol=1e-5)


def test_terms_that_no_row_has_are_in_no_row() -> None:
    lists = SparseLists.build(sparse_of(np.array([[1, 0, 2], [0, 0, 1]])))
    assert document_frequencies(lists, np.array([0, 1, 2, 9], np.uint32)).tolist() == [1, 0, 2, 0]
    nothing = SparseLists.build(sparse_of(np.zeros((2, 2))), sums=True)
    assert document_frequencies(nothing, np.array([3], np.uint32)).tolist() == [0]
    norms = Bm25(rows=2, average=0.0).norms(nothing.sums, 0.0)
    index = SparseIndex(nothing, Metric.BM25, ALGORITHMS[0]).scored_by(norms)
    asked = SparseRows(np.array([0, 1]), np.array([3], np.uint32), np.ones(1, np.float32))
    assert (index.search(asked, 2, {}, None)[1] == -1).all()
