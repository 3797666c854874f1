"""Indexes over vectors, through every SDK and REST: made, described, searched, altered, dropped."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import Sdk
from tests.index.vectors import clustered, near, wilson_low
from tests.server.rest_client import Rest
from tests.servers import ProcessServer

ROWS, DIM, QUERIES, K = 2_500, 16, 60, 10
PLAIN: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("FLAT", {}, {}),
    ("IVF_FLAT", {"nlist": 32}, {"nprobe": 16}),
    ("IVF_SQ8", {"nlist": 32, "refine": True, "refine_type": "FP16"}, {"nprobe": 16, "refine_k": 4}),
    ("IVF_PQ", {"nlist": 32, "m": 8, "nbits": 6}, {"nprobe": 16}),
    ("IVF_RABITQ", {"nlist": 32, "refine": True, "refine_type": "SQ8"}, {"nprobe": 16, "refine_k": 20}),
    ("SCANN", {"nlist": 32, "with_raw_data": True}, {"nprobe": 16, "reorder_k": 80}),
    ("HNSW", {"M": 16, "efConstruction": 80}, {"ef": 64}),
    ("HNSW_SQ", {"M": 16, "efConstruction": 80, "sq_type": "SQ6"}, {"ef": 64, "refine_k": 4}),
    ("HNSW_PQ", {"M": 16, "efConstruction": 80, "m": 8, "nbits": 6}, {"ef": 100}),
    ("HNSW_PRQ", {"M": 16, "efConstruction": 80, "m": 4, "nrq": 2, "nbits": 4}, {"ef": 160}),
    ("DISKANN", {}, {"search_list": 40}),
    ("ANNOY", {"n_trees": 8}, {"search_k": 100}),
    ("AUTOINDEX", {}, {"level": 2}),
]


@pytest.fixture(scope="module")
def data() -> np.ndarray:
    return clustered(ROWS, DIM)


def prepared(sdk: Sdk, client: Any, name: str, data: np.ndarray) -> None:
    """A collection of `id`, `number` and `v`, flushed, with no index yet."""
    types = sdk.module.DataType
    schema = client.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("number", types.INT64)
    schema.add_field("v", types.FLOAT_VECTOR, dim=data.shape[1])
    client.create_collection(name, schema=schema, consistency_level="Strong")
    client.insert(name, [{"id": i, "number": i % 100, "v": vector} for i, vector in enumerate(data)])
    client.flush(name)


def index_of(client: Any, name: str, kind: str, metric: str, params: dict[str, Any], **more: Any) -> None:
    wanted = client.prepare_index_params()
    wanted.add_index("v", index_type=kind, metric_type=metric, params=params, **more)
    client.create_index(name, wanted)


def exact(data: np.ndarray, queries: np.ndarray, allowed: np.ndarray) -> list[set[int]]:
    rows = np.flatnonzero(allowed)
    far = ((queries[:, None, :] - data[None, rows, :]) ** 2).sum(axis=2)
    return [set(rows[np.argsort(each)[:K]].tolist()) for each in far]


def found_share(hits: Any, wanted: list[set[int]]) -> float:
    return float(
        np.mean([len({h["id"] for h in each} & want) / len(want) for each, want in zip(hits, wanted, strict=True)])
    )


@pytest.mark.parametrize(("kind", "build", "params"), PLAIN)
def test_every_index_type_is_made_searched_and_dropped(
    kind: str, build: dict[str, Any], params: dict[str, Any], sdk: Sdk, client: Any, name: str, data: np.ndarray
) -> None:
    prepared(sdk, client, name, data)
    index_of(client, name, kind, "L2", build)
    told = client.describe_index(name, "v")
    assert told["index_type"] == kind
    assert told["metric_type"] == "L2"
    assert told["state"] == "Finished"
    assert (told["total_rows"], told["indexed_rows"], told["pending_index_rows"]) == (ROWS, ROWS, 0)
    client.load_collection(name)
    queries = near(data, QUERIES)
    asked = {"metric_type": "L2", "params": params}
    for text, allowed in (("", np.ones(ROWS, bool)), ("number < 50", np.arange(ROWS) % 100 < 50)):
        hits = client.search(name, list(queries), limit=K, filter=text, search_params=asked)
        wanted = exact(data, queries, allowed)
        assert wilson_low(found_share(hits, wanted), QUERIES * K) >= 0.9
        assert all(allowed[hit["id"]] for each in hits for hit in each)
        for each, query in zip(hits, queries, strict=True):
            distances = [((data[hit["id"]] - query) ** 2).sum() for hit in each]
            np.testing.assert_allclose([hit["distance"] for hit in each], distances, rtol=1e-4)
    client.release_collection(name)
    client.drop_index(name, "v")
    assert client.list_indexes(name) == []
    assert client.describe_index(name, "v") is None


def test_an_index_made_again_is_the_same_or_refused(sdk: Sdk, client: Any, name: str, data: np.ndarray) -> None:
    prepared(sdk, client, name, data[:100])
    index_of(client, name, "IVF_FLAT", "L2", {"nlist": 32})
    index_of(client, name, "IVF_FLAT", "L2", {"nlist": 32})
    assert client.list_indexes(name) == ["v"]
    with pytest.raises(sdk.module.MilvusException, match="at most one distinct index is allowed per field"):
        index_of(client, name, "IVF_FLAT", "L2", {"nlist": 33})
    with pytest.raises(sdk.module.MilvusException, match="creating multiple indexes on same field is not supported"):
        index_of(client, name, "HNSW", "L2", {}, index_name="other")


@pytest.mark.parametrize(
    ("kind", "params", "text"),
    [
        ("IVF_FLAT", {"nlist": 0}, r"Out of range in json: param 'nlist' \(0\) should be in range \[1, 65536\]"),
        ("IVF_FLAT", {"nlists": 5}, "index param nlists is not known for index type IVF_FLAT"),
        ("IVF_PQ", {"m": 5}, "should be a multiple of the number of subquantizers"),
        ("HNSW_SQ", {"sq_type": "SQ7"}, "invalid value of param 'sq_type'"),
        ("GPU_CAGRA", {"graph_degree": 0}, "Out of range in json: param 'graph_degree'"),
        ("BIN_FLAT", {}, "data type FloatVector can't build with this index BIN_FLAT"),
        ("VAMANA", {}, "invalid index type: VAMANA"),
    ],
)
def test_parameters_that_cannot_be_are_refused(
    kind: str, params: dict[str, Any], text: str, sdk: Sdk, client: Any, name: str, data: np.ndarray
) -> None:
    prepared(sdk, client, name, data[:10])
    with pytest.raises(sdk.module.MilvusException, match=text):
        index_of(client, name, kind, "L2", params)
    assert client.list_indexes(name) == []


@pytest.mark.skipif(importlib.util.find_spec("cuvs") is not None, reason="there may be a device")
def test_an_index_for_a_device_that_is_not_there_is_refused(sdk: Sdk, client: Any, name: str, data: np.ndarray) -> None:
    prepared(sdk, client, name, data[:10])
    for kind in ("GPU_BRUTE_FORCE", "GPU_IVF_FLAT", "GPU_IVF_PQ", "GPU_CAGRA"):
        with pytest.raises(sdk.module.MilvusException, match=f"{kind} needs a CUDA device and the extra `gpu`"):
            index_of(client, name, kind, "L2", {})
    assert client.list_indexes(name) == []


def test_properties_of_an_index_are_altered_while_it_is_released(
    sdk: Sdk, client: Any, name: str, data: np.ndarray
) -> None:
    prepared(sdk, client, name, data)
    index_of(client, name, "HNSW", "L2", {"M": 8, "efConstruction": 40})
    client.load_collection(name)
    with pytest.raises(sdk.module.MilvusException, match="can't alter index on loaded collection") as caught:
        client.alter_index_properties(name, "v", {"mmap.enabled": False})
    assert caught.value.code == 104
    client.release_collection(name)
    client.alter_index_properties(name, "v", {"mmap.enabled": False, "warmup": "sync"})
    told = client.describe_index(name, "v")
    assert (str(told["mmap.enabled"]).lower(), told["warmup"], told["state"]) == ("false", "sync", "Finished")
    client.load_collection(name)
    assert client.search(name, [data[7]], limit=1)[0][0]["id"] == 7
    client.release_collection(name)
    client.drop_index_properties(name, "v", ["warmup"])
    assert "warmup" not in client.describe_index(name, "v")
    with pytest.raises(sdk.module.MilvusException, match="M is not allowed to be altered"):
        client.alter_index_properties(name, "v", {"M": 32})
    with pytest.raises(sdk.module.MilvusException, match="index not found"):
        client.alter_index_properties(name, "w", {"warmup": "sync"})


def test_no_recall_is_lost_when_the_index_takes_over(sdk: Sdk, client: Any, name: str, data: np.ndarray) -> None:
    """The rows are searched while the graph is being made over them, and at no moment is an answer short or poor."""
    prepared(sdk, client, name, data)
    wanted = client.prepare_index_params()
    wanted.add_index("v", index_type="HNSW", metric_type="L2", params={"M": 24, "efConstruction": 400})
    client.create_index(name, wanted, sync=False)
    client.load_collection(name)
    queries = near(data, QUERIES)
    truth = exact(data, queries, np.ones(ROWS, bool))
    shares, end = [], time.monotonic() + 120
    done = False
    while not done:
        done = client.describe_index(name, "v")["state"] == "Finished"
        hits = client.search(name, list(queries), limit=K)
        assert all(len(each) == K for each in hits)
        shares.append(found_share(hits, truth))
        assert time.monotonic() < end, "the index was not built"
    assert min(shares) >= 0.97
    assert wilson_low(shares[-1], QUERIES * K) >= 0.95


def test_each_vector_field_has_its_own_index(sdk: Sdk, client: Any, name: str, data: np.ndarray) -> None:
    types = sdk.module.DataType
    schema = client.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("v", types.FLOAT_VECTOR, dim=DIM)
    schema.add_field("bits", types.BINARY_VECTOR, dim=64)
    schema.add_field("half", types.FLOAT16_VECTOR, dim=DIM)
    wanted = client.prepare_index_params()
    wanted.add_index("v", index_type="IVF_SQ8", metric_type="L2", params={"nlist": 16})
    wanted.add_index("bits", index_type="BIN_IVF_FLAT", metric_type="JACCARD", params={"nlist": 16})
    wanted.add_index("half", index_type="SCANN", metric_type="COSINE", params={"nlist": 16})
    client.create_collection(name, schema=schema, index_params=wanted, consistency_level="Strong")
    bits = np.random.default_rng(0).integers(0, 256, (1500, 8), dtype=np.uint8)
    client.insert(
        name,
        [
            {"id": i, "v": vector, "bits": bits[i].tobytes(), "half": vector.astype(np.float16)}
            for i, vector in enumerate(data[:1500])
        ],
    )
    client.flush(name)
    end = time.monotonic() + 120
    while any(client.describe_index(name, field)["state"] != "Finished" for field in ("v", "bits", "half")):
        assert time.monotonic() < end, "an index was not built"
        time.sleep(0.05)
    assert sorted(client.list_indexes(name)) == ["bits", "half", "v"]
    asked: list[tuple[str, Any]] = [("v", data[5]), ("bits", bits[5].tobytes()), ("half", data[5].astype(np.float16))]
    for field, vector in asked:
        (hits,) = client.search(name, [vector], anns_field=field, limit=3, search_params={"params": {"nprobe": 8}})
        assert hits[0]["id"] == 5
    with pytest.raises(sdk.module.MilvusException, match="search parameter ef is not known for index type IVF_SQ8"):
        client.search(name, [data[5]], anns_field="v", limit=3, search_params={"params": {"ef": 8}})


@pytest.fixture
def rest(server: ProcessServer) -> Iterator[Rest]:
    yield Rest(str(server.uri))


def test_rest_makes_describes_alters_and_drops_an_index(rest: Rest, data: np.ndarray) -> None:
    name = f"rest_{time.monotonic_ns()}"
    fields = [
        {"fieldName": "id", "dataType": "Int64", "isPrimary": True},
        {"fieldName": "v", "dataType": "FloatVector", "elementTypeParams": {"dim": str(DIM)}},
    ]
    rest.ok("collections/create", {"collectionName": name, "schema": {"fields": fields}})
    rest.ok(
        "entities/insert",
        {"collectionName": name, "data": [{"id": i, "v": v.tolist()} for i, v in enumerate(data[:1200])]},
    )
    place = {"collectionName": name, "indexName": "v"}
    index = {"fieldName": "v", "metricType": "L2", "indexType": "IVF_FLAT", "params": {"nlist": 16}}
    rest.ok("indexes/create", {"collectionName": name, "indexParams": [index]})
    code, text = rest.error(
        "indexes/create", {"collectionName": name, "indexParams": [{**index, "params": {"nlist": 17}}]}
    )
    assert (code, text.split(":")[0]) == (1100, "at most one distinct index is allowed per field")
    rest.ok("indexes/alter_properties", {**place, "properties": {"mmap.enabled": "false"}})
    (told,) = rest.ok("indexes/describe", place)
    assert (told["indexType"], told["metricType"], told["mmap.enabled"]) == ("IVF_FLAT", "L2", "false")
    rest.ok("indexes/drop_properties", {**place, "propertyKeys": ["mmap.enabled"]})
    assert "mmap.enabled" not in rest.ok("indexes/describe", place)[0]
    rest.ok("collections/load", {"collectionName": name})
    asked = {"collectionName": name, "data": [data[3].tolist()], "limit": 2, "searchParams": {"params": {"nprobe": 16}}}
    assert rest.ok("entities/search", asked)[0]["id"] == 3
    code, text = rest.error("entities/search", {**asked, "searchParams": {"params": {"nprobe": 17}}})
    assert code == 1100
    assert "Out of range in json: param 'nprobe' (17) should be in range [1, 16]" in text
    assert rest.error("indexes/alter_properties", {**place, "properties": {"warmup": "sync"}})[0] == 104
    rest.ok("collections/release", {"collectionName": name})
    rest.ok("indexes/drop", place)
    assert rest.ok("indexes/list", {"collectionName": name}) == []
    rest.ok("collections/drop", {"collectionName": name})
