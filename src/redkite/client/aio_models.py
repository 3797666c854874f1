"""The asynchronous methods about models: embeddings of this program, and how well searches do."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Never, TypeVar

from redkite.client.arguments import refuse_unknown
from redkite.client.base import ClientBase
from redkite.client.session import Operation

if TYPE_CHECKING:
    from redkite.client.evaluation import Evaluation
    from redkite.client.operations.evaluating import Searching
    from redkite.model.embeddings import Embed

T = TypeVar("T")


class AsyncModels(ClientBase):
    """Models and evaluation, asynchronous. They are documented where they block; a function that is evaluated may be
    a coroutine function here."""

    @abstractmethod
    async def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""

    async def register_embedding(
        self,
        name: str,
        embedding: Any,
        *,
        queries: Embed | None = None,
        batch_size: int | None = None,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        from redkite.client.operations import modelling

        here = self._endpoint.embedded
        operation = modelling.register_embedding(self._session, here, name, embedding, queries, batch_size)
        return await self._run(operation, timeout, unknown)

    async def evaluate(
        self,
        collection_name: str,
        queries: Any,
        qrels: Any,
        search: Searching = None,
        *,
        k: int | Sequence[int] = (1, 5, 10),
        id_field: str | None = None,
        gain: str = "linear",
        batch_size: int = 64,
        timeout: float | None = None,
        **unknown: Never,
    ) -> Evaluation:
        from redkite.client.operations import evaluating

        refuse_unknown("evaluate", unknown, ("queries", "qrels", *evaluating.OPTIONS))
        task = evaluating.task_of(queries, qrels, k, id_field, gain, batch_size)
        began = time.monotonic()
        if callable(search):
            found = []
            for _, some in task.batches():
                hits = search(some)
                found.append(await hits if isawaitable(hits) else hits)
            ranking = evaluating.ranking_of(found, task)
        else:
            operation = evaluating.evaluate(self._session, collection_name, task, search or {})
            ranking = await self._run(operation, timeout, {})
        return evaluating.evaluation(collection_name, task, ranking, time.monotonic() - began)
