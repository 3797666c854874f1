"""How a read was answered: `explain`, `analyze`, `exact`, `recall`."""

from __future__ import annotations

import time
from typing import Any

import httpx
import numpy as np
import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk

from redkite.errors import MilvusException

ours = pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
ROWS, DIM = 12_000, 24
GROWING = 100


def vectors() -> np.ndarray:
    return np.random.default_rng(3).random((ROWS + GROWING, DIM), dtype=np.float32)


QUERIES = np.random.default_rng(4).random((6, DIM), dtype=np.float32)


@pytest.fixture(scope="session")
def graph(sdk: Sdk, client: Any) -> str:
    """Rows under a sparse graph that misses neighbours when it makes little effort, and some that are not sealed."""
    name = f"explained_{sdk.way}"
    schema = sdk.module.MilvusClient.create_schema()
    schema.add_field("id", sdk.module.DataType.INT64, is_primary=True)
    schema.add_field("vector", sdk.module.DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("number", sdk.module.DataType.INT64)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="HNSW", metric_type="L2", params={"M": 6, "efConstruction": 24})
    client.create_collection(name, schema=schema, index_params=index)
    block = vectors()
    rows = [{"id": i, "vector": block[i].tolist(), "number": i % 100} for i in range(ROWS + GROWING)]
    for at in range(0, ROWS, 3000):
        client.insert(name, rows[at : at + 3000])
    client.flush(name)
    limit = time.monotonic() + 120
    while client.describe_index(name, "vector")["pending_index_rows"]:
        assert time.monotonic() < limit
        time.sleep(0.05)
    client.insert(name, rows[ROWS:])
    return name


def search(client: Any, name: str, **more: Any) -> Any:
    return client.search(name, data=QUERIES, limit=10, **more)


