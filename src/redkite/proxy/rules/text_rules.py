"""Searches with texts: which fields take them, and what may be said about the words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redkite.errors import InvalidParameter
from redkite.functions.base import FieldFunction
from redkite.index.bm25 import K1, B
from redkite.model.requests import Queries
from redkite.model.rules.function_rules import function_of_output
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.segments import IndexSpec
from redkite.model.types import DataType, FunctionType, Metric
from redkite.query.plan import TextScoring

ANALYZER_NAME = "analyzer_name"
_TEXTS = frozenset({DataType.VARCHAR, DataType.TEXT})


def is_text(queries: Queries) -> bool:
    """Whether a search is asked with texts."""
    return queries.data_type in _TEXTS


def takes_text(schema: CollectionSchema, field: FieldSchema, queries: Queries) -> bool:
    """Whether these are texts for a field that a function fills. Raises when a field of words is asked with something
    else than texts."""
    if not field.is_function_output:
        return False
    text = is_text(queries)
    function = function_of_output(schema, field.name)
    if function is not None and function.type is FunctionType.BM25 and not text and queries.ids is None:
        raise InvalidParameter(
            f"please provide varchar/text for BM25 Function based search, got {queries.data_type.wire_name}"
        )
    return text and function is not None


def read_texts(queries: Queries) -> list[str]:
    """The texts of a search."""
    try:
        return list(map(bytes.decode, queries.raw))
    except UnicodeDecodeError as error:
        raise InvalidParameter(f"a search text is no valid UTF-8: {error.reason} at byte {error.start}") from None


def words_of(function: FieldFunction, queries: Queries, params: Mapping[str, Any]) -> Queries:
    """What the function of a field reads in the texts of a search."""
    return function.queries(read_texts(queries), analyzer_of(params))


def split_analyzer(params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name of the analyzer that a search asks for (empty: none), and its other parameters."""
    return analyzer_of(params), {key: value for key, value in params.items() if key != ANALYZER_NAME}


def analyzer_of(params: Mapping[str, Any]) -> str:
    """The name of the analyzer that a search asks for; empty: none."""
    name = params.get(ANALYZER_NAME)
    if name is not None and not isinstance(name, str):
        raise InvalidParameter(f"{ANALYZER_NAME} [{str(name)[:100]}] is invalid, should be a text")
    return name or ""


def check_no_stored_words(schema: CollectionSchema, field: FieldSchema) -> None:
    """Raise for a search by the ids of rows whose words nobody reads."""
    function = function_of_output(schema, field.name)
    if function is not None and function.type is FunctionType.BM25:
        raise InvalidParameter(f"search by ids is not supported on BM25 function output field {field.name}: give texts")


def scoring_of(spec: IndexSpec, partitions: frozenset[int] | None) -> TextScoring | None:
    """How a search by an index scores words; None when it has another metric."""
    if spec.metric is not Metric.BM25:
        return None
    return TextScoring(float(spec.build.get("bm25_k1", K1)), float(spec.build.get("bm25_b", B)), partitions)
