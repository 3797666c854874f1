"""Chains: steps that compute columns of the hits of a search, order them and cut them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.filter import ArrowColumns, Filter
from redkite.index.base import RowNumbers
from redkite.model.batch import numbers_to_arrow
from redkite.model.schema import CollectionSchema
from redkite.query.fusion import Mode, Pool, Rrf, Scored, Values, Weighted, cut, sortable, taken
from redkite.query.models import ModelRerank
from redkite.query.plan import SearchPartial
from redkite.query.ranked_groups import GroupRule, best_groups
from redkite.query.rescoring import Slope, number_column
from redkite.query.sources import codes_of
from redkite.query.trees import Forest
from redkite.segment.growing import rows_only

SCORE, ID = "$score", "$id"
_MADE = "\1"
"""Before the names of columns that chains made, among the rows of their hits."""
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


class TreesExpr(msgspec.Struct, frozen=True):
    """What boosted trees predict for numbers; a null is missing, as the model was taught."""

    columns: tuple[str, ...]
    forest: Forest
    raw: bool = False
    """The margin, before the objective makes a prediction of it."""


Expr = DecayExpr | CombineExpr | RoundExpr | ModelExpr | TreesExpr


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


class FilterStep(msgspec.Struct, frozen=True):
    """Keeps hits that pass a condition over the columns; or those whose value of an expression, or of a column of
    truths, is neither false, nor 0, nor null."""

    condition: Filter | None = None
    schema: CollectionSchema | None = None
    """What the names in the condition mean."""
    expr: Expr | None = None
    column: str = ""


class SelectStep(msgspec.Struct, frozen=True):
    """Drops all columns but these, `$score` and `$id`."""

    columns: tuple[str, ...]


class GroupStep(msgspec.Struct, frozen=True):
    """The best hits of each value of a column, the best groups first."""

    column: str
    rule: GroupRule
    limit: int
    """Groups of each query, at most."""


Step = MapStep | SortStep | LimitStep | FilterStep | SelectStep | GroupStep


class MergeStep(msgspec.Struct, frozen=True):
    """Makes one list of the hits of several searches. A mode joins the scores that a row has in them."""

    ranker: Rrf | Weighted | Mode
    norm_score: bool = False
    """For a mode: scores are brought to 0..1 before."""


class Chain(msgspec.Struct, frozen=True):
    steps: tuple[Step, ...]
    fields: tuple[str, ...]
    """Columns of the collection that the steps read."""


class Stages(msgspec.Struct, frozen=True):
    """The chains of a request, by when they run."""

    early: tuple[Chain, ...] = ()
    """Over more hits of each search than are wanted, before the best of them are taken."""
    merge: MergeStep | None = None
    late: tuple[Chain, ...] = ()
    """Over the hits of all searches as one list."""
    post: tuple[Chain, ...] = ()
    """Over the hits that are answered."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Columns of the collection that any step reads."""
        return tuple(dict.fromkeys(name for chain in (*self.early, *self.late, *self.post) for name in chain.fields))


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

    def scores(self) -> npt.NDArray[np.float32]:
        with np.errstate(over="ignore"):
            return number_column(self.columns[SCORE]).astype(np.float32)


def run(chains: Sequence[Chain], hits: SearchPartial, larger_is_closer: bool, ask: Ask) -> SearchPartial:
    """The hits as the chains leave them, one chain after the other. When a chain computes `$score` and does not sort,
    its hits are in the order of their scores, as hits of the search are; equal ones by primary key. The columns
    that the steps made are among their rows for later chains."""
    if not chains:
        return hits
    nq = len(hits.topks)
    given = hits.rows.schema.names
    columns = {name: hits.rows.column(name) for chain in chains for name in chain.fields}
    columns |= {name[len(_MADE) :]: hits.rows.column(name) for name in given if name.startswith(_MADE)}
    columns |= {SCORE: numbers_to_arrow(hits.scores.astype(np.float64)), ID: hits.ids}
    left = _Hits(np.repeat(np.arange(nq), hits.topks), np.arange(len(hits.scores)), columns)
    for chain in chains:
        for step in _complete(chain, larger_is_closer):
            _apply(step, left, nq, larger_is_closer, ask)
    scores = left.scores()
    finite = np.flatnonzero(np.isfinite(scores))
    kept = left.places[finite]
    return SearchPartial(
        np.bincount(left.queries[finite], minlength=nq),
        hits.ids.take(numbers_to_arrow(kept)),
        scores[finite],
        _with_made(taken(hits.rows, kept), left, finite),
    )


