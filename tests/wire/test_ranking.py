"""Hybrid searches as pymilvus sends them."""

from __future__ import annotations

from typing import Any

import pymilvus
import pytest
from pymilvus import function_chain
from pymilvus.client.prepare import Prepare
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from redkite.errors import InvalidParameter, Unimplemented
from redkite.model import requests
from redkite.model.types import FunctionType
from redkite.wire.methods import decode_request, encode_request


def part(**more: Any) -> Any:
    return Prepare.search_requests_with_expr("c", "v", {"params": {"ef": 9}}, 7, data=[[1.0, 2.0]], **more)


def sent(ranker: Any, parts: list[Any] | None = None, **more: Any) -> requests.HybridSearch:
    message = Prepare.hybrid_search_request_with_ranker("c", parts or [part(), part()], ranker, 5, **more)
    request = decode_request("HybridSearch", message.SerializeToString(), {"dbname": "shop"})
    assert isinstance(request, requests.HybridSearch)
    return request


def test_rankers_are_read() -> None:
    assert (sent(pymilvus.RRFRanker(7)).strategy, sent(pymilvus.RRFRanker(7)).rank_params) == ("rrf", {"k": 7})
    weighted = sent(pymilvus.WeightedRanker(0.5, 1))
    assert weighted.strategy == "weighted"
    assert weighted.rank_params == {"weights": [0.5, 1], "norm_score": True}


def test_a_function_is_read_with_its_parameters_as_texts() -> None:
    function = pymilvus.Function(
        name="f", input_field_names=["n"], function_type=pymilvus.FunctionType.RERANK, description="d",
        params={"reranker": "decay", "scale": 2.5, "norm_score": True, "weights": [1, 2]},
    )  # fmt: skip
    request = sent(function)
    assert (request.strategy, request.rank_params) == ("", {})
    assert request.function_score is not None
    (read,) = request.function_score.functions
    assert (read.name, read.type, read.description, read.input_field_names) == ("f", FunctionType.RERANK, "d", ("n",))
    assert read.params == {"reranker": "decay", "scale": "2.5", "norm_score": "True", "weights": "[1, 2]"}


def test_the_whole_and_its_parts_are_read() -> None:
    request = sent(
        pymilvus.RRFRanker(), [part(expr="a == {x}", expr_params={"x": 1}), part()], partition_names=["p"],
        output_fields=["t"], round_decimal=3, offset=2, group_by_field="t", group_size=3, strict_group_size=True,
        rank_group_scorer="avg",
    )  # fmt: skip
    assert (request.database, request.collection, request.limit, request.offset) == ("shop", "c", 5, 2)
    assert (request.partitions, request.output_fields, request.round_decimal) == (("p",), ("t",), 3)
    assert request.grouping == requests.Grouping(fields=("t",), size=3, strict=True)
    assert request.group_scorer == "avg"
    assert [(s.anns_field, s.limit, s.params) for s in request.searches] == [("v", 7, {"ef": 9})] * 2
    assert (request.searches[0].filter, request.searches[0].filter_params) == ("a == {x}", {"x": 1})


def test_times_are_shown_as_its_searches_say() -> None:
    request = sent(pymilvus.RRFRanker(), [part(timezone="Asia/Tokyo", time_fields="year, month")])
    assert (request.timezone, request.time_fields) == ("Asia/Tokyo", ("year", "month"))


@pytest.mark.parametrize(
    ("pairs", "error", "text"),
    [
        ({}, InvalidParameter, "limit not found in rank_params"),
        ({"limit": "x"}, InvalidParameter, r"limit \[x\] is invalid"),
        ({"limit": "1", "params": "7"}, InvalidParameter, r"params \[7\] is not a JSON object"),
        ({"limit": "1", "round_decimal": "x"}, InvalidParameter, r"round_decimal \[x\] is invalid"),
        ({"limit": "1", "speed": "9"}, InvalidParameter, "rank parameter speed is not known"),
    ],
)
def test_what_cannot_be_read_is_refused(pairs: dict[str, str], error: type[Exception], text: str) -> None:
    given = [common_pb2.KeyValuePair(key=key, value=value) for key, value in pairs.items()]
    message = milvus_pb2.HybridSearchRequest(collection_name="c", requests=[part()], rank_params=given)
    with pytest.raises(error, match=text):
        decode_request("HybridSearch", message.SerializeToString(), {})


