"""What chains of functions may do with the hits of a search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from redkite.errors import InvalidParameter
from redkite.filter import compile_filter
from redkite.model.limits import LIMITS, Limits
from redkite.model.schema import CollectionSchema, FieldSchema, FunctionSchema
from redkite.model.scoring import ChainColumn, ChainExpr, ChainOp, FunctionChain, FunctionChainStage
from redkite.model.types import DataType, FunctionType
from redkite.proxy.rules.model_rules import read_model
from redkite.proxy.rules.ranking_rules import read_slope, read_strategy
from redkite.proxy.rules.values import as_text, flag_of, number_of, one_of, only_known
from redkite.query.chains import (
    COMBINES,
    ID,
    SCORE,
    Chain,
    CombineExpr,
    DecayExpr,
    Expr,
    FilterStep,
    GroupStep,
    LimitStep,
    MapStep,
    MergeStep,
    ModelExpr,
    RoundExpr,
    SelectStep,
    SortStep,
    Stages,
    Step,
    TreesExpr,
)
from redkite.query.fusion import MODES
from redkite.query.ranked_groups import GroupRule
from redkite.query.trees import forest_of

MAX_DECIMALS = 6
MAX_GROUP_SIZE = 10
_EARLY = (FunctionChainStage.L0_RERANK, FunctionChainStage.L1_RERANK)
_OWNER = "function chain"
_COLUMNS = (*(t for t in DataType if t.is_number), DataType.BOOL, DataType.TIMESTAMPTZ, DataType.VARCHAR, DataType.TEXT)
_NO_NUMBERS = (DataType.BOOL, DataType.VARCHAR, DataType.TEXT)
_GROUPS = (*(t for t in DataType if t.is_integer), DataType.BOOL, DataType.TIMESTAMPTZ, DataType.VARCHAR)
_MERGES: tuple[str, ...] = ("rrf", "weighted", *MODES)


def _wire_name(stage: FunctionChainStage) -> str:
    """As Milvus's protocol names it: FunctionChainStagePreProcess."""
    return "FunctionChainStage" + stage.name.title().replace("_", "")


def no_files(name: str) -> bytes:
    """Where there are no file resources."""
    raise InvalidParameter(f"file resource {name} not found")


class Given(msgspec.Struct, frozen=True):
    """What the chains of one request are read with."""

    schema: CollectionSchema
    nq: int
    lists: int = 1
    """How many searches there are."""
    filter_params: Mapping[str, Any] = {}
    limits: Limits = LIMITS
    read_file: Callable[[str], bytes] = no_files
    """The bytes of a file resource."""


def read_chains(chains: Sequence[FunctionChain], given: Given) -> Stages:
    """The chains in the order of their stages. Raises InvalidParameter, also for stages in which there are no hits."""
    reader = _Reader(given)
    for place, chain in sorted(enumerate(chains), key=lambda numbered: numbered[1].stage):
        reader.add(place, chain)
    return Stages(tuple(reader.early), reader.merge, tuple(reader.late), tuple(reader.post))


