"""Vectors of every type over REST: rows in, rows out, searches; and rows that have none."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from tests.server.rest_client import Rest
from tests.vectors import DIM, KINDS, VectorKind, nearest, scores

NAMES = {
    "float": "FloatVector", "float16": "Float16Vector", "bfloat16": "BFloat16Vector", "int8": "Int8Vector",
    "binary": "BinaryVector", "sparse": "SparseFloatVector",
}  # fmt: skip
ROWS = 30


def field(case: str, name: str = "v", *, nullable: bool = True) -> dict[str, Any]:
    return {
        "fieldName": name, "dataType": NAMES[case], "elementTypeParams": KINDS[case].settings, "nullable": nullable,
    }  # fmt: skip


def make(rest: Rest, name: str, *cases: str) -> None:
    fields = [{"fieldName": "id", "dataType": "Int64", "isPrimary": True}, *(field(case, case) for case in cases)]
    index = [
        {"fieldName": c, "metricType": KINDS[c].metrics[0], "indexType": KINDS[c].index_type} for c in cases
    ]  # fmt: skip
    rest.ok("collections/create", {"collectionName": name, "schema": {"fields": fields}, "indexParams": index})


def written(vector: Any) -> Any:
    """A vector as JSON has it: bytes as base64."""
    if isinstance(vector, np.ndarray):
        vector = vector.tobytes()
    if isinstance(vector, bytes):
        return base64.b64encode(vector).decode()
    return {str(k): v for k, v in vector.items()} if isinstance(vector, dict) else vector


def narrow(value: Any) -> Any:
    """Numbers as float32: JSON has the shortest text that means the same one."""
    if isinstance(value, float):
        return np.float32(value)
    if isinstance(value, dict):
        return {key: narrow(part) for key, part in value.items()}
    return [narrow(part) for part in value] if isinstance(value, list) else value


def drawn(kind: VectorKind, seed: int, rows: int = ROWS) -> list[Any]:
    return [None if i % 3 == 2 else v for i, v in enumerate(kind.draw(np.random.default_rng(seed), rows))]


@pytest.mark.parametrize("case", KINDS)
def test_a_vector_goes_in_comes_out_and_is_found(case: str, rest: Rest, name: str) -> None:
    kind = KINDS[case]
    make(rest, name, case)
    vectors = drawn(kind, 1)
    rows = [{"id": i} if v is None else {"id": i, case: written(v)} for i, v in enumerate(vectors)]
    rest.ok("entities/insert", {"collectionName": name, "data": rows})
    found = rest.ok("entities/query", {"collectionName": name, "filter": "id >= 0"})
    assert narrow(found) == [{"id": i, case: None if v is None else narrow(written(v))} for i, v in enumerate(vectors)]
    query = drawn(kind, 2, 1)[0]
    body = {"collectionName": name, "data": [written(query)], "annsField": case, "limit": 5, "outputFields": [case]}
    hits = rest.ok("entities/search", body)
    wanted = scores(query, vectors, kind.metrics[0])
    best = nearest(wanted, kind.metrics[0])[:5]
    np.testing.assert_allclose([hit["distance"] for hit in hits], wanted[best], rtol=1e-5)
    assert all(narrow(hit[case]) == narrow(written(vectors[hit["id"]])) for hit in hits)


def test_numbers_are_taken_where_bytes_are_usual(rest: Rest, name: str) -> None:
    make(rest, name, "float16", "bfloat16", "int8")
    numbers = [float(n) for n in range(DIM)]
    row = {"id": 1, "float16": numbers, "bfloat16": numbers, "int8": list(range(-8, 8))}
    rest.ok("entities/insert", {"collectionName": name, "data": [row]})
    (found,) = rest.ok("entities/get", {"collectionName": name, "id": 1})
    assert found["float16"] == written(np.array(numbers, np.float16))
    assert found["int8"] == written(np.arange(-8, 8, dtype=np.int8))
    for case in ("float16", "bfloat16", "int8"):
        (hit,) = rest.ok("entities/search", {"collectionName": name, "data": [row[case]], "annsField": case})
        assert hit == {"id": 1, "distance": 0}


def test_sparse_vectors_are_also_taken_as_two_lists(rest: Rest, name: str) -> None:
    make(rest, name, "sparse")
    row = {"id": 1, "sparse": {"indices": [7, 2], "values": [0.5, 1.5]}}
    rest.ok("entities/insert", {"collectionName": name, "data": [row]})
    (hit,) = rest.ok(
        "entities/search",
        {"collectionName": name, "data": [{"indices": [7], "values": [2]}], "outputFields": ["sparse"]},
    )
    assert hit == {"id": 1, "distance": 1, "sparse": {"2": 1.5, "7": 0.5}}


def test_one_row_has_vectors_of_several_types_and_loses_one(rest: Rest, name: str) -> None:
    make(rest, name, *KINDS)
    (vectors,) = zip(*(drawn(kind, 3, 1) for kind in KINDS.values()), strict=True)
    row = {case: written(vector) for case, vector in zip(KINDS, vectors, strict=True)}
    rest.ok("entities/insert", {"collectionName": name, "data": [{"id": 1} | row]})
    rest.ok("entities/upsert", {"collectionName": name, "data": [{"id": 1, "binary": None}], "partialUpdate": True})
    found = rest.ok("entities/get", {"collectionName": name, "id": 1})
    assert narrow(found) == narrow([{"id": 1} | row | {"binary": None}])


@pytest.mark.parametrize(
    ("case", "vector", "code", "text"),
    [
        ("binary", "!!", 1804, "is not base64"),
        ("binary", written(b"12"), 1804, "the dim (16) of field data(binary) is not equal to schema dim (24)"),
        ("float16", written(b"12"), 1804, "dim"),
        ("float16", [1.0], 1804, "the dim (1) of field data(float16) is not equal to schema dim (16)"),
        ("int8", [300] * DIM, 1804, "{int8} field should be a int8_vector"),
        ("sparse", {"a": 1}, 1804, "is not a whole number"),
        ("sparse", {"1": -1}, 1804, "negative"),
        ("float16", written(np.full(DIM, np.nan, np.float16)), 1100, "float16 vector contain nan or infinity value."),
    ],
)
def test_what_is_no_vector_of_the_field_is_refused(
    case: str, vector: Any, code: int, text: str, rest: Rest, name: str
) -> None:
    make(rest, name, case)
    found, message = rest.error("entities/insert", {"collectionName": name, "data": [{"id": 1, case: vector}]})
    assert (found, text in message) == (code, True), message


@pytest.mark.parametrize(
    ("case", "vector", "code", "text"),
    [
        ("binary", None, 1801, "the query vectors cannot be read"),
        ("binary", written(b"1"), 1801, "the dim (8) of field data(binary) is not equal to schema dim (24)"),
        ("int8", [0.5] * DIM, 1801, "int8_vector"),
        ("float", [0.5] * 3, 1100, "vector dimension mismatch, expected vector size(byte) 64, actual 12"),
    ],
)
def test_what_is_no_query_vector_of_the_field_is_refused(
    case: str, vector: Any, code: int, text: str, rest: Rest, name: str
) -> None:
    make(rest, name, case)
    found, message = rest.error("entities/search", {"collectionName": name, "data": [vector], "annsField": case})
    assert (found, text in message) == (code, True), message


def test_a_nullable_vector_field_is_added_and_described(rest: Rest, name: str) -> None:
    make(rest, name, "float")
    rest.ok("entities/insert", {"collectionName": name, "data": [{"id": 1, "float": [0.0] * DIM}]})
    rest.ok("collections/fields/add", {"collectionName": name, "schema": field("int8", "late")})
    index = [{"fieldName": "late", "metricType": "IP"}]
    rest.ok("indexes/create", {"collectionName": name, "indexParams": index})
    rest.ok("entities/upsert", {"collectionName": name, "data": [{"id": 2, "late": [1] * DIM}]})
    assert rest.ok("entities/get", {"collectionName": name, "id": [1, 2], "outputFields": ["late"]}) == [
        {"id": 1, "late": None}, {"id": 2, "late": written(np.ones(DIM, np.int8))},
    ]  # fmt: skip
    assert rest.ok("entities/search", {"collectionName": name, "data": [[2] * DIM], "annsField": "late"}) == [
        {"id": 2, "distance": 32}
    ]
    fields = {f["name"]: f for f in rest.ok("collections/describe", {"collectionName": name})["fields"]}
    assert (fields["late"]["type"], fields["late"]["nullable"]) == ("Int8Vector", True)


@pytest.mark.parametrize(
    ("kind", "dimension"), [("Float16Vector", 8), ("BFloat16Vector", 8), ("BinaryVector", 16), ("SparseFloatVector", 0)]
)
def test_a_collection_is_made_by_the_type_of_its_vectors_alone(
    kind: str, dimension: int, rest: Rest, name: str
) -> None:
    body = {"collectionName": name, "vectorFieldType": kind} | ({"dimension": dimension} if dimension else {})
    rest.ok("collections/create", body)
    (index,) = rest.ok("collections/describe", {"collectionName": name})["indexes"]
    usual = {"BinaryVector": "HAMMING", "SparseFloatVector": "IP"}
    assert index == {"indexName": "vector", "fieldName": "vector", "metricType": usual.get(kind, "COSINE")}
