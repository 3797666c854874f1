"""What scores the hits of a search anew, from the arguments to the fields of the request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redkite.errors import ParamError
from redkite.model.scoring import FunctionChainStage


def ranking_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `Search` for its `ranker` or its `function_chains`."""
    ranker, chains = given.get("ranker"), given.get("function_chains")
    if chains is not None and chains != []:
        if ranker is not None:
            raise ParamError("function_chains and ranker cannot be used together")
        return {"function_chains": chains_of(chains)}
    if ranker is None:
        return {}
    from redkite.client.ranking import FunctionScore, function_score
    from redkite.client.schema import Function

    if not isinstance(ranker, Function | FunctionScore):
        raise ParamError("The search ranker must be a Function or FunctionScore.")
    return {"function_score": function_score(ranker)}


def chains_of(given: Any) -> tuple[Any, ...]:
    """Chains as requests hold them."""
    from redkite.client.chains import FunctionChain

    chains = [given] if isinstance(given, FunctionChain) else given
    if not isinstance(chains, list | tuple) or not all(isinstance(chain, FunctionChain) for chain in chains):
        raise ParamError("function_chains must be a FunctionChain or a list of FunctionChain")
    if any(chain.stage is FunctionChainStage.UNSPECIFIED for chain in chains):
        raise ParamError("UNSPECIFIED function chain stage is not supported for search")
    return tuple(chain.to_model() for chain in chains)
