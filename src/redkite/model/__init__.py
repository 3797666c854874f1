"""What is data? Types, limits, schemas, timestamps, and the waist: requests and results.

The package has the name under which users of Milvus's SDK know embedding functions, too: `from redkite import model`,
then `model.DefaultEmbeddingFunction()`. They live above, in `redkite.functions`, and are imported when one is asked
for; nothing of the waist depends on them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "BM25EmbeddingFunction": "redkite.functions.bm25_encoder",
    "CohereEmbeddingFunction": "redkite.functions.encoders",
    "DefaultEmbeddingFunction": "redkite.functions.encoders",
    "OnnxEmbeddingFunction": "redkite.functions.encoders",
    "OpenAIEmbeddingFunction": "redkite.functions.encoders",
    "SentenceTransformerEmbeddingFunction": "redkite.functions.encoders",
    "VoyageEmbeddingFunction": "redkite.functions.encoders",
}


def __getattr__(name: str) -> Any:
    if name in ("dense", "sparse"):
        return import_module(f"redkite.model.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)
