"""Searches that come again are written and read the shorter way, and say just what they say each time."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from tests.wire.samples import queries

from redkite.errors import InvalidParameter
from redkite.model.reading import Queries, Search
from redkite.model.types import ConsistencyLevel, DataType
from redkite.wire.messages import milvus
from redkite.wire.methods import decode_request, encode_pieces
from redkite.wire.read import pack_search, short_search

NONE = Queries(data_type=DataType.NONE)
PLAIN = Search(collection="c", queries=queries(), limit=4)
OTHERS: dict[str, Any] = {
    "database": "d", "cluster": "here", "collection": "e", "limit": 5, "anns_field": "v", "filter": "a == 1",
    "output_fields": ("t",), "partitions": ("p",), "offset": 3, "metric": "IP", "params": {"ef": 9},
    "round_decimal": 2, "ignore_growing": True, "consistency_level": ConsistencyLevel.Strong,
    "guarantee_timestamp": 1 << 40, "as_of": 1 << 41, "collection_id": 8, "timezone": "Asia/Tokyo",
    "time_fields": ("year",), "in_order": True, "hints": "iterative_filter",
}  # fmt: skip
"""Field -> another value than in PLAIN."""


def same(one: Search, other: Search) -> bool:
    vectors, others = one.queries.vectors, other.queries.vectors
    assert vectors is not None
    assert others is not None
    bare = msgspec.structs.replace(one, queries=NONE) == msgspec.structs.replace(other, queries=NONE)
    return bare and np.array_equal(vectors, others)


def there_and_back(request: Search) -> Any:
    method, pieces = encode_pieces(request)
    return decode_request(method, b"".join(pieces), {})


@pytest.mark.parametrize("name", OTHERS)
def test_every_field_makes_another_search(name: str) -> None:
    """What is remembered of the search before, which differs in this field alone, is not taken for it."""
    other = msgspec.structs.replace(PLAIN, **{name: OTHERS[name]})
    for request in (PLAIN, other, PLAIN, other):
        assert (short_search(request) is None) == (request.guarantee_timestamp > 0)
        assert same(there_and_back(request), request)


def test_the_shorter_message_is_the_whole_one() -> None:
    lists = Queries(data_type=DataType.INT8_VECTOR, raw=(b"1234", b"12"), are_lists=True)
    one = Queries(data_type=DataType.FLOAT_VECTOR, vectors=np.ones((1, 3), np.float32))
    long = Queries(data_type=DataType.FLOAT_VECTOR, vectors=np.ones((1, 30_000), np.float32))
    elements = msgspec.structs.replace(one, of_elements=True)
    for given in (queries(), one, long, elements, lists, Queries(data_type=DataType.VARCHAR, raw=(b"word",))):
        for request in (PLAIN, msgspec.structs.replace(PLAIN, **OTHERS | {"guarantee_timestamp": 0})):
            asked = msgspec.structs.replace(request, queries=given)
            message = milvus.SearchRequest(db_name=asked.database)
            pack_search(message, asked)
            assert milvus.SearchRequest.FromString(short_search(asked)) == message


def test_every_field_is_either_told_or_keeps_a_search_from_the_shorter_way() -> None:
    known = {*OTHERS, "queries", "user", "filter_params", "page", "grouping", "order_by", "aggregation", "tuning"}
    known |= {"function_score", "function_chains", "highlighter"}
    assert set(Search.__struct_fields__) == known, "say of a new field here what it is, and see that it is told"


def test_numbers_of_another_type_are_written_as_they_are() -> None:
    for value, written in ((1, '{"ef":1}'), (1.0, '{"ef":1.0}'), (True, '{"ef":true}')):
        message = short_search(msgspec.structs.replace(PLAIN, params={"ef": value}))
        assert message is not None
        pairs = {pair.key: pair.value for pair in milvus.SearchRequest.FromString(message).search_params}
        assert pairs["params"] == written


@pytest.mark.parametrize("params", [{"ef": [1, 2]}, {"ef": None}, {"ef": {"a": 1}}])
def test_what_cannot_be_compared_is_written_the_longer_way(params: dict[str, Any]) -> None:
    assert short_search(msgspec.structs.replace(PLAIN, params=params)) is None


def test_a_long_filter_is_not_remembered() -> None:
    request = msgspec.structs.replace(PLAIN, filter=f"a in [{', '.join(map(str, range(2000)))}]")
    assert short_search(request) is None
    assert same(there_and_back(request), request)
    assert same(there_and_back(request), request)


def test_who_changes_the_parameters_of_a_search_changes_those_of_no_other() -> None:
    request = msgspec.structs.replace(PLAIN, params={"ef": 9})
    there_and_back(request).params["ef"] = 10
    assert there_and_back(request).params == {"ef": 9}


def test_what_is_refused_is_refused_each_time() -> None:
    message = milvus.SearchRequest(collection_name="c", placeholder_group=b"\x0a\x0b\x10\x65\x1a\x041234", dsl="a")
    for _ in range(2):
        with pytest.raises(InvalidParameter, match="dsl_type BoolExprV1"):
            decode_request("Search", message.SerializeToString(), {})