def test_namespaces_of_a_hybrid_search_are_refused_by_name() -> None:
    message = Prepare.hybrid_search_request_with_ranker("c", [part()], pymilvus.RRFRanker(), 5, namespace="n")
    with pytest.raises(Unimplemented, match="namespace 'n' is not supported in this version: keep rows apart by"):
        decode_request("HybridSearch", message.SerializeToString(), {})


def test_reads_say_which_cluster_they_are_for() -> None:
    pair = [common_pb2.KeyValuePair(key="cluster_id", value="south")]
    limit = [*pair, common_pb2.KeyValuePair(key="limit", value="1")]
    hybrid = milvus_pb2.HybridSearchRequest(collection_name="c", requests=[part()], rank_params=limit)
    query = milvus_pb2.QueryRequest(collection_name="c", expr="id > 0", query_params=pair)
    search = part()
    search.search_params.extend(pair)
    for method, message in (("HybridSearch", hybrid), ("Query", query), ("Search", search)):
        request = decode_request(method, message.SerializeToString(), {})
        assert request.cluster == "south"
        again, data = encode_request(request)
        assert decode_request(again, data, {}).cluster == "south"


def test_chains_of_a_hybrid_search_are_read() -> None:
    chain = function_chain.FunctionChain(function_chain.FunctionChainStage.L2_RERANK, name="x").limit(3)
    message = Prepare.hybrid_search_request_with_ranker("c", [part()], pymilvus.RRFRanker(), 5)
    message.function_chains.append(chain.to_proto())
    request = decode_request("HybridSearch", message.SerializeToString(), {})
    assert isinstance(request, requests.HybridSearch)
    (found,) = request.function_chains
    assert (found.name, found.stage.name, found.ops[0].op) == ("x", "L2_RERANK", "limit")


def test_a_highlighter_of_any_search_is_that_of_the_whole_and_there_is_one() -> None:
    given = pymilvus.LexicalHighlighter(highlight_query=[{"type": "TextMatch", "field": "t", "text": "a"}])

    def marked(*highlighters: Any) -> requests.HybridSearch:
        parts = [part() for _ in highlighters]
        for message, highlighter in zip(parts, highlighters, strict=True):
            if highlighter is not None:
                message.highlighter.CopyFrom(Prepare.highlighter_schema(highlighter))
        return sent(pymilvus.RRFRanker(), parts)

    for highlighters in ((given, None), (None, given), (given, given)):
        request = marked(*highlighters)
        assert request.highlighter is not None
        assert request.highlighter.queries[0].text == "a"
        assert all(search.highlighter is None for search in request.searches)
    assert marked(None, None).highlighter is None
    with pytest.raises(InvalidParameter, match="have different highlighters"):
        marked(given, pymilvus.LexicalHighlighter(fragment_size=9))


def test_ranking_may_be_said_twice_and_not_differently() -> None:
    said = {"limit": "3", "strategy": "rrf", "reranker": "rrf", "k": "60", "params": '{"k": 60}'}
    given = [common_pb2.KeyValuePair(key=key, value=value) for key, value in said.items()]
    message = milvus_pb2.HybridSearchRequest(collection_name="c", requests=[part()], rank_params=given)
    request = decode_request("HybridSearch", message.SerializeToString(), {})
    assert isinstance(request, requests.HybridSearch)
    assert (request.strategy, request.rank_params) == ("rrf", {"k": 60})
    given[2].value = "weighted"
    message = milvus_pb2.HybridSearchRequest(collection_name="c", requests=[part()], rank_params=given)
    with pytest.raises(InvalidParameter, match="rank parameter reranker is not known"):
        decode_request("HybridSearch", message.SerializeToString(), {})
