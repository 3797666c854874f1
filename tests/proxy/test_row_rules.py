from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redkite.errors import InvalidParameter
from redkite.model.batch import arrow_field, arrow_type, batch_field, vectors_to_arrow
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import DataType
from redkite.proxy.rules.finite import check_finite
from redkite.proxy.rules.row_rules import RowRules, check_rows

END = ": invalid parameter"
ID = FieldSchema(name="id", data_type=DataType.INT64, is_primary=True)
VECTOR = FieldSchema(name="v", data_type=DataType.FLOAT_VECTOR, params={"dim": "2"})
META = FieldSchema(name="$meta", data_type=DataType.JSON, is_dynamic=True)


def field(kind: DataType, **more: Any) -> FieldSchema:
    return FieldSchema(name="f", data_type=kind, **more)


def make_schema(*extra: FieldSchema, dynamic: bool = False, **more: Any) -> CollectionSchema:
    fields = (ID, VECTOR, *extra, *((META,) if dynamic else ()))
    return CollectionSchema(name="c", fields=fields, enable_dynamic_field=dynamic, **more)


def column(one: FieldSchema, values: list[Any] | pa.Array) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, arrow_type(one))


def make_rows(*extra: tuple[FieldSchema, Any], ids: Any = (1, 2), vectors: Any = ((1, 0), (0, 1))) -> pa.RecordBatch:
    """Two rows; the extra columns are given as (field they claim to be, values)."""
    given = [(ID, pa.array(list(ids), pa.int64()))] if ids is not None else []
    if vectors is not None:
        given.append((VECTOR, vectors_to_arrow(np.array(vectors, np.float32))))
    given += [(one, column(one, values)) for one, values in extra]
    schema = pa.schema([arrow_field(one.name, one.data_type, values.type) for one, values in given])
    return pa.RecordBatch.from_arrays([values for _, values in given], schema=schema)


def refused(schema: CollectionSchema, rows: pa.RecordBatch, *, upsert: bool = False) -> str:
    with pytest.raises(InvalidParameter) as caught:
        check_rows(schema, rows, upsert)
    assert caught.value.code == 1100
    return caught.value.message


# -- which columns --------------------------------------------------------------------------------
def test_columns_come_out_in_schema_order_with_exact_types() -> None:
    schema = make_schema(field(DataType.INT8), dynamic=True)
    rows = make_rows((META, [b'{"a":1}', b"{}"]), (field(DataType.INT8), [5, -5]))
    checked = check_rows(schema, rows.select(["$meta", "f", "v", "id"]), upsert=False)
    assert checked.schema.equals(pa.schema([batch_field(f) for f in schema.fields]), check_metadata=True)
    assert checked.column("f").to_pylist() == [5, -5]
    checked.validate(full=True)


def test_columns_of_the_right_type_are_not_copied() -> None:
    rows = make_rows()
    checked = check_rows(make_schema(), rows, upsert=False)
    assert checked.column("v").flatten().buffers()[1].address == rows.column("v").flatten().buffers()[1].address


def test_a_batch_without_rows_is_refused() -> None:
    assert refused(make_schema(), make_rows().slice(0, 0)) == (
        "num_rows should be greater than 0: invalid parameter[expected=invalid num_rows][actual=0]"
    )


def test_a_missing_column_is_named() -> None:
    assert refused(make_schema(field(DataType.INT64)), make_rows()) == (
        "fieldSchema(f) has no corresponding fieldData pass in" + END
    )
    assert refused(make_schema(), make_rows(ids=None)) == (
        "fieldSchema(id) has no corresponding fieldData pass in" + END
    )


def test_an_unknown_column_is_named() -> None:
    assert refused(make_schema(), make_rows((field(DataType.INT64), [1, 2]))) == (
        "fieldName f not exist in collection schema, fieldType Int64, fieldId 0" + END
    )
    assert refused(make_schema(), make_rows((META, [b"{}", b"{}"]))) == (
        "fieldName $meta not exist in collection schema, fieldType JSON, fieldId 0" + END
    )


def test_a_column_given_twice_is_refused() -> None:
    rows = make_rows((ID, [1, 2]))
    assert refused(make_schema(), rows) == "duplicated field name id found" + END


# -- primary keys ---------------------------------------------------------------------------------
AUTO = CollectionSchema(
    name="c", fields=(FieldSchema(name="id", data_type=DataType.INT64, is_primary=True, auto_id=True), VECTOR)
)
AUTO_TEXT = CollectionSchema(
    name="c",
    fields=(
        FieldSchema(name="id", data_type=DataType.VARCHAR, is_primary=True, auto_id=True, params={"max_length": "20"}),
        VECTOR,
    ),
)


