"""Rows of every accepted form become the same batch; rows that do not fit are refused by field."""

from __future__ import annotations

import struct
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redkite import DataType, errors
from redkite.client.operations.data import head, wire_bytes
from redkite.client.rows import RowPlan, is_empty
from redkite.client.schema import CollectionSchema, Function
from redkite.client.sparse import sparse_dict
from redkite.client.vectors import queries
from redkite.model.batch import data_type_of
from redkite.model.halves import to_bfloat16
from redkite.model.results import CollectionInfo
from redkite.model.types import ConsistencyLevel, FunctionType


def plan_for(schema: CollectionSchema, properties: dict[str, str] | None = None) -> RowPlan:
    return RowPlan.of(
        CollectionInfo(
            schema=schema.to_model("c"), collection_id=1, database="default", shards=1, partitions=1, aliases=(),
            consistency_level=ConsistencyLevel.Bounded, created_timestamp=1, update_timestamp=7,
            properties=properties or {},
        )
    )  # fmt: skip


def plain(dim: int = 3, dynamic: bool = False) -> RowPlan:
    schema = CollectionSchema(enable_dynamic_field=dynamic)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    schema.add_field("text", DataType.VARCHAR, max_length=100)
    return plan_for(schema)


def single(datatype: DataType, **settings: Any) -> RowPlan:
    """A key and one field `x`."""
    schema = CollectionSchema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("x", datatype, **settings)
    return plan_for(schema)


def column_of(plan: RowPlan, values: list[Any]) -> pa.Array:
    return plan.batch([{"id": i, "x": value} for i, value in enumerate(values)]).column("x")


ROWS = [{"id": i, "vector": [i + 0.5, 1.0, -2.0], "text": f"t{i}"} for i in range(4)]
IDS = np.arange(4)
VECTORS = np.array([row["vector"] for row in ROWS], dtype=np.float32)
TEXTS = [row["text"] for row in ROWS]
WANTED = plain().batch(ROWS)

FORMS: dict[str, Any] = {
    "tuple of dicts": tuple(ROWS),
    "dicts of arrays": [{**row, "vector": np.array(row["vector"])} for row in ROWS],
    "dicts of tuples": [{**row, "vector": tuple(row["vector"])} for row in ROWS],
    "dicts, mixed vectors": [{**row, "vector": VECTORS[i] if i % 2 else row["vector"]} for i, row in enumerate(ROWS)],
    "dicts of numpy scalars": [{**row, "id": np.int32(row["id"]), "text": np.str_(row["text"])} for row in ROWS],
    "dicts in another order": [dict(reversed(row.items())) for row in ROWS],
    "columns": [list(IDS), [list(map(float, v)) for v in VECTORS], TEXTS],
    "numpy columns": [IDS, VECTORS, np.array(TEXTS)],
    "float64 columns": [IDS.astype(np.int32), VECTORS.astype(np.float64), np.array(TEXTS, dtype=object)],
    "Arrow columns": [pa.array(IDS), pa.array(VECTORS.tolist()), pa.chunked_array([TEXTS[:1], TEXTS[1:]])],
    "dict of arrays": {"id": IDS, "vector": VECTORS, "text": TEXTS},
    "dict of lists": {"text": TEXTS, "id": IDS.tolist(), "vector": VECTORS.tolist()},
    "record batch": WANTED,
    "table": pa.table({"id": IDS, "vector": VECTORS.tolist(), "text": pa.array(TEXTS, pa.large_string())}),
    "chunked table": pa.concat_tables([pa.Table.from_batches([WANTED[:1]]), pa.Table.from_batches([WANTED[1:]])]),
    "data frame": pd.DataFrame({"id": IDS, "vector": list(VECTORS), "text": TEXTS}),
    "data frame of lists": pd.DataFrame({"id": IDS, "vector": VECTORS.tolist(), "text": TEXTS}),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_rows_becomes_the_same_batch(form: str) -> None:
    batch = plain().batch(FORMS[form])
    batch.validate(full=True)
    for name in WANTED.schema.names:
        assert batch.column(name).equals(WANTED.column(name)), name


def test_one_dict_is_one_row() -> None:
    batch = plain().batch(ROWS[1])
    assert batch.num_rows == 1
    assert batch.column("vector").to_pylist() == [[1.5, 1.0, -2.0]]


def test_numpy_and_arrow_numbers_are_not_copied() -> None:
    batch = plain().batch([IDS, VECTORS, TEXTS])
    assert batch.column("vector").flatten().to_numpy().ctypes.data == VECTORS.ctypes.data
    assert batch.column("id").to_numpy().ctypes.data == IDS.ctypes.data
    again = plain().batch(batch)
    assert again.column("vector").flatten().to_numpy().ctypes.data == VECTORS.ctypes.data


@given(
    st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3), min_size=1)
)
def test_lists_of_numbers_become_exactly_their_float32s(vectors: list[list[float]]) -> None:
    rows = [{"id": i, "vector": vector, "text": ""} for i, vector in enumerate(vectors)]
    assert plain().batch(rows).column("vector").to_pylist() == vectors


