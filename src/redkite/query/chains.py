"""Chains: steps that compute columns of the hits of a search, order them and cut them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.index.base import RowNumbers
from redkite.model.batch import numbers_to_arrow
from redkite.query.fusion import Values, cut, sortable, taken
from redkite.query.models import ModelRerank
from redkite.query.plan import SearchPartial
from redkite.query.rescoring import Slope, number_column

SCORE, ID = "$score", "$id"
Combine = Literal["multiply", "sum", "max", "min", "avg", "weighted"]
COMBINES: tuple[Combine, ...] = ("multiply", "sum", "max", "min", "avg", "weighted")
Ask = Callable[[ModelRerank, str, Sequence[str]], npt.NDArray[np.float64]]
"""Has a model score texts."""


# -- expressions --------------------------------------------------------------------------------
class DecayExpr(msgspec.Struct, frozen=True):
    column: str
    slope: Slope


class CombineExpr(msgspec.Struct, frozen=True):
    """One number of several; a null counts as 0."""

    columns: tuple[str, ...]
    mode: Combine
    weights: tuple[float, ...] = ()


class RoundExpr(msgspec.Struct, frozen=True):
    column: str
    decimals: int


class ModelExpr(msgspec.Struct, frozen=True):
    model: ModelRerank


Expr = DecayExpr | CombineExpr | RoundExpr | ModelExpr


# -- steps --------------------------------------------------------------------------------------
class MapStep(msgspec.Struct, frozen=True):
    output: str
    expr: Expr


class SortStep(msgspec.Struct, frozen=True):
    """By a column, nulls last; equal values by another, ascending."""

    column: str
    descending: bool
    tie_break: str = ""


class LimitStep(msgspec.Struct, frozen=True):
    limit: int
    offset: int = 0


Step = MapStep | SortStep | LimitStep


class Chain(msgspec.Struct, frozen=True):
    steps: tuple[Step, ...]
    fields: tuple[str, ...]
    """Columns of the collection that the steps read."""
    early: bool = False
    """Looks at more hits than are wanted, before the best of them are taken."""


class _Hits(msgspec.Struct):
    """The hits that are left, query after query, and their columns."""

    queries: RowNumbers
    places: RowNumbers
    """Where they stood at first."""
    columns: dict[str, pa.Array]

    def keep(self, some: RowNumbers) -> None:
        wanted = numbers_to_arrow(some)
        self.queries, self.places = self.queries[some], self.places[some]
        self.columns = {name: column.take(wanted) for name, column in self.columns.items()}


def run(chains: Sequence[Chain], hits: SearchPartial, larger_is_closer: bool, ask: Ask) -> SearchPartial:
    """The hits as the chains leave them, one chain after the other. When a chain computes `$score` and does not sort,
    its hits are in the order of their scores, as hits of the search are; equal ones by primary key."""
    nq = len(hits.topks)
    columns = {name: hits.rows.column(name) for chain in chains for name in chain.fields}
    columns |= {SCORE: numbers_to_arrow(hits.scores.astype(np.float64)), ID: hits.ids}
    left = _Hits(np.repeat(np.arange(nq), hits.topks), np.arange(len(hits.scores)), columns)
    for chain in chains:
        for step in _complete(chain, larger_is_closer):
            _apply(step, left, nq, ask)
    with np.errstate(over="ignore"):
        scores = number_column(left.columns[SCORE]).astype(np.float32)
    finite = np.flatnonzero(np.isfinite(scores))
    kept = left.places[finite]
    return SearchPartial(
        np.bincount(left.queries[finite], minlength=nq),
        hits.ids.take(numbers_to_arrow(kept)),
        scores[finite],
        taken(hits.rows, kept),
    )


def _complete(chain: Chain, larger_is_closer: bool) -> tuple[Step, ...]:
    rescored = any(isinstance(step, MapStep) and step.output == SCORE for step in chain.steps)
    if not rescored or any(isinstance(step, SortStep) for step in chain.steps):
        return chain.steps
    return (*chain.steps, SortStep(SCORE, larger_is_closer, ID))


def _apply(step: Step, hits: _Hits, nq: int, ask: Ask) -> None:
    if isinstance(step, MapStep):
        hits.columns[step.output] = numbers_to_arrow(_value(step.expr, hits, ask))
    elif isinstance(step, SortStep):
        hits.keep(_sorted(step, hits))
    else:
        hits.keep(cut(hits.queries, nq, step.limit, step.offset)[0])


def _sorted(step: SortStep, hits: _Hits) -> RowNumbers:
    keys: list[npt.NDArray[Any]] = []
    if step.tie_break:
        keys += _ascending(hits.columns[step.tie_break])
    nulls, values = _ascending(hits.columns[step.column])[::-1]
    keys += [-values if step.descending else values, nulls, hits.queries]
    order: RowNumbers = np.lexsort(keys)
    return order


def _ascending(column: pa.Array) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Numbers that sort as the values do, and where there is none."""
    nulls = column.is_null(nan_is_null=pa.types.is_floating(column.type)).to_numpy(zero_copy_only=False)
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        numbers = np.where(nulls, 0, column.fill_null(0).to_numpy(zero_copy_only=False))
        return numbers, nulls
    return sortable(column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column), nulls


def _value(expr: Expr, hits: _Hits, ask: Ask) -> Values:
    if isinstance(expr, DecayExpr):
        return expr.slope.factors(hits.columns[expr.column])
    if isinstance(expr, RoundExpr):
        rounded: Values = np.round(number_column(hits.columns[expr.column]), expr.decimals)
        return rounded
    if isinstance(expr, ModelExpr):
        return model_column(expr.model, hits.columns[expr.model.field], hits.queries, ask)
    return _combined(expr, np.array([np.nan_to_num(number_column(hits.columns[name])) for name in expr.columns]))


def _combined(expr: CombineExpr, given: Values) -> Values:
    """(columns, rows) -> (rows,)"""
    match expr.mode:
        case "multiply":
            result = given.prod(axis=0)
        case "sum":
            result = given.sum(axis=0)
        case "max":
            result = given.max(axis=0)
        case "min":
            result = given.min(axis=0)
        case "avg":
            result = given.mean(axis=0)
        case "weighted":
            result = np.asarray(expr.weights) @ given
    values: Values = result
    return values


def model_column(model: ModelRerank, texts: pa.Array, queries: RowNumbers, ask: Ask) -> Values:
    """(rows,) what a model says about each row's text and the query it belongs to; `queries` ascend."""
    words: list[str] = texts.fill_null("").to_pylist()
    bounds = np.searchsorted(queries, np.arange(len(model.queries) + 1)).tolist()
    spans = zip(model.queries, bounds[:-1], bounds[1:], strict=True)
    scores = [ask(model, query, words[start:end]) for query, start, end in spans if end > start]
    return np.concatenate([np.empty(0), *scores])
