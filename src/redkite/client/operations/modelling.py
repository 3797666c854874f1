"""Embeddings of this program, made known to the engine that runs in it."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

from redkite.client import arguments
from redkite.client.session import Operation, Session, ask
from redkite.errors import ParamError
from redkite.model.embeddings import Embed, RegisterEmbedding
from redkite.model.results import Done

MAX_NAME = 255


def register_embedding(
    session: Session, embedded: bool, name: Any, embedding: Any, queries: Embed | None, batch_size: int | None
) -> Operation[None]:
    """Make an embedding known by a name. `embedded`: whether the engine runs in this process."""
    if not embedded:
        raise ParamError(
            "register_embedding() is for a database that is opened in this process: a server cannot call this program"
        )
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME:
        raise ParamError(f"the name of an embedding must be a text of 1 to {MAX_NAME} characters, got {name!r:.80}")
    documents, asked = _calls(embedding, queries)
    batch = 0 if batch_size is None else arguments.integer("batch_size", batch_size)
    if batch < 0:
        raise ParamError(f"batch_size must be at least 1, got {batch}")
    yield from ask(
        RegisterEmbedding(
            database=session.database, name=name.strip(), documents=documents, queries=asked, batch=batch
        ),
        Done,
    )


def _calls(embedding: Any, queries: Embed | None) -> tuple[Embed, Embed]:
    """What embeds documents, and what embeds queries."""
    if hasattr(embedding, "encode_documents") and hasattr(embedding, "encode_queries"):
        documents, asked = embedding.encode_documents, embedding.encode_queries
    elif hasattr(embedding, "encode"):
        documents = asked = embedding.encode
    else:
        documents = asked = embedding
    asked = asked if queries is None else queries
    for call in (documents, asked):
        _check_call(call)
    return documents, asked


def _check_call(call: Callable[..., Any]) -> None:
    if not callable(call):
        raise ParamError(
            "an embedding must be a function from a list of texts to their vectors, or have the methods "
            f"encode_documents and encode_queries, or encode; got {type(call).__name__}"
        )
    if iscoroutinefunction(call):
        raise ParamError("an embedding is called by the engine's threads and cannot be a coroutine function")
