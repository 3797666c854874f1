"""`measure_recall` and `advise_index`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk

from redkite.errors import MilvusException
from redkite.proxy.advisor import wilson

ours = pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
ROWS, DIM = 3000, 16


@pytest.fixture(scope="session")
def points(sdk: Sdk, client: Any) -> str:
    name = f"advised_{sdk.way}"
    client.create_collection(name, dimension=DIM, metric_type="L2")
    block = np.random.default_rng(3).random((ROWS, DIM), dtype=np.float32)
    client.insert(name, [{"id": i, "vector": block[i]} for i in range(ROWS)])
    client.flush(name)
    return name


@ours
def test_recall_is_measured_on_stored_points_until_there_are_searches_then_on_those(client: Any, points: str) -> None:
    first = client.measure_recall(points, queries=20)
    assert (first.source, first.queries) == ("stored", 20)
    queries = np.random.default_rng(5).random((30, DIM), dtype=np.float32)
    for query in queries:
        client.search(points, [query], limit=3)
    told = client.measure_recall(points, limit=5, queries=25)
    assert (told.source, told.queries) == ("live", 25)
    assert 0 <= told.low <= told.recall <= told.high <= 1
    assert told.recall > 0.9


@ours
def test_advice_orders_what_reaches_the_recall_by_speed_and_says_what_it_costs(client: Any, points: str) -> None:
    told = client.advise_index(points, recall=0.9, sample=1000)
    assert told.metric == "L2"
    assert 900 <= told.rows <= 1000
    reached = [advice for advice in told.advices if advice.reaches]
    assert told.advices[: len(reached)] == tuple(sorted(reached, key=lambda a: -a.searches_per_second))
    by_type = {advice.index_type: advice for advice in told.advices}
    assert {"FLAT", "HNSW", "IVF_FLAT", "SCANN"} <= by_type.keys()
    assert by_type["FLAT"].recall == 1
    assert by_type["HNSW"].recall >= 0.9
    assert by_type["HNSW"].search_params["ef"] >= 10
    assert by_type["HNSW"].bytes_per_row > 4 * 16
    assert by_type["IVF_SQ8"].bytes_per_row < by_type["IVF_FLAT"].bytes_per_row


@ours
@pytest.mark.parametrize(
    ("method", "options", "text"),
    [
        ("measure_recall", {"queries": 0}, "queries .0. is invalid"),
        ("measure_recall", {"search_params": {"nprobe": "x"}}, "nprobe"),
        ("advise_index", {"sample": 10}, "sample .10. is invalid"),
        ("advise_index", {"recall": 2}, "recall .2.0. is invalid"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    client: Any, points: str, method: str, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(MilvusException, match=text):
        getattr(client, method)(points, **options)


async def test_the_asynchronous_client_measures_too(sdk: Sdk, points: str) -> None:
    if not sdk.ours:
        pytest.skip("pymilvus has no such call")
    client = sdk.connect_async()
    assert (await client.measure_recall(points, queries=5)).queries == 5
    assert (await client.advise_index(points, sample=1000, limit=3)).advices
    await client.close()


def test_wilsons_interval_is_that_of_the_book() -> None:
    low, high = wilson(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(10, 10)[1] == 1.0
