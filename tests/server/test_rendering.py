"""Rows as JSON, column by column: the same as row by row, and never all at once."""

from __future__ import annotations

import base64
import tracemalloc
from typing import Any

import httpx
import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.rest_client import Rest
from tests.servers import ProcessServer

from redkite.model.batch import vectors_to_arrow
from redkite.model.results import Hits, Rows
from redkite.model.schema import META_FIELD, CollectionSchema, FieldSchema
from redkite.model.types import DataType
from redkite.server.rest.rendering import FEW_ROWS, WHOLE_BYTES, answered_hits, answered_rows
from redkite.server.rest.rows import row_objects
from redkite.server.rest.streams import Streamed

DIM = 4
SCHEMA = CollectionSchema(
    name="c",
    enable_dynamic_field=True,
    fields=(
        FieldSchema(name="id", data_type=DataType.INT64, is_primary=True),
        FieldSchema(name="small", data_type=DataType.INT8),
        FieldSchema(name='odd"name\\', data_type=DataType.DOUBLE),
        FieldSchema(name="single", data_type=DataType.FLOAT),
        FieldSchema(name="truth", data_type=DataType.BOOL),
        FieldSchema(name="text", data_type=DataType.VARCHAR, nullable=True, params={"max_length": "100"}),
        FieldSchema(name="json", data_type=DataType.JSON),
        FieldSchema(name="list", data_type=DataType.ARRAY, element_type=DataType.INT64),
        FieldSchema(name="vector", data_type=DataType.FLOAT_VECTOR, params={"dim": str(DIM)}),
        FieldSchema(name=META_FIELD, data_type=DataType.JSON, is_dynamic=True),
    ),
)
values = st.fixed_dictionaries(
    {
        "id": st.integers(-(2**63), 2**63 - 1),
        "small": st.integers(-128, 127),
        'odd"name\\': st.floats(),
        "single": st.floats(width=32),
        "truth": st.booleans(),
        "text": st.none() | st.text(st.characters(codec="utf-8"), max_size=8),
        "json": st.recursive(st.none() | st.text(st.characters(codec="utf-8"), max_size=4) | st.integers(0, 9),
                             lambda inner: st.lists(inner, max_size=2), max_leaves=3),
        "list": st.lists(st.integers(-9, 9), max_size=3),
        "vector": st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=DIM, max_size=DIM),
        META_FIELD: st.dictionaries(st.sampled_from(["a", 'b"', "c", "text"]), st.integers(0, 9) | st.text(max_size=3),
                                    max_size=2),
    }
)  # fmt: skip


def batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    arrays = {
        "id": pa.array(columns["id"], pa.int64()),
        "small": pa.array(columns["small"], pa.int8()),
        'odd"name\\': pa.array(columns['odd"name\\'], pa.float64()),
        "single": pa.array(np.array(columns["single"], np.float32)),
        "truth": pa.array(columns["truth"], pa.bool_()),
        "text": pa.array(columns["text"], pa.string()),
        "json": pa.array([orjson.dumps(value) for value in columns["json"]], pa.binary()),
        "list": pa.array(columns["list"], pa.list_(pa.int64())),
        "vector": vectors_to_arrow(np.array(columns["vector"], np.float32)),
        META_FIELD: pa.array([orjson.dumps(value) for value in columns[META_FIELD]], pa.binary()),
    }
    return pa.RecordBatch.from_pydict(arrays)


def whole(content: Any) -> bytes:
    return b"".join(content.parts()) if isinstance(content, Streamed) else content


