"""Kinds of search and of query, the same through every way to the engine."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import Sdk

from redkite.errors import ParamError

ROWS, DIM = 240, 6
RNG = np.random.default_rng(11)
VECTORS = RNG.standard_normal((ROWS, DIM)).astype(np.float32)
PRICES = [None if i % 8 == 0 else float(i % 13) + 0.5 for i in range(ROWS)]
COLORS = [None if i % 11 == 0 else ["red", "green", "blue"][i % 3] for i in range(ROWS)]


def row(i: int) -> dict[str, Any]:
    return {
        "id": i, "vector": VECTORS[i].tolist(), "price": PRICES[i], "color": COLORS[i], "size": i % 5,
        "made": f"2025-01-{1 + i % 7:02d}T00:00:00Z", "doc": {"a": {"b": i % 4, "t": str(i % 4)}}, "tag": f"t{i % 6}",
    }  # fmt: skip


@pytest.fixture(scope="module")
def shop(sdk: Sdk) -> Iterator[tuple[Any, str]]:
    """A collection in two shards, half of it sealed, a few rows deleted."""
    client = sdk.connect()
    name = f"shop_{uuid.uuid4().hex}"
    types = sdk.module.DataType
    schema = sdk.module.MilvusClient.create_schema(enable_dynamic_field=True)
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=DIM)
    schema.add_field("price", types.DOUBLE, nullable=True)
    schema.add_field("color", types.VARCHAR, max_length=9, nullable=True)
    schema.add_field("size", types.INT8)
    schema.add_field("made", types.TIMESTAMPTZ)
    schema.add_field("doc", types.JSON)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64})
    client.create_collection(name, schema=schema, index_params=index, num_shards=2, consistency_level="Strong")
    client.insert(name, [row(i) for i in range(ROWS // 2)])
    client.flush(name)
    client.insert(name, [row(i) for i in range(ROWS // 2, ROWS)])
    client.delete(name, ids=[7, 170])
    yield client, name
    client.drop_collection(name)
    client.close()


ALIVE = [i for i in range(ROWS) if i not in (7, 170)]
QUERY = VECTORS[3] + np.float32(0.01)


def distances(query: np.ndarray = QUERY) -> np.ndarray:
    return ((VECTORS - query) ** 2).sum(axis=1)


def order(query: np.ndarray = QUERY) -> list[int]:
    return sorted(ALIVE, key=lambda i: (distances(query)[i], i))


def ids(result: Any) -> list[int]:
    return [hit["id"] for hit in result[0]]


def error(client: Any, call: Any, text: str) -> None:
    with pytest.raises(Exception, match=text) as caught:
        call(client)
    assert type(caught.value).__name__ != "AssertionError"


# -- ranges -------------------------------------------------------------------------------------
def test_a_range_search(shop: tuple[Any, str]) -> None:
    client, name = shop
    by_distance = distances()
    for params in ({"radius": 6.0}, {"radius": 9.0, "range_filter": 5.0}, {"params": {"radius": 4.0}}):
        given = params.get("params", params)
        found = client.search(name, [QUERY.tolist()], limit=100, search_params=params)
        inside = [i for i in order() if by_distance[i] < given["radius"]]
        assert ids(found) == [i for i in inside if by_distance[i] >= given.get("range_filter", 0)][:100]
    error(client, lambda c: c.search(name, [QUERY.tolist()], search_params={"radius": 1.0, "range_filter": 2.0}),
          r"metric type \(L2\), range_filter\(2\) must be less than radius\(1\)")  # fmt: skip


# -- keys ---------------------------------------------------------------------------------------
def test_a_search_by_primary_keys(shop: tuple[Any, str]) -> None:
    client, name = shop
    found = client.search(name, ids=[12, 200], limit=3, output_fields=["color"])
    for hits, key in zip(found, (12, 200), strict=True):
        assert [hit["id"] for hit in hits] == order(VECTORS[key])[:3]
        assert hits[0]["entity"]["color"] == COLORS[key]
    error(client, lambda c: c.search(name, ids=[7], limit=3), "no entity has the primary key")


# -- groups -------------------------------------------------------------------------------------
def first_of(values: list[Any], size: int = 1, limit: int = 99) -> list[int]:
    groups: dict[Any, list[int]] = {}
    for i in order():
        groups.setdefault(values[i], []).append(i)
    return [i for rows in list(groups.values())[:limit] for i in rows[:size]]


def test_a_search_by_groups_of_a_field(shop: tuple[Any, str]) -> None:
    client, name = shop
    found = client.search(name, [QUERY.tolist()], limit=10, group_by_field="color", output_fields=["color"])
    assert ids(found) == first_of(COLORS)
    assert [hit["entity"]["color"] for hit in found[0]] == [COLORS[i] for i in first_of(COLORS)]
    found = client.search(
        name, [QUERY.tolist()], limit=2, group_by_field="size", group_size=3, strict_group_size=True, offset=1
    )
    assert ids(found) == first_of([i % 5 for i in range(ROWS)], 3, 3)[3:]


def test_a_search_by_groups_of_several_fields(shop: tuple[Any, str]) -> None:
    client, name = shop
    found = client.search(name, [QUERY.tolist()], limit=12, group_by_fields=["color", "size"])
    assert ids(found) == first_of([(COLORS[i], i % 5) for i in range(ROWS)], 1, 12)


def test_a_search_by_groups_of_a_dynamic_key_and_of_json_paths(shop: tuple[Any, str], sdk: Sdk) -> None:
    client, name = shop
    data = [QUERY.tolist()]
    assert ids(client.search(name, data, limit=9, group_by_field="tag")) == first_of([i % 6 for i in range(ROWS)])
    wanted = first_of([i % 4 for i in range(ROWS)])
    assert ids(client.search(name, data, limit=9, group_by_field='doc["a"]["b"]')) == wanted
    types = sdk.module.DataType
    assert ids(client.search(name, data, limit=9, group_by_field="doc", json_path="/a/b")) == wanted
    ask = {"limit": 9, "group_by_field": "doc", "json_path": "/a/t", "json_type": types.INT8}
    assert ids(client.search(name, data, **ask)) == wanted
    # Texts are no integers, when none are to be converted: all of them are null, which is one group.
    assert ids(client.search(name, data, **ask, strict_cast=True)) == order()[:1]


def test_a_search_by_groups_of_times(shop: tuple[Any, str]) -> None:
    client, name = shop
    found = client.search(name, [QUERY.tolist()], limit=9, group_by_field="made", output_fields=["made"])
    assert ids(found) == first_of([i % 7 for i in range(ROWS)])
    assert [hit["entity"]["made"] for hit in found[0]] == [row(i)["made"] for i in ids(found)]


def test_groups_that_are_refused(shop: tuple[Any, str]) -> None:
    client, name = shop
    data = [QUERY.tolist()]
    for more, text in (
        ({"group_by_field": "price"}, "unsupported data type Double for group by operator"),
        ({"group_by_field": "color", "group_size": 11}, "input group size:11 exceeds configured max group size:10"),
        ({"group_by_field": "color", "search_params": {"radius": 1.0}}, "Not allowed to do range-search"),
    ):
        error(client, lambda c, more=more: c.search(name, data, limit=3, **more), text)


# -- order --------------------------------------------------------------------------------------
def by_price(rows: list[int], reverse: bool = False) -> list[int]:
    nulls, others = [i for i in rows if PRICES[i] is None], [i for i in rows if PRICES[i] is not None]
    return nulls + sorted(others, key=lambda i: (-1 if reverse else 1) * (PRICES[i] or 0))


def test_hits_in_the_order_of_fields(shop: tuple[Any, str]) -> None:
    client, name = shop
    data = [QUERY.tolist()]
    found = client.search(name, data, limit=20, order_by_fields=[{"field": "price", "order": "desc"}])
    assert ids(found) == by_price(order()[:20], reverse=True)
    assert found[0][0]["entity"] == {}
    found = client.search(
        name, data, limit=20, order_by_fields=[{"field": 'doc["a"]["b"]'}, {"field": "id", "order": "desc"}]
    )
    assert ids(found) == sorted(order()[:20], key=lambda i: (i % 4, -i))


def test_rows_in_the_order_of_fields(shop: tuple[Any, str]) -> None:
    client, name = shop
    rows = client.query(
        name, filter="size > 1", limit=30, offset=4, output_fields=["price"],
        order_by_fields=[{"field": "price", "order": "asc"}],
    )  # fmt: skip
    wanted = by_price([i for i in ALIVE if i % 5 > 1])[4:34]
    assert [(r["id"], r["price"]) for r in rows] == [(i, PRICES[i]) for i in wanted]
    rows = client.query(name, limit=9, output_fields=["id"], order_by_fields=[{"field": "tag", "order": "desc"}])
    assert [r["id"] for r in rows] == sorted(ALIVE, key=lambda i: (-(i % 6), i))[:9]
    last = client.query(name, limit=3, order_by_fields=[{"field": "price", "order": "desc:nulls_last"}])
    assert [r["price"] for r in last] == [12.5] * 3
    error(client, lambda c: c.query(name, filter="id > 0", order_by_fields=[{"field": "price"}]), "with limit")


# -- aggregates ---------------------------------------------------------------------------------
def test_numbers_about_all_rows(shop: tuple[Any, str]) -> None:
    client, name = shop
    prices = [PRICES[i] for i in ALIVE if PRICES[i] is not None]
    (answer,) = client.query(
        name, output_fields=["count(*)", "count(price)", "sum(size)", "avg(price)", "min(color)", "max(made)"]
    )
    assert answer["avg(price)"] == pytest.approx(float(np.mean(prices)))
    del answer["avg(price)"]
    assert answer == {
        "count(*)": len(ALIVE), "count(price)": len(prices), "sum(size)": sum(i % 5 for i in ALIVE),
        "min(color)": "blue", "max(made)": "2025-01-07T00:00:00Z",
    }  # fmt: skip


def test_numbers_about_groups(shop: tuple[Any, str]) -> None:
    client, name = shop
    rows = client.query(
        name, filter="size < 4", group_by_fields=["color", "size"], limit=100,
        output_fields=["size", "color", "Count(*)", "max(price)"],
    )  # fmt: skip
    groups: dict[Any, list[int]] = {}
    for i in ALIVE:
        if i % 5 < 4:
            groups.setdefault((COLORS[i], i % 5), []).append(i)
    assert len(rows) == len(groups)
    for answer in rows:
        members = groups[answer["color"], answer["size"]]
        assert answer["Count(*)"] == len(members)
        assert answer["max(price)"] == max((PRICES[i] for i in members if PRICES[i] is not None), default=None)
    top = client.query(
        name, group_by_fields=["made"], limit=2, output_fields=["made", "count(*)"],
        order_by_fields=[{"field": "count(*)", "order": "desc"}, {"field": "made", "order": "desc"}],
    )  # fmt: skip
    assert [r["made"] for r in top] == ["2025-01-02T00:00:00Z", "2025-01-07T00:00:00Z"]
    assert len(client.query(name, filter="size > 9", group_by_fields=["color"], output_fields=["color"])) == 0
    for fields, text in (
        (["color", "price", "count(*)"], "output field 'price' is not allowed"),
        (["sum(color)"], "aggregation operator sum does not support data type VarChar"),
    ):
        error(
            client,
            lambda c, f=fields: c.query(name, filter="id > 0", group_by_fields=["color"], output_fields=f),
            text,
        )
    error(client, lambda c: c.query(name, limit=3, group_by_fields=["price"], output_fields=["price"]),
          "group by field price has unsupported data type Double")  # fmt: skip


# -- buckets ------------------------------------------------------------------------------------
def test_buckets_of_hits(shop: tuple[Any, str], sdk: Sdk) -> None:
    client, name = shop
    aggregation, top_hits = sdk.module.SearchAggregation, sdk.module.TopHits
    asked = aggregation(
        fields=["color"], size=3, metrics={"cheap": {"min": "price"}, "all": {"count": "*"}, "near": {"min": "_score"}},
        order=[{"near": "desc"}], top_hits=top_hits(4, sort=[{"price": "desc"}, {"_score": "asc"}]),
        sub_aggregation=aggregation(fields=["size"], size=2, metrics={"m": {"avg": "size"}}),
    )  # fmt: skip
    found = client.search(name, [QUERY.tolist()], search_aggregation=asked, output_fields=["price", "made"])
    assert len(found[0]) == 0
    groups: dict[Any, list[int]] = {}
    for i in order():
        groups.setdefault((COLORS[i], i % 5), []).append(i)
    kept: dict[Any, list[int]] = {}
    for (color, _), rows in list(groups.items())[:6]:
        kept.setdefault(color, []).extend(rows[:4])
    (buckets,) = found.agg_buckets
    near = sorted(kept, key=lambda color: -min(distances()[kept[color]]))[:3]
    assert [bucket.key[0]["value"] for bucket in buckets] == near
    for bucket in buckets:
        rows = kept[bucket.key[0]["value"]]
        assert bucket.count == bucket.metrics["all"] == len(rows)
        assert bucket.metrics["cheap"] == min((PRICES[i] for i in rows if PRICES[i] is not None), default=None)
        known = sorted((i for i in rows if PRICES[i] is not None), key=lambda i: (-(PRICES[i] or 0), distances()[i]))
        wanted = known + sorted((i for i in rows if PRICES[i] is None), key=lambda i: distances()[i])
        assert [hit.pk for hit in bucket.hits] == wanted[:4]
        for hit in bucket.hits:
            made = row(hit.pk)["made"]
            assert hit.fields == {"made": made} | ({} if PRICES[hit.pk] is None else {"price": PRICES[hit.pk]})
        below = list(dict.fromkeys(i % 5 for color, i in ((COLORS[i], i) for i in rows)))
        assert [sub.key[0]["value"] for sub in bucket.sub_groups] == below[:2]
        assert [sub.metrics["m"] for sub in bucket.sub_groups] == [float(b) for b in below[:2]]


# -- pages --------------------------------------------------------------------------------------
def test_pages_by_offset_retain_their_order(shop: tuple[Any, str]) -> None:
    client, name = shop
    found: list[int] = []
    for offset in range(0, ROWS, 50):
        found += ids(client.search(name, [QUERY.tolist()], limit=50, offset=offset, page_retain_order=True))
    assert found == order()


def test_hints_change_no_answer(shop: tuple[Any, str]) -> None:
    client, name = shop
    for hint in ("iterative_filter", "disable"):
        found = client.search(name, [QUERY.tolist()], limit=9, filter="size == 2", search_params={"hints": hint})
        assert ids(found) == [i for i in order() if i % 5 == 2][:9]
    error(client, lambda c: c.search(name, [QUERY.tolist()], search_params={"hints": "x"}), "search hint")


def test_scores_are_rounded(shop: tuple[Any, str], sdk: Sdk) -> None:
    client, name = shop
    more = {"round_decimal": 1} if sdk.ours else {}
    params = {} if sdk.ours else {"round_decimal": 1}
    for kind in ({}, {"group_by_field": "color"}, {"order_by_fields": [{"field": "size"}]}):
        found = client.search(name, [QUERY.tolist()], limit=4, search_params=params, **kind, **more)
        for hit in found[0]:
            assert hit["distance"] == pytest.approx(round(float(distances()[hit["id"]]), 1), abs=0.05)


async def test_the_kinds_awaited(shop: tuple[Any, str], sdk: Sdk) -> None:
    _, name = shop
    client = sdk.connect_async()
    try:
        data = [QUERY.tolist()]
        assert ids(await client.search(name, data, limit=10, group_by_field="color")) == first_of(COLORS)
        assert ids(await client.search(name, ids=[12], limit=2)) == order(VECTORS[12])[:2]
        rows = await client.query(name, limit=2, order_by_fields=[{"field": "id", "order": "desc"}])
        assert [r["id"] for r in rows] == [239, 238]
        assert await client.query(name, output_fields=["count(color)"]) == [
            {"count(color)": sum(COLORS[i] is not None for i in ALIVE)}
        ]
    finally:
        await client.close()


def test_what_does_not_go_together_is_refused_before_any_call(shop: tuple[Any, str], sdk: Sdk) -> None:
    if not sdk.ours:
        return
    client, name = shop
    with pytest.raises(ParamError, match="either data or ids"):
        client.search(name, [QUERY.tolist()], ids=[1])
    with pytest.raises(ParamError, match="mutually exclusive"):
        asked = sdk.module.SearchAggregation(fields=["color"], size=1)
        client.search(name, [QUERY.tolist()], group_by_field="color", search_aggregation=asked)
    with pytest.raises(ParamError, match="none of"):
        sdk.module.SearchAggregation(fields=["color"], size=1, order=[{"x": "asc"}])
