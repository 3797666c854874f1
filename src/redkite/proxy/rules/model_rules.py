"""Parameters of functions that rank by a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from redkite.errors import InvalidParameter
from redkite.functions.endpoints import checked_endpoint
from redkite.functions.providers.base import HF_ROUTE
from redkite.model.rules.numbers import truth, whole_number
from redkite.model.schema import CollectionSchema, FunctionSchema
from redkite.model.types import DataType
from redkite.query.models import BATCH, PROVIDERS, ModelRerank, Provider

MODEL = "model"
MAX_BATCH = 1024
_COMMON = ("provider", "queries", "endpoint", "credential", "max_client_batch_size", "maxbatch")


def read_model(function: FunctionSchema, params: Mapping[str, str], schema: CollectionSchema, nq: int) -> ModelRerank:
    """Raises InvalidParameter for a provider that is not known, and for what it does not take."""
    name = params.get("provider", "").strip().lower()
    provider = PROVIDERS.get(name)
    if provider is None:
        raise InvalidParameter(f"unknown rerank model provider:{params.get('provider', '')}")
    given = {("maxbatch" if key.lower() == "maxbatch" else key): value for key, value in params.items()}
    for key in given:
        if key not in _COMMON and key not in provider.options:
            known = ", ".join(sorted((*_COMMON[:-1], *provider.options)))
            raise InvalidParameter(f"rerank model {name}: unknown parameter {key}, known are {known}")
    if provider.needs_model and not given.get("model_name"):
        raise InvalidParameter(f"rerank model {name}: model_name must be given")
    return ModelRerank(
        provider=name,
        field=_field(function, schema),
        queries=_queries(given, nq),
        endpoint=_endpoint(name, provider, given.get("endpoint", "")),
        options={provider.options[key]: _option(key, value) for key, value in given.items() if key in provider.options},
        credential=given.get("credential", ""),
        batch=_batch(given.get("max_client_batch_size", given.get("maxbatch", str(BATCH)))),
    )


def _field(function: FunctionSchema, schema: CollectionSchema) -> str:
    if len(function.input_field_names) != 1:
        raise InvalidParameter(f"rerank model: function {function.name} needs one input field")
    name = function.input_field_names[0]
    field = schema.field(name)
    if field is None:
        raise InvalidParameter(f"rerank model: input field {name} not found in schema")
    if field.data_type not in (DataType.VARCHAR, DataType.TEXT):
        raise InvalidParameter(
            f"rerank model: input field {name} must be a VarChar, but it is of type {field.data_type.wire_name}"
        )
    return name


def _queries(params: Mapping[str, str], nq: int) -> tuple[str, ...]:
    text = params.get("queries")
    if text is None:
        raise InvalidParameter("rerank model: queries must be given")
    try:
        queries = msgspec.json.decode(text, type=tuple[str, ...])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidParameter(f"rerank model: queries [{text[:100]}] must be a JSON list of texts") from None
    if len(queries) != nq:
        raise InvalidParameter(f"rerank model: nq must equal the number of queries, nq={nq}, queries={len(queries)}")
    return queries


def _endpoint(name: str, provider: Provider, given: str) -> str:
    """Empty for the provider's own."""
    if not given.strip() and provider.home:
        return ""
    return checked_endpoint(f"rerank model {name}", given)


def _batch(text: str) -> int:
    size = whole_number(text)
    if size is None or not 1 <= size <= MAX_BATCH:
        raise InvalidParameter(
            f"rerank model: max_client_batch_size [{text[:40]}] is invalid, should be in range [1, {MAX_BATCH}]"
        )
    return size


def _option(key: str, text: str) -> Any:
    read = _OPTIONS.get(key)
    value = text if read is None else read(text)
    if value is None or (key == "truncation_direction" and text not in ("Left", "Right")):
        raise InvalidParameter(f"rerank model: {key} [{text[:100]}] is invalid")
    return value


_OPTIONS: dict[str, Callable[[str], Any]] = {
    "truncate": truth,
    "truncation": truth,
    "truncate_prompt_tokens": whole_number,
    "hf_provider": lambda text: text if text == HF_ROUTE else None,
    "max_tokens_per_doc": whole_number,
    "max_chunks_per_doc": whole_number,
    "overlap_tokens": whole_number,
}
