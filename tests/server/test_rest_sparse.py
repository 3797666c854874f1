"""Indexes over sparse vectors and MinHash signatures through REST."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from tests.server.rest_client import Rest

from redkite.index.sparse_index import ALGORITHMS

ROWS = [{"id": i, "v": {str(i % 7): 1.0, str(7 + i): 0.5 + i % 3}} for i in range(60)]


def make(rest: Rest, name: str, field: dict[str, object], index: dict[str, object]) -> None:
    fields = [{"fieldName": "id", "dataType": "Int64", "isPrimary": True}, field]
    rest.ok(
        "collections/create",
        {"collectionName": name, "schema": {"fields": fields}, "indexParams": [{"fieldName": "v", **index}]},
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_sparse_vectors_are_found_by_every_algorithm(algorithm: str, rest: Rest, name: str) -> None:
    index = {"metricType": "IP", "indexType": "SPARSE_INVERTED_INDEX", "params": {"inverted_index_algo": algorithm}}
    make(rest, name, {"fieldName": "v", "dataType": "SparseFloatVector"}, index)
    rest.ok("entities/insert", {"collectionName": name, "data": ROWS})
    body = {"collectionName": name, "data": [{"3": 2.0, "12": 1.0}], "annsField": "v", "limit": 20}
    hits = rest.ok("entities/search", body)
    want = sorted(((2.0 * (i % 7 == 3) + (0.5 + i % 3) * (i == 5), i) for i in range(60)), reverse=True)
    assert sorted(((hit["distance"], hit["id"]) for hit in hits), reverse=True) == [w for w in want if w[0] > 0]
    assert rest.ok("entities/search", {**body, "searchParams": {"params": {"drop_ratio_search": 0.5}}})
    code, text = rest.error("entities/search", {**body, "searchParams": {"params": {"drop_ratio_search": 1.5}}})
    assert code == 1100 and "drop_ratio_search" in text
    (told,) = rest.ok("indexes/describe", {"collectionName": name, "indexName": "v"})
    assert (told["indexType"], told["metricType"]) == ("SPARSE_INVERTED_INDEX", "IP")


def test_signatures_are_found_by_their_bands(rest: Rest, name: str) -> None:
    build = {"mh_element_bit_width": 32, "mh_lsh_band": 4}
    field = {"fieldName": "v", "dataType": "BinaryVector", "elementTypeParams": {"dim": 256}}
    make(rest, name, field, {"metricType": "MHJACCARD", "indexType": "MINHASH_LSH", "params": build})
    hashes = np.random.default_rng(0).integers(0, 2**32, (30, 8), dtype=np.uint32)
    hashes[1, :6] = hashes[0, :6]
    texts = [base64.b64encode(row.tobytes()).decode() for row in hashes]
    rest.ok("entities/insert", {"collectionName": name, "data": [{"id": i, "v": t} for i, t in enumerate(texts)]})
    hits = rest.ok("entities/search", {"collectionName": name, "data": texts[:1], "annsField": "v", "limit": 5})
    assert [(hit["id"], hit["distance"]) for hit in hits] == [(0, 1), (1, 0.75)]


@pytest.mark.parametrize("twice", [{"indices": [1, 1], "values": [0.5, 0.7]}, {"1": 0.5, "01": 0.7}])
def test_an_index_that_comes_twice_is_refused_rather_than_dropped(
    rest: Rest, name: str, twice: dict[str, object]
) -> None:
    make(rest, name, {"fieldName": "v", "dataType": "SparseFloatVector"}, {"metricType": "IP"})
    code, text = rest.error("entities/insert", {"collectionName": name, "data": {"id": 1, "v": twice}})
    assert code == 1804 and text.endswith("a sparse vector of field v has an index twice")
    code, text = rest.error("entities/search", {"collectionName": name, "data": [twice], "annsField": "v"})
    assert code == 1801 and text.endswith("a sparse vector of field v has an index twice")


@pytest.mark.parametrize("text", ["é===", "A", "A A="])
def test_bytes_that_are_no_base64_are_told(rest: Rest, name: str, text: str) -> None:
    field = {"fieldName": "v", "dataType": "BinaryVector", "elementTypeParams": {"dim": 8}}
    make(rest, name, field, {"metricType": "HAMMING"})
    code, said = rest.error("entities/insert", {"collectionName": name, "data": {"id": 1, "v": text}})
    assert code == 1804 and "the vector of field v is not base64" in said
    code, said = rest.error("entities/search", {"collectionName": name, "data": [text], "annsField": "v"})
    assert code == 1801 and "the vector of field v is not base64" in said
