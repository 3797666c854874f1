"""The blocking methods about models: embeddings of this program, and how well searches do."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Never, TypeVar

from redkite.client.arguments import refuse_unknown
from redkite.client.base import ClientBase
from redkite.client.session import Operation

if TYPE_CHECKING:
    from redkite.client.evaluation import Evaluation
    from redkite.client.operations.evaluating import Searching
    from redkite.model.embeddings import Embed

T = TypeVar("T")


class SyncModels(ClientBase):
    """Models and evaluation, blocking."""

    @abstractmethod
    def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""

    def register_embedding(
        self,
        name: str,
        embedding: Any,
        *,
        queries: Embed | None = None,
        batch_size: int | None = None,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Let functions of this database embed with Python code of this program, by `{"provider": "python",
        "model_name": name}`. Every program that opens the database and writes or searches texts has to register it.

        Args:
            name: What functions call it; one of the same name is replaced.
            embedding: A function from a list of texts to their vectors; or an object with `encode_documents` and
                `encode_queries`, such as `redkite.model.DefaultEmbeddingFunction()`; or with `encode`. Any thread may
                call it.
            queries: What embeds the texts of searches, where that is another function.
            batch_size: Texts of one call at most.
            timeout: Seconds.

        Raises:
            ParamError: It cannot be called, or this is the client of a server.
        """
        from redkite.client.operations import modelling

        here = self._endpoint.embedded
        operation = modelling.register_embedding(self._session, here, name, embedding, queries, batch_size)
        return self._run(operation, timeout, unknown)

    def evaluate(
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
        """How well searches find what they should: recall, precision, MRR and nDCG.

        Args:
            collection_name: Name or alias.
            queries: Vectors or texts: a list, a (queries, dim) array, or a dict from names to them.
            qrels: What is relevant to each query: for each name (or in the order of the queries) a dict
                `{document: grade}` or a list of documents; or an Arrow table with the columns `query`, `document` and
                perhaps `grade`. Documents are named by primary keys, or by the values of `id_field`.
            search: How to search: arguments of `search` (`{"anns_field": "dense", "filter": "year > 2000"}`), those of
                `hybrid_search` (`{"reqs": [...], "ranker": RRFRanker()}`, where data=None in a request stands for the
                queries and anything else has one item for each of them), or a function that is given a batch of queries
                and gives, for each, a list of hits or ids, the best first.
            k: The depths to measure at; the largest is the limit of the searches.
            id_field: An output field that names documents, where several rows are parts of one. The best of each
                counts.
            gain: Of a document with a grade: `"linear"`, the grade, or `"exponential"`, 2 to its power less 1.
            batch_size: Queries of one search.
            timeout: Seconds of each batch.

        Returns:
            The measures, over the queries that have at least one relevant document.
        """
        from redkite.client.operations import evaluating

        refuse_unknown("evaluate", unknown, ("queries", "qrels", *evaluating.OPTIONS))
        task = evaluating.task_of(queries, qrels, k, id_field, gain, batch_size)
        began = time.monotonic()
        if callable(search):
            ranking = evaluating.ranking_of([search(some) for _, some in task.batches()], task)
        else:
            ranking = self._run(evaluating.evaluate(self._session, collection_name, task, search or {}), timeout, {})
        return evaluating.evaluation(collection_name, task, ranking, time.monotonic() - began)