def _with_made(rows: pa.RecordBatch, left: _Hits, finite: RowNumbers) -> pa.RecordBatch:
    """The rows with the columns that steps made."""
    own = {name: rows.column(name) for name in rows.schema.names if not name.startswith(_MADE)}
    wanted = numbers_to_arrow(finite)
    made = {_MADE + name: c.take(wanted) for name, c in left.columns.items() if name not in (SCORE, ID, *own)}
    if not made:
        return rows
    return pa.RecordBatch.from_arrays([*own.values(), *made.values()], [*own, *made])


def _complete(chain: Chain, larger_is_closer: bool) -> tuple[Step, ...]:
    """The steps, with a sort before what depends on the order, where scores changed and no step sorts."""
    if any(isinstance(step, SortStep) for step in chain.steps):
        return chain.steps
    steps: list[Step] = []
    rescored = False
    for step in chain.steps:
        if rescored and isinstance(step, LimitStep):
            steps.append(SortStep(SCORE, larger_is_closer, ID))
            rescored = False
        steps.append(step)
        if isinstance(step, MapStep):
            rescored |= step.output == SCORE
        elif isinstance(step, GroupStep):  # orders its rows itself
            rescored = False
    return (*steps, SortStep(SCORE, larger_is_closer, ID)) if rescored else tuple(steps)


def _apply(step: Step, hits: _Hits, nq: int, larger_is_closer: bool, ask: Ask) -> None:
    if isinstance(step, MapStep):
        hits.columns[step.output] = numbers_to_arrow(_value(step.expr, hits, ask))
    elif isinstance(step, SortStep):
        hits.keep(_sorted(step, hits))
    elif isinstance(step, LimitStep):
        hits.keep(cut(hits.queries, nq, step.limit, step.offset)[0])
    elif isinstance(step, FilterStep):
        hits.keep(np.flatnonzero(_passing(step, hits, ask)))
    elif isinstance(step, GroupStep):
        hits.keep(_grouped(step, hits, nq, larger_is_closer))
    else:
        kept = (*step.columns, SCORE, ID)
        hits.columns = {name: column for name, column in hits.columns.items() if name in kept}


def _passing(step: FilterStep, hits: _Hits, ask: Ask) -> npt.NDArray[np.bool_]:
    """(rows,)"""
    if step.condition is not None and step.schema is not None:
        rows = pa.RecordBatch.from_arrays(list(hits.columns.values()), list(hits.columns))
        return step.condition.evaluate(ArrowColumns(rows, step.schema))
    values = _value(step.expr, hits, ask) if step.expr is not None else number_column(hits.columns[step.column])
    passing: npt.NDArray[np.bool_] = np.nan_to_num(values) != 0
    return passing


def _grouped(step: GroupStep, hits: _Hits, nq: int, larger_is_closer: bool) -> RowNumbers:
    if not len(hits.queries):
        return hits.places
    none = np.empty(0, np.int64)
    pool = Pool(nq, hits.queries, hits.columns[ID], rows_only(len(hits.queries)), (), none, none, none, np.empty(0))
    scored = Scored(hits.scores(), larger_is_closer)
    return best_groups(pool, scored, codes_of([hits.columns[step.column]]), step.rule, step.limit)[0]


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
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
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
    if isinstance(expr, TreesExpr):
        with np.errstate(over="ignore"):
            numbers = np.stack([number_column(hits.columns[name]).astype(np.float32) for name in expr.columns], axis=1)
        return expr.forest.predict(numbers, raw=expr.raw)
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
