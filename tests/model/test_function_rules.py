"""What the functions of a schema may be."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from redkite.errors import MilvusException
from redkite.model.rules.function_rules import bm25_outputs, check_functions, function_of_output, settled
from redkite.model.schema import CollectionSchema, FieldSchema, FunctionSchema
from redkite.model.types import DataType, FunctionType

END = ": invalid parameter"
FIELDS = (
    FieldSchema(name="id", data_type=DataType.INT64, is_primary=True),
    FieldSchema(name="text", data_type=DataType.VARCHAR, params={"max_length": "9", "enable_analyzer": "true"}),
    FieldSchema(name="long", data_type=DataType.TEXT, nullable=True, params={"enable_analyzer": "True"}),
    FieldSchema(name="plain", data_type=DataType.VARCHAR, params={"max_length": "9"}),
    FieldSchema(name="words", data_type=DataType.SPARSE_FLOAT_VECTOR),
    FieldSchema(name="more", data_type=DataType.SPARSE_FLOAT_VECTOR),
    FieldSchema(name="maybe", data_type=DataType.SPARSE_FLOAT_VECTOR, nullable=True),
    FieldSchema(name="dense", data_type=DataType.FLOAT_VECTOR, params={"dim": "8"}),
    FieldSchema(name="key", data_type=DataType.VARCHAR, is_partition_key=True),
)


def function(
    name: str = "f", inputs: Any = ("text",), outputs: Any = ("words",), kind: FunctionType = FunctionType.BM25,
    **params: str,
) -> FunctionSchema:  # fmt: skip
    return FunctionSchema(
        name=name, type=kind, input_field_names=tuple(inputs), output_field_names=tuple(outputs), params=params
    )


GOOD = [
    (function(),),
    (function(), function("g", ("long",), ("more",))),
    (function(), function("g", ("text",), ("more",))),
    (function("e", ("plain",), ("dense",), FunctionType.TEXTEMBEDDING, provider="x"),),
]
BAD = [
    ((function(""),), "function name cannot be empty"),
    ((function(kind=FunctionType.RERANK),), "check function params with unknown function type: RERANK"),
    ((function(inputs=()),), "function input field names cannot be empty, function: f"),
    ((function(outputs=()),), "function output field names cannot be empty, function: f"),
    ((function(inputs=("",)),), "function input field name cannot be empty string, function: f"),
    ((function(inputs=("text", "text")),),
     "each function input field should be used exactly once in the same function, function: f, input field: text"),
    ((function(outputs=("words", "words")),),
     "each function output field should be used exactly once in the same function, function: f, output field: words"),
    ((function(inputs=("words",)),),
     "a single field cannot be both input and output in the same function, function: f, field: words"),
    ((function(k1="2"),), "BM25 function accepts no params"),
    ((function(inputs=("nowhere",)),), "function input field not found: nowhere"),
    ((function(outputs=("nowhere",)),), "function output field not found: nowhere"),
    ((function(inputs=("id",)),),
     "BM25 function input field must be a VARCHAR/TEXT field, got 1 field with type Int64"),
    ((function(inputs=("text", "plain")),),
     "BM25 function input field must be a VARCHAR/TEXT field, got 2 field with type VarChar"),
    ((function(inputs=("plain",)),), "BM25 function input field must set enable_analyzer to true"),
    ((function(outputs=("words", "more")),), "BM25 function should have exactly one output field, got 2"),
    ((function(outputs=("id",)),), "function output field cannot be primary key: function f, field id"),
    ((function(outputs=("key",)),),
     "function output field cannot be partition key or clustering key: function f, field key"),
    ((function(outputs=("maybe",)),), "function output field cannot be nullable: function f, field maybe"),
    ((function(outputs=("dense",)),),
     "BM25 function output field must be a SparseFloatVector field, but got FloatVector"),
    ((function(), function()), "duplicate function name f"),
    ((function(), function("g")), "duplicate function output field: function g, field words"),
    ((function("e", ("long",), ("dense",), FunctionType.TEXTEMBEDDING),),
     "function input field cannot be nullable: function e, field long"),
]  # fmt: skip


@pytest.mark.parametrize("functions", GOOD)
def test_functions_that_fit_their_fields_are_fine(functions: tuple[FunctionSchema, ...]) -> None:
    check_functions(functions, FIELDS)


@pytest.mark.parametrize(("functions", "text"), BAD, ids=[text[:60] for _, text in BAD])
def test_functions_that_do_not_fit_are_refused(functions: tuple[FunctionSchema, ...], text: str) -> None:
    with pytest.raises(MilvusException) as caught:
        check_functions(functions, FIELDS)
    assert (caught.value.code, caught.value.message) == (1100, text + END)


def test_a_field_marked_as_an_output_needs_its_function() -> None:
    marked = [msgspec.structs.replace(f, is_function_output=f.name == "more") for f in FIELDS]
    with pytest.raises(MilvusException, match="field more is marked as a function output, but no function writes it"):
        check_functions((function(),), marked)


def test_functions_are_numbered_and_found_by_what_they_fill() -> None:
    given = (function(), function("e", ("plain",), ("dense",), FunctionType.TEXTEMBEDDING))
    assert [f.function_id for f in settled(given)] == [100, 101]
    schema = CollectionSchema(name="c", fields=FIELDS, functions=given)
    assert bm25_outputs(schema) == {"words"}
    assert function_of_output(schema, "dense") is given[1]
    assert function_of_output(schema, "more") is None