# -- dynamic keys -------------------------------------------------------------------------------
def test_keys_beyond_the_schema_become_json() -> None:
    batch = plain(dynamic=True).batch([{**row, "year": 1900 + i, "tags": ["a"]} for i, row in enumerate(ROWS)])
    assert batch.column("$meta")[1].as_py() == b'{"year":1901,"tags":["a"]}'


def test_rows_with_different_dynamic_keys_go_together() -> None:
    rows = [{**ROWS[0], "a": np.float32(1.5)}, {**ROWS[1], "b": {"c": np.arange(2)}}, ROWS[2]]
    batch = plain(dynamic=True).batch(rows)
    assert batch.column("$meta").to_pylist() == [b'{"a":1.5}', b'{"b":{"c":[0,1]}}', b"{}"]


def test_dynamic_columns_become_json_of_each_row() -> None:
    batch = plain(dynamic=True).batch(
        {"id": IDS, "vector": VECTORS, "text": TEXTS, "n": np.arange(4), "s": list("abcd")}
    )
    assert batch.column("$meta")[3].as_py() == b'{"n":3,"s":"d"}'
    again = plain(dynamic=True).batch(batch)
    assert again.column("$meta").equals(batch.column("$meta"))


def test_the_name_of_the_dynamic_field_is_no_key() -> None:
    with pytest.raises(errors.InvalidParameter, match=r"cannot set json key to: \$meta"):
        plain(dynamic=True).batch([{**ROWS[0], "$meta": {}}])


def test_a_value_that_is_not_json_is_refused() -> None:
    with pytest.raises(errors.DataNotMatchException, match="not JSON"):
        plain(dynamic=True).batch([{**ROWS[0], "raw": {1, 2}}])
    with pytest.raises(errors.DataNotMatchException, match="JSON key must be str"):
        plain(dynamic=True).batch([{**ROWS[0], "raw": {1: 2}}])


# -- what does not fit --------------------------------------------------------------------------
MISSED = "Insert missed an field `{}` to collection without set nullable==true or set default_value"


def test_a_missing_field_is_named() -> None:
    with pytest.raises(errors.DataNotMatchException) as caught:
        plain().batch([{"id": 1, "vector": [1.0, 2, 3]}])
    assert caught.value.message == MISSED.format("text")
    with pytest.raises(errors.DataNotMatchException) as caught:
        plain().batch([ROWS[0], {"id": 1, "text": ""}, {"id": 1, "vector": [1.0, 2, 3], "text": ""}])
    assert caught.value.message == MISSED.format("vector")


def test_an_unexpected_field_is_named() -> None:
    wanted = "Attempt to insert an unexpected field `extra` to collection without enabling dynamic field"
    for rows in ([{**ROWS[0], "extra": 1}], [ROWS[0], {**ROWS[0], "extra": 1}], {"id": IDS, "extra": IDS}):
        with pytest.raises(errors.DataNotMatchException) as caught:
            plain().batch(rows)
        assert caught.value.message == wanted


@pytest.mark.parametrize(
    ("bad", "found"),
    [("one", str), (1.5, float), (True, bool), (None, type(None)), ([1], list), (np.float64(2), np.float64)],
)
def test_a_value_of_the_wrong_type_is_named(bad: object, found: type) -> None:
    with pytest.raises(errors.DataNotMatchException) as caught:
        plain().batch([*ROWS, {**ROWS[0], "id": bad}])
    assert caught.value.message == (
        "The Input data type is inconsistent with defined schema, "
        f"{{id}} field should be a int64, but got a {{{found}}} instead."
    )


