"""Vectors of every type and form become the same column, and come back as numpy has them."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
from tests.client.test_rows import single

from redkite import DataType, errors
from redkite.client.results import QueryResult
from redkite.client.rows import RowPlan
from redkite.client.values import numpy_column
from redkite.client.vectors import queries
from redkite.model.batch import typed_rows
from redkite.model.results import Rows

DIM = 8
FLOATS = np.random.default_rng(1).normal(size=(3, DIM)).astype(np.float32)
SMALL = np.arange(-12, 12).astype(np.int8).reshape(3, DIM)
DENSE: dict[str, tuple[DataType, np.ndarray]] = {
    "float": (DataType.FLOAT_VECTOR, FLOATS),
    "float16": (DataType.FLOAT16_VECTOR, FLOATS.astype(np.float16)),
    "bfloat16": (DataType.BFLOAT16_VECTOR, FLOATS.astype(ml_dtypes.bfloat16)),
    "int8": (DataType.INT8_VECTOR, SMALL),
    "binary": (DataType.BINARY_VECTOR, SMALL.view(np.uint8)),
}


def plan_of(case: str, nullable: bool = False) -> RowPlan:
    kind, _ = DENSE[case]
    return single(kind, dim=64 if case == "binary" else DIM, nullable=nullable)


def forms(matrix: np.ndarray, case: str) -> list[list[Any]]:
    """Three rows, in every form a vector may have."""
    found = [list(matrix)]
    if case != "float":
        found += [[row.tobytes() for row in matrix], [[row.tobytes()] for row in matrix]]
        found += [[bytearray(row.tobytes()) for row in matrix], [matrix[0], *(row.tobytes() for row in matrix[1:])]]
    if case != "binary":
        numbers = matrix.astype(np.float64) if case != "int8" else matrix
        found += [numbers.tolist(), [tuple(row) for row in numbers.tolist()], list(numbers)]
        found += [[matrix[0], numbers[1].tolist(), numbers[2]]]
    return found


@pytest.mark.parametrize("case", DENSE)
def test_every_form_of_a_vector_becomes_the_same_column(case: str) -> None:
    plan, (_, matrix) = plan_of(case), DENSE[case]
    wanted = plan.batch([{"id": i, "x": row} for i, row in enumerate(matrix)]).column("x")
    wanted.validate(full=True)
    assert b"".join(np.asarray(v).tobytes() if case == "float" else bytes(v) for v in _raw(wanted)) == matrix.tobytes()
    for form in forms(matrix, case):
        assert plan.batch([{"id": i, "x": row} for i, row in enumerate(form)]).column("x").equals(wanted)
        assert plan.batch({"id": [0, 1, 2], "x": form}).column("x").equals(wanted)
        assert plan.batch([[0, 1, 2], form]).column("x").equals(wanted)
        assert plan.batch({"x": form[:1] * 3, "id": [0, 1, 2]}).column("x")[2] == wanted[0]
        assert plan.batch({"x": form[0], "id": 7}).column("x").equals(wanted[:1])
    for whole in (matrix, np.asfortranarray(matrix)):
        assert plan.batch({"x": whole, "id": [0, 1, 2]}).column("x").equals(wanted)
    assert plan.batch({"x": wanted, "id": [0, 1, 2]}).column("x").equals(wanted)
    frame = pd.DataFrame({"id": [0, 1, 2], "x": pd.Series(list(matrix), dtype=object)})
    assert plan.batch(frame).column("x").equals(wanted)


def _raw(column: pa.Array) -> list[Any]:
    if pa.types.is_fixed_size_list(column.type):
        kind = column.type.value_type.to_pandas_dtype()
        return [np.array(value, kind) for value in column.to_pylist()]
    return list(column.to_pylist())


@pytest.mark.parametrize("case", DENSE)
def test_rows_without_a_vector_are_null(case: str) -> None:
    plan, (kind, matrix) = plan_of(case, nullable=True), DENSE[case]
    for form in forms(matrix, case):
        rows = [form[0], None, form[2]]
        for data in ([{"id": i, "x": v} for i, v in enumerate(rows)], {"id": [0, 1, 2], "x": rows}):
            column = plan.batch(data).column("x")
            column.validate(full=True)
            assert column.is_valid().to_pylist() == [True, False, True]
            back = numpy_column(column, kind)
            assert (back[1] == 0).all()
            np.testing.assert_array_equal(back[[0, 2]], matrix[[0, 2]])
    assert plan.batch([{"id": 1, "x": None}]).column("x").null_count == 1
    assert plan.batch([{"id": 1}]).schema.names == ["id"]
    assert plan.batch([{"id": 1}, {"id": 2, "x": matrix[0]}]).column("x").is_valid().to_pylist() == [False, True]
    with pytest.raises(errors.DataNotMatchException):
        plan_of(case).batch([{"id": 1, "x": None}])


@pytest.mark.parametrize("case", DENSE)
def test_results_give_vectors_as_numpy_has_them(case: str) -> None:
    plan, (_, matrix) = plan_of(case, nullable=True), DENSE[case]
    rows = typed_rows(plan.batch({"id": [0, 1, 2], "x": [matrix[0], None, matrix[2]]}), plan.schema)
    result = QueryResult(
        Rows(rows=rows, output_fields=("id", "x"), primary_field="id", collection="c", session_timestamp=1)
    )
    found = result.to_numpy()["x"]
    assert found.dtype == matrix.dtype
    np.testing.assert_array_equal(found[[0, 2]], matrix[[0, 2]])
    frame = result.to_pandas()
    np.testing.assert_array_equal(frame["x"][0], matrix[0])
    assert frame["x"][1] is None


def test_numbers_that_a_half_cannot_hold_become_infinity_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    column = plan_of("float16").batch([{"id": 1, "x": [1e9] * DIM}]).column("x")
    assert np.isinf(numpy_column(column, DataType.FLOAT16_VECTOR)).all()
    assert not recwarn


@pytest.mark.parametrize(
    ("case", "bad", "text"),
    [
        ("int8", [0.5] * DIM, "{x} field should be a int8_vector"),
        ("int8", [300] * DIM, "{x} field should be a int8_vector"),
        ("int8", ["1"] * DIM, "{x} field should be a int8_vector"),
        ("binary", b"1", "the dim (8) of field data(x) is not equal to schema dim (64)"),
        ("binary", "12345678", "{x} field should be a binary_vector"),
        ("float16", b"1" * 15, "the dim (7) of field data(x) is not equal to schema dim (8)"),
        ("bfloat16", np.zeros(7, ml_dtypes.bfloat16), "the dim (7) of field data(x) is not equal to schema dim (8)"),
        ("float", np.zeros(DIM, ml_dtypes.bfloat16), "{x} field should be a float_vector"),
        ("float", b"1" * 32, "{x} field should be a float_vector"),
    ],
)
def test_a_vector_that_does_not_fit_is_named(case: str, bad: Any, text: str) -> None:
    with pytest.raises(errors.MilvusException) as caught:
        plan_of(case).batch([{"id": 1, "x": bad}])
    assert text in caught.value.message


def test_sparse_columns_are_told_from_sparse_rows() -> None:
    plan = single(DataType.SPARSE_FLOAT_VECTOR)
    dense = np.array([[0, 1.5, 0], [2, 0, 0.5]], np.float32)
    wanted = plan.batch([{"id": 0, "x": {1: 1.5}}, {"id": 1, "x": {0: 2, 2: 0.5}}]).column("x")
    for whole in (
        scipy.sparse.csr_matrix(dense),
        scipy.sparse.csc_array(dense),
        [{1: 1.5}, {0: 2, 2: 0.5}],
        [[(1, 1.5)], [(0, 2.0), (2, 0.5)]],
    ):
        assert plan.batch({"x": whole, "id": [0, 1]}).column("x").equals(wanted)
    for one in (scipy.sparse.csr_matrix(dense[:1]), scipy.sparse.coo_array(dense[0]), {1: 1.5}, [(1, 1.5)]):
        assert plan.batch({"x": one, "id": 0}).column("x").equals(wanted[:1])
        assert plan.batch([{"id": 0, "x": one}]).column("x").equals(wanted[:1])


@pytest.mark.parametrize("case", [case for case in DENSE if case != "float"])
def test_query_vectors_say_their_kind_by_the_type_of_their_numbers(case: str) -> None:
    kind, matrix = DENSE[case]
    for data in (matrix, list(matrix)):
        found = queries(data, "x")
        assert (found.data_type, found.raw) == (kind, tuple(row.tobytes() for row in matrix))
    assert queries(matrix[0], "x").raw == (matrix[0].tobytes(),)


def test_sparse_queries_have_every_form_of_a_row() -> None:
    wanted = queries([{3: 0.5, 1: 2.0}, {}], "x")
    assert wanted.data_type is DataType.SPARSE_FLOAT_VECTOR
    matrix = scipy.sparse.csr_matrix((np.array([2.0, 0.5]), np.array([1, 3]), np.array([0, 2, 2])), shape=(2, 5))
    for data in (matrix, [matrix[0], matrix[1]], [[(1, 2.0), (3, 0.5)], {}]):
        assert queries(data, "x").raw == wanted.raw
    assert queries({3: 0.5, 1: 2.0}, "x").raw == wanted.raw[:1]
