"""Iterators give everything once, in order, as it was when they began."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pymilvus
import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk

import redkite
from redkite.errors import MilvusException, ParamError

ours = pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
ROWS = 700
DIM = 4


@pytest.fixture
def grid(sdk: Sdk, client: Any, name: str) -> str:
    """Rows on a small grid, so that many distances are equal; half of them sealed."""
    types = sdk.module.DataType
    schema = sdk.module.MilvusClient.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=DIM)
    schema.add_field("number", types.INT64)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 40})
    client.create_collection(name, schema=schema, index_params=index)
    block = vectors()
    for half in (range(ROWS // 2), range(ROWS // 2, ROWS)):
        client.insert(name, [{"id": i, "vector": block[i].tolist(), "number": i % 7} for i in half])
        if not half.start:
            client.flush(name)
    return name


def vectors() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 4, (ROWS, DIM)).astype(np.float32)


def by_distance(query: np.ndarray, allowed: np.ndarray) -> list[int]:
    distances = ((vectors() - query) ** 2).sum(axis=1)
    return [int(i) for i in np.lexsort((np.arange(ROWS), distances)) if allowed[i]]


def pages(iterator: Any) -> Iterator[list[Any]]:
    while True:
        page = iterator.next()
        if not page or not len(page):
            iterator.close()
            return
        yield list(page)


QUERY = np.array([1, 1, 2, 0], np.float32)


@pytest.mark.parametrize("batch", [1, 37, 700])
def test_a_search_iterator_gives_every_row_once_in_order(client: Any, grid: str, batch: int) -> None:
    limit = 40 if batch == 1 else ROWS
    iterator = client.search_iterator(grid, data=[QUERY.tolist()], batch_size=batch, limit=limit, search_params={})
    found = [hit["id"] for page in pages(iterator) for hit in page]
    assert found == by_distance(QUERY, np.ones(ROWS, bool))[:limit]


def test_a_search_iterator_with_a_filter_and_output_fields(client: Any, grid: str) -> None:
    iterator = client.search_iterator(
        grid, data=[QUERY.tolist()], batch_size=30, filter="number == 3", output_fields=["number"]
    )
    hits = [hit for page in pages(iterator) for hit in page]
    assert [h["id"] for h in hits] == by_distance(QUERY, np.arange(ROWS) % 7 == 3)
    assert {h["entity"]["number"] for h in hits} == {3}


def test_an_iterator_does_not_see_what_is_written_while_it_runs(client: Any, grid: str) -> None:
    search = client.search_iterator(grid, data=[QUERY.tolist()], batch_size=100)
    query = client.query_iterator(grid, batch_size=100, output_fields=["id", "number"])
    found, rows = [h["id"] for h in search.next()], list(query.next())
    client.delete(grid, filter="id % 2 == 0")
    changed = {"id": 101, "vector": [9.0] * DIM, "number": 99}
    client.upsert(grid, [changed, {"id": 5000, "vector": [1.0] * DIM, "number": 1}])
    client.flush(grid)
    found += [h["id"] for page in pages(search) for h in page]
    rows += [r for page in pages(query) for r in page]
    assert found == by_distance(QUERY, np.ones(ROWS, bool))
    assert [(r["id"], r["number"]) for r in rows] == [(i, i % 7) for i in range(ROWS)]


@pytest.mark.parametrize(("limit", "offset"), [(-1, 0), (123, 0), (50, 600), (300, 650)])
def test_a_query_iterator_gives_rows_in_key_order(client: Any, grid: str, limit: int, offset: int) -> None:
    iterator = client.query_iterator(grid, batch_size=64, limit=limit, filter="number < 5", offset=offset)
    expected = [i for i in range(ROWS) if i % 7 < 5][offset:]
    assert [r["id"] for page in pages(iterator) for r in page] == (expected if limit < 0 else expected[:limit])


# -- orders and groups --------------------------------------------------------------------------
@pytest.fixture
def mixed(sdk: Sdk, client: Any, name: str) -> list[dict[str, Any]]:
    """Rows whose fields have equal values, nulls and quotes."""
    types = sdk.module.DataType
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("v", types.FLOAT_VECTOR, dim=2)
    schema.add_field("price", types.FLOAT, nullable=True)
    schema.add_field("word", types.VARCHAR, max_length=20, nullable=True)
    schema.add_field("good", types.BOOL, nullable=True)
    schema.add_field("moment", types.TIMESTAMPTZ, nullable=True)
    indexes = client.prepare_index_params()
    indexes.add_index("v", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=indexes)
    words = ["kite", "it's", 'say "kite"', "a\\b", None, "Kite"]
    rows = [
        {
            "id": (i * 37) % 120, "v": [1, i], "price": None if i % 7 == 0 else float(np.float32(i % 5 / 3)),
            "word": words[i % 6], "good": [True, False, None][i % 3],
            "moment": None if i % 11 == 0 else f"2024-05-0{1 + i % 4}T00:00:00.00000{i % 3}Z",
        }
        for i in range(120)
    ]  # fmt: skip
    client.insert(name, rows[:70])
    client.flush(name)
    client.insert(name, rows[70:])
    return rows


@ours
@pytest.mark.parametrize("order", [
    "price", "price:desc", "price:asc:nulls_last", "price:desc:nulls_last", "word:desc,price",
    "good,word:asc:nulls_last",
    "good:desc,price:desc:nulls_last,word", "moment", "moment:desc:nulls_last,good",
])  # fmt: skip
@pytest.mark.parametrize("batch", [7, 50])
def test_a_query_iterator_gives_rows_in_the_order_of_a_query(
    client: Any, name: str, mixed: list[dict[str, Any]], order: str, batch: int
) -> None:
    assert len(mixed) == 120
    ask = {"filter": "id != {not}", "filter_params": {"not": 5}, "order_by_fields": order, "output_fields": ["price"]}
    wanted = client.query(name, limit=500, **ask)
    iterator = client.query_iterator(name, batch_size=batch, **ask)
    first = iterator.next()
    client.delete(name, filter="id < 60")
    found = [*first, *(row for page in pages(iterator) for row in page)]
    assert found == list(wanted) and len(found) == 119
    client.upsert(name, mixed)
    some = client.query_iterator(name, batch_size=batch, limit=30, offset=10, **ask)
    assert [row for page in pages(some) for row in page] == list(wanted)[10:40]


@pytest.fixture
def documents(client: Any, name: str) -> list[dict[str, Any]]:
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", redkite.DataType.INT64, is_primary=True)
    schema.add_field("vector", redkite.DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("doc", redkite.DataType.JSON, nullable=True)
    params = client.prepare_index_params()
    params.add_index("vector", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=params, consistency_level="Strong")
    rng = np.random.default_rng(4)
    rows: list[dict[str, Any]] = []
    for i in range(90):
        deep = {"list": [i % 7, f"w{i % 11}"]}
        doc: dict[str, Any] = {"deep": deep, "flag": bool(i % 2), "mixed": i if i % 2 else "x"}
        if i % 5:
            doc["number"] = [i % 6, (i % 6) + 0.5, 2**60 + i % 3][i % 3]
        if i % 9 == 0:
            doc["number"] = None
        row = {"id": i, "vector": rng.random(2).tolist(), "doc": doc if i % 13 else None}
        if i % 4:
            row |= {"word": f"über {i % 8}", "size": i % 10, "odd": [1] if i == 50 else 3}
        rows.append(row)
    client.insert(name, rows[:50])
    client.flush(name)
    client.insert(name, rows[50:])
    return rows


@ours
@pytest.mark.parametrize("order", [
    'doc["number"]', 'doc["number"]:desc', 'doc["number"]:asc:nulls_last', 'doc["number"]:desc:nulls_last,size',
    'doc["deep"]["list"][0]:desc', 'doc["deep"]["list"][1],doc["number"]:desc', 'doc["flag"],size:desc', "word",
    "word:desc:nulls_last,size", '$meta["size"]:desc', "size,word:desc",
])  # fmt: skip
@pytest.mark.parametrize("fields", [["id"], ["*"], ["doc", "size"]])
def test_a_query_iterator_in_the_order_of_json_paths_and_dynamic_keys(
    client: Any, name: str, documents: list[dict[str, Any]], order: str, fields: list[str]
) -> None:
    ask = {"filter": "id < {most}", "filter_params": {"most": 88}, "order_by_fields": order, "output_fields": fields}
    wanted = list(client.query(name, limit=500, **ask))
    iterator = client.query_iterator(name, batch_size=19, **ask)
    assert [row for page in pages(iterator) for row in page] == wanted
    assert len(wanted) == len(documents) - 2


@ours
@pytest.mark.parametrize(("order", "what"), [
    ('doc["mixed"]', "numbers and texts"), ("odd", "numbers and arrays or objects"),
    ('doc["deep"]', "arrays or objects"),
])  # fmt: skip
def test_values_of_several_types_have_no_order_that_an_iterator_could_follow(
    sdk: Sdk, client: Any, name: str, documents: list[dict[str, Any]], order: str, what: str
) -> None:
    assert documents
    with pytest.raises(sdk.module.MilvusException, match=what):
        client.query_iterator(name, batch_size=5, order_by_fields=order).next()
    if order != 'doc["deep"]':  # of one type they have
        only = 'doc["mixed"] > 0' if "mixed" in order else "id != 50"
        found = [r for p in pages(client.query_iterator(name, 5, filter=only, order_by_fields=order)) for r in p]
        assert len(found) == len(client.query(name, filter=only, limit=100))


@ours
def test_a_query_iterator_over_groups(client: Any, name: str, mixed: list[dict[str, Any]]) -> None:
    ask = {"group_by_fields": ["word", "good"], "output_fields": ["word", "good", "count(*)"]}
    wanted = list(client.query(name, limit=100, **ask))
    iterator = client.query_iterator(name, batch_size=4, **ask)
    first = list(iterator.next())
    client.delete(name, filter="id >= 0")
    assert [*first, *(row for page in pages(iterator) for row in page)] == wanted
    assert sum(row["count(*)"] for row in wanted) == len(mixed) and len(first) == 4


@ours
def test_orders_that_a_query_iterator_cannot_have(
    sdk: Sdk, client: Any, name: str, mixed: list[dict[str, Any]], tmp_path: Path
) -> None:
    assert mixed
    for order in ("v[0]", "price[0]", "count(*)"):
        with pytest.raises(sdk.module.MilvusException, match="is ordered by fields"):
            client.query_iterator(name, order_by_fields=order).next()
    with pytest.raises(sdk.module.MilvusException, match="iterator_cp_file notes primary keys"):
        client.query_iterator(name, order_by_fields="price", iterator_cp_file=tmp_path / "cursor")


@pytest.mark.parametrize("sdk", ["pymilvus"], indirect=True, scope="session")
@pytest.mark.parametrize("more", [{"order_by_fields": "price:desc"}, {"group_by_fields": ["word"]}])
def test_an_order_beside_the_pages_of_primary_keys_is_refused(
    sdk: Sdk, client: Any, name: str, mixed: list[dict[str, Any]], more: dict[str, Any]
) -> None:
    assert mixed
    with pytest.raises(sdk.module.MilvusException, match="is not supported when using query iterator"):
        client.query_iterator(name, batch_size=5, output_fields=["id"], **more).next()


@pytest.mark.parametrize("sdk", ["pymilvus"], indirect=True, scope="session")
@pytest.mark.parametrize(("batch", "limit"), [(7, 60), (40, -1)])
def test_an_iterator_of_the_first_protocol_gives_every_row_once(
    client: Any, grid: str, batch: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise pymilvus.exceptions.ServerVersionIncompatibleException(message="no second protocol")

    monkeypatch.setattr("pymilvus.milvus_client.milvus_client.SearchIteratorV2", refuse)
    params = {"metric_type": "L2", "params": {}}
    ask = {"data": [QUERY.tolist()], "filter": "number != 2", "search_params": params, "output_fields": ["number"]}
    iterator = client.search_iterator(grid, batch_size=batch, limit=limit, **ask)
    client.delete(grid, filter="id < 50")
    found: list[Any] = []
    while len(page := iterator.next()):
        found += page
    iterator.close()
    wanted = by_distance(QUERY, np.arange(ROWS) % 7 != 2)
    assert sorted(hit["id"] for hit in found) == sorted(wanted[: len(found)])
    assert len(found) == (len(wanted) if limit < 0 else limit)
    assert [hit["distance"] for hit in found] == sorted(hit["distance"] for hit in found)


@pytest.mark.parametrize("params", [{"radius": 9.0}, {"radius": 11.0, "range_filter": 3.0}])
def test_a_search_iterator_stays_within_a_range(client: Any, grid: str, params: dict[str, float]) -> None:
    distances = ((vectors() - QUERY) ** 2).sum(axis=1)
    inside = (distances < params["radius"]) & (distances >= params.get("range_filter", 0))
    iterator = client.search_iterator(grid, data=[QUERY.tolist()], batch_size=45, search_params={"params": params})
    assert [hit["id"] for page in pages(iterator) for hit in page] == by_distance(QUERY, inside)


def test_a_query_iterator_goes_on_from_its_file(client: Any, grid: str, tmp_path: Path) -> None:
    path = tmp_path / "cursor"
    ask = {"batch_size": 100, "filter": "number < 6", "output_fields": ["number"], "iterator_cp_file": str(path)}
    first = client.query_iterator(grid, **ask)
    found = [r["id"] for _ in range(2) for r in first.next()]
    assert path.read_text().splitlines()[-1] == str(found[199])
    client.delete(grid, filter="id > 400")
    second = client.query_iterator(grid, **ask)
    found += [r["id"] for r in second.next()]
    assert second.get_cursor().int_pk == found[-1]
    assert second.get_cursor().session_ts == first.get_cursor().session_ts
    found += [r["id"] for page in pages(second) for r in page]
    assert found == [i for i in range(ROWS) if i % 7 < 6]
    assert not path.exists()


@ours
def test_a_cursor_file_that_makes_no_sense_is_refused(client: Any, grid: str, tmp_path: Path) -> None:
    path = tmp_path / "cursor"
    for text, reason in (("470\n", "at least two lines"), ("x\n5\n", "no timestamp"), (f"{1 << 58}\nx\n", "no key")):
        path.write_text(text)
        with pytest.raises(ParamError, match=reason):
            client.query_iterator(grid, iterator_cp_file=str(path)).next()
    with pytest.raises(ParamError, match="cannot be written"):
        client.query_iterator(grid, iterator_cp_file=str(tmp_path / "nowhere" / "cursor")).next()


def test_a_function_of_the_user_says_which_hits_stay(client: Any, grid: str) -> None:
    iterator = client.search_iterator(
        grid, data=[QUERY.tolist()], batch_size=30, limit=70, output_fields=["number"],
        external_filter_func=lambda hits: [hit for hit in hits if hit["entity"]["number"] == 4],
    )  # fmt: skip
    found = [hit["id"] for page in pages(iterator) for hit in page]
    assert found == by_distance(QUERY, np.arange(ROWS) % 7 == 4)[:70]


@ours
def test_our_iterators_are_python_iterators_and_read_the_past(client: Any, grid: str) -> None:
    moment = datetime.now(UTC)
    client.delete(grid, filter="number == 0")
    now = [h["id"] for page in client.search_iterator(grid, data=QUERY, batch_size=99) for h in page]
    assert now == by_distance(QUERY, np.arange(ROWS) % 7 != 0)
    then = [h["id"] for page in client.search_iterator(grid, data=QUERY, batch_size=99, as_of=moment) for h in page]
    assert then == by_distance(QUERY, np.ones(ROWS, bool))
    rows = [r["id"] for page in client.query_iterator(grid, batch_size=99, as_of=moment) for r in page]
    assert rows == list(range(ROWS))


@ours
async def test_our_asynchronous_iterators(sdk: Sdk, client: Any, grid: str) -> None:
    async with sdk.connect_async() as other:
        found = [h["id"] async for page in other.search_iterator(grid, data=QUERY, batch_size=200) for h in page]
        rows = [r["id"] async for page in other.query_iterator(grid, batch_size=200, filter="id < 450") for r in page]
    assert found == by_distance(QUERY, np.ones(ROWS, bool))
    assert rows == list(range(450))


@ours
def test_an_iterator_that_cannot_be_is_refused(client: Any, grid: str, name: str) -> None:
    with pytest.raises(ParamError, match="batch_size=0 must be in"):
        client.query_iterator(grid, batch_size=0)
    with pytest.raises(ParamError, match="one query vector, not 2"):
        client.search_iterator(grid, data=[[0.0] * DIM] * 2)
    with pytest.raises(ParamError, match="did you mean `batch_size`"):
        client.query_iterator(grid, batchsize=3)
    iterator = client.query_iterator(grid, batch_size=10)
    iterator.next()
    client.drop_collection(grid)
    client.create_collection(grid, dimension=DIM)
    with pytest.raises(MilvusException, match="is not the one the iterator began with"):
        iterator.next()
    iterator.close()
    with pytest.raises(ParamError, match="closed"):
        iterator.next()


@ours
def test_rows_are_found_by_any_text_that_may_be_a_key(sdk: Sdk, client: Any, name: str) -> None:
    keys = ["", " a ", 'a"b', "a'b", "a\\b", "a\nb", "a\rb", "a\r\nb", "a\tb", "a\0b", "\x7f", "\u2028", "\\u0041"]
    client.create_collection(name, dimension=2, id_type="string", max_length=20, metric_type="L2")
    client.insert(name, [{"id": key, "vector": [1.0, 2.0]} for key in keys])
    read = pages(client.query_iterator(name, batch_size=1, output_fields=["id"]))
    found = [row["id"] for page in read for row in page]
    assert sorted(found) == sorted(keys)
    assert {row["id"] for row in client.get(name, keys)} == set(keys)
    assert client.delete(name, ids=keys)["delete_count"] == len(keys)
    assert client.query(name, limit=1, consistency_level="Strong") == []
