"""How hits are scored anew: functions, and chains of steps, as a request states them."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgspec

from redkite.model.schema import FunctionSchema


class FunctionScore(msgspec.Struct, frozen=True, kw_only=True):
    """Functions of type RERANK: any number that boost, and at most one other. `params` say how boosts combine; values
    are texts, as they travel."""

    functions: tuple[FunctionSchema, ...]
    params: dict[str, str] = {}


class FunctionChainStage(IntEnum):
    """When a chain runs. Numbers of the wire."""

    UNSPECIFIED = 0
    INGESTION = 1
    PRE_PROCESS = 2
    L0_RERANK = 3
    L1_RERANK = 4
    L2_RERANK = 5
    POST_PROCESS = 6


class ChainColumn(msgspec.Struct, frozen=True):
    """An argument that stands for a column: a field, `$score`, `$id`, or what an earlier step made."""

    name: str


class ChainExpr(msgspec.Struct, frozen=True, kw_only=True):
    """A function of columns. `args` are columns or plain values."""

    name: str
    args: tuple[Any, ...] = ()
    params: dict[str, Any] = {}


class ChainOp(msgspec.Struct, frozen=True, kw_only=True):
    """One step: `map` an expression to an output, `sort`, `limit` …"""

    op: str
    expr: ChainExpr | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    params: dict[str, Any] = {}


class FunctionChain(msgspec.Struct, frozen=True, kw_only=True):
    stage: FunctionChainStage
    name: str = ""
    ops: tuple[ChainOp, ...] = ()
