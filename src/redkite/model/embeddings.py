"""Embeddings that the program of an engine brings along. A request that `requests.py` does not list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from redkite.model.request import Request

Embed = Callable[[Sequence[str]], Any]
"""Texts -> (texts, dim) numbers."""


class RegisterEmbedding(Request, frozen=True):
    """-> Done. Functions whose provider is `python` may name it, as long as the engine is open."""

    name: str
    documents: Embed
    queries: Embed
    batch: int = 0
    """Texts of one call at most; 0: all."""