def test_automatic_keys_are_put_in() -> None:
    rows = make_rows(ids=None)
    keys = pa.array([70, 71], pa.int64())
    assert RowRules(AUTO).needs_ids(rows, upsert=False)
    assert check_rows(AUTO, rows, upsert=False, auto_ids=keys).column("id").to_pylist() == [70, 71]
    assert check_rows(AUTO_TEXT, rows, upsert=False, auto_ids=keys).column("id").to_pylist() == ["70", "71"]
    with pytest.raises(ValueError, match="one generated key each"):
        check_rows(AUTO, rows, upsert=False)


def test_a_given_key_is_refused_under_automatic_keys_unless_the_collection_allows_it() -> None:
    assert refused(AUTO, make_rows()) == (
        "can not assign primary field data when auto id enabled and allow_insert_auto_id is false id" + END
    )
    allowing = CollectionSchema(name="c", fields=AUTO.fields, properties={"allow_insert_auto_id": "true"})
    assert not RowRules(allowing).needs_ids(make_rows(), upsert=False)
    assert check_rows(allowing, make_rows(), upsert=False).column("id").to_pylist() == [1, 2]


def test_an_upsert_needs_the_key_and_keeps_it() -> None:
    for schema in (AUTO, make_schema()):
        assert refused(schema, make_rows(ids=None), upsert=True) == (
            "must assign pk when upsert, primary field: id" + END
        )
        assert check_rows(schema, make_rows(), upsert=True).column("id").to_pylist() == [1, 2]


def test_an_upsert_may_not_name_a_key_twice() -> None:
    assert refused(make_schema(), make_rows(ids=(1, 1)), upsert=True) == (
        "duplicate primary keys are not allowed in the same batch" + END
    )
    check_rows(make_schema(), make_rows(ids=(1, 1)), upsert=False)


# -- nulls and defaults ---------------------------------------------------------------------------
def test_a_null_stays_in_a_nullable_field_and_becomes_the_default_where_there_is_one() -> None:
    nullable, default = field(DataType.INT64, nullable=True), field(DataType.INT64, default_value=7)
    both = field(DataType.INT64, nullable=True, default_value=7)
    for one, kept in ((nullable, [None, 2]), (default, [7, 2]), (both, [7, 2])):
        checked = check_rows(make_schema(one), make_rows((one, [None, 2])), upsert=False)
        assert checked.column("f").to_pylist() == kept


def test_an_absent_column_is_null_or_the_default() -> None:
    for one, kept in (
        (field(DataType.VARCHAR, nullable=True, params={"max_length": "9"}), None),
        (field(DataType.VARCHAR, default_value="x", params={"max_length": "9"}), "x"),
        (field(DataType.FLOAT, default_value=1), 1.0),
        (field(DataType.BOOL, default_value=False), False),
        (field(DataType.ARRAY, nullable=True, element_type=DataType.INT8, params={"max_capacity": "9"}), None),
        (field(DataType.JSON, nullable=True), None),
    ):
        checked = check_rows(make_schema(one), make_rows(), upsert=False)
        assert checked.column("f").to_pylist() == [kept, kept]
        assert checked.column("f").type == arrow_type(one)


def test_a_column_of_nulls_needs_no_type() -> None:
    nullable = field(DataType.VARCHAR, nullable=True, params={"max_length": "9"})
    checked = check_rows(make_schema(nullable), make_rows((nullable, pa.nulls(2))), upsert=False)
    assert checked.column("f").to_pylist() == [None, None]
    assert "does not support null, but row 0 is null" in refused(make_schema(), make_rows(vectors=None).append_column(
        "v", pa.nulls(2)))  # fmt: skip


def test_a_null_elsewhere_is_refused_with_its_row() -> None:
    one = field(DataType.INT64)
    assert refused(make_schema(one), make_rows((one, [1, None]))) == (
        "the field(f) does not support null, but row 1 is null" + END
    )
    assert refused(make_schema(), make_rows(ids=(None, 1))) == (
        "the field(id) does not support null, but row 0 is null" + END
    )


