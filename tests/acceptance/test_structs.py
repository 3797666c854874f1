"""Arrays of structs through every SDK: schemas, rows, searches with lists of vectors and among elements, filters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from pymilvus.client.embedding_list import EmbeddingList as MilvusEmbeddingList
from tests.acceptance.conftest import OUR_WAYS, Sdk, plain
from tests.acceptance.test_compaction import finish

import redkite

DIM, ROWS, K = 8, 400, 6


def embedding_list(sdk: Sdk, vectors: Any) -> Any:
    return (redkite.EmbeddingList if sdk.ours else MilvusEmbeddingList)(np.asarray(vectors))


def talks(rows: int = ROWS, seed: int = 0) -> list[dict[str, Any]]:
    """Rows with 0 to 4 clips each; every 25th has none at all."""
    rng = np.random.default_rng(seed)
    made = []
    for at in range(rows):
        clips = [
            {
                "text": f"clip {at}.{n}", "second": n * 10, "loud": bool((at + n) % 3 == 0),
                "emb": rng.normal(size=DIM).astype(np.float32).tolist(),
            }
            for n in range(at % 5)
        ]  # fmt: skip
        made.append({"id": at, "year": 2000 + at % 10, "clips": None if at % 25 == 24 else clips})
    return made


def create(sdk: Sdk, client: Any, name: str, metric: str, index: str = "HNSW", **more: Any) -> None:
    types = sdk.module.DataType
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("year", types.INT64)
    clip = client.create_struct_field_schema()
    clip.add_field("text", types.VARCHAR, max_length=40, description="what is said")
    clip.add_field("second", types.INT32)
    clip.add_field("loud", types.BOOL)
    clip.add_field("emb", types.FLOAT_VECTOR, dim=DIM)
    schema.add_field(
        "clips", types.ARRAY, element_type=types.STRUCT, struct_schema=clip, max_capacity=6, nullable=True,
        description="of the talk",
    )  # fmt: skip
    params = client.prepare_index_params()
    params.add_index("clips[emb]", index_type=index, metric_type=metric, params=more)
    client.create_collection(name, schema=schema, index_params=params, consistency_level="Strong")


def filled(sdk: Sdk, client: Any, name: str, metric: str, index: str = "HNSW", **more: Any) -> list[dict[str, Any]]:
    create(sdk, client, name, metric, index, **more)
    rows = talks()
    assert plain(client.insert(name, rows))["insert_count"] == ROWS
    return rows


# -- schemas ------------------------------------------------------------------------------------
def test_a_struct_field_is_described_as_it_was_declared(sdk: Sdk, client: Any, name: str) -> None:
    create(sdk, client, name, "MAX_SIM_COSINE")
    types = sdk.module.DataType
    (field,) = [f for f in client.describe_collection(name)["fields"] if f["name"] == "clips"]
    assert (field["type"], field["element_type"]) == (types.ARRAY, types.STRUCT)
    assert field["params"]["max_capacity"] == 6
    assert field["nullable"] is True
    assert field["description"] == "of the talk"
    subs = {sub["name"]: sub for sub in field["struct_fields"]}
    assert list(subs) == ["text", "second", "loud", "emb"]
    assert subs["text"]["type"] == types.VARCHAR
    assert subs["text"]["params"] == {"max_length": 40}
    assert subs["text"]["description"] == "what is said"
    assert (subs["emb"]["type"], subs["emb"]["params"]) == (types.FLOAT_VECTOR, {"dim": DIM})
    ids = [field["field_id"], *(sub["field_id"] for sub in field["struct_fields"])]
    assert ids == list(range(102, 107))


def test_an_index_on_a_sub_field_is_listed_described_and_dropped(sdk: Sdk, client: Any, name: str) -> None:
    create(sdk, client, name, "MAX_SIM_COSINE", M=8)
    assert client.list_indexes(name) == ["clips[emb]"]
    told = client.describe_index(name, "clips[emb]")
    assert {key: told[key] for key in ("field_name", "index_name", "index_type", "metric_type", "M")} == {
        "field_name": "clips[emb]", "index_name": "clips[emb]", "index_type": "HNSW", "metric_type": "MAX_SIM_COSINE",
        "M": "8",
    }  # fmt: skip
    values = client.prepare_index_params()
    values.add_index("clips[second]", index_type="INVERTED", index_name="seconds")
    client.create_index(name, values)
    assert sorted(client.list_indexes(name)) == ["clips[emb]", "seconds"]
    client.release_collection(name)
    client.drop_index(name, "clips[emb]")
    assert client.list_indexes(name) == ["seconds"]
    again = client.prepare_index_params()
    again.add_index("clips[emb]")
    client.create_index(name, again)
    assert client.describe_index(name, "clips[emb]")["metric_type"] == "MAX_SIM_COSINE"


@pytest.mark.parametrize(
    ("metric", "index", "text"),
    [
        ("MAX_SIM_HAMMING", "HNSW", "float vector index does not support metric type"),
        ("MAX_SIM_COSINE", "SPARSE_INVERTED_INDEX", "can't build with this index"),
        ("MAX_SIM_COSINE", "GPU_CAGRA", "can't build with this index"),
        ("BM25", "HNSW", "float vector index does not support metric type"),
        ("", "HNSW", "metric type not set"),
    ],
)
def test_an_index_that_cannot_be_on_a_sub_field_is_refused(
    sdk: Sdk, client: Any, name: str, metric: str, index: str, text: str
) -> None:
    create(sdk, client, name, "MAX_SIM_COSINE")
    client.release_collection(name)
    client.drop_index(name, "clips[emb]")
    params = client.prepare_index_params()
    params.add_index("clips[emb]", index_type=index, metric_type=metric)
    with pytest.raises(sdk.module.MilvusException, match=text):
        client.create_index(name, params)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"max_capacity": 0}, r"should be in \(0, 4096\]"),
        ({"max_capacity": 5000}, r"should be in \(0, 4096\]"),
        ({"dim": 1}, "invalid dimension: 1"),
        ({"kind": "JSON"}, "element type JSON is not supported"),
        ({"kind": "SPARSE_FLOAT_VECTOR"}, "element type SparseFloatVector is not supported"),
        ({"sub": "no good"}, "Invalid field name"),
        ({"name": "year"}, "duplicated field name year"),
    ],
)
def test_a_struct_field_that_cannot_be_is_refused(
    sdk: Sdk, client: Any, name: str, settings: dict[str, Any], text: str
) -> None:
    types = sdk.module.DataType
    schema = client.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("year", types.INT64)
    clip = client.create_struct_field_schema()
    clip.add_field("emb", types.FLOAT_VECTOR, dim=settings.get("dim", 4))
    if "kind" in settings or "sub" in settings:
        clip.add_field(settings.get("sub", "more"), getattr(types, settings.get("kind", "INT64")))
    schema.add_field(
        settings.get("name", "clips"), types.ARRAY, element_type=types.STRUCT, struct_schema=clip,
        max_capacity=settings.get("max_capacity", 4),
    )  # fmt: skip
    with pytest.raises(sdk.module.MilvusException, match=text):
        client.create_collection(name, schema=schema)


# -- rows ---------------------------------------------------------------------------------------
def shown(rows: list[dict[str, Any]]) -> dict[int, Any]:
    return {row["id"]: row["clips"] for row in rows}


def test_rows_come_back_as_they_went_in_before_and_after_sealing(sdk: Sdk, client: Any, name: str) -> None:
    rows = filled(sdk, client, name, "MAX_SIM_COSINE")
    for _ in range(2):
        found = list(client.query(name, filter="id >= 0", output_fields=["id", "clips"], limit=ROWS))
        assert shown(found) == shown(rows)
        whole = list(client.query(name, filter="id in [3, 24]", output_fields=["*"]))
        assert [row["clips"] for row in whole] == [rows[3]["clips"], None]
        got = list(client.get(name, [7], output_fields=["clips[second]", "clips[text]"]))
        assert got[0]["clips"] == [{"second": c["second"], "text": c["text"]} for c in rows[7]["clips"]]
        client.flush(name)


def test_every_kind_of_sub_field_comes_back(sdk: Sdk, client: Any, name: str) -> None:
    types = sdk.module.DataType
    schema = client.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    part = client.create_struct_field_schema()
    for label in ("BOOL", "INT8", "INT16", "INT32", "INT64", "FLOAT", "DOUBLE"):
        part.add_field(label.lower(), getattr(types, label))
    part.add_field("word", types.VARCHAR, max_length=9)
    part.add_field("half", types.FLOAT16_VECTOR, dim=4)
    part.add_field("brain", types.BFLOAT16_VECTOR, dim=4)
    part.add_field("whole", types.INT8_VECTOR, dim=4)
    part.add_field("bits", types.BINARY_VECTOR, dim=16)
    schema.add_field("parts", types.ARRAY, element_type=types.STRUCT, struct_schema=part, max_capacity=9)
    params = client.prepare_index_params()
    for sub, metric in (("half", "L2"), ("brain", "COSINE"), ("whole", "IP"), ("bits", "JACCARD")):
        kind = "AUTOINDEX" if sub == "brain" else "HNSW"
        params.add_index(f"parts[{sub}]", index_type=kind, metric_type=f"MAX_SIM_{metric}")
    client.create_collection(name, schema=schema, index_params=params, consistency_level="Strong")
    rng = np.random.default_rng(2)

    def one(at: int) -> dict[str, Any]:
        return {
            "bool": at % 2 == 0, "int8": -at, "int16": at, "int32": -at * 1000, "int64": at << 40, "float": at / 2,
            "double": at / 3, "word": f"é{at}", "half": rng.normal(size=4).astype(np.float16),
            "brain": rng.normal(size=4).astype(ml_dtypes.bfloat16), "whole": rng.integers(-128, 128, 4).astype(np.int8),
            "bits": rng.integers(0, 256, 2, np.uint8).tobytes(),
        }  # fmt: skip

    rows = [{"id": at, "parts": [one(10 * at + n) for n in range(at % 3)]} for at in range(12)]
    client.insert(name, rows)
    for _ in range(2):
        found = list(client.query(name, filter="id >= 0", output_fields=["*"], limit=20))
        for row, want in zip(found, rows, strict=True):
            assert len(row["parts"]) == len(want["parts"])
            for item, given in zip(row["parts"], want["parts"], strict=True):
                plain_keys = [key for key in given if key not in ("half", "brain", "whole", "bits")]
                assert {k: item[k] for k in plain_keys} == {k: given[k] for k in plain_keys}
                assert np.array_equal(np.asarray(item["half"], np.float16), given["half"])
                assert np.array_equal(np.asarray(item["whole"], np.int8), given["whole"])
                assert item["bits"] == [given["bits"]]
                if sdk.ours:
                    assert np.array_equal(np.asarray(item["brain"], np.float32), given["brain"].astype(np.float32))
                else:  # which shows their bits
                    assert np.array_equal(np.asarray(item["brain"]), given["brain"].view(np.uint16))
        item = rows[5]["parts"][1]
        for sub in ("half", "brain", "whole", "bits"):
            vector = np.frombuffer(item[sub], np.uint8) if sub == "bits" else item[sub]
            query = embedding_list(sdk, vector.reshape(1, -1))
            hits = client.search(name, data=[query], anns_field=f"parts[{sub}]", limit=2)[0]
            assert hits[0]["id"] == 5 or sub == "whole"  # the inner product knows no nearest
        client.flush(name)


def test_rows_change_as_a_whole_and_field_by_field(sdk: Sdk, client: Any, name: str) -> None:
    rows = filled(sdk, client, name, "MAX_SIM_COSINE")
    fresh = [{"text": "new", "second": 1, "loud": True, "emb": [1.0] * DIM}]
    client.upsert(name, [{"id": 3, "year": 1, "clips": fresh}])
    client.upsert(name, [{"id": 4, "clips": None}], partial_update=True)
    client.upsert(name, [{"id": 6, "year": 7}], partial_update=True)
    found = list(client.query(name, filter="id in [3, 4, 6]", output_fields=["year", "clips"]))
    assert [(row["year"], row["clips"]) for row in found] == [(1, fresh), (2004, None), (7, rows[6]["clips"])]
    client.delete(name, filter="match_any(clips, $[text] == 'new')")
    assert not list(client.query(name, filter="id == 3"))
    query = embedding_list(sdk, [[1.0] * DIM])
    for hit in client.search(name, data=[query], anns_field="clips[emb]", limit=ROWS)[0]:
        assert hit["id"] not in (3, 4)


@pytest.mark.parametrize(
    ("clips", "text"),
    [
        ([{"text": "a", "second": 1, "loud": True}], "missing required fields"),
        ([{"text": "a", "second": 1, "loud": True, "emb": [0.0] * DIM, "more": 1}], "unexpected fields"),
        ([{"text": "a", "second": None, "loud": True, "emb": [0.0] * DIM}], "None"),
        ([{"text": "a" * 41, "second": 1, "loud": True, "emb": [0.0] * DIM}], "exceeds max length"),
        ([{"text": "a", "second": 1, "loud": True, "emb": [0.0] * DIM}] * 7, "exceeds max capacity"),
        ([{"text": "a", "second": 1, "loud": True, "emb": [0.0] * (DIM + 1)}], "dim|divide"),
        ([{"text": "a", "second": 1, "loud": True, "emb": [float("nan")] * DIM}], "not a number"),
        ("nothing", "struct array"),
        ([5], "must be dict|expected a dict"),
    ],
)
def test_structs_that_do_not_fit_are_refused(sdk: Sdk, client: Any, name: str, clips: Any, text: str) -> None:
    create(sdk, client, name, "MAX_SIM_COSINE")
    with pytest.raises(sdk.module.MilvusException, match=text):
        client.insert(name, [{"id": 1, "year": 1, "clips": clips}])
    assert not list(client.query(name, filter="id >= 0"))


# -- lists of vectors ---------------------------------------------------------------------------
def max_sim(query: np.ndarray, clips: list[dict[str, Any]] | None, metric: str) -> float | None:
    if not clips:
        return None
    vectors = np.array([clip["emb"] for clip in clips])
    if metric == "MAX_SIM_L2":
        return float(((query[:, None] - vectors[None]) ** 2).sum(axis=2).min(axis=1).sum())
    products = query @ vectors.T
    if metric != "MAX_SIM_IP":
        products /= np.linalg.norm(query, axis=1)[:, None] * np.linalg.norm(vectors, axis=1)
    return float(products.max(axis=1).sum())


def best(rows: list[dict[str, Any]], query: np.ndarray, metric: str, k: int = K) -> list[tuple[int, float]]:
    scored = [(row["id"], score) for row in rows if (score := max_sim(query, row["clips"], metric)) is not None]
    return sorted(scored, key=lambda pair: pair[1] if metric == "MAX_SIM_L2" else -pair[1])[:k]


@pytest.mark.parametrize("metric", ["MAX_SIM", "MAX_SIM_COSINE", "MAX_SIM_IP", "MAX_SIM_L2"])
def test_a_search_with_lists_of_vectors_finds_the_best_rows(sdk: Sdk, client: Any, name: str, metric: str) -> None:
    rows = filled(sdk, client, name, metric, "FLAT")
    rng = np.random.default_rng(7)
    queries = [rng.normal(size=(n, DIM)).astype(np.float32) for n in (1, 5)]
    for _ in range(2):
        for text, passes in (
            ("", lambda row: True),
            ("year == 2003", lambda row: row["year"] == 2003),
            ("match_least(clips, $[loud], threshold=2)", lambda row: sum(c["loud"] for c in row["clips"] or ()) >= 2),
        ):
            found = client.search(
                name, data=[embedding_list(sdk, query) for query in queries], anns_field="clips[emb]", limit=K,
                filter=text, output_fields=["clips[second]", "year"],
            )  # fmt: skip
            allowed = [row for row in rows if passes(row)]
            for hits, query in zip(found, queries, strict=True):
                want = best(allowed, query, metric)
                assert [hit["id"] for hit in hits] == [key for key, _ in want]
                np.testing.assert_allclose([hit["distance"] for hit in hits], [s for _, s in want], rtol=1e-4)
                for hit in hits:
                    given = rows[hit["id"]]["clips"]
                    assert hit["entity"]["clips"] == [{"second": clip["second"]} for clip in given]
        client.flush(name)


def test_an_index_answers_as_well_as_comparing_all(sdk: Sdk, client: Any, name: str) -> None:
    create(sdk, client, name, "MAX_SIM_COSINE")
    rows = talks(3000, seed=4)
    for at in range(0, 3000, 1000):
        client.insert(name, rows[at : at + 1000])
    client.flush(name)
    again = client.prepare_index_params()
    again.add_index("clips[emb]", index_type="HNSW", metric_type="MAX_SIM_COSINE")
    client.create_index(name, again)  # waits until it is built
    rng = np.random.default_rng(8)
    found = total = 0
    for _ in range(10):
        query = rng.normal(size=(4, DIM)).astype(np.float32)
        hits = client.search(
            name, data=[embedding_list(sdk, query)], anns_field="clips[emb]", limit=10, search_params={"ef": 128}
        )[0]
        want = {key for key, _ in best(rows, query, "MAX_SIM_COSINE", 10)}
        found, total = found + len(want & {hit["id"] for hit in hits}), total + 10
    assert found / total >= 0.9


def test_hits_of_a_list_rank_beside_those_of_another_field(sdk: Sdk, client: Any, name: str) -> None:
    module = sdk.module
    schema = client.create_schema()
    schema.add_field("id", module.DataType.INT64, is_primary=True)
    schema.add_field("title", module.DataType.FLOAT_VECTOR, dim=2)
    clip = client.create_struct_field_schema()
    clip.add_field("emb", module.DataType.FLOAT_VECTOR, dim=2)
    schema.add_field(
        "clips", module.DataType.ARRAY, element_type=module.DataType.STRUCT, struct_schema=clip, max_capacity=3
    )
    params = client.prepare_index_params()
    params.add_index("title", metric_type="L2", index_type="FLAT")
    params.add_index("clips[emb]", metric_type="MAX_SIM_IP", index_type="HNSW")
    client.create_collection(name, schema=schema, index_params=params, consistency_level="Strong")
    client.insert(name, [{"id": i, "title": [i, 0], "clips": [{"emb": [i, 1]}] * (i % 3)} for i in range(9)])
    requests = [
        module.AnnSearchRequest([[0.0, 0.0]], "title", {}, 9),
        module.AnnSearchRequest([embedding_list(sdk, [[1.0, 0.0]])], "clips[emb]", {}, 9),
    ]
    hits = client.hybrid_search(name, requests, module.RRFRanker(), limit=9, output_fields=["clips"])[0]
    ranks = {1: (2, 6), 2: (3, 5), 4: (5, 4), 5: (6, 3), 7: (8, 2), 8: (9, 1), 0: (1,), 3: (4,), 6: (7,)}
    for hit in hits:
        assert hit["distance"] == pytest.approx(sum(1 / (60 + rank) for rank in ranks[hit["id"]]))
        assert hit["entity"]["clips"] == [{"emb": [hit["id"], 1]}] * (hit["id"] % 3)
    assert len(hits) == 9


# -- elements -----------------------------------------------------------------------------------
def nearest(rows: list[dict[str, Any]], query: np.ndarray, keep: Any = lambda row, clip: True) -> list[tuple[int, int]]:
    """(row, offset) of the nearest elements by L2."""
    scored = [
        (float(((query - np.array(clip["emb"])) ** 2).sum()), row["id"], at)
        for row in rows
        for at, clip in enumerate(row["clips"] or ())
        if keep(row, clip)
    ]
    return [(key, at) for _, key, at in sorted(scored)[:K]]


def test_a_search_among_elements_finds_each_by_itself(sdk: Sdk, client: Any, name: str) -> None:
    rows = filled(sdk, client, name, "L2")
    client.delete(name, filter="id in [7, 8]")
    alive = [row for row in rows if row["id"] not in (7, 8)]
    query = np.random.default_rng(9).normal(size=DIM).astype(np.float32)
    cases: list[tuple[str, Any]] = [
        ("", lambda row, clip: True),
        ("year >= 2005", lambda row, clip: row["year"] >= 2005),
        ("element_filter(clips, $[second] == 10)", lambda row, clip: clip["second"] == 10),
        (
            "year < 2005 and element_filter(clips, $[loud] || $[text] like 'clip 1%')",
            lambda row, clip: row["year"] < 2005 and (clip["loud"] or clip["text"].startswith("clip 1")),
        ),
    ]
    for _ in range(2):
        for text, keep in cases:
            hits = client.search(
                name, data=[query.tolist()], anns_field="clips[emb]", limit=K, filter=text,
                output_fields=["clips[text]"],
            )[0]  # fmt: skip
            assert [(hit["id"], hit["offset"]) for hit in hits] == nearest(alive, query, keep)
            for hit in hits:
                assert hit["entity"]["clips"][hit["offset"]]["text"] == f"clip {hit['id']}.{hit['offset']}"
        groups = client.search(
            name, data=[query.tolist()], anns_field="clips[emb]", limit=4, group_by_field="id", group_size=2,
            strict_group_size=True,
        )[0]  # fmt: skip
        assert len({hit["id"] for hit in groups}) == 4
        assert len({(hit["id"], hit["offset"]) for hit in groups}) == len(groups)
        client.flush(name)


def test_an_iterator_among_elements_gives_every_one_once(sdk: Sdk, client: Any, name: str) -> None:
    rows = filled(sdk, client, name, "COSINE")
    twins = [{"text": "twin", "second": 0, "loud": False, "emb": [1.0] * DIM}] * 3
    client.insert(name, [{"id": ROWS + n, "year": 1, "clips": twins} for n in range(4)])
    pages = client.search_iterator(name, data=[[1.0] * DIM], anns_field="clips[emb]", batch_size=5, limit=-1)
    seen: list[tuple[int, int]] = []
    while page := pages.next():
        seen += [(hit["id"], hit["offset"]) for hit in page]
    assert len(seen) == len(set(seen)) == sum(len(row["clips"] or ()) for row in rows) + 12


@pytest.mark.parametrize(
    ("metric", "settings", "text"),
    [
        ("MAX_SIM_COSINE", {"vector": True}, "search info type VECTOR_FLOAT"),
        ("COSINE", {"list": True}, "embedding lists want one of MAX_SIM"),
        ("MAX_SIM_COSINE", {"list": True, "search_params": {"radius": 0.1}}, "range search is not supported"),
        ("MAX_SIM_COSINE", {"list": True, "group_by_field": "year"}, "not support search_group_by"),
        ("COSINE", {"vector": True, "group_by_field": "year"}, "only be grouped by the primary key"),
        ("MAX_SIM_COSINE", {"list": True, "search_params": {"metric_type": "MAX_SIM_L2"}}, "metric type not match"),
        ("MAX_SIM_COSINE", {"dim": DIM + 1}, "vector dimension mismatch"),
        ("MAX_SIM_COSINE", {"ids": [1]}, "search by primary keys is not supported"),
        ("COSINE", {"vector": True, "filter": "element_filter(clips, $[second] == 1) and id > 1"}, "only be the last"),
    ],
)
def test_searches_that_cannot_be_are_refused(
    sdk: Sdk, client: Any, name: str, metric: str, settings: dict[str, Any], text: str
) -> None:
    filled(sdk, client, name, metric)
    settings = dict(settings)
    if settings.pop("list", False):
        settings["data"] = [embedding_list(sdk, np.ones((2, DIM), np.float32))]
    if settings.pop("vector", False):
        settings["data"] = [[1.0] * DIM]
    if dim := settings.pop("dim", 0):
        settings["data"] = [embedding_list(sdk, np.ones((3, dim), np.float32))]
    with pytest.raises(sdk.module.MilvusException, match=text):
        client.search(name, anns_field="clips[emb]", limit=3, **settings)


# -- filters ------------------------------------------------------------------------------------
def test_filters_of_elements_keep_the_rows_they_mean(sdk: Sdk, client: Any, name: str) -> None:
    rows = filled(sdk, client, name, "MAX_SIM_COSINE")
    values = client.prepare_index_params()
    values.add_index("clips[second]", index_type="INVERTED")
    cases: list[tuple[str, Any]] = [
        (
            "element_filter(clips, $[second] == 30 && $[loud])",
            lambda c: any(x["second"] == 30 and x["loud"] for x in c),
        ),
        ("match_any(clips, $[second] > 20)", lambda c: any(x["second"] > 20 for x in c)),
        ("match_all(clips, $[second] < 20)", lambda c: all(x["second"] < 20 for x in c)),
        ("match_least(clips, $[loud], threshold=2)", lambda c: sum(x["loud"] for x in c) >= 2),
        ("match_most(clips, $[loud], threshold=0)", lambda c: not any(x["loud"] for x in c)),
        ("match_exact(clips, $[second] >= 10, threshold=2)", lambda c: sum(x["second"] >= 10 for x in c) == 2),
        ("not match_any(clips, $[loud])", lambda c: not any(x["loud"] for x in c)),
        ("array_contains(clips[second], 20)", lambda c: any(x["second"] == 20 for x in c)),
        ("array_length(clips) == 3", lambda c: len(c) == 3),
        ("clips[1][text] like '%7.1'", lambda c: len(c) > 1 and c[1]["text"].endswith("7.1")),
        ("clips is not null", lambda c: True),
    ]
    for _ in range(2):
        for text, means in cases:
            found = {row["id"] for row in client.query(name, filter=text, output_fields=["id"])}
            assert found == {row["id"] for row in rows if row["clips"] is not None and means(row["clips"])}, text
        missing = {row["id"] for row in client.query(name, filter="clips is null", output_fields=["id"])}
        assert missing == {row["id"] for row in rows if row["clips"] is None}
        client.flush(name)
        client.create_index(name, values)


async def test_the_asynchronous_clients_write_and_search_structs_too(sdk: Sdk, client: Any, name: str) -> None:
    create(sdk, client, name, "MAX_SIM_IP", "FLAT")
    asynchronous, rows = sdk.connect_async(), talks(60)
    await asynchronous.insert(name, rows)
    query = np.random.default_rng(3).normal(size=(2, DIM)).astype(np.float32)
    hits = (await asynchronous.search(name, data=[embedding_list(sdk, query)], anns_field="clips[emb]", limit=K))[0]
    assert [hit["id"] for hit in hits] == [key for key, _ in best(rows, query, "MAX_SIM_IP")]
    found = await asynchronous.query(name, filter="match_any(clips, $[second] == 30)", output_fields=["clips"])
    assert shown(list(found)) == {row["id"]: row["clips"] for row in rows if len(row["clips"] or ()) == 4}
    more = sdk.module.MilvusClient.create_struct_field_schema(nullable=True)
    more.add_field("word", sdk.module.DataType.VARCHAR, max_length=5)
    await asynchronous.add_collection_struct_field(name, "more", more, 2)
    assert (await asynchronous.query(name, filter="id == 1", output_fields=["more"]))[0]["more"] is None
    await asynchronous.close()


# -- changes ------------------------------------------------------------------------------------
def test_a_struct_field_can_be_added_and_dropped(sdk: Sdk, client: Any, name: str) -> None:
    types = sdk.module.DataType
    filled(sdk, client, name, "MAX_SIM_COSINE")
    note = client.create_struct_field_schema(nullable=True)
    note.add_field("author", types.VARCHAR, max_length=20)
    note.add_field("v", types.FLOAT_VECTOR, dim=2)
    client.add_collection_struct_field(name, "notes", note, 4, desc="by readers")
    client.insert(name, [{"id": ROWS, "year": 1, "clips": [], "notes": [{"author": "me", "v": [1.0, 2.0]}]}])
    params = client.prepare_index_params()
    params.add_index("notes[v]", index_type="HNSW", metric_type="MAX_SIM_L2")
    client.create_index(name, params)
    for _ in range(2):
        rows = list(client.query(name, filter=f"id in [1, {ROWS}]", output_fields=["notes"]))
        assert [row["notes"] for row in rows] == [None, [{"author": "me", "v": [1.0, 2.0]}]]
        hits = client.search(name, data=[embedding_list(sdk, [[1.0, 2.0]])], anns_field="notes[v]", limit=5)[0]
        assert [(hit["id"], hit["distance"]) for hit in hits] == [(ROWS, 0.0)]
        client.flush(name)
    client.release_collection(name)
    client.drop_index(name, "notes[v]")
    client.drop_collection_field(name, "notes")
    client.load_collection(name)
    assert [f["name"] for f in client.describe_collection(name)["fields"]] == ["id", "year", "clips"]
    assert "notes" not in client.query(name, filter=f"id == {ROWS}", output_fields=["*"])[0]


@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
def test_columns_go_in_and_come_out(sdk: Sdk, client: Any, name: str) -> None:
    create(sdk, client, name, "MAX_SIM_COSINE")
    rows = talks(30)
    client.insert(name, {key: [row[key] for row in rows] for key in ("id", "year", "clips")})
    table = client.query(name, filter="id >= 0", output_fields=["id", "year", "clips"]).to_arrow()
    assert str(table.schema.field("clips").type).startswith("list<item: struct<text: string")
    client.delete(name, filter="id >= 0")
    client.insert(name, table)
    found = list(client.query(name, filter="id >= 0", output_fields=["id", "clips"]))
    assert shown(found) == shown(rows)
    client.insert(name, client.query(name, filter="id >= 20", output_fields=["*"]).to_pandas())
    assert shown(list(client.query(name, filter="id >= 0", output_fields=["clips"]))) == shown(rows)


@pytest.fixture
def reopened(tmp_path: Any) -> Iterator[Any]:
    path = str(tmp_path / "structs.db")
    clients = []

    def again() -> Any:
        if clients:
            clients[-1].close()
        clients.append(redkite.MilvusClient(path))
        return clients[-1]

    yield again
    clients[-1].close()


def test_structs_outlive_restarts_and_compaction(reopened: Any) -> None:
    client, sdk, name = reopened(), Sdk("embedded", redkite, ""), "talks"
    create(sdk, client, name, "MAX_SIM_COSINE")
    rows = talks(900, seed=11)
    query = np.random.default_rng(12).normal(size=(3, DIM)).astype(np.float32)
    for at in range(0, 900, 300):
        client.insert(name, rows[at : at + 300])
        client = reopened()
        client.flush(name)
    client.delete(name, filter="id % 3 == 0")
    kept = [row for row in rows if row["id"] % 3]
    for step in ("deleted", "compacted", "reopened"):
        if step == "compacted":
            finish(client, client.compact(name))
        if step == "reopened":
            client = reopened()
        hits = client.search(name, data=[redkite.EmbeddingList(query)], anns_field="clips[emb]", limit=K, exact=True)[0]
        assert [hit["id"] for hit in hits] == [key for key, _ in best(kept, query, "MAX_SIM_COSINE")]
        found = list(client.query(name, filter="id >= 0", output_fields=["id", "clips"]))
        assert shown(found) == shown(kept)
