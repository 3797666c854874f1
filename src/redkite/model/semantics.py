"""Sentences that answer a question: which texts of the hits a model reads, and what is shown of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from redkite.errors import InvalidParameter

DEFAULT_DEPLOYMENT: Final = "default"
DEFAULT_THRESHOLD: Final = 0.5
MAX_BATCH: Final = 1024
MODEL_KEYS: Final = frozenset({
    "provider", "endpoint", "credential", "model_name", "truncate", "truncation", "truncation_direction",
    "truncate_prompt_tokens", "max_tokens_per_doc", "max_chunks_per_doc", "overlap_tokens", "hf_provider",
})  # fmt: skip
"""What says which model is asked, where the server's configuration does not."""
OWN_KEYS: Final = frozenset({
    "queries", "input_fields", "threshold", "highlight_only", "model_deployment_id", "max_client_batch_size",
})  # fmt: skip


class Semantics(msgspec.Struct, frozen=True, kw_only=True):
    """Mark the sentences that a model finds relevant to a question: the n-th one for the hits of the n-th search
    vector."""

    queries: tuple[str, ...]
    fields: tuple[str, ...]
    threshold: float = DEFAULT_THRESHOLD
    """The least score of a sentence that is marked, 0 to 1."""
    only: bool = True
    """Each marked sentence is a fragment; else the whole text is one."""
    deployment: str = ""
    """Of the server's configuration."""
    batch: int = 0
    """Sentences in one request to the model; 0: as the deployment says."""
    model: tuple[tuple[str, str], ...] = ()
    """Which model is asked, instead of a deployment: parameters of a function that ranks by one."""


def read_semantics(params: Mapping[str, Any], items: Callable[[str, Any], list[Any]]) -> Semantics:
    """As users state it. `items` reads a list, which may be a JSON text, as it travels. Raises InvalidParameter."""
    model = {key: _text(key, params[key]) for key in sorted(MODEL_KEYS & params.keys())}
    deployment = _text("model_deployment_id", params.get("model_deployment_id", ""))
    if model and deployment:
        raise InvalidParameter("semantic highlighter: model_deployment_id and parameters of a model exclude each other")
    if model and "provider" not in model:
        raise InvalidParameter(f"semantic highlighter: {next(iter(model))} wants a provider")
    return Semantics(
        queries=_texts("queries", params, items),
        fields=tuple(dict.fromkeys(_texts("input_fields", params, items))),
        threshold=_threshold(params.get("threshold", DEFAULT_THRESHOLD)),
        only=_flag(params.get("highlight_only", True)),
        deployment=deployment,
        batch=_batch(params.get("max_client_batch_size", 0)),
        model=tuple(model.items()),
    )


def write_semantics(semantics: Semantics) -> dict[str, Any]:
    """The parameters of it, as `read_semantics` reads them."""
    given: dict[str, Any] = {
        "queries": list(semantics.queries), "input_fields": list(semantics.fields),
        "threshold": str(semantics.threshold), "highlight_only": str(semantics.only).lower(), **dict(semantics.model),
    }  # fmt: skip
    if semantics.deployment:
        given["model_deployment_id"] = semantics.deployment
    if semantics.batch:
        given["max_client_batch_size"] = str(semantics.batch)
    return given


def _texts(key: str, params: Mapping[str, Any], items: Callable[[str, Any], list[Any]]) -> tuple[str, ...]:
    if key not in params:
        raise InvalidParameter(f"semantic highlighter: {key} must be given")
    found = items(key, params[key])
    if not found or not all(isinstance(text, str) and text for text in found):
        raise InvalidParameter(f"semantic highlighter: {key} must be a list of texts that are not empty")
    return tuple(found)


def _text(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise InvalidParameter(f"semantic highlighter: {key} must be a text, got {value!r:.80}")
    return str(value)


def _threshold(value: Any) -> float:
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 <= number <= 1:
        raise InvalidParameter(f"semantic highlighter: threshold must be in range [0, 1], got {value!r:.40}")
    return number


def _flag(value: Any) -> bool:
    text = str(value).lower()
    if text not in ("true", "false"):
        raise InvalidParameter(f"semantic highlighter: highlight_only must be true or false, got {text:.40}")
    return text == "true"


def _batch(value: Any) -> int:
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= MAX_BATCH:
        raise InvalidParameter(
            f"semantic highlighter: max_client_batch_size must be in range [1, {MAX_BATCH}], got {value!r:.40}"
        )
    return number