# -- types ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("wanted", "claimed", "values", "got"),
    [
        (field(DataType.INT64), field(DataType.VARCHAR), ["a", "b"], "got VarChar array"),
        (field(DataType.INT64), field(DataType.INT32), [1, 2], "got Int32 array"),
        (field(DataType.INT32), field(DataType.INT64), [1, 2], "got Int64 array"),
        (field(DataType.FLOAT), field(DataType.DOUBLE), [1.0, 2.0], "got Double array"),
        (field(DataType.BOOL), field(DataType.INT8), [1, 0], "got Int8 array"),
        (field(DataType.JSON), field(DataType.VARCHAR), ["{}", "{}"], "got VarChar array"),
        (field(DataType.JSON), field(DataType.SPARSE_FLOAT_VECTOR), [b"", b""], "got SparseFloatVector array"),
        (
            field(DataType.FLOAT16_VECTOR, params={"dim": "2"}), field(DataType.BFLOAT16_VECTOR, params={"dim": "2"}),
            [b"abcd", b"abcd"], "got BFloat16Vector array",
        ),
        (
            field(DataType.ARRAY, element_type=DataType.INT64, params={"max_capacity": "4"}),
            field(DataType.ARRAY, element_type=DataType.DOUBLE), [[1.0], []], "got list<item: double> array",
        ),
    ],
)  # fmt: skip
def test_a_column_of_another_type_is_refused(wanted: FieldSchema, claimed: FieldSchema, values: Any, got: str) -> None:
    need = f"need {wanted.data_type.wire_name} array"
    assert refused(make_schema(wanted), make_rows((claimed, values))) == (
        f"field f is illegal, array type mismatch: invalid parameter[expected={need}][actual={got}]"
    )


@pytest.mark.parametrize("kind", [DataType.INT8, DataType.INT16])
def test_small_integers_may_come_wider_but_must_fit(kind: DataType) -> None:
    high = 127 if kind is DataType.INT8 else 32_767
    one, wide = field(kind, nullable=True), field(DataType.INT32)
    checked = check_rows(make_schema(one), make_rows((wide, [None, high])), upsert=False)
    assert checked.column("f").to_pylist() == [None, high]
    assert checked.column("f").type == arrow_type(one)
    assert refused(make_schema(one), make_rows((wide, [high, high + 1]))) == (
        f"the 1th element ({high + 1}) out of range: [{-high - 1}, {high}]: invalid parameter"
        "[expected=integer doesn't overflow][actual=out of range]"
    )


# -- vectors --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("wanted", "claimed", "values"),
    [
        (VECTOR, VECTOR, None),
        (field(DataType.BINARY_VECTOR, params={"dim": "16"}), field(DataType.BINARY_VECTOR, params={"dim": "24"}),
         [b"abc", b"abc"]),
        (field(DataType.FLOAT16_VECTOR, params={"dim": "2"}), field(DataType.FLOAT16_VECTOR, params={"dim": "3"}),
         [b"abcdef", b"abcdef"]),
        (field(DataType.INT8_VECTOR, params={"dim": "2"}), field(DataType.INT8_VECTOR, params={"dim": "3"}),
         [[1, 2, 3], [4, 5, 6]]),
    ],
)  # fmt: skip
def test_a_wrong_dimension_is_refused(wanted: FieldSchema, claimed: FieldSchema, values: Any) -> None:
    if values is None:
        text = refused(make_schema(), make_rows(vectors=((1, 2, 3), (4, 5, 6))))
        expected, actual = 2, 3
    else:
        text = refused(make_schema(wanted), make_rows((claimed, values)))
        expected, actual = wanted.dim, claimed.dim
    assert text == (
        f"the dim ({actual}) of field data({wanted.name}) is not equal to schema dim ({expected}): invalid parameter"
        f"[expected={expected}][actual={actual}]"
    )


@pytest.mark.parametrize(("value", "shown"), [(np.nan, "NaN"), (np.inf, "+Inf"), (-np.inf, "-Inf")])
@pytest.mark.parametrize("kind", [DataType.FLOAT, DataType.DOUBLE, DataType.FLOAT_VECTOR, DataType.ARRAY])
def test_values_that_are_not_numbers_are_refused(kind: DataType, value: float, shown: str) -> None:
    if kind is DataType.FLOAT_VECTOR:
        text = refused(make_schema(), make_rows(vectors=((0, 1), (2, value))))
    elif kind is DataType.ARRAY:
        one = field(kind, element_type=DataType.DOUBLE, params={"max_capacity": "4"})
        text = refused(make_schema(one), make_rows((one, [[], [1.0, value]])))
    else:
        text = refused(make_schema(field(kind)), make_rows((field(kind), [1.0, value])))
    assert text == f"value '{shown}' is not a number or infinity" + END


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(("value", "fine"), [(np.nan, False), (-np.inf, False), (3e38, True), (0.0, True)])
def test_one_value_among_very_many_is_found(kind: type[np.floating], value: float, fine: bool) -> None:
    values = np.ones(200_000, kind)
    values[-1] = value
    with nullcontext() if fine else pytest.raises(InvalidParameter, match="is not a number or infinity"):
        check_finite(values)