@pytest.mark.parametrize(
    "vector", [[1.0, 2.0], [1.0, 2.0, 3.0, 4.0], np.zeros(2), np.zeros(4, np.float32), []], ids=repr
)
def test_a_vector_of_the_wrong_dimension_names_field_and_dimensions(vector: Any) -> None:
    wanted = (
        f"the dim ({len(vector)}) of field data(vector) is not equal to schema dim (3): "
        f"invalid parameter[expected=3][actual={len(vector)}]"
    )
    for rows in ([{**ROWS[0], "vector": vector}], [ROWS[0], {**ROWS[0], "vector": vector}]):
        with pytest.raises(errors.InvalidParameter) as caught:
            plain().batch(rows)
        assert caught.value.message == wanted


@pytest.mark.parametrize(
    "vectors", [np.zeros((4, 2)), pa.array([[1.0, 2.0]] * 4), pa.array([[1.0, 2.0]] * 4, pa.list_(pa.float32(), 2))]
)
def test_a_matrix_of_the_wrong_dimension_names_field_and_dimensions(vectors: Any) -> None:
    with pytest.raises(errors.InvalidParameter, match=r"dim \(2\) of field data\(vector\).*schema dim \(3\)"):
        plain().batch([IDS, vectors, TEXTS])


@pytest.mark.parametrize("bad", [["a", 1, 2], [None, 1, 2], "abc", 7, {"a": 1}, [[1.0], [2.0], [3.0]]], ids=repr)
def test_a_vector_of_something_else_is_refused(bad: Any) -> None:
    with pytest.raises((errors.DataNotMatchException, errors.InvalidParameter), match="vector"):
        plain().batch([ROWS[0], {**ROWS[0], "vector": bad}])


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(errors.InvalidParameter, match=r"the 1th element \(300\) out of range: \[-128, 127\]"):
        column_of(single(DataType.INT8), [1, 300])
    with pytest.raises(errors.InvalidParameter, match="out of range"):
        column_of(single(DataType.INT64), [2**70])
    with pytest.raises(errors.InvalidParameter, match="float32"):
        column_of(single(DataType.FLOAT), [1e60])
    with pytest.raises(errors.InvalidParameter, match="float32"):
        plain().batch([{**ROWS[0], "vector": [1e60, 0, 0]}])
    with pytest.raises(errors.InvalidParameter, match="out of range"):
        single(DataType.INT8).batch([IDS, np.array([1, 2, 3, 400])])


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(errors.ParamError, match="Arrays must all be same length"):
        plain().batch([IDS, VECTORS, TEXTS[:2]])


def test_the_number_of_columns_must_be_that_of_the_schema() -> None:
    with pytest.raises(errors.DataNotMatchException, match=r"Expected 3 columns \(id, vector, text\), got 2"):
        plain().batch([IDS, VECTORS])


@pytest.mark.parametrize("data", ["text", 7, [ROWS[0], 7], [ROWS[0], [1]]], ids=repr)
def test_data_of_another_kind_is_a_type_error(data: Any) -> None:
    with pytest.raises(TypeError, match="wrong type of argument 'data',expected 'Dict' or list of 'Dict', got"):
        is_empty(data)
        plain().batch(data)


# -- keys, nulls, defaults, functions -----------------------------------------------------------
def auto() -> RowPlan:
    schema = CollectionSchema(auto_id=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    return plan_for(schema.add_field("vector", DataType.FLOAT_VECTOR, dim=3))


def test_automatic_keys_are_left_out_but_upserts_need_them() -> None:
    assert auto().batch([{"vector": [1, 2, 3]}]).schema.names == ["vector"]
    assert auto().batch([VECTORS]).schema.names == ["vector"]
    with pytest.raises(errors.DataNotMatchException, match="`id`"):
        auto().batch([{"vector": [1, 2, 3]}], upsert=True)
    assert auto().batch([IDS, VECTORS], upsert=True).schema.names == ["id", "vector"]


def test_a_partial_upsert_needs_only_the_key() -> None:
    batch = plain().batch([{"id": 1, "text": "new"}], upsert=True, partial=True)
    assert set(batch.schema.names) == {"id", "text"}
    with pytest.raises(errors.DataNotMatchException, match="`id`"):
        plain().batch([{"text": "new"}], upsert=True, partial=True)


def test_nullable_and_defaulted_fields_may_be_absent_or_none() -> None:
    schema = CollectionSchema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2, nullable=True)
    schema.add_field("n", DataType.INT64, nullable=True)
    schema.add_field("d", DataType.VARCHAR, max_length=9, default_value="x")
    plan = plan_for(schema)
    assert plan.batch([{"id": 1}]).schema.names == ["id"]
    batch = plan.batch([{"id": 1, "n": None, "v": None}, {"id": 2, "d": "y", "v": [1, 2]}, {"id": 3, "d": None}])
    assert batch.column("n").to_pylist() == [None] * 3
    assert batch.column("d").to_pylist() == [None, "y", None]
    assert batch.column("v").to_pylist() == [None, [1.0, 2.0], None]
    frame = pd.DataFrame({"id": [1, 2], "n": [np.nan, 5.0]}).astype({"n": "Int64"})
    assert plan.batch(frame).column("n").to_pylist() == [None, 5]


