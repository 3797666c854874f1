"""What a hybrid search is made of: its searches, and how their hits are ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redkite.client.schema import Function
from redkite.client.texts import text
from redkite.errors import DataTypeNotMatchException, ParamError
from redkite.model import scoring


class AnnSearchRequest:
    """One search of a hybrid search.

    Args:
        data: A list of vectors or a (queries, dim) array; every search of a hybrid search has as many.
        anns_field: The vector field.
        param: `metric_type` and the index's settings, flat or in `params`: `{"params": {"ef": 64}}`.
        limit: Hits that take part in the ranking, for each vector; no fewer than the whole is to answer.
        expr: Only rows that match this expression.
        expr_params: Values of `{placeholders}` in the expression.
        filter: Another name of `expr`.
    """

    def __init__(
        self,
        data: Any,
        anns_field: str,
        param: Mapping[str, Any] | None,
        limit: int,
        expr: str | None = None,
        expr_params: dict[str, Any] | None = None,
        filter: str | None = None,
    ) -> None:
        if expr is not None and filter is not None:
            raise ParamError("Provide either 'expr' or 'filter', not both.")
        given = expr if filter is None else filter
        if given is not None and not isinstance(given, str):
            raise DataTypeNotMatchException(f"The type of expr must be string ,but {type(given)} is given.")
        self.data = data
        self.anns_field = anns_field
        self.param = param
        self.limit = limit
        self.expr = given
        self.expr_params = expr_params

    @property
    def filter(self) -> str | None:
        return self.expr

    def __repr__(self) -> str:
        return (
            f"AnnSearchRequest(anns_field={self.anns_field!r}, param={self.param!r}, limit={self.limit!r}, "
            f"expr={self.expr!r})"
        )


class BaseRanker:
    """A way to rank the hits of several searches."""

    strategy = ""

    def params(self) -> dict[str, Any]:
        return {}

    def dict(self) -> dict[str, Any]:
        """As it travels."""
        return {"strategy": self.strategy, "params": self.params()}

    def __repr__(self) -> str:
        return str(self.dict())


class RRFRanker(BaseRanker):
    """Reciprocal rank fusion: a hit scores the sum of 1 / (k + rank) over the searches that found it."""

    strategy = "rrf"

    def __init__(self, k: float = 60) -> None:
        self._k = k

    def params(self) -> dict[str, Any]:
        return {"k": self._k}


class WeightedRanker(BaseRanker):
    """A hit scores the sum of weight × score over the searches that found it, one weight for each search.

    With `norm_score`, scores are first brought to 0..1, the nearest 1.
    """

    strategy = "weighted"

    def __init__(self, *nums: float, norm_score: bool = True) -> None:
        for num in nums:
            given: Any = num
            if isinstance(given, bool) or not isinstance(given, int | float):
                raise TypeError(f"Weight must be a number, got {type(num)}")
        self._weights = list(nums)
        self._norm_score = norm_score

    def params(self) -> dict[str, Any]:
        return {"weights": self._weights, "norm_score": self._norm_score}


class FunctionScore:
    """Functions that rank together: any number of boosts, and at most one other.

    Args:
        functions: One, or a list.
        params: `boost_mode`, how boosts join the score, and `function_mode`, how they join one another: `multiply`
            or `sum`.
    """

    def __init__(self, functions: Function | Sequence[Function], params: Mapping[str, Any] | None = None) -> None:
        self.functions = [functions] if isinstance(functions, Function) else list(functions)
        if not all(isinstance(function, Function) for function in self.functions):
            raise ParamError("functions of a FunctionScore must be Function objects")
        self.params = dict(params or {})

    def to_model(self) -> scoring.FunctionScore:
        return scoring.FunctionScore(
            functions=tuple(function.to_model() for function in self.functions),
            params={key: text(value) for key, value in self.params.items()},
        )


def function_score(ranker: Function | FunctionScore) -> scoring.FunctionScore:
    """What a request carries for one function, or several."""
    return (ranker if isinstance(ranker, FunctionScore) else FunctionScore(ranker)).to_model()