def test_only_the_rows_given_are_looked_at() -> None:
    whole = make_rows(vectors=((np.nan, 1), (2, 3)))
    assert check_rows(make_schema(), whole.slice(1), upsert=False).num_rows == 1
    half = field(DataType.FLOAT16_VECTOR, params={"dim": "2"})
    rows = make_rows((half, [b"\xff\xff\xff\xff", b"\0\0\0\0"]))
    assert check_rows(make_schema(half), rows.slice(1), upsert=False).num_rows == 1


def test_a_vector_has_no_null_elements() -> None:
    holes = pa.FixedSizeListArray.from_arrays(pa.array([1, None, 3, 4], pa.float32()), 2)
    assert "null elements" in refused(make_schema(), make_rows((VECTOR, holes), vectors=None))


@pytest.mark.parametrize(
    ("kind", "bits", "name"),
    [
        (DataType.FLOAT16_VECTOR, 0x7C00, "float16"), (DataType.FLOAT16_VECTOR, 0xFE00, "float16"),
        (DataType.BFLOAT16_VECTOR, 0x7F80, "bfloat16"), (DataType.BFLOAT16_VECTOR, 0xFFC0, "bfloat16"),
    ],
)  # fmt: skip
def test_half_vectors_must_be_finite(kind: DataType, bits: int, name: str) -> None:
    one = field(kind, params={"dim": "2"})
    good, bad = b"\x00\x3c\x00\x3c", b"\x00\x3c" + bits.to_bytes(2, "little")
    check_rows(make_schema(one), make_rows((one, [good, good])), upsert=False)
    assert refused(make_schema(one), make_rows((one, [good, bad]))) == (
        f"{name} vector contain nan or infinity value." + END
    )


def sparse(*pairs: tuple[int, float]) -> bytes:
    return b"".join(int(i).to_bytes(4, "little") + np.float32(v).tobytes() for i, v in pairs)


SPARSE = field(DataType.SPARSE_FLOAT_VECTOR)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"1234567", "the length (7) of its bytes should be a multiple of 8"),
        (sparse((3, 1), (3, 1)), "indexes should be strictly increasing"),
        (sparse((3, 1), (2, 1)), "indexes should be strictly increasing"),
        (sparse((2**32 - 1, 1)), "index 4294967295 should be less than 4294967295"),
        (sparse((3, -1)), "values should not be negative"),
        (sparse((3, np.nan)), "values should be finite numbers"),
    ],
)
def test_a_bad_sparse_vector_is_refused(value: bytes, reason: str) -> None:
    good = sparse((1, 0.5), (9, 1))
    for rows in ([good, value], [value, good]):
        assert refused(make_schema(SPARSE), make_rows((SPARSE, rows))) == f"invalid sparse float vector: {reason}" + END


@given(st.lists(st.lists(st.integers(0, 2**32 - 2), max_size=5, unique=True).map(sorted), min_size=1, max_size=6))
def test_sparse_vectors_in_order_are_accepted(rows: list[list[int]]) -> None:
    values = pa.array([b"old", *(sparse(*((i, 1.0) for i in row)) for row in rows)], pa.binary()).slice(1)
    given = make_rows((SPARSE, values), ids=range(len(rows)), vectors=[(0, 0)] * len(rows))
    assert check_rows(make_schema(SPARSE), given, upsert=False).column("f").to_pylist() == values.to_pylist()


# -- texts, arrays, JSON --------------------------------------------------------------------------
def test_a_long_text_is_refused_by_its_bytes() -> None:
    one = field(DataType.VARCHAR, nullable=True, params={"max_length": "4"})
    check_rows(make_schema(one), make_rows((one, ["éé", None])), upsert=False)
    assert refused(make_schema(one), make_rows((one, [None, "ééé"]))) == (
        "length of varchar field f exceeds max length, row number: 1, length: 6, max length: 4" + END
    )


def test_array_limits_name_row_and_element() -> None:
    one = field(
        DataType.ARRAY, nullable=True, element_type=DataType.VARCHAR, params={"max_capacity": "2", "max_length": "3"}
    )
    check_rows(make_schema(one), make_rows((one, [["abc", "d"], None])), upsert=False)
    assert refused(make_schema(one), make_rows((one, [[], ["a", "b", "c"]]))) == (
        "the length (3) of 1th array exceeds max capacity (2): invalid parameter"
        "[expected=valid length array][actual=array length exceeds max capacity]"
    )
    assert refused(make_schema(one), make_rows((one, [["a"], ["b", "long"]]))) == (
        'length of Array array field "f" exceeds max length, row number: 1, array index: 1, length: 4, max length: 3'
        + END
    )
    assert "null elements" in refused(make_schema(one), make_rows((one, [["a"], [None]])))


