"""Single elements of arrays of structs beside other searches, scored anew, and in buckets, through every SDK."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import Sdk
from tests.acceptance.test_structs import DIM, filled


def test_elements_rank_beside_rows_in_a_hybrid_search_each_row_by_its_best(sdk: Sdk, client: Any, name: str) -> None:
    rows = filled(sdk, client, name, "L2")
    client.flush(name)
    module, rng = sdk.module, np.random.default_rng(5)
    queries = [rng.normal(size=DIM).astype(np.float32) for _ in range(2)]
    # The second search is among single elements, too; "loud" ones only.
    keeps: list[Any] = [lambda row, clip: True, lambda row, clip: clip["loud"]]
    filters = ["", "element_filter(clips, $[loud])"]
    requests = [
        module.AnnSearchRequest([query.tolist()], "clips[emb]", {}, 8, expr=text)
        for query, text in zip(queries, filters, strict=True)
    ]
    expected: dict[int, float] = {}
    for query, keep in zip(queries, keeps, strict=True):
        for rank, (key, _) in enumerate(best_rows(rows, query, keep)[:8], 1):
            expected[key] = expected.get(key, 0) + 1 / (60 + rank)
    hits = client.hybrid_search(name, requests, module.RRFRanker(), limit=8, output_fields=["year"])[0]
    want = sorted(expected.items(), key=lambda pair: (-pair[1], pair[0]))[:8]
    assert [hit["id"] for hit in hits] == [key for key, _ in want]
    assert [hit["distance"] for hit in hits] == pytest.approx([score for _, score in want])
    assert [hit["entity"]["year"] for hit in hits] == [rows[hit["id"]]["year"] for hit in hits]
    with pytest.raises(module.MilvusException, match="finds each row once"):
        client.hybrid_search(name, requests, module.RRFRanker(), limit=8, group_by_field="id")


def best_rows(rows: list[dict[str, Any]], query: np.ndarray, keep: Any) -> list[tuple[int, float]]:
    """Rows by their nearest element."""
    found = {
        row["id"]: min(float(((query - np.array(c["emb"])) ** 2).sum()) for c in row["clips"] if keep(row, c))
        for row in rows
        if any(keep(row, clip) for clip in row["clips"] or ())
    }
    return sorted(found.items(), key=lambda pair: pair[1])


def test_elements_are_scored_anew_each_by_itself(sdk: Sdk, client: Any, name: str) -> None:
    rows = filled(sdk, client, name, "COSINE")
    client.flush(name)
    module = sdk.module
    query = np.random.default_rng(6).normal(size=DIM).astype(np.float32)
    plain_hits = client.search(name, data=[query.tolist()], anns_field="clips[emb]", limit=60)[0]
    decay = module.Function(
        "near", module.FunctionType.RERANK, input_field_names=["year"],
        params={"reranker": "decay", "function": "linear", "origin": 2000, "scale": 20, "decay": 0.5},
    )  # fmt: skip
    hits = client.search(name, data=[query.tolist()], anns_field="clips[emb]", limit=60, ranker=decay)[0]
    assert len({(hit["id"], hit["offset"]) for hit in hits}) == len(hits) == 60
    assert len({hit["id"] for hit in hits}) < 60, "some rows are there with several elements"
    factor = {row["id"]: 1 - 0.5 / 20 * (row["year"] - 2000) for row in rows}
    want = sorted(
        ((hit["id"], hit["offset"], hit["distance"] * factor[hit["id"]]) for hit in plain_hits),
        key=lambda found: (-found[2], found[0], found[1]),
    )
    assert [hit["distance"] for hit in hits] == pytest.approx([score for *_, score in want], rel=1e-5)
    assert {(hit["id"], hit["offset"]) for hit in hits} == {(key, at) for key, at, _ in want}
    boost = module.Function(
        "new", module.FunctionType.RERANK, input_field_names=[],
        params={"reranker": "boost", "filter": "year >= 2005", "weight": 3.0},
    )  # fmt: skip
    boosted = client.search(name, data=[query.tolist()], anns_field="clips[emb]", limit=5, ranker=boost)[0]
    top = max(
        (float(np.dot(query, c["emb"]) / np.linalg.norm(query) / np.linalg.norm(c["emb"])), row["id"], at)
        for row in rows if row["year"] >= 2005 for at, c in enumerate(row["clips"] or ())
    )  # fmt: skip
    assert (boosted[0]["id"], boosted[0]["offset"]) == top[1:]
    assert boosted[0]["distance"] == pytest.approx(3 * top[0], rel=1e-4)


def test_buckets_count_elements(sdk: Sdk, client: Any, name: str) -> None:
    rows = filled(sdk, client, name, "L2")
    client.flush(name)
    module = sdk.module
    query = np.random.default_rng(6).normal(size=DIM).astype(np.float32)
    aggregation = module.SearchAggregation(
        fields=["year"], size=10, metrics={"count": {"count": "*"}}, top_hits=module.TopHits(size=2)
    )
    found = client.search(name, data=[query.tolist()], anns_field="clips[emb]", search_aggregation=aggregation)
    (buckets,) = found.agg_buckets
    assert len(buckets) == 8, "talks of two of the years have no clips"
    nearest_of: dict[int, list[tuple[float, int]]] = {}
    for row in rows:
        for clip in row["clips"] or ():
            distance = float(((query - np.array(clip["emb"])) ** 2).sum())
            nearest_of.setdefault(row["year"], []).append((distance, row["id"]))
    for bucket in buckets:
        year = bucket.key[0]["value"]
        assert bucket.metrics["count"] == bucket.count == 2
        assert [hit.pk for hit in bucket.hits] == [key for _, key in sorted(nearest_of[year])[:2]]
