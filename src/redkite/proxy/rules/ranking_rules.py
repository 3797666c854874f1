"""What hits may be ranked by: strategies of a hybrid search, and functions of type RERANK."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from redkite.errors import InvalidParameter
from redkite.filter import Filter
from redkite.model.limits import Limits
from redkite.model.ranking import HybridSearch
from redkite.model.schema import CollectionSchema, FieldSchema, FunctionSchema
from redkite.model.scoring import FunctionScore
from redkite.model.types import DataType, FunctionType
from redkite.proxy.rules.model_rules import MODEL, read_model
from redkite.proxy.rules.read_rules import check_search_window
from redkite.proxy.rules.values import flag_of, json_of, number_of, one_of, only_known
from redkite.query.fusion import MODES, Mode, Rrf, Weighted
from redkite.query.models import ModelRerank
from redkite.query.rescoring import (
    COMBINATIONS,
    CURVES,
    Boost,
    Boosts,
    Combination,
    Decay,
    RandomScore,
    Slope,
)

Reranker = Rrf | Weighted | Decay | ModelRerank

BOOST, DECAY, RRF, WEIGHTED = "boost", "decay", "rrf", "weighted"
MAX_SEARCHES = 1024
MAX_K = 16384
_NUMBERS = (*(t for t in DataType if t.is_number), DataType.TIMESTAMPTZ)
_RANDOM = (*(t for t in DataType if t.is_integer), DataType.TIMESTAMPTZ, DataType.VARCHAR)


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """A FunctionScore resolved against a schema."""

    boosts: Boosts | None = None
    reranker: Reranker | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """The columns of the hits that are needed."""
        names = sorted(self.boosts.fields) if self.boosts is not None else []
        if isinstance(self.reranker, Decay | ModelRerank):
            names.append(self.reranker.field)
        return tuple(dict.fromkeys(names))


class Rules(msgspec.Struct, frozen=True):
    """What the functions of one request are read with."""

    schema: CollectionSchema
    lists: int
    """How many ranked lists there are."""
    nq: int
    compile: Callable[[str], Filter | None]
    """A filter's text; None when every row passes."""
    draw_seed: Callable[[], int]


# -- the request --------------------------------------------------------------------------------
def check_hybrid(request: HybridSearch, limits: Limits) -> None:
    """How many searches, and that they and the whole ask for something together."""
    searches = request.searches
    if len(searches) > MAX_SEARCHES:
        raise InvalidParameter(f"maximum of ann search requests is {MAX_SEARCHES}")
    if not searches:
        raise InvalidParameter("a hybrid search needs at least one ann search request")
    nq = searches[0].queries.nq
    check_search_window(request.limit, request.offset, nq, limits)
    for search in searches:
        if search.queries.nq != nq:
            raise InvalidParameter("sub search request nq should be the same", expected=nq, actual=search.queries.nq)
        check_search_window(search.limit, 0, nq, limits)
        if search.page is not None:
            raise InvalidParameter("a search iterator is not permitted in a hybrid search")
        if search.order_by or search.aggregation is not None:
            raise InvalidParameter("order_by and search_aggregation are not supported in a hybrid search")
        if search.function_score is not None or search.function_chains:
            raise InvalidParameter("a search of a hybrid search has no functions of its own: name them for the whole")


# -- strategies ---------------------------------------------------------------------------------
def read_strategy(strategy: str, params: Mapping[str, Any], lists: int) -> Rrf | Weighted:
    """The ranker that a hybrid search names, with its parameters; `rrf` when it names none."""
    if strategy in ("", RRF):
        return _rrf(RRF, params)
    if strategy == WEIGHTED:
        return _weighted(WEIGHTED, params, lists)
    raise InvalidParameter(f"unsupported rank type {strategy}")


def read_scorer(name: str) -> Mode:
    """What ranks the groups of a hybrid search."""
    return one_of("rank_group_scorer", name or "max", MODES)


def _rrf(owner: str, params: Mapping[str, Any]) -> Rrf:
    only_known(owner, params, ("k",))
    k = number_of(owner, "k", params.get("k", 60))
    if not 0 < k < MAX_K:
        raise InvalidParameter(f"The rank params k should be in range (0, {MAX_K})")
    return Rrf(k)


def _weighted(owner: str, params: Mapping[str, Any], lists: int) -> Weighted:
    only_known(owner, params, ("weights", "norm_score"))
    if "weights" not in params:
        raise InvalidParameter("weights not found in rank_params")
    weights = params["weights"]
    if isinstance(weights, str):
        weights = json_of(owner, "weights", weights)
    if not isinstance(weights, list | tuple):
        raise InvalidParameter(f"{owner}: weights must be a list of numbers, got {str(weights)[:100]}")
    numbers = tuple(number_of(owner, "weights", weight) for weight in weights)
    if len(numbers) != lists:
        raise InvalidParameter(
            "the length of weights param mismatch with ann search requests", expected=lists, actual=len(numbers)
        )
    if not all(0 <= number <= 1 for number in numbers):
        raise InvalidParameter("rank param weight should be in range [0, 1]")
    return Weighted(numbers, flag_of(owner, "norm_score", params.get("norm_score", False)))


