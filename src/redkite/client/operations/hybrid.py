"""Several searches ranked as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from redkite.client import arguments
from redkite.client.highlighting import LexicalHighlighter, SemanticHighlighter, highlighter_of
from redkite.client.operations.kinds import explain_of, tuning_of
from redkite.client.operations.reads import Moment, TimeFields, flat_params, guarantee
from redkite.client.operations.scoring import chains_of
from redkite.client.ranking import AnnSearchRequest, BaseRanker, FunctionScore, function_score
from redkite.client.results import SearchResult
from redkite.client.schema import Function
from redkite.client.session import Operation, Session, ask
from redkite.client.vectors import queries
from redkite.errors import ParamError
from redkite.model import requests, results
from redkite.model.reading import Grouping, check_ungrouped

if TYPE_CHECKING:
    from redkite.client.chains import FunctionChain

Ranker = BaseRanker | Function | FunctionScore | None
_OF_ONE = ("metric_type", "ignore_growing", "round_decimal")
_OF_ALL = (
    "explain",
    "analyze",
    "offset",
    "as_of",
    "timezone",
    "time_fields",
    "group_by_field",
    "group_size",
    "strict_group_size",
)


class HybridOptions(TypedDict, total=False):
    """More that `hybrid_search` takes."""

    offset: int | None
    """Hits to skip."""
    round_decimal: int | None
    """Decimals of the scores; -1 for all."""
    group_by_field: str | None
    """The best hits for each value of this field; `limit` counts groups."""
    group_size: int | None
    """Hits of each group, at most."""
    strict_group_size: bool | None
    """Fill every group as far as there are rows."""
    function_chains: FunctionChain | Sequence[FunctionChain] | None
    """Steps that score and order the hits anew. A `merge` step takes the place of the ranker."""
    highlighter: LexicalHighlighter | SemanticHighlighter | None
    """Marks words or sentences in the texts of the hits: `hit["highlight"]`."""
    rank_group_scorer: str | None
    """What ranks a group, of its hits' scores: `max`, `sum` or `avg`."""
    consistency_level: str | int | None
    """Instead of the collection's own."""
    ignore_growing: bool | None
    """Leave out rows that are not yet in sealed segments."""
    guarantee_timestamp: int | None
    """See every write up to this hybrid timestamp."""
    as_of: Moment | None
    """Read the rows as they were then: a hybrid timestamp, a datetime or ISO 8601 text."""
    timezone: str | None
    """Show times as they are in this IANA time zone."""
    time_fields: TimeFields
    """Show times as lists of these numbers: year, month, day, hour, minute, second, microsecond."""
    explain: bool | None
    """Search nothing, and tell in `.explanation` how it would be done."""
    analyze: bool | None
    """Tell in `.explanation` how it was done."""


def hybrid_search(
    session: Session,
    collection_name: str,
    reqs: Sequence[AnnSearchRequest],
    ranker: Ranker,
    limit: int,
    output_fields: Sequence[str] | None,
    partition_names: Sequence[str] | None,
    options: Mapping[str, Any],
) -> Operation[SearchResult]:
    """Find the rows closest to several vectors each."""
    name = arguments.name("collection_name", collection_name)
    if not isinstance(reqs, list | tuple) or not all(isinstance(one, AnnSearchRequest) for one in reqs):
        raise ParamError("reqs of a hybrid search must be a list of AnnSearchRequest")
    partitions = arguments.names("partition_names", partition_names)
    growing = options.get("ignore_growing")
    level = arguments.consistency(options.get("consistency_level"))
    digits = options.get("round_decimal")
    decimals = -1 if digits is None else arguments.integer("round_decimal", digits)
    request = requests.HybridSearch(
        database=session.database,
        collection=name,
        searches=tuple(_search(session, name, one, growing) for one in reqs),
        limit=arguments.integer("limit", limit),
        offset=arguments.integer("offset", options.get("offset") or 0),
        output_fields=arguments.names("output_fields", output_fields),
        partitions=partitions,
        round_decimal=decimals,
        grouping=_grouping(options),
        explain=explain_of(options),
        group_scorer=str(options.get("rank_group_scorer") or "max"),
        consistency_level=level,
        guarantee_timestamp=guarantee(session, name, level, options.get("guarantee_timestamp")),
        as_of=arguments.moment("as_of", options.get("as_of")),
        timezone=arguments.optional_name("timezone", options.get("timezone")),
        time_fields=arguments.time_fields(options.get("time_fields")),
        highlighter=highlighter_of(options.get("highlighter")),
        **_ranking(ranker),
        **_chains(ranker, options.get("function_chains")),
    )
    hits = yield from ask(request, results.Hits)
    return SearchResult(hits, decimals)


def _search(session: Session, collection: str, given: AnnSearchRequest, growing: bool | None) -> requests.Search:
    params = flat_params(given.param) if given.param else {}
    for key in _OF_ALL:
        if key in params:
            raise ParamError(f"`{key}` is for the whole hybrid_search(), not for one of its searches")
    own = {key: params.pop(key) for key in _OF_ONE if key in params}
    tuning = tuning_of({key: params.pop(key) for key in ("exact", "recall") if key in params})
    field = arguments.optional_name("anns_field", given.anns_field)
    return requests.Search(
        database=session.database,
        collection=collection,
        queries=queries(given.data, field),
        limit=arguments.integer("limit", given.limit),
        anns_field=field,
        filter=arguments.expression(given.expr),
        filter_params=arguments.template(given.expr_params),
        metric=str(own.get("metric_type") or ""),
        params=params,
        tuning=tuning,
        round_decimal=arguments.integer("round_decimal", own.get("round_decimal", -1)),
        ignore_growing=arguments.flag("ignore_growing", own.get("ignore_growing", bool(growing))),
    )


def _ranking(ranker: Ranker) -> Mapping[str, Any]:
    """The fields of a `HybridSearch` that say how it ranks."""
    if ranker is None:
        return {}
    if isinstance(ranker, BaseRanker):
        return {"strategy": ranker.strategy, "rank_params": ranker.params()}
    if isinstance(ranker, Function | FunctionScore):
        return {"function_score": function_score(ranker)}
    raise ParamError("The hybrid search rerank must be a Function or a Ranker.")


def _chains(ranker: Ranker, given: FunctionChain | Sequence[FunctionChain] | None) -> Mapping[str, Any]:
    if given is None:
        return {}
    if isinstance(ranker, Function | FunctionScore):
        raise ParamError("function_chains and a ranker function cannot be used together")
    return {"function_chains": chains_of(given)} if given != [] else {}


def _grouping(options: Mapping[str, Any]) -> Grouping | None:
    field = arguments.optional_name("group_by_field", options.get("group_by_field"))
    size = arguments.integer("group_size", options.get("group_size") or 1)
    strict = arguments.flag("strict_group_size", bool(options.get("strict_group_size")))
    if not field:
        check_ungrouped(size, strict)
        return None
    return Grouping(fields=(field,), size=size, strict=strict)