def test_an_output_of_a_function_cannot_be_given() -> None:
    schema = CollectionSchema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("text", DataType.VARCHAR, max_length=9, enable_analyzer=True)
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(Function("bm25", FunctionType.BM25, "text", "sparse"))
    plan = plan_for(schema)
    assert plan.batch([{"id": 1, "text": "a"}]).schema.names == ["id", "text"]
    assert plan.batch([[1], ["a"]]).schema.names == ["id", "text"]
    with pytest.raises(errors.DataNotMatchException, match="unexpected function output field `sparse`"):
        plan.batch([{"id": 1, "text": "a", "sparse": {1: 0.5}}])


# -- other types --------------------------------------------------------------------------------
def test_scalars_of_every_type_become_their_columns() -> None:
    assert column_of(single(DataType.BOOL), [True, np.bool_(False)]).to_pylist() == [True, False]
    assert column_of(single(DataType.INT16), [-5, np.int8(3)]).to_pylist() == [-5, 3]
    assert column_of(single(DataType.DOUBLE), [1, 2.5, np.float32(0.5)]).to_pylist() == [1.0, 2.5, 0.5]
    assert column_of(single(DataType.FLOAT), [1, float("inf")]).to_pylist() == [1.0, float("inf")]
    with pytest.raises(errors.DataNotMatchException, match="bool"):
        column_of(single(DataType.BOOL), [1])


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (DataType.BOOL, pa.array([2])), (DataType.BOOL, pa.array([0.5])), (DataType.INT32, pa.array([True])),
        (DataType.INT32, pa.array([1], pa.date32())), (DataType.INT64, pa.array([1], pa.timestamp("s"))),
        (DataType.FLOAT, pa.array([True])), (DataType.INT64, pa.array([1.0])),
    ],
)  # fmt: skip
def test_an_arrow_column_is_refused_where_a_list_of_its_values_is(kind: DataType, values: pa.Array) -> None:
    with pytest.raises(errors.DataNotMatchException, match=rf"\{{x\}} field should be a {kind.name.lower()}"):
        single(kind).batch(pa.table({"id": [1], "x": values}))


def test_an_arrow_column_is_cast_where_nothing_is_lost() -> None:
    for kind, values in (
        (DataType.BOOL, pa.array(["true"])), (DataType.INT8, pa.array([1], pa.uint64())),
        (DataType.INT64, pa.array([Decimal(1)])), (DataType.DOUBLE, pa.array([1])),
    ):  # fmt: skip
        assert single(kind).batch(pa.table({"id": [1], "x": values})).column("x").to_pylist() == [1]


def test_json_takes_values_and_valid_json_texts() -> None:
    column = column_of(single(DataType.JSON), [{"a": np.int64(1)}, [1, 2], 3.5, '{"b": 2}', True])
    assert column.to_pylist() == [b'{"a":1}', b"[1,2]", b"3.5", b'{"b": 2}', b"true"]
    with pytest.raises(errors.DataNotMatchException, match="Invalid JSON string"):
        column_of(single(DataType.JSON), ["{not json"])


def test_arrays_keep_their_element_type() -> None:
    plan = single(DataType.ARRAY, element_type=DataType.INT16, max_capacity=4, nullable=True)
    column = column_of(plan, [[1, 2], [], None, np.array([3])])
    assert column.type == pa.list_(pa.int16())
    assert column.to_pylist() == [[1, 2], [], None, [3]]
    with pytest.raises(errors.DataNotMatchException, match="int16"):
        column_of(plan, [["a"]])
    with pytest.raises(errors.DataNotMatchException, match="array"):
        column_of(plan, [5])


