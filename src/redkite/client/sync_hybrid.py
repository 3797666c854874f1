"""The blocking method that searches by several vectors at once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar, Unpack

from redkite.client.base import ClientBase
from redkite.client.operations import hybrid
from redkite.client.operations.kinds import split_options
from redkite.client.session import Operation

if TYPE_CHECKING:
    from redkite.client.ranking import AnnSearchRequest
    from redkite.client.results import SearchResult

T = TypeVar("T")


class SyncHybrid(ClientBase):
    """Hybrid search, blocking."""

    @abstractmethod
    def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""

    def hybrid_search(
        self,
        collection_name: str,
        reqs: Sequence[AnnSearchRequest],
        ranker: hybrid.Ranker = None,
        limit: int = 10,
        output_fields: Sequence[str] | None = None,
        timeout: float | None = None,
        partition_names: Sequence[str] | None = None,
        **options: Unpack[hybrid.HybridOptions],
    ) -> SearchResult:
        """Several searches on one snapshot of the rows, their hits ranked as one list.

        Args:
            collection_name: Name or alias.
            reqs: The searches, 1024 at most, with equally many vectors each.
            ranker: `RRFRanker`, `WeightedRanker`, a `Function` of type RERANK or a `FunctionScore`; RRFRanker(60) when
                there is none.
            limit: Hits for each vector, at most.
            output_fields: Fields and dynamic keys to return; none by default, `"*"` for all.
            timeout: Seconds.
            partition_names: Look only there.
            **options: See `HybridOptions`.

        Returns:
            One list of hits for each vector; `distance` is the score that the ranker gave, the best first.
        """
        known, unknown = split_options(options, hybrid.HybridOptions)
        operation = hybrid.hybrid_search(
            self._session, collection_name, reqs, ranker, limit, output_fields, partition_names, known
        )
        return self._run(operation, timeout, unknown)
