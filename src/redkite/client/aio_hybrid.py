"""The asynchronous method that searches by several vectors at once."""

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


class AsyncHybrid(ClientBase):
    """Hybrid search, asynchronous. It is documented where it blocks."""

    @abstractmethod
    async def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""

    async def hybrid_search(
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
        known, unknown = split_options(options, hybrid.HybridOptions)
        operation = hybrid.hybrid_search(
            self._session, collection_name, reqs, ranker, limit, output_fields, partition_names, known
        )
        return await self._run(operation, timeout, unknown)
