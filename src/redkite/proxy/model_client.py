"""Asks models to rank texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from redkite.functions.models import Models
from redkite.functions.wanted import Wanted
from redkite.query.models import PROVIDERS, ModelRerank, bodies, read_scores


class ModelClient:
    """Safe from any thread."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def scores(self, model: ModelRerank, query: str, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """(texts,) scores. Raises FunctionFailed when the provider does not answer as it should, and InvalidParameter
        for an endpoint that may not be asked, or a credential that is not there."""
        if not texts:
            return np.empty(0)
        provider = PROVIDERS[model.provider]
        target = self._models.targets.of(
            Wanted(
                who=f"rerank model provider {model.provider}",
                provider=model.provider,
                home=provider.home,
                path=provider.path,
                endpoint=model.endpoint,
                credential=model.credential,
                variables=provider.variables,
                parts={"model": str(model.options.get("model", ""))},
            )
        )
        requests = [self._models.targets.request(target, body) for body in bodies(model, query, texts)]
        replies = self._models.http.post_all(requests)
        counts = (min(model.batch, len(texts) - at) for at in range(0, len(texts), model.batch))
        scores = [
            read_scores(model, reply, count, request.hidden)
            for request, reply, count in zip(requests, replies, counts, strict=True)
        ]
        return np.concatenate(scores)
