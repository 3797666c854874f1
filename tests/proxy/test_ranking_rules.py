"""What a ranking may say, and what it is told otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from redkite.errors import InvalidParameter
from redkite.filter import compile_filter
from redkite.model.schema import CollectionSchema, FieldSchema, FunctionSchema
from redkite.model.scoring import FunctionScore
from redkite.model.types import DataType, FunctionType
from redkite.proxy.rules.ranking_rules import Ranking, Rules, read_ranking, read_strategy
from redkite.query.fusion import Rrf, Weighted
from redkite.query.models import ModelRerank
from redkite.query.rescoring import Boosts, Decay, RandomScore

SCHEMA = CollectionSchema(
    name="things",
    fields=(
        FieldSchema(name="id", data_type=DataType.INT64, is_primary=True),
        FieldSchema(name="number", data_type=DataType.DOUBLE),
        FieldSchema(name="when", data_type=DataType.TIMESTAMPTZ),
        FieldSchema(name="word", data_type=DataType.VARCHAR, params={"max_length": "9"}),
        FieldSchema(name="json", data_type=DataType.JSON),
    ),
)
SEED = 77


def read(*functions: FunctionSchema, lists: int = 2, nq: int = 1, **params: str) -> Ranking:
    rules = Rules(SCHEMA, lists, nq, lambda text: compile_filter(text, SCHEMA), lambda: SEED)
    return read_ranking(FunctionScore(functions=functions, params=params), rules)


def function(fields: str = "", kind: FunctionType = FunctionType.RERANK, **params: str) -> FunctionSchema:
    names = tuple(fields.split())
    return FunctionSchema(name="f", type=kind, input_field_names=names, output_field_names=(), params=params)


DECAY = {"reranker": "decay", "function": "gauss", "origin": "0", "scale": "10"}
TEI = {"reranker": "model", "provider": "tei", "queries": '["q"]', "endpoint": "http://there:8080"}


# -- strategies ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("strategy", "params", "wanted"),
    [
        ("", {}, Rrf(60)),
        ("rrf", {}, Rrf(60)),
        ("rrf", {"k": 100}, Rrf(100)),
        ("rrf", {"k": "0.5"}, Rrf(0.5)),
        ("weighted", {"weights": [0, 1]}, Weighted((0.0, 1.0), False)),
        ("weighted", {"weights": [0.5, 1], "norm_score": True}, Weighted((0.5, 1.0), True)),
    ],
)
def test_strategies_are_read(strategy: str, params: dict[str, Any], wanted: Any) -> None:
    assert read_strategy(strategy, params, 2) == wanted


@pytest.mark.parametrize(
    ("strategy", "params", "text"),
    [
        ("best", {}, "unsupported rank type best"),
        ("rrf", {"k": 0}, "The rank params k should be in range (0, 16384)"),
        ("rrf", {"k": 16384}, "The rank params k should be in range (0, 16384)"),
        ("rrf", {"k": -1}, "The rank params k should be in range (0, 16384)"),
        ("rrf", {"k": "x"}, "rrf: k [x] is invalid, should be a number"),
        ("rrf", {"weights": [1]}, "rrf: unknown parameter weights"),
        ("weighted", {}, "weights not found in rank_params"),
        ("weighted", {"weights": [1]}, "the length of weights param mismatch with ann search requests"),
        ("weighted", {"weights": [1, 1.5]}, "rank param weight should be in range [0, 1]"),
        ("weighted", {"weights": [-0.5, 1]}, "rank param weight should be in range [0, 1]"),
        ("weighted", {"weights": [1, "x"]}, "weighted: weights [x] is invalid, should be a number"),
        ("weighted", {"weights": [1, float("nan")]}, "weighted: weights [nan] is invalid"),
        ("weighted", {"weights": 3}, "weighted: weights must be a list of numbers, got 3"),
        ("weighted", {"weights": [1, 1], "norm_score": "maybe"}, "norm_score [maybe] is invalid"),
    ],
)
def test_a_strategy_that_cannot_be_is_refused(strategy: str, params: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        read_strategy(strategy, params, 2)
    assert text in caught.value.message


# -- functions ----------------------------------------------------------------------------------
def test_functions_of_each_kind_are_read() -> None:
    assert read(function(reranker="rrf", k="7")).reranker == Rrf(7)
    weighted = read(function(reranker="Weighted", weights="[0.25, 1]", norm_score="true")).reranker
    assert weighted == Weighted((0.25, 1.0), True)
    decay = read(function("when", **DECAY, offset="3", decay="0.25", norm_score="True", score_mode="avg")).reranker
    assert isinstance(decay, Decay)
    assert (decay.field, decay.norm_score, decay.score_mode, decay.slope.offset) == ("when", True, "avg", 3.0)
    model = read(function("word", **TEI, truncate="True", truncation_direction="Left")).reranker
    assert isinstance(model, ModelRerank)
    assert (model.endpoint, model.batch) == ("http://there:8080", 32)
    assert model.options == {"truncate": True, "truncation_direction": "Left"}


def test_boosts_go_beside_one_other_function() -> None:
    boost = function(reranker="boost", weight="2", filter="number > 1", random_score='{"seed": 5, "field": "id"}')
    ranking = read(boost, function(reranker="rrf"), function(reranker="boost", weight="0.5"), boost_mode="Sum")
    assert ranking.reranker == Rrf(60)
    assert isinstance(ranking.boosts, Boosts)
    assert (ranking.boosts.boost_mode, ranking.boosts.function_mode) == ("sum", "multiply")
    assert [b.weight for b in ranking.boosts.boosts] == [2.0, 0.5]
    assert ranking.boosts.boosts[0].random == RandomScore(seed=5, field="id")
    assert set(ranking.fields) == {"number", "id"}


def test_a_random_score_without_a_seed_draws_one_and_takes_the_key() -> None:
    ranking = read(function(reranker="boost", weight="1", random_score="{}"))
    assert ranking.boosts is not None
    assert ranking.boosts.boosts[0].random == RandomScore(seed=SEED, field="id")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (function(), "rerank_builder: reranker name not specified"),
        (function(reranker="best"), "rerank_builder: unsupported reranker best"),
        (function(kind=FunctionType.BM25, reranker="rrf"), "function f is of type BM25, must be RERANK"),
        (function("word", reranker="rrf"), "rrf: function f takes no input field"),
        (function("number", **{**DECAY, "function": "x"}),
         'decay: invalid function "x", must be one of [gauss, exp, linear]'),
        (function("number", **{**DECAY, "scale": "0"}), "decay: scale must be > 0, got 0"),
        (function("number", **{**DECAY, "scale": "-2.5"}), "decay: scale must be > 0, got -2.5"),
        (function("number", **DECAY, offset="-1"), "decay: offset must be >= 0, got -1"),
        (function("number", **DECAY, decay="1"), "decay: decay must be > 0 and < 1, got 1"),
        (function("number", **DECAY, decay="nan"), "decay: decay [nan] is invalid"),
        (function("number", reranker="decay", function="exp", origin="1"), "decay: scale must be given"),
        (function("number", **DECAY, score_mode="min"), "score_mode [min] is invalid, should be one of"),
        (function("number", **DECAY, speed="1"), "decay: unknown parameter speed"),
        (function("word", **DECAY), "decay: input field word must be numeric, but it is of type VarChar"),
        (function("nothing", **DECAY), "decay: input field nothing not found in schema"),
        (function("number id", **DECAY), "decay: function f needs one input field, got 2"),
        (function(reranker="boost"), "must set weight params for weight scorer"),
        (function("id", reranker="boost", weight="1"), "boost: function f takes no input field"),
        (function(reranker="boost", weight="heavy"), "boost: weight [heavy] is invalid, should be a number"),
        (function(reranker="boost", weight="inf"), "boost: weight [inf] is invalid"),
        (function(reranker="boost", weight="1", filter="no ="), "cannot parse expression"),
        (function(reranker="boost", weight="1", random_score="7"), "random_score must be an object"),
        (function(reranker="boost", weight="1", random_score="{"), "random_score [{] is invalid, should be valid JSON"),
        (function(reranker="boost", weight="1", random_score='{"seed": "x"}'), "seed of random_score must be a whole"),
        (function(reranker="boost", weight="1", random_score='{"field": "x"}'), "field x of random_score not found"),
        (function(reranker="boost", weight="1", random_score='{"field": "json"}'), "must be of integers or texts"),
        (function("word", **{**TEI, "provider": "acme"}), "unknown rerank model provider:acme"),
        (function("word", reranker="model"), "unknown rerank model provider:"),
        (function("number", **TEI), "rerank model: input field number must be a VarChar"),
        (function("word", **{**TEI, "queries": '["a", "b"]'}), "nq must equal the number of queries, nq=1, queries=2"),
        (function("word", **{**TEI, "queries": "a"}), "rerank model: queries [a] must be a JSON list of texts"),
        (function("word", **{**TEI, "endpoint": "ftp://x"}), "endpoint [ftp://x] is invalid"),
        (function("word", **{**TEI, "endpoint": "http://x:port"}), "endpoint [http://x:port] is invalid"),
        (function("word", reranker="model", provider="vllm", queries='["q"]'), "endpoint [] is invalid"),
        (function("word", reranker="model", provider="cohere", queries='["q"]'), "model_name must be given"),
        (function("word", **TEI, max_client_batch_size="0"), "max_client_batch_size [0] is invalid"),
        (function("word", **TEI, model_name="m"), "rerank model tei: unknown parameter model_name"),
        (function("word", **TEI, truncate="often"), "rerank model: truncate [often] is invalid"),
    ],
)  # fmt: skip
def test_a_function_that_cannot_be_is_refused(given: FunctionSchema, text: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        read(given)
    assert text in caught.value.message


def test_two_functions_that_are_no_boosts_are_refused() -> None:
    with pytest.raises(InvalidParameter, match="only one rerank function besides boosts is supported, got 2"):
        read(function(reranker="rrf"), function(reranker="rrf"))


def test_a_score_without_functions_or_with_modes_of_another_name_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="needs a function"):
        read()
    with pytest.raises(InvalidParameter, match=r"boost_mode \[max\] is invalid, should be one of \[multiply, sum\]"):
        read(function(reranker="boost", weight="1"), boost_mode="max")
    with pytest.raises(InvalidParameter, match="unknown parameter mode"):
        read(function(reranker="boost", weight="1"), mode="max")
