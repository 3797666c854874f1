"""Sparse vectors and MinHash signatures through every SDK and REST: indexes, parameters, filters, ranges, iterators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import Sdk
from tests.index.sparse_vectors import best_products, texts
from tests.index.test_binary import signatures

from redkite.index.sparse_index import ALGORITHMS

ROWS, DIMS, K = 1_500, 300, 8
KINDS: list[tuple[str, dict[str, Any]]] = [
    *(("SPARSE_INVERTED_INDEX", {"inverted_index_algo": algorithm}) for algorithm in ALGORITHMS),
    ("SPARSE_WAND", {}),
    ("AUTOINDEX", {}),
]


def as_dicts(dense: np.ndarray) -> list[dict[int, float]]:
    return [{int(at): float(row[at]) for at in np.flatnonzero(row)} for row in dense]


@pytest.fixture(scope="module")
def dense() -> np.ndarray:
    return texts(ROWS, DIMS, 20).astype(np.float32).astype(np.float64)


@pytest.fixture(scope="module")
def asked() -> np.ndarray:
    return texts(6, DIMS, 8, seed=2)[1:].astype(np.float32).astype(np.float64)


def prepared(sdk: Sdk, client: Any, name: str, dense: np.ndarray, kind: str, build: dict[str, Any]) -> None:
    """A flushed collection of `id`, `number` and `v`, its index built."""
    types = sdk.module.DataType
    schema = client.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("number", types.INT64)
    schema.add_field("v", types.SPARSE_FLOAT_VECTOR)
    index = client.prepare_index_params()
    index.add_index("v", index_type=kind, metric_type="IP", params=build)
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    client.insert(name, [{"id": i, "number": i % 10, "v": row} for i, row in enumerate(as_dicts(dense))])


def built(client: Any, name: str) -> None:
    """Flush, and wait for the index by making it again, which waits."""
    client.flush(name)
    told = client.describe_index(name, "v")
    index = client.prepare_index_params()
    params = {key: told[key] for key in told if key in ("inverted_index_algo", "drop_ratio_build")}
    index.add_index("v", index_type=told["index_type"], metric_type="IP", params=params)
    client.create_index(name, index)
    assert client.describe_index(name, "v")["pending_index_rows"] == 0


def check(client: Any, name: str, dense: np.ndarray, asked: np.ndarray, **params: Any) -> None:
    for text, allowed in (("", np.ones(ROWS, bool)), ("number == 3", np.arange(ROWS) % 10 == 3)):
        hits = client.search(
            name, as_dicts(asked), limit=K, filter=text, search_params={"metric_type": "IP", "params": params}
        )
        for each, query, want in zip(hits, asked, best_products(dense, asked, K, allowed), strict=True):
            np.testing.assert_allclose([hit["distance"] for hit in each], want, rtol=1e-5)
            assert all(allowed[hit["id"]] for hit in each)
            np.testing.assert_allclose([dense[hit["id"]] @ query for hit in each], want, rtol=1e-5)


@pytest.mark.parametrize(("kind", "build"), KINDS)
def test_sparse_searches_are_exact_while_a_collection_grows_and_with_every_index(
    kind: str, build: dict[str, Any], sdk: Sdk, client: Any, name: str, dense: np.ndarray, asked: np.ndarray
) -> None:
    prepared(sdk, client, name, dense, kind, build)
    check(client, name, dense, asked)
    built(client, name)
    told = client.describe_index(name, "v")
    assert (told["index_type"], told["metric_type"], told["indexed_rows"]) == (kind, "IP", ROWS)
    check(client, name, dense, asked)
    check(client, name, dense, asked, dim_max_score_ratio=1.3, refine_factor=4, drop_ratio_search=0.0)


def test_ranges_and_iterators_over_sparse_vectors_leave_nothing_out(
    sdk: Sdk, client: Any, name: str, dense: np.ndarray, asked: np.ndarray
) -> None:
    prepared(sdk, client, name, dense, "SPARSE_INVERTED_INDEX", {})
    built(client, name)
    query = asked[:1]
    products = (query @ dense.T)[0]
    low, high = np.quantile(products[products > 0], [0.5, 0.9])
    hits = client.search(
        name, as_dicts(query), limit=ROWS,
        search_params={"metric_type": "IP", "params": {"radius": float(low), "range_filter": float(high)}},
    )[0]  # fmt: skip
    inside = np.flatnonzero((products > low) & (products <= high))
    assert {hit["id"] for hit in hits} == set(inside.tolist())
    pages = client.search_iterator(name, as_dicts(query), batch_size=100, search_params={"metric_type": "IP"})
    met: list[int] = []
    while page := pages.next():
        met += [hit["id"] for hit in page]
    pages.close()
    assert sorted(met) == np.flatnonzero(products > 0).tolist()
    assert (np.diff(products[met]) <= 1e-5).all()


def test_a_dropped_part_of_a_query_changes_the_answer_and_the_scores_stay_exact(
    sdk: Sdk, client: Any, name: str, dense: np.ndarray, asked: np.ndarray
) -> None:
    prepared(sdk, client, name, dense, "SPARSE_INVERTED_INDEX", {"drop_ratio_build": 0.5})
    built(client, name)
    found = {}
    for drop in (0.0, 0.9):
        params = {"metric_type": "IP", "params": {"drop_ratio_search": drop}}
        hits = client.search(name, as_dicts(asked), limit=K, search_params=params)
        for each, query in zip(hits, asked, strict=True):
            np.testing.assert_allclose([h["distance"] for h in each], [dense[h["id"]] @ query for h in each], rtol=1e-5)
        found[drop] = [[hit["id"] for hit in each] for each in hits]
    assert found[0.0] != found[0.9]


def test_what_an_index_over_sparse_vectors_cannot_be_is_refused(
    sdk: Sdk, client: Any, name: str, dense: np.ndarray
) -> None:
    prepared(sdk, client, name, dense[:20], "SPARSE_INVERTED_INDEX", {})
    refused: list[tuple[str, str, dict[str, Any], str]] = [
        ("SPARSE_INVERTED_INDEX", "L2", {}, "only IP&BM25 is the supported metric type for sparse index"),
        ("SPARSE_INVERTED_INDEX", "BM25", {}, "only BM25 Function output field support BM25 metric type"),
        ("SPARSE_INVERTED_INDEX", "IP", {"inverted_index_algo": "GUESS"}, "inverted_index_algo"),
        ("SPARSE_INVERTED_INDEX", "IP", {"drop_ratio_build": 1.0}, "drop_ratio_build"),
        ("SPARSE_INVERTED_INDEX", "IP", {"nlist": 3}, "nlist"),
        ("HNSW", "IP", {"M": 8, "efConstruction": 50}, "can't build with this index HNSW"),
    ]
    client.release_collection(name)
    client.drop_index(name, "v")
    for kind, metric, build, text in refused:
        index = client.prepare_index_params()
        index.add_index("v", index_type=kind, metric_type=metric, params=build)
        with pytest.raises(sdk.module.MilvusException, match=text):
            client.create_index(name, index)


@pytest.mark.parametrize(
    "params", [{"drop_ratio_search": 1.0}, {"dim_max_score_ratio": 0.4}, {"refine_factor": 0}, {"ef": 10}]
)
def test_search_parameters_out_of_range_are_refused(
    params: dict[str, Any], sdk: Sdk, client: Any, name: str, dense: np.ndarray
) -> None:
    prepared(sdk, client, name, dense[:20], "SPARSE_INVERTED_INDEX", {})
    with pytest.raises(sdk.module.MilvusException, match=next(iter(params))):
        client.search(name, [{1: 1.0}], limit=3, search_params={"metric_type": "IP", "params": params})


def test_near_duplicates_are_found_by_their_signatures(sdk: Sdk, client: Any, name: str) -> None:
    hashes = signatures(900, 16, np.uint32)
    types = sdk.module.DataType
    schema = client.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("v", types.BINARY_VECTOR, dim=16 * 32)
    index = client.prepare_index_params()
    build = {"mh_element_bit_width": 32, "mh_lsh_band": 8, "with_raw_data": True, "mh_lsh_code_in_mem": True}
    index.add_index("v", index_type="MINHASH_LSH", metric_type="MHJACCARD", params=build)
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    client.insert(name, [{"id": i, "v": row.tobytes()} for i, row in enumerate(hashes)])
    for flushed in (False, True):
        if flushed:
            client.flush(name)
        for params in ({}, {"mh_search_with_jaccard": True, "refine_k": 10}, {"mh_lsh_batch_search": True}):
            asked = [hashes[row].tobytes() for row in range(0, 60, 3)]
            hits = client.search(name, asked, limit=5, search_params={"metric_type": "MHJACCARD", "params": params})
            for row, each in zip(range(0, 60, 3), hits, strict=True):
                same = hashes == hashes[row]
                shares = np.flatnonzero(same.reshape(len(hashes), 8, 2).all(axis=2).any(axis=1))
                assert {hit["id"] for hit in each} <= set(shares.tolist())
                assert each[0]["id"] == row and each[0]["distance"] == 1
                for hit in each:
                    assert hit["distance"] == pytest.approx(same[hit["id"]].mean())
    with pytest.raises(sdk.module.MilvusException, match="refine_k"):
        client.search(name, asked, search_params={"metric_type": "MHJACCARD", "params": {"refine_k": 0}})


@pytest.mark.parametrize(
    ("build", "text"),
    [
        ({"mh_element_bit_width": 12}, "mh_element_bit_width"),
        ({"mh_element_bit_width": 48}, "mh_element_bit_width"),
        ({"mh_element_bit_width": 32, "mh_lsh_band": 17}, "mh_lsh_band"),
        ({"mh_lsh_bloom_false_positive_prob": 0.5}, "mh_lsh_bloom_false_positive_prob"),
    ],
)
def test_signatures_that_cannot_be_are_refused(
    build: dict[str, Any], text: str, sdk: Sdk, client: Any, name: str
) -> None:
    types = sdk.module.DataType
    schema = client.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("v", types.BINARY_VECTOR, dim=16 * 32)
    client.create_collection(name, schema=schema)
    index = client.prepare_index_params()
    index.add_index("v", index_type="MINHASH_LSH", metric_type="MHJACCARD", params=build)
    with pytest.raises(sdk.module.MilvusException, match=text):
        client.create_index(name, index)


@pytest.mark.parametrize("metric", ["SUBSTRUCTURE", "SUPERSTRUCTURE"])
def test_structures_are_found_where_one_contains_the_other(metric: str, sdk: Sdk, client: Any, name: str) -> None:
    rng = np.random.default_rng(0)
    bits = rng.random((400, 64)) < 0.12
    query = rng.random(64) < (0.06 if metric == "SUBSTRUCTURE" else 0.5)
    types = sdk.module.DataType
    schema = client.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("v", types.BINARY_VECTOR, dim=64)
    index = client.prepare_index_params()
    index.add_index("v", index_type="BIN_FLAT", metric_type=metric)
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    client.insert(name, [{"id": i, "v": np.packbits(row).tobytes()} for i, row in enumerate(bits)])
    inner = query if metric == "SUBSTRUCTURE" else bits
    want = np.flatnonzero(((bits & query) == inner).all(axis=1))
    for flushed in (False, True):
        if flushed:
            client.flush(name)
        hits = client.search(name, [np.packbits(query).tobytes()], limit=400, search_params={"metric_type": metric})[0]
        assert sorted(hit["id"] for hit in hits) == want.tolist()
        assert {hit["distance"] for hit in hits} <= {0.0}
