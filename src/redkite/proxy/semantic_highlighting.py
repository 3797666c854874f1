"""Sentences that a model finds relevant, marked in the texts of hits.

The model ranks: every sentence of a text is scored against the question, by the same services and protocols that
rerank. Which service that is, the search says, or a deployment of the configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from redkite.coordinator.meta import CollectionMeta
from redkite.errors import InvalidParameter
from redkite.functions.models import Models
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.calling import Deployment
from redkite.model.highlighting import Highlighted, Highlighter
from redkite.model.schema import FunctionSchema
from redkite.model.semantics import DEFAULT_DEPLOYMENT, Semantics
from redkite.model.types import FunctionType
from redkite.proxy.model_client import ModelClient
from redkite.proxy.rules.model_rules import read_model
from redkite.query.models import ModelRerank
from redkite.text.fragments import Look, Span, fragments
from redkite.text.sentences import sentences

MAX_SENTENCES: Final = 10_000
"""That a model is asked about for one search."""


class _Found(NamedTuple):
    """The sentences of one hit that are marked."""

    spans: list[Span]
    scores: list[float]


class SemanticHighlighting:
    """Answers in the caller's thread."""

    def __init__(self, models: Models) -> None:
        self._deployments = models.settings.deployments
        self._ask = ModelClient(models).scores

    def models(
        self, meta: CollectionMeta, request: rq.Search | rq.HybridSearch, semantics: Semantics
    ) -> list[ModelRerank]:
        """What is asked for each field. Raises InvalidParameter for fields and models that cannot be."""
        searches = (request,) if isinstance(request, rq.Search) else request.searches
        nq = searches[0].queries.nq if searches else 0
        params = self._params(semantics)
        params["queries"] = msgspec.json.encode(semantics.queries).decode()
        made = []
        for name in semantics.fields:
            function = FunctionSchema(
                name="semantic highlighter", type=FunctionType.RERANK, input_field_names=(name,), output_field_names=()
            )
            made.append(read_model(function, params, meta.schema, nq))
        return made

    def _params(self, semantics: Semantics) -> dict[str, str]:
        if semantics.model:
            params = dict(semantics.model)
        else:
            params = _deployed(semantics.deployment or DEFAULT_DEPLOYMENT, self._deployments)
        if semantics.batch:
            params["max_client_batch_size"] = str(semantics.batch)
        return params

    def highlighted(
        self, models: Sequence[ModelRerank], hits: rs.Hits, highlighter: Highlighter, semantics: Semantics
    ) -> tuple[Highlighted, ...]:
        """One for each model's field. Raises FunctionFailed when a model does not answer as it should."""
        return tuple(self._field(model, hits, highlighter, semantics) for model in models)

    def _field(self, model: ModelRerank, hits: rs.Hits, highlighter: Highlighter, semantics: Semantics) -> Highlighted:
        texts: list[str | None] = hits.rows.column(model.field).to_pylist()
        spans = [sentences(text or "") for text in texts]
        total = sum(map(len, spans))
        if total > MAX_SENTENCES:
            raise InvalidParameter(
                f"semantic highlighter: the hits have {total} sentences in field {model.field}, "
                f"a search may mark {MAX_SENTENCES}: ask for fewer hits"
            )
        found: list[_Found] = []
        ends = np.cumsum(hits.topks).tolist()
        for query, first, last in zip(model.queries, [0, *ends[:-1]], ends, strict=True):
            found += self._relevant(model, query, texts[first:last], spans[first:last], semantics.threshold)
        shown = [_shown(text or "", one, highlighter, semantics) for text, one in zip(texts, found, strict=True)]
        return Highlighted(
            model.field,
            pa.array([parts for parts, _ in shown], pa.list_(pa.string())),
            pa.array([scores for _, scores in shown], pa.list_(pa.float32())),
        )

    def _relevant(
        self, model: ModelRerank, query: str, texts: Sequence[str | None], spans: Sequence[list[Span]], least: float
    ) -> list[_Found]:
        """Of the hits of one query."""
        asked = [(text or "")[begin:end] for text, some in zip(texts, spans, strict=True) for begin, end in some]
        scores = self._ask(model, query, asked)
        found, at = [], 0
        for some in spans:
            own = scores[at : at + len(some)]
            at += len(some)
            chosen = np.flatnonzero(own >= least).tolist()
            found.append(_Found([some[number] for number in chosen], own[chosen].tolist()))
        return found


def _deployed(name: str, deployments: dict[str, Deployment]) -> dict[str, str]:
    deployment = deployments.get(name)
    if deployment is None:
        known = ", ".join(sorted(deployments)) or "none"
        raise InvalidParameter(
            f"semantic highlighter: model deployment {name[:100]} is not known, the configuration has {known}"
        )
    return deployment.params()


def _shown(text: str, found: _Found, highlighter: Highlighter, semantics: Semantics) -> tuple[list[str], list[float]]:
    if not found.spans:
        return [], []
    pre, post = highlighter.pre_tags, highlighter.post_tags
    if not semantics.only:
        look = Look(pre, post, len(text), len(text), 1)
        return fragments(text, found.spans, look), [max(found.scores)]
    parts = [
        f"{pre[number % len(pre)]}{text[begin:end]}{post[number % len(post)]}"
        for number, (begin, end) in enumerate(found.spans)
    ]
    return parts, found.scores
