"""Functions and chains that score hits anew, to and from their messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from redkite.errors import InvalidParameter
from redkite.model.scoring import ChainColumn, ChainExpr, ChainOp, FunctionChain, FunctionChainStage, FunctionScore
from redkite.wire.schemas import read_function, read_pairs, write_pairs

_MAX_INT64 = 1 << 63
_MAX_DEPTH = 32


# -- functions ----------------------------------------------------------------------------------
def read_function_score(message: Any) -> FunctionScore | None:
    """The `function_score` of a request; None when it has none."""
    if not message.HasField("function_score"):
        return None
    given = message.function_score
    return FunctionScore(functions=tuple(map(read_function, given.functions)), params=read_pairs(given.params))


def write_function_score(out: Any, score: FunctionScore | None) -> None:
    """Fill the `function_score` of a request."""
    if score is None:
        return
    out.function_score.SetInParent()
    for function in score.functions:
        message = out.function_score.functions.add()
        message.name = function.name
        message.type = int(function.type)
        message.description = function.description
        message.input_field_names.extend(function.input_field_names)
        message.output_field_names.extend(function.output_field_names)
        write_pairs(message.params, function.params)
    write_pairs(out.function_score.params, score.params)


# -- chains -------------------------------------------------------------------------------------
def read_chains(messages: Iterable[Any]) -> tuple[FunctionChain, ...]:
    """`FunctionChain` messages -> chains."""
    return tuple(_read_chain(message) for message in messages)


def _read_chain(message: Any) -> FunctionChain:
    try:
        stage = FunctionChainStage(message.stage)
    except ValueError:
        raise InvalidParameter(f"function chain {message.name}: stage {message.stage} is not known") from None
    return FunctionChain(stage=stage, name=message.name, ops=tuple(map(_read_op, message.ops)))


def _read_op(message: Any) -> ChainOp:
    return ChainOp(
        op=message.op,
        expr=_read_expr(message.expr) if message.HasField("expr") else None,
        inputs=tuple(message.inputs),
        outputs=tuple(message.outputs),
        params=_read_values(message.params),
    )


def _read_expr(message: Any) -> ChainExpr:
    args = [
        ChainColumn(arg.column.name) if arg.WhichOneof("arg") == "column" else _read_value(arg.literal)
        for arg in message.args
    ]
    return ChainExpr(name=message.name, args=tuple(args), params=_read_values(message.params))


def _read_values(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _read_value(value) for name, value in values.items()}


def _read_value(value: Any) -> Any:
    slot = value.WhichOneof("value")
    if slot is None:
        raise InvalidParameter("a parameter of a function chain is empty")
    if slot == "array_value":
        return [_read_value(item) for item in value.array_value.values]
    if slot == "object_value":
        return _read_values(value.object_value.fields)
    return getattr(value, slot)


def write_chains(out: Any, chains: Iterable[FunctionChain]) -> None:
    """Chains -> `FunctionChain` messages, added to a repeated field."""
    for chain in chains:
        message = out.add(name=chain.name, stage=int(chain.stage))
        for op in chain.ops:
            _write_op(message.ops.add(), op)


def _write_op(out: Any, op: ChainOp) -> None:
    out.op = op.op
    out.inputs.extend(op.inputs)
    out.outputs.extend(op.outputs)
    _write_values(out.params, op.params, 0)
    if op.expr is None:
        return
    out.expr.name = op.expr.name
    _write_values(out.expr.params, op.expr.params, 0)
    for arg in op.expr.args:
        if isinstance(arg, ChainColumn):
            out.expr.args.add().column.name = arg.name
        else:
            _write_value(out.expr.args.add().literal, arg, 0)


def _write_values(out: Any, values: Mapping[str, Any], depth: int) -> None:
    for name, value in values.items():
        _write_value(out[name], value, depth)


def _write_value(out: Any, value: Any, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise InvalidParameter("a parameter of a function chain is nested too deep")
    if isinstance(value, bool):
        out.bool_value = value
    elif isinstance(value, int):
        if not -_MAX_INT64 <= value < _MAX_INT64:
            raise InvalidParameter(f"a parameter of a function chain is {value}, which does not fit 64 bits")
        out.int64_value = value
    elif isinstance(value, float):
        out.double_value = value
    elif isinstance(value, str):
        out.string_value = value
    elif isinstance(value, bytes):
        out.bytes_value = value
    elif isinstance(value, list | tuple):
        out.array_value.SetInParent()
        for item in value:
            _write_value(out.array_value.values.add(), item, depth + 1)
    elif isinstance(value, Mapping):
        out.object_value.SetInParent()
        _write_values(out.object_value.fields, value, depth + 1)
    else:
        raise InvalidParameter(f"a parameter of a function chain cannot be a {type(value).__name__}")
