"""Searches that arrive together and differ only in their vectors."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.server.fakes import FakeService

from redkite.errors import InvalidParameter
from redkite.model.reading import Grouping, Queries, Search
from redkite.model.results import Hits
from redkite.model.types import DataType
from redkite.server.calls import Calls
from redkite.server.gather import MOST_QUERIES, likeness


def search(*values: float, **more: Any) -> Search:
    vectors = np.array([[value, 0] for value in values], np.float32)
    return Search(
        collection="c", queries=Queries(data_type=DataType.FLOAT_VECTOR, vectors=vectors), limit=3, params={"ef": 9},
        **more,
    )  # fmt: skip


def hits(asked: Search) -> Hits:
    """Query of value v: v hits, of the ids 100·v, 100·v + 1 …"""
    vectors = asked.queries.vectors
    assert vectors is not None
    topks = vectors[:, 0].astype(np.int64)
    ids = [int(100 * value + place) for value in topks for place in range(value)]
    return Hits(
        topks=topks, ids=pa.array(ids, pa.int64()), scores=np.array(ids, np.float32),
        rows=pa.RecordBatch.from_pydict({"word": [str(number) for number in ids]}),
        output_fields=("word",), primary_field="id", collection="c", session_timestamp=5,
        element_indices=np.array(ids, np.int64) % 7,
    )  # fmt: skip


def run(service: FakeService, searches: list[Search]) -> list[Any]:
    """The outcomes of searches that are begun in one turn of the loop."""

    async def work() -> list[Any]:
        calls = Calls(service, asyncio.get_running_loop())
        found = await asyncio.gather(*(calls.call(s, lambda hits: hits) for s in searches), return_exceptions=True)
        assert calls.running == 0
        calls.close()
        return list(found)

    return asyncio.run(work())


@pytest.fixture
def service() -> FakeService:
    service = FakeService()
    service.answers[Search] = hits
    return service


def test_searches_that_are_alike_are_one_call_and_each_gets_its_own_hits(service: FakeService) -> None:
    asked = [search(2), search(0), search(3, 1), search(1)]
    for one, found in zip(asked, run(service, asked), strict=True):
        alone = hits(one)
        assert found.topks.tolist() == alone.topks.tolist()
        assert found.ids.to_pylist() == alone.ids.to_pylist()
        assert found.scores.tolist() == alone.scores.tolist()
        assert found.rows.to_pydict() == alone.rows.to_pydict()
        assert found.element_indices.tolist() == alone.element_indices.tolist()
    assert len(service.asked) == 1


def test_searches_that_differ_in_anything_else_are_called_apart(service: FakeService) -> None:
    others = [
        search(1, filter="id > 1"), search(1, guarantee_timestamp=9), search(1, as_of=7), search(1, database="d"),
        search(1, output_fields=("word",)), search(1, round_decimal=2), search(1, partitions=("p",)),
    ]  # fmt: skip
    run(service, [search(1), *others, search(2)])
    assert [s.queries.nq for s in service.asked] == [2] + [1] * len(others)


def test_a_search_whose_answer_is_no_plain_list_of_hits_is_called_alone(service: FakeService) -> None:
    for one in (search(1, grouping=Grouping(fields=("color",))), search(1, filter_params={"x": [1]})):
        assert likeness(one) is None
        service.asked.clear()
        run(service, [one, one])
        assert len(service.asked) == 2


def test_what_is_wrong_with_one_search_is_told_to_it_alone(service: FakeService) -> None:
    def picky(asked: Search) -> Hits:
        vectors = asked.queries.vectors
        assert vectors is not None
        if (vectors[:, 0] == 2).any():
            raise InvalidParameter("no twos")
        return hits(asked)

    service.answers[Search] = picky
    found = run(service, [search(1), search(2), search(3)])
    told = [len(f.ids) if isinstance(f, Hits) else f.message for f in found]
    assert told == [1, "no twos: invalid parameter", 3]


def test_no_call_gets_more_queries_than_share_their_costs_well(service: FakeService) -> None:
    run(service, [search(1)] * (MOST_QUERIES + 5))
    assert [s.queries.nq for s in service.asked] == [MOST_QUERIES, 5]
