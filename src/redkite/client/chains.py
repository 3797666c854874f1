"""Steps over the hits of a search, as users put them together.

chain = (
    FunctionChain(FunctionChainStage.L2_RERANK)
    .map("fresh", fn.decay(col("published"), function="exp", origin=now, scale=86_400))
    .map("$score", fn.num_combine(col("$score"), col("fresh"), mode="weighted", weights=[0.8, 0.2]))
    .sort("$score", tie_break_col="$id")
    .limit(10)
)
client.search("news", [vector], limit=100, function_chains=chain)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from redkite.client.arguments import plain
from redkite.errors import ParamError
from redkite.model import scoring
from redkite.model.scoring import FunctionChainStage as FunctionChainStage

Number = int | float
_CURVES = ("gauss", "exp", "linear")
_COMBINES = ("multiply", "sum", "max", "min", "avg", "weighted")
_SCORERS = ("max", "sum", "avg")
_MERGES = ("rrf", "weighted", *_SCORERS)


@dataclass(frozen=True)
class ColumnRef:
    """A column: a field, `$score`, `$id`, or what an earlier step made."""

    name: str

    def __post_init__(self) -> None:
        given: object = self.name
        if not isinstance(given, str) or not given:
            raise ParamError("Column name must be a string that is not empty")


def col(name: str) -> ColumnRef:
    """A column as an argument of a function."""
    return ColumnRef(name)


@dataclass(frozen=True)
class FunctionChainExpr:
    """A function of columns and values."""

    name: str
    args: Sequence[Any] = ()
    params: Mapping[str, Any] = field(default_factory=dict)

    def to_model(self) -> scoring.ChainExpr:
        args = [scoring.ChainColumn(arg.name) if isinstance(arg, ColumnRef) else plain(arg) for arg in self.args]
        return scoring.ChainExpr(name=self.name, args=tuple(args), params=_plain(self.params))


@dataclass(frozen=True)
class FunctionChainOp:
    """One step."""

    op: str
    expr: FunctionChainExpr | None = None
    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()
    params: Mapping[str, Any] = field(default_factory=dict)

    def to_model(self) -> scoring.ChainOp:
        return scoring.ChainOp(
            op=self.op,
            expr=None if self.expr is None else self.expr.to_model(),
            inputs=tuple(self.inputs),
            outputs=tuple(self.outputs),
            params=_plain(self.params),
        )


class FunctionChain:
    """Steps, one after the other. Every method adds one and returns the chain."""

    def __init__(self, stage: FunctionChainStage, name: str = "") -> None:
        try:
            self.stage = FunctionChainStage(stage)
        except ValueError as error:
            raise ParamError(f"Unknown function chain stage: {stage}") from error
        self.name = _text("Function chain name", name)
        self._ops: list[FunctionChainOp] = []

    @property
    def ops(self) -> tuple[FunctionChainOp, ...]:
        return tuple(self._ops)

    def map(self, output: str, expr: FunctionChainExpr) -> Self:
        """Compute a column; `$score` is the score of the hits."""
        given: object = expr
        if not _text("Function chain map output", output):
            raise ParamError("Function chain map output must be a non-empty string")
        if not isinstance(given, FunctionChainExpr):
            raise ParamError("Function chain map expr must be a FunctionChainExpr")
        self._ops.append(FunctionChainOp("map", expr, outputs=(output,)))
        return self

    def sort(self, by: str | ColumnRef, desc: bool = True, tie_break_col: str | ColumnRef | None = None) -> Self:
        """Order the hits of each query by a column; equal ones by another, ascending."""
        given: object = desc
        if not isinstance(given, bool):
            raise ParamError("Function chain sort desc must be a boolean")
        names = [_name("sort by", by)]
        params: dict[str, Any] = {"column": names[0], "desc": desc}
        if tie_break_col is not None:
            names.append(_name("tie_break_col", tie_break_col))
            params["tie_break_col"] = names[1]
        self._ops.append(FunctionChainOp("sort", inputs=names, params=params))
        return self

    def limit(self, limit: int, offset: int = 0) -> Self:
        """Keep so many hits of each query."""
        for argument, value, least in (("limit", limit, 1), ("offset", offset, 0)):
            if _whole(argument, value) < least:
                raise ParamError(f"Function chain {argument} must be at least {least}")
        self._ops.append(FunctionChainOp("limit", params={"limit": limit, "offset": offset}))
        return self

    def filter(
        self,
        condition: str | None = None,
        *,
        by: str | ColumnRef | None = None,
        expr: FunctionChainExpr | None = None,
    ) -> Self:
        """Keep the hits that pass a condition, as filters are written, over the fields, `$score`, `$id` and the columns
        made before; or those for which a column or an expression is neither false, nor 0, nor null."""
        if sum(given is not None for given in (condition, by, expr)) != 1:
            raise ParamError("Function chain filter takes a condition, `by` or `expr`, and only one of them")
        if expr is not None and not isinstance(expr, FunctionChainExpr):
            raise ParamError("Function chain filter expr must be a FunctionChainExpr")
        inputs = () if by is None else (_name("filter by", by),)
        params = {} if condition is None else {"filter": _text("Function chain filter condition", condition)}
        self._ops.append(FunctionChainOp("filter", expr, inputs=inputs, params=params))
        return self

    def select(self, *columns: str | ColumnRef) -> Self:
        """Drop all columns but these, `$score` and `$id`: later steps cannot use the others."""
        names = [_name("select column", column) for column in columns]
        if not names:
            raise ParamError("Function chain select needs a column")
        self._ops.append(FunctionChainOp("select", inputs=names, params={"columns": names}))
        return self

    def group_by(
        self, field: str | ColumnRef, group_size: int = 1, limit: int | None = None, scorer: str = "max"
    ) -> Self:
        """The best hits of each value of a field: `group_size` of each of the `limit` best groups, which are ranked by
        the `max`, `sum` or `avg` of the scores of the hits they show."""
        name = _name("group_by field", field)
        params: dict[str, Any] = {"field": name, "group_size": _whole("group_size", group_size)}
        if limit is not None:
            params["limit"] = _whole("limit", limit)
        if scorer not in _SCORERS:
            raise ParamError(f"Unsupported group_by scorer: {scorer}, expected one of {list(_SCORERS)}")
        self._ops.append(FunctionChainOp("group_by", inputs=(name,), params=params | {"scorer": scorer}))
        return self

    def merge(self, strategy: str = "rrf", **params: Any) -> Self:
        """Make one list of the hits of a hybrid search: by `rrf` (`k`), `weighted` (`weights`, `norm_score`), or the
        `max`, `sum` or `avg` of their scores (`norm_score`). The first step of an L2_RERANK chain, instead of a ranker.
        """
        if strategy not in _MERGES:
            raise ParamError(f"Unsupported merge strategy: {strategy}, expected one of {list(_MERGES)}")
        self._ops.append(FunctionChainOp("merge", params={"strategy": strategy, **params}))
        return self

    def to_model(self) -> scoring.FunctionChain:
        return scoring.FunctionChain(stage=self.stage, name=self.name, ops=tuple(op.to_model() for op in self._ops))


class fn:  # noqa: N801  a name of Milvus's SDK, where it is a module
    """The functions of chains."""

    @staticmethod
    def decay(
        value: ColumnRef, *, function: str, origin: Number, scale: Number, offset: Number = 0, decay: Number = 0.5
    ) -> FunctionChainExpr:
        """1 within `offset` of `origin`, falling to `decay` at `scale` beyond that, by `gauss`, `exp` or `linear`."""
        if function not in _CURVES:
            raise ParamError(f"Unsupported decay function: {function}, expected one of {sorted(_CURVES)}")
        params = {"origin": origin, "scale": scale, "offset": offset, "decay": decay}
        for name, number in params.items():
            given: object = number
            if isinstance(given, bool) or not isinstance(given, int | float):
                raise ParamError(f"decay {name} must be numeric")
        return FunctionChainExpr("decay", (_column("fn.decay value", value),), {"function": function, **params})

    @staticmethod
    def num_combine(*cols: ColumnRef, mode: str = "sum", weights: Sequence[float] | None = None) -> FunctionChainExpr:
        """One number of several: their `sum`, `multiply`, `max`, `min`, `avg`, or the sum `weighted` by `weights`."""
        if len(cols) < 2:
            raise ParamError("fn.num_combine requires at least two columns")
        if mode not in _COMBINES:
            raise ParamError(f"Unsupported num_combine mode: {mode}, expected one of {sorted(_COMBINES)}")
        if (weights is not None) != (mode == "weighted"):
            raise ParamError("num_combine weights go with mode='weighted', and only with it")
        params: dict[str, Any] = {"mode": mode}
        if weights is not None:
            if len(weights) != len(cols):
                raise ParamError("num_combine weights must be a list matching the column count")
            params["weights"] = [float(weight) for weight in weights]
        return FunctionChainExpr("num_combine", [_column("fn.num_combine argument", each) for each in cols], params)

    @staticmethod
    def round_decimal(value: ColumnRef, *, decimal: int) -> FunctionChainExpr:
        """A number with at most so many decimals, 0 to 6."""
        if not 0 <= _whole("decimal", decimal) <= 6:
            raise ParamError("round_decimal decimal must be an integer in [0, 6]")
        return FunctionChainExpr("round_decimal", (_column("fn.round_decimal value", value),), {"decimal": decimal})

    @staticmethod
    def xgboost(*features: ColumnRef, model_resource: str, output: str = "default") -> FunctionChainExpr:
        """What boosted trees predict for these columns, in the order the model was taught them: a file resource that
        holds a UBJSON or JSON model of XGBoost. `output` "raw" is the margin, before the objective's transformation."""
        if not features:
            raise ParamError("fn.xgboost requires at least one feature column")
        if not _text("xgboost model_resource", model_resource):
            raise ParamError("xgboost model_resource must be a non-empty string")
        if output not in ("default", "raw"):
            raise ParamError(f"Unsupported xgboost output: {output}, expected one of ['default', 'raw']")
        columns = [_column("fn.xgboost feature", each) for each in features]
        return FunctionChainExpr("xgboost", columns, {"model_resource": model_resource, "output": output})

    @staticmethod
    def rerank_model(value: ColumnRef, *, queries: Sequence[str], **provider_params: Any) -> FunctionChainExpr:
        """What a model says about a text and the query's: `provider`, `endpoint` and what else the provider takes."""
        given: list[object] = [] if isinstance(queries, str) else list(queries)
        if not given or not all(isinstance(query, str) and query for query in given):
            raise ParamError("rerank_model queries must be a non-empty list of strings")
        params = {"queries": list(queries), **provider_params}
        return FunctionChainExpr("rerank_model", (_column("fn.rerank_model value", value),), params)


def _column(argument: str, value: object) -> ColumnRef:
    if not isinstance(value, ColumnRef):
        raise ParamError(f"{argument} must be created by col(...)")
    return value


def _name(argument: str, value: object) -> str:
    name = value.name if isinstance(value, ColumnRef) else value
    if not isinstance(name, str) or not name:
        raise ParamError(f"{argument} must be a non-empty string or ColumnRef")
    return name


def _text(argument: str, value: object) -> str:
    if not isinstance(value, str):
        raise ParamError(f"{argument} must be a string")
    return value


def _whole(argument: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ParamError(f"{argument} of a function chain must be a whole number")
    return value


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in params.items():
        if value is None:
            raise ParamError(f"parameter {name} of a function chain is None")
    return {name: plain(value) for name, value in params.items()}