def shown(rows: pa.RecordBatch, output: tuple[str, ...], as_text: bool) -> Any:
    objects = row_objects(rows, output, SCHEMA, as_text)
    return orjson.loads(orjson.dumps(objects, option=orjson.OPT_SERIALIZE_NUMPY))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(values, min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from([("*",), ("id", "a"), ("text", 'b"', "vector"), ("$meta",)]),
)
def test_columns_make_the_same_objects_as_rows(rows: list[dict[str, Any]], as_text: bool, output: Any) -> None:
    few = batch(rows)
    names = [name for name in few.schema.names if "*" in output or name in (*output, META_FIELD)]
    few = few.select(names)
    many = pa.concat_tables([pa.Table.from_batches([few])] * (FEW_ROWS // len(rows) + 1)).combine_chunks()
    found = Rows(
        rows=many.to_batches()[0], output_fields=output, primary_field="id", collection="c", session_timestamp=1
    )
    content = orjson.loads(whole(answered_rows(found, SCHEMA, as_text, {"cost": 0})))
    assert content == {"code": 0, "data": shown(found.rows, output, as_text), "cost": 0}


@settings(max_examples=25, deadline=None)
@given(st.lists(values, min_size=1, max_size=4), st.booleans(), st.booleans())
def test_hits_have_their_distance_and_key_beside_the_fields(
    rows: list[dict[str, Any]], as_text: bool, with_fields: bool
) -> None:
    fields = batch(rows)
    found = Hits(
        topks=np.array([len(rows)]), keys=fields.column("id"), scores=np.arange(len(rows), dtype=np.float32),
        rows=fields.select(["text", "id", META_FIELD] if with_fields else []), output_fields=("*",),
        primary_field="id", collection="c", session_timestamp=1,
    )  # fmt: skip
    content = orjson.loads(whole(answered_hits(found, SCHEMA, as_text, {"topks": found.topks})))
    assert content["topks"] == [len(rows)]
    objects = shown(found.rows, ("*",), as_text) if with_fields else [{} for _ in rows]
    for hit, row, item in zip(content["data"], rows, objects, strict=True):
        assert list(hit)[:2] == ["distance", "id"]
        assert hit["id"] == (str(row["id"]) if as_text else row["id"])
        assert {**item, "distance": hit["distance"], "id": hit["id"]} == hit


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from(["distance", "offset", "id", "a"]), st.integers(0, 9)), min_size=2),
    st.sampled_from([("*",), ("text", "distance"), ("distance",), ("a",), ("offset", "a")]),
    st.booleans(),
)
def test_many_hits_are_the_objects_that_few_are_whatever_their_dynamic_keys_are_called(
    metas: list[dict[str, int]], output: tuple[str, ...], with_offsets: bool
) -> None:
    count = FEW_ROWS + 1

    def rendered(ids: range) -> list[dict[str, Any]]:
        keys = pa.array([orjson.dumps(metas[number % len(metas)]) for number in ids], pa.binary())
        texts = pa.array([str(number) for number in ids])
        found = Hits(
            topks=np.array([len(ids)]), keys=pa.array(list(ids), pa.int64()), scores=np.array(ids, np.float32),
            rows=pa.RecordBatch.from_pydict({"text": texts, META_FIELD: keys}), output_fields=output,
            element_indices=np.array(ids) if with_offsets else None,
            primary_field="id", collection="c", session_timestamp=1,
        )  # fmt: skip
        data: list[dict[str, Any]] = orjson.loads(whole(answered_hits(found, SCHEMA, True, {})))["data"]
        return data

    many = rendered(range(count))
    assert many == rendered(range(FEW_ROWS)) + rendered(range(FEW_ROWS, count))
    assert [(hit["distance"], hit["id"]) for hit in many] == [(number, str(number)) for number in range(count)]


def test_no_rows_are_an_empty_list() -> None:
    empty = Rows(
        rows=pa.RecordBatch.from_pydict({"id": pa.array([], pa.int64())}), output_fields=("id",), primary_field="id",
        collection="c", session_timestamp=1,
    )  # fmt: skip
    assert whole(answered_rows(empty, SCHEMA, False, {"cost": 0})) == b'{"code":0,"data":[],"cost":0}'


