"""Searches evaluated in place, by every client of ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk

import redkite
from redkite import AnnSearchRequest, DataType, RRFRanker

pytestmark = pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
ROWS, DIM = 300, 8
RNG = np.random.default_rng(4)
VECTORS = RNG.standard_normal((ROWS, DIM)).astype(np.float32)
OTHERS = RNG.standard_normal((ROWS, DIM)).astype(np.float32)
QUERIES = RNG.standard_normal((90, DIM)).astype(np.float32)


def nearest(matrix: Any, query: Any, count: int) -> list[int]:
    return [int(i) for i in np.argsort(((matrix - query) ** 2).sum(axis=1), kind="stable")[:count]]


@pytest.fixture
def points(client: Any, name: str) -> str:
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("document", DataType.VARCHAR, max_length=20)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("other", DataType.FLOAT_VECTOR, dim=DIM)
    indexes = client.prepare_index_params()
    for field in ("vector", "other"):
        indexes.add_index(field, index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=indexes)
    client.insert(
        name,
        [
            {"id": i, "document": f"d{i // 3}", "vector": VECTORS[i], "other": OTHERS[i]}
            for i in range(ROWS)
        ],
    )  # fmt: skip
    return name


def test_a_search_that_finds_everything_is_perfect(client: Any, points: str) -> None:
    qrels = [nearest(VECTORS, query, 5) for query in QUERIES]
    found = client.evaluate(points, QUERIES, qrels, {"anns_field": "vector", "consistency_level": "Strong"}, k=5)
    assert found.at(5) == (1.0, 1.0, 1.0, 1.0)
    assert (found.collection, found.queries, found.unjudged) == (points, len(QUERIES), 0)
    assert found.seconds > 0


def test_another_configuration_is_as_good_as_it_is(client: Any, points: str) -> None:
    qrels = {f"q{i}": nearest(VECTORS, query, 5) for i, query in enumerate(QUERIES)}
    queries = {f"q{i}": query for i, query in enumerate(QUERIES)}
    strong = {"consistency_level": "Strong"}
    half = client.evaluate(points, queries, qrels, {"anns_field": "vector", "filter": "id < 150", **strong}, k=5)
    wanted = [len([i for i in judged if i < 150]) / 5 for judged in qrels.values()]
    assert half.at(5).recall == pytest.approx(np.mean(wanted))
    wrong = client.evaluate(points, queries, qrels, {"anns_field": "other", **strong}, k=5)
    assert wrong.at(5).recall < 0.2
    assert wrong.worst(1)[0][0] in queries


def test_hybrid_searches_and_functions_are_evaluated_alike(client: Any, points: str) -> None:
    qrels = [nearest(VECTORS, query, 5) for query in QUERIES]
    requests = [
        AnnSearchRequest(None, "vector", {}, 5),
        AnnSearchRequest(QUERIES, "other", {}, 5),
    ]
    hybrid = {"reqs": requests, "ranker": RRFRanker(), "consistency_level": "Strong"}
    found = client.evaluate(points, QUERIES, qrels, hybrid, k=(5, 10), batch_size=7)
    assert found.at(10).recall > 0.95
    assert 0.3 < found.at(5).recall < 0.9

    def search(some: Any) -> Any:
        parts = [AnnSearchRequest(some, "vector", {}, 10), AnnSearchRequest(some, "other", {}, 10)]
        return client.hybrid_search(points, parts, RRFRanker(), limit=10, consistency_level="Strong")

    by_function = client.evaluate(points, QUERIES, qrels, search, k=(5, 10), batch_size=7)
    assert by_function == redkite.Evaluation(
        points, found.queries, 0, found.k, found.recall, found.precision, found.mrr, found.ndcg, by_function.seconds,
        found.names,
    )  # fmt: skip


def test_rows_may_be_parts_of_documents(client: Any, points: str) -> None:
    documents = [list(dict.fromkeys(f"d{i // 3}" for i in nearest(VECTORS, query, 10))) for query in QUERIES]
    qrels = [found[:1] for found in documents]
    how = {"anns_field": "vector", "consistency_level": "Strong"}
    found = client.evaluate(points, QUERIES, qrels, how, k=10, id_field="document")
    assert found.at(10).mrr == 1.0
    second = [found[1:2] for found in documents]
    found = client.evaluate(points, QUERIES, second, how, k=10, id_field="document")
    assert found.at(10).mrr == pytest.approx(0.5), "of three parts of the best document one counts"


@pytest.mark.parametrize(
    ("search", "text"),
    [
        ({"limit": 5}, r"an evaluation cannot pass `limit` to search\(\)"),
        ({"reqs": [], "data": 1}, r"an evaluation cannot pass `data` to hybrid_search\(\)"),
        ({"reqs": 5}, "must be a list of AnnSearchRequest"),
        ({"reqs": [AnnSearchRequest([[1.0] * DIM], "vector", {}, 5)]}, "brings 1 queries, not 90"),
    ],
)
def test_a_configuration_that_is_none_is_refused(client: Any, points: str, search: Any, text: str) -> None:
    with pytest.raises(redkite.ParamError, match=text):
        client.evaluate(points, QUERIES, [[1]] * len(QUERIES), search)


def test_an_unknown_argument_is_refused(client: Any, points: str) -> None:
    with pytest.raises(redkite.ParamError, match=r"evaluate\(\) got an unexpected argument `depth`"):
        client.evaluate(points, QUERIES, [[1]] * len(QUERIES), depth=3)


async def test_the_asynchronous_client_evaluates_too(sdk: Sdk, points: str) -> None:
    qrels = [nearest(VECTORS, query, 5) for query in QUERIES]
    async with sdk.connect_async() as client:
        how = {"anns_field": "vector", "consistency_level": "Strong"}
        found = await client.evaluate(points, QUERIES, qrels, how, k=5)
        assert found.at(5).recall == 1.0

        async def search(some: Any) -> Any:
            return await client.search(points, some, anns_field="vector", limit=5, consistency_level="Strong")

        assert (await client.evaluate(points, QUERIES, qrels, search, k=5)).at(5).ndcg == 1.0
