"""MinHash functions: near-duplicates found by their texts, the same calls by every way to the engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import WAYS, Sdk
from tests.server.rest_client import Rest
from tests.servers import ProcessServer

EVERY_WAY = pytest.mark.parametrize("sdk", WAYS, indirect=True, scope="session")
HASHES, SIZE = 256, 2
RNG = np.random.default_rng(11)
WORDS = [f"word{number}" for number in range(400)]


def _article(number: int) -> str:
    return " ".join(WORDS[place] for place in np.random.default_rng(number).integers(0, len(WORDS), 60))


def _changed(text: str, words: int) -> str:
    """The text with some of its words replaced."""
    found = text.split()
    for place in RNG.choice(len(found), words, replace=False).tolist():
        found[place] = f"new{place}"
    return " ".join(found)


ARTICLES = [_article(number) for number in range(100)]
COPIES = [_changed(ARTICLES[number], 2) for number in range(20)]
TEXTS = [*ARTICLES, *COPIES]


def jaccard(one: str, other: str) -> float:
    first, second = ({tuple(w[i : i + SIZE]) for i in range(len(w) - SIZE + 1)} for w in (one.split(), other.split()))
    return len(first & second) / len(first | second)


def create(sdk: Sdk, client: Any, name: str, index: dict[str, Any], **params: Any) -> None:
    types, kinds = sdk.module.DataType, sdk.module.FunctionType
    schema = sdk.module.MilvusClient.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("text", types.VARCHAR, max_length=2000, enable_analyzer=True)
    schema.add_field("signature", types.BINARY_VECTOR, dim=32 * HASHES)
    given = {"num_hashes": HASHES, "shingle_size": SIZE} | params
    schema.add_function(sdk.module.Function("hash", kinds.MINHASH, ["text"], ["signature"], params=given))
    indexes = sdk.module.MilvusClient.prepare_index_params()
    indexes.add_index("signature", **index)
    client.create_collection(name, schema=schema, index_params=indexes)


LSH = {
    "index_type": "MINHASH_LSH",
    "metric_type": "MHJACCARD",
    "params": {"mh_lsh_band": 64, "mh_element_bit_width": 32, "with_raw_data": True},
}
COMPARED = {"metric_type": "MHJACCARD", "params": {"mh_search_with_jaccard": True, "refine_k": 50}}


@EVERY_WAY
@pytest.mark.parametrize("index", [LSH, {"index_type": "AUTOINDEX", "metric_type": "MHJACCARD"}])
@pytest.mark.parametrize("flushed", [False, True])
def test_near_duplicates_are_found_by_their_text(
    sdk: Sdk, client: Any, name: str, index: dict[str, Any], flushed: bool
) -> None:
    create(sdk, client, name, index)
    client.insert(name, [{"id": number, "text": text} for number, text in enumerate(TEXTS)])
    if flushed:
        client.flush(name)
    found = client.search(
        name, data=ARTICLES[:20], anns_field="signature", limit=2, search_params=COMPARED, consistency_level="Strong"
    )
    for number, hits in enumerate(found):
        assert [hit["id"] for hit in hits] == [number, 100 + number]
        true = jaccard(ARTICLES[number], COPIES[number])
        assert hits[0]["distance"] == pytest.approx(1.0)
        assert hits[1]["distance"] == pytest.approx(true, abs=4 * (true * (1 - true) / HASHES) ** 0.5)


@EVERY_WAY
def test_characters_are_compared_where_words_are_not_wanted(sdk: Sdk, client: Any, name: str) -> None:
    create(sdk, client, name, LSH, token_level="char", shingle_size=4, seed=7)
    client.insert(name, [{"id": 0, "text": "der Rotmilan über dem Hügel"}, {"id": 1, "text": "etwas ganz anderes"}])
    found = client.search(
        name, data=["der Rotmilan über den Hügeln"], anns_field="signature", limit=2, search_params=COMPARED,
        consistency_level="Strong",
    )  # fmt: skip
    assert [hit["id"] for hit in found[0]] == [0]


@EVERY_WAY
def test_signatures_are_of_32_bits(sdk: Sdk, client: Any, name: str) -> None:
    wrong = {**LSH, "params": {"mh_lsh_band": 64, "mh_element_bit_width": 8}}
    with pytest.raises(Exception, match=r"'mh_element_bit_width' \(8\) should be 32 on a field that a MinHash"):
        create(sdk, client, name, wrong)
    client.drop_collection(name)
    with pytest.raises(Exception, match=r"must have dimension 32 \* num_hashes = 320, but got 8192"):
        create(sdk, client, name, LSH, num_hashes=10)


def test_rest_finds_near_duplicates_too(server: ProcessServer) -> None:
    rest = Rest(server.uri)
    rest.ok("collections/create", {
        "collectionName": "rest_copies",
        "schema": {
            "fields": [
                {"fieldName": "id", "dataType": "Int64", "isPrimary": True},
                {"fieldName": "text", "dataType": "VarChar", "elementTypeParams": {
                    "max_length": 2000, "enable_analyzer": True,
                }},
                {"fieldName": "signature", "dataType": "BinaryVector", "elementTypeParams": {"dim": 32 * HASHES}},
            ],
            "functions": [{
                "name": "hash", "type": "MinHash", "inputFieldNames": ["text"], "outputFieldNames": ["signature"],
                "params": {"num_hashes": HASHES, "shingle_size": SIZE},
            }],
        },
        "indexParams": [{
            "fieldName": "signature", "indexName": "s", "indexType": "MINHASH_LSH", "metricType": "MHJACCARD",
            "params": LSH["params"],
        }],
    })  # fmt: skip
    rows = [{"id": number, "text": text} for number, text in enumerate(TEXTS)]
    rest.ok("entities/insert", {"collectionName": "rest_copies", "data": rows})
    hits = rest.ok("entities/search", {
        "collectionName": "rest_copies", "data": [ARTICLES[3]], "annsField": "signature", "limit": 2,
        "searchParams": {"metricType": "MHJACCARD", "params": COMPARED["params"]}, "consistencyLevel": "Strong",
    })  # fmt: skip
    assert [hit["id"] for hit in hits] == [3, 103]
    rest.ok("collections/drop", {"collectionName": "rest_copies"})