def test_a_large_answer_is_made_in_pieces_of_bounded_size() -> None:
    count, dim = 2_000, 512
    vectors = vectors_to_arrow(np.random.default_rng(1).random((count, dim), np.float32))
    field = FieldSchema(name="vector", data_type=DataType.FLOAT_VECTOR, params={"dim": str(dim)})
    schema = CollectionSchema(name="c", fields=(SCHEMA.fields[0], field))
    rows = pa.RecordBatch.from_pydict({"id": pa.array(range(count), pa.int64()), "vector": vectors})
    found = Rows(rows=rows, output_fields=("*",), primary_field="id", collection="c", session_timestamp=1)
    content = answered_rows(found, schema, False, {"cost": 0})
    assert isinstance(content, Streamed)
    tracemalloc.start()
    total = longest = 0
    for part in content.parts():
        total, longest = total + len(part), max(longest, len(part))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total > 10_000_000
    assert longest < 6 * WHOLE_BYTES
    assert peak < total / 2


# -- over the wire ------------------------------------------------------------------------------
def test_a_large_answer_comes_whole_and_without_a_length(server: ProcessServer, rest: Rest, name: str) -> None:
    rest.ok("collections/create", {"collectionName": name, "dimension": 64})
    rng = np.random.default_rng(7)
    for start in range(0, 3_000, 1_000):
        data = [
            {"id": i, "vector": vector, "tag": f"t{i}"}
            for i, vector in zip(range(start, start + 1_000), rng.random((1_000, 64)).round(3).tolist(), strict=True)
        ]
        rest.ok("entities/insert", {"collectionName": name, "data": data})
    body = {"collectionName": name, "filter": "id >= 0", "limit": 3_000, "consistencyLevel": "Strong"}
    response = rest.post("entities/query", body)
    assert response.headers["transfer-encoding"] == "chunked"
    answer = response.json()
    assert (answer["code"], answer["cost"]) == (0, 0)
    assert {row["id"] for row in answer["data"]} == set(range(3_000))
    assert all(row["tag"] == f"t{row['id']}" and len(row["vector"]) == 64 for row in answer["data"])
    old = httpx.post(f"{server.uri}/v1/vector/query", json=body | {"consistencyLevel": None}, timeout=60).json()
    assert old["code"] == 200
    assert len(old["data"]) == 3_000


@pytest.mark.parametrize("given", ["false", "False", "0", "F"])
def test_integers_are_texts_when_a_request_says_so(server: ProcessServer, rest: Rest, name: str, given: str) -> None:
    rest.ok("collections/create", {"collectionName": name, "dimension": 2})
    row = {"id": 2**60, "vector": [1, 2]}
    assert rest.ok("entities/insert", {"collectionName": name, "data": row}) == {
        "insertCount": 1, "insertIds": [2**60],
    }  # fmt: skip
    query = {"collectionName": name, "filter": "id > 0", "consistencyLevel": "Strong"}
    assert rest.ok("entities/query", query)[0]["id"] == 2**60
    assert rest.ok("entities/query", query, Accept_Type_Allow_Int64=given)[0]["id"] == str(2**60)
    assert rest.ok("entities/query", query, Accept_Type_Allow_Int64="perhaps")[0]["id"] == 2**60


def test_bytes_are_base64(rest: Rest, name: str) -> None:
    schema = {
        "fields": [
            {"fieldName": "id", "dataType": "Int64", "isPrimary": True},
            {"fieldName": "bits", "dataType": "BinaryVector", "elementTypeParams": {"dim": 16}},
        ]
    }
    index = [{"fieldName": "bits", "metricType": "HAMMING", "indexType": "BIN_FLAT"}]
    rest.ok("collections/create", {"collectionName": name, "schema": schema, "indexParams": index})
    vector = base64.b64encode(b"\x01\x02").decode()
    rest.ok("entities/insert", {"collectionName": name, "data": [{"id": i, "bits": vector} for i in range(100)]})
    found = rest.ok("entities/query", {"collectionName": name, "filter": "id >= 0", "consistencyLevel": "Strong"})
    assert [row["bits"] for row in found] == [vector] * 100
