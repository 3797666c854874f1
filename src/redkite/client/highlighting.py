"""Marks in the texts of hits, as users ask for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redkite.errors import MilvusException, ParamError
from redkite.model.highlighting import LEXICAL, SEMANTIC, Highlighter, read_highlighter


class LexicalHighlighter:
    """Mark words in the texts of a search's hits; what is marked is in `hit["highlight"][field]["fragments"]`.

    Args:
        highlight_query: Words to mark: `[{"type": "TextMatch", "field": "body", "text": "red kite"}]`; `PhraseMatch`
            marks them where they stand together, moved by no more than `slop`.
        highlight_search_text: Mark the words of a search by BM25, in the field that its function reads.
        pre_tags: Put before a marked word; several take turns within a fragment.
        post_tags: Put behind it.
        fragment_offset: Characters shown before the first marked word of a fragment.
        fragment_size: Characters of a fragment, tags not counted; 100.
        num_of_fragments: Fragments of a text, at most; 5.
    """

    def __init__(
        self,
        *,
        highlight_query: Sequence[Mapping[str, Any]] | None = None,
        highlight_search_text: bool | None = None,
        pre_tags: Sequence[str] | None = None,
        post_tags: Sequence[str] | None = None,
        fragment_offset: int | None = None,
        fragment_size: int | None = None,
        num_of_fragments: int | None = None,
    ) -> None:
        self.highlight_query = None if highlight_query is None else list(highlight_query)
        self.highlight_search_text = highlight_search_text
        self.pre_tags = pre_tags
        self.post_tags = post_tags
        self.fragment_offset = fragment_offset
        self.fragment_size = fragment_size
        self.num_of_fragments = num_of_fragments

    def with_query(self, field: str, text: str, query_type: str) -> None:
        """Mark these words too."""
        self.highlight_query = [*(self.highlight_query or ()), {"type": query_type, "field": field, "text": text}]

    @property
    def params(self) -> dict[str, Any]:
        """What was given."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def __repr__(self) -> str:
        return f"LexicalHighlighter({', '.join(f'{name}={value!r}' for name, value in self.params.items())})"


class SemanticHighlighter:
    """Mark the sentences of a search's hits that a model finds relevant to a question; what is marked is in
    `hit["highlight"][field]`: `fragments`, and their `scores`.

    Args:
        queries: The question of each search vector.
        input_fields: Fields of texts to mark.
        pre_tags: Put before a marked sentence; several take turns within a text.
        post_tags: Put behind it.
        threshold: The least score of a marked sentence, 0 to 1; 0.5.
        highlight_only: Each marked sentence is a fragment (the default); False: the whole text is one.
        model_deployment_id: Which model of the server's configuration is asked; `default`.
        max_client_batch_size: Sentences in one request to the model.
        model: Instead of a deployment, the parameters of a function that ranks by a model: `provider`, `endpoint`,
            `model_name`, `credential`, and what else the provider takes.
    """

    def __init__(
        self,
        queries: Sequence[str],
        input_fields: Sequence[str],
        *,
        pre_tags: Sequence[str] | None = None,
        post_tags: Sequence[str] | None = None,
        threshold: float | None = None,
        highlight_only: bool | None = None,
        model_deployment_id: str | None = None,
        max_client_batch_size: int | None = None,
        **model: Any,
    ) -> None:
        self.queries = queries
        self.input_fields = input_fields
        self.pre_tags = pre_tags
        self.post_tags = post_tags
        self.threshold = threshold
        self.highlight_only = highlight_only
        self.model_deployment_id = model_deployment_id
        self.max_client_batch_size = max_client_batch_size
        self.model = model

    @property
    def params(self) -> dict[str, Any]:
        """What was given."""
        own = {name: value for name, value in vars(self).items() if value is not None and name != "model"}
        return own | self.model

    def __repr__(self) -> str:
        return f"SemanticHighlighter({', '.join(f'{name}={value!r}' for name, value in self.params.items())})"


def highlighter_of(given: object) -> Highlighter | None:
    """What a request holds for the `highlighter` of a search."""
    if given is None:
        return None
    if not isinstance(given, LexicalHighlighter | SemanticHighlighter):
        raise ParamError(f"highlighter must be a LexicalHighlighter or SemanticHighlighter, got {type(given).__name__}")
    try:
        return read_highlighter(LEXICAL if isinstance(given, LexicalHighlighter) else SEMANTIC, given.params)
    except MilvusException as error:
        raise ParamError(error.message) from None