@ours
def test_analyze_tells_segments_steps_times_and_recall_beside_the_same_hits(client: Any, graph: str) -> None:
    found = search(client, graph, filter="number < 50", analyze=True, search_params={"ef": 64})
    assert [hits.ids for hits in found] == [
        hits.ids for hits in search(client, graph, filter="number < 50", search_params={"ef": 64})
    ]
    told = found.explanation
    assert (told.kind, told.analyzed, told.fields, told.index_type, told.metric) == (
        "search", True, ("vector",), "HNSW", "L2",
    )  # fmt: skip
    assert told.params == {"ef": 64}
    assert (told.rows, told.allowed) == (ROWS + GROWING, (ROWS + GROWING) // 2)
    assert sorted(segment.state for segment in told.segments) == ["growing", "sealed"]
    assert all(segment.steps for segment in told.segments)
    assert told.read_seconds > 0
    assert len(told.recalls) == len(QUERIES)
    text = str(told)
    assert "filter number < 50" in text
    assert "50.0%" in text


@ours
def test_explain_tells_how_and_compares_nothing(client: Any, graph: str) -> None:
    found = search(client, graph, explain=True)
    assert [len(hits) for hits in found] == [0] * len(QUERIES)
    told = found.explanation
    assert (told.analyzed, told.compared, told.recalls) == (False, 0, ())
    ways = {segment.state: segment.steps[0].how for segment in told.segments}
    assert ways == {"growing": "compare every allowed row", "sealed": "ask the index"}


@ours
def test_a_plain_search_explains_nothing(client: Any, graph: str) -> None:
    found = search(client, graph)
    assert found.explanation is None
    assert found.recalls is None


@ours
def test_recall_is_measured_against_the_true_neighbours(client: Any, graph: str) -> None:
    poor = search(client, graph, analyze=True, search_params={"ef": 10})
    block = vectors()
    for hits, query, told in zip(poor, QUERIES, poor.recalls, strict=True):
        true = np.argsort(((block - query) ** 2).sum(axis=1), kind="stable")[:10]
        assert told == pytest.approx(len(set(hits.ids) & set(true.tolist())) / 10)
    assert sum(poor.recalls) / len(poor.recalls) < 0.9, "the graph is too good for this test to say anything"


@ours
def test_exact_finds_every_neighbour_whatever_the_index(client: Any, graph: str) -> None:
    block = vectors()
    found = search(client, graph, exact=True, analyze=True)
    for hits, query in zip(found, QUERIES, strict=True):
        assert hits.ids == np.argsort(((block - query) ** 2).sum(axis=1), kind="stable")[:10].tolist()
    assert found.recalls == [1.0] * len(QUERIES)
    assert found.explanation.params == {"ef": 16, "measured": "ef"}


@ours
def test_recall_chooses_the_effort_of_the_index(client: Any, graph: str) -> None:
    low = search(client, graph, recall=0.5, analyze=True).explanation.params["ef"]
    high = search(client, graph, recall=0.95, analyze=True)
    assert low < high.explanation.params["ef"]
    assert np.mean(high.recalls) > 0.7  # of six queries other than those it was measured on
    wanted = client.search(graph, data=QUERIES, limit=10, search_params={"recall": 0.95, "analyze": True})
    assert wanted.explanation.params == high.explanation.params


@ours
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"recall": 1.5}, "recall .1.5. is invalid"),
        ({"recall": 0}, "recall .0. is invalid"),
        ({"recall": 0.9, "exact": True}, "exact and recall cannot be given together"),
        ({"recall": 0.9, "search_params": {"ef": 20}}, "recall and ef cannot be given together"),
        ({"exact": "maybe"}, "exact .maybe. is invalid"),
    ],
)
def test_contradictions_are_refused(client: Any, graph: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(MilvusException, match=text):
        search(client, graph, **options)


@ours
def test_queries_explain_themselves(client: Any, graph: str) -> None:
    rows = client.query(graph, "number == 7", limit=3, analyze=True)
    assert len(rows) == 3
    assert (rows.explanation.kind, rows.explanation.allowed) == ("query", (ROWS + GROWING) // 100)
    keyed = client.query(graph, "id in [1, 2]", explain=True)
    assert keyed == []
    assert {segment.steps[0].how for segment in keyed.explanation.segments} == {"look the keys up"}


@ours
def test_hybrid_searches_explain_each_part(sdk: Sdk, client: Any, graph: str) -> None:
    import redkite

    parts = [
        redkite.AnnSearchRequest([QUERIES[0].tolist()], "vector", {"ef": 32}, 5, expr="number < 10"),
        redkite.AnnSearchRequest([QUERIES[1].tolist()], "vector", {"exact": True}, 5),
    ]
    found = client.hybrid_search(graph, parts, redkite.RRFRanker(), 5, analyze=True)
    assert len(found[0]) == 5
    told = found.explanation
    assert (told.kind, told.fields, len(told.segments)) == ("hybrid", ("vector", "vector"), 4)


def told_of(found: Any) -> list[tuple[str, int, int]]:
    return [(stage.how, stage.given, stage.left) for stage in found.explanation.stages]


@ours
def test_each_stage_of_ranking_is_explained_with_the_hits_that_pass_it(client: Any, graph: str) -> None:
    from redkite import AnnSearchRequest, Function, FunctionScore, FunctionType, RRFRanker, WeightedRanker

    rerank = FunctionType.RERANK
    parts = [
        AnnSearchRequest([QUERIES[at].tolist()], "vector", {"exact": True}, 5, expr=f"number == {at}") for at in (0, 1)
    ]
    fused = client.hybrid_search(graph, parts, RRFRanker(7), 6, analyze=True)
    assert told_of(fused) == [("rrf, k=7", 12, 6)]
    assert "  then rrf, k=7: 12 hits in, 6 out\n" in str(fused.explanation)
    weighted = client.hybrid_search(graph, parts, WeightedRanker(0.25, 1), 6, explain=True)
    assert told_of(weighted) == [("weighted by 0.25, 1, of normalised scores", 0, 0)]
    assert str(weighted.explanation).endswith("\n  then weighted by 0.25, 1, of normalised scores")

    boost = Function("b", rerank, [], params={"reranker": "boost", "weight": 2, "filter": "id > 5"})
    decay = {"reranker": "decay", "function": "exp", "origin": 3, "scale": 4, "score_mode": "sum"}
    scored = FunctionScore([boost, Function("d", rerank, ["number"], params=decay)])
    boosts = "boosts of vector: 2 where a filter holds; function_mode=multiply, boost_mode=multiply"
    assert told_of(client.hybrid_search(graph, parts, scored, 5, analyze=True)) == [
        (boosts, 100, 5),
        (boosts, 100, 5),
        ("decay exp of number, origin=3, scale=4, offset=0, decay=0.5, score_mode=sum", 10, 5),
    ]
    assert told_of(search(client, graph, analyze=True)) == []


@ours
def test_chains_are_explained_stage_by_stage(client: Any, graph: str) -> None:
    from redkite import AnnSearchRequest, FunctionChain, FunctionChainStage, col, fn

    early = FunctionChain(FunctionChainStage.L0_RERANK).filter("number < 50")
    late = FunctionChain(FunctionChainStage.L2_RERANK).merge("max", norm_score=True)
    late = late.map("x", fn.decay(col("number"), function="exp", origin=0, scale=9)).sort("x", desc=False).limit(3, 1)
    last = FunctionChain(FunctionChainStage.POST_PROCESS).select("number").group_by("number")
    parts = [AnnSearchRequest([QUERIES[0].tolist()], "vector", {"exact": True}, 20, expr="id < 80") for _ in range(2)]
    found = client.hybrid_search(graph, parts, None, 10, function_chains=[early, late, last], analyze=True)
    assert told_of(found) == [
        ("L0_RERANK and L1_RERANK: filter", 80, 50),
        ("L0_RERANK and L1_RERANK: filter", 80, 50),
        ("merge by max, of normalised scores", 40, 20),
        ("L2_RERANK: map x, sort x asc, limit 3 offset 1", 20, 3),
        ("POST_PROCESS: select number, group_by number", 3, 3),
    ]


def test_pymilvus_asks_by_search_parameters_and_is_told_the_recall(sdk: Sdk, client: Any, graph: str) -> None:
    if sdk.way != "pymilvus":
        pytest.skip("for the official client")
    found = client.search(graph, data=QUERIES, limit=10, search_params={"exact": True, "analyze": True})
    assert list(found.recalls) == [1.0] * len(QUERIES)
    assert [len(hits) for hits in client.search(graph, data=QUERIES, search_params={"explain": True})] == [0] * 6


def test_rest_answers_the_explanation_beside_the_data(sdk: Sdk, graph: str) -> None:
    if sdk.embedded:
        pytest.skip("needs the wire")
    body = {"collectionName": graph, "data": QUERIES.tolist(), "limit": 3, "searchParams": {"analyze": True}}
    answer = httpx.post(f"{sdk.uri}/v2/vectordb/entities/search", json=body).json()
    assert len(answer["data"]) == 18
    assert answer["explain"]["kind"] == "search"
    assert len(answer["recalls"]) == 6
    body = {"collectionName": graph, "filter": "number == 3", "explain": True}
    answer = httpx.post(f"{sdk.uri}/v2/vectordb/entities/query", json=body).json()
    assert answer["data"] == []
    assert sum(segment["allowed"] for segment in answer["explain"]["segments"]) == (ROWS + GROWING) // 100


def test_rest_explains_hybrid_searches_as_the_sdk_does(sdk: Sdk, graph: str) -> None:
    if sdk.embedded:
        pytest.skip("needs the wire")
    parts = [{"data": [QUERIES[at].tolist()], "annsField": "vector", "limit": 5} for at in range(2)]
    body = {"collectionName": graph, "search": parts, "limit": 5}
    for flag, hits in (("analyze", 5), ("explain", 0)):
        answer = httpx.post(f"{sdk.uri}/v2/vectordb/entities/hybrid_search", json={**body, flag: True}).json()
        assert len(answer["data"]) == hits
        told = answer["explain"]
        assert (told["kind"], told["analyzed"], len(told["segments"])) == ("hybrid", hits > 0, 4)


@pytest.mark.parametrize("sdk", ["embedded"], indirect=True, scope="session")
def test_a_plan_compares_nothing_and_asks_no_index(
    sdk: Sdk, client: Any, graph: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: Any, **__: Any) -> Any:
        raise AssertionError("a plan is not run")

    for name in ("faiss_index.FaissIndex.search", "dense.FloatColumn.search", "dense.FloatColumn.ranked"):
        monkeypatch.setattr(f"redkite.index.{name}", work)
    monkeypatch.setattr("redkite.query.ordering.assemble_ordered", work)
    planned = search(client, graph, filter="number < 50", explain=True)
    assert [len(hits) for hits in planned] == [0] * 6 and len(planned.explanation.segments) == 2
    parts = [sdk.module.AnnSearchRequest([QUERIES[0].tolist()], "vector", {}, 5)]
    assert len(client.hybrid_search(graph, parts, sdk.module.RRFRanker(), 5, explain=True)[0]) == 0
    assert client.query(graph, "number < 50", limit=5, order_by_fields="number", explain=True) == []
    with pytest.raises(AssertionError, match="a plan is not run"):
        search(client, graph, filter="number < 50")
