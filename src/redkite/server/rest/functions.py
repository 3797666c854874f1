"""REST: functions that score hits anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from redkite.errors import InvalidParameter
from redkite.model.schema import FunctionSchema
from redkite.model.scoring import ChainColumn, ChainExpr, ChainOp, FunctionChain, FunctionChainStage, FunctionScore
from redkite.model.types import FunctionType
from redkite.server.rest.bodies import FunctionScoreBody, RerankFunction
from redkite.server.rest.exchange import texts

_RERANK = "rerank"


def function_score(body: FunctionScoreBody | None) -> FunctionScore | None:
    """The `functionScore` of a body; None when there is none."""
    if body is None or (not body.functions and not body.params):
        return None
    return FunctionScore(functions=tuple(map(_function, body.functions)), params=texts(body.params))


def _function(body: RerankFunction) -> FunctionSchema:
    if body.type.lower() != _RERANK:
        raise InvalidParameter(f"type {body.type} of function {body.name} is invalid in functionScore, must be Rerank")
    return FunctionSchema(
        name=body.name,
        type=FunctionType.RERANK,
        input_field_names=body.input_field_names,
        output_field_names=body.output_field_names,
        description=body.description,
        params=texts(body.params),
    )


# -- chains -------------------------------------------------------------------------------------
class _Expr(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    args: tuple[Any, ...] = ()
    params: dict[str, Any] = {}


class _Op(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    op: str
    expr: _Expr | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    params: dict[str, Any] = {}


class _Chain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    stage: str | int
    name: str = ""
    ops: tuple[_Op, ...] = ()


def function_chains(given: Sequence[Any]) -> tuple[FunctionChain, ...]:
    """The `functionChains` of a body."""
    if not given:
        return ()
    try:
        chains = msgspec.convert(given, tuple[_Chain, ...])
    except msgspec.ValidationError as error:
        raise InvalidParameter(f"functionChains cannot be read: {error}") from None
    return tuple(FunctionChain(stage=_stage(c.stage), name=c.name, ops=tuple(map(_op, c.ops))) for c in chains)


def _stage(given: str | int) -> FunctionChainStage:
    """By number, or by name as in `L2_RERANK` or `FunctionChainStageL2Rerank`."""
    names = {stage.name.replace("_", "").lower(): stage for stage in FunctionChainStage}
    try:
        if isinstance(given, int):
            return FunctionChainStage(given)
        return names[given.replace("_", "").lower().removeprefix("functionchainstage")]
    except (KeyError, ValueError):
        raise InvalidParameter(f"stage {given!r:.80} of a function chain is not known") from None


def _op(given: _Op) -> ChainOp:
    expr = given.expr
    return ChainOp(
        op=given.op,
        expr=None if expr is None else ChainExpr(name=expr.name, args=tuple(map(_arg, expr.args)), params=expr.params),
        inputs=given.inputs,
        outputs=given.outputs,
        params=given.params,
    )


def _arg(given: Any) -> Any:
    """`{"column": "price"}`, or a value; both may be written as their messages are."""
    if isinstance(given, dict) and given.keys() == {"column"}:
        column = given["column"]
        name = column.get("name") if isinstance(column, dict) else column
        if not isinstance(name, str):
            raise InvalidParameter(f"an argument of a function chain names no column: {given!r:.80}")
        return ChainColumn(name)
    return given["literal"] if isinstance(given, dict) and given.keys() == {"literal"} else given
