"""Arrays of structs as users hold them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import redkite
from redkite import DataType, EmbeddingList
from redkite.client.structs import struct_columns, struct_values
from redkite.client.vectors import queries
from redkite.errors import DataNotMatchException, InvalidParameter, MilvusException, ParamError
from redkite.model.batch import known_field
from redkite.model.structs import joined, runs, split_name


def struct(nullable: bool = True) -> Any:
    made = redkite.MilvusClient.create_struct_field_schema(nullable=nullable)
    made.add_field("word", DataType.VARCHAR, max_length=9).add_field("v", DataType.FLOAT_VECTOR, dim=2)
    made.name, made.max_capacity = "s", 5
    return made.to_model()


ROWS: list[Any] = [
    [{"word": "a", "v": [1.0, 2.0]}, {"word": "b", "v": [3.0, 4.0]}],
    [],
    None,
    [{"word": "c", "v": [5.0, 6.0]}],
]


def batch(shape: Any, columns: dict[str, pa.Array]) -> pa.RecordBatch:
    fields = [known_field(part, columns[part.name].type) for part in shape.fields]
    return pa.RecordBatch.from_arrays([columns[part.name] for part in shape.fields], schema=pa.schema(fields))


@pytest.mark.parametrize("given", [ROWS, tuple(ROWS), np.array([*ROWS, None], object)[:-1]])
def test_rows_become_a_column_for_each_sub_field_and_rows_again(given: Any) -> None:
    shape = struct()
    columns = struct_columns(shape, given)
    assert list(columns) == ["s[word]", "s[v]"]
    assert columns["s[word]"].to_pylist() == [["a", "b"], [], None, ["c"]]
    assert columns["s[v]"].type == pa.list_(pa.list_(pa.float32(), 2))
    rows = batch(shape, columns)
    assert struct_values(rows, [0, 1]) == ROWS
    assert struct_values(rows.slice(1, 3), [0, 1]) == ROWS[1:]
    arrow = joined(rows.slice(1, 3), [0, 1])
    assert arrow.to_pylist() == ROWS[1:]
    again = struct_columns(shape, arrow)
    assert all(again[name].equals(columns[name].slice(1, 3)) for name in columns)
    assert struct_columns(shape, pa.chunked_array([arrow, arrow]))["s[word]"].to_pylist() == 2 * [[], None, ["c"]]


def test_vectors_of_a_struct_may_be_arrays() -> None:
    column = struct_columns(struct(), [[{"word": "a", "v": np.array([1, 2], np.float32)}]])["s[v]"]
    assert column.to_pylist() == [[[1.0, 2.0]]]


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([[{"word": "a"}]], "row 0, element 0: missing required fields: ['v']"),
        ([[], [{"word": "a", "v": [1, 2], "x": 1}]], "row 1, element 0: has unexpected fields: ['x']"),
        ([[{"word": "a", "v": [1, 2]}, 5]], "row 0, element 1: expected a dict"),
        ([None], "row 0: expected a list, the field is not nullable"),
        (["abc"], "row 0: expected a list of dicts"),
        (5, "expected a list of dicts for each row"),
        ([[{"word": None, "v": [1, 2]}]], "s[word]"),
        (pa.array([1]), "expected an Arrow column of lists of structs, got int64"),
        (pa.array([[{"word": "a"}]]), "expected the fields ['v', 'word'], got ['word']"),
    ],
)
def test_what_is_no_array_of_these_structs_is_refused(rows: Any, text: str) -> None:
    with pytest.raises(DataNotMatchException) as caught:
        struct_columns(struct(nullable=False), rows)
    assert text in caught.value.message


def test_names_of_columns_tell_their_struct() -> None:
    assert split_name("s[word]") == ("s", "word")
    for name in ("s", 's["word"]', "s[0]", "$meta", "a[b][c]", "[b]"):
        assert split_name(name) == ("", "")
    assert list(runs(["id", "s[a]", "x", "s[b]"])) == [("id", [0]), ("s", [1, 3]), ("x", [2])]


# -- schemas ------------------------------------------------------------------------------------
def test_a_struct_schema_wants_a_capacity_and_a_shape() -> None:
    schema = redkite.MilvusClient.create_schema()
    for settings in ({"max_capacity": 3}, {"struct_schema": redkite.StructFieldSchema()}):
        with pytest.raises(ParamError, match="is required when datatype is STRUCT"):
            schema.add_field("s", DataType.ARRAY, element_type=DataType.STRUCT, **settings)


# -- embedding lists ----------------------------------------------------------------------------
def test_an_embedding_list_knows_its_vectors() -> None:
    made = EmbeddingList([[1.0, 2.0]]).add(np.array([3.0, 4.0])).add_batch(np.array([[5.0, 6.0]]))
    assert (len(made), made.dim, made.shape, made.total_dim, made.dtype) == (3, 2, (3, 2), 6, np.dtype(np.float32))
    assert made.to_flat_array().tolist() == [1, 2, 3, 4, 5, 6]
    assert made.to_numpy().tolist() == [[1, 2], [3, 4], [5, 6]]
    assert [vector.tolist() for vector in made] == made.to_numpy().tolist()
    assert made[1].tolist() == [3, 4]
    assert made.nbytes == 24
    assert not made.is_empty
    assert repr(made) == "EmbeddingList(count=3, dim=2, dtype=float32)"
    assert made.clear().is_empty
    with pytest.raises(ValueError, match="EmbeddingList is empty"):
        made.to_flat_array()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: EmbeddingList([[1.0, 2.0], [1.0]]), "Embedding dimension 1 doesn't match existing 2"),
        (lambda: EmbeddingList([[1.0]], dim=2), "Embedding dimension 1 doesn't match expected 2"),
        (lambda: EmbeddingList(np.zeros((1, 1, 1))), "Batch embeddings must be 2D, got 3D"),
        (lambda: EmbeddingList().add(np.zeros((2, 2))), "Embedding must be 1D"),
    ],
)
def test_vectors_that_do_not_belong_together_are_refused(make: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()


def test_lists_become_queries_of_their_kind() -> None:
    asked = queries([EmbeddingList([[1, 2], [3, 4]]), EmbeddingList([[5, 6]])], "s[v]")
    assert (asked.data_type, asked.are_lists, asked.nq) == (DataType.FLOAT_VECTOR, True, 2)
    assert [len(raw) for raw in asked.raw] == [16, 8]
    for dtype, kind in (("float16", DataType.FLOAT16_VECTOR), ("int8", DataType.INT8_VECTOR)):
        assert queries(EmbeddingList([[1, 2]], dtype=dtype), "s[v]").data_type is kind
    assert queries([EmbeddingList([b"ab"])], "s[v]").data_type is DataType.BINARY_VECTOR
    with pytest.raises(InvalidParameter, match="several types"):
        queries([EmbeddingList([[1, 2]]), EmbeddingList([[1, 2]], dtype="int8")], "s[v]")
    with pytest.raises(MilvusException, match="cannot be mixed"):
        queries([EmbeddingList([[1, 2]]), [1, 2]], "s[v]")
