"""What a function would make of rows may come with them, where the collection's properties say so."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk
from tests.server.rest_client import Rest
from tests.servers import ProcessServer

OURS = pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
"""pymilvus refuses such rows whatever the collection says."""
PROPERTY = "collection.function.allowInsertNonBM25FunctionOutputs"
BITS = 64
"""Two hashes of 32 bits."""
OWN = bytes(range(BITS // 8))


def create(sdk: Sdk, client: Any, name: str, **properties: Any) -> None:
    types, kinds = sdk.module.DataType, sdk.module.FunctionType
    schema = sdk.module.MilvusClient.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("text", types.VARCHAR, max_length=200, enable_analyzer=True)
    schema.add_field("signature", types.BINARY_VECTOR, dim=BITS)
    schema.add_field("words", types.SPARSE_FLOAT_VECTOR)
    schema.add_function(
        sdk.module.Function("hash", kinds.MINHASH, ["text"], ["signature"], params={"num_hashes": 2, "shingle_size": 1})
    )
    schema.add_function(sdk.module.Function("bm25", kinds.BM25, ["text"], ["words"]))
    indexes = sdk.module.MilvusClient.prepare_index_params()
    indexes.add_index("signature", index_type="BIN_FLAT", metric_type="HAMMING")
    indexes.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    client.create_collection(name, schema=schema, index_params=indexes, properties=properties)


def signatures(client: Any, name: str) -> dict[int, bytes]:
    rows = client.query(name, filter="id >= 0", output_fields=["signature"], consistency_level="Strong")
    return {row["id"]: bytes(row["signature"][0]) for row in rows}


@OURS
def test_rows_bring_a_function_s_output_once_the_property_says_they_may(sdk: Sdk, client: Any, name: str) -> None:
    create(sdk, client, name)
    row = {"id": 1, "text": "a red kite", "signature": OWN}
    refused = "unexpected function output field `signature`"
    for write in (client.insert, client.upsert):
        with pytest.raises(sdk.module.MilvusException, match=refused):
            write(name, [row])
    client.alter_collection_properties(name, {PROPERTY: "true"})
    client.insert(name, [row])
    client.insert(name, [{"id": 2, "text": "a red kite"}])
    found = signatures(client, name)
    assert found[1] == OWN and found[2] != OWN, "where none is given it is made"
    client.upsert(name, [{"id": 2, "text": "a red kite", "signature": OWN}])
    client.upsert(name, [{"id": 1, "text": "a wren"}])
    found = signatures(client, name)
    assert found[2] == OWN and found[1] != OWN
    client.upsert(name, [{"id": 1, "signature": OWN}], partial_update=True)
    assert signatures(client, name)[1] == OWN
    hits = client.search(name, data=[OWN], anns_field="signature", limit=2, consistency_level="Strong")[0]
    assert [hit["distance"] for hit in hits] == [0, 0]
    assert client.search(name, data=["wren"], anns_field="words", limit=1)[0][0]["id"] == 1, (
        "words are made all the same"
    )
    with pytest.raises(sdk.module.MilvusException, match="unexpected function output field `words`"):
        client.insert(name, [{"id": 3, "text": "a", "words": {1: 0.5}}])
    with pytest.raises(sdk.module.MilvusException):
        client.insert(name, [{"id": 3, "text": "a", "signature": OWN[:4]}])
    client.drop_collection_properties(name, [PROPERTY])
    with pytest.raises(sdk.module.MilvusException, match=refused):
        client.insert(name, [{"id": 3, "text": "a", "signature": OWN}])
    with pytest.raises(sdk.module.MilvusException, match="must be true or false"):
        client.alter_collection_properties(name, {PROPERTY: "perhaps"})


def test_rest_takes_given_outputs_too(server: ProcessServer) -> None:
    rest = Rest(server.uri)
    rest.ok("collections/create", {
        "collectionName": "rest_given",
        "properties": {PROPERTY: "true"},
        "schema": {
            "fields": [
                {"fieldName": "id", "dataType": "Int64", "isPrimary": True},
                {"fieldName": "text", "dataType": "VarChar", "elementTypeParams": {
                    "max_length": 200, "enable_analyzer": True,
                }},
                {"fieldName": "signature", "dataType": "BinaryVector", "elementTypeParams": {"dim": BITS}},
            ],
            "functions": [{
                "name": "hash", "type": "MinHash", "inputFieldNames": ["text"], "outputFieldNames": ["signature"],
                "params": {"num_hashes": "2", "shingle_size": "1"},
            }],
        },
        "indexParams": [{"fieldName": "signature", "indexType": "BIN_FLAT", "metricType": "HAMMING"}],
    })  # fmt: skip
    shown = base64.b64encode(OWN).decode()
    rest.ok("entities/insert", {
        "collectionName": "rest_given",
        "data": [{"id": 1, "text": "a kite", "signature": shown}, {"id": 2, "text": "a kite", "signature": shown}],
    })  # fmt: skip
    found = rest.ok("entities/query", {
        "collectionName": "rest_given", "filter": "id > 0", "outputFields": ["signature"], "consistencyLevel": "Strong",
    })  # fmt: skip
    assert [row["signature"] for row in found] == [shown, shown]
    rest.ok("collections/drop", {"collectionName": "rest_given"})
