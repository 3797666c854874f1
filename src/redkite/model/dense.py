"""`redkite.model.dense`: the embedding functions that give dense vectors, under the name that Milvus's SDK has."""

from __future__ import annotations

from importlib import import_module
from typing import Any

NAMES = (
    "CohereEmbeddingFunction", "DefaultEmbeddingFunction", "OnnxEmbeddingFunction", "OpenAIEmbeddingFunction",
    "SentenceTransformerEmbeddingFunction", "VoyageEmbeddingFunction",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("redkite.functions.encoders"), name)
