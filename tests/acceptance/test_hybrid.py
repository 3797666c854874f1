"""Hybrid search and rerank functions, the same calls by every way to the engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import WAYS, Sdk
from tests.proxy.model_server import ModelServer, relevance

pytestmark = pytest.mark.parametrize("sdk", WAYS, indirect=True, scope="session")
ROWS = 120
RNG = np.random.default_rng(9)
TEXT = RNG.standard_normal((ROWS, 6)).astype(np.float32)
IMAGE = RNG.standard_normal((ROWS, 4)).astype(np.float32)
WORDS = ["red kite", "black kite", "red fox", "grey wolf"]
QUERY_TEXT, QUERY_IMAGE = TEXT[3] + 0.1, IMAGE[40] + 0.1


@pytest.fixture
def animals(sdk: Sdk, client: Any, name: str) -> str:
    types = sdk.module.DataType
    schema = sdk.module.MilvusClient.create_schema(enable_dynamic_field=True)
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("text", types.FLOAT_VECTOR, dim=6)
    schema.add_field("image", types.FLOAT_VECTOR, dim=4)
    schema.add_field("age", types.INT64, nullable=True)
    schema.add_field("word", types.VARCHAR, max_length=20)
    indexes = sdk.module.MilvusClient.prepare_index_params()
    indexes.add_index("text", index_type="FLAT", metric_type="IP")
    indexes.add_index("image", index_type="HNSW", metric_type="L2", M=16, efConstruction=100)
    client.create_collection(name, schema=schema, index_params=indexes)
    client.insert(
        name,
        [
            {
                "id": i, "text": TEXT[i].tolist(), "image": IMAGE[i].tolist(), "age": None if i % 10 == 0 else i,
                "word": WORDS[i % 4], "colour": f"c{i % 3}",
            }
            for i in range(ROWS)
        ],
    )  # fmt: skip
    return name


def text_order() -> list[int]:
    return [int(i) for i in np.argsort(-(TEXT @ QUERY_TEXT), kind="stable")]


def image_order() -> list[int]:
    return [int(i) for i in np.argsort(((IMAGE - QUERY_IMAGE) ** 2).sum(axis=1), kind="stable")]


def requests(sdk: Sdk, limit: int = 10, **more: Any) -> list[Any]:
    ask = sdk.module.AnnSearchRequest
    return [
        ask([QUERY_TEXT.tolist()], "text", {"metric_type": "IP"}, limit, **more),
        ask(data=[QUERY_IMAGE.tolist()], anns_field="image", param={"params": {"ef": 64}}, limit=limit, **more),
    ]


def function(sdk: Sdk, fields: list[str], **params: Any) -> Any:
    return sdk.module.Function(
        name="f", input_field_names=fields, function_type=sdk.module.FunctionType.RERANK, params=params
    )


def test_reciprocal_ranks(sdk: Sdk, client: Any, animals: str) -> None:
    found = client.hybrid_search(
        animals, requests(sdk), sdk.module.RRFRanker(20), limit=5, offset=1, output_fields=["word", "colour"]
    )
    scores: dict[int, float] = {}
    for ranked in (text_order()[:10], image_order()[:10]):
        for rank, key in enumerate(ranked, 1):
            scores[key] = scores.get(key, 0) + 1 / (20 + rank)
    best = sorted(scores, key=lambda key: (-np.float32(scores[key]), key))[1:6]
    assert [hit["id"] for hit in found[0]] == best
    assert [hit["distance"] for hit in found[0]] == pytest.approx([scores[key] for key in best])
    assert [hit["entity"] for hit in found[0]] == [{"word": WORDS[k % 4], "colour": f"c{k % 3}"} for k in best]


@pytest.mark.parametrize("norm", [True, False])
def test_weights(sdk: Sdk, client: Any, animals: str, norm: bool) -> None:
    found = client.hybrid_search(animals, requests(sdk), sdk.module.WeightedRanker(0.8, 0.2, norm_score=norm), limit=6)
    scores: dict[int, float] = {}
    for key in text_order()[:10]:
        product = float(TEXT[key] @ QUERY_TEXT)
        scores[key] = 0.8 * (0.5 + np.arctan(product) / np.pi if norm else product)
    for key in image_order()[:10]:
        far = float(((IMAGE[key] - QUERY_IMAGE) ** 2).sum())
        scores[key] = scores.get(key, 0) + 0.2 * (1 - 2 * np.arctan(far) / np.pi)
    best = sorted(scores, key=lambda key: -scores[key])[:6]
    assert [hit["id"] for hit in found[0]] == best
    assert [hit["distance"] for hit in found[0]] == pytest.approx([scores[key] for key in best], rel=1e-5)


def test_filters_and_their_templates(sdk: Sdk, client: Any, animals: str) -> None:
    asked = requests(sdk, expr="age > {least} and word in ['red kite', 'red fox']", expr_params={"least": 60})
    found = client.hybrid_search(animals, asked, sdk.module.RRFRanker(), limit=20, output_fields=["age", "word"])
    assert len(found[0]) >= 10
    assert all(hit["entity"]["age"] > 60 and hit["entity"]["word"].startswith("red") for hit in found[0])


def test_several_queries(sdk: Sdk, client: Any, animals: str) -> None:
    ask = sdk.module.AnnSearchRequest
    asked = [ask(TEXT[:3].tolist(), "text", {}, 10), ask(IMAGE[3:6].tolist(), "image", {}, 10)]
    together = client.hybrid_search(animals, asked, sdk.module.RRFRanker(), limit=4)
    assert len(together) == 3
    for number in range(3):
        alone = [
            ask([TEXT[number].tolist()], "text", {}, 10), ask([IMAGE[3 + number].tolist()], "image", {}, 10),
        ]  # fmt: skip
        single = client.hybrid_search(animals, alone, sdk.module.RRFRanker(), limit=4)
        assert [hit["id"] for hit in together[number]] == [hit["id"] for hit in single[0]]


def test_functions_instead_of_rankers(sdk: Sdk, client: Any, animals: str) -> None:
    def ids(ranker: Any) -> list[int]:
        return [hit["id"] for hit in client.hybrid_search(animals, requests(sdk), ranker, limit=8)[0]]

    assert ids(function(sdk, [], reranker="rrf", k=20)) == ids(sdk.module.RRFRanker(20))
    weighted = function(sdk, [], reranker="weighted", weights=[0.8, 0.2], norm_score=True)
    assert ids(weighted) == ids(sdk.module.WeightedRanker(0.8, 0.2))


def test_decay_by_a_nullable_field(sdk: Sdk, client: Any, animals: str) -> None:
    decay = function(sdk, ["age"], reranker="decay", function="gauss", origin=60, scale=20, offset=1, decay=0.5)
    found = client.search(
        animals, [QUERY_TEXT.tolist()], anns_field="text", limit=30, output_fields=["age"], ranker=decay
    )
    wanted = {}
    for key in text_order()[:30]:
        steps = max(0, abs(key - 60) - 1) / 20
        wanted[key] = 0.0 if key % 10 == 0 else float(TEXT[key] @ QUERY_TEXT) * 0.5 ** (steps**2)
    best = sorted(wanted, key=lambda key: (-np.float32(wanted[key]), key))
    assert [hit["id"] for hit in found[0]] == best
    assert [hit["distance"] for hit in found[0]] == pytest.approx([wanted[k] for k in best], rel=1e-4, abs=1e-6)
    assert [hit["entity"]["age"] for hit in found[0]] == [None if key % 10 == 0 else key for key in best]


def test_boosts_of_a_search(sdk: Sdk, client: Any, animals: str) -> None:
    score = sdk.module.FunctionScore(
        [
            function(sdk, [], reranker="boost", filter="colour == 'c1'", weight=10.0),
            function(sdk, [], reranker="boost", filter="word == 'red kite'", weight=5.0),
        ],
        params={"boost_mode": "sum", "function_mode": "sum"},
    )
    found = client.search(animals, [QUERY_TEXT.tolist()], anns_field="text", limit=5, ranker=score)
    wanted = {}
    for key in text_order()[:100]:
        wanted[key] = float(TEXT[key] @ QUERY_TEXT) + (10 if key % 3 == 1 else 0) + (5 if key % 4 == 0 else 0)
    best = sorted(wanted, key=lambda key: -wanted[key])[:5]
    assert [hit["id"] for hit in found[0]] == best
    assert [hit["distance"] for hit in found[0]] == pytest.approx([wanted[key] for key in best], rel=1e-5)


def test_a_model_behind_http(sdk: Sdk, client: Any, animals: str) -> None:
    with ModelServer() as server:
        model = function(
            sdk, ["word"], reranker="model", provider="vllm", queries=["red kite"], endpoint=server.endpoint,
            model_name="m", truncate_prompt_tokens=64,
        )  # fmt: skip
        found = client.search(
            animals, [QUERY_TEXT.tolist()], anns_field="text", limit=12, output_fields=["word"], ranker=model
        )
        assert server.calls[0].body["truncate_prompt_tokens"] == 64
    words = [hit["entity"]["word"] for hit in found[0]]
    assert [hit["distance"] for hit in found[0]] == [relevance("red kite", word) for word in words]
    assert words == sorted(words, key=lambda word: -relevance("red kite", word))


def test_what_cannot_be_is_refused_alike(sdk: Sdk, client: Any, animals: str) -> None:
    module = sdk.module
    cases = [
        (module.RRFRanker(0), 1100, "The rank params k should be in range (0, 16384)"),
        (module.WeightedRanker(0.5), 1100, "the length of weights param mismatch with ann search requests"),
        (module.WeightedRanker(0.5, 2), 1100, "rank param weight should be in range [0, 1]"),
        (function(sdk, [], reranker="best"), 1100, "rerank_builder: unsupported reranker best"),
        (function(sdk, []), 1100, "rerank_builder: reranker name not specified"),
        (function(sdk, ["age"], reranker="decay", function="cubic", origin=1, scale=1), 1100, "cubic"),
        (function(sdk, [], reranker="boost"), 1100, "must set weight params for weight scorer"),
        (function(sdk, ["word"], reranker="model", provider="acme"), 1100, "unknown rerank model provider:acme"),
        (
            function(sdk, ["word"], reranker="model", provider="tei", queries=["x"], endpoint="http://127.0.0.1:9"),
            2400,
            "cannot be reached",
        ),
    ]
    for ranker, code, text in cases:
        with pytest.raises(module.MilvusException) as caught:
            client.hybrid_search(animals, requests(sdk), ranker, limit=5)
        assert (caught.value.code, text in caught.value.message) == (code, True), caught.value
    uneven = [*requests(sdk), module.AnnSearchRequest(TEXT[:2].tolist(), "text", {}, 5)]
    with pytest.raises(module.MilvusException, match="nq should be the same"):
        client.hybrid_search(animals, uneven, module.RRFRanker(), limit=5)


async def test_asynchronously(sdk: Sdk, client: Any, animals: str) -> None:
    wanted = client.hybrid_search(animals, requests(sdk), sdk.module.RRFRanker(), limit=5, output_fields=["word"])
    other = sdk.connect_async()
    found = await other.hybrid_search(animals, requests(sdk), sdk.module.RRFRanker(), limit=5, output_fields=["word"])
    await other.close()
    assert [dict(hit) for hit in found[0]] == [dict(hit) for hit in wanted[0]]


# -- chains -------------------------------------------------------------------------------------
def builders(sdk: Sdk) -> Any:
    if sdk.ours:
        return sdk.module
    from pymilvus import function_chain

    return function_chain


def test_a_chain_of_steps(sdk: Sdk, client: Any, animals: str) -> None:
    m = builders(sdk)
    col, fn = m.col, m.fn
    chain = (
        m.FunctionChain(m.FunctionChainStage.L2_RERANK, name="young")
        .map("young", fn.decay(col("age"), function="linear", origin=0, scale=100, decay=0.1))
        .map("$score", fn.num_combine(col("$score"), col("young"), mode="weighted", weights=[0.5, 2.0]))
        .map("$score", fn.round_decimal(col("$score"), decimal=2))
        .sort(col("$score"), desc=True, tie_break_col=col("$id"))
        .limit(5, offset=1)
    )
    found = client.search(
        animals, [QUERY_TEXT.tolist()] * 2, anns_field="text", limit=20, output_fields=["word"], function_chains=chain
    )
    wanted = {}
    for key in text_order()[:20]:
        young = 0.0 if key % 10 == 0 else max(0.1, 1 - 0.9 * key / 100)
        wanted[key] = round(0.5 * float(TEXT[key] @ QUERY_TEXT) + 2 * young, 2)
    best = sorted(wanted, key=lambda key: (-wanted[key], key))[1:6]
    for query in found:
        assert [hit["id"] for hit in query] == best
        assert [hit["distance"] for hit in query] == pytest.approx([wanted[key] for key in best], abs=1e-5)
        assert [hit["entity"]["word"] for hit in query] == [WORDS[key % 4] for key in best]


@pytest.mark.parametrize("stage", ["L0_RERANK", "L1_RERANK"])
def test_an_early_chain_scores_more_rows_than_are_answered(sdk: Sdk, client: Any, animals: str, stage: str) -> None:
    m = builders(sdk)
    late = m.FunctionChain(m.FunctionChainStage.L2_RERANK).sort("age", desc=True)
    early = m.FunctionChain(m.FunctionChainStage[stage]).map(
        "$score", m.fn.num_combine(m.col("$score"), m.col("age"), mode="sum")
    )
    found = client.search(
        animals, [QUERY_TEXT.tolist()], anns_field="text", limit=4, output_fields=["age"], function_chains=[late, early]
    )
    wanted = {key: float(TEXT[key] @ QUERY_TEXT) + (key if key % 10 else 0) for key in text_order()[:100]}
    best = sorted(wanted, key=lambda key: -wanted[key])[:4]
    assert [hit["id"] for hit in found[0]] == sorted(best, reverse=True)


def test_chains_that_cannot_be_are_refused(sdk: Sdk, client: Any, animals: str) -> None:
    m = builders(sdk)
    col, fn, stages = m.col, m.fn, m.FunctionChainStage
    both = fn.num_combine(col("$score"), col("age"))

    def chain(stage: Any = stages.L2_RERANK) -> Any:
        return m.FunctionChain(stage)

    cases = [
        (chain(stages.PRE_PROCESS).map("$score", both), 1100, "chain[0] stage FunctionChainStagePreProcess is not"),
        (chain(stages.INGESTION).map("$score", both), 1100, "FunctionChainStageIngestion is not supported in search"),
        (chain(), 1100, "has no steps"),
        (chain().map("$score", fn.num_combine(col("$score"), col("none"))), 1100, "column none is neither a field"),
        (chain().map("$score", fn.num_combine(col("$score"), col("word"))), 1100, "column word must be numeric"),
        (chain().map("$score", fn.num_combine(col("$score"), col("text"))), 1100, "cannot be a column"),
        (chain().map("age", both), 1100, "map cannot write to age"),
        (chain().map("$id", both), 1100, "map cannot write to $id"),
        (chain().sort("later").map("later", both), 1100, "column later is neither"),
        (chain().map("x", fn.decay(col("age"), function="exp", origin=0, scale=0)), 1100, "scale must be > 0"),
        (
            chain().map("x", fn.rerank_model(col("word"), queries=["q", "r"], provider="tei", endpoint="http://a")),
            1100,
            "nq must equal the number of queries",
        ),
    ]
    for given, code, text in cases:
        with pytest.raises(sdk.module.MilvusException) as caught:
            client.search(animals, [QUERY_TEXT.tolist()], anns_field="text", limit=5, function_chains=given)
        assert (caught.value.code, text in caught.value.message) == (code, True), caught.value


# -- groups -------------------------------------------------------------------------------------
@pytest.mark.parametrize("scorer", ["max", "sum", "avg"])
def test_groups_of_a_hybrid_search(sdk: Sdk, client: Any, animals: str, scorer: str) -> None:
    found = client.hybrid_search(
        animals, requests(sdk, limit=4), sdk.module.RRFRanker(), limit=3, offset=1, output_fields=["word"],
        group_by_field="word", group_size=2, strict_group_size=True, rank_group_scorer=scorer,
    )  # fmt: skip
    scores: dict[int, float] = {}
    for ranked in (text_order(), image_order()):
        firsts = list(dict.fromkeys(key % 4 for key in ranked))
        taken = [key for word in firsts for key in [k for k in ranked if k % 4 == word][:2]]
        for rank, key in enumerate(taken, 1):
            scores[key] = scores.get(key, 0) + 1 / (60 + rank)
    groups = {}
    for word in range(4):
        best = sorted((k for k in scores if k % 4 == word), key=lambda k: (-np.float32(scores[k]), k))[:2]
        given = [float(np.float32(scores[key])) for key in best]
        value = {"max": given[0], "sum": sum(given), "avg": sum(given) / len(given)}[scorer]
        groups[word] = (-value, best)
    order = sorted(groups.values(), key=lambda group: (group[0], -np.float32(scores[group[1][0]]), group[1][0]))
    assert [hit["id"] for hit in found[0]] == [key for _, best in order[1:4] for key in best]


def test_groups_of_a_search_with_a_function(sdk: Sdk, client: Any, animals: str) -> None:
    decay = function(sdk, ["age"], reranker="decay", function="exp", origin=0, scale=40)
    found = client.search(
        animals, [QUERY_TEXT.tolist()], anns_field="text", limit=3, group_by_field="word", group_size=1,
        output_fields=["word"], ranker=decay,
    )  # fmt: skip
    firsts: dict[int, int] = {}
    for key in text_order():
        firsts.setdefault(key % 4, key)
    best = list(firsts.values())[:3]
    wanted = {key: 0.0 if key % 10 == 0 else float(TEXT[key] @ QUERY_TEXT) * 0.5 ** (key / 40) for key in best}
    assert [hit["id"] for hit in found[0]] == sorted(best, key=lambda key: -wanted[key])


def test_a_scorer_of_groups_that_is_not_known_is_refused(sdk: Sdk, client: Any, animals: str) -> None:
    with pytest.raises(sdk.module.MilvusException, match="rank_group_scorer"):
        client.hybrid_search(
            animals, requests(sdk), sdk.module.RRFRanker(), limit=3, group_by_field="word", rank_group_scorer="min"
        )


@pytest.mark.parametrize("asked", [{"group_size": 2}, {"strict_group_size": True}])
def test_groups_of_no_field_are_refused(sdk: Sdk, client: Any, animals: str, asked: dict[str, Any]) -> None:
    with pytest.raises(sdk.module.MilvusException, match="has no effect without group_by_field"):
        client.hybrid_search(animals, requests(sdk), sdk.module.RRFRanker(), limit=3, **asked)
    with pytest.raises(sdk.module.MilvusException, match="has no effect without group_by_field"):
        client.search(animals, [QUERY_TEXT.tolist()], anns_field="text", limit=3, **asked)
    assert len(client.search(animals, [QUERY_TEXT.tolist()], anns_field="text", limit=3, group_size=1)[0]) == 3


@pytest.mark.parametrize("limit", [-1, 0, 16385])
def test_each_search_has_a_limit_within_the_range(sdk: Sdk, client: Any, animals: str, limit: int) -> None:
    searches = [*requests(sdk), sdk.module.AnnSearchRequest([TEXT[0].tolist()], "text", {}, limit)]
    with pytest.raises(sdk.module.MilvusException, match=rf"topk \[{limit}\] is invalid"):
        client.hybrid_search(animals, searches, sdk.module.RRFRanker(), limit=3)


# -- kinds of vectors ---------------------------------------------------------------------------
def test_dense_sparse_and_binary_vectors_together(sdk: Sdk, client: Any, name: str) -> None:
    module, types = sdk.module, sdk.module.DataType
    schema = module.MilvusClient.create_schema()
    schema.add_field("id", types.VARCHAR, is_primary=True, max_length=10)
    schema.add_field("dense", types.FLOAT_VECTOR, dim=6)
    schema.add_field("half", types.FLOAT16_VECTOR, dim=6)
    schema.add_field("sparse", types.SPARSE_FLOAT_VECTOR)
    schema.add_field("bits", types.BINARY_VECTOR, dim=16)
    indexes = module.MilvusClient.prepare_index_params()
    indexes.add_index("dense", index_type="FLAT", metric_type="COSINE")
    indexes.add_index("half", index_type="FLAT", metric_type="L2")
    indexes.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
    indexes.add_index("bits", index_type="BIN_FLAT", metric_type="HAMMING")
    client.create_collection(name, schema=schema, index_params=indexes)
    sparse = [{i % 7: 1.0 + i / 100, 7 + i % 3: 0.5} for i in range(ROWS)]
    bits = [bytes([i, 255 - i]) for i in range(ROWS)]
    client.insert(
        name,
        [
            {
                "id": f"k{i:03}", "dense": TEXT[i].tolist(), "half": TEXT[i].astype(np.float16), "sparse": sparse[i],
                "bits": bits[i],
            }
            for i in range(ROWS)
        ],
    )  # fmt: skip
    ask = module.AnnSearchRequest
    asked = [
        ask([QUERY_TEXT.tolist()], "dense", {}, 15),
        ask([QUERY_TEXT.astype(np.float16)], "half", {}, 15),
        ask([{3: 1.0, 8: 0.25}], "sparse", {"params": {"drop_ratio_search": 0.0}}, 15),
        ask([bits[40]], "bits", {}, 15),
    ]
    found = client.hybrid_search(name, asked, module.RRFRanker(), limit=12)
    half = TEXT.astype(np.float16).astype(np.float32)
    far = ((half - QUERY_TEXT.astype(np.float16).astype(np.float32)) ** 2).sum(axis=1)
    products = np.array([row.get(3, 0.0) + 0.25 * row.get(8, 0.0) for row in sparse], np.float32)
    differ = np.array([sum((a ^ b).bit_count() for a, b in zip(row, bits[40], strict=True)) for row in bits])
    cosines = (TEXT @ QUERY_TEXT) / np.linalg.norm(TEXT, axis=1)
    scores: dict[int, float] = {}
    for rank_by, most in ((-cosines, ROWS), (far, ROWS), (-products, int((products > 0).sum())), (differ, ROWS)):
        for rank, key in enumerate(np.argsort(rank_by, kind="stable")[: min(15, most)].tolist(), 1):
            scores[key] = scores.get(key, 0) + 1 / (60 + rank)
    best = sorted(scores, key=lambda key: (-np.float32(scores[key]), key))[:12]
    assert [hit["id"] for hit in found[0]] == [f"k{key:03}" for key in best]


def test_the_older_classes_of_pymilvus(sdk: Sdk, client: Any, animals: str) -> None:
    if sdk.ours:
        pytest.skip("only pymilvus has them")
    import pymilvus

    pymilvus.connections.connect("older", uri=sdk.uri)
    collection = pymilvus.Collection(animals, using="older")
    wanted = client.hybrid_search(animals, requests(sdk), pymilvus.RRFRanker(), limit=5, output_fields=["word"])
    found = collection.hybrid_search(requests(sdk), pymilvus.RRFRanker(), limit=5, output_fields=["word"])
    assert [hit.id for hit in found[0]] == [hit["id"] for hit in wanted[0]]
    assert [hit.entity.get("word") for hit in found[0]] == [hit["entity"]["word"] for hit in wanted[0]]
    part = pymilvus.Partition(collection, "_default")
    found = part.hybrid_search(requests(sdk), pymilvus.RRFRanker(), limit=5)
    assert [hit.id for hit in found[0]] == [hit["id"] for hit in wanted[0]]
    pymilvus.connections.disconnect("older")