def test_times_are_sent_as_texts_that_the_server_reads() -> None:
    schema = CollectionSchema().add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("x", DataType.TIMESTAMPTZ, nullable=True)
    plan = plan_for(schema)
    aware = datetime(2025, 1, 1, 8, tzinfo=timezone(timedelta(hours=8)))
    values = ["2025-01-01T00:00:00Z", aware, datetime(2025, 1, 1, 8, 0, 0, 5), None]
    sent = ["2025-01-01T00:00:00Z", "2025-01-01T00:00:00+00:00", "2025-01-01T08:00:00.000005", None]
    assert column_of(plan, values).to_pylist() == sent
    with pytest.raises(errors.DataNotMatchException, match="timestamptz"):
        column_of(plan, [5, "", "", ""])


def test_arrays_of_times_are_read_as_columns() -> None:
    schema = CollectionSchema().add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("x", DataType.TIMESTAMPTZ, nullable=True)
    plan = plan_for(schema)

    def sent(values: Any) -> list[Any]:
        listed: list[Any] = plan.batch({"id": np.arange(2), "x": values}).column("x").to_pylist()
        return listed

    stamps = np.array(["2025-01-01T00:00:00", "NaT"], "datetime64[s]")
    micros = 1_735_689_600_000_000
    assert sent(stamps) == ["2025-01-01 00:00:00.000000", None]
    assert sent(pa.array(stamps)) == ["2025-01-01 00:00:00.000000", None]
    assert sent(pa.array(stamps).cast(pa.timestamp("ms", "Asia/Tokyo"))) == [micros, None]
    assert sent(pd.Series(stamps)) == ["2025-01-01 00:00:00.000000", None]
    assert sent(pa.array([micros, None])) == [micros, None]
    assert sent(pa.array(["2025-01-01T00:00:00Z", None], pa.large_string())) == ["2025-01-01T00:00:00Z", None]
    with pytest.raises(errors.DataNotMatchException, match="timestamptz"):
        sent(pa.array([1.5, 2.5]))


HALF = np.array([1.5, -2.0, 0.25, 8.0], dtype=np.float16)


def test_half_precision_vectors_come_as_bytes_arrays_or_lists() -> None:
    plan = single(DataType.FLOAT16_VECTOR, dim=4)
    values = [HALF, HALF.tobytes(), HALF.tolist(), [HALF.tobytes()], HALF.astype(np.float64)]
    assert column_of(plan, values).to_pylist() == [HALF.tobytes()] * 5
    assert plan.batch([IDS, np.stack([HALF] * 4)]).column("x").to_pylist() == [HALF.tobytes()] * 4
    with pytest.raises(errors.InvalidParameter, match=r"dim \(3\) of field data\(x\)"):
        column_of(plan, [b"123456"])


def test_bfloat16_vectors_round_to_the_nearest() -> None:
    plan = single(DataType.BFLOAT16_VECTOR, dim=2)
    values = np.array([1.0, 3.14159], dtype=np.float32)
    halves = to_bfloat16(values)
    back = (halves.astype(np.uint32) << 16).view(np.float32)
    assert np.abs(back - values).max() < 0.01
    assert column_of(plan, [values.tolist(), values, halves.tobytes()]).to_pylist() == [halves.tobytes()] * 3


def test_binary_and_byte_vectors_come_as_bytes_or_arrays() -> None:
    plan = single(DataType.BINARY_VECTOR, dim=16)
    assert column_of(plan, [b"\x01\xff", np.array([1, 255], np.uint8), [1, 255]]).to_pylist() == [b"\x01\xff"] * 3
    with pytest.raises(
        errors.InvalidParameter, match=r"dim \(24\) of field data\(x\) is not equal to schema dim \(16\)"
    ):
        column_of(plan, [b"\x01\x02\x03"])
    plan = single(DataType.INT8_VECTOR, dim=2)
    assert column_of(plan, [[1, -2], np.array([1, -2], np.int8), b"\x01\xfe"]).to_pylist() == [[1, -2]] * 3
    with pytest.raises(errors.DataNotMatchException, match="int8"):
        column_of(plan, [[1, 200]])


