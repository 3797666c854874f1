"""An index over some rows of a segment answers in the segment's row numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redkite.index.base import NO_ROW, Bitmap, Queries, RowNumbers, Scores, SearchParams
from redkite.index.dense import FloatColumn
from redkite.index.partial import PartialIndex
from redkite.model.types import Metric


class ExactIndex:
    """Compares every row it has."""

    approximate = False
    takes_bitmap = True
    metric = Metric.L2

    def __init__(self, vectors: np.ndarray) -> None:
        self.column = FloatColumn(vectors)
        self.rows = len(vectors)
        self.asked: list[Bitmap | None] = []

    def search(
        self, queries: Queries, k: int, params: SearchParams, allowed: Bitmap | None
    ) -> tuple[Scores, RowNumbers]:
        self.asked.append(allowed)
        rows = np.arange(self.rows)
        if allowed is not None:
            rows = rows[np.unpackbits(allowed, count=self.rows, bitorder="little").astype(np.bool_)]
        return self.column.ranked(queries, np.broadcast_to(rows, (len(queries), len(rows))), k, Metric.L2)

    def widened(self, params: SearchParams, k: int, factor: float) -> SearchParams:
        return params | {"k": k, "factor": factor}

    def memory(self) -> int:
        return 7


def vectors(rows: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(rows, 4)).astype(np.float32)


@given(valid=st.lists(st.booleans(), min_size=1, max_size=40), chosen=st.integers(0, 2**40), k=st.integers(1, 9))
def test_only_rows_that_are_held_and_allowed_are_found(valid: list[bool], chosen: int, k: int) -> None:
    rows, held = len(valid), np.flatnonzero(valid)
    everything, queries = vectors(rows), vectors(3) + 1
    inner = ExactIndex(everything[held])
    index = PartialIndex(inner if len(held) else None, Metric.L2, held, rows)
    assert index.rows == rows
    mask = np.array([chosen >> row & 1 for row in range(rows)], np.bool_)
    for allowed in (None, np.packbits(mask, bitorder="little")):
        passing = np.array(valid) & (mask if allowed is not None else True)
        distances = ((queries[:, None] - everything[None]) ** 2).sum(axis=2)
        distances[:, ~passing] = np.inf
        count = min(k, int(passing.sum()))
        wanted = np.argsort(distances, axis=1, kind="stable")[:, :count]
        _, found = index.search(queries, k, {}, allowed)
        assert found.shape == (3, k)
        np.testing.assert_array_equal(found[:, :count], wanted)
        assert (found[:, count:] == NO_ROW).all()


def test_a_filter_that_allows_all_that_is_held_is_no_filter() -> None:
    held = np.array([1, 4, 6])
    inner = ExactIndex(vectors(3))
    index = PartialIndex(inner, Metric.L2, held, 8)
    mask = np.zeros(8, np.bool_)
    mask[[1, 4, 6, 7]] = True
    bitmap = np.packbits(mask, bitorder="little")
    index.search(vectors(1), 2, {}, bitmap)
    index.search(vectors(1), 2, {}, bitmap)
    index.search(vectors(1), 2, {}, np.packbits(mask & (np.arange(8) != 4), bitorder="little"))
    assert inner.asked[:2] == [None, None]
    assert inner.asked[2] is not None
    assert inner.asked[2].tolist() == [0b101]


def test_what_is_said_about_the_index_is_said_about_the_part() -> None:
    index = PartialIndex(ExactIndex(vectors(2)), Metric.IP, np.array([0, 3]), 5)
    assert (index.approximate, index.takes_bitmap, index.metric) == (False, True, Metric.IP)
    assert index.widened({"ef": 1}, 3, 2.0) == {"ef": 1, "k": 3, "factor": 2.0}
    assert index.memory() == 7 + 16
    nothing = PartialIndex(None, Metric.L2, np.empty(0, np.int64), 5)
    assert nothing.memory() == 0
    assert not nothing.approximate
    assert nothing.widened({"ef": 1}, 3, 2.0) == {"ef": 1}
    assert nothing.search(vectors(2), 3, {}, None)[1].tolist() == [[NO_ROW] * 3] * 2


@pytest.mark.parametrize("rows", [8, 9])
def test_the_last_rows_of_a_bitmap_count(rows: int) -> None:
    inner = ExactIndex(vectors(1))
    index = PartialIndex(inner, Metric.L2, np.array([rows - 1]), rows)
    mask = np.ones(rows, np.bool_)
    mask[0] = False
    assert index.search(vectors(1), 1, {}, np.packbits(mask, bitorder="little"))[1].tolist() == [[rows - 1]]
