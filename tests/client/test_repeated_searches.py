"""A search that comes again is read once, and asks for just what it says each time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.client.fake import FakeService

from redkite import MilvusClient
from redkite.client.session import MAX_SEARCHES
from redkite.errors import MilvusException
from redkite.model import requests

ONE = np.ones((1, 4), np.float32)


@pytest.fixture
def docs(client: MilvusClient) -> MilvusClient:
    client.create_collection("docs", dimension=4, metric_type="L2")
    client.insert("docs", [{"id": i, "vector": [float(i), 0.0, 0.0, 0.0]} for i in range(10)])
    return client


def sent(fake: FakeService, docs: MilvusClient, data: Any = ONE, **more: Any) -> requests.Search:
    docs.search("docs", data, **more)
    asked: requests.Search = fake.sent(requests.Search)[-1]
    return asked


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"limit": 3, "filter": "id in [1]", "output_fields": ["id"], "anns_field": "vector"},
        {"search_params": {"params": {"ef": 64}}},
        {"search_params": {"metric_type": "L2", "round_decimal": 2, "params": {"ef": 64}}},
        {"search_params": {"ef": 64, "list": [1, 2]}},
        {"offset": 1},
    ],
)
def test_the_second_request_is_the_first_with_other_vectors(
    more: dict[str, Any], docs: MilvusClient, fake: FakeService
) -> None:
    given = repr(more)
    first, again = sent(fake, docs, **more), sent(fake, docs, ONE * 2, **more)
    assert repr(more) == given
    for name in requests.Search.__struct_fields__:
        if name != "queries":
            assert getattr(again, name) == getattr(first, name)
    np.testing.assert_array_equal(again.queries.vectors, ONE * 2)


def test_every_argument_makes_another_request(docs: MilvusClient, fake: FakeService) -> None:
    sent(fake, docs)
    assert sent(fake, docs, limit=3).limit == 3
    assert sent(fake, docs, filter="id in [2]").filter == "id in [2]"
    assert sent(fake, docs, output_fields=["id"]).output_fields == ("id",)
    assert sent(fake, docs, search_params={"ef": 7}).params == {"ef": 7}
    assert sent(fake, docs, search_params={"ef": 8}).params == {"ef": 8}
    assert sent(fake, docs, round_decimal=0).round_decimal == 0
    assert sent(fake, docs, consistency_level="Strong").consistency_level is not None
    assert sent(fake, docs).consistency_level is None
    assert sent(fake, docs, [[1, 2, 3, 4], [4, 3, 2, 1]]).queries.nq == 2


def test_what_is_refused_is_refused_also_after_something_equal_was_taken(docs: MilvusClient) -> None:
    docs.search("docs", ONE, limit=1)
    for wrong in (True, 1.0, "1"):
        with pytest.raises(MilvusException):
            docs.search("docs", ONE, limit=wrong)  # type: ignore[arg-type]
    with pytest.raises(MilvusException):
        docs.search("docs", None, limit=1)
    with pytest.raises(MilvusException):
        docs.search("docs", [], limit=1)
    with pytest.raises(MilvusException):
        docs.search("docs", ONE, limit=1, output_fields=["id", 3])  # type: ignore[list-item]


def test_numbers_of_another_type_are_passed_on_as_they_are(docs: MilvusClient, fake: FakeService) -> None:
    assert type(sent(fake, docs, search_params={"ef": 1}).params["ef"]) is int
    assert type(sent(fake, docs, search_params={"ef": 1.0}).params["ef"]) is float
    assert type(sent(fake, docs, search_params={"ef": True}).params["ef"]) is bool
    for number in (1, 1.0, True):
        assert type(sent(fake, docs, search_params={"params": {"ef": number}}).params["ef"]) is type(number)
        both = {"metric_type": "L2", "params": {"ef": number}}
        assert type(sent(fake, docs, search_params=both).params["ef"]) is type(number)


def test_settings_are_read_wherever_they_stand(docs: MilvusClient, fake: FakeService) -> None:
    flat = {"ef": 7}
    assert sent(fake, docs, search_params=flat).params == {"ef": 7}
    flat["ef"] = 8  # the same dict, which says something else by now
    assert sent(fake, docs, search_params=flat).params == {"ef": 8}
    nested = {"metric_type": "L2", "params": {"ef": 8}}
    assert sent(fake, docs, search_params=nested).metric == "L2"
    assert sent(fake, docs, search_params={"params": {"ef": 8}}).metric == ""
    nested["params"] = {"ef": 9}
    assert sent(fake, docs, search_params=nested).params == {"ef": 9}
    assert sent(fake, docs, search_params={"ef": None}).params == {}
    assert sent(fake, docs, search_params={"params": {"ef": None}}).params == {"ef": None}
    assert sent(fake, docs, search_params={"ef": None}).params == {}
    assert sent(fake, docs, search_params={"ef": 9, "params": {"ef": 9}}).params == {"ef": 9}
    with pytest.raises(MilvusException, match="ambiguous parameter"):
        docs.search("docs", ONE, search_params={"ef": 8, "params": {"ef": 9}})


def test_the_database_in_use_is_part_of_the_search(docs: MilvusClient, fake: FakeService) -> None:
    sent(fake, docs)
    fake.databases.append("other")
    docs.use_database("other")
    assert sent(fake, docs).database == "other"


def test_no_vectors_are_kept_and_not_many_searches(docs: MilvusClient) -> None:
    for limit in range(1, MAX_SEARCHES + 20):
        docs.search("docs", ONE, limit=limit)
    kept = docs._session.searches
    assert 0 < len(kept) <= MAX_SEARCHES
    assert all(search.queries.vectors is None for search in kept.values())


def test_a_client_that_is_closed_answers_no_search_that_it_knows(docs: MilvusClient) -> None:
    for _ in range(2):
        docs.search("docs", ONE)
    docs.close()
    with pytest.raises(MilvusException, match="should create connection first"):
        docs.search("docs", ONE)
