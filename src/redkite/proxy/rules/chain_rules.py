"""What chains of functions may do with the hits of a search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from redkite.errors import InvalidParameter, Unimplemented
from redkite.model.schema import CollectionSchema, FunctionSchema
from redkite.model.scoring import ChainColumn, ChainExpr, ChainOp, FunctionChain, FunctionChainStage
from redkite.model.types import DataType, FunctionType
from redkite.proxy.rules.model_rules import read_model
from redkite.proxy.rules.ranking_rules import read_slope
from redkite.proxy.rules.values import as_text, number_of, one_of, only_known
from redkite.query.chains import (
    COMBINES,
    ID,
    SCORE,
    Chain,
    CombineExpr,
    DecayExpr,
    Expr,
    LimitStep,
    MapStep,
    ModelExpr,
    RoundExpr,
    SortStep,
    Step,
)

MAX_DECIMALS = 6
_EARLY = (FunctionChainStage.L0_RERANK, FunctionChainStage.L1_RERANK)
_OWNER = "function chain"
_UNSERVED_OPS = frozenset({"filter", "merge", "group_by", "select"})
_COLUMNS = (*(t for t in DataType if t.is_number), DataType.TIMESTAMPTZ, DataType.VARCHAR, DataType.TEXT)


def read_chains(chains: Sequence[FunctionChain], schema: CollectionSchema, nq: int) -> tuple[Chain, ...]:
    """The chains in the order of their stages. Raises Unimplemented for stages, steps and functions that are known and
    not built, else InvalidParameter."""
    reader = _Reader(schema, nq)
    return tuple(reader.chain(chain) for chain in sorted(chains, key=lambda chain: chain.stage))


class _Reader:
    """Of the chains of one search: knows which columns there are so far."""

    def __init__(self, schema: CollectionSchema, nq: int) -> None:
        self._schema = schema
        self._nq = nq
        self._made: set[str] = {SCORE}
        self._fields: dict[str, None] = {}

    def chain(self, given: FunctionChain) -> Chain:
        early = given.stage in _EARLY
        if not early and given.stage is not FunctionChainStage.L2_RERANK:
            raise Unimplemented(
                f"stage {given.stage.name} of function chain '{given.name}' is not supported in this version: "
                "L0_RERANK, L1_RERANK and L2_RERANK are"
            )
        if not given.ops:
            raise InvalidParameter(f"function chain '{given.name}' has no steps")
        steps = tuple(map(self._step, given.ops))
        if early and not all(isinstance(step, MapStep) for step in steps):
            raise Unimplemented(f"stage {given.stage.name} takes map steps only in this version")
        return Chain(steps, tuple(self._fields), early)

    # -- steps ----------------------------------------------------------------------------------
    def _step(self, op: ChainOp) -> Step:
        if op.op == "map":
            return self._map(op)
        if op.expr is not None:
            raise InvalidParameter(f"{_OWNER}: step {op.op} takes no expression")
        if op.op == "sort":
            only_known(f"{_OWNER} sort", op.params, ("column", "desc", "tie_break_col"))
            return SortStep(
                self._column(op.params.get("column")),
                _truth("desc", op.params.get("desc", True)),
                self._column(op.params["tie_break_col"]) if "tie_break_col" in op.params else "",
            )
        if op.op == "limit":
            only_known(f"{_OWNER} limit", op.params, ("limit", "offset"))
            offset = _whole("offset", op.params.get("offset", 0), 0)
            return LimitStep(_whole("limit", op.params.get("limit"), 1), offset)
        if op.op in _UNSERVED_OPS:
            raise Unimplemented(f"step {op.op} of a function chain is not supported in this version")
        raise InvalidParameter(f"{_OWNER}: step {op.op} is not known")

    def _map(self, op: ChainOp) -> MapStep:
        only_known(f"{_OWNER} map", op.params, ())
        if len(op.outputs) != 1 or op.expr is None:
            raise InvalidParameter(f"{_OWNER}: map needs an expression and one output")
        output = op.outputs[0]
        if output == ID or (output != SCORE and self._schema.field(output) is not None):
            raise InvalidParameter(f"{_OWNER}: map cannot write to {output}")
        step = MapStep(output, self._expr(op.expr))
        self._made.add(output)
        return step

    # -- expressions ----------------------------------------------------------------------------
    def _expr(self, expr: ChainExpr) -> Expr:
        if expr.name == "xgboost":
            raise Unimplemented("function xgboost of a function chain is not supported in this version")
        readers: dict[str, Callable[[ChainExpr], Expr]] = {
            "decay": self._decay,
            "num_combine": self._combine,
            "round_decimal": self._round,
            "rerank_model": self._model,
        }
        if expr.name not in readers:
            raise InvalidParameter(f"{_OWNER}: function {expr.name} is not known")
        return readers[expr.name](expr)

    def _decay(self, expr: ChainExpr) -> DecayExpr:
        only_known("decay", expr.params, ("function", "origin", "scale", "offset", "decay"))
        return DecayExpr(self._number(self._args(expr, 1)[0]), read_slope(expr.params))

    def _round(self, expr: ChainExpr) -> RoundExpr:
        only_known("round_decimal", expr.params, ("decimal",))
        decimals = _whole("decimal", expr.params.get("decimal"), 0)
        if decimals > MAX_DECIMALS:
            raise InvalidParameter(f"round_decimal: decimal must be in range [0, {MAX_DECIMALS}], got {decimals}")
        return RoundExpr(self._number(self._args(expr, 1)[0]), decimals)

    def _combine(self, expr: ChainExpr) -> CombineExpr:
        only_known("num_combine", expr.params, ("mode", "weights"))
        columns = tuple(map(self._number, self._args(expr)))
        if len(columns) < 2:
            raise InvalidParameter("num_combine: at least two columns are needed")
        mode = one_of("num_combine mode", expr.params.get("mode", "sum"), COMBINES)
        weights = expr.params.get("weights")
        if (weights is not None) != (mode == "weighted"):
            raise InvalidParameter("num_combine: weights go with mode weighted, and only with it")
        if weights is not None and (not isinstance(weights, list | tuple) or len(weights) != len(columns)):
            raise InvalidParameter("num_combine: weights must be a list with a number for each column")
        numbers = [number_of("num_combine", "weights", weight) for weight in weights or ()]
        return CombineExpr(columns, mode, tuple(numbers))

    def _model(self, expr: ChainExpr) -> ModelExpr:
        column = self._args(expr, 1)[0]
        params: Mapping[str, str] = {
            ("model_name" if key == "model" else key): as_text(value) for key, value in expr.params.items()
        }
        function = FunctionSchema(
            name="rerank_model", type=FunctionType.RERANK, input_field_names=(column,), output_field_names=()
        )
        model = read_model(function, params, self._schema, self._nq)
        self._fields[column] = None
        return ModelExpr(model)

    @staticmethod
    def _args(expr: ChainExpr, count: int | None = None) -> list[str]:
        names = [arg.name for arg in expr.args if isinstance(arg, ChainColumn)]
        if len(names) != len(expr.args):
            raise InvalidParameter(f"{expr.name}: arguments must be columns")
        if count is not None and len(names) != count:
            raise InvalidParameter(f"{expr.name}: needs {count} column, got {len(names)}")
        return names

    # -- columns --------------------------------------------------------------------------------
    def _column(self, name: Any) -> str:
        """A column that there is at this point."""
        if not isinstance(name, str) or not name:
            raise InvalidParameter(f"{_OWNER}: a column must be named, got {name!r:.80}")
        if name in self._made or name == ID:
            return name
        field = self._schema.field(name)
        if field is None:
            raise InvalidParameter(f"{_OWNER}: column {name} is neither a field nor made by an earlier step")
        if field.data_type not in _COLUMNS:
            raise InvalidParameter(f"{_OWNER}: field {name} of type {field.data_type.wire_name} cannot be a column")
        self._fields[name] = None
        return name

    def _number(self, name: str) -> str:
        """A column of numbers."""
        self._column(name)
        field = self._schema.primary if name == ID else self._schema.field(name)
        if name not in self._made and field is not None and field.data_type in (DataType.VARCHAR, DataType.TEXT):
            kind = field.data_type.wire_name
            raise InvalidParameter(f"{_OWNER}: column {name} must be numeric, but it is of type {kind}")
        return name


def _truth(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidParameter(f"{_OWNER}: {key} [{value!r:.80}] is invalid, should be true or false")
    return value


def _whole(key: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidParameter(f"{_OWNER}: {key} [{value!r:.80}] is invalid, should be a whole number >= {least}")
    return value