def test_sparse_vectors_come_as_dicts_pairs_or_matrices() -> None:
    from scipy.sparse import csr_array

    wanted = struct.pack("<IfIf", 3, 0.5, 70000, 1.0)
    matrix = csr_array(([0.5, 1.0], ([0, 0], [3, 70000])), shape=(1, 80000))
    plan = single(DataType.SPARSE_FLOAT_VECTOR)
    values = [{70000: 1, 3: 0.5}, [(3, 0.5), (70000, 1.0)], matrix, wanted]
    assert column_of(plan, values).to_pylist() == [wanted] * 4
    assert plan.batch([np.array([1]), matrix]).column("x").to_pylist() == [wanted]
    assert sparse_dict(wanted) == {3: 0.5, 70000: 1.0}
    for bad in ({-1: 0.5}, {1.5: 1.0}, {1: -0.5}, {1: float("nan")}, {2**32: 1.0}, [(1, 1.0), (1, 2.0)]):
        with pytest.raises(errors.InvalidParameter, match="invalid sparse float vector"):
            column_of(plan, [bad])


def test_columns_whose_arrow_type_is_ambiguous_say_what_they_are() -> None:
    for kind, settings in ((DataType.FLOAT16_VECTOR, {"dim": 4}), (DataType.SPARSE_FLOAT_VECTOR, {})):
        plan = single(kind, **settings)
        values = [HALF] if kind is DataType.FLOAT16_VECTOR else [{1: 0.5}]
        batch = plan.batch([{"id": 1, "x": value} for value in values])
        assert data_type_of(batch.schema.field("x")) is kind
        assert plan.batch(batch).equals(batch)
    assert plain().batch(ROWS).schema.field("vector").metadata is None


# -- query vectors ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "data",
    [
        [[1.0, 2.0]], [(1, 2)], [1.0, 2.0], ([1.0, 2.0],), np.array([1.0, 2.0]), np.array([[1, 2]]),
        [np.array([1.0, 2.0], np.float32)],
    ],
    ids=repr,
)  # fmt: skip
def test_query_vectors_of_every_form_become_one_matrix(data: Any) -> None:
    made = queries(data, "v")
    assert made.data_type is DataType.FLOAT_VECTOR
    assert made.vectors is not None
    assert made.vectors.dtype == np.float32
    assert made.vectors.tolist() == [[1.0, 2.0]]


def test_query_vectors_of_other_kinds_say_which() -> None:
    assert queries([HALF], "v").data_type is DataType.FLOAT16_VECTOR
    assert queries(np.zeros((3, 2), np.int8), "v").nq == 3
    assert queries([b"\x01"], "v").data_type is DataType.BINARY_VECTOR
    assert queries([{1: 0.5}], "v").data_type is DataType.SPARSE_FLOAT_VECTOR
    assert queries("find me", "v") == queries(["find me"], "v")
    assert queries(["find me"], "v").data_type is DataType.VARCHAR


@pytest.mark.parametrize(
    "data", [[], 7, [[1.0, "a"]], [[1.0, 2.0], [1.0]], [np.zeros(2), np.zeros(3)], [None]], ids=repr
)
def test_query_vectors_that_make_no_sense_are_refused(data: Any) -> None:
    with pytest.raises(errors.InvalidInput):
        queries(data, "v")


# -- filters by key and large writes ------------------------------------------------------------
def test_keys_in_filters_are_quoted() -> None:
    assert plain().filter_of([1, np.int64(2)]) == "id in [1, 2]"
    schema = CollectionSchema().add_field("key", DataType.VARCHAR, is_primary=True, max_length=9)
    assert plan_for(schema).filter_of(["a", 'b"c\\']) == 'key in ["a", "b\\"c\\\\"]'
    assert plan_for(schema).filter_of(["a\r\n\tb"]) == r'key in ["a\r\n\tb"]'


def test_large_batches_are_cut_by_their_weight() -> None:
    batch = plain().batch([np.arange(1000), np.zeros((1000, 3), np.float32), ["x" * (i % 50) for i in range(1000)]])
    limit = 10_000
    rest, parts = batch, []
    while rest.num_rows:
        part = head(rest, limit)
        assert wire_bytes(part) <= limit
        parts.append(part)
        rest = rest.slice(part.num_rows)
    assert pa.Table.from_batches(parts).equals(pa.Table.from_batches([batch]))
    assert len(parts) < 12
    assert head(batch, 1).num_rows == 1
    assert head(batch, None) is batch