class _Reader:
    """Of the chains of one request: knows which columns there are so far."""

    def __init__(self, given: Given) -> None:
        self._given = given
        self._schema = given.schema
        self._made: dict[str, None] = {}
        self._selected: tuple[str, ...] | None = None
        """What a step has left of the columns; None: no step has dropped any."""
        self._fields: dict[str, None] = {}
        self.early: list[Chain] = []
        self.late: list[Chain] = []
        self.post: list[Chain] = []
        self.merge: MergeStep | None = None

    def add(self, place: int, given: FunctionChain) -> None:
        if not given.ops:
            raise InvalidParameter(f"function chain '{given.name}' has no steps")
        self._fields = {}
        stages = {FunctionChainStage.L2_RERANK: self.late, FunctionChainStage.POST_PROCESS: self.post}
        stages |= dict.fromkeys(_EARLY, self.early)
        if given.stage in stages:
            steps = self._steps(given)
            stages[given.stage].append(Chain(steps, tuple(self._fields)))
        else:
            raise InvalidParameter(
                f"function chain[{place}] stage {_wire_name(given.stage)} is not supported in search request"
            )

    # -- steps ----------------------------------------------------------------------------------
    def _steps(self, given: FunctionChain) -> tuple[Step, ...]:
        ops = given.ops
        if ops[0].op == "merge":
            if given.stage is not FunctionChainStage.L2_RERANK or self.late:
                raise InvalidParameter(f"{_OWNER}: merge must be the first step of the first L2_RERANK chain")
            self.merge = self._merge(ops[0])
            ops = ops[1:]
        return tuple(map(self._step, ops))

    def _step(self, op: ChainOp) -> Step:
        readers: dict[str, Callable[[ChainOp], Step]] = {
            "map": self._map,
            "filter": self._filter,
            "sort": self._sort,
            "limit": self._limit,
            "group_by": self._group,
            "select": self._select,
        }
        if op.op == "merge":
            raise InvalidParameter(f"{_OWNER}: merge must be the first step of the first L2_RERANK chain")
        if op.op not in readers:
            raise InvalidParameter(f"{_OWNER}: step {op.op} is not known")
        if op.expr is not None and op.op not in ("map", "filter"):
            raise InvalidParameter(f"{_OWNER}: step {op.op} takes no expression")
        if op.outputs and op.op != "map":
            raise InvalidParameter(f"{_OWNER}: step {op.op} has no outputs")
        return readers[op.op](op)

    def _sort(self, op: ChainOp) -> SortStep:
        only_known(f"{_OWNER} sort", op.params, ("column", "desc", "tie_break_col"))
        return SortStep(
            self._column(_named(op, "column")),
            _truth("desc", op.params.get("desc", True)),
            self._column(op.params["tie_break_col"]) if "tie_break_col" in op.params else "",
        )

    @staticmethod
    def _limit(op: ChainOp) -> LimitStep:
        only_known(f"{_OWNER} limit", op.params, ("limit", "offset"))
        offset = _whole("offset", op.params.get("offset", 0), 0)
        return LimitStep(_whole("limit", op.params.get("limit"), 1), offset)

    def _filter(self, op: ChainOp) -> FilterStep:
        only_known(f"{_OWNER} filter", op.params, ("filter", "column"))
        text = op.params.get("filter")
        column = _named(op, "column")
        if sum(one is not None for one in (text, op.expr, column)) != 1:
            raise InvalidParameter(f"{_OWNER}: filter needs a condition, an expression or a column, and only one")
        if op.expr is not None:
            return FilterStep(expr=self._expr(op.expr))
        if column is not None:
            field = self._schema.field(self._column(column))
            if field is not None and field.data_type in (DataType.VARCHAR, DataType.TEXT):
                raise InvalidParameter(f"{_OWNER}: filter by column {column}, which holds texts: give a condition")
            return FilterStep(column=column)
        return self._condition(text)

    def _condition(self, text: Any) -> FilterStep:
        if not isinstance(text, str) or not text.strip():
            raise InvalidParameter(f"{_OWNER}: the condition of filter must be a text, got {text!r:.80}")
        made = [FieldSchema(name=name, data_type=DataType.DOUBLE, nullable=True) for name in (SCORE, *self._made)]
        key = FieldSchema(name=ID, data_type=self._schema.primary.data_type)
        fields = [field for field in self._schema.fields if self._selected is None or field.name in self._selected]
        if self._schema.primary not in fields:
            fields.append(self._schema.primary)
        schema = msgspec.structs.replace(self._schema, fields=(*fields, *made, key))
        condition = compile_filter(text, schema, self._given.filter_params, limits=self._given.limits)
        if condition.sample is not None:
            raise InvalidParameter(f"random_sample cannot stand in the filter of a chain: {text[:100]}")
        self._fields |= dict.fromkeys(
            name for name in sorted(condition.fields) if name not in (SCORE, ID) and name not in self._made
        )
        return FilterStep(condition=condition, schema=schema)

    def _group(self, op: ChainOp) -> GroupStep:
        only_known(f"{_OWNER} group_by", op.params, ("field", "group_size", "limit", "scorer"))
        name = _named(op, "field")
        field = self._schema.field(self._column(name))
        if field is None or field.data_type not in _GROUPS:
            raise InvalidParameter(f"{_OWNER}: group_by needs a field of truths, integers or texts, got {name}")
        size = _whole("group_size", op.params.get("group_size", 1), 1)
        if size > MAX_GROUP_SIZE:
            raise InvalidParameter(f"{_OWNER}: group_size {size} exceeds the largest, {MAX_GROUP_SIZE}")
        limit = _whole("limit", op.params.get("limit", self._given.limits.max_topk), 1)
        return GroupStep(field.name, GroupRule(size, one_of("scorer", op.params.get("scorer", "max"), MODES)), limit)

    def _select(self, op: ChainOp) -> SelectStep:
        only_known(f"{_OWNER} select", op.params, ("columns",))
        names = op.params.get("columns", list(op.inputs))
        if not isinstance(names, list | tuple) or not names:
            raise InvalidParameter(f"{_OWNER}: select needs a list of columns")
        columns = tuple(map(self._column, names))
        self._made = {name: None for name in self._made if name in columns}
        self._selected = columns
        return SelectStep(columns)

    def _merge(self, op: ChainOp) -> MergeStep:
        if op.expr is not None or op.inputs or op.outputs:
            raise InvalidParameter(f"{_OWNER}: merge takes parameters only")
        strategy = one_of(f"{_OWNER} merge strategy", op.params.get("strategy", "rrf"), _MERGES)
        params = {key: value for key, value in op.params.items() if key != "strategy"}
        if strategy in ("rrf", "weighted"):
            return MergeStep(read_strategy(strategy, params, self._given.lists))
        only_known(f"{_OWNER} merge", params, ("norm_score",))
        norm = flag_of(f"{_OWNER} merge", "norm_score", params.get("norm_score", False))
        return MergeStep(one_of("merge strategy", strategy, MODES), norm)

    def _map(self, op: ChainOp) -> MapStep:
        only_known(f"{_OWNER} map", op.params, ())
        if len(op.outputs) != 1 or op.expr is None:
            raise InvalidParameter(f"{_OWNER}: map needs an expression and one output")
        output = op.outputs[0]
        if output == ID or (output != SCORE and self._schema.field(output) is not None):
            raise InvalidParameter(f"{_OWNER}: map cannot write to {output}")
        step = MapStep(output, self._expr(op.expr))
        if output != SCORE:
            self._made[output] = None
        return step

    # -- expressions ----------------------------------------------------------------------------
    def _expr(self, expr: ChainExpr) -> Expr:
        readers: dict[str, Callable[[ChainExpr], Expr]] = {
            "decay": self._decay,
            "num_combine": self._combine,
            "round_decimal": self._round,
            "rerank_model": self._model,
            "xgboost": self._trees,
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

    def _trees(self, expr: ChainExpr) -> TreesExpr:
        only_known("xgboost", expr.params, ("model_resource", "output"))
        name = expr.params.get("model_resource")
        if not isinstance(name, str) or not name:
            raise InvalidParameter("xgboost: model_resource must name a file resource")
        output = one_of("xgboost output", expr.params.get("output", "default"), ("default", "raw"))
        columns = tuple(map(self._number, self._args(expr)))
        forest = forest_of(self._given.read_file(name))
        if len(columns) != forest.features:
            raise InvalidParameter(
                f"xgboost: model {name} takes {forest.features} features, got {len(columns)} columns"
            )
        return TreesExpr(columns, forest, output == "raw")

    def _model(self, expr: ChainExpr) -> ModelExpr:
        column = self._args(expr, 1)[0]
        params: Mapping[str, str] = {
            ("model_name" if key == "model" else key): as_text(value) for key, value in expr.params.items()
        }
        function = FunctionSchema(
            name="rerank_model", type=FunctionType.RERANK, input_field_names=(column,), output_field_names=()
        )
        model = read_model(function, params, self._schema, self._given.nq)
        self._column(column)
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
        if name in self._made or name in (SCORE, ID):
            return name
        field = self._schema.field(name)
        if field is not None and self._selected is not None and name not in self._selected:
            raise InvalidParameter(f"{_OWNER}: column {name} is not among those that an earlier step selected")
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
        if name not in self._made and field is not None and field.data_type in _NO_NUMBERS:
            kind = field.data_type.wire_name
            raise InvalidParameter(f"{_OWNER}: column {name} must be numeric, but it is of type {kind}")
        return name


def _named(op: ChainOp, param: str) -> Any:
    """A column that a step names among its parameters, or as its first input; None when it names none."""
    return op.params.get(param, op.inputs[0] if op.inputs else None)


def _truth(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidParameter(f"{_OWNER}: {key} [{value!r:.80}] is invalid, should be true or false")
    return value


def _whole(key: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidParameter(f"{_OWNER}: {key} [{value!r:.80}] is invalid, should be a whole number >= {least}")
    return value
