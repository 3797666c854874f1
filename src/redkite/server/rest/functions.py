"""REST: functions that score hits anew."""

from __future__ import annotations

from redkite.errors import InvalidParameter
from redkite.model.schema import FunctionSchema
from redkite.model.scoring import FunctionScore
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