def not_utf8() -> pa.Array:
    """Two texts as Arrow takes them from whoever gives it bytes; the second is none."""
    return pa.array([b"ok", b"a\xff"], pa.binary()).view(pa.string())


def test_a_text_that_is_not_utf8_is_refused_with_its_row() -> None:
    one = field(DataType.VARCHAR, nullable=True, params={"max_length": "9"})
    assert refused(make_schema(one), make_rows((one, not_utf8()))) == (
        "a text of field f is not valid UTF-8, row number: 1" + END
    )
    under_null = pa.Array.from_buffers(pa.string(), 2, [pa.py_buffer(b"\x01"), *not_utf8().buffers()[1:]])
    assert under_null.null_count == 1
    check_rows(make_schema(one), make_rows((one, under_null)), upsert=False)


def test_a_text_of_an_array_that_is_not_utf8_is_refused_with_its_place() -> None:
    one = field(DataType.ARRAY, element_type=DataType.VARCHAR, params={"max_capacity": "2", "max_length": "3"})
    given = pa.ListArray.from_arrays(pa.array([0, 0, 2], pa.int32()), not_utf8(), type=arrow_type(one))
    assert refused(make_schema(one), make_rows((one, given))) == (
        'a text of Array array field "f" is not valid UTF-8, row number: 1, array index: 1' + END
    )


def test_array_elements_may_come_wider_but_must_fit() -> None:
    one = field(DataType.ARRAY, element_type=DataType.INT8, params={"max_capacity": "4"})
    wide = field(DataType.ARRAY, element_type=DataType.INT32)
    checked = check_rows(make_schema(one), make_rows((wide, [[1, 127], []])), upsert=False)
    assert checked.column("f").to_pylist() == [[1, 127], []]
    assert "the 2th element (128) out of range: [-128, 127]" in refused(
        make_schema(one), make_rows((wide, [[1, 127], [128]]))
    )
    untyped = pa.array([[], []], pa.list_(pa.null()))
    assert check_rows(make_schema(one), make_rows((one, untyped)), upsert=False).column("f").to_pylist() == [[], []]


@pytest.mark.parametrize("text", [b"", b"{", b"nan", b"{'a': 1}", b'"\xff"', b"[" * 2_000 + b"]" * 2_000])
def test_text_that_is_not_json_is_refused(text: bytes) -> None:
    one = field(DataType.JSON)
    assert refused(make_schema(one), make_rows((one, [b"{}", text]))).startswith(
        "field f holds a value that is not valid JSON"
    )


def test_any_json_value_fits_a_json_field_up_to_its_size() -> None:
    one = field(DataType.JSON, nullable=True)
    values = [b"[1,null]", None]
    assert check_rows(make_schema(one), make_rows((one, values)), upsert=False).column("f").to_pylist() == values
    assert refused(make_schema(one), make_rows((one, [b"1", b'"' + b"x" * 65_535 + b'"']))) == (
        "the length (65537) of json field exceeds max length (65536): invalid parameter"
        "[expected=valid length json string][actual=length exceeds max length]"
    )


def test_absent_and_null_dynamic_values_are_empty_objects() -> None:
    schema = make_schema(dynamic=True)
    assert check_rows(schema, make_rows(), upsert=False).column("$meta").to_pylist() == [b"{}", b"{}"]
    checked = check_rows(schema, make_rows((META, [None, b'{"a":1}'])), upsert=False)
    assert checked.column("$meta").to_pylist() == [b"{}", b'{"a":1}']


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1], "invalid dynamic field data, only json map is supported: [1]"),
        (None, "invalid dynamic field data, only json map is supported: null"),
        ({"a": 1, "v": 2}, "dynamic field name cannot include the static field name: v"),
        ({"$meta": 1}, "cannot set json key to: $meta"),
        (
            {"a": "x" * 65_536},
            "the length (65544) of dynamic field exceeds max length (65536)",
        ),
    ],
)
def test_dynamic_values_are_objects_with_keys_of_their_own(value: Any, text: str) -> None:
    assert refused(make_schema(dynamic=True), make_rows((META, [b"{}", orjson.dumps(value)]))).startswith(text + END)
