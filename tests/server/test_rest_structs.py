"""Arrays of structs over REST: schemas, rows, searches with lists of vectors and among elements."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from tests.server.rest_client import Rest

CLIPS: dict[str, Any] = {
    "fieldName": "clips",
    "description": "of a talk",
    "nullable": True,
    "fields": [
        {
            "fieldName": "text", "dataType": "Array", "elementDataType": "VarChar",
            "elementTypeParams": {"max_length": 40, "max_capacity": 5},
        },
        {
            "fieldName": "second", "dataType": "Array", "elementDataType": "Int64",
            "elementTypeParams": {"max_capacity": 5},
        },
        {
            "fieldName": "emb", "dataType": "ArrayOfVector", "elementDataType": "FloatVector",
            "elementTypeParams": {"dim": 2, "max_capacity": 5},
        },
        {
            "fieldName": "bits", "dataType": "ArrayOfVector", "elementDataType": "BinaryVector",
            "elementTypeParams": {"dim": 8, "max_capacity": 5},
        },
    ],
}  # fmt: skip


def clip(text: str, second: int, emb: list[float], bits: int) -> dict[str, Any]:
    return {"text": text, "second": second, "emb": emb, "bits": base64.b64encode(bytes([bits])).decode()}


ROWS: list[dict[str, Any]] = [
    {"id": 1, "clips": [clip("a", 0, [1, 0], 0b1111), clip("b", 10, [0, 1], 0b1)]},
    {"id": 2, "clips": [clip("c", 0, [-1, 0], 0)]},
    {"id": 3, "clips": []},
    {"id": 4, "clips": None},
    {"id": 5, "clips": [clip("d", 5, [1, 1], 0b11), clip("e", 15, [0, 3], 0b111)]},
]  # fmt: skip


def make(rest: Rest, name: str, metric: str) -> None:
    fields = [{"fieldName": "id", "dataType": "Int64", "isPrimary": True}]
    rest.ok("collections/create", {
        "collectionName": name,
        "schema": {"fields": fields, "structFields": [CLIPS]},
        "indexParams": [
            {"fieldName": "clips[emb]", "metricType": metric, "indexType": "HNSW"},
            {"fieldName": "clips[bits]", "metricType": "MAX_SIM_HAMMING", "indexType": "HNSW"},
        ],
    })  # fmt: skip
    assert rest.ok("entities/insert", {"collectionName": name, "data": ROWS})["insertCount"] == 5


def test_a_struct_field_is_described_and_its_rows_come_back(rest: Rest, name: str) -> None:
    make(rest, name, "MAX_SIM_IP")
    told = rest.ok("collections/describe", {"collectionName": name})
    (struct,) = told["structFields"]
    assert (struct["name"], struct["description"], struct["nullable"]) == ("clips", "of a talk", True)
    kinds = [(part["name"], part["type"], part["elementType"]) for part in struct["fields"]]
    assert kinds == [
        ("text", "Array", "VarChar"), ("second", "Array", "Int64"), ("emb", "ArrayOfVector", "FloatVector"),
        ("bits", "ArrayOfVector", "BinaryVector"),
    ]  # fmt: skip
    assert told["indexes"][0]["fieldName"] == "clips[emb]"
    assert [field["name"] for field in told["fields"]] == ["id"]
    rows = rest.ok("entities/query", {"collectionName": name, "filter": "id > 0", "outputFields": ["*"]})
    assert [{key: row[key] for key in ("id", "clips")} for row in rows] == ROWS
    rows = rest.ok("entities/get", {"collectionName": name, "id": [5], "outputFields": ["clips[text]"]})
    assert rows[0]["clips"] == [{"text": "d"}, {"text": "e"}]


def test_lists_of_vectors_are_searched_with(rest: Rest, name: str) -> None:
    make(rest, name, "MAX_SIM_IP")
    body = {"collectionName": name, "annsField": "clips[emb]", "limit": 9, "outputFields": ["clips[second]"]}
    envelope = rest.whole("entities/search", {**body, "data": [[[1, 0], [0, 1]], [[-1, 0]]]})
    assert envelope["topks"] == [3, 3]
    hits = [(hit["id"], hit["distance"]) for hit in envelope["data"]]
    assert hits == [(5, 4), (1, 2), (2, -1), (2, 1), (1, 0), (5, 0)]
    assert envelope["data"][0]["clips"] == [{"second": 5}, {"second": 15}]
    bits = [base64.b64encode(bytes([0b111])).decode()]
    hits = rest.ok("entities/search", {**body, "annsField": "clips[bits]", "data": [bits], "filter": "id != 5"})
    assert [(hit["id"], hit["distance"]) for hit in hits] == [(1, 1), (2, 3)]
    code, text = rest.error("entities/search", {**body, "data": [[1, 0]]})
    assert code == 1100 and "search info type VECTOR_FLOAT" in text


def test_elements_are_searched_and_filtered(rest: Rest, name: str) -> None:
    make(rest, name, "L2")
    body = {"collectionName": name, "annsField": "clips[emb]", "limit": 3, "data": [[0, 1]]}
    hits = rest.ok("entities/search", body)
    assert [(hit["id"], hit["offset"], hit["distance"]) for hit in hits] == [(1, 1, 0), (5, 0, 1), (1, 0, 2)]
    hits = rest.ok(
        "entities/search", {**body, "filter": "element_filter(clips, $[second] >= {s})", "exprParams": {"s": 5}}
    )
    assert [(hit["id"], hit["offset"]) for hit in hits] == [(1, 1), (5, 0), (5, 1)]
    rows = rest.ok("entities/query", {"collectionName": name, "filter": "match_all(clips, $[second] > 1)"})
    assert [row["id"] for row in rows] == [3, 5]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"fields": [{**CLIPS["fields"][0], "elementTypeParams": {"max_length": 4}}]}, "max_capacity"),
        ({"fields": [{"fieldName": "x", "dataType": "JSON", "elementTypeParams": {"max_capacity": 4}}]}, "JSON"),
    ],
)
def test_a_struct_field_is_added_later_or_refused(rest: Rest, name: str, change: dict[str, Any], text: str) -> None:
    make(rest, name, "MAX_SIM_IP")
    more = {**CLIPS, "fieldName": "more", "fields": [CLIPS["fields"][0]]}
    rest.ok("collections/struct_fields/add", {"collectionName": name, "schema": more})
    rest.ok("entities/insert", {"collectionName": name, "data": [{"id": 9, "clips": [], "more": [{"text": "x"}]}]})
    rows = rest.ok("entities/query", {"collectionName": name, "filter": "id in [1, 9]", "outputFields": ["more"]})
    assert [row["more"] for row in rows] == [None, [{"text": "x"}]]
    code, told = rest.error(
        "collections/struct_fields/add", {"collectionName": name, "schema": {**more, "fieldName": "odd", **change}}
    )
    assert text in told and code in (1100, 1101)
