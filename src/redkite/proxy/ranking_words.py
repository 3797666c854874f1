"""How a search that explains itself calls what ranks its hits."""

from __future__ import annotations

from collections.abc import Sequence

from redkite.query.chains import (
    Chain,
    FilterStep,
    GroupStep,
    LimitStep,
    MapStep,
    MergeStep,
    SelectStep,
    SortStep,
)
from redkite.query.fusion import Rrf, Weighted
from redkite.query.models import ModelRerank
from redkite.query.rescoring import Boosts, Decay

Step = MapStep | SortStep | LimitStep | FilterStep | SelectStep | GroupStep


def ranker_words(ranker: Rrf | Weighted | Decay | ModelRerank) -> str:
    if isinstance(ranker, Rrf):
        return f"rrf, k={ranker.k:g}"
    if isinstance(ranker, Weighted):
        weights = ", ".join(f"{weight:g}" for weight in ranker.weights)
        return f"weighted by {weights}{_normalised(ranker.norm_score)}"
    if isinstance(ranker, ModelRerank):
        return f"model of {ranker.provider} over {ranker.field}"
    slope = ranker.slope
    return (
        f"decay {slope.curve} of {ranker.field}, origin={slope.origin:g}, scale={slope.scale:g}, "
        f"offset={slope.offset:g}, decay={slope.decay:g}, score_mode={ranker.score_mode}"
        + _normalised(ranker.norm_score)
    )


def boosts_words(boosts: Boosts, field: str) -> str:
    """Of the search by a field."""
    weights = ", ".join(
        f"{boost.weight:g}{' where a filter holds' if boost.filter is not None else ''}"
        f"{' at random' if boost.random is not None else ''}"
        for boost in boosts.boosts
    )
    return f"boosts of {field}: {weights}; function_mode={boosts.function_mode}, boost_mode={boosts.boost_mode}"


def merge_words(merge: MergeStep) -> str:
    if isinstance(merge.ranker, Rrf | Weighted):
        return f"merge by {ranker_words(merge.ranker)}"
    return f"merge by {merge.ranker}{_normalised(merge.norm_score)}"


def chain_words(stage: str, chains: Sequence[Chain]) -> str:
    """Of the chains of a stage."""
    return f"{stage}: {', '.join(_step_words(step) for chain in chains for step in chain.steps)}"


def _step_words(step: Step) -> str:
    if isinstance(step, MapStep):
        return f"map {step.output}"
    if isinstance(step, SortStep):
        return f"sort {step.column} {'desc' if step.descending else 'asc'}"
    if isinstance(step, LimitStep):
        return f"limit {step.limit}" + (f" offset {step.offset}" if step.offset else "")
    if isinstance(step, GroupStep):
        return f"group_by {step.column}"
    if isinstance(step, SelectStep):
        return f"select {', '.join(step.columns)}"
    return "filter"


def _normalised(norm_score: bool) -> str:
    return ", of normalised scores" if norm_score else ""
