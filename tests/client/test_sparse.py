"""Sparse vectors of every form become the same bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.client.sparse import MAX_SPARSE_INDEX, sparse_bytes, sparse_column, sparse_dict
from redkite.errors import DataNotMatchException, InvalidParameter

VALUES = st.floats(0, 2.0**120, width=32)
ROWS = st.dictionaries(st.integers(0, MAX_SPARSE_INDEX), VALUES, max_size=8)


def shown(values: Any) -> list[dict[int, float] | None]:
    column = sparse_column("s", values)
    column.validate(full=True)
    return [None if data is None else sparse_dict(data) for data in column.to_pylist()]


@given(st.lists(st.none() | ROWS, max_size=6))
def test_dicts_pairs_and_bytes_come_back_in_the_order_of_their_indexes(rows: list[dict[int, float] | None]) -> None:
    wanted = [None if row is None else dict(sorted(row.items())) for row in rows]
    for given_rows in (
        rows,
        [None if row is None else list(row.items()) for row in rows],
        [None if row is None else tuple(row.items()) for row in rows],
        [None if row is None else sparse_bytes("s", row) for row in rows],
        [row if at % 2 or row is None else list(row.items()) for at, row in enumerate(rows)],
        np.array([*rows, None], dtype=object)[:-1],
    ):
        found = shown(given_rows)
        assert found == wanted
        assert [None if row is None else list(row) for row in found] == [
            None if row is None else list(row) for row in wanted
        ]


def test_matrices_of_scipy_are_taken_whole_and_row_by_row() -> None:
    dense = np.array([[0, 1.5, 0, 2], [0, 0, 0, 0], [3, 0, 0, 0.25]], np.float32)
    wanted = [{1: 1.5, 3: 2.0}, {}, {0: 3.0, 3: 0.25}]
    for make in (scipy.sparse.csr_matrix, scipy.sparse.csr_array, scipy.sparse.coo_array, scipy.sparse.csc_matrix):
        assert shown(make(dense)) == wanted
        assert shown([make(row[None]) for row in dense]) == wanted
    assert shown([scipy.sparse.coo_array(row) for row in dense]) == wanted
    unsorted = scipy.sparse.csr_matrix((np.array([2.0, 1.0]), np.array([5, 2]), np.array([0, 2])), shape=(1, 9))
    assert list(shown(unsorted)[0] or {}) == [2, 5]
    with pytest.raises(DataNotMatchException, match="of one row"):
        sparse_bytes("s", scipy.sparse.csr_matrix(dense))


@pytest.mark.parametrize(
    ("row", "error", "text"),
    [
        ({-1: 1.0}, InvalidParameter, "index of field s out of"),
        ({1.5: 1.0}, InvalidParameter, "index of field s out of"),
        ({2**32 - 1: 1.0}, InvalidParameter, "index of field s out of"),
        ({float("nan"): 1.0}, InvalidParameter, "index of field s out of"),
        ({1: -0.5}, InvalidParameter, "a value of field s is negative or not finite"),
        ({1: float("nan")}, InvalidParameter, "a value of field s is negative or not finite"),
        ({1: 1e39}, InvalidParameter, "a value of field s is out of the range of float32"),
        ([(1, 1.0), (1, 2.0)], InvalidParameter, "an index of field s occurs twice"),
        ([(1, 1.0, 2)], DataNotMatchException, "{s} field should be a sparse_float_vector"),
        ([1, 2], DataNotMatchException, "{s} field should be a sparse_float_vector"),
        ({"a": 1.0}, DataNotMatchException, "{s} field should be a sparse_float_vector"),
        ({1: None}, InvalidParameter, "a value of field s is negative or not finite"),
        (5, DataNotMatchException, "{s} field should be a sparse_float_vector"),
        ("1:2", DataNotMatchException, "{s} field should be a sparse_float_vector"),
    ],
)
def test_what_is_no_sparse_vector_is_refused(row: Any, error: type[Exception], text: str) -> None:
    for rows in ([row], [{1: 1.0}, row], [None, [(1, 1.0)], row]):
        with pytest.raises(error) as caught:
            sparse_column("s", rows)
        assert text in str(caught.value)


def test_no_rows_and_empty_rows_are_columns() -> None:
    assert shown([]) == []
    assert shown([{}, None, {}]) == [{}, None, {}]
    assert shown([[], []]) == [{}, {}]
    assert shown([None, None]) == [None, None]


# -- one vector, the quick way ------------------------------------------------------------------
@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.integers(0, 2**32 - 2), st.floats(0, 2.0**99, width=32) | st.integers(0, 9), max_size=40))
def test_one_dict_is_the_pairs_that_a_list_of_them_is(row: dict[int, float]) -> None:
    pairs = list(reversed(row.items()))
    assert sparse_bytes("v", row) == (sparse_bytes("v", pairs) if pairs else b"")


@pytest.mark.parametrize("wrong", [
    {1: 0.5, 2: float("nan")}, {1: float("nan"), 2: 0.5}, {1: float("inf")}, {-1: 0.5}, {2**32 - 1: 0.5}, {1: -0.5},
    {1: 1e39}, {1.5: 1.0}, {"a": 1.0},
])  # fmt: skip
def test_one_dict_that_is_no_vector_is_refused(wrong: dict[Any, Any]) -> None:
    with pytest.raises((InvalidParameter, DataNotMatchException)):
        sparse_bytes("v", wrong)
