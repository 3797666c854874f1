"""Iterators give everything once, in order, as it was when they began."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk

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
