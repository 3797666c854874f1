"""Values for the places of a filter."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymilvus.client.prepare import Prepare
from pymilvus.grpc_gen import milvus_pb2

from redkite.errors import InvalidParameter
from redkite.wire.messages import milvus
from redkite.wire.templates import read_templates, write_templates

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=10)
FLOAT = st.floats(allow_nan=False)
SCALAR = st.booleans() | INT64 | FLOAT | TEXT
LIST = st.lists(INT64) | st.lists(TEXT) | st.lists(st.booleans()) | st.lists(FLOAT)
VALUES = st.dictionaries(TEXT, SCALAR | LIST | st.lists(st.lists(INT64, min_size=1), min_size=1), max_size=4)


@given(VALUES)
def test_values_go_there_and_back(values: dict[str, Any]) -> None:
    message = milvus.QueryRequest()
    write_templates(message.expr_template_values, values)
    assert read_templates(milvus.QueryRequest.FromString(message.SerializeToString()).expr_template_values) == values


@given(VALUES)
def test_values_from_pymilvus_are_read(values: dict[str, Any]) -> None:
    request = milvus_pb2.QueryRequest(expr_template_values=Prepare.prepare_expression_template(values))
    message = milvus.QueryRequest.FromString(request.SerializeToString())
    assert read_templates(message.expr_template_values) == values


def test_bytes_and_mixed_lists_keep_their_types() -> None:
    message = milvus.QueryRequest()
    write_templates(
        message.expr_template_values, {"b": b"\x00", "m": [1, "a", {"k": [True]}], "n": [1, 2.5], "t": (1, 2)}
    )
    read = read_templates(message.expr_template_values)
    assert read == {"b": b"\x00", "m": [1, "a", {"k": [True]}], "n": [1.0, 2.5], "t": [1, 2]}


@pytest.mark.parametrize("number", [2**53 + 1, -(2**53) - 1, 2**63 - 1])
def test_whole_numbers_beside_others_stay_what_they_are(number: int) -> None:
    message = milvus.QueryRequest()
    write_templates(message.expr_template_values, {"x": [number, 0.5]})
    (read,) = read_templates(message.expr_template_values).values()
    assert read == [number, 0.5]
    assert list(map(type, read)) == [int, float]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2**63, "does not fit 64 bits"),
        ([2**63], "does not fit 64 bits"),
        ({"a": 1}, "cannot hold a dict"),
        (None, "cannot hold a NoneType"),
        ([object(), 1], "holds a value that is not JSON"),
    ],
)
def test_a_value_that_cannot_travel_is_refused(value: Any, text: str) -> None:
    with pytest.raises(InvalidParameter, match=text):
        write_templates(milvus.QueryRequest().expr_template_values, {"x": value})


def test_a_list_nested_too_deep_is_refused() -> None:
    value: list[Any] = [1]
    for _ in range(100):
        value = [value]
    with pytest.raises(InvalidParameter, match="nested too deep"):
        write_templates(milvus.QueryRequest().expr_template_values, {"x": value})


def test_an_empty_value_and_broken_json_are_refused() -> None:
    message = milvus.QueryRequest()
    message.expr_template_values["x"].SetInParent()
    with pytest.raises(InvalidParameter, match="the value of template variable x is empty"):
        read_templates(message.expr_template_values)
    message.expr_template_values["x"].array_val.json_data.data.append(b"{" * 10_000)
    with pytest.raises(InvalidParameter, match="template variable x is not JSON"):
        read_templates(message.expr_template_values)