# -- functions ----------------------------------------------------------------------------------
def read_ranking(given: FunctionScore, rules: Rules) -> Ranking:
    """Any number of boosts and at most one other function, checked against the schema."""
    if not given.functions:
        raise InvalidParameter("rerank_builder: a function score needs a function")
    boosts: list[Boost] = []
    others: list[Reranker] = []
    for function in given.functions:
        if function.type is not FunctionType.RERANK:
            raise InvalidParameter(
                f"rerank_builder: function {function.name} is of type {function.type.name}, must be RERANK"
            )
        if function.output_field_names:
            raise InvalidParameter(f"rerank_builder: function {function.name} must not have output fields")
        name = function.params.get("reranker", "").strip().lower()
        params = {key: value for key, value in function.params.items() if key != "reranker"}
        if name == BOOST:
            boosts.append(_boost(function, params, rules))
        else:
            others.append(_reranker(name, function, params, rules))
    if len(others) > 1:
        raise InvalidParameter(
            f"rerank_builder: only one rerank function besides boosts is supported, got {len(others)}"
        )
    only_known("rerank_builder", given.params, ("boost_mode", "function_mode"))
    modes: dict[str, Combination] = {
        key: one_of(key, given.params.get(key, "multiply"), COMBINATIONS) for key in ("boost_mode", "function_mode")
    }
    return Ranking(
        boosts=Boosts(boosts=tuple(boosts), **modes) if boosts else None,
        reranker=others[0] if others else None,
    )


def _reranker(name: str, function: FunctionSchema, params: Mapping[str, str], rules: Rules) -> Reranker:
    if not name:
        raise InvalidParameter("rerank_builder: reranker name not specified")
    if name == DECAY:
        return _decay(function, params, rules.schema)
    if name == MODEL:
        return read_model(function, params, rules.schema, rules.nq)
    if name not in (RRF, WEIGHTED):
        raise InvalidParameter(f"rerank_builder: unsupported reranker {name}")
    _no_input(name, function)
    return _rrf(name, params) if name == RRF else _weighted(name, params, rules.lists)


def _no_input(name: str, function: FunctionSchema) -> None:
    if function.input_field_names:
        raise InvalidParameter(f"{name}: function {function.name} takes no input field")


# -- decay --------------------------------------------------------------------------------------
_DECAY_PARAMS = ("function", "origin", "scale", "offset", "decay", "norm_score", "score_mode")


def _decay(function: FunctionSchema, params: Mapping[str, str], schema: CollectionSchema) -> Decay:
    only_known(DECAY, params, _DECAY_PARAMS)
    field = _input_field(function, schema)
    if field.data_type not in _NUMBERS:
        raise InvalidParameter(
            f"decay: input field {field.name} must be numeric, but it is of type {field.data_type.wire_name}"
        )
    return Decay(
        field=field.name,
        slope=read_slope(params),
        norm_score=flag_of(DECAY, "norm_score", params.get("norm_score", False)),
        score_mode=one_of("score_mode", params.get("score_mode", "max"), MODES),
    )


def read_slope(params: Mapping[str, Any]) -> Slope:
    """The parameters of a decaying factor."""
    curve = str(params.get("function", ""))
    if curve not in CURVES:
        raise InvalidParameter(f'decay: invalid function "{curve}", must be one of [{", ".join(CURVES)}]')
    for name in ("origin", "scale"):
        if name not in params:
            raise InvalidParameter(f"decay: {name} must be given")
    origin, scale = (number_of(DECAY, name, params[name]) for name in ("origin", "scale"))
    offset, decay = (number_of(DECAY, name, params.get(name, value)) for name, value in (("offset", 0), ("decay", 0.5)))
    if scale <= 0:
        raise InvalidParameter(f"decay: scale must be > 0, got {scale:g}")
    if offset < 0:
        raise InvalidParameter(f"decay: offset must be >= 0, got {offset:g}")
    if not 0 < decay < 1:
        raise InvalidParameter(f"decay: decay must be > 0 and < 1, got {decay:g}")
    return Slope(curve=curve, origin=origin, scale=scale, offset=offset, decay=decay)


def _input_field(function: FunctionSchema, schema: CollectionSchema) -> FieldSchema:
    if len(function.input_field_names) != 1:
        raise InvalidParameter(
            f"decay: function {function.name} needs one input field, got {len(function.input_field_names)}"
        )
    name = function.input_field_names[0]
    field = schema.field(name)
    if field is None:
        raise InvalidParameter(f"decay: input field {name} not found in schema")
    return field


# -- boost --------------------------------------------------------------------------------------
def _boost(function: FunctionSchema, params: Mapping[str, str], rules: Rules) -> Boost:
    only_known(BOOST, params, ("filter", "weight", "random_score"))
    _no_input(BOOST, function)
    if "weight" not in params:
        raise InvalidParameter("must set weight params for weight scorer")
    text = params.get("filter", "")
    return Boost(
        weight=number_of(BOOST, "weight", params["weight"]),
        filter=rules.compile(text) if text.strip() else None,
        random=_random(params["random_score"], rules) if "random_score" in params else None,
    )


def _random(text: str, rules: Rules) -> RandomScore:
    given = json_of(BOOST, "random_score", text)
    if not isinstance(given, dict) or not given.keys() <= {"seed", "field"}:
        raise InvalidParameter(f'boost: random_score must be an object of "seed" and "field", got {text[:100]}')
    seed = given.get("seed")
    if seed is None:
        seed = rules.draw_seed()
    elif isinstance(seed, bool) or not isinstance(seed, int):
        raise InvalidParameter(f"boost: seed of random_score must be a whole number, got {str(seed)[:100]}")
    name = given.get("field") or rules.schema.primary.name
    field = rules.schema.field(name) if isinstance(name, str) else None
    if field is None:
        raise InvalidParameter(f"boost: field {str(name)[:100]} of random_score not found in schema")
    if field.data_type not in _RANDOM:
        raise InvalidParameter(
            f"boost: field {name} of random_score must be of integers or texts, "
            f"but it is of type {field.data_type.wire_name}"
        )
    return RandomScore(seed=seed, field=field.name)
